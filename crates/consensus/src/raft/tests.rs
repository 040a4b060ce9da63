//! The machine as the shell sees it: what it says of itself, when it acts, what it drops.

pub(crate) mod machine;

use super::message::AppendOutcome;
use super::repair::Standing;
use super::*;
use alloc::vec;
use base::{Blob, Life};
use cluster::Configuration;
use machine::*;

type Change = fn(&mut Raft);

fn three() -> Configuration {
    config(3, MAJORITY)
}

fn says(from: u64, ballot: Ballot, body: Body) -> Message {
    Message { from: NodeId(from), to: NodeId(1), life: life(from), ballot, body }
}

/// A heartbeat of the leader of `ballot` to a member whose log is empty.
fn heartbeat(ballot: Ballot) -> Message {
    let (prev, prev_ballot, commit) = (LogIndex::ZERO, Ballot::ZERO, LogIndex::ZERO);
    let body = Body::Append { prev, prev_ballot, commit, round: 0, entries: vec![] };
    says(ballot.node.0, ballot, body)
}

fn hears(raft: &mut Raft, message: Message) -> Ready {
    let mut out = Ready::default();
    raft.receive(raft.now, message, &mut out);
    out
}

fn follows(leader: Ballot) -> Raft {
    let mut raft = raft(1, three());
    hears(&mut raft, heartbeat(leader));
    raft
}

#[test]
fn a_member_says_whom_it_follows_and_how_it_stands() {
    let of = Ballot::new(4, 3);
    let mut out = Ready::default();
    let mut asks = raft(1, three());
    asks.pre_campaign(&mut out);
    let mut hands_over = leads(three(), 4);
    hands_over.start_transfer(Some(NodeId(2)), &mut out);
    for (raft, leader, leads, takes) in [
        (raft(1, three()), None, false, false),
        (asks, None, false, false),
        (follows(of), Some(of), false, false),
        (leads(three(), 4), Some(REIGN), true, true),
        (hands_over, Some(REIGN), true, false),
    ] {
        let what = alloc::format!("{:?}", raft.role);
        assert_eq!(raft.leader_ballot(), leader, "{what}");
        assert_eq!(raft.leader(), leader.map(|ballot| ballot.node), "{what}");
        assert_eq!((raft.is_leader(), raft.takes_proposals()), (leads, takes), "{what}");
        assert!(!raft.leader_ready(), "nothing is committed: {what}");
    }
    let mut raft = leads(three(), 4);
    raft.commit = LogIndex(1);
    assert!(raft.leader_ready());
    assert_eq!(
        (raft.ballot(), raft.last(), raft.durable()),
        (REIGN, (LogIndex(4), REIGN), LogIndex(4))
    );
    assert_eq!((raft.ballot_at(LogIndex(4)), raft.ballot_at(LogIndex(5))), (Some(REIGN), None));
}

#[test]
fn a_member_says_which_configurations_it_knows() {
    let request = base::RequestId { seq: 7, ..Default::default() };
    let mut raft = leads(three(), 4);
    raft.commit = LogIndex(4);
    assert_eq!((raft.config_version(), raft.config_is_committed()), (0, true));
    assert!(!raft.has_config_of(request));
    let mut next = three();
    next.change.request = request;
    raft.append_config(compiled(next), &mut Ready::default());
    assert_eq!((raft.config_version(), raft.config_is_committed()), (1, false));
    assert!(raft.has_config_of(request));
    raft.append_config(compiled(three()), &mut Ready::default());
    assert_eq!(raft.config_version(), 2);
    assert!(raft.has_config_of(request), "also when it is not in force any more");
    on_disk(&mut raft);
    raft.commit = LogIndex(6);
    raft.compact(LogIndex(5));
    assert!(raft.config_is_committed() && raft.has_config_of(request));
    raft.compact(LogIndex(6));
    assert!(!raft.has_config_of(request), "the checkpoint has the next one");
}

