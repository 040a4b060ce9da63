//! The replica's owner: drains the inbox in natural batches, steps, carries out the effects.

use super::input::{Checkpointed, Control, Input};
use super::{End, Node};
use crate::peer::Link;
use base::{LogIndex, Nanos};
use replica::{Effects, Event};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until};

/// Inputs taken into one batch.
const BATCH_MAX: usize = 8192;

impl Node {
    /// Runs until a stop, a kill or a failure.
    pub(super) async fn run(self: Rc<Self>, mut inbox: UnboundedReceiver<Input>) -> End {
        let mut batch = Vec::new();
        let mut events = Vec::new();
        let mut effects = Effects::default();
        let timer = sleep_until(self.deadline());
        tokio::pin!(timer);
        loop {
            // A timer that fires early costs one empty step; moving it costs more.
            let deadline = self.deadline();
            if deadline < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(deadline);
            }
            let is_applying = self.replica.borrow().is_applying();
            tokio::select! {
                biased;
                n = inbox.recv_many(&mut batch, BATCH_MAX) => {
                    if n == 0 {
                        return End::Stopped;
                    }
                }
                // A long entry goes on at once; the timer would round up to a millisecond.
                () = tokio::task::yield_now(), if is_applying => {}
                () = &mut timer => {}
            }
            for input in batch.drain(..) {
                if let Some(end) = self.take(input, &mut events) {
                    return end;
                }
            }
            self.want_checkpoint(&mut events);
            let now = self.now();
            self.replica.borrow_mut().step_batch(now, events.drain(..), &mut effects);
            self.dispatch(&mut effects);
            self.notice_standing();
            if std::mem::take(&mut effects.removed) {
                return End::Removed(self.farewell());
            }
            if let Some(halt) = effects.halted.take() {
                return self.halt(format!("entry {}: {}", halt.index, halt.why), inbox).await;
            }
            if self.continue_stop() {
                return End::Stopped;
            }
        }
    }

    /// Nothing can be done here any more: says why to probes and clients until it is stopped. A
    /// process that ended would be started again and come to the same entry.
    async fn halt(self: &Rc<Self>, why: String, mut inbox: UnboundedReceiver<Input>) -> End {
        tracing::error!("halted: {why}");
        *self.halted.borrow_mut() = Some(why.clone());
        self.fail_all();
        while let Some(input) = inbox.recv().await {
            match input {
                Input::Control(Control::Stop) => break,
                Input::Control(Control::Kill) => return End::Killed,
                Input::Removed(text) => return End::Removed(text),
                Input::Control(Control::Status(reply)) => {
                    let _ = reply.send(self.replica.borrow().status());
                }
                // Nobody is left who would carry it out.
                _ => {}
            }
        }
        End::Failed(why)
    }

    /// Local monotonic time since the node's start.
    pub(super) fn now(&self) -> Nanos {
        Nanos(u64::try_from(self.started.elapsed().as_nanos()).expect("below 584 years"))
    }

    fn deadline(&self) -> Instant {
        let at = Duration::from_nanos(self.replica.borrow().deadline().0);
        // The runtime's timer counts milliseconds; an earlier stop check is a deadline too.
        let stop = self.stop.get().deadline();
        let at = self.started.checked_add(at).map_or_else(Instant::now, Into::into);
        stop.map_or(at, |stop| at.min(stop.into()))
    }

    fn take(self: &Rc<Self>, input: Input, events: &mut Vec<Event>) -> Option<End> {
        match input {
            Input::Event(event) => {
                if self.is_wanted(&event) {
                    events.push(event);
                }
            }
            Input::Peer(message) => {
                if !self.cut.borrow().contains(&message.from) {
                    events.push(Event::Message(message));
                }
            }
            Input::Persisted { ticket, bytes } => {
                self.checkpoint.borrow_mut().journal_bytes = bytes;
                events.push(Event::Persisted(ticket));
            }
            Input::DiskFailed(text) => return Some(End::Failed(text)),
            Input::Checkpointed(result) => self.checkpointed(result, events),
            Input::Installed(installed) => {
                self.disk.release(self.checkpoint.borrow_mut().installed(installed.index));
                self.replaced.set(true);
                events.push(Event::Install(installed));
            }
            Input::Removed(text) => return Some(End::Removed(text)),
            Input::PutBack(text) => {
                // Started often enough it would look new again.
                if let Err(error) = self.peers.met.borrow_mut().forswear(&text) {
                    tracing::error!("{error}");
                }
                return Some(End::Failed(text));
            }
            Input::PeerLost(node) => events.push(Event::PeerLost(node)),
            Input::PeerFound(node) => events.push(Event::PeerFound(node)),
            Input::CheckpointUnfit { written } => self.replace_checkpoint(written, events),
            Input::SnapshotSent { to, ok } => {
                self.sending.borrow_mut().remove(&to);
                events.push(Event::SnapshotSent { to, ok });
            }
            Input::Drained => return Some(End::Stopped),
            Input::Control(control) => return self.control(control, events),
        }
        None
    }

    fn control(self: &Rc<Self>, control: Control, events: &mut Vec<Event>) -> Option<End> {
        match control {
            Control::Kill => return Some(End::Killed),
            Control::Stop => self.begin_stop(events),
            Control::Cut(peers) => self.cut.borrow_mut().extend(peers),
            Control::Heal => self.cut.borrow_mut().clear(),
            Control::Trace(sink) => self.traces.borrow_mut().push(sink),
            Control::Status(reply) => {
                let _ = reply.send(self.replica.borrow().status());
            }
            Control::Propose(command, reply) => self.propose_for(command, reply),
            Control::Range(request, reply) => self.range_for(request, reply),
        }
        None
    }

    /// What a member that has left says last.
    fn farewell(&self) -> String {
        let (name, id, cluster) = (&self.config.name, self.peers.member.0, self.peers.cluster);
        format!("member {name} ({id:x}) was removed from cluster {cluster:x}")
    }

    /// Links follow the configuration, in force and committed.
    pub(super) fn follow_configuration(&self) {
        self.peers.follow(self.replica.borrow().raft());
    }

    fn dispatch(self: &Rc<Self>, effects: &mut Effects) {
        if effects.is_empty() && !self.replaced.get() {
            return;
        }
        for persist in effects.persist.drain(..) {
            self.disk.persist(persist);
        }
        if let Some(index) = effects.known.take() {
            self.disk.know(index);
        }
        if !effects.send.is_empty() {
            let cut = self.cut.borrow();
            for message in effects.send.drain(..).filter(|message| !cut.contains(&message.to)) {
                if let Some(link) = self.peers.members.link(message.to) {
                    link.push(&message);
                }
            }
            self.peers.members.for_each(Link::flush);
        }
        if self.replaced.take() || !effects.changes.is_empty() {
            let listeners = self.listeners.borrow().clone();
            listeners.iter().for_each(|listener| listener(&effects.changes));
            effects.changes.clear();
        }
        for (token, reply) in effects.replies.drain(..) {
            self.answer(token, reply);
        }
        for peer in effects.snapshots.drain(..) {
            self.send_checkpoint(peer);
        }
        if let Some(job) = effects.checkpoint.take() {
            self.peers.files.write_checkpoint(job, self.inbox.clone());
        }
        if let Some(index) = effects.diverged.take() {
            tracing::error!("state differs from a quorum's at index {index}: no longer serving");
        }
        if let Some(index) = effects.repaired.take() {
            self.end_repair(index);
        }
        if !effects.trace.is_empty() {
            let sinks = self.traces.borrow();
            effects.trace.iter().for_each(|event| sinks.iter().for_each(|sink| sink(event)));
            effects.trace.clear();
        }
        self.follow_configuration();
        self.notice_leader();
        if !effects.discard.is_empty() {
            let discard = std::mem::take(&mut effects.discard);
            // To free what a long entry left takes as long as the entry did.
            let name = std::thread::Builder::new().name("quorate-discard".into());
            if let Err(error) = name.spawn(move || drop(discard)) {
                tracing::warn!("freed here, which may take a while: {error}");
            }
        }
    }

    /// Logs and counts changes of leadership.
    fn notice_leader(&self) {
        let leader = self.replica.borrow().raft().leader();
        if leader == self.leader.get() {
            return;
        }
        self.leader.set(leader);
        match leader {
            Some(id) => {
                self.metrics.leader_changes.add(1);
                *self.last_failure.borrow_mut() = None;
                self.phase.send_if_modified(|phase| {
                    let first = *phase == super::Phase::Starting;
                    if first {
                        *phase = super::Phase::Ready;
                    }
                    first
                });
                let name = self.name_of(id);
                tracing::info!("leader is {name} ({:x})", id.0);
            }
            None => tracing::warn!("no leader"),
        }
    }

    /// A damaged member holds everything again. It votes once that is durable.
    fn end_repair(&self, index: LogIndex) {
        match self.peers.files.end_repair() {
            Ok(()) => {
                tracing::warn!("repaired: all up to index {index} is here again, voting");
                self.peers.send(Input::Event(Event::Repaired));
            }
            Err(error) => self.peers.send(Input::DiskFailed(error.to_string())),
        }
    }

    fn want_checkpoint(&self, events: &mut Vec<Event>) {
        let applied = self.replica.borrow().status().applied;
        if self.checkpoint.borrow_mut().wants(applied) {
            events.push(Event::TakeCheckpoint);
        }
    }

    fn replace_checkpoint(&self, written: u64, events: &mut Vec<Event>) {
        if self.checkpoint.borrow_mut().replaces(written) {
            tracing::error!("the newest checkpoint is gone or damaged: writing another one");
            events.push(Event::TakeCheckpoint);
        }
    }

    fn checkpointed(&self, result: Result<Checkpointed, String>, events: &mut Vec<Event>) {
        let mut state = self.checkpoint.borrow_mut();
        match result {
            Ok(Checkpointed { index, bytes }) => {
                tracing::info!("checkpoint at index {index}, {bytes} bytes");
                self.disk.release(state.written(index, bytes));
                events.push(Event::CheckpointWritten { index });
            }
            Err(text) => {
                tracing::error!("no checkpoint: {text}");
                let leads = self.replica.borrow().raft().is_leader();
                if state.failed(self.now(), leads) {
                    tracing::error!("a peer needs a checkpoint: another member is to lead");
                    events.push(Event::TransferLeader { to: None });
                }
            }
        }
    }

    fn send_checkpoint(self: &Rc<Self>, to: base::NodeId) {
        if !self.sending.borrow_mut().insert(to) {
            return; // one transfer at a time to each peer
        }
        if self.cut.borrow().contains(&to) {
            self.peers.send(Input::SnapshotSent { to, ok: false });
            return;
        }
        let hollow = self.replica.borrow().raft().config().is_witness(to);
        let written = self.checkpoint.borrow().written;
        crate::peer::bulk::send(to, hollow, written, &self.peers);
    }
}
