//! Checkpoint and identity files over the same [`wal::Disk`] as the journal.
//!
//! The format is in `docs/design/checkpoint-format.md`. Records are opaque here.

mod begin;
mod checkpoint;
mod digest;
mod error;
mod identity;
mod incoming;
mod open;
mod repair;

pub use begin::clear;
pub use checkpoint::{
    CheckpointFile, CheckpointMeta, Listing, Reader, clean, latest, list, open_checkpoint,
    read_checkpoint, remove_older, write_checkpoint,
};
pub use error::{StoreError, StoreErrorKind};
pub use identity::{Identity, Met, read_identity, write_identity};
pub use incoming::Incoming;
pub use open::{Ask, Home, OnDamage, OpenError, Opened, open};
pub use repair::{Repair, end_repair, is_aside};
