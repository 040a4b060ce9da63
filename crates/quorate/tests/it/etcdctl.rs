//! Debian's etcdctl 3.4, unchanged.

use super::member::Cluster;

#[test]
fn etcdctl_puts_gets_and_deletes_through_any_member() {
    let cluster = Cluster::start(3);
    for at in 0..3 {
        let put = cluster.etcdctl(&cluster.endpoint(at), &["put", &format!("k{at}"), "v"]);
        assert!(put.ok && put.out.contains("OK"), "{put:?}");
    }
    let get = cluster.etcdctl(&cluster.endpoint(1), &["get", "--prefix", "k"]);
    assert_eq!(get.out, "k0\nv\nk1\nv\nk2\nv\n", "{get:?}");
    let keys = cluster.etcdctl(
        &cluster.endpoint(2),
        &["get", "--prefix", "k", "--keys-only", "--order=DESCEND", "--sort-by=KEY", "--limit=2"],
    );
    assert_eq!(keys.out.replace("\n\n", "\n"), "k2\nk1\n", "{keys:?}");
    let del = cluster.etcdctl(&cluster.endpoint(0), &["del", "--prefix", "k", "--prev-kv"]);
    assert!(del.out.starts_with("3\n"), "{del:?}");
    let old = cluster.etcdctl(&cluster.endpoint(0), &["get", "k0", "--rev=2"]);
    assert_eq!(old.out, "k0\nv\n", "{old:?}");
}

#[test]
fn etcdctl_reports_status_health_hashes_and_members() {
    let cluster = Cluster::start(3);
    let all = cluster.endpoints();
    assert!(cluster.etcdctl(&all, &["put", "a", "b"]).ok);
    let health = cluster.etcdctl(&all, &["endpoint", "health"]);
    assert!(health.ok, "{health:?}");
    let status = cluster.etcdctl(&all, &["endpoint", "status"]);
    assert_eq!(status.out.lines().count(), 3, "{status:?}");
    assert!(status.out.lines().all(|line| line.contains("3.7.0")), "{status:?}");
    assert_eq!(status.out.matches("true, false").count(), 1, "one leader: {status:?}");
    let members = cluster.etcdctl(&all, &["member", "list"]);
    assert_eq!(members.out.matches("started").count(), 3, "{members:?}");
    let hashes = cluster.etcdctl(&all, &["endpoint", "hashkv"]);
    let hash: std::collections::BTreeSet<_> =
        hashes.out.lines().filter_map(|line| line.split(", ").nth(1)).collect();
    assert_eq!(hash.len(), 1, "{hashes:?}");
    assert!(cluster.etcdctl(&all, &["defrag"]).ok);
    assert!(cluster.etcdctl(&all, &["alarm", "list"]).ok);
}

#[test]
fn etcdctl_leases_compaction_and_errors_have_etcds_texts() {
    let cluster = Cluster::start(1);
    let at = cluster.endpoint(0);
    let grant = cluster.etcdctl(&at, &["lease", "grant", "60"]);
    let id = grant.out.split_whitespace().nth(1).expect("an id").to_owned();
    assert!(cluster.etcdctl(&at, &["put", "leased", "x", "--lease", &id]).ok);
    let ttl = cluster.etcdctl(&at, &["lease", "timetolive", &id, "--keys"]);
    assert!(ttl.out.contains("granted with TTL(60s)") && ttl.out.contains("leased"), "{ttl:?}");
    let alive = cluster.etcdctl(&at, &["lease", "keep-alive", "--once", &id]);
    assert!(alive.out.contains("keepalived with TTL(60)"), "{alive:?}");
    assert!(cluster.etcdctl(&at, &["lease", "revoke", &id]).ok);
    assert_eq!(cluster.etcdctl(&at, &["get", "leased"]).out, "");
    let unknown = cluster.etcdctl(&at, &["put", "k", "v", "--lease", "123"]);
    assert!(unknown.err.contains("etcdserver: requested lease not found"), "{unknown:?}");
    assert!(cluster.etcdctl(&at, &["put", "k", "1"]).ok);
    assert!(cluster.etcdctl(&at, &["put", "k", "2"]).ok);
    assert!(cluster.etcdctl(&at, &["compaction", "4"]).ok);
    let old = cluster.etcdctl(&at, &["get", "k", "--rev=2"]);
    let text = "etcdserver: mvcc: required revision has been compacted";
    assert!(old.err.contains(text), "{old:?}");
    let future = cluster.etcdctl(&at, &["get", "k", "--rev=1000"]);
    let text = "etcdserver: mvcc: required revision is a future revision";
    assert!(future.err.contains(text), "{future:?}");
    let empty = cluster.etcdctl(&at, &["put", "", "v"]);
    assert!(empty.err.contains("etcdserver: key is not provided"), "{empty:?}");
}
