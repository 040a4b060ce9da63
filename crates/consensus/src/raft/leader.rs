//! Leading: replication, commit, read rounds, hand-over.

use super::disk::Wait;
use super::message::{AppendOutcome, Body, Entry, EntryKind};
use super::progress::{Peer, State};
use super::read::{Origin, Rounds};
use super::transfer::Transfer;
use super::{Raft, Ready, Role, Trace, Why};
use alloc::borrow::Cow;
use alloc::vec::Vec;
use base::{Ballot, Blob, Life, LogIndex, Nanos, NodeId, planted};
use cluster::Compiled;
use quorum::{Family, NODES_MAX, NodeSet, commit_index};

#[cfg(test)]
mod tests;

#[derive(Debug)]
pub(crate) struct Leader {
    pub ballot: Ballot,
    pub peers: Vec<Peer>,
    /// The entry appended on election; commit starts to count here.
    pub first_own: LogIndex,
    pub heartbeat_at: Nanos,
    heartbeat_due: bool,
    pub rounds: Rounds,
    pub transfer: Option<Transfer>,
    /// Since when the entry after the commit index has waited; where there are witnesses only.
    pub stalled: Option<Nanos>,
}

/// What one round of appends is about.
struct Flush {
    /// A heartbeat is due.
    due: bool,
    round: u64,
    /// Witnesses are sent nothing above it.
    witness_limit: LogIndex,
}

impl Leader {
    pub(crate) fn peer_mut(&mut self, id: NodeId) -> Option<&mut Peer> {
        self.peers.iter_mut().find(|p| p.id == id)
    }
}

impl Raft {
    pub(crate) fn become_leader(
        &mut self,
        ballot: Ballot,
        votes: NodeSet,
        voters: &[(NodeId, Life)],
        out: &mut Ready,
    ) {
        assert_eq!(self.promise.get(), ballot, "a leader has promised its own ballot");
        assert_eq!(ballot.node, self.settings.id, "a ballot is its candidate's");
        assert!(!self.is_repairing(), "who repairs does not lead");
        assert!(self.log.last().1 < ballot, "a new ballot is above every entry");
        let first_own = self.log.last_index().next();
        self.role = Role::Leader(Leader {
            ballot,
            peers: Vec::new(),
            first_own,
            heartbeat_at: self.now.plus(self.settings.heartbeat_interval),
            heartbeat_due: true,
            rounds: Rounds::default(),
            transfer: None,
            stalled: None,
        });
        self.rebuild_peers();
        let silent = self.silent_leader.take();
        if let Role::Leader(leader) = &mut self.role {
            for peer in &mut leader.peers {
                peer.lost = Some(peer.id) == silent;
                peer.voted = voters.iter().find(|(id, _)| *id == peer.id).map(|(_, life)| *life);
            }
        }
        self.trace(out, Trace::Elected { ballot, votes });
        self.append_first(voters, out);
    }

    /// Follows the configuration in force; known peers keep their progress.
    pub(crate) fn rebuild_peers(&mut self) {
        let (me, now, next) = (self.settings.id, self.now, self.log.last_index().next());
        let Role::Leader(leader) = &mut self.role else { unreachable!("only a leader does") };
        let mut old = core::mem::take(&mut leader.peers);
        for m in self.configs.config().members.iter().filter(|m| m.id != me) {
            let peer = match old.iter().position(|p| p.id == m.id) {
                Some(at) => old.swap_remove(at),
                None => Peer::new(m.id, m.slot, next, now),
            };
            assert_eq!(peer.slot, m.slot, "a member keeps its slot");
            leader.peers.push(peer);
        }
        self.note_seats();
    }

    pub(crate) fn append_own(&mut self, kind: EntryKind, payload: Blob) -> LogIndex {
        let ballot = self.promise.get();
        assert!(self.leads(ballot), "who leads appends under its own ballot");
        let index = self.log.last_index().next();
        self.log.push(Entry { index, ballot, kind, payload });
        index
    }

    /// Values by slot: this node's own, and each peer's. One that repairs, or has no seat, counts
    /// nowhere.
    fn by_slot(&self, own: u64, value: impl Fn(&Peer) -> u64) -> [u64; NODES_MAX] {
        let mut values = [0; NODES_MAX];
        let Role::Leader(leader) = &self.role else { return values };
        for peer in leader.peers.iter().filter(|p| p.is_counted()) {
            values[usize::from(peer.slot)] = value(peer);
        }
        let (config, planted) = (self.configs.config(), planted!(RemovedLeaderCounts));
        let other = || config.voters().iter().next().filter(|_| planted);
        if let Some(slot) = config.slot_of(self.settings.id).or_else(other) {
            values[usize::from(slot)] = own;
        }
        values
    }

