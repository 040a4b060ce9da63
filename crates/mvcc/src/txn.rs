//! Evaluation of transactions: which branches are taken, whether they may run, and their reads.

use crate::check;
use crate::command::Error;
use crate::key_range::KeyRange;
use crate::store::version_bytes;
use crate::types::{
    Compare, CompareOp, CompareTarget, KeyValue, RangeRequest, RangeResponse, RequestOp,
    ResponseOp, TxnRequest, TxnResponse,
};
use crate::view::View;
use alloc::vec::Vec;
use base::planted;
use core::cmp::Ordering;

/// Outcomes of the compares on the taken path, in the order they are met.
pub(crate) type Path = Vec<bool>;

/// What the reads of one transaction answer with at most, as the quota counts it. Nested ones can
/// be tens of thousands, and every member builds the answer of one that writes: without a bound a
/// small entry in the log could fill the memory of all of them, and again at each restart.
pub(crate) const ANSWER_BYTES_MAX: u64 = 1 << 30;

/// What is left of it.
pub(crate) struct Budget(u64);

impl Budget {
    pub fn new() -> Self {
        Self(ANSWER_BYTES_MAX)
    }

    pub fn take(&mut self, answer: &RangeResponse) -> Result<(), Error> {
        let bytes = answer.kvs.iter().map(|kv| version_bytes(kv.key.len(), kv.value.len()));
        self.0 = self.0.checked_sub(bytes.sum()).ok_or(Error::TooManyOps)?;
        Ok(())
    }
}

/// All compares, nested ones too, see the state before the transaction.
pub(crate) fn path(view: &View, txn: &TxnRequest, out: &mut Path) {
    let succeeded = txn.compare.iter().all(|compare| holds(view, compare));
    out.push(succeeded);
    for op in branch(txn, succeeded) {
        if let RequestOp::Txn(nested) = op {
            path(view, nested, out);
        }
    }
}

pub(crate) fn branch(txn: &TxnRequest, succeeded: bool) -> &[RequestOp] {
    if succeeded { &txn.success } else { &txn.failure }
}

fn holds(view: &View, compare: &Compare) -> bool {
    let range = KeyRange::new(compare.key.clone(), compare.range_end.clone());
    let at = view.revision() + i64::from(planted!(CompareAfterWrite));
    let mut found = view.live(&range, at, at).peekable();
    if found.peek().is_none() {
        // A value cannot be compared with nothing: false even for NOT_EQUAL.
        let is_value = matches!(compare.target, CompareTarget::Value(_));
        return !is_value && holds_for(compare, &KeyValue::default());
    }
    found.all(|record| holds_for(compare, &record.kv))
}

fn holds_for(compare: &Compare, kv: &KeyValue) -> bool {
    let order = match &compare.target {
        CompareTarget::Version(x) => kv.version.cmp(x),
        CompareTarget::Create(x) => kv.create_revision.cmp(x),
        CompareTarget::Mod(x) => kv.mod_revision.cmp(x),
        CompareTarget::Value(x) => kv.value.cmp(x),
        CompareTarget::Lease(x) => kv.lease.cmp(x),
    };
    match compare.op {
        CompareOp::Equal => order == Ordering::Equal,
        CompareOp::NotEqual => order != Ordering::Equal,
        CompareOp::Greater => order == Ordering::Greater,
        CompareOp::Less => order == Ordering::Less,
    }
}

/// The operations of the taken path in order, nested ones in place.
pub(crate) fn taken<'a>(txn: &'a TxnRequest, path: &mut &[bool], out: &mut Vec<&'a RequestOp>) {
    let (succeeded, rest) = path.split_first().expect("one outcome per transaction met");
    *path = rest;
    for op in branch(txn, *succeeded) {
        match op {
            RequestOp::Txn(nested) => taken(nested, path, out),
            RequestOp::Range(_) | RequestOp::Put(_) | RequestOp::Delete(_) => out.push(op),
        }
    }
}

/// etcd's `checkRange`: stricter than a plain range about negative revisions.
pub(crate) fn check_range(view: &View, request: &RangeRequest) -> Result<(), Error> {
    if request.revision == 0 {
        Ok(())
    } else if request.revision > view.revision() {
        Err(Error::FutureRevision)
    } else if request.revision < view.compact_revision() {
        Err(Error::Compacted)
    } else {
        Ok(())
    }
}

impl View {
    /// Evaluates a transaction that writes in no branch, without the log.
    ///
    /// # Errors
    /// `NotReadOnly`, the static checks, `Compacted`, `FutureRevision`; `TooManyOps` also for an
    /// answer that is too large.
    pub fn read_txn(&self, txn: &TxnRequest, max_ops: usize) -> Result<TxnResponse, Error> {
        if !txn.is_read_only() {
            return Err(Error::NotReadOnly);
        }
        check::txn(txn, max_ops)?;
        let (mut outcomes, mut ops) = (Path::new(), Vec::new());
        path(self, txn, &mut outcomes);
        taken(txn, &mut outcomes.as_slice(), &mut ops);
        for op in ops {
            if let RequestOp::Range(request) = op {
                check_range(self, request)?;
            }
        }
        let mut budget = Budget::new();
        let mut response = read_branch(self, txn, &mut outcomes.as_slice(), &mut budget)?;
        response.revision = self.revision();
        Ok(response)
    }
}

fn read_branch(
    view: &View,
    txn: &TxnRequest,
    path: &mut &[bool],
    budget: &mut Budget,
) -> Result<TxnResponse, Error> {
    let (succeeded, rest) = path.split_first().expect("one outcome per transaction met");
    *path = rest;
    let mut responses = Vec::new();
    for op in branch(txn, *succeeded) {
        responses.push(match op {
            RequestOp::Range(request) => {
                let answer = view.range_at(request, view.revision())?;
                budget.take(&answer)?;
                ResponseOp::Range(answer)
            }
            RequestOp::Txn(nested) => ResponseOp::Txn(read_branch(view, nested, path, budget)?),
            RequestOp::Put(_) | RequestOp::Delete(_) => return Err(Error::NotReadOnly),
        });
    }
    Ok(TxnResponse { revision: 0, succeeded: *succeeded, responses })
}
