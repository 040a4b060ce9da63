//! What holds between the fields at the end of every call, whatever came in. Cheap enough to stay
//! on: a few comparisons, and a few more for each peer of a leader.

use super::message::{AppendOutcome, Body};
use super::{Raft, Ready, Role};
use base::limits::READS_MAX;

impl Raft {
    pub(crate) fn check(&self) {
        let (rule, last) = (self.rule(), self.log.last_index());
        assert!(self.log.base() <= self.commit && self.commit <= last, "commits are of the log");
        assert!(!self.promise.is_below(rule, self.log.last().1), "a log within the promise");
        assert!(!self.promise.is_below(rule, self.settled), "commits within the promise");
        assert!(self.reads.len() <= READS_MAX, "reads are bounded");
        self.configs.check(self.commit, last);
        self.check_role();
    }

    fn check_role(&self) {
        let (me, last, promise) = (self.settings.id, self.log.last_index(), self.promise.get());
        match &self.role {
            Role::Leader(leader) => {
                assert_eq!(leader.ballot, promise, "a leader keeps to its own ballot");
                assert_eq!(leader.ballot.node, me, "a ballot is its candidate's");
                assert!(leader.first_own <= last, "a reign begins with an entry");
                assert!(!self.is_repairing(), "who repairs does not lead");
                let config = self.configs.config();
                let others = config.members.len() - usize::from(config.slot_of(me).is_some());
                assert_eq!(leader.peers.len(), others, "every other member is a peer");
                leader.peers.iter().for_each(|peer| peer.check(last, leader.rounds.round));
                leader.rounds.check();
            }
            Role::Candidate(candidate) => {
                assert_eq!(candidate.ballot, promise, "a candidate has promised its own ballot");
                assert_eq!(candidate.ballot.node, me, "a ballot is its candidate's");
            }
            Role::PreCandidate(candidate) => {
                assert_eq!(candidate.ballot.node, me, "a ballot is its candidate's");
                assert!(candidate.ballot > promise, "what is asked about is still to be promised");
            }
            Role::Follower(follower) => {
                let Some(leader) = follower.leader else { return };
                assert_ne!(leader.node, me, "nobody follows itself");
                assert!(!self.promise.is_below(self.rule(), leader), "who is obeyed is promised");
            }
        }
    }

    /// The write just asked for joins the log seamlessly.
    pub(crate) fn check_write(&self, out: &Ready) {
        let Some(write) = out.persist.last() else { return };
        let before = out.persist.iter().rev().nth(1);
        assert!(before.is_none_or(|before| before.ticket < write.ticket), "tickets rise");
        let (Some(first), Some(last)) = (write.entries.first(), write.entries.last()) else {
            return;
        };
        assert_eq!(last.index, self.log.last_index(), "nothing new is left out");
        let count = last.index.0 - first.index.0 + 1;
        assert_eq!(write.entries.len() as u64, count, "entries follow each other");
        let truncates = write.truncate_from.is_none_or(|from| from <= first.index);
        assert!(truncates, "what is void goes before what is new");
    }
}

impl Body {
    /// Whether it rests on what this member has on its disk: a vote that was given or is asked
    /// for, a log that is held (rule 1 of ARCHITECTURE.md).
    pub(crate) fn vouches(&self) -> bool {
        match self {
            Self::Vote { .. } | Self::RoundAck { .. } => true,
            Self::VoteReply { granted, .. } => *granted,
            Self::ReadIndex { vouches, .. } => *vouches,
            Self::AppendReply { outcome, .. } => *outcome != AppendOutcome::Stale,
            Self::PreVote { .. }
            | Self::PreVoteReply { .. }
            | Self::Append { .. }
            | Self::ReadIndexReply { .. }
            | Self::TimeoutNow => false,
        }
    }
}
