//! Reads all that is kept, some at a time, so that damage is found while other members still have
//! what it hit.

use crate::archive::Archive;
use crate::checkpoints;
use crate::shelf;
use crate::wounds::Name;
use store::{Home, StoreError, StoreErrorKind};

/// Where a pass is.
#[derive(Debug, Default)]
pub struct Scrub {
    /// The block that is next, and its file.
    at: Option<(Name, usize)>,
}

/// What one step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scrubbed {
    /// So many bytes were read; there are more.
    Some(u64),
    /// A pass is over: whether the index in a file and the newest checkpoint are sound. What of the
    /// value files is not was noted, block by block.
    All {
        /// What a start would go by.
        index: bool,
        /// The same.
        checkpoint: bool,
    },
}

impl Scrub {
    /// Reads on, by about so many bytes.
    ///
    /// # Errors
    /// Those of the disk, but for damage.
    pub fn step(
        &mut self,
        home: &dyn Home,
        archive: &Archive,
        bytes_max: u64,
    ) -> Result<Scrubbed, StoreError> {
        let from = self.at.unwrap_or(((i64::MIN, 0), 0));
        let files = archive.files();
        let Some(file) = files.iter().find(|file| file.name() >= from.0) else {
            self.at = None;
            return Ok(Scrubbed::All {
                index: is_sound(
                    archive.named_index().map_or(Ok(()), |index| shelf::prove_index(home, index)),
                )?,
                checkpoint: is_sound(checkpoints::prove_newest(home))?,
            });
        };
        let first = if file.name() == from.0 { from.1 } else { 0 };
        let (bytes, next) = archive.reader(home)?.scrub(file, first, bytes_max)?;
        self.at = Some(match next {
            Some(block) => (file.name(), block),
            None => ((file.first, file.generation + 1), 0),
        });
        Ok(Scrubbed::Some(bytes))
    }
}

fn is_sound(proven: Result<(), StoreError>) -> Result<bool, StoreError> {
    match proven {
        Ok(()) => Ok(true),
        Err(error) if error.kind == StoreErrorKind::Io => Err(error),
        Err(_) => Ok(false),
    }
}
