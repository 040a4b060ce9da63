//! Checkpoints and the files of what has settled: written on helper threads, never on the node's.

use crate::disk::{Place, Room};
use crate::node::input::{Checkpointed, Input};
use member::{Archive, checkpoints};
use replica::CheckpointJob;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedSender;

/// The files of a member. Clones are one.
#[derive(Clone)]
pub struct Files {
    pub place: Place,
    pub archive: Archive,
    pub room: Arc<Room>,
}

impl Files {
    /// Writes a checkpoint on its own thread; the outcome comes as `Input::Checkpointed`.
    pub fn write_checkpoint(&self, job: CheckpointJob, inbox: UnboundedSender<Input>) {
        let files = self.clone();
        let failed = inbox.clone();
        let work = move || {
            let written = checkpoints::write(&files.place, &job, &files.archive);
            files.room.saved(&written);
            let written = written.map(|file| Checkpointed { index: file.index, bytes: file.len });
            // What the job held may go before anybody hears of it.
            drop(job);
            let _ = inbox.send(Input::Checkpointed(written.map_err(|error| error.to_string())));
        };
        if let Err(error) = crate::aside::spawn("quorate-save", work) {
            let _ = failed.send(Input::Checkpointed(Err(error.to_string())));
        }
    }
}
