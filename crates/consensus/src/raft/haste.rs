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

#[cfg(test)]
mod tests {
    use super::super::follower::Follower;
    use super::*;
    use crate::raft::tests::machine::*;
    use cluster::Configuration;

    /// An eighth of the shortest election timeout; a heartbeat comes later.
    const PAUSE: Nanos = Nanos(12_500_000);
    const LONG: Nanos = Nanos::from_millis(5000);

    fn three() -> Configuration {
        config(3, MAJORITY)
    }

    /// Member 1 follows `leader` at 3.`leader` or nobody, and waits long.
    fn follows(leader: Option<u64>) -> Raft {
        let mut raft = raft(1, three());
        let leader = leader.map(|id| Ballot::new(3, id));
        leader.map(|ballot| raft.promise.observe(raft.rule(), ballot));
        let waits =
            Follower { leader, deadline: LONG, patience: LONG, ..Follower::begin(raft.now) };
        raft.role = Role::Follower(waits);
        raft
    }

    /// Member 1 asks around because member 3 fell silent, and waits long.
    fn asks() -> Raft {
        let (mut raft, mut out) = (follows(Some(3)), Ready::default());
        raft.pre_campaign(&mut out);
        deadline(&mut raft, LONG);
        raft
    }

    /// Member 1 asks for votes under 2.1, and waits long.
    fn runs(config: Configuration) -> Raft {
        let mut raft = raft(1, config);
        raft.campaign(&mut Ready::default());
        deadline(&mut raft, LONG);
        raft
    }

    fn deadline(raft: &mut Raft, at: Nanos) {
        match &mut raft.role {
            Role::PreCandidate(c) => (c.deadline, c.patience) = (at, at),
            Role::Candidate(c) => c.deadline = at,
            Role::Follower(f) => (f.deadline, f.patience) = (at, at),
            Role::Leader(_) => panic!("it leads"),
        }
    }

    #[test]
    fn who_loses_its_leader_asks_within_the_delay_and_once() {
        for (mut raft, lost, hastens) in [
            (follows(Some(3)), 3, true),
            (follows(Some(3)), 2, false),
            (follows(None), 3, false),
            (asks(), 3, true),
            (asks(), 2, false),
            (runs(three()), 3, false),
        ] {
            raft.peer_lost(Nanos(7), NodeId(lost), &mut Ready::default());
            let found = raft.deadline();
            assert_eq!(found < PEER_LOST_DELAY_MAX.plus(Nanos(7)), hastens, "{:?}", raft.role);
            assert_eq!(found == LONG, !hastens, "{:?}", raft.role);
            let until = Nanos(7).plus(TIMEOUT).plus(TIMEOUT);
            assert_eq!(raft.haste, if hastens { until } else { Nanos::ZERO });
            let lost_now = raft.follower().is_some_and(|f| f.lost);
            assert_eq!(lost_now, hastens && raft.follower().is_some());
        }
        let mut raft = follows(Some(3));
        raft.follower_mut().expect("it follows").lost = true;
        raft.peer_lost(Nanos(7), NodeId(3), &mut Ready::default());
        assert_eq!(raft.deadline(), LONG, "it was told before");
    }

    #[test]
    fn whoever_knows_no_leader_asks_a_pause_after_a_voter_is_found() {
        let mut learns = config(4, MAJORITY);
        learns.members[3].learner = true;
        let mut knows_a_learner = follows(None);
        takes(&mut knows_a_learner, learns);
        for (mut raft, found, hastens) in [
            (follows(None), 2, true),
            (follows(None), 9, false),
            (knows_a_learner, 4, false),
            (follows(Some(3)), 2, false),
            (asks(), 2, true),
            (asks(), 9, false),
            (runs(three()), 2, false),
        ] {
            raft.peer_found(Nanos(7), NodeId(found), &mut Ready::default());
            let at = raft.deadline();
            assert_eq!(at < PAUSE.plus(Nanos(7)), hastens, "{found} {:?}", raft.role);
            assert_eq!(at == LONG, !hastens, "{found} {:?}", raft.role);
            assert_eq!(raft.haste > Nanos::ZERO, hastens);
        }
    }

    #[test]
    fn a_pause_is_a_heartbeat_or_an_eighth_of_the_timeout() {
        let mut raft = follows(None);
        assert_eq!(raft.pause(), PAUSE);
        raft.settings.heartbeat_interval = Nanos::from_millis(5);
        assert_eq!(raft.pause(), Nanos::from_millis(5));
        (raft.settings.heartbeat_interval, raft.settings.election_timeout_min) =
            (Nanos(1), Nanos(2));
        assert_eq!(raft.pause(), Nanos(1), "never nothing");
    }

