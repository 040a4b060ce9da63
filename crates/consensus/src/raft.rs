//! Raft over arbitrary quorum systems.

mod ballot;
mod candidate;
mod check;
mod configs;
mod disk;
mod follower;
mod haste;
mod install;
mod leader;
mod log;
mod message;
mod progress;
mod propose;
mod read;
mod ready;
mod recovery;
mod repair;
mod seat;
#[cfg(test)]
mod tests;
mod transfer;
mod witness;

pub use ballot::is_possible;
pub use message::{AppendOutcome, Body, Entry, EntryKind, Invite, Message};
pub use ready::{Halt, Persist, ReadOutcome, Ready, Trace, Why};
pub use recovery::Recovered;
pub use repair::Repair;

use alloc::vec::Vec;
use ballot::Promise;
use base::{Ballot, Birth, Incarnation, LogIndex, Nanos, NodeId, Prng, Ticket, planted};
use candidate::{Candidate, PreCandidate};
use cluster::{BallotRule, ConfigError};
use configs::Configs;
use disk::{Disk, Held, Wait};
use follower::{Append, Follower};
use leader::Leader;
use log::Log;
use quorum::NodeSet;
use read::{LocalRead, Origin};
use repair::Standing;
use seat::Seat;

/// What one member is told at start; nothing here is replicated.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Never zero.
    pub id: NodeId,
    /// Of the data directory; never zero.
    pub birth: Birth,
    /// Of this start; later ones are higher.
    pub incarnation: Incarnation,
    /// Shortest silence that starts a campaign; the longest is twice this.
    pub election_timeout_min: Nanos,
    /// Shorter than `election_timeout_min`.
    pub heartbeat_interval: Nanos,
    /// Of the random election timeouts; members need not differ, their ids do.
    pub seed: u64,
    /// Entry bytes of one append; at least one entry is always sent.
    pub append_bytes_max: usize,
    /// Unacknowledged entry bytes to one peer.
    pub inflight_bytes_max: usize,
}

/// Why a proposal was not appended. Nothing of the batch was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotLeaderReason {
    /// Ask `NotLeader::leader`.
    NotLeader,
    /// Leadership is being handed over.
    Transferring,
    /// A configuration entry is not committed yet, or no own-ballot entry is.
    ConfigPending,
    /// As much as a leader may hold uncommitted waits already.
    TailFull,
    /// The configuration does not decode, is unsafe, or does not meet the one in force.
    ConfigInvalid,
}

/// A refused proposal: not applied, now or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotLeader {
    /// Whom this member follows, if anybody.
    pub leader: Option<NodeId>,
    /// Why it was not appended.
    pub reason: NotLeaderReason,
}

#[derive(Debug)]
pub(crate) enum Role {
    Follower(Follower),
    PreCandidate(PreCandidate),
    Candidate(Candidate),
    Leader(Leader),
}

/// One member's replication machine. Every call takes the time and appends its effects to a
/// `Ready`; calls never block and never fail on what a peer sends.
#[derive(Debug)]
pub struct Raft {
    settings: Settings,
    now: Nanos,
    prng: Prng,
    promise: Promise,
    log: Log,
    /// What is covered by a checkpoint and needed by nobody.
    release: LogIndex,
    configs: Configs,
    commit: LogIndex,
    /// The highest leader's ballot that told of a commit here, in the log or in a checkpoint.
    /// Leaders from there on hold all of it, one below may not.
    settled: Ballot,
    role: Role,
    standing: Standing,
    seat: Seat,
    disk: Disk,
    reads: Vec<LocalRead>,
    /// The leader whose silence made this member campaign: where there are witnesses, a new
    /// leader does not wait for it again.
    silent_leader: Option<NodeId>,
    /// Until then pre-votes are repeated after short pauses; see `haste`.
    haste: Nanos,
    tracing: bool,
}

