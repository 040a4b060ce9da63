//! Events for one watcher, found and not copied.

use super::wanted::{Wanted, bytes_of};
use alloc::sync::Arc;
use alloc::vec::Vec;
use mvcc::{Before, Changes, Event, NotAtHand, Values, View};

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

/// Some of the events of a batch, with the versions before them where its watcher looks back.
#[derive(Clone, Debug)]
pub struct Part<'a> {
    batch: &'a Batch,
    from: Place,
    count: usize,
    before: Vec<Before>,
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
    ///
    /// # Errors
    /// As [`Batch::before`].
    pub fn whole(
        &self,
        view: Option<&View>,
        values: &mut dyn Values,
    ) -> Result<Part<'_>, NotAtHand> {
        let (part, _) =
            self.part(self.start(), usize::MAX, view, values)?.expect("it has an event");
        Ok(part)
    }

    /// All of it in parts of at most `bytes_max`, with what the view has from before, but for one
    /// event at least. None where that is more than `whole_max` together.
    ///
    /// # Errors
    /// What was before is not at hand.
    pub fn parts(
        &self,
        (bytes_max, whole_max): (usize, usize),
        view: Option<&View>,
        values: &mut dyn Values,
    ) -> Result<Option<Vec<Part<'_>>>, NotAtHand> {
        let (mut parts, mut place, mut bytes) = (Vec::new(), self.start(), 0);
        while let Some((part, behind)) = self.part(place, bytes_max, view, values)? {
            bytes += part.events().map(|(event, before)| bytes_of(event, &before)).sum::<usize>();
            if bytes > whole_max {
                return Ok(None);
            }
            place = behind;
            parts.push(part);
        }
        Ok(Some(parts))
    }

    /// The part behind a place, and the place behind that; none when that was all.
    ///
    /// # Errors
    /// As [`Batch::before`].
    pub fn part(
        &self,
        from: Place,
        bytes_max: usize,
        view: Option<&View>,
        values: &mut dyn Values,
    ) -> Result<Option<(Part<'_>, Place)>, NotAtHand> {
        let (mut behind, mut bytes, mut count) = (from, 0, 0);
        let mut all = Vec::new();
        loop {
            let mut next = behind;
            let Some(event) = self.next(&mut next) else { break };
            let before = self.before(event, view, values)?;
            bytes += bytes_of(event, &before);
            if bytes > bytes_max && count > 0 {
                break;
            }
            if self.looks_back() {
                all.push(before);
            }
            (behind, count) = (next, count + 1);
        }
        assert!(all.is_empty() || all.len() == count, "of all events or of none");
        let more = self.left(&behind) > 0;
        assert_eq!(behind.given, from.given + count, "each event is given once");
        let part = Part { batch: self, from, count, before: all, more };
        Ok((count > 0).then_some((part, behind)))
    }

    /// The version before one of its events, where the watcher wants that and the view has one. The
    /// view is there wherever it looks back.
    ///
    /// # Errors
    /// It is not at hand.
    pub fn before(
        &self,
        event: &Event,
        view: Option<&View>,
        values: &mut dyn Values,
    ) -> Result<Before, NotAtHand> {
        if !self.looks_back() {
            return Ok(Before::default());
        }
        let view = view.expect("who tells what was before has a view");
        view.before_of(event, values).ok_or(NotAtHand)
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

impl<'a> Part<'a> {
    /// Each event, with the version before it: see [`Batch::before`].
    pub fn events(&self) -> impl Iterator<Item = (&'a Event, Before)> + use<'a, '_> {
        let (mut place, mut before) = (self.from, self.before.iter());
        let events = core::iter::from_fn(move || self.batch.next(&mut place));
        events
            .take(self.count)
            .map(move |event| (event, before.next().cloned().unwrap_or_default()))
    }

    /// How many those are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The versions before its events, in order; none where nobody looks back.
    pub fn into_before(self) -> Vec<Before> {
        self.before
    }
}
