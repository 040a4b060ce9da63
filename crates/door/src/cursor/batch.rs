//! Events for one watcher, found and not copied.

use super::wanted::{Wanted, bytes_of};
use alloc::sync::Arc;
use alloc::vec::Vec;
use mvcc::{Before, Changes, Event, InMemory, View};

/// Events for one watcher: whole revisions, in order, at least one event. It holds the revisions
/// and no list of what in them is wanted, so that a large one is as small as any.
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

    /// Its size in any front's form, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many events it has.
    pub fn count(&self) -> usize {
        self.count
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

    /// All of it in parts of at most `bytes_max`, but for one event at least.
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

    /// What was before an event, where the watcher wants that and it is still there. Nothing of it
    /// is held for a watcher: it is looked up when the event is told.
    ///
    /// Panics when the watcher wants it and there is no view.
    pub fn before(&self, event: &Event, view: Option<&View>) -> Before {
        let view = view.filter(|_| self.wanted.prev_kv);
        assert_eq!(view.is_some(), self.wanted.prev_kv, "what is wanted is looked for");
        let before = view.map(|view| view.before(event, &mut InMemory));
        before.map_or_else(Before::default, |before| before.expect("all is in memory"))
    }

    /// Whether its watcher wants to be told what was before its events.
    pub fn wants_before(&self) -> bool {
        self.wanted.prev_kv
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
    /// Each event, with what [`Batch::before`] says.
    pub fn events(self, view: Option<&View>) -> impl Iterator<Item = (&'a Event, Before)> {
        let mut place = self.from;
        let events = core::iter::from_fn(move || self.batch.next(&mut place));
        events.take(self.count).map(move |event| (event, self.batch.before(event, view)))
    }

    /// How many those are.
    pub fn count(self) -> usize {
        self.count
    }
}