#[test]
fn what_a_checkpoint_covers_is_forgotten_a_part_with_each_call() {
    let share = install::FORGOTTEN_MAX;
    let last = 2 * share + 10;
    let mut raft = leads(three(), last);
    raft.commit = LogIndex(last);
    raft.log.committed(LogIndex(1), LogIndex(last));
    raft.compact(LogIndex(last - 5));
    assert_eq!(raft.log.base(), LogIndex(share));
    let bases: Vec<_> = (0..3)
        .map(|_| {
            raft.forget();
            raft.log.base().0
        })
        .collect();
    assert_eq!(bases, [2 * share, last - 5, last - 5]);
    raft.compact(LogIndex(3));
    assert_eq!(raft.log.base(), LogIndex(last - 5), "never less");
}

#[test]
fn a_member_may_campaign_unless_something_forbids_it() {
    let last_term = Ballot::new(u64::MAX / 2, 1);
    let changes: [(&str, Change); 4] = [
        ("it repairs", |raft| raft.standing = Standing::Proven),
        ("it has no seat", |raft| raft.seat = Seat::None),
        ("it does not vote", |raft| {
            let mut without = config(3, "majority(n2, n3)");
            without.members[0].learner = true;
            takes(raft, without);
            raft.commit = LogIndex(1);
        }),
        ("it keeps no data", |raft| takes(raft, config(3, "majority(witness(n1), n2, n3)"))),
    ];
    for (what, change) in changes {
        let mut raft = raft(1, three());
        assert!(raft.may_campaign());
        let due = raft.deadline();
        change(&mut raft);
        assert!(!raft.may_campaign(), "{what}");
        assert_eq!(raft.deadline(), Nanos(u64::MAX), "{what}");
        raft.tick(due, &mut Ready::default());
        assert!(raft.follower().is_some(), "{what}");
    }
    let mut raft = raft(1, three());
    raft.promise = Promise::recovered(last_term);
    assert!(!raft.may_campaign(), "there is no next term");
    let mut nobody = machine::raft(1, met(three(), &[]));
    assert!(!nobody.is_seated() && nobody.may_campaign(), "it may found the cluster");
    // Removed by an entry that is not committed: it may be what the others lack.
    takes(&mut nobody, three());
    assert!(!nobody.may_campaign(), "named by others, and not committed");
}

#[test]
fn only_who_is_an_elect_quorum_alone_campaigns_at_once() {
    for (id, config, alone) in [
        (1, config(1, "majority(n1)"), true),
        (1, config(2, "1 of (n1)"), true),
        (2, config(2, "1 of (n1)"), false),
        (1, three(), false),
        (9, three(), false),
    ] {
        let raft = raft(id, config);
        assert_eq!(raft.is_quorum_alone(), alone, "{id}");
        let due = raft.follower().expect("it begins so").deadline;
        assert_eq!(due == Nanos::ZERO, alone, "{id}");
    }
}

/// Whether it asks around at this time.
fn asks_at(raft: &mut Raft, now: Nanos) -> bool {
    let mut out = Ready::default();
    raft.tick(now, &mut out);
    out.trace.iter().any(|event| matches!(event, Trace::PreCampaign { .. }))
}

#[test]
fn silence_becomes_a_campaign_at_the_deadline_and_not_before() {
    let begin: [Change; 3] = [
        |_| (),
        |raft| raft.pre_campaign(&mut Ready::default()),
        |raft| raft.campaign(&mut Ready::default()),
    ];
    for change in begin {
        let mut raft = raft(1, three());
        change(&mut raft);
        let due = raft.deadline();
        assert!((TIMEOUT..TIMEOUT.plus(TIMEOUT)).contains(&due), "{due:?}");
        assert!(!asks_at(&mut raft, Nanos(due.0 - 1)), "{:?}", raft.role);
        assert!(asks_at(&mut raft, due), "{:?}", raft.role);
    }
}

