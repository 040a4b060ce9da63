//! Handing leadership over.

use super::disk::Wait;
use super::message::Body;
use super::progress::Peer;
use super::{Raft, Ready, Role, Trace};
use base::{Nanos, NodeId};
use cluster::Member;

/// A hand-over under way: proposals stop until it succeeds or the deadline passes.
#[derive(Debug)]
pub(crate) struct Transfer {
    pub to: NodeId,
    pub deadline: Nanos,
    sent: bool,
}

impl Raft {
    pub(crate) fn start_transfer(&mut self, to: Option<NodeId>, out: &mut Ready) {
        let deadline = self.now.plus(self.settings.election_timeout_min);
        let voter = |id: &NodeId| *id != self.settings.id && self.may_lead(*id);
        let target = match to {
            Some(id) => Some(id).filter(voter),
            None => self.fullest_voter(),
        };
        let Some(to) = target else { return };
        assert_ne!(to, self.settings.id, "an heir is somebody else");
        let Role::Leader(leader) = &mut self.role else { unreachable!("only a leader does") };
        leader.transfer = Some(Transfer { to, deadline, sent: false });
        self.trace(out, Trace::Transfer { to });
    }

    fn may_lead(&self, id: NodeId) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        let sound = !leader.peers.iter().any(|p| p.id == id && !p.is_counted());
        let witnesses = self.configs.roles().witnesses;
        let votes = |m: &&Member| !m.learner && !witnesses.contains(m.slot);
        sound && self.configs.config().member(id).filter(votes).is_some()
    }

    /// Of the voters heard within an election timeout, the one with the fullest log.
    pub(crate) fn fullest_voter(&self) -> Option<NodeId> {
        let Role::Leader(leader) = &self.role else { return None };
        let voter = |p: &&Peer| self.may_lead(p.id);
        let alive = |p: &Peer| self.now.since(p.heard) <= self.settings.election_timeout_min;
        let voters = leader.peers.iter().filter(voter);
        voters.max_by_key(|p| (alive(p), p.matched, p.heard)).map(|p| p.id)
    }

    pub(crate) fn push_transfer(&mut self) {
        let last = self.log.last_index();
        let Role::Leader(leader) = &mut self.role else { unreachable!("only a leader does") };
        let Some(transfer) = &mut leader.transfer else { return };
        let to = transfer.to;
        let full = |p: &Peer| p.id == to && p.matched == last && p.is_counted();
        if !transfer.sent && leader.peers.iter().any(full) {
            transfer.sent = true;
            self.send(Wait::Now, to, Body::TimeoutNow);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::tests::machine::*;
    use base::LogIndex;

    fn heir(raft: &Raft) -> Option<u64> {
        let Role::Leader(leader) = &raft.role else { panic!("it leads") };
        leader.transfer.as_ref().map(|transfer| transfer.to.0)
    }

    /// Members 1 to 3, member 4 that learns and member 5 that keeps no data.
    fn leads_five() -> Raft {
        let mut config = config(5, "majority(n1, n2, n3, witness(n5))");
        config.members[3].learner = true;
        leads(config, 9)
    }

    #[test]
    fn only_another_member_that_can_lead_and_counts_becomes_the_heir() {
        for (to, heir_is) in [(1, None), (2, Some(2)), (3, None), (4, None), (5, None), (9, None)] {
            let mut raft = leads_five();
            raft.now = Nanos(7);
            peer(&mut raft, 3).repairing = true;
            let mut out = Ready::default();
            raft.start_transfer(Some(NodeId(to)), &mut out);
            assert_eq!(heir(&raft), heir_is, "{to}");
            assert_eq!(raft.takes_proposals(), heir_is.is_none());
            let told = out.trace.contains(&Trace::Transfer { to: NodeId(to) });
            assert_eq!(told, heir_is.is_some());
            if let Role::Leader(leader) = &raft.role
                && let Some(transfer) = &leader.transfer
            {
                assert_eq!(transfer.deadline, TIMEOUT.plus(Nanos(7)));
            }
        }
        let mut follower = raft(1, config(3, MAJORITY));
        follower.start_transfer(Some(NodeId(2)), &mut Ready::default());
        assert_eq!(follower.fullest_voter(), None, "who follows hands nothing over");
    }

    #[test]
    fn the_heir_is_the_one_that_answers_and_holds_most() {
        let late = TIMEOUT.plus(Nanos(1));
        for (second, third, heir_is) in [
            ((8, late), (7, late), 2),
            ((7, late), (8, late), 3),
            ((9, Nanos::ZERO), (7, late), 3),
            ((7, late), (9, Nanos::ZERO), 2),
            ((7, Nanos(1)), (9, Nanos::ZERO), 2),
            ((8, late), (8, Nanos(1)), 2),
        ] {
            let mut raft = leads_five();
            raft.now = late;
            for (id, (matched, heard)) in [(2, second), (3, third), (4, (9, late)), (5, (9, late))]
            {
                holds(&mut raft, id, matched);
                peer(&mut raft, id).heard = heard;
            }
            assert_eq!(raft.fullest_voter(), Some(NodeId(heir_is)), "{second:?} {third:?}");
        }
    }

    #[test]
    fn the_heir_is_told_once_when_it_holds_the_whole_log_and_counts() {
        for (second, third, repairs, told) in
            [(9, 0, false, true), (8, 9, false, false), (9, 9, true, false), (8, 8, false, false)]
        {
            let mut raft = leads(config(3, MAJORITY), 9);
            raft.start_transfer(Some(NodeId(2)), &mut Ready::default());
            holds(&mut raft, 2, second);
            holds(&mut raft, 3, third);
            peer(&mut raft, 2).repairing = repairs;
            let mut out = Ready::default();
            raft.finish(&mut out);
            raft.finish(&mut out);
            let of = |m: &&super::super::Message| m.body == Body::TimeoutNow;
            let to: alloc::vec::Vec<u64> = out.messages.iter().filter(of).map(|m| m.to.0).collect();
            let expected: &[u64] = if told { &[2] } else { &[] };
            assert_eq!(to, expected, "{second} {third} {repairs}");
            assert_eq!(raft.last().0, LogIndex(9));
        }
    }
}
