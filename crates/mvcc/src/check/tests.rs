use super::*;
use alloc::vec::Vec;
use base::{Blob, Prng};

/// The same check as it reads in etcd: every put against every delete.
fn naive(ops: &[RequestOp]) -> Option<(Vec<Blob>, Vec<DeleteRequest>)> {
    let covers = |delete: &DeleteRequest, key: &Blob| match &*delete.range_end {
        b"" => delete.key == *key,
        end => delete.key <= *key && **key < *end,
    };
    let (mut puts, mut deletes) = (Vec::<Blob>::new(), Vec::<DeleteRequest>::new());
    deletes.extend(ops.iter().filter_map(|op| match op {
        RequestOp::Delete(delete) => Some(delete.clone()),
        _ => None,
    }));
    for op in ops {
        let RequestOp::Txn(txn) = op else { continue };
        let (success, failure) = (naive(&txn.success)?, naive(&txn.failure)?);
        let mut nested = success.0;
        nested
            .extend(failure.0.into_iter().filter(|key| !nested.contains(key)).collect::<Vec<_>>());
        let bad = |key| puts.contains(key) || deletes.iter().any(|delete| covers(delete, key));
        if nested.iter().any(bad) {
            return None;
        }
        puts.extend(nested);
        deletes.extend(success.1.into_iter().chain(failure.1));
    }
    for op in ops {
        let RequestOp::Put(put) = op else { continue };
        if puts.contains(&put.key) || deletes.iter().any(|delete| covers(delete, &put.key)) {
            return None;
        }
        puts.push(put.key.clone());
    }
    Some((puts, deletes))
}

fn key(n: u64) -> Blob {
    Blob::from(alloc::format!("k{n:06}").as_bytes())
}

fn put_of(n: u64) -> RequestOp {
    RequestOp::Put(PutRequest { key: key(n), ..PutRequest::default() })
}

fn delete_of(n: u64, range_end: Blob) -> RequestOp {
    RequestOp::Delete(DeleteRequest { key: key(n), range_end, prev_kv: false })
}

fn ops(p: &mut Prng, keys: u64, depth: u64) -> Vec<RequestOp> {
    let len = p.below(5);
    let op = |p: &mut Prng| match p.below(8) {
        0 => delete_of(p.below(keys), Blob::default()),
        1 => delete_of(p.below(keys), Blob::from(&b"\0"[..])),
        // At or before the key at times.
        2 => {
            let from = p.below(keys);
            delete_of(from, key((from + p.below(4)).saturating_sub(1)))
        }
        3 | 4 if depth > 0 => RequestOp::Txn(TxnRequest {
            success: ops(p, keys, depth - 1),
            failure: ops(p, keys, depth - 1),
            ..TxnRequest::default()
        }),
        _ => put_of(p.below(keys)),
    };
    (0..len).map(|_| op(p)).collect()
}

#[test]
fn what_is_refused_is_what_every_put_against_every_delete_refuses() {
    let (mut p, mut taken) = (Prng::new(3), 0);
    for round in 0..20_000 {
        let ops = ops(&mut p, [4, 20, 200][round % 3], 4);
        let wanted = naive(&ops);
        assert_eq!(intervals(&ops).is_ok(), wanted.is_some(), "{ops:?}");
        taken +=
            u64::from(wanted.is_some_and(|(puts, deletes)| puts.len() > 2 && deletes.len() > 1));
    }
    assert!(taken > 500, "enough of them are large and taken: {taken}");
}

/// Every put against every delete would be 4 * 10^10 comparisons, at each of a hundred levels.
#[test]
fn a_transaction_of_200_000_intervals_is_checked_in_the_time_of_a_sort() {
    const MANY: u64 = 200_000;
    let deletes = (0..MANY).map(|n| delete_of(3 * n, key(3 * n + 1)));
    let puts = (0..MANY).map(|n| put_of(3 * n + 1));
    let mut ops: Vec<RequestOp> = deletes.chain(puts).collect();
    for level in 0..100 {
        let (success, failure) = if level % 2 == 0 { (ops, Vec::new()) } else { (Vec::new(), ops) };
        let nested = TxnRequest { success, failure, ..TxnRequest::default() };
        ops = Vec::from([RequestOp::Txn(nested), put_of(3 * level + 2)]);
    }
    assert!(intervals(&ops).is_ok());
    let mut under = ops;
    under.push(delete_of(3 * MANY - 2, Blob::default()));
    assert_eq!(intervals(&under).err(), Some(Error::DuplicateKey), "the last put is deleted above");
}

#[test]
fn a_transaction_is_bounded_on_all_paths_together_before_it_is_proposed() {
    use crate::{Command, Limits, Store};
    let put = || RequestOp::Put(PutRequest { key: b"k"[..].into(), ..PutRequest::default() });
    let of = |success| TxnRequest { success, ..TxnRequest::default() };
    // 32 x 32 of them on paths of 65, the longest of which may have 128.
    let nest = |puts: usize| {
        let leaf = || RequestOp::Txn(of((0..puts).map(|_| put()).collect()));
        let branch = || RequestOp::Txn(of((0..32).map(|_| leaf()).collect()));
        of((0..32).map(|_| branch()).collect())
    };
    let store = Store::new(Limits::default());
    let check = |request: &TxnRequest| store.validate(&Command::Txn(request.clone())).err();
    // Each put of one key: were it looked at any further it would be refused for that.
    assert_eq!(nest(7).operations(), 1 + 32 * (1 + 32 * (1 + 7)));
    assert_eq!(check(&nest(6)), Some(Error::DuplicateKey));
    assert_eq!(check(&nest(7)), Some(Error::TooManyOps));
    // Who lets one path have more may have it.
    let flat = of((0..20_000)
        .map(|n: u32| {
            let key = n.to_be_bytes();
            RequestOp::Put(PutRequest { key: key[..].into(), ..PutRequest::default() })
        })
        .collect());
    let wide = Store::new(Limits { max_txn_ops: 20_000, ..Limits::default() });
    assert_eq!(wide.validate(&Command::Txn(flat)), Ok(()));
}
