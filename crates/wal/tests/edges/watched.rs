//! A disk that says what is done to it, and short names for records and batches.

use base::crc::{crc32c, crc32c_append};
use base::{Ballot, Blob, LogIndex, NodeId};
use std::io;
use std::sync::{Arc, Mutex};
use wal::{Batch, Disk, DiskFile, Journal, MemDisk, Options, Ours, Owner, Record};

pub const OWNER: Owner = Owner { cluster: 7, member: NodeId(3) };
pub const KEY: u64 = 0xfeed;
/// Bytes of a segment before its first batch, and of a batch before its body.
pub const SEGMENT_HEADER: u64 = 512;
pub const BATCH_HEADER: u64 = 88;
/// Of a batch with one record of 8 bytes.
pub const ONE: u64 = BATCH_HEADER + 32 + 8;

/// No zeros ahead and room for everything.
pub const PLAIN: Options = Options { segment_bytes: 1 << 20, prefill_bytes: 0, spares_max: 1 };

pub fn record(index: u64, term: u64, size: usize) -> Record {
    let payload = Blob::from(vec![index as u8; size]);
    Record { kind: 1, index: LogIndex(index), ballot: Ballot::new(term, 1), payload }
}

pub fn batch(term: u64, truncate: Option<u64>, entries: &[Record], commit: u64) -> Batch<'_> {
    Batch {
        ballot: Ballot::new(term, 1),
        truncate_from: truncate.map(LogIndex),
        entries,
        commit: LogIndex(commit),
    }
}

/// One record of 8 bytes in a batch of its own, not synced.
pub fn put(journal: &mut Journal, index: u64) {
    journal.append(&[batch(1, None, &[record(index, 1, 8)], 0)]).unwrap();
}

pub fn segment(generation: u64) -> String {
    format!("segment-{generation:016x}.qj")
}

pub fn spare(number: u64) -> String {
    format!("spare-{number:016x}.qj")
}

/// Notes what is done, in order; clones share the notes.
#[derive(Clone, Default)]
pub struct Watched {
    pub disk: MemDisk,
    notes: Arc<Mutex<Vec<String>>>,
}

impl Watched {
    pub fn over(disk: &MemDisk) -> Self {
        Self { disk: disk.clone(), ..Self::default() }
    }

    /// What was done since the last time this was asked.
    pub fn done(&self) -> Vec<String> {
        std::mem::take(&mut *self.notes.lock().unwrap())
    }

    fn note(&self, what: String) {
        self.notes.lock().unwrap().push(what);
    }

    fn file(&self, name: &str, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(WatchedFile { file, name: short(name), of: self.clone() })
    }
}

/// `segment-0000000000000001.qj` is `segment-1`.
fn short(name: &str) -> String {
    let (kind, number) = name.trim_end_matches(".qj").split_once('-').unwrap();
    format!("{kind}-{}", number.trim_start_matches('0'))
}

impl Disk for Watched {
    fn list(&mut self) -> io::Result<Vec<String>> {
        self.disk.list()
    }
    fn open(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(name, self.disk.clone().open(name)?))
    }
    fn create(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.note(format!("create {}", short(name)));
        Ok(self.file(name, self.disk.clone().create(name)?))
    }
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.note(format!("rename {} {}", short(from), short(to)));
        self.disk.rename(from, to)
    }
    fn remove(&mut self, file: &Ours) -> io::Result<()> {
        self.note(format!("remove {}", short(file.name())));
        self.disk.remove(file)
    }
    fn sync_dir(&mut self) -> io::Result<()> {
        self.note("sync directory".into());
        self.disk.sync_dir()
    }
}

struct WatchedFile {
    file: Box<dyn DiskFile>,
    /// By which it was opened.
    name: String,
    of: Watched,
}

impl DiskFile for WatchedFile {
    fn len(&mut self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        // In pieces, as an operating system may.
        let n = into.len().min(100);
        self.file.read_at(offset, &mut into[..n])
    }
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let until = offset + bytes.len() as u64;
        self.of.note(format!("write {} {offset}..{until}", self.name));
        self.file.write_at(offset, bytes)
    }
    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.of.note(format!("sync {}", self.name));
        self.file.sync()
    }
}

/// Overwrites bytes of a file at rest.
pub fn overwrite(disk: &MemDisk, name: &str, at: u64, bytes: &[u8]) {
    let mut file = disk.clone().open(name).unwrap();
    file.write_at(at, bytes).unwrap();
    file.sync().unwrap();
}

/// Changes a byte in the header of a batch and makes its checksum true again.
pub fn forge(disk: &MemDisk, generation: u64, batch: u64, field: usize, byte: u8) {
    let name = segment(generation);
    let from = batch as usize;
    let mut head = disk.bytes(&name).unwrap()[from..from + 80].to_vec();
    head[field] = byte;
    let seal = crc32c_append(crc32c(&KEY.to_le_bytes()), &generation.to_le_bytes());
    let crc = crc32c_append(seal, &head);
    head.extend(crc.to_le_bytes());
    overwrite(disk, &name, batch, &head);
}
