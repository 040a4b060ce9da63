//! The log thread: takes all that has queued up, writes it once, syncs once, reports once.
//!
//! Any error poisons: the node stops. A failed `fdatasync` is never tried again, because the
//! kernel may have dropped the very pages it failed to write.

use super::Place;
use crate::metrics::DiskMetrics;
use crate::node::input::Input;
use base::limits::WRITE_BYTES_MAX;
use base::{LogIndex, Ticket};
use consensus::raft::{Entry, EntryKind, Persist};
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;
use wal::{Batch, Journal, Record, SpareJob, WalError};

/// Silence after which the journal vouches for its last batch and writes zeros ahead.
const IDLE: Duration = Duration::from_millis(50);
/// Zeros written ahead at once when idle.
const PREFILL_BYTES: u64 = 256 << 10;
/// A journal of this many bytes is busy enough to have its next segment made ahead.
const SPARE_FROM_BYTES: u64 = 32 << 20;
/// Zeros a helper writes at once, and its rest after them: the disk belongs to the log.
const SPARE_STEP_BYTES: u64 = 1 << 20;
const SPARE_PAUSE: Duration = Duration::from_millis(20);

enum Job {
    Persist(Persist),
    Release(LogIndex),
    Known(LogIndex),
}

/// The node's end of the log thread.
pub struct Log {
    jobs: RefCell<Option<Sender<Job>>>,
    thread: RefCell<Option<JoinHandle<()>>>,
}

