//! What a leader counts, believes and sends, at the boundaries.

use super::*;
use crate::raft::tests::machine::*;
use alloc::vec;
use base::limits::READS_MAX;
use base::{Incarnation, Ticket};
use cluster::Configuration;

mod flush;

fn three() -> Configuration {
    config(3, MAJORITY)
}

/// Entries up to 9 are here and on the disk, those up to 5 committed; peers hold 5 entries.
fn at_nine() -> Raft {
    let mut raft = leads(three(), 9);
    raft.commit = LogIndex(5);
    [2, 3].into_iter().for_each(|id| holds(&mut raft, id, 5));
    raft
}

fn compacted(raft: &mut Raft, upto: u64) {
    raft.log.compact(LogIndex(upto));
}

fn rejected(prev: u64, hint: u64, hint_ballot: Ballot) -> AppendOutcome {
    AppendOutcome::Rejected { prev: LogIndex(prev), hint: LogIndex(hint), hint_ballot }
}

fn lacking(prev: u64, hint: u64, hint_ballot: Ballot) -> AppendOutcome {
    AppendOutcome::Lacking { prev: LogIndex(prev), hint: LogIndex(hint), hint_ballot }
}

fn replies(raft: &mut Raft, from: u64, outcome: AppendOutcome) -> Ready {
    let mut out = Ready::default();
    raft.on_append_reply(NodeId(from), 0, outcome, &mut out);
    out
}

#[test]
fn a_new_leader_knows_who_voted_for_it_and_whose_silence_made_it() {
    for (silent, lost) in [(None, [false, false]), (Some(NodeId(3)), [false, true])] {
        let (mut raft, mut out) = (raft(1, three()), Ready::default());
        raft.promise.grant(raft.rule(), REIGN);
        (raft.silent_leader, raft.now) = (silent, Nanos(7));
        let later = Life { incarnation: Incarnation(7), ..life(2) };
        let voters = [(NodeId(1), life(1)), (NodeId(2), later)];
        raft.become_leader(REIGN, NodeSet::new(), &voters, &mut out);
        let of = |raft: &mut Raft, id| (peer(raft, id).lost, peer(raft, id).voted);
        assert_eq!(of(&mut raft, 2), (lost[0], Some(later)));
        assert_eq!(of(&mut raft, 3), (lost[1], None));
        assert_eq!(raft.silent_leader, None);
        assert_eq!(raft.deadline(), Nanos(7).plus(raft.settings.heartbeat_interval));
        let Role::Leader(leader) = &raft.role else { panic!("it leads") };
        assert_eq!((leader.first_own, raft.log.last_index()), (LogIndex(1), LogIndex(1)));
    }
}

#[test]
fn peers_follow_the_configuration_and_keep_their_progress() {
    let mut raft = at_nine();
    let mut next = config(4, "majority(n1, n2, n4)");
    next.members.remove(2);
    raft.append_config(compiled(next), &mut Ready::default());
    let Role::Leader(leader) = &raft.role else { panic!("it leads") };
    let known: Vec<_> = leader.peers.iter().map(|p| (p.id.0, p.slot, p.matched.0)).collect();
    assert_eq!(known, [(2, 1, 5), (4, 3, 0)]);
    assert_eq!(peer(&mut raft, 4).next, LogIndex(11), "after what is here");
}

#[test]
fn a_leader_counts_its_own_disk_and_the_peers_that_count() {
    let mut raft = at_nine();
    grow(&mut raft, 10);
    peer(&mut raft, 3).matched = LogIndex(7);
    assert_eq!(raft.matched()[..4], [9, 5, 7, 0]);
    let acked = |raft: &Raft, index| bits(raft.acked(LogIndex(index)));
    assert_eq!([0, 5, 6, 7, 8, 9, 10].map(|index| acked(&raft, index)), [7, 7, 5, 5, 1, 1, 0]);
    assert_eq!(bits(raft.with_self(NodeId(3))), 5);
    assert_eq!(bits(raft.with_self(NodeId(9))), 1);
    peer(&mut raft, 2).repairing = true;
    assert_eq!(raft.matched()[..4], [9, 0, 7, 0]);
    assert_eq!(acked(&raft, 0), 5, "who repairs holds nothing that counts");
    assert_eq!(bits(raft.with_self(NodeId(2))), 1);
    let follower = crate::raft::tests::machine::raft(1, three());
    assert_eq!(follower.matched(), [0; NODES_MAX]);
    assert_eq!(bits(follower.acked(LogIndex::ZERO)), 0);
}

