//! What a leader takes into its log, and how much of it may wait there.

use super::message::{Entry, EntryKind};
use super::{NotLeaderReason, Raft, Ready, Role, Trace, configs};
use alloc::vec::Vec;
use base::limits::{TAIL_BYTES_MAX, TAIL_ENTRIES_MAX};
use base::{Ballot, Blob, LogIndex, planted};
use cluster::Configuration;

impl Raft {
    /// Whether more may wait in this log for its commit.
    pub fn has_room(&self) -> bool {
        let entries = self.log.last_index().0 - self.commit.0;
        let room = entries < TAIL_ENTRIES_MAX && self.log.open_bytes() < TAIL_BYTES_MAX;
        room || planted!(TailWithoutEnd)
    }

    pub(crate) fn append_batch(
        &mut self,
        items: impl Iterator<Item = (EntryKind, Blob)>,
        out: &mut Ready,
    ) -> Result<LogIndex, NotLeaderReason> {
        let Role::Leader(leader) = &self.role else { return Err(NotLeaderReason::NotLeader) };
        if leader.transfer.is_some() {
            return Err(NotLeaderReason::Transferring);
        }
        let (ballot, first) = (leader.ballot, self.log.last_index().next());
        let items: Vec<_> = items.collect();
        let moves = |(kind, _): &(EntryKind, Blob)| *kind == EntryKind::Config;
        if !self.has_room() && !items.iter().any(moves) {
            return Err(NotLeaderReason::TailFull);
        }
        let mut config = None;
        for (kind, payload) in &items {
            if *kind == EntryKind::Config {
                // One change at a time, after an own-ballot commit (raft-dev, 2015-07-10).
                let ready = self.leader_ready() || planted!(ChangeBeforeOwnCommit);
                let free = self.configs.index() <= self.commit || planted!(ChangesOverlap);
                if config.is_some() || !ready || !free {
                    return Err(NotLeaderReason::ConfigPending);
                }
                config = Some(self.check_config(payload)?);
            }
        }
        for (kind, payload) in items {
            let index = self.append_own(kind, payload);
            if kind == EntryKind::Config {
                let (config, system) = config.take().expect("checked above");
                self.configs.push(index, config, system);
                self.rebuild_peers();
            }
        }
        let to = self.log.last_index();
        if to >= first {
            self.trace(out, Trace::Appended { from: first, to, ballot });
        }
        Ok(first)
    }

    fn check_config(
        &self,
        payload: &Blob,
    ) -> Result<(Configuration, quorum::System), NotLeaderReason> {
        let entry = Entry {
            index: LogIndex::ZERO,
            ballot: Ballot::ZERO,
            kind: EntryKind::Config,
            payload: payload.clone(),
        };
        let parsed = configs::of_entry(&entry).ok().flatten();
        let (config, system) = parsed.ok_or(NotLeaderReason::ConfigInvalid)?;
        if !self.configs.config().may_be_followed_by(&config) {
            return Err(NotLeaderReason::ConfigInvalid);
        }
        // It must be decided by members that are counted, or nobody could write down the others.
        let met = config.met();
        if !system.commit().is_quorum(met) || !system.elect().is_quorum(met) {
            return Err(NotLeaderReason::ConfigPending);
        }
        Ok((config, system))
    }
}