#[test]
fn a_leader_wakes_for_its_heartbeat_or_the_end_of_its_hand_over() {
    let mut raft = leads(three(), 1);
    assert_eq!(raft.deadline(), Nanos::from_millis(20));
    raft.start_transfer(Some(NodeId(2)), &mut Ready::default());
    assert_eq!(raft.deadline(), Nanos::from_millis(20), "the hand-over may take longer");
    let mut out = Ready::default();
    raft.tick(Nanos(Nanos::from_millis(20).0 - 1), &mut out);
    assert_eq!(raft.deadline(), Nanos::from_millis(20), "not yet");
    raft.read(Nanos(5), 7, &mut out);
    assert_eq!(raft.deadline(), Nanos::from_millis(20));
    raft.tick(Nanos::from_millis(20), &mut out);
    assert_eq!(raft.deadline(), Nanos::from_millis(40));
}

#[test]
fn a_refusal_counts_or_tells_of_a_higher_ballot() {
    let refuses = |pre: bool, of| {
        let granted = false;
        if pre { Body::PreVoteReply { of, granted } } else { Body::VoteReply { of, granted } }
    };
    for pre in [true, false] {
        let runs = || {
            let mut raft = raft(1, three());
            let mut out = Ready::default();
            if pre {
                raft.pre_campaign(&mut out)
            } else {
                raft.campaign(&mut out)
            }
            on_disk(&mut raft);
            raft
        };
        let (mut raft, of) = (runs(), REIGN);
        hears(&mut raft, says(2, Ballot::new(9, 0), refuses(pre, of)));
        assert_eq!((raft.ballot(), raft.follower().is_some()), (Ballot::new(9, 0), true));
        let mut raft = runs();
        hears(&mut raft, says(2, Ballot::new(1, 1), refuses(pre, of)));
        assert!(raft.follower().is_none(), "one of three");
        hears(&mut raft, says(3, Ballot::new(1, 1), refuses(pre, of)));
        assert!(raft.follower().is_some(), "and two: it is lost");
        assert!(raft.ballot() <= REIGN);
    }
}

#[test]
fn a_grant_counts_whatever_its_sender_has_promised() {
    let (mut raft, mut out) = (raft(1, three()), Ready::default());
    raft.pre_campaign(&mut out);
    let grant = Body::PreVoteReply { of: REIGN, granted: true };
    let mut out = hears(&mut raft, says(2, Ballot::new(2, 0), grant));
    assert!(matches!(raft.role, Role::Candidate(_)));
    let ticket = out.persist.last().expect("its promise").ticket;
    raft.persisted(Nanos(1), ticket, &mut out);
    hears(&mut raft, says(2, Ballot::new(7, 0), Body::VoteReply { of: REIGN, granted: true }));
    assert!(raft.is_leader());
}

fn matched(index: u64) -> AppendOutcome {
    AppendOutcome::Matched(LogIndex(index))
}

#[test]
fn a_leader_hears_answers_to_itself_only_and_a_stale_one_ends_its_reign() {
    let earlier = Ballot::new(1, 1);
    for (of, life, counts) in [
        (REIGN, life(2), true),
        (earlier, life(2), false),
        (REIGN, Life { incarnation: Incarnation(2), ..life(2) }, false),
    ] {
        let mut raft = leads(three(), 4);
        peer(&mut raft, 2).life = Life { incarnation: Incarnation(3), ..life };
        if counts {
            peer(&mut raft, 2).life = life;
        }
        let body = Body::AppendReply { of, round: 0, outcome: matched(4) };
        hears(&mut raft, Message { life, ..says(2, REIGN, body) });
        assert_eq!(raft.commit() == LogIndex(4), counts, "{of} {life:?}");
    }
    for (of, heard) in [(earlier, Nanos::ZERO), (REIGN, Nanos(5))] {
        let mut raft = leads(three(), 4);
        raft.now = Nanos(5);
        hears(&mut raft, says(2, REIGN, Body::RoundAck { of, round: 0 }));
        assert_eq!(peer(&mut raft, 2).heard, heard, "{of}");
    }
    let mut raft = leads(three(), 4);
    let body = Body::AppendReply { of: REIGN, round: 0, outcome: AppendOutcome::Stale };
    hears(&mut raft, says(2, Ballot::new(7, 3), body.clone()));
    assert!(!raft.is_leader());
    assert_eq!(raft.ballot(), Ballot::new(7, 0));
    // Who does not lead any more believes no answer.
    let body = Body::AppendReply { of: REIGN, round: 0, outcome: matched(4) };
    hears(&mut raft, says(2, Ballot::new(7, 0), body));
    hears(&mut raft, says(2, Ballot::new(7, 0), Body::RoundAck { of: REIGN, round: 1 }));
    assert_eq!(raft.commit(), LogIndex::ZERO);
}

