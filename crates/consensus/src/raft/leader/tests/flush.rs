//! What a peer is sent in one step, and when it is sent nothing.

use super::*;

/// One append: the entry before, how many entries, the round.
type Sent = (u64, usize, u64);

/// How the peer stands before the step, and what else is new.
struct Before {
    state: State,
    matched: u64,
    next: u64,
    sent_commit: u64,
    due: bool,
    round: u64,
}

const QUIET: Before =
    Before { state: State::Replicate, matched: 5, next: 10, sent_commit: 5, due: false, round: 0 };

/// Member 1 leads with entries up to 9, and has committed those up to 5. Member 3 hears nothing.
fn before(at: Before) -> Raft {
    let mut raft = at_nine();
    let third = peer(&mut raft, 3);
    (third.state, third.sent_round) = (UNDER_WAY, at.round);
    let second = peer(&mut raft, 2);
    second.matched = LogIndex(at.matched);
    (second.state, second.next) = (at.state, LogIndex(at.next));
    second.sent_commit = LogIndex(at.sent_commit);
    let Role::Leader(leader) = &mut raft.role else { panic!("it leads") };
    (leader.heartbeat_due, leader.rounds.round) = (at.due, at.round);
    raft
}

/// What member 2 is sent in one step.
fn flushed(raft: &mut Raft) -> (Option<Sent>, Ready) {
    let mut out = Ready::default();
    raft.flush_peers(&mut out);
    raft.disk.release_outbox(|held| match held {
        super::super::super::disk::Held::Message(message) => out.messages.push(message),
        _ => panic!("nobody votes"),
    });
    let mut to_two = out.messages.iter().filter(|m| m.to == NodeId(2)).map(|m| match &m.body {
        Body::Append { prev, prev_ballot, commit, round, entries } => {
            assert_eq!(*commit, LogIndex(5));
            assert_eq!(*prev_ballot, if prev.0 == 0 { Ballot::ZERO } else { REIGN });
            (prev.0, entries.len(), *round)
        }
        other => panic!("{other:?}"),
    });
    let sent = to_two.next();
    assert_eq!(to_two.next(), None, "one append at a time");
    (sent, out)
}

#[test]
fn a_peer_is_sent_what_is_new_to_it_and_else_nothing() {
    for (at, sent, state, next) in [
        (QUIET, None, State::Replicate, 10),
        (Before { due: true, ..QUIET }, Some((9, 0, 0)), State::Replicate, 10),
        (Before { round: 3, ..QUIET }, Some((9, 0, 3)), State::Replicate, 10),
        (Before { sent_commit: 4, ..QUIET }, Some((9, 0, 0)), State::Replicate, 10),
        (Before { next: 6, ..QUIET }, Some((5, 4, 0)), State::Replicate, 10),
        // One that is looked for is asked once.
        (Before { state: UNSENT, next: 8, ..QUIET }, Some((7, 2, 0)), SENT, 8),
        (Before { state: UNSENT, ..QUIET }, Some((9, 0, 0)), SENT, 10),
        (Before { state: SENT, next: 8, ..QUIET }, None, SENT, 8),
        (Before { state: SENT, next: 8, sent_commit: 4, ..QUIET }, None, SENT, 8),
        (Before { state: SENT, next: 8, due: true, ..QUIET }, Some((7, 0, 0)), SENT, 8),
        (Before { state: SENT, next: 8, round: 3, ..QUIET }, Some((7, 0, 3)), SENT, 8),
        // A heartbeat to one that takes in a checkpoint matches everywhere.
        (Before { state: UNDER_WAY, next: 8, ..QUIET }, None, UNDER_WAY, 8),
        (Before { state: UNDER_WAY, sent_commit: 4, ..QUIET }, None, UNDER_WAY, 10),
        (Before { state: UNDER_WAY, next: 8, due: true, ..QUIET }, Some((0, 0, 0)), UNDER_WAY, 8),
    ] {
        let what = alloc::format!("{:?} next {} due {}", at.state, at.next, at.due);
        let (round, mut raft) = (at.round, before(at));
        let (found, out) = flushed(&mut raft);
        assert_eq!(found, sent, "{what}");
        assert_eq!(out.snapshots, []);
        let peer = peer(&mut raft, 2);
        assert_eq!((peer.state.clone(), peer.next.0), (state, next), "{what}");
        if found.is_some() {
            let reach = found.map_or(0, |(prev, count, _)| prev + count as u64);
            assert_eq!((peer.sent_round, peer.sent_commit.0), (round, reach.min(5)), "{what}");
            assert_eq!(flushed(&mut raft).0, None, "{what}: it was told");
        }
    }
}

#[test]
fn appends_go_out_while_the_bytes_under_way_are_fewer_than_may_be() {
    for (more, sent) in [(0, None), (1, Some((7, 2, 0)))] {
        let mut raft = before(Before { next: 6, ..QUIET });
        let two = raft.log.batch(LogIndex(6), 1).1 + raft.log.batch(LogIndex(7), 1).1;
        peer(&mut raft, 2).sent(LogIndex(7), two);
        raft.settings.inflight_bytes_max = two + more;
        assert_eq!(flushed(&mut raft).0, sent);
        let bytes = peer(&mut raft, 2).inflight_bytes;
        assert_eq!(bytes, if sent.is_some() { 2 * two } else { two });
    }
}

#[test]
fn a_peer_whose_next_entry_is_gone_is_offered_a_checkpoint_once() {
    for (state, next, offered) in [
        (State::Replicate, 8, false),
        (State::Replicate, 7, true),
        (UNSENT, 7, true),
        (UNSENT, 8, false),
        (State::Snapshot { floor: LogIndex(6), retry_at: Nanos(9) }, 7, false),
    ] {
        for due in [false, true] {
            let mut raft = before(Before { state: state.clone(), next, due, ..QUIET });
            compacted(&mut raft, 7);
            let (sent, out) = flushed(&mut raft);
            assert_eq!(out.snapshots.contains(&NodeId(2)), offered, "{state:?} {next}");
            if offered {
                assert_eq!(peer(&mut raft, 2).floor(), Some(LogIndex(7)));
                assert_eq!(sent, due.then_some((0, 0, 0)), "the checkpoint comes another way");
                assert_eq!(flushed(&mut raft).1.snapshots, []);
            }
        }
    }
}
