//! Crashes, restarts, cuts, emptied directories, checkpoints.

use crate::cluster::{Cluster, WAIT, eventually, outside, until};
use api::quoratepb::{ChangeRequest, ChangeResponse, DescribeRequest};
use client::{Failure, Outcome};
use front_etcd::Front;
use server::node::{End, Node};
use std::time::{Duration, Instant};

#[test]
fn a_killed_leader_is_replaced_and_comes_back_with_the_same_data() {
    let mut cluster = Cluster::start("replace", &["a", "b", "c"]);
    for n in 0..30 {
        cluster.put(n % 3, &format!("k{n:02}"), &format!("v{n}"));
    }
    assert_eq!(cluster.all(1).kvs.len(), 30);
    let old = cluster.leader();
    cluster.kill(old);
    let other = (old + 1) % 3;
    cluster.put(other, "after", "the crash");
    assert_eq!(cluster.all(other).kvs.len(), 31);
    cluster.restart(old);
    let (there, here) = (cluster.all(other), cluster.all(old));
    assert_eq!(there.kvs, here.kvs, "the restarted member reads the same, linearizably");
}

#[test]
fn a_cluster_that_stops_whole_recovers_whole() {
    let mut cluster = Cluster::start("whole", &["a", "b", "c"]);
    for n in 0..10 {
        cluster.put(0, &format!("k{n}"), "v");
    }
    let before = cluster.all(0);
    for at in 0..3 {
        cluster.kill(at);
    }
    for at in 0..3 {
        cluster.restart(at);
    }
    for at in 0..3 {
        assert_eq!(cluster.all(at).kvs, before.kvs);
    }
}

#[test]
fn a_single_member_serves_stops_in_order_and_recovers() {
    let mut cluster = Cluster::start("single", &["solo"]);
    cluster.put(0, "k", "v");
    let node = cluster.nodes[0].take().expect("runs");
    assert_eq!(node.stop(), End::Stopped);
    cluster.restart(0);
    assert_eq!(cluster.all(0).kvs.len(), 1);
}

#[test]
fn a_cut_leader_loses_its_place_and_catches_up_after_the_heal() {
    let cluster = Cluster::start("cut", &["a", "b", "c"]);
    cluster.put(0, "k", "1");
    let old = cluster.leader();
    let ids: Vec<_> = (0..3).filter(|at| *at != old).map(|at| cluster.node(at).id).collect();
    cluster.node(old).cut(&ids);
    let other = (old + 1) % 3;
    cluster.put(other, "k", "2");
    cluster.node(old).heal();
    assert_eq!(&cluster.all(old).kvs[0].value[..], b"2");
}

#[test]
fn an_emptied_member_is_refused_and_a_directory_in_use_is_named() {
    let mut cluster = Cluster::start("emptied", &["a", "b", "c"]);
    cluster.put(0, "k", "v");
    let second = Node::start(cluster.configs[0].clone(), Front::service);
    let Err(error) = second else { panic!("two members in one directory") };
    assert!(error.to_string().contains("another process"), "{error}");
    let follower = (cluster.leader() + 1) % 3;
    cluster.kill(follower);
    std::fs::remove_dir_all(&cluster.configs[follower].data_dir).expect("removed");
    cluster.restart(follower);
    std::thread::sleep(Duration::from_millis(500));
    let status = cluster.node(follower).status().expect("it runs");
    assert_eq!(status.leader, None, "nobody talks to it");
    cluster.put((follower + 1) % 3, "k", "w");
}

#[test]
fn a_member_that_fell_behind_the_log_is_brought_back_by_a_checkpoint() {
    let mut cluster = Cluster::start_with("behind", &["a", "b", "c"], |config| {
        config.checkpoint_bytes_min = 1;
        config.snapshot_count = 50;
        config.snapshot_catchup_entries = 5;
    });
    cluster.put(0, "before", "v");
    let behind = (cluster.leader() + 1) % 3;
    cluster.kill(behind);
    let other = (behind + 1) % 3;
    for n in 0..300 {
        cluster.put(other, &format!("k{n:03}"), "v");
    }
    // Whoever leads has left the old part of the log behind.
    (0..3).filter(|at| *at != behind).for_each(|at| cluster.await_checkpoint(at));
    cluster.restart(behind);
    let (there, here) = (cluster.all(other), cluster.all(behind));
    assert_eq!(there.kvs, here.kvs);
    cluster.await_checkpoint(behind);
    for at in 0..3 {
        cluster.kill(at);
    }
    for at in 0..3 {
        cluster.restart(at);
    }
    assert_eq!(cluster.all(behind).kvs, there.kvs, "checkpoints and journals join after a restart");
}

