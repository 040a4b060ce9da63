//! What the log carries and what applying it answers.

use crate::types::{
    DeleteRequest, DeleteResponse, PutRequest, PutResponse, TxnRequest, TxnResponse,
};
use alloc::vec::Vec;
use core::fmt;

/// What is to be done about alarms (`AlarmRequest.AlarmAction`), in the order of its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmAction {
    /// List those of the kind.
    Get,
    /// Raise one; once raised it stays so.
    Activate,
    /// Disarm one.
    Deactivate,
}

/// What is wrong (`AlarmType`), in the order of its numbers. `None` means
/// "every kind" in a get, and nothing elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlarmKind {
    /// No kind.
    None,
    /// The quota is used up: what adds bytes is refused.
    NoSpace,
    /// Members differ: all but alarms and renewals is refused.
    Corrupt,
    /// Too many disks run full: to clients the same as `NoSpace`, and lifted without them.
    LowDisk,
    /// A member says that its disk runs full. Nothing is refused for that, and no client told.
    LowMark,
}

impl AlarmKind {
    /// Whether what adds bytes is refused.
    pub fn is_full(self) -> bool {
        matches!(self, Self::NoSpace | Self::LowDisk)
    }

    /// Whether who asks for this kind means it.
    pub(crate) fn is(self, kind: Self) -> bool {
        self == kind || (kind == Self::NoSpace && self.is_full())
    }
}

/// One replicated write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Writes a key.
    Put(PutRequest),
    /// Deletes a range.
    Delete(DeleteRequest),
    /// Runs one of two branches.
    Txn(TxnRequest),
    /// Puts superseded versions at or below a revision out of sight.
    Compact {
        /// Above the last one, at most the newest.
        revision: i64,
    },
    /// Begins a lease: `ttl` in seconds; `id` was chosen before proposing and is not 0.
    LeaseGrant {
        /// Not in use, or it is `LeaseExists`.
        id: i64,
        /// Asked for, seconds; raised to the minimum, refused above 9,000,000,000.
        ttl: i64,
    },
    /// Ends a lease and deletes its keys in one revision.
    ///
    /// `renewal`: none revokes for a client; some(n) is an expiry that saw renewal n, and is
    /// dropped when a later renewal precedes it in the log.
    LeaseRevoke {
        /// Unknown: `LeaseNotFound`.
        id: i64,
        /// Which renewal the expiry saw, if it is one.
        renewal: Option<u64>,
    },
    /// Moves deadlines to a full time to live from now.
    LeaseRenew {
        /// In this order; unknown ones change nothing.
        ids: Vec<i64>,
    },
    /// Lists, raises or disarms alarms.
    Alarm {
        /// What to do.
        action: AlarmAction,
        /// Whose it is; 0 is the quota's own.
        member: u64,
        /// Of which kind; a get takes `None` for all.
        kind: AlarmKind,
    },
}

impl Command {
    /// What it has to look at: operations and compares, on whatever path; 1 at least.
    pub fn operations(&self) -> usize {
        match self {
            Self::Txn(request) => request.operations(),
            Self::LeaseRenew { ids } => ids.len().max(1),
            _ => 1,
        }
    }
}

/// What a command that was taken came to. Revisions are the store's after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// Of [`Command::Put`].
    Put(PutResponse),
    /// Of [`Command::Delete`].
    Delete(DeleteResponse),
    /// Of [`Command::Txn`].
    Txn(TxnResponse),
    /// Of [`Command::Compact`].
    Compact {
        /// The newest one, not the one compacted at.
        revision: i64,
    },
    /// Of [`Command::LeaseGrant`]: `ttl` is the granted one, raised to the minimum.
    LeaseGrant {
        /// As chosen by whoever proposed it.
        id: i64,
        /// Seconds, at least the minimum.
        ttl: i64,
        /// Unchanged by a grant.
        revision: i64,
    },
    /// Of [`Command::LeaseRevoke`].
    LeaseRevoke {
        /// One higher when the lease had keys.
        revision: i64,
    },
    /// Of [`Command::LeaseRenew`]: (id, ttl) in the order asked; ttl 0 = unknown lease.
    LeaseRenew {
        /// Seconds; as many as were asked for.
        ttls: Vec<(i64, i64)>,
    },
    /// Of [`Command::Alarm`].
    Alarm {
        /// Listed, raised or disarmed: member and kind, in order.
        alarms: Vec<(u64, AlarmKind)>,
    },
}

/// Why a request was refused. A refused command changed no key, lease or revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The revision is below the compact revision, or not above it in a compaction.
    Compacted,
    /// The revision is above the newest one.
    FutureRevision,
    /// No such lease, or a grant of id 0.
    LeaseNotFound,
    /// A lease with this id is in force.
    LeaseExists,
    /// More than 9,000,000,000 seconds.
    LeaseTtlTooLarge,
    /// `ignore_value` or `ignore_lease` of a key that is not there.
    KeyNotFound,
    /// A request, a compare or an operation without a key.
    EmptyKey,
    /// A path of a transaction would write a key twice.
    DuplicateKey,
    /// A transaction with more operations, deeper nests or larger answers than allowed.
    TooManyOps,
    /// `ignore_value` with a value.
    ValueProvided,
    /// `ignore_lease` with a lease.
    LeaseProvided,
    /// A number that is no sort order or target.
    InvalidSort,
    /// It does not fit the quota, or the alarm says that nothing does.
    NoSpace,
    /// The alarm of that name is on.
    Corrupt,
    /// An expiry lost to a later renewal; never seen by a client.
    LeaseRenewed,
    /// `read_txn` was given a transaction that writes.
    NotReadOnly,
}

impl Error {
    pub(crate) const ALL: [Self; 16] = [
        Self::Compacted,
        Self::FutureRevision,
        Self::LeaseNotFound,
        Self::LeaseExists,
        Self::LeaseTtlTooLarge,
        Self::KeyNotFound,
        Self::EmptyKey,
        Self::DuplicateKey,
        Self::TooManyOps,
        Self::ValueProvided,
        Self::LeaseProvided,
        Self::InvalidSort,
        Self::NoSpace,
        Self::Corrupt,
        Self::LeaseRenewed,
        Self::NotReadOnly,
    ];

    /// etcd's text after `etcdserver: ` (`api/v3rpc/rpctypes/error.go`).
    pub const fn text(self) -> &'static str {
        match self {
            Self::Compacted => "mvcc: required revision has been compacted",
            Self::FutureRevision => "mvcc: required revision is a future revision",
            Self::LeaseNotFound => "requested lease not found",
            Self::LeaseExists => "lease already exists",
            Self::LeaseTtlTooLarge => "too large lease TTL",
            Self::KeyNotFound => "key not found",
            Self::EmptyKey => "key is not provided",
            Self::DuplicateKey => "duplicate key given in txn request",
            Self::TooManyOps => "too many operations in txn request",
            Self::ValueProvided => "value is provided",
            Self::LeaseProvided => "lease is provided",
            Self::InvalidSort => "invalid sort option",
            Self::NoSpace => "mvcc: database space exceeded",
            Self::Corrupt => "corrupt cluster",
            Self::LeaseRenewed => "lease was renewed before its expiry applied",
            Self::NotReadOnly => "transaction writes",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl core::error::Error for Error {}
