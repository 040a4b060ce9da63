//! Transactions, nested ones too.

use super::*;
use etcd_client::{Compare, CompareOp, DeleteOptions, PutOptions, Txn, TxnOp, TxnOpResponse};

fn put(key: &str, value: &str) -> TxnOp {
    TxnOp::put(key, value, None)
}

fn get(key: &str) -> TxnOp {
    TxnOp::get(key, Some(GetOptions::new().with_prefix()))
}

/// An answer on one line: what each operation says, nested ones in brackets.
fn told(responses: &[TxnOpResponse]) -> String {
    let one = |response: &TxnOpResponse| match response {
        TxnOpResponse::Put(put) => match put.prev_key() {
            Some(kv) => format!("put after {}", pairs(std::slice::from_ref(kv)).concat()),
            None => "put".to_owned(),
        },
        TxnOpResponse::Get(get) => format!("get {}", pairs(get.kvs()).join(" ")),
        TxnOpResponse::Delete(delete) => format!("deleted {}", delete.deleted()),
        TxnOpResponse::Txn(txn) => {
            format!("{}[{}]", txn.succeeded(), told(&txn.op_responses()))
        }
    };
    responses.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[test]
fn operations_run_in_order_in_one_revision_and_see_each_other() {
    run(async {
        let cluster = Cluster::shared();
        let mut client = client(&cluster).await;
        client.put("rtxn/a", "old", None).await.unwrap();
        let previous = Some(PutOptions::new().with_prev_key());
        let delete = TxnOp::delete("rtxn/a", Some(DeleteOptions::new().with_prev_key()));
        let txn = Txn::new().and_then([
            get("rtxn/"),
            delete,
            put("rtxn/b", "1"),
            get("rtxn/"),
            TxnOp::put("rtxn/c", "2", previous),
            get("rtxn/"),
        ]);
        let answer = client.txn(txn).await.unwrap();
        assert!(answer.succeeded(), "no compare is true");
        let expected = "get rtxn/a=old, deleted 1, put, get rtxn/b=1, put, \
                        get rtxn/b=1 rtxn/c=2";
        assert_eq!(told(&answer.op_responses()), expected);
        let made = revision(answer.header());
        let after = client.get("rtxn/", Some(GetOptions::new().with_prefix())).await.unwrap();
        assert!(after.kvs().iter().all(|kv| kv.mod_revision() == made), "{after:?}");
        let old = GetOptions::new().with_prefix().with_revision(made - 1);
        let before = client.get("rtxn/", Some(old)).await.unwrap();
        assert_eq!(pairs(before.kvs()), ["rtxn/a=old"], "one revision, before and after");
        // Headers inside carry nothing but the revision.
        for response in answer.op_responses() {
            if let TxnOpResponse::Put(put) = response {
                let header = put.header().expect("a header");
                assert_eq!((header.revision(), header.cluster_id()), (made, 0));
                assert_eq!((header.member_id(), header.raft_term()), (0, 0));
            }
        }
    });
}

#[test]
fn every_compare_answers_as_etcds_does() {
    run(async {
        use CompareOp::{Equal, Greater, Less, NotEqual};
        let cluster = Cluster::shared();
        let mut client = client(&cluster).await;
        let created = revision(client.put("rcmp/a", "m", None).await.unwrap().header());
        let lease = client.lease_grant(600, None).await.unwrap().id();
        let leased = Some(PutOptions::new().with_lease(lease));
        let changed = revision(client.put("rcmp/a", "m", leased).await.unwrap().header());
        client.put("rcmp/b", "n", None).await.unwrap();
        let mut holds = async |compare: Compare| {
            client.txn(Txn::new().when([compare])).await.expect("a txn").succeeded()
        };
        for (op, below, same, above) in [
            (Equal, false, true, false),
            (Greater, true, false, false),
            (Less, false, false, true),
            (NotEqual, true, false, true),
        ] {
            for (by, expected) in [(-1, below), (0, same), (1, above)] {
                let all = [
                    Compare::version("rcmp/a", op, 2 + by),
                    Compare::create_revision("rcmp/a", op, created + by),
                    Compare::mod_revision("rcmp/a", op, changed + by),
                    Compare::lease("rcmp/a", op, lease + by),
                    // A key that is not there has all numbers zero.
                    Compare::version("rcmp/none", op, by),
                    Compare::create_revision("rcmp/none", op, by),
                    Compare::mod_revision("rcmp/none", op, by),
                    Compare::lease("rcmp/none", op, by),
                ];
                for compare in all {
                    assert_eq!(holds(compare.clone()).await, expected, "{compare:?}");
                }
            }
            for (value, expected) in [("l", below), ("m", same), ("n", above)] {
                let compare = Compare::value("rcmp/a", op, value);
                assert_eq!(holds(compare).await, expected, "{op:?} {value}");
                let missing = Compare::value("rcmp/none", op, value);
                assert!(!holds(missing).await, "no value compares with nothing: {op:?} {value}");
            }
        }
        // Over a range every key must satisfy it; over none it holds.
        assert!(holds(Compare::version("rcmp/", Greater, 0).with_prefix()).await);
        assert!(!holds(Compare::version("rcmp/", Greater, 1).with_prefix()).await);
        assert!(holds(Compare::value("rcmp/", Less, "o").with_prefix()).await);
        assert!(!holds(Compare::value("rcmp/", Less, "n").with_range("rcmp/c")).await);
        assert!(!holds(Compare::version("rcmp/x", Greater, 0).with_range("rcmp/z")).await);
    });
}

#[test]
fn nested_transactions_compare_with_the_state_before_all_of_them() {
    run(async {
        let cluster = Cluster::shared();
        let mut client = client(&cluster).await;
        client.put("rnest/a", "1", None).await.unwrap();
        let is = |key: &str, value: &str| Compare::value(key, CompareOp::Equal, value);
        let innermost = Txn::new()
            .when([is("rnest/a", "1")])
            .and_then([put("rnest/d", "4"), get("rnest/")])
            .or_else([get("rnest/none")]);
        let other = Txn::new().when([is("rnest/b", "2")]).and_then([get("rnest/none")]).or_else([
            TxnOp::delete("rnest/a", None),
            put("rnest/c", "3"),
            TxnOp::txn(innermost),
        ]);
        let txn = Txn::new()
            .when([is("rnest/a", "1")])
            .and_then([put("rnest/b", "2"), TxnOp::txn(other), get("rnest/")])
            .or_else([put("rnest/b", "never")]);
        let answer = client.txn(txn).await.unwrap();
        assert!(answer.succeeded());
        // b was put before the nested compare, a deleted before the innermost one: both look back.
        let expected = "put, false[deleted 1, put, true[put, \
                        get rnest/b=2 rnest/c=3 rnest/d=4]], \
                        get rnest/b=2 rnest/c=3 rnest/d=4";
        assert_eq!(told(&answer.op_responses()), expected);
        let made = revision(answer.header());
        let all = client.get("rnest/", Some(GetOptions::new().with_prefix())).await.unwrap();
        assert!(all.kvs().iter().all(|kv| kv.mod_revision() == made), "one revision: {all:?}");
    });
}

#[test]
fn a_refused_transaction_changes_nothing_and_says_why() {
    run(async {
        let cluster = Cluster::shared();
        let mut client = client(&cluster).await;
        let with_lease = || Some(PutOptions::new().with_lease(i64::MAX));
        let at = |revision| Some(GetOptions::new().with_revision(revision));
        let nested = |ops: Vec<TxnOp>| TxnOp::txn(Txn::new().and_then(ops));
        let both = |a: Vec<TxnOp>, b: Vec<TxnOp>| TxnOp::txn(Txn::new().and_then(a).or_else(b));
        let covers = TxnOp::delete("rbad/", Some(DeleteOptions::new().with_prefix()));
        let p = || put("rbad/k", "v");
        let lease = TxnOp::put("rbad/l", "v", with_lease());
        let many = |count: usize| -> Vec<TxnOp> {
            (0..count).map(|n| put(&format!("rbad/{n}"), "v")).collect()
        };
        let many_ops = (INVALID_ARGUMENT, "etcdserver: too many operations in txn request");
        for (ops, expected) in [
            (vec![p(), p()], DUPLICATE),
            (vec![p(), nested(vec![p()])], DUPLICATE),
            (vec![nested(vec![p()]), nested(vec![p()])], DUPLICATE),
            (vec![p(), covers.clone()], DUPLICATE),
            (vec![covers.clone(), nested(vec![p()])], DUPLICATE),
            (vec![p(), lease.clone()], NO_LEASE),
            (vec![p(), nested(vec![lease])], NO_LEASE),
            (vec![p(), TxnOp::get("rbad/k", at(i64::MAX))], FUTURE),
            (vec![p(), TxnOp::put("", "v", None)], EMPTY_KEY),
            (vec![p(), TxnOp::get("", None)], EMPTY_KEY),
            (vec![p(), TxnOp::delete("", None)], EMPTY_KEY),
            (vec![p(), keep_value("rbad/none")], NO_KEY),
            (many(129), many_ops),
            (vec![nested(many(129))], many_ops),
        ] {
            let what = format!("{ops:?}");
            let (code, text) = refusal(client.txn(Txn::new().and_then(ops)).await);
            let what = &what[..what.len().min(300)];
            assert_eq!((code, text.as_str()), expected, "{what}");
        }
        let empty = Txn::new().when([Compare::version("", CompareOp::Equal, 1)]);
        assert_refused(client.txn(empty).await, EMPTY_KEY);
        assert!(below(&mut client, "rbad/").await.is_empty());
        // These are fine: one put in either branch, deletes that overlap, 128 operations.
        let fine = Txn::new().and_then([both(vec![p()], vec![p()])]);
        assert!(client.txn(fine).await.unwrap().succeeded());
        let deletes = Txn::new().and_then([covers.clone(), covers]);
        let answer = client.txn(deletes).await.unwrap();
        assert_eq!(told(&answer.op_responses()), "deleted 1, deleted 0");
        assert!(client.txn(Txn::new().and_then(many(128))).await.unwrap().succeeded());
    });
}

fn keep_value(key: &str) -> TxnOp {
    TxnOp::put(key, "", Some(PutOptions::new().with_ignore_value()))
}

#[test]
fn transactions_that_change_nothing_make_no_revision() {
    run(async {
        let cluster = Cluster::start(1);
        let mut client = client(&cluster).await;
        client.put("k", "1", None).await.unwrap();
        let never = || Compare::version("k", CompareOp::Equal, 7);
        for txn in [
            Txn::new(),
            Txn::new().and_then([TxnOp::get("k", None)]),
            Txn::new().and_then([TxnOp::delete("none", None)]),
            Txn::new().and_then([TxnOp::txn(Txn::new().and_then([TxnOp::get("k", None)]))]),
            Txn::new().when([never()]).and_then([put("k", "2")]),
        ] {
            let answer = client.txn(txn.clone()).await.unwrap();
            assert_eq!(revision(answer.header()), 2, "{txn:?}");
        }
        let changed = client.txn(Txn::new().and_then([put("k", "2"), put("l", "2")])).await;
        assert_eq!(revision(changed.unwrap().header()), 3);
        // Reads of the past inside a transaction.
        let old = TxnOp::get("k", Some(GetOptions::new().with_revision(2)));
        let answer = client.txn(Txn::new().and_then([old.clone(), put("k", "3")])).await.unwrap();
        assert_eq!(told(&answer.op_responses()), "get k=1, put");
        client.compact(4, None).await.unwrap();
        assert_refused(client.txn(Txn::new().and_then([old.clone()])).await, COMPACTED);
        assert_refused(client.txn(Txn::new().and_then([put("k", "4"), old])).await, COMPACTED);
        assert_eq!(pairs(client.get("k", None).await.unwrap().kvs()), ["k=3"]);
    });
}

#[test]
fn compare_and_swap_admits_one_of_many_through_all_members() {
    run(async {
        let cluster = Cluster::shared();
        let mut tasks = Vec::new();
        for n in 0..12 {
            let mut client = client_at(&cluster, n % 3).await;
            tasks.push(async move {
                let free = Compare::create_revision("rcas/k", CompareOp::Equal, 0);
                let mine = put("rcas/k", &n.to_string());
                let txn = Txn::new().when([free]).and_then([mine]).or_else([get("rcas/k")]);
                let answer = client.txn(txn).await.expect("a txn");
                (n, answer.succeeded(), told(&answer.op_responses()))
            });
        }
        let local = tokio::task::LocalSet::new();
        let handles: Vec<_> = tasks.into_iter().map(|task| local.spawn_local(task)).collect();
        let done = async {
            let mut all = Vec::new();
            for handle in handles {
                all.push(handle.await.expect("no panic"));
            }
            all
        };
        let all = within("all swaps", local.run_until(done)).await;
        let winners: Vec<_> = all.iter().filter(|(_, won, _)| *won).collect();
        assert_eq!(winners.len(), 1, "{all:?}");
        let seen = format!("get rcas/k={}", winners[0].0);
        assert!(all.iter().all(|(_, won, told)| *won || *told == seen), "{all:?}");
    });
}
