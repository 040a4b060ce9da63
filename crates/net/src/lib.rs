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
mod drain;
mod drive;
mod frames;
mod guard;
mod http1;
mod inflow;
mod kind;
mod limits;
mod outbox;
mod outflow;
mod page;
mod patience;
mod patient;
mod plain;
mod premises;
mod pulse;
mod queue;
mod reading;
mod replies;
mod server;
mod service;
mod stats;
mod status;
mod stream;
mod streams;
mod traffic;
mod unary;
mod vitals;
mod waiting;
mod within;

pub use base::limits::{ANSWER_BYTES_MAX, GRPC_OVERHEAD_BYTES};
pub use drain::DRAIN_MAX;
pub use frames::{FRAME_HEAD_BYTES, frame};
pub use kind::Kind;
pub use limits::Limits;
pub use page::Page;
pub use server::Server;
pub use service::{
    Answer, Body, Call, Form, Host, HttpBody, HttpReply, HttpRequest, Metadata, Opening, Requests,
    Service, Shape, Source, Turn,
};
pub use stats::CallStats;
pub use status::{Code, Outcome, Status};
pub use vitals::KeepAlive;
