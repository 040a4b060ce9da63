//! The machine itself: its state, its step, and the order of work inside one step.

#[cfg(test)]
pub(crate) mod alone;
mod apply;
mod change;
mod check;
mod extra;
#[cfg(test)]
mod fetch;
mod propose;
mod read;
mod standing;
#[cfg(test)]
mod tests;

use crate::clock::ClusterClock;
use crate::dedupe::Dedupe;
use crate::pending::Writes;
use crate::taken::Taken;
use crate::{
    CheckpointJob, Effects, Event, PeerBody, PeerMessage, Refusal, RefusalReason, Reply,
    TraceEvent, TraceKind,
};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use base::{Ballot, ClusterTime, Incarnation, LogIndex, Nanos, NodeId, planted};
use cluster::ConfigError;
use consensus::raft::{Raft, Ready, Recovered, Repair, Settings};
use extra::Extra;
use mvcc::Hand;
use read::Reads;
use standing::Standing;

/// Entries kept at least for a peer that a checkpoint is on its way to.
const HELD_MIN: u64 = 10_000;

/// Fixed for the life of the machine.
#[derive(Clone, Debug)]
pub struct ReplicaSettings {
    /// Who this member is, and its timeouts.
    pub raft: Settings,
    /// Writes and reads pending here; more are refused as overload.
    pub pending_max: usize,
    /// Bytes of the commands pending here, but for one command at least. As much as the disks
    /// take well within `request_timeout`: what waits longer than that only slows the rest.
    pub pending_bytes_max: usize,
    /// How long a request may wait before it is answered `Refused` or `Unknown`.
    pub request_timeout: Nanos,
    /// How long a request may wait for a leader to appear before it is refused.
    pub leaderless_wait: Nanos,
    /// Entries kept in memory below a checkpoint, so that a slow peer needs no transfer.
    pub catchup_entries: u64,
    /// Units of work ([`mvcc::Budget`]) on committed entries in one step. What is longer goes on in
    /// the steps that follow at once, so that nothing else waits for it.
    pub apply_budget: u64,
    /// Versions that are made, or ended by a compaction, before they are merged with the others:
    /// this many at least.
    pub settle_versions: usize,
    /// Or bytes of keys and values that are made: memory holds about twice as many at most.
    pub settle_bytes: usize,
    /// Emit trace events from the start; [`Replica::set_tracing`] changes that.
    pub trace: bool,
}

/// What the shell read back from disk.
pub struct ReplicaRecovered {
    /// Promise, log and commit index.
    pub raft: Recovered,
    /// The data at `raft.base`.
    pub store: mvcc::Store,
    /// The machine's part of the checkpoint; empty when there is none.
    pub extra: Vec<u8>,
    /// What the journal itself says is committed, wherever its records end.
    pub known: LogIndex,
}

/// A member's condition, for status requests and views.
#[derive(Clone, Debug)]
pub struct Status {
    /// This member.
    pub id: NodeId,
    /// The highest promised or obeyed.
    pub ballot: Ballot,
    /// Whom it follows, itself when it leads; none in an election.
    pub leader: Option<NodeId>,
    /// Whether it leads as far as it knows.
    pub is_leader: bool,
    /// End of its log.
    pub last: LogIndex,
    /// Up to here all is committed, as far as it knows; never above `last`.
    pub commit: LogIndex,
    /// Up to here all is applied; never above `commit`.
    pub applied: LogIndex,
    /// Of its data.
    pub revision: i64,
    /// [`mvcc::View::chain_hash`]; compare at equal `applied`.
    pub chain_hash: u64,
    /// [`mvcc::View::content_hash`]; compare at equal `applied`.
    pub content_hash: u64,
    /// Writes, reads and changes that wait here for an answer.
    pub pending: usize,
    /// Its data was proven to differ from a quorum's: it serves nobody.
    pub diverged: bool,
    /// Its disk was damaged: it fetches what it lost and does not vote.
    pub repairing: bool,
    /// Its birth is written down, so it may vote and acknowledge (`docs/design/births.md`).
    pub seated: bool,
}

