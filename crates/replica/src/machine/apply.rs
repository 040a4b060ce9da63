//! Apply: committed entries become state, replies and changes in the same step. A long one takes
//! several steps, and nobody sees anything of it before the last.

use super::Replica;
use super::extra::Extra;
use crate::envelope::{Envelope, EnvelopeBody};
use crate::{Effects, Halt, Installed, PeerBody, PeerMessage, Reply, TraceKind, UnknownReason};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use base::codec::{DecodeError, Get};
use base::limits::HASHES_MAX;
use base::{ClusterTime, LogIndex, NodeId, RequestId, planted};
use consensus::raft::{Entry, EntryKind};
use mvcc::{Budget, Caller, Command, Fetch, Hand, Progress};
use quorum::NodeSet;

/// Every so many entries the members compare their chain hashes.
const HASH_EVERY: u64 = 256;

/// An entry whose turn it is. What it does to the machine itself is done with its data's job, so
/// that everything else, a checkpoint too, goes by the last applied one meanwhile.
struct Entering {
    entry: Entry,
    what: What,
}

enum What {
    /// Empty, or a configuration.
    Bare,
    /// Only moves cluster time; with an id, the repetition of a request.
    Mark(ClusterTime, Option<RequestId>),
    Command(ClusterTime, RequestId),
}

impl What {
    fn stamp(&self) -> Option<ClusterTime> {
        match self {
            Self::Bare => None,
            Self::Mark(stamp, _) | Self::Command(stamp, _) => Some(*stamp),
        }
    }
}

/// One that takes more than one step.
pub(super) struct Running {
    entering: Entering,
    job: Box<mvcc::Job>,
}

impl Running {
    pub(super) fn index(&self) -> LogIndex {
        self.entering.entry.index
    }
}

impl Replica {
    /// Applies what is committed, as far as the step's budget goes.
    pub(super) fn apply_committed(&mut self, out: &mut Effects) {
        let mut budget = Budget::new(self.settings.apply_budget);
        while budget.is_left() && self.is_applying() {
            let (entering, progress) = match self.running.take() {
                Some(Running { entering, job }) => {
                    (entering, self.store.run(job, &mut self.hand, &mut budget))
                }
                None => match self.begin_next(&mut budget) {
                    Ok(begun) => begun,
                    Err(why) => {
                        let index = self.applied.next();
                        return self.halt(Halt { index, why: alloc::format!("{why}") }, out);
                    }
                },
            };
            match progress {
                Progress::Running(job) => {
                    self.running = Some(Running { entering, job });
                    if self.hand.waits() {
                        out.fetch = self.hand.asked();
                    }
                }
                Progress::Done(done) => {
                    self.hand = Hand::default();
                    self.applied(&entering, done, out);
                }
            }
        }
    }

    /// A version that the entry under way needs is damaged here. What it would do to the data
    /// nobody can say here, so nothing more is said.
    pub(super) fn on_unreadable(&mut self, fetch: &Fetch, why: String, out: &mut Effects) {
        let Some(running) = &self.running else { return };
        // Another one is late: it was for an entry that an installed checkpoint holds.
        if self.hand.waits_for(fetch) {
            let index = running.index();
            self.halt(Halt { index, why }, out);
        }
    }

    /// What it would say from here on is not known to be true.
    pub(super) fn halt(&mut self, halt: Halt, out: &mut Effects) {
        self.halted = true;
        self.hand = Hand::default();
        out.halted = Some(halt);
        out.discard.push(self.running.take().map(|running| running.job));
    }

    /// Keeps what is applied in few layers: takes in what was merged, and has what is due merged. A
    /// long entry goes by the layers that it began on.
    pub(super) fn merge(&mut self, out: &mut Effects) {
        if self.halted || self.running.is_some() {
            return;
        }
        if let Some(settled) = self.settled.take() {
            out.discard.append(self.store.settled(*settled));
        }
        let (least, bytes_max) = (self.settings.settle_versions, self.settings.settle_bytes);
        let mut settling = self.store.settle_within(least, bytes_max);
        if settling.is_none() && self.anew {
            settling = self.store.settle_anew();
        }
        if settling.is_some() {
            (out.settle, self.anew) = (settling, false);
        }
    }

