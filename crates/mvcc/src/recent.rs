//! The last changes, for watchers that stood at the head when they were made.
//!
//! One batch of entries may make revisions and compact them. Whoever reads the store after the
//! batch finds them gone, and yet a watcher that had seen all before is owed them: it did not lag.
//! So what a batch changed is kept beside the store for a while: the newest batch whole, earlier
//! ones as long as all together are small.

use crate::key_range::KeyRange;
use crate::types::Changes;
use crate::view::HistoryPage;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::planted;

/// Consecutive revisions, shared with the history for as long as that has them too.
#[derive(Debug)]
pub struct Recent {
    changes: VecDeque<Arc<Changes>>,
    bytes: usize,
    bytes_max: usize,
}

/// What is beside the keys and values of one event; bytes.
const EVENT_OVERHEAD: usize = 200;

fn bytes_of(changes: &Changes) -> usize {
    let events = changes.events.iter();
    events.map(|e| EVENT_OVERHEAD + e.kv.key.len() + e.kv.value.len()).sum()
}

impl Recent {
    /// Batches before the newest are kept while all take no more than `bytes_max`.
    pub fn new(bytes_max: usize) -> Self {
        Self { changes: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Takes what one batch changed, before any watcher looks at the state after it.
    pub fn push(&mut self, batch: &[Arc<Changes>]) {
        for changes in batch {
            assert!(!changes.events.is_empty(), "a revision changes something");
            let follows = |last: &Arc<Changes>| last.revision + 1 == changes.revision;
            if !self.changes.back().is_none_or(follows) {
                self.clear(); // a checkpoint came in between
            }
            self.bytes += bytes_of(changes);
            self.changes.push_back(changes.clone());
        }
        while self.bytes > self.bytes_max && self.changes.len() > batch.len() {
            let oldest = self.changes.pop_front().expect("it holds more than the batch");
            self.bytes -= bytes_of(&oldest);
        }
        assert!(self.changes.len() >= batch.len(), "the newest batch is kept whole");
        assert_eq!(self.changes.is_empty(), self.bytes == 0, "each revision weighs something");
        debug_assert_eq!(self.bytes, self.changes.iter().map(|one| bytes_of(one)).sum::<usize>());
    }

    /// Forgets all: nobody watches.
    pub fn clear(&mut self) {
        self.changes.clear();
        self.bytes = 0;
    }

    /// What a watcher that has been up to date and has not seen `from` is sent next, as
    /// [`View::history_page`](crate::View::history_page) would tell it of revisions up to `upto`,
    /// and whatever was compacted since. None when `from` is not here.
    pub fn page(
        &self,
        (from, upto): (i64, i64),
        range: &KeyRange,
        max: usize,
        scan_max: usize,
    ) -> Option<HistoryPage> {
        assert!(from <= upto && max > 0 && scan_max > 0, "a page makes progress");
        if planted!(CompactedUnderWatcher) {
            return None;
        }
        let first = self.changes.front()?.revision;
        let skipped = usize::try_from(from.checked_sub(first)?).ok()?;
        if skipped >= self.changes.len() {
            return None;
        }
        let ahead = self.changes.range(skipped..).take(scan_max);
        let mut page = HistoryPage { changes: Vec::new(), next: from };
        for changes in ahead.take_while(|changes| changes.revision <= upto) {
            if changes.touches(range) {
                page.changes.push(changes.clone());
            }
            page.next = changes.revision + 1;
            if page.changes.len() == max {
                break;
            }
        }
        assert!(page.next >= from && page.changes.len() <= max, "a page goes on, and is bounded");
        Some(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Command, Limits, PutRequest, Store};
    use base::{Blob, ClusterTime, LogIndex};

    /// A store at this revision, compacted there, and what each put changed.
    fn compacted_at(revision: i64) -> (Store, Vec<Arc<Changes>>) {
        let mut store = Store::new(Limits::default());
        let put = |n: i64| {
            let key = Blob::from(&[b'a' + (n % 2) as u8][..]);
            Command::Put(PutRequest { key, ..PutRequest::default() })
        };
        let mut run = |command: &Command| {
            let index = store.applied_index().next();
            store.apply(index, ClusterTime(index.0), command).changes
        };
        let made = (2..=revision).map(|n| run(&put(n)).expect("a put makes a revision")).collect();
        assert!(run(&Command::Compact { revision }).is_none());
        assert_eq!(store.applied_index(), LogIndex(revision as u64));
        (store, made)
    }

    fn all() -> KeyRange {
        KeyRange::new(&b"a"[..], &b"z"[..])
    }

    fn revisions(page: Option<HistoryPage>) -> Option<(Vec<i64>, i64)> {
        let page = page?;
        Some((page.changes.iter().map(|changes| changes.revision).collect(), page.next))
    }

    #[test]
    fn a_live_watcher_is_sent_what_its_batch_changed_and_compacted() {
        let (store, made) = compacted_at(6);
        assert!(store.view().history_page(4, &all(), 9, 9).is_err(), "the store has it no more");
        let mut recent = Recent::new(0);
        recent.push(&made[2..]); // revisions 4 to 6 in one batch
        let page = |from, upto, max| revisions(recent.page((from, upto), &all(), max, 9));
        assert_eq!(page(4, 6, 9), Some((Vec::from([4, 5, 6]), 7)));
        assert_eq!(page(4, 6, 2), Some((Vec::from([4, 5]), 6)));
        assert_eq!(page(4, 5, 9), Some((Vec::from([4, 5]), 6)), "the rest is none of its");
        assert_eq!(page(4, 9, 9), Some((Vec::from([4, 5, 6]), 7)), "the rest is not here");
        assert_eq!(page(3, 6, 9), None, "it lagged behind an earlier batch");
        assert_eq!(page(7, 7, 9), None, "nobody has heard of that");
        let one = KeyRange::new(&b"b"[..], &b""[..]);
        let found = revisions(recent.page((4, 6), &one, 9, 9));
        assert_eq!(found, Some((Vec::from([5]), 7)));
        let scan = revisions(recent.page((4, 6), &one, 9, 1));
        assert_eq!(scan, Some((Vec::new(), 5)), "it looks no further than it may");
    }

    #[test]
    fn earlier_batches_go_once_all_are_large_and_a_gap_ends_them() {
        let (_, made) = compacted_at(9);
        let mut recent = Recent::new(3 * (EVENT_OVERHEAD + 1));
        made[..6].iter().for_each(|one| recent.push(std::slice::from_ref(one)));
        let at = |recent: &Recent, from| {
            revisions(recent.page((from, 9), &all(), 9, 9)).map(|(found, _)| found)
        };
        assert_eq!(at(&recent, 5), Some(Vec::from([5, 6, 7])));
        assert_eq!(at(&recent, 4), None);
        recent.push(&made[7..]);
        assert_eq!(at(&recent, 7), None, "8 came with a checkpoint");
        assert_eq!(at(&recent, 9), Some(Vec::from([9])));
        recent.clear();
        assert_eq!(at(&recent, 9), None);
    }
}