#[test]
fn an_answer_to_a_read_is_the_leaders_own() {
    for (from, taken) in [(2, false), (3, true)] {
        let (of, mut out) = (Ballot::new(4, 3), Ready::default());
        let mut raft = follows(of);
        raft.read(Nanos(1), 7, &mut out);
        let incarnation = Incarnation(1);
        let body = Body::ReadIndexReply { of, incarnation, seq: 7, index: LogIndex(3) };
        let out = hears(&mut raft, says(from, of, body));
        assert_eq!(!out.reads.is_empty(), taken, "{from}");
    }
}

fn acks(out: &Ready) -> Vec<u64> {
    let of = |event: &Trace| match event {
        Trace::Acked { by: NodeId(1), index } => Some(index.0),
        _ => None,
    };
    out.trace.iter().filter_map(of).collect()
}

#[test]
fn a_leader_tells_of_its_own_disk_when_that_has_more() {
    let mut raft = leads(three(), 4);
    grow(&mut raft, 6);
    let mut out = Ready::default();
    raft.finish(&mut out);
    let ticket = out.persist.last().expect("two entries").ticket;
    raft.persisted(Nanos(1), ticket, &mut out);
    assert_eq!(acks(&out), [6]);
    raft.persisted(Nanos(1), ticket, &mut out);
    assert_eq!(acks(&out), [6], "once");
    let mut raft = follows(Ballot::new(4, 3));
    let entries = (1..=2).map(|index| Entry {
        index: LogIndex(index),
        ballot: Ballot::new(4, 3),
        kind: EntryKind::Data,
        payload: Blob::from(&b"x"[..]),
    });
    let (prev, prev_ballot, commit) = (LogIndex::ZERO, Ballot::ZERO, LogIndex::ZERO);
    let body = Body::Append { prev, prev_ballot, commit, round: 0, entries: entries.collect() };
    let mut out = hears(&mut raft, says(3, Ballot::new(4, 3), body));
    let ticket = out.persist.last().expect("two entries").ticket;
    raft.persisted(Nanos(1), ticket, &mut out);
    assert_eq!((raft.durable(), acks(&out)), (LogIndex(2), vec![]), "that is a leader's");
}

#[test]
fn what_a_checkpoint_needs_is_kept_while_its_receiver_answers() {
    let floor = LogIndex(3);
    for (silence, kept) in [(Nanos::ZERO, true), (TIMEOUT, true), (TIMEOUT.plus(Nanos(1)), false)] {
        let mut raft = leads(three(), 9);
        (raft.commit, raft.now) = (LogIndex(9), silence);
        let retry_at = Nanos(u64::MAX);
        peer(&mut raft, 2).state = super::progress::State::Snapshot { floor, retry_at };
        raft.compact(LogIndex(8));
        let base = if kept { 3 } else { 8 };
        assert_eq!(raft.log.base(), LogIndex(base), "silent for {silence:?}");
    }
    let mut raft = leads(three(), 9);
    raft.commit = LogIndex(5);
    raft.compact(LogIndex(8));
    assert_eq!(raft.log.base(), LogIndex(5), "what is not committed stays");
}

