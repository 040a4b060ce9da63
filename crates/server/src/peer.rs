//! Connections between members: framed TCP, one outgoing stream per peer for messages, and a
//! separate short-lived stream for checkpoints. `docs/design/peer-frames.md` has the bytes.

mod addresses;
pub mod bulk;
pub mod frame;
mod greet;
pub mod handshakes;
pub mod intake;
pub mod join;
pub mod limits;
pub mod link;
pub mod listen;
pub mod members;
pub mod mend;
pub mod pulse;
pub mod shared;

#[cfg(test)]
mod fuzz;

pub use link::Link;
pub use members::Members;
pub use shared::Shared;
