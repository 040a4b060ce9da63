//! One replica, nobody else: for the tests of this room.

use crate::{Effects, Event, Replica, ReplicaRecovered, ReplicaSettings};
use alloc::vec;
use alloc::vec::Vec;
use base::{Ballot, Blob, Incarnation, LogIndex, Nanos, NodeId, Term};
use cluster::{BallotRule, Configuration, Member, Protocol};
use consensus::raft::{Entry, EntryKind, Recovered, Settings};

/// The node that runs; others are counted on from it.
pub const ME: NodeId = NodeId(1);

pub fn configuration(names: &[&str], quorum: &str) -> Configuration {
    let member = |(slot, name): (usize, &&str)| Member {
        id: NodeId(slot as u64 + 1),
        slot: u8::try_from(slot).expect("few members"),
        name: (*name).into(),
        learner: false,
        peer_urls: vec![],
        client_urls: vec![],
        life: base::Life::UNKNOWN,
    };
    Configuration {
        members: names.iter().enumerate().map(member).collect(),
        quorum: quorum.into(),
        joint: None,
        protocol: Protocol::Raft,
        rule: BallotRule::SharedTerms,
        limits: vec![],
        change: Default::default(),
    }
}

pub fn settings() -> ReplicaSettings {
    ReplicaSettings {
        raft: Settings {
            id: ME,
            birth: base::Birth(1),
            incarnation: Incarnation(1),
            election_timeout_min: Nanos::from_millis(1000),
            heartbeat_interval: Nanos::from_millis(100),
            seed: 1,
            append_bytes_max: 1 << 20,
            inflight_bytes_max: 1 << 20,
        },
        pending_max: 10,
        pending_bytes_max: 1 << 20,
        request_timeout: Nanos::from_millis(5000),
        leaderless_wait: Nanos::from_millis(2000),
        catchup_entries: 10,
        apply_budget: 100,
        settle_versions: 20,
        settle_bytes: usize::MAX,
        trace: false,
    }
}

/// One voter whose log holds one committed entry with this payload.
pub fn alone_with(payload: &[u8]) -> Replica {
    first_of(&["a"], "1 of (a)", payload)
}

/// The first of these members, with that log.
pub fn first_of(names: &[&str], quorum: &str, payload: &[u8]) -> Replica {
    let index = LogIndex(1);
    let ballot = Ballot { term: Term(1), node: ME };
    let entry = Entry { index, ballot, kind: EntryKind::Data, payload: Blob::from(payload) };
    start(settings(), configuration(names, quorum), vec![entry])
}

/// With a log that is committed to its end.
pub fn start(settings: ReplicaSettings, base_config: Configuration, log: Vec<Entry>) -> Replica {
    let commit = log.last().map_or(LogIndex::ZERO, |entry| entry.index);
    let raft = Recovered {
        ballot: log.last().map_or(Ballot::ZERO, |entry| entry.ballot),
        base: LogIndex::ZERO,
        base_ballot: Ballot::ZERO,
        base_config,
        entries: log,
        commit,
    };
    let store = mvcc::Store::new(mvcc::Limits::default());
    let recovered = ReplicaRecovered { raft, store, extra: vec![], known: commit };
    Replica::new(settings, recovered, Nanos::ZERO).expect("a safe configuration")
}

/// A replica and its clock and disk.
pub struct Alone {
    pub replica: Replica,
    pub now: Nanos,
}

impl Alone {
    /// One of these members, none of which was heard from.
    pub fn of(settings: ReplicaSettings, names: &[&str], quorum: &str) -> Self {
        let replica = start(settings, configuration(names, quorum), vec![]);
        Self { replica, now: Nanos::from_millis(10_000) }
    }

    /// Leads the first of these members, and needs no other one for it.
    pub fn leading(settings: ReplicaSettings, names: &[&str]) -> Self {
        let mut alone = Self::of(settings, names, "1 of (a)");
        alone.step(Event::Tick);
        assert!(alone.replica.status().is_leader);
        alone
    }

    /// One event; all that it writes is durable at once.
    pub fn step(&mut self, event: Event) -> Effects {
        let (mut all, mut events) = (Effects::default(), vec![event]);
        while let Some(event) = events.pop() {
            let from = all.persist.len();
            self.replica.step(self.now, event, &mut all);
            events.extend(all.persist[from..].last().map(|p| Event::Persisted(p.ticket)));
        }
        all
    }

    /// Time goes on, and the machine is told.
    pub fn pass(&mut self, time: Nanos) -> Effects {
        self.now = self.now.plus(time);
        self.step(Event::Tick)
    }
}
