//! Raft over arbitrary quorum systems.

mod config;
mod message;
mod ready;

pub use config::{
    BallotRule, ConfigError, Configuration, LIMITS_MAX, MEMBERS_MAX, Member, URLS_MAX,
};
pub use message::{AppendOutcome, Body, Entry, EntryKind, Message};
pub use ready::{NoLeader, Persist, ReadOutcome, Ready, Trace, Why};

use alloc::vec::Vec;
use base::{Ballot, Blob, Incarnation, LogIndex, Nanos, NodeId, Ticket};
use quorum::NodeSet;

/// What one member is told at start; nothing here is replicated.
#[derive(Clone, Debug)]
pub struct Settings {
    pub id: NodeId,
    pub incarnation: Incarnation,
    /// Shortest silence that starts a campaign; the longest is twice this.
    pub election_timeout_min: Nanos,
    pub heartbeat_interval: Nanos,
    pub seed: u64,
    /// Entry bytes of one append; at least one entry is always sent.
    pub append_bytes_max: usize,
    /// Unacknowledged entry bytes to one peer.
    pub inflight_bytes_max: usize,
}

/// What was durable when the member stopped.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// The promise: term and vote in one.
    pub ballot: Ballot,
    /// The log starts after this entry (zero: from the beginning), which a checkpoint covers.
    pub base: LogIndex,
    pub base_ballot: Ballot,
    pub base_config: Configuration,
    pub entries: Vec<Entry>,
    /// A lower bound of what is committed.
    pub commit: LogIndex,
}

/// Why a proposal was not appended. Nothing of the batch was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotLeaderReason {
    NotLeader,
    /// Leadership is being handed over.
    Transferring,
    /// A configuration entry is not committed yet, or no own-ballot entry is.
    ConfigPending,
    /// The configuration does not decode, is unsafe, or does not meet the one in force.
    ConfigInvalid,
}

/// A refused proposal: not applied, now or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotLeader {
    pub leader: Option<NodeId>,
    pub reason: NotLeaderReason,
}

/// One member's replication machine.
pub struct Raft {
    settings: Settings,
    recovered: Recovered,
}

impl Raft {
    pub fn new(settings: Settings, recovered: Recovered, _now: Nanos) -> Result<Raft, ConfigError> {
        Ok(Raft { settings, recovered })
    }
    pub fn deadline(&self) -> Nanos {
        Nanos(u64::MAX)
    }
    pub fn tick(&mut self, _now: Nanos, _out: &mut Ready) {}
    pub fn receive(&mut self, _now: Nanos, _message: Message, _out: &mut Ready) {}
    pub fn propose(
        &mut self,
        _now: Nanos,
        _items: impl Iterator<Item = (EntryKind, Blob)>,
        _out: &mut Ready,
    ) -> Result<LogIndex, NotLeader> {
        Err(NotLeader { leader: None, reason: NotLeaderReason::NotLeader })
    }
    pub fn read(&mut self, _now: Nanos, _seq: u64, _out: &mut Ready) {}
    pub fn persisted(&mut self, _now: Nanos, _ticket: Ticket, _out: &mut Ready) {}
    pub fn transfer(&mut self, _now: Nanos, _to: Option<NodeId>, _out: &mut Ready) {}
    pub fn peer_lost(&mut self, _now: Nanos, _peer: NodeId, _out: &mut Ready) {}
    pub fn snapshot_done(&mut self, _now: Nanos, _peer: NodeId, _ok: bool, _out: &mut Ready) {}
    pub fn installed(
        &mut self,
        _now: Nanos,
        _index: LogIndex,
        _ballot: Ballot,
        _config: Configuration,
        _out: &mut Ready,
    ) {
    }
    pub fn compact(&mut self, _upto: LogIndex) {}
    pub fn commit(&self) -> LogIndex {
        self.recovered.commit
    }
    pub fn entries(&self, _from: LogIndex, _to: LogIndex) -> impl Iterator<Item = &Entry> {
        self.recovered.entries.iter()
    }
    pub fn leader(&self) -> Option<NodeId> {
        None
    }
    pub fn is_leader(&self) -> bool {
        self.leader() == Some(self.settings.id)
    }
    pub fn leader_ready(&self) -> bool {
        false
    }
    pub fn ballot(&self) -> Ballot {
        self.recovered.ballot
    }
    pub fn last(&self) -> (LogIndex, Ballot) {
        (self.recovered.base, self.recovered.base_ballot)
    }
    pub fn ballot_at(&self, _index: LogIndex) -> Option<Ballot> {
        None
    }
    pub fn config(&self) -> &Configuration {
        &self.recovered.base_config
    }
    pub fn acked(&self, _index: LogIndex) -> NodeSet {
        NodeSet::new()
    }
}
