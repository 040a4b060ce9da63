//! How soon a cluster has a leader where nobody leads: hints of the shell, and split votes.
//!
//! Timeouts are 100 to 200 ms, heartbeats 20 ms, a message takes 2 ms and a write 1 ms.

use super::harness::{Cluster, configuration};
use base::NodeId;
use cluster::BallotRule;

const TIMEOUT: u64 = 100;

fn cluster(voters: u64, seed: u64) -> Cluster {
    Cluster::new(configuration(voters, 0, "", BallotRule::SharedTerms), seed)
}

fn found(c: &mut Cluster, at: u64, peer: u64) {
    c.with(NodeId(at), |r, now, out| r.peer_found(now, NodeId(peer), out));
}

fn lost(c: &mut Cluster, at: u64, peer: u64) {
    c.with(NodeId(at), |r, now, out| r.peer_lost(now, NodeId(peer), out));
}

/// Milliseconds until somebody leads; `max` if nobody does.
fn until_led(c: &mut Cluster, max: u64) -> u64 {
    (0..max)
        .find(|_| {
            c.leader().is_some() || {
                c.run(1);
                false
            }
        })
        .unwrap_or(max)
}

#[test]
fn two_candidates_of_equal_standing_settle_within_one_further_round() {
    for seed in 0..300 {
        let mut c = cluster(3, seed);
        c.crash(NodeId(3));
        c.time_out(NodeId(1));
        c.time_out(NodeId(2));
        c.run(8);
        let campaigns = c.lines.iter().filter(|l| l.contains(" campaigns ")).count();
        assert_eq!(campaigns, 2, "both voted for themselves");
        let took = until_led(&mut c, 2 * TIMEOUT);
        assert!(took <= TIMEOUT / 2, "seed {seed}: a leader after {took} ms more");
        assert_eq!(c.leader(), Some(NodeId(2)), "the higher id asks again first");
    }
}

#[test]
fn members_that_are_started_together_have_a_leader_as_soon_as_they_meet() {
    for seed in 0..300 {
        let mut c = cluster(3, seed);
        for at in 1..=3 {
            (1..=3).filter(|peer| *peer != at).for_each(|peer| found(&mut c, at, peer));
        }
        let took = until_led(&mut c, 2 * TIMEOUT);
        assert!(took <= TIMEOUT / 2, "seed {seed}: a leader after {took} ms");
    }
}

#[test]
fn an_answer_that_is_lost_while_members_meet_is_asked_for_again_soon() {
    for seed in 0..300 {
        let mut c = cluster(3, seed);
        // n1 can be heard, and hears nobody yet: its peers are still dialling.
        c.cut.extend([(2, 1), (3, 1), (2, 3), (3, 2)]);
        found(&mut c, 1, 2);
        c.run(20);
        c.cut.clear();
        let took = until_led(&mut c, 2 * TIMEOUT);
        assert!(took <= TIMEOUT / 2, "seed {seed}: a leader after {took} ms");
    }
}

#[test]
fn who_asks_before_the_others_have_noticed_the_loss_asks_again_soon() {
    for seed in 0..300 {
        let mut c = cluster(3, seed);
        c.time_out(NodeId(1));
        c.run(30);
        // n2 holds an entry that n3 does not: only n2 can win.
        c.cut.extend([(1, 3), (3, 1)]);
        c.with(NodeId(1), |r, now, out| {
            let item = (consensus::raft::EntryKind::Data, base::Blob::from(&b"x"[..]));
            r.propose(now, [item].into_iter(), out).expect("it leads");
        });
        c.run(5);
        c.crash(NodeId(1));
        c.run(5);
        lost(&mut c, 2, 1);
        // The hint of n2 takes effect in 100 ms at most; n3 hears of the loss a little later.
        let asks = |c: &Cluster| c.lines.iter().any(|l| l.contains("n2 pre-campaigns"));
        (0..TIMEOUT).find(|_| {
            asks(&c) || {
                c.run(1);
                false
            }
        });
        c.run(5);
        lost(&mut c, 3, 1);
        let took = until_led(&mut c, 4 * TIMEOUT);
        assert!(took <= TIMEOUT / 2, "seed {seed}: a leader after {took} ms");
    }
}

#[test]
fn a_member_that_returns_to_a_led_cluster_disturbs_nobody() {
    for seed in 0..100 {
        let mut c = cluster(3, seed);
        c.time_out(NodeId(1));
        c.run(30);
        let ballot = c.nodes[&NodeId(1)].raft.as_ref().expect("it runs").ballot();
        c.crash(NodeId(3));
        c.run(50);
        c.start(NodeId(3));
        for (at, peer) in [(3, 1), (3, 2), (1, 3), (2, 3)] {
            found(&mut c, at, peer);
        }
        c.run(500);
        assert_eq!(c.leader(), Some(NodeId(1)), "seed {seed}");
        assert!(c.nodes.values().all(|n| n.raft.as_ref().expect("it runs").ballot() == ballot));
    }
}

#[test]
fn a_member_that_nobody_answers_asks_seldom_once_its_haste_is_over() {
    let mut c = cluster(3, 7);
    c.crash(NodeId(2));
    c.crash(NodeId(3));
    found(&mut c, 1, 2);
    c.run(2 * TIMEOUT);
    let asks = |c: &Cluster| c.lines.iter().filter(|l| l.contains("n1 pre-campaigns")).count();
    let hasty = asks(&c);
    assert!((5..=20).contains(&hasty), "{hasty} rounds in one longest timeout");
    c.run(10 * TIMEOUT);
    let calm = asks(&c) - hasty;
    assert!(calm <= 11, "{calm} rounds in ten timeouts");
}
