//! The services of etcd's v3 API over an [`engine::Engine`]; protobuf types stop here.

mod cluster;
pub mod convert;
mod cut;
pub mod engine;
mod lease;
mod maintenance;
mod methods;
mod probe;
mod range_stream;
mod reads;
pub mod refusal;
mod service;
pub mod watch;

pub use service::Front;

#[cfg(test)]
mod tests;
