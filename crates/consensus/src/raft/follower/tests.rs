//! What a follower takes, grants and confirms, at the boundaries.

use super::super::{EntryKind, Message, Repair, disk::Held};
use super::*;
use crate::raft::tests::machine::*;
use alloc::vec;
use base::{Blob, Life};
use cluster::Configuration;

const OLD: Ballot = Ballot::new(1, 1);
const LEADER: Ballot = Ballot::new(5, 3);

fn three() -> Configuration {
    config(3, MAJORITY)
}

fn ruled(rule: BallotRule) -> Configuration {
    Configuration { rule, ..three() }
}

fn entry(index: u64, ballot: Ballot) -> Entry {
    let (index, payload) = (LogIndex(index), Blob::from(&b"x"[..]));
    Entry { index, ballot, kind: EntryKind::Data, payload }
}

fn entries(range: core::ops::RangeInclusive<u64>, ballot: Ballot) -> Vec<Entry> {
    range.map(|index| entry(index, ballot)).collect()
}

/// Member 2, with entries 1 to 4 of 1.1 on its disk, follows the leader of 5.3.
fn follows(config: Configuration) -> Raft {
    let (mut raft, mut out) = (raft(2, config), Ready::default());
    entries(1..=4, OLD).into_iter().for_each(|entry| raft.log.push(entry));
    assert!(raft.obey(LEADER, &mut out));
    on_disk(&mut raft);
    raft
}

/// The log as ballots' terms, and how far it is committed.
fn log(raft: &Raft) -> (Vec<u64>, u64) {
    let terms = raft.entries(LogIndex(1), LogIndex(99)).map(|e| e.ballot.term.0).collect();
    (terms, raft.commit().0)
}

/// What leaves at once, and what waits for the disk.
fn said(raft: &mut Raft) -> (Vec<Body>, usize) {
    let mut out = Vec::new();
    let waiting = raft.disk.outbox.len();
    raft.disk.release_outbox(|held| match held {
        Held::Message(message) => out.push(message.body),
        Held::OwnVote(_) => panic!("nobody campaigns"),
    });
    let waits = waiting - out.len();
    (out, waits)
}

struct Says {
    prev: u64,
    of: Ballot,
    commit: u64,
    round: u64,
    entries: Vec<Entry>,
}

fn heartbeat(prev: u64, of: Ballot) -> Says {
    Says { prev, of, commit: 0, round: 0, entries: vec![] }
}

fn hears(raft: &mut Raft, leader: Ballot, says: Says) -> Ready {
    let Says { prev, of, commit, round, entries } = says;
    let (prev, commit) = (LogIndex(prev), LogIndex(commit));
    let mut out = Ready::default();
    raft.on_append(leader, Append { prev, prev_ballot: of, commit, round, entries }, &mut out);
    out
}

#[test]
fn nobody_who_leads_obeys_a_second_leader_of_its_term() {
    for (rule, ballot, obeys) in [
        (BallotRule::SharedTerms, Ballot::new(2, 2), false),
        (BallotRule::SharedTerms, Ballot::new(3, 2), true),
        (BallotRule::TermAndNode, Ballot::new(2, 2), true),
        (BallotRule::TermAndNode, Ballot::new(3, 2), true),
    ] {
        let mut raft = leads(ruled(rule), 4);
        assert_eq!(raft.obey(ballot, &mut Ready::default()), obeys, "{ballot} under {rule:?}");
        assert_eq!(raft.is_leader(), !obeys);
        assert_eq!(raft.leader_ballot(), Some(if obeys { ballot } else { REIGN }));
    }
}

#[test]
fn each_word_of_the_leader_begins_the_wait_for_it_anew() {
    let mut raft = follows(three());
    let f = raft.follower_mut().expect("it follows");
    (f.lost, f.round) = (true, 3);
    raft.now = Nanos(70);
    assert!(raft.obey(LEADER, &mut Ready::default()));
    let f = raft.follower().expect("it follows");
    assert_eq!((f.heard, f.lost, f.round), (Nanos(70), false, 3), "the rounds are of one reign");
    assert!((TIMEOUT.0..2 * TIMEOUT.0).contains(&(f.deadline.0 - 70)));
    assert!(raft.obey(Ballot::new(6, 1), &mut Ready::default()));
    assert_eq!(raft.follower().expect("it follows").round, 0, "another one's begin anew");
}

