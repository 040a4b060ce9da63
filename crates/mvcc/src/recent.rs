//! The last changes, for watchers that stood at the head when they were made.
//!
//! One batch of entries may make revisions and compact them. Whoever reads the store after the
//! batch finds them gone, and yet a watcher that had seen all before is owed them: it did not lag.
//! So what a batch changed is kept beside the store for a while: the newest batch whole, earlier
//! ones as long as all together are small.

use crate::command::Error;
use crate::key_range::KeyRange;
use crate::types::Changes;
use crate::view::{HistoryPage, View};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
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

    /// What a watcher that has not seen `from` is sent next; see [`View::history_page`]. One that
    /// is `live`, because it has been up to date, is also sent what only a compaction since took
    /// away.
    ///
    /// # Errors
    /// `Compacted` when `from` is gone.
    pub fn page(
        &self,
        view: &View,
        (from, live): (i64, bool),
        range: &KeyRange,
        max: usize,
        scan_max: usize,
    ) -> Result<HistoryPage, Error> {
        let gone = match view.history_page(from, range, max, scan_max) {
            Err(gone) if live && !planted!(CompactedUnderWatcher) => gone,
            page => return page,
        };
        let first = self.changes.front().map_or(i64::MAX, |changes| changes.revision);
        let Some(skipped) = from.checked_sub(first).and_then(|n| usize::try_from(n).ok()) else {
            return Err(gone);
        };
        let ahead = self.changes.range(skipped.min(self.changes.len())..).take(scan_max);
        let mut page = HistoryPage { changes: alloc::vec::Vec::new(), next: from };
        for changes in ahead {
            if changes.touches(range) {
                page.changes.push(changes.clone());
            }
            page.next = changes.revision + 1;
            if page.changes.len() == max {
                break;
            }
        }
        assert!(page.next >= from && page.changes.len() <= max, "a page goes on, and is bounded");
        if page.next == from { Err(gone) } else { Ok(page) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Command, Limits, PutRequest, Store};
    use alloc::vec::Vec;
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

    fn revisions(page: Result<HistoryPage, Error>) -> Option<(Vec<i64>, i64)> {
        let page = page.ok()?;
        Some((page.changes.iter().map(|changes| changes.revision).collect(), page.next))
    }

    #[test]
    fn a_live_watcher_is_sent_what_its_batch_changed_and_compacted() {
        let (store, made) = compacted_at(6);
        let view = store.view();
        let mut recent = Recent::new(0);
        recent.push(&made[2..]); // revisions 4 to 6 in one batch
        let page = |from, live, max| revisions(recent.page(&view, (from, live), &all(), max, 9));
        assert_eq!(page(4, true, 9), Some((Vec::from([4, 5, 6]), 7)));
        assert_eq!(page(4, true, 2), Some((Vec::from([4, 5]), 6)));
        assert_eq!(page(4, false, 9), None, "who begins there begins below the compaction");
        assert_eq!(page(3, true, 9), None, "it lagged behind an earlier batch");
        assert_eq!(page(6, true, 9), Some((Vec::from([6]), 7)), "the history has it");
        let one = KeyRange::new(&b"b"[..], &b""[..]);
        let found = revisions(recent.page(&view, (4, true), &one, 9, 9));
        assert_eq!(found, Some((Vec::from([5]), 7)));
        let scan = revisions(recent.page(&view, (4, true), &one, 9, 1));
        assert_eq!(scan, Some((Vec::new(), 5)), "it looks no further than it may");
    }

    #[test]
    fn earlier_batches_go_once_all_are_large_and_a_gap_ends_them() {
        let (store, made) = compacted_at(9);
        let view = store.view();
        let mut recent = Recent::new(3 * (EVENT_OVERHEAD + 1));
        made[..6].iter().for_each(|one| recent.push(std::slice::from_ref(one)));
        let at = |recent: &Recent, from| {
            revisions(recent.page(&view, (from, true), &all(), 9, 9)).map(|(found, _)| found)
        };
        assert_eq!(at(&recent, 5), Some(Vec::from([5, 6, 7])));
        assert_eq!(at(&recent, 4), None);
        recent.push(&made[7..]);
        assert_eq!(at(&recent, 7), None, "8 came with a checkpoint");
        recent.clear();
        assert_eq!(at(&recent, 8), None);
    }
}
