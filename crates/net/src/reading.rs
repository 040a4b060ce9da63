//! The one request of a call, as it comes.

use super::frames::Assembler;
use super::inflow::Held;
use super::patience::Patience;
use super::status::{Code, Status};
use bytes::Bytes;
use h2::RecvStream;
use std::task::{Context, Poll};

const NO_REQUEST: &str =
    "cardinality violation: received no request message from non-client-streaming RPC";
const MANY_REQUESTS: &str =
    "cardinality violation: received multiple request messages for non-client-streaming RPC";

/// What came of it; `None`: the client went away before it was complete.
pub(super) type Read = Option<Result<Bytes, Status>>;

/// The one request message of a call.
pub(super) struct Reading {
    body: RecvStream,
    assembler: Assembler,
    /// One answer follows, not a stream of them.
    unary: bool,
    held: Held,
    patience: Patience,
}

impl Reading {
    pub(super) fn new(body: RecvStream, assembler: Assembler, unary: bool, held: Held) -> Self {
        Self { body, assembler, unary, held, patience: Patience::default() }
    }

    /// The count of its bytes, for whoever has the message from here on.
    pub(super) fn held(&mut self) -> Held {
        self.held.take()
    }

    /// As [`Self::poll`], for once and without a thought of time.
    pub(super) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Read> {
        loop {
            match self.body.poll_data(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Err(_))) => return Poll::Ready(None),
                Poll::Ready(Some(Ok(data))) => {
                    let _ = self.body.flow_control().release_capacity(data.len());
                    if let Err(status) = self.held.grow(data.len()) {
                        return Poll::Ready(Some(Err(status)));
                    }
                    self.assembler.push(data);
                    if let Err(status) = self.assembler.peek() {
                        return Poll::Ready(Some(Err(status)));
                    }
                }
                Poll::Ready(None) => return Poll::Ready(Some(self.finish())),
            }
        }
    }

    /// Ready with the message once the client has half-closed, or with a refusal at once.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Read> {
        let polled = self.poll_body(cx);
        if polled.is_ready() {
            return polled;
        }
        self.assembler.settle();
        // Nothing is held for one that has not begun, and one that is whole only has to be closed.
        let have = self.assembler.len();
        if have == 0 || matches!(self.assembler.peek(), Ok(Some(_))) {
            self.patience.rest();
            return Poll::Pending;
        }
        self.patience.poll(have, self.held.flow(), cx).map(|status| Some(Err(status)))
    }

    /// grpc-go's answers to one message, to none and to more, as the real etcd gave them: a unary
    /// call reads one message and no further, a stream of answers wants exactly one.
    fn finish(&mut self) -> Result<Bytes, Status> {
        let code = if self.unary { Code::Unknown } else { Code::Internal };
        match self.assembler.next()? {
            Some(message) if self.unary || !matches!(self.assembler.next(), Ok(Some(_))) => {
                Ok(message)
            }
            Some(_) => Err(Status::new(Code::Internal, MANY_REQUESTS)),
            None if self.assembler.has_head() => Err(Status::new(code, "unexpected EOF")),
            None if self.unary => Err(Status::new(code, "EOF")),
            None => Err(Status::new(code, NO_REQUEST)),
        }
    }
}
