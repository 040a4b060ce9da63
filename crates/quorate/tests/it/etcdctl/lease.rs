//! lease grant, revoke, timetolive, list, keep-alive.

use super::Ctl;
use crate::interactive::await_condition;
use crate::member::Cluster;

/// Grants a lease and returns its id as etcdctl prints it.
#[track_caller]
fn grant(ctl: &Ctl, seconds: &str) -> String {
    let said = ctl.ok(&["lease", "grant", seconds]);
    let words: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(words[2..], ["granted", "with", &format!("TTL({seconds}s)")], "{said}");
    assert_eq!((words[0], words[1].len()), ("lease", 16), "{said}");
    words[1].to_owned()
}

/// The seconds in `remaining(..s)`.
#[track_caller]
fn remaining(said: &str) -> i64 {
    let from = said.find("remaining(").unwrap_or_else(|| panic!("{said}")) + "remaining(".len();
    said[from..].split("s)").next().and_then(|n| n.parse().ok()).expect("seconds")
}

#[test]
fn a_lease_holds_its_keys_until_it_is_revoked() {
    let cluster = Cluster::shared();
    let ctl = Ctl::new(&cluster);
    let id = grant(&ctl, "600");
    ctl.ok(&["put", "lease/a", "1", "--lease", &id]);
    ctl.ok(&["put", "lease/b", "2", "--lease", &id]);
    ctl.ok(&["put", "lease/detached", "3", "--lease", &id]);
    ctl.ok(&["put", "lease/detached", "4"]);
    ctl.ok(&["put", "lease/a", "5", "--ignore-lease"]);
    let said = ctl.ok(&["lease", "timetolive", &id, "--keys"]);
    assert!(said.starts_with(&format!("lease {id} granted with TTL(600s), remaining(")), "{said}");
    assert!(said.ends_with(", attached keys([lease/a lease/b])\n"), "{said}");
    assert!((500..=600).contains(&remaining(&said)), "{said}");
    let kv = &ctl.json(&["get", "lease/a"])["kvs"][0];
    assert_eq!(kv["lease"].as_i64(), i64::from_str_radix(&id, 16).ok(), "{kv}");
    let before = ctl.revision();
    assert_eq!(ctl.ok(&["lease", "revoke", &id]), format!("lease {id} revoked\n"));
    assert_eq!(ctl.ok(&["get", "--prefix", "lease/"]), "lease/detached\n4\n");
    let old = ctl.ok(&["get", "lease/b", "--rev", &before.to_string()]);
    assert_eq!(old, "lease/b\n2\n", "revoking is a change like any other");
    let again = format!("lease {id} already expired\n");
    assert_eq!(ctl.ok(&["lease", "timetolive", &id]), again);
    let put = ctl.error(&["put", "lease/a", "1", "--lease", &id]);
    assert_eq!(put, "Error: etcdserver: requested lease not found");
}

#[test]
fn leases_answer_as_json_and_in_lists_and_refuse_with_etcds_texts() {
    let cluster = Cluster::shared();
    let ctl = Ctl::new(&cluster);
    let granted = ctl.json(&["lease", "grant", "600"]);
    let id = granted["ID"].as_i64().expect("an id");
    assert_eq!(granted["TTL"], 600, "{granted}");
    assert!(id > 0, "{granted}");
    let hex = format!("{id:016x}");
    let left = ctl.json(&["lease", "timetolive", &hex]);
    assert_eq!(left["id"], id, "{left}");
    assert_eq!(left["granted-ttl"], 600, "{left}");
    // A list is the answering member's own: it may be behind.
    let listed = || ctl.ok(&["lease", "list"]);
    await_condition("the lease is listed", || listed().lines().any(|line| line == hex));
    assert!(listed().starts_with("found "));
    ctl.ok(&["lease", "revoke", &hex]);
    await_condition("the lease is gone", || !listed().contains(&hex));
    let gone = ctl.json(&["lease", "timetolive", &hex]);
    assert_eq!((&gone["ttl"], &gone["granted-ttl"]), (&(-1).into(), &0.into()), "{gone}");
    let unknown = "Error: failed to revoke lease (etcdserver: requested lease not found)";
    assert_eq!(ctl.error(&["lease", "revoke", "123"]), unknown);
    let large = "Error: failed to grant lease (etcdserver: too large lease TTL)";
    assert_eq!(ctl.error(&["lease", "grant", "9000000001"]), large);
    // The shortest lease: 1.5 election timeouts, rounded up.
    let short = ctl.json(&["lease", "grant", "1"]);
    assert_eq!(short["TTL"], 2, "{short}");
}

#[test]
fn keep_alive_renews_once_or_for_as_long_as_it_runs() {
    let cluster = Cluster::shared();
    let ctl = Ctl::new(&cluster);
    let id = grant(&ctl, "600");
    let renewed = format!("lease {id} keepalived with TTL(600)");
    assert_eq!(ctl.ok(&["lease", "keep-alive", "--once", &id]), format!("{renewed}\n"));
    let short = grant(&ctl, "6");
    ctl.ok(&["put", "alive/a", "1", "--lease", &short]);
    let mut stream = ctl.spawn(&["lease", "keep-alive", &short]);
    let line = format!("lease {short} keepalived with TTL(6)");
    // etcdctl renews every third of the time to live: five answers outlive the lease.
    for _ in 0..5 {
        stream.expect(&[&line]);
    }
    assert_eq!(ctl.ok(&["get", "alive/a"]), "alive/a\n1\n");
    ctl.ok(&["lease", "revoke", &short]);
    let end = format!("lease {short} expired or revoked.");
    stream.await_line(|line| line == end);
    assert!(stream.await_end());
    let unknown = ctl.error(&["lease", "keep-alive", "--once", &short]);
    assert_eq!(unknown, "Error: etcdserver: requested lease not found");
}

#[test]
fn an_abandoned_lease_takes_its_keys_along() {
    let cluster = Cluster::shared();
    let ctl = Ctl::new(&cluster);
    let from = ctl.revision() + 1;
    // Long enough for two more processes to start on a busy machine.
    let id = grant(&ctl, "8");
    ctl.ok(&["put", "expire/a", "1", "--lease", &id]);
    ctl.ok(&["put", "expire/b", "2", "--lease", &id]);
    let from = from.to_string();
    let mut watch = ctl.spawn(&["watch", "--prefix", "expire/", "--rev", &from]);
    watch.expect(&["PUT", "expire/a", "1", "PUT", "expire/b", "2"]);
    watch.expect(&["DELETE", "expire/a", "", "DELETE", "expire/b", ""]);
    assert_eq!(ctl.ok(&["get", "--prefix", "expire/"]), "");
    let gone = format!("lease {id} already expired\n");
    assert_eq!(ctl.ok(&["lease", "timetolive", &id]), gone);
}
