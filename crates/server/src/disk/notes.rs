//! The small files of a member, written one after the other where a slow disk keeps nobody from
//! voting: whom it has met, and that a repair is over.

use super::Place;
use crate::jobs::Thread;
use crate::node::input::{Input, Vital};
use base::LogIndex;
use member::{Remembered, Unwelcome, Unwritten};
use std::sync::mpsc::Receiver;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

/// What comes of a note.
type Written = Result<Remembered, Unwelcome>;

enum Job {
    Remember(Unwritten, oneshot::Sender<Written>),
    /// The last one of all: nobody waits for it but the stop.
    Forswear(Unwritten),
    EndRepair(LogIndex),
}

/// The member's end of the thread.
pub struct Notes(Thread<Job>);

impl Notes {
    /// # Errors
    /// When the system gives no thread.
    pub fn start(place: Place, inbox: UnboundedSender<Input>) -> std::io::Result<Self> {
        Thread::start(|queue| {
            crate::aside::spawn("quorate-notes", move || {
                let _vital = Vital("notes", inbox.clone());
                work(&place, &queue, &inbox);
            })
        })
        .map(Self)
    }

    /// Resolves once it is durable, or cannot be.
    pub async fn remember(&self, unwritten: Unwritten) -> Written {
        let (done, written) = oneshot::channel();
        self.0.send(Job::Remember(unwritten, done));
        written.await.unwrap_or_else(|_| Err(Unwelcome::Unremembered("it stops".to_owned())))
    }

    /// The directory may never be started again: durable when the thread was stopped.
    pub fn forswear(&self, void: Unwritten) {
        self.0.send(Job::Forswear(void));
    }

    /// The member is whole again: `Input::Repaired` once that is durable.
    pub fn end_repair(&self, index: LogIndex) {
        self.0.send(Job::EndRepair(index));
    }

    /// Writes what is left and ends the thread.
    pub fn stop(&self) {
        self.0.stop();
    }
}

fn work(place: &Place, queue: &Receiver<Job>, inbox: &UnboundedSender<Input>) {
    for job in queue {
        match job {
            Job::Remember(unwritten, done) => {
                // Who asked may have gone: what is written is met once more then.
                let _ = done.send(write(place, unwritten));
            }
            Job::Forswear(void) => {
                if let Err(unwelcome) = write(place, void) {
                    tracing::error!("{}", unwelcome.text());
                }
            }
            Job::EndRepair(index) => {
                let ended = store::end_repair(place);
                let ended = ended.map_or_else(
                    |error| Input::Failed(error.to_string()),
                    |()| Input::Repaired(index),
                );
                let _ = inbox.send(ended);
            }
        }
    }
}

fn write(place: &Place, unwritten: Unwritten) -> Written {
    let disk = place.disk("").map_err(|error| Unwelcome::Unremembered(error.to_string()));
    unwritten.write(disk?.as_mut())
}
