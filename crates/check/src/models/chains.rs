//! What the values that were read of one key tell of the writes they are made of.
//!
//! A value that was read is a put (or the absent value) and the appends after it. Where there is
//! one way only to put it together, from operations that are told apart by what they write, those
//! operations took effect one after the other, with no other write between. So most places of
//! most operations are known before the search.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::kv::{KvInput, KvState, locate};
use crate::FoldState;

/// More ways than one are alike.
const MANY: u8 = 2;

/// One key's values, and what they tell.
#[derive(Clone, Debug, Default)]
pub struct Chains {
    /// What was read, ascending, without duplicates.
    values: Vec<Box<str>>,
    /// Of each value: it is the state in one stretch only, never again after it.
    once: Vec<bool>,
    /// The only write that may follow a state, an append of this.
    next: HashMap<KvState, Box<str>, FoldState>,
    /// The only state that an append of this may lead to.
    after: HashMap<Box<str>, KvState, FoldState>,
    /// Writes after which, wherever they stand, nothing can be read until the next put.
    mute: HashSet<(bool, Box<str>), FoldState>,
}

/// How many operations put or append each value, up to [`MANY`].
#[derive(Default)]
struct Writes {
    puts: HashMap<Box<str>, u8, FoldState>,
    appends: HashMap<Box<str>, u8, FoldState>,
}

/// The only way to put a value together.
struct Way {
    /// Where its put ends; 0 where it begins with the absent value.
    start: usize,
    /// Where each of its appends ends.
    ends: Vec<usize>,
}

impl Chains {
    /// `values`: what was read of the key. `inputs`: every operation on it.
    pub fn of<'a>(values: Vec<Box<str>>, inputs: impl Iterator<Item = &'a KvInput>) -> Self {
        assert!(values.is_sorted(), "values ascend");
        let mut writes = Writes::default();
        for input in inputs {
            let (kind, value) = match input {
                KvInput::Get { .. } => continue,
                KvInput::Put { value, .. } => (&mut writes.puts, value),
                KvInput::Append { value, .. } => (&mut writes.appends, value),
            };
            let count = kind.entry(value.as_str().into()).or_insert(0);
            *count = MANY.min(*count + 1);
        }
        let mut all = Self { once: vec![false; values.len()], values, ..Self::default() };
        // A write of nothing could stand anywhere.
        if !writes.puts.contains_key("") && !writes.appends.contains_key("") {
            all.read(&writes);
        }
        all
    }

    pub fn values(&self) -> &[Box<str>] {
        &self.values
    }

    /// The only append that may follow `state`, if there is one.
    pub fn next(&self, state: &KvState) -> Option<&str> {
        self.next.get(state).map(|value| &**value)
    }

    /// Whether an append of `value` may lead to `state`.
    pub fn may_lead(&self, value: &str, state: &KvState) -> bool {
        self.after.get(value).is_none_or(|after| after == state)
    }

    /// Whether nothing can be read after this write until the next put.
    pub fn is_mute(&self, is_put: bool, value: &str) -> bool {
        self.mute.contains(&(is_put, value.into()))
    }

    /// The number of a value that is the state in one stretch only.
    pub fn once(&self, value: &str) -> Option<u32> {
        let at = self.values.binary_search_by(|other| (**other).cmp(value)).ok()?;
        self.once[at].then(|| u32::try_from(at).expect("fewer than 2^32 operations"))
    }

    /// The same for a state.
    pub fn once_in(&self, state: &KvState) -> Option<u32> {
        let KvState::Prefix { at, length } = *state else { return None };
        let value = self.values.get(at as usize)?;
        (self.once[at as usize] && value.len() == length as usize).then_some(at)
    }

    fn read(&mut self, writes: &Writes) {
        let lens = |of: &HashMap<Box<str>, u8, FoldState>| -> BTreeSet<usize> {
            of.keys().map(|value| value.len()).collect()
        };
        let (puts, appends) = (lens(&writes.puts), lens(&writes.appends));
        let text = |value: &str| locate(&self.values, 0, &[], value.as_bytes());
        for (at, value) in self.values.iter().enumerate() {
            let Some(way) = writes.only_way(value, &puts, &appends) else { continue };
            self.once[at] = true;
            let mut from = way.start;
            for to in way.ends {
                let (before, after) = (text(&value[..from]), text(&value[..to]));
                self.next.entry(before).or_insert_with(|| value[from..to].into());
                self.after.entry(value[from..to].into()).or_insert(after);
                from = to;
            }
        }
        for (is_put, of) in [(true, &writes.puts), (false, &writes.appends)] {
            for value in of.keys() {
                let heard = |read: &str| {
                    if is_put { read.starts_with(&**value) } else { read.contains(&**value) }
                };
                if !self.values.iter().any(|read| heard(read)) {
                    self.mute.insert((is_put, value.clone()));
                }
            }
        }
    }
}

