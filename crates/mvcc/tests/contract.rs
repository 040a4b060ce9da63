//! One sentence per trap of etcd's contract.

#[path = "words/requests.rs"]
mod requests;

use base::codec::Get;
use base::{ClusterTime, LogIndex};
use mvcc::{
    AlarmAction, AlarmKind, Command, Compare, CompareOp, CompareTarget, Error, EventKind, KeyRange,
    Limits, PutRequest, RangeRequest, RangeResponse, RequestOp, Response, ResponseOp, SortOrder,
    SortTarget, Store, TxnRequest,
};
use requests::{b, delete, put};

fn all() -> RangeRequest {
    RangeRequest { key: b("\0"), range_end: b("\0"), ..RangeRequest::default() }
}

fn keys(response: &RangeResponse) -> Vec<&str> {
    response.kvs.iter().map(|kv| std::str::from_utf8(&kv.key).unwrap()).collect()
}

fn compare(key: &str, op: CompareOp, target: CompareTarget) -> Compare {
    Compare { key: b(key), range_end: b(""), op, target }
}

struct Node {
    store: Store,
    index: u64,
    now: u64,
}

impl Node {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        Self { store: Store::new(limits), index: 0, now: 0 }
    }

    fn run(&mut self, command: Command) -> Result<Response, Error> {
        self.index += 1;
        let mut bytes = Vec::new();
        command.encode(&mut bytes);
        let mut input = Get::new(&bytes);
        assert_eq!(Command::decode(&mut input).unwrap(), command);
        input.finish().unwrap();
        let applied = self.store.apply(LogIndex(self.index), ClusterTime(self.now), &command);
        let (mut bytes, result) = (Vec::new(), applied.result);
        match &result {
            Ok(response) => {
                response.encode(&mut bytes);
                assert_eq!(Response::decode(&mut Get::new(&bytes)).as_ref(), Ok(response));
            }
            Err(error) => {
                error.encode(&mut bytes);
                assert_eq!(Error::decode(&mut Get::new(&bytes)), Ok(*error));
            }
        }
        result
    }

    fn put(&mut self, key: &str, value: &str) {
        self.run(Command::Put(put(key, value))).unwrap();
    }

    fn txn(&mut self, compare: Vec<Compare>, success: Vec<RequestOp>) -> Result<Response, Error> {
        self.run(Command::Txn(TxnRequest { compare, success, failure: vec![] }))
    }

    fn succeeded(&mut self, compare: Compare) -> bool {
        let Ok(Response::Txn(answer)) = self.txn(vec![compare], vec![]) else { panic!() };
        answer.succeeded
    }

    fn grant(&mut self, id: i64, ttl: i64) {
        self.run(Command::LeaseGrant { id, ttl }).unwrap();
    }
}

#[test]
fn revision_is_one_when_fresh_and_a_txn_makes_one_and_nothing_makes_none() {
    let mut n = Node::new();
    assert_eq!(n.store.revision(), 1);
    n.txn(vec![], vec![RequestOp::Put(put("a", "")), RequestOp::Put(put("b", ""))]).unwrap();
    assert_eq!(n.store.revision(), 2);
    n.run(Command::Delete(delete("x", ""))).unwrap();
    n.txn(vec![], vec![]).unwrap();
    assert_eq!(n.store.revision(), 2);
}

#[test]
fn a_value_compare_on_a_missing_key_is_false_even_for_not_equal() {
    let mut n = Node::new();
    assert!(!n.succeeded(compare("k", CompareOp::NotEqual, CompareTarget::Value(b("v")))));
    assert!(n.succeeded(compare("k", CompareOp::Equal, CompareTarget::Version(0))));
    assert!(n.succeeded(compare("k", CompareOp::NotEqual, CompareTarget::Create(7))));
}

