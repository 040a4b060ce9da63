//! The two halves of a streaming call.

use super::Status;
use super::message::{ANSWER_BYTES_MAX, Assembler, answer};
use super::outflow::{Chunk, Outflow};
use super::stats::Tally;
use super::status::{failed_head, head, ok_trailers};
use super::streams::Place;
use api::Message;
use api::error::Code;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::HeaderMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Capacity asked for before a message is produced; bytes. What is reserved is taken from the
/// window that all calls of the connection share, so more than a token would starve them.
const CAPACITY_WANTED: usize = 1;

/// The client side of the call has gone: reset, or the connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// Messages from the client.
pub struct RequestStream {
    body: RecvStream,
    assembler: Assembler,
    ended: bool,
}

impl RequestStream {
    pub(super) fn new(body: RecvStream, assembler: Assembler) -> Self {
        Self { body, assembler, ended: false }
    }

    /// The next message; `None` when the client half-closed or went away.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        loop {
            match self.assembler.next() {
                Ok(Some(message)) => return Poll::Ready(Some(Ok(message))),
                Ok(None) => {}
                Err(status) => return Poll::Ready(Some(Err(status))),
            }
            if self.ended {
                return Poll::Ready(self.cut_off().map(Err));
            }
            match self.body.poll_data(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(data))) => {
                    // Bounded by the assembler: at most one message is ever incomplete.
                    let _ = self.body.flow_control().release_capacity(data.len());
                    self.assembler.push(data);
                }
                Poll::Ready(Some(Err(_)) | None) => self.ended = true,
            }
        }
    }

    /// The next message; see [`Self::poll_next`].
    pub async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// A stream that ended inside a message, reported once.
    fn cut_off(&mut self) -> Option<Status> {
        if self.assembler.is_empty() {
            return None;
        }
        self.assembler = Assembler::new(0);
        Some(Status::new(Code::Internal, "unexpected EOF"))
    }
}

enum Sending {
    /// Headers wait for the first message, so that a refusal can be one frame.
    Head(SendResponse<Chunk>),
    Body(SendStream<Chunk>),
    Done,
}

/// Messages to the client, under flow control.
///
/// Dropped unfinished, the stream is reset.
pub struct StreamSender {
    sending: Sending,
    tally: Tally,
    outflow: Rc<Outflow>,
    place: Place,
}

impl StreamSender {
    pub(super) fn new(
        send: SendResponse<Chunk>,
        tally: Tally,
        outflow: Rc<Outflow>,
        place: Place,
    ) -> Self {
        Self { sending: Sending::Head(send), tally, outflow, place }
    }

    /// Resolves when the stream must end for the sake of its connection, with the reason: too
    /// many streams, or the member stops.
    pub fn ended(&self) -> impl Future<Output = Status> + use<> {
        self.place.ended()
    }

    /// Sends the response headers now, before there is a message.
    pub fn start(&mut self) -> Result<(), Gone> {
        self.body().map(|_| ())
    }

    fn body(&mut self) -> Result<&mut SendStream<Chunk>, Gone> {
        if let Sending::Head(send) = &mut self.sending {
            self.outflow.begins();
            let Ok(body) = send.send_response(head(), false) else {
                self.sending = Sending::Done;
                return Err(Gone);
            };
            self.sending = Sending::Body(body);
        }
        match &mut self.sending {
            Sending::Body(body) => Ok(body),
            Sending::Head(_) | Sending::Done => Err(Gone),
        }
    }

    /// Ready when the client's window has room and its connection drains, so that a slow client
    /// never grows a queue here: whoever produces messages asks first, and at most one message
    /// overshoots.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        let body = self.body()?;
        if body.poll_reset(cx).is_ready() {
            self.sending = Sending::Done;
            return Poll::Ready(Err(Gone));
        }
        if !self.outflow.poll_room(cx) {
            return Poll::Pending;
        }
        let Sending::Body(body) = &mut self.sending else { return Poll::Ready(Err(Gone)) };
        if body.capacity() == 0 {
            body.reserve_capacity(CAPACITY_WANTED);
        }
        while body.capacity() == 0 {
            match body.poll_capacity(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(_)) | None) => {
                    self.sending = Sending::Done;
                    return Poll::Ready(Err(Gone));
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// See [`Self::poll_ready`].
    pub async fn ready(&mut self) -> Result<(), Gone> {
        poll_fn(|cx| self.poll_ready(cx)).await
    }

    /// True once the client has reset the call. Registers for a wake-up when it does.
    pub fn is_gone(&mut self, cx: &mut Context<'_>) -> bool {
        match self.body() {
            Ok(body) => body.poll_reset(cx).is_ready(),
            Err(Gone) => true,
        }
    }

    pub fn send(&mut self, message: &impl Message) -> Result<(), Gone> {
        match answer(message, ANSWER_BYTES_MAX) {
            Ok(frame) => self.send_frame(frame),
            Err(status) => {
                self.end(&status);
                Err(Gone)
            }
        }
    }

    /// `frame` is a message with its 5-byte prefix.
    pub fn send_frame(&mut self, frame: Bytes) -> Result<(), Gone> {
        let chunk = self.outflow.chunk(frame);
        self.body()?.send_data(chunk, false).map_err(|_| Gone)?;
        self.place.is_active();
        Ok(())
    }

    /// Ends the call well.
    pub fn finish(mut self) {
        self.tally.end(Code::Ok as u32);
        if let Ok(body) = self.body() {
            let _ = body.send_trailers(ok_trailers());
        }
        self.sending = Sending::Done;
    }

    /// Ends the call with an error.
    pub fn fail(mut self, status: &Status) {
        self.end(status);
    }

    fn end(&mut self, status: &Status) {
        self.tally.end(status.code);
        match std::mem::replace(&mut self.sending, Sending::Done) {
            Sending::Head(mut send) => {
                let _ = send.send_response(failed_head(status), true);
            }
            Sending::Body(mut body) => {
                let mut trailers = HeaderMap::with_capacity(3);
                status.write(&mut trailers);
                let _ = body.send_trailers(trailers);
            }
            Sending::Done => {}
        }
    }
}
