//! Why a pair of families is no system.

use alloc::string::String;
use core::fmt;

use crate::NodeSet;

/// Which requirement fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A leader may not know a committed write.
    ElectMissesCommit,
    /// Two leaders may share a term.
    ElectMissesElect,
    /// Two writers may not see each other.
    CommitMissesCommit,
    /// A commit set has witnesses only: what it commits nobody stores.
    NoData,
    /// No offending pair was found within the search bound, and neither was a proof.
    TooComplex,
}

/// Two quorums that do not meet enough: `a` of the first role of `why`, `b` of the second.
/// Both are empty for [`Why::TooComplex`], and the same set for [`Why::NoData`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsafe {
    /// Minimal, of the first role of `why`.
    pub a: NodeSet,
    /// Minimal, of the second role of `why`.
    pub b: NodeSet,
    /// Which requirement they break.
    pub why: Why,
    /// How many members they must share at least.
    pub share_min: u8,
}

/// Why a system does not come to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SystemError {
    /// A name in the text that no voter has.
    UnknownName {
        /// As the text spells it.
        name: String,
        /// In characters, from 1.
        column: usize,
    },
    /// Two quorums do not meet enough, or that could not be settled.
    Unsafe {
        /// The members of `cause.a`, by name.
        a: String,
        /// The members of `cause.b`, by name.
        b: String,
        /// Which pair it is, and what it breaks.
        cause: Unsafe,
    },
    /// This commit set has witnesses only: what it commits nobody stores.
    NoData {
        /// Its members, by name.
        set: String,
    },
}

impl fmt::Display for SystemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownName { name, column } => {
                write!(f, "column {column}: no member is named `{name}`")
            }
            Self::Unsafe { cause: Unsafe { why: Why::TooComplex, .. }, .. } => {
                f.write_str("too complex to prove that its quorums meet")
            }
            Self::Unsafe { a, b, cause } => {
                let (first, second) = cause.why.roles();
                write!(f, "unsafe: {first} quorum {a} and {second} quorum {b} share ")?;
                match cause.share_min {
                    1 => f.write_str("no member"),
                    n => write!(f, "fewer than {n} members"),
                }
            }
            Self::NoData { set } => {
                write!(f, "unsafe: commit quorum {set} has witnesses only, who keep no data")
            }
        }
    }
}

impl core::error::Error for SystemError {}

impl Why {
    /// The roles of [`Unsafe::a`] and [`Unsafe::b`].
    pub const fn roles(self) -> (&'static str, &'static str) {
        match self {
            Why::ElectMissesCommit | Why::TooComplex => ("elect", "commit"),
            Why::ElectMissesElect => ("elect", "elect"),
            Why::CommitMissesCommit | Why::NoData => ("commit", "commit"),
        }
    }
}
