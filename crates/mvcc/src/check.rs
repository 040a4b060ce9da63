//! Checks that need no state, so that they can be made before proposing and again at apply.

use crate::command::{Command, Error};
use crate::types::{DeleteRequest, PutRequest, RangeRequest, RequestOp, TxnRequest};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// Deepest nesting of transactions, whatever `max_txn_ops` says: recursion stays bounded.
pub(crate) const TXN_DEPTH_MAX: usize = 128;

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

/// A deleted interval as etcd's check sees it: `range_end` is taken literally, so an end of `"\0"`
/// covers nothing here. A client of etcd may put and delete from-key in one transaction, so it may
/// here.
struct Interval<'a> {
    key: &'a [u8],
    range_end: &'a [u8],
}

impl Interval<'_> {
    fn covers(&self, key: &[u8]) -> bool {
        if self.range_end.is_empty() {
            self.key == key
        } else {
            self.key <= key && key < self.range_end
        }
    }
}

#[derive(Default)]
struct Written<'a> {
    puts: BTreeSet<&'a [u8]>,
    deletes: Vec<Interval<'a>>,
}

impl<'a> Written<'a> {
    fn is_deleted(&self, key: &[u8]) -> bool {
        self.deletes.iter().any(|interval| interval.covers(key))
    }

    fn put(&mut self, key: &'a [u8]) -> Result<(), Error> {
        if self.is_deleted(key) || !self.puts.insert(key) {
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
            all.deletes.push(Interval { key: &request.key, range_end: &request.range_end });
        }
    }
    for op in ops {
        let RequestOp::Txn(request) = op else { continue };
        let success = intervals(&request.success)?;
        let failure = intervals(&request.failure)?;
        for &key in &success.puts {
            all.put(key)?;
        }
        for &key in &failure.puts {
            // Only one of the two branches is taken.
            if all.is_deleted(key) || !(success.puts.contains(key) || all.puts.insert(key)) {
                return Err(Error::DuplicateKey);
            }
        }
        all.deletes.extend(success.deletes);
        all.deletes.extend(failure.deletes);
    }
    for op in ops {
        if let RequestOp::Put(request) = op {
            all.put(&request.key)?;
        }
    }
    Ok(all)
}
