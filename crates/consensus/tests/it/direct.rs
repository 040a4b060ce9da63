//! One machine driven by hand: messages and tickets in an order no schedule is likely to find.

use super::harness::config::life;
use super::harness::{configuration, founded, propose_config};
use base::limits::{READS_MAX, TAIL_BYTES_MAX, TAIL_ENTRIES_MAX};
use base::{Ballot, Birth, Blob, Incarnation, LogIndex, Nanos, NodeId, Ticket};
use cluster::{BallotRule, Configuration, Member};
use consensus::raft::*;

#[path = "direct/reads.rs"]
mod reads;
#[path = "direct/repair.rs"]
mod repair;
#[path = "direct/terms.rs"]
mod terms;

fn settings() -> Settings {
    Settings {
        id: NodeId(2),
        birth: Birth(2),
        incarnation: Incarnation(1),
        election_timeout_min: Nanos::from_millis(100),
        heartbeat_interval: Nanos::from_millis(20),
        seed: 1,
        append_bytes_max: 1000,
        inflight_bytes_max: 1000,
    }
}

fn machine(ballot: Ballot) -> Raft {
    machine_under(ballot, configuration(5, 0, "", BallotRule::SharedTerms))
}

fn machine_under(ballot: Ballot, base_config: Configuration) -> Raft {
    let recovered = Recovered {
        ballot,
        base: LogIndex(0),
        base_ballot: Ballot::ZERO,
        base_config: founded(base_config),
        entries: vec![entry(1, 1)],
        commit: LogIndex(0),
    };
    Raft::new(settings(), recovered, Nanos(0)).unwrap()
}

/// An entry of the leader of `term`, which is node 1, 3, 4 or 5.
fn entry(index: u64, term: u64) -> Entry {
    let payload = Blob::from(format!("{index}@{term}").as_bytes());
    Entry { index: LogIndex(index), ballot: leader(term), kind: EntryKind::Data, payload }
}

fn leader(term: u64) -> Ballot {
    Ballot::new(term, if term == 2 { 1 } else { term })
}

/// The leader of `term` sends entries that follow its entry 1.
fn append(raft: &mut Raft, term: u64, entries: Vec<Entry>, out: &mut Ready) {
    let ballot = leader(term);
    let (prev, prev_ballot) = (LogIndex(1), leader(1));
    let body = Body::Append { prev, prev_ballot, commit: LogIndex(0), round: 0, entries };
    let message =
        Message { from: ballot.node, to: NodeId(2), life: life(ballot.node.0), ballot, body };
    raft.receive(Nanos(1), message, out);
}

fn says(out: &Ready, what: impl Fn(&Body) -> bool) -> bool {
    out.messages.iter().any(|message| what(&message.body))
}

fn matched(out: &Ready) -> Vec<(NodeId, LogIndex)> {
    let of = |m: &Message| match m.body {
        Body::AppendReply { outcome: AppendOutcome::Matched(index), .. } => Some((m.to, index)),
        _ => None,
    };
    out.messages.iter().filter_map(of).collect()
}

#[test]
fn an_entry_that_comes_back_is_acknowledged_by_its_own_write_only() {
    let mut raft = machine(Ballot::new(1, 1));
    let mut out = Ready::default();
    append(&mut raft, 2, vec![entry(2, 2)], &mut out);
    append(&mut raft, 3, vec![entry(2, 3)], &mut out);
    // The leader of term 4 holds the very entry of term 2, and probes below it.
    append(&mut raft, 4, vec![entry(2, 2), entry(3, 4)], &mut out);
    let tickets: Vec<Ticket> = out.persist.iter().map(|p| p.ticket).collect();
    assert_eq!(tickets.len(), 3);
    assert!(out.persist[1..].iter().all(|p| p.truncate_from == Some(LogIndex(2))));
    assert_eq!(matched(&out), [], "nothing is durable yet");
    for early in &tickets[..2] {
        out.clear();
        raft.persisted(Nanos(2), *early, &mut out);
        assert_eq!(raft.durable(), LogIndex(1), "{early:?} wrote an entry that is gone");
        assert_eq!(matched(&out), [], "{early:?} vouches for nothing above entry 1");
    }
    out.clear();
    raft.persisted(Nanos(3), tickets[2], &mut out);
    assert_eq!(raft.durable(), LogIndex(3));
    assert_eq!(matched(&out), [(NodeId(4), LogIndex(3))]);
}

