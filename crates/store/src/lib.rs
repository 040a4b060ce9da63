//! Checkpoint, value, index and identity files over the same [`wal::Disk`] as the journal.
//!
//! It decides whether a file is whole and which of several is the newest, what is damaged and set
//! aside, and how a journal and a checkpoint are opened together. It never decides what they mean:
//! records are opaque here, and when a checkpoint is due or may be removed is the caller's. No
//! thread and no clock. The formats are in `docs/design/checkpoint-format.md` and
//! `docs/design/value-format.md`.

mod begin;
mod block;
mod blocks;
mod checkpoint;
mod digest;
mod disk;
mod draft;
mod error;
mod frame;
mod home;
mod identity;
mod incoming;
mod index;
mod open;
mod repair;
mod reserve;
mod run;
mod shelf;
mod values;

pub use begin::clear;
pub use checkpoint::{
    CheckpointFile, CheckpointMeta, Listing, Reader, clean, latest, list, open_checkpoint,
    read_checkpoint, remove_all_checkpoints, remove_checkpoint, remove_older, write_checkpoint,
};
pub use error::{StoreError, StoreErrorKind};
pub use home::Home;
pub use identity::{Identity, Met, read_identity, write_identity};
pub use incoming::Incoming;
pub use index::{IndexFile, IndexReader, IndexWriter};
pub use open::{Ask, OnDamage, OpenError, Opened, open};
pub use repair::{Repair, end_repair, is_aside};
pub use reserve::keep_reserve;
pub use shelf::{Shelf, clean_shelf, keep_on_shelf, list_shelf};
pub use values::{
    Age, Interval, Pieces, Salvaged, ValueFile, ValueReader, ValueTable, ValueWriter, VersionBlock,
    Versions,
};
