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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::tests::machine::*;
    use base::{Birth, Incarnation, LogIndex};

    /// Member 1 of `config` asks around under 2.1.
    fn asks(config: Configuration) -> (Raft, Ready) {
        let (mut raft, mut out) = (raft(1, config), Ready::default());
        raft.pre_campaign(&mut out);
        (raft, out)
    }

    /// Member 1 of `config` asks for votes under 2.1, and its own is durable.
    fn runs(config: Configuration) -> Raft {
        let mut raft = raft(1, config);
        raft.campaign(&mut Ready::default());
        on_disk(&mut raft);
        raft
    }

    fn campaigns(raft: &Raft) -> bool {
        matches!(raft.role, Role::Candidate(_))
    }

    #[test]
    fn only_the_other_voters_are_asked() {
        let mut config = config(4, MAJORITY);
        config.members[3].learner = true;
        let (mut raft, mut out) = asks(config);
        raft.finish(&mut out);
        let to: Vec<u64> = out.messages.iter().map(|m| m.to.0).collect();
        assert_eq!(to, [2, 3]);
        assert!(out.messages.iter().all(|m| m.ballot == REIGN));
    }

    #[test]
    fn the_first_vote_of_a_member_stands() {
        let config = config(3, MAJORITY);
        let mut votes = Votes::default();
        for (from, counts, granted) in
            [(1, true, true), (2, false, true), (3, true, false), (3, true, true), (9, true, true)]
        {
            votes.add((NodeId(from), counts), granted, &config);
        }
        assert_eq!(bits(votes.heard(&config)), 7, "and 9 is nobody");
        let tally = votes.tally(&config);
        assert_eq!((bits(tally.yes()), votes.0.len()), (1, 4), "2 does not count");
        let system = compiled(config).system().clone();
        assert_eq!(tally.verdict(system.elect()), Verdict::Pending);
    }

    /// Two elect, and all three are needed to commit.
    #[test]
    fn a_campaign_begins_when_those_that_answer_could_also_commit() {
        let quorum = "elect = 2 of (n1, n2, n3); commit = 3 of (n1, n2, n3)";
        let other = Life { birth: Birth(9), ..life(3) };
        for (from, life, of, begins) in [
            (3, life(3), REIGN, true),
            (3, other, REIGN, false),
            (9, life(9), REIGN, false),
            (3, life(3), Ballot::new(1, 1), false),
        ] {
            let (mut raft, mut out) = asks(config(3, quorum));
            raft.count_pre_vote(
                (NodeId(2), crate::raft::tests::machine::life(2)),
                REIGN,
                true,
                &mut out,
            );
            assert!(!campaigns(&raft), "two of three hear each other");
            raft.count_pre_vote((NodeId(from), life), of, false, &mut out);
            assert_eq!(campaigns(&raft), begins, "{from} {life:?} {of}");
        }
        // Whom a leader would write down is heard, though its vote does not count yet.
        for (named, begins) in [(&[1, 2][..], true), (&[1, 2, 3], false)] {
            let (mut raft, mut out) = (raft(1, met(config(3, quorum), &[])), Ready::default());
            takes(&mut raft, founding(met(config(3, quorum), named)));
            raft.pre_campaign(&mut out);
            raft.count_pre_vote((NodeId(2), life(2)), REIGN, true, &mut out);
            raft.count_pre_vote((NodeId(3), other), REIGN, true, &mut out);
            assert_eq!(campaigns(&raft), begins, "{named:?} are named");
        }
    }

    #[test]
    fn refusals_end_what_cannot_be_won() {
        let (mut raft, mut out) = asks(config(3, MAJORITY));
        raft.count_pre_vote((NodeId(2), life(2)), REIGN, false, &mut out);
        assert!(matches!(raft.role, Role::PreCandidate(_)));
        raft.count_pre_vote((NodeId(3), life(3)), REIGN, false, &mut out);
        assert!(raft.follower().is_some());
        let mut raft = runs(config(3, MAJORITY));
        raft.count_vote((NodeId(2), life(2)), REIGN, false, &mut out);
        assert!(campaigns(&raft));
        raft.count_vote((NodeId(3), life(3)), REIGN, false, &mut out);
        assert!(raft.follower().is_some());
    }

    #[test]
    fn a_leader_knows_those_that_granted_and_no_others() {
        let mut raft = runs(config(3, MAJORITY));
        let (mut out, later) = (Ready::default(), Life { incarnation: Incarnation(4), ..life(2) });
        raft.count_vote((NodeId(3), life(3)), REIGN, false, &mut out);
        raft.count_vote((NodeId(2), later), Ballot::new(1, 1), true, &mut out);
        assert!(campaigns(&raft), "that was another attempt");
        raft.count_vote((NodeId(2), Life { birth: Birth(9), ..later }), REIGN, true, &mut out);
        assert!(campaigns(&raft), "that is another directory");
        raft.count_vote((NodeId(2), later), REIGN, true, &mut out);
        assert!(raft.is_leader());
        assert_eq!((peer(&mut raft, 2).voted, peer(&mut raft, 3).voted), (Some(later), None));
        let elected = out.trace.iter().find_map(|event| match event {
            Trace::Elected { votes, .. } => Some(bits(*votes)),
            _ => None,
        });
        assert_eq!(elected, Some(3));
        assert_eq!(raft.last().0, LogIndex(1));
    }

    /// While nobody is written down, those that elect the first leader found the cluster.
    #[test]
    fn whoever_refuses_a_founder_is_not_written_down_by_its_vote() {
        let mut raft = runs(met(config(3, MAJORITY), &[]));
        let mut out = Ready::default();
        raft.count_vote((NodeId(3), life(3)), REIGN, false, &mut out);
        raft.count_vote((NodeId(2), life(2)), REIGN, true, &mut out);
        assert!(raft.is_leader());
        assert_eq!(bits(raft.config().met()), 3);
    }
}
