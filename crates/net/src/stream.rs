//! The two halves of a streaming call.

use super::Requests;
use super::frames::{Assembler, FRAME_HEAD_BYTES, length};
use super::inflow::Held;
use super::outflow::{Chunk, Outflow, Owed};
use super::patience::Patience;
use super::stats::Tally;
use super::status::{Code, Status, failed_head, head, ok_trailers};
use super::streams::Place;
use super::waiting::Waiting;
use super::within::Within;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Response};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// Capacity asked for before a message is produced; bytes. What is reserved is taken from the
/// window that all calls of the connection share, so more than a token would starve them.
const CAPACITY_WANTED: usize = 1;

/// The client side of the call has gone: reset, or the connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone;

/// Messages from the client.
pub(super) struct RequestStream {
    body: RecvStream,
    assembler: Assembler,
    held: Held,
    patience: Patience,
    ended: bool,
}

impl RequestStream {
    pub(super) fn new(body: RecvStream, assembler: Assembler, held: Held) -> Self {
        Self { body, assembler, held, patience: Patience::default(), ended: false }
    }

    /// Nothing more is read, and nothing kept.
    fn end(&mut self) {
        self.ended = true;
        self.assembler = Assembler::new(0);
        self.held.clear();
    }

    /// A stream that ended inside a message, reported once.
    fn cut_off(&mut self) -> Option<Status> {
        if self.assembler.is_empty() {
            return None;
        }
        self.end();
        Some(Status::new(Code::Internal, "unexpected EOF"))
    }
}

impl Requests for RequestStream {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        loop {
            match self.assembler.next() {
                Ok(Some(message)) => {
                    self.patience.rest();
                    self.held.shrink(FRAME_HEAD_BYTES + message.len());
                    return Poll::Ready(Some(Ok(message)));
                }
                Ok(None) => {}
                Err(status) => return Poll::Ready(Some(Err(status))),
            }
            if self.ended {
                return Poll::Ready(self.cut_off().map(Err));
            }
            match self.body.poll_data(cx) {
                Poll::Pending if self.assembler.is_empty() => return Poll::Pending,
                Poll::Pending => {
                    self.assembler.settle();
                    let late =
                        ready!(self.patience.poll(self.assembler.len(), self.held.flow(), cx));
                    self.end();
                    return Poll::Ready(Some(Err(late)));
                }
                Poll::Ready(Some(Ok(data))) => {
                    let _ = self.body.flow_control().release_capacity(data.len());
                    if let Err(status) = self.held.grow(data.len()) {
                        self.end();
                        return Poll::Ready(Some(Err(status)));
                    }
                    self.assembler.push(data);
                }
                Poll::Ready(Some(Err(_)) | None) => self.ended = true,
            }
        }
    }
}

enum Sending {
    /// Headers wait for the first message, so that a refusal can be one frame.
    Head(SendResponse<Chunk>),
    Body(SendStream<Chunk>),
    Done,
}

/// What ends a stream: gRPC's trailers, or the end itself.
enum Ending {
    /// After whole messages, which may be sent in pieces.
    Grpc(Tally, Within),
    /// After one message in pieces, or before it.
    Message {
        tally: Tally,
        /// Bytes that are still to be handed over; none before there is any.
        left: Option<usize>,
        owed: Owed,
    },
    Plain,
}

/// Messages to the client, under flow control.
///
/// Dropped unfinished, the stream is reset.
pub(super) struct StreamSender {
    sending: Sending,
    head: Option<Response<()>>,
    ending: Ending,
    outflow: Rc<Outflow>,
    waiting: Waiting,
    place: Place,
}

impl StreamSender {
    pub(super) fn new(
        send: SendResponse<Chunk>,
        tally: Tally,
        outflow: Rc<Outflow>,
        place: Place,
    ) -> Self {
        Self::open(send, (head(), Ending::Grpc(tally, Within::default())), outflow, place)
    }

    fn open(
        send: SendResponse<Chunk>,
        (head, ending): (Response<()>, Ending),
        outflow: Rc<Outflow>,
        place: Place,
    ) -> Self {
        let waiting = Waiting::new(Rc::clone(&outflow));
        Self { sending: Sending::Head(send), head: Some(head), ending, outflow, waiting, place }
    }

