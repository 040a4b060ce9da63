//! Linearizable reads without log entries (ReadIndex, Ongaro 2014 section 6.4).
//!
//! A read waits here until a leader confirms, after the read began, that it still led: it names
//! its commit index of that moment. The confirming set is a commit set, which meets every elect
//! set, so no other leader can have committed more before. A member that asks has confirmed its own
//! question: where it and the leader are such a set, as among three, there is no round.
//!
//! How long a read may wait is not known here: until it is confirmed, or whoever began it lets go.

use super::disk::Wait;
use super::follower::Follower;
use super::message::Body;
use super::{Raft, ReadOutcome, Ready, Role};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use base::limits::READS_MAX;
use base::{Ballot, Incarnation, LogIndex, Nanos, NodeId, planted};
use quorum::NodeSet;

/// A read that began at this node.
#[derive(Clone, Debug)]
pub(crate) struct LocalRead {
    pub seq: u64,
    /// The ballot of the leader that was asked last, and when.
    pub asked: Option<(Ballot, Nanos)>,
}

/// Who waits for a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub seq: u64,
}

/// A leader's read rounds; they die with its ballot.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    /// The current round; confirmed by peers that echo it at this ballot.
    pub round: u64,
    /// Reads of this call joined `round` and no message carries it yet.
    open: bool,
    waiting: VecDeque<(u64, LogIndex, Origin)>,
    /// Before an own-ballot entry is committed: the commit index may be too low to serve.
    pub queued: Vec<Origin>,
}

impl Rounds {
    /// Whom it made give way, if anybody.
    #[must_use = "who gave way is to be asked for again"]
    pub fn join(&mut self, origin: Origin, index: LogIndex) -> Option<Origin> {
        if !self.open {
            self.open = true;
            self.round += 1;
        }
        let rises = self.waiting.back().is_none_or(|last| last.0 <= self.round && last.1 <= index);
        assert!(rises, "later reads wait for later rounds, and see no less");
        self.waiting.push_back((self.round, index, origin));
        let full = self.waiting.len() > READS_MAX;
        if full { self.waiting.pop_front().map(|(_, _, oldest)| oldest) } else { None }
    }

    /// Waits until an entry of the own ballot is committed; or is given back for want of room.
    #[must_use = "who gave way is to be asked for again"]
    pub fn queue(&mut self, origin: Origin) -> Option<Origin> {
        if self.queued.len() >= READS_MAX {
            return Some(origin);
        }
        self.queued.push(origin);
        None
    }

    pub fn close(&mut self) {
        self.open = planted!(ReadJoinsOldRound) && self.is_waiting();
    }

    /// Takes one read that `confirmed` covers.
    pub fn pop(&mut self, confirmed: u64) -> Option<(LogIndex, Origin)> {
        match self.waiting.front() {
            Some(&(round, index, origin)) if round <= confirmed => {
                self.waiting.pop_front();
                Some((index, origin))
            }
            _ => None,
        }
    }

    /// How its fields hang together.
    pub fn check(&self) {
        assert!(self.waiting.len() <= READS_MAX && self.queued.len() <= READS_MAX, "bounded");
        let last = self.waiting.back();
        assert!(last.is_none_or(|(round, ..)| *round <= self.round), "a read waits for a round");
    }

    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}

impl Raft {
    pub(crate) fn begin_read(&mut self, seq: u64) -> bool {
        assert!(self.reads.last().is_none_or(|read| read.seq < seq), "numbers of reads rise");
        let room = self.reads.len() < READS_MAX;
        if room {
            self.reads.push(LocalRead { seq, asked: None });
        }
        room
    }

    fn place_of(&self, seq: u64) -> Option<usize> {
        self.reads.binary_search_by_key(&seq, |read| read.seq).ok()
    }

    pub(crate) fn finish_read(&mut self, seq: u64, index: LogIndex, out: &mut Ready) {
        if let Some(at) = self.place_of(seq) {
            self.reads.remove(at);
            out.reads.push(ReadOutcome { seq, index });
        }
    }

    pub(crate) fn end_read(&mut self, seq: u64) {
        if let Some(at) = self.place_of(seq) {
            self.reads.remove(at);
        }
    }

    /// What a leader's own queues had no room for is asked again in its next call, or it would
    /// wait for ever; another member asks again by itself.
    pub(crate) fn gave_way(&mut self, origin: Origin) {
        let own = origin.node == self.settings.id;
        if let Some(at) = self.place_of(origin.seq).filter(|_| own) {
            self.reads[at].asked = None;
        }
    }

    fn ask_again_after(&self) -> Nanos {
        Nanos(self.settings.heartbeat_interval.0.saturating_mul(2))
    }

    /// When a read is asked for again: of a leader that may not have heard of it.
    pub(crate) fn reads_deadline(&self) -> Nanos {
        let again = self.ask_again_after();
        let asks = !self.is_leader() && self.leader().is_some();
        let asked = self.reads.iter().filter_map(|read| read.asked.filter(|_| asks));
        asked.map(|(_, at)| at.plus(again)).min().unwrap_or(Nanos(u64::MAX))
    }