fn quorums(out: &Ready) -> Vec<(u64, u64)> {
    let of = |event: &Trace| match event {
        Trace::Quorum { index, acked, .. } => Some((index.0, bits(*acked))),
        _ => None,
    };
    out.trace.iter().filter_map(of).collect()
}

#[test]
fn a_commit_is_counted_once_by_voters_and_from_an_own_entry_on() {
    let mut four = config(4, MAJORITY);
    four.members[3].learner = true;
    let mut raft = leads_over(four, 4, 9);
    let (mut out, old) = (Ready::default(), LogIndex(4));
    [(2, 4), (3, 2), (4, 9)].into_iter().for_each(|(id, upto)| holds(&mut raft, id, upto));
    raft.count_acks(&mut out);
    assert_eq!((raft.commit, quorums(&out)), (LogIndex::ZERO, vec![]), "4 is of an old ballot");
    assert!(!raft.leader_ready());
    peer(&mut raft, 2).matched = LogIndex(5);
    raft.count_acks(&mut out);
    assert_eq!((raft.commit, quorums(&out)), (LogIndex(5), vec![(5, 3)]), "the learner is none");
    assert!(raft.leader_ready() && raft.commit > old);
    raft.count_acks(&mut out);
    assert_eq!(quorums(&out).len(), 1, "nothing is new");
    assert!(raft.is_leader());
}

#[test]
fn a_leader_that_a_committed_configuration_leaves_out_hands_over() {
    for (learner, commit, leads_on) in
        [(true, 10, false), (true, 9, true), (false, 10, true), (false, 9, true)]
    {
        let mut next = three();
        if learner {
            next.members[0].learner = true;
            next.quorum = "majority(n2, n3)".into();
        }
        let mut raft = at_nine();
        raft.append_config(compiled(next), &mut Ready::default());
        on_disk(&mut raft);
        let mut out = Ready::default();
        [(2, commit), (3, 10)].into_iter().for_each(|(id, upto)| holds(&mut raft, id, upto));
        raft.count_acks(&mut out);
        assert_eq!(raft.is_leader(), leads_on, "learns: {learner}, commits {commit}");
        let stepped = Trace::SteppedDown { ballot: REIGN, why: Why::NotVoter };
        assert_eq!(out.trace.contains(&stepped), !leads_on);
        raft.finish(&mut out);
        let heirs = out.messages.iter().filter(|m| m.body == Body::TimeoutNow);
        assert_eq!(heirs.count(), usize::from(!leads_on));
    }
}

#[test]
fn nobody_acknowledges_more_than_there_is() {
    for (index, taken) in [(9, true), (10, false)] {
        let mut raft = at_nine();
        replies(&mut raft, 2, AppendOutcome::Matched(LogIndex(index)));
        assert_eq!(peer(&mut raft, 2).matched == LogIndex(9), taken, "{index}");
        assert_eq!(raft.commit, LogIndex(if taken { 9 } else { 5 }));
        let mut raft = at_nine();
        replies(&mut raft, 2, AppendOutcome::Held(LogIndex(index)));
        assert_eq!(peer(&mut raft, 2).repairing, taken, "{index}");
        assert_eq!(peer(&mut raft, 2).matched, LogIndex(if taken { 9 } else { 5 }));
        assert_eq!(raft.commit, LogIndex(5), "who repairs is not counted");
    }
}

#[test]
fn an_acknowledgement_that_is_no_news_is_told_only_where_it_ends_a_repair() {
    let mut raft = at_nine();
    let acks = |out: Ready| out.trace.iter().filter(|t| matches!(t, Trace::Acked { .. })).count();
    let matched = AppendOutcome::Matched(LogIndex(5));
    assert_eq!(acks(replies(&mut raft, 2, matched)), 0);
    replies(&mut raft, 2, AppendOutcome::Held(LogIndex(5)));
    assert_eq!(acks(replies(&mut raft, 2, matched)), 1);
    assert_eq!(acks(replies(&mut raft, 2, AppendOutcome::Matched(LogIndex(6)))), 1);
}

/// The leader's log has entries 1 to 4 of ballot 1.1, and its own up to 9.
fn over_four(state: State, matched: u64, next: u64) -> Raft {
    let mut raft = leads_over(three(), 4, 9);
    raft.commit = LogIndex(1);
    let peer = peer(&mut raft, 2);
    (peer.matched, peer.state, peer.next) = (LogIndex(matched), state, LogIndex(next));
    raft
}

const SENT: State = State::Probe { sent: true };
const UNSENT: State = State::Probe { sent: false };
const UNDER_WAY: State = State::Snapshot { floor: LogIndex(9), retry_at: Nanos(u64::MAX) };