#[test]
fn nested_compares_see_the_state_before_the_txn_and_ranges_see_its_writes() {
    let mut n = Node::new();
    let nested = TxnRequest {
        compare: vec![compare("k", CompareOp::Equal, CompareTarget::Create(0))],
        success: vec![RequestOp::Range(RangeRequest { key: b("k"), ..RangeRequest::default() })],
        failure: vec![],
    };
    let ops = vec![RequestOp::Put(put("k", "v")), RequestOp::Txn(nested)];
    let Ok(Response::Txn(answer)) = n.txn(vec![], ops) else { panic!() };
    let ResponseOp::Txn(inner) = &answer.responses[1] else { panic!() };
    assert!(inner.succeeded);
    assert_eq!(inner.revision, 0);
    let ResponseOp::Range(range) = &inner.responses[0] else { panic!() };
    assert_eq!((keys(range), range.count, range.revision), (vec!["k"], 1, 2));
}

#[test]
fn a_range_in_a_txn_at_the_old_revision_still_sees_what_the_txn_deleted() {
    let mut n = Node::new();
    n.put("k", "v");
    let old = RangeRequest { revision: 2, ..all() };
    let ops = vec![
        RequestOp::Txn(TxnRequest {
            success: vec![RequestOp::Delete(delete("k", ""))],
            ..TxnRequest::default()
        }),
        RequestOp::Range(old),
        RequestOp::Range(all()),
    ];
    let Ok(Response::Txn(answer)) = n.txn(vec![], ops) else { panic!() };
    let ResponseOp::Range(before) = &answer.responses[1] else { panic!() };
    let ResponseOp::Range(after) = &answer.responses[2] else { panic!() };
    assert_eq!((keys(before), before.count), (vec!["k"], 1));
    assert_eq!((after.count, after.revision), (0, 3));
}

#[test]
fn limit_comes_before_a_sort_without_order_and_after_one_with_order() {
    let mut n = Node::new();
    for (key, value) in [("a", "3"), ("b", "2"), ("c", "9"), ("d", "1")] {
        n.put(key, value);
    }
    let by_value = RangeRequest { sort_target: SortTarget::Value, limit: 2, ..all() };
    let answer = n.store.read(&by_value).unwrap();
    assert_eq!((keys(&answer), answer.more, answer.count), (vec!["b", "a"], true, 4));
    let ascend = RangeRequest { sort_order: SortOrder::Ascend, ..by_value.clone() };
    assert_eq!(keys(&n.store.read(&ascend).unwrap()), ["d", "b"]);
    let descend = RangeRequest { sort_order: SortOrder::Descend, ..by_value };
    assert_eq!(keys(&n.store.read(&descend).unwrap()), ["c", "a"]);
}

#[test]
fn revision_filters_come_before_the_limit_and_do_not_change_the_count() {
    let mut n = Node::new();
    for key in ["a", "b", "c", "d"] {
        n.put(key, "");
    }
    let r = RangeRequest { min_mod_revision: 3, max_create_revision: 4, limit: 2, ..all() };
    let answer = n.store.read(&r).unwrap();
    assert_eq!((keys(&answer), answer.more, answer.count), (vec!["b", "c"], false, 4));
}

#[test]
fn keys_only_drops_the_lease_unless_sorted_by_value() {
    let mut n = Node::new();
    n.grant(7, 60);
    n.run(Command::Put(PutRequest { lease: 7, ..put("k", "v") })).unwrap();
    let r = RangeRequest { keys_only: true, ..all() };
    assert_eq!(n.store.read(&r).unwrap().kvs[0].lease, 0);
    assert_eq!(n.store.range(&r), n.store.read(&r), "one by two names");
    let r = RangeRequest { sort_target: SortTarget::Value, ..r };
    let answer = n.store.read(&r).unwrap();
    assert_eq!((answer.kvs[0].lease, &*answer.kvs[0].value), (7, b"".as_slice()));
}

#[test]
fn a_negative_revision_is_latest_alone_and_compacted_in_a_txn() {
    let mut n = Node::new();
    n.put("k", "v");
    n.run(Command::Compact { revision: 2 }).unwrap();
    let r = RangeRequest { revision: -1, ..all() };
    assert_eq!(n.store.read(&r).unwrap().count, 1);
    let ops = vec![RequestOp::Put(put("x", "")), RequestOp::Range(r)];
    assert_eq!(n.txn(vec![], ops), Err(Error::Compacted));
    assert_eq!(n.store.revision(), 2);
}

