//! Barriers that share a round: whoever comes while one is under way goes into the next, all
//! together, since it must be asked for after they came.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use base::{Nanos, Token, planted};

/// How long they wait for the round before theirs: far longer than a round takes in one room, and
/// nothing beside one around the world.
pub const ROUND_WAIT_MAX: Nanos = Nanos::from_millis(2);

/// The barriers of one member, each as whatever it is that waits for it.
#[derive(Debug)]
pub struct Rounds<T> {
    /// Of the round that is asked for next.
    next: Vec<T>,
    under_way: BTreeMap<Token, Vec<T>>,
    /// The newest one under way, and when it was asked for.
    newest: Option<(Token, Nanos)>,
}

impl<T> Default for Rounds<T> {
    fn default() -> Self {
        Self { next: Vec::new(), under_way: BTreeMap::new(), newest: None }
    }
}

impl<T> Rounds<T> {
    /// Somebody waits for a round that is asked for from now on. True for the first: a round is to
    /// be begun, when that is due.
    pub fn join(&mut self, one: T) -> bool {
        if planted!(RoundJoinedLate)
            && let Some((newest, _)) = self.newest
        {
            self.under_way.entry(newest).or_default().push(one);
            return false;
        }
        self.next.push(one);
        self.next.len() == 1
    }

    /// When the next round is begun at the latest: by then, or as soon as the one before is back.
    /// None while nobody waits for one.
    pub fn due(&self) -> Option<Nanos> {
        let since = self.newest.map_or(Nanos::ZERO, |(_, since)| since.plus(ROUND_WAIT_MAX));
        (!self.next.is_empty()).then_some(since)
    }

    /// Begins the next round, where it is due: then it is to be asked for by this token.
    ///
    /// Panics when a round under way has this token.
    pub fn begin(&mut self, now: Nanos, token: Token) -> bool {
        if self.due().is_none_or(|due| now < due) {
            return false;
        }
        let before = self.under_way.insert(token, core::mem::take(&mut self.next));
        assert!(before.is_none(), "each round has a token of its own");
        self.newest = Some((token, now));
        true
    }

    /// Whose round this is.
    pub fn of(&self, token: Token) -> &[T] {
        self.under_way.get(&token).map_or(&[], |all| all)
    }

    /// Whose round it was that has come back, with whatever answer; nobody's where it is none.
    pub fn came(&mut self, token: Token) -> Vec<T> {
        if self.newest.is_some_and(|(newest, _)| newest == token) {
            self.newest = None;
        }
        self.under_way.remove(&token).unwrap_or_default()
    }

    /// Ends it all: who waits for a round that was not asked for, and who for one that was.
    pub fn take(&mut self) -> (Vec<T>, Vec<T>) {
        self.newest = None;
        let asked = core::mem::take(&mut self.under_way).into_values().flatten().collect();
        (core::mem::take(&mut self.next), asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_during_a_round_goes_into_the_next_one_and_waits_no_longer_than_the_bound() {
        let ms = Nanos::from_millis;
        let mut rounds = Rounds::default();
        assert!(rounds.due().is_none() && !rounds.begin(ms(1), Token(1)), "for nobody");
        assert!(rounds.join('a') && !rounds.join('b') && rounds.begin(ms(1), Token(1)));
        assert!(rounds.join('c'));
        assert_eq!((rounds.due(), rounds.begin(ms(2), Token(2))), (Some(ms(3)), false));
        assert!(rounds.begin(ms(3), Token(2)), "the first one is slow");
        assert!(rounds.join('d') && !rounds.begin(ms(4), Token(3)));
        assert_eq!(rounds.of(Token(1)), ['a', 'b']);
        assert_eq!(rounds.came(Token(1)), ['a', 'b']);
        assert!(!rounds.begin(ms(4), Token(3)), "the newest is still out");
        assert_eq!((rounds.came(Token(2)), rounds.came(Token(2))), (['c'].into(), [].into()));
        assert!(rounds.begin(ms(4), Token(3)) && rounds.join('e'));
        assert_eq!(rounds.take(), (['e'].into(), ['d'].into()));
        assert!(rounds.due().is_none() && rounds.of(Token(3)).is_empty());
        assert!(rounds.came(Token(3)).is_empty());
    }
}
