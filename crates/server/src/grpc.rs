//! A small gRPC server straight on `h2`: one thread, no task per unary call.
//!
//! A connection is one local task. A unary request whose body already arrived is decoded and
//! dispatched inside the accept loop; its [`Responder`] may be completed later by anybody on the
//! same thread, and the connection task flushes everything completed since it last ran in one
//! write. The same port answers HTTP/1.1 for health, version and metrics.
//! Wire rules: <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.

mod authority;
mod call;
mod connection;
mod deadline;
mod guard;
mod http1;
mod message;
mod outbox;
mod outflow;
mod pulse;
mod responder;
mod server;
mod stats;
mod status;
mod stream;
mod streams;
mod traffic;
mod vitals;

pub use call::Caller;
pub(crate) use deadline::{exceeded, too_late};
pub use message::{FRAME_HEAD_BYTES, frame};
pub use responder::Responder;
pub use server::Server;
pub use stats::CallStats;
pub use status::Status;
pub use stream::{RequestStream, StreamSender};
pub use vitals::KeepAlive;

use bytes::Bytes;
use std::rc::Rc;
use std::time::Duration;

/// gRPC's receive allowance on top of `max-request-bytes`, as in etcd (`embed/config.go`).
pub const GRPC_OVERHEAD_BYTES: usize = 512 * 1024;

/// Longest wait for a connection's greeting, and for each HTTP/1.1 request; gRPC's own servers
/// wait as long. Half of one would hold a descriptor for ever.
const OPENING_MAX: Duration = Duration::from_secs(120);

/// Bounds of the request layer; bytes.
#[derive(Clone, Copy, Debug)]
pub struct GrpcLimits {
    /// `--max-request-bytes`: largest request that may be proposed.
    pub request_bytes_max: usize,
    /// Calls one client connection may have open; the oldest idle streams make room for more.
    pub streams_max: u32,
}

impl Default for GrpcLimits {
    fn default() -> Self {
        Self { request_bytes_max: 3 * 512 * 1024, streams_max: 65_536 }
    }
}

impl GrpcLimits {
    /// Largest gRPC message accepted at all.
    pub const fn message_bytes_max(&self) -> usize {
        self.request_bytes_max + GRPC_OVERHEAD_BYTES
    }
}

/// How a method moves messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Unary,
    /// One request, a stream of answers.
    ServerStream,
    /// Streams both ways.
    Bidi,
}

/// Request metadata this server looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// `hasleader: true`: refuse at once when there is no leader.
    pub has_leader: bool,
    /// From `grpc-timeout`. Unary calls are answered in time without the service's help; a
    /// stream must end itself.
    pub deadline: Option<std::time::Instant>,
}

/// An HTTP/1.1 answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpReply {
    pub code: u16,
    pub content_type: &'static str,
    pub body: String,
}

/// Completes an HTTP request; dropping it answers 500.
pub type HttpDone = Box<dyn FnOnce(HttpReply)>;

/// What the server serves. All calls are made on the server's one thread.
pub trait Service {
    /// A method's number in the service's own table, or none when the path is unknown.
    fn method(&self, path: &str) -> Option<(u16, Kind)>;
    /// Where the calls of those methods are counted.
    fn stats(&self) -> &Rc<CallStats>;
    fn unary(&self, method: u16, metadata: Metadata, message: Bytes, responder: Responder);
    fn server_stream(&self, method: u16, metadata: Metadata, message: Bytes, out: StreamSender);
    fn bidi(&self, method: u16, metadata: Metadata, input: RequestStream, out: StreamSender);
    /// `target` is the path with its query.
    fn http(&self, method: &str, target: &str, done: HttpDone);
}
