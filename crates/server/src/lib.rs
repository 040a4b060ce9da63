//! The shell around the replica: sockets, files, clocks and threads. Rules live in the pure
//! rooms; this crate carries out their effects, and no product crate below it has a runtime.
//!
//! It decides which words a refusal gets at the door, and whom of its peers it lets wait. It never
//! decides what is written, committed, applied or true, nor whose directory it is, who may come
//! in, what is published of members, when one ends or what it compacts: that is `replica`'s and
//! `member`'s. It knows no protobuf and no text of etcd.

mod aside;
mod board;
pub mod bootstrap;
pub mod config;
mod desk;
pub mod disk;
mod early;
mod entropy;
mod error;
mod jobs;
pub mod metrics;
pub mod node;
pub mod peer;
mod pool;
pub mod record;
