//! Following: obeying a leader, voting, and noticing its silence.

use super::configs;
use super::disk::Wait;
use super::message::{AppendOutcome, Body, Entry, Invite};
use super::{Halt, Raft, Ready, Role, Trace};
use alloc::vec::Vec;
use base::{Ballot, LogIndex, Nanos, NodeId, planted};
use cluster::BallotRule;

#[cfg(test)]
mod tests;

#[derive(Debug)]
pub(crate) struct Follower {
    /// The leader's ballot, whose node is the leader.
    pub leader: Option<Ballot>,
    /// Last message from that leader.
    pub heard: Nanos,
    /// The shell says the leader's connection is gone.
    pub lost: bool,
    /// When silence becomes a campaign.
    pub deadline: Nanos,
    /// The election timeout, which hints come before.
    pub patience: Nanos,
    /// Highest read round confirmed to this leader.
    pub round: u64,
}

impl Follower {
    /// Knows nobody and is due at once.
    pub fn begin(now: Nanos) -> Self {
        Self { leader: None, heard: now, lost: false, deadline: now, patience: now, round: 0 }
    }
}

/// An append as it came.
pub(crate) struct Append {
    pub prev: LogIndex,
    pub prev_ballot: Ballot,
    pub commit: LogIndex,
    pub round: u64,
    pub entries: Vec<Entry>,
}

impl Raft {
    pub(crate) fn on_append(&mut self, ballot: Ballot, append: Append, out: &mut Ready) {
        if !self.promise.obeys(self.rule(), ballot) && !planted!(OldLeaderObeyed) {
            self.answer(Wait::Now, ballot, 0, AppendOutcome::Stale);
            return;
        }
        if !self.obey(ballot, out) {
            return;
        }
        let round = append.round;
        let (outcome, wait) = match self.accept(ballot, append, out) {
            None => return,
            Some(AppendOutcome::Matched(m)) if m > self.disk.durable() => {
                self.confirm_round(ballot, round);
                let wait = if planted!(AckBeforeSync) { Wait::Now } else { Wait::Log };
                (AppendOutcome::Matched(m), wait)
            }
            Some(outcome) => (outcome, Wait::Ballot),
        };
        self.note_round(round);
        self.answer(wait, ballot, round, outcome);
    }

    /// Follows the leader of `ballot`; false when the claim cannot be true.
    fn obey(&mut self, ballot: Ballot, out: &mut Ready) -> bool {
        if matches!(self.role, Role::Leader(_))
            && ballot.term == self.promise.get().term
            && !self.promise.is_below(self.rule(), ballot)
        {
            return false; // A second leader of our own term: never from a correct peer.
        }
        self.promise.observe(self.rule(), ballot);
        self.silent_leader = None;
        if self.follower().is_none_or(|f| f.leader != Some(ballot)) {
            self.become_follower(Some(ballot), super::Why::LeaderHeard, out);
        }
        let (now, deadline) = (self.now, self.random_deadline());
        assert!(!self.promise.is_below(self.rule(), ballot), "who is obeyed is promised");
        let follower = self.follower_mut().expect("just became one");
        assert_eq!(follower.leader, Some(ballot), "one leader is obeyed");
        follower.heard = now;
        follower.lost = false;
        (follower.deadline, follower.patience) = (deadline, deadline);
        true
    }

    /// A round is confirmed ahead of the disk when the append itself has to wait for it.
    fn confirm_round(&mut self, ballot: Ballot, round: u64) {
        if !self.is_silent_member() && self.follower().is_some_and(|f| f.round < round) {
            self.send(Wait::Ballot, ballot.node, Body::RoundAck { of: ballot, round });
        }
    }

    fn note_round(&mut self, round: u64) {
        let follower = self.follower_mut().expect("only followers confirm rounds");
        follower.round = follower.round.max(round);
    }

