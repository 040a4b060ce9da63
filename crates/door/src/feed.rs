//! The watchers of one front: what each is sent next, at a cost that only those pay whom a change
//! concerns.
//!
//! A watcher that has seen all is *live*: it stands in an index by what it watches and holds no
//! place in the history. A change that concerns it makes it owe that revision, and it is fed from
//! the changes heard last. One whose next revision is not among those *lags*: it is fed from a
//! picture of the store, at once where that is little, else by an [`Errand`] that can be run
//! anywhere while the others of its stream are served.
//!
//! Nothing here takes long, whatever was changed and whoever watches: to hear is to do so much and
//! to go on later, and what of a large change is a watcher's is found out by an errand too.
//!
//! A picture may be ahead of the changes heard so far. A watcher fed from it stands beyond them
//! then, and what it has seen is passed over when it is heard.

mod errand;
mod hearing;
mod watchers;

use base::limits::ERRAND_WATCHERS_MAX;
pub use errand::Errand;

use crate::cursor::{Batch, Bounds, Cursor, Wanted};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use hearing::{Heard, Hearing, Run, Unheard};
use mvcc::{Changes, Event, FREED_HERE_MAX, Interest, Recent, Values, View};
use watchers::{At, Watchers};

/// One stream of watchers, as its feed knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(u64);

/// How much is kept, looked at and given at a time.
#[derive(Clone, Copy, Debug)]
pub struct FeedLimits {
    /// Of one watcher in one step of an errand.
    pub bounds: Bounds,
    /// Events that are gone through at hand, of one watcher and in one step. Whoever may be
    /// concerned by more of them is fed by an errand.
    pub at_hand_max: usize,
    /// Bytes of a batch that is given at hand: whoever has to write down more does so apart.
    pub at_hand_bytes_max: usize,
    /// A watcher that lags by no more revisions is fed at once and not by an errand.
    pub near_max: i64,
    /// Bytes of an errand's batches at which it looks for no more.
    pub errand_bytes_max: usize,
    /// Watchers and events that are looked at in one go when something is heard; 2 at least.
    pub hear_max: usize,
    /// Bytes of changes that are kept besides the newest batch.
    pub recent_bytes_max: usize,
}

