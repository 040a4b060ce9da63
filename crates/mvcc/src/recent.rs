//! The last changes, for watchers that stood at the head when they were made.
//!
//! One batch of entries may make revisions and compact them. Whoever reads the store after the
//! batch finds them gone, and yet a watcher that had seen all before is owed them: it did not lag.
//! So what a batch changed is kept beside the store for a while: the newest batch whole, earlier
//! ones as long as all together are small.

use crate::history::HistoryPage;
use crate::types::Changes;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::planted;

/// Consecutive revisions, shared with the history for as long as that has them too.
#[derive(Debug)]
pub struct Recent {
    /// Each with its weight.
    changes: VecDeque<(Arc<Changes>, usize)>,
    bytes: usize,
    bytes_max: usize,
    /// Those that have gone, to be freed where that may take long.
    gone: Vec<Arc<Changes>>,
}

/// Events of one that is freed at once: some hundred microseconds.
pub const FREED_HERE_MAX: usize = 1_024;
/// What is beside the keys and values of one event; bytes.
const EVENT_OVERHEAD: usize = 200;

/// Of one that takes more than `bytes_max` no more is counted than says so.
fn bytes_of(changes: &Changes, bytes_max: usize) -> usize {
    let mut bytes = 0;
    for e in &changes.events {
        bytes += EVENT_OVERHEAD + e.kv.key.len() + e.kv.value.len();
        if bytes > bytes_max {
            break;
        }
    }
    bytes
}

impl Recent {
    /// Batches before the newest are kept while all take no more than `bytes_max`.
    pub fn new(bytes_max: usize) -> Self {
        Self { changes: VecDeque::new(), bytes: 0, bytes_max, gone: Vec::new() }
    }

    /// Takes what one batch changed, before any watcher looks at the state after it.
    pub fn push(&mut self, batch: &[Arc<Changes>]) {
        for changes in batch {
            assert!(!changes.events.is_empty(), "a revision changes something");
            let follows = |(last, _): &(Arc<Changes>, _)| last.revision + 1 == changes.revision;
            if !self.changes.back().is_none_or(follows) {
                self.clear(); // a checkpoint came in between
            }
            let bytes = bytes_of(changes, self.bytes_max);
            self.bytes += bytes;
            self.changes.push_back((changes.clone(), bytes));
        }
        while self.bytes > self.bytes_max && self.changes.len() > batch.len() {
            self.pop();
        }
        assert!(self.changes.len() >= batch.len(), "the newest batch is kept whole");
        assert_eq!(self.changes.is_empty(), self.bytes == 0, "each revision weighs something");
        debug_assert_eq!(self.bytes, self.changes.iter().map(|(_, bytes)| bytes).sum::<usize>());
    }

    fn pop(&mut self) {
        let (oldest, bytes) = self.changes.pop_front().expect("it holds more than the batch");
        self.bytes -= bytes;
        self.drop(oldest);
    }

    fn drop(&mut self, changes: Arc<Changes>) {
        if changes.events.len() > FREED_HERE_MAX {
            self.gone.push(changes);
        }
    }

    /// Forgets all: nobody watches.
    pub fn clear(&mut self) {
        self.bytes = 0;
        while let Some((changes, _)) = self.changes.pop_front() {
            self.drop(changes);
        }
    }

    /// Long ones that were here: to free one may take as long as making it did.
    pub fn take_gone(&mut self) -> Vec<Arc<Changes>> {
        core::mem::take(&mut self.gone)
    }

