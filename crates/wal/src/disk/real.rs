//! A directory of the operating system.

use super::{Disk, DiskFile};
use crate::{Ours, WalError, WalErrorKind};
use rustix::fs::{FlockOperation, fdatasync, flock, statvfs};
use rustix::io::{pread, retry_on_intr};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A real directory. Clones name the same directory.
#[derive(Clone, Debug)]
pub struct RealDisk {
    dir: PathBuf,
}

impl RealDisk {
    /// Creates the directory (and its parents) if needed, durably.
    pub fn new(dir: impl AsRef<Path>) -> io::Result<Self> {
        let dir = dir.as_ref().to_path_buf();
        if !dir.is_dir() {
            fs::create_dir_all(&dir)?;
            // Every new level must be named durably by the level above it.
            for above in dir.ancestors().skip(1) {
                let path = if above.as_os_str().is_empty() { Path::new(".") } else { above };
                match File::open(path) {
                    Ok(parent) => parent.sync_all()?,
                    // Levels we may not read are not levels we have just created.
                    Err(e) if e.kind() == io::ErrorKind::PermissionDenied => break,
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(Self { dir })
    }

    pub fn path(&self) -> &Path {
        &self.dir
    }

    fn at(&self, name: &str) -> PathBuf {
        assert!(!name.contains('/') && !name.is_empty(), "names are flat: {name}");
        self.dir.join(name)
    }
}

/// Bytes that an unprivileged process may still use of the file system that this is on, and all of
/// its bytes.
pub fn free_bytes(dir: &Path) -> io::Result<(u64, u64)> {
    let about = statvfs(dir)?;
    let bytes = |blocks: u64| blocks.saturating_mul(about.f_frsize);
    Ok((bytes(about.f_bavail), bytes(about.f_blocks)))
}

impl Disk for RealDisk {
    fn list(&mut self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if let (true, Ok(name)) =
                (entry.file_type()?.is_file(), entry.file_name().into_string())
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn open(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.at(name))?;
        Ok(Box::new(RealFile(file)))
    }

    fn create(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        let file =
            options.read(true).write(true).create(true).truncate(true).open(self.at(name))?;
        Ok(Box::new(RealFile(file)))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from), self.at(to))
    }

    fn remove(&mut self, file: &Ours) -> io::Result<()> {
        fs::remove_file(self.at(file.name()))
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn len(&mut self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        Ok(retry_on_intr(|| pread(&self.0, &mut *into, offset))?)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(fdatasync(&self.0)?)
    }
}

/// Holds a directory for this process until dropped.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

impl DirLock {
    /// Takes `flock` on `<dir>/lock`. A second holder gets [`WalErrorKind::Locked`].
    pub fn acquire(dir: impl AsRef<Path>) -> Result<Self, WalError> {
        let path = dir.as_ref().join("lock");
        let name = path.display().to_string();
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| WalError::io(&name, 0, "open the lock file", &e))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(WalError::new(
                WalErrorKind::Locked,
                &name,
                0,
                "another process uses this data directory",
            )),
            Err(e) => Err(WalError::io(&name, 0, "lock", &e.into())),
        }
    }
}
