//! The replica's owner: drains the inbox in natural batches, steps, shows how it stands, carries
//! out the effects.

use super::End;
use super::asked::{Inputs, Queue};
use super::helpers::Helpers;
use super::input::{Checkpointed, Control, Input, Told, Word};
use super::show::Shown;
use crate::board::Board;
use crate::config::Config;
use crate::disk::Log;
use crate::metrics::Metrics;
use crate::node::Phase;
use crate::peer::{Shared, mend};
use crate::pool::Threads;
use crate::record::Tap;
use base::{Nanos, NodeId, Token};
use member::{CheckpointState, Publisher, Stop, Transfers, Unfit};
use replica::{Effects, Event, Replica};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant as Moment};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use trace::What;

/// Inputs taken into one batch.
const BATCH_MAX: usize = 8192;

/// The state of one member; lives on its own thread.
pub(super) struct Voter {
    pub(super) config: Arc<Config>,
    pub(super) replica: Replica,
    pub(super) disk: Log,
    pub(super) peers: Rc<Shared>,
    pub(super) inbox: UnboundedSender<Input>,
    pub(super) desk: UnboundedSender<Word>,
    pub(super) board: Arc<Board>,
    pub(super) shown: Shown,
    pub(super) threads: Arc<Threads>,
    pub(super) helpers: Helpers,
    pub(super) started: Moment,
    pub(super) tap: Tap,
    pub(super) cut: BTreeSet<NodeId>,
    /// Peers a checkpoint is on its way to.
    pub(super) transfers: Transfers,
    /// Others are being asked for values that cannot be read here.
    pub(super) mending: bool,
    pub(super) checkpoint: CheckpointState,
    /// The store was replaced by a checkpoint.
    pub(super) replaced: bool,
    /// The desk has heard that the member is current.
    pub(super) stands: bool,
    pub(super) leader: Option<NodeId>,
    pub(super) publisher: Publisher,
    pub(super) stop: Stop,
    pub(super) quota_bytes: u64,
    pub(super) metrics: Arc<Metrics>,
    pub(super) phase: watch::Sender<Phase>,
    /// What has arrived and is for a later step.
    pub(super) inputs: Inputs,
    /// Requests of clients that are.
    pub(super) asked: Queue,
    /// Requests of this batch that came too late.
    pub(super) late: Vec<Token>,
}

impl Drop for Voter {
    /// Also when it panics: nobody is to wait for a thread that is gone.
    fn drop(&mut self) {
        self.board.close();
        let _ = self.desk.send(Word::Close { at_once: true });
    }
}