impl Writes {
    /// How `value` came about, if there is exactly one way.
    fn only_way(
        &self,
        value: &str,
        puts: &BTreeSet<usize>,
        appends: &BTreeSet<usize>,
    ) -> Option<Way> {
        let end = value.len();
        // Ways to get to each place, and the places that some way leads through.
        let mut ways: HashMap<usize, u8, FoldState> = HashMap::default();
        let mut open: BTreeSet<usize> = BTreeSet::from([0]);
        ways.insert(0, 1);
        let add = |ways: &mut HashMap<usize, u8, FoldState>, at: usize, more: u8| {
            let count = ways.entry(at).or_insert(0);
            *count = MANY.min(count.saturating_add(more));
        };
        let mut starts = vec![0];
        for len in puts.iter().copied().take_while(|len| *len <= end) {
            if let Some(count) = value.get(..len).and_then(|put| self.puts.get(put)) {
                add(&mut ways, len, *count);
                open.insert(len);
                starts.push(len);
            }
        }
        let mut steps: Vec<(usize, usize)> = Vec::new();
        while let Some(from) = open.pop_first() {
            let here = ways[&from];
            for len in appends.iter().copied().take_while(|len| from + *len <= end) {
                let part = value.get(from..from + len);
                if let Some(count) = part.and_then(|part| self.appends.get(part)) {
                    add(&mut ways, from + len, here.saturating_mul(*count));
                    open.insert(from + len);
                    steps.push((from, from + len));
                }
            }
        }
        if ways.get(&end) != Some(&1) {
            return None;
        }
        // From the end back: one way means one step into each place that leads on to the end.
        let into: HashMap<usize, usize, FoldState> =
            steps.iter().map(|&(from, to)| (to, from)).collect();
        let (mut at, mut ends) = (end, Vec::new());
        while let Some(&from) = into.get(&at) {
            ends.push(at);
            at = from;
        }
        assert!(starts.contains(&at), "a way begins at a put or at the absent value");
        ends.reverse();
        Some(Way { start: at, ends })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(value: &str) -> KvInput {
        KvInput::Put { key: "k".into(), value: value.into() }
    }

    fn append(value: &str) -> KvInput {
        KvInput::Append { key: "k".into(), value: value.into() }
    }

    fn chains(values: &[&str], inputs: &[KvInput]) -> Chains {
        let mut values: Vec<Box<str>> = values.iter().map(|&value| value.into()).collect();
        values.sort_unstable();
        Chains::of(values, inputs.iter())
    }

    #[test]
    fn a_value_that_came_about_in_one_way_fixes_its_writes() {
        let inputs = [put("p"), append("ab"), append("c"), append("z"), put("q")];
        let all = chains(&["", "pab", "pabc"], &inputs);
        let text = |value: &str| locate(all.values(), 0, &[], value.as_bytes());
        assert_eq!(all.next(&text("p")), Some("ab"));
        assert_eq!(all.next(&text("pab")), Some("c"));
        assert_eq!(all.next(&text("pabc")), None);
        assert!(all.may_lead("c", &text("pabc")) && !all.may_lead("c", &KvState::Unread));
        assert!(all.is_mute(false, "z") && all.is_mute(true, "q"));
        assert!(!all.is_mute(false, "ab") && !all.is_mute(true, "p"));
        assert!(all.once("").is_some() && all.once("pab").is_some());
        assert_eq!(all.once_in(&text("pab")), all.once("pab"));
        assert_eq!(all.once_in(&text("p")), None);
    }

    #[test]
    fn what_may_have_come_about_in_two_ways_fixes_nothing() {
        // "ab" is a + b or ab; "cc" takes the same append twice; nothing makes "x".
        let inputs = [append("a"), append("b"), append("ab"), append("c"), append("c")];
        let all = chains(&["ab", "cc", "x"], &inputs);
        assert!(all.next.is_empty() && all.after.is_empty());
        assert!(all.once.iter().all(|once| !once));
        // An empty write stands anywhere.
        let all = chains(&["a"], &[append("a"), append("")]);
        assert!(all.next.is_empty() && all.mute.is_empty());
    }
}