#[test]
fn a_rejection_of_what_was_asked_moves_the_search_down_and_no_other_does() {
    let old = Ballot::new(1, 1);
    for (state, matched, next, prev, hint, of, found) in [
        (SENT, 2, 9, 8, 6, REIGN, Some(7)),
        (SENT, 2, 9, 8, 6, old, Some(5)),
        (SENT, 2, 9, 8, 8, REIGN, Some(8)),
        (SENT, 2, 9, 7, 6, REIGN, None),
        (SENT, 2, 9, 9, 6, REIGN, None),
        (SENT, 5, 6, 5, 3, REIGN, None),
        (State::Replicate, 2, 9, 8, 6, REIGN, Some(7)),
        (State::Replicate, 2, 9, 3, 1, REIGN, Some(3)),
        (State::Replicate, 2, 9, 2, 1, REIGN, None),
        (State::Replicate, 2, 9, 1, 0, REIGN, None),
        (State::Replicate, 2, 9, 9, 6, REIGN, None),
        (UNDER_WAY, 2, 9, 8, 6, REIGN, None),
    ] {
        let mut raft = over_four(state.clone(), matched, next);
        replies(&mut raft, 2, rejected(prev, hint, of));
        let peer = peer(&mut raft, 2);
        let expected = found.map_or((state.clone(), next), |next| (UNSENT, next));
        let what = (peer.state.clone(), peer.next.0);
        assert_eq!(what, expected, "{state:?} {prev}, ends at {hint} of {of}");
        assert_eq!(peer.matched, LogIndex(matched));
    }
}

#[test]
fn a_member_that_lost_entries_is_asked_for_them_again_below_what_it_acknowledged() {
    let old = Ballot::new(1, 1);
    for (state, next, prev, hint, of, found) in [
        (SENT, 9, 8, 6, REIGN, Some(7)),
        (SENT, 9, 8, 6, old, Some(5)),
        (SENT, 9, 8, 8, REIGN, None),
        (SENT, 9, 8, 9, REIGN, None),
        (SENT, 9, 7, 6, REIGN, None),
        (State::Replicate, 9, 8, 6, REIGN, Some(7)),
        (State::Replicate, 9, 2, 1, REIGN, Some(2)),
        (State::Replicate, 9, 9, 6, REIGN, None),
        (UNDER_WAY, 9, 8, 6, REIGN, None),
    ] {
        let mut raft = over_four(state.clone(), 5, next);
        replies(&mut raft, 2, lacking(prev, hint, of));
        let peer = peer(&mut raft, 2);
        let expected = found.map_or((state.clone(), next), |next| (UNSENT, next));
        let what = (peer.state.clone(), peer.next.0);
        assert_eq!(what, expected, "{state:?} {prev}, ends at {hint} of {of}");
        assert_eq!((peer.repairing, peer.matched), (true, LogIndex::ZERO));
    }
    // What it said to hold in this repair is above its end: it lost that as well.
    let mut raft = over_four(State::Replicate, 0, 9);
    (peer(&mut raft, 2).repairing, peer(&mut raft, 2).matched) = (true, LogIndex(8));
    replies(&mut raft, 2, lacking(8, 3, old));
    let peer = peer(&mut raft, 2);
    assert_eq!((peer.matched, peer.next), (LogIndex(3), LogIndex(4)));
}

/// Where only a checkpoint helps the search ends below the log, not at its base.
#[test]
fn a_peer_whose_log_ends_before_this_one_begins_is_searched_for_below_it() {
    for (base, hint, next) in [(6, 2, 3), (6, 6, 7), (6, 7, 8)] {
        for outcome in [rejected(8, hint, REIGN), lacking(8, hint, REIGN)] {
            let mut raft = over_four(SENT, 0, 9);
            compacted(&mut raft, base);
            replies(&mut raft, 2, outcome);
            assert_eq!(peer(&mut raft, 2).next, LogIndex(next), "{outcome:?}, a log from {base}");
        }
    }
}

#[test]
fn reads_before_the_first_own_commit_are_bounded_and_begin_with_it() {
    let mut raft = leads(three(), 1);
    let origin = |seq| Origin { node: NodeId(1), incarnation: Incarnation(1), seq };
    for seq in 0..READS_MAX as u64 + 2 {
        raft.leader_read(origin(seq));
    }
    let state = |raft: &Raft| match &raft.role {
        Role::Leader(l) => (l.rounds.queued.len(), l.rounds.is_waiting()),
        _ => panic!("it leads"),
    };
    assert_eq!(state(&raft), (READS_MAX, false));
    raft.start_queued_reads();
    assert_eq!(state(&raft), (READS_MAX, false), "nothing is committed");
    raft.commit = LogIndex(1);
    raft.start_queued_reads();
    assert_eq!(state(&raft), (0, true));
    let mut raft = leads(three(), 1);
    raft.commit = LogIndex(1);
    raft.leader_read(origin(1));
    assert_eq!(state(&raft), (0, true), "it begins at once");
}

