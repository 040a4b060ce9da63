//! How soon a member asks around where nobody leads: the shell's hints, and rivals for a term.
//!
//! A pre-vote changes nothing at those it is sent to, so it may be repeated after short pauses.
//! All pauses below are earlier than the election timeout would be, never later.

use super::{Raft, Ready, Role};
use base::{Ballot, LogIndex, Nanos, NodeId};
use cluster::BallotRule;

/// A follower whose leader's connection is gone waits at most this long before it asks around.
const PEER_LOST_DELAY_MAX: Nanos = Nanos::from_millis(100);

impl Raft {
    /// A hint: the connection to `peer` was reset and reconnecting was refused.
    pub fn peer_lost(&mut self, now: Nanos, peer: NodeId, out: &mut Ready) {
        self.advance_clock(now);
        let delay = Nanos(self.prng.below(PEER_LOST_DELAY_MAX.0));
        if let Role::Follower(f) = &mut self.role
            && f.leader.is_some_and(|l| l.node == peer)
            && !f.lost
        {
            f.lost = true;
            f.deadline = f.deadline.min(now.plus(delay));
            self.make_haste();
        }
        if let Role::PreCandidate(c) = &mut self.role
            && self.silent_leader == Some(peer)
        {
            c.deadline = c.deadline.min(now.plus(delay));
            self.make_haste();
        }
        self.reset_peer(peer);
        self.finish(out);
    }

    /// A hint: `peer` can be spoken to, both ways, and could not before. Who knows no leader
    /// does not wait for its timeout: nobody may have led since this member started.
    pub fn peer_found(&mut self, now: Nanos, peer: NodeId, out: &mut Ready) {
        self.advance_clock(now);
        let voter = self.configs.config().members.iter().any(|m| m.id == peer && !m.learner);
        let waits = match &self.role {
            Role::Follower(f) => f.leader.is_none(),
            Role::PreCandidate(_) => true,
            Role::Candidate(_) | Role::Leader(_) => false,
        };
        if voter && waits {
            self.make_haste();
            let at = self.now.plus(Nanos(self.prng.below(self.pause().0)));
            match &mut self.role {
                Role::PreCandidate(c) => c.deadline = c.deadline.min(at),
                _ => self.ask_by(Some(at)),
            }
        }
        self.finish(out);
    }

    /// From now on, for one longest election timeout, pre-votes are repeated after short pauses.
    /// Ends when somebody leads.
    fn make_haste(&mut self) {
        let timeout = self.settings.election_timeout_min;
        self.haste = self.now.plus(timeout).plus(timeout);
    }

    /// Time for a round of messages, as the heartbeat interval tells it.
    fn pause(&self) -> Nanos {
        let eighth = self.settings.election_timeout_min.0 / 8;
        Nanos(self.settings.heartbeat_interval.0.min(eighth).max(1))
    }

    /// When to ask next: at the election timeout `patience`, or sooner in haste.
    pub(crate) fn next_ask(&mut self, patience: Nanos) -> Nanos {
        if self.now >= self.haste {
            return patience;
        }
        let pause = self.pause();
        patience.min(self.now.plus(pause).plus(Nanos(self.prng.below(pause.0))))
    }

    /// A follower asks at `at`, unless it does earlier.
    pub(crate) fn ask_by(&mut self, at: Option<Nanos>) {
        if let (Some(at), Some(f)) = (at, self.follower_mut()) {
            f.deadline = f.deadline.min(at);
        }
    }

    /// Who has just voted waits as long as an election may take.
    pub(crate) fn await_outcome(&mut self) {
        if let Some(f) = self.follower_mut() {
            f.deadline = f.patience;
        }
    }

    /// Who has just encouraged another one lets it go first, but not beyond its own timeout.
    pub(crate) fn give_way(&mut self) {
        let at = self.now.plus(self.pause());
        let (deadline, patience) = match &mut self.role {
            Role::Follower(f) => (&mut f.deadline, f.patience),
            Role::PreCandidate(c) => (&mut c.deadline, c.patience),
            Role::Candidate(_) | Role::Leader(_) => return,
        };
        *deadline = (*deadline).max(at.min(patience));
    }

    /// Another candidate of the term in which this one voted for itself: perhaps neither can win.
    /// Both ask again soon; the one with the longer log, or the higher id, first.
    pub(crate) fn meet_rival(&mut self, rival: Ballot, last: LogIndex, last_ballot: Ballot) {
        let (own, me) = (self.promise.get(), self.settings.id);
        let split = own.node == me && own.term == rival.term && rival.node != me;
        let waits = match &self.role {
            Role::Candidate(_) => true,
            Role::Follower(f) => f.leader.is_none(),
            Role::PreCandidate(_) | Role::Leader(_) => false,
        };
        if !split || !waits || self.rule() != BallotRule::SharedTerms {
            return;
        }
        let (here, here_ballot) = self.log.last();
        let first = (here_ballot, here, me) > (last_ballot, last, rival.node);
        let pause = self.pause();
        let half = (pause.0 / 2).max(1);
        let turn = if first { half } else { 3 * half };
        let at = self.now.plus(Nanos(turn + self.prng.below(half)));
        match &mut self.role {
            Role::Candidate(c) if at < c.deadline => (c.deadline, c.split) = (at, true),
            _ => self.ask_by(Some(at)),
        }
    }
}