#[test]
fn nothing_is_built_for_a_trace_that_nobody_reads() {
    for on in [false, true] {
        let (mut raft, mut out) = (machine(Ballot::new(1, 1)), Ready::default());
        raft.set_tracing(on);
        append(&mut raft, 2, vec![entry(2, 2)], &mut out);
        raft.tick(raft.deadline(), &mut out);
        assert!(says(&out, |body| matches!(body, Body::PreVote { .. })));
        assert_eq!((out.trace.len() > 2, out.trace.capacity() > 0), (on, on), "{:?}", out.trace);
    }
}

#[test]
fn a_vote_granted_before_a_crash_is_not_granted_again_after_it() {
    let mut raft = machine(Ballot::new(1, 1));
    let mut out = Ready::default();
    let ask = |from: u64| {
        let ballot = Ballot::new(7, from);
        let body =
            Body::Vote { last: LogIndex(9), last_ballot: leader(5), invite: Invite::Unknown };
        Message { from: NodeId(from), to: NodeId(2), life: life(from), ballot, body }
    };
    raft.receive(Nanos(1), ask(3), &mut out);
    assert_eq!(out.messages, [], "the vote waits for the disk");
    // Term and vote are one value: no crash can keep one and lose the other.
    assert_eq!(out.persist.last().unwrap().ballot, Ballot::new(7, 3));
    let mut raft = machine(out.persist.last().unwrap().ballot);
    out.clear();
    raft.receive(Nanos(1), ask(4), &mut out);
    let granted = matches!(out.messages[0].body, Body::VoteReply { granted: true, .. });
    assert!(!granted, "a second vote in term 7");
    raft.receive(Nanos(1), ask(3), &mut out);
    let again = matches!(out.messages[1].body, Body::VoteReply { granted: true, .. });
    assert!(again, "the same vote may be said again");
}

#[test]
fn a_checkpoint_below_a_configuration_entry_states_the_one_before() {
    let mut raft = machine(Ballot::new(1, 1));
    let mut out = Ready::default();
    let before = Configuration::clone(raft.config());
    let mut next = before.clone();
    next.joint = Some("2 of (n1,n2,n3)".into());
    let payload = Blob::from(next.encode());
    let config = Entry { kind: EntryKind::Config, payload, ..entry(2, 2) };
    append(&mut raft, 2, vec![config], &mut out);
    assert_eq!(*raft.config().config(), next, "in force when appended");
    assert_eq!(*raft.config_at(LogIndex(1)), before);
    assert_eq!(*raft.config_at(LogIndex(2)), next);
    // Another leader takes it back; a checkpoint could not have.
    append(&mut raft, 3, vec![entry(2, 3)], &mut out);
    assert_eq!(*raft.config().config(), before);
}

/// Node 2 leads members 1 to 5 at term 9, with entries up to 10 and everything below `base` cut.
fn leads(base: u64) -> Raft {
    leads_under(base, configuration(5, 0, "", BallotRule::SharedTerms))
}

/// Leads at 9.2, and has committed nothing of that ballot.
fn elected(config: Configuration) -> Raft {
    let mut raft = machine_under(Ballot::new(8, 1), config);
    let mut out = Ready::default();
    let due = raft.deadline();
    raft.tick(due, &mut out);
    let grant = |from: u64, pre: bool| {
        let of = Ballot::new(9, 2);
        let body = if pre {
            Body::PreVoteReply { of, granted: true }
        } else {
            Body::VoteReply { of, granted: true }
        };
        Message { from: NodeId(from), to: NodeId(2), life: life(from), ballot: of, body }
    };
    [1, 3, 4].iter().for_each(|from| raft.receive(due, grant(*from, true), &mut out));
    all_durable(&mut raft, &mut out);
    [1, 3].iter().for_each(|from| raft.receive(due, grant(*from, false), &mut out));
    all_durable(&mut raft, &mut out);
    assert!(raft.is_leader());
    raft
}

