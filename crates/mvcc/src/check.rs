//! Checks that need no state, so that they can be made before proposing and again at apply.

use crate::command::{Command, Error};
use crate::types::{DeleteRequest, PutRequest, RangeRequest, RequestOp, TXN_DEPTH_MAX, TxnRequest};
use alloc::collections::{BTreeMap, BTreeSet};
use base::limits::TXN_OPERATIONS_MAX;
use core::ops::Bound::{Excluded, Included, Unbounded};

/// Operations of a transaction on all paths together, where each path may have so many: it is
/// checked and begun as one piece.
pub const fn operations_max(max_txn_ops: usize) -> usize {
    let flat = max_txn_ops.saturating_mul(4); // compares and both branches, and one itself
    if flat > TXN_OPERATIONS_MAX { flat } else { TXN_OPERATIONS_MAX }
}

/// The checks etcd makes at its door (`api/v3rpc/key.go`).
pub(crate) fn command(command: &Command, max_txn_ops: usize) -> Result<(), Error> {
    match command {
        Command::Put(request) => put(request),
        Command::Delete(request) => delete(request),
        Command::Txn(request) => txn(request, max_txn_ops),
        Command::Compact { .. }
        | Command::LeaseGrant { .. }
        | Command::LeaseRevoke { .. }
        | Command::LeaseRenew { .. }
        | Command::Alarm { .. } => Ok(()),
    }
}

pub(crate) fn range(request: &RangeRequest) -> Result<(), Error> {
    if request.key.is_empty() { Err(Error::EmptyKey) } else { Ok(()) }
}

fn put(request: &PutRequest) -> Result<(), Error> {
    if request.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(Error::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Error::LeaseProvided);
    }
    Ok(())
}

fn delete(request: &DeleteRequest) -> Result<(), Error> {
    if request.key.is_empty() { Err(Error::EmptyKey) } else { Ok(()) }
}

pub(crate) fn txn(request: &TxnRequest, max_txn_ops: usize) -> Result<(), Error> {
    txn_ops(request, max_txn_ops, 0)?;
    intervals(&request.success)?;
    intervals(&request.failure)?;
    Ok(())
}

/// Each level may use what the levels above left over.
fn txn_ops(request: &TxnRequest, ops_left: usize, depth: usize) -> Result<(), Error> {
    let ops = request.compare.len().max(request.success.len()).max(request.failure.len());
    if ops > ops_left || depth >= TXN_DEPTH_MAX {
        return Err(Error::TooManyOps);
    }
    if request.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(Error::EmptyKey);
    }
    for op in request.success.iter().chain(&request.failure) {
        match op {
            RequestOp::Range(request) => range(request)?,
            RequestOp::Put(request) => put(request)?,
            RequestOp::Delete(request) => delete(request)?,
            RequestOp::Txn(request) => txn_ops(request, ops_left - ops, depth + 1)?,
        }
    }
    Ok(())
}

/// Deleted keys as etcd's check sees them: `range_end` is taken literally, so an end of `"\0"`
/// covers nothing here. A client of etcd may put and delete from-key in one transaction, so it may
/// here.
#[derive(Default)]
struct Deleted<'a> {
    keys: BTreeSet<&'a [u8]>,
    /// Start to end, no two of which touch.
    ranges: BTreeMap<&'a [u8], &'a [u8]>,
}

impl<'a> Deleted<'a> {
    fn len(&self) -> usize {
        self.keys.len() + self.ranges.len()
    }

    fn covers(&self, key: &[u8]) -> bool {
        let before = self.ranges.range::<[u8], _>((Unbounded, Included(key))).next_back();
        self.keys.contains(key) || before.is_some_and(|(_, end)| key < *end)
    }

    fn add(&mut self, key: &'a [u8], range_end: &'a [u8]) {
        if range_end.is_empty() {
            self.keys.insert(key);
        } else if key < range_end {
            self.add_range(key, range_end);
        }
    }

    /// Whatever it touches becomes one with it.
    fn add_range(&mut self, mut start: &'a [u8], mut end: &'a [u8]) {
        let upto = (Unbounded, Included(end));
        while let Some((&other, &other_end)) = self.ranges.range::<[u8], _>(upto).next_back()
            && start <= other_end
        {
            self.ranges.remove(other);
            (start, end) = (start.min(other), end.max(other_end));
        }
        assert!(start < end, "a range holds something");
        self.ranges.insert(start, end);
    }

    fn merge(&mut self, mut other: Self) {
        if self.len() < other.len() {
            core::mem::swap(self, &mut other);
        }
        self.keys.extend(other.keys);
        other.ranges.into_iter().for_each(|(start, end)| self.add_range(start, end));
    }

    /// Whether any of the keys is covered; looks through whichever are fewer.
    fn covers_any(&self, keys: &BTreeSet<&[u8]>) -> bool {
        if keys.len() <= self.len() {
            return keys.iter().any(|key| self.covers(key));
        }
        let within = |(start, end): (&&[u8], &&[u8])| {
            keys.range::<[u8], _>((Included(*start), Excluded(*end))).next().is_some()
        };
        self.keys.iter().any(|key| keys.contains(key)) || self.ranges.iter().any(within)
    }
}

/// What a branch writes, on whatever path. Two of them are put together at the cost of the
/// smaller one, so that a nest of any shape takes n log n steps.
#[derive(Default)]
struct Written<'a> {
    puts: BTreeSet<&'a [u8]>,
    deleted: Deleted<'a>,
}

impl<'a> Written<'a> {
    /// Only one of the two runs: they do not mind each other.
    fn or(self, other: Self) -> Self {
        let (mut few, mut all) = (other, self);
        if all.puts.len() < few.puts.len() {
            core::mem::swap(&mut few.puts, &mut all.puts);
        }
        all.puts.extend(few.puts);
        all.deleted.merge(few.deleted);
        all
    }

    /// Runs before all that is still to come here, and under the deletes there are.
    fn nest(&mut self, nested: Self) -> Result<(), Error> {
        let Written { mut puts, deleted } = nested;
        if self.deleted.covers_any(&puts) {
            return Err(Error::DuplicateKey);
        }
        if self.puts.len() < puts.len() {
            core::mem::swap(&mut self.puts, &mut puts);
        }
        for key in puts {
            if !self.puts.insert(key) {
                return Err(Error::DuplicateKey);
            }
        }
        self.deleted.merge(deleted);
        Ok(())
    }

    fn put(&mut self, key: &'a [u8]) -> Result<(), Error> {
        if self.deleted.covers(key) || !self.puts.insert(key) {
            return Err(Error::DuplicateKey);
        }
        Ok(())
    }
}

/// etcd's `checkIntervals`: a key is put at most once on a path, and not under a delete of the same
/// level, of a level above, or of an earlier nested transaction.
fn intervals(ops: &[RequestOp]) -> Result<Written<'_>, Error> {
    let mut all = Written::default();
    for op in ops {
        if let RequestOp::Delete(request) = op {
            all.deleted.add(&request.key, &request.range_end);
        }
    }
    for op in ops {
        if let RequestOp::Txn(request) = op {
            all.nest(intervals(&request.success)?.or(intervals(&request.failure)?))?;
        }
    }
    for op in ops {
        if let RequestOp::Put(request) = op {
            all.put(&request.key)?;
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
