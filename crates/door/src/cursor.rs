//! A watcher's place in the history.
//!
//! Nothing is queued for a watcher: what it has not seen is read from a picture of the store when
//! there is room for it, so one that falls behind is simply a cursor further back.

use alloc::sync::Arc;
use alloc::vec::Vec;
use base::planted;
use mvcc::{Changes, Error, Event, EventKind, HistoryPage, KeyRange, KeyValue, Recent, View};

/// Bytes of a key with its value beside the two themselves, in any front's form at most.
pub(crate) const KEY_VALUE_OVERHEAD_BYTES: usize = 64;
/// Bytes of an event beside its keys and values, in any front's form at most.
const EVENT_OVERHEAD_BYTES: usize = 24;

/// What a watcher is to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The keys it watches.
    pub range: KeyRange,
    /// The version before each event too.
    pub prev_kv: bool,
    /// Without what was put.
    pub no_put: bool,
    /// Without what was deleted.
    pub no_delete: bool,
}

impl Wanted {
    fn has(&self, kind: EventKind) -> bool {
        match kind {
            EventKind::Put => !self.no_put,
            EventKind::Delete => !self.no_delete,
        }
    }

    pub(crate) fn wants(&self, event: &Event) -> bool {
        self.range.matches(&event.kv.key) && self.has(event.kind)
    }

    fn bytes(&self, event: &Event) -> usize {
        let size = |kv: &KeyValue| KEY_VALUE_OVERHEAD_BYTES + kv.key.len() + kv.value.len();
        let before = event.prev_kv.as_ref().filter(|_| self.prev_kv);
        EVENT_OVERHEAD_BYTES + size(&event.kv) + before.map_or(0, size)
    }
}

/// How much one step of a cursor may look at and give; each is positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Revisions of one batch.
    pub revisions_max: usize,
    /// Revisions looked at, whether they concern the watcher or not.
    pub scan_max: usize,
    /// A batch is closed once it holds so many bytes, at a revision's end.
    pub bytes_target: usize,
}

impl Bounds {
    pub(crate) const fn are_positive(&self) -> bool {
        self.revisions_max > 0 && self.scan_max > 0 && self.bytes_target > 0
    }
}

/// One watcher: what it wants, and the first revision it has not seen.
#[derive(Clone, Debug)]
pub struct Cursor {
    wanted: Wanted,
    next: i64,
    /// It has been up to date once: what it gets from then on is live.
    synced: bool,
}

impl Cursor {
    /// A watcher of `wanted` from revision `start` on; 0: of what comes after `current`, the
    /// store's revision now.
    pub fn new(wanted: Wanted, start: i64, current: i64) -> Self {
        assert!(start >= 0 && current >= 0, "revisions are counted from 0");
        let live = start == 0;
        let next = if live { current + 1 } else { start };
        let next = next.saturating_add(i64::from(planted!(CatchUpSkips)));
        Self { wanted, next, synced: live || start > current }
    }

    /// The first revision it has not seen.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// It has seen everything up to `revision`.
    pub fn in_sync(&self, revision: i64) -> bool {
        self.next > revision
    }

    /// It may be promised that nothing at or below `revision`, the store's, will follow: it has
    /// seen all, and does not wait for a revision of the future.
    pub fn may_promise(&self, revision: i64) -> bool {
        self.next == revision + 1
    }

    /// What it sees next of `view`; none when nothing that was looked at concerns it. Moves the
    /// cursor, at most by `scan_max` revisions, so it may have to be asked again.
    ///
    /// # Errors
    /// `Compacted` when what it should see next is gone.
    pub fn advance(&mut self, view: &View, bounds: &Bounds) -> Result<Option<Batch>, Error> {
        if self.in_sync(view.revision()) {
            return Ok(None);
        }
        let (most, scan) = (bounds.revisions_max, bounds.scan_max);
        let page = view.history_page(self.next, &self.wanted.range, most, scan)?;
        Ok(self.take(page, view.revision(), bounds))
    }

    /// As [`Cursor::advance`], of the changes heard last, which no compaction takes away from a
    /// watcher that has been up to date. What lies behind `upto` is left.
    ///
    /// # Errors
    /// It has never been up to date, or what it should see next is not there any more.
    pub fn follow(
        &mut self,
        recent: &Recent,
        upto: i64,
        bounds: &Bounds,
    ) -> Result<Option<Batch>, Lags> {
        if self.in_sync(upto) {
            return Ok(None);
        }
        let (most, scan) = (bounds.revisions_max, bounds.scan_max);
        let page = recent.page((self.next, upto), &self.wanted.range, most, scan);
        let page = page.filter(|_| self.synced).ok_or(Lags)?;
        Ok(self.take(page, upto, bounds))
    }

