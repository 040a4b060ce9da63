//! What clients have asked and were not answered yet: the bytes of their requests, begun or whole,
//! counted so that they can be bounded.

use super::status::{Code, Outcome, Status};
use base::limits::{ALL_REQUESTS_BYTES_MAX, CONNECTION_REQUESTS_BYTES_MAX};
use std::cell::Cell;
use std::rc::Rc;

/// The sum over all connections of a server.
#[derive(Default)]
pub(super) struct Total(Cell<usize>);

impl Total {
    pub(super) fn bytes(&self) -> usize {
        self.0.get()
    }
}

/// The count of one connection.
pub(super) struct Inflow {
    bytes: Cell<usize>,
    /// Ever.
    received: Cell<u64>,
    all: Rc<Total>,
}

impl Inflow {
    pub(super) fn new(all: Rc<Total>) -> Rc<Self> {
        Rc::new(Self { bytes: Cell::new(0), received: Cell::new(0), all })
    }

    /// Nothing yet of one request.
    pub(super) fn begin(self: &Rc<Self>) -> Held {
        Held { bytes: 0, inflow: Rc::clone(self) }
    }

    /// No more than what is left to all others, so that whoever comes finds a share as large as
    /// the greediest has (Choudhury and Hahne, "Dynamic queue length thresholds", section II).
    fn has_room(&self) -> bool {
        let left = ALL_REQUESTS_BYTES_MAX.saturating_sub(self.all.0.get());
        self.bytes.get() < left.min(CONNECTION_REQUESTS_BYTES_MAX)
    }
}

/// The bytes of one request that are here.
pub(super) struct Held {
    bytes: usize,
    inflow: Rc<Inflow>,
}

impl Held {
    /// Counts `n` more; one piece overshoots. Refused there is no room, and whoever is refused
    /// makes some: waiting for it, many requests of which each has a half would wait for ever.
    pub(super) fn grow(&mut self, n: usize) -> Result<(), Status> {
        let Inflow { bytes, received, all } = &*self.inflow;
        if !self.inflow.has_room() {
            let text = "too many bytes of requests are under way";
            return Err(Status::new(Code::ResourceExhausted, text).outcome(Outcome::NotApplied));
        }
        self.bytes += n;
        received.set(received.get() + n as u64);
        bytes.set(bytes.get() + n);
        all.0.set(all.0.get() + n);
        Ok(())
    }

    /// So many are not here any more.
    pub(super) fn shrink(&mut self, n: usize) {
        self.bytes = self.bytes.checked_sub(n).expect("what goes was counted");
        let Inflow { bytes, all, .. } = &*self.inflow;
        bytes.set(bytes.get() - n);
        all.0.set(all.0.get() - n);
    }

    pub(super) fn clear(&mut self) {
        self.shrink(self.bytes);
    }

    /// What its connection has sent of requests, ever; and whether there is little room for others.
    pub(super) fn flow(&self) -> (u64, bool) {
        let Inflow { received, all, .. } = &*self.inflow;
        (received.get(), all.0.get() > ALL_REQUESTS_BYTES_MAX / 2)
    }

    /// All of it, for whoever keeps the request from here on.
    pub(super) fn take(&mut self) -> Self {
        let bytes = std::mem::replace(&mut self.bytes, 0);
        Self { bytes, inflow: Rc::clone(&self.inflow) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_count_until_they_are_let_go_and_one_connection_has_a_bound() {
        let all = Rc::<Total>::default();
        let (one, two) = (Inflow::new(Rc::clone(&all)), Inflow::new(Rc::clone(&all)));
        let mut first = one.begin();
        first.grow(CONNECTION_REQUESTS_BYTES_MAX - 1).unwrap();
        let mut second = one.begin();
        second.grow(100).unwrap();
        let refused = one.begin().grow(1).unwrap_err();
        assert_eq!((refused.code, refused.outcome), (8, Some(Outcome::NotApplied)));
        two.begin().grow(1).expect("another one's");
        first.shrink(1000);
        second.grow(1).expect("it has room again");
        let kept = first.take();
        drop((first, second));
        assert_eq!(all.bytes(), CONNECTION_REQUESTS_BYTES_MAX - 1001);
        drop(kept);
        assert_eq!((one.bytes.get(), all.bytes()), (0, 0));
    }

    #[test]
    fn all_have_a_bound_together_and_who_comes_late_finds_as_much_as_the_greediest_has() {
        const PIECE: usize = 16 << 10;
        let all = Rc::<Total>::default();
        for count in [1, 4, 30] {
            let mut greedy: Vec<_> =
                (0..count).map(|_| Inflow::new(Rc::clone(&all)).begin()).collect();
            while greedy.iter_mut().map(|one| one.grow(PIECE).is_ok()).fold(false, |a, b| a | b) {}
            assert!(all.bytes() <= ALL_REQUESTS_BYTES_MAX, "{count}");
            let share = greedy.iter().map(|one| one.bytes).max().expect("there is one");
            let mut late = Inflow::new(Rc::clone(&all)).begin();
            while late.grow(PIECE).is_ok() {}
            assert!(late.bytes + count * PIECE >= share / 2, "{count}: {} {share}", late.bytes);
        }
    }
}