impl Log {
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        journal: Journal,
        place: Place,
        inbox: UnboundedSender<Input>,
        metrics: Arc<DiskMetrics>,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = channel();
        let spares = Spares::new(place);
        let thread = std::thread::Builder::new()
            .name("quorate-log".to_string())
            .spawn(move || work(journal, &spares, &queue, &inbox, &metrics))?;
        Ok(Self { jobs: RefCell::new(Some(jobs)), thread: RefCell::new(Some(thread)) })
    }

    pub fn persist(&self, persist: Persist) {
        self.send(Job::Persist(persist));
    }

    /// A durable checkpoint covers everything up to `index`.
    pub fn release(&self, index: LogIndex) {
        self.send(Job::Release(index));
    }

    /// All up to `index` is committed, and is all there is: the next mark says so.
    pub fn know(&self, index: LogIndex) {
        self.send(Job::Known(index));
    }

    fn send(&self, job: Job) {
        if let Some(jobs) = self.jobs.borrow().as_ref() {
            // A thread that is gone has reported why through the inbox.
            let _ = jobs.send(job);
        }
    }

    /// Lets the queue run dry and waits for the thread.
    pub fn stop(&self) {
        drop(self.jobs.borrow_mut().take());
        if let Some(thread) = self.thread.borrow_mut().take()
            && thread.join().is_err()
        {
            tracing::error!("the log thread panicked");
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.stop();
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

    /// Takes in what a helper made, and starts the next one when the journal wants it.
    fn keep(&self, journal: &mut Journal) {
        while let Ok((job, ok)) = self.made.try_recv() {
            journal.spare_done(job, ok);
        }
        if journal.bytes() < SPARE_FROM_BYTES {
            return;
        }
        let Some(mut job) = journal.spare_wanted() else { return };
        let (place, done) = (self.place.clone(), self.done.clone());
        let work = move || {
            let ok = make(&place, &mut job).inspect_err(|error| tracing::warn!("spare: {error}"));
            // A log thread that is gone needs no spare; the next start removes the file.
            let _ = done.send((job, ok.is_ok()));
        };
        if let Err(error) = std::thread::Builder::new().name("quorate-spare".into()).spawn(work) {
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
    mut journal: Journal,
    spares: &Spares,
    queue: &Receiver<Job>,
    inbox: &UnboundedSender<Input>,
    metrics: &DiskMetrics,
) {
    if let Err(error) = serve(&mut journal, spares, queue, inbox, metrics) {
        let _ = inbox.send(Input::DiskFailed(error.to_string()));
    }
}

fn serve(
    journal: &mut Journal,
    spares: &Spares,
    queue: &Receiver<Job>,
    inbox: &UnboundedSender<Input>,
    metrics: &DiskMetrics,
) -> Result<(), WalError> {
    let mut idle_done = false;
    loop {
        let wait = if idle_done { Duration::from_secs(3600) } else { IDLE };
        let first = match queue.recv_timeout(wait) {
            Ok(job) => job,
            Err(RecvTimeoutError::Timeout) => {
                idle_done = idle(journal)?;
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return journal.mark(),
        };
        idle_done = false;
        let mut persists = Vec::new();
        let (mut release, mut known) = (None, None);
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(job) = next {
            match job {
                Job::Persist(persist) => {
                    bytes += persist.entries.iter().map(|e| e.payload.len()).sum::<usize>();
                    persists.push(persist);
                }
                Job::Release(index) => release = Some(index),
                Job::Known(index) => known = Some(index),
            }
            next = if bytes < WRITE_BYTES_MAX { queue.try_recv().ok() } else { None };
        }
        if let Some(ticket) = write(journal, &persists, metrics)? {
            let bytes = journal.bytes();
            if inbox.send(Input::Persisted { ticket, bytes }).is_err() {
                return Ok(());
            }
        }
        if let Some(index) = release {
            journal.release(index)?;
        }
        spares.keep(journal);
        if let Some(index) = known {
            // It comes in a pause only: the mark of this silence is due.
            journal.know(index);
            if persists.is_empty() {
                idle_done = idle(journal)?;
            }
        }
    }
}

/// True when there is nothing left to do in an idle moment.
fn idle(journal: &mut Journal) -> Result<bool, WalError> {
    journal.mark()?;
    Ok(!journal.prefill(PREFILL_BYTES)?)
}

fn write(
    journal: &mut Journal,
    persists: &[Persist],
    metrics: &DiskMetrics,
) -> Result<Option<Ticket>, WalError> {
    let Some(last) = persists.last() else { return Ok(None) };
    assert!(persists.is_sorted_by_key(|persist| persist.ticket), "tickets are one FIFO lane");
    let records: Vec<Vec<Record>> =
        persists.iter().map(|persist| persist.entries.iter().map(record).collect()).collect();
    let batches: Vec<Batch<'_>> = persists
        .iter()
        .zip(&records)
        .map(|(persist, entries)| Batch {
            ballot: persist.ballot,
            truncate_from: persist.truncate_from,
            entries,
            commit: persist.commit,
        })
        .collect();
    journal.append(&batches)?;
    let started = Instant::now();
    journal.sync()?;
    metrics.sync.observe(started.elapsed());
    metrics.batches.fetch_add(1, Ordering::Relaxed);
    let entries: usize = records.iter().map(Vec::len).sum();
    metrics.entries.fetch_add(entries as u64, Ordering::Relaxed);
    let bytes: usize = records.iter().flatten().map(|record| record.payload.len()).sum();
    metrics.write_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    Ok(Some(last.ticket))
}

/// An entry as the journal keeps it.
fn record(entry: &Entry) -> Record {
    Record {
        kind: match entry.kind {
            EntryKind::Data => 1,
            EntryKind::Empty => 2,
            EntryKind::Config => 3,
            EntryKind::Stripped => 4,
        },
        index: entry.index,
        ballot: entry.ballot,
        payload: entry.payload.clone(),
    }
}

/// The inverse of [`record`]; the error names an unknown kind.
pub fn entry(record: Record) -> Result<Entry, String> {
    let kind = match record.kind {
        1 => EntryKind::Data,
        2 => EntryKind::Empty,
        3 => EntryKind::Config,
        4 => EntryKind::Stripped,
        kind => return Err(format!("entry {} is of unknown kind {kind}", record.index)),
    };
    Ok(Entry { index: record.index, ballot: record.ballot, kind, payload: record.payload })
}