#[test]
fn a_missing_lease_fails_the_whole_txn_before_any_write() {
    let mut n = Node::new();
    let bad = PutRequest { lease: 9, ..put("b", "") };
    let ops = vec![RequestOp::Put(put("a", "")), RequestOp::Put(bad)];
    assert_eq!(n.txn(vec![], ops), Err(Error::LeaseNotFound));
    assert_eq!((n.store.revision(), n.store.read(&all()).unwrap().count), (1, 0));
}

#[test]
fn a_key_put_twice_or_under_a_delete_is_a_duplicate_but_branches_and_deletes_are_not() {
    let n = Node::new();
    let txn = |success| Command::Txn(TxnRequest { success, ..TxnRequest::default() });
    let p = || RequestOp::Put(put("k", ""));
    let d = || RequestOp::Delete(delete("a", "z"));
    let nest =
        |success, failure| RequestOp::Txn(TxnRequest { success, failure, ..TxnRequest::default() });
    let duplicate = Err(Error::DuplicateKey);
    assert_eq!(n.store.validate(&txn(vec![p(), p()])), duplicate);
    assert_eq!(n.store.validate(&txn(vec![p(), d()])), duplicate);
    assert_eq!(n.store.validate(&txn(vec![nest(vec![p()], vec![]), d()])), duplicate);
    assert_eq!(n.store.validate(&txn(vec![nest(vec![d()], vec![]), p()])), duplicate);
    assert_eq!(n.store.validate(&txn(vec![nest(vec![p()], vec![p()])])), Ok(()));
    assert_eq!(n.store.validate(&txn(vec![nest(vec![p()], vec![p()]), p()])), duplicate);
    assert_eq!(n.store.validate(&txn(vec![d(), d()])), Ok(()));
}

#[test]
fn nested_levels_share_what_is_left_of_the_operations() {
    let n = Node::with(Limits { max_txn_ops: 3, ..Limits::default() });
    let puts = |names: &[&str]| names.iter().map(|k| RequestOp::Put(put(k, ""))).collect();
    let nest = |success| RequestOp::Txn(TxnRequest { success, ..TxnRequest::default() });
    let txn = |op| Command::Txn(TxnRequest { success: vec![op], ..TxnRequest::default() });
    assert_eq!(n.store.validate(&txn(nest(puts(&["a", "b"])))), Ok(()));
    let over = n.store.validate(&txn(nest(puts(&["a", "b", "c"]))));
    assert_eq!(over, Err(Error::TooManyOps));
}

#[test]
fn put_checks_what_it_is_told_to_keep() {
    let mut n = Node::new();
    let keep = PutRequest { ignore_value: true, ..put("k", "") };
    assert_eq!(n.run(Command::Put(keep.clone())), Err(Error::KeyNotFound));
    let given = PutRequest { ignore_value: true, ..put("k", "v") };
    assert_eq!(n.run(Command::Put(given)), Err(Error::ValueProvided));
    n.put("k", "v");
    n.run(Command::Put(keep)).unwrap();
    let kv = n.store.read(&all()).unwrap().kvs.remove(0);
    assert_eq!((&*kv.value, kv.version, kv.create_revision), (b"v".as_slice(), 2, 2));
}

#[test]
fn revoke_deletes_attached_keys_in_sorted_order_in_one_revision() {
    let mut n = Node::new();
    n.grant(7, 1);
    for key in ["c", "a", "b"] {
        n.run(Command::Put(PutRequest { lease: 7, ..put(key, "") })).unwrap();
    }
    n.put("b", "detached");
    n.run(Command::LeaseRevoke { id: 7, renewal: None }).unwrap();
    let range = KeyRange::new(b("a"), b("z"));
    let changes = n.store.history(6, &range, 9).unwrap();
    let gone: Vec<_> = changes[0].events.iter().map(|e| (e.kind, &*e.kv.key)).collect();
    assert_eq!(gone, [(EventKind::Delete, b"a".as_slice()), (EventKind::Delete, b"c")]);
    assert_eq!(n.store.revision(), 6);
    let again = n.run(Command::LeaseRevoke { id: 7, renewal: None });
    assert_eq!(again, Err(Error::LeaseNotFound));
}

