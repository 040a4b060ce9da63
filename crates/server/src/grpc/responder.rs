//! Completion of one unary call.

use super::Status;
use super::call::{Call, Caller};
use super::deadline::Ticket;
use super::message::{ANSWER_BYTES_MAX, answer};
use api::Message;
use api::error::EtcdError;
use bytes::Bytes;
use std::rc::Rc;

/// Answers one unary call, now or later, from the thread it was made on.
///
/// Dropping it unanswered tells the client that the server stopped, so no call ever hangs.
#[must_use]
pub struct Responder {
    call: Rc<Call>,
    /// The connection answers the call when its deadline passes first.
    ticket: Option<Ticket>,
}

impl Responder {
    pub(super) fn new(call: Rc<Call>, ticket: Option<Ticket>) -> Self {
        Self { call, ticket }
    }

    /// To ask, while this is on its way to an answer, whether one is still wanted.
    pub fn caller(&self) -> Caller {
        Caller::of(&self.call)
    }

    pub fn ok(self, message: &impl Message) {
        // Encoding is most of the work that a long answer makes.
        if self.caller().is_late() {
            return self.fail(&super::exceeded());
        }
        match answer(message, ANSWER_BYTES_MAX) {
            Ok(frame) => self.ok_frame(frame),
            Err(status) => self.fail(&status),
        }
    }

    /// `frame` is a message with its 5-byte prefix.
    pub fn ok_frame(self, frame: Bytes) {
        self.call.ok(frame);
    }

    pub fn fail(self, status: &Status) {
        self.call.fail(status);
    }

    /// The client has gone: nobody is left to tell.
    pub(super) fn forget(self) {
        self.call.forget();
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        drop(self.ticket.take());
        if self.call.is_open() {
            self.call.fail(&Status::from(EtcdError::Stopped).outcome("unknown"));
        }
    }
}
