//! The one place where a promise changes.
//!
//! With shared terms (Raft, Ongaro 2014 section 3.4) the promise is (term seen, vote given), and
//! a vote of a term is never taken back, not by step-down and not by restart. With (term, node)
//! ballots (Paxos) the promise is the highest ballot granted or obeyed.

use base::{Ballot, NodeId, Term};
use cluster::BallotRule;

/// The last term there is, so that counting up never overflows. Nobody campaigns in it.
pub(crate) const TERM_MAX: u64 = u64::MAX / 2;
/// How far above its own promise a member follows somebody at once. Who was away for so many
/// elections was away for years; and no single message, be it damaged or made up, brings anybody
/// near a term from which there is no next one.
pub(crate) const TERM_AHEAD_MAX: u64 = 1 << 32;

/// Whether anybody can have promised it: bytes that say otherwise are refused.
pub fn is_possible(ballot: Ballot) -> bool {
    ballot.term.0 <= TERM_MAX && (ballot.term.0 > 0 || ballot == Ballot::ZERO)
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Promise {
    ballot: Ballot,
    /// Changed since the last `take_dirty`.
    dirty: bool,
}

impl Promise {
    pub fn recovered(ballot: Ballot) -> Self {
        Self { ballot, dirty: false }
    }

    pub fn get(&self) -> Ballot {
        self.ballot
    }

    /// It has changed, and nobody has been asked to persist that yet.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// True once after each change: the new value has to be persisted.
    pub fn take_dirty(&mut self) -> bool {
        core::mem::take(&mut self.dirty)
    }

    /// Whether what somebody else says of `ballot` may be followed up: it is possible, and not so
    /// far ahead that only damage explains it.
    pub fn reaches(&self, ballot: Ballot) -> bool {
        let ahead = ballot.term.0.saturating_sub(self.ballot.term.0);
        is_possible(ballot) && ballot.term.0 < TERM_MAX && ahead <= TERM_AHEAD_MAX
    }

    /// Whether there is a ballot above every one seen.
    pub fn has_next(&self) -> bool {
        self.ballot.term.0 < TERM_MAX
    }

    /// A ballot above every one seen.
    pub fn next(&self, node: NodeId) -> Ballot {
        assert!(node != NodeId::ZERO, "nobody cannot campaign");
        assert!(self.has_next(), "who is at the end of all terms does not campaign");
        let next = Ballot { term: self.ballot.term.next(), node };
        assert!(next > self.ballot, "a new attempt is above every one seen");
        assert!(is_possible(next), "a restart takes it for what somebody promised");
        next
    }

    /// Whether a vote for `ballot` breaks no promise.
    pub fn may_grant(&self, rule: BallotRule, ballot: Ballot) -> bool {
        if ballot.node == NodeId::ZERO {
            return false;
        }
        match rule {
            BallotRule::TermAndNode => ballot >= self.ballot,
            BallotRule::SharedTerms if ballot.term == self.ballot.term => {
                self.ballot.node == NodeId::ZERO || self.ballot.node == ballot.node
            }
            BallotRule::SharedTerms => ballot.term > self.ballot.term,
        }
    }

    pub fn grant(&mut self, rule: BallotRule, ballot: Ballot) {
        assert!(self.may_grant(rule, ballot), "a grant keeps the promise");
        self.set(ballot);
    }

    /// Whether a leader of `ballot` may still be obeyed.
    pub fn obeys(&self, rule: BallotRule, ballot: Ballot) -> bool {
        match rule {
            BallotRule::TermAndNode => ballot >= self.ballot,
            BallotRule::SharedTerms => ballot.term >= self.ballot.term,
        }
    }

    /// Whether `ballot` ends every attempt at or below the promise.
    pub fn is_below(&self, rule: BallotRule, ballot: Ballot) -> bool {
        match rule {
            BallotRule::TermAndNode => ballot > self.ballot,
            BallotRule::SharedTerms => ballot.term > self.ballot.term,
        }
    }

    /// Adopts a higher ballot that was seen; with shared terms the vote of its term stays free.
    pub fn observe(&mut self, rule: BallotRule, ballot: Ballot) -> bool {
        if !self.is_below(rule, ballot) {
            return false;
        }
        match rule {
            BallotRule::TermAndNode => self.set(ballot),
            BallotRule::SharedTerms => {
                self.set(Ballot { term: ballot.term, node: NodeId::ZERO });
            }
        }
        assert!(!self.is_below(rule, ballot), "what was seen is promised");
        true
    }

    fn set(&mut self, ballot: Ballot) {
        assert!(ballot >= self.ballot, "a promise only rises");
        assert!(ballot.term >= Term(1) || ballot == Ballot::ZERO, "term 0 is before any vote");
        if ballot != self.ballot {
            self.ballot = ballot;
            self.dirty = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use BallotRule::{SharedTerms, TermAndNode};

    fn promise(term: u64, node: u64) -> Promise {
        Promise::recovered(Ballot::new(term, node))
    }

    #[test]
    fn a_ballot_is_possible_from_term_one_to_the_last_one() {
        for (term, node, possible) in [
            (0, 0, true),
            (0, 1, false),
            (1, 0, true),
            (1, 1, true),
            (u64::MAX / 2, 9, true),
            (u64::MAX / 2 + 1, 9, false),
        ] {
            assert_eq!(is_possible(Ballot::new(term, node)), possible, "{term}.{node}");
        }
    }

    #[test]
    fn a_ballot_is_followed_up_below_the_last_term_and_no_further_than_is_credible() {
        let (last, ahead) = (u64::MAX / 2, 1 << 32);
        for (promised, term, reaches) in [
            (1, 1 + ahead, true),
            (1, 2 + ahead, false),
            (last - 1, last - 1, true),
            (last - 1, last, false),
            (last, last, false),
            (9, 1, true),
        ] {
            let found = promise(promised, 1).reaches(Ballot::new(term, 3));
            assert_eq!(found, reaches, "{term} where {promised} is promised");
        }
        assert!(!promise(1, 1).reaches(Ballot::new(0, 3)), "nobody has term 0");
        assert!(promise(last - 1, 1).has_next());
        assert!(!promise(last, 1).has_next(), "nobody campaigns above it");
        assert_eq!(promise(7, 5).next(NodeId(2)), Ballot::new(8, 2));
    }

    /// May it be granted, is its leader obeyed, does it end what runs: where 5.2 is promised.
    #[test]
    fn what_a_promise_allows_depends_on_the_rule_in_its_own_term_only() {
        let cases = [
            (SharedTerms, 5, 1, (false, true, false)),
            (SharedTerms, 5, 2, (true, true, false)),
            (SharedTerms, 5, 3, (false, true, false)),
            (TermAndNode, 5, 1, (false, false, false)),
            (TermAndNode, 5, 2, (true, true, false)),
            (TermAndNode, 5, 3, (true, true, true)),
        ];
        let around = [SharedTerms, TermAndNode].into_iter().flat_map(|rule| {
            [(rule, 4, 9, (false, false, false)), (rule, 6, 1, (true, true, true))]
        });
        for (rule, term, node, allowed) in cases.into_iter().chain(around) {
            let (promise, ballot) = (promise(5, 2), Ballot::new(term, node));
            let grants = promise.may_grant(rule, ballot);
            let found = (grants, promise.obeys(rule, ballot), promise.is_below(rule, ballot));
            assert_eq!(found, allowed, "{term}.{node} under {rule:?}");
        }
        for rule in [SharedTerms, TermAndNode] {
            assert!(!promise(5, 2).may_grant(rule, Ballot::new(6, 0)), "nobody campaigns");
        }
        assert!(promise(5, 0).may_grant(SharedTerms, Ballot::new(5, 9)), "the vote is free");
    }

    #[test]
    fn a_promise_is_written_once_after_each_change() {
        for (rule, seen) in [(SharedTerms, Ballot::new(6, 0)), (TermAndNode, Ballot::new(6, 3))] {
            let mut promise = promise(5, 2);
            assert!(!promise.observe(rule, Ballot::new(5, 2)) && !promise.is_dirty());
            promise.grant(rule, Ballot::new(5, 2));
            assert!(!promise.is_dirty(), "it is on the disk");
            assert!(promise.observe(rule, Ballot::new(6, 3)) && promise.is_dirty());
            assert_eq!(promise.get(), seen, "{rule:?}");
            assert!(promise.take_dirty() && !promise.take_dirty());
            promise.grant(rule, Ballot::new(6, 3));
            assert_eq!(promise.get(), Ballot::new(6, 3));
            assert_eq!(promise.take_dirty(), rule == SharedTerms, "the vote is news");
        }
    }
}
