//! What every pure room needs and nothing more: identifiers, a seeded integer generator, a
//! checksum, and a bounds-checked byte codec. No clock, no file, no socket, no float.
#![no_std]
extern crate alloc;

pub mod codec;
pub mod crc;
mod ids;
mod prng;

pub use ids::{
    Ballot, ClusterTime, Incarnation, LeaseId, LogIndex, Nanos, NodeId, RequestId, Revision, Term,
    Ticket, Token,
};
pub use prng::Prng;

/// Shared immutable bytes: keys, values, entry payloads. Cloning copies a pointer.
pub type Blob = alloc::sync::Arc<[u8]>;
