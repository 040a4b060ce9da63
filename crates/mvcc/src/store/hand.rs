//! Whether a command needs no version that has left memory. Where it may need one it goes its way
//! as a job, which can wait.

use crate::command::Command;
use crate::key_range::KeyRange;
use crate::types::{Compare, CompareTarget, RequestOp, SortTarget, TxnRequest};
use crate::view::View;
use base::Blob;

/// Whether what is read of these keys is in memory, or nothing is. It looks at one key at most: a
/// range is taken to be in a file as soon as anything is.
fn keys(view: &View, key: &Blob, range_end: &Blob, is_newest: bool) -> bool {
    let range = KeyRange::new(key.clone(), range_end.clone());
    if view.layers.is_in_memory(0) || range.is_empty() {
        return true;
    }
    is_newest
        && range.single().is_some()
        && view.live_at(key, i64::MAX).is_none_or(|facts| view.is_here(&facts))
}

/// Surely so; a command that is refused in the end may count as one that needs something.
pub(super) fn is_whole(view: &View, command: Option<&Command>) -> bool {
    match command {
        Some(Command::Put(r)) => {
            !(r.prev_kv || r.ignore_value) || keys(view, &r.key, &Blob::default(), true)
        }
        Some(Command::Delete(r)) => !r.prev_kv || keys(view, &r.key, &r.range_end, true),
        Some(Command::Txn(txn)) => view.layers.is_in_memory(0) || is_whole_txn(view, txn),
        _ => true,
    }
}

/// Of the branch that is taken where that is known at a glance, else of both.
fn is_whole_txn(view: &View, txn: &TxnRequest) -> bool {
    let is_value = |compare: &Compare| matches!(compare.target, CompareTarget::Value(_));
    let compared = |c: &Compare| !is_value(c) || keys(view, &c.key, &c.range_end, true);
    if !txn.compare.iter().all(compared) {
        return false;
    }
    let done = |op: &RequestOp| match op {
        RequestOp::Range(r) => {
            let by_value = r.sort_target == SortTarget::Value;
            let values = !r.count_only && (!r.keys_only || by_value);
            !values || keys(view, &r.key, &r.range_end, r.revision <= 0)
        }
        RequestOp::Put(r) => {
            !(r.prev_kv || r.ignore_value) || keys(view, &r.key, &Blob::default(), true)
        }
        RequestOp::Delete(r) => !r.prev_kv || keys(view, &r.key, &r.range_end, true),
        RequestOp::Txn(nested) => is_whole_txn(view, nested),
    };
    match crate::txn::at_a_glance(view, txn) {
        Some(true) => txn.success.iter().all(done),
        Some(false) => txn.failure.iter().all(done),
        None => txn.success.iter().chain(&txn.failure).all(done),
    }
}
