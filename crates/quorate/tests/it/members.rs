//! Members that come and go while the cluster serves: stock etcdctl and our own commands.

use super::etcdctl::settled;
use super::interactive::WAIT_MAX;
use super::member::{Cluster, Output, ours};
use std::process::Command;
use std::time::{Duration, Instant};

#[track_caller]
fn ok(cluster: &Cluster, at: usize, args: &[&str]) -> String {
    let output = cluster.etcdctl(&cluster.endpoint(at), args);
    assert!(output.ok, "etcdctl {args:?}: {output:?}");
    output.out
}

#[track_caller]
fn fails(cluster: &Cluster, at: usize, args: &[&str], text: &str) {
    let output = cluster.etcdctl(&cluster.endpoint(at), args);
    assert!(!output.ok && output.err.contains(text), "etcdctl {args:?}: {output:?}");
}

fn quorate(cluster: &Cluster, at: usize, args: &[&str]) -> Output {
    settled(|| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        command.args(args).args(["--endpoints", &cluster.endpoint(at)]);
        Output::from(command.output().expect("the binary starts"))
    })
}

/// The fields of a member's line in `member list`: id, status, name, peers, clients, learner.
fn listed(cluster: &Cluster, at: usize, peer_url: &str) -> Option<Vec<String>> {
    let list = ok(cluster, at, &["member", "list"]);
    let line = list.lines().find(|line| line.contains(peer_url))?;
    Some(line.split(", ").map(str::to_owned).collect())
}

/// What `quorate member list` says while two configurations are in force.
const JOINT: &str = "moving to: ";