impl FeedLimits {
    const fn are_positive(&self) -> bool {
        let steps = self.at_hand_max > 0 && self.errand_bytes_max > 0 && self.hear_max > 1;
        steps && self.bounds.are_positive()
    }
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
    /// What a watcher should see next cannot be read here, and so the watcher is gone.
    Unreadable {
        /// Who.
        watcher: i64,
        /// What, and where.
        why: String,
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
    hearing: Hearing,
    /// Streams that have ended, until none of their watchers is in the index any more.
    closing: Vec<(StreamId, Watchers)>,
    /// Changes that nobody needs here, to be freed where that may take long.
    gone: Vec<Arc<Changes>>,
    /// Revision of the last change heard to its end, or of the store when it was replaced.
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
        assert!(limits.are_positive(), "every step is progress");
        Self {
            limits,
            recent: Recent::new(limits.recent_bytes_max),
            interest: Interest::default(),
            streams: BTreeMap::new(),
            awaiting: BTreeSet::new(),
            hearing: Hearing::new(current),
            closing: Vec::new(),
            gone: Vec::new(),
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

    /// Ends a stream with all its watchers. Where those are many the index forgets them later:
    /// see [`Feed::is_behind`].
    pub fn close(&mut self, stream: StreamId) {
        self.awaiting.remove(&stream);
        if let Some(watchers) = self.streams.remove(&stream) {
            self.closing.push((stream, watchers));
            let mut looks = self.limits.hear_max;
            self.forget(&mut looks);
        }
    }

    fn forget(&mut self, looks: &mut usize) {
        while *looks > 0
            && let Some((stream, watchers)) = self.closing.last_mut()
        {
            *looks -= 1;
            match watchers.pop() {
                Some((id, range)) => {
                    self.interest.remove(&range, (*stream, id));
                }
                None => drop(self.closing.pop()),
            }
        }
    }

    /// Streams that are open.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Watchers of all streams.
    pub fn watchers(&self) -> usize {
        self.interest.len()
    }

    /// Takes what was applied, in order, and says whom that gave something to do, as far as that
    /// is found out in one go: see [`Feed::is_behind`]. No change is to be heard before a picture
    /// of the store has it.
    pub fn hear(&mut self, batch: &[Arc<Changes>]) -> BTreeSet<StreamId> {
        let untold = self.hearing.push(batch);
        self.gone.extend(untold);
        self.go_on()
    }

    /// The store was replaced by one at `current` or before it: what lies between is in no change
    /// that will be heard. Says whom that gave something to do, as [`Feed::hear`].
    pub fn replaced(&mut self, current: i64) -> BTreeSet<StreamId> {
        self.hearing.replaced(current);
        self.go_on()
    }

    /// True while [`Feed::go_on`] is to be called, when others have had their turn.
    pub fn is_behind(&self) -> bool {
        !self.hearing.is_empty() || !self.closing.is_empty()
    }

    /// Changes that are to be dropped where it does no harm that it takes long.
    pub fn take_gone(&mut self) -> Vec<Arc<Changes>> {
        self.gone.append(&mut self.recent.take_gone());
        core::mem::take(&mut self.gone)
    }

    /// Goes on with what is to be heard, and says whom that gave something to do.
    pub fn go_on(&mut self) -> BTreeSet<StreamId> {
        let (before, mut rung) = (self.head, BTreeSet::new());
        let mut looks = self.limits.hear_max;
        while looks > 0
            && let Some(mut unheard) = self.hearing.next()
        {
            let all = match &mut unheard {
                Unheard::Batch(heard) => self.hear_some(heard, &mut looks, &mut rung),
                Unheard::Replaced(current, after) => {
                    self.miss(*current, after, &mut looks, &mut rung)
                }
            };
            match unheard {
                unheard if !all => self.hearing.pause(unheard),
                Unheard::Batch(heard) => {
                    self.gone.extend(heard.changes.into_iter().filter(is_long))
                }
                Unheard::Replaced(..) => {}
            }
        }
        self.forget(&mut looks);
        if self.head > before {
            rung.append(&mut self.awaiting);
        }
        rung
    }

    /// True once all of the batch is heard.
    fn hear_some(
        &mut self,
        heard: &mut Heard,
        looks: &mut usize,
        rung: &mut BTreeSet<StreamId>,
    ) -> bool {
        if heard.is_new() {
            if self.interest.is_empty() {
                self.recent.clear();
            } else {
                self.recent.push(&heard.changes);
            }
        }
        while let Some(changes) = heard.changes.get(heard.at) {
            let revision = changes.revision;
            assert!(revision > self.head, "changes are heard in order");
            let streams = &mut self.streams;
            #[cfg(test)]
            let met = &mut self.met;
            let concerns = |(stream, id), event: Option<&Event>| {
                #[cfg(test)]
                (*met += 1);
                // A stream that is not there has ended and is being forgotten.
                let watchers = streams.get_mut(&stream);
                if watchers.is_some_and(|watchers| watchers.concerns(id, event, revision)) {
                    rung.insert(stream);
                }
            };
            if !heard.run.go_on(&changes.events, &self.interest, looks, concerns) {
                return false;
            }
            self.head = revision;
            (heard.at, heard.run) = (heard.at + 1, Run::default());
        }
        true
    }

    /// True once it is said of everybody that something may be missing up to `current`.
    fn miss(
        &mut self,
        current: i64,
        place: &mut Option<(StreamId, Option<i64>)>,
        looks: &mut usize,
        rung: &mut BTreeSet<StreamId>,
    ) -> bool {
        if current <= self.head {
            return true;
        }
        let from = place.map_or(StreamId(0), |(stream, _)| stream);
        for (stream, watchers) in self.streams.range_mut(from..) {
            if *looks == 0 {
                *place = Some((*stream, None));
                return false;
            }
            *looks -= 1;
            let after = place.filter(|(at, _)| at == stream).and_then(|(_, id)| id);
            let (stopped, rings) = watchers.missed((self.head, current), after, looks);
            if rings {
                rung.insert(*stream);
            }
            if let Some(id) = stopped {
                *place = Some((*stream, id));
                return false;
            }
        }
        self.head = current;
        true
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
    pub fn next(
        &mut self,
        stream: StreamId,
        view: impl Fn() -> View,
        at_hand: &mut dyn Values,
    ) -> Option<Told> {
        let watchers = self.streams.get_mut(&stream)?;
        let limits = &self.limits;
        let bounds = &Bounds { events_max: limits.at_hand_max, ..limits.bounds };
        let (mut picture, mut looks) = (None, limits.at_hand_max);
        while looks > 0
            && let Some((id, cursor, upto)) = watchers.take_due()
        {
            looks -= 1;
            let search = match cursor.hears(&self.recent, upto, bounds) {
                Some(search) => Ok(Some(search)),
                // What is not at hand is far.
                None if upto - cursor.next() < limits.near_max => {
                    let view = picture.get_or_insert_with(&view);
                    cursor.look(view, bounds, at_hand).unwrap_or(Ok(None))
                }
                None => Ok(None),
            };
            let Ok(search) = search else {
                let revision = picture.map_or(upto, |view| view.compact_revision());
                self.unwatch(stream, id);
                return Some(Told::Compacted { watcher: id, revision });
            };
            let near = search.filter(|search| search.events() <= limits.at_hand_max);
            let Some(mut search) = near else {
                watchers.lags(id);
                continue;
            };
            looks = looks.saturating_sub(search.events());
            let mut endless = usize::MAX;
            assert!(search.run(cursor.wanted(), bounds, &mut endless), "it is gone through");
            if search.bytes() > limits.at_hand_bytes_max {
                watchers.lags(id);
                continue;
            }
            let batch = cursor.take(search);
            watchers.moved(id);
            if let Some(batch) = batch {
                return Some(Told::Events { watcher: id, batch });
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
        let limits = &self.limits;
        let bounds = Bounds { events_max: limits.at_hand_max, ..limits.bounds };
        let (number, members) = watchers.send(ERRAND_WATCHERS_MAX, &self.recent, &bounds);
        assert!(watchers.is_out(), "until it is taken back, nobody else is sent");
        let enough = (limits.bounds, limits.errand_bytes_max);
        Some(Errand::new((stream, number), view(), members, enough))
    }

    /// True while an errand of the stream is under way.
    pub fn is_out(&self, stream: StreamId) -> bool {
        self.streams.get(&stream).is_some_and(Watchers::is_out)
    }

    /// Takes an errand back; false when it was not awaited any more, and nothing came of it.
    pub fn end(&mut self, errand: &Errand) -> bool {
        let (stream, number) = errand.of_whom();
        let Some(watchers) = self.streams.get_mut(&stream) else { return false };
        if !watchers.back(number, errand) {
            return false;
        }
        assert!(!watchers.is_out(), "who came back is not out");
        for id in errand.gone() {
            self.unwatch(stream, *id);
        }
        true
    }
}

/// To free it may take as long as making it did.
fn is_long(changes: &Arc<Changes>) -> bool {
    changes.events.len() > FREED_HERE_MAX
}

impl At {
    /// It waits for nobody.
    const fn is_quiet(self) -> bool {
        matches!(self, Self::Quiet)
    }
}

#[cfg(test)]
mod tests;
