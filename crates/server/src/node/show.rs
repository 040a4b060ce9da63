//! What the voter shows on the board after each step, and who its members are.

use super::voter::Voter;
use crate::board::{Board, Facts, Picture};
use crate::peer::Shared;
use base::Nanos;
use cluster::{Configuration, Member};
use door::{MemberInfo, Sight, Status};
use member::publish::Shown as Said;
use member::room::Words;
use replica::Replica;
use std::sync::Arc;

/// How often it is looked who is silent: that changes with time alone.
const MISSING_INTERVAL: Nanos = Nanos::from_millis(50);

/// A configuration as clients see it.
pub(super) fn members_of(
    config: &Configuration,
    replica: &Replica,
    peers: &Shared,
) -> Vec<MemberInfo> {
    let committed = replica.raft().config_at(replica.raft().commit());
    let met = peers.met.borrow();
    let info = |member: &Member| {
        let (kept, own) = (committed.member(member.id), member.id == peers.member);
        let Said { name, client_urls } = Said::of(member, kept, met.said(member.id), own);
        let peer_urls = member.peer_urls.clone();
        MemberInfo { id: member.id, name, peer_urls, client_urls, learner: member.learner }
    };
    config.members.iter().map(info).collect()
}

fn facts(replica: &Replica, peers: &Shared) -> Arc<Facts> {
    let config = replica.raft().config();
    let may_lead = config.members.iter().filter(|m| !m.learner && !config.is_witness(m.id));
    Arc::new(Facts {
        members: members_of(config, replica, peers),
        names: config.members.iter().map(|member| (member.id, member.name.clone())).collect(),
        may_lead: may_lead.map(|member| member.id).collect(),
        quorum: config.quorum.clone(),
        joint: config.joint.clone(),
    })
}

/// What is made anew only now and then.
pub(super) struct Shown {
    pub(super) facts: Arc<Facts>,
    missing: Arc<[String]>,
    missing_at: Nanos,
}

impl Shown {
    pub(super) fn begin(replica: &Replica, peers: &Shared, quota_bytes: u64) -> (Self, Arc<Board>) {
        let (missing, missing_at) = (Arc::new([]), Nanos::ZERO);
        let shown = Self { facts: facts(replica, peers), missing, missing_at };
        let picture = shown.picture(replica, quota_bytes, None);
        (shown, Board::new(picture, replica.store().view()))
    }

    pub(super) fn picture(
        &self,
        replica: &Replica,
        quota_bytes: u64,
        halted: Option<String>,
    ) -> Picture {
        let (status, store, raft) = (replica.status(), replica.store(), replica.raft());
        let sight = Sight::of(replica);
        Picture {
            term: status.ballot.term,
            revision: store.revision(),
            compact_revision: store.compact_revision(),
            leads: status.is_leader,
            sight: if halted.is_some() { sight.halted() } else { sight },
            pending: status.pending,
            repairing: status.repairing,
            facts: Arc::clone(&self.facts),
            words: Words::of(store.raised(), raft.config()),
            missing: Arc::clone(&self.missing),
            status: Status {
                leader: status.leader,
                commit: status.commit.0,
                applied: status.applied.0,
                size_bytes: store.size_bytes(),
                quota_bytes,
                learner: raft.config().member(status.id).is_none_or(|m| m.learner),
                diverged: status.diverged,
                halted,
            },
        }
    }
}

impl Voter {
    /// After a step: the data and how the member stands, before anybody hears of the step.
    pub(super) fn put_up(&mut self, now: Nanos) {
        self.peers.follow(self.replica.raft());
        if self.peers.state.news.take() {
            self.shown.facts = facts(&self.replica, &self.peers);
        }
        let moved = self.replica.raft().leader() != self.leader;
        if moved || now >= self.shown.missing_at {
            self.shown.missing_at = now.plus(MISSING_INTERVAL);
            let missing = self.replica.missing();
            if *missing != *self.shown.missing {
                self.shown.missing = missing.into();
            }
        }
        let picture = self.shown.picture(&self.replica, self.quota_bytes, None);
        self.board.put_up(picture, self.replica.store().view());
    }
}
