//! Changes of members and quorum on whole replicas: each kind, a crash at each stage, partitions,
//! two at once, and what must be refused.

use super::cluster::{Cluster, Told, command_put, range_of};
use base::{Ballot, Incarnation, Nanos, NodeId, RequestId, Token};
use cluster::{Change, ChangeError, Configuration, Newcomer};
use mvcc::Caller;
use replica::{Event, PeerBody, PeerMessage, Reply, TraceKind, UnknownReason};

fn id(node: usize) -> NodeId {
    NodeId(node as u64 + 1)
}

fn newcomer(node: usize) -> Newcomer {
    let peer_urls = vec![format!("http://n{}", node + 1)];
    Newcomer { id: id(node), name: format!("n{}", node + 1), peer_urls }
}

fn add(node: usize) -> Change {
    Change::Add { member: newcomer(node), learner: false, quorum: None }
}

fn remove(node: usize) -> Change {
    Change::Remove { id: id(node), quorum: None }
}

fn quorum(text: &str) -> Change {
    Change::Quorum { text: text.into() }
}

fn ask(c: &mut Cluster, node: usize, change: Change) -> Token {
    c.event(node, |token| Event::Change { token, caller: Caller::nobody(), change })
}

#[track_caller]
fn done(c: &mut Cluster, node: usize, change: Change) -> Configuration {
    let token = ask(c, node, change);
    match c.await_reply(node, token) {
        Reply::Changed { config, .. } => *config,
        other => panic!("not changed: {other:?}"),
    }
}

#[track_caller]
fn refused(c: &mut Cluster, node: usize, change: Change) -> ChangeError {
    let token = ask(c, node, change);
    match c.await_reply(node, token) {
        Reply::ChangeRefused(error) => error,
        other => panic!("not refused: {other:?}"),
    }
}

#[track_caller]
fn put(c: &mut Cluster, node: usize, key: &str) {
    let token = c.event(node, |token| Event::Propose {
        token,
        caller: Caller::nobody(),
        command: command_put(key, key),
    });
    let reply = c.await_reply(node, token);
    assert!(matches!(reply, Reply::Applied { result: Ok(_), .. }), "{reply:?}");
}

#[track_caller]
fn has(c: &mut Cluster, node: usize, key: &str) {
    let token = c.read(node, range_of(key));
    assert_eq!(c.await_range(node, token).count, 1, "{key} at {node}");
}

#[test]
fn a_fourth_member_catches_up_becomes_a_voter_and_leaves_again() {
    for asked in 0..3 {
        let mut c = Cluster::new(3, 1);
        c.run_until_leader();
        put(&mut c, asked, "before");
        let config = done(&mut c, asked, add(3));
        assert!(config.member(id(3)).expect("in").learner, "nobody is counted before it is there");
        let new = c.newcomer();
        let config = c.run_until_settled();
        assert_eq!(config.quorum, "majority(n1, n2, n3, n4)");
        has(&mut c, new, "before");
        put(&mut c, new, "by the fourth");
        let config = done(&mut c, asked, remove(new));
        assert_eq!((config.members.len(), &config.quorum[..]), (3, "majority(n1, n2, n3)"));
        c.run_for(Nanos::from_millis(500));
        assert!(c.removed.contains(&new), "it hears that it left");
        put(&mut c, asked, "after");
        assert_eq!(refused(&mut c, asked, remove(new)), ChangeError::MemberNotFound);
        assert_eq!(refused(&mut c, asked, add(new)), ChangeError::IdExists);
    }
}

