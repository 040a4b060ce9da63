//! Events for one watcher, found and not copied.

use super::wanted::{Wanted, bytes_of};
use alloc::sync::Arc;
use alloc::vec::Vec;
use mvcc::{Before, Changes, Event, View};

/// Events for one watcher: whole revisions, in order, at least one event. It holds the revisions
/// and no list of what in them is wanted, so that a large one is as small as any. It has no view
/// either, which would make the store copy what it changes: versions before the events are looked
/// up by whoever tells them, in a view of that moment.
#[derive(Clone, Debug)]
pub struct Batch {
    pub(super) changes: Vec<Arc<Changes>>,
    /// Where the first of its events is.
    pub(super) first: (usize, usize),
    /// Events.
    pub(super) count: usize,
    pub(super) bytes: usize,
    pub(super) revision: i64,
    pub(super) wanted: Wanted,
}

/// A place between two events of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Events before it.
    given: usize,
    /// Which change, and which of its events, wanted or not, is next.
    at: (usize, usize),
}

/// Some of the events of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Fragment<'a> {
    batch: &'a Batch,
    from: Place,
    count: usize,
    /// The rest of the batch follows.
    pub more: bool,
}

impl Batch {
    /// What the answer's header says: the last revision in it, or the store's when the watcher
    /// has caught up with it for the first time.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Its size in any front's form, about: an estimate, where it looks back.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many events it has.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Its watcher wants the versions before its events: whoever tells them needs a view.
    pub fn looks_back(&self) -> bool {
        self.wanted.prev_kv
    }

    /// Before its first event.
    pub fn start(&self) -> Place {
        Place { given: 0, at: self.first }
    }

    /// Events behind a place.
    pub fn left(&self, place: &Place) -> usize {
        assert!(place.given <= self.count, "a place is in its batch");
        self.count - place.given
    }

    /// All of it.
    pub fn whole(&self) -> Fragment<'_> {
        Fragment { batch: self, from: self.start(), count: self.count, more: false }
    }

    /// All of it in parts of at most `bytes_max`, with what the view has from before, but for one
    /// event at least.
    pub fn fragments(
        &self,
        bytes_max: usize,
        view: Option<&View>,
    ) -> impl Iterator<Item = Fragment<'_>> {
        let mut place = self.start();
        core::iter::from_fn(move || {
            let (part, behind) = self.fragment(place, bytes_max, view)?;
            place = behind;
            Some(part)
        })
    }

    /// Whether all of it, with what the view has from before, is no more than `bytes_max`.
    pub fn fits(&self, bytes_max: usize, view: Option<&View>) -> bool {
        let mut bytes = 0;
        self.whole().events(view).all(|(event, before)| {
            bytes += bytes_of(event, &before);
            bytes <= bytes_max
        })
    }

    /// The part behind a place, and the place behind that; none when that was all.
    pub fn fragment(
        &self,
        from: Place,
        bytes_max: usize,
        view: Option<&View>,
    ) -> Option<(Fragment<'_>, Place)> {
        let (mut behind, mut bytes, mut count) = (from, 0, 0);
        loop {
            let mut next = behind;
            let Some(event) = self.next(&mut next) else { break };
            bytes += bytes_of(event, &self.before(event, view));
            if bytes > bytes_max && count > 0 {
                break;
            }
            (behind, count) = (next, count + 1);
        }
        let more = self.left(&behind) > 0;
        assert_eq!(behind.given, from.given + count, "each event is given once");
        (count > 0).then_some((Fragment { batch: self, from, count, more }, behind))
    }

    /// The version before one of its events, where the watcher wants that and the view has one. The
    /// view is there wherever it looks back.
    pub fn before(&self, event: &Event, view: Option<&View>) -> Before {
        if !self.looks_back() {
            return Before::default();
        }
        view.expect("who tells what was before has a view").before(event)
    }

    /// The event behind a place; moves the place behind it.
    pub fn next(&self, place: &mut Place) -> Option<&Event> {
        if self.left(place) == 0 {
            return None;
        }
        loop {
            let (change, n) = place.at;
            let changes = &self.changes[change];
            let Some(event) = changes.events.get(n) else {
                place.at = (change + 1, 0);
                continue;
            };
            place.at = (change, n + 1);
            if self.wanted.wants(event) {
                place.given += 1;
                return Some(event);
            }
        }
    }
}

impl<'a> Fragment<'a> {
    /// Each event, with the version before it: see [`Batch::before`].
    pub fn events<'v>(
        self,
        view: Option<&'v View>,
    ) -> impl Iterator<Item = (&'a Event, Before)> + use<'a, 'v> {
        let mut place = self.from;
        let events = core::iter::from_fn(move || self.batch.next(&mut place));
        events.take(self.count).map(move |event| (event, self.batch.before(event, view)))
    }

    /// How many those are.
    pub fn count(self) -> usize {
        self.count
    }
}