    /// Hands reads to the leader known now: this node's own rounds, or a message. A read asked
    /// of an earlier ballot is asked again, and only the ballot asked last may answer.
    pub(crate) fn ask_reads(&mut self) {
        if self.reads.is_empty() {
            return;
        }
        let (leads, ballot) = match &self.role {
            Role::Leader(leader) => (true, leader.ballot),
            Role::Follower(Follower { leader: Some(ballot), .. }) => (false, *ballot),
            _ => return,
        };
        let (now, again) = (self.now, self.ask_again_after());
        let mut due = Vec::new();
        for read in &mut self.reads {
            let asked = match read.asked {
                Some((b, at)) => b == ballot && (leads || now.since(at) < again),
                None => false,
            };
            if !asked {
                read.asked = Some((ballot, now));
                due.push(read.seq);
            }
        }
        let (node, incarnation) = (self.settings.id, self.settings.incarnation);
        for seq in due {
            if leads {
                self.leader_read(Origin { node, incarnation, seq });
            } else {
                // While its promise is not durable its word does not count, and others confirm.
                let obeys = self.promise.obeys(self.rule(), ballot) && self.has_promised();
                let vouches = obeys && (!self.is_silent_member() || planted!(SilentAskerConfirms));
                let wait = if vouches { Wait::Ballot } else { Wait::Now };
                let body = Body::ReadIndex { incarnation, seq, vouches };
                self.send_as(wait, ballot, ballot.node, body);
            }
        }
    }

    /// Whoever asks had obeyed this leader once the read had begun. Where the two are a commit set
    /// nobody else can have committed more before that, and no round has to show it: what others
    /// ask is none of it, for they may have begun later.
    pub(crate) fn on_read_index(&mut self, origin: Origin, vouches: bool, out: &mut Ready) {
        if self.configs.config().slot_of(origin.node).is_none() {
            return;
        }
        let confirming = if vouches { self.with_self(origin.node) } else { NodeSet::new() };
        let now = self.now;
        let Role::Leader(leader) = &mut self.role else { unreachable!("only a leader is asked") };
        if let Some(peer) = leader.peer_mut(origin.node).filter(|_| vouches) {
            peer.hear(now, 0); // As the answer to a round would be, also while its disk stalls.
        }
        if self.leader_ready() && self.configs.system().commit().is_quorum(confirming) {
            self.confirmed(origin, self.commit, confirming, out);
        } else {
            self.leader_read(origin);
        }
    }

