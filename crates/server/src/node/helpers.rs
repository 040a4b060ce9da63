//! The threads that read and write what has settled, beside the one that votes.

use super::fetcher::Fetcher;
use super::input::Input;
use super::merger::Merger;
use super::scrubber::Scrubber;
use crate::config::Config;
use crate::disk::{Files, Watch};
use crate::error::StartError;
use crate::metrics::DiskMetrics;
use crate::pool::{THREADS, Threads};
use member::shelf::Shelf;
use mvcc::Values;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedSender;

pub(super) struct Helpers {
    pub merger: Merger,
    pub fetcher: Fetcher,
    pub scrubber: Scrubber,
    _room: Watch,
}

fn reader(files: &Files) -> Result<Shelf, StartError> {
    files.archive.reader(&files.place).map_err(|error| StartError::Disk(error.to_string()))
}

/// They, and those that do what is long for clients. Damage that one of them meets goes to the
/// inbox, as all that comes of them.
///
/// # Errors
/// When the system gives no thread, and those of the disk.
pub(super) fn start(
    config: &Config,
    files: &Files,
    metrics: &Arc<DiskMetrics>,
    inbox: &UnboundedSender<Input>,
) -> Result<(Arc<Threads>, Helpers), StartError> {
    let damaged = inbox.clone();
    files.archive.wounds().on_damage(Box::new(move || {
        let _ = damaged.send(Input::Damaged);
    }));
    let readers: Result<Vec<_>, _> = (0..THREADS).map(|_| reader(files)).collect();
    let readers = readers?.into_iter().map(|shelf| Box::new(shelf) as Box<dyn Values + Send>);
    let (every, measured) = (config.scrub_interval, Arc::clone(metrics));
    let helpers = Helpers {
        merger: Merger::start(files.clone(), inbox.clone())?,
        fetcher: Fetcher::start(reader(files)?, inbox.clone())?,
        scrubber: Scrubber::start(files.clone(), every, measured, inbox.clone())?,
        _room: Watch::start(files.place.clone(), Arc::clone(&files.room), config.min_free_bytes)?,
    };
    Ok((Arc::new(Threads::start(readers)?), helpers))
}
