//! endpoint, member, alarm, defrag, move-leader, lock, elect, and what is not there yet.

use super::{Ctl, run};
use crate::interactive::await_condition;
use crate::member::{Cluster, ours};
use serde_json::Value;
use std::collections::BTreeSet;

fn json(cluster: &Cluster, args: &[&str]) -> Value {
    let output = run(&cluster.endpoints(), &[args, &["-w", "json"]].concat(), "");
    assert!(output.ok, "{output:?}");
    serde_json::from_str(&output.out).unwrap_or_else(|why| panic!("{why}: {output:?}"))
}

/// The leader that every member names, once they all do, and what they said then.
fn agreed(cluster: &Cluster) -> (u64, Value) {
    let mut found = None;
    await_condition("all members name one leader", || {
        let status = json(cluster, &["endpoint", "status"]);
        let members = status.as_array().expect("an array");
        let named: BTreeSet<_> =
            members.iter().map(|member| member["Status"]["leader"].as_u64()).collect();
        let one = named.first().copied().flatten().filter(|_| named.len() == 1);
        let all = members.len() == cluster.len();
        found = one.filter(|_| all).map(|leader| (leader, status.clone()));
        found.is_some()
    });
    found.expect("just seen")
}

#[test]
fn endpoint_status_is_each_members_own_view_of_one_cluster() {
    let cluster = Cluster::shared();
    Ctl::new(&cluster).ok(&["put", "status/a", "1"]);
    let (leader, status) = agreed(&cluster);
    let mut members = BTreeSet::new();
    let mut clusters = BTreeSet::new();
    for (at, member) in status.as_array().expect("an array").iter().enumerate() {
        assert_eq!(member["Endpoint"], cluster.endpoint(at), "{member}");
        let (status, header) = (&member["Status"], &member["Status"]["header"]);
        assert_eq!(status["version"], ours("3.7.0", "3.7.2"), "{member}");
        assert_eq!(status["leader"], leader, "{member}");
        assert_eq!(status["raftTerm"], header["raft_term"], "{member}");
        let number = |field: &str| status[field].as_u64().unwrap_or_default();
        assert!(number("raftIndex") >= number("raftAppliedIndex"), "{member}");
        assert!(number("raftAppliedIndex") > 0, "{member}");
        assert!(number("dbSize") >= number("dbSizeInUse"), "{member}");
        assert!(number("dbSizeInUse") > 0, "{member}");
        assert!(status.get("errors").is_none(), "{member}");
        members.insert(header["member_id"].as_u64().expect("an id"));
        clusters.insert(header["cluster_id"].as_u64().expect("an id"));
    }
    assert_eq!((members.len(), clusters.len()), (3, 1), "{status}");
    assert!(members.contains(&leader), "{status}");
    await_condition("one of them leads", || {
        let table = run(&cluster.endpoints(), &["endpoint", "status", "-w", "table"], "").out;
        assert_eq!(table.matches("3.7.").count(), 3, "{table}");
        table.lines().filter(|line| line.split('|').nth(5) == Some("      true ")).count() == 1
    });
    // The same through one endpoint that knows the others, once they told it where they serve.
    await_condition("one member leads to all", || {
        let all = run(&cluster.endpoint(1), &["endpoint", "status", "--cluster"], "");
        all.ok && all.out.lines().count() == 3
    });
}

#[test]
fn endpoint_health_is_a_write_through_each_member() {
    let cluster = Cluster::shared();
    let health = json(&cluster, &["endpoint", "health"]);
    let healthy = |member: &&Value| member["health"] == true && member.get("error").is_none();
    assert_eq!(health.as_array().expect("an array").iter().filter(healthy).count(), 3, "{health}");
    let table = run(&cluster.endpoints(), &["endpoint", "health", "-w", "table"], "").out;
    assert_eq!(table.matches("|   true |").count(), 3, "{table}");
}

#[test]
fn endpoint_hashkv_is_equal_everywhere() {
    let cluster = Cluster::start(3);
    let ctl = Ctl::new(&cluster);
    ctl.ok(&["put", "a", "1"]);
    ctl.ok(&["put", "a", "2"]);
    ctl.ok(&["compaction", "2"]);
    let revision = |member: &Value| member["HashKV"]["header"]["revision"].as_i64();
    // A hash is of the member's own state, which may be behind.
    let mut hashes = Value::Null;
    await_condition("all members reach revision 3", || {
        hashes = json(&cluster, &["endpoint", "hashkv"]);
        hashes.as_array().expect("an array").iter().all(|member| revision(member) == Some(3))
    });
    let all = hashes.as_array().expect("an array");
    let hash: BTreeSet<_> = all.iter().map(|member| member["HashKV"]["hash"].as_u64()).collect();
    assert_eq!((all.len(), hash.len()), (3, 1), "{hashes}");
    assert!(all.iter().all(|member| member["HashKV"]["compact_revision"] == 2), "{hashes}");
    let number = hash.first().copied().flatten().expect("a hash").to_string();
    let table = run(&cluster.endpoints(), &["endpoint", "hashkv", "-w", "table"], "").out;
    assert_eq!(table.matches(&number).count(), 3, "{table}");
}

