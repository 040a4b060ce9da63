//! Golden scripts, random schedules and hand-driven machines over the deterministic cluster.

#[path = "it/direct.rs"]
mod direct;
#[path = "it/fuzz.rs"]
mod fuzz;
#[path = "it/harness.rs"]
mod harness;
#[path = "it/haste.rs"]
mod haste;
#[path = "it/script.rs"]
mod script;
#[path = "it/seats.rs"]
mod seats;
#[path = "it/storm.rs"]
mod storm;

use cluster::BallotRule;
use consensus::raft::EntryKind;
use storm::{Plan, play, play_and_lose_each, seeds};

#[test]
fn every_script_prints_its_golden_trace() {
    script::run_all();
}

fn fixed(quorum: &str, rule: BallotRule) -> Plan<'_> {
    Plan { voters: 5, spares: 0, quorum, rule, marks: "" }
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
        play(seed, Plan { voters: 6, spares: 0, quorum, rule, marks: "" });
    }
}

#[test]
fn random_schedules_keep_every_invariant_while_members_and_systems_change() {
    let (mut changes, mut lives) = (0, 0);
    for seed in seeds(300) {
        lives += 1;
        let rule = [BallotRule::SharedTerms, BallotRule::TermAndNode][(seed % 2) as usize];
        let voters = 3 + seed % 3;
        let plan = Plan { voters, spares: 7 - voters, quorum: "", rule, marks: "" };
        changes += play(seed, plan).configs;
    }
    assert!(changes >= 3 * lives, "{changes} configurations in {lives} lives are too few");
}

#[test]
fn random_schedules_keep_every_invariant_with_witnesses() {
    let one = "majority(n1, n2, witness(n3))";
    let two = "majority(n1, n2, n3, witness(n4), witness(n5))";
    let few = "3 of (n1, n2, n3, n4, witness(n5))";
    let blind = "elect = 2 of (n1, n2, n3, witness(n4)); commit = 3 of (n1, n2, n3, witness(n4))";
    let (shared, node) = (BallotRule::SharedTerms, BallotRule::TermAndNode);
    let plans = [(3, one, shared), (5, two, shared), (5, few, shared), (4, blind, node)];
    let (mut marks, mut lives) = (0, 0);
    for seed in seeds(400) {
        lives += 1;
        let (voters, quorum, rule) = plans[(seed % 4) as usize];
        marks += play(seed, Plan { voters, spares: 0, quorum, rule, marks: "" }).configs;
    }
    assert!(marks >= lives, "{marks} records of losses and returns in {lives} lives");
}

#[test]
fn random_schedules_keep_every_invariant_while_witnesses_come_and_go() {
    let (mut changes, mut lives) = (0, 0);
    for seed in seeds(300) {
        lives += 1;
        let rule = [BallotRule::SharedTerms, BallotRule::TermAndNode][(seed % 2) as usize];
        let (voters, marks) = (3 + seed % 3, "any of (witness(n6), witness(n7))");
        let plan = Plan { voters, spares: 7 - voters, quorum: "", rule, marks };
        changes += play(seed, plan).configs;
    }
    assert!(changes >= 3 * lives, "{changes} configurations in {lives} lives are too few");
}

/// Leader after leader stepped down at its first heartbeat: the voter it needed had voted, and was
/// still to learn from the log that it has a seat.
#[test]
fn a_leader_stays_while_a_voter_catches_up_with_the_entry_that_seats_it() {
    let marks = "any of (witness(n6), witness(n7))";
    play(748, Plan { voters: 4, spares: 3, quorum: "", rule: BallotRule::SharedTerms, marks });
}

#[test]
fn with_a_witness_any_one_member_may_be_lost_after_any_schedule() {
    let quorum = "majority(n1, n2, witness(n3))";
    for seed in seeds(200) {
        let rule = [BallotRule::SharedTerms, BallotRule::TermAndNode][(seed % 2) as usize];
        play_and_lose_each(seed, Plan { voters: 3, spares: 0, quorum, rule, marks: "" });
    }
}