#[test]
fn a_checkpoint_under_way_is_waited_for_until_its_time_is_over() {
    for (retry_at, state) in [
        (20, UNSENT),
        (21, State::Snapshot { floor: LogIndex(9), retry_at: Nanos::from_millis(21) }),
    ] {
        let mut raft = at_nine();
        let retry_at = Nanos::from_millis(retry_at);
        peer(&mut raft, 2).state = State::Snapshot { floor: LogIndex(9), retry_at };
        raft.now = Nanos::from_millis(20);
        raft.tick_leader(&mut Ready::default());
        assert_eq!(peer(&mut raft, 2).state, state);
        assert_eq!(raft.deadline(), Nanos::from_millis(40), "the next heartbeat");
    }
}

#[test]
fn a_hand_over_is_given_up_when_its_time_is_over() {
    let end = Nanos::from_millis(30);
    for (now, over) in [(Nanos(end.0 - 1), false), (end, true)] {
        let mut raft = at_nine();
        let mut out = Ready::default();
        raft.start_transfer(Some(NodeId(2)), &mut out);
        let Role::Leader(leader) = &mut raft.role else { panic!("it leads") };
        leader.transfer.as_mut().expect("it hands over").deadline = end;
        leader.heartbeat_at = Nanos::from_millis(50);
        assert_eq!(raft.deadline(), end, "it comes before the heartbeat");
        raft.now = now;
        raft.tick_leader(&mut out);
        assert_eq!(raft.takes_proposals(), over, "{now:?}");
    }
}

/// Member 1 leads members 1 to 5 and has begun to move from `1, 2, 3` to `1, 4, 5` in entry 9.
fn moving(at: Option<u64>) -> Raft {
    let five = config(5, "majority(n1, n2, n3)");
    let joint = Configuration { joint: Some("majority(n1, n4, n5)".into()), ..five.clone() };
    let mut raft = match at {
        Some(_) => leads(five, 8),
        None => leads(joint.clone(), 9),
    };
    if at.is_some() {
        raft.append_config(compiled(joint), &mut Ready::default());
    }
    raft.commit = LogIndex(8);
    raft.now = TIMEOUT.plus(Nanos(1));
    raft
}

#[test]
fn a_move_whose_goal_is_not_heard_is_called_off_while_it_is_the_leaders_own_and_open() {
    for (own, commit, hands_over, heard, called_off) in [
        (true, 8, false, &[2][..], true),
        (true, 9, false, &[2], false),
        (false, 8, false, &[2], false),
        (true, 8, true, &[2], false),
        (true, 8, false, &[], false),
        (true, 8, false, &[4], false),
    ] {
        let mut raft = moving(own.then_some(9));
        let mut out = Ready::default();
        if hands_over {
            raft.start_transfer(Some(NodeId(2)), &mut out);
        }
        raft.commit = LogIndex(commit);
        heard.iter().for_each(|id| peer(&mut raft, *id).heard = late());
        let last = raft.log.last_index();
        assert_eq!(raft.call_off(&mut out), called_off, "{own} {commit} {hands_over} {heard:?}");
        assert_eq!(raft.log.last_index() > last, called_off);
        assert_eq!(raft.config().joint.is_none(), called_off);
    }
    // Another leader began it: nobody knows how far that came.
    let mut raft = raft(1, config(5, "majority(n1, n2, n3)"));
    let joint = Some("majority(n1, n4, n5)".into());
    takes(&mut raft, Configuration { joint, ..config(5, "majority(n1, n2, n3)") });
    raft.promise.grant(raft.rule(), REIGN);
    raft.become_leader(REIGN, NodeSet::new(), &[], &mut Ready::default());
    peer(&mut raft, 2).heard = TIMEOUT;
    raft.now = TIMEOUT.plus(Nanos(1));
    assert!(!raft.call_off(&mut Ready::default()), "it is of another ballot");
}

#[test]
fn a_peer_is_heard_for_an_election_timeout() {
    for (by, heard) in [(0, 3), (1, 1)] {
        let mut raft = at_nine();
        raft.now = TIMEOUT.plus(Nanos(by));
        peer(&mut raft, 3).repairing = true;
        peer(&mut raft, 3).heard = late();
        assert_eq!(bits(raft.heard_slots()), heard, "{by} ns late");
        assert_eq!(raft.hears_commit_set(), heard == 3);
        assert_eq!(bits(raft.live()), heard);
        assert_eq!(raft.has_caught_up(NodeId(2), 9), heard == 3);
    }
}

