//! What is just taken, and what is just refused.

use base::limits::TXN_ANSWER_BYTES_MAX;
use base::{Blob, ClusterTime};
use mvcc::{
    AlarmAction, AlarmKind, Command, Compare, CompareOp, CompareTarget, DeleteRequest, Error,
    Limits, PutRequest, RangeRequest, RequestOp, Response, Store, TxnRequest,
};

/// Bytes of a key of one byte besides its value.
const KEY_BYTES: usize = 257;

struct Node {
    store: Store,
    now: u64,
}

impl Node {
    fn with(limits: Limits) -> Self {
        Self { store: Store::new(limits), now: 0 }
    }

    fn of_quota(quota_bytes: u64) -> Self {
        Self::with(Limits { quota_bytes, ..Limits::default() })
    }

    fn run(&mut self, command: Command) -> Result<Response, Error> {
        let index = self.store.applied_index().next();
        self.store.apply(index, ClusterTime(self.now), &command).result
    }

    /// A put that takes so many bytes in all.
    fn put(&mut self, key: u8, bytes: usize) -> Result<Response, Error> {
        self.run(Command::Put(put(key, bytes)))
    }

    fn delete(&mut self, key: u8) {
        let key = Blob::from(&[key][..]);
        self.run(Command::Delete(DeleteRequest { key, ..DeleteRequest::default() })).unwrap();
    }
}

fn put(key: u8, bytes: usize) -> PutRequest {
    let value = Blob::from(vec![b'v'; bytes - KEY_BYTES]);
    PutRequest { key: Blob::from(&[key][..]), value, ..PutRequest::default() }
}

fn txn(success: Vec<RequestOp>, failure: Vec<RequestOp>) -> TxnRequest {
    TxnRequest { compare: vec![], success, failure }
}

#[test]
fn a_quota_is_filled_to_the_last_byte_and_not_beyond() {
    let mut n = Node::of_quota(1000);
    assert!(n.put(b'a', 1000).is_ok());
    assert_eq!((n.store.size_bytes(), n.store.alarms()), (1000, vec![]));
    assert_eq!(n.put(b'b', KEY_BYTES), Err(Error::NoSpace));
    let mut n = Node::of_quota(1000);
    assert_eq!(n.put(b'a', 1001), Err(Error::NoSpace));
    assert_eq!(n.store.alarms(), [(0, AlarmKind::NoSpace)]);
    assert_eq!(n.put(b'a', KEY_BYTES), Err(Error::NoSpace), "until somebody makes room");
    // A lease takes 64 while it is granted.
    for (bytes, granted) in [(936, true), (937, false)] {
        let mut n = Node::of_quota(1000);
        n.put(b'a', bytes).unwrap();
        assert_eq!(n.run(Command::LeaseGrant { id: 1, ttl: 9 }).is_ok(), granted);
    }
    assert!(Node::of_quota(0).put(b'a', 1 << 20).is_ok(), "no quota");
}

#[test]
fn a_transaction_costs_its_dearer_branch_whichever_is_taken() {
    let one = |key, bytes| RequestOp::Put(put(key, bytes));
    let cases = [
        (txn(vec![one(b'a', 500), one(b'b', 500)], vec![]), true),
        (txn(vec![one(b'a', 500), one(b'b', 501)], vec![]), false),
        (txn(vec![one(b'a', 300)], vec![one(b'a', 1000)]), true),
        (txn(vec![one(b'a', 300)], vec![one(b'a', 1001)]), false),
        (
            txn(vec![one(b'a', 500), RequestOp::Txn(txn(vec![], vec![one(b'b', 500)]))], vec![]),
            true,
        ),
        (
            txn(vec![one(b'a', 500), RequestOp::Txn(txn(vec![], vec![one(b'b', 501)]))], vec![]),
            false,
        ),
    ];
    for (txn, fits) in cases {
        assert_eq!(Node::of_quota(1000).run(Command::Txn(txn.clone())).is_ok(), fits, "{txn:?}");
    }
    let mut full = Node::of_quota(1000);
    assert_eq!(full.put(b'a', 1001), Err(Error::NoSpace));
    let delete = DeleteRequest { key: Blob::from(&b"a"[..]), ..DeleteRequest::default() };
    let frees = Command::Txn(txn(vec![RequestOp::Delete(delete)], vec![]));
    assert!(full.run(frees).is_ok(), "what adds nothing runs in a full store too");
}

