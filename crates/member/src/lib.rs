//! What a member decides that is not consensus, for whoever carries it out: the server with
//! threads and sockets, the simulator in virtual time.
//!
//! It decides what the journal writes together and when it vouches for that ([`lane`]), what a
//! checkpoint holds and proves ([`checkpoints`]) and when one is due ([`due`]).
//!
//! It works over [`wal::Disk`] and [`store::Home`] and never looks at a clock, starts a thread,
//! opens a socket or draws a number: time is [`base::Nanos`] of the caller's own clock, and random
//! numbers are arguments. It knows no flag and no front.

pub mod checkpoints;
pub mod due;
pub mod lane;
pub mod limits;

pub use checkpoints::Incoming;
pub use due::{CheckpointState, Policy};
pub use lane::{Job, Lane};