#[test]
fn whoever_takes_its_seat_soon_is_heard_as_if_it_had_it() {
    for (founded, voted, silent, heard) in [
        (true, false, false, 1),
        (true, true, false, 3),
        (true, true, true, 1),
        (false, false, false, 3),
        (false, false, true, 1),
    ] {
        let mut raft = if founded { leads(three(), 1) } else { leads(met(three(), &[]), 1) };
        raft.now = TIMEOUT.plus(Nanos(1));
        let (now, voter) = (raft.now, Life { incarnation: Incarnation(4), ..life(2) });
        let peer = peer(&mut raft, 2);
        (peer.seated, peer.life) = (false, voter);
        peer.voted = voted.then_some(voter);
        peer.heard = if silent { Nanos::ZERO } else { now };
        assert_eq!(bits(raft.heard_slots()), heard, "{founded} {voted} {silent}");
    }
}

#[test]
fn a_peer_answers_once_it_holds_something_that_counts() {
    for (matched, repairs, live) in [(0, false, 1), (1, false, 3), (1, true, 1)] {
        let mut raft = leads(three(), 9);
        holds(&mut raft, 2, matched);
        peer(&mut raft, 2).repairing = repairs;
        assert_eq!(bits(raft.live()), live, "{matched} {repairs}");
        let close = raft.has_caught_up(NodeId(2), 9);
        assert_eq!(close, live == 3);
    }
    assert_eq!(bits(raft(1, three()).live()), 0, "nobody answers a follower");
    assert!(!raft(1, three()).has_caught_up(NodeId(1), 9));
}

#[test]
fn a_peer_has_caught_up_within_the_slack_and_for_itself() {
    let mut raft = at_nine();
    peer(&mut raft, 3).matched = LogIndex(9);
    let close = |raft: &Raft, id, slack| raft.has_caught_up(NodeId(id), slack);
    assert!(close(&raft, 2, 4) && !close(&raft, 2, 3), "it lacks four entries");
    assert!(close(&raft, 3, 0));
    assert!(!close(&raft, 9, 100), "nobody knows it");
}

#[test]
fn a_lost_connection_begins_the_search_anew_unless_a_checkpoint_is_on_its_way() {
    for (state, after) in [(State::Replicate, UNSENT), (SENT, UNSENT), (UNDER_WAY, UNDER_WAY)] {
        let mut raft = at_nine();
        peer(&mut raft, 2).state = state;
        raft.reset_peer(NodeId(2));
        let peer = peer(&mut raft, 2);
        assert_eq!((peer.state.clone(), peer.next, peer.lost), (after, LogIndex(6), true));
    }
}

#[test]
fn the_end_of_a_transfer_gives_the_peer_time_to_install_it() {
    for (matched, ok, patience) in
        [(5, true, Some(400)), (5, false, Some(100)), (6, true, None), (7, false, None)]
    {
        let mut raft = at_nine();
        raft.now = Nanos::from_millis(3);
        let floor = LogIndex(6);
        let peer_ = peer(&mut raft, 2);
        peer_.matched = LogIndex(matched);
        peer_.state = State::Snapshot { floor, retry_at: Nanos(u64::MAX) };
        raft.end_snapshot(NodeId(2), ok);
        let retry_at = |ms: u64| Nanos::from_millis(3 + ms);
        let state = patience.map_or(UNSENT, |ms| State::Snapshot { floor, retry_at: retry_at(ms) });
        assert_eq!(peer(&mut raft, 2).state, state, "holds {matched}, went well: {ok}");
        raft.end_snapshot(NodeId(3), ok);
        assert_eq!(peer(&mut raft, 3).state, State::Replicate, "none was on its way");
    }
}

/// One longer than an election timeout after the start.
fn late() -> Nanos {
    TIMEOUT.plus(Nanos(1))
}

#[test]
fn own_entries_count_when_they_are_durable() {
    let mut raft = at_nine();
    grow(&mut raft, 10);
    let mut out = Ready::default();
    holds(&mut raft, 2, 10);
    raft.count_acks(&mut out);
    assert_eq!(raft.commit, LogIndex(9), "only one disk has more");
    raft.finish(&mut out);
    let ticket: Ticket = out.persist.last().expect("entry 10").ticket;
    raft.persisted(raft.now, ticket, &mut out);
    assert_eq!(raft.commit, LogIndex(10));
}