#[test]
fn an_answer_waits_for_the_disk_where_it_speaks_of_more_than_is_there() {
    let ack = |round| Body::RoundAck { of: LEADER, round };
    let matched = |round, index| {
        let outcome = AppendOutcome::Matched(LogIndex(index));
        Body::AppendReply { of: LEADER, round, outcome }
    };
    // Entries 5 to 7 are being written.
    let writing = || {
        let mut raft = follows(three());
        hears(&mut raft, LEADER, Says { entries: entries(5..=7, LEADER), ..heartbeat(4, OLD) });
        raft.finish(&mut Ready::default());
        raft
    };
    let mut raft = writing();
    hears(&mut raft, LEADER, Says { round: 6, ..heartbeat(4, OLD) });
    assert_eq!(said(&mut raft), (vec![matched(6, 4)], 0), "4 is durable");
    assert_eq!(raft.last().0, LogIndex(7), "what follows is not taken back");
    let mut raft = writing();
    hears(&mut raft, LEADER, Says { round: 6, ..heartbeat(5, LEADER) });
    assert_eq!(said(&mut raft), (vec![ack(6)], 1), "5 is not, and its round is confirmed");
    hears(&mut raft, LEADER, Says { round: 6, ..heartbeat(5, LEADER) });
    assert_eq!(said(&mut raft), (vec![], 1), "once");
    hears(&mut raft, LEADER, Says { round: 5, ..heartbeat(5, LEADER) });
    assert_eq!(said(&mut raft), (vec![], 1), "and no earlier one after it");
    hears(&mut raft, LEADER, Says { round: 7, ..heartbeat(5, LEADER) });
    assert_eq!(said(&mut raft), (vec![ack(7)], 1));
    // Who has no seat confirms no round.
    let mut raft = writing();
    let repair = Repair { ballot: OLD, index: LogIndex(9) };
    raft.standing = super::super::repair::Standing::Repairing(repair);
    hears(&mut raft, LEADER, Says { round: 6, ..heartbeat(5, LEADER) });
    assert_eq!(said(&mut raft), (vec![], 1));
}

#[test]
fn an_acknowledgement_that_waits_stays_one_when_more_entries_come() {
    let mut raft = follows(three());
    let mut out = Ready::default();
    for index in [5, 6] {
        let of = if index == 5 { OLD } else { LEADER };
        let sent = Says { entries: entries(index..=index, LEADER), ..heartbeat(index - 1, of) };
        hears(&mut raft, LEADER, sent);
        raft.finish(&mut out);
    }
    let ticket = out.persist.last().expect("two entries").ticket;
    raft.persisted(Nanos(1), ticket, &mut out);
    let matched = out.messages.iter().filter_map(|m| match m.body {
        Body::AppendReply { outcome: AppendOutcome::Matched(index), .. } => Some(index.0),
        _ => None,
    });
    assert_eq!(matched.collect::<Vec<_>>(), [5, 6]);
}

#[test]
fn entries_that_no_correct_leader_sends_are_not_taken() {
    let (lower, higher) = (Ballot::new(4, 1), Ballot::new(6, 1));
    let stripped = Entry { kind: EntryKind::Stripped, ..entry(5, LEADER) };
    let mut other = ruled(BallotRule::TermAndNode);
    other.limits = vec![("quota".into(), 9)];
    let ruled = |config: &Configuration| Entry {
        kind: EntryKind::Config,
        payload: Blob::from(config.encode()),
        ..entry(5, LEADER)
    };
    for (what, sent, taken) in [
        ("in order", vec![entry(5, OLD), entry(6, lower), entry(7, lower), entry(8, LEADER)], true),
        ("a hole", vec![entry(5, LEADER), entry(7, LEADER)], false),
        ("a hole before them", vec![entry(6, LEADER)], false),
        ("the same twice", vec![entry(5, LEADER), entry(5, LEADER)], false),
        ("above the leader", vec![entry(5, higher)], false),
        ("falling", vec![entry(5, LEADER), entry(6, lower)], false),
        ("below what is here", vec![entry(5, Ballot::new(1, 0))], false),
        ("without its data", vec![stripped], false),
        ("of another rule", vec![ruled(&other)], false),
        ("a configuration", vec![ruled(&three())], true),
    ] {
        let mut raft = follows(three());
        let count = sent.len();
        let out = hears(&mut raft, LEADER, Says { entries: sent, ..heartbeat(4, OLD) });
        let last = if taken { 4 + count as u64 } else { 4 };
        assert_eq!(raft.last().0, LogIndex(last), "{what}");
        assert_eq!(raft.disk.outbox.is_empty(), !taken, "{what}");
        assert_eq!(out.halted, None, "{what}");
    }
}

