//! The watchers of one front: what each is sent next, at a cost that only those pay whom a change
//! concerns.
//!
//! A watcher that has seen all is *live*: it stands in an index by what it watches and holds no
//! place in the history. A change that concerns it makes it owe that revision, and it is fed from
//! the changes heard last. One whose next revision is not among those *lags*: it is fed from a
//! picture of the store, at once where that is little, else by an [`Errand`] that can be run
//! anywhere while the others of its stream are served.
//!
//! A picture may be ahead of the changes heard so far. A watcher fed from it stands beyond them
//! then, and what it has seen is passed over when it is heard.

mod errand;
mod watchers;

use base::limits::ERRAND_WATCHERS_MAX;
pub use errand::Errand;

use crate::cursor::{Batch, Bounds, Cursor, Lags, Wanted};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use mvcc::{Changes, Interest, Recent, View};
use watchers::{At, Watchers};

/// One stream of watchers, as its feed knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(u64);

/// How much is kept, looked at and given at a time.
#[derive(Clone, Copy, Debug)]
pub struct FeedLimits {
    /// Of one watcher in one step.
    pub bounds: Bounds,
    /// A watcher that lags by no more revisions is fed at once and not by an errand.
    pub near_max: i64,
    /// Bytes of changes that are kept besides the newest batch.
    pub recent_bytes_max: usize,
}

/// What a stream has to tell.
#[derive(Clone, Debug)]
pub enum Told {
    /// Events of a watcher.
    Events {
        /// Whose.
        watcher: i64,
        /// Which.
        batch: Batch,
    },
    /// History that a watcher still needed is gone, and so is the watcher.
    Compacted {
        /// Who.
        watcher: i64,
        /// Up to where.
        revision: i64,
    },
    /// Nothing at or below this revision will follow, for any watcher.
    Progress(i64),
}

/// The watchers of one front, by stream.
pub struct Feed {
    limits: FeedLimits,
    recent: Recent,
    interest: Interest<(StreamId, i64)>,
    streams: BTreeMap<StreamId, Watchers>,
    /// Streams that are to tell their progress once more has been heard.
    awaiting: BTreeSet<StreamId>,
    /// Revision of the last change heard, or of the store when it was replaced.
    head: i64,
    opened: u64,
    /// How often a change met a watcher.
    #[cfg(test)]
    pub(crate) met: u64,
}

impl Feed {
    /// Hears of every change after `current`, the store's revision.
    pub fn new(limits: FeedLimits, current: i64) -> Self {
        assert!(current >= 0, "revisions are counted from 0");
        assert!(limits.bounds.are_positive(), "every step is progress");
        Self {
            limits,
            recent: Recent::new(limits.recent_bytes_max),
            interest: Interest::default(),
            streams: BTreeMap::new(),
            awaiting: BTreeSet::new(),
            head: current,
            opened: 0,
            #[cfg(test)]
            met: 0,
        }
    }

    /// A new stream.
    pub fn open(&mut self) -> StreamId {
        self.opened += 1;
        let stream = StreamId(self.opened);
        let before = self.streams.insert(stream, Watchers::default());
        assert!(before.is_none(), "a stream's number is given once");
        stream
    }

    /// Ends a stream with all its watchers.
    pub fn close(&mut self, stream: StreamId) {
        self.awaiting.remove(&stream);
        let watchers = self.streams.remove(&stream);
        for (id, range) in watchers.iter().flat_map(Watchers::ranges) {
            self.interest.remove(range, (stream, id));
        }
    }

    /// Streams that are open.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Takes what was applied, in order, and says whom that gave something to do. No change is to
    /// be heard before a picture of the store has it.
    pub fn hear(&mut self, batch: &[Arc<Changes>]) -> BTreeSet<StreamId> {
        let mut rung = BTreeSet::new();
        let known = batch.iter().take_while(|changes| changes.revision <= self.head).count();
        let batch = &batch[known..];
        for changes in batch {
            if changes.revision > self.head + 1 {
                rung.append(&mut self.replaced(changes.revision - 1));
            }
            assert!(changes.revision > self.head, "changes are heard in order");
            self.head = changes.revision;
            for event in &changes.events {
                for (stream, id) in self.interest.matching(&event.kv.key) {
                    #[cfg(test)]
                    (self.met += 1);
                    let watchers = self.streams.get_mut(&stream).expect("the index has no other");
                    if watchers.concerns(id, event, changes.revision) {
                        rung.insert(stream);
                    }
                }
            }
        }
        if self.interest.is_empty() {
            self.recent.clear();
        } else {
            self.recent.push(batch);
        }
        rung.append(&mut self.awaiting);
        rung
    }

    /// The store was replaced by one at `current` or before it: what lies between is in no change
    /// that will be heard. Says whom that gave something to do.
    pub fn replaced(&mut self, current: i64) -> BTreeSet<StreamId> {
        let mut rung = core::mem::take(&mut self.awaiting);
        for (stream, watchers) in &mut self.streams {
            if watchers.missed(self.head, current) {
                rung.insert(*stream);
            }
        }
        self.head = self.head.max(current);
        rung
    }

    /// A watcher of `wanted` from revision `start` on; 0: of what comes after `current`, the
    /// store's revision that its client is told. The id is free.
    pub fn watch(
        &mut self,
        (stream, id): (StreamId, i64),
        wanted: Wanted,
        start: i64,
        current: i64,
    ) {
        let Some(watchers) = self.streams.get_mut(&stream) else { return };
        self.interest.insert(&wanted.range, (stream, id));
        watchers.insert(id, Cursor::new(wanted, start, current), current);
    }

