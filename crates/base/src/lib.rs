//! What every pure room needs and nothing more: identifiers, a seeded integer generator, a
//! checksum, a bounds-checked byte codec, and the sizes that have to fit into each other
//! (`limits`), those of the shell included. No clock, no file, no socket, no float.
#![no_std]
#![deny(missing_docs)]
extern crate alloc;

pub mod codec;
pub mod crc;
mod ids;
pub mod limits;
#[cfg(feature = "planted")]
pub mod planted;
mod prng;

pub use ids::{
    Ballot, Birth, ClusterTime, Incarnation, LeaseId, Life, LogIndex, Nanos, NodeId, RequestId,
    Revision, Term, Ticket, Token,
};
pub use prng::Prng;

/// Shared immutable bytes: keys, values, entry payloads. Cloning copies a pointer.
pub type Blob = alloc::sync::Arc<[u8]>;

#[cfg(not(feature = "planted"))]
#[doc(hidden)]
pub const NOTHING_IS_PLANTED: bool = false;

/// Whether a known bug is planted here: never, unless the tests of the tests are built with the
/// feature `planted` (`docs/bugs.md`).
#[cfg(not(feature = "planted"))]
#[macro_export]
macro_rules! planted {
    ($bug:ident) => {
        $crate::NOTHING_IS_PLANTED
    };
}

/// Whether a known bug is planted here (`docs/bugs.md`).
#[cfg(feature = "planted")]
#[macro_export]
macro_rules! planted {
    ($bug:ident) => {
        $crate::planted::is($crate::planted::Bug::$bug)
    };
}
