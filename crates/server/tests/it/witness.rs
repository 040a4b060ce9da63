//! Two data members and a witness, on real disks and sockets.

use crate::cluster::{Cluster, eventually, outside, until};
use api::etcdserverpb as pb;
use client::method;
use std::path::Path;

/// `a` and `b` hold data, `w` votes.
const QUORUM: &str = "majority(a, b, witness(w))";
const W: usize = 2;
const SECRET: &str = "a value that no witness keeps";

fn cluster(test: &str) -> Cluster {
    Cluster::start_with(test, &["a", "b", "w"], |config| {
        config.quorum = Some(QUORUM.into());
        config.checkpoint_bytes_min = 1;
        config.snapshot_count = 50;
        config.snapshot_catchup_entries = 5;
    })
}

/// Puts until one is acknowledged: a member may have to be marked out first. How many tries may
/// have been applied, beside the one that was acknowledged.
fn put_in_time(cluster: &Cluster, at: usize, key: &str) -> i64 {
    let mut unknown = 0;
    eventually(format_args!("put {key} at {at}"), || {
        let answer = cluster.try_put(at, key, SECRET);
        unknown += i64::from(answer.as_ref().is_err_and(|why| !why.contains("(not-applied)")));
        answer
    });
    unknown
}

fn keys(cluster: &Cluster, at: usize) -> usize {
    cluster.all(at).kvs.len()
}

/// Waits until `at` has applied all that `from` had applied at the call.
fn catches_up(cluster: &Cluster, at: usize, from: usize) {
    let applied = |at: usize| cluster.node(at).status().expect("it runs").applied;
    let goal = applied(from);
    until(&format!("{at} is at {goal}"), || applied(at) >= goal);
}

/// Whether a file below `dir` holds the bytes of [`SECRET`]; its member is down, for files come
/// and go under one that runs.
fn keeps_data(dir: &Path) -> bool {
    std::fs::read_dir(dir).expect("a directory").map(|e| e.expect("an entry").path()).any(|path| {
        let holds = |bytes: Vec<u8>| bytes.windows(SECRET.len()).any(|w| w == SECRET.as_bytes());
        if path.is_dir() { keeps_data(&path) } else { holds(std::fs::read(path).expect("read")) }
    })
}

#[test]
fn two_data_members_and_a_witness_survive_the_loss_of_any_one() {
    let mut cluster = cluster("witness-loss");
    let mut unknown = put_in_time(&cluster, 0, "first");
    for lost in 0..3 {
        let (one, other) = ((lost + 1) % 3, (lost + 2) % 3);
        let at = if one == W { other } else { one };
        cluster.kill(lost);
        unknown += put_in_time(&cluster, at, &format!("without {lost}"));
        assert_eq!(keys(&cluster, at), lost + 2, "nothing acknowledged is lost");
        cluster.restart(lost);
        catches_up(&cluster, lost, at);
        unknown += put_in_time(&cluster, at, "first");
    }
    assert_eq!(cluster.all(0).kvs, cluster.all(1).kvs);
    let revision = |at| cluster.node(at).status().expect("it runs").revision;
    assert_eq!(revision(W), 1);
    assert!((8..=8 + unknown).contains(&revision(0)), "{} of 8 + {unknown}", revision(0));
    (0..3).for_each(|at| cluster.kill(at));
    assert!((0..W).all(|at| keeps_data(&cluster.configs[at].data_dir)), "the search finds it");
    assert!(!keeps_data(&cluster.configs[W].data_dir), "the witness has positions only");
}

#[test]
fn a_witness_refuses_data_requests_by_name_and_answers_for_the_cluster() {
    let cluster = cluster("witness-calls");
    put_in_time(&cluster, 0, "k");
    assert!(cluster.try_put(W, "k", "v").unwrap_err().contains("is a witness"));
    let channel = cluster.channel(W);
    outside(async {
        let get =
            pb::RangeRequest { key: b"k"[..].into(), serializable: true, ..Default::default() };
        let refused = channel.call::<pb::RangeResponse>(method::kv::RANGE, &get).await;
        let Err(client::Failure::Status(refused)) = refused else { panic!("{refused:?}") };
        assert_eq!(refused.code, 14, "{refused:?}");
        assert_eq!(refused.detail("reason"), Some("witness"));
        assert_eq!(refused.detail("outcome"), Some("not-applied"));
        let list = pb::MemberListRequest::default();
        let members: pb::MemberListResponse =
            channel.call(method::cluster::MEMBER_LIST, &list).await.expect("a list");
        assert_eq!(members.members.len(), 3);
    });
}

#[test]
fn a_witness_that_fell_behind_the_log_takes_a_checkpoint_without_data() {
    let mut cluster = cluster("witness-checkpoint");
    put_in_time(&cluster, 0, "first");
    cluster.kill(W);
    for n in 0..200 {
        cluster.put(n % 2, &format!("k{n:03}"), SECRET);
    }
    cluster.restart(W);
    catches_up(&cluster, W, 0);
    cluster.kill(W);
    assert!(!keeps_data(&cluster.configs[W].data_dir));
    cluster.restart(W);
    let lost = (cluster.leader() + 1) % 2;
    cluster.kill(lost);
    put_in_time(&cluster, 1 - lost, "with the witness");
    assert_eq!(keys(&cluster, 1 - lost), 202);
}
