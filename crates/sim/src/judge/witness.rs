//! Witnesses vote and keep the log's positions: they have no data, and serve none.

use super::Judge;
use base::{Ballot, LogIndex, Nanos, NodeId};
use cluster::Configuration;
use consensus::raft::EntryKind;
use mvcc::{Changes, Limits, Store};
use replica::{Replica, Reply};
use std::sync::Arc;

/// An entry that a witness is past, and no data member has applied.
pub struct Passed {
    pub ballot: Option<Ballot>,
    /// Entry of a configuration.
    config: Option<Configuration>,
}

impl Judge {
    /// It passed an entry: the same position as everybody's, without a payload.
    pub(super) fn witness_applied(&mut self, at: Nanos, replica: &Replica, index: LogIndex) {
        self.checks += 1;
        let raft = replica.raft();
        let ballot = raft.ballot_at(index);
        let entry = raft.entries(index, index).next();
        if entry.is_some_and(|entry| entry.kind == EntryKind::Data) {
            let what = format!("{} keeps the payload of {index}", replica.status().id);
            self.blame(at, "a witness has no data", what);
        }
        let known = match (self.entry(index), self.passed.get(&index)) {
            (Some(entry), _) => entry.ballot,
            (None, Some(passed)) => passed.ballot,
            (None, None) => {
                let entry = entry.filter(|entry| entry.kind == EntryKind::Config);
                let config = entry.and_then(|entry| Configuration::decode(&entry.payload).ok());
                self.passed.insert(index, Passed { ballot, config });
                return;
            }
        };
        self.one_ballot(at, index, ballot, known);
    }

    /// Two that are past an entry saw it under one ballot, where both still know.
    pub(super) fn one_ballot(
        &mut self,
        at: Nanos,
        index: LogIndex,
        here: Option<Ballot>,
        known: Option<Ballot>,
    ) {
        if here.is_some() && known.is_some() && here != known {
            let what = format!("entry {index} is {here:?} at one and {known:?} at another");
            self.blame(at, "one log", what);
        }
    }

    /// Configurations that a commit set was counted for and that only witnesses are past: the data
    /// members may be at a long entry before it.
    pub(super) fn passed_configs(&self) -> impl Iterator<Item = &Configuration> {
        let decided = self.passed.range(..=self.configs.decided);
        decided.filter_map(|(_, passed)| passed.config.as_ref())
    }

    /// Whatever it applied or installed, its state is the empty one.
    pub(super) fn has_no_data(&mut self, at: Nanos, replica: &Replica, changes: &[Arc<Changes>]) {
        let (status, empty) = (replica.status(), Store::new(Limits::default()));
        let nothing = (empty.revision(), empty.chain_hash(), empty.content_hash());
        let here = (status.revision, status.chain_hash, status.content_hash);
        if here != nothing || !changes.is_empty() {
            let what = format!("witness {status:?}, {} changes", changes.len());
            self.blame(at, "a witness has no data", what);
        }
    }

    /// It answers what is about the cluster, never what is about keys, leases or alarms.
    pub fn answered_by(&mut self, at: Nanos, id: NodeId, reply: &Reply) {
        if matches!(reply, Reply::Applied { .. }) {
            self.shows_data(at, id, || format!("answers {reply:?}"));
        }
    }

    /// Whoever shows data is none.
    pub fn shows_data(&mut self, at: Nanos, id: NodeId, how: impl FnOnce() -> String) {
        self.checks += 1;
        if self.configs.is_witness(id) {
            self.blame(at, "a witness serves no data", format!("{id} {}", how()));
        }
    }
}