/// One replica; see the crate's first page.
pub struct Replica {
    settings: ReplicaSettings,
    raft: Raft,
    store: mvcc::Store,
    clock: ClusterClock,
    dedupe: Dedupe,
    applied: LogIndex,
    applied_ballot: Ballot,
    /// The entry after the applied one, under way.
    running: Option<apply::Running>,
    /// Versions that have left memory and that it needs.
    hand: Hand,
    /// What came of a merge while a long entry was under way.
    settled: Option<Box<mvcc::Settled>>,
    /// What has settled is to be written anew.
    anew: bool,
    writes: Writes,
    seq_next: u64,
    /// Writes of this batch for the leader's log, own and forwarded.
    batch: Vec<Taken>,
    /// At a leader: requests in its log that are not applied, with their commands where those came
    /// by its own hands and were not begun.
    tail: BTreeMap<base::RequestId, Option<mvcc::Command>>,
    reads: Reads,
    standing: Standing,
    changes: change::Changes,
    /// Expiry of these lease renewals is already proposed in this leadership.
    revoking: BTreeSet<(i64, u64)>,
    /// Peers a checkpoint is on its way to, and an index that it covers: what follows is kept for
    /// them, or they would need another one.
    sending: BTreeMap<NodeId, LogIndex>,
    /// The last checkpoint known to be durable here.
    checkpointed: LogIndex,
    leading: Option<Ballot>,
    followed: Option<NodeId>,
    leaderless_since: Option<Nanos>,
    hashes: BTreeMap<LogIndex, u64>,
    /// What others say of the same indexes.
    hash_votes: BTreeMap<LogIndex, Vec<(NodeId, u64)>>,
    diverged: bool,
    halted: bool,
    /// When each peer last said anything, to name who is missing.
    heard: BTreeMap<NodeId, Nanos>,
    /// Whose process ended, or who did not answer when this member stopped leading; and was not
    /// heard since.
    left: BTreeSet<NodeId>,
    now: Nanos,
    ready: Ready,
}

impl Replica {
    /// Starts from what the disk held. Errors: a configuration that is unsafe or unreadable.
    pub fn new(
        settings: ReplicaSettings,
        recovered: ReplicaRecovered,
        now: Nanos,
    ) -> Result<Self, ConfigError> {
        assert!(settings.apply_budget > 0, "a step makes progress");
        let applied = recovered.raft.base;
        if recovered.store.applied_index() != applied && !planted!(CheckpointIndexAhead) {
            return Err(ConfigError { message: "the data is not that of the log's base".into() });
        }
        let applied_ballot = recovered.raft.base_ballot;
        let mut raft = Raft::new(settings.raft.clone(), recovered.raft, now)?;
        let extra = Extra::decode(&recovered.extra).map_err(|_| ConfigError {
            message: "the checkpoint's replica state is unreadable".into(),
        })?;
        raft.settled_by(extra.settled);
        raft.set_tracing(settings.trace);
        assert!(raft.commit() >= applied, "a checkpoint holds what is committed");
        let standing = Standing::new(recovered.known, raft.last().0);
        let anew = apply::is_all_in_memory(&recovered.store);
        Ok(Self {
            settings,
            raft,
            store: recovered.store,
            clock: ClusterClock::new(extra.stamp, now),
            dedupe: extra.dedupe,
            applied,
            applied_ballot,
            running: None,
            hand: Hand::default(),
            anew,
            settled: None,
            writes: Writes::default(),
            seq_next: 1,
            batch: Vec::new(),
            tail: BTreeMap::new(),
            reads: Reads::default(),
            standing,
            changes: change::Changes::default(),
            revoking: BTreeSet::new(),
            sending: BTreeMap::new(),
            checkpointed: applied,
            leading: None,
            followed: None,
            leaderless_since: Some(now),
            hashes: BTreeMap::new(),
            hash_votes: BTreeMap::new(),
            diverged: false,
            halted: false,
            heard: BTreeMap::new(),
            left: BTreeSet::new(),
            now,
            ready: Ready::default(),
        })
    }

    /// Begins as a member whose disk was damaged. Before the first step.
    pub fn repair(&mut self, repair: Repair) {
        self.raft.repair(repair);
        self.standing.damaged();
    }

