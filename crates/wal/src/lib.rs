//! The journal on disk: batches, segments, recovery, over a small synchronous [`Disk`].
//! No threads and no clock: the shell decides which thread calls it.
//!
//! It decides what is whole, what is a torn tail, which may be cut, and what is damage, which may
//! not; and which files are its own and may be removed. It never decides what a record means, when
//! to sync, or from where on the journal is needed no more: the caller says so.
//!
//! The format is in `docs/design/journal-format.md`. The order of one acknowledgement is
//! [`Journal::append`] (one write), [`Journal::sync`] (one `fdatasync`), then the ticket.

mod batch;
mod disk;
mod error;
mod journal;
mod ours;
mod recover;
mod segment;
mod spare;
mod survey;

pub use disk::{DirLock, Disk, DiskFile, MemDisk, Part, RealDisk, free_bytes, remove_named};
pub use error::{WalError, WalErrorKind, is_no_room};
pub use journal::{Journal, Options};
pub use ours::{ASIDE, Ours, SEGMENT, SPARE, Shape};
pub use recover::{Cut, Recovery};
pub use segment::is_unused;
pub use spare::SpareJob;
pub use survey::{Proven, Sealed, Survey, set_aside, survey};

use base::{Ballot, Blob, LogIndex, NodeId};

/// Whose journal this is; restated in every segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    pub cluster: u64,
    pub member: NodeId,
}

/// One typed opaque record. A later record of the same index replaces an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Meaning is the caller's.
    pub kind: u8,
    pub index: LogIndex,
    pub ballot: Ballot,
    /// At most [`base::limits::RECORD_BYTES_MAX`].
    pub payload: Blob,
}

/// What becomes durable together or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    /// Promised term and vote in one.
    pub ballot: Ballot,
    /// Records at this index and above are void, before `entries` are added.
    pub truncate_from: Option<LogIndex>,
    pub entries: &'a [Record],
    pub commit: LogIndex,
}
