//! Connections between members: framed TCP, one outgoing stream per peer for messages, and a
//! separate short-lived stream for checkpoints. `docs/design/peer-frames.md` has the bytes.

pub mod births;
pub mod bulk;
pub mod frame;
pub mod hello;
pub mod join;
pub mod link;
pub mod listen;
pub mod members;

#[cfg(test)]
mod fuzz;

pub use births::Births;
pub use hello::{Hello, Purpose};
pub use link::Link;
pub use members::Members;

/// Resets and refused connections end a wait at once; these bound everything else.
pub mod limits {
    use std::time::Duration;

    /// Longest pause between two attempts to reach a peer.
    pub const RECONNECT_MAX: Duration = Duration::from_secs(1);
    /// First pause; it doubles.
    pub const RECONNECT_MIN: Duration = Duration::from_millis(10);
    /// A dial or handshake that takes longer has failed.
    pub const HANDSHAKE_MAX: Duration = Duration::from_secs(2);
    /// A peer that takes no byte for this long is disconnected.
    pub const STALL_MAX: Duration = Duration::from_secs(5);
    /// Writing, syncing and loading a large checkpoint takes the receiver this long at most.
    pub const BULK_STALL_MAX: Duration = Duration::from_secs(600);
    /// Bytes waiting for one peer; beyond it messages are dropped, which the protocol survives.
    pub const OUTGOING_BYTES_MAX: usize = 64 << 20;
}
