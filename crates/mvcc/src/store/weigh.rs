//! Whether a command is surely short. What may be long is applied to a view of its own.

use crate::budget::{Budget, units};
use crate::command::Command;
use crate::key_range::KeyRange;
use crate::sweep::{Slice, SweepWork};
use crate::types::{RequestOp, TxnRequest};
use crate::view::View;
use base::Blob;

/// Whether all of the entry is done within the budget. It looks at no more than that.
pub(super) fn fits(view: &View, command: Option<&Command>, budget: Budget) -> bool {
    if budget == Budget::endless() {
        return true;
    }
    let mut left = Budget::new(budget.left() + 1);
    let compacts = matches!(command, Some(Command::Compact { .. }));
    match command {
        Some(Command::Put(request)) => left.spend(units(request.value.len())),
        Some(Command::Delete(request)) => {
            let bytes = request.prev_kv;
            keys(view, (&request.key, &request.range_end), (true, bytes), &mut left);
        }
        Some(Command::Txn(request)) => txn(view, request, &mut left),
        Some(Command::LeaseRevoke { id, .. }) => {
            let attached = view.lease_keys_after(*id, None).take(left.batch(usize::MAX));
            left.spend(1 + attached.count() as u64);
        }
        Some(Command::LeaseRenew { ids }) => left.spend(ids.len() as u64),
        Some(Command::LeaseGrant { .. } | Command::Alarm { .. } | Command::Compact { .. }) => {
            left.spend(1);
        }
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
    for (_, facts) in view.live(&range, None, i64::MAX - 1, current) {
        if !left.is_left() {
            return;
        }
        left.spend(facts.map_or(1, |facts| units(facts.value_len as usize)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        AlarmAction, AlarmKind, Compare, CompareOp, CompareTarget, DeleteRequest, Limits,
        PutRequest, RangeRequest, Store,
    };
    use alloc::vec::Vec;
    use base::{ClusterTime, LogIndex};
    use core::slice;

    fn put(key: &[u8], bytes: usize, lease: i64) -> PutRequest {
        let value = Blob::from(alloc::vec![b'v'; bytes]);
        PutRequest { key: key.into(), value, lease, ..PutRequest::default() }
    }

    fn delete(key: &[u8], range_end: &[u8], prev_kv: bool) -> DeleteRequest {
        DeleteRequest { key: key.into(), range_end: range_end.into(), prev_kv }
    }

    fn range(key: &[u8], range_end: &[u8]) -> RangeRequest {
        RangeRequest { key: key.into(), range_end: range_end.into(), ..RangeRequest::default() }
    }

    fn apply(store: &mut Store, command: &Command) {
        let index = store.applied_index().next();
        assert!(store.apply(index, ClusterTime(1), command).result.is_ok());
    }

    /// Three keys of a KiB, one that died, and two that are attached to lease 7: revisions 2 to 8.
    fn store() -> Store {
        let mut store = Store::new(Limits::default());
        for key in [b"a", b"b", b"c", b"d"] {
            apply(&mut store, &Command::Put(put(key, 1024, 0)));
        }
        apply(&mut store, &Command::Delete(delete(b"d", b"", false)));
        apply(&mut store, &Command::LeaseGrant { id: 7, ttl: 9 });
        for key in [b"x", b"y"] {
            apply(&mut store, &Command::Put(put(key, 0, 7)));
        }
        assert_eq!(store.revision(), 8);
        store
    }

    /// The least budget in which it is done at once.
    fn cost(store: &Store, command: Option<&Command>) -> u64 {
        let fits = |units| fits(&store.view, command, Budget::new(units));
        let least = (1..999).find(|units| fits(*units)).expect("all here are short");
        assert!((least..999).all(fits), "in any larger one too");
        least
    }

    #[test]
    fn short_is_what_touches_few_keys_and_few_bytes() {
        let store = store();
        let cost = |command: Command| cost(&store, Some(&command));
        assert_eq!(cost(Command::Put(put(b"k", 1023, 0))), 1);
        assert_eq!(cost(Command::Put(put(b"k", 2048, 0))), 3);
        let deletes = |end: &[u8], prev_kv| cost(Command::Delete(delete(b"a", end, prev_kv)));
        assert_eq!((deletes(b"", false), deletes(b"", true)), (2, 3));
        assert_eq!((deletes(b"e", false), deletes(b"e", true)), (4, 7), "but for what died");
        assert_eq!(cost(Command::Delete(delete(b"no", b"", true))), 1);
        assert_eq!(cost(Command::LeaseGrant { id: 1, ttl: 9 }), 1);
        let (action, kind) = (AlarmAction::Get, AlarmKind::None);
        assert_eq!(cost(Command::Alarm { action, member: 0, kind }), 1);
        assert_eq!(cost(Command::LeaseRenew { ids: Vec::from([7, 8, 9]) }), 3);
        let revoke = |id| cost(Command::LeaseRevoke { id, renewal: None });
        assert_eq!((revoke(7), revoke(8)), (3, 1), "each key that is attached");
        let all = fits(&store.view, None, Budget::new(1));
        assert!(all && fits(&store.view, None, Budget::endless()));
    }

    #[test]
    fn a_transaction_is_as_long_as_all_that_it_may_do() {
        let store = store();
        let txn = |success: &[RequestOp], failure: &[RequestOp]| TxnRequest {
            compare: Vec::new(),
            success: success.into(),
            failure: failure.into(),
        };
        let cost = |txn: TxnRequest| cost(&store, Some(&Command::Txn(txn)));
        let one = |op: RequestOp| cost(txn(&[op], &[])) - 1;
        assert_eq!(cost(txn(&[], &[])), 1);
        let small = RequestOp::Put(put(b"k", 0, 0));
        assert_eq!(cost(txn(slice::from_ref(&small), &[small.clone(), small.clone()])), 4);
        assert_eq!(one(RequestOp::Put(put(b"k", 1024, 0))), 2);
        assert_eq!(one(RequestOp::Delete(delete(b"a", b"", true))), 3);
        assert_eq!(one(RequestOp::Txn(txn(&[small], &[]))), 2);
        let read = range(b"a", b"e");
        assert_eq!(one(RequestOp::Range(read.clone())), 7, "the bytes of all that it finds");
        let counts = |revision| RangeRequest { count_only: true, revision, ..read.clone() };
        let of = [0, -1, 3].map(|revision| one(RequestOp::Range(counts(revision))));
        assert_eq!(of, [4, 4, 8], "in the past each key is looked at, dead or alive");
        let (op, target) = (CompareOp::Equal, CompareTarget::Version(1));
        let range_end = Blob::from(&b"e"[..]);
        let compare = Compare { key: b"a"[..].into(), range_end, op, target };
        let compare = Vec::from([compare]);
        assert_eq!(cost(TxnRequest { compare, ..TxnRequest::default() }), 1 + 4);
    }

    #[test]
    fn a_removal_under_way_makes_every_entry_longer_by_its_slice_and_by_what_is_dead() {
        let mut store = store();
        let compact = |revision| Command::Compact { revision };
        let small = Command::Put(put(b"k", 0, 0));
        assert_eq!((cost(&store, Some(&small)), cost(&store, None)), (1, 1));
        for _ in 0..9 {
            apply(&mut store, &small);
        }
        // Its own look, and as many versions as its slices look at.
        let (busy, idle) = (3, 5);
        assert_eq!(cost(&store, Some(&compact(8))), 1 + idle + busy);
        apply(&mut store, &compact(8));
        assert!(store.is_sweeping());
        let dead = store.view.layers.len() as u64 - store.view.versions;
        assert_eq!(dead, 2, "what died, and its end");
        assert_eq!(cost(&store, Some(&small)), 1 + busy + dead);
        assert_eq!(cost(&store, None), store.view.versions.min(idle) + dead);
        store.advance(LogIndex(99), ClusterTime(1));
        store.advance(LogIndex(100), ClusterTime(1));
        assert!(!store.is_sweeping());
        assert_eq!((cost(&store, Some(&small)), cost(&store, None)), (1, 1));
    }
}
