//! The log above the checkpoint, in memory.

use super::message::Entry;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use base::{Ballot, LogIndex, planted};

#[derive(Clone, Debug)]
pub(crate) struct Log {
    /// Everything at or below is covered by a checkpoint.
    base: LogIndex,
    base_ballot: Ballot,
    entries: VecDeque<Entry>,
    /// Payload bytes of the entries that are not known to be committed.
    open_bytes: usize,
}

impl Log {
    pub fn new(base: LogIndex, base_ballot: Ballot) -> Self {
        Self { base, base_ballot, entries: VecDeque::new(), open_bytes: 0 }
    }

    pub fn base(&self) -> LogIndex {
        self.base
    }

    pub fn last(&self) -> (LogIndex, Ballot) {
        self.entries.back().map_or((self.base, self.base_ballot), |e| (e.index, e.ballot))
    }

    pub fn last_index(&self) -> LogIndex {
        self.last().0
    }

    /// The ballot of an entry, of the base, or of "before the log"; None when compacted away or
    /// not there yet.
    pub fn ballot_at(&self, index: LogIndex) -> Option<Ballot> {
        if index == self.base {
            return Some(self.base_ballot);
        }
        self.get(index).map(|e| e.ballot)
    }

    pub fn get(&self, index: LogIndex) -> Option<&Entry> {
        let offset = index.0.checked_sub(self.base.0)?.checked_sub(1)?;
        let entry = self.entries.get(usize::try_from(offset).ok()?)?;
        assert_eq!(entry.index, index, "entries stand by their index");
        Some(entry)
    }

    /// Entries `from..=to` that are here.
    pub fn range(&self, from: LogIndex, to: LogIndex) -> impl Iterator<Item = &Entry> {
        let len = self.entries.len();
        let offset = |i: u64| usize::try_from(i.saturating_sub(self.base.0)).unwrap_or(len);
        let start = offset(from.0.saturating_sub(1)).min(len);
        let end = offset(to.0).min(len).max(start);
        self.entries.range(start..end)
    }

    /// Entries from `from`, at least one if there is one, else at most `bytes_max` in all.
    pub fn batch(&self, from: LogIndex, bytes_max: usize) -> (Vec<Entry>, usize) {
        let mut bytes = 0;
        let mut batch = Vec::new();
        for entry in self.range(from, self.last_index()) {
            if !batch.is_empty() && bytes + entry.size() > bytes_max {
                break;
            }
            bytes += entry.size();
            batch.push(entry.clone());
        }
        (batch, bytes)
    }

    pub fn push(&mut self, entry: Entry) {
        let (index, ballot) = self.last();
        assert_eq!(entry.index, index.next(), "the log has no holes");
        assert!(entry.ballot >= ballot, "ballots never fall along the log");
        self.open_bytes += entry.payload.len();
        self.entries.push_back(entry);
    }

    /// Drops entries at `from` and above.
    pub fn truncate(&mut self, from: LogIndex) {
        assert!(from > self.base, "a checkpoint is never truncated");
        let keep = usize::try_from(from.0 - self.base.0 - 1).expect("a log fits memory");
        let keep = keep.min(self.entries.len());
        let dropped: usize = self.entries.range(keep..).map(|e| e.payload.len()).sum();
        assert!(dropped <= self.open_bytes, "what is committed is never dropped");
        self.open_bytes -= dropped;
        self.entries.truncate(keep);
        assert!(self.last_index() < from, "nothing is left of it");
    }

    /// Entries `from..=to` are committed, for the first time.
    pub fn committed(&mut self, from: LogIndex, to: LogIndex) {
        assert!(to <= self.last_index(), "only what is here is committed");
        let bytes: usize = self.range(from, to).map(|entry| entry.payload.len()).sum();
        assert!(bytes <= self.open_bytes, "what is committed is so once");
        self.open_bytes -= bytes;
    }

    /// Payload bytes of what is not committed.
    pub fn open_bytes(&self) -> usize {
        self.open_bytes
    }

    /// Drops entries at or below `upto`, which a checkpoint covers.
    pub fn compact(&mut self, upto: LogIndex) {
        assert!(upto <= self.last_index(), "only what is here can be compacted");
        while let Some(front) = self.entries.front() {
            if front.index > upto {
                break;
            }
            self.base = front.index;
            self.base_ballot = front.ballot;
            self.entries.pop_front();
        }
        assert!(upto <= self.base || self.entries.is_empty(), "all of it is forgotten");
    }

    /// Whether a log that ends in (`last_ballot`, `last`) is at least as complete as this one
    /// (Raft section 5.4.1).
    pub fn is_not_ahead_of(&self, last: LogIndex, last_ballot: Ballot) -> bool {
        let (index, ballot) = self.last();
        if planted!(VoteIgnoresLog) {
            return true;
        }
        if planted!(VoteByLength) {
            return last >= index;
        }
        (last_ballot, last) >= (ballot, index)
    }

    /// The largest index at or below `at` whose ballot is at most `ballot`: where two logs may
    /// meet. The base when it is not above.
    pub fn meeting_point(&self, at: LogIndex, ballot: Ballot) -> (LogIndex, Ballot) {
        let mut index = at.min(self.last_index());
        while index > self.base {
            let here = self.ballot_at(index).expect("between base and last");
            if here <= ballot {
                assert!(index <= at, "a meeting is no later than was asked");
                return (index, here);
            }
            index = index.prev();
        }
        (self.base, self.base_ballot)
    }
}
