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
