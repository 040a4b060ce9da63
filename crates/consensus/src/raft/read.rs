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
}
