//! Campaigning: the pre-vote, which only asks, and the vote.

use super::disk::{Held, Wait};
use super::message::{Body, Invite};
use super::{Raft, Ready, Role, Trace, Why};
use alloc::vec::Vec;
use base::{Ballot, Life, Nanos, NodeId, planted};
use cluster::Configuration;
use quorum::{NodeSet, Tally, Verdict};

/// Votes by who gave them. Which slot that is, is asked anew for each verdict: the configuration
/// may have changed since, and the slot have gone over to another member.
#[derive(Debug, Default)]
pub(crate) struct Votes(Vec<Vote>);

#[derive(Debug)]
struct Vote {
    from: NodeId,
    /// Of the configuration in force when it came.
    slot: Option<u8>,
    granted: bool,
    /// Else it only shows that the member is there.
    counts: bool,
}

impl Votes {
    /// The first vote of a member stands.
    fn add(&mut self, (from, counts): (NodeId, bool), granted: bool, config: &Configuration) {
        if self.0.iter().all(|vote| vote.from != from) {
            self.0.push(Vote { from, slot: config.slot_of(from), granted, counts });
        }
    }

    /// Who answered at all.
    fn heard(&self, config: &Configuration) -> NodeSet {
        self.0.iter().filter_map(|vote| config.slot_of(vote.from)).collect()
    }

    fn tally(&self, config: &Configuration) -> Tally {
        let mut tally = Tally::new();
        for vote in self.0.iter().filter(|vote| vote.counts) {
            let stale = planted!(TallyOutlivesConfig);
            let slot = if stale { vote.slot } else { config.slot_of(vote.from) };
            slot.map(|slot| tally.vote(slot, vote.granted));
        }
        tally
    }
}

/// Asks whether an election could be won, before any promise changes.
#[derive(Debug)]
pub(crate) struct PreCandidate {
    pub ballot: Ballot,
    pub votes: Votes,
    pub deadline: Nanos,
    /// The election timeout, which hints come before.
    pub patience: Nanos,
}

/// Has promised its own ballot; its own vote counts once that is durable.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub ballot: Ballot,
    pub votes: Votes,
    /// Who votes for it.
    pub voters: Vec<(NodeId, Life)>,
    pub deadline: Nanos,
    /// A rival for the term was met: the deadline is sooner than the election timeout.
    pub split: bool,
}

impl Raft {
    pub(crate) fn pre_campaign(&mut self, out: &mut Ready) {
        assert!(self.may_campaign(), "only voters campaign");
        let ballot = self.promise.next(self.settings.id);
        let patience = self.random_deadline();
        let deadline = self.next_ask(patience);
        if let Some(leader) = self.follower().and_then(|f| f.leader) {
            self.silent_leader = Some(leader.node);
        }
        let votes = Votes::default();
        self.role = Role::PreCandidate(PreCandidate { ballot, votes, deadline, patience });
        self.trace(out, Trace::PreCampaign { ballot });
        let (last, last_ballot) = self.log.last();
        self.ask_voters(Wait::Now, ballot, |invite| Body::PreVote { last, last_ballot, invite });
        self.count_pre_vote((self.settings.id, self.life()), ballot, true, out);
    }

    pub(crate) fn campaign(&mut self, out: &mut Ready) {
        assert!(self.may_campaign(), "only voters campaign");
        let ballot = self.promise.next(self.settings.id);
        self.promise.grant(self.rule(), ballot);
        assert_eq!(self.promise.get(), ballot, "its own vote is for itself");
        let deadline = self.random_deadline();
        let (votes, voters, split) = (Votes::default(), Vec::new(), false);
        self.role = Role::Candidate(Candidate { ballot, votes, voters, deadline, split });
        self.trace(out, Trace::Campaign { ballot });
        let (last, last_ballot) = self.log.last();
        let wait = if planted!(RequestBeforePersist) { Wait::Now } else { Wait::Log };
        self.ask_voters(wait, ballot, |invite| Body::Vote { last, last_ballot, invite });
        self.disk.outbox.push((Wait::Log, Held::OwnVote(ballot)));
    }

    fn ask_voters(&mut self, wait: Wait, ballot: Ballot, body: impl Fn(Invite) -> Body) {
        let me = self.settings.id;
        let members = self.configs.config().members.iter();
        let ids: Vec<NodeId> = members.filter(|m| !m.learner && m.id != me).map(|m| m.id).collect();
        for to in ids {
            self.send_as(wait, ballot, to, body(self.invite(to)));
        }
    }

    pub(crate) fn count_pre_vote(
        &mut self,
        (from, life): (NodeId, Life),
        of: Ballot,
        granted: bool,
        out: &mut Ready,
    ) {
        let counts = self.counts_vote_of(from, life);
        let config = self.configs.config();
        if config.slot_of(from).is_none() || !(counts || self.would_seat(from)) {
            return;
        }
        let system = self.configs.system();
        let Role::PreCandidate(role) = &mut self.role else { return };
        if role.ballot != of {
            return;
        }
        role.votes.add((from, counts), granted, config);
        let tally = role.votes.tally(config);
        // Who was elected by members that cannot commit could only append, and step down again.
        let serves = system.commit().is_quorum(role.votes.heard(config)) || planted!(ElectedInVain);
        match tally.verdict(system.elect()) {
            Verdict::Won if serves => self.campaign(out),
            Verdict::Lost => self.become_follower(None, Why::VotesLost, out),
            Verdict::Won | Verdict::Pending => {}
        }
    }

    pub(crate) fn count_vote(
        &mut self,
        (from, life): (NodeId, Life),
        of: Ballot,
        granted: bool,
        out: &mut Ready,
    ) {
        if !self.counts_vote_of(from, life) {
            return;
        }
        let config = self.configs.config();
        if config.slot_of(from).is_none() {
            return;
        }
        let system = self.configs.system();
        let elect = if planted!(ElectCommitSwapped) { system.commit() } else { system.elect() };
        let Role::Candidate(role) = &mut self.role else { return };
        if role.ballot != of {
            return;
        }
        if granted && !role.voters.contains(&(from, life)) {
            role.voters.push((from, life));
        }
        role.votes.add((from, true), granted, config);
        assert_eq!(role.ballot.node, self.settings.id, "a ballot is its candidate's");
        let tally = role.votes.tally(config);
        match tally.verdict(elect) {
            Verdict::Won => {
                let votes = tally.yes().intersect(elect.support());
                let voters = core::mem::take(&mut role.voters);
                self.haste = Nanos::ZERO;
                self.become_leader(of, votes, &voters, out);
            }
            Verdict::Lost => {
                let soon = role.split.then_some(role.deadline);
                self.become_follower(None, Why::VotesLost, out);
                self.ask_by(soon);
            }
            Verdict::Pending => {}
        }
    }
}
