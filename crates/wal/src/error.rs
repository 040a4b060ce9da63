//! One error type: which file, where, what.

use std::{fmt, io};

/// The class of a [`WalError`]; the shell decides by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalErrorKind {
    /// The operating system refused; the journal is poisoned from here on.
    Io,
    /// There is no room on the disk: nothing was taken, and the same may be tried again.
    NoRoom,
    /// Bytes that were vouched for are damaged. Never cut; repair from the other members.
    Corrupt,
    /// A version or kind this build does not know.
    Unknown,
    /// An earlier write or sync failed; nothing is accepted any more.
    Poisoned,
    /// No journal where one is expected.
    Missing,
    /// A journal where none is expected.
    Exists,
    /// Another process holds the directory.
    Locked,
    /// The caller gave something above a stated bound.
    TooLarge,
}

/// What went wrong, in which file, at which byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalError {
    pub kind: WalErrorKind,
    pub file: String,
    pub offset: u64,
    pub what: String,
}

impl WalError {
    pub fn new(kind: WalErrorKind, file: &str, offset: u64, what: impl Into<String>) -> Self {
        Self { kind, file: file.to_owned(), offset, what: what.into() }
    }

    pub(crate) fn io(file: &str, offset: u64, doing: &str, error: &io::Error) -> Self {
        Self::new(WalErrorKind::Io, file, offset, format!("{doing}: {error}"))
    }

    /// Of a write that may be tried again where it found no room. A sync may not: whatever it says,
    /// the pages it failed to write may be gone.
    pub(crate) fn write(file: &str, offset: u64, doing: &str, error: &io::Error) -> Self {
        let kind = if is_no_room(error) { WalErrorKind::NoRoom } else { WalErrorKind::Io };
        Self { kind, ..Self::io(file, offset, doing, error) }
    }

    /// Whether nothing was taken for want of room: the same may be tried again.
    pub fn is_no_room(&self) -> bool {
        self.kind == WalErrorKind::NoRoom
    }

    pub(crate) fn corrupt(file: &str, offset: u64, what: impl Into<String>) -> Self {
        Self::new(WalErrorKind::Corrupt, file, offset, what)
    }
}

/// Whether a disk or a share of it is full.
pub fn is_no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl fmt::Display for WalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            WalErrorKind::Io => "disk error",
            WalErrorKind::NoRoom => "no room",
            WalErrorKind::Corrupt => "corruption",
            WalErrorKind::Unknown => "unknown format",
            WalErrorKind::Poisoned => "poisoned",
            WalErrorKind::Missing => "missing",
            WalErrorKind::Exists => "exists already",
            WalErrorKind::Locked => "locked",
            WalErrorKind::TooLarge => "too large",
        };
        write!(f, "{kind}: {} at byte {}: {}", self.file, self.offset, self.what)
    }
}

impl std::error::Error for WalError {}
