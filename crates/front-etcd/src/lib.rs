//! etcd's v3 API over a [`door::Door`]: decode, ask at the door, encode.
//!
//! It decides what etcd's messages mean in the data model's words, with which of etcd's codes and
//! texts each refusal is told, and in which shape streams and probes answer. It never decides
//! what is true: no state of the store is kept here. It knows no thread, task or socket, and no
//! file: it is handed calls by `net` and returns values. Protobuf stops here.

mod bell;
mod cluster;
mod convert;
mod cut;
mod front;
mod kv;
mod lease;
mod maintenance;
mod methods;
mod parts;
mod permits;
mod probe;
mod range_stream;
mod refusal;
mod reply;
mod serve;
mod watch;
mod writer;

pub use front::Front;

#[cfg(test)]
mod tests;