fn leads_under(base: u64, config: Configuration) -> Raft {
    let (mut raft, mut out, due) = (elected(config), Ready::default(), Nanos(1));
    let items = (3..=10).map(|i| (EntryKind::Data, Blob::from(format!("{i}").as_bytes())));
    raft.propose(due, items, &mut out).unwrap();
    all_durable(&mut raft, &mut out);
    [1, 3, 4].iter().for_each(|from| raft.receive(due, acked(*from, 10), &mut out));
    assert_eq!(raft.commit(), LogIndex(10));
    raft.compact(LogIndex(base));
    raft
}

fn all_durable(raft: &mut Raft, out: &mut Ready) {
    let ticket = out.persist.last().unwrap().ticket;
    raft.persisted(Nanos(1), ticket, out);
}

fn acked(from: u64, index: u64) -> Message {
    let ballot = Ballot::new(9, 2);
    let outcome = AppendOutcome::Matched(LogIndex(index));
    let body = Body::AppendReply { of: ballot, round: 0, outcome };
    Message { from: NodeId(from), to: NodeId(2), life: life(from), ballot, body }
}

/// Node 5 has nothing: it is offered a checkpoint, which arrives while the log is cut again.
#[test]
fn a_checkpoint_overtaken_on_its_way_is_followed_by_the_next_one_at_once() {
    for ack_first in [false, true] {
        let mut raft = leads(4);
        let mut out = Ready::default();
        // For a peer that has been silent for an election timeout nothing is kept.
        raft.peer_lost(Nanos::from_millis(400), NodeId(5), &mut out);
        assert_eq!(out.snapshots, [NodeId(5)], "nothing below entry 4 is here");
        raft.compact(LogIndex(8));
        out.clear();
        if ack_first {
            raft.receive(Nanos(1), acked(5, 4), &mut out);
            assert_eq!(out.snapshots, [], "the transfer is not over");
        }
        raft.snapshot_done(Nanos(1), NodeId(5), true, &mut out);
        if !ack_first {
            assert_eq!(out.snapshots, [], "sent is not installed");
            raft.receive(Nanos(1), acked(5, 3), &mut out);
            assert_eq!(out.snapshots, [], "an old answer says nothing about the checkpoint");
            raft.receive(Nanos(1), acked(5, 4), &mut out);
        }
        assert_eq!(out.snapshots, [NodeId(5)], "entry 5 is gone too, ack first: {ack_first}");
        raft.snapshot_done(Nanos(1), NodeId(5), true, &mut out);
        out.clear();
        raft.receive(Nanos(1), acked(5, 8), &mut out);
        let sent = out.messages.iter().any(|m| match &m.body {
            Body::Append { prev, entries, .. } => *prev == LogIndex(8) && entries.len() == 2,
            _ => false,
        });
        assert!(sent, "entries 9 and 10 follow");
    }
}

/// A log that holds another entry where the checkpoint ends: nothing behind it was committed.
#[test]
fn what_follows_another_entry_than_the_checkpoints_is_dropped_at_a_restart() {
    for (of, last) in [(3, 4), (2, 3)] {
        let recovered = Recovered {
            ballot: leader(3),
            base: LogIndex(3),
            base_ballot: leader(3),
            base_config: configuration(5, 0, "", BallotRule::SharedTerms),
            entries: vec![entry(3, of), entry(4, 3)],
            commit: LogIndex(3),
        };
        let raft = Raft::new(settings(), recovered, Nanos(0)).unwrap();
        assert_eq!(raft.last().0, LogIndex(last), "entry 3 is of term {of}");
    }
}

