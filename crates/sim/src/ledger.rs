//! What each member has made durable, kept apart from the member itself: the truth against which
//! its promises, votes and acknowledgements are held.

use base::{Ballot, LogIndex, Term};
use consensus::raft::Persist;
use std::collections::VecDeque;

/// The durable promise and the ballots of the durable log of one member.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub promise: Ballot,
    base: LogIndex,
    log: VecDeque<Ballot>,
    /// A durable checkpoint holds everything up to here.
    pub covered: LogIndex,
    /// What the journal says is committed.
    pub known: LogIndex,
    /// The disk was put back or emptied: what it vouched for before still counts, because every
    /// elect set of the others meets every commit set it was part of.
    pub excused: bool,
}

impl Ledger {
    pub fn last(&self) -> LogIndex {
        LogIndex(self.base.0 + self.log.len() as u64)
    }

    pub fn base(&self) -> LogIndex {
        self.base
    }

    pub fn ballot_at(&self, index: LogIndex) -> Option<Ballot> {
        let at = index.0.checked_sub(self.base.0 + 1)?;
        self.log.get(usize::try_from(at).ok()?).copied()
    }

    /// The highest durable entry of a term.
    pub fn reach(&self, term: Term) -> LogIndex {
        let last = self.log.iter().rposition(|ballot| ballot.term == term);
        last.map_or(LogIndex::ZERO, |at| LogIndex(self.base.0 + 1 + at as u64))
    }

    /// A persist request became durable.
    pub fn persisted(&mut self, persist: &Persist) {
        self.promise = persist.ballot;
        self.known = self.known.max(persist.commit);
        if let Some(from) = persist.truncate_from {
            let keep = from.0.saturating_sub(self.base.0 + 1);
            self.log.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
        }
        for entry in &persist.entries {
            let next = self.last().next();
            if entry.index > next {
                // A checkpoint stands for what is between.
                self.log.clear();
                self.base = entry.index.prev();
            } else if entry.index < next {
                let keep = entry.index.0.saturating_sub(self.base.0 + 1);
                self.log.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
            }
            if entry.index > self.base {
                self.log.push_back(entry.ballot);
            }
        }
    }

    /// A checkpoint taken from a leader is durable.
    pub fn installed(&mut self, index: LogIndex, ballot: Ballot) {
        self.covered = self.covered.max(index);
        if self.ballot_at(index) != Some(ballot) && index > self.base {
            self.log.clear();
            self.base = index;
        }
    }

    /// Forgets what is far below a checkpoint.
    pub fn compact(&mut self, upto: LogIndex) {
        while self.base < upto && self.log.pop_front().is_some() {
            self.base = self.base.next();
        }
    }

    /// Starts over from what a recovery read.
    pub fn recovered(
        &mut self,
        promise: Ballot,
        base: LogIndex,
        ballots: impl Iterator<Item = Ballot>,
    ) {
        self.promise = promise;
        self.base = base;
        self.covered = base;
        self.log = ballots.collect();
    }

    /// Whether the entry at `index` is durable here, in the log or in a checkpoint.
    pub fn holds(&self, index: LogIndex, ballot: Ballot) -> bool {
        self.excused || index <= self.covered || self.ballot_at(index) == Some(ballot)
    }
}
