//! One unary call while it is under way, and whether anybody still wants its answer.

use super::Status;
use super::outflow::{Chunk, Outflow};
use super::stats::Tally;
use super::status::{failed_head, head, ok_trailers};
use super::streams::Place;
use api::error::Code;
use bytes::Bytes;
use h2::server::SendResponse;
use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Instant;

/// A unary call that was accepted and may still be answered, once.
pub(super) struct Call {
    send: RefCell<Option<SendResponse<Chunk>>>,
    tally: RefCell<Option<Tally>>,
    outflow: Rc<Outflow>,
    /// From `grpc-timeout`, on this machine's monotonic clock.
    deadline: Option<Instant>,
    _place: Option<Place>,
}

impl Call {
    pub(super) fn new(
        send: SendResponse<Chunk>,
        tally: Option<Tally>,
        outflow: Rc<Outflow>,
        deadline: Option<Instant>,
        place: Option<Place>,
    ) -> Rc<Self> {
        let (send, tally) = (RefCell::new(Some(send)), RefCell::new(tally));
        Rc::new(Self { send, tally, outflow, deadline, _place: place })
    }

    fn count(&self, code: u32) {
        if let Some(mut tally) = self.tally.borrow_mut().take() {
            tally.end(code);
        }
    }

    /// A client that went away is not an error: what goes wrong here ends the call silently.
    ///
    /// The body is handed to h2 whole: it is one shared buffer already, h2 cuts it to the peer's
    /// window without copying, and holding it here instead would hold the same bytes.
    pub(super) fn ok(&self, frame: Bytes) {
        let Some(mut send) = self.send.take() else { return };
        self.count(Code::Ok as u32);
        let Ok(mut body) = send.send_response(head(), false) else { return };
        if body.send_data(self.outflow.chunk(frame), false).is_ok() {
            let _ = body.send_trailers(ok_trailers());
        }
    }

    pub(super) fn fail(&self, status: &Status) {
        let Some(mut send) = self.send.take() else { return };
        self.count(status.code);
        self.outflow.begins();
        let _ = send.send_response(failed_head(status), true);
    }

    /// Nobody is left to tell.
    pub(super) fn forget(&self) {
        drop(self.send.take());
        drop(self.tally.take());
    }

    pub(super) fn is_open(&self) -> bool {
        self.send.borrow().is_some()
    }

    /// Answered, reset by the client, or its connection has ended.
    fn is_gone(&self) -> bool {
        let mut send = self.send.borrow_mut();
        let mut cx = Context::from_waker(Waker::noop());
        send.as_mut().is_none_or(|send| send.poll_reset(&mut cx).is_ready())
    }
}

/// Who asked for something, to learn whether it is still worth doing.
#[derive(Clone, Default)]
pub struct Caller(Option<Rc<Call>>);

impl Caller {
    /// This server itself, or who cannot go away.
    pub const fn nobody() -> Self {
        Self(None)
    }

    pub(super) fn of(call: &Rc<Call>) -> Self {
        Self(Some(Rc::clone(call)))
    }

    /// True once no answer can be of use: the call was answered or reset, its connection ended, or
    /// its deadline has passed.
    pub fn has_left(&self) -> bool {
        self.is_late() || self.0.as_ref().is_some_and(|call| call.is_gone())
    }

    /// Whether the deadline has passed. Nearly free where there is none, and enough to ask in a
    /// turn in which the connection is not read, so that nothing else can become known.
    pub fn is_late(&self) -> bool {
        let deadline = self.0.as_ref().and_then(|call| call.deadline);
        deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    /// Whether an answer of any length may be made for it now.
    pub fn has_room(&self) -> bool {
        self.0.as_ref().is_none_or(|call| call.outflow.has_room())
    }

    /// Whether a write, whose answer cannot wait, may begin.
    pub fn may_write(&self) -> bool {
        self.0.as_ref().is_none_or(|call| call.outflow.may_write())
    }

    /// As [`Self::has_room`]; without room, wakes the task when there may be some.
    pub fn poll_room(&self, cx: &mut Context<'_>) -> bool {
        self.0.as_ref().is_none_or(|call| call.outflow.poll_room(cx))
    }
}