    /// What follows for a watcher that has been up to date and has not seen `from`, whatever was
    /// compacted since: revisions up to `upto` whether they concern it or not, with no more than
    /// `events_max` events but for one revision. None when `from` is not here.
    pub fn stretch(&self, (from, upto): (i64, i64), events_max: usize) -> Option<HistoryPage> {
        assert!(from <= upto, "a page makes progress");
        if planted!(CompactedUnderWatcher) {
            return None;
        }
        let (first, _) = self.changes.front()?;
        let skipped = usize::try_from(from.checked_sub(first.revision)?).ok()?;
        if skipped >= self.changes.len() {
            return None;
        }
        let ahead = self.changes.range(skipped..).map(|(changes, _)| changes);
        Some(HistoryPage::stretch(ahead.take_while(|one| one.revision <= upto), from, events_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Command, Event, EventKind, KeyRange, KeyValue, Limits, PutRequest, Store};
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
        let page = |from, upto, max| revisions(recent.stretch((from, upto), max));
        assert_eq!(page(4, 6, 9), Some((Vec::from([4, 5, 6]), 7)));
        assert_eq!(page(4, 6, 2), Some((Vec::from([4, 5]), 6)));
        assert_eq!(page(4, 5, 9), Some((Vec::from([4, 5]), 6)), "the rest is none of its");
        assert_eq!(page(4, 9, 9), Some((Vec::from([4, 5, 6]), 7)), "the rest is not here");
        assert_eq!(page(3, 6, 9), None, "it lagged behind an earlier batch");
        assert_eq!(page(7, 7, 9), None, "nobody has heard of that");
        assert_eq!(page(4, 6, 0), Some((Vec::from([4]), 5)), "one of any length");
    }

    #[test]
    fn earlier_batches_go_once_all_are_large_and_a_gap_ends_them() {
        let (_, made) = compacted_at(9);
        let mut recent = Recent::new(3 * (EVENT_OVERHEAD + 1));
        made[..6].iter().for_each(|one| recent.push(std::slice::from_ref(one)));
        let at =
            |recent: &Recent, from| revisions(recent.stretch((from, 9), 9)).map(|(found, _)| found);
        assert_eq!(at(&recent, 5), Some(Vec::from([5, 6, 7])));
        assert_eq!(at(&recent, 4), None);
        recent.push(&made[7..]);
        assert_eq!(at(&recent, 7), None, "8 came with a checkpoint");
        assert_eq!(at(&recent, 9), Some(Vec::from([9])));
        recent.clear();
        assert_eq!(at(&recent, 9), None);
    }

    /// One revision that deletes so many keys of two bytes.
    fn long(revision: i64, events: usize) -> Arc<Changes> {
        let kv = KeyValue {
            key: b"kk"[..].into(),
            value: b"vvv"[..].into(),
            mod_revision: revision,
            ..KeyValue::default()
        };
        let event = Event { kind: EventKind::Put, kv: kv.into() };
        Arc::new(Changes { revision, events: alloc::vec![event; events] })
    }

    #[test]
    fn an_event_weighs_its_key_and_value_and_what_is_beside_them() {
        let one = EVENT_OVERHEAD + 2 + 3;
        let weight = |events, max| bytes_of(&long(2, events), max);
        assert_eq!([weight(1, 9999), weight(3, 9999)], [one, 3 * one]);
        assert_eq!(weight(3, one), 2 * one, "the second one is too much: enough is known");
        assert_eq!(weight(3, 2 * one - 1), 2 * one);
        assert_eq!(weight(3, 2 * one), 3 * one, "that much is not too much");
    }

    #[test]
    fn what_takes_long_to_free_is_handed_out_and_the_rest_is_freed_here() {
        let lens = [FREED_HERE_MAX, FREED_HERE_MAX + 1, 1, FREED_HERE_MAX + 2, 1];
        let mut recent = Recent::new(0);
        for (revision, events) in (2..).zip(lens) {
            recent.push(&[long(revision, events)]);
        }
        let gone = |recent: &mut Recent| -> Vec<i64> {
            recent.take_gone().iter().map(|changes| changes.revision).collect()
        };
        assert_eq!(gone(&mut recent), [3, 5]);
        assert_eq!(gone(&mut recent), [0; 0], "once");
        recent.push(&[long(7, FREED_HERE_MAX + 1)]);
        recent.clear();
        assert_eq!(gone(&mut recent), [7], "whoever forgets all frees no more here");
    }
}
