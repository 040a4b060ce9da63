//! Golden scripts, random schedules and hand-driven machines over the deterministic cluster.

#[path = "it/cluster.rs"]
mod cluster;
#[path = "it/direct.rs"]
mod direct;
#[path = "it/fuzz.rs"]
mod fuzz;
#[path = "it/script.rs"]
mod script;
#[path = "it/storm.rs"]
mod storm;

use consensus::raft::BallotRule;
use storm::{Plan, play, seeds};

#[test]
fn every_script_prints_its_golden_trace() {
    script::run_all();
}

fn fixed(quorum: &str, rule: BallotRule) -> Plan<'_> {
    Plan { voters: 5, spares: 0, quorum, rule }
}

#[test]
fn random_schedules_keep_every_invariant_and_heal_under_majorities() {
    let (mut lives, mut damaged) = (0, 0);
    for seed in seeds(150) {
        lives += 1;
        damaged += play(seed, fixed("", BallotRule::SharedTerms)).damaged;
    }
    assert!(damaged >= lives, "{damaged} damaged disks in {lives} lives are too few");
}

#[test]
fn random_schedules_keep_every_invariant_under_flexible_quorums() {
    // Commit sets of two, elect sets of four; then elect sets that need not meet each other.
    let flexible = "elect = 4 of (n1,n2,n3,n4,n5); commit = 2 of (n1,n2,n3,n4,n5)";
    for seed in seeds(100) {
        play(seed, fixed(flexible, BallotRule::SharedTerms));
    }
    let paxos = "elect = 2 of (n1,n2,n3,n4,n5); commit = 4 of (n1,n2,n3,n4,n5)";
    for seed in seeds(100) {
        play(seed, fixed(paxos, BallotRule::TermAndNode));
    }
}

#[test]
fn random_schedules_keep_every_invariant_over_grids_and_zones() {
    let grid = "grid(n1 n2 n3 / n4 n5 n6)";
    let zones = "zones(a{n1,n2}, b{n3,n4}, c{n5,n6})";
    let rows = "elect = cover(n1 n2 / n3 n4 / n5 n6); commit = row(n1 n2 / n3 n4 / n5 n6)";
    let shared = BallotRule::SharedTerms;
    let plans = [(grid, shared), (zones, shared), (rows, BallotRule::TermAndNode)];
    for seed in seeds(150) {
        let (quorum, rule) = plans[(seed % 3) as usize];
        play(seed, Plan { voters: 6, spares: 0, quorum, rule });
    }
}

#[test]
fn random_schedules_keep_every_invariant_while_members_and_systems_change() {
    let (mut changes, mut lives) = (0, 0);
    for seed in seeds(300) {
        lives += 1;
        let rule = [BallotRule::SharedTerms, BallotRule::TermAndNode][(seed % 2) as usize];
        let voters = 3 + seed % 3;
        changes += play(seed, Plan { voters, spares: 7 - voters, quorum: "", rule }).configs;
    }
    assert!(changes >= 3 * lives, "{changes} configurations in {lives} lives are too few");
}