#[test]
fn who_asks_for_a_change_is_known_to_the_leader_wherever_it_was_asked_for() {
    let mut c = Cluster::new(3, 1);
    let leader = c.run_until_leader();
    c.run_for(Nanos::from_millis(500)); // all are heard
    for (asked, user) in [(leader, "root"), ((leader + 1) % 3, "operator"), (leader, "")] {
        c.told.clear();
        let caller = Caller::new(user.as_bytes().into(), 7).expect("short");
        let change = quorum("all of (n1, n2, n3)");
        let token = c.event(asked, |token| Event::Change { token, caller, change });
        let reply = c.await_reply(asked, token);
        assert!(matches!(reply, Reply::Changed { .. }), "{reply:?}");
        let begun = c.told.iter().find_map(|(_, node, told)| match told {
            Told::Trace(TraceKind::Changing { by, .. }) => Some((*node, by.clone())),
            _ => None,
        });
        let name = Some(user.to_owned()).filter(|user| !user.is_empty());
        assert_eq!(begun, Some((leader, name)));
        done(&mut c, leader, quorum("majority(n1, n2, n3)"));
    }
}

#[test]
fn a_leader_that_is_removed_finishes_the_change_and_another_leads_at_once() {
    let mut c = Cluster::new(3, 2);
    let leader = c.run_until_leader();
    done(&mut c, leader, remove(leader));
    assert!(c.removed.contains(&leader));
    c.run_for(Nanos::from_millis(300));
    let heir = c.run_until_leader();
    assert!(heir != leader);
    put(&mut c, heir, "k");
    assert_eq!(c.config(heir).members.len(), 2);
}

#[test]
fn a_member_that_asks_for_its_own_removal_is_told() {
    let mut c = Cluster::new(3, 3);
    let follower = (c.run_until_leader() + 1) % 3;
    done(&mut c, follower, remove(follower));
    assert!(c.removed.contains(&follower));
}

#[test]
fn a_dead_member_is_replaced_in_one_change() {
    let mut c = Cluster::new(3, 4);
    let leader = c.run_until_leader();
    put(&mut c, leader, "k");
    let dead = (leader + 1) % 3;
    c.crash(dead);
    let change = Change::Replace { old: id(dead), member: newcomer(3), quorum: None };
    done(&mut c, leader, change);
    let new = c.newcomer();
    let config = c.run_until_settled();
    assert!(config.member(id(dead)).is_none() && !config.member(id(new)).expect("in").learner);
    // The replaced one does not count any more, the new one does.
    c.crash((leader + 2) % 3);
    c.run_for(Nanos::from_millis(3000));
    let leader = c.run_until_leader();
    put(&mut c, leader, "l");
    has(&mut c, leader, "k");
}

#[test]
fn a_quorum_that_names_members_is_rewritten_for_a_replacement() {
    let mut c = Cluster::new(3, 5);
    let leader = c.run_until_leader();
    done(&mut c, leader, quorum("weighted{n1:2, n2:2, n3:1} >= 3"));
    let change = Change::Replace { old: id(2), member: newcomer(3), quorum: None };
    assert!(matches!(refused(&mut c, leader, add(3)), ChangeError::Invalid(_)));
    assert!(matches!(refused(&mut c, leader, remove(2)), ChangeError::Invalid(_)));
    done(&mut c, leader, change);
    c.newcomer();
    let config = c.run_until_settled();
    assert_eq!(config.quorum, "weighted{n1:2, n2:2, n4:1} >= 3");
    c.run_until_leader();
}

#[test]
fn a_learner_stays_one_until_it_is_promoted() {
    let mut c = Cluster::new(3, 6);
    let leader = c.run_until_leader();
    let learner = Change::Add { member: newcomer(3), learner: true, quorum: None };
    done(&mut c, leader, learner);
    let promote = Change::Promote { id: id(3), quorum: None };
    assert_eq!(refused(&mut c, leader, promote.clone()), ChangeError::LearnerNotReady);
    let new = c.newcomer();
    c.run_for(Nanos::from_millis(3000));
    assert!(c.config(leader).member(id(new)).expect("in").learner);
    let more = Change::Add { member: newcomer(4), learner: true, quorum: None };
    assert_eq!(refused(&mut c, leader, more), ChangeError::TooManyLearners);
    let config = done(&mut c, leader, promote.clone());
    assert_eq!(config.quorum, "majority(n1, n2, n3, n4)");
    assert_eq!(refused(&mut c, leader, promote), ChangeError::NotLearner);
}

