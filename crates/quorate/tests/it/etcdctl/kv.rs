//! put, get, del, txn, compaction.

use super::Ctl;
use crate::member::Cluster;

#[test]
fn put_and_its_options_answer_as_etcds_do() {
    let cluster = Cluster::shared();
    let ctl = Ctl::new(&cluster);
    assert_eq!(ctl.ok(&["put", "put/a", "one"]), "OK\n");
    assert_eq!(ctl.ok(&["put", "put/a", "two", "--prev-kv"]), "OK\nput/a\none\n");
    assert_eq!(ctl.ok(&["put", "put/a", "--ignore-value", "--prev-kv"]), "OK\nput/a\ntwo\n");
    assert_eq!(ctl.ok(&["get", "put/a"]), "put/a\ntwo\n");
    assert_eq!(ctl.ok(&["put", "put/a", "three", "--ignore-lease"]), "OK\n");
    let kv = &ctl.json(&["get", "put/a"])["kvs"][0];
    assert_eq!(kv["version"], 4, "{kv}");
    assert_eq!(kv["value"], "dGhyZWU=", "{kv}");
    assert_eq!(ctl.ok_with_input(&["put", "put/in"], "from\nstdin"), "OK\n");
    assert_eq!(ctl.ok(&["get", "put/in"]), "put/in\nfrom\nstdin\n");
    assert_eq!(ctl.ok(&["put", "--", "put/dash", "-x"]), "OK\n");
    assert_eq!(ctl.ok(&["put", "put/empty", ""]), "OK\n");
    let all = "put/a\nthree\nput/dash\n-x\nput/empty\n\nput/in\nfrom\nstdin\n";
    assert_eq!(ctl.ok(&["get", "--prefix", "put/"]), all);
}

#[test]
fn refused_puts_have_etcds_texts() {
    let cluster = Cluster::shared();
    let ctl = Ctl::new(&cluster);
    let missing = "Error: etcdserver: key not found";
    assert_eq!(ctl.error(&["put", "refused/none", "--ignore-value"]), missing);
    assert_eq!(ctl.error(&["put", "refused/none", "x", "--ignore-lease"]), missing);
    assert_eq!(ctl.error(&["put", "", "v"]), "Error: etcdserver: key is not provided");
    let both = ["put", "refused/a", "x", "--ignore-lease", "--lease", "1"];
    assert_eq!(ctl.error(&both), "Error: etcdserver: lease is provided");
    let lease = ["put", "refused/a", "x", "--lease", "1"];
    assert_eq!(ctl.error(&lease), "Error: etcdserver: requested lease not found");
    let long = "x".repeat(3 * 512 * 1024);
    let refused = ctl.error_with_input(&["put", "refused/long"], &long);
    assert_eq!(refused, "Error: etcdserver: request is too large");
    assert_eq!(ctl.ok(&["get", "--prefix", "refused/"]), "");
}

#[test]
fn get_answers_every_form_of_range() {
    let cluster = Cluster::shared();
    let ctl = Ctl::new(&cluster);
    for (key, value) in [("a", "3"), ("b", "1"), ("c", "2"), ("c/x", "0")] {
        ctl.ok(&["put", &format!("get/{key}"), value]);
    }
    assert_eq!(ctl.ok(&["get", "get/a"]), "get/a\n3\n");
    assert_eq!(ctl.ok(&["get", "get/none"]), "");
    assert_eq!(ctl.ok(&["get", "get/a", "get/c"]), "get/a\n3\nget/b\n1\n");
    assert_eq!(ctl.ok(&["get", "get/c", "get/a"]), "", "an end before the start is empty");
    assert_eq!(ctl.ok(&["get", "--prefix", "get/c"]), "get/c\n2\nget/c/x\n0\n");
    let from = ctl.ok(&["get", "--from-key", "get/b", "--limit", "2"]);
    assert_eq!(from, "get/b\n1\nget/c\n2\n");
    let keys = ctl.ok(&["get", "--prefix", "get/", "--keys-only"]);
    assert_eq!(keys, "get/a\n\nget/b\n\nget/c\n\nget/c/x\n\n");
    assert_eq!(ctl.ok(&["get", "get/a", "--print-value-only"]), "3\n");
    assert_eq!(ctl.ok(&["get", "get/a", "--hex"]), "\\x67\\x65\\x74\\x2f\\x61\n\\x33\n");
    let everything = ctl.ok(&["get", "--prefix", "", "--keys-only"]);
    assert!(everything.contains("get/a\n\nget/b\n\nget/c\n\nget/c/x\n"), "{everything}");
    assert_eq!(ctl.error(&["get", ""]), "Error: etcdserver: key is not provided");
}

