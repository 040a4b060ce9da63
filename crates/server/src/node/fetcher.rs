//! Reads versions that have left memory for entries that need them.

use super::input::{Input, Vital};
use crate::jobs::Thread;
use member::mend::{FETCH_PAUSE, FETCH_TRIES};
use member::shelf::Shelf;
use mvcc::Fetch;
use replica::Event;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// The member's end of the thread.
pub(super) struct Fetcher(Thread<Vec<Fetch>>);

impl Fetcher {
    /// What was read goes to the inbox.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(mut shelf: Shelf, inbox: UnboundedSender<Input>) -> std::io::Result<Self> {
        Thread::start(|queue: Receiver<Vec<Fetch>>| {
            crate::aside::spawn("quorate-fetch", move || {
                let _vital = Vital("fetch", inbox.clone());
                while let Ok(all) = queue.recv() {
                    let Some(event) = read(&mut shelf, all, &queue) else { return };
                    let _ = inbox.send(Input::Event(event));
                }
            })
        })
        .map(Self)
    }

    pub fn fetch(&self, all: Vec<Fetch>) {
        self.0.send(all);
    }
}

/// What is damaged may be given by others soon; none when the member ends.
fn read(shelf: &mut Shelf, mut all: Vec<Fetch>, queue: &Receiver<Vec<Fetch>>) -> Option<Event> {
    let mut tries = 1;
    loop {
        let (fetch, why) = match Fetch::read_all(all.clone(), shelf) {
            Ok(fetched) => return Some(Event::Fetched(fetched)),
            Err(failed) => failed,
        };
        if tries == FETCH_TRIES {
            return Some(Event::Unreadable(fetch, why));
        }
        tracing::error!("an entry waits for a value that cannot be read: {why}");
        match queue.recv_timeout(Duration::from_nanos(FETCH_PAUSE.0)) {
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => tries += 1,
            // Another state has come, and another entry.
            Ok(others) => (all, tries) = (others, 1),
        }
    }
}
