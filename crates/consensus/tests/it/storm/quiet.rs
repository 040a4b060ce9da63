//! What holds once all is well again: who leads stays, who was away disturbs nobody, a read asks
//! for its own round, who reaches nobody steps down, and less than half may be lost.

use super::{Cluster, Plan, config_of, goes_on, meet};
use base::NodeId;
use quorum::NodeSet;

/// Longer than any member waits before it asks for votes, ms.
const PATIENCE_MS: u64 = 500;

pub fn quiet(c: &mut Cluster, plan: Plan<'_>) {
    // A member marked out changes the configuration whenever somebody is missing.
    if plan.quorum.contains("witness") || !plan.marks.is_empty() {
        return;
    }
    c.slow = 0;
    who_was_away_disturbs_nobody(c);
    a_restarted_leader_is_followed_again(c);
    a_read_waits_for_a_round_of_its_own(c);
    a_leader_that_reaches_nobody_steps_down(c);
    if plan.spares == 0 && plan.quorum.is_empty() {
        less_than_half_may_be_lost(c, plan.voters);
    }
}

fn cut_off(c: &mut Cluster, node: NodeId) {
    let peers: Vec<NodeId> = c.nodes.keys().copied().filter(|peer| *peer != node).collect();
    c.cut.extend(peers.iter().flat_map(|peer| [(node.0, peer.0), (peer.0, node.0)]));
}

fn leads(c: &Cluster, node: NodeId) -> bool {
    c.nodes[&node].raft.as_ref().is_some_and(|raft| raft.is_leader())
}

/// Whether these elect or commit by themselves.
fn decides(c: &Cluster, leader: NodeId, set: NodeSet) -> (bool, bool) {
    let system = c.nodes[&leader].raft.as_ref().unwrap().config().system();
    (system.elect().is_quorum(set), system.commit().is_quorum(set))
}

fn commits_alone(c: &Cluster, leader: NodeId) -> bool {
    decides(c, leader, NodeSet::from_iter(config_of(c, leader).slot_of(leader))).1
}

fn who_was_away_disturbs_nobody(c: &mut Cluster) {
    let leader = c.leader().expect("it was healed");
    let config = config_of(c, leader);
    let others = config.members.iter().map(|m| m.id).filter(|id| *id != leader);
    let others: Vec<NodeId> = others.collect();
    if others.is_empty() {
        return;
    }
    let away = others[c.prng.below(others.len() as u64) as usize];
    let alone = NodeSet::from_iter(config.slot_of(away));
    let rest = config.voters().minus(alone);
    if decides(c, leader, alone).0 || decides(c, leader, rest) != (true, true) {
        return;
    }
    let ballot = c.nodes[&leader].raft.as_ref().unwrap().ballot();
    cut_off(c, away);
    c.run(PATIENCE_MS);
    c.cut.clear();
    c.run(PATIENCE_MS);
    let now = c.nodes[&leader].raft.as_ref().unwrap().ballot();
    assert!(leads(c, leader) && now == ballot, "{away} came back, and {leader} led at {ballot}");
}

fn a_restarted_leader_is_followed_again(c: &mut Cluster) {
    let leader = c.leader().expect("it was healed");
    c.crash(leader);
    c.start(leader);
    meet(c, leader);
    c.run(5);
    c.time_out(leader);
    c.run(50);
    assert!(leads(c, leader), "{leader} asked whom it had led just before");
}

/// A message takes two milliseconds here, and a round is a question and an answer.
fn a_read_waits_for_a_round_of_its_own(c: &mut Cluster) {
    c.run(50);
    let leader = c.leader().expect("it was healed");
    if commits_alone(c, leader) {
        return;
    }
    let before = c.reads.len();
    c.read_next(leader);
    c.run(2);
    c.read_next(leader);
    c.run(3);
    assert!(c.reads.len() < before + 2, "{leader} confirmed a read by what was asked before it");
    c.run(50);
    assert_eq!(c.reads.len(), before + 2, "{leader} confirms both");
}

fn a_leader_that_reaches_nobody_steps_down(c: &mut Cluster) {
    let leader = c.leader().expect("it was healed");
    if commits_alone(c, leader) {
        return;
    }
    cut_off(c, leader);
    c.run(PATIENCE_MS);
    assert!(!leads(c, leader), "{leader} reaches nobody and leads");
    c.cut.clear();
    c.run(2 * PATIENCE_MS);
}

fn less_than_half_may_be_lost(c: &mut Cluster, voters: u64) {
    let mut ids: Vec<NodeId> = (1..=voters).map(NodeId).collect();
    for _ in 0..(voters - 1) / 2 {
        let lost = c.prng.below(ids.len() as u64) as usize;
        let lost = ids.swap_remove(lost);
        c.crash(lost);
    }
    c.run(4 * PATIENCE_MS);
    goes_on(c, "more than half are there");
}
