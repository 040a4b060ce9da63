//! The end of all terms, and how nobody gets there.

use super::*;

/// The last term there is, and how far ahead somebody is followed at once.
const LAST: u64 = u64::MAX / 2;
const AHEAD: u64 = 1 << 32;

/// All a peer can say with a ballot that somebody who hears it would promise.
fn sayings(ballot: Ballot) -> Vec<Body> {
    let (last, last_ballot, invite) = (LogIndex(9), leader(1), Invite::Unknown);
    let (prev, prev_ballot) = (LogIndex(1), leader(1));
    let of = leader(1);
    vec![
        Body::Vote { last, last_ballot, invite },
        Body::PreVote { last, last_ballot, invite },
        Body::VoteReply { of, granted: false },
        Body::PreVoteReply { of, granted: false },
        Body::Append { prev, prev_ballot, commit: LogIndex(1), round: 0, entries: vec![] },
        Body::AppendReply { of: ballot, round: 0, outcome: AppendOutcome::Stale },
        Body::TimeoutNow,
    ]
}

fn hears(raft: &mut Raft, ballot: Ballot, body: Body, out: &mut Ready) {
    let from = ballot.node;
    let message = Message { from, to: NodeId(2), life: life(from.0), ballot, body };
    raft.receive(Nanos(1), message, out);
}

#[test]
fn no_word_of_a_peer_brings_a_member_to_a_term_it_cannot_leave() {
    for term in [u64::MAX, LAST + 1, LAST, LAST - 1, 1 << 40, AHEAD + 2] {
        let ballot = Ballot::new(term, 3);
        for body in sayings(ballot) {
            let (mut raft, mut out) = (machine(Ballot::new(1, 1)), Ready::default());
            hears(&mut raft, ballot, body.clone(), &mut out);
            assert_eq!(raft.ballot(), Ballot::new(1, 1), "{term} {body:?}");
            assert!(out.persist.is_empty() && out.messages.is_empty(), "{term} {body:?}");
        }
    }
}

#[test]
fn a_member_that_was_far_behind_follows_and_still_has_ballots_of_its_own() {
    let mut raft = machine(Ballot::new(1, 1));
    let mut out = Ready::default();
    let far = Ballot::new(1 + AHEAD, 3);
    let append = sayings(far).swap_remove(4);
    hears(&mut raft, far, append, &mut out);
    assert_eq!(raft.ballot().term, far.term, "an election a second for a century is not so far");
    raft.tick(Nanos::from_millis(10_000), &mut out);
    let next = Ballot::new(2 + AHEAD, 2);
    assert!(out.messages.iter().any(|m| m.ballot == next), "it campaigns above");
    let promised = out.persist.last().expect("the promise is written").ballot;
    assert_eq!(machine(promised).ballot(), promised, "and starts again from what it wrote");
}

#[test]
fn whoever_is_at_the_end_of_all_terms_promises_nothing_that_a_restart_would_refuse() {
    for (term, campaigns) in [(LAST - 1, true), (LAST, false)] {
        let mut raft = machine(Ballot::new(term, 1));
        let mut out = Ready::default();
        for ms in 1..100 {
            raft.tick(Nanos::from_millis(1000 * ms), &mut out);
        }
        assert_eq!(!out.messages.is_empty(), campaigns, "{term}");
        assert!(out.messages.iter().all(|m| m.ballot.term.0 <= LAST));
        assert!(out.persist.iter().all(|p| p.ballot.term.0 <= LAST));
        assert!(raft.deadline() > Nanos(0), "it waits, and lives");
    }
}