/// Members and quorum as member `at` knows them.
fn describe(cluster: &Cluster, at: usize) -> ChangeResponse {
    outside(async {
        let path = "/quoratepb.Cluster/Describe";
        cluster.channel(at).call(path, &DescribeRequest::default()).await.expect("described")
    })
}

/// Changes the cluster at member `at`; the id of the member it is about. A refusal that an
/// election is the reason of is no answer, nor is that of a leader that has yet to hear from all.
fn change(cluster: &Cluster, at: usize, request: &ChangeRequest) -> u64 {
    let done: ChangeResponse = eventually("a change", || {
        let path = "/quoratepb.Cluster/Change";
        let done = outside(async { cluster.channel(at).call(path, request).await });
        done.inspect_err(|why: &Failure| {
            let early = ["no leader", "not heard from"];
            let early = early.iter().any(|part| why.to_string().contains(part));
            assert!(early && why.outcome() == Outcome::NotApplied, "{why}");
        })
    });
    done.id
}

/// Waits until the change that makes `id` a voter is over. It votes before that, while both
/// configurations are in force: then the other one's members are listed still, and the next
/// change is refused.
fn await_voter(cluster: &Cluster, at: usize, id: u64) {
    eventually(format_args!("{id:x} is promoted"), || {
        let seen = describe(cluster, at);
        let votes = seen.members.iter().any(|m| m.id == id && !m.is_learner);
        if votes && seen.joint.is_empty() { Ok(()) } else { Err(format!("{seen:?}")) }
    });
}

#[test]
fn members_that_join_past_the_log_come_by_checkpoint_and_vote() {
    let mut cluster = Cluster::start_with("join", &["a", "b", "c"], |config| {
        config.checkpoint_bytes_min = 1;
        config.snapshot_count = 50;
        config.snapshot_catchup_entries = 5;
    });
    for n in 0..300 {
        cluster.put(n % 3, &format!("k{n:03}"), "v");
    }
    // Whoever leads has left the old part of the log behind.
    (0..3).for_each(|at| cluster.await_checkpoint(at));
    // One more, then one in the place of a member that died.
    for (name, dead) in [("d", None), ("e", Some(0))] {
        let newcomer = cluster.newcomer(name);
        let peer_urls = newcomer.advertise_peer_urls.iter().map(ToString::to_string).collect();
        let (mut kind, mut old) = (1, 0);
        if let Some(dead) = dead {
            (kind, old) = (4, cluster.node(dead).id.0);
            cluster.kill(dead);
            cluster.put(1, "one is dead", "v");
        }
        let name = name.to_owned();
        let request = ChangeRequest { kind, id: old, name, peer_urls, ..Default::default() };
        let id = change(&cluster, 1, &request);
        let new = cluster.join(newcomer);
        await_voter(&cluster, 1, id);
        let (there, here) = (cluster.all(1), cluster.all(new));
        assert_eq!(there.kvs, here.kvs, "the newcomer has everything");
        cluster.await_checkpoint(new);
    }
    assert_eq!(describe(&cluster, 1).members.len(), 4, "the dead member is left out");
    // Both newcomers count: without one old member they decide with the other.
    cluster.kill(2);
    cluster.put(1, "by newcomers", "v");
    for at in [3, 4] {
        cluster.kill(at);
        cluster.restart(at);
    }
    assert_eq!(cluster.all(3).kvs, cluster.all(1).kvs, "what was joined survives a restart");
}

fn client_urls(cluster: &Cluster, at: usize, name: &str) -> Vec<String> {
    let seen = describe(cluster, at);
    let member = seen.members.into_iter().find(|m| m.name == name);
    member.expect("a member of that name").client_ur_ls
}