#[test]
fn the_quorum_moves_from_family_to_family_under_writes() {
    let mut c = Cluster::new(6, 7);
    let texts = [
        "zones(eu: {n1, n2, n3}, us: {n4, n5, n6}; elect = 2 of 2)",
        "elect = all of (n1, n2, n3) and any of (n4, n5, n6); commit = 2 of (n1, n2, n3)",
        "weighted{n1:3, n2:1, n3:1, n4:1, n5:1, n6:1} >= 5",
        "elect = 5 of (n1, n2, n3, n4, n5, n6); commit = 2 of (n1, n2, n3, n4, n5, n6)",
        "majority(n1, n2, n3, n4, n5, n6)",
    ];
    let mut moved = 0;
    for (at, text) in texts.iter().enumerate() {
        let leader = c.run_until_leader();
        put(&mut c, leader, &format!("k{at}"));
        let token = ask(&mut c, (leader + at) % 6, quorum(text));
        match c.await_reply((leader + at) % 6, token) {
            Reply::Changed { config, .. } => {
                moved += 1;
                assert_eq!(&config.quorum, text);
            }
            Reply::ChangeRefused(ChangeError::Invalid(_)) => {}
            other => panic!("{text}: {other:?}"),
        }
    }
    assert!(moved >= 3, "only {moved} of them are safe for shared terms");
    let leader = c.run_until_leader();
    (0..texts.len()).for_each(|at| has(&mut c, leader, &format!("k{at}")));
}

#[test]
fn unsafe_systems_and_lost_quorums_are_refused_with_the_reason() {
    let mut c = Cluster::new(3, 8);
    let leader = c.run_until_leader();
    let ChangeError::Invalid(why) = refused(&mut c, leader, quorum("1 of (n1, n2, n3)")) else {
        panic!("unsafe is invalid");
    };
    assert!(why.contains("n1") && why.contains("n2"), "two sets are named: {why}");
    assert!(matches!(refused(&mut c, leader, quorum("2 of (n1, x, y)")), ChangeError::Invalid(_)));
    let (a, b) = ((leader + 1) % 3, (leader + 2) % 3);
    c.crash(a);
    c.run_for(Nanos::from_millis(1500));
    let error = refused(&mut c, leader, remove(b));
    let ChangeError::NotEnoughStarted(why) = error else { panic!("{error:?}") };
    assert!(why.contains(&format!("n{}", a + 1)), "the dead one is named: {why}");
    let error = refused(&mut c, leader, quorum("all of (n1, n2, n3)"));
    assert!(matches!(error, ChangeError::NotEnoughStarted(_)), "{error:?}");
    let config = done(&mut c, leader, remove(a));
    assert_eq!(config.members.len(), 2);
    let mut one = Cluster::new(1, 8);
    one.run_until_leader();
    assert!(matches!(refused(&mut one, 0, remove(0)), ChangeError::NotEnoughStarted(_)));
}

#[test]
fn of_two_changes_at_once_one_is_refused_and_the_other_can_be_called_off() {
    let mut c = Cluster::new(3, 9);
    let leader = c.run_until_leader();
    done(&mut c, leader, add(3));
    let error = refused(&mut c, leader, add(4));
    let ChangeError::Pending(why) = error else { panic!("{error:?}") };
    assert!(why.contains("n4"), "{why}");
    let error = refused(&mut c, leader, quorum("all of (n1, n2, n3)"));
    assert!(matches!(error, ChangeError::Pending(_)));
    done(&mut c, leader, remove(3));
    assert!(!c.config(leader).is_changing());
    done(&mut c, leader, add(4));
}