/// n1 commits with n3, whose log is gone when n1 is: a voter that counts and keeps nothing.
fn a_member_and_a_voter_without_a_log(quorum: &str) -> harness::Cluster {
    let config = harness::configuration(3, 0, quorum, BallotRule::SharedTerms);
    let mut c = harness::Cluster::met(config, 7);
    let (n1, n2, n3) = (base::NodeId(1), base::NodeId(2), base::NodeId(3));
    c.time_out(n1);
    c.run(60);
    c.cut.extend([(1, 2), (2, 1)]);
    let item = (EntryKind::Data, base::Blob::from(&b"kept"[..]));
    c.with(n1, |r, now, out| r.propose(now, [item].into_iter(), out).unwrap());
    c.run(30);
    c.crash(n3);
    c.nodes.get_mut(&n3).unwrap().disk.entries.clear();
    c.start(n3);
    c.crash(n1);
    c.cut.clear();
    c.run(600);
    assert_eq!(c.leader(), Some(n2));
    c
}

/// Counted like anyone, and its log forgotten: what n1 and n3 committed is gone with n1.
#[test]
#[should_panic(expected = "n2 leads 2.2 without 2")]
fn a_careless_witness_loses_data() {
    a_member_and_a_voter_without_a_log("majority(n1, n2, n3)");
}

/// The same schedule under the rule: n2 was not marked out, so nothing was committed without it.
#[test]
fn a_witness_under_the_rule_commits_nothing_that_one_data_member_alone_has() {
    let mut c = a_member_and_a_voter_without_a_log("majority(n1, n2, witness(n3))");
    c.start(base::NodeId(1));
    c.run(600);
    let commits = c.nodes.values().map(|n| n.raft.as_ref().unwrap().commit());
    assert!(commits.into_iter().all(|commit| commit >= base::LogIndex(2)));
}

/// Elect sets that do not meet, as rows: refused where terms are shared, with the two rows.
#[test]
fn elect_sets_that_do_not_meet_need_ballots_of_term_and_node() {
    let rows = "elect = row(n1 n2 / n3 n4); commit = cover(n1 n2 / n3 n4)";
    let shared = harness::configuration(4, 0, rows, BallotRule::SharedTerms);
    let error = shared.compile().unwrap_err().to_string();
    assert!(error.contains("share no member"), "{error}");
    let config = harness::configuration(4, 0, rows, BallotRule::TermAndNode);
    config.clone().compile().expect("ballots of (term, node) are unique");
    let mut c = harness::Cluster::met(config, 7);
    c.run(400);
    let leader = c.leader().expect("all are there").0;
    c.cut.extend([(1, 3), (1, 4), (2, 3), (2, 4), (3, 1), (4, 1), (3, 2), (4, 2)]);
    // Neither row can commit, so none would try by itself: each is told to, one in each row.
    for row in [[1, 2], [3, 4]] {
        let told = row.into_iter().find(|id| *id != leader).unwrap();
        c.hand_over(base::NodeId(leader), base::NodeId(told));
    }
    c.run(100);
    let elected: Vec<_> = c.lines.iter().filter(|line| line.contains("elected 2.")).collect();
    assert_eq!(elected.len(), 2, "two leaders in term 2, of two ballots: {elected:?}");
}

/// The rule switched off: each row believes what the refused system says, that it elects alone,
/// and terms are shared. The harness sees two leaders of one ballot.
#[test]
#[should_panic(expected = "term 1 elected")]
fn two_halves_that_elect_alone_make_two_leaders_of_one_term() {
    let config = harness::configuration(4, 0, "majority(n1, n2, n3, n4)", BallotRule::SharedTerms);
    let mut c = harness::Cluster::new(config, 7);
    for (id, row) in [(1, "n1, n2"), (2, "n1, n2"), (3, "n3, n4"), (4, "n3, n4")] {
        let id = base::NodeId(id);
        c.crash(id);
        c.nodes.get_mut(&id).unwrap().disk.base_config.quorum = format!("all of ({row})");
        c.start(id);
    }
    c.cut.extend([(1, 3), (1, 4), (2, 3), (2, 4), (3, 1), (4, 1), (3, 2), (4, 2)]);
    c.run(400);
}

