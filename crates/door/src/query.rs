//! What can be read, and reading it from a picture of the store.

use crate::facts::LeaseInfo;
use crate::refusal::{Reason, Refusal};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::{Blob, ClusterTime};
use mvcc::{
    Budget, Counted, Error, HashKv, HashKvWork, RangeRequest, RangeResponse, RangeWork,
    ReadTxnWork, TxnRequest, TxnResponse, Values, View,
};

/// Keys or leases that are looked up in one go.
const PAGE_MAX: usize = 256;

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
    /// Ids of all leases.
    Leases,
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
    /// Ids of leases, ascending.
    Leases(Vec<i64>),
}

impl Query {
    /// Whether it is refused for want of good data. How its data differs is what a member whose
    /// data differs has to tell.
    pub(crate) fn is_refused_by(&self, no_data: &Refusal) -> bool {
        !matches!(self, Self::Hash { .. }) || no_data.reason != Reason::Diverged
    }

    /// Begins to read from `view`; `now` is the cluster's time, `ops_max` bounds a transaction.
    ///
    /// # Errors
    /// What the data model refuses without looking at its data.
    pub fn begin(
        &self,
        view: Arc<View>,
        now: ClusterTime,
        ops_max: usize,
    ) -> Result<Reading, Error> {
        let part = match self {
            Self::Range(request) => Part::Range(RangeWork::start(&view, request)?),
            Self::Txn(request) => Part::Txn(Box::new(ReadTxnWork::start(&view, request, ops_max)?)),
            Self::Hash { revision } => Part::Hash(HashKvWork::start(&view, *revision)?),
            Self::Lease { id, keys } => {
                let keys = keys.then(Vec::new);
                Part::Lease { id: *id, keys, now }
            }
            Self::Leases => Part::Leases(Vec::new()),
        };
        Ok(Reading { view, part })
    }
}

/// A read that was begun: its picture of the store, and how far it is. It goes on anywhere.
pub struct Reading {
    view: Arc<View>,
    part: Part,
}

#[expect(clippy::large_enum_variant, reason = "nearly every read is the largest")]
enum Part {
    Range(RangeWork),
    Txn(Box<ReadTxnWork>),
    Hash(HashKvWork),
    /// Keys that were found so far, where they are wanted.
    Lease {
        id: i64,
        keys: Option<Vec<Blob>>,
        now: ClusterTime,
    },
    Leases(Vec<i64>),
}

impl Reading {
    /// A range whose keys were counted before, from one at or below its first; before it runs.
    pub(crate) fn knowing(self, counted: &Counted) -> Self {
        let part = match self.part {
            Part::Range(work) => Part::Range(work.knowing(&self.view, counted.clone())),
            other => other,
        };
        Self { part, ..self }
    }

    /// Goes on for as long as the budget lasts and what it needs is at hand; what was found once
    /// that is whole.
    ///
    /// # Errors
    /// What the data model refuses once it has looked, and what cannot be read.
    pub fn run(
        &mut self,
        values: &mut dyn Values,
        budget: &mut Budget,
    ) -> Option<Result<Found, Refusal>> {
        match self.go_on(values, budget) {
            Some(found) => Some(found.map_err(Refusal::from)),
            None => {
                let why = values.take_trouble()?;
                Some(Err(Refusal::not_applied(Reason::Unreadable(why))))
            }
        }
    }

    fn go_on(
        &mut self,
        values: &mut dyn Values,
        budget: &mut Budget,
    ) -> Option<Result<Found, Error>> {
        match &mut self.part {
            Part::Range(work) => {
                work.run(&self.view, values, budget).map(|range| Ok(Found::Range(range)))
            }
            Part::Txn(work) => work.run(values, budget).map(|found| found.map(Found::Txn)),
            Part::Hash(work) => {
                work.run(&self.view, values, budget).map(|hash| Ok(Found::Hash(hash)))
            }
            Part::Lease { id, keys, now } => {
                let view = &self.view;
                if let Some(keys) = keys {
                    pages(keys, budget, |after, max| view.lease_keys_page(*id, after, max))?;
                }
                let found = view.lease_ttl(*id, *now).map(|ttl| LeaseInfo {
                    ttl: ttl.remaining,
                    granted_ttl: ttl.granted,
                    keys: keys.take().unwrap_or_default(),
                });
                Some(Ok(Found::Lease(found)))
            }
            Part::Leases(ids) => {
                pages(ids, budget, |after, max| self.view.leases_page(after.copied(), max))?;
                Some(Ok(Found::Leases(core::mem::take(ids))))
            }
        }
    }
}

/// Goes on with a list, page by page, for as long as the budget lasts; done at its end.
fn pages<T>(
    found: &mut Vec<T>,
    budget: &mut Budget,
    page: impl Fn(Option<&T>, usize) -> Vec<T>,
) -> Option<()> {
    loop {
        let max = budget.batch(PAGE_MAX);
        if max == 0 {
            return None;
        }
        let mut next = page(found.last(), max);
        budget.spend(1 + next.len() as u64);
        let last = next.len() < max;
        found.append(&mut next);
        if last {
            return Some(());
        }
    }
}