#[test]
fn a_change_whose_new_quorum_dies_is_called_off_and_whoever_asked_is_told() {
    for seed in 0..10 {
        let mut c = Cluster::new(3, seed);
        let leader = c.run_until_leader();
        let (follower, dies) = ((leader + 1) % 3, (leader + 2) % 3);
        put(&mut c, leader, "before");
        c.run_for(Nanos::from_millis(300));
        c.crash(dies);
        let asked = if seed % 2 == 0 { leader } else { follower };
        let error = refused(&mut c, asked, quorum("all of (n1, n2, n3)"));
        let ChangeError::NotEnoughStarted(why) = &error else { panic!("{error:?}") };
        assert!(why.starts_with("called off: no quorum of all of (n1, n2, n3)"), "{why}");
        put(&mut c, asked, "after");
        assert_eq!(c.run_until_leader(), leader, "seed {seed}: it did not step down");
        let config = c.run_until_settled();
        assert_eq!((&config.quorum[..], &config.joint), ("majority(n1, n2, n3)", &None));
        c.restart(dies);
        c.run_for(Nanos::from_millis(2000));
        let config = done(&mut c, asked, quorum("all of (n1, n2, n3)"));
        assert_eq!(config.quorum, "all of (n1, n2, n3)", "asked for again it is done");
    }
}

#[test]
fn a_witness_comes_in_without_data_and_refuses_clients() {
    let mut c = Cluster::new(2, 3);
    let leader = c.run_until_leader();
    put(&mut c, leader, "before");
    let text = "majority(n1, n2, witness(n3))";
    let change = Change::Add { member: newcomer(2), learner: false, quorum: Some(text.into()) };
    done(&mut c, leader, change);
    let witness = c.newcomer();
    // It may be one without data, and has not heard yet.
    let unheard = c.replica(witness).serves_no_data();
    assert_eq!(unheard, Some(replica::RefusalReason::NoMember));
    assert_eq!(c.run_until_settled().quorum, text);
    put(&mut c, leader, "after");
    c.run_for(Nanos::from_millis(500));
    assert_eq!(c.status(witness).applied, c.status(leader).applied);
    assert_eq!((c.status(witness).revision, c.status(leader).revision), (1, 3));
    let no_data = Some(replica::RefusalReason::Witness);
    assert_eq!(c.replica(witness).serves_no_data(), no_data);
    let token = c.event(witness, |token| Event::Propose {
        token,
        caller: Caller::nobody(),
        command: command_put("here", "v"),
    });
    let reply = c.await_reply(witness, token);
    let Reply::Refused(refusal) = reply else { panic!("{reply:?}") };
    assert_eq!(Some(refusal.reason), no_data);
    let token = c.event(witness, |token| Event::ReadBarrier { token });
    assert!(matches!(c.await_reply(witness, token), Reply::Barrier), "that a leader leads it says");
    c.crash(1 - leader);
    put(&mut c, leader, "with the witness");
    has(&mut c, leader, "after");
}

#[test]
fn a_repeated_request_is_done_once() {
    let mut c = Cluster::new(3, 10);
    let follower = (c.run_until_leader() + 1) % 3;
    c.duplicate_percent = 100;
    done(&mut c, follower, remove((follower + 1) % 3));
    c.run_for(Nanos::from_millis(3000));
    let config = c.run_until_settled();
    assert_eq!(config.change.removed.len(), 1, "{config:?}");
}

