//! Who takes part after a restart: what the disk knows committed decides.

use super::harness::{configuration, founded, life};
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
    let settings = Settings {
        id: NodeId(1),
        birth: Birth(1),
        incarnation: Incarnation(2),
        election_timeout_min: Nanos::from_millis(100),
        heartbeat_interval: Nanos::from_millis(20),
        seed: 1,
        append_bytes_max: 1000,
        inflight_bytes_max: 1000,
    };
    Raft::new(settings, recovered, Nanos(0)).unwrap()
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
