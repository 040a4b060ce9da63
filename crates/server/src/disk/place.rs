//! The directories of one member, as disks that a test may stand in front of.

use member::room::Free;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wal::{Disk, RealDisk};

/// Stands in front of the real disk of one part, as [`store::Home`] names it; for tests
/// that make a running member's disk fail.
pub type Wrap = Arc<dyn Fn(&str, RealDisk) -> Box<dyn Disk> + Send + Sync>;

/// A data directory. Clones name the same one.
#[derive(Clone)]
pub struct Place {
    dir: PathBuf,
    wrap: Option<Wrap>,
}

impl Place {
    pub fn new(dir: PathBuf, wrap: Option<Wrap>) -> Self {
        Self { dir, wrap }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether a part is there; nothing is made.
    pub fn has(&self, part: &str) -> bool {
        self.dir.join(part).is_dir()
    }

    /// The disk of one part; its directory is made when it is not there.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn disk(&self, part: &str) -> io::Result<Box<dyn Disk>> {
        let dir = if part.is_empty() { self.dir.clone() } else { self.dir.join(part) };
        let real = RealDisk::new(dir)?;
        Ok(match &self.wrap {
            None => Box::new(real),
            Some(wrap) => wrap(part, real),
        })
    }
}

impl Place {
    /// Room on the file system.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn free(&self) -> io::Result<Free> {
        super::room::free(&self.dir)
    }
}

impl store::Home for Place {
    fn disk(&self, part: &str) -> io::Result<Box<dyn Disk>> {
        Place::disk(self, part)
    }

    fn has(&self, part: &str) -> bool {
        Place::has(self, part)
    }
}