/// Node 2 follows the leader of term 3, which it has entry 2 from.
fn follows_term_three(out: &mut Ready) -> Raft {
    let mut raft = machine(Ballot::new(1, 1));
    append(&mut raft, 3, vec![entry(2, 3)], out);
    all_durable(&mut raft, out);
    out.clear();
    raft
}

/// A stream that an earlier leader opened can bring the checkpoint of a later time.
#[test]
fn what_a_later_leader_committed_is_not_acknowledged_to_an_earlier_one() {
    // Also where the last entry is old: the later leader found it, and committed it with its own.
    for (of, settled, heard) in [(3, 3, true), (4, 4, false), (1, 4, false)] {
        let mut out = Ready::default();
        let mut raft = follows_term_three(&mut out);
        let place = (LogIndex(5), leader(of), leader(settled));
        let config = configuration(5, 0, "", BallotRule::SharedTerms);
        raft.installed(Nanos(2), place, config, &mut out);
        all_durable(&mut raft, &mut out);
        let acked = matched(&out).contains(&(leader(3).node, LogIndex(5)));
        assert_eq!(acked, heard, "of {of}, committed by {settled}");
        out.clear();
        let (prev, prev_ballot) = (LogIndex(1), leader(1));
        let entries = (2..=5).map(|i| entry(i, 3)).collect();
        let body = Body::Append { prev, prev_ballot, commit: LogIndex(0), round: 0, entries };
        let message =
            Message { from: NodeId(3), to: NodeId(2), life: life(3), ballot: leader(3), body };
        raft.receive(Nanos(3), message, &mut out);
        assert_eq!(!matched(&out).is_empty(), heard, "of {of}, committed by {settled}");
    }
}

#[test]
fn a_checkpoint_of_a_later_leader_ends_a_campaign() {
    for rule in [BallotRule::SharedTerms, BallotRule::TermAndNode] {
        let config = configuration(5, 0, "", rule);
        let mut raft = machine_under(Ballot::new(8, 1), config);
        let mut out = Ready::default();
        let due = raft.deadline();
        raft.tick(due, &mut out);
        let say = |from: u64, body: Body| {
            let ballot = Ballot::new(9, 2);
            Message { from: NodeId(from), to: NodeId(2), life: life(from), ballot, body }
        };
        let of = Ballot::new(9, 2);
        for from in [1, 3, 4] {
            let body = Body::PreVoteReply { of, granted: true };
            raft.receive(due, say(from, body), &mut out);
        }
        assert_eq!(raft.ballot(), of, "it campaigns");
        let place = (LogIndex(5), Ballot::new(10, 4), Ballot::new(10, 4));
        raft.installed(due, place, configuration(5, 0, "", rule), &mut out);
        all_durable(&mut raft, &mut out);
        for from in [1, 3, 4] {
            let body = Body::VoteReply { of, granted: true };
            raft.receive(due, say(from, body), &mut out);
        }
        assert!(!raft.is_leader(), "{rule:?}: its log is of ballot 10");
        assert_eq!(raft.ballot().term.0, 10);
    }
}

/// The checkpoint was durable before the promise that goes with it.
#[test]
fn a_checkpoint_raises_the_promise_at_a_restart_too() {
    for (of, settled) in [(6, 6), (1, 6)] {
        let recovered = Recovered {
            ballot: Ballot::new(3, 3),
            base: LogIndex(3),
            base_ballot: leader(of),
            base_config: configuration(5, 0, "", BallotRule::SharedTerms),
            entries: vec![],
            commit: LogIndex(3),
        };
        let mut raft = Raft::new(settings(), recovered, Nanos(0)).unwrap();
        raft.settled_by(Ballot::new(settled, 1));
        assert_eq!(raft.ballot(), Ballot::new(6, 0), "the vote of term 6 is free");
        let mut out = Ready::default();
        append(&mut raft, 5, vec![entry(2, 5), entry(3, 5)], &mut out);
        let stale = AppendOutcome::Stale;
        let refused =
            |b: &Body| matches!(b, Body::AppendReply { outcome, .. } if *outcome == stale);
        assert!(says(&out, refused), "a leader of term 5 may hold other entries");
    }
}

