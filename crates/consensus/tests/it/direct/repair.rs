//! A member whose disk was damaged, and its leader.

use super::*;

/// What a member that repairs is told: entries 2 to `upto` of the leader of `term`, committed.
fn repairs(term: u64, upto: u64) -> (Raft, Ready) {
    let mut raft = machine(Ballot::new(2, 1));
    raft.repair(Repair { ballot: Ballot::new(2, 1), index: LogIndex(4) });
    let mut out = Ready::default();
    let (ballot, entries) = (leader(term), (2..=upto).map(|i| entry(i, term)).collect());
    let (prev, prev_ballot, commit) = (LogIndex(1), leader(1), LogIndex(upto));
    let body = Body::Append { prev, prev_ballot, commit, round: 7, entries };
    let message =
        Message { from: ballot.node, to: NodeId(2), life: life(ballot.node.0), ballot, body };
    raft.receive(Nanos(1), message, &mut out);
    assert_eq!(out.repaired, None, "nothing of it is durable");
    let ticket = out.persist.last().expect("entries to write").ticket;
    raft.persisted(Nanos(2), ticket, &mut out);
    (raft, out)
}

#[test]
fn a_repair_ends_past_the_proven_index_or_under_a_later_term() {
    // In term 2 it may have acknowledged entries up to 4 to this very leader.
    for (term, upto, ends) in [(2, 3, false), (2, 4, true), (3, 2, true)] {
        let (_, out) = repairs(term, upto);
        assert_eq!(out.repaired, ends.then_some(LogIndex(upto)), "term {term} up to {upto}");
        assert!(matched(&out).is_empty(), "it acknowledges nothing meanwhile");
        let held = |body: &Body| {
            let outcome = AppendOutcome::Held(LogIndex(upto));
            matches!(body, Body::AppendReply { outcome: o, round: 0, .. } if *o == outcome)
        };
        assert!(says(&out, held), "its leader hears how far it is");
        assert!(!says(&out, |body| matches!(body, Body::RoundAck { .. })));
    }
}

#[test]
fn a_member_votes_again_once_the_end_of_its_repair_is_durable() {
    let (mut raft, mut out) = repairs(3, 4);
    let ask = |raft: &mut Raft, term, out: &mut Ready| {
        let (ballot, last, last_ballot) = (Ballot::new(term, 5), LogIndex(9), leader(3));
        let body = Body::Vote { last, last_ballot, invite: Invite::Unknown };
        let message = Message { from: NodeId(5), to: NodeId(2), life: life(5), ballot, body };
        raft.receive(Nanos(3), message, out);
    };
    let answers = |body: &Body| matches!(body, Body::VoteReply { .. });
    ask(&mut raft, 5, &mut out);
    assert!(raft.is_repairing() && !says(&out, answers), "it is proven, and not durable");
    raft.tick(raft.deadline().min(Nanos::from_millis(900_000)), &mut out);
    assert!(!says(&out, |body| matches!(body, Body::PreVote { .. })), "it never campaigns");
    raft.repaired(Nanos::from_millis(900_001), &mut out);
    assert_eq!(matched(&out).last(), Some(&(leader(3).node, LogIndex(4))));
    ask(&mut raft, 5, &mut out);
    let ticket = out.persist.last().expect("the vote is written").ticket;
    raft.persisted(Nanos::from_millis(900_002), ticket, &mut out);
    assert!(says(&out, |body| matches!(body, Body::VoteReply { granted: true, .. })));
}

#[test]
fn a_leader_without_writes_appends_until_the_repair_of_a_follower_ends() {
    let (mut raft, mut out) = (leads(0), Ready::default());
    // Everybody holds all of it; node 4 repairs, and waits for an index above. Where the log
    // ends after the next heartbeat:
    let mut beat = |repairs: bool| {
        let (now, last) = (raft.deadline(), raft.last().0);
        for from in [1, 3, 4] {
            let mut message = acked(from, last.0);
            if let Body::AppendReply { outcome, .. } = &mut message.body
                && (from, repairs) == (4, true)
            {
                *outcome = AppendOutcome::Held(last);
            }
            raft.receive(now, message, &mut out);
        }
        assert_eq!(raft.commit(), last);
        raft.tick(now, &mut out);
        if !out.persist.is_empty() {
            all_durable(&mut raft, &mut out);
        }
        raft.last().0.0
    };
    let ends: Vec<u64> = (0..6).map(|_| beat(true)).collect();
    assert_eq!(ends, [10, 11, 13, 17, 25, 41], "after a heartbeat's patience, more each time");
    assert!((0..3).all(|_| beat(false) == 41), "the repair has ended");
}

/// Node 4 repairs twice. What its first life said to hold comes when the second one is nearly
/// through, which has entries up to 6 only.
#[test]
fn what_an_earlier_life_held_is_not_acknowledged_when_the_repair_ends() {
    let (mut raft, mut out) = (leads(0), Ready::default());
    let from_four = |outcome| {
        let ballot = Ballot::new(9, 2);
        let body = Body::AppendReply { of: ballot, round: 0, outcome };
        Message { from: NodeId(4), to: NodeId(2), life: life(4), ballot, body }
    };
    let items = (11..=14).map(|i| (EntryKind::Data, Blob::from(format!("{i}").as_bytes())));
    raft.propose(Nanos(1), items, &mut out).unwrap();
    all_durable(&mut raft, &mut out);
    raft.receive(Nanos(1), acked(1, 14), &mut out);
    let held = AppendOutcome::Held(LogIndex(14));
    let lacks = |prev| AppendOutcome::Lacking {
        prev: LogIndex(prev),
        hint: LogIndex(1),
        hint_ballot: leader(1),
    };
    raft.receive(Nanos(1), from_four(lacks(10)), &mut out);
    raft.receive(Nanos(1), from_four(held), &mut out);
    raft.receive(Nanos(1), from_four(AppendOutcome::Matched(LogIndex(10))), &mut out);
    assert_eq!(raft.commit(), LogIndex(10), "two of five hold more");
    raft.receive(Nanos(1), from_four(AppendOutcome::Matched(LogIndex(12))), &mut out);
    assert_eq!(raft.commit(), LogIndex(12), "and a third one does");
}
