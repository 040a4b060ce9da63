//! What can be read, and reading it from a picture of the store.

use crate::facts::LeaseInfo;
use crate::refusal::{Reason, Refusal};
use alloc::vec::Vec;
use base::ClusterTime;
use mvcc::{Error, HashKv, RangeRequest, RangeResponse, TxnRequest, TxnResponse, View};

/// How late the state that is read may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// All that was committed before the read was asked for is in it.
    Linearizable,
    /// What this member has.
    Local,
}

/// One read: plain data, so that it can wait for its state and be carried out anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// Keys of a range.
    Range(RangeRequest),
    /// A transaction that writes in no branch.
    Txn(TxnRequest),
    /// The hash of all keys up to a revision; 0: the newest.
    Hash {
        /// Up to which.
        revision: i64,
    },
    /// What is left of a lease.
    Lease {
        /// Which.
        id: i64,
        /// Its keys too.
        keys: bool,
    },
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Keys of a range.
    Range(RangeResponse),
    /// Both outcome and answers of a transaction.
    Txn(TxnResponse),
    /// A hash, and up to where.
    Hash(HashKv),
    /// None for a lease that is unknown or has expired.
    Lease(Option<LeaseInfo>),
}

impl Query {
    /// Whether it is refused for want of good data. How its data differs is what a member whose
    /// data differs has to tell.
    pub fn is_refused_by(&self, no_data: &Refusal) -> bool {
        !matches!(self, Self::Hash { .. }) || no_data.reason != Reason::Diverged
    }

    /// Reads from `view`; `now` is the cluster's time, `ops_max` bounds a transaction.
    ///
    /// # Errors
    /// What the data model refuses.
    pub fn run(&self, view: &View, now: ClusterTime, ops_max: usize) -> Result<Found, Error> {
        match self {
            Self::Range(request) => view.range(request).map(Found::Range),
            Self::Txn(request) => view.read_txn(request, ops_max).map(Found::Txn),
            Self::Hash { revision } => view.hash_kv(*revision).map(Found::Hash),
            Self::Lease { id, keys } => {
                let found = view.lease_ttl(*id, now).map(|ttl| LeaseInfo {
                    ttl: ttl.remaining,
                    granted_ttl: ttl.granted,
                    keys: if *keys { view.lease_keys(*id) } else { Vec::new() },
                });
                Ok(Found::Lease(found))
            }
        }
    }
}