#[test]
fn get_sorts_and_limits_by_every_target() {
    let cluster = Cluster::shared();
    let ctl = Ctl::new(&cluster);
    // By key a b c; by value b c a; by version c a b; created c a b; changed a c b.
    for (key, value) in [("c", "5"), ("a", "9"), ("b", "0"), ("b", "0"), ("a", "6"), ("c", "5")] {
        ctl.ok(&["put", &format!("sort/{key}"), value]);
    }
    ctl.ok(&["put", "sort/b", "1"]);
    ctl.ok(&["put", "sort/b", "1"]);
    ctl.ok(&["put", "sort/a", "7"]);
    ctl.ok(&["put", "sort/c", "4"]);
    ctl.ok(&["put", "sort/b", "1"]);
    ctl.ok(&["put", "sort/a", "7"]);
    let order = |target: &str, order: &str, limit: &str| {
        let flags = ["get", "--prefix", "sort/", "--keys-only", "--sort-by", target];
        let keys = ctl.ok(&[&flags[..], &["--order", order, "--limit", limit]].concat());
        keys.replace("sort/", "").replace("\n\n", " ").trim().to_owned()
    };
    assert_eq!(order("KEY", "ASCEND", "0"), "a b c");
    assert_eq!(order("KEY", "DESCEND", "2"), "c b");
    assert_eq!(order("VALUE", "ASCEND", "0"), "b c a");
    assert_eq!(order("VALUE", "DESCEND", "1"), "a");
    assert_eq!(order("CREATE", "ASCEND", "0"), "c a b");
    assert_eq!(order("CREATE", "DESCEND", "2"), "b a");
    assert_eq!(order("MODIFY", "ASCEND", "0"), "c b a");
    assert_eq!(order("MODIFY", "DESCEND", "2"), "a b");
    assert_eq!(order("VERSION", "ASCEND", "0"), "c a b");
    assert_eq!(order("VERSION", "DESCEND", "1"), "b");
}

#[test]
fn get_reads_old_revisions_and_the_answering_members_own_state() {
    let cluster = Cluster::shared();
    let ctl = Ctl::new(&cluster);
    let revision = |value: &str| {
        let put = ctl.json(&["put", "old/k", value]);
        put["header"]["revision"].as_i64().expect("a revision")
    };
    let (first, second) = (revision("one"), revision("two"));
    assert!(second > first);
    ctl.ok(&["del", "old/k"]);
    let at = |revision: i64| ctl.ok(&["get", "old/k", "--rev", &revision.to_string()]);
    assert_eq!(at(first), "old/k\none\n");
    assert_eq!(at(second), "old/k\ntwo\n");
    assert_eq!(at(first - 1), "");
    assert_eq!(at(0), "", "revision 0 means now");
    let future = ctl.error(&["get", "old/k", "--rev", "1000000"]);
    assert_eq!(future, "Error: etcdserver: mvcc: required revision is a future revision");
    // A member that answered a write has applied it: its own state shows it.
    for at in 0..cluster.len() {
        let (endpoint, value) = (cluster.endpoint(at), at.to_string());
        assert!(cluster.etcdctl(&endpoint, &["put", "old/local", &value]).ok);
        let get = cluster.etcdctl(&endpoint, &["get", "old/local", "--consistency=s"]);
        assert_eq!(get.out, format!("old/local\n{value}\n"), "{get:?}");
    }
}

#[test]
fn get_prints_all_fields_of_the_answer() {
    let cluster = Cluster::shared();
    let ctl = Ctl::new(&cluster);
    ctl.ok(&["put", "field/a", "1"]);
    ctl.ok(&["put", "field/b", "2"]);
    let created = ctl.json(&["get", "field/a"])["kvs"][0]["create_revision"].clone();
    let changed = ctl.json(&["put", "field/a", "3"])["header"]["revision"].clone();
    let answer = ctl.json(&["get", "--prefix", "field/", "--limit", "1"]);
    assert_eq!(answer["more"], true, "{answer}");
    assert_eq!(answer["count"], 2, "{answer}");
    let kv = &answer["kvs"][0];
    assert_eq!(kv["create_revision"], created, "{answer}");
    assert_eq!(kv["mod_revision"], changed, "{answer}");
    assert_eq!((&kv["version"], &kv["key"]), (&2.into(), &"ZmllbGQvYQ==".into()), "{answer}");
    let header = &answer["header"];
    for field in ["cluster_id", "member_id", "revision", "raft_term"] {
        assert!(header[field].as_u64().is_some_and(|number| number > 0), "{field}: {answer}");
    }
    let fields = ctl.ok(&["get", "field/a", "-w", "fields"]);
    let expected = format!(
        "\"Key\" : \"field/a\"\n\"CreateRevision\" : {created}\n\"ModRevision\" : {changed}\n\
         \"Version\" : 2\n\"Value\" : \"3\"\n\"Lease\" : 0\n\"More\" : false\n\"Count\" : 1\n"
    );
    assert!(fields.ends_with(&expected), "{fields}");
}