    /// Checks and takes the entries. None for a message no correct leader sends.
    fn accept(&mut self, ballot: Ballot, append: Append, out: &mut Ready) -> Option<AppendOutcome> {
        let Append { prev, prev_ballot, commit, entries, .. } = append;
        let last = self.log.last_index();
        if prev > last {
            return Some(self.reject(prev, prev_ballot));
        }
        let known = prev < self.log.base();
        if !known && self.log.ballot_at(prev) != Some(prev_ballot) {
            if prev <= self.commit {
                self.contradicted(prev, prev_ballot, ballot, out);
                return None; // What is committed here is committed everywhere.
            }
            return Some(self.reject(prev, prev_ballot));
        }
        let mut index = prev;
        let mut first_new = None;
        let mut configs = Vec::new();
        for (i, entry) in entries.iter().enumerate() {
            if entry.index.0 != index.0 + 1 || entry.ballot > ballot || !self.may_keep(entry) {
                return None;
            }
            index = entry.index;
            if first_new.is_none() {
                let here = self.log.ballot_at(index);
                if index <= self.log.base() || here == Some(entry.ballot) {
                    continue;
                }
                if index <= self.commit {
                    self.contradicted(index, entry.ballot, ballot, out);
                    return None;
                }
                if entry.ballot < self.log.ballot_at(index.prev())? {
                    return None;
                }
                first_new = Some(i);
            } else if entry.ballot < entries[i - 1].ballot {
                return None;
            }
            match configs::of_entry(entry) {
                // No leader lets that through.
                Ok(Some(config)) if self.configs.config().changes_rule(&config) => {
                    return None;
                }
                Ok(Some(config)) => configs.push((index, config)),
                Ok(None) => {}
                Err(error) => {
                    let why = alloc::format!("a configuration this build cannot use: {error}");
                    out.halted = Some(Halt { index, why });
                    return None;
                }
            }
        }
        if let Some(first) = first_new {
            self.take(entries, first, out);
            for (at, config) in configs {
                self.configs.push(at, config);
            }
            if !self.is_seated() {
                // The founding that named it came to nothing, and what it said under that one.
                self.disk.retract();
            }
        } else if planted!(ShortAppendTruncates) && self.commit <= index && index < last {
            self.log.truncate(index.next());
            self.disk.truncate(index.next());
        }
        let held = if planted!(CommitBeyondMatch) { self.log.last_index() } else { index };
        self.advance_commit(commit.min(held), ballot, out);
        Some(AppendOutcome::Matched(index))
    }

    /// A leader holds whatever was committed before it, so one of the two logs is not what its
    /// member acknowledged: this one's disk was emptied or put back, or the others' were.
    fn contradicted(&self, index: LogIndex, theirs: Ballot, leader: Ballot, out: &mut Ready) {
        let here = self.log.ballot_at(index).unwrap_or_default();
        let why = alloc::format!(
            "committed here as an entry of ballot {here}, and member {:x}, which leads at \
             {leader}, has one of {theirs} in its place: one side lost what it acknowledged",
            leader.node.0
        );
        out.halted = Some(Halt { index, why });
    }

    fn take(&mut self, entries: Vec<Entry>, first: usize, out: &mut Ready) {
        let from = entries[first].index;
        assert!(from > self.commit, "committed entries are never overwritten");
        if from <= self.log.last_index() {
            self.log.truncate(from);
            self.disk.truncate(from);
            self.configs.truncate(from);
        }
        let strips = self.is_witness();
        for entry in entries.into_iter().skip(first) {
            self.log.push(if strips { entry.stripped() } else { entry });
        }
        let (to, ballot) = self.log.last();
        assert!(to >= from, "something was taken");
        self.trace(out, Trace::Appended { from, to, ballot });
    }

    fn reject(&self, prev: LogIndex, prev_ballot: Ballot) -> AppendOutcome {
        let (hint, hint_ballot) = self.log.meeting_point(prev.prev(), prev_ballot);
        AppendOutcome::Rejected { prev, hint, hint_ballot }
    }

