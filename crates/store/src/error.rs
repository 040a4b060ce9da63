//! One error type: which file, where, what.

use std::{fmt, io};

/// The class of a [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// The operating system refused.
    Io,
    /// There is no room on the disk.
    NoRoom,
    /// A durable file is damaged.
    Corrupt,
    /// A version this build does not know.
    Unknown,
    /// The caller broke a stated rule: a wrong offset, a record above a bound.
    Invalid,
}

/// What went wrong, in which file, at which byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError {
    pub kind: StoreErrorKind,
    pub file: String,
    pub offset: u64,
    pub what: String,
}

impl StoreError {
    pub fn new(kind: StoreErrorKind, file: &str, offset: u64, what: impl Into<String>) -> Self {
        Self { kind, file: file.to_owned(), offset, what: what.into() }
    }

    pub(crate) fn corrupt(file: &str, offset: u64, what: impl Into<String>) -> Self {
        Self::new(StoreErrorKind::Corrupt, file, offset, what)
    }

    pub(crate) fn io(file: &str, doing: &str, error: &io::Error) -> Self {
        let is_full = wal::is_no_room(error);
        let kind = if is_full { StoreErrorKind::NoRoom } else { StoreErrorKind::Io };
        Self::new(kind, file, 0, format!("{doing}: {error}"))
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            StoreErrorKind::Io => "disk error",
            StoreErrorKind::NoRoom => "no room",
            StoreErrorKind::Corrupt => "corruption",
            StoreErrorKind::Unknown => "unknown format",
            StoreErrorKind::Invalid => "invalid",
        };
        write!(f, "{kind}: {} at byte {}: {}", self.file, self.offset, self.what)
    }
}

impl std::error::Error for StoreError {}
