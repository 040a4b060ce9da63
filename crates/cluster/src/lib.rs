//! What a cluster has agreed to be: its members with their lives, its quorum system, its ballot
//! rule and its limits, and how one such configuration becomes the next.
//!
//! It decides what a configuration means, whether it is safe, which change may begin, what follows
//! it and whom it seats. It never decides when one is in force: that is each protocol's own.
//! Pure: no clock, thread, socket, file or randomness, and no protocol.
#![no_std]
#![deny(missing_docs)]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod change;
mod compiled;
mod config;
mod error;
mod follow;
mod label;
mod lists;
mod lives;
mod roles;

pub use base::limits::{LEARNERS_MAX, LIMITS_MAX, REMOVED_MAX};
pub use change::{Change, ChangeError, ChangeState, Newcomer};
pub use compiled::Compiled;
pub use config::{BallotRule, Configuration, Member, Protocol};
pub use error::ConfigError;
pub use label::label;
pub use roles::Roles;