impl Raft {
    /// Starts from what was durable. Fails when a configuration does not compile or the log has
    /// a hole. A member that is an elect quorum alone campaigns at its first tick.
    pub fn new(settings: Settings, recovered: Recovered, now: Nanos) -> Result<Raft, ConfigError> {
        assert!(settings.id != NodeId::ZERO, "member id 0 means nobody");
        assert!(settings.election_timeout_min > settings.heartbeat_interval, "beats come sooner");
        assert!(settings.heartbeat_interval > Nanos::ZERO, "a beat takes time");
        assert!(settings.inflight_bytes_max > 0, "a peer is sent something");
        if settings.birth == Birth::ZERO {
            return Err(ConfigError::new("a data directory without a birth"));
        }
        let promised = (recovered.ballot, recovered.base_ballot, recovered.commit, recovered.base);
        let recovery::Joined { mut log, configs, diverged } = recovered.join()?;
        let (ballot, base_ballot, commit, base) = promised;
        let (last, last_ballot) = log.last();
        if !ballot::is_possible(last_ballot) || !ballot::is_possible(ballot) {
            return Err(ConfigError::new("a ballot on disk that nobody can have had"));
        }
        let commit = commit.min(last).max(base);
        log.committed(base.next(), commit);
        let mut raft = Raft {
            now,
            prng: Prng::new(settings.seed ^ settings.id.0.rotate_left(32)),
            promise: Promise::recovered(ballot),
            commit,
            // A commit index is written with the promise that its leader was obeyed by.
            settled: if commit > base { ballot.max(base_ballot) } else { base_ballot },
            role: Role::Follower(Follower::begin(now)),
            standing: Standing::Sound,
            seat: Seat::None,
            disk: Disk::new(last),
            reads: Vec::new(),
            silent_leader: None,
            haste: Nanos::ZERO,
            tracing: true,
            settings,
            release: LogIndex::ZERO,
            log,
            configs,
        };
        if raft.takes_seat() {
            raft.seat = Seat::Taken; // What was read from the disk is durable.
        }
        if !raft.is_quorum_alone() {
            let at = raft.random_deadline();
            let f = raft.follower_mut().expect("starts as a follower");
            (f.deadline, f.patience) = (at, at);
        }
        if diverged {
            raft.disk.truncate(base.next());
        }
        raft.keep_up();
        Ok(raft)
    }

    /// Whether `Ready::trace` is filled from now on; it is at first.
    pub fn set_tracing(&mut self, on: bool) {
        self.tracing = on;
    }

    /// When `tick` has something to do; `Nanos(u64::MAX)` for never.
    pub fn deadline(&self) -> Nanos {
        let role = match &self.role {
            Role::Leader(l) => {
                l.transfer.as_ref().map_or(l.heartbeat_at, |t| l.heartbeat_at.min(t.deadline))
            }
            _ if !self.may_campaign() => Nanos(u64::MAX),
            Role::Follower(f) => f.deadline,
            Role::PreCandidate(c) => c.deadline,
            Role::Candidate(c) => c.deadline,
        };
        role.min(self.reads_deadline())
    }

    /// The time has come that [`Raft::deadline`] named, or any other: campaigns, heartbeats and
    /// reads that are due.
    pub fn tick(&mut self, now: Nanos, out: &mut Ready) {
        self.advance_clock(now);
        let due = match &self.role {
            Role::Leader(_) => {
                self.tick_leader(out);
                false
            }
            Role::Follower(f) => self.now >= f.deadline,
            Role::PreCandidate(c) => self.now >= c.deadline,
            Role::Candidate(c) => self.now >= c.deadline,
        };
        if due && self.may_campaign() {
            self.pre_campaign(out);
        }
        self.finish(out);
    }