/// A cluster that shares terms is told so when it is to move to a system that cannot.
#[test]
fn a_change_that_needs_the_other_ballot_rule_is_refused_and_says_so() {
    use cluster::{Change, ChangeError};
    let text = "elect = row(n1 n2 / n3 n4); commit = cover(n1 n2 / n3 n4)".to_string();
    let change = Change::Quorum { text };
    let request = base::RequestId { seq: 1, ..Default::default() };
    for (rule, refused) in [(BallotRule::SharedTerms, true), (BallotRule::TermAndNode, false)] {
        let config = harness::configuration(4, 0, "", rule).compile().unwrap();
        let begun = config.begin(&change, request, config.voters(), |_| true);
        let says = |e: &ChangeError| e.to_string().contains("needs (term, node) ballots");
        assert_eq!(begun.as_ref().err().is_some_and(says), refused, "{begun:?}");
        assert_eq!(begun.is_err(), refused);
    }
}

/// What a witness is stays what it is: its log has no data that it could serve.
#[test]
fn a_witness_cannot_become_a_data_member_in_place_nor_the_other_way_round() {
    use cluster::{Change, ChangeError};
    let request = base::RequestId { seq: 1, ..Default::default() };
    let quorum = "majority(n1, n2, witness(n3))";
    let config = harness::configuration(3, 0, quorum, BallotRule::SharedTerms);
    let config = config.compile().unwrap();
    for text in ["majority(n1, n2, n3)", "majority(n1, witness(n2), n3)", "all of (n1, n2)"] {
        let change = Change::Quorum { text: text.to_string() };
        let refused = config.begin(&change, request, config.voters(), |_| true).unwrap_err();
        let ChangeError::Invalid(why) = refused else { panic!("{refused:?}") };
        assert!(why.contains("remove it, and add a new member"), "{why}");
    }
    let remove = Change::Remove { id: base::NodeId(3), quorum: None };
    let joint = config.begin(&remove, request, config.voters(), |_| true).unwrap();
    assert_eq!(joint.done().quorum, "all of (n1, n2)");
}

/// A tally, a trace or a frame of yesterday may still name the slot.
#[test]
fn a_slot_that_was_left_is_given_again_only_after_all_others() {
    use cluster::{Change, Newcomer};
    let config = harness::configuration(3, 0, "", BallotRule::SharedTerms);
    let config = config.compile().unwrap();
    let mut given = Vec::new();
    let remove = Change::Remove { id: base::NodeId(3), quorum: None };
    let request = base::RequestId { seq: 1, ..Default::default() };
    let joint = config.begin(&remove, request, config.voters(), |_| true).unwrap();
    let mut config = joint.advance(joint.voters(), |_| true).unwrap().expect("one step more");
    for id in 10..80 {
        let request = base::RequestId { seq: id, ..Default::default() };
        let id = base::NodeId(id);
        let member = Newcomer { id, name: String::new(), peer_urls: vec![] };
        let add = Change::Add { member, learner: true, quorum: None };
        config = config.begin(&add, request, config.voters(), |_| true).unwrap();
        given.push(config.slot_of(id).unwrap());
        let decoded = cluster::Configuration::decode(&config.encode()).unwrap();
        assert_eq!(decoded, *config.config(), "the slot given last is part of it");
        let remove = Change::Remove { id, quorum: None };
        config = config.begin(&remove, request, config.voters(), |_| true).unwrap();
    }
    let circle: Vec<u8> = (3..64).chain(2..11).collect();
    assert_eq!(given, circle);
}
