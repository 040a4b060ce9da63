//! What a leader takes into its log, and how much of it may wait there.

use super::message::EntryKind;
use super::{NotLeader, NotLeaderReason, Raft, Ready, Role, Trace};
use base::limits::{TAIL_BYTES_MAX, TAIL_ENTRIES_MAX};
use base::{Ballot, Blob, LogIndex, Nanos, planted};
use cluster::Compiled;

impl Raft {
    /// Whether more may wait in this log for its commit.
    pub fn has_room(&self) -> bool {
        let entries = self.log.last_index().0 - self.commit.0;
        let room = entries < TAIL_ENTRIES_MAX && self.log.open_bytes() < TAIL_BYTES_MAX;
        room || planted!(TailWithoutEnd)
    }

    /// Appends a batch at the leader; returns the index of its first entry.
    ///
    /// # Errors
    /// This member does not lead, hands over, or has no room; nothing was appended.
    pub fn propose(
        &mut self,
        now: Nanos,
        items: impl Iterator<Item = (EntryKind, Blob)>,
        out: &mut Ready,
    ) -> Result<LogIndex, NotLeader> {
        self.advance_clock(now);
        let first = self.append_batch(items, out);
        let leader = self.leader();
        let first = first.map_err(|reason| NotLeader { leader, reason })?;
        self.finish(out);
        Ok(first)
    }

    /// Appends the next configuration at the leader; returns the index of its entry.
    ///
    /// # Errors
    /// This member does not lead, hands over, or has another change on its way; nothing was
    /// appended.
    pub fn propose_config(
        &mut self,
        now: Nanos,
        config: &Compiled,
        out: &mut Ready,
    ) -> Result<LogIndex, NotLeader> {
        self.advance_clock(now);
        let index = self.append_proposed(config, out);
        let leader = self.leader();
        let index = index.map_err(|reason| NotLeader { leader, reason })?;
        self.finish(out);
        Ok(index)
    }

    fn append_batch(
        &mut self,
        items: impl Iterator<Item = (EntryKind, Blob)>,
        out: &mut Ready,
    ) -> Result<LogIndex, NotLeaderReason> {
        let ballot = self.proposing_ballot()?;
        if !self.has_room() {
            return Err(NotLeaderReason::TailFull);
        }
        let first = self.log.last_index().next();
        for (kind, payload) in items {
            assert!(kind != EntryKind::Config, "a configuration has a call of its own");
            self.append_own(kind, payload);
        }
        let to = self.log.last_index();
        if to >= first {
            self.trace(out, Trace::Appended { from: first, to, ballot });
        }
        Ok(first)
    }

    /// A configuration enters also where the tail is full: it may be what commits wait for.
    fn append_proposed(
        &mut self,
        config: &Compiled,
        out: &mut Ready,
    ) -> Result<LogIndex, NotLeaderReason> {
        let ballot = self.proposing_ballot()?;
        // One change at a time, after an own-ballot commit (raft-dev, 2015-07-10).
        let ready = self.leader_ready() || planted!(ChangeBeforeOwnCommit);
        let free = self.config_is_committed() || planted!(ChangesOverlap);
        if !ready || !free {
            return Err(NotLeaderReason::ConfigPending);
        }
        if !self.configs.config().may_be_followed_by(config) {
            return Err(NotLeaderReason::ConfigInvalid);
        }
        // It must be decided by members that are counted, or nobody could write down the others.
        let (met, system) = (config.met(), config.system());
        if !system.commit().is_quorum(met) || !system.elect().is_quorum(met) {
            return Err(NotLeaderReason::ConfigPending);
        }
        let index = self.append_own(EntryKind::Config, Blob::from(config.encode()));
        self.configs.push(index, config.clone());
        self.rebuild_peers();
        self.trace(out, Trace::Appended { from: index, to: index, ballot });
        Ok(index)
    }

    /// The ballot of new entries, of a leader that is not handing over.
    fn proposing_ballot(&self) -> Result<Ballot, NotLeaderReason> {
        let Role::Leader(leader) = &self.role else { return Err(NotLeaderReason::NotLeader) };
        if leader.transfer.is_some() {
            return Err(NotLeaderReason::Transferring);
        }
        Ok(leader.ballot)
    }
}