#[test]
fn a_system_that_does_not_meet_the_old_one_is_refused_without_a_joint_phase() {
    let mut raft = leads(0);
    let mut out = Ready::default();
    for (quorum, meets) in [("2 of (n4,n5)", false), ("majority(n1,n2,n3,n4)", true)] {
        let before = Configuration::clone(raft.config());
        let config = Configuration { quorum: quorum.into(), ..before };
        let proposed = propose_config(&mut raft, Nanos(1), &config, &mut out);
        assert_eq!(proposed.is_ok(), meets, "{quorum}: {proposed:?}");
    }
}

/// Old elect sets of three and new ones of two can miss each other, though each meets the commit
/// sets of the other: two leaders of one term. Only a joint phase leads from one to the other.
#[test]
fn elect_sets_that_miss_the_old_ones_are_refused_without_a_joint_phase_where_terms_are_shared() {
    let old = "elect = 3 of (n1,n2,n3,n4,n5); commit = 4 of (n1,n2,n3,n4,n5)";
    let new = "elect = 2 of (n3,n4,n5); commit = 4 of (n1,n2,n3,n4,n5)";
    for rule in [BallotRule::SharedTerms, BallotRule::TermAndNode] {
        let mut raft = leads_under(0, configuration(5, 0, old, rule));
        let mut out = Ready::default();
        let change = |rule, quorum: &str, joint: Option<&str>| {
            let (quorum, joint) = (quorum.into(), joint.map(Into::into));
            Configuration { rule, quorum, joint, ..Configuration::clone(raft.config()) }
        };
        let other = match rule {
            BallotRule::SharedTerms => BallotRule::TermAndNode,
            BallotRule::TermAndNode => BallotRule::SharedTerms,
        };
        let (direct, joint) = (change(rule, new, None), change(rule, old, Some(new)));
        let ruled = change(other, old, None);
        let mut takes = |to| propose_config(&mut raft, Nanos(1), &to, &mut out).is_ok();
        assert!(!takes(ruled), "the ballot rule is for good");
        assert_eq!(takes(direct), rule == BallotRule::TermAndNode);
        assert_eq!(takes(joint), rule == BallotRule::SharedTerms, "one change at a time");
    }
}

/// An answer names the life and the ballot it was asked in; numbers of reads begin anew.
#[test]
fn a_read_takes_only_the_answer_to_itself() {
    let mut raft = machine(Ballot::new(1, 1));
    let mut out = Ready::default();
    append(&mut raft, 3, vec![], &mut out);
    all_durable(&mut raft, &mut out);
    raft.read(Nanos(2), 7, &mut out);
    let asked = Body::ReadIndex { incarnation: Incarnation(1), seq: 7, vouches: true };
    assert!(says(&out, |body| *body == asked));
    for (term, start, taken) in [(1, 1, false), (3, 2, false), (3, 1, true)] {
        let (of, incarnation) = (leader(term), Incarnation(start));
        let body = Body::ReadIndexReply { of, incarnation, seq: 7, index: LogIndex(1) };
        let message =
            Message { from: of.node, to: NodeId(2), life: life(of.node.0), ballot: of, body };
        raft.receive(Nanos(3), message, &mut out);
        assert_eq!(!out.reads.is_empty(), taken, "asked of {of} in life {start}");
    }
}

#[test]
fn a_round_is_confirmed_in_the_ballot_it_was_asked_in() {
    let mut raft = leads(0);
    let mut out = Ready::default();
    raft.read(Nanos(1), 7, &mut out);
    let round = out.messages.iter().find_map(|m| match m.body {
        Body::Append { round, .. } => Some(round),
        _ => None,
    });
    let round = round.expect("a round is asked");
    for (of, confirmed) in [(Ballot::new(7, 2), false), (Ballot::new(9, 2), true)] {
        for from in [1, 3] {
            let body = Body::RoundAck { of, round };
            let ballot = Ballot::new(9, 2);
            let message =
                Message { from: NodeId(from), to: NodeId(2), life: life(from), ballot, body };
            raft.receive(Nanos(2), message, &mut out);
        }
        assert_eq!(!out.reads.is_empty(), confirmed, "confirmed at {of}");
    }
}

