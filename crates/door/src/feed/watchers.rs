//! The watchers of one stream, and whose turn it is.

use super::errand::{Errand, Member};
use crate::cursor::{Bounds, Cursor};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::Bound;
use mvcc::{Event, KeyRange, Recent};

/// Where a watcher waits, and for which turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// It is owed nothing, or what it is owed is on its way.
    Quiet,
    Due(u64),
    Lagging(u64),
    /// On an errand that began at that turn.
    Out(u64),
}

struct Place {
    /// Where it began.
    start: i64,
    /// Its next revision: the first it is owed, or, live, the first that could be.
    cursor: Cursor,
    /// The last revision heard of that concerns it, or may. It is live when that is behind it.
    upto: i64,
    at: At,
}

impl Place {
    fn is_live(&self) -> bool {
        self.cursor.next() > self.upto
    }

    /// Up to where it is known already what concerns it.
    fn heard(&self) -> i64 {
        if self.is_live() { 0 } else { self.upto }
    }
}

#[derive(Default)]
pub(super) struct Watchers {
    places: BTreeMap<i64, Place>,
    /// By turn: those owed something that may be among the changes heard last.
    due: BTreeMap<u64, i64>,
    /// By turn: those who need a picture of the store.
    lagging: BTreeMap<u64, i64>,
    turns: u64,
    /// The errand under way.
    errand: Option<u64>,
    /// Who is on it, and since which turn.
    out: Vec<(i64, u64)>,
    /// The highest revision that any answer has named or a picture has shown: no promise may be
    /// below it.
    shown: i64,
    progress_wanted: bool,
    /// Those that waited for a revision of the future when they began, by that: some may have met
    /// it meanwhile.
    future: BTreeSet<(i64, i64)>,
}

impl Watchers {
    /// Takes one of a stream that has ended.
    pub(super) fn pop(&mut self) -> Option<(i64, KeyRange)> {
        let (id, place) = self.places.pop_first()?;
        Some((id, place.cursor.wanted().range.clone()))
    }

    pub(super) fn insert(&mut self, id: i64, cursor: Cursor, current: i64) {
        self.shown = self.shown.max(current);
        let start = cursor.next();
        if start > current + 1 {
            self.future.insert((start, id));
        }
        let place = Place { start, cursor, upto: current, at: At::Quiet };
        let before = self.places.insert(id, place);
        assert!(before.is_none(), "ids are free when they are given");
        self.settle(id);
    }

    pub(super) fn remove(&mut self, id: i64) -> Option<Cursor> {
        if let At::Out(_) = self.places.get(&id)?.at {
            self.recall();
        }
        self.put(id, At::Quiet);
        let place = self.places.remove(&id)?;
        self.future.remove(&(place.start, id));
        Some(place.cursor)
    }

    /// Moves a watcher from where it waits.
    fn put(&mut self, id: i64, at: At) {
        let place = self.places.get_mut(&id).expect("whoever waits is there");
        let left = match core::mem::replace(&mut place.at, at) {
            At::Due(turn) => self.due.remove(&turn),
            At::Lagging(turn) => self.lagging.remove(&turn),
            At::Quiet | At::Out(_) => Some(id),
        };
        assert_eq!(left, Some(id), "whoever waits does so in its turn");
        let other = match at {
            At::Due(turn) => self.due.insert(turn, id),
            At::Lagging(turn) => self.lagging.insert(turn, id),
            At::Quiet | At::Out(_) => None,
        };
        assert!(other.is_none(), "a turn is one watcher's");
    }

