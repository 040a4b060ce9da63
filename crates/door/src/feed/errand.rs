//! What is read for watchers that lag, apart from whoever serves the others.

use super::{StreamId, Told};
use crate::cursor::{Batch, Bounds, Cursor, Search};
use alloc::vec::Vec;
use mvcc::{Values, View};

/// Slices of one errand: so far too little was found, the picture it reads from grows old. Only
/// what is begun is gone through to its end.
const SLICES_MAX: usize = 16;

/// One watcher on its way.
pub(super) struct Member {
    pub(super) id: i64,
    pub(super) cursor: Cursor,
    /// What is to be gone through next, where that is known.
    pub(super) search: Option<Search>,
    /// It goes through what was heard last, from where no compaction takes anything, and through
    /// no picture.
    pub(super) hears: bool,
}

/// Watchers on their way through a picture of the store, or through what they heard of last, until
/// enough is found that some of them are to be told. It may be run on any thread; dropped, nothing
/// has happened.
pub struct Errand {
    whose: (StreamId, u64),
    /// Until it is done, or until whoever tells what came of it has looked back in it: to hold it
    /// makes whoever writes copy.
    view: Option<View>,
    members: Vec<Member>,
    /// Members that are done with.
    reached: usize,
    told: Vec<Told>,
    /// Of those that are told.
    bytes: usize,
    /// Whose history is gone.
    gone: Vec<i64>,
    bounds: Bounds,
    /// Bytes at which it has enough.
    bytes_target: usize,
    slices: usize,
}

/// What a step of a member came to.
enum Step {
    /// Its looks are spent.
    Paused,
    /// It goes on.
    Moved,
    /// It is done with.
    Reached,
    /// There is no picture any more for it to go on with.
    Ended,
}

impl Errand {
    pub(super) fn new(
        whose: (StreamId, u64),
        view: View,
        members: Vec<Member>,
        (bounds, bytes_target): (Bounds, usize),
    ) -> Self {
        assert!(!members.is_empty(), "nobody is sent for nothing");
        assert!(bytes_target > 0, "it looks for something");
        let (told, gone) = (Vec::new(), Vec::new());
        let view = Some(view);
        Self {
            whose,
            view,
            members,
            reached: 0,
            told,
            bytes: 0,
            gone,
            bounds,
            bytes_target,
            slices: 0,
        }
    }

    /// Goes on, by as many events as one step of a cursor may look at; true once it is done, which
    /// it is soon. What has left memory is read in `values`.
    pub fn step(&mut self, values: &mut dyn Values) -> bool {
        let mut looks = self.bounds.events_max;
        self.slices += 1;
        while self.reached < self.members.len() && self.bytes < self.bytes_target {
            if self.slices >= SLICES_MAX {
                self.view = None;
            }
            match self.go_on(values, &mut looks) {
                Step::Paused => return false,
                Step::Moved => {}
                Step::Reached => self.reached += 1,
                Step::Ended => break,
            }
        }
        assert!(self.reached <= self.members.len(), "nobody else is reached");
        let looks_back =
            |told: &Told| matches!(told, Told::Events { batch, .. } if batch.looks_back());
        if !self.told.iter().any(looks_back) {
            self.view = None;
        }
        // Who was not reached begins anew.
        let left = &mut self.members[self.reached..];
        left.iter_mut().for_each(|member| member.search = None);
        true
    }

    fn go_on(&mut self, values: &mut dyn Values, looks: &mut usize) -> Step {
        let member = &mut self.members[self.reached];
        let (id, cursor) = (member.id, &mut member.cursor);
        if *looks == 0 {
            return Step::Paused;
        }
        if member.search.is_none() {
            let Some(view) = &self.view else { return Step::Ended };
            match cursor.look(view, &self.bounds, values) {
                None => {
                    let why = values.take_trouble().expect("what can be read is read");
                    self.told.push(Told::Unreadable { watcher: id, why });
                    self.gone.push(id);
                    return Step::Reached;
                }
                Some(Ok(Some(search))) => member.search = Some(search),
                Some(Ok(None)) => return Step::Reached,
                Some(Err(_)) => {
                    let revision = view.compact_revision();
                    self.told.push(Told::Compacted { watcher: id, revision });
                    self.gone.push(id);
                    return Step::Reached;
                }
            }
        }
        let search = member.search.as_mut().expect("it was there or was just begun");
        if !search.run(cursor.wanted(), &self.bounds, looks) {
            return Step::Paused;
        }
        // A watcher costs something, whatever there was for it.
        *looks = looks.saturating_sub(1);
        let search = member.search.take().expect("it was gone through");
        let (from, end) = (cursor.next(), search.end());
        let batch = cursor.take(search);
        assert!(cursor.next() > from, "a cursor goes forward");
        let Some(batch) = batch else {
            let goes_on = self.view.is_some() && !member.hears && !cursor.in_sync(end);
            return if goes_on { Step::Moved } else { Step::Reached };
        };
        self.bytes += batch.bytes();
        self.told.push(Told::Events { watcher: id, batch });
        Step::Reached
    }

    /// Whom something may be told of.
    pub fn watchers(&self) -> impl Iterator<Item = i64> {
        self.members.iter().map(|member| member.id)
    }

    /// Takes the events from what came of it, with their watchers.
    pub fn take_batches(&mut self) -> Vec<(i64, Batch)> {
        let (mut batches, mut others) = (Vec::new(), Vec::new());
        for told in self.take_told() {
            match told {
                Told::Events { watcher, batch } => batches.push((watcher, batch)),
                told => others.push(told),
            }
        }
        self.told = others;
        batches
    }

    /// Takes the picture that it read from, for whoever tells at once what came of it. None where
    /// nobody looks back, and where it has grown old.
    pub fn take_view(&mut self) -> Option<View> {
        self.view.take()
    }

    /// What came of it, by value.
    pub fn take_told(&mut self) -> Vec<Told> {
        core::mem::take(&mut self.told)
    }

    pub(super) fn of_whom(&self) -> (StreamId, u64) {
        self.whose
    }

    /// Where each has got to, and whether it is done with.
    pub(super) fn places(&self) -> impl Iterator<Item = (i64, &Cursor, bool)> {
        let all = self.members.iter().enumerate();
        all.map(|(n, member)| (member.id, &member.cursor, n < self.reached))
    }

    pub(super) fn gone(&self) -> &[i64] {
        &self.gone
    }
}