/// Entries 1 to 4 of 1.1, of which 2 are cut and 3 committed.
fn cut_at_two() -> Raft {
    let mut raft = follows(three());
    raft.commit = LogIndex(3);
    raft.log.committed(LogIndex(1), LogIndex(3));
    raft.log.compact(LogIndex(2));
    raft
}

#[test]
fn what_is_known_is_passed_over_and_what_is_committed_never_contradicted() {
    let other = Ballot::new(4, 1);
    for (what, says, halts, terms) in [
        ("below the base", heartbeat(1, other), None, vec![1, 1]),
        ("at the base", heartbeat(2, OLD), None, vec![1, 1]),
        ("another base", heartbeat(2, other), Some(2), vec![1, 1]),
        ("another commit", heartbeat(3, other), Some(3), vec![1, 1]),
        ("another end", heartbeat(4, other), None, vec![1, 1]),
        (
            "from below the base",
            Says {
                entries: [entries(1..=3, OLD), entries(4..=5, LEADER)].concat(),
                ..heartbeat(0, OLD)
            },
            None,
            vec![1, 5, 5],
        ),
        (
            "another committed entry",
            Says { entries: entries(3..=5, LEADER), ..heartbeat(2, OLD) },
            Some(3),
            vec![1, 1],
        ),
        (
            "more of the same",
            Says {
                entries: [entries(3..=4, OLD), entries(5..=5, LEADER)].concat(),
                ..heartbeat(2, OLD)
            },
            None,
            vec![1, 1, 5],
        ),
    ] {
        let mut raft = cut_at_two();
        let out = hears(&mut raft, LEADER, says);
        assert_eq!(out.halted.map(|halt| halt.index.0), halts, "{what}");
        assert_eq!(log(&raft), (terms, 3), "{what}");
    }
}

#[test]
fn a_rejection_names_where_the_logs_may_meet() {
    for (prev, of, hint, hint_ballot) in
        [(9, LEADER, 4, OLD), (5, LEADER, 4, OLD), (4, LEADER, 3, OLD)]
    {
        let mut raft = follows(three());
        hears(&mut raft, LEADER, heartbeat(prev, of));
        let (prev, hint) = (LogIndex(prev), LogIndex(hint));
        let outcome = AppendOutcome::Rejected { prev, hint, hint_ballot };
        let reply = Body::AppendReply { of: LEADER, round: 0, outcome };
        assert_eq!(said(&mut raft), (vec![reply], 0));
    }
}

#[test]
fn a_commit_reaches_as_far_as_what_was_compared() {
    for (prev, commit, reached) in [(4, 9, 4), (2, 9, 2), (4, 3, 3), (4, 0, 0)] {
        let mut raft = follows(three());
        let out = hears(&mut raft, LEADER, Says { commit, ..heartbeat(prev, OLD) });
        let told = Trace::Committed { index: LogIndex(reached) };
        assert_eq!((raft.commit().0, out.trace.contains(&told)), (reached, reached > 0));
        assert_eq!(raft.settled(), if reached > 0 { LEADER } else { Ballot::ZERO });
        let again = hears(&mut raft, Ballot::new(6, 1), Says { commit, ..heartbeat(prev, OLD) });
        assert!(!again.trace.contains(&told), "it is no news");
        assert_eq!(raft.settled(), if reached > 0 { LEADER } else { Ballot::ZERO });
    }
}

/// The answer to a request for a vote: at once, after a write, or none.
fn vote(raft: &mut Raft, ballot: Ballot, last: u64, of: Ballot) -> Option<(bool, bool)> {
    let mut out = Ready::default();
    raft.on_vote(ballot, (LogIndex(last), of), Invite::Unknown, &mut out);
    raft.disk.begin(raft.promise.is_dirty(), raft.log.last_index());
    let (mut now, waits) = said(raft);
    match (now.pop(), waits) {
        (Some(Body::VoteReply { granted, .. }), 0) => Some((granted, false)),
        (None, 1) => Some((true, true)),
        (None, 0) => None,
        other => panic!("{other:?}"),
    }
}

const GRANTED: Option<(bool, bool)> = Some((true, true));
const REFUSED: Option<(bool, bool)> = Some((false, false));

