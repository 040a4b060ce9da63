//! Reads in their turn: only for whom they are still of use, only where there is room for the
//! answer, and no more at a time than the rest of the member can wait for.

use crate::ask::Answer;
use crate::query::{Found, Query};
use crate::refusal::{Reason, Refusal};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use base::Nanos;
use core::cell::{Cell, RefCell};
use core::task::{Context, Waker};

/// Reads that wait for their turn or for room.
pub const READS_WAITING_MAX: usize = 16_384;
/// Time spent on reads before everything else gets its turn; one read overshoots.
const TURN_MAX: Nanos = Nanos::from_millis(5);

/// Carries out one read.
type Run = Box<dyn Fn(&Query) -> Result<Found, Refusal>>;

/// The reads of one member whose state is fresh enough.
pub struct Reads {
    run: Run,
    /// The caller's clock.
    now: Box<dyn Fn() -> Nanos>,
    waiting: RefCell<VecDeque<(Query, Answer<Found>)>>,
    /// Spent on reads since the queue had its last turn.
    spent: Cell<Nanos>,
    waker: RefCell<Option<Waker>>,
}

impl Reads {
    /// `run` carries one out, `now` tells how long that took.
    pub fn new(
        run: impl Fn(&Query) -> Result<Found, Refusal> + 'static,
        now: impl Fn() -> Nanos + 'static,
    ) -> Self {
        Self {
            run: Box::new(run),
            now: Box::new(now),
            waiting: RefCell::default(),
            spent: Cell::new(Nanos::ZERO),
            waker: RefCell::default(),
        }
    }

    /// Reads and answers, now or in turn, unless whoever asked leaves before.
    pub fn serve(&self, query: Query, answer: Answer<Found>) {
        let clear = self.waiting.borrow().is_empty() && self.spent.get() < TURN_MAX;
        if clear && answer.asker().has_room() {
            return self.answer(&query, answer);
        }
        if self.waiting.borrow().len() >= READS_WAITING_MAX {
            return answer.keep(Err(Refusal::not_applied(Reason::Overloaded)));
        }
        self.waiting.borrow_mut().push_back((query, answer));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn answer(&self, query: &Query, answer: Answer<Found>) {
        if !answer.is_wanted() {
            return answer.keep(Err(Refusal::not_applied(Reason::Deadline)));
        }
        let began = (self.now)();
        answer.keep((self.run)(query));
        let took = (self.now)().since(began);
        self.spent.set(self.spent.get().plus(took));
    }

    /// Serves what waits, for one turn; wakes the task when there is more to do.
    pub fn turn(&self, cx: &mut Context<'_>) {
        self.spent.set(Nanos::ZERO);
        *self.waker.borrow_mut() = Some(cx.waker().clone());
        let count = self.waiting.borrow().len();
        for _ in 0..count {
            let Some((query, answer)) = self.waiting.borrow_mut().pop_front() else { break };
            // Who has left needs no room, and makes some.
            if answer.asker().poll_room(cx) || !answer.is_wanted() {
                self.answer(&query, answer);
            } else {
                self.waiting.borrow_mut().push_back((query, answer));
            }
            if self.spent.get() >= TURN_MAX {
                cx.waker().wake_by_ref();
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::rc::Rc;
    use later::{Asker, Asking, Later, promise};
    use std::vec::Vec;

    #[derive(Default)]
    struct Client {
        left: Cell<bool>,
        full: Cell<bool>,
    }

    impl Asking for Client {
        fn has_left(&self) -> bool {
            self.left.get()
        }
        fn is_late(&self) -> bool {
            false
        }
        fn has_room(&self) -> bool {
            !self.full.get()
        }
        fn may_write(&self) -> bool {
            true
        }
        fn poll_room(&self, _: &mut Context<'_>) -> bool {
            !self.full.get()
        }
    }

    struct Stage {
        reads: Reads,
        made: Rc<Cell<usize>>,
    }

    impl Stage {
        /// Each read takes so long.
        fn new(ms: u64) -> Self {
            let (made, clock) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(Nanos::ZERO)));
            let (count, time) = (Rc::clone(&made), Rc::clone(&clock));
            let run = move |_: &Query| {
                count.set(count.get() + 1);
                time.set(time.get().plus(Nanos::from_millis(ms)));
                Ok(Found::Lease(None))
            };
            Self { reads: Reads::new(run, move || clock.get()), made }
        }

        fn ask(&self, client: &Rc<Client>) -> Later<Result<Found, Refusal>> {
            let (answer, later) = promise(Asker::new(Rc::clone(client) as _), |found| found);
            self.reads.serve(Query::Lease { id: 1, keys: false }, answer);
            later
        }

        fn turn(&self) {
            self.reads.turn(&mut Context::from_waker(Waker::noop()));
        }
    }

    #[test]
    fn reads_wait_their_turn_once_enough_time_was_spent_on_them() {
        let (stage, client) = (Stage::new(3), Rc::default());
        let _all: Vec<_> = (0..7).map(|_| stage.ask(&client)).collect();
        assert_eq!(stage.made.get(), 2, "the second one overshoots");
        stage.turn();
        assert_eq!(stage.made.get(), 4);
        stage.turn();
        stage.turn();
        assert_eq!(stage.made.get(), 7);
    }

    #[test]
    fn a_read_without_room_waits_and_one_whose_caller_left_is_never_made() {
        let stage = Stage::new(1);
        let (full, gone): (Rc<Client>, Rc<Client>) = (Rc::default(), Rc::default());
        full.full.set(true);
        gone.full.set(true);
        let _waits = stage.ask(&full);
        let _left = stage.ask(&gone);
        drop(stage.ask(&full));
        stage.turn();
        assert_eq!(stage.made.get(), 0);
        assert_eq!(stage.reads.waiting.borrow().len(), 2, "one was not wanted any more");
        gone.left.set(true);
        full.full.set(false);
        stage.turn();
        assert_eq!((stage.made.get(), stage.reads.waiting.borrow().len()), (1, 0));
    }

    #[test]
    fn the_read_too_many_is_refused() {
        let (stage, client) = (Stage::new(0), Rc::new(Client::default()));
        client.full.set(true);
        let _all: Vec<_> = (0..READS_WAITING_MAX).map(|_| stage.ask(&client)).collect();
        let (answer, later) = promise(Asker::nobody(), |found| found);
        stage.reads.serve(Query::Lease { id: 1, keys: false }, answer);
        let mut later = later;
        let polled = core::pin::Pin::new(&mut later).poll(&mut Context::from_waker(Waker::noop()));
        let refused = Refusal::not_applied(Reason::Overloaded);
        assert_eq!(polled, core::task::Poll::Ready(Some(Err(refused))));
    }
}
