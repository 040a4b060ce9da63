//! One replica as one machine: consensus, the data model and the requests that wait for them.
//!
//! ```text
//! step(now, Event) -> Effects
//! ```
//!
//! The machine owns no clock, no file and no socket. The shell (a server, a simulator, a test)
//! gives it events and carries out the effects. The contract between the two:
//!
//! - Effects of different kinds commute; within one kind they stay in order.
//! - What `send` holds may leave at once: everything that vouches for this node's disk was held
//!   back inside the machine until `Event::Persisted`.
//! - `Event::Persisted(n)` covers every ticket up to `n`; after a disk error there is none.
//! - Commit, apply, reply and changes leave in the same step.
//!
//! # How a write is answered
//! The member that received a write is its *origin*. It keeps the request under a
//! [`base::RequestId`], forwards it to the leader if it is not the leader, and answers its client
//! when the entry is applied *here*. A forward may be repeated (lost connection, new leader): the
//! replicated window in [`dedupe`] applies it once.
//!
//! # Outcomes
//! [`Reply::Refused`] is said only of a request that never left this member, so it is *not
//! applied*. Everything else that gets no result is [`Reply::Unknown`].
#![no_std]
#![deny(missing_docs)]
#![forbid(unsafe_code)]
extern crate alloc;
#[cfg(test)]
extern crate std;

#[cfg(test)]
#[path = "../../mvcc/tests/words/drive.rs"]
mod drive;

pub mod clock;
pub mod dedupe;
pub mod envelope;
mod event;
mod machine;
mod message;
mod pending;
mod taken;
mod trace;

pub use consensus::raft::Halt;
pub use event::{
    CheckpointJob, Effects, Event, Installed, Refusal, RefusalReason, Reply, UnknownReason,
};
pub use machine::{Replica, ReplicaRecovered, ReplicaSettings, Status};
pub use message::{Forwarded, PeerBody, PeerMessage};
pub use trace::{TraceEvent, TraceKind};