#[test]
fn an_added_voter_is_answered_as_one_and_listed_as_a_learner_in_the_order_of_ids() {
    use api::etcdserverpb as pb;
    let cluster = Cluster::start("added", &["a", "b", "c"]);
    let urls = |port: u16| vec![format!("http://127.0.0.1:{port}")];
    outside(async {
        let to = cluster.channel(0);
        let list = async || {
            let path = "/etcdserverpb.Cluster/MemberList";
            let request = pb::MemberListRequest::default();
            to.call::<pb::MemberListResponse>(path, &request).await.expect("listed").members
        };
        let ids = |members: &[pb::Member]| members.iter().map(|m| m.id).collect::<Vec<_>>();
        assert!(ids(&list().await).is_sorted());
        let mut left = 3; // the first ones may fall into another change or an election
        let added = loop {
            let request = pb::MemberAddRequest { peer_ur_ls: urls(1), is_learner: false };
            match to
                .call::<pb::MemberAddResponse>("/etcdserverpb.Cluster/MemberAdd", &request)
                .await
            {
                Ok(added) => break added,
                Err(error) => assert!(left > 0, "{error:?}"),
            }
            left -= 1;
        };
        let member = added.member.expect("told");
        assert!(!member.is_learner, "what was asked for");
        assert!(ids(&added.members).is_sorted());
        for members in [added.members, list().await] {
            assert!(ids(&members).is_sorted());
            let listed = members.iter().find(|m| m.id == member.id).expect("listed");
            assert!(listed.is_learner, "what it is so far");
        }
    });
}

/// A wrong address takes nobody away: not while the members run, nor when they start again, so
/// that it can be put right.
#[test]
fn an_update_to_an_address_where_nobody_is_can_be_taken_back() {
    use api::etcdserverpb as pb;
    let mut cluster = Cluster::start("readdressed", &["a", "b"]);
    let update = |cluster: &Cluster, at: usize, url: &str| {
        let peer_ur_ls = vec![url.to_owned()];
        let request = pb::MemberUpdateRequest { id: cluster.node(at).id.0, peer_ur_ls };
        let path = "/etcdserverpb.Cluster/MemberUpdate";
        eventually("an update", || {
            outside(async {
                cluster.channel(0).call::<pb::MemberUpdateResponse>(path, &request).await
            })
        });
    };
    let right: Vec<String> =
        cluster.configs.iter().map(|config| config.advertise_peer_urls[0].to_string()).collect();
    for at in [0, 1] {
        update(&cluster, at, &format!("http://127.0.0.1:{}", 1 + at));
        cluster.put(0, &format!("{at} is listed elsewhere"), "v");
    }
    (0..2).for_each(|at| cluster.kill(at));
    (0..2).for_each(|at| cluster.restart(at));
    cluster.put(1, "both were started again", "v");
    (0..2).for_each(|at| update(&cluster, at, &right[at]));
    cluster.put(0, "put right", "v");
}

#[test]
fn a_member_that_is_down_keeps_its_client_urls_while_the_others_restart() {
    let mut cluster = Cluster::start("published", &["a", "b", "c"]);
    let urls = vec![cluster.configs[2].advertise_client_urls[0].to_string()];
    // A moment after c was met it is written down what it says.
    let written = |at: usize, urls: Vec<String>| {
        let look = move |replica: &replica::Replica| {
            replica.raft().config().members.iter().any(|m| m.name == "c" && m.client_urls == urls)
        };
        cluster.node(at).look(look) == Some(true)
    };
    for at in [0, 1] {
        until("c has said them", || client_urls(&cluster, at, "c") == urls);
        until("that is written down", || written(at, urls.clone()));
    }
    cluster.kill(2);
    cluster.kill(0);
    cluster.restart(0);
    until("c's client URLs are kept", || client_urls(&cluster, 0, "c") == urls);
    for at in [1, 0] {
        cluster.kill(at);
        cluster.restart(at);
        until("c's client URLs are known", || client_urls(&cluster, at, "c") == urls);
    }
}

#[test]
fn without_a_quorum_a_write_is_refused_with_the_names_of_the_missing() {
    let mut cluster = Cluster::start("missing", &["a", "b", "c"]);
    cluster.put(0, "k", "v");
    let left = cluster.leader();
    let gone: Vec<usize> = (0..3).filter(|at| *at != left).collect();
    gone.iter().for_each(|at| cluster.kill(*at));
    let led = cluster.node(left).status().is_some_and(|status| status.is_leader);
    let end = Instant::now() + WAIT;
    // What is in the leader's log already is unknown; once it stepped down, writes are refused.
    let error = loop {
        let error = cluster.try_put(left, "k", "w").expect_err("no quorum, no answer");
        // One that did not lead any more needs a while to find out who is missing.
        if error.contains("(not-applied)") && (led || error.contains("missing")) {
            break error;
        }
        assert!(error.contains("(unknown)") || !led, "{error}");
        assert!(Instant::now() < end, "a definite refusal in time: {error}");
    };
    assert!(error.starts_with("no leader"), "{error}");
    let names: Vec<&str> = gone.iter().map(|at| ["a", "b", "c"][*at]).collect();
    assert!(error.contains(&format!("missing: {}", names.join(", "))), "{error}");
}
