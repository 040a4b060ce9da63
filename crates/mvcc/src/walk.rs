//! Going through versions in the order in which they were made, a few at a time.

use crate::layers::Layers;
use crate::shelf::{Place, Shelf};
use crate::values::{Age, Values};
use crate::version::Record;
use alloc::collections::VecDeque;
use alloc::sync::Arc;

/// Taken from memory in one go.
const SOME: usize = 64;

/// Where a walk is. What it walks through is given to it each time, and has to be the same.
#[derive(Clone, Debug)]
pub(crate) struct Walk {
    next: Age,
    /// The revision that is not looked at any more.
    end: i64,
    ready: VecDeque<Arc<Record>>,
}

/// One step of a walk.
#[derive(Debug)]
pub(crate) enum Step {
    /// The next version, dead or not.
    Version(Arc<Record>),
    /// There are no more.
    End,
    /// What follows is not at hand.
    Missing,
}

/// Where versions are found by their age.
pub(crate) trait Ways {
    fn from(&self, age: Age) -> Option<Place<'_>>;
}

impl Ways for Layers {
    fn from(&self, age: Age) -> Option<Place<'_>> {
        self.from(age)
    }
}

impl Ways for Shelf {
    fn from(&self, age: Age) -> Option<Place<'_>> {
        self.from(age)
    }
}

/// The first place behind an age.
fn behind((revision, sub): Age) -> Age {
    sub.checked_add(1).map_or((revision + 1, 0), |sub| (revision, sub))
}

impl Walk {
    /// From this age on.
    pub fn new(from: Age) -> Self {
        Self::between(from, i64::MAX)
    }

    /// From this age on, and nothing of this revision: what is behind may not be readable.
    pub fn between(from: Age, end: i64) -> Self {
        Self { next: from, end, ready: VecDeque::new() }
    }

    /// All before this age was given.
    pub fn reached(&self) -> Age {
        self.ready.front().map_or(self.next, |record| record.age())
    }

    pub fn next(&mut self, ways: &impl Ways, values: &mut dyn Values) -> Step {
        loop {
            if let Some(record) = self.ready.pop_front() {
                let is_in = record.kv.mod_revision < self.end;
                return if is_in { Step::Version(record) } else { Step::End };
            }
            if self.next.0 >= self.end {
                return Step::End;
            }
            match ways.from(self.next) {
                None => return Step::End,
                Some(Place::File(file)) if file.first >= self.end => return Step::End,
                Some(Place::Here(records)) => {
                    self.ready.extend(records.iter().take(SOME).cloned());
                }
                Some(Place::File(file)) => {
                    let from = self.next;
                    let Some(versions) = values.versions(file, from) else { return Step::Missing };
                    if versions.is_empty() {
                        self.next = (file.end, 0);
                        continue;
                    }
                    let first = versions[0].age();
                    assert!(first >= from && first.0 < file.end, "what was asked for");
                    self.ready.extend(versions.into_iter().map(|version| version.0));
                }
            }
            let last = self.ready.back().expect("a place has a version");
            self.next = behind(last.age());
        }
    }
}