/// `docs/design/bug-ledger.md` names scripts and tests: all of them are there.
#[test]
fn every_script_and_test_that_the_bug_ledger_names_exists() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let ledger = std::fs::read_to_string(root.join("docs/design/bug-ledger.md")).unwrap();
    let mut sources = String::new();
    let mut dirs = vec![root.join("crates")];
    while let Some(dir) = dirs.pop() {
        for path in std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                sources.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut named = 0;
    for row in ledger.lines().filter(|line| line.starts_with('|')) {
        let words = row.split('`').skip(1).step_by(2);
        for word in words.filter(|w| w.contains('_') && !w.contains(' ')) {
            let script = root.join(format!("crates/consensus/tests/scripts/{word}.txt"));
            let test = sources.contains(&format!("fn {word}("));
            assert!(test || script.exists(), "{word} is neither a script nor a test: {row}");
            named += 1;
        }
    }
    let rows = (1..=22).filter(|n| ledger.contains(&format!("\n| {n} |"))).count();
    assert_eq!(rows, 22, "every row of the reference list has one here");
    assert!(named >= 30, "{named} names");
}

/// Slots 0 to 4 are n1 to n5, and then the last one is n6, of more weight: by checkpoint.
fn a_sixth_in_the_fifths_slot() -> Configuration {
    let mut config = configuration(4, 0, "", BallotRule::SharedTerms);
    let sixth = Member { slot: 4, ..super::harness::member(NodeId(6), false) };
    config.members.push(sixth);
    config.quorum = "weighted{n1:1, n2:1, n3:1, n4:1, n6:3}".into();
    founded(config)
}

#[test]
fn a_vote_is_its_members_and_a_checkpoint_with_other_members_ends_a_campaign() {
    let mut raft = machine(Ballot::new(8, 1));
    let (mut out, of, due) = (Ready::default(), Ballot::new(9, 2), raft.deadline());
    let say = |from: u64, body: Body| Message {
        from: NodeId(from),
        to: NodeId(2),
        life: life(from),
        ballot: of,
        body,
    };
    raft.tick(due, &mut out);
    for from in [1, 3] {
        raft.receive(due, say(from, Body::PreVoteReply { of, granted: true }), &mut out);
    }
    all_durable(&mut raft, &mut out);
    raft.receive(due, say(5, Body::VoteReply { of, granted: true }), &mut out);
    assert_eq!(raft.ballot(), of, "it campaigns, and n5 has voted");
    // Committed by a leader of an earlier term: the promise stands, the members are others.
    let place = (LogIndex(5), Ballot::new(7, 3), Ballot::new(7, 3));
    raft.installed(due, place, a_sixth_in_the_fifths_slot(), &mut out);
    all_durable(&mut raft, &mut out);
    out.clear();
    raft.receive(due, say(3, Body::VoteReply { of, granted: false }), &mut out);
    assert!(!raft.is_leader(), "n6, in the slot of n5, has promised nothing");
    raft.receive(due, say(6, Body::VoteReply { of, granted: true }), &mut out);
    assert!(!raft.is_leader(), "it was asked by nobody");
}

#[test]
fn a_leader_that_contradicts_what_is_committed_halts_the_member_by_name() {
    for as_entry in [false, true] {
        let mut out = Ready::default();
        let mut raft = follows_term_three(&mut out);
        let heartbeat = |prev, of: u64, commit, entries| {
            let body = Body::Append { prev, prev_ballot: leader(of), commit, round: 0, entries };
            Message { from: NodeId(3), to: NodeId(2), life: life(3), ballot: leader(3), body }
        };
        let two = LogIndex(2);
        raft.receive(Nanos(2), heartbeat(two, 3, two, vec![]), &mut out);
        assert_eq!((raft.commit(), &out.halted), (two, &None));
        out.clear();
        let message = if as_entry {
            heartbeat(LogIndex(1), 1, two, vec![entry(2, 2)])
        } else {
            heartbeat(two, 2, two, vec![])
        };
        raft.receive(Nanos(3), message, &mut out);
        let halt = out.halted.expect("one of the two logs lost what it acknowledged");
        assert_eq!(halt.index, two);
        assert!(halt.why.contains("member 3"), "{}", halt.why);
        assert_eq!(raft.ballot_at(two), Some(leader(3)), "nothing of it was taken");
    }
}