#[test]
fn a_vote_is_granted_to_a_full_log_above_the_promise_and_written_first() {
    let (shared, node) = (BallotRule::SharedTerms, BallotRule::TermAndNode);
    for (rule, ballot, last, of, answer, promise) in [
        (shared, Ballot::new(6, 1), 4, OLD, GRANTED, Ballot::new(6, 1)),
        (shared, Ballot::new(6, 1), 3, OLD, REFUSED, Ballot::new(6, 0)),
        (shared, Ballot::new(5, 1), 4, OLD, REFUSED, Ballot::new(5, 0)),
        (shared, Ballot::new(4, 1), 4, OLD, REFUSED, Ballot::new(5, 0)),
        (shared, LEADER, 4, OLD, None, Ballot::new(5, 0)),
        (node, Ballot::new(6, 1), 4, OLD, GRANTED, Ballot::new(6, 1)),
        (node, Ballot::new(6, 1), 3, OLD, REFUSED, LEADER),
        (node, Ballot::new(5, 4), 4, OLD, GRANTED, Ballot::new(5, 4)),
        (node, Ballot::new(5, 1), 4, OLD, REFUSED, LEADER),
        (node, LEADER, 4, OLD, None, LEADER),
    ] {
        let mut raft = follows(ruled(rule));
        let what = alloc::format!("{ballot} that ends at {last}, under {rule:?}");
        assert_eq!(vote(&mut raft, ballot, last, of), answer, "{what}");
        assert_eq!(raft.ballot(), promise, "{what}");
        let follows_on = promise.term == LEADER.term && answer != GRANTED;
        assert_eq!(raft.leader().is_some(), follows_on, "{what}");
    }
}

#[test]
fn who_does_not_know_yet_that_it_votes_votes_all_the_same() {
    let mut learns = config(3, "majority(n1, n3)");
    learns.members[1].learner = true;
    let mut raft = follows(learns);
    assert_eq!(vote(&mut raft, Ballot::new(6, 1), 4, OLD), GRANTED);
}

#[test]
fn a_candidate_that_refuses_a_rival_of_its_term_asks_again_soon() {
    for (term, split) in [(2, true), (1, false)] {
        let mut raft = raft(2, three());
        raft.campaign(&mut Ready::default());
        on_disk(&mut raft);
        assert_eq!(vote(&mut raft, Ballot::new(term, 3), 0, Ballot::ZERO), REFUSED);
        assert!(matches!(&raft.role, Role::Candidate(c) if c.split == split), "{term}");
    }
}

#[test]
fn who_repairs_or_has_no_seat_gives_no_vote_and_a_witness_compares_logs() {
    let ballot = Ballot::new(6, 1);
    let mut raft = follows(three());
    raft.standing = super::super::repair::Standing::Proven;
    assert_eq!(vote(&mut raft, ballot, 4, OLD), None);
    assert_eq!(raft.ballot().term, LEADER.term);
    let mut raft = follows(three());
    raft.seat = super::super::seat::Seat::None;
    assert_eq!(vote(&mut raft, ballot, 4, OLD), None);
    let mut raft = follows(config(3, "majority(n1, witness(n2), n3)"));
    assert_eq!(vote(&mut raft, ballot, 3, OLD), REFUSED);
}