    /// Whether [`Effects::trace`] is filled from now on. While it is not, no event is built.
    pub fn set_tracing(&mut self, on: bool) {
        self.settings.trace = on;
        self.raft.set_tracing(on);
    }

    /// Handles one event.
    pub fn step(&mut self, now: Nanos, event: Event, out: &mut Effects) {
        self.step_batch(now, core::iter::once(event), out);
    }

    /// Handles what has queued up as one batch: one append, one read round, one apply.
    pub fn step_batch(
        &mut self,
        now: Nanos,
        events: impl IntoIterator<Item = Event>,
        out: &mut Effects,
    ) {
        assert!(now >= self.now, "the shell's clock never goes back");
        self.now = now;
        if self.halted {
            return;
        }
        for event in events {
            self.on_event(event, out);
        }
        if self.raft.deadline() <= now {
            self.raft.tick(now, &mut self.ready);
        }
        self.expire(out);
        self.notice_leader();
        self.expire_leases();
        self.flush_writes(out);
        self.drive_changes(out);
        self.ask_standing();
        self.start_read_round();
        self.settle(out);
        self.merge(out);
        self.check();
    }

    /// When `Event::Tick` is due if nothing else happens.
    pub fn deadline(&self) -> Nanos {
        if self.is_applying() {
            return self.now;
        }
        let mut at = self.raft.deadline();
        if let Some(deadline) = self.writes.oldest_deadline() {
            at = at.min(deadline);
        }
        let takes = || self.raft.takes_proposals() && self.raft.has_room();
        if let Some(due) = self.writes.offer_at()
            && self.raft.leader().is_some_and(|l| l != self.settings.raft.id || takes())
        {
            at = at.min(due);
        }
        if let Some(deadline) = self.changes_deadline() {
            at = at.min(deadline);
        }
        if let Some(deadline) = self.reads.oldest_deadline() {
            at = at.min(deadline);
        }
        if let Some(due) = self.standing.deadline() {
            at = at.min(due);
        }
        // Lease expiry and leaderless refusals are looked at a few times a second at least.
        at.min(self.now.plus(Nanos::from_millis(100)))
    }

    /// The data as applied here; [`Replica::is_current`] says whether it may be shown.
    pub fn store(&self) -> &mvcc::Store {
        &self.store
    }

    /// Consensus, to look at.
    pub fn raft(&self) -> &Raft {
        &self.raft
    }

    /// Of this start; it is part of every request id given out here.
    pub fn incarnation(&self) -> Incarnation {
        self.settings.raft.incarnation
    }

    /// Cluster time as this member estimates it, for lease queries.
    pub fn cluster_time(&self) -> ClusterTime {
        self.clock.estimate(self.now)
    }

    /// A look at everything that a status request tells.
    pub fn status(&self) -> Status {
        Status {
            id: self.settings.raft.id,
            ballot: self.raft.ballot(),
            leader: self.raft.leader(),
            is_leader: self.raft.is_leader(),
            last: self.raft.last().0,
            commit: self.raft.commit(),
            applied: self.applied,
            revision: self.store.revision(),
            chain_hash: self.store.chain_hash(),
            content_hash: self.store.content_hash(),
            pending: self.writes.len() + self.reads.len() + self.changes.len(),
            diverged: self.diverged,
            repairing: self.raft.is_repairing(),
            seated: self.raft.is_seated(),
        }
    }

