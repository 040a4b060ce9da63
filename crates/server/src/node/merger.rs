//! Merges the versions made last with all others: as long as there is much of them, and so never on
//! the thread that votes.

use super::input::{Input, Vital};
use crate::jobs::Thread;
use mvcc::Settling;
use replica::Event;
use std::sync::mpsc::Receiver;
use tokio::sync::mpsc::UnboundedSender;

/// The member's end of the thread.
pub(super) struct Merger(Thread<Settling>);

impl Merger {
    /// What comes of a merge goes to the inbox.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(inbox: UnboundedSender<Input>) -> std::io::Result<Self> {
        Thread::start(|queue: Receiver<Settling>| {
            crate::aside::spawn("quorate-merge", move || {
                let _vital = Vital("merge", inbox.clone());
                for settling in queue {
                    let settled = Box::new(settling.run());
                    // What it goes by is freed here.
                    drop(settling);
                    let _ = inbox.send(Input::Event(Event::Settled(settled)));
                }
            })
        })
        .map(Self)
    }

    pub fn merge(&self, settling: Settling) {
        self.0.send(settling);
    }
}
