//! The log thread: carries out the journal lane (`member::lane`), with the disk's own time.

use super::{Files, Place, Room};
use crate::jobs::Thread;
use crate::metrics::DiskMetrics;
use crate::node::input::{Input, Vital};
use base::LogIndex;
use consensus::raft::Persist;
use member::lane::{Durable, Job, Lane, ROOM_PAUSE};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;
use wal::{Journal, SpareJob, WalError};

/// Zeros a helper writes at once, and its rest after them: the disk belongs to the log.
const SPARE_STEP_BYTES: u64 = 1 << 20;
const SPARE_PAUSE: Duration = Duration::from_millis(20);
/// Nothing is to be done before the next job, but to see whether others need room.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Something is to be done now.
const NONE: Duration = Duration::ZERO;

/// The node's end of the log thread. One that is gone has reported why through the inbox.
pub struct Log(Thread<Job>);

impl Log {
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        journal: Journal,
        files: &Files,
        inbox: &UnboundedSender<Input>,
        metrics: &Arc<DiskMetrics>,
    ) -> std::io::Result<Self> {
        let (spares, room) = (Spares::new(files.place.clone()), Arc::clone(&files.room));
        let (inbox, metrics) = (inbox.clone(), Arc::clone(metrics));
        Thread::start(|queue| {
            std::thread::Builder::new().name("quorate-log".to_string()).spawn(move || {
                let _vital = Vital("log", inbox.clone());
                work(Lane::new(journal), &spares, &queue, (&inbox, &metrics, &room));
            })
        })
        .map(Self)
    }

    pub fn persist(&self, persist: Persist) {
        self.0.send(Job::Persist(persist));
    }

    /// A durable checkpoint covers everything up to `index`.
    pub fn release(&self, index: LogIndex) {
        self.0.send(Job::Release(index));
    }

    /// All up to `index` is committed, and is all there is: the next mark says so.
    pub fn know(&self, index: LogIndex) {
        self.0.send(Job::Know(index));
    }

    /// Lets the queue run dry and waits for the thread.
    pub fn stop(&self) {
        self.0.stop();
    }
}

/// Segments made ahead by a helper, so that beginning one writes no zeros while clients wait.
struct Spares {
    place: Place,
    done: Sender<(SpareJob, bool)>,
    made: Receiver<(SpareJob, bool)>,
}

impl Spares {
    fn new(place: Place) -> Self {
        let (done, made) = channel();
        Self { place, done, made }
    }

    /// Takes in what a helper made, and starts the next one when the lane wants it.
    fn keep(&self, lane: &mut Lane) {
        while let Ok((job, ok)) = self.made.try_recv() {
            lane.spare_done(job, ok);
        }
        let Some(mut job) = lane.spare_wanted() else { return };
        let (place, done) = (self.place.clone(), self.done.clone());
        let work = move || {
            let ok = make(&place, &mut job).inspect_err(|error| tracing::warn!("spare: {error}"));
            // A log thread that is gone needs no spare; the next start removes the file.
            let _ = done.send((job, ok.is_ok()));
        };
        if let Err(error) = crate::aside::spawn("quorate-spare", work) {
            // The journal goes on without spares, as it does before the first.
            tracing::warn!("no helper thread: {error}");
        }
    }
}

fn make(place: &Place, job: &mut SpareJob) -> Result<(), String> {
    let mut disk = place.disk("journal").map_err(|error| error.to_string())?;
    while job.step(&mut disk, SPARE_STEP_BYTES).map_err(|error| error.to_string())? {
        std::thread::sleep(SPARE_PAUSE);
    }
    Ok(())
}

fn work(
    mut lane: Lane,
    spares: &Spares,
    queue: &Receiver<Job>,
    (inbox, metrics, room): (&UnboundedSender<Input>, &DiskMetrics, &Room),
) {
    if let Err(error) = serve(&mut lane, spares, queue, (inbox, metrics, room)) {
        let _ = inbox.send(Input::Failed(error.to_string()));
    }
}

fn serve(
    lane: &mut Lane,
    spares: &Spares,
    queue: &Receiver<Job>,
    (inbox, metrics, room): (&UnboundedSender<Input>, &DiskMetrics, &Room),
) -> Result<(), WalError> {
    let mut keeps_spares = true;
    loop {
        let patience = lane.patience().map_or(LOOK_INTERVAL, |wait| Duration::from_nanos(wait.0));
        if keeps_spares == room.is_wanted() {
            keeps_spares = !keeps_spares;
            lane.keep_spares(keeps_spares)?;
        }
        // What waited for room behind a write is there already.
        let mut next = match queue.recv_timeout(if lane.is_work() { NONE } else { patience }) {
            Ok(job) => Some(job),
            Err(RecvTimeoutError::Timeout) if lane.is_work() => None,
            Err(RecvTimeoutError::Timeout) => {
                if lane.patience().is_some() {
                    lane.idle(!room.is_low())?;
                }
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return lane.close(),
        };
        while let Some(job) = next {
            next = if lane.take(job) { queue.try_recv().ok() } else { None };
        }
        if !write(lane, queue, room)? {
            return Ok(());
        }
        let started = Instant::now();
        if let Some(durable) = lane.sync()? {
            observe(metrics, started.elapsed(), &durable);
            let (ticket, bytes) = (durable.ticket(), durable.journal_bytes);
            if inbox.send(Input::Persisted { ticket, bytes }).is_err() {
                return Ok(());
            }
        }
        lane.settle()?;
        spares.keep(lane);
    }
}

/// As soon as there is room for it; false when the member ends before. What is asked for meanwhile
/// is taken in, as it may say what can be let go of.
fn write(lane: &mut Lane, queue: &Receiver<Job>, room: &Room) -> Result<bool, WalError> {
    while !lane.write()? {
        if room.stuck(true) {
            tracing::error!("no room on the disk: what is to be written waits");
        }
        lane.make_room()?;
        match queue.recv_timeout(Duration::from_nanos(ROOM_PAUSE.0)) {
            Ok(job) => drop(lane.take(job)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(false),
        }
    }
    if room.stuck(false) {
        tracing::info!("what waited for room on the disk is written");
    }
    Ok(true)
}

fn observe(metrics: &DiskMetrics, took: Duration, durable: &Durable) {
    metrics.sync.observe(took);
    metrics.journal_bytes.store(durable.journal_bytes, Ordering::Relaxed);
    metrics.batches.fetch_add(1, Ordering::Relaxed);
    let entries = durable.persists.iter().flat_map(|persist| &persist.entries);
    let (count, bytes) = entries.fold((0, 0), |(n, bytes), e| (n + 1, bytes + e.payload.len()));
    metrics.entries.fetch_add(count, Ordering::Relaxed);
    metrics.write_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
}
