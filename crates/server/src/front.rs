//! The services of etcd's v3 API over an [`engine::Engine`]; protobuf types stop here.

pub mod engine;
