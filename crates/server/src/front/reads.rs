//! Reads in their turn: only for whom they are still of use, only where there is room for the
//! answer, and no more at a time than the rest of the member can wait for.

use super::engine::{Failure, Why};
use super::refusal;
use crate::grpc::{Responder, Status, too_late};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Reads that wait for their turn or for room.
const READS_WAITING_MAX: usize = 16_384;
/// Time spent on reads before everything else gets its turn; one read overshoots.
const TURN_MAX: Duration = Duration::from_millis(5);

type Work = Box<dyn FnOnce(Responder)>;

struct Job {
    responder: Responder,
    work: Work,
}

/// The queue of one member.
#[derive(Default)]
pub(super) struct Reads {
    waiting: RefCell<VecDeque<Job>>,
    /// Spent on reads since the queue had its last turn.
    spent: Cell<Duration>,
    waker: RefCell<Option<Waker>>,
}

impl Reads {
    /// Reads and answers, now or in turn, unless the caller leaves before.
    pub(super) fn serve(&self, responder: Responder, work: impl FnOnce(Responder) + 'static) {
        let clear = self.waiting.borrow().is_empty() && self.spent.get() < TURN_MAX;
        if clear && responder.caller().has_room() {
            return self.run(responder, work);
        }
        if self.waiting.borrow().len() >= READS_WAITING_MAX {
            return responder.fail(&overloaded());
        }
        self.waiting.borrow_mut().push_back(Job { responder, work: Box::new(work) });
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn run(&self, responder: Responder, work: impl FnOnce(Responder)) {
        if responder.caller().has_left() {
            return responder.fail(&too_late());
        }
        let began = Instant::now();
        work(responder);
        self.spent.set(self.spent.get() + began.elapsed());
    }

    /// Serves what waits, for as long as the member lives.
    pub(super) async fn pump(self: Rc<Self>) {
        poll_fn(|cx| self.turn(cx)).await
    }

    fn turn(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.spent.set(Duration::ZERO);
        *self.waker.borrow_mut() = Some(cx.waker().clone());
        let count = self.waiting.borrow().len();
        for _ in 0..count {
            let Some(job) = self.waiting.borrow_mut().pop_front() else { break };
            let caller = job.responder.caller();
            if caller.has_left() {
                job.responder.fail(&too_late());
            } else if caller.poll_room(cx) {
                self.run(job.responder, job.work);
            } else {
                self.waiting.borrow_mut().push_back(job);
            }
            if self.spent.get() >= TURN_MAX {
                cx.waker().wake_by_ref();
                break;
            }
        }
        Poll::Pending
    }
}

fn overloaded() -> Status {
    refusal::status(Failure::Overloaded(Why::default()))
}