    /// Whether there is more to apply at once: until then the machine wants to be stepped. Not
    /// while what is next waits for versions to be fetched.
    pub fn is_applying(&self) -> bool {
        let committed = self.raft.commit().min(self.standing.limit());
        let is_behind = self.running.is_some() || self.applied < committed;
        !self.halted && is_behind && !self.hand.waits()
    }

    fn begin_next(&mut self, budget: &mut Budget) -> Result<(Entering, Progress), DecodeError> {
        assert!(self.running.is_none(), "entries are applied one after the other");
        let index = self.applied.next();
        assert!(index <= self.raft.commit(), "only what is committed is applied");
        let entry = self.raft.entries(index, index).next();
        let entry = entry.expect("committed entries are in the log").clone();
        assert!(entry.index == index, "the log is contiguous");
        let (what, request) = self.read(&entry)?;
        let mut time = self.clock.after(what.stamp());
        if planted!(LocalTimeApplied) && what.stamp().is_some() {
            time = self.clock.estimate(self.now);
        }
        if planted!(RunningInCheckpoint)
            && let What::Command(_, id) = what
            && id.seq > 0
        {
            self.dedupe.insert(id);
        }
        let progress = self.store.begin((index, time), request, &mut self.hand, budget);
        Ok((Entering { entry, what }, progress))
    }

    fn read(&mut self, entry: &Entry) -> Result<(What, Option<(Caller, Command)>), DecodeError> {
        if entry.kind != EntryKind::Data {
            return Ok((What::Bare, None));
        }
        let Envelope { id, stamp, caller, body } = Envelope::decode(&entry.payload)?;
        let EnvelopeBody::Command(bytes) = body else {
            return Ok((What::Mark(stamp, None), None));
        };
        if id.seq > 0 && !self.is_new(id, entry.index) && !planted!(DedupeOff) {
            Command::decode(&mut Get::new(bytes))?;
            return Ok((What::Mark(stamp, Some(id)), None));
        }
        let command = match self.held(id) {
            Some(command) => command,
            None => Command::decode(&mut Get::new(bytes))?,
        };
        debug_assert_eq!(Command::decode(&mut Get::new(bytes)).as_ref(), Ok(&command), "it is it");
        Ok((What::Command(stamp, id), Some((caller, command))))
    }

    /// The command of this request, if it is here decoded: it came by this leader's hands, or from
    /// a client here.
    fn held(&mut self, id: RequestId) -> Option<Command> {
        if id.seq == 0 {
            return None;
        }
        if let Some(held) = self.tail.get_mut(&id).and_then(Option::take) {
            return Some(held);
        }
        let is_own = id == self.own_id(id.seq);
        self.writes.command(id.seq).filter(|_| is_own).cloned()
    }

    /// The data has come to the entry, and so does everything else.
    fn applied(&mut self, entering: &Entering, done: mvcc::Done, out: &mut Effects) {
        let Entering { entry, what } = entering;
        let index = entry.index;
        assert!(index == self.applied.next(), "entries apply in order");
        assert!(self.store.applied_index() == index, "the data has come to the entry");
        assert!(entry.ballot >= self.applied_ballot, "ballots rise along the log");
        if entry.kind == EntryKind::Config {
            self.apply_config(entry, out);
        }
        if let Some(stamp) = what.stamp() {
            self.clock.apply(stamp, entry.ballot, self.now);
        }
        let mvcc::Done { applied, discard } = done;
        let has_command = matches!(what, What::Command(..));
        assert_eq!(applied.is_some(), has_command, "a command has a result, and nothing else");
        match *what {
            What::Bare | What::Mark(_, None) => self.trace_applied(index, None, out),
            What::Mark(_, Some(id)) => {
                self.tail.remove(&id);
                self.emit(out, || TraceKind::Deduplicated { index, id });
            }
            What::Command(_, id) => {
                self.tail.remove(&id);
                if id.seq > 0 {
                    self.dedupe.insert(id);
                }
                self.trace_applied(index, Some(id), out);
                let applied = applied.expect("a command has its result");
                self.tell(index, id, applied, !discard.is_empty(), out);
            }
        }
        out.discard.append(discard);
        self.applied = index;
        self.applied_ballot = entry.ballot;
        self.compare_hashes(index, out);
    }