#[test]
fn member_list_names_everybody_and_their_addresses() {
    let cluster = Cluster::shared();
    for at in 0..3 {
        // Members tell each other where they serve clients when they meet.
        let mut list = String::new();
        await_condition("all are met", || {
            list = run(&cluster.endpoint(at), &["member", "list"], "").out;
            list.matches(", started, ").count() == 3
        });
        let mut names: Vec<&str> =
            list.lines().filter_map(|line| line.split(", ").nth(2)).collect();
        names.sort_unstable();
        assert_eq!(names, ["n1", "n2", "n3"], "{list}");
        for (other, line) in list.lines().enumerate() {
            let fields: Vec<&str> = line.split(", ").collect();
            assert_eq!((fields[1], fields[5]), ("started", "false"), "{other}: {list}");
            assert!(fields[3].starts_with("http://127.0.0.1:"), "{list}");
        }
        for client in 0..3 {
            assert!(list.contains(&format!("http://{}, false", cluster.endpoint(client))));
        }
    }
    let list = json(&cluster, &["member", "list"]);
    assert_eq!(list["members"].as_array().map(Vec::len), Some(3), "{list}");
    assert!(list["header"].get("revision").is_none(), "as in etcd: {list}");
    let table = run(&cluster.endpoint(0), &["member", "list", "-w", "table"], "").out;
    assert_eq!(table.matches("| started |").count(), 3, "{table}");
}

#[test]
fn a_full_store_raises_an_alarm_that_stops_writes_until_it_is_disarmed() {
    let cluster = Cluster::start_with(3, &["--quota-backend-bytes", "1000000"]);
    let ctl = Ctl::new(&cluster);
    assert_eq!(ctl.ok(&["alarm", "list"]), "");
    let value = "x".repeat(20_000);
    let refused = (0..60).find_map(|n| {
        let put = run(&ctl.endpoint(), &["put", &format!("fill/{n}")], &value);
        (!put.ok).then(|| put.err.lines().last().unwrap_or_default().to_owned())
    });
    let space = "Error: etcdserver: mvcc: database space exceeded";
    assert_eq!(refused.as_deref(), Some(space));
    let list = ctl.ok(&["alarm", "list"]);
    // Ours is one alarm of the whole cluster, decided in the log; etcd's are each member's own.
    let named = ours("alarm:NOSPACE ", " alarm:NOSPACE ");
    assert!(!list.is_empty() && list.lines().all(|line| line.ends_with(named)), "{list:?}");
    assert_eq!(ctl.error(&["put", "small", "1"]), space);
    let lease = "Error: failed to grant lease (etcdserver: mvcc: database space exceeded)";
    assert_eq!(ctl.error(&["lease", "grant", "60"]), lease);
    // The status is the member's own, which may be behind.
    await_condition("all members name the alarm", || {
        let status = json(&cluster, &["endpoint", "status"]);
        let named =
            |member: &Value| member["Status"]["errors"].to_string().contains("alarm:NOSPACE");
        status.as_array().expect("an array").iter().all(named)
    });
    assert_eq!(ctl.ok(&["get", "small"]), "", "reads go on");
    ctl.ok(&["del", "--prefix", "fill/"]);
    let revision = ctl.revision();
    ctl.ok(&["compaction", &revision.to_string(), "--physical"]);
    let defrag = run(&cluster.endpoints(), &["defrag"], "");
    let finished = "Finished defragmenting etcd member[";
    assert_eq!(defrag.out.matches(finished).count(), 3, "{defrag:?}");
    if ours(true, false) {
        assert_eq!(ctl.ok(&["put", "smaller", "1"]), "OK\n", "freed space is used at once");
    }
    // It is listed for a while, so that who comes late can see and disarm it.
    let list = ctl.ok(&["alarm", "list"]);
    assert!(!list.is_empty() && list.lines().all(|line| line.ends_with(named)), "{list:?}");
    let disarmed = ctl.ok(&["alarm", "disarm"]);
    assert!(
        !disarmed.is_empty() && disarmed.lines().all(|line| line.ends_with(named)),
        "{disarmed}"
    );
    assert_eq!(ctl.ok(&["alarm", "list"]), "");
    assert_eq!(ctl.ok(&["put", "small", "1"]), "OK\n");
}

