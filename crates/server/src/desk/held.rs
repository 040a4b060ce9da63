//! What waits at the desk and beyond it, in all and of each connection, so that one stops no other.

use base::limits::{ASKED_BYTES_MAX, ASKED_MAX, ASKED_OF_ONE_BYTES_MAX, ASKED_OF_ONE_MAX};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    requests: usize,
    bytes: usize,
}

impl Sum {
    /// A request alone may have any size, and one without bytes is only counted.
    fn admits(self, bytes: usize, requests_max: usize, bytes_max: usize) -> bool {
        let fits = bytes == 0 || self.bytes == 0 || self.bytes + bytes <= bytes_max;
        self.requests < requests_max && fits
    }
}

#[derive(Default)]
pub(super) struct Held {
    all: Sum,
    /// Of whom something waits; nobody's own are only part of all.
    of: BTreeMap<usize, Sum>,
}

impl Held {
    /// Counts a request in; false when there is no room for it.
    pub fn take(&mut self, whose: usize, bytes: usize) -> bool {
        let own = self.of.get(&whose).copied().unwrap_or_default();
        let one = own.admits(bytes, ASKED_OF_ONE_MAX, ASKED_OF_ONE_BYTES_MAX);
        if !self.all.admits(bytes, ASKED_MAX, ASKED_BYTES_MAX) || (whose != 0 && !one) {
            return false;
        }
        for sum in [&mut self.all, self.of.entry(whose).or_default()] {
            sum.requests += 1;
            sum.bytes += bytes;
        }
        true
    }

    /// Counts a request out that was counted in.
    pub fn give(&mut self, whose: usize, bytes: usize) {
        let own = self.of.get_mut(&whose).expect("what is given back was taken");
        for sum in [&mut self.all, &mut *own] {
            sum.requests -= 1;
            sum.bytes -= bytes;
        }
        if own.requests == 0 {
            assert_eq!(own.bytes, 0, "bytes are of requests");
            self.of.remove(&whose);
        }
    }

    /// Requests in all.
    #[cfg(test)]
    pub fn requests(&self) -> usize {
        assert_eq!(self.all.requests, self.of.values().map(|sum| sum.requests).sum::<usize>());
        self.all.requests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_connection_has_a_share_and_all_of_them_a_bound() {
        let mut held = Held::default();
        assert!((0..ASKED_OF_ONE_MAX).all(|_| held.take(1, 0)));
        assert!(!held.take(1, 0) && held.take(2, 0), "the others go on");
        assert!((held.requests()..ASKED_MAX).all(|_| held.take(0, 0)), "nobody has no share");
        assert!(!held.take(2, 0) && !held.take(0, 0));
        held.give(1, 0);
        assert!(held.take(1, 0) && !held.take(2, 0));
        assert_eq!(held.requests(), ASKED_MAX);
    }

    #[test]
    fn bytes_have_a_share_too_but_for_one_request() {
        let mut held = Held::default();
        assert!(held.take(1, ASKED_OF_ONE_BYTES_MAX + 1) && !held.take(1, 1) && held.take(1, 0));
        assert!(held.take(2, ASKED_OF_ONE_BYTES_MAX) && !held.take(2, 1));
        assert!(held.take(3, 1) && !held.take(0, ASKED_BYTES_MAX));
        for (whose, bytes) in [(1, ASKED_OF_ONE_BYTES_MAX + 1), (1, 0), (3, 1)] {
            held.give(whose, bytes);
        }
        held.give(2, ASKED_OF_ONE_BYTES_MAX);
        assert!(held.requests() == 0 && held.of.is_empty());
        assert!(held.take(0, ASKED_BYTES_MAX + 1));
    }
}