    /// Takes a message; a stale, duplicate or strange one changes nothing.
    pub fn receive(&mut self, now: Nanos, message: Message, out: &mut Ready) {
        self.advance_clock(now);
        let Message { from, to, life, ballot, body } = message;
        let me = self.settings.id;
        if to != me || from == me || from == NodeId::ZERO || !self.reaches(ballot) {
            return;
        }
        if !self.is_itself(from, life) || !self.note_life(from, life) {
            return;
        }
        // Requests of a leader or candidate carry its own ballot, which names it.
        let own = ballot.node == from && ballot.term.0 > 0;
        match body {
            Body::PreVote { last, last_ballot, invite } if own => {
                self.on_pre_vote(ballot, (last, last_ballot), invite);
            }
            Body::Vote { last, last_ballot, invite } if own => {
                self.on_vote(ballot, (last, last_ballot), invite, out);
            }
            Body::Append { prev, prev_ballot, commit, round, entries } if own => {
                let append = Append { prev, prev_ballot, commit, round, entries };
                self.on_append(ballot, append, out);
            }
            Body::TimeoutNow if own => self.on_timeout_now(from, ballot, out),
            Body::PreVoteReply { of, granted }
                if (granted || planted!(PreVoteHidesTerm) || !self.observe(ballot, out)) =>
            {
                self.count_pre_vote((from, life), of, granted, out);
            }
            Body::VoteReply { of, granted } if (granted || !self.observe(ballot, out)) => {
                self.count_vote((from, life), of, granted, out);
            }
            Body::AppendReply { outcome: AppendOutcome::Stale, .. } => {
                self.observe(ballot, out);
            }
            Body::AppendReply { of, round, outcome } if self.leads(of) => {
                self.on_append_reply(from, round, outcome, out);
            }
            Body::RoundAck { of, round } if self.leads(of) || planted!(StaleRoundAck) => {
                self.on_round_ack(from, round, out);
            }
            Body::ReadIndex { incarnation, seq, vouches } if self.leads(ballot) => {
                self.on_read_index(Origin { node: from, incarnation, seq }, vouches, out);
            }
            Body::ReadIndexReply { of, incarnation, seq, index } if of.node == from => {
                self.on_read_index_reply(of, incarnation, seq, index, out);
            }
            _ => {}
        }
        self.finish(out);
    }

    /// Whether a ballot that a peer names, in a message or a checkpoint, may be followed up. One
    /// that nobody can have had, or that is 2^32 terms above what is promised here, is refused: a
    /// member that promised it might never get out of its term.
    pub fn reaches(&self, ballot: Ballot) -> bool {
        self.promise.reaches(ballot)
    }

    /// Begins one linearizable read; false, and nothing is begun, where [`READS_MAX`] wait already.
    /// It waits, for a leader too, until it is in some `Ready.reads` or withdrawn.
    ///
    /// [`READS_MAX`]: base::limits::READS_MAX
    pub fn read(&mut self, now: Nanos, seq: u64, out: &mut Ready) -> bool {
        self.advance_clock(now);
        let begun = self.begin_read(seq);
        self.finish(out);
        begun
    }

    /// Nobody waits any more for the read of this number.
    pub fn withdraw(&mut self, seq: u64) {
        self.end_read(seq);
    }

    /// Everything up to `ticket` is durable.
    pub fn persisted(&mut self, now: Nanos, ticket: Ticket, out: &mut Ready) {
        self.advance_clock(now);
        let before = self.disk.durable();
        for held in self.disk.persisted(ticket) {
            match held {
                Held::Message(message) => out.messages.push(message),
                Held::OwnVote(ballot) => {
                    self.count_vote((self.settings.id, self.life()), ballot, true, out);
                }
            }
        }
        let index = self.disk.durable();
        if self.is_leader() {
            if index > before {
                self.trace(out, Trace::Acked { by: self.settings.id, index });
            }
            self.count_acks(out);
        }
        self.sit_down(ticket);
        self.finish(out);
    }

    /// Hands leadership to `to`, or to the most caught-up voter. Ignored by a follower.
    pub fn transfer(&mut self, now: Nanos, to: Option<NodeId>, out: &mut Ready) {
        self.advance_clock(now);
        self.start_transfer(to, out);
        self.finish(out);
    }

    /// The transfer of a checkpoint to `peer` ended.
    pub fn snapshot_done(&mut self, now: Nanos, peer: NodeId, ok: bool, out: &mut Ready) {
        self.advance_clock(now);
        self.end_snapshot(peer, ok);
        self.finish(out);
    }

    /// Everything up to here is committed, as far as this member knows.
    pub fn commit(&self) -> LogIndex {
        self.commit
    }

    /// Entries `from..=to` that are still in memory.
    pub fn entries(&self, from: LogIndex, to: LogIndex) -> impl Iterator<Item = &Entry> {
        self.log.range(from, to)
    }

