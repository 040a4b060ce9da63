//! What is read for watchers that lag, apart from whoever serves the others.

use super::{StreamId, Told};
use crate::cursor::{Bounds, Cursor};
use alloc::vec::Vec;
use mvcc::View;

/// Slices of one errand: so far nothing was found, the picture it reads from grows old.
const SLICES_MAX: usize = 16;

/// Watchers on their way through a picture of the store, until one of them has something to be
/// told. It may be run on any thread; dropped, nothing has happened.
pub struct Errand {
    whose: (StreamId, u64),
    /// Until it is done: to hold it makes whoever writes copy.
    view: Option<View>,
    members: Vec<(i64, Cursor)>,
    /// Members that are done with.
    reached: usize,
    told: Option<Told>,
    bounds: Bounds,
    slices: usize,
}

impl Errand {
    pub(super) fn new(
        whose: (StreamId, u64),
        view: View,
        members: Vec<(i64, Cursor)>,
        bounds: Bounds,
    ) -> Self {
        assert!(!members.is_empty(), "nobody is sent for nothing");
        Self { whose, view: Some(view), members, reached: 0, told: None, bounds, slices: 0 }
    }

    /// One that is done.
    pub(super) fn of(whose: (StreamId, u64), told: Told, bounds: Bounds) -> Self {
        assert!(matches!(told, Told::Events { .. }), "only events are long");
        let (members, told) = (Vec::new(), Some(told));
        Self { whose, view: None, members, reached: 0, told, bounds, slices: 0 }
    }

    /// Goes on, by about as many revisions as one step of a cursor may look at; true once it is
    /// done, which it is soon.
    pub fn step(&mut self) -> bool {
        let Some(view) = &self.view else { return true };
        let mut looks = self.bounds.scan_max as i64;
        self.slices += 1;
        while let Some((id, cursor)) = self.members.get_mut(self.reached) {
            if looks <= 0 && self.slices < SLICES_MAX {
                return false;
            }
            if looks <= 0 {
                break;
            }
            let from = cursor.next();
            match cursor.advance(view, &self.bounds) {
                Ok(Some(batch)) => self.told = Some(Told::Events { watcher: *id, batch }),
                Ok(None) => {}
                Err(_) => {
                    let revision = view.compact_revision();
                    self.told = Some(Told::Compacted { watcher: *id, revision });
                }
            }
            assert!(cursor.next() >= from, "a cursor never goes back");
            looks -= (cursor.next() - from).max(1);
            if self.told.is_some() {
                self.reached += 1;
                break;
            }
            self.reached += usize::from(cursor.in_sync(view.revision()));
        }
        assert!(self.slices <= SLICES_MAX, "an errand ends soon");
        assert!(self.reached <= self.members.len(), "nobody else is reached");
        self.view = None;
        true
    }

    /// Whom something may be told of.
    pub fn watchers(&self) -> impl Iterator<Item = i64> {
        let known = self.told.iter().filter_map(|told| match told {
            Told::Events { watcher, .. } | Told::Compacted { watcher, .. } => Some(*watcher),
            Told::Progress(_) => None,
        });
        self.members.iter().map(|(id, _)| *id).chain(known)
    }

    /// What came of it.
    pub fn told(&self) -> Option<&Told> {
        self.told.as_ref()
    }

    /// What came of it, by value.
    pub fn into_told(self) -> Option<Told> {
        self.told
    }

    pub(super) fn of_whom(&self) -> (StreamId, u64) {
        self.whose
    }

    pub(super) fn members(&self) -> &[(i64, Cursor)] {
        &self.members
    }

    pub(super) fn reached(&self) -> &[(i64, Cursor)] {
        &self.members[..self.reached]
    }
}