impl Voter {
    /// Runs until a stop, a kill or a failure.
    pub(super) async fn run(&mut self, inbox: &mut UnboundedReceiver<Input>) -> End {
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
            let is_applying = self.replica.is_applying();
            let goes_on = is_applying || !self.asked.is_empty() || !self.inputs.is_empty();
            tokio::select! {
                biased;
                n = inbox.recv_many(&mut batch, BATCH_MAX), if self.inputs.is_empty() => {
                    if n == 0 {
                        return End::Stopped;
                    }
                }
                // What is left goes on at once; the timer would round up to a millisecond.
                () = tokio::task::yield_now(), if goes_on => {}
                () = &mut timer => {}
            }
            self.inputs.begin(&mut batch);
            while let Some(input) = self.inputs.next() {
                if let Some(end) = self.take(input, &mut events) {
                    return end;
                }
            }
            self.asked.take(Moment::now(), &mut events, &mut self.late);
            self.want_checkpoint(&mut events);
            let now = self.now();
            events.extend(self.publish(now));
            // What a long entry does is not to be seen before it is done.
            if !is_applying {
                self.board.take_down();
            }
            self.replica.step_batch(now, events.drain(..), &mut effects);
            self.put_up(now);
            self.dispatch(&mut effects);
            if std::mem::take(&mut effects.removed) {
                return End::Removed(self.farewell());
            }
            if let Some(halt) = effects.halted.take() {
                return self.halt(format!("entry {}: {}", halt.index, halt.why), inbox).await;
            }
            if self.go_on_with_stop() {
                return End::Stopped;
            }
        }
    }

    /// Nothing can be done here any more: says why to probes and clients until it is stopped. A
    /// process that ended would be started again and come to the same entry.
    async fn halt(&mut self, why: String, inbox: &mut UnboundedReceiver<Input>) -> End {
        tracing::error!("halted: {why}");
        let picture = self.shown.picture(&self.replica, self.quota_bytes, Some(why.clone()));
        self.board.show(picture);
        let _ = self.desk.send(Word::Halted);
        while let Some(input) = inbox.recv().await {
            match input {
                Input::Control(Control::Stop) => break,
                Input::Control(Control::Kill) => return End::Killed,
                Input::Removed(text) => return End::Removed(text),
                Input::Failed(text) => return End::Failed(text),
                Input::PutBack(text) => return self.put_back(text),
                Input::Control(Control::Look(look)) => look(&self.replica),
                // Nobody is left who would carry it out.
                _ => {}
            }
        }
        End::Failed(why)
    }

    /// Local monotonic time since the member's start.
    pub(super) fn now(&self) -> Nanos {
        Nanos(u64::try_from(self.started.elapsed().as_nanos()).expect("below 584 years"))
    }

    fn deadline(&self) -> Instant {
        let others = [self.publisher.due(self.replica.raft()), self.stop.deadline()];
        let due = others.into_iter().flatten().fold(self.replica.deadline(), Nanos::min);
        let at = self.started.checked_add(Duration::from_nanos(due.0));
        at.map_or_else(Instant::now, Into::into)
    }

    fn publish(&mut self, now: Nanos) -> Option<Event> {
        let met = self.peers.met.borrow();
        self.publisher.look(now, self.replica.raft(), |id| met.said(id))
    }

    fn take(&mut self, input: Input, events: &mut Vec<Event>) -> Option<End> {
        match input {
            Input::Asked(all) => self.asked.extend(all),
            Input::Event(event) => events.push(event),
            // Its room is free again: until the step that follows, nothing is read.
            Input::Peer(message, _room) => {
                if !self.cut.contains(&message.from) {
                    events.push(Event::Message(message));
                }
            }
            Input::Persisted { ticket, bytes } => {
                self.checkpoint.journal_bytes = bytes;
                events.push(Event::Persisted(ticket));
            }
            Input::Failed(text) => {
                self.tap.say(self.now(), || What::DiskFailed { why: text.clone() });
                return Some(End::Failed(text));
            }
            Input::Checkpointed(result) => self.checkpointed(result, events),
            Input::Installed(installed) => {
                self.disk.release(self.checkpoint.installed(installed.index));
                self.replaced = true;
                events.push(Event::Install(installed));
            }
            Input::Removed(text) => return Some(End::Removed(text)),
            Input::PutBack(text) => return Some(self.put_back(text)),
            Input::Repaired(index) => {
                self.tap.say(self.now(), || What::Repaired { index: index.0 });
                tracing::warn!("repaired: all up to index {index} is here again, voting");
                events.push(Event::Repaired);
            }
            Input::PeerLost(node) => events.push(Event::PeerLost(node)),
            Input::PeerFound(node) => events.push(Event::PeerFound(node)),
            Input::CheckpointUnfit { written } => self.replace_checkpoint(written, events),
            Input::Damaged => {
                let wounds = self.peers.files.archive.wounds();
                if wounds.has_bare() {
                    events.push(Event::SettleAnew);
                }
                if wounds.asks() {
                    self.mend(Duration::ZERO);
                }
            }
            Input::CheckpointDamaged => {
                self.replace_checkpoint(self.checkpoint.written, events);
            }
            Input::Superseded { superseded, of } => self.checkpoint.superseded(superseded, of),
            Input::Mended { gave, pause } => {
                self.mending = false;
                if gave {
                    events.push(Event::SettleAnew);
                }
                if self.peers.files.archive.wounds().asks() {
                    self.mend((2 * pause).clamp(mend::PAUSE_MIN, mend::PAUSE_MAX));
                }
            }
            Input::SnapshotSent { to, ok } => {
                self.transfers.end(to);
                events.push(Event::SnapshotSent { to, ok });
            }
            Input::Drained => return self.stop.drained().then_some(End::Stopped),
            Input::Control(control) => return self.control(control, events),
        }
        None
    }

    fn control(&mut self, control: Control, events: &mut Vec<Event>) -> Option<End> {
        match control {
            Control::Kill => return Some(End::Killed),
            Control::Stop => self.begin_stop(events),
            Control::Cut(peers) => self.cut.extend(peers),
            Control::Heal => self.cut.clear(),
            Control::Record(events_max) => {
                self.tap.keep(events_max);
                self.replica.set_tracing(self.tap.is_open());
            }
            Control::Trace(sink) => {
                self.tap.listen(sink);
                self.replica.set_tracing(self.tap.is_open());
            }
            Control::Look(look) => look(&self.replica),
        }
        None
    }

    /// Started often enough it would look new again.
    fn put_back(&self, why: String) -> End {
        self.peers.notes.forswear(self.peers.met.borrow().forswear(&why));
        End::Failed(why)
    }

    /// What a member that has left says last.
    fn farewell(&self) -> String {
        let (name, id, cluster) = (&self.config.name, self.peers.member.0, self.peers.cluster);
        format!("member {name} ({id:x}) was removed from cluster {cluster:x}")
    }

    fn want_checkpoint(&mut self, events: &mut Vec<Event>) {
        let applied = self.replica.status().applied;
        if self.checkpoint.wants(applied) {
            events.push(Event::TakeCheckpoint);
        }
    }

    fn replace_checkpoint(&mut self, written: u64, events: &mut Vec<Event>) {
        let leads = self.replica.raft().is_leader();
        match self.checkpoint.unfit(written, self.now(), leads) {
            Unfit::Newer | Unfit::Helpless => {}
            Unfit::Replace => {
                tracing::error!("the newest checkpoint is gone or damaged: writing another one");
                events.push(Event::TakeCheckpoint);
            }
            Unfit::HandOver => {
                tracing::error!("no peer can have what is kept here: another member is to lead");
                events.push(Event::TransferLeader { to: None });
            }
        }
    }

    /// Has others asked for values that cannot be read here, unless they are being asked.
    fn mend(&mut self, pause: Duration) {
        if !std::mem::replace(&mut self.mending, true) {
            if let Some(first) = self.peers.files.archive.wounds().next_ask(i64::MIN) {
                let (at, of) = (first.start, self.peers.files.archive.wounds().len());
                tracing::error!("{of} ranges of values cannot be read, the first at revision {at}");
            }
            mend::begin(self.replica.raft().config(), pause, &self.peers);
        }
    }

    fn checkpointed(&mut self, result: Result<Checkpointed, String>, events: &mut Vec<Event>) {
        match result {
            Ok(Checkpointed { index, bytes }) => {
                tracing::info!("checkpoint at index {index}, {bytes} bytes");
                self.tap.say(self.now(), || What::Checkpoint { index: index.0 });
                self.disk.release(self.checkpoint.written(index, bytes));
                self.helpers.merger.tidy();
                events.push(Event::CheckpointWritten { index });
            }
            Err(text) => {
                tracing::error!("no checkpoint: {text}");
                let leads = self.replica.raft().is_leader();
                if self.checkpoint.failed(self.now(), leads) {
                    tracing::error!("a peer needs a checkpoint: another member is to lead");
                    events.push(Event::TransferLeader { to: None });
                }
            }
        }
    }

    /// Those of the batch that came too late, to be told so.
    pub(super) fn late(&mut self) -> impl Iterator<Item = (Token, Told)> {
        self.late.drain(..).map(|token| (token, Told::Late))
    }
}