    /// A vote request: granted at most once a term, or never below a ballot obeyed.
    pub(crate) fn on_vote(
        &mut self,
        ballot: Ballot,
        (last, last_ballot): (LogIndex, Ballot),
        invite: Invite,
        out: &mut Ready,
    ) {
        if !self.may_answer(invite) {
            return; // It may have forgotten a vote, and what it acknowledged.
        }
        if self.is_repairing() && !planted!(RepairVotes) {
            return; // What it lacks may be what the candidate lacks.
        }
        if self.follower().is_some_and(|f| f.leader == Some(ballot)) {
            return; // A duplicate: this candidate has won and leads us.
        }
        let rule = self.rule();
        let shared = rule == BallotRule::SharedTerms;
        if shared && self.promise.observe(rule, ballot) {
            self.become_follower(None, super::Why::HigherBallot, out);
        }
        // A leader of this very term is known: another candidate of it cannot win.
        let led = shared
            && self
                .follower()
                .and_then(|f| f.leader)
                .is_some_and(|l| l.term == ballot.term && l != ballot);
        let config = self.configs.config();
        let votes = config.slot_of(self.settings.id).is_some_and(|s| config.voters().contains(s));
        let granted = !led
            && (votes || !planted!(UnawareVoterSilent))
            && self.promise.may_grant(rule, ballot)
            && self.suits(last, last_ballot);
        if granted {
            self.promise.grant(rule, ballot);
            self.become_follower(None, super::Why::HigherBallot, out);
            self.await_outcome();
        }
        if planted!(VoteNotPersisted) && granted {
            self.promise.take_dirty();
        }
        if !granted {
            self.meet_rival(ballot, last, last_ballot);
        }
        self.trace(out, Trace::Vote { ballot, to: ballot.node, granted });
        let wait = if granted && !planted!(VoteBeforeSync) { Wait::Log } else { Wait::Now };
        self.send(wait, ballot.node, Body::VoteReply { of: ballot, granted });
    }

    /// Whether a candidate whose log ends so may lead, as far as this log tells.
    fn suits(&self, last: LogIndex, last_ballot: Ballot) -> bool {
        let blind = planted!(WitnessIgnoresLog) && self.is_witness();
        blind || self.log.is_not_ahead_of(last, last_ballot)
    }

    /// A pre-vote changes nothing here: no promise, no timer (Ongaro 2014 section 9.6).
    pub(crate) fn on_pre_vote(
        &mut self,
        ballot: Ballot,
        (last, last_ballot): (LogIndex, Ballot),
        invite: Invite,
    ) {
        if self.is_repairing() {
            return;
        }
        let led = match &self.role {
            Role::Leader(_) => true,
            // The leader we follow may itself ask: it has restarted or stepped down.
            Role::Follower(f) => f.leader.is_some_and(|leader| {
                let silence = self.now.since(f.heard);
                (leader.node != ballot.node || planted!(FollowedLeaderRefused))
                    && !f.lost
                    && silence < self.settings.election_timeout_min
            }),
            _ => false,
        };
        // Who has no seat says no all the same: a cluster that is being founded is to know whom it
        // can reach.
        let granted = (!led || planted!(NoPreVote))
            && self.may_answer(invite)
            && self.promise.may_grant(self.rule(), ballot)
            && self.suits(last, last_ballot);
        if granted {
            self.give_way();
        }
        self.send(Wait::Now, ballot.node, Body::PreVoteReply { of: ballot, granted });
    }

    pub(crate) fn on_timeout_now(&mut self, from: NodeId, ballot: Ballot, out: &mut Ready) {
        let follows = self.follower().is_some_and(|f| f.leader == Some(ballot));
        if follows && ballot.node == from && self.may_campaign() {
            self.campaign(out);
        }
    }
}
