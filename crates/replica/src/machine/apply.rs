//! Apply: committed entries become state, replies and changes in the same step.

use super::{Replica, decode_extra};
use crate::envelope::{Envelope, EnvelopeBody};
use crate::{Effects, Installed, PeerBody, PeerMessage, Reply, TraceKind, UnknownReason};
use base::codec::Get;
use base::{LogIndex, NodeId, RequestId};
use consensus::raft::{Entry, EntryKind};
use mvcc::Command;

/// Every so many entries the members compare their chain hashes.
const HASH_EVERY: u64 = 256;
/// Past hashes kept for the comparison.
const HASHES_MAX: usize = 64;

impl Replica {
    pub(super) fn apply_committed(&mut self, out: &mut Effects) {
        let commit = self.raft.commit();
        while self.applied < commit {
            let index = self.applied.next();
            let entry = self.raft.entries(index, index).next();
            let entry = entry.expect("committed entries are in the log").clone();
            assert!(entry.index == index, "the log is contiguous");
            self.apply(&entry, out);
            self.applied = index;
            self.applied_ballot = entry.ballot;
            self.compare_hashes(index, out);
        }
    }

    fn apply(&mut self, entry: &Entry, out: &mut Effects) {
        if entry.kind != EntryKind::Data {
            self.store.advance(entry.index, self.clock.last());
            self.trace_applied(entry.index, None, out);
            return;
        }
        // Only a leader that checked its input writes data entries, and frames are checksummed:
        // an unreadable one means a newer build wrote it. Applying a guess would diverge.
        let envelope = Envelope::decode(&entry.payload)
            .expect("a committed entry is readable by this build's apply level");
        let time = self.clock.apply(envelope.stamp, self.now);
        let EnvelopeBody::Command(bytes) = envelope.body else {
            self.store.advance(entry.index, time);
            self.trace_applied(entry.index, None, out);
            return;
        };
        let id = envelope.id;
        if id.seq > 0 && !self.dedupe.insert(id) {
            self.store.advance(entry.index, time);
            self.emit(out, TraceKind::Deduplicated { index: entry.index, id });
            return;
        }
        let command = Command::decode(&mut Get::new(bytes))
            .expect("a leader logs only commands it can decode");
        let applied = self.store.apply(entry.index, time, &command);
        self.trace_applied(entry.index, Some(id), out);
        if let Some(changes) = applied.changes {
            out.changes.push(changes);
        }
        if id.origin == self.settings.raft.id
            && id.incarnation == self.incarnation()
            && let Some(write) = self.writes.remove(id.seq)
        {
            let reply = Reply::Applied { index: entry.index, result: applied.result };
            out.replies.push((write.token, reply));
            self.emit(out, TraceKind::Replied { id });
        }
    }

    fn trace_applied(&self, index: LogIndex, id: Option<RequestId>, out: &mut Effects) {
        let (revision, chain) = (self.store.revision(), self.store.chain_hash());
        self.emit(out, TraceKind::Applied { index, id, revision, chain });
    }

    /// At fixed indexes a follower tells the leader its chain hash, and the leader everyone.
    fn compare_hashes(&mut self, index: LogIndex, out: &mut Effects) {
        if !index.0.is_multiple_of(HASH_EVERY) {
            return;
        }
        let chain = self.store.chain_hash();
        self.hashes.insert(index, chain);
        if self.hashes.len() > HASHES_MAX {
            self.hashes.pop_first();
        }
        let me = self.settings.raft.id;
        for member in &self.raft.config().members {
            if member.id != me {
                let body = PeerBody::StateHash { index, chain };
                out.send.push(PeerMessage { from: me, to: member.id, body });
            }
        }
        self.judge(index, out);
    }

    /// Another member's hash; it may come before or after this replica applied that index.
    pub(super) fn on_state_hash(
        &mut self,
        from: NodeId,
        index: LogIndex,
        chain: u64,
        out: &mut Effects,
    ) {
        let Some(slot) = self.raft.config().slot_of(from) else { return };
        let votes = self.hash_votes.entry(index).or_default();
        votes.retain(|(voter, _)| *voter != slot);
        votes.push((slot, chain));
        if self.hash_votes.len() > HASHES_MAX {
            self.hash_votes.pop_first();
        }
        self.judge(index, out);
    }

    /// A replica that differs from a commit set agreeing at the same index stops serving.
    fn judge(&mut self, index: LogIndex, out: &mut Effects) {
        let (Some(own), Some(votes)) = (self.hashes.get(&index), self.hash_votes.get(&index))
        else {
            return;
        };
        let Ok(system) = self.raft.config().system() else { return };
        let commit = system.commit();
        let contradicted = votes.iter().filter(|(_, chain)| chain != own).any(|(_, chain)| {
            let mut agreeing = quorum::NodeSet::new();
            for (slot, _) in votes.iter().filter(|(_, other)| other == chain) {
                agreeing.insert(*slot);
            }
            commit.is_quorum(agreeing)
        });
        if contradicted && !self.diverged {
            self.diverged = true;
            out.diverged = Some(index);
            self.emit(out, TraceKind::Diverged { index });
        }
    }

    pub(super) fn on_install(&mut self, installed: Installed, out: &mut Effects) {
        if installed.index <= self.applied {
            return; // a late transfer: the log has passed it
        }
        let Ok((stamp, dedupe)) = decode_extra(&installed.extra) else {
            return; // verified by its file's digest; an unknown version is left alone
        };
        self.store = installed.store;
        self.dedupe = dedupe;
        self.clock = crate::clock::ClusterClock::new(stamp, self.now);
        self.applied = installed.index;
        self.applied_ballot = installed.ballot;
        self.hashes.clear();
        let (index, ballot) = (installed.index, installed.ballot);
        self.raft.installed(self.now, index, ballot, installed.config, &mut self.ready);
        self.emit(out, TraceKind::Installed { index });
        for seq in self.writes.seqs() {
            if self.dedupe.contains(self.own_id(seq))
                && let Some(write) = self.writes.remove(seq)
            {
                self.give_up(seq, &write, UnknownReason::InCheckpoint, out);
            }
        }
    }
}