/// Waits until the change that makes it a voter is over, and members that it leaves out are no
/// longer listed: a newcomer votes before that, while both configurations are in force.
fn await_voter(cluster: &Cluster, at: usize, peer_url: &str) -> Vec<String> {
    let end = Instant::now() + WAIT_MAX;
    loop {
        let fields = listed(cluster, at, peer_url).unwrap_or_default();
        let votes = fields.get(1).is_some_and(|s| s == "started") && fields[5] == "false";
        let over = || !quorate(cluster, at, &["member", "list"]).out.contains(JOINT);
        if votes && (ours(false, true) || over()) {
            return fields;
        }
        assert!(Instant::now() < end, "{peer_url} is no voter: {fields:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_fourth_member_added_by_etcdctl_catches_up_serves_and_is_removed_again() {
    let mut cluster = Cluster::start(3);
    ok(&cluster, 0, &["put", "before", "1"]);
    let new = cluster.reserve();
    let url = cluster.peer_url(new);
    let urls = format!("--peer-urls={url}");
    let added = ok(&cluster, 1, &["member", "add", "n4", &urls]);
    assert!(added.contains("ETCD_INITIAL_CLUSTER_STATE=\"existing\""), "{added}");
    assert!(added.contains(&format!("n4={url}")), "{added}");
    assert_eq!(listed(&cluster, 1, &url).expect("listed")[1], "unstarted");
    fails(
        &cluster,
        0,
        &["member", "add", "n5", &urls],
        ours("another change of the cluster is under way", "exists"),
    );
    cluster.restart_without_waiting(new);
    cluster.await_all();
    let fields = await_voter(&cluster, 0, &url);
    assert_eq!(fields[2], "n4");
    assert_eq!(ok(&cluster, new, &["get", "before", "--print-value-only"]), "1\n");
    ok(&cluster, new, &["put", "by four", "2"]);
    // The configuration survives a restart, the old members' and the new one's.
    for at in [0, new] {
        cluster.kill(at);
        cluster.restart_without_waiting(at);
        cluster.await_all();
        assert_eq!(ok(&cluster, at, &["member", "list"]).lines().count(), 4);
        assert_eq!(ok(&cluster, at, &["get", "by four", "--print-value-only"]), "2\n");
    }
    fails(&cluster, 2, &["member", "add", "n5", &urls], "Peer URLs already exists");
    let removed = ok(&cluster, 2, &["member", "remove", &fields[0]]);
    assert!(removed.contains("removed from cluster"), "{removed}");
    assert!(cluster.await_end(new), "a removed member leaves with success");
    assert_eq!(ok(&cluster, 2, &["member", "list"]).lines().count(), 3);
    fails(&cluster, 1, &["member", "remove", &fields[0]], "member not found");
    fails(&cluster, 1, &["member", "promote", &fields[0]], "member not found");
    ok(&cluster, 2, &["put", "after", "3"]);
}

#[test]
fn a_learner_is_promoted_by_hand_and_urls_are_updated() {
    let mut cluster = Cluster::start(1);
    let new = cluster.reserve();
    let url = cluster.peer_url(new);
    let urls = format!("--peer-urls={url}");
    ok(&cluster, 0, &["member", "add", "n2", "--learner", &urls]);
    let id = listed(&cluster, 0, &url).expect("listed")[0].clone();
    fails(&cluster, 0, &["member", "promote", &id], "in sync with leader");
    fails(
        &cluster,
        0,
        &["member", "add", "n3", "--learner", "--peer-urls=http://127.0.0.1:1"],
        "too many learner members in cluster",
    );
    cluster.restart_without_waiting(new);
    cluster.await_all();
    let end = Instant::now() + WAIT_MAX;
    while !cluster.etcdctl(&cluster.endpoint(0), &["member", "promote", &id]).ok {
        assert!(Instant::now() < end, "the learner never caught up");
        std::thread::sleep(Duration::from_millis(100));
    }
    await_voter(&cluster, 0, &url);
    fails(&cluster, 0, &["member", "promote", &id], "can only promote a learner member");
    fails(&cluster, 0, &["member", "update", &id, "--peer-urls=nonsense"], "URL");
    let same =
        format!("--peer-urls={url},http://localhost:{}", url.rsplit(':').next().expect("port"));
    ok(&cluster, 0, &["member", "update", &id, &same]);
    assert!(ok(&cluster, 0, &["member", "list"]).contains("http://localhost"));
    ok(&cluster, new, &["put", "k", "v"]);
}

#[test]
fn an_emptied_member_is_replaced_by_one_command() {
    let mut cluster = Cluster::start(3);
    ok(&cluster, 0, &["put", "k", "v"]);
    cluster.kill(2);
    cluster.wipe(2);
    let refused = cluster.run_to_end(2);
    assert!(!refused.ok && refused.err.contains("quorate member replace"), "{refused:?}");
    let new = cluster.reserve();
    let url = cluster.peer_url(new);
    let args = ["member", "replace", "n3", "n4", "--peer-urls", &url, "--no-wait"];
    let replaced = quorate(&cluster, 0, &args);
    assert!(replaced.ok, "{replaced:?}");
    cluster.restart_without_waiting(new);
    cluster.await_all();
    await_voter(&cluster, 1, &url);
    let list = ok(&cluster, 1, &["member", "list"]);
    assert!(list.lines().count() == 3 && !list.contains("n3"), "{list}");
    assert_eq!(ok(&cluster, new, &["get", "k", "--print-value-only"]), "v\n");
}

#[test]
fn the_quorum_is_set_on_a_live_cluster_and_unsafe_ones_are_refused_with_the_reason() {
    let cluster = Cluster::start(3);
    let set = quorate(&cluster, 1, &["quorum", "set", "weighted{n1:2, n2:1, n3:1} >= 3"]);
    assert!(set.ok && set.out.contains("weighted"), "{set:?}");
    let unsafe_one = quorate(&cluster, 0, &["quorum", "set", "1 of (n1, n2, n3)"]);
    assert!(!unsafe_one.ok && unsafe_one.err.contains("n1"), "{unsafe_one:?}");
    ok(&cluster, 2, &["put", "k", "v"]);
    let set = quorate(&cluster, 2, &["quorum", "set", "majority(n1, n2, n3)"]);
    assert!(set.ok, "{set:?}");
    let list = quorate(&cluster, 2, &["member", "list"]);
    assert!(list.ok && list.out.contains("majority(n1, n2, n3)"), "{list:?}");
}
