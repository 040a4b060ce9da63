//! Requests that wait for an answer, bounded, oldest first.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use base::{Blob, Nanos, NodeId, Token};

/// A write received here and not yet applied here.
pub struct Write {
    pub token: Token,
    pub command: Blob,
    pub deadline: Nanos,
    pub sent: Sent,
}

/// Whether a write may already be in some log. Only one that is not may be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Never left this member.
    Parked,
    /// Proposed here or forwarded to `to` at `at`: it may be applied.
    Gone { to: NodeId, at: Nanos },
}

/// Pending writes by their sequence number, which is also their order of arrival.
#[derive(Default)]
pub struct Writes {
    by_seq: BTreeMap<u64, Write>,
}

impl Writes {
    pub fn len(&self) -> usize {
        self.by_seq.len()
    }

    pub fn insert(&mut self, seq: u64, write: Write) {
        let before = self.by_seq.insert(seq, write);
        assert!(before.is_none(), "a sequence number is used once");
    }

    pub fn remove(&mut self, seq: u64) -> Option<Write> {
        self.by_seq.remove(&seq)
    }

    pub fn get_mut(&mut self, seq: u64) -> Option<&mut Write> {
        self.by_seq.get_mut(&seq)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut Write)> {
        self.by_seq.iter_mut().map(|(seq, write)| (*seq, write))
    }

    pub fn oldest_deadline(&self) -> Option<Nanos> {
        self.by_seq.first_key_value().map(|(_, write)| write.deadline)
    }

    /// Takes out what is past its deadline. Deadlines rise with sequence numbers.
    pub fn expired(&mut self, now: Nanos) -> Vec<(u64, Write)> {
        let mut out = Vec::new();
        while self.by_seq.first_key_value().is_some_and(|(_, write)| write.deadline <= now) {
            out.extend(self.by_seq.pop_first());
        }
        out
    }

    /// Every pending sequence number, oldest first.
    pub fn seqs(&self) -> Vec<u64> {
        self.by_seq.keys().copied().collect()
    }
}
