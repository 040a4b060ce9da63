//! Completion of one unary call.

use super::Status;
use super::deadline::Ticket;
use super::message::{ANSWER_BYTES_MAX, answer};
use super::stats::Tally;
use api::Message;
use api::error::{Code, EtcdError};
use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Response};

/// Answers one unary call, now or later, from the thread it was made on.
///
/// Dropping it unanswered tells the client that the server stopped, so no call ever hangs.
#[must_use]
pub struct Responder {
    call: Call,
    tally: Option<Tally>,
}

enum Call {
    Open(SendResponse<Bytes>),
    /// The connection answers it when its deadline passes first.
    Timed(Ticket),
    Done,
}

impl Responder {
    pub(super) fn new(send: SendResponse<Bytes>, tally: Tally) -> Self {
        Self { call: Call::Open(send), tally: Some(tally) }
    }

    /// For a path that no method has.
    pub(super) fn uncounted(send: SendResponse<Bytes>) -> Self {
        Self { call: Call::Open(send), tally: None }
    }

    pub(super) fn timed(ticket: Ticket, tally: Tally) -> Self {
        Self { call: Call::Timed(ticket), tally: Some(tally) }
    }

    fn count(&mut self, code: u32) {
        if let Some(tally) = &mut self.tally {
            tally.end(code);
        }
    }

    /// The call, once; none when it has been answered.
    fn take(&mut self) -> Option<SendResponse<Bytes>> {
        match std::mem::replace(&mut self.call, Call::Done) {
            Call::Open(send) => Some(send),
            Call::Timed(ticket) => {
                let send = ticket.take();
                if send.is_none() {
                    self.count(Code::DeadlineExceeded as u32);
                }
                send
            }
            Call::Done => None,
        }
    }

    pub fn ok(self, message: &impl Message) {
        match answer(message, ANSWER_BYTES_MAX) {
            Ok(frame) => self.ok_frame(frame),
            Err(status) => self.fail(&status),
        }
    }

    /// `frame` is a message with its 5-byte prefix.
    ///
    /// The body is handed to h2 whole: it is one shared buffer already, h2 cuts it to the peer's
    /// window without copying, and holding it here instead would hold the same bytes.
    pub fn ok_frame(mut self, frame: Bytes) {
        let Some(mut send) = self.take() else { return };
        self.count(Code::Ok as u32);
        // A client that went away is not an error: errors below end the call silently.
        let Ok(mut body) = send.send_response(head(), false) else { return };
        if body.send_data(frame, false).is_ok() {
            let _ = body.send_trailers(ok_trailers());
        }
    }

    pub fn fail(mut self, status: &Status) {
        self.finish(status);
    }

    /// The client has gone: nobody is left to tell.
    pub(super) fn forget(mut self) {
        drop(self.take());
    }

    fn finish(&mut self, status: &Status) {
        if let Some(mut send) = self.take() {
            self.count(status.code);
            let _ = send.send_response(failed_head(status), true);
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if !matches!(self.call, Call::Done) {
            self.finish(&Status::from(EtcdError::Stopped).outcome("unknown"));
        }
    }
}

pub(super) fn head() -> Response<()> {
    let mut response = Response::new(());
    let value = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(http::header::CONTENT_TYPE, value);
    response
}

/// A response without a message: the status rides in the headers ("Trailers-Only").
pub(super) fn failed_head(status: &Status) -> Response<()> {
    let mut response = head();
    status.write(response.headers_mut());
    response
}

pub(super) fn ok_trailers() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers
}