#[test]
fn an_expiry_is_dropped_by_a_later_renewal_and_by_a_lease_granted_again() {
    let mut n = Node::new();
    n.grant(7, 10);
    assert_eq!(n.store.lease_ttl(7, ClusterTime(0)).unwrap().remaining, 10);
    n.now = 10_050_000_000;
    assert!(n.store.lease_expired(ClusterTime(n.now), 9).is_empty(), "never early");
    let seen = n.store.lease_expired(ClusterTime(10_100_000_000), 9);
    assert_eq!(seen.len(), 1);
    let expire = Command::LeaseRevoke { id: 7, renewal: Some(seen[0].1) };
    n.run(Command::LeaseRenew { ids: vec![7, 8] }).unwrap();
    assert_eq!(n.run(expire.clone()), Err(Error::LeaseRenewed));
    n.run(Command::LeaseRevoke { id: 7, renewal: None }).unwrap();
    n.grant(7, 10);
    assert_eq!(n.run(expire), Err(Error::LeaseRenewed));
}

#[test]
fn a_full_store_refuses_without_applying_and_recovers_by_compaction_alone() {
    let mut n = Node::with(Limits { quota_bytes: 1000, ..Limits::default() });
    n.put("k", "1");
    n.put("k", "2");
    n.put("k", "3");
    assert_eq!(n.store.alarm_ends(), None);
    assert_eq!(n.run(Command::Put(put("k", "4"))), Err(Error::NoSpace));
    assert_eq!((n.store.revision(), n.store.alarms().len()), (4, 1));
    assert_eq!(n.store.alarm_ends(), None, "time alone makes no room");
    assert_eq!(n.run(Command::LeaseGrant { id: 1, ttl: 9 }), Err(Error::NoSpace));
    n.run(Command::Compact { revision: 4 }).unwrap();
    assert_eq!(n.store.alarms().len(), 1, "who disarms it after compacting finds it");
    n.put("k", "4");
    assert_eq!(n.store.alarm_ends(), Some(ClusterTime(30_000_000_000)));
    n.now += 29_000_000_000;
    n.run(Command::LeaseRenew { ids: vec![] }).unwrap();
    assert_eq!(n.store.alarms().len(), 1);
    let restored = Store::restore(n.store.limits(), n.store.checkpoint_records()).unwrap();
    assert_eq!(restored.alarm_ends(), n.store.alarm_ends());
    assert_eq!(restored.content_hash(), n.store.content_hash());
    n.now += 1_000_000_000;
    n.run(Command::LeaseRenew { ids: vec![] }).unwrap();
    assert!(n.store.alarms().is_empty());
}

#[test]
fn the_quotas_alarm_is_ended_by_disarming_it_and_raised_again_when_it_is_full_again() {
    let mut n = Node::with(Limits { quota_bytes: 1000, ..Limits::default() });
    let own = (0, AlarmKind::NoSpace);
    let alarm = |action| Command::Alarm { action, member: 0, kind: AlarmKind::NoSpace };
    for key in ["a", "b", "c"] {
        n.put(key, "");
    }
    for _ in 0..2 {
        assert_eq!(n.run(Command::Put(put("d", ""))), Err(Error::NoSpace));
        assert_eq!(n.store.alarms(), [own]);
        let disarmed = n.run(alarm(AlarmAction::Deactivate)).unwrap();
        assert_eq!(disarmed, Response::Alarm { alarms: vec![own] });
        assert!(n.store.alarms().is_empty());
    }
    assert_eq!(n.run(Command::Put(put("d", ""))), Err(Error::NoSpace));
    n.run(Command::Delete(delete("a", ""))).unwrap();
    n.run(Command::Delete(delete("b", ""))).unwrap();
    n.run(Command::Compact { revision: 6 }).unwrap();
    n.now += 1_000_000_000;
    n.put("d", "");
    assert_eq!(n.store.alarms(), [own], "listed, and puts are taken");
    assert_eq!(n.run(Command::Put(put("f", ""))), Err(Error::NoSpace));
    n.now += 60_000_000_000;
    assert_eq!(n.run(Command::Put(put("f", ""))), Err(Error::NoSpace), "full it stays");
    let disarmed = n.run(alarm(AlarmAction::Deactivate)).unwrap();
    assert_eq!(disarmed, Response::Alarm { alarms: vec![own] });
}