/// The leader falls when the newcomer is in its log and those of the others, and whoever asked
/// leads next, with another change to begin first.
#[test]
fn a_change_in_the_log_is_not_refused_when_another_one_is_begun_above_it() {
    let mut met = 0;
    for seed in 0..12 {
        let mut c = Cluster::new(3, 300 + seed);
        let old = c.run_until_leader();
        let (asker, other) = ((old + 1) % 3, (old + 2) % 3);
        c.run_for(Nanos::from_millis(300));
        c.cut.insert((asker, old));
        let first = ask(&mut c, asker, remove(old));
        c.run_for(Nanos::from_millis(5));
        c.cut.clear();
        let learner = Change::Add { member: newcomer(3), learner: true, quorum: None };
        let second = ask(&mut c, asker, learner);
        for _ in 0..100 {
            if c.config(old).member(id(3)).is_some() {
                break;
            }
            c.run_for(Nanos(100_000));
        }
        c.cut.extend([(asker, old), (other, old)]);
        c.run_for(Nanos::from_millis(20));
        assert!(c.config(asker).member(id(3)).is_some(), "in its log");
        c.crash(old);
        c.cut.clear();
        met += usize::from(c.run_until_leader() == asker);
        let (first, second) = (c.await_reply(asker, first), c.await_reply(asker, second));
        assert!(matches!(first, Reply::Changed { .. }), "seed {seed}: {first:?}");
        assert!(matches!(second, Reply::Changed { .. }), "seed {seed}: {second:?}");
    }
    assert!(met > 2, "whoever asked led in {met} of 12");
}

/// The first request of the first life of a node.
fn first_of(node: usize) -> RequestId {
    RequestId { origin: id(node), incarnation: Incarnation(1), seq: 1 }
}

#[test]
fn a_refusal_is_believed_from_the_last_leader_it_was_offered_to_alone() {
    let mut c = Cluster::new(3, 12);
    let leader = c.run_until_leader();
    let ballot = c.status(leader).ballot;
    let (asker, other) = ((leader + 1) % 3, (leader + 2) % 3);
    c.cut.insert((asker, leader));
    let token = ask(&mut c, asker, add(3));
    let error = ChangeError::MemberNotFound;
    let earlier = Ballot::new(ballot.term.0 - 1, id(other).0);
    for (from, of) in [(other, earlier), (leader, ballot)] {
        assert!(!c.replies.contains_key(&(asker, token)), "an earlier leader knows nothing");
        let body =
            PeerBody::ChangeRefused { id: first_of(asker), ballot: of, error: error.clone() };
        c.deliver(PeerMessage { from: id(from), to: id(asker), body });
    }
    let told = c.await_reply(asker, token);
    assert!(matches!(told, Reply::ChangeRefused(e) if e == error));
}

#[test]
fn an_offer_to_an_earlier_leader_or_one_refused_long_ago_begins_nothing() {
    let mut c = Cluster::new(3, 13);
    let leader = c.run_until_leader();
    let ballot = c.status(leader).ballot;
    let asker = (leader + 1) % 3;
    let offer = |c: &mut Cluster, seq: u64, ballot: Ballot, change: Change| {
        let body = PeerBody::Change {
            id: RequestId { seq, ..first_of(asker) },
            ballot,
            caller: Caller::nobody(),
            change,
        };
        c.deliver(PeerMessage { from: id(asker), to: id(leader), body });
        c.run_for(Nanos::from_millis(30));
        c.config(leader).members.len()
    };
    let earlier = Ballot::new(ballot.term.0 - 1, ballot.node.0);
    assert_eq!(offer(&mut c, 1, earlier, add(3)), 3, "it was for somebody who led before");
    (2..90).for_each(|seq| assert_eq!(offer(&mut c, seq, ballot, remove(7)), 3));
    for seq in [2, 40, 89] {
        assert_eq!(offer(&mut c, seq, ballot, add(3)), 3, "{seq} was refused once");
    }
    assert_eq!(offer(&mut c, 90, ballot, add(3)), 4);
}