    fn on_event(&mut self, event: Event, out: &mut Effects) {
        let now = self.now;
        match event {
            Event::Tick => self.raft.tick(now, &mut self.ready),
            Event::Message(message) => self.on_message(message, out),
            Event::Propose { token, caller, command } => {
                self.on_propose(token, caller, command, out);
            }
            Event::Change { token, caller, change } => {
                self.on_change(token, (caller, change), out);
            }
            Event::ReadBarrier { token } => self.queue_read(token, read::ReadKind::Barrier, out),
            Event::Confirm { token } => self.queue_read(token, read::ReadKind::Confirm, out),
            Event::Persisted(ticket) => {
                self.emit(out, || TraceKind::Persisted { ticket: ticket.0 });
                self.standing.persisted(ticket);
                self.raft.persisted(now, ticket, &mut self.ready);
            }
            Event::TakeCheckpoint => out.checkpoint = Some(self.checkpoint()),
            Event::CheckpointWritten { index } => self.on_checkpoint_written(index),
            Event::Settled(settled) => self.settled = Some(settled),
            Event::SettleAnew => self.anew = true,
            Event::Fetched(fetched) => self.hand.take(fetched),
            Event::Unreadable(fetch, why) => self.on_unreadable(&fetch, why, out),
            Event::Install(installed) => self.on_install(*installed, out),
            Event::SnapshotSent { to, ok } => {
                self.sending.remove(&to);
                self.raft.snapshot_done(now, to, ok, &mut self.ready);
            }
            Event::PeerLost(node) => {
                self.left.insert(node);
                self.raft.peer_lost(now, node, &mut self.ready);
            }
            Event::PeerFound(node) => self.raft.peer_found(now, node, &mut self.ready),
            Event::Repaired => self.raft.repaired(now, &mut self.ready),
            Event::TransferLeader { to } => self.raft.transfer(now, to, &mut self.ready),
        }
    }

    fn on_message(&mut self, message: PeerMessage, out: &mut Effects) {
        if message.to != self.settings.raft.id {
            return; // a frame for another life of this address
        }
        // Ids are what a stranger chooses.
        if self.raft.config().member(message.from).is_some() {
            self.heard.insert(message.from, self.now);
        }
        self.left.remove(&message.from);
        match message.body {
            PeerBody::Raft(inner) => {
                if inner.from == message.from {
                    self.raft.receive(self.now, inner, &mut self.ready);
                }
            }
            PeerBody::Forward(items) => self.on_forward(message.from, items),
            PeerBody::Change { id, ballot, caller, change } => {
                self.on_peer_change(message.from, id, ballot, (&caller, &change), out);
            }
            PeerBody::ChangeRefused { id, ballot, error } => {
                self.on_change_refused(id, ballot, error, out);
            }
            PeerBody::Removed => self.on_removed(message.from, out),
            PeerBody::StateHash { index, chain } => {
                self.on_state_hash(message.from, index, chain, out);
            }
        }
    }

    /// Carries out what consensus asked for until it asks for nothing more.
    fn settle(&mut self, out: &mut Effects) {
        let from = self.settings.raft.id;
        let mut ready = core::mem::take(&mut self.ready);
        let earlier = out.persist.last().map(|persist| persist.ticket);
        let first = ready.persist.first().map(|persist| persist.ticket);
        assert!(first.is_none_or(|first| earlier < Some(first)), "tickets rise");
        let seat = self.raft.is_taking_seat();
        ready.persist.iter_mut().for_each(|persist| self.standing.writes(persist, seat));
        out.persist.append(&mut ready.persist);
        for message in ready.messages.drain(..) {
            let to = message.to;
            assert!(to != from && message.from == from, "a member speaks for itself, to others");
            out.send.push(PeerMessage { from, to, body: PeerBody::Raft(message) });
        }
        for peer in ready.snapshots.drain(..) {
            self.sending.entry(peer).or_insert(self.checkpointed);
            out.snapshots.push(peer);
        }
        out.repaired = out.repaired.or(ready.repaired);
        if let Some(halt) = ready.halted.take() {
            return self.halt(halt, out);
        }
        for event in ready.trace.drain(..) {
            self.emit(out, || TraceKind::Raft(event));
        }
        for outcome in ready.reads.drain(..) {
            self.on_read_outcome(outcome);
        }
        self.apply_committed(out);
        self.look_at_standing(out);
        self.serve_reads(out);
        self.notice_leader();
    }

    /// Follows changes of leadership: parked and unanswered writes go to the new leader.
    fn notice_leader(&mut self) {
        let leading = self.raft.is_leader().then(|| self.raft.ballot());
        if leading != self.leading {
            self.leading = leading;
            self.revoking.clear();
            self.tail.clear();
            if let Some(ballot) = leading {
                self.read_tail();
                self.clock.lead(self.now, ballot);
                self.resend_all();
            }
        }
        let leader = self.raft.leader();
        if leader != self.followed {
            if leader.is_none() && self.followed == Some(self.settings.raft.id) {
                // Everybody who lived answered several heartbeats meanwhile.
                let silence = Nanos(self.settings.raft.election_timeout_min.0 / 2);
                self.left.extend(self.silent(silence, Nanos::ZERO));
            }
            self.followed = leader;
            self.leaderless_since = if leader.is_none() { Some(self.now) } else { None };
            if leader.is_some() {
                self.resend_all();
            }
        }
    }