    /// Durable log ends by slot, as far as this leader knows.
    pub(crate) fn matched(&self) -> [u64; NODES_MAX] {
        let last = self.log.last_index();
        let durable = if planted!(OwnEntryBeforeSync) { last } else { self.disk.durable() };
        self.by_slot(durable.min(last).0, |p| p.matched.0)
    }

    /// Slots whose durable log reaches `index`, as far as this leader knows.
    pub(crate) fn acked_slots(&self, index: LogIndex) -> NodeSet {
        let matched = self.by_slot(self.disk.durable().0, |p| p.matched.0);
        at_least(&matched, index.0.max(1))
    }

    /// Members whose acknowledgement counts: a learner's is no vote.
    fn counted(&self, acked: NodeSet) -> NodeSet {
        acked.intersect(self.configs.system().commit().support())
    }

    /// The family whose sets commit.
    fn counting(&self) -> Cow<'_, Family> {
        let system = self.configs.system();
        if planted!(LearnerCounted) {
            let all = self.configs.config().members.iter().map(|m| m.slot);
            return Cow::Owned(Family::majority(all.collect()));
        }
        if planted!(HiddenMajority) {
            return Cow::Owned(Family::majority(system.commit().support()));
        }
        let swapped = planted!(ElectCommitSwapped);
        Cow::Borrowed(if swapped { system.elect() } else { system.commit() })
    }

    /// Commits by counting, own-ballot entries only (Raft section 5.4.2, figure 8).
    pub(crate) fn count_acks(&mut self, out: &mut Ready) {
        let Role::Leader(leader) = &self.role else { unreachable!("only a leader does") };
        let ballot = leader.ballot;
        let matched = self.matched();
        let index = self.committable(&self.counting(), &matched);
        let others = self.log.ballot_at(index) != Some(ballot) && !planted!(PriorBallotCommit);
        if index <= self.commit || others {
            return;
        }
        assert!(index <= self.log.last_index(), "nobody acknowledges more than there is");
        let own = self.disk.durable().min(self.log.last_index());
        let index = if planted!(IncrementalTally) { own.max(index) } else { index };
        let acked = self.counted(at_least(&matched, index.0));
        self.trace(out, Trace::Quorum { index, acked, ballot });
        self.advance_commit(index, ballot, out);
        self.restart_stall();
        self.start_queued_reads();
        let me = self.settings.id;
        let stays = self.configs.config().member(me).is_some_and(|m| !m.learner);
        if !stays && self.configs.index() <= self.commit {
            // Peers learn of the commit before the leader that is out of it falls silent, and
            // the fullest log need not wait for an election timeout.
            self.flush_peers(out);
            if let Some(heir) = self.fullest_voter() {
                self.send(Wait::Now, heir, Body::TimeoutNow);
            }
            self.become_follower(None, Why::NotVoter, out);
        }
    }

    pub(crate) fn on_append_reply(
        &mut self,
        from: NodeId,
        round: u64,
        outcome: AppendOutcome,
        out: &mut Ready,
    ) {
        let (now, last) = (self.now, self.log.last_index());
        let base = self.log.base();
        let Role::Leader(leader) = &mut self.role else { unreachable!("only a leader does") };
        let sent_round = leader.rounds.round;
        let Some(peer) = leader.peer_mut(from) else { return };
        peer.hear(now, round.min(sent_round));
        match outcome {
            AppendOutcome::Lacking { prev, hint, hint_ballot } => {
                self.on_lacking(from, prev, hint, hint_ballot);
            }
            AppendOutcome::Held(index) if index <= last => {
                peer.repair();
                peer.ack(index);
                peer.advance(base);
            }
            AppendOutcome::Matched(index) if index <= last => {
                let sound = peer.end_repair();
                let index = if planted!(SentIsAcked) { peer.next.prev().max(index) } else { index };
                let news = peer.ack(index) || sound;
                peer.advance(base);
                if news {
                    self.trace(out, Trace::Acked { by: from, index });
                    self.count_acks(out);
                }
            }
            AppendOutcome::Rejected { prev, hint, hint_ballot } => {
                let credible = match peer.state {
                    State::Probe { .. } => prev == peer.next.prev(),
                    State::Replicate => prev > peer.matched && prev < peer.next,
                    State::Snapshot { .. } => false,
                };
                if credible && prev > peer.matched {
                    let (meet, _) = self.log.meeting_point(hint.min(prev.prev()), hint_ballot);
                    // Nothing above the base may meet: then only a checkpoint helps.
                    peer.probe(if hint < base { hint.next() } else { meet.next() });
                }
            }
            _ => {}
        }
        // Who commits that it is out leads no more.
        if self.is_leader() {
            self.confirm_reads(out);
        }
    }

    /// The peer's log ends before `prev`, or differs there, because its disk was damaged. It may
    /// lack what it once acknowledged, so the search goes below that too.
    fn on_lacking(&mut self, from: NodeId, prev: LogIndex, hint: LogIndex, hint_ballot: Ballot) {
        let (base, meet) = (self.log.base(), self.log.meeting_point(hint, hint_ballot).0);
        let Role::Leader(leader) = &mut self.role else { unreachable!("only a leader does") };
        let Some(peer) = leader.peer_mut(from) else { return };
        peer.repair();
        let credible = match peer.state {
            State::Probe { .. } => prev == peer.next.prev(),
            State::Replicate => prev < peer.next,
            State::Snapshot { .. } => false,
        };
        if credible && hint < prev {
            peer.matched = peer.matched.min(hint);
            peer.probe(if hint < base { hint.next() } else { meet.next() });
        }
    }

    pub(crate) fn on_round_ack(&mut self, from: NodeId, round: u64, out: &mut Ready) {
        let now = self.now;
        let Role::Leader(leader) = &mut self.role else {
            if planted!(StaleRoundAck) {
                return;
            }
            unreachable!("only a leader does")
        };
        let sent_round = leader.rounds.round;
        let Some(peer) = leader.peer_mut(from) else { return };
        peer.hear(now, round.min(sent_round));
        self.confirm_reads(out);
    }

    pub(crate) fn leader_read(&mut self, origin: Origin) {
        let ready = self.leader_ready() || planted!(ReadBeforeOwnCommit);
        let commit = self.commit;
        let Role::Leader(leader) = &mut self.role else { unreachable!("only a leader does") };
        let rounds = &mut leader.rounds;
        let over = if ready { rounds.join(origin, commit) } else { rounds.queue(origin) };
        over.into_iter().for_each(|origin| self.gave_way(origin));
    }

    fn start_queued_reads(&mut self) {
        let ready = self.leader_ready() || planted!(ReadBeforeOwnCommit);
        let commit = self.commit;
        let Role::Leader(leader) = &mut self.role else { unreachable!("only a leader does") };
        if ready {
            let queued = core::mem::take(&mut leader.rounds.queued);
            let join = |origin| leader.rounds.join(origin, commit);
            let over: Vec<Origin> = queued.into_iter().filter_map(join).collect();
            over.into_iter().for_each(|origin| self.gave_way(origin));
        }
    }

    /// Answers every read whose round a commit set has confirmed at this ballot.
    pub(crate) fn confirm_reads(&mut self, out: &mut Ready) {
        let Role::Leader(leader) = &self.role else { unreachable!("only a leader does") };
        if !leader.rounds.is_waiting() {
            return;
        }
        let rounds = self.by_slot(leader.rounds.round, |p| p.round);
        let mut confirmed = commit_index(self.configs.system().commit(), &rounds);
        let leased = planted!(LeaderLease) && self.hears_commit_set();
        if leased || planted!(ReadWithoutRound) {
            confirmed = leader.rounds.round;
        }
        loop {
            let Role::Leader(leader) = &mut self.role else { unreachable!("only a leader does") };
            let Some((index, origin)) = leader.rounds.pop(confirmed) else { return };
            self.confirmed(origin, index, at_least(&rounds, confirmed), out);
        }
    }

    /// The slots of this leader and of one peer, of those that count.
    pub(crate) fn with_self(&self, peer: NodeId) -> NodeSet {
        at_least(&self.by_slot(1, |p| u64::from(p.id == peer)), 1)
    }

    /// A commit set has shown that this member led after the read began.
    pub(crate) fn confirmed(
        &mut self,
        origin: Origin,
        index: LogIndex,
        acked: NodeSet,
        out: &mut Ready,
    ) {
        let Role::Leader(leader) = &self.role else { unreachable!("only a leader is asked") };
        let of = leader.ballot;
        let acked = self.counted(acked);
        self.trace(out, Trace::ReadConfirmed { seq: origin.seq, acked });
        let Origin { node, incarnation, seq } = origin;
        if node == self.settings.id {
            self.finish_read(seq, index, out);
        } else {
            let body = Body::ReadIndexReply { of, incarnation, seq, index };
            self.send(Wait::Now, node, body);
        }
    }

    pub(crate) fn tick_leader(&mut self, out: &mut Ready) {
        let now = self.now;
        let interval = self.settings.heartbeat_interval;
        let Role::Leader(leader) = &mut self.role else { unreachable!("only a leader does") };
        if leader.transfer.as_ref().is_some_and(|t| now >= t.deadline) {
            leader.transfer = None;
        }
        if now < leader.heartbeat_at {
            return;
        }
        leader.heartbeat_at = now.plus(interval);
        leader.heartbeat_due = true;
        for peer in &mut leader.peers {
            match peer.state {
                State::Snapshot { retry_at, .. } if now >= retry_at => {
                    peer.probe(self.log.last_index().next());
                }
                _ => {}
            }
        }
        let lost = !self.hears_commit_set() && !planted!(NoCheckQuorum);
        if lost && !self.call_off(out) {
            return self.become_follower(None, Why::QuorumLost, out);
        }
        self.prompt_repairs(out);
    }

    /// While the system before a joint configuration is heard and the one it moves to is not:
    /// goes back to the former, if the joint one is this leader's own and not committed. Then
    /// nobody can have gone on to the new system alone, and every elect and commit set of the
    /// three configurations holds one of the old system (`docs/design/reconfiguration.md`).
    fn call_off(&mut self, out: &mut Ready) -> bool {
        let config = self.configs.config();
        let late = planted!(CalledOffLate);
        let begun = self.configs.joint_since().filter(|index| *index > self.commit || late);
        let own =
            begun.is_some_and(|at| late || self.log.ballot_at(at) == Some(self.promise.get()));
        if !own || !self.takes_proposals() {
            return false;
        }
        let back = config.called_off();
        if !back.system().commit().is_quorum(self.heard_slots()) {
            return false;
        }
        self.append_config(back, out);
        true
    }

    pub(crate) fn append_config(&mut self, config: Compiled, out: &mut Ready) {
        let ballot = self.promise.get();
        let index = self.append_own(EntryKind::Config, Blob::from(config.encode()));
        self.configs.push(index, config);
        self.rebuild_peers();
        self.restart_stall();
        self.trace(out, Trace::Appended { from: index, to: index, ballot });
    }

    /// Check-quorum: a commit set was heard within an election timeout.
    fn hears_commit_set(&self) -> bool {
        self.configs.system().commit().is_quorum(self.heard_slots())
    }

    fn heard_slots(&self) -> NodeSet {
        let (now, limit) = (self.now, self.settings.election_timeout_min);
        let is_heard = |p: &Peer| now.since(p.heard) <= limit;
        let heard = at_least(&self.by_slot(1, |p| u64::from(is_heard(p))), 1);
        // Whoever has no seat yet will be counted as soon as it has the entry that says so, and
        // until then speaks as one that repairs: stepping down would only begin that again.
        let Role::Leader(leader) = &self.role else { unreachable!("only a leader does") };
        let seats = |p: &&Peer| (self.is_unfounded() || p.takes_seat()) && is_heard(p);
        heard.union(leader.peers.iter().filter(seats).map(|p| p.slot).collect())
    }

    /// A peer counts once it answered this leader: at its election all seem to have been heard.
    fn answers(&self, peer: &Peer) -> bool {
        let limit = self.settings.election_timeout_min;
        let sound = peer.matched > LogIndex::ZERO && peer.is_counted();
        sound && self.now.since(peer.heard) <= limit
    }

    pub(crate) fn live_slots(&self) -> NodeSet {
        let mut live = NodeSet::new();
        let Role::Leader(leader) = &self.role else { return live };
        let own = self.configs.config().slot_of(self.settings.id);
        let peers = leader.peers.iter().filter(|p| self.answers(p)).map(|p| p.slot);
        peers.chain(own).for_each(|slot| {
            live.insert(slot);
        });
        live
    }

    pub(crate) fn is_close(&self, id: NodeId, slack: u64) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        let last = self.log.last_index().0;
        let close = |p: &Peer| self.answers(p) && last.saturating_sub(p.matched.0) <= slack;
        leader.peers.iter().any(|p| p.id == id && close(p))
    }

    pub(crate) fn reset_peer(&mut self, id: NodeId) {
        let Role::Leader(leader) = &mut self.role else { return };
        if let Some(peer) = leader.peer_mut(id) {
            let next = peer.matched.next();
            peer.lost = true;
            if !matches!(peer.state, State::Snapshot { .. }) {
                peer.probe(next);
            }
        }
    }

    pub(crate) fn end_snapshot(&mut self, id: NodeId, ok: bool) {
        // Sent is not installed: the ack says so. Without one, probe again.
        let timeout = self.settings.election_timeout_min;
        let patience = if ok { Nanos(timeout.0.saturating_mul(4)) } else { timeout };
        let retry_at = self.now.plus(patience);
        let Role::Leader(leader) = &mut self.role else { return };
        if let Some(peer) = leader.peer_mut(id)
            && let State::Snapshot { floor, .. } = peer.state
        {
            if peer.matched >= floor {
                peer.probe(peer.matched.next()); // the ack was faster than this
            } else {
                peer.state = State::Snapshot { floor, retry_at };
            }
        }
    }

    /// At most one append to each peer: new entries if the window is open, else whatever news
    /// there is (heartbeat, commit index, read round).
    pub(crate) fn flush_peers(&mut self, out: &mut Ready) {
        self.push_transfer();
        let witness_limit = self.witness_limit();
        let Role::Leader(leader) = &mut self.role else { unreachable!("only a leader does") };
        leader.rounds.close();
        let mut peers = core::mem::take(&mut leader.peers);
        let due = core::mem::take(&mut leader.heartbeat_due);
        let flush = Flush { due, round: leader.rounds.round, witness_limit };
        for peer in &mut peers {
            self.flush_peer(peer, &flush, out);
        }
        let Role::Leader(leader) = &mut self.role else { unreachable!("flushing changes no role") };
        leader.peers = peers;
    }

    fn flush_peer(&mut self, peer: &mut Peer, flush: &Flush, out: &mut Ready) {
        let round = flush.round;
        let news = flush.due || peer.sent_round < round;
        if peer.state != State::Replicate && !news && peer.state != (State::Probe { sent: false }) {
            return;
        }
        if self.log.ballot_at(peer.next.prev()).is_none()
            && !matches!(peer.state, State::Snapshot { .. })
        {
            peer.snapshot(self.log.base());
            out.snapshots.push(peer.id);
        }
        let room = match peer.state {
            State::Probe { sent } => !sent,
            State::Replicate => peer.inflight_bytes < self.settings.inflight_bytes_max,
            State::Snapshot { .. } => false,
        };
        let (prev, prev_ballot) = match peer.state {
            State::Snapshot { .. } => (LogIndex::ZERO, Ballot::ZERO),
            _ => {
                let prev = peer.next.prev();
                (prev, self.log.ballot_at(prev).expect("checked above"))
            }
        };
        let (entries, bytes) = if !room {
            (Vec::new(), 0)
        } else if self.configs.roles().witnesses.contains(peer.slot) {
            self.witness_batch(peer.next, flush.witness_limit)
        } else {
            self.log.batch(peer.next, self.settings.append_bytes_max)
        };
        let committed = peer.state == State::Replicate && peer.sent_commit < self.commit.min(prev);
        if entries.is_empty() && !news && !committed && !matches!(peer.state, State::Probe { .. }) {
            return;
        }
        let reach = entries.last().map_or(prev, |e| e.index);
        assert_eq!(reach.0 - prev.0, entries.len() as u64, "what is sent follows what is there");
        match &mut peer.state {
            State::Probe { sent } => *sent = true,
            State::Replicate if !entries.is_empty() => peer.sent(reach, bytes),
            _ => {}
        }
        peer.sent_round = round;
        peer.sent_commit = self.commit.min(reach);
        let commit = self.commit;
        let body = Body::Append { prev, prev_ballot, commit, round, entries };
        self.send(Wait::Now, peer.id, body);
    }
}

/// The slots whose value reaches `min`.
fn at_least(values: &[u64; NODES_MAX], min: u64) -> NodeSet {
    let mut set = NodeSet::new();
    for (slot, value) in (0u8..).zip(values) {
        if *value >= min {
            set.insert(slot);
        }
    }
    set
}