    /// Whom this member follows, itself when it leads.
    pub fn leader(&self) -> Option<NodeId> {
        match &self.role {
            Role::Leader(_) => Some(self.settings.id),
            Role::Follower(f) => f.leader.map(|l| l.node),
            _ => None,
        }
    }

    /// The ballot of the leader that is followed, or led by.
    pub fn leader_ballot(&self) -> Option<Ballot> {
        match &self.role {
            Role::Leader(l) => Some(l.ballot),
            Role::Follower(f) => f.leader,
            _ => None,
        }
    }

    /// Whether it leads, as far as it knows: another ballot may have been elected since.
    pub fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    /// True for a leader that is not handing over.
    pub fn takes_proposals(&self) -> bool {
        matches!(&self.role, Role::Leader(l) if l.transfer.is_none())
    }

    /// True for a leader that has committed an entry of its own ballot.
    pub fn leader_ready(&self) -> bool {
        matches!(&self.role, Role::Leader(l) if self.commit >= l.first_own)
    }

    /// The promise; for a leader its own ballot, which new entries carry.
    pub fn ballot(&self) -> Ballot {
        self.promise.get()
    }

    /// Index and ballot of the last entry, or of the base.
    pub fn last(&self) -> (LogIndex, Ballot) {
        self.log.last()
    }

    /// The ballot of an entry; none when it is compacted away or not there yet.
    pub fn ballot_at(&self, index: LogIndex) -> Option<Ballot> {
        self.log.ballot_at(index)
    }

    /// Entries up to here survive a crash. The journal may be released up to the smaller of
    /// this and the checkpoint, and must keep the entry at the checkpoint until then: recovery
    /// compares its ballot to see whether what follows belongs to the same log.
    pub fn durable(&self) -> LogIndex {
        self.disk.durable()
    }

    /// At a leader: slots of the members that answered it within an election timeout, and its
    /// own. Empty elsewhere.
    pub fn live(&self) -> NodeSet {
        self.live_slots()
    }

    /// At a leader: whether that member was heard within an election timeout and its durable log
    /// ends at most `slack` entries before the leader's.
    pub fn has_caught_up(&self, id: NodeId, slack: u64) -> bool {
        self.is_close(id, slack)
    }

    /// At a leader: slots whose durable log reaches `index`. Empty elsewhere.
    pub fn acked(&self, index: LogIndex) -> NodeSet {
        self.acked_slots(index)
    }

    fn rule(&self) -> BallotRule {
        self.configs.config().rule
    }

    fn advance_clock(&mut self, now: Nanos) {
        self.now = self.now.max(now);
    }

    /// Whether this member may campaign. One that a configuration entry removes goes on until
    /// that entry is committed: the entry may be on the removed members' disks only, and then
    /// nobody else can win (Ongaro 2014 section 4.2.2). Its own vote does not count meanwhile.
    /// One that repairs waits for a leader, and so does one without a seat in a cluster. A
    /// witness never campaigns: it could lead only with
    /// what it does not have.
    fn may_campaign(&self) -> bool {
        !self.is_repairing()
            && self.promise.has_next()
            && (self.is_seated() || self.names_nobody())
            && (!self.is_witness() || planted!(WitnessLeads))
            && self.configs.votes_since(
                if planted!(RemovedStopsCampaigning) { self.log.last_index() } else { self.commit },
                self.settings.id,
            )
    }

    fn is_quorum_alone(&self) -> bool {
        let mut me = NodeSet::new();
        let slot = self.configs.config().slot_of(self.settings.id);
        slot.is_some_and(|s| me.insert(s)) && self.configs.system().elect().is_quorum(me)
    }

    /// What is promised is durable.
    fn has_promised(&self) -> bool {
        !self.promise.is_dirty() && self.disk.has_promise()
    }

    fn leads(&self, ballot: Ballot) -> bool {
        matches!(&self.role, Role::Leader(l) if l.ballot == ballot)
    }

    fn follower(&self) -> Option<&Follower> {
        match &self.role {
            Role::Follower(f) => Some(f),
            _ => None,
        }
    }

    fn follower_mut(&mut self) -> Option<&mut Follower> {
        match &mut self.role {
            Role::Follower(f) => Some(f),
            _ => None,
        }
    }

