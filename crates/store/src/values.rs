//! Value files: the retained versions of an interval of revisions in the order in which they were
//! made, and an index of them in pieces (`docs/design/value-format.md`).
//!
//! Written once, in any number of steps, and durable under the name once finished. Whoever reads
//! shares the table of blocks, and reads each block checked against the file, its place and the
//! ages it is to have. What a version or a piece says is opaque here.

mod block;
mod layout;
mod read;
mod salvage;
mod table;
mod write;

pub use block::VersionBlock;
pub use read::{Pieces, ValueReader, Versions};
pub use salvage::Salvaged;
pub use table::ValueTable;
pub use write::ValueWriter;

pub(crate) use layout::{HALF_VALUES, VALUES};
pub(crate) use table::describe;

/// A place in the order of versions: revision, and position within it.
pub type Age = (i64, u32);

/// Which versions a file holds: of the revisions from `first` to the one before `end`, as retained
/// when it was written for the `generation`th time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval {
    pub first: i64,
    pub end: i64,
    /// Never twice the same for one `first`: checksums tell two files apart by it.
    pub generation: u64,
}

impl Interval {
    /// The name of its file.
    pub fn name(&self) -> String {
        format!("values-{:016x}-{:016x}.qv", self.first, self.generation)
    }

    /// Whether there may be such a file.
    pub(crate) fn is_sound(&self) -> bool {
        0 <= self.first && self.first < self.end
    }
}

/// A finished file, as whoever relies on it remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueFile {
    pub interval: Interval,
    /// Versions in it.
    pub versions: u64,
    /// Whole length in bytes.
    pub len: u64,
    /// Of every byte before the footer.
    pub digest: u64,
}