    fn tell(
        &mut self,
        index: LogIndex,
        id: RequestId,
        applied: mvcc::Applied,
        is_long: bool,
        out: &mut Effects,
    ) {
        if let Some(changes) = applied.changes {
            let newest = self.store.revision();
            assert_eq!(changes.revision, newest, "an entry makes the newest revision");
            out.changes.push(changes);
        }
        let is_own = id.origin == self.settings.raft.id && id.incarnation == self.incarnation();
        if is_own && let Some(write) = self.writes.remove(id.seq) {
            let reply = Reply::Applied { index, result: applied.result };
            out.replies.push((write.token, reply));
            self.emit(out, || TraceKind::Replied { id });
        } else if is_long {
            out.discard.push(applied.result);
        }
    }

    /// Whether a request is applied for the first time. The window of a member that has left is
    /// gone, so what comes from it later counts as seen: its origin says *unknown*.
    fn is_new(&self, id: RequestId, index: LogIndex) -> bool {
        let known = self.raft.config_at(index).member(id.origin).is_some();
        (known || planted!(LeftOriginApplies)) && self.dedupe.takes(id)
    }

    fn trace_applied(&self, index: LogIndex, id: Option<RequestId>, out: &mut Effects) {
        self.emit(out, || {
            let (revision, chain) = (self.store.revision(), self.store.chain_hash());
            TraceKind::Applied { index, id, revision, chain }
        });
    }

    /// At fixed indexes a follower tells the leader its chain hash, and the leader everyone.
    fn compare_hashes(&mut self, index: LogIndex, out: &mut Effects) {
        if !index.0.is_multiple_of(HASH_EVERY) || self.raft.is_witness() {
            return; // a witness has no state to compare
        }
        let chain = self.store.chain_hash();
        self.hashes.insert(index, chain);
        if self.hashes.len() > HASHES_MAX {
            self.hashes.pop_first();
        }
        assert!(self.hashes.contains_key(&index), "the newest is kept");
        let me = self.settings.raft.id;
        for member in &self.raft.config().members {
            if member.id != me {
                let body = PeerBody::StateHash { index, chain };
                out.send.push(PeerMessage { from: me, to: member.id, body });
            }
        }
        self.judge(index, out);
    }

    /// Another member's hash; it may come before or after this replica applied that index.
    pub(super) fn on_state_hash(
        &mut self,
        from: NodeId,
        index: LogIndex,
        chain: u64,
        out: &mut Effects,
    ) {
        if self.raft.config().slot_of(from).is_none() {
            return;
        }
        let votes = self.hash_votes.entry(index).or_default();
        votes.retain(|(voter, _)| *voter != from);
        votes.push((from, chain));
        if self.hash_votes.len() > HASHES_MAX {
            self.hash_votes.pop_first();
        }
        self.judge(index, out);
    }

