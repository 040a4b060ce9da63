//! Puts the versions made last into files with all others, and removes the files that nobody needs:
//! as long as there is much of them, and so never on the thread that votes. One after the other, so
//! that no file goes that is being written.

use super::input::{Input, Vital};
use crate::disk::Files;
use crate::jobs::Thread;
use mvcc::{Settled, Settling};
use replica::Event;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use store::StoreError;
use tokio::sync::mpsc::UnboundedSender;

/// How long it is waited after a merge that could not be written, at first and at last. What is
/// made meanwhile stays in memory and in the journal.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// After a merge, from one look at what it made superfluous to the next.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
const FOREVER: Duration = Duration::from_secs(3600);

enum Job {
    Settle(Box<Settling>),
    Tidy,
}

/// The member's end of the thread.
pub(super) struct Merger {
    thread: Thread<Job>,
    files: Files,
}

impl Merger {
    /// What comes of a merge goes to the inbox.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(files: Files, inbox: UnboundedSender<Input>) -> std::io::Result<Self> {
        let own = files.clone();
        let thread = Thread::start(|queue: Receiver<Job>| {
            crate::aside::spawn("quorate-merge", move || {
                let _vital = Vital("merge", inbox.clone());
                work(&own, &queue, &inbox);
            })
        })?;
        Ok(Self { thread, files })
    }

    pub fn merge(&self, settling: Settling) {
        self.thread.send(Job::Settle(Box::new(settling)));
    }

    /// A checkpoint is durable: files that only those before it named are of no use any more.
    pub fn tidy(&self) {
        self.thread.send(Job::Tidy);
    }
}

impl Drop for Merger {
    fn drop(&mut self) {
        self.files.archive.end();
    }
}

fn work(files: &Files, queue: &Receiver<Job>, inbox: &UnboundedSender<Input>) {
    let mut patience = FOREVER;
    loop {
        match queue.recv_timeout(patience) {
            Ok(Job::Settle(settling)) => {
                let Some(settled) = settle(files, settling, queue) else { return };
                let _ = inbox.send(Input::Event(Event::Settled(Box::new(settled))));
                patience = LOOK_PAUSE;
            }
            Ok(Job::Tidy) => tidy(files),
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                let (superseded, of) = files.archive.superseded();
                let _ = inbox.send(Input::Superseded { superseded, of });
                if superseded == 0 {
                    patience = FOREVER;
                }
            }
        }
    }
}

fn tidy(files: &Files) {
    if let Err(error) = files.archive.tidy(&files.place) {
        tracing::warn!("files that nobody needs stay for now: {error}");
    }
}

/// Until it succeeds; none when the member ends. No file is ever synced a second time: each attempt
/// writes its own. What it goes by is freed here.
fn settle(files: &Files, mut settling: Box<Settling>, queue: &Receiver<Job>) -> Option<Settled> {
    let mut pause = PAUSE_MIN;
    loop {
        let settled = files.archive.settle(&files.place, &settling);
        files.room.merged(&settled);
        let failed: StoreError = match settled {
            Ok(settled) => return Some(settled),
            Err(error) => error,
        };
        match queue.recv_timeout(pause) {
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Job::Tidy) => tidy(files),
            // Another state has come.
            Ok(Job::Settle(other)) => settling = other,
        }
        tracing::error!("what was written last cannot be put into files yet: {failed}");
        pause = (2 * pause).min(PAUSE_MAX);
    }
}
