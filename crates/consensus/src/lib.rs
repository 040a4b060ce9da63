//! Replication as pure machines, generic over quorum systems as data: so far Raft. What members
//! have agreed to be, and how that changes, is `cluster`'s; here it comes into force.
//!
//! No clock, thread, socket, file or randomness: time, entropy and disk results are arguments,
//! effects are values. No protocol here ever sees how many voters there are: it asks `quorum`.
#![no_std]
#![deny(missing_docs)]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod raft;
