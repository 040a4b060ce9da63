//! The last events of a running member, for whoever asks later.

use crate::event::Event;
use std::collections::VecDeque;

/// Events by number, the oldest given up first.
#[derive(Debug)]
pub struct Ring {
    events: VecDeque<Event>,
    next: u64,
    events_max: usize,
}

/// What a reader is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub events: Vec<Event>,
    /// Events between what was asked for and the first of these that are gone.
    pub lost: u64,
    /// Ask from here next.
    pub next: u64,
}

impl Ring {
    /// `events_max` is at least one.
    pub fn new(events_max: usize) -> Self {
        assert!(events_max > 0, "a ring of nothing records nothing");
        Self { events: VecDeque::new(), next: 1, events_max }
    }

    /// Takes one event and numbers it.
    pub fn push(&mut self, mut event: Event) {
        if self.events.len() == self.events_max {
            self.events.pop_front();
        }
        event.n = self.next;
        self.next += 1;
        self.events.push_back(event);
        assert!(self.events.len() <= self.events_max);
    }

    /// From number `from` on, at most `max`. A number that is still to come is no error: nothing
    /// is there yet.
    pub fn page(&self, from: u64, max: usize) -> Page {
        let first = self.next - self.events.len() as u64;
        let begin = from.clamp(first, self.next);
        let skip = usize::try_from(begin - first).expect("it is within the ring");
        let events: Vec<Event> = self.events.range(skip..).take(max).cloned().collect();
        let next = begin + events.len() as u64;
        Page { lost: begin.saturating_sub(from.max(1)), next, events }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::What;

    #[test]
    fn a_reader_that_is_late_is_told_how_much_it_missed_and_goes_on() {
        let mut ring = Ring::new(3);
        assert_eq!(ring.page(1, 9), Page { events: vec![], lost: 0, next: 1 });
        for at in 0..5 {
            ring.push(Event { n: 0, at, node: None, what: What::Resume });
        }
        let numbers = |page: &Page| page.events.iter().map(|e| e.n).collect::<Vec<_>>();
        let page = ring.page(1, 2);
        assert_eq!((numbers(&page), page.lost, page.next), (vec![3, 4], 2, 5));
        let page = ring.page(page.next, 2);
        assert_eq!((numbers(&page), page.lost, page.next), (vec![5], 0, 6));
        let page = ring.page(6, 2);
        assert_eq!((numbers(&page), page.lost, page.next), (vec![], 0, 6));
        assert_eq!(ring.page(u64::MAX, 2).next, 6, "from the future: from now");
        assert_eq!(ring.page(0, 9).lost, 2, "numbers begin at one");
    }
}