#[test]
fn a_configuration_that_this_build_cannot_read_halts_it_by_name() {
    let good = configuration(5, 0, "", BallotRule::SharedTerms).encode();
    let newer: Vec<u8> = std::iter::once(0xEE).chain(good[1..].iter().copied()).collect();
    for payload in [&newer[..], b"", &good[..good.len() - 1]] {
        let mut raft = machine(Ballot::new(1, 1));
        let mut out = Ready::default();
        let config = Entry { kind: EntryKind::Config, payload: payload.into(), ..entry(2, 2) };
        append(&mut raft, 2, vec![config], &mut out);
        let halt = out.halted.take().expect("it is neither dropped nor guessed at");
        assert_eq!(halt.index, LogIndex(2));
        assert!(halt.why.contains("configuration"), "{}", halt.why);
        assert_eq!(raft.last().0, LogIndex(1));
    }
    // A checkpoint whose quorum names nobody.
    let mut raft = machine(Ballot::new(1, 1));
    let mut out = Ready::default();
    let config = configuration(5, 0, "majority(nobody)", BallotRule::SharedTerms);
    raft.installed(Nanos(2), (LogIndex(5), leader(3), leader(3)), config, &mut out);
    assert_eq!(out.halted.map(|halt| halt.index), Some(LogIndex(5)));
}

#[test]
fn what_waits_for_a_commit_in_a_leaders_log_is_bounded() {
    let (mut raft, mut out) = (leads(0), Ready::default());
    let empty = || (EntryKind::Data, Blob::from(&b""[..]));
    let many = (0..TAIL_ENTRIES_MAX).map(|_| empty());
    raft.propose(Nanos(1), many, &mut out).unwrap();
    let full = raft.propose(Nanos(1), [empty()].into_iter(), &mut out).unwrap_err();
    assert_eq!(full.reason, NotLeaderReason::TailFull);
    assert!(!raft.has_room());
    let last = raft.last().0.0;
    all_durable(&mut raft, &mut out);
    [1, 3].iter().for_each(|from| raft.receive(Nanos(2), acked(*from, last), &mut out));
    assert_eq!(raft.commit().0, last);
    assert!(raft.propose(Nanos(3), [empty()].into_iter(), &mut out).is_ok(), "there is room again");
    // The same by bytes: one batch may reach over.
    let large = || (EntryKind::Data, Blob::from(vec![0; TAIL_BYTES_MAX / 4]));
    raft.propose(Nanos(3), (0..4).map(|_| large()), &mut out).unwrap();
    let full = raft.propose(Nanos(3), [empty()].into_iter(), &mut out).unwrap_err();
    assert_eq!(full.reason, NotLeaderReason::TailFull);
}

/// Nobody leads: what is asked waits, as much as may, and the rest is told at once.
#[test]
fn reads_that_wait_for_a_leader_are_bounded() {
    let mut raft = machine(Ballot::ZERO);
    let mut out = Ready::default();
    let max = READS_MAX as u64;
    assert!((1..=max).all(|seq| raft.read(Nanos(1), seq, &mut out)));
    assert!(!raft.read(Nanos(1), max + 1, &mut out));
    raft.withdraw(max + 1);
    assert!(!raft.read(Nanos(1), max + 1, &mut out), "what was not begun makes no room");
    raft.withdraw(7);
    assert!(raft.read(Nanos(1), max + 1, &mut out));
    assert!(out.reads.is_empty());
}
