//! Golden scripts and random schedules over the deterministic cluster.

#[path = "it/cluster.rs"]
mod cluster;
#[path = "it/direct.rs"]
mod direct;
#[path = "it/script.rs"]
mod script;

use base::{Blob, NodeId};
use cluster::{Cluster, configuration};
use consensus::raft::{BallotRule, EntryKind};

#[test]
fn every_script_prints_its_golden_trace() {
    script::run_all();
}

fn data(text: &str) -> (EntryKind, Blob) {
    (EntryKind::Data, Blob::from(text.as_bytes()))
}

/// One random schedule, then a heal after which the cluster must commit again.
fn storm(seed: u64, quorum: &str, rule: BallotRule) {
    let mut c = Cluster::new(configuration(5, 0, quorum, rule), seed);
    c.noise = (5, 5, 8);
    for step in 0..150u64 {
        let ms = 1 + c.prng.below(80);
        c.run(ms);
        let (a, b) = (NodeId(1 + c.prng.below(5)), NodeId(1 + c.prng.below(5)));
        match c.prng.below(14) {
            0 => c.crash(a),
            1 | 2 => c.start(a),
            3 if a != b => drop(c.cut.insert((a.0, b.0))),
            4 => c.cut.clear(),
            5 => c.nodes.get_mut(&a).unwrap().stalled = true,
            6 | 7 => c.unstall(a),
            8 => c.compact(a),
            9 => c.read(a, step + 1),
            10 => drop(c.with(a, |r, now, out| r.transfer(now, Some(b), out))),
            11 => drop(c.with(a, |r, now, out| r.peer_lost(now, b, out))),
            _ => {
                let text = format!("v{step}");
                if let Some(leader) = c.leader() {
                    c.with(leader, |r, now, out| {
                        let _ = r.propose(now, [data(&text), data("more")].into_iter(), out);
                    });
                }
            }
        }
    }
    c.noise = (0, 0, 0);
    c.cut.clear();
    (1..=5).for_each(|id| {
        c.start(NodeId(id));
        c.unstall(NodeId(id));
    });
    c.run(3000);
    let leader = c.leader().unwrap_or_else(|| panic!("seed {seed}: no leader after the heal"));
    let first = c.with(leader, |r, now, out| r.propose(now, [data("end")].into_iter(), out));
    let first = first.unwrap().unwrap_or_else(|e| panic!("seed {seed}: {e:?}"));
    c.run(500);
    for (id, node) in &c.nodes {
        let commit = node.raft.as_ref().unwrap().commit();
        assert!(commit >= first, "seed {seed}: n{id} is at {commit}, not {first}");
    }
}

#[test]
fn random_schedules_keep_every_invariant_and_heal_under_majorities() {
    (0..150).for_each(|seed| storm(seed, "", BallotRule::SharedTerms));
}

#[test]
fn random_schedules_keep_every_invariant_with_term_and_node_ballots() {
    // Commit sets of two, elect sets of four; then elect sets that need not meet each other.
    let flexible = "elect = 4 of (n1,n2,n3,n4,n5); commit = 2 of (n1,n2,n3,n4,n5)";
    (0..100).for_each(|seed| storm(seed, flexible, BallotRule::SharedTerms));
    let paxos = "elect = 2 of (n1,n2,n3,n4,n5); commit = 4 of (n1,n2,n3,n4,n5)";
    (0..100).for_each(|seed| storm(seed, paxos, BallotRule::TermAndNode));
}