    pub(crate) fn on_read_index_reply(
        &mut self,
        of: Ballot,
        incarnation: Incarnation,
        seq: u64,
        index: LogIndex,
        out: &mut Ready,
    ) {
        let any = planted!(StaleReadContext);
        let ours = any || incarnation == self.settings.incarnation;
        let asked = |r: &LocalRead| r.seq == seq && r.asked.is_some_and(|(b, _)| b == of || any);
        if ours && self.reads.iter().any(asked) {
            self.finish_read(seq, index, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::tests::machine::*;

    #[test]
    fn reads_that_wait_at_a_leader_are_bounded_and_the_oldest_gives_way() {
        let origin = |seq| Origin { node: NodeId(1), incarnation: Incarnation(1), seq };
        let mut rounds = Rounds::default();
        for seq in 0..READS_MAX as u64 + 3 {
            let oldest = seq.checked_sub(READS_MAX as u64).map(origin);
            assert_eq!(rounds.join(origin(seq), LogIndex(1)), oldest);
            rounds.close();
        }
        rounds.check();
        assert_eq!(rounds.pop(3), None, "the rounds of the oldest are passed");
        assert_eq!(rounds.pop(4), Some((LogIndex(1), origin(3))));
    }
    const ASKED_AGAIN: Nanos = Nanos::from_millis(40);

    /// Member 1 follows `leader` at 3.`leader` or nobody; what it says leaves at once.
    fn follows(leader: Option<u64>) -> Raft {
        let mut raft = raft(1, config(3, MAJORITY));
        heeds(&mut raft, leader);
        raft
    }

    fn heeds(raft: &mut Raft, leader: Option<u64>) {
        let leader = leader.map(|id| Ballot::new(2 + id, id));
        leader.map(|ballot| raft.promise.observe(raft.rule(), ballot));
        let deadline = Nanos(u64::MAX);
        raft.role = Role::Follower(Follower { leader, deadline, ..Follower::begin(raft.now) });
    }

    /// Whom it asks at `now`, and for which reads.
    fn asks(raft: &mut Raft, now: Nanos) -> Vec<(u64, u64)> {
        raft.now = now;
        raft.ask_reads();
        let mut asked = Vec::new();
        raft.disk.outbox.drain(..).for_each(|(_, held)| {
            if let super::super::disk::Held::Message(message) = held
                && let Body::ReadIndex { seq, .. } = message.body
            {
                asked.push((message.to.0, seq));
            }
        });
        asked
    }

    #[test]
    fn a_read_is_asked_for_again_after_two_heartbeats_or_of_the_next_leader_at_once() {
        let mut raft = follows(None);
        assert!(raft.begin_read(7));
        assert_eq!(asks(&mut raft, Nanos(1)), [], "nobody leads");
        heeds(&mut raft, Some(3));
        assert_eq!(asks(&mut raft, Nanos(2)), [(3, 7)]);
        let due = Nanos(2).plus(ASKED_AGAIN);
        assert_eq!(raft.reads_deadline(), due);
        assert_eq!(asks(&mut raft, Nanos(due.0 - 1)), []);
        assert_eq!(asks(&mut raft, due), [(3, 7)]);
        assert!(raft.begin_read(8));
        heeds(&mut raft, Some(2));
        assert_eq!(asks(&mut raft, due.plus(Nanos(1))), [(2, 7), (2, 8)], "another ballot");
    }

    #[test]
    fn a_read_ends_once_with_its_round_or_without() {
        let mut raft = follows(None);
        let mut out = Ready::default();
        assert!(raft.begin_read(7) && raft.begin_read(8) && raft.begin_read(9));
        raft.end_read(7);
        raft.finish_read(7, LogIndex(1), &mut out);
        raft.end_read(5);
        assert_eq!(out.reads, [], "it was withdrawn");
        for _ in 0..2 {
            raft.finish_read(8, LogIndex(1), &mut out);
        }
        assert_eq!(out.reads, [ReadOutcome { seq: 8, index: LogIndex(1) }]);
        assert_eq!(raft.reads.iter().map(|read| read.seq).collect::<Vec<_>>(), [9]);
    }

    #[test]
    fn a_read_wakes_who_can_ask_again_and_nobody_else() {
        let end = Nanos(u64::MAX);
        for (leader, asked, deadline) in
            [(Some(3), true, ASKED_AGAIN), (Some(3), false, end), (None, true, end)]
        {
            let mut raft = follows(leader);
            assert!(raft.begin_read(7));
            raft.reads[0].asked = asked.then_some((Ballot::new(5, 3), Nanos::ZERO));
            assert_eq!(raft.reads_deadline(), deadline, "{leader:?} {asked}");
        }
        let mut raft = leads(config(3, MAJORITY), 1);
        assert!(raft.begin_read(7));
        raft.ask_reads();
        assert_eq!(raft.reads_deadline(), end, "who leads asks itself once");
        raft.now = ASKED_AGAIN;
        raft.ask_reads();
        let Role::Leader(leader) = &raft.role else { panic!("it leads") };
        assert_eq!(leader.rounds.queued.len(), 1);
    }

    #[test]
    fn reads_of_a_step_join_one_round_and_those_of_the_next_another() {
        let mut rounds = Rounds::default();
        let origin = |seq| Origin { node: NodeId(1), incarnation: Incarnation(1), seq };
        assert!(!rounds.is_waiting());
        assert_eq!(rounds.join(origin(1), LogIndex(4)), None);
        assert_eq!(rounds.join(origin(2), LogIndex(4)), None);
        rounds.close();
        assert_eq!(rounds.join(origin(3), LogIndex(5)), None);
        assert_eq!((rounds.round, rounds.is_waiting()), (2, true));
        assert_eq!(rounds.pop(0), None);
        assert_eq!(rounds.pop(1), Some((LogIndex(4), origin(1))));
        assert_eq!(rounds.pop(1), Some((LogIndex(4), origin(2))));
        assert_eq!(rounds.pop(1), None, "that is of the next round");
        assert_eq!(rounds.pop(2), Some((LogIndex(5), origin(3))));
        assert!(!rounds.is_waiting());
    }

    #[test]
    fn a_read_takes_the_answer_of_the_ballot_it_asked_in_its_own_start() {
        let of = Ballot::new(5, 3);
        for (start, seq, ballot, taken) in [
            (1, 7, of, true),
            (2, 7, of, false),
            (1, 8, of, false),
            (1, 7, Ballot::new(4, 2), false),
            (2, 8, Ballot::new(4, 2), false),
        ] {
            let mut raft = follows(Some(3));
            let mut out = Ready::default();
            assert!(raft.begin_read(7) && raft.begin_read(9));
            assert_eq!(asks(&mut raft, Nanos(1)), [(3, 7), (3, 9)]);
            let start = Incarnation(start);
            raft.on_read_index_reply(ballot, start, seq, LogIndex(6), &mut out);
            let outcome = ReadOutcome { seq: 7, index: LogIndex(6) };
            let expected: &[ReadOutcome] = if taken { &[outcome] } else { &[] };
            assert_eq!(out.reads, expected, "{start:?} {seq} {ballot}");
        }
    }
}
