//! Witnesses vote and keep the log's positions: they have no data, and serve none.

use super::Judge;
use base::{LogIndex, Nanos, NodeId};
use consensus::raft::EntryKind;
use mvcc::{Changes, Limits, Store};
use replica::{Replica, Reply};
use std::sync::Arc;

impl Judge {
    /// It passed an entry: the same position as everybody's, without a payload.
    pub(super) fn witness_applied(&mut self, at: Nanos, replica: &Replica, index: LogIndex) {
        self.checks += 1;
        let raft = replica.raft();
        let known = self.entry(index).and_then(|entry| entry.ballot);
        let ballot = raft.ballot_at(index);
        if known.is_some() && ballot.is_some() && known != ballot {
            let what = format!("witness entry {index} is {ballot:?}, elsewhere {known:?}");
            self.blame(at, "one log", what);
        }
        let entry = raft.entries(index, index).next();
        if entry.is_some_and(|entry| entry.kind == EntryKind::Data) {
            let what = format!("{} keeps the payload of {index}", replica.status().id);
            self.blame(at, "a witness has no data", what);
        }
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
        let serves = matches!(reply, Reply::Applied { .. } | Reply::Range(_) | Reply::Txn(_));
        if serves && self.configs.is_witness(id) {
            self.blame(at, "a witness serves no data", format!("{id} answers {reply:?}"));
        }
    }
}
