//! Witnesses: members that vote and keep the log's positions, but no data (Pâris 1986; the rule
//! and its argument are in `docs/design/witness.md`).
//!
//! Safety is Raft's own: a witness acknowledges positions and refuses shorter logs like anyone,
//! and a commit always has a commit set. What is added keeps the data of a commit reachable:
//! data members that acknowledge must be a commit set among themselves, or all that are not
//! marked out; and a witness is told only what all of those hold durably.

use super::message::{Entry, EntryKind};
use super::progress::{Peer, State};
use super::{Raft, Ready, Role};
use alloc::vec::Vec;
use base::{LogIndex, NodeId, planted};
use quorum::{Family, NODES_MAX, NodeSet, commit_index};

/// Entries a member marked out may lack when commits begin to wait for it again.
const RETURN_SLACK: u64 = 256;

impl Raft {
    /// Whether this member votes without data. Decided by the configuration in force.
    pub fn is_witness(&self) -> bool {
        let slot = self.configs.config().slot_of(self.settings.id);
        slot.is_some_and(|slot| self.configs.roles().witnesses.contains(slot))
    }

    /// Whether this member may keep `entry`: a data member never an entry without its data.
    pub(crate) fn may_keep(&self, entry: &Entry) -> bool {
        let is_member = self.configs.config().slot_of(self.settings.id).is_some();
        entry.kind != EntryKind::Stripped || !is_member || self.is_witness()
    }

    /// The largest index that `matched` (durable log ends by slot) may commit under `commit`.
    pub(crate) fn committable(&self, commit: &Family, matched: &[u64; NODES_MAX]) -> LogIndex {
        let all = commit_index(commit, matched);
        let roles = self.configs.roles();
        if roles.witnesses.is_empty() || planted!(WitnessCountsAsData) {
            return LogIndex(all);
        }
        let mut with_data = *matched;
        roles.witnesses.iter().for_each(|slot| with_data[usize::from(slot)] = 0);
        let by_data = commit_index(commit, &with_data);
        let held = all.min(held_by(roles.data, matched));
        // In a lost member's place a witness counts once it holds the record of the loss.
        let unproven = self.marks() && held < self.configs.index().0;
        let by_marks = if unproven && !planted!(WitnessWithoutRecord) { 0 } else { held };
        assert!(by_data <= all && by_marks <= all, "data asks for more, never for less");
        LogIndex(by_data.max(by_marks))
    }

    /// Whether a data member is marked out.
    fn marks(&self) -> bool {
        self.configs.roles().data != self.configs.roles().holders
    }

    /// A witness is sent entries up to here: what all data members that count hold, so that none
    /// of them is ever too short for its vote. What follows a member's loss goes together with
    /// the entry that marks it out, or not at all.
    pub(crate) fn witness_limit(&self) -> LogIndex {
        if self.configs.roles().witnesses.is_empty() {
            return LogIndex::ZERO;
        }
        if [planted!(WitnessToldAhead), planted!(WitnessCountsAsData)].contains(&true) {
            return self.log.last_index();
        }
        let held = held_by(self.configs.roles().data, &self.matched());
        if !self.marks() || planted!(WitnessWithoutRecord) || held >= self.configs.index().0 {
            LogIndex(held).max(self.commit)
        } else {
            self.commit
        }
    }

    /// What is next for a witness, up to `limit`; the record that marks a member out goes with
    /// everything before it.
    pub(crate) fn witness_batch(&self, next: LogIndex, limit: LogIndex) -> (Vec<Entry>, usize) {
        let record = self.configs.index();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for entry in self.log.range(next, limit).map(Entry::stripped) {
            assert!(entry.kind != EntryKind::Data, "no data leaves for a witness");
            let full = bytes + entry.size() > self.settings.append_bytes_max;
            let together = entry.index <= record && record <= limit && !planted!(RecordComesApart);
            if !batch.is_empty() && full && !together {
                break;
            }
            bytes += entry.size();
            batch.push(entry);
        }
        (batch, bytes)
    }