    #[test]
    fn in_haste_who_asks_does_so_again_after_a_pause_or_two() {
        let mut raft = follows(None);
        (raft.now, raft.haste) = (Nanos(50), Nanos(50));
        assert_eq!(raft.next_ask(LONG), LONG, "it is over");
        raft.haste = Nanos(51);
        let next = raft.next_ask(LONG);
        let earliest = Nanos(50).plus(PAUSE);
        assert!((earliest..earliest.plus(PAUSE)).contains(&next), "{next:?}");
        assert_eq!(raft.next_ask(Nanos(60)), Nanos(60), "never later than the timeout");
    }

    #[test]
    fn who_voted_waits_its_timeout_and_who_encouraged_another_a_pause() {
        let mut raft = follows(None);
        let set = |raft: &mut Raft, deadline, patience| {
            let f = raft.follower_mut().expect("it follows");
            (f.deadline, f.patience) = (deadline, patience);
        };
        set(&mut raft, Nanos(5), LONG);
        raft.ask_by(Some(Nanos(9)));
        raft.ask_by(None);
        assert_eq!(raft.deadline(), Nanos(5), "it asks earlier already");
        raft.ask_by(Some(Nanos(3)));
        assert_eq!(raft.deadline(), Nanos(3));
        raft.await_outcome();
        assert_eq!(raft.deadline(), LONG);
        for (deadline, patience, after) in
            [(Nanos(5), LONG, PAUSE), (Nanos(5), Nanos(9), Nanos(9)), (LONG, LONG, LONG)]
        {
            set(&mut raft, deadline, patience);
            raft.give_way();
            assert_eq!(raft.deadline(), after);
        }
        let mut raft = asks();
        let Role::PreCandidate(c) = &mut raft.role else { panic!("it asks") };
        c.deadline = Nanos(5);
        raft.give_way();
        assert_eq!(raft.deadline(), PAUSE);
        let mut raft = runs(three());
        deadline(&mut raft, Nanos(5));
        raft.give_way();
        assert_eq!(raft.deadline(), Nanos(5), "a candidate has its votes to wait for");
    }

    /// Half a pause each: the first turn, or the one after the next.
    fn turn(first: bool) -> core::ops::Range<Nanos> {
        let half = PAUSE.0 / 2;
        let begin = if first { half } else { 3 * half };
        Nanos(begin)..Nanos(begin + half)
    }

    #[test]
    fn rivals_for_a_term_ask_again_soon_and_the_longer_log_or_higher_id_first() {
        for (rival, last, term, first) in
            [(2, 4, 1, false), (2, 3, 1, true), (2, 5, 1, false), (2, 3, 2, false), (2, 9, 0, true)]
        {
            let mut raft = raft(1, three());
            for _ in 0..4 {
                takes(&mut raft, three());
            }
            raft.campaign(&mut Ready::default());
            deadline(&mut raft, LONG);
            raft.meet_rival(Ballot::new(2, rival), LogIndex(last), Ballot::new(term, 1));
            assert!(turn(first).contains(&raft.deadline()), "{last} of {term}: {:?}", raft.role);
            assert!(matches!(&raft.role, Role::Candidate(c) if c.split));
        }
        let mut raft = runs(three());
        raft.become_follower(None, super::super::Why::VotesLost, &mut Ready::default());
        deadline(&mut raft, LONG);
        raft.meet_rival(Ballot::new(2, 2), LogIndex(0), Ballot::ZERO);
        assert!(turn(false).contains(&raft.deadline()), "who lost the term asks again, too");
    }

    #[test]
    fn who_is_no_rival_changes_nothing() {
        let mut node = three();
        node.rule = BallotRule::TermAndNode;
        let lost = |leader| {
            let mut raft = runs(three());
            raft.become_follower(leader, super::super::Why::VotesLost, &mut Ready::default());
            deadline(&mut raft, LONG);
            raft
        };
        let mut voted = follows(None);
        voted.promise.grant(BallotRule::SharedTerms, Ballot::new(2, 3));
        for (mut raft, rival) in [
            (runs(three()), Ballot::new(3, 2)),
            (runs(three()), Ballot::new(1, 2)),
            (runs(three()), Ballot::new(2, 1)),
            (runs(node), Ballot::new(2, 2)),
            (lost(Some(Ballot::new(2, 3))), Ballot::new(2, 2)),
            (voted, Ballot::new(2, 2)),
        ] {
            raft.meet_rival(rival, LogIndex(9), Ballot::new(1, 1));
            assert_eq!(raft.deadline(), LONG, "{rival} {:?}", raft.role);
        }
        // A deadline that comes sooner anyway stays, to the very moment.
        let mut raft = runs(three());
        raft.meet_rival(Ballot::new(2, 2), LogIndex(9), Ballot::new(1, 1));
        let at = raft.deadline();
        for sooner in [at, Nanos(5)] {
            let mut raft = runs(three());
            deadline(&mut raft, sooner);
            raft.meet_rival(Ballot::new(2, 2), LogIndex(9), Ballot::new(1, 1));
            assert_eq!(raft.deadline(), sooner);
            assert!(matches!(&raft.role, Role::Candidate(c) if !c.split));
        }
    }
}
