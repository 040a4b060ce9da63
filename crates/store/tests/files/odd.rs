//! A disk that reads a few bytes at a time, reads wrong once, or refuses one thing.

use std::io;
use std::sync::{Arc, Mutex};
use wal::{Disk, DiskFile, MemDisk, Ours};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    Create,
    Sync,
    Rename,
    SyncDir,
}

#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Bytes of a read, at most.
    pub short: Option<usize>,
    /// The read numbered so, from 0, shows a byte that is not there.
    pub wrong: Option<u64>,
    /// Where in what it reads.
    pub place: usize,
    pub reads: u64,
    /// Bytes asked for, by all reads and by the longest.
    pub asked: usize,
    pub longest: usize,
    /// Bytes that may still be written.
    pub room: Option<u64>,
    pub refused: Option<Refused>,
}

#[derive(Clone, Debug, Default)]
pub struct Odd {
    pub disk: MemDisk,
    pub plan: Arc<Mutex<Plan>>,
}

impl Odd {
    pub fn new(disk: &MemDisk, plan: Plan) -> Self {
        Self { disk: disk.clone(), plan: Arc::new(Mutex::new(plan)) }
    }

    fn check(&self, what: Refused) -> io::Result<()> {
        let refused = self.plan.lock().unwrap().refused == Some(what);
        if refused { Err(io::Error::other(format!("refused: {what:?}"))) } else { Ok(()) }
    }

    /// What was read so far.
    pub fn told(&self) -> Plan {
        self.plan.lock().unwrap().clone()
    }

    fn file(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(OddFile { file, disk: self.clone() })
    }
}

impl Disk for Odd {
    fn list(&mut self) -> io::Result<Vec<String>> {
        self.disk.list()
    }
    fn open(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.disk.open(name).map(|file| self.file(file))
    }
    fn create(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.check(Refused::Create)?;
        self.disk.create(name).map(|file| self.file(file))
    }
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.check(Refused::Rename)?;
        self.disk.rename(from, to)
    }
    fn remove(&mut self, file: &Ours) -> io::Result<()> {
        self.disk.remove(file)
    }
    fn sync_dir(&mut self) -> io::Result<()> {
        self.check(Refused::SyncDir)?;
        self.disk.sync_dir()
    }
}

struct OddFile {
    file: Box<dyn DiskFile>,
    disk: Odd,
}

impl DiskFile for OddFile {
    fn len(&mut self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let (short, wrong, place) = {
            let mut plan = self.disk.plan.lock().unwrap();
            plan.reads += 1;
            plan.asked += into.len();
            plan.longest = plan.longest.max(into.len());
            (plan.short, plan.wrong == Some(plan.reads - 1), plan.place)
        };
        let len = short.map_or(into.len(), |short| short.min(into.len()));
        let n = self.file.read_at(offset, &mut into[..len])?;
        if wrong && n > 0 {
            into[place.min(n - 1)] ^= 0x40;
        }
        Ok(n)
    }
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let room = self.disk.plan.lock().unwrap().room;
        if let Some(room) = room {
            let n = bytes.len().min(room as usize);
            self.disk.plan.lock().unwrap().room = Some(room - n as u64);
            self.file.write_at(offset, &bytes[..n])?;
            if n < bytes.len() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            return Ok(());
        }
        self.file.write_at(offset, bytes)
    }
    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.disk.check(Refused::Sync)?;
        self.file.sync()
    }
}
