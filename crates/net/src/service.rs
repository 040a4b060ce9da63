//! What a service is to the client port: it is handed calls, and returns values.

use super::frames::{FRAME_HEAD_BYTES, answer, head};
use super::kind::Kind;
use super::stats::CallStats;
use super::status::{Status, exceeded, undecodable};
use base::limits::ANSWER_BYTES_MAX;
use bytes::Bytes;
use later::{Asker, Later};
use prost::Message;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Request metadata that services are told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// `hasleader: true`: refuse at once when there is no leader.
    pub has_leader: bool,
    /// From `grpc-timeout`. Calls are answered and streams end in time without the service.
    pub deadline: Option<Instant>,
}

/// One call, as it is handed to a service.
#[derive(Clone)]
pub struct Call {
    /// In the service's own table.
    pub method: u16,
    pub metadata: Metadata,
    pub form: Form,
}

impl Call {
    /// Who waits for the answer.
    pub fn asker(&self) -> Asker {
        self.form.asker().clone()
    }
}

/// How the messages of one call are written. Whoever made the call decides that, so the same
/// handler serves every transport.
#[derive(Clone, Default)]
pub struct Form {
    asker: Asker,
}

impl Form {
    /// Protobuf behind gRPC's prefix, for `asker`.
    pub const fn grpc(asker: Asker) -> Self {
        Self { asker }
    }

    pub(super) const fn asker(&self) -> &Asker {
        &self.asker
    }

    /// Reads a request.
    ///
    /// # Errors
    /// gRPC's words for one that cannot be read.
    pub fn decode<M: Message + Default>(&self, message: Bytes) -> Result<M, Status> {
        M::decode(message).map_err(|_| undecodable())
    }

    /// What decides how answers look, without whoever waits for them: for another thread.
    pub const fn shape(&self) -> Shape {
        Shape
    }

    /// Writes an answer, which is most of the work that a long one makes: not for one who is late.
    ///
    /// # Errors
    /// It is too long, or too late.
    pub fn encode(&self, message: &impl Message) -> Result<Bytes, Status> {
        if self.asker.is_late() {
            return Err(exceeded());
        }
        self.shape().encode(message)
    }
}

/// A form on any thread.
#[derive(Clone, Copy, Debug)]
pub struct Shape;

impl Shape {
    /// Writes an answer, whoever waits for it.
    ///
    /// # Errors
    /// It is too long.
    pub fn encode(self, message: &impl Message) -> Result<Bytes, Status> {
        answer(message, ANSWER_BYTES_MAX)
    }

    /// What stands before an answer of so many bytes that is written bit by bit.
    ///
    /// # Errors
    /// It is too long.
    pub fn head(self, bytes: usize) -> Result<[u8; FRAME_HEAD_BYTES], Status> {
        head(bytes, ANSWER_BYTES_MAX)
    }
}

/// The one message of a unary answer, in the form that the call asked for.
pub enum Body {
    Whole(Bytes),
    /// Pieces of it, as the client takes them. While they come the connection owes so many bytes,
    /// about. With none sent it may still be a refusal; cut off later it is never taken for whole.
    Pieces(Box<dyn Source>, usize),
}

impl From<Bytes> for Body {
    fn from(message: Bytes) -> Self {
        Self::Whole(message)
    }
}

/// What a unary call is answered with.
pub type Answer = Later<Result<Body, Status>>;

/// What a streaming call is answered with: messages, or why there are none.
pub type Opening = Later<Result<Box<dyn Source>, Status>>;

/// What a source of messages has next.
#[derive(Debug)]
pub enum Turn {
    /// A message can be made, once there is room for it.
    Message,
    /// There are no more: well, or with why not.
    End(Result<(), Status>),
}

/// Messages to a client, one after the other. It is dropped when the client has gone, and asked
/// for nothing while the client's window or its connection has no room, so it holds no queue.
pub trait Source {
    /// Takes in what has come, and says what there is next. Not ready, it wakes the task when
    /// there may be something.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Turn>;
    /// Makes the message that was announced; none where nothing came of it after all.
    fn make(&mut self) -> Option<Result<Bytes, Status>>;
    /// The head of the answer goes out before there is a message.
    fn starts_at_once(&self) -> bool {
        false
    }
    /// It has to be polled then, whatever happens or not.
    fn due(&self) -> Option<Instant> {
        None
    }
    /// How long what is ready may be left unread by a client that cannot take it back any more.
    fn unread_max(&self) -> Option<Duration> {
        None
    }
}

/// Messages from a client.
pub trait Requests {
    /// The next message; `None` when the client half-closed or went away.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>>;
}

/// A plain HTTP request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    pub method: String,
    /// The path with its query.
    pub target: String,
    pub body: Bytes,
}

/// A plain HTTP answer.
pub struct HttpReply {
    pub code: u16,
    pub content_type: &'static str,
    pub body: HttpBody,
}

/// What a plain HTTP answer holds.
pub enum HttpBody {
    Whole(Bytes),
    /// Pieces, as they come; one that ends badly is cut off.
    Stream(Box<dyn Source>),
}

impl HttpReply {
    /// An answer of known length.
    pub fn whole(code: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { code, content_type, body: HttpBody::Whole(body.into()) }
    }
}

/// What the program around a service adds to what that shows of itself.
pub trait Host {
    /// Lines in Prometheus' text form.
    fn metrics(&self) -> String;
    /// A page of its own, where it has one there.
    fn page(&self, request: &HttpRequest) -> Option<Later<HttpReply>>;
}

/// What the client port serves. All calls are made on its one thread.
pub trait Service {
    /// Asked now and then, without anything having come: to look after its streams.
    fn look(&self) {}
    /// A method's number in the service's own table and its kind.
    ///
    /// # Errors
    /// What whoever asks for an unknown path is told.
    fn method(&self, path: &str) -> Result<(u16, Kind), Status>;
    /// Where the calls of those methods are counted.
    fn stats(&self) -> &Rc<CallStats>;
    /// What is told to whom no answer comes any more: the member stops.
    fn stopped(&self) -> Status;
    fn unary(&self, call: Call, message: Bytes) -> Answer;
    fn server_stream(&self, call: Call, message: Bytes) -> Opening;
    fn bidi(&self, call: Call, requests: Box<dyn Requests>) -> Opening;
    fn http(&self, request: HttpRequest) -> Later<HttpReply>;
}