    /// A replica stops serving when it differs from members that agree at the same index, are a
    /// commit set, and leave none to the others; and when no commit set can agree there any more:
    /// then nobody knows which state is right. A leader hands over. Where one member commits alone
    /// its word against the others' convicts nobody (`docs/design/evidence.md`).
    fn judge(&mut self, index: LogIndex, out: &mut Effects) {
        let (Some(own), Some(votes)) = (self.hashes.get(&index), self.hash_votes.get(&index))
        else {
            return;
        };
        let config = self.raft.config();
        let mut agreeing: BTreeMap<u64, NodeSet> = BTreeMap::new();
        let witnesses = config.witnesses();
        let mut silent = config.voters().minus(witnesses);
        let commit = config.system().commit();
        // A witness has no state. Where the data members are a commit set they decide alone,
        // elsewhere it agrees with everybody.
        let granted = if commit.is_quorum(silent) { NodeSet::new() } else { witnesses };
        let me = config.slot_of(self.settings.raft.id).map(|slot| (slot, *own));
        let slotted = |(id, chain): &(NodeId, u64)| Some((config.slot_of(*id)?, *chain));
        let votes = votes.iter().filter_map(slotted);
        let votes = votes.filter(|(slot, _)| !witnesses.contains(*slot));
        for (slot, chain) in votes.chain(me) {
            agreeing.entry(chain).or_insert(granted).insert(slot);
            silent.remove(slot);
        }
        assert!(silent.minus(witnesses) == silent, "a witness has nothing to say");
        let convicts =
            |by: NodeSet| commit.is_quorum(by) && (commit.blocks(by) || planted!(OneConvictsAll));
        let contradicted = agreeing.iter().any(|(chain, by)| chain != own && convicts(*by));
        let undecidable = agreeing.values().all(|by| !commit.is_quorum(by.union(silent)));
        if (contradicted || undecidable) && !self.diverged {
            self.diverged = true;
            out.diverged = Some(index);
            self.emit(out, || TraceKind::Diverged { index });
            if self.raft.is_leader() {
                self.raft.transfer(self.now, None, &mut self.ready);
            }
        }
    }

    pub(super) fn check_hashes(&self) {
        assert!(self.hashes.len() <= HASHES_MAX, "past hashes are bounded");
        assert!(self.hash_votes.len() <= HASHES_MAX, "what others say of them too");
        let last = self.hashes.last_key_value().map(|(index, _)| *index);
        assert!(last.is_none_or(|last| last <= self.applied), "a hash is of what is applied");
    }

    pub(super) fn on_install(&mut self, installed: Installed, out: &mut Effects) {
        if installed.index <= self.applied {
            // A late transfer: the log has passed it. The leader waits for an answer all the same.
            self.raft.checkpoint_passed(self.now, &mut self.ready);
            return;
        }
        if !self.raft.reaches(installed.ballot) {
            return; // nobody can have had it
        }
        if installed.store.applied_index() != installed.index && !planted!(CheckpointIndexAhead) {
            return; // the data is not that of its place in the log
        }
        let Ok(Extra { stamp, dedupe, settled }) = Extra::decode(&installed.extra) else {
            return; // verified by its file's digest; an unknown version is left alone
        };
        if !self.raft.reaches(settled) {
            return;
        }
        let index = installed.index;
        let place = (index, installed.ballot, settled);
        self.raft.installed(self.now, place, installed.config, &mut self.ready);
        // What was under way is in the checkpoint.
        let store = if self.raft.is_witness() {
            // Only the place in the log is kept, whatever the file held.
            let mut empty = mvcc::Store::new(installed.store.limits());
            empty.advance(index, stamp);
            empty
        } else {
            installed.store
        };
        out.discard.push(core::mem::replace(&mut self.store, store));
        // All of it came into memory.
        self.anew = is_all_in_memory(&self.store);
        if !planted!(JobSurvivesInstall) {
            out.discard.push(self.running.take().map(|running| running.job));
        }
        self.hand = Hand::default();
        self.dedupe = dedupe;
        self.clock = crate::clock::ClusterClock::new(stamp, self.now);
        assert!(index > self.applied, "a checkpoint takes a member forward");
        self.applied = index;
        self.applied_ballot = installed.ballot;
        self.hashes.clear();
        self.standing.installed(self.raft.last().0);
        self.emit(out, || TraceKind::Installed { index });
        self.changes_in_checkpoint(out);
        for seq in self.writes.seqs() {
            if self.dedupe.contains(self.own_id(seq))
                && let Some(write) = self.writes.remove(seq)
            {
                self.give_up(seq, &write, UnknownReason::InCheckpoint, out);
            }
        }
    }
}