#[test]
fn writes_are_taken_again_once_a_sixteenth_of_the_quota_is_free() {
    for (left, taken) in [(15_000, true), (15_001, false)] {
        let mut n = Node::of_quota(16_000);
        // A tombstone at the compact revision stays, so that a watch may start there.
        n.put(b'a', left - KEY_BYTES).unwrap();
        n.put(b'd', KEY_BYTES).unwrap();
        n.put(b'b', 16_000 - left).unwrap();
        assert_eq!(n.store.size_bytes(), 16_000);
        assert_eq!(n.put(b'c', KEY_BYTES), Err(Error::NoSpace));
        n.delete(b'b');
        n.delete(b'd');
        n.run(Command::Compact { revision: n.store.revision() }).unwrap();
        assert!(!n.store.is_sweeping());
        assert_eq!(n.store.size_bytes(), left as u64);
        assert_eq!(n.put(b'c', KEY_BYTES).is_ok(), taken);
        assert_eq!(n.store.alarm_ends().is_some(), taken);
    }
}

#[test]
fn alarms_are_listed_in_order_by_kind_and_raised_and_disarmed_one_by_one() {
    let mut n = Node::of_quota(1000);
    let mut run = |action, member, kind| match n.run(Command::Alarm { action, member, kind }) {
        Ok(Response::Alarm { alarms }) => alarms,
        other => panic!("{other:?}"),
    };
    let (get, raise, disarm) = (AlarmAction::Get, AlarmAction::Activate, AlarmAction::Deactivate);
    let (all, space, corrupt) = (AlarmKind::None, AlarmKind::NoSpace, AlarmKind::Corrupt);
    assert_eq!(run(raise, 7, space), [(7, space)]);
    assert_eq!(run(raise, 5, corrupt), [(5, corrupt)]);
    assert_eq!(run(raise, 5, space), [(5, space)]);
    assert_eq!(run(raise, 5, space), [(5, space)], "raised twice it is one");
    assert_eq!(run(raise, 5, all), [], "of no kind there is none");
    assert_eq!(run(get, 0, all), [(5, space), (5, corrupt), (7, space)]);
    assert_eq!(run(get, 9, space), [(5, space), (7, space)]);
    assert_eq!(run(get, 9, corrupt), [(5, corrupt)]);
    assert_eq!(run(disarm, 7, corrupt), [], "it was not on");
    assert_eq!(run(disarm, 5, corrupt), [(5, corrupt)]);
    assert_eq!(run(disarm, 5, space), [(5, space)]);
    assert_eq!(run(get, 0, all), [(7, space)]);
    assert_eq!(run(disarm, 7, space), [(7, space)]);
    assert_eq!(n.put(b'a', 1001), Err(Error::NoSpace));
    let mut run = |action, member| n.run(Command::Alarm { action, member, kind: space });
    run(raise, 3).unwrap();
    let alarms = vec![(0, space), (3, space)];
    assert_eq!(run(get, 0), Ok(Response::Alarm { alarms }), "the quota's own comes first");
    run(raise, 0).unwrap();
    let alarms = vec![(0, space), (3, space)];
    assert_eq!(run(get, 0), Ok(Response::Alarm { alarms }), "and once");
}

#[test]
fn the_content_hash_tells_whose_alarm_is_on_and_since_when() {
    let space = AlarmKind::NoSpace;
    let of = |raise: &[(u64, AlarmKind)]| {
        let mut n = Node::of_quota(1000);
        for (member, kind) in raise {
            let (action, member, kind) = (AlarmAction::Activate, *member, *kind);
            n.run(Command::Alarm { action, member, kind }).unwrap();
        }
        n
    };
    let (none, mut own, theirs) = (of(&[]), of(&[]), of(&[(0, space)]));
    assert_eq!(own.put(b'a', 1001), Err(Error::NoSpace));
    let mut both = of(&[]);
    assert_eq!(both.put(b'a', 1001), Err(Error::NoSpace));
    both.run(Command::Alarm { action: AlarmAction::Activate, member: 0, kind: space }).unwrap();
    let back = |now: u64| {
        let mut n = of(&[]);
        assert_eq!(n.put(b'a', 1001), Err(Error::NoSpace));
        n.now = now;
        n.run(Command::LeaseRenew { ids: vec![] }).unwrap();
        assert!(n.store.alarm_ends().is_some());
        n
    };
    let all = [none, own, theirs, both, of(&[(1, space)]), of(&[(1, AlarmKind::Corrupt)])];
    let mut hashes = all.map(|n| n.store.content_hash()).to_vec();
    hashes.extend([back(1), back(2)].map(|n| n.store.content_hash()));
    hashes.sort_unstable();
    assert!(hashes.is_sorted_by(|a, b| a < b), "no two are the same");
}

