//! What the log carries and what applying it answers.

use crate::types::{
    DeleteRequest, DeleteResponse, PutRequest, PutResponse, TxnRequest, TxnResponse,
};
use alloc::vec::Vec;
use core::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmAction {
    Get,
    Activate,
    Deactivate,
}

/// `None` means "every kind" in a get, and nothing elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlarmKind {
    None,
    NoSpace,
    Corrupt,
}

/// One replicated write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Put(PutRequest),
    Delete(DeleteRequest),
    Txn(TxnRequest),
    Compact {
        revision: i64,
    },
    /// `ttl` in seconds; `id` was chosen before proposing and is not 0.
    LeaseGrant {
        id: i64,
        ttl: i64,
    },
    /// `renewal`: none revokes for a client; some(n) is an expiry that saw renewal n, and is
    /// dropped when a later renewal precedes it in the log.
    LeaseRevoke {
        id: i64,
        renewal: Option<u64>,
    },
    LeaseRenew {
        ids: Vec<i64>,
    },
    Alarm {
        action: AlarmAction,
        member: u64,
        kind: AlarmKind,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    Put(PutResponse),
    Delete(DeleteResponse),
    Txn(TxnResponse),
    Compact {
        revision: i64,
    },
    /// `ttl` is the granted one, raised to the minimum.
    LeaseGrant {
        id: i64,
        ttl: i64,
        revision: i64,
    },
    LeaseRevoke {
        revision: i64,
    },
    /// (id, ttl) in the order asked; ttl 0 = unknown lease.
    LeaseRenew {
        ttls: Vec<(i64, i64)>,
    },
    Alarm {
        alarms: Vec<(u64, AlarmKind)>,
    },
}

/// Why a request was refused. A refused command changed no key, lease or revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    Compacted,
    FutureRevision,
    LeaseNotFound,
    LeaseExists,
    LeaseTtlTooLarge,
    KeyNotFound,
    EmptyKey,
    DuplicateKey,
    TooManyOps,
    ValueProvided,
    LeaseProvided,
    InvalidSort,
    NoSpace,
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
