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
