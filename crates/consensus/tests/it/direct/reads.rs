//! Who asks a leader for a read has confirmed it, where its word counts.

use super::*;

fn asks(from: u64, of: Ballot, vouches: bool) -> Message {
    let body = Body::ReadIndex { incarnation: Incarnation(1), seq: 7, vouches };
    Message { from: NodeId(from), to: NodeId(2), life: life(from), ballot: of, body }
}

fn answers(out: &Ready) -> Vec<(NodeId, LogIndex)> {
    let of = |m: &Message| match m.body {
        Body::ReadIndexReply { index, seq: 7, .. } => Some((m.to, index)),
        _ => None,
    };
    out.messages.iter().filter_map(of).collect()
}

#[test]
fn a_question_needs_no_round_where_the_two_are_a_commit_set() {
    let own = Ballot::new(9, 2);
    let cases = [
        (3, 0, 3, own, true, 1, "two of three commit"),
        (3, 0, 3, own, false, 0, "its word does not count"),
        (3, 0, 3, Ballot::new(8, 2), true, 0, "it asks another leader"),
        (3, 0, 9, own, true, 0, "nobody knows it"),
        (3, 1, 4, own, true, 0, "who learns commits nothing"),
        (5, 0, 3, own, true, 0, "two of five commit nothing"),
    ];
    for (voters, learners, from, of, vouches, answered, why) in cases {
        let config = configuration(voters, learners, "", BallotRule::SharedTerms);
        let mut raft = leads_under(0, config);
        let mut out = Ready::default();
        raft.receive(Nanos(2), asks(from, of, vouches), &mut out);
        let expected = vec![(NodeId(from), LogIndex(10)); answered];
        assert_eq!(answers(&out), expected, "{why}");
    }
}

/// The leader's own ballot has committed nothing yet: its commit index may be too low to serve.
#[test]
fn a_question_before_the_first_own_commit_waits_like_every_other() {
    let mut raft = elected(configuration(3, 0, "", BallotRule::SharedTerms));
    let mut out = Ready::default();
    raft.receive(Nanos(2), asks(3, Ballot::new(9, 2), true), &mut out);
    assert_eq!(answers(&out), [], "it committed nothing");
    raft.receive(Nanos(3), acked(1, 2), &mut out);
    raft.receive(Nanos(3), acked(3, 2), &mut out);
    assert_eq!((raft.commit(), answers(&out)), (LogIndex(2), vec![]), "now a round is asked");
}

#[test]
fn a_question_vouches_once_the_promise_is_durable_and_never_while_the_member_repairs() {
    for repairs in [false, true] {
        let mut raft = machine(Ballot::new(2, 1));
        if repairs {
            raft.repair(Repair { ballot: Ballot::new(2, 1), index: LogIndex(4) });
        }
        let mut out = Ready::default();
        append(&mut raft, 3, vec![], &mut out);
        let mut asks_vouching = |seq, out: &mut Ready| {
            raft.read(Nanos(2), seq, out);
            let vouches = |m: &Message| match m.body {
                Body::ReadIndex { seq: s, vouches, .. } if s == seq => Some(vouches),
                _ => None,
            };
            let asked = out.messages.iter().find_map(vouches).expect("it asks at once");
            let ticket = out.persist.last().unwrap().ticket;
            raft.persisted(Nanos(2), ticket, out);
            asked
        };
        assert!(!asks_vouching(7, &mut out), "who loses its promise may elect another leader");
        assert_eq!(asks_vouching(8, &mut out), !repairs);
    }
}

/// Member 1 is down and the disk of member 3 stalls: it acknowledges nothing, and obeys.
#[test]
fn who_vouches_is_heard() {
    for vouches in [true, false] {
        let mut raft = leads_under(0, configuration(3, 0, "", BallotRule::SharedTerms));
        let mut out = Ready::default();
        let start = raft.deadline();
        raft.receive(start, acked(3, 10), &mut out);
        for n in 1..100 {
            let now = start.plus(Nanos::from_millis(10 * n));
            raft.receive(now, asks(3, Ballot::new(9, 2), vouches), &mut out);
            raft.tick(now, &mut out);
        }
        assert_eq!(raft.is_leader(), vouches);
    }
}

/// Others ask so much that what the leader asked itself gives way; nobody else asks again for it.
#[test]
fn a_leader_asks_again_for_what_it_asked_itself_and_had_no_room_for() {
    let mut raft = leads(0);
    let mut out = Ready::default();
    assert!(raft.read(Nanos(1), 7, &mut out));
    for _ in 0..READS_MAX {
        raft.receive(Nanos(2), asks(3, Ballot::new(9, 2), false), &mut out);
        out.clear();
    }
    // Its own is the last of a full queue again, behind a round that begins with this call.
    raft.tick(raft.deadline(), &mut out);
    let rounds = out.messages.iter().filter_map(|m| match m.body {
        Body::Append { round, .. } => Some(round),
        _ => None,
    });
    let round = rounds.max().expect("a round is asked");
    for from in [1, 3] {
        let (of, body) = (Ballot::new(9, 2), Body::RoundAck { of: Ballot::new(9, 2), round });
        let message =
            Message { from: NodeId(from), to: NodeId(2), life: life(from), ballot: of, body };
        raft.receive(Nanos(3), message, &mut out);
    }
    assert_eq!(out.reads, [ReadOutcome { seq: 7, index: LogIndex(10) }]);
}