    /// Passes over what does not concern it, up to `next`.
    pub(crate) fn skip_to(&mut self, next: i64) {
        assert!(next >= self.next, "a cursor never goes back");
        self.next = next;
    }

    /// It is up to date with what was heard: no compaction takes from it what comes.
    pub(crate) fn goes_live(&mut self) {
        self.synced = true;
    }

    pub(crate) fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// Makes a batch of what was found; `end` is the last revision there is.
    fn take(&mut self, page: HistoryPage, end: i64, bounds: &Bounds) -> Option<Batch> {
        let (mut next, mut last) = (page.next, self.next);
        let (mut found, mut bytes) = (Vec::new(), 0);
        for (at, changes) in page.changes.iter().enumerate() {
            for (n, event) in changes.events.iter().enumerate() {
                if self.wanted.wants(event) {
                    bytes += self.wanted.bytes(event);
                    found.push((at, n));
                }
            }
            last = changes.revision;
            if bytes >= bounds.bytes_target && at + 1 < page.changes.len() {
                next = last + 1;
                break;
            }
        }
        assert!(last >= self.next, "history never goes backwards");
        assert!(next > self.next, "every page is progress");
        if planted!(ProgressBeforeEvents) {
            next = next.max(end + 1);
        }
        assert_eq!(found.is_empty(), bytes == 0, "an event has bytes");
        let complete = next > end;
        let revision = if complete && !self.synced { end } else { last };
        self.next = next;
        self.synced |= complete;
        if found.is_empty() {
            return None;
        }
        let wanted = self.wanted.clone();
        Some(Batch { changes: page.changes, found, bytes, revision, wanted })
    }
}

/// What a watcher should see next is not among the changes heard last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lags;

/// Events for one watcher: whole revisions, in order, at least one event.
#[derive(Clone, Debug)]
pub struct Batch {
    changes: Vec<Arc<Changes>>,
    /// Which change, and which of its events.
    found: Vec<(usize, usize)>,
    bytes: usize,
    revision: i64,
    wanted: Wanted,
}

/// Some of the events of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Fragment<'a> {
    batch: &'a Batch,
    found: &'a [(usize, usize)],
    /// The rest of the batch follows.
    pub more: bool,
}

impl Batch {
    /// What the answer's header says: the last revision in it, or the store's when the watcher
    /// has caught up with it for the first time.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Its size in any front's form, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// All of it.
    pub fn whole(&self) -> Fragment<'_> {
        Fragment { batch: self, found: &self.found, more: false }
    }

    /// All of it in parts of at most `bytes_max`, but for one event at least.
    pub fn fragments(&self, bytes_max: usize) -> impl Iterator<Item = Fragment<'_>> {
        let mut given = 0;
        core::iter::from_fn(move || {
            let part = self.fragment(given, bytes_max)?;
            given += part.found.len();
            Some(part)
        })
    }

    /// The part behind the first `given` events; none when that was all.
    pub fn fragment(&self, given: usize, bytes_max: usize) -> Option<Fragment<'_>> {
        let rest = self.found.get(given..)?;
        let (first, others) = rest.split_first()?;
        let size = |at: &(usize, usize)| self.wanted.bytes(self.event(*at));
        let mut bytes = size(first);
        let fits = others.iter().take_while(|at| {
            bytes += size(at);
            bytes <= bytes_max
        });
        let (found, later) = rest.split_at(1 + fits.count());
        assert!(!found.is_empty(), "every part is progress");
        Some(Fragment { batch: self, found, more: !later.is_empty() })
    }

    fn event(&self, (at, n): (usize, usize)) -> &Event {
        &self.changes[at].events[n]
    }
}

impl<'a> Fragment<'a> {
    /// Each event, with the version before it where the watcher wants that and there was one.
    pub fn events(self) -> impl ExactSizeIterator<Item = (&'a Event, Option<&'a KeyValue>)> {
        let prev_kv = self.batch.wanted.prev_kv;
        self.found.iter().map(move |at| {
            let event = self.batch.event(*at);
            (event, event.prev_kv.as_ref().filter(|_| prev_kv))
        })
    }
}

#[cfg(test)]
mod tests;