    fn random_deadline(&mut self) -> Nanos {
        let min = self.settings.election_timeout_min;
        self.now.plus(min).plus(Nanos(self.prng.below(min.0.max(1))))
    }

    fn trace(&self, out: &mut Ready, event: Trace) {
        if self.tracing {
            out.trace.push(event);
        }
    }

    /// Adopts a higher ballot; true when that ended what this node was doing.
    fn observe(&mut self, ballot: Ballot, out: &mut Ready) -> bool {
        let higher = self.promise.observe(self.rule(), ballot);
        if higher {
            self.become_follower(None, Why::HigherBallot, out);
        }
        higher
    }

    /// Never touches the promise: a vote of a term outlives the role that gave it.
    fn become_follower(&mut self, leader: Option<Ballot>, why: Why, out: &mut Ready) {
        let ballot = match &self.role {
            Role::Leader(l) => Some(l.ballot),
            Role::Candidate(c) => Some(c.ballot),
            _ => None,
        };
        if let Some(ballot) = ballot {
            self.trace(out, Trace::SteppedDown { ballot, why });
            if planted!(VoteErasedOnStepDown) && self.rule() == BallotRule::SharedTerms {
                let term = self.promise.get().term;
                self.promise = Promise::recovered(Ballot { term, node: NodeId::ZERO });
            }
        }
        if leader.is_some() {
            self.haste = Nanos::ZERO;
        }
        let (patience, heard) = (self.random_deadline(), self.now);
        let deadline = self.next_ask(patience);
        self.role =
            Role::Follower(Follower { leader, heard, lost: false, deadline, patience, round: 0 });
        let ballot = leader.unwrap_or(self.promise.get());
        self.trace(out, Trace::BecameFollower { ballot, leader: leader.map(|l| l.node) });
    }

    /// Up to `index` all is committed, by the word of the leader of `by`.
    fn advance_commit(&mut self, index: LogIndex, by: Ballot, out: &mut Ready) {
        assert!(index <= self.log.last_index(), "only what is here can be committed");
        if index > self.commit {
            self.log.committed(self.commit.next(), index);
            assert!(self.log.ballot_at(index).is_some(), "what is committed is here");
            self.commit = index;
            self.settled = self.settled.max(by);
            self.trace(out, Trace::Committed { index });
        }
    }

    fn send(&mut self, wait: Wait, to: NodeId, body: Body) {
        self.send_as(wait, self.promise.get(), to, body);
    }

    fn send_as(&mut self, wait: Wait, ballot: Ballot, to: NodeId, body: Body) {
        assert!(to != self.settings.id, "a node does not write to itself");
        let early =
            [planted!(AckBeforeSync), planted!(VoteBeforeSync), planted!(RequestBeforePersist)];
        let waits = wait != Wait::Now || early.contains(&true);
        assert!(waits || !body.vouches(), "what vouches waits for the disk");
        let message = Message { from: self.settings.id, to, life: self.life(), ballot, body };
        self.disk.outbox.push((wait, Held::Message(message)));
    }

    /// Ends every call: reads to whoever leads, appends to peers, one write, then the messages
    /// that need not wait for it.
    fn finish(&mut self, out: &mut Ready) {
        self.prove(out);
        self.ask_reads();
        self.forget();
        if self.is_leader() {
            self.confirm_reads(out);
            self.mark_members(out);
            self.record_lives(out);
            self.flush_peers(out);
        }
        let changed = self.promise.take_dirty();
        let last = self.log.last_index();
        let seat = self.takes_seat();
        if let Some((ticket, truncate_from, from)) = self.disk.begin(changed || seat, last) {
            if seat {
                self.seat = Seat::Taking(ticket);
            }
            let mut ballot = self.promise.get();
            if planted!(VoteInTwoWrites) && changed {
                ballot.node = NodeId::ZERO;
            }
            out.persist.push(Persist {
                ticket,
                ballot,
                truncate_from,
                entries: self.log.range(from, last).cloned().collect(),
                commit: self.commit,
            });
            self.check_write(out);
        }
        self.disk.release_outbox(|held| match held {
            Held::Message(message) => out.messages.push(message),
            Held::OwnVote(_) => unreachable!("an own vote changes the promise, so it waits"),
        });
        self.check();
    }
}
