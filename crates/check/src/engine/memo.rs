//! Which situations were visited. A situation is a set of placed operations and a state.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};

use crate::FoldState;

const NONE: u32 = u32::MAX;
/// Rough cost of an entry beside its state, words and classes: map slot and entry.
const ENTRY_BYTES: usize = 72;

/// What is remembered of one situation.
pub struct Situation<'a, S> {
    /// Answered operations before this one (by deadline) are all placed; this one is not.
    pub frontier: u32,
    /// Placed answered operations, from the word that holds `frontier` to the last set bit.
    pub words: &'a [u64],
    /// Classes of unknown operations with the number placed, ascending, none zero.
    pub used: &'a [(u32, u32)],
    pub state: &'a S,
}

struct Entry<S> {
    next: u32,
    frontier: u32,
    words_at: usize,
    words_len: u32,
    used_at: usize,
    used_len: u32,
    state: S,
}

/// Visited situations. The classes of unknown operations are kept apart, because a situation
/// that has used up less of them and is otherwise equal can do whatever the other can.
pub struct Memo<S> {
    heads: HashMap<u64, u32, FoldState>,
    entries: Vec<Entry<S>>,
    words: Vec<u64>,
    used: Vec<(u32, u32)>,
}

impl<S: Clone + Eq + Hash> Memo<S> {
    pub fn new() -> Self {
        Self { heads: HashMap::default(), entries: Vec::new(), words: Vec::new(), used: Vec::new() }
    }

    /// False if the situation, or one at least as good, was visited before; else remembers it.
    pub fn visit(&mut self, situation: &Situation<'_, S>) -> bool {
        let mut hasher = FoldState::default().build_hasher();
        hasher.write_u32(situation.frontier);
        for &word in situation.words {
            hasher.write_u64(word);
        }
        situation.state.hash(&mut hasher);
        let head = self.heads.entry(hasher.finish()).or_insert(NONE);
        let mut at = *head;
        while at != NONE {
            let entry = &self.entries[at as usize];
            let words = &self.words[entry.words_at..][..entry.words_len as usize];
            let used = &self.used[entry.used_at..][..entry.used_len as usize];
            if entry.frontier == situation.frontier
                && words == situation.words
                && within(used, situation.used)
                && entry.state == *situation.state
            {
                return false;
            }
            at = entry.next;
        }
        let entry = Entry {
            next: *head,
            frontier: situation.frontier,
            words_at: self.words.len(),
            words_len: u32::try_from(situation.words.len()).expect("bounded by operations"),
            used_at: self.used.len(),
            used_len: u32::try_from(situation.used.len()).expect("bounded by operations"),
            state: situation.state.clone(),
        };
        *head = u32::try_from(self.entries.len()).expect("the memory limit is reached before");
        assert!(*head != NONE, "the memory limit is reached before");
        self.words.extend_from_slice(situation.words);
        self.used.extend_from_slice(situation.used);
        self.entries.push(entry);
        true
    }
}

/// Estimate of what [`Memo::visit`] keeps, without what the state itself owns.
pub fn situation_bytes<S>(situation: &Situation<'_, S>) -> usize {
    ENTRY_BYTES + 8 * (situation.words.len() + situation.used.len())
}

/// True if no class of `less` is used more often than in `more`.
fn within(less: &[(u32, u32)], more: &[(u32, u32)]) -> bool {
    let mut rest = more.iter();
    less.len() <= more.len()
        && less.iter().all(|&(class, count)| {
            rest.by_ref()
                .find(|(other, _)| *other >= class)
                .is_some_and(|&(other, most)| other == class && count <= most)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_situation_that_used_more_unknown_operations_is_not_new() {
        let mut memo = Memo::new();
        let mut visit = |used: &[(u32, u32)], state: u8| {
            memo.visit(&Situation { frontier: 3, words: &[0b10111], used, state: &state })
        };
        assert!(visit(&[(1, 2), (4, 1)], 0));
        assert!(!visit(&[(1, 2), (4, 1)], 0), "equal");
        assert!(!visit(&[(1, 3), (2, 1), (4, 1)], 0), "more");
        assert!(visit(&[(1, 3)], 0), "less of one, more of another");
        assert!(visit(&[(1, 2), (4, 1)], 1), "another state");
        assert!(visit(&[], 0), "none used");
        assert!(!visit(&[(9, 1)], 0), "worse than none");
    }
}
