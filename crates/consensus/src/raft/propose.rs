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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::tests::machine::*;
    use NotLeaderReason::{ConfigInvalid, ConfigPending, NotLeader as Follows, Transferring};
    use alloc::vec;
    use base::NodeId;

    fn data(bytes: usize) -> (EntryKind, Blob) {
        (EntryKind::Data, Blob::from(vec![0; bytes]))
    }

    fn proposes(raft: &mut Raft, items: &[usize]) -> (Result<LogIndex, NotLeaderReason>, usize) {
        let mut out = Ready::default();
        let done = raft.append_batch(items.iter().map(|bytes| data(*bytes)), &mut out);
        (done, out.trace.len())
    }

    #[test]
    fn there_is_room_below_the_bounds_of_what_is_not_committed() {
        for (entries, room) in [(TAIL_ENTRIES_MAX - 1, true), (TAIL_ENTRIES_MAX, false)] {
            let mut raft = leads(config(3, MAJORITY), 5);
            raft.commit = LogIndex(5);
            grow(&mut raft, 5 + entries);
            assert_eq!(raft.has_room(), room, "{entries} entries");
        }
    }

    #[test]
    fn a_batch_goes_behind_what_is_there_and_an_empty_one_leaves_no_trace() {
        let mut raft = leads(config(3, MAJORITY), 4);
        assert_eq!(proposes(&mut raft, &[1, 2, 3]), (Ok(LogIndex(5)), 1));
        assert_eq!(proposes(&mut raft, &[]), (Ok(LogIndex(8)), 0));
        assert_eq!(raft.last(), (LogIndex(7), REIGN));
    }

    #[test]
    fn a_refusal_says_why_and_whom_to_ask() {
        let mut follower = raft(1, config(3, MAJORITY));
        assert_eq!(proposes(&mut follower, &[1]).0, Err(Follows));
        let mut raft = leads(config(3, MAJORITY), 4);
        raft.start_transfer(Some(NodeId(2)), &mut Ready::default());
        let leader = Some(NodeId(1));
        let items = [data(1)].into_iter();
        let refused = raft.propose(Nanos(1), items, &mut Ready::default());
        assert_eq!(refused, Err(NotLeader { leader, reason: Transferring }));
        let next = compiled(config(3, MAJORITY));
        let refused = raft.propose_config(Nanos(1), &next, &mut Ready::default());
        assert_eq!(refused, Err(NotLeader { leader, reason: Transferring }));
        assert_eq!(raft.last().0, LogIndex(4));
    }

    /// Member 4 is to come in, and nobody knows its directory.
    #[test]
    fn a_configuration_waits_for_the_one_before_and_for_members_that_can_decide_it() {
        let four = |quorum: &str| met(config(4, quorum), &[1, 2, 3]);
        let elects = "elect = 4 of (n1, n2, n3, n4); commit = 3 of (n1, n2, n3, n4)";
        let commits = "elect = 3 of (n1, n2, n3, n4); commit = 4 of (n1, n2, n3, n4)";
        let decided = "3 of (n1, n2, n3, n4)";
        for (next, commit, pending, done) in [
            (four(decided), 4, false, Ok(LogIndex(5))),
            (four(decided), 0, false, Err(ConfigPending)),
            (four(decided), 4, true, Err(ConfigPending)),
            (four(elects), 4, false, Err(ConfigPending)),
            (four(commits), 4, false, Err(ConfigPending)),
            (config(3, "1 of (n1)"), 4, false, Err(ConfigInvalid)),
        ] {
            let mut raft = leads(config(3, MAJORITY), 4);
            if pending {
                raft.append_config(compiled(config(3, MAJORITY)), &mut Ready::default());
            }
            raft.commit = LogIndex(commit);
            let quorum = next.quorum.clone();
            let found = raft.append_proposed(&compiled(next), &mut Ready::default());
            assert_eq!(found, done, "{quorum}, commit {commit}, pending {pending}");
            let Role::Leader(leader) = &raft.role else { panic!("it leads") };
            assert_eq!(leader.peers.len(), if done.is_ok() { 3 } else { 2 });
        }
    }
}