#[test]
fn del_answers_how_many_and_what() {
    let cluster = Cluster::shared();
    let ctl = Ctl::new(&cluster);
    for key in ["a", "b", "c", "d", "e"] {
        ctl.ok(&["put", &format!("~del/{key}"), key]);
    }
    assert_eq!(ctl.ok(&["del", "~del/none"]), "0\n");
    assert_eq!(ctl.ok(&["del", "~del/a"]), "1\n");
    let range = ctl.ok(&["del", "~del/b", "~del/d", "--prev-kv"]);
    assert_eq!(range, "2\n~del/b\nb\n~del/c\nc\n");
    assert_eq!(ctl.ok(&["del", "--prefix", "~del/d", "--prev-kv"]), "1\n~del/d\nd\n");
    // Keys of other tests sort below.
    assert_eq!(ctl.ok(&["del", "--from-key", "~del/"]), "1\n");
    assert_eq!(ctl.ok(&["get", "--prefix", "~del/"]), "");
    assert_eq!(ctl.error(&["del", ""]), "Error: etcdserver: key is not provided");
}

#[test]
fn txn_reads_its_branches_from_standard_input() {
    let cluster = Cluster::shared();
    let ctl = Ctl::new(&cluster);
    ctl.ok(&["put", "txn/a", "one"]);
    ctl.ok(&["put", "txn/d", "gone"]);
    let taken = "mod(\"txn/a\") > \"0\"\nvalue(\"txn/a\") = \"one\"\nversion(\"txn/a\") < \"2\"\n\
                 create(\"txn/none\") = \"0\"\n\n\
                 put txn/t yes\nget txn/t\ndel txn/d --prev-kv\nget --prefix txn/\n\n\
                 put txn/t no\n\n";
    let answer = ctl.ok_with_input(&["txn"], taken);
    let reads = "txn/t\nyes\n\n1\ntxn/d\ngone\n\ntxn/a\none\ntxn/t\nyes\n";
    assert_eq!(answer, format!("SUCCESS\n\nOK\n\n{reads}"));
    let other = "value(\"txn/a\") = \"two\"\n\nput txn/t yes\n\nget txn/t\ndel txn/none\n\n";
    assert_eq!(ctl.ok_with_input(&["txn"], other), "FAILURE\n\ntxn/t\nyes\n\n0\n");
    assert_eq!(ctl.ok_with_input(&["txn"], "\n\n\n"), "SUCCESS\n");
    let prompted = ctl.ok_with_input(&["txn", "-i"], "\nput txn/i z\n\n\n");
    assert!(prompted.ends_with("SUCCESS\n\nOK\n"), "{prompted}");
    let twice = "\nput txn/t x\nput txn/t y\n\n\n";
    let duplicate = "Error: etcdserver: duplicate key given in txn request";
    assert_eq!(ctl.error_with_input(&["txn"], twice), duplicate);
    let many: String = (0..129).map(|n| format!("put txn/many{n} x\n")).collect();
    let refused = ctl.error_with_input(&["txn"], &format!("\n{many}\n\n"));
    assert_eq!(refused, "Error: etcdserver: too many operations in txn request");
    let lease = "\nput txn/t x\nput txn/u x --lease=1\n\n\n";
    let refused = ctl.error_with_input(&["txn"], lease);
    assert_eq!(refused, "Error: etcdserver: requested lease not found");
    assert_eq!(ctl.ok(&["get", "--prefix", "txn/t"]), "txn/t\nyes\n", "all or nothing");
}

#[test]
fn compaction_takes_history_and_says_so_as_etcd_does() {
    let cluster = Cluster::start(3);
    let ctl = Ctl::new(&cluster);
    for value in ["1", "2", "3", "4"] {
        ctl.ok(&["put", "k", value]);
    }
    assert_eq!(ctl.ok(&["compaction", "3"]), "compacted revision 3\n");
    let gone = "Error: etcdserver: mvcc: required revision has been compacted";
    assert_eq!(ctl.error(&["get", "k", "--rev", "2"]), gone);
    assert_eq!(ctl.ok(&["get", "k", "--rev", "3"]), "k\n2\n");
    assert_eq!(ctl.error(&["compaction", "3"]), gone);
    assert_eq!(ctl.error(&["compaction", "2"]), gone);
    let future = "Error: etcdserver: mvcc: required revision is a future revision";
    assert_eq!(ctl.error(&["compaction", "1000"]), future);
    assert_eq!(ctl.ok(&["compaction", "5", "--physical"]), "compacted revision 5\n");
    assert_eq!(ctl.error(&["get", "k", "--rev", "4"]), gone);
    assert_eq!(ctl.ok(&["get", "k"]), "k\n4\n");
    // A watch of what is gone is told from where history begins.
    let mut watch = ctl.spawn(&["watch", "k", "--rev", "2"]);
    let end = watch.await_line(|line| line.contains("compacted"));
    let told = "watch was canceled (etcdserver: mvcc: required revision has been compacted)";
    assert_eq!(end, told);
    assert!(!watch.await_end(), "etcdctl ends with an error");
}
