//! One unary call while it is under way, and whether anybody still wants its answer.

use super::deadline::{Overdue, Ticket};
use super::inflow::Held;
use super::outflow::{Chunk, Outflow};
use super::stats::Tally;
use super::status::{Code, Outcome, Status, exceeded, failed_head, head, ok_trailers};
use super::stream::StreamSender;
use super::streams::Place;
use super::waiting::Waiting;
use super::{Body, Source, drive};
use bytes::Bytes;
use h2::server::SendResponse;
use later::{Asking, Later, Receiver};
use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// A unary call that was accepted and may still be answered, once.
pub(super) struct Unary {
    open: RefCell<Option<Open>>,
    outflow: Rc<Outflow>,
    /// From `grpc-timeout`, on this machine's monotonic clock.
    deadline: Option<Instant>,
    /// The connection answers the call when its deadline passes first.
    ticket: RefCell<Option<Ticket>>,
    /// The bytes of its request, while it waits for its answer.
    request: RefCell<Option<Held>>,
}

/// What a call has until it is answered: where the answer goes, and how the call is counted.
struct Open {
    send: SendResponse<Chunk>,
    tally: Tally,
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
        let open = RefCell::new(Some(Open { send, tally, place }));
        let (ticket, request) = (RefCell::default(), RefCell::default());
        Rc::new(Self { open, outflow, deadline, ticket, request })
    }

    /// Keeps its place among the calls of the connection that must be answered in time.
    pub(super) fn hold(&self, ticket: Ticket) {
        *self.ticket.borrow_mut() = Some(ticket);
    }

    /// Its answer comes later: until then its request counts.
    pub(super) fn waits(&self, request: Held) {
        *self.request.borrow_mut() = Some(request);
    }

    /// Waits until its connection may ask for more; false when nobody wants it any more. Its task
    /// ends with its time, so that calls that wait are never more than calls that are open.
    pub(super) async fn may_begin(&self) -> bool {
        let mut waiting = Waiting::new(Rc::clone(&self.outflow));
        let mut late = pin!(async {
            match self.deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => pending().await,
            }
        });
        poll_fn(|cx| {
            if self.is_closed(cx) || late.as_mut().poll(cx).is_ready() {
                Poll::Ready(false)
            } else if waiting.poll(cx) {
                Poll::Ready(true)
            } else {
                Poll::Pending
            }
        })
        .await
    }

    /// It was answered or its client has left. Wakes the task when the client does.
    fn is_closed(&self, cx: &mut Context<'_>) -> bool {
        let mut open = self.open.borrow_mut();
        open.as_mut().is_none_or(|open| open.send.poll_reset(cx).is_ready())
    }

    /// What it has, once.
    fn close(&self) -> Option<Open> {
        drop((self.ticket.take(), self.request.take()));
        self.open.take()
    }

    /// `None`: no answer comes, the member stops.
    pub(super) fn answer(&self, answer: Option<Result<Body, Status>>) {
        match answer {
            Some(Ok(Body::Whole(frame))) => self.ok(frame),
            Some(Ok(Body::Pieces(pieces, bytes))) => self.write_on(pieces, bytes),
            Some(Err(status)) => self.fail(&status),
            None => {
                let Some(open) = self.close() else { return };
                let stopped = open.place.stopped().outcome(Outcome::Unknown);
                self.refuse(open, &stopped);
            }
        }
    }

    /// A client that went away is not an error: what goes wrong here ends the call silently.
    ///
    /// The body is handed to h2 whole: it is short, or one value.
    fn ok(&self, frame: Bytes) {
        let Some(Open { mut send, mut tally, place: _place }) = self.close() else { return };
        tally.end(Code::Ok as u32);
        let Ok(mut body) = send.send_response(head(), false) else { return };
        if body.send_data(self.outflow.chunk(frame), false).is_ok() {
            let _ = body.send_trailers(ok_trailers());
        }
    }

    /// Goes on as a stream does, with a task of its own: the answer comes as the client takes it.
    fn write_on(&self, pieces: Box<dyn Source>, bytes: usize) {
        let Some(Open { send, tally, place }) = self.close() else { return };
        let owes = (Rc::clone(&self.outflow), self.outflow.owe(bytes));
        let out = StreamSender::message(send, tally, owes, place);
        let deadline = self.deadline;
        tokio::task::spawn_local(drive::run(Later::now(Ok(pieces)), deadline, out));
    }

    pub(super) fn fail(&self, status: &Status) {
        if let Some(open) = self.close() {
            self.refuse(open, status);
        }
    }

    fn refuse(&self, open: Open, status: &Status) {
        let Open { send, mut tally, place: _place } = open;
        tally.end(status.code);
        refuse(send, &self.outflow, status);
    }

    /// Nobody is left to tell.
    pub(super) fn forget(&self) {
        drop(self.close());
    }
}

/// Answers with a refusal alone.
pub(super) fn refuse(mut send: SendResponse<Chunk>, outflow: &Outflow, status: &Status) {
    outflow.begins();
    let _ = send.send_response(failed_head(status), true);
}

impl Overdue for Unary {
    fn expire(&self) {
        self.fail(&exceeded());
    }
}

impl Asking for Unary {
    fn has_left(&self) -> bool {
        self.is_late() || self.is_closed(&mut Context::from_waker(Waker::noop()))
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

    fn poll_long_room(&self, cx: &mut Context<'_>) -> bool {
        self.outflow.poll_long_room(cx)
    }

    fn whose(&self) -> usize {
        Rc::as_ptr(&self.outflow).addr()
    }

    fn time_left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }
}

impl Receiver<Result<Body, Status>> for Unary {
    fn receive(self: Rc<Self>, value: Option<Result<Body, Status>>) {
        self.answer(value);
    }
}