    fn checkpoint(&self) -> CheckpointJob {
        let extra = Extra {
            stamp: self.clock.last(),
            dedupe: if planted!(DedupeLostInCheckpoint) {
                Dedupe::default()
            } else {
                self.dedupe.clone()
            },
            settled: self.raft.settled(),
        };
        let mut index = self.applied;
        if planted!(CheckpointIndexAhead) && self.raft.ballot_at(index.next()).is_some() {
            index = index.next();
        }
        assert!(
            self.raft.ballot_at(index).is_none_or(|at| at == self.applied_ballot)
                || index != self.applied,
            "an entry has one ballot"
        );
        CheckpointJob {
            view: self.store.view(),
            index,
            ballot: self.applied_ballot,
            config: self.raft.config_at(index).clone(),
            extra: extra.encode(),
        }
    }

    fn on_checkpoint_written(&mut self, index: LogIndex) {
        assert!(index <= self.applied, "a checkpoint holds applied entries only");
        self.checkpointed = self.checkpointed.max(index);
        let kept = self.settings.catchup_entries;
        let held = self.sending.values().min().map_or(index, |held| index.min(*held));
        // A transfer that takes for ever must not keep the log for ever.
        let least = index.0.saturating_sub(kept.saturating_mul(4).max(HELD_MIN));
        self.raft.compact(LogIndex(index.0.saturating_sub(kept).min(held.0.max(least))));
    }

    /// Names of the voting members that do not answer. Only a leader and a candidate are spoken
    /// to by everybody: a follower of a live leader names nobody, and a member that has lost its
    /// leader waits until the others had the time to campaign or to answer its own campaigns.
    pub fn missing(&self) -> Vec<String> {
        let timeout = self.settings.raft.election_timeout_min;
        let silent = match (self.raft.is_leader(), self.leaderless_since) {
            (true, _) => self.silent(timeout, Nanos::ZERO),
            (false, Some(since)) => self.silent(Nanos(3 * timeout.0), since),
            (false, None) => return Vec::new(),
        };
        let members = self.raft.config().members.iter();
        let away = |id: &NodeId| silent.contains(id) || self.left.contains(id);
        members.filter(|m| !m.learner && away(&m.id)).map(|m| m.name.clone()).collect()
    }

    /// Who was not heard from for that long, counted from `since` at the earliest.
    fn silent(&self, span: Nanos, since: Nanos) -> BTreeSet<NodeId> {
        let members = self.raft.config().members.iter().map(|m| m.id);
        let heard = |id: &NodeId| self.heard.get(id).copied().unwrap_or(Nanos::ZERO).max(since);
        let others = members.filter(|id| *id != self.settings.raft.id);
        others.filter(|id| self.now.since(heard(id)) >= span).collect()
    }

    /// Why no client may read, write or watch here, if so.
    pub fn serves_no_data(&self) -> Option<RefusalReason> {
        // A newcomer may be a witness to those that know it already, and take in entries and
        // checkpoints without data before it hears that. A leader has everything.
        let unheard = self.raft.config().slot_of(self.settings.raft.id).is_none();
        match () {
            () if self.diverged => Some(RefusalReason::Diverged),
            () if self.raft.is_witness() => Some(RefusalReason::Witness),
            () if unheard && !self.raft.is_leader() => Some(RefusalReason::NoMember),
            () => None,
        }
    }

    fn refusal(&self, reason: RefusalReason) -> Reply {
        Reply::Refused(Refusal { reason, leader: self.raft.leader(), missing: self.missing() })
    }

    /// `kind` is not asked for when nobody listens.
    fn emit(&self, out: &mut Effects, kind: impl FnOnce() -> TraceKind) {
        if self.settings.trace {
            let (node, at) = (self.settings.raft.id, self.now);
            out.trace.push(TraceEvent { node, at, kind: kind() });
        }
    }
}