    fn turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }

    /// Gives it its turn behind all others, when it is owed something.
    fn settle(&mut self, id: i64) {
        let turn = self.turn();
        let place = self.places.get_mut(&id).expect("whoever waits is there");
        if place.is_live() {
            // Its picture may have more: nothing that was heard is missing.
            place.cursor.goes_live();
            return self.put(id, At::Quiet);
        }
        self.put(id, At::Due(turn));
    }

    /// An event of a change that was heard, or, without one, some of many, whatever their kind;
    /// true when the stream had nothing due and now has.
    pub(super) fn concerns(&mut self, id: i64, event: Option<&Event>, revision: i64) -> bool {
        let place = self.places.get_mut(&id).expect("the index has no other");
        // What is below was seen in a picture, or lies before its start.
        let is_new = revision >= place.cursor.next() && revision > place.heard();
        if !is_new || !event.is_none_or(|event| place.cursor.wanted().wants(event)) {
            return false;
        }
        if place.is_live() {
            place.cursor.skip_to(revision);
        }
        place.upto = place.upto.max(revision);
        assert!(!place.is_live(), "it is owed what was heard");
        let rings = place.at.is_quiet() && self.due.is_empty();
        if place.at.is_quiet() {
            self.settle(id);
        }
        rings
    }

    /// No change tells what lies between. Goes through those behind `after`, as long as something
    /// is left of `looks`, and says behind whom to go on; also whether the stream had nothing due
    /// and now has.
    pub(super) fn missed(
        &mut self,
        (head, current): (i64, i64),
        after: Option<i64>,
        looks: &mut usize,
    ) -> (Option<Option<i64>>, bool) {
        let idle = self.due.is_empty();
        let (mut quiet, mut last, mut stopped) = (Vec::new(), after, None);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        for (id, place) in self.places.range_mut((from, Bound::Unbounded)) {
            if *looks == 0 {
                stopped = Some(last);
                break;
            }
            *looks -= 1;
            last = Some(*id);
            if place.is_live() {
                let next = place.cursor.next().max(head + 1);
                if next > current {
                    continue;
                }
                place.cursor.skip_to(next);
            }
            place.upto = place.upto.max(current);
            assert!(!place.is_live(), "it is owed what nobody told");
            if place.at.is_quiet() {
                quiet.push(*id);
            }
        }
        quiet.into_iter().for_each(|id| self.settle(id));
        (stopped, idle && !self.due.is_empty())
    }

    pub(super) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    pub(super) fn has_lagging(&self) -> bool {
        !self.lagging.is_empty()
    }

    /// Whose turn it is, and up to where it is owed something.
    pub(super) fn take_due(&mut self) -> Option<(i64, &mut Cursor, i64)> {
        let (_, id) = self.due.first_key_value()?;
        let id = *id;
        self.put(id, At::Quiet);
        let place = self.places.get_mut(&id).expect("whoever waits is there");
        assert!(!place.is_live(), "whoever is due is owed something");
        Some((id, &mut place.cursor, place.upto))
    }

    /// The cursor of whoever had its turn was moved.
    pub(super) fn moved(&mut self, id: i64) {
        let place = self.places.get(&id).expect("it had its turn");
        self.shown = self.shown.max(place.cursor.next() - 1);
        self.settle(id);
    }

    /// Whoever had its turn needs a picture.
    pub(super) fn lags(&mut self, id: i64) {
        assert!(self.places[&id].at.is_quiet(), "it had its turn");
        let turn = self.turn();
        self.put(id, At::Lagging(turn));
    }

    pub(super) fn is_out(&self) -> bool {
        self.errand.is_some()
    }

    /// Sends up to `max` of those who lag, in turn: through what was heard last where that has
    /// what they are owed.
    pub(super) fn send(
        &mut self,
        max: usize,
        recent: &Recent,
        bounds: &Bounds,
    ) -> (u64, Vec<Member>) {
        assert!(self.errand.is_none() && self.out.is_empty(), "there is one errand at a time");
        let first: Vec<_> = self.lagging.iter().take(max).map(|(turn, id)| (*turn, *id)).collect();
        let number = self.turn();
        self.errand = Some(number);
        let mut members = Vec::with_capacity(first.len());
        for (turn, id) in first {
            self.put(id, At::Out(turn));
            self.out.push((id, turn));
            let place = &self.places[&id];
            let cursor = place.cursor.clone();
            assert!(!place.is_live(), "whoever lags is owed something");
            let search = cursor.hears(recent, place.upto, bounds);
            let hears = search.is_some();
            members.push(Member { id, cursor, search, hears });
        }
        assert!(members.len() <= max, "an errand is bounded");
        (number, members)
    }

    /// Nothing comes of the errand under way: whoever is on it goes on where it stood.
    fn recall(&mut self) {
        let errand = self.errand.take();
        assert!(errand.is_some(), "nobody is out without an errand");
        for (id, turn) in core::mem::take(&mut self.out) {
            let live = self.places[&id].is_live();
            self.put(id, if live { At::Quiet } else { At::Lagging(turn) });
        }
    }

    /// Takes an errand back; false when it is not the one under way.
    pub(super) fn back(&mut self, number: u64, errand: &Errand) -> bool {
        if self.errand != Some(number) {
            return false;
        }
        for (id, cursor, _) in errand.places() {
            let place = self.places.get_mut(&id).expect("with whoever leaves its errand ends");
            assert!(cursor.next() >= place.cursor.next(), "an errand goes forward");
            self.shown = self.shown.max(cursor.next() - 1);
            place.cursor = cursor.clone();
        }
        // Whoever was not reached keeps its turn.
        self.recall();
        for (id, ..) in errand.places().filter(|(.., reached)| *reached) {
            self.settle(id);
        }
        true
    }

    pub(super) fn want_progress(&mut self, current: i64) {
        self.shown = self.shown.max(current);
        self.progress_wanted = true;
    }

    /// Whether progress is to be told now, and whether that waits for what will be heard.
    pub(super) fn progress(&self, head: i64) -> (bool, bool) {
        let owes = self.has_due() || self.has_lagging() || self.is_out();
        let wanted = self.progress_wanted && !owes;
        (wanted && head >= self.shown, wanted && head < self.shown)
    }

    /// The promise that is wanted, once it can be given or refused: a watcher that waits for a
    /// revision of the future gets none.
    pub(super) fn take_progress(&mut self, head: i64) -> Option<i64> {
        let (ready, _) = self.progress(head);
        if !ready {
            return None;
        }
        assert!(head >= self.shown, "no promise is below what was shown");
        self.progress_wanted = false;
        while self.future.first().is_some_and(|(start, _)| *start <= head + 1) {
            self.future.pop_first();
        }
        (!self.places.is_empty() && self.future.is_empty()).then_some(head)
    }

    pub(super) fn may_promise(&self, id: i64, head: i64) -> bool {
        let place = self.places.get(&id).filter(|place| place.is_live() && place.at.is_quiet());
        place.is_some_and(|place| place.cursor.next() <= head + 1)
    }
}
