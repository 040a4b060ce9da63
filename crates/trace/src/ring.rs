//! The last events of a running member, for whoever asks later.

use crate::event::{Event, What};
use std::collections::VecDeque;

/// Events by number, the oldest given up first; but for the last configuration of those, without
/// which no set of members after it can be read.
#[derive(Debug)]
pub struct Ring {
    /// The last [`What::Config`] that was given up.
    config: Option<Event>,
    events: VecDeque<Event>,
    next: u64,
    events_max: usize,
}

/// What a reader is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub events: Vec<Event>,
    /// Events from what was asked for up to `next` that are gone.
    pub lost: u64,
    /// Ask from here next.
    pub next: u64,
}

impl Ring {
    /// `events_max` is at least one.
    pub fn new(events_max: usize) -> Self {
        assert!(events_max > 0, "a ring of nothing records nothing");
        Self { config: None, events: VecDeque::new(), next: 1, events_max }
    }

    /// Takes one event and numbers it.
    pub fn push(&mut self, mut event: Event) {
        if self.events.len() == self.events_max
            && let Some(old) = self.events.pop_front()
            && matches!(old.what, What::Config { .. })
        {
            self.config = Some(old);
        }
        event.n = self.next;
        self.next += 1;
        self.events.push_back(event);
        assert!(self.events.len() <= self.events_max);
    }

    /// Events that nobody could take in: their numbers are left out.
    pub fn lose(&mut self, count: u64) {
        self.next += count;
    }

    /// From number `from` on, at most `max`. A number that is still to come is no error: nothing
    /// is there yet.
    pub fn page(&self, from: u64, max: usize) -> Page {
        let begin = from.clamp(1, self.next);
        let skip = self.events.partition_point(|event| event.n < begin);
        let config = self.config.iter().filter(|event| event.n >= begin);
        let events = config.chain(self.events.range(skip..)).take(max);
        let events: Vec<Event> = events.cloned().collect();
        let next = match events.last() {
            Some(last) => last.n + 1,
            None if max == 0 => begin,
            None => self.next,
        };
        Page { lost: next - begin - events.len() as u64, next, events }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn event(what: What) -> Event {
        Event { n: 0, at: 1, node: None, what }
    }

    fn numbers(page: &Page) -> Vec<u64> {
        page.events.iter().map(|event| event.n).collect()
    }

    #[test]
    fn a_reader_that_is_late_is_told_how_much_it_missed_and_goes_on() {
        let mut ring = Ring::new(3);
        assert_eq!(ring.page(1, 9), Page { events: vec![], lost: 0, next: 1 });
        (0..5).for_each(|_| ring.push(event(What::Resume)));
        let page = ring.page(1, 2);
        assert_eq!((numbers(&page), page.lost, page.next), (vec![3, 4], 2, 5));
        let page = ring.page(page.next, 2);
        assert_eq!((numbers(&page), page.lost, page.next), (vec![5], 0, 6));
        let page = ring.page(6, 2);
        assert_eq!((numbers(&page), page.lost, page.next), (vec![], 0, 6));
        assert_eq!(ring.page(u64::MAX, 2).next, 6, "from the future: from now");
        assert_eq!(ring.page(0, 9).lost, 2, "numbers begin at one");
        assert_eq!(ring.page(1, 0), Page { events: vec![], lost: 0, next: 1 });
    }

    #[test]
    fn what_could_not_be_taken_in_leaves_a_gap_in_the_numbers() {
        let mut ring = Ring::new(3);
        ring.push(event(What::Resume));
        ring.lose(4);
        let page = ring.page(2, 9);
        assert_eq!((numbers(&page), page.lost, page.next), (vec![], 4, 6));
        ring.push(event(What::Resume));
        let page = ring.page(1, 9);
        assert_eq!((numbers(&page), page.lost, page.next), (vec![1, 6], 4, 7));
    }

    #[test]
    fn the_last_configuration_outlives_what_came_after_it() {
        let mut ring = Ring::new(2);
        let config = |quorum: &str| What::Config {
            quorum: quorum.into(),
            joint: None,
            slots: BTreeMap::new(),
            learners: vec![],
        };
        for what in [config("old"), config("new"), What::Resume, What::Resume, What::Resume] {
            ring.push(event(what));
        }
        let page = ring.page(1, 9);
        assert_eq!((numbers(&page), page.lost), (vec![2, 4, 5], 2));
        assert_eq!(page.events[0].what, config("new"));
        assert_eq!(numbers(&ring.page(3, 9)), [4, 5], "who has it is not told again");
        assert_eq!(numbers(&ring.page(1, 1)), [2]);
    }
}
