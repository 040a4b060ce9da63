//! The client port: TCP listeners, gRPC straight on `h2`, and HTTP/1.1, on one thread.
//!
//! It decides who may connect, hold and waste how much: limits, time-outs, back-pressure, dead
//! peers, one write a turn. It knows no service: a [`Service`] is handed calls and returns
//! *values* (an answer that is there or comes later, a [`Source`] of messages), which are given
//! their form on the wire here, and are thrown away when nobody is left who wants them.
//!
//! A connection is one local task. A unary request whose body already arrived is decoded and
//! dispatched inside the accept loop, without a task of its own, and the connection's task sends
//! everything that was answered since it last ran in one write.
//! Wire rules: <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.

mod authority;
mod connection;
mod deadline;
mod drive;
mod frames;
mod guard;
mod http1;
mod outbox;
mod outflow;
mod page;
mod plain;
mod pulse;
mod server;
mod service;
mod stats;
mod status;
mod stream;
mod streams;
mod traffic;
mod unary;
mod vitals;

pub use frames::{ANSWER_BYTES_MAX, FRAME_HEAD_BYTES, frame};
pub use page::Page;
pub use server::Server;
pub use service::{
    Answer, Body, Call, Form, Host, HttpBody, HttpReply, HttpRequest, Kind, Metadata, Opening,
    Requests, Service, Shape, Source, Turn,
};
pub use stats::CallStats;
pub use status::{Code, Outcome, Status};
pub use vitals::{DRAIN_MAX, KeepAlive};

use std::time::Duration;

/// gRPC's receive allowance on top of `max-request-bytes`, as in etcd (`embed/config.go`).
pub const GRPC_OVERHEAD_BYTES: usize = 512 * 1024;

/// Longest wait for a connection's greeting, and for each step of an HTTP/1.1 request; gRPC's own
/// servers wait as long. Half of one would hold a descriptor for ever.
const OPENING_MAX: Duration = Duration::from_secs(120);

/// Bounds of the client port; bytes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `--max-request-bytes`: largest request that may be proposed.
    pub request_bytes_max: usize,
    /// Calls one client connection may have open; the oldest idle streams make room for more.
    pub streams_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { request_bytes_max: 3 * 512 * 1024, streams_max: 65_536 }
    }
}

impl Limits {
    /// Largest message accepted at all.
    pub const fn message_bytes_max(&self) -> usize {
        self.request_bytes_max + GRPC_OVERHEAD_BYTES
    }
}