#[test]
fn lock_admits_one_holder_at_a_time() {
    let cluster = Cluster::shared();
    let ctl = Ctl::new(&cluster);
    assert_eq!(ctl.ok(&["lock", "locks/a", "echo", "held"]), "held\n");
    let mut first = ctl.spawn(&["lock", "locks/b"]);
    let key = first.line();
    assert!(key.starts_with("locks/b/"), "{key}");
    let mut second = ctl.spawn(&["lock", "locks/b", "echo", "held too"]);
    let waiting = || ctl.ok(&["get", "--prefix", "locks/b/", "--keys-only"]);
    await_condition("the second waits in line", || waiting().split_whitespace().count() == 2);
    // The holder goes without a word: its lease would end later, so its key is removed here.
    ctl.ok(&["del", &key]);
    assert_eq!(second.line(), "held too");
    assert!(second.await_end());
}

#[test]
fn elect_makes_one_leader_and_tells_observers() {
    let cluster = Cluster::shared();
    let ctl = Ctl::new(&cluster);
    let mut first = ctl.spawn(&["elect", "elections/a", "one"]);
    let key = first.line();
    assert!(key.starts_with("elections/a/"), "{key}");
    assert_eq!(first.line(), "one");
    let mut observer = ctl.spawn(&["elect", "--listen", "elections/a"]);
    observer.expect(&[&key, "one"]);
    let mut second = ctl.spawn(&["elect", "elections/a", "two"]);
    let waiting = || ctl.ok(&["get", "--prefix", "elections/a/", "--keys-only"]);
    await_condition("the second waits in line", || waiting().split_whitespace().count() == 2);
    ctl.ok(&["del", &key]);
    let next = second.line();
    assert!(next.starts_with("elections/a/") && next != key, "{next}");
    assert_eq!(second.line(), "two");
    observer.expect(&[&next, "two"]);
}

#[test]
fn move_leader_hands_leadership_to_a_named_member() {
    let cluster = Cluster::start(3);
    let (old, status) = agreed(&cluster);
    let members = status.as_array().expect("an array");
    let id = |member: &Value| member["Status"]["header"]["member_id"].as_u64().expect("an id");
    let at = members.iter().position(|member| id(member) == old).expect("the leader");
    let next = members.iter().map(id).find(|member| *member != old).expect("another");
    let (from, hex) = (cluster.endpoint(at), format!("{next:x}"));
    let follower = cluster.endpoint((at + 1) % 3);
    let refused = run(&follower, &["move-leader", &hex], "");
    // etcdctl looks for the leader among the endpoints it was given.
    assert!(refused.err.contains("no leader endpoint given at"), "{refused:?}");
    let stranger = run(&from, &["move-leader", "123"], "");
    let bad = "Error: etcdserver: bad leader transferee";
    assert_eq!(stranger.err.lines().last(), Some(bad), "{stranger:?}");
    let said = format!("Leadership transferred from {old:x} to {hex}\n");
    // A hand-over has two election timeouts; a busy machine may need more.
    await_condition("a hand-over", || {
        let moved = run(&from, &["move-leader", &hex], "");
        let slow = moved.err.contains("leader transfer took too long");
        assert!(moved.out == said || slow, "{moved:?}");
        moved.ok || agreed(&cluster).0 == next
    });
    assert_eq!(agreed(&cluster).0, next);
    assert_eq!(Ctl::new(&cluster).ok(&["put", "after", "the move"]), "OK\n");
}

#[test]
fn what_is_not_there_yet_says_so_by_name() {
    if ours(false, true) {
        return;
    }
    let cluster = Cluster::shared();
    let ctl = Ctl::new(&cluster);
    let file = cluster.path("snapshot.db").to_string_lossy().into_owned();
    for (args, service, method) in [
        (&["snapshot", "save", file.as_str()][..], "Maintenance", "Snapshot"),
        (&["auth", "enable"], "Auth", "AuthEnable"),
        (&["user", "list"], "Auth", "UserList"),
        (&["role", "list"], "Auth", "RoleList"),
    ] {
        let output = run(&ctl.endpoint(), args, "");
        assert!(!output.ok, "{args:?}: {output:?}");
        let told = format!(
            "code = Unimplemented desc = unknown method {method} for service etcdserverpb.{service}"
        );
        assert!(output.err.contains(&told), "{args:?}: {output:?}");
    }
}

#[test]
fn endpoints_may_be_urls() {
    let cluster = Cluster::shared();
    let urls: Vec<_> = (0..3).map(|at| format!("http://{}", cluster.endpoint(at))).collect();
    let urls = urls.join(",");
    // etcdctl puts the whole URL into the name it asks for (`:authority`).
    for (args, lines) in [
        (&["put", "urls/a", "1"][..], 1),
        (&["get", "urls/a"], 2),
        (&["endpoint", "status"], 3),
        (&["endpoint", "hashkv"], 3),
        (&["endpoint", "health"], 0),
        (&["defrag"], 3),
        (&["member", "list"], 3),
    ] {
        let output = run(&urls, args, "");
        assert!(output.ok, "{args:?}: {output:?}");
        assert_eq!(output.out.lines().count(), lines, "{args:?}: {output:?}");
    }
}
