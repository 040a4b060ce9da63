//! Files made ahead by a helper, so that beginning a segment writes no zeros.

use crate::disk::remove_named;
use crate::ours::SPARE;
use crate::segment::spare_name;
use crate::{Disk, DiskFile, Journal, WalError};
use std::io;

/// Numbers of files made ahead start here; released segments keep their generation, far below.
pub(crate) const PREPARED: u64 = 1 << 63;

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A spare file to be filled with zeros away from the log thread.
///
/// ```text
/// if let Some(mut job) = journal.spare_wanted() {      // log thread
///     let done = loop {                                // helper, its own `Disk` of the directory
///         match job.step(&mut disk, 1 << 20) { Ok(true) => pause(), end => break end.is_ok() }
///     };
///     journal.spare_done(job, done);                   // log thread
/// }
/// ```
pub struct SpareJob {
    number: u64,
    bytes: u64,
    file: Option<Box<dyn DiskFile>>,
    filled: u64,
}

impl SpareJob {
    /// Writes up to `bytes_max` zeros; true if there is more to do. Durable after the last step.
    /// Errors: `Io`; then the job is given back as failed.
    pub fn step(&mut self, disk: &mut dyn Disk, bytes_max: u64) -> Result<bool, WalError> {
        let name = spare_name(self.number);
        let mut work = || -> io::Result<bool> {
            let file = match &mut self.file {
                Some(file) => file,
                empty => empty.insert(disk.create(&name)?),
            };
            let until = self.bytes.min(self.filled.saturating_add(bytes_max.max(1)));
            zeros(file.as_mut(), self.filled, until)?;
            self.filled = until;
            if until < self.bytes {
                return Ok(true);
            }
            file.sync()?;
            disk.sync_dir()?;
            Ok(false)
        };
        work().map_err(|e| WalError::write(&name, self.filled, "make a spare", &e))
    }
}

impl Journal {
    /// A file to make ahead when none is ready and none is being made. Nothing waits for it: a
    /// segment begun without one writes its first zeros itself.
    pub fn spare_wanted(&mut self) -> Option<SpareJob> {
        let wanted = self.options.prefill_bytes > 0 && self.spares_max() > 0;
        if !wanted || self.preparing || !self.spares.is_empty() || self.poison.is_some() {
            return None;
        }
        self.preparing = true;
        let number = self.spare_next;
        self.spare_next += 1;
        Some(SpareJob { number, bytes: self.options.segment_bytes, file: None, filled: 0 })
    }

    /// The end of a job. A failed one harms nothing: its file is removed, or at the next start.
    pub fn spare_done(&mut self, job: SpareJob, ok: bool) {
        assert!(self.preparing && job.number < self.spare_next, "a job of this journal");
        self.preparing = false;
        let keep = ok && job.filled == job.bytes && self.spares.len() < self.spares_max();
        if keep {
            self.spares.push(job.number);
        } else if job.file.is_some() {
            let _ = remove_named(self.disk.as_mut(), SPARE, &spare_name(job.number));
        }
    }

    /// Spare files ready for use.
    pub fn spares(&self) -> usize {
        self.spares.len()
    }
}

pub(crate) fn next_prepared(spares: &[u64]) -> u64 {
    spares.iter().map(|spare| spare.saturating_add(1)).fold(PREPARED, u64::max)
}

/// Writes zeros over `from..until`.
pub(crate) fn zeros(file: &mut dyn DiskFile, from: u64, until: u64) -> io::Result<()> {
    let mut at = from;
    while at < until {
        let n = (until - at).min(ZEROS.len() as u64);
        file.write_at(at, &ZEROS[..n as usize])?;
        at += n;
    }
    Ok(())
}
