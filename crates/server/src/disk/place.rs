//! The directories of one member, as disks that a test may stand in front of.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wal::{Disk, DiskFile, Ours, RealDisk};

/// Stands in front of the real disk of one part (`""`, `journal` or `checkpoints`); for tests
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
    pub fn disk(&self, part: &str) -> io::Result<AnyDisk> {
        let dir = if part.is_empty() { self.dir.clone() } else { self.dir.join(part) };
        let real = RealDisk::new(dir)?;
        Ok(AnyDisk(match &self.wrap {
            None => Box::new(real),
            Some(wrap) => wrap(part, real),
        }))
    }
}

impl store::Home for Place {
    fn disk(&self, part: &str) -> io::Result<Box<dyn Disk>> {
        Ok(Box::new(Place::disk(self, part)?))
    }
}

/// Any disk behind one type.
pub struct AnyDisk(Box<dyn Disk>);

impl Disk for AnyDisk {
    fn list(&mut self) -> io::Result<Vec<String>> {
        self.0.list()
    }
    fn open(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.0.open(name)
    }
    fn create(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.0.create(name)
    }
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&mut self, file: &Ours) -> io::Result<()> {
        self.0.remove(file)
    }
    fn sync_dir(&mut self) -> io::Result<()> {
        self.0.sync_dir()
    }
}