    /// One message whose pieces make a frame together, and what the connection owes meanwhile.
    pub(super) fn message(
        send: SendResponse<Chunk>,
        tally: Tally,
        (outflow, owed): (Rc<Outflow>, Owed),
        place: Place,
    ) -> Self {
        Self::open(send, (head(), Ending::Message { tally, left: None, owed }), outflow, place)
    }

    /// A stream without gRPC's frame around it: its end is its end.
    pub(super) fn plain(
        send: SendResponse<Chunk>,
        head: Response<()>,
        outflow: Rc<Outflow>,
        place: Place,
    ) -> Self {
        Self::open(send, (head, Ending::Plain), outflow, place)
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Sends the response headers now, before there is a message.
    pub(super) fn start(&mut self) -> Result<(), Gone> {
        self.body().map(|_| ())
    }

    fn body(&mut self) -> Result<&mut SendStream<Chunk>, Gone> {
        if let Sending::Head(send) = &mut self.sending {
            self.outflow.begins();
            let head = self.head.take().expect("the head is sent once");
            let Ok(body) = send.send_response(head, false) else {
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
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        let body = self.body()?;
        if body.poll_reset(cx).is_ready() {
            self.sending = Sending::Done;
            return Poll::Ready(Err(Gone));
        }
        if !self.waiting.poll(cx) {
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

    /// True once the client has reset the call. Registers for a wake-up when it does. Asked while
    /// there is no message, so room is for others.
    pub(super) fn is_gone(&mut self, cx: &mut Context<'_>) -> bool {
        self.waiting.pass_on();
        match &mut self.sending {
            Sending::Head(send) => send.poll_reset(cx).is_ready(),
            Sending::Body(body) => body.poll_reset(cx).is_ready(),
            Sending::Done => true,
        }
    }

    /// `frame` is a message in the form of the call, or a piece of it.
    pub(super) fn send_frame(&mut self, frame: Bytes) -> Result<(), Gone> {
        let bytes = frame.len();
        let whole = length(&frame);
        match &mut self.ending {
            Ending::Message { left, owed, .. } => {
                let rest = left.unwrap_or(whole).saturating_sub(bytes);
                *left = Some(rest);
                owed.left(rest);
            }
            Ending::Grpc(_, within) => within.pass(&frame),
            Ending::Plain => {}
        }
        let chunk = self.outflow.chunk(frame);
        self.body()?.send_data(chunk, false).map_err(|_| Gone)?;
        self.place.is_active();
        Ok(())
    }

    /// Ends the call: well, or with why not.
    pub(super) fn end(mut self, end: &Result<(), Status>) {
        let (tally, cut) = match &mut self.ending {
            Ending::Grpc(tally, within) => (tally, within.is_inside()),
            Ending::Message { tally, left, .. } => (tally, left.is_some()),
            Ending::Plain => return self.end_plain(end.is_ok()),
        };
        tally.end(end.as_ref().map_or_else(|status| status.code, |()| Code::Ok as u32));
        let Err(status) = end else {
            if let Ok(body) = self.body() {
                let _ = body.send_trailers(ok_trailers());
            }
            return self.sending = Sending::Done;
        };
        if cut {
            return self.cut_off(status);
        }
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

    /// Half a message is followed by no status: a client would wait for the rest of it. Where its
    /// time has passed it is told what grpc-go tells it then.
    fn cut_off(&mut self, status: &Status) {
        let late = status.code == Code::DeadlineExceeded as u32;
        let reason = if late { Reason::CANCEL } else { Reason::INTERNAL_ERROR };
        if let Ok(body) = self.body() {
            body.send_reset(reason);
        }
        self.sending = Sending::Done;
    }

    fn end_plain(mut self, well: bool) {
        let chunk = self.outflow.chunk(Bytes::new());
        let Ok(body) = self.body() else { return };
        if well {
            let _ = body.send_data(chunk, true);
        } else {
            body.send_reset(Reason::INTERNAL_ERROR);
        }
        self.sending = Sending::Done;
    }
}
