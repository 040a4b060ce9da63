//! Who takes part after a restart: what the disk knows committed decides.

use super::harness::config::life;
use super::harness::{configuration, founded};
use base::{Ballot, Birth, Blob, Incarnation, LogIndex, Nanos, NodeId};
use cluster::{BallotRule, Configuration};
use consensus::raft::*;

/// A member that is alone in the configuration at 2, the first one that names its directory, with
/// what its disk knows committed.
fn alone(commit: u64) -> Raft {
    let entry = |index, config: Configuration| {
        let payload = Blob::from(config.encode());
        let ballot = Ballot::new(1, 2);
        Entry { index: LogIndex(index), ballot, kind: EntryKind::Config, payload }
    };
    let two = configuration(2, 0, "", BallotRule::SharedTerms);
    let mut named = founded(two.clone());
    named.members.remove(1);
    named.quorum = "majority(n1)".into();
    let mut others = two.clone();
    others.members[1].life = life(2);
    let recovered = Recovered {
        ballot: Ballot::new(1, 2),
        base: LogIndex(0),
        base_ballot: Ballot::ZERO,
        base_config: two,
        entries: vec![entry(1, others), entry(2, named)],
        commit: LogIndex(commit),
    };
    Raft::new(settings(), recovered, Nanos(0)).unwrap()
}

fn settings() -> Settings {
    Settings {
        id: NodeId(1),
        birth: Birth(1),
        incarnation: Incarnation(2),
        election_timeout_min: Nanos::from_millis(100),
        heartbeat_interval: Nanos::from_millis(20),
        seed: 1,
        append_bytes_max: 1000,
        inflight_bytes_max: 1000,
    }
}

#[test]
fn a_lone_member_leads_after_a_restart_if_its_disk_knows_that_it_is_written_down() {
    for (commit, leads) in [(2, true), (1, false)] {
        let (mut raft, mut out) = (alone(commit), Ready::default());
        assert_eq!(raft.is_seated(), leads, "commit {commit}");
        for _ in 0..20 {
            let now = raft.deadline();
            raft.tick(now, &mut out);
            if let Some(last) = out.persist.last().map(|p| p.ticket) {
                raft.persisted(now, last, &mut out);
            }
        }
        // Whoever forgot it believes nobody, not even itself: that is why the journal keeps it.
        assert_eq!(raft.is_leader(), leads, "commit {commit}");
    }
}

/// Members 2 and 3 found the cluster one after the other; only the first founding names node 1.
#[test]
fn an_answer_given_under_a_founding_that_came_to_nothing_leaves_without_a_seat() {
    let empty = configuration(3, 0, "", BallotRule::SharedTerms);
    let recovered = Recovered {
        ballot: Ballot::ZERO,
        base: LogIndex(0),
        base_ballot: Ballot::ZERO,
        base_config: empty.clone(),
        entries: vec![],
        commit: LogIndex(0),
    };
    let mut raft = Raft::new(settings(), recovered, Nanos(0)).unwrap();
    let mut out = Ready::default();
    let founding = |by: u64, term, named: &[usize]| {
        let mut config = empty.clone();
        config.change.founding = true;
        named.iter().for_each(|at| config.members[*at].life = life(*at as u64 + 1));
        let payload = Blob::from(config.encode());
        let ballot = Ballot::new(term, by);
        Entry { index: LogIndex(1), ballot, kind: EntryKind::Config, payload }
    };
    let append = |raft: &mut Raft, out: &mut Ready, entry: Option<Entry>, ballot: Ballot, round| {
        let (prev, prev_ballot) = (LogIndex(0), Ballot::ZERO);
        let entries = entry.into_iter().collect();
        let body = Body::Append { prev, prev_ballot, commit: LogIndex(0), round, entries };
        let (from, to) = (ballot.node, NodeId(1));
        raft.receive(Nanos(1), Message { from, to, life: life(from.0), ballot, body }, out);
    };
    let (first, second) = (Ballot::new(1, 2), Ballot::new(2, 3));
    append(&mut raft, &mut out, Some(founding(2, 1, &[0, 1])), first, 1);
    assert!(raft.is_seated(), "the first founding names it");
    append(&mut raft, &mut out, None, second, 7);
    append(&mut raft, &mut out, Some(founding(3, 2, &[1, 2])), second, 8);
    assert!(!raft.is_seated(), "and the second one does not");
    let last = out.persist.last().expect("a promise and an entry").ticket;
    raft.persisted(Nanos(2), last, &mut out);
    let answers = out.messages.iter().filter_map(|m| match &m.body {
        Body::AppendReply { outcome, round, .. } => Some((*outcome, *round)),
        Body::RoundAck { round, .. } => panic!("round {round} is confirmed without a seat"),
        _ => None,
    });
    let held = |index| (AppendOutcome::Held(LogIndex(index)), 0);
    assert_eq!(answers.collect::<Vec<_>>(), [held(0), held(1)]);
}