#[test]
fn the_clock_of_a_member_never_goes_back() {
    let mut raft = follows(Ballot::new(4, 3));
    raft.advance_clock(Nanos(9));
    raft.advance_clock(Nanos(7));
    assert_eq!(raft.now, Nanos(9));
}

#[test]
fn what_was_asked_of_the_shell_is_emptied_whole() {
    let mut out = Ready::default();
    let mut raft = leads(three(), 1);
    grow(&mut raft, 2);
    raft.read(Nanos(1), 7, &mut out);
    let outcome = ReadOutcome { seq: 1, index: LogIndex(1) };
    out.reads.push(outcome);
    out.snapshots.push(NodeId(2));
    out.messages.push(heartbeat(REIGN));
    (out.repaired, out.halted) =
        (Some(LogIndex(1)), Some(Halt { index: LogIndex(1), why: "".into() }));
    assert!(!out.persist.is_empty() && !out.messages.is_empty());
    out.trace.push(Trace::Committed { index: LogIndex(1) });
    out.clear();
    let Ready { persist, messages, reads, snapshots, trace, repaired, halted } = out;
    assert_eq!((persist, messages, reads, snapshots), (vec![], vec![], vec![], vec![]));
    assert_eq!((trace, repaired, halted), (vec![], None, None));
}

/// At 2, of the leader of 4.3: what came before is there already.
fn installs(raft: &mut Raft, index: u64, ballot: Ballot, settled: Ballot) -> Ready {
    let mut out = Ready::default();
    raft.installed(Nanos(1), (LogIndex(index), ballot, settled), three(), &mut out);
    out
}

fn holds_four() -> Raft {
    let leader = Ballot::new(4, 3);
    let mut raft = follows(leader);
    let entries = (1..=4).map(|index| Entry {
        index: LogIndex(index),
        ballot: leader,
        kind: EntryKind::Data,
        payload: Blob::from(&b"x"[..]),
    });
    let (prev, prev_ballot, commit) = (LogIndex::ZERO, Ballot::ZERO, LogIndex(2));
    let body = Body::Append { prev, prev_ballot, commit, round: 0, entries: entries.collect() };
    let out = hears(&mut raft, says(3, leader, body));
    let ticket = out.persist.last().expect("four entries").ticket;
    raft.persisted(Nanos(1), ticket, &mut Ready::default());
    raft
}

#[test]
fn a_checkpoint_takes_the_place_of_a_log_it_is_not_of_and_else_only_cuts_it() {
    let (leader, other) = (Ballot::new(4, 3), Ballot::new(4, 4));
    for (index, ballot, base, last, truncates) in [
        (2, leader, 0, 4, None),
        (1, other, 0, 4, None),
        (3, leader, 3, 4, None),
        (3, other, 3, 3, Some(1)),
        (6, leader, 6, 6, Some(1)),
    ] {
        let mut raft = holds_four();
        let out = installs(&mut raft, index, ballot, leader);
        assert_eq!((raft.log.base().0, raft.last().0.0), (base, last), "{index} of {ballot}");
        assert_eq!(raft.commit().0, index.max(2));
        let cut = out.persist.iter().find_map(|write| write.truncate_from);
        assert_eq!(cut, truncates.map(LogIndex), "{index} of {ballot}");
        assert_eq!(raft.durable().0, last);
    }
    let mut raft = follows(leader);
    let out = installs(&mut raft, 6, leader, leader);
    assert!(out.persist.iter().all(|write| write.truncate_from.is_none()), "there was no log");
}