#[test]
fn a_transaction_reads_from_the_compact_revision_to_the_newest() {
    let mut n = Node::of_quota(0);
    for _ in 0..4 {
        n.put(b'k', KEY_BYTES).unwrap();
    }
    n.run(Command::Compact { revision: 3 }).unwrap();
    let mut read = |revision| {
        let key = Blob::from(&b"k"[..]);
        let range = RequestOp::Range(RangeRequest { key, revision, ..RangeRequest::default() });
        n.run(Command::Txn(txn(vec![range], vec![]))).err()
    };
    assert_eq!([read(0), read(3), read(5)], [None; 3]);
    assert_eq!([read(2), read(-1)], [Some(Error::Compacted); 2]);
    assert_eq!(read(6), Some(Error::FutureRevision));
}

#[test]
fn a_lease_ends_at_its_deadline_and_no_nanosecond_before() {
    let mut n = Node::of_quota(0);
    assert_eq!(n.store.lease_deadline(), None);
    n.now = 1_000_000_000;
    n.run(Command::LeaseGrant { id: 7, ttl: 10 }).unwrap();
    n.run(Command::LeaseGrant { id: -8, ttl: 20 }).unwrap();
    let end = 11_100_000_000;
    assert_eq!(n.store.lease_deadline(), Some(ClusterTime(end)), "one percent after ten seconds");
    let expired = |at, max| -> Vec<i64> {
        n.store.lease_expired(ClusterTime(at), max).iter().map(|(id, _)| *id).collect()
    };
    assert_eq!((expired(end - 1, 9), expired(end, 9)), (vec![], vec![7]));
    assert_eq!((expired(u64::MAX, 9), expired(u64::MAX, 1)), (vec![7, -8], vec![7]));
    let left = |at| n.store.lease_ttl(7, ClusterTime(at)).map(|ttl| (ttl.granted, ttl.remaining));
    let times = [0, 1_000_000_000, 1_000_000_001, end - 1_010_000_000, end - 1, end, u64::MAX];
    assert_eq!(times.map(left), [10, 10, 9, 1, 0, 0, 0].map(|left| Some((10, left))));
    assert!(n.store.lease_ttl(9, ClusterTime(0)).is_none());
}

#[test]
fn a_lease_is_granted_from_the_minimum_to_the_longest_there_is() {
    let mut n = Node::with(Limits { lease_ttl_min: 5, ..Limits::default() });
    let mut grant = |id, ttl| match n.run(Command::LeaseGrant { id, ttl }) {
        Ok(Response::LeaseGrant { ttl, .. }) => Ok(ttl),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error),
    };
    assert_eq!((grant(1, 4), grant(2, 5), grant(3, 6), grant(4, -1)), (Ok(5), Ok(5), Ok(6), Ok(5)));
    assert_eq!(grant(5, 9_000_000_000), Ok(9_000_000_000));
    assert_eq!(grant(6, 9_000_000_001), Err(Error::LeaseTtlTooLarge));
    assert_eq!((grant(0, 9), grant(1, 9)), (Err(Error::LeaseNotFound), Err(Error::LeaseExists)));
}

#[test]
fn leases_and_their_keys_come_in_pages_of_any_length() {
    let mut n = Node::of_quota(0);
    let ids = [i64::MIN, -1, 1, i64::MAX];
    for id in [1, i64::MAX, -1, i64::MIN] {
        n.run(Command::LeaseGrant { id, ttl: 9 }).unwrap();
    }
    let page = |after, max| n.store.leases_page(after, max);
    assert_eq!((page(None, 9), page(None, 2)), (ids.to_vec(), ids[..2].to_vec()));
    assert_eq!((page(Some(-1), 9), page(Some(0), 1)), (ids[2..].to_vec(), vec![1]));
    assert_eq!((page(Some(1), 9), page(Some(i64::MAX), 9)), (vec![i64::MAX], vec![]));
    for (key, lease) in [(b'c', 1), (b'a', 1), (b'b', 1), (b'd', -1), (b'c', -1)] {
        n.run(Command::Put(PutRequest { lease, ..put(key, KEY_BYTES) })).unwrap();
    }
    let page = |id, after: Option<&Blob>, max| -> Vec<u8> {
        n.store.lease_keys_page(id, after, max).iter().map(|key| key[0]).collect()
    };
    let (a, b) = (Blob::from(&b"a"[..]), Blob::from(&b"aa"[..]));
    assert_eq!((page(1, None, 9), page(1, None, 1)), (b"ab".to_vec(), b"a".to_vec()));
    assert_eq!((page(1, Some(&a), 9), page(1, Some(&b), 9)), (b"b".to_vec(), b"b".to_vec()));
    assert_eq!((page(-1, None, 9), page(2, None, 9)), (b"cd".to_vec(), vec![]), "c went over");
}

