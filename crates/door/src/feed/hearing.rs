//! What was applied and not heard to its end yet, and how far that is heard.
//!
//! A revision may have as many events as there are keys, and a key as many watchers as clients may
//! have. So what concerns whom is found out bit by bit: run after run of events whose keys ascend,
//! which a removal of a range is, first who watches a key of it, then whose range it touches.

use super::StreamId;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::limits::EVENTS_UNHEARD_MAX;
use mvcc::{Changes, Event, Interest, Mark};

/// Events of one run, to find whose end takes some hundred microseconds.
const RUN_MAX: usize = 4_096;

/// A watcher in the index.
pub(super) type Who = (StreamId, i64);

/// What is heard next.
pub(super) enum Unheard {
    /// What one batch of entries changed.
    Batch(Heard),
    /// The store was replaced by one of that revision; of whom it is said already that something
    /// may be missing.
    Replaced(i64, Option<(StreamId, Option<i64>)>),
}

/// A batch on its way to be heard.
pub(super) struct Heard {
    pub(super) changes: Vec<Arc<Changes>>,
    /// Which of them.
    pub(super) at: usize,
    pub(super) run: Run,
}

impl Heard {
    fn events(&self) -> usize {
        self.changes.iter().map(|changes| changes.events.len()).sum()
    }

    pub(super) fn is_new(&self) -> bool {
        self.at == 0 && self.run.is_new()
    }
}

/// What waits to be heard: besides the one that is under way so many events, or one batch; then
/// all of it is as if the store had been replaced.
#[derive(Default)]
pub(super) struct Hearing {
    under_way: Option<Unheard>,
    waiting: VecDeque<Unheard>,
    /// Events that wait.
    events: usize,
    /// The last revision that is known of.
    last: i64,
}

impl Hearing {
    pub(super) fn new(current: i64) -> Self {
        Self { last: current, ..Self::default() }
    }

    #[cfg(test)]
    pub(super) fn events(&self) -> usize {
        self.events
    }

    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_none() && self.waiting.is_empty()
    }

    /// Takes the changes of one batch, in order, but for those that are known; gives back what is
    /// told to nobody.
    pub(super) fn push(&mut self, batch: &[Arc<Changes>]) -> Vec<Arc<Changes>> {
        let known = batch.iter().take_while(|changes| changes.revision <= self.last).count();
        let Some(first) = batch.get(known) else { return Vec::new() };
        if first.revision > self.last + 1 {
            self.replaced(first.revision - 1);
        }
        for changes in &batch[known..] {
            assert_eq!(changes.revision, self.last + 1, "changes are heard in order");
            self.last = changes.revision;
        }
        let heard = Heard { changes: batch[known..].to_vec(), at: 0, run: Run::default() };
        let events = heard.events();
        if self.events > 0 && self.events + events > EVENTS_UNHEARD_MAX {
            return self.give_up(heard.changes);
        }
        self.events += events;
        self.waiting.push_back(Unheard::Batch(heard));
        Vec::new()
    }

    /// Too much waits: whoever watches is to look at the store instead.
    fn give_up(&mut self, mut changes: Vec<Arc<Changes>>) -> Vec<Arc<Changes>> {
        for unheard in self.waiting.drain(..) {
            if let Unheard::Batch(heard) = unheard {
                changes.extend(heard.changes);
            }
        }
        self.events = 0;
        assert!(self.waiting.is_empty(), "all that waited is given up");
        self.waiting.push_back(Unheard::Replaced(self.last, None));
        changes
    }

    pub(super) fn replaced(&mut self, current: i64) {
        self.last = self.last.max(current);
        match self.waiting.back_mut() {
            Some(Unheard::Replaced(upto, _)) => *upto = self.last,
            _ => self.waiting.push_back(Unheard::Replaced(self.last, None)),
        }
    }

    /// What is heard next; it comes back unless it was heard to its end.
    pub(super) fn next(&mut self) -> Option<Unheard> {
        let next = self.under_way.take();
        next.or_else(|| {
            let next = self.waiting.pop_front()?;
            if let Unheard::Batch(heard) = &next {
                self.events -= heard.events();
            }
            Some(next)
        })
    }

    pub(super) fn pause(&mut self, unheard: Unheard) {
        assert!(self.under_way.is_none(), "one is under way at a time");
        self.under_way = Some(unheard);
    }
}

/// How far a change is heard.
#[derive(Default)]
pub(super) struct Run {
    /// The events that are looked at together: their keys ascend.
    from: usize,
    to: usize,
    /// The next of them whose key is looked up.
    key: usize,
    /// Behind whom to go on: of that key, of all ranges.
    after: Option<Who>,
    mark: Option<Mark<Who>>,
}

impl Run {
    fn is_new(&self) -> bool {
        self.to == 0
    }

    /// Tells `concerns` of whom `events` concern, with the event where it is that one; once at
    /// least, and as long as something is left of `looks`. True once all was told.
    pub(super) fn go_on(
        &mut self,
        events: &[Event],
        interest: &Interest<Who>,
        looks: &mut usize,
        mut concerns: impl FnMut(Who, Option<&Event>),
    ) -> bool {
        while self.from < events.len() {
            if self.to == self.from {
                self.to = self.from + ascending(&events[self.from..]);
                self.key = self.from;
            }
            while self.key < self.to {
                if *looks == 0 {
                    return false;
                }
                *looks -= 1;
                let event = &events[self.key];
                for who in interest.of_key(&event.kv.key, self.after) {
                    if *looks == 0 {
                        return false;
                    }
                    *looks -= 1;
                    concerns(who, Some(event));
                    self.after = Some(who);
                }
                self.key += 1;
                self.after = None;
            }
            assert!(self.from < self.to && self.key == self.to, "all keys of the run were met");
            let run = &events[self.from..self.to];
            let only = Some(&run[0]).filter(|_| run.len() == 1);
            let has = |start: &[u8], end: Option<&[u8]>| {
                let at = run.partition_point(|event| *event.kv.key < *start);
                run.get(at).is_some_and(|event| end.is_none_or(|end| *event.kv.key < *end))
            };
            let hull = (&*run[0].kv.key, &*run[run.len() - 1].kv.key);
            let each = |who| concerns(who, only);
            self.mark = interest.over(hull, self.mark.as_ref(), looks, (has, each));
            if self.mark.is_some() {
                return false;
            }
            self.from = self.to;
        }
        true
    }
}

/// How many events from the first on have keys in order.
fn ascending(events: &[Event]) -> usize {
    let pairs = events.windows(2).take(RUN_MAX - 1);
    let run = 1 + pairs.take_while(|pair| *pair[0].kv.key <= *pair[1].kv.key).count();
    assert!(run <= events.len(), "a run has an event");
    run
}
