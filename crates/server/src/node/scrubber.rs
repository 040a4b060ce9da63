//! Reads all files again and again, slowly, so that damage is found while others have what it hit.

use super::input::Input;
use crate::disk::Files;
use crate::jobs::Thread;
use crate::metrics::DiskMetrics;
use member::{Scrub, Scrubbed};
use replica::Event;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc::UnboundedSender;

/// Bytes that are read in one go.
const STEP_BYTES: u64 = 1 << 20;
/// Where there is little, it is read this often at most.
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// After an error, and where there is nothing yet.
const PAUSE_IDLE: Duration = Duration::from_secs(60);

/// The member's end of the thread.
pub(super) struct Scrubber(Option<Thread<()>>);

impl Scrubber {
    /// A pass takes `interval`; of zero there is none.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        files: Files,
        interval: Duration,
        metrics: Arc<DiskMetrics>,
        inbox: UnboundedSender<Input>,
    ) -> std::io::Result<Self> {
        if interval.is_zero() {
            return Ok(Self(None));
        }
        let thread = Thread::start(|queue: Receiver<()>| {
            crate::aside::spawn("quorate-scrub", move || {
                let mut scrub = Scrub::default();
                loop {
                    let pause = step(&mut scrub, &files, interval, &metrics, &inbox);
                    if queue.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                        return;
                    }
                }
            })
        })?;
        Ok(Self(Some(thread)))
    }

    /// Ends the thread after its step.
    pub fn stop(&mut self) {
        self.0 = None;
    }
}

/// One step, and how long to wait before the next.
fn step(
    scrub: &mut Scrub,
    files: &Files,
    interval: Duration,
    metrics: &DiskMetrics,
    inbox: &UnboundedSender<Input>,
) -> Duration {
    let scrubbed = match scrub.step(&files.place, &files.archive, STEP_BYTES) {
        Ok(scrubbed) => scrubbed,
        Err(error) => {
            tracing::warn!("the scrub cannot read: {error}");
            return PAUSE_IDLE.min(interval);
        }
    };
    match scrubbed {
        Scrubbed::Some(bytes) => {
            metrics.scrub_bytes.fetch_add(bytes, Ordering::Relaxed);
            let part = bytes as f64 / files.archive.bytes().max(1) as f64;
            interval.mul_f64(part.min(1.0)).max(PAUSE_MIN)
        }
        Scrubbed::All { index, checkpoint } => {
            if !index {
                tracing::error!("the index in a file is damaged: writing another one");
                let _ = inbox.send(Input::Event(Event::SettleAnew));
            }
            if !checkpoint {
                tracing::error!("the newest checkpoint is damaged");
                let _ = inbox.send(Input::CheckpointDamaged);
            }
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            metrics.scrub_last.store(now.as_secs(), Ordering::Relaxed);
            metrics.scrubs.fetch_add(1, Ordering::Relaxed);
            PAUSE_IDLE.min(interval)
        }
    }
}