#[test]
fn a_change_called_off_below_a_checkpoint_is_not_answered_as_done() {
    let mut c = Cluster::new(4, 14);
    let leader = c.run_until_leader();
    c.run_for(Nanos::from_millis(500)); // Everybody has been met.
    let asker = (leader + 1) % 4;
    let token = ask(&mut c, asker, quorum("all of (n1, n2, n3, n4)"));
    for _ in 0..100 {
        if c.config(leader).joint.is_some() {
            break;
        }
        c.run_for(Nanos(100_000));
    }
    c.cut.extend((0..4).flat_map(|n| [(n, asker), (asker, n)]));
    c.run_for(Nanos::from_millis(2500));
    assert_eq!(c.config(leader).joint, None, "called off: one of all did not answer");
    (0..40).for_each(|at| put(&mut c, leader, &format!("k{at}")));
    c.event(leader, |_| Event::TakeCheckpoint);
    c.run_for(Nanos::from_millis(200));
    c.cut.clear();
    let told = c.await_reply(asker, token);
    assert_eq!(c.installs, 1);
    assert!(matches!(told, Reply::Unknown(UnknownReason::InCheckpoint)), "{told:?}");
}

/// Crashes the leader `steps` events after the change began; whoever leads next ends it.
#[test]
fn a_crash_of_the_leader_at_any_stage_leaves_the_change_done_or_undone() {
    let (mut ended, mut undone) = (0, 0);
    for moment in 0..40u64 {
        let mut c = Cluster::new(3, 100 + moment);
        let leader = c.run_until_leader();
        put(&mut c, leader, "k");
        if moment % 4 == 0 {
            // What it appends reaches nobody.
            c.cut.extend((0..4).map(|to| (leader, to)));
        }
        let token = ask(&mut c, leader, add(3));
        let new = c.newcomer();
        c.run_for(Nanos(moment * 4_000_000));
        let acknowledged = c.replies.contains_key(&(leader, token));
        c.crash(leader);
        c.cut.clear();
        c.run_for(Nanos::from_millis(5000));
        let config = c.run_until_settled();
        let voter = config.member(id(new)).is_some_and(|m| !m.learner);
        assert!(voter || !acknowledged, "moment {moment}: an answered change goes on");
        if voter {
            ended += 1
        } else {
            undone += 1
        }
        c.restart(leader);
        c.run_for(Nanos::from_millis(3000));
        put(&mut c, leader, "l");
        has(&mut c, (leader + 1) % 3, "k");
    }
    assert!(ended > 5 && undone > 0, "{ended} ended, {undone} did not");
}

#[test]
fn a_partition_while_both_quorums_decide_ends_when_it_heals() {
    let mut c = Cluster::new(4, 11);
    let leader = c.run_until_leader();
    let others: Vec<usize> = (0..4).filter(|n| *n != leader).collect();
    let token = ask(&mut c, leader, quorum("all of (n1, n2, n3, n4)"));
    for other in &others[..2] {
        c.cut.extend([(leader, *other), (*other, leader)]);
        c.cut.extend([(others[2], *other), (*other, others[2])]);
    }
    c.run_for(Nanos::from_millis(4000));
    assert!(
        !matches!(c.replies.get(&(leader, token)), Some(r) if matches!(r[0], Reply::Changed { .. }))
    );
    c.cut.clear();
    c.run_for(Nanos::from_millis(4000));
    let config = c.run_until_settled();
    assert!(config.joint.is_none(), "{config:?}");
    let leader = c.run_until_leader();
    put(&mut c, leader, "k");
}

/// Random changes at random members under crashes, cuts, losses and repeated frames.
#[test]
fn a_storm_of_changes_loses_nothing_that_was_acknowledged() {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse().ok());
    let from: u64 = number("QUORATE_STORM_FROM").unwrap_or(0);
    let seeds: u64 = number("QUORATE_STORM_SEEDS").unwrap_or(30);
    let mut changed = 0;
    for seed in from..from + seeds {
        changed += storm(seed);
    }
    assert!(changed > seeds, "{changed} changes in {seeds} seeds say little");
}

