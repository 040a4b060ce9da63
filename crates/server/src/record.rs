//! What a member records of itself while it runs. The voter hands over what its steps said as it
//! is; a thread puts that into the words of `trace`, keeps the last of it and tells who listens.

mod pages;
mod recorder;

pub use base::limits::RECORD_MAX;
use base::limits::RECORD_QUEUED_MAX;
pub(crate) use pages::{PATH, head, page};
pub use recorder::TraceSink;

use crate::metrics::Counter;
use base::Nanos;
use cluster::Configuration;
use recorder::{Handed, Recorder, ring};
use replica::TraceEvent;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use trace::{Head, Ring, What};

/// What was recorded, for any thread.
pub struct Recording {
    head: Head,
    /// None while nothing is kept.
    ring: Mutex<Option<Ring>>,
    pub recorded: Counter,
    pub dropped: Counter,
}

impl Recording {
    /// Keeps the last `events_max`; none: 0.
    pub fn new(head: Head, events_max: usize) -> Arc<Self> {
        let ring = Mutex::new(ring(events_max));
        let (recorded, dropped) = (Counter::default(), Counter::default());
        Arc::new(Self { head, ring, recorded, dropped })
    }

    /// Nothing under the lock panics.
    fn ring(&self) -> MutexGuard<'_, Option<Ring>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The voter's end. With it the thread ends, once it has taken in what it was handed.
pub struct Tap {
    recording: Arc<Recording>,
    /// The member's name.
    name: String,
    thread: Option<Thread>,
    /// The version of the configuration that the thread knows.
    config: Option<u64>,
    /// Events dropped since it was handed the last ones.
    lost: u64,
    keeps: bool,
    listened: bool,
}

struct Thread {
    hand: Sender<Handed>,
    /// Events that it was handed and has not taken in.
    queued: Arc<AtomicUsize>,
    handle: JoinHandle<()>,
}

impl Tap {
    /// Open from the start if `recording` keeps anything.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn new(recording: Arc<Recording>, name: String) -> std::io::Result<Self> {
        let (keeps, listened) = (recording.ring().is_some(), false);
        let (thread, config, lost) = (None, None, 0);
        let mut tap = Self { recording, name, thread, config, lost, keeps, listened };
        if keeps {
            tap.start()?;
        }
        Ok(tap)
    }

    /// Whether anybody wants what happens.
    pub fn is_open(&self) -> bool {
        self.keeps || self.listened
    }

    /// From now on the last `events_max` are kept, those before are forgotten; 0 keeps none.
    pub fn keep(&mut self, events_max: usize) {
        self.keeps = events_max > 0;
        if self.keeps || self.thread.is_some() {
            self.tell(Handed::Keep(events_max));
        }
    }

    /// Tells `sink` of what is kept, and of everything from now on.
    pub fn listen(&mut self, sink: TraceSink) {
        self.listened = true;
        self.tell(Handed::Listen(sink));
    }

    /// What a step said, and the configuration that its member goes by after it.
    pub fn hand(&mut self, config: (u64, &Configuration), events: &mut Vec<TraceEvent>) {
        let events = std::mem::take(events);
        if !self.has_room(events.len()) {
            return;
        }
        let (version, config) = config;
        let news = self.config != Some(version);
        self.config = Some(version);
        let config = news.then(|| Box::new(config.clone()));
        let lost = std::mem::take(&mut self.lost);
        self.tell(Handed::Said { lost, config, events });
    }

    /// What the member itself does; not asked for when nobody wants it.
    pub fn say(&mut self, at: Nanos, what: impl FnOnce() -> What) {
        if self.is_open() && self.has_room(1) {
            let lost = std::mem::take(&mut self.lost);
            self.tell(Handed::Did { lost, at, what: what() });
        }
    }

    /// Whether so many more may wait; else they are dropped.
    fn has_room(&mut self, count: usize) -> bool {
        // Only this side adds.
        let room = |thread: &&Thread| thread.queued.load(Ordering::Relaxed) < RECORD_QUEUED_MAX;
        let thread = self.thread.as_ref().filter(room);
        if let Some(thread) = thread {
            thread.queued.fetch_add(count, Ordering::Relaxed);
        }
        let room = thread.is_some();
        if !room {
            self.recording.dropped.add(count as u64);
            self.lost += count as u64;
        }
        room
    }

    fn tell(&mut self, handed: Handed) {
        if self.thread.is_none()
            && let Err(error) = self.start()
        {
            tracing::error!("nothing is recorded: {error}");
            return self.end();
        }
        if self.thread.as_ref().is_some_and(|thread| thread.hand.send(handed).is_err()) {
            tracing::error!("the recorder's thread is gone: nothing is recorded any more");
            self.end();
        }
    }

    fn start(&mut self) -> std::io::Result<()> {
        let ((hand, handed), queued) = (channel(), Arc::default());
        let (recording, name) = (Arc::clone(&self.recording), self.name.clone());
        let recorder = Recorder::new(recording, name, Arc::clone(&queued));
        let handle = crate::aside::spawn("quorate-record", move || recorder.run(&handed))?;
        self.thread = Some(Thread { hand, queued, handle });
        Ok(())
    }

    /// After a failure.
    fn end(&mut self) {
        (self.keeps, self.listened) = (false, false);
        (self.config, self.lost) = (None, 0);
        self.thread = None;
        *self.recording.ring() = None;
    }
}

impl Drop for Tap {
    /// Whoever listens has heard everything when the member has ended.
    fn drop(&mut self) {
        if let Some(Thread { hand, handle, .. }) = self.thread.take() {
            drop(hand);
            let _ = handle.join(); // A panic there has told of itself.
        }
    }
}

#[cfg(test)]
mod tests;
