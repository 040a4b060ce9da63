//! Events for one watcher, found and not copied.

use super::wanted::{Wanted, bytes_of};
use alloc::sync::Arc;
use alloc::vec::Vec;
use mvcc::{Changes, Event, KeyValue};

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
    pub fn fragments(&self, bytes_max: usize) -> impl Iterator<Item = Fragment<'_>> {
        let mut place = self.start();
        core::iter::from_fn(move || {
            let (part, behind) = self.fragment(place, bytes_max)?;
            place = behind;
            Some(part)
        })
    }

    /// The part behind a place, and the place behind that; none when that was all.
    pub fn fragment(&self, from: Place, bytes_max: usize) -> Option<(Fragment<'_>, Place)> {
        let (mut behind, mut bytes, mut count) = (from, 0, 0);
        loop {
            let mut next = behind;
            let Some((event, _)) = self.next(&mut next) else { break };
            bytes += bytes_of(&self.wanted, event);
            if bytes > bytes_max && count > 0 {
                break;
            }
            (behind, count) = (next, count + 1);
        }
        let more = self.left(&behind) > 0;
        assert_eq!(behind.given, from.given + count, "each event is given once");
        (count > 0).then_some((Fragment { batch: self, from, count, more }, behind))
    }

    /// The event behind a place, with the version before it where the watcher wants that and
    /// there was one; moves the place behind it.
    pub fn next(&self, place: &mut Place) -> Option<(&Event, Option<&KeyValue>)> {
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
                return Some((event, event.prev_kv.as_ref().filter(|_| self.wanted.prev_kv)));
            }
        }
    }
}

impl<'a> Fragment<'a> {
    /// Each event, with the version before it where the watcher wants that and there was one.
    pub fn events(self) -> impl Iterator<Item = (&'a Event, Option<&'a KeyValue>)> {
        let mut place = self.from;
        let events = core::iter::from_fn(move || self.batch.next(&mut place));
        events.take(self.count)
    }

    /// How many those are.
    pub fn count(self) -> usize {
        self.count
    }
}