    /// At a leader with witnesses: marks out the data members that commits wait for in vain, and
    /// in again those that are back. The families of quorums stay as they are, so such a
    /// configuration is safe like any entry: it waits for no other, nor for an own commit.
    pub(crate) fn mark_members(&mut self, out: &mut Ready) {
        if self.configs.roles().witnesses.is_empty() {
            return;
        }
        let (now, last, commit) = (self.now, self.log.last_index(), self.commit);
        let timeout = self.settings.election_timeout_min;
        let Role::Leader(leader) = &mut self.role else { unreachable!("only a leader does") };
        let since = *leader.stalled.get_or_insert(now);
        if last == commit {
            leader.stalled = None;
        }
        if leader.transfer.is_some() {
            return;
        }
        let stalled = last > commit && now.since(since) > timeout;
        let next = self.without_the_lost(stalled).or_else(|| self.with_the_returned());
        if let Some(marked) = next {
            let mut config = self.configs.config().clone();
            assert_ne!(marked, config.change.out, "marks that change nothing are not written");
            config.mark_out(marked);
            self.append_config(config, out);
        } else if stalled && self.disk.durable() <= commit {
            // This disk is what everybody waits for: another member may lead without it.
            self.restart_stall();
            self.start_transfer(None, out);
        }
    }

    /// The marks with every data member added that the next commit waits for in vain, if the
    /// others can go on then.
    fn without_the_lost(&self, stalled: bool) -> Option<Vec<NodeId>> {
        let Role::Leader(leader) = &self.role else { unreachable!("only a leader does") };
        if self.log.last_index() == self.commit {
            return None;
        }
        let roles = self.configs.roles();
        let lacks = |p: &Peer| !p.is_counted() || p.matched <= self.commit;
        let lags = |p: &Peer| lacks(p) && (stalled || self.is_silent(p));
        let gone: NodeSet = leader.peers.iter().filter(|p| lags(p)).map(|p| p.slot).collect();
        let gone = gone.intersect(roles.holders); // A witness waits for this very decision.
        let silent = leader.peers.iter().filter(|p| self.is_silent(p)).map(|p| p.slot);
        let live = self.configs.config().voters().minus(gone).minus(silent.collect());
        let lost = gone.intersect(roles.data);
        let commit = self.configs.system().commit();
        let left = roles.data.minus(lost);
        let helps = !commit.is_quorum(live.minus(roles.witnesses))
            && commit.is_quorum(live)
            && !left.is_empty()
            && left.is_subset(live);
        if lost.is_empty() || !helps {
            return None;
        }
        assert!(lost.intersect(left).is_empty(), "who is lost is not counted on");
        let mut marked = self.configs.config().change.out.clone();
        marked.extend(lost.iter().filter_map(|slot| self.configs.config().id_of(slot)));
        Some(marked)
    }

    /// The marks without the members that hold nearly everything again.
    fn with_the_returned(&self) -> Option<Vec<NodeId>> {
        let Role::Leader(leader) = &self.role else { unreachable!("only a leader does") };
        let config = self.configs.config();
        if config.change.out.is_empty() {
            return None;
        }
        // It holds the record of its own loss: its disk writes again.
        let record = self.configs.index();
        let near = |p: &Peer| {
            p.state == State::Replicate
                && !self.is_silent(p)
                && p.matched >= record
                && p.matched.0.saturating_add(RETURN_SLACK) >= self.log.last_index().0
        };
        let own = |id: &NodeId| *id == self.settings.id && self.disk.durable() >= record;
        let back = |id: &NodeId| own(id) || leader.peers.iter().any(|p| p.id == *id && near(p));
        let marked: Vec<NodeId> =
            config.change.out.iter().copied().filter(|id| !back(id)).collect();
        (marked.len() < config.change.out.len()).then_some(marked)
    }

    /// Not heard, or heard to repair a damaged disk.
    fn is_silent(&self, peer: &Peer) -> bool {
        peer.lost
            || !peer.is_counted()
            || self.now.since(peer.heard) > self.settings.election_timeout_min
    }

    /// A commit, or marks: what waits now has not waited yet.
    pub(crate) fn restart_stall(&mut self) {
        let Role::Leader(leader) = &mut self.role else { unreachable!("only a leader does") };
        leader.stalled = None;
    }
}

/// The index that every one of `slots` holds durably; zero for none.
fn held_by(slots: NodeSet, matched: &[u64; NODES_MAX]) -> u64 {
    slots.iter().map(|slot| matched[usize::from(slot)]).min().unwrap_or(0)
}
