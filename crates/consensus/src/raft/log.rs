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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::EntryKind;
    use crate::raft::message::ENTRY_OVERHEAD;
    use base::Blob;

    /// Behind a checkpoint at 3 of ballot 1.1: entries 4 to 8 of terms 1, 1, 2, 4, 4, with 1 to 5
    /// bytes.
    fn log() -> Log {
        let mut log = Log::new(LogIndex(3), Ballot::new(1, 1));
        for (size, term) in (1..).zip([1, 1, 2, 4, 4]) {
            let (index, payload) = (LogIndex(3 + size as u64), Blob::from(alloc::vec![7; size]));
            log.push(Entry { index, ballot: Ballot::new(term, 1), kind: EntryKind::Data, payload });
        }
        log
    }

    fn indices<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Vec<u64> {
        entries.into_iter().map(|entry| entry.index.0).collect()
    }

    #[test]
    fn bytes_that_wait_are_those_of_entries_neither_committed_nor_dropped() {
        let mut log = log();
        assert_eq!(log.open_bytes(), 15);
        log.committed(LogIndex(4), LogIndex(5));
        assert_eq!(log.open_bytes(), 12, "entries 4 and 5 are of 1 and 2");
        log.truncate(LogIndex(7));
        assert_eq!((log.open_bytes(), log.last_index()), (3, LogIndex(6)), "7 and 8 are gone");
        log.compact(LogIndex(5));
        assert_eq!((log.open_bytes(), log.base()), (3, LogIndex(5)), "what is cut was committed");
        log.truncate(LogIndex(6));
        assert_eq!((log.open_bytes(), log.last()), (0, (LogIndex(5), Ballot::new(1, 1))));
    }

    #[test]
    fn a_log_is_read_above_its_base_only() {
        let mut log = log();
        log.compact(LogIndex(5));
        let places = (4..=9).map(|index| log.ballot_at(LogIndex(index)).map(|b| b.term.0));
        let terms = [None, Some(1), Some(2), Some(4), Some(4), None];
        assert_eq!(places.collect::<Vec<_>>(), terms);
        assert_eq!(indices(log.get(LogIndex(6))), [6]);
        assert_eq!(indices(log.get(LogIndex(5))), [], "the checkpoint covers it");
        assert_eq!(indices(log.range(LogIndex(1), LogIndex(7))), [6, 7]);
        assert_eq!(indices(log.range(LogIndex(7), LogIndex(99))), [7, 8]);
        assert_eq!(indices(log.range(LogIndex(8), LogIndex(7))), []);
    }

    #[test]
    fn a_batch_fills_its_bytes_exactly_and_is_never_empty() {
        let log = log();
        let three = 3 * ENTRY_OVERHEAD + 1 + 2 + 3;
        for (bytes_max, taken, bytes) in [
            (0, 1, ENTRY_OVERHEAD + 1),
            (three - 1, 2, 2 * ENTRY_OVERHEAD + 3),
            (three, 3, three),
            (usize::MAX, 5, 5 * ENTRY_OVERHEAD + 15),
        ] {
            let (batch, size) = log.batch(LogIndex(4), bytes_max);
            assert_eq!((batch.len(), size), (taken, bytes), "at most {bytes_max}");
            assert_eq!(indices(&batch)[0], 4);
        }
        assert_eq!(log.batch(LogIndex(9), 99), (Vec::new(), 0), "there is none");
    }

    #[test]
    fn logs_are_compared_by_the_ballot_of_their_ends_and_then_by_length() {
        let log = log();
        for (last, term, suits) in [(8, 4, true), (9, 4, true), (7, 4, false), (99, 3, false)] {
            let found = log.is_not_ahead_of(LogIndex(last), Ballot::new(term, 1));
            assert_eq!(found, suits, "one that ends in {last} of term {term}");
        }
        assert!(log.is_not_ahead_of(LogIndex(4), Ballot::new(5, 1)));
    }

    #[test]
    fn logs_may_meet_where_the_ballot_is_no_higher_and_else_at_the_base() {
        let log = log();
        for (at, term, meet) in
            [(9, 4, 8), (7, 4, 7), (8, 3, 6), (6, 2, 6), (8, 1, 5), (8, 0, 3), (3, 9, 3), (1, 9, 3)]
        {
            let (index, ballot) = log.meeting_point(LogIndex(at), Ballot::new(term, 1));
            assert_eq!(index, LogIndex(meet), "at most {at}, of term {term}");
            assert_eq!(Some(ballot), log.ballot_at(index));
        }
    }
}
