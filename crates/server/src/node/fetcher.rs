//! Reads versions that have left memory for entries that need them.

use super::input::{Input, Vital};
use crate::jobs::Thread;
use member::shelf::Shelf;
use mvcc::Fetch;
use replica::Event;
use std::sync::mpsc::Receiver;
use tokio::sync::mpsc::UnboundedSender;

/// The member's end of the thread.
pub(super) struct Fetcher(Thread<Vec<Fetch>>);

impl Fetcher {
    /// What was read goes to the inbox.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(shelf: Shelf, inbox: UnboundedSender<Input>) -> std::io::Result<Self> {
        Thread::start(|queue: Receiver<Vec<Fetch>>| {
            crate::aside::spawn("quorate-fetch", move || {
                let _vital = Vital("fetch", inbox.clone());
                let mut shelf = shelf;
                for all in queue {
                    let read = Fetch::read_all(all, &mut shelf);
                    let event = read.map_or_else(Event::Unreadable, Event::Fetched);
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
