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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::message::ENTRY_OVERHEAD;
    use crate::raft::tests::machine::*;
    use base::{Ballot, Blob, Nanos};
    use cluster::Configuration;

    const TWO_WITNESSES: &str = "majority(n1, n2, n3, witness(n4), witness(n5))";

    fn witnessed() -> Configuration {
        config(3, ONE_WITNESS)
    }

    /// Member 1 leads, holds entries up to 6 and has committed those up to 5.
    fn five_of_six(config: Configuration) -> Raft {
        let mut raft = leads(config, 6);
        raft.commit = LogIndex(5);
        raft
    }

    fn stalled_since(raft: &mut Raft) -> &mut Option<Nanos> {
        let Role::Leader(leader) = &mut raft.role else { panic!("it leads") };
        &mut leader.stalled
    }

    fn ids(ids: &[u64]) -> Vec<NodeId> {
        ids.iter().map(|id| NodeId(*id)).collect()
    }

    #[test]
    fn a_data_member_keeps_no_entry_without_its_data() {
        // The last one is no member: nothing counts on it.
        for (id, witness, hollow) in [(1, false, false), (3, true, true), (9, false, true)] {
            let raft = raft(id, witnessed());
            assert_eq!(raft.is_witness(), witness, "{id}");
            for kind in [EntryKind::Data, EntryKind::Stripped] {
                let payload = Blob::from(&b""[..]);
                let entry = Entry { index: LogIndex(1), ballot: Ballot::new(1, 1), kind, payload };
                let keeps = hollow || kind == EntryKind::Data;
                assert_eq!(raft.may_keep(&entry), keeps, "{kind:?} at {id}");
            }
        }
    }

    /// Member 1 leads and has appended a configuration as entry 8, by which `out` are marked.
    fn changed_at_eight(quorum: &str, out: &[u64]) -> Raft {
        let mut raft = leads(config(3, quorum), 7);
        let next = compiled(marked(config(3, quorum), out));
        raft.append_config(next, &mut Ready::default());
        raft
    }

    #[test]
    fn a_witness_counts_in_a_lost_members_place_once_the_record_of_the_loss_is_held() {
        let all = "3 of (n1, n2, witness(n3))";
        for (quorum, out, matched, index) in [
            (MAJORITY, &[][..], [9, 4, 9], 9),
            (ONE_WITNESS, &[], [9, 4, 9], 4),
            (ONE_WITNESS, &[], [9, 7, 0], 7),
            (ONE_WITNESS, &[2], [7, 0, 7], 0),
            (ONE_WITNESS, &[2], [8, 0, 8], 8),
            (ONE_WITNESS, &[2], [9, 0, 9], 9),
            (ONE_WITNESS, &[2], [9, 0, 7], 0),
            (ONE_WITNESS, &[2], [7, 8, 7], 7),
            // Nobody is marked out: no record is waited for.
            (all, &[], [7, 7, 7], 7),
        ] {
            let raft = changed_at_eight(quorum, out);
            let mut by_slot = [0; NODES_MAX];
            by_slot[..3].copy_from_slice(&matched);
            let found = raft.committable(raft.config().system().commit(), &by_slot);
            assert_eq!(found, LogIndex(index), "{quorum} without {out:?}: {matched:?}");
        }
    }

    #[test]
    fn a_witness_is_told_what_all_data_members_hold_and_no_loss_without_its_record() {
        for (quorum, out, on_disk_too, other, limit) in [
            (MAJORITY, &[][..], true, 8, 0),
            (ONE_WITNESS, &[], true, 4, 4),
            (ONE_WITNESS, &[], true, 1, 2),
            (ONE_WITNESS, &[2], true, 0, 8),
            (ONE_WITNESS, &[2], false, 0, 2),
        ] {
            let mut raft = changed_at_eight(quorum, out);
            raft.commit = LogIndex(2);
            if on_disk_too {
                on_disk(&mut raft);
            }
            peer(&mut raft, 2).matched = LogIndex(other);
            raft.commit = LogIndex(2);
            assert_eq!(raft.witness_limit(), LogIndex(limit), "{quorum} {out:?} {other}");
        }
    }

    #[test]
    fn what_precedes_the_record_of_a_loss_goes_with_it_and_else_a_batch_fills_its_bytes() {
        let one = ENTRY_OVERHEAD;
        // The record is entry 6; three entries fit.
        for (next, limit, bytes_max, count) in [
            (2, 10, 3 * one, 5),
            (2, 6, 3 * one, 5),
            (2, 5, 3 * one, 3),
            (2, 5, 3 * one - 1, 2),
            (7, 10, 3 * one, 3),
            (7, 10, 3 * one - 1, 2),
            (7, 10, 1, 1),
            (2, 5, 1, 1),
            (7, 8, 3 * one, 2),
            (7, 6, 3 * one, 0),
        ] {
            let mut raft = leads(witnessed(), 5);
            let record = compiled(marked(witnessed(), &[2]));
            let size = ENTRY_OVERHEAD + record.encode().len();
            raft.append_config(record, &mut Ready::default());
            grow(&mut raft, 10);
            raft.settings.append_bytes_max = bytes_max;
            let (batch, bytes) = raft.witness_batch(LogIndex(next), LogIndex(limit));
            assert_eq!(batch.len(), count, "{next} to {limit}, at most {bytes_max} bytes");
            let has_record = batch.iter().any(|entry| entry.index == LogIndex(6));
            let hollow = batch.len() - usize::from(has_record);
            assert_eq!(bytes, hollow * one + if has_record { size } else { 0 });
        }
    }

    /// How member 2, or 3 of five, looks to the leader.
    #[derive(Clone, Copy, Debug, Default)]
    struct Look {
        holds: u64,
        lost: bool,
        repairs: bool,
    }

    fn looks(raft: &mut Raft, id: u64, look: Look) {
        holds(raft, id, look.holds);
        let peer = peer(raft, id);
        (peer.lost, peer.repairing) = (look.lost, look.repairs);
    }

    #[test]
    fn who_is_waited_for_in_vain_is_marked_out_where_the_others_can_go_on() {
        let (here, behind) =
            (Look { holds: 6, ..Look::default() }, Look { holds: 5, ..Look::default() });
        let lost = Look { lost: true, ..behind };
        for (look, witness, stalled, marks) in [
            (lost, here, false, true),
            (Look { holds: 6, ..lost }, here, true, false),
            (behind, here, true, true),
            (behind, here, false, false),
            (here, here, true, false),
            (Look { repairs: true, ..here }, here, false, true),
            (lost, Look { lost: true, ..here }, false, false),
            (lost, behind, true, true),
        ] {
            let mut raft = five_of_six(witnessed());
            looks(&mut raft, 2, look);
            looks(&mut raft, 3, witness);
            let expected = marks.then(|| ids(&[2]));
            assert_eq!(raft.without_the_lost(stalled), expected, "{look:?} {witness:?} {stalled}");
            raft.commit = LogIndex(6);
            assert_eq!(raft.without_the_lost(stalled), None, "nothing waits");
        }
    }

    #[test]
    fn nobody_is_marked_out_who_is_out_already_nor_while_another_data_member_is_silent() {
        let lost = Look { holds: 5, lost: true, repairs: false };
        let mut raft = five_of_six(marked(witnessed(), &[2]));
        looks(&mut raft, 2, lost);
        holds(&mut raft, 3, 6);
        assert_eq!(raft.without_the_lost(true), None, "2 is out already");
        let mut raft = leads(witnessed(), 5);
        raft.append_config(compiled(marked(witnessed(), &[1])), &mut Ready::default());
        raft.commit = LogIndex(5);
        looks(&mut raft, 2, lost);
        holds(&mut raft, 3, 6);
        assert_eq!(raft.without_the_lost(true), None, "nobody would hold the data");
        for (third, marks) in [(false, Some(ids(&[2]))), (true, None)] {
            let mut raft = five_of_six(config(5, TWO_WITNESSES));
            looks(&mut raft, 2, lost);
            looks(&mut raft, 3, Look { holds: 6, lost: third, repairs: false });
            [4, 5].into_iter().for_each(|id| holds(&mut raft, id, 5));
            assert_eq!(raft.without_the_lost(false), marks, "3 is silent: {third}");
        }
        // Those that hold data are enough.
        let four = "(n1, n2, n3, witness(n4))";
        let quorum = alloc::format!("elect = 3 of {four}; commit = 2 of {four}");
        let mut raft = five_of_six(config(4, &quorum));
        looks(&mut raft, 2, lost);
        [3, 4].into_iter().for_each(|id| holds(&mut raft, id, 6));
        assert_eq!(raft.without_the_lost(false), None, "no witness is needed");
    }

    #[test]
    fn who_is_out_returns_once_it_holds_the_record_and_nearly_everything() {
        // The record is entry 50, the log ends at 300.
        for (matched, state, lost, back) in [
            (50, State::Replicate, false, true),
            (49, State::Replicate, false, false),
            (300, State::Replicate, false, true),
            (300, State::Replicate, true, false),
            (300, State::Probe { sent: false }, false, false),
        ] {
            let mut raft = leads(witnessed(), 49);
            raft.append_config(compiled(marked(witnessed(), &[2])), &mut Ready::default());
            grow(&mut raft, 300);
            on_disk(&mut raft);
            holds(&mut raft, 3, 300);
            holds(&mut raft, 2, matched);
            (peer(&mut raft, 2).state, peer(&mut raft, 2).lost) = (state.clone(), lost);
            let expected = back.then(Vec::new);
            assert_eq!(raft.with_the_returned(), expected, "{matched} {state:?} {lost}");
        }
        for (last, back) in [(50 + RETURN_SLACK, true), (51 + RETURN_SLACK, false)] {
            let mut raft = leads(marked(witnessed(), &[2]), last);
            holds(&mut raft, 2, 50);
            assert_eq!(raft.with_the_returned().is_some(), back, "50 of {last}");
        }
    }

    #[test]
    fn a_leader_that_is_out_returns_once_its_own_disk_holds_the_record() {
        let mut raft = leads(witnessed(), 9);
        raft.append_config(compiled(marked(witnessed(), &[1])), &mut Ready::default());
        holds(&mut raft, 2, 9);
        assert_eq!(raft.with_the_returned(), None, "the record is not durable here");
        on_disk(&mut raft);
        assert!(raft.config().change.out.is_empty(), "and is marked in again when it is");
        assert_eq!(raft.with_the_returned(), None, "nobody is out any more");
    }

    #[test]
    fn a_peer_is_silent_after_an_election_timeout_or_when_it_does_not_count() {
        let mut raft = five_of_six(witnessed());
        let silent = |raft: &mut Raft| {
            let peer = peer(raft, 2).clone();
            raft.is_silent(&peer)
        };
        raft.now = TIMEOUT;
        assert!(!silent(&mut raft), "it is due just now");
        raft.now = TIMEOUT.plus(Nanos(1));
        assert!(silent(&mut raft));
        peer(&mut raft, 2).heard = TIMEOUT;
        assert!(!silent(&mut raft));
        peer(&mut raft, 2).lost = true;
        assert!(silent(&mut raft));
        (peer(&mut raft, 2).lost, peer(&mut raft, 2).repairing) = (false, true);
        assert!(silent(&mut raft));
    }

    /// What all wait for is this leader's own disk.
    #[test]
    fn a_leader_whose_own_disk_stalls_hands_over_after_an_election_timeout() {
        for (late, durable, hands_over) in [(0, 5, false), (1, 5, true), (1, 6, false)] {
            let mut raft = leads(witnessed(), 5);
            grow(&mut raft, 6);
            if durable == 6 {
                on_disk(&mut raft);
            }
            raft.commit = LogIndex(5);
            *stalled_since(&mut raft) = Some(Nanos::ZERO);
            raft.now = TIMEOUT.plus(Nanos(late));
            for id in [2, 3] {
                holds(&mut raft, id, 6);
                peer(&mut raft, id).heard = raft.now;
            }
            raft.mark_members(&mut Ready::default());
            let transfers = matches!(&raft.role, Role::Leader(l) if l.transfer.is_some());
            assert_eq!(transfers, hands_over, "{late} ns late, durable up to {durable}");
            let since = if hands_over { None } else { Some(Nanos::ZERO) };
            assert_eq!(*stalled_since(&mut raft), since);
        }
    }

    #[test]
    fn a_stall_begins_with_the_first_entry_that_waits() {
        let mut raft = five_of_six(witnessed());
        let (first, later) = (Nanos(7), Nanos(9));
        *stalled_since(&mut raft) = None;
        [2, 3].into_iter().for_each(|id| holds(&mut raft, id, 6));
        for (now, commit, since) in
            [(first, 5, Some(first)), (later, 5, Some(first)), (later, 6, None)]
        {
            (raft.now, raft.commit) = (now, LogIndex(commit));
            raft.mark_members(&mut Ready::default());
            assert_eq!(*stalled_since(&mut raft), since);
        }
        // A commit that comes late ends it, however long it took.
        *stalled_since(&mut raft) = Some(Nanos::ZERO);
        raft.now = TIMEOUT.plus(TIMEOUT);
        raft.mark_members(&mut Ready::default());
        assert!(raft.takes_proposals(), "nothing waits: it goes on to lead");
        *stalled_since(&mut raft) = Some(Nanos::ZERO);
        raft.restart_stall();
        assert_eq!(*stalled_since(&mut raft), None);
    }
}