    /// Ends a watcher, and the errand that it is on; false when there is none of that id.
    pub fn unwatch(&mut self, stream: StreamId, id: i64) -> bool {
        let removed = self.streams.get_mut(&stream).and_then(|watchers| watchers.remove(id));
        if let Some(cursor) = &removed {
            self.interest.remove(&cursor.wanted().range, (stream, id));
        }
        removed.is_some()
    }

    /// The stream is to tell its progress, at `current` or later, once nothing is owed.
    pub fn want_progress(&mut self, stream: StreamId, current: i64) {
        if let Some(watchers) = self.streams.get_mut(&stream) {
            watchers.want_progress(current);
        }
    }

    /// What a quiet watcher may be promised: that nothing at or below this revision will follow.
    /// None while something is owed to it, and while it waits for a revision of the future.
    pub fn quiet(&self, stream: StreamId, id: i64) -> Option<i64> {
        let may = self.streams.get(&stream).is_some_and(|w| w.may_promise(id, self.head));
        may.then_some(self.head)
    }

    /// True when [`Feed::next`] may have something to tell, or [`Feed::begin`] to do. False means
    /// that the stream is among those that are said to have something to do once that is so.
    pub fn has_work(&mut self, stream: StreamId) -> bool {
        self.has_at_hand(stream) || self.wants_errand(stream)
    }

    /// As [`Feed::has_work`], of [`Feed::next`] alone.
    pub fn has_at_hand(&mut self, stream: StreamId) -> bool {
        let Some(watchers) = self.streams.get(&stream) else { return false };
        let (ready, waits) = watchers.progress(self.head);
        assert!(!(ready && waits), "a promise can be given or waits");
        if waits {
            self.awaiting.insert(stream);
        }
        ready || watchers.has_due()
    }

    /// As [`Feed::has_work`], of [`Feed::begin`] alone.
    pub fn wants_errand(&self, stream: StreamId) -> bool {
        let watchers = self.streams.get(&stream);
        watchers.is_some_and(|watchers| watchers.has_lagging() && !watchers.is_out())
    }

    /// What the stream tells next, as far as that is at hand; `view` is asked for a picture of the
    /// store once at most.
    pub fn next(&mut self, stream: StreamId, view: impl Fn() -> View) -> Option<Told> {
        let watchers = self.streams.get_mut(&stream)?;
        let (mut picture, mut looks) = (None, self.limits.bounds.scan_max as i64);
        while looks > 0
            && let Some((id, cursor, upto)) = watchers.take_due()
        {
            let (from, bounds) = (cursor.next(), &self.limits.bounds);
            let moved = match cursor.follow(&self.recent, upto, bounds) {
                Ok(found) => Ok(found),
                Err(Lags) if upto - from < self.limits.near_max => {
                    cursor.advance(picture.get_or_insert_with(&view), bounds)
                }
                Err(Lags) => {
                    watchers.lags(id);
                    continue;
                }
            };
            assert!(cursor.next() >= from, "a cursor never goes back");
            looks -= (cursor.next() - from).max(1);
            match (moved, &picture) {
                (Ok(found), _) => {
                    watchers.moved(id);
                    if let Some(batch) = found {
                        return Some(Told::Events { watcher: id, batch });
                    }
                }
                (Err(_), Some(view)) => {
                    let revision = view.compact_revision();
                    self.unwatch(stream, id);
                    return Some(Told::Compacted { watcher: id, revision });
                }
                (Err(_), None) => unreachable!("only a picture can lack something"),
            }
        }
        watchers.take_progress(self.head).map(Told::Progress)
    }

    /// Sends those of the stream who lag on an errand, unless there is one already.
    pub fn begin(&mut self, stream: StreamId, view: impl FnOnce() -> View) -> Option<Errand> {
        let watchers = self.streams.get_mut(&stream)?;
        if watchers.is_out() || !watchers.has_lagging() {
            return None;
        }
        let (number, members) = watchers.send(ERRAND_WATCHERS_MAX);
        assert!(watchers.is_out(), "until it is taken back, nobody else is sent");
        Some(Errand::new((stream, number), view(), members, self.limits.bounds))
    }

    /// An errand that only tells these events, which are long: nothing else is told of their
    /// watcher before it has ended.
    ///
    /// # Errors
    /// The events, when an errand is under way, and what are none.
    pub fn entrust(&mut self, stream: StreamId, told: Told) -> Result<Errand, Told> {
        let Told::Events { watcher, .. } = &told else { return Err(told) };
        let free = self.streams.get_mut(&stream).filter(|watchers| !watchers.is_out());
        match free.and_then(|watchers| watchers.send_one(*watcher)) {
            Some(number) => Ok(Errand::of((stream, number), told, self.limits.bounds)),
            None => Err(told),
        }
    }

    /// True while an errand of the stream is under way.
    pub fn is_out(&self, stream: StreamId) -> bool {
        self.streams.get(&stream).is_some_and(Watchers::is_out)
    }

    /// Takes an errand back, and tells what came of it; false when it was not awaited any more.
    pub fn end(&mut self, errand: &Errand) -> bool {
        let (stream, number) = errand.of_whom();
        let Some(watchers) = self.streams.get_mut(&stream) else { return false };
        if !watchers.back(number, errand) {
            return false;
        }
        assert!(!watchers.is_out(), "who came back is not out");
        if let Some(Told::Compacted { watcher, .. }) = errand.told() {
            self.unwatch(stream, *watcher);
        }
        true
    }
}

impl At {
    /// It waits for nobody.
    const fn is_quiet(self) -> bool {
        matches!(self, Self::Quiet)
    }
}

#[cfg(test)]
mod tests;
