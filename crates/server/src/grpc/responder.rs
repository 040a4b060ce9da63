//! Completion of one unary call.

use super::{Status, frame};
use api::Message;
use api::error::EtcdError;
use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Response};

/// Answers one unary call, now or later, from the thread it was made on.
///
/// Dropping it unanswered tells the client that the server stopped, so no call ever hangs.
#[must_use]
pub struct Responder {
    send: Option<SendResponse<Bytes>>,
}

impl Responder {
    pub(super) fn new(send: SendResponse<Bytes>) -> Self {
        Self { send: Some(send) }
    }

    pub fn ok(self, message: &impl Message) {
        self.ok_frame(frame(message));
    }

    /// `frame` is a message with its 5-byte prefix.
    ///
    /// The body is handed to h2 whole: it is one shared buffer already, h2 cuts it to the peer's
    /// window without copying, and holding it here instead would hold the same bytes.
    pub fn ok_frame(mut self, frame: Bytes) {
        let Some(mut send) = self.send.take() else { return };
        // A client that went away is not an error: errors below end the call silently.
        let Ok(mut body) = send.send_response(head(), false) else { return };
        if body.send_data(frame, false).is_ok() {
            let _ = body.send_trailers(ok_trailers());
        }
    }

    pub fn fail(mut self, status: &Status) {
        self.finish(status);
    }

    fn finish(&mut self, status: &Status) {
        if let Some(mut send) = self.send.take() {
            let _ = send.send_response(failed_head(status), true);
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if self.send.is_some() {
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