/// The answer to a pre-vote under `ballot` of a log that ends in `last` of 1.1.
fn pre_vote(raft: &mut Raft, ballot: Ballot, last: u64) -> Option<bool> {
    raft.on_pre_vote(ballot, (LogIndex(last), OLD), Invite::Unknown);
    match said(raft).0.pop() {
        Some(Body::PreVoteReply { granted, .. }) => Some(granted),
        None => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_pre_vote_is_granted_where_the_leader_is_silent_lost_or_the_one_that_asks() {
    let just = Nanos(TIMEOUT.0 - 1);
    for (from, now, lost, granted) in [
        (1, just, false, false),
        (1, TIMEOUT, false, true),
        (1, TIMEOUT.plus(TIMEOUT), false, true),
        (1, just, true, true),
        (3, just, false, true),
    ] {
        let mut raft = follows(three());
        raft.now = now;
        raft.follower_mut().expect("it follows").lost = lost;
        let found = pre_vote(&mut raft, Ballot::new(6, from), 4);
        assert_eq!(found, Some(granted), "{from} {now:?} {lost}");
        assert_eq!(raft.ballot(), Ballot::new(5, 0), "it binds nobody");
    }
    let mut raft = leads(three(), 1);
    raft.on_pre_vote(Ballot::new(6, 3), (LogIndex(9), LEADER), Invite::Unknown);
    let (of, granted) = (Ballot::new(6, 3), false);
    assert_eq!(said(&mut raft).0, [Body::PreVoteReply { of, granted }], "it leads");
}

#[test]
fn a_pre_vote_is_refused_where_the_vote_would_be() {
    let waits = || {
        let mut raft = follows(three());
        raft.now = TIMEOUT;
        raft
    };
    assert_eq!(pre_vote(&mut waits(), Ballot::new(6, 1), 4), Some(true));
    assert_eq!(pre_vote(&mut waits(), Ballot::new(6, 1), 3), Some(false), "a shorter log");
    assert_eq!(pre_vote(&mut waits(), Ballot::new(4, 1), 4), Some(false), "a lower ballot");
    let mut raft = waits();
    raft.seat = super::super::seat::Seat::None;
    assert_eq!(pre_vote(&mut raft, Ballot::new(6, 1), 4), Some(false), "it has no seat");
    let mut raft = waits();
    raft.standing = super::super::repair::Standing::Proven;
    assert_eq!(pre_vote(&mut raft, Ballot::new(6, 1), 4), None, "it repairs");
    // Who grants lets the other one go first.
    for (last, waits_longer) in [(4, true), (3, false)] {
        let (mut raft, due) = (waits(), TIMEOUT.plus(Nanos(1)));
        let f = raft.follower_mut().expect("it follows");
        (f.deadline, f.patience) = (due, Nanos(u64::MAX));
        pre_vote(&mut raft, Ballot::new(6, 1), last);
        assert_eq!(raft.deadline() > due, waits_longer);
    }
}

#[test]
fn only_the_leader_that_is_followed_hands_over_to_who_may_lead() {
    let witness = "majority(n1, witness(n2), n3)";
    for (config, from, ballot, campaigns) in [
        (three(), 3, LEADER, true),
        (three(), 1, Ballot::new(5, 1), false),
        (three(), 1, LEADER, false),
        (config(3, witness), 3, LEADER, false),
    ] {
        let mut raft = follows(config);
        raft.on_timeout_now(NodeId(from), ballot, &mut Ready::default());
        assert_eq!(matches!(raft.role, Role::Candidate(_)), campaigns, "{from} {ballot}");
    }
}

/// What a peer says counts for itself, and under the ballot it names.
#[test]
fn a_request_under_another_members_ballot_is_dropped() {
    let (last, last_ballot, invite) = (LogIndex(9), LEADER, Invite::Unknown);
    let append = Body::Append {
        prev: LogIndex(4),
        prev_ballot: OLD,
        commit: LogIndex(4),
        round: 0,
        entries: vec![],
    };
    for body in [
        Body::Vote { last, last_ballot, invite },
        Body::PreVote { last, last_ballot, invite },
        append,
        Body::TimeoutNow,
    ] {
        let mut raft = follows(three());
        raft.now = TIMEOUT;
        let (mut out, ballot) =
            (Ready::default(), if body == Body::TimeoutNow { LEADER } else { Ballot::new(6, 3) });
        let message = Message { from: NodeId(1), to: NodeId(2), life: life(1), ballot, body };
        raft.receive(TIMEOUT, message.clone(), &mut out);
        assert!(out.messages.is_empty() && out.persist.is_empty(), "{message:?}");
        assert_eq!((raft.ballot(), raft.commit()), (Ballot::new(5, 0), LogIndex::ZERO));
        let message = Message { from: NodeId(3), life: life(3), ..message };
        raft.receive(TIMEOUT, message, &mut out);
        assert!(!out.messages.is_empty() || !out.persist.is_empty(), "its own is heard");
    }
}

#[test]
fn a_message_for_another_of_nobody_or_of_another_directory_is_dropped() {
    let says = Message {
        from: NodeId(3),
        to: NodeId(2),
        life: life(3),
        ballot: LEADER,
        body: Body::Append {
            prev: LogIndex(4),
            prev_ballot: OLD,
            commit: LogIndex(4),
            round: 0,
            entries: vec![],
        },
    };
    let other = Life { birth: base::Birth(9), ..life(3) };
    let (own, nobody) = (Ballot::new(5, 2), Ballot::new(5, 0));
    for (message, heard) in [
        (says.clone(), true),
        (Message { to: NodeId(1), ..says.clone() }, false),
        (Message { from: NodeId(2), ballot: own, life: life(2), ..says.clone() }, false),
        (Message { from: NodeId(0), ballot: nobody, ..says.clone() }, false),
        (Message { ballot: Ballot::new(1 << 40, 3), ..says.clone() }, false),
        (Message { life: other, ..says }, false),
    ] {
        let mut raft = follows(three());
        raft.receive(Nanos(1), message.clone(), &mut Ready::default());
        assert_eq!(raft.commit() == LogIndex(4), heard, "{message:?}");
    }
}