#[test]
fn an_alarm_that_a_client_raises_stays_until_it_is_disarmed() {
    for member in [0, 7] {
        let mut n = Node::new();
        let this = (member, AlarmKind::NoSpace);
        let alarm = |action| Command::Alarm { action, member, kind: AlarmKind::NoSpace };
        n.run(alarm(AlarmAction::Activate)).unwrap();
        n.now += 60_000_000_000;
        assert_eq!(n.run(Command::Put(put("k", ""))), Err(Error::NoSpace));
        assert_eq!(n.store.alarms(), [this]);
        let restored = Store::restore(n.store.limits(), n.store.checkpoint_records()).unwrap();
        assert_eq!(restored.alarms(), [this]);
        let disarmed = n.run(alarm(AlarmAction::Deactivate)).unwrap();
        assert_eq!(disarmed, Response::Alarm { alarms: vec![this] });
        n.put("k", "");
    }
}

#[test]
fn a_corrupt_alarm_refuses_writes_until_disarmed() {
    let mut n = Node::new();
    let alarm = |action| Command::Alarm { action, member: 5, kind: AlarmKind::Corrupt };
    n.run(alarm(AlarmAction::Activate)).unwrap();
    assert_eq!(n.run(Command::Put(put("k", ""))), Err(Error::Corrupt));
    n.run(alarm(AlarmAction::Deactivate)).unwrap();
    n.put("k", "");
}

#[test]
fn compaction_keeps_the_newest_version_and_drops_tombstones() {
    let mut n = Node::new();
    n.put("a", "1");
    n.put("a", "2");
    n.put("b", "1");
    n.run(Command::Delete(delete("b", ""))).unwrap();
    n.run(Command::Compact { revision: 5 }).unwrap();
    assert_eq!(n.run(Command::Compact { revision: 5 }), Err(Error::Compacted));
    assert_eq!(n.run(Command::Compact { revision: 6 }), Err(Error::FutureRevision));
    let at = |revision| RangeRequest { revision, ..all() };
    assert_eq!(n.store.read(&at(4)), Err(Error::Compacted));
    assert_eq!(keys(&n.store.read(&at(5)).unwrap()), ["a"]);
    let range = KeyRange::new(b("\0"), b("\0"));
    assert_eq!(n.store.history(4, &range, 9), Err(Error::Compacted));
    let last = n.store.history(5, &range, 9).unwrap().remove(0);
    assert!(n.store.before(&last.events[0]).is_none());
    n.put("a", "3");
    n.run(Command::Compact { revision: 6 }).unwrap();
}

#[test]
fn hash_kv_is_the_checksum_of_the_rows_etcd_stores() {
    let mut n = Node::new();
    n.put("k", "v");
    n.run(Command::Delete(delete("k", ""))).unwrap();
    let mut bytes = b"key".to_vec();
    bytes.extend(b"\0\0\0\0\0\0\0\x02_\0\0\0\0\0\0\0\0");
    bytes.extend(b"\x0a\x01k\x10\x02\x18\x02\x20\x01\x2a\x01v");
    let first = base::crc::crc32c(&bytes);
    assert_eq!(n.store.hash_kv(2).unwrap().hash, first);
    bytes.extend(b"\0\0\0\0\0\0\0\x03_\0\0\0\0\0\0\0\0t");
    bytes.extend(b"\x0a\x01k");
    assert_eq!(n.store.hash_kv(0).unwrap().hash, base::crc::crc32c(&bytes));
    assert_eq!(n.store.hash_kv(0).unwrap().compact_revision, -1);
}