/// Whether there is data, and none of it in files, which is where it belongs.
pub(super) fn is_all_in_memory(store: &mvcc::Store) -> bool {
    store.revision() > 1 && store.files().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::alone::{alone_with, first_of};
    use crate::{Event, Forwarded};
    use alloc::vec;
    use base::limits::COMMAND_BYTES_MAX;
    use base::{Incarnation, Nanos};

    #[test]
    fn a_committed_entry_that_cannot_be_read_halts_the_machine_and_is_named() {
        let mut newer = Envelope {
            id: RequestId::default(),
            stamp: base::ClusterTime(1),
            caller: Caller::nobody(),
            body: EnvelopeBody::Mark,
        }
        .encode()
        .to_vec();
        let mut older = newer.clone();
        newer[2] = 9; // the low byte of the apply level
        older[2] = 2;
        for payload in [&newer[..], &older, b"", b"\xff\xff\xff"] {
            let mut replica = alone_with(payload);
            let mut out = Effects::default();
            replica.step(Nanos::from_millis(1), Event::Tick, &mut out);
            let halt = out.halted.take().expect("the entry is committed and unreadable");
            assert_eq!(halt.index, LogIndex(1));
            assert!(!halt.why.is_empty());
            assert_eq!(replica.status().applied, LogIndex::ZERO);
            out.clear();
            replica.step(Nanos::from_millis(9_000), Event::Tick, &mut out);
            assert!(out.is_empty(), "a halted machine says nothing more");
        }
    }

    #[test]
    fn states_are_compared_among_data_members_and_a_witness_stands_in_nobodys_way() {
        let index = LogIndex(HASH_EVERY);
        let three = (&["a", "b", "w"][..], "majority(a, b, witness(w))");
        let all = (&["a", "b", "w"][..], "all of (a, b, witness(w))");
        let two = (&["a", "w"][..], "all of (a, witness(w))");
        for ((names, quorum), told, diverged) in [
            (three, &[][..], false),
            (three, &[(2, 5)], false),
            (three, &[(2, 6)], true), // nobody can tell which state is right
            (three, &[(2, 5), (3, 6)], false), // a witness has no state
            (all, &[(2, 5)], false),
            (all, &[(2, 6)], true),
            (two, &[], false),
        ] {
            let mut replica = first_of(names, quorum, b"");
            let mut out = Effects::default();
            replica.hashes.insert(index, 5);
            replica.hash_votes.entry(index).or_default();
            replica.judge(index, &mut out);
            for (node, chain) in told {
                replica.on_state_hash(NodeId(*node), index, *chain, &mut out);
            }
            assert_eq!(replica.diverged, diverged, "{quorum} {told:?}");
        }
    }

    #[test]
    fn a_forward_longer_than_any_origin_sends_does_not_reach_the_log() {
        let mark = EnvelopeBody::Mark;
        let (id, caller) = (RequestId::default(), Caller::nobody());
        let mark = Envelope { id, stamp: ClusterTime(1), caller, body: mark }.encode();
        let mut replica = first_of(&["a", "b"], "1 of (a)", &mark);
        let mut now = Nanos::from_millis(1);
        let mut step = |replica: &mut Replica, event| {
            let (mut out, mut events) = (Effects::default(), vec![event]);
            while let Some(event) = events.pop() {
                now = now.plus(Nanos::from_millis(2000));
                replica.step(now, event, &mut out);
                let durable = out.persist.drain(..).map(|persist| persist.ticket);
                events.extend(durable.map(Event::Persisted));
            }
            out.discard.is_empty()
        };
        step(&mut replica, Event::Tick);
        assert!(replica.status().is_leader);
        let lens = [(1, COMMAND_BYTES_MAX, 0), (2, COMMAND_BYTES_MAX - 100, 1), (3, 10, 1)];
        for (seq, len, taken) in lens {
            let put = mvcc::PutRequest {
                key: b"k"[..].into(),
                value: vec![0; len].into(),
                ..mvcc::PutRequest::default()
            };
            let mut command = vec![];
            Command::Put(put).encode(&mut command);
            let id = RequestId { origin: NodeId(2), incarnation: Incarnation(1), seq };
            let write = Forwarded { id, caller: Caller::nobody(), command: command.into() };
            let body = PeerBody::Forward(vec![write]);
            let before = replica.status().last.0;
            let (from, to) = (NodeId(2), NodeId(1));
            let freed = step(&mut replica, Event::Message(PeerMessage { from, to, body }));
            assert_eq!(replica.status().last.0 - before, taken, "{len}");
            assert!(freed || len > 10, "a short entry leaves nothing to be dropped elsewhere");
        }
    }

    #[test]
    fn what_a_member_asked_for_before_it_left_is_never_applied_again() {
        let mut replica = first_of(&["a", "b"], "all of (a, b)", b"");
        let id = |origin| RequestId { origin: NodeId(origin), seq: 1, ..RequestId::default() };
        assert!(replica.is_new(id(2), LogIndex(1)));
        assert!(replica.dedupe.insert(id(2)) && !replica.is_new(id(2), LogIndex(1)));
        assert!(!replica.is_new(id(9), LogIndex(1)), "its window is gone, or never was");
    }

    #[test]
    fn one_corrupt_member_convicts_nobody_where_one_member_commits() {
        let index = LogIndex(HASH_EVERY);
        let one = "elect = all of (a, b, c); commit = 1 of (a, b, c)";
        let two = "elect = 4 of (a, b, c, d, e); commit = 2 of (a, b, c, d, e)";
        let (three, five) = (&["a", "b", "c"][..], &["a", "b", "c", "d", "e"][..]);
        for (names, quorum, told, diverged) in [
            (three, one, &[(2, 6)][..], false),
            (three, one, &[(2, 5), (3, 6)], false),
            (three, one, &[(2, 6), (3, 6)], false), // its own word is a commit set too
            (five, two, &[(2, 6), (3, 6)], false),  // the others may be right
            (five, two, &[(2, 6), (3, 6), (4, 6), (5, 6)], true), // it commits nothing alone
        ] {
            let mut replica = first_of(names, quorum, b"");
            let mut out = Effects::default();
            replica.hashes.insert(index, 5);
            for (node, chain) in told {
                replica.on_state_hash(NodeId(*node), index, *chain, &mut out);
            }
            assert_eq!(replica.diverged, diverged, "{quorum} {told:?}");
        }
    }

    #[test]
    fn a_replica_serves_on_while_a_commit_set_may_still_agree_with_it_and_stops_otherwise() {
        let index = LogIndex(HASH_EVERY);
        for (told, diverged) in [
            (&[(2, 5), (3, 6)][..], false), // this one and the second are a majority
            (&[(2, 6)], false),             // the third may agree with either
            (&[(2, 6), (3, 6)], true),      // a majority differs
            (&[(2, 6), (3, 7)], true),      // nobody can tell which state is right
            (&[(9, 6), (8, 6)], false),     // strangers say nothing
        ] {
            let mut replica = first_of(&["a", "b", "c"], "majority(a, b, c)", b"");
            let mut out = Effects::default();
            replica.hashes.insert(index, 5);
            for (node, chain) in told {
                replica.on_state_hash(NodeId(*node), index, *chain, &mut out);
            }
            assert_eq!(replica.diverged, diverged, "{told:?}");
            assert_eq!(out.diverged, diverged.then_some(index), "{told:?}");
        }
    }
}