#[test]
fn each_list_of_a_transaction_is_bounded_and_so_is_its_depth() {
    let check = |max_txn_ops, txn| {
        let n = Node::with(Limits { max_txn_ops, ..Limits::default() });
        n.store.validate(&Command::Txn(txn))
    };
    let puts = |n: u8| -> Vec<RequestOp> {
        (0..n).map(|key| RequestOp::Put(put(b'a' + key, KEY_BYTES))).collect()
    };
    let compares = |key: &[u8], n| {
        let (key, range_end, op) = (Blob::from(key), Blob::default(), CompareOp::Equal);
        let compare = Compare { key, range_end, op, target: CompareTarget::Version(0) };
        TxnRequest { compare: vec![compare; n], ..TxnRequest::default() }
    };
    let too_many = Err(Error::TooManyOps);
    assert_eq!((check(3, txn(puts(3), puts(3))), check(3, compares(b"k", 3))), (Ok(()), Ok(())));
    assert_eq!(check(3, txn(puts(4), vec![])), too_many);
    assert_eq!(check(3, txn(vec![], puts(4))), too_many);
    assert_eq!(check(3, compares(b"k", 4)), too_many);
    assert_eq!(check(3, compares(b"", 1)), Err(Error::EmptyKey));
    let nest = |depth: u64| {
        (1..depth).fold(txn(vec![], vec![]), |inner, _| txn(vec![RequestOp::Txn(inner)], vec![]))
    };
    assert_eq!((check(9999, nest(128)), check(9999, nest(129))), (Ok(()), too_many));
    // Three levels of one operation each, and a fourth that has none left.
    assert_eq!((check(3, nest(4)), check(2, nest(4))), (Ok(()), too_many));
}

#[test]
fn a_put_and_each_operation_of_a_transaction_names_a_key() {
    let n = Node::of_quota(0);
    let empty = [
        RequestOp::Put(PutRequest::default()),
        RequestOp::Delete(DeleteRequest::default()),
        RequestOp::Range(RangeRequest::default()),
    ];
    for op in empty {
        for txn in [txn(vec![op.clone()], vec![]), txn(vec![], vec![op.clone()])] {
            assert_eq!(n.store.validate(&Command::Txn(txn)), Err(Error::EmptyKey));
        }
        assert_eq!(n.store.read(&RangeRequest::default()), Err(Error::EmptyKey));
        match op {
            RequestOp::Put(put) => {
                assert_eq!(n.store.validate(&Command::Put(put)), Err(Error::EmptyKey))
            }
            RequestOp::Delete(delete) => {
                assert_eq!(n.store.validate(&Command::Delete(delete)), Err(Error::EmptyKey));
            }
            _ => {}
        }
    }
    let keeps_lease = PutRequest { ignore_lease: true, ..put(b'k', KEY_BYTES) };
    assert_eq!(n.store.validate(&Command::Put(keeps_lease.clone())), Ok(()));
    let both = PutRequest { lease: 7, ..keeps_lease };
    assert_eq!(n.store.validate(&Command::Put(both)), Err(Error::LeaseProvided));
}

#[test]
fn refusals_are_told_in_the_words_of_etcd() {
    let told = [Error::Compacted, Error::NoSpace, Error::LeaseNotFound].map(|e| e.to_string());
    assert_eq!(
        told,
        [
            "mvcc: required revision has been compacted",
            "mvcc: database space exceeded",
            "requested lease not found",
        ]
    );
}

#[test]
fn a_transaction_answers_with_as_much_as_can_be_sent_and_not_a_byte_more() {
    let each = usize::try_from(TXN_ANSWER_BYTES_MAX / 64).unwrap();
    assert_eq!(each as u64 * 64, TXN_ANSWER_BYTES_MAX);
    let read = |key: u8, end: u8| {
        let (key, range_end) = (Blob::from(&[key][..]), Blob::from(&[end][..]));
        RequestOp::Range(RangeRequest { key, range_end, ..RangeRequest::default() })
    };
    for (last, fits) in [(each, true), (each + 1, false)] {
        let mut n = Node::of_quota(0);
        n.put(b'a', each).unwrap();
        n.put(b'b', last).unwrap();
        // 62 times the first one, and then both at once.
        let mut ops = vec![read(b'a', b'b'); 62];
        ops.push(read(b'a', b'c'));
        let only_reads = n.store.view().read_txn(&txn(ops.clone(), vec![]), 128);
        assert_eq!(only_reads.err(), (!fits).then_some(Error::TooManyOps));
        ops.push(RequestOp::Put(put(b'c', KEY_BYTES)));
        assert_eq!(n.run(Command::Txn(txn(ops, vec![]))).is_ok(), fits);
        assert_eq!(n.store.revision(), 3 + i64::from(fits), "all of it or nothing");
    }
}
