//! Whether a command is surely short. What may be long is applied to a view of its own.

use crate::budget::{Budget, units};
use crate::command::Command;
use crate::key_range::KeyRange;
use crate::sweep::{CompactWork, Slice, SweepWork};
use crate::types::{RequestOp, TxnRequest};
use crate::view::View;
use base::Blob;

/// Whether all of the entry is done within the budget. It looks at no more than that.
pub(super) fn fits(view: &View, command: Option<&Command>, budget: Budget) -> bool {
    if budget == Budget::endless() {
        return true;
    }
    let mut left = Budget::new(budget.left() + 1);
    let mut compacts = None;
    match command {
        Some(Command::Put(request)) => left.spend(units(request.value.len())),
        Some(Command::Delete(request)) => {
            let bytes = request.prev_kv;
            keys(view, (&request.key, &request.range_end), (true, bytes), &mut left);
        }
        Some(Command::Txn(request)) => txn(view, request, &mut left),
        Some(Command::Compact { revision }) => {
            left.spend(CompactWork::weigh(view, *revision));
            compacts = Some(*revision);
        }
        Some(Command::LeaseRevoke { id, .. }) => {
            let attached = view.lease_keys_after(*id, None).take(left.batch(usize::MAX));
            left.spend(1 + attached.count() as u64);
        }
        Some(Command::LeaseRenew { ids }) => left.spend(ids.len() as u64),
        Some(Command::LeaseGrant { .. } | Command::Alarm { .. }) => left.spend(1),
        None => {}
    }
    let own = if command.is_some() { Slice::BUSY } else { Slice::IDLE };
    SweepWork::weigh(view, own, compacts, &mut left);
    left.is_left()
}

/// Both branches count, taken or not.
fn txn(view: &View, request: &TxnRequest, left: &mut Budget) {
    left.spend(1);
    for compare in &request.compare {
        keys(view, (&compare.key, &compare.range_end), (true, false), left);
    }
    for op in request.success.iter().chain(&request.failure) {
        if !left.is_left() {
            return;
        }
        match op {
            RequestOp::Range(r) => {
                keys(view, (&r.key, &r.range_end), (r.revision <= 0, !r.count_only), left);
            }
            RequestOp::Put(put) => left.spend(units(put.value.len())),
            RequestOp::Delete(r) => keys(view, (&r.key, &r.range_end), (true, r.prev_kv), left),
            RequestOp::Txn(nested) => txn(view, nested, left),
        }
    }
}

/// The keys of a range, now or at any revision, and the bytes of their values if need be.
fn keys(
    view: &View,
    (key, range_end): (&Blob, &Blob),
    (is_newest, bytes): (bool, bool),
    left: &mut Budget,
) {
    left.spend(1);
    let range = KeyRange::new(key.clone(), range_end.clone());
    if is_newest && !bytes {
        return left.spend(view.count_newest(&range) as u64);
    }
    let current = if is_newest { 0 } else { i64::MAX };
    for (_, record) in view.live(&range, None, i64::MAX - 1, current) {
        if !left.is_left() {
            return;
        }
        left.spend(record.map_or(1, |record| units(record.kv.value.len())));
    }
}
