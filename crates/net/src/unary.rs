//! One unary call while it is under way, and whether anybody still wants its answer.

use super::deadline::Ticket;
use super::outflow::{Chunk, Outflow};
use super::stats::Tally;
use super::status::{Code, Outcome, Status, failed_head, head, ok_trailers};
use super::streams::Place;
use bytes::Bytes;
use h2::server::SendResponse;
use later::{Asking, Receiver};
use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

/// A unary call that was accepted and may still be answered, once.
pub(super) struct Unary {
    send: RefCell<Option<SendResponse<Chunk>>>,
    tally: RefCell<Option<Tally>>,
    outflow: Rc<Outflow>,
    /// From `grpc-timeout`, on this machine's monotonic clock.
    deadline: Option<Instant>,
    /// The connection answers the call when its deadline passes first.
    ticket: RefCell<Option<Ticket>>,
    place: Place,
}

impl Unary {
    pub(super) fn new(
        send: SendResponse<Chunk>,
        tally: Tally,
        outflow: Rc<Outflow>,
        deadline: Option<Instant>,
        place: Place,
    ) -> Rc<Self> {
        let (send, tally) = (RefCell::new(Some(send)), RefCell::new(Some(tally)));
        Rc::new(Self { send, tally, outflow, deadline, ticket: RefCell::default(), place })
    }

    /// Keeps its place among the calls of the connection that must be answered in time.
    pub(super) fn hold(&self, ticket: Ticket) {
        *self.ticket.borrow_mut() = Some(ticket);
    }

    /// Where the answer goes and how the call is counted, once.
    fn end(&self, code: u32) -> Option<SendResponse<Chunk>> {
        drop(self.ticket.take());
        let send = self.send.take()?;
        if let Some(mut tally) = self.tally.take() {
            tally.end(code);
        }
        Some(send)
    }

    /// `None`: no answer comes, the member stops.
    pub(super) fn answer(&self, answer: Option<Result<Bytes, Status>>) {
        match answer {
            Some(Ok(frame)) => self.ok(frame),
            Some(Err(status)) => self.fail(&status),
            None => self.fail(&self.place.stopped().outcome(Outcome::Unknown)),
        }
    }

    /// A client that went away is not an error: what goes wrong here ends the call silently.
    ///
    /// The body is handed to h2 whole: it is one shared buffer already, h2 cuts it to the peer's
    /// window without copying, and holding it here instead would hold the same bytes.
    fn ok(&self, frame: Bytes) {
        let Some(mut send) = self.end(Code::Ok as u32) else { return };
        let Ok(mut body) = send.send_response(head(), false) else { return };
        if body.send_data(self.outflow.chunk(frame), false).is_ok() {
            let _ = body.send_trailers(ok_trailers());
        }
    }

    pub(super) fn fail(&self, status: &Status) {
        if let Some(send) = self.end(status.code) {
            refuse(send, &self.outflow, status);
        }
    }

    /// Nobody is left to tell.
    pub(super) fn forget(&self) {
        drop(self.ticket.take());
        drop(self.send.take());
        drop(self.tally.take());
    }
}

/// Answers with a refusal alone.
pub(super) fn refuse(mut send: SendResponse<Chunk>, outflow: &Outflow, status: &Status) {
    outflow.begins();
    let _ = send.send_response(failed_head(status), true);
}

impl Asking for Unary {
    fn has_left(&self) -> bool {
        let gone = || {
            let mut send = self.send.borrow_mut();
            let mut cx = Context::from_waker(Waker::noop());
            send.as_mut().is_none_or(|send| send.poll_reset(&mut cx).is_ready())
        };
        self.is_late() || gone()
    }

    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    fn has_room(&self) -> bool {
        self.outflow.has_room()
    }

    fn may_write(&self) -> bool {
        self.outflow.may_write()
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> bool {
        self.outflow.poll_room(cx)
    }

    fn whose(&self) -> usize {
        Rc::as_ptr(&self.outflow).addr()
    }

    fn time_left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }
}

impl Receiver<Result<Bytes, Status>> for Unary {
    fn receive(self: Rc<Self>, value: Option<Result<Bytes, Status>>) {
        self.answer(value);
    }
}