#[test]
fn a_checkpoint_that_was_passed_tells_nothing_new_and_its_leader_hears_of_it() {
    let (leader, later) = (Ballot::new(4, 3), Ballot::new(9, 1));
    let mut raft = holds_four();
    assert_eq!(raft.settled(), leader);
    let answers = |out: &Ready| {
        out.messages
            .iter()
            .any(|m| matches!(m.body, Body::AppendReply { outcome, .. } if outcome == matched(2)))
    };
    assert!(answers(&installs(&mut raft, 2, leader, later)));
    assert_eq!((raft.settled(), raft.ballot().term), (leader, leader.term));
    let mut out = Ready::default();
    raft.checkpoint_passed(Nanos(1), &mut out);
    assert!(answers(&out));
    installs(&mut raft, 3, leader, later);
    assert_eq!((raft.settled(), raft.ballot()), (later, Ballot::new(9, 0)));
    assert_eq!(raft.leader(), None, "the leader of 4 is not obeyed any more");
}

/// A round that waits for the promise is confirmed past a checkpoint, by who keeps its seat.
#[test]
fn a_checkpoint_takes_back_nothing_that_was_said_under_the_same_seat() {
    let leader = Ballot::new(4, 3);
    let mut raft = raft(1, three());
    let mut asks = heartbeat(leader);
    if let Body::Append { round, entries, .. } = &mut asks.body {
        *round = 7;
        let payload = Blob::from(&b"x"[..]);
        entries.push(Entry { index: LogIndex(1), ballot: leader, kind: EntryKind::Data, payload });
    }
    let mut out = hears(&mut raft, asks);
    let ack = Body::RoundAck { of: leader, round: 7 };
    assert!(out.messages.is_empty(), "its promise is not durable");
    out = installs(&mut raft, 5, leader, leader);
    let ticket = out.persist.last().expect("the promise").ticket;
    raft.persisted(Nanos(1), ticket, &mut out);
    assert!(out.messages.iter().any(|m| m.body == ack), "{:?}", out.messages);
}

fn recovered(base: u64, entries: &[(u64, u64)]) -> Result<Raft, ConfigError> {
    let entry = |(index, term): &(u64, u64)| Entry {
        index: LogIndex(*index),
        ballot: Ballot::new(*term, 1),
        kind: EntryKind::Data,
        payload: Blob::from(&b"x"[..]),
    };
    let recovered = Recovered {
        ballot: Ballot::new(9, 1),
        base: LogIndex(base),
        base_ballot: Ballot::new(3, 1),
        base_config: three(),
        entries: entries.iter().map(entry).collect(),
        commit: LogIndex::ZERO,
    };
    Raft::new(raft(1, three()).settings, recovered, Nanos::ZERO)
}

/// Entries are (index, term); the checkpoint is at 3, of term 3.
#[test]
fn a_journal_goes_on_where_its_checkpoint_ends_or_is_void_or_has_a_hole() {
    for (entries, last) in [
        (&[][..], Some((3, false))),
        (&[(1, 1), (2, 1)], Some((3, false))),
        (&[(1, 1), (2, 1), (3, 3), (4, 3), (5, 5)], Some((5, false))),
        (&[(4, 3), (5, 3)], Some((5, false))),
        (&[(4, 5), (5, 5)], Some((5, false))),
        (&[(3, 2), (4, 3)], Some((3, true))),
        (&[(3, 4), (4, 4)], Some((3, true))),
        (&[(4, 2), (5, 2)], Some((3, true))),
        (&[(3, 3), (4, 2)], Some((3, true))),
        (&[(5, 3)], None),
        (&[(4, 3), (6, 3)], None),
        (&[(4, 5), (5, 4)], None),
    ] {
        let found = recovered(3, entries);
        assert_eq!(found.is_ok(), last.is_some(), "{entries:?}");
        let (Ok(mut raft), Some((last, void))) = (found, last) else { continue };
        assert_eq!(raft.last().0, LogIndex(last), "{entries:?}");
        let mut out = Ready::default();
        raft.finish(&mut out);
        let cut = out.persist.first().and_then(|write| write.truncate_from);
        assert_eq!(cut, void.then_some(LogIndex(4)), "{entries:?}");
    }
}