fn storm(seed: u64) -> u64 {
    let mut c = Cluster::new(3 + (seed % 3) as usize, 5000 + seed);
    c.run_until_leader();
    let (mut keys, mut asked) = (Vec::new(), Vec::new());
    for round in 0..30 {
        c.loss_percent = c.prng.below(10);
        c.duplicate_percent = c.prng.below(20);
        if (0..c.nodes()).all(|n| !c.runs(n)) {
            revive(&mut c);
        }
        let up: Vec<usize> = (0..c.nodes()).filter(|n| c.runs(*n)).collect();
        let at = up[c.prng.below(up.len() as u64) as usize];
        let other = c.prng.below(c.nodes() as u64) as usize;
        match c.prng.below(8) {
            0 if c.nodes() < 12 => {
                let new = c.newcomer();
                asked.push((at, ask(&mut c, at, add(new))));
            }
            1 if c.nodes() < 12 => {
                let new = c.newcomer();
                let member = newcomer(new);
                let change = Change::Replace { old: id(other), member, quorum: None };
                asked.push((at, ask(&mut c, at, change)));
            }
            2 => asked.push((at, ask(&mut c, at, remove(other)))),
            3 => {
                let voters = c.config(at).members.into_iter().filter(|m| !m.learner);
                let names: Vec<String> = voters.map(|m| m.name).collect();
                let text = match c.prng.below(3) {
                    0 => format!("weighted{{{}:2{}}}", names[0], {
                        names[1..].iter().map(|n| format!(", {n}:1")).collect::<String>()
                    }),
                    1 => format!("majority({})", names.join(", ")),
                    _ => format!("elect = all of ({0}); commit = majority({0})", names.join(", ")),
                };
                asked.push((at, ask(&mut c, at, quorum(&text))));
            }
            4 if up.len() + 1 > c.nodes() - c.removed.len() => c.crash(at),
            5 => c.cut.extend([(at, other), (other, at)]),
            _ => {}
        }
        let key = format!("k{round}");
        let command = command_put(&key, &key);
        let writer = if c.runs(at) { at } else { other };
        let token =
            c.event(writer, |token| Event::Propose { token, caller: Caller::nobody(), command });
        keys.push((writer, token, key));
        let pause = c.prng.below(1500);
        c.run_for(Nanos::from_millis(pause));
        if c.prng.below(3) == 0 {
            revive(&mut c);
        }
    }
    calm(&mut c, seed, &keys);
    let is_done = |key: &&(usize, Token)| {
        matches!(c.replies.get(key).map(|r| &r[0]), Some(Reply::Changed { .. }))
    };
    asked.iter().filter(is_done).count() as u64
}

fn revive(c: &mut Cluster) {
    c.cut.clear();
    for node in 0..c.nodes() {
        if !c.runs(node) && !c.removed.contains(&node) {
            c.restart(node);
        }
    }
}

/// Everybody is back: there is a leader, every acknowledged write is there, all agree.
fn calm(c: &mut Cluster, seed: u64, keys: &[(usize, Token, String)]) {
    (c.loss_percent, c.duplicate_percent) = (0, 0);
    revive(c);
    c.run_for(Nanos::from_millis(10_000));
    let leader = c.run_until_leader();
    let config = c.config(leader);
    assert!(config.joint.is_none(), "seed {seed}: a joint configuration stays: {config:?}");
    for (node, token, key) in keys {
        let acknowledged = c.replies.get(&(*node, *token));
        if acknowledged.is_some_and(|r| matches!(r[0], Reply::Applied { result: Ok(_), .. })) {
            let view = c.store(leader).view().range(&range_of(key)).expect("readable");
            assert_eq!(view.count, 1, "seed {seed}: {key} was acknowledged and is lost");
        }
    }
    let applied = c.status(leader).applied;
    for member in &config.members {
        let node = member.id.0 as usize - 1;
        assert!(c.runs(node), "seed {seed}: member {} stopped: {config:?}", member.name);
        assert_eq!(c.status(node).applied, applied, "seed {seed}: {} lags", member.name);
    }
}