#[test]
fn hash_kv_of_a_negative_revision_is_that_of_nothing() {
    let mut n = Node::new();
    n.put("k", "v");
    let hash = n.store.hash_kv(-1).unwrap();
    assert_eq!((hash.hash, hash.hash_revision), (base::crc::crc32c(b"key"), -1));
}

#[test]
fn of_an_unknown_lease_and_a_missing_key_the_lease_is_told() {
    let mut n = Node::new();
    let faulty = PutRequest { ignore_value: true, lease: 9, ..put("k", "") };
    assert_eq!(n.run(Command::Put(faulty.clone())), Err(Error::LeaseNotFound));
    assert_eq!(n.txn(Vec::new(), vec![RequestOp::Put(faulty)]), Err(Error::LeaseNotFound));
}

#[test]
fn a_checkpoint_with_one_bit_wrong_is_refused() {
    let mut n = Node::new();
    n.grant(7, 60);
    n.run(Command::Put(PutRequest { lease: 7, ..put("k", "v") })).unwrap();
    n.put("k", "w");
    let records = n.store.view().checkpoint_records().collect::<Vec<_>>();
    let restored = Store::restore(Limits::default(), records.clone()).unwrap();
    assert_eq!(restored.chain_hash(), n.store.chain_hash());
    assert_eq!(restored.leases_page(None, usize::MAX), [7]);
    for at in 1..records.len() {
        for byte in 0..records[at].len() {
            let mut bad = records.clone();
            bad[at][byte] ^= 4;
            assert!(Store::restore(Limits::default(), bad).is_err(), "{at} {byte}");
        }
    }
}

#[test]
fn a_read_only_txn_answers_without_the_log() {
    let mut n = Node::new();
    n.put("k", "v");
    let read = TxnRequest { success: vec![RequestOp::Range(all())], ..TxnRequest::default() };
    let view = n.store.view();
    assert_eq!(view.read_txn(&read, 128).unwrap().revision, 2);
    let write = TxnRequest { failure: vec![RequestOp::Put(put("k", ""))], ..TxnRequest::default() };
    assert_eq!(view.read_txn(&write, 128), Err(Error::NotReadOnly));
}

#[test]
fn a_transaction_that_reads_more_than_anybody_can_be_sent_is_refused_and_changes_nothing() {
    let mut node = Node::new();
    let large = "x".repeat(1 << 20);
    node.run(Command::Put(put("k", &large))).unwrap();
    let reads = |outer: usize, inner: usize, key: &str| {
        let range = RequestOp::Range(RangeRequest { key: b(key), ..RangeRequest::default() });
        let nested = TxnRequest { success: vec![range; inner], ..TxnRequest::default() };
        vec![RequestOp::Txn(nested); outer]
    };
    let txn = |success| TxnRequest { success, ..TxnRequest::default() };
    let (index, seen) = (node.store.applied_index(), node.store.content_hash());
    // Of what was there, and of what the transaction writes itself.
    for (first, key) in [(put("small", "1"), "k"), (put("own", &large), "own")] {
        let mut ops = vec![RequestOp::Put(first)];
        ops.extend(reads(100, 11, key));
        assert_eq!(node.run(Command::Txn(txn(ops))), Err(Error::TooManyOps), "{key}");
        assert_eq!(node.store.content_hash(), seen);
        assert_eq!(node.store.read(&all()).unwrap().count, 1);
    }
    assert_eq!(node.store.applied_index(), LogIndex(index.0 + 2));
    // Many reads of little are nobody's business.
    let mut ops = vec![RequestOp::Put(put("small", "1"))];
    ops.extend(reads(100, 20, "small"));
    assert!(node.run(Command::Txn(txn(ops))).is_ok());
    assert_eq!(node.store.read(&all()).unwrap().count, 2);
    // The same of one that only reads, and so has few of them.
    (0..9).for_each(|n| node.put(&format!("k{n}"), &large));
    let flat = |count| txn(vec![RequestOp::Range(all()); count]);
    let (view, ops_max) = (node.store.view(), node.store.limits().max_txn_ops);
    assert_eq!(view.read_txn(&flat(110), ops_max).unwrap_err(), Error::TooManyOps);
    assert!(view.read_txn(&flat(100), ops_max).is_ok());
}
