//! A disk in memory that keeps what is durable apart from what is only written.

use super::{Disk, DiskFile};
use crate::Ours;
use base::Prng;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

const SECTOR: usize = 512;
/// What a bad sector answers.
const EIO: i32 = 5;

/// A disk image for tests and simulation. Clones share the image.
#[derive(Clone, Debug, Default)]
pub struct MemDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    names_durable: BTreeMap<String, usize>,
    /// Name changes since the last directory sync, oldest first.
    moves: Vec<BTreeMap<String, usize>>,
    changes: u64,
    fail_from: Option<u64>,
    /// Bytes that files may still grow by, if that is bounded.
    room: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    written: Vec<u8>,
    durable: Vec<u8>,
    /// Changes since the last sync, oldest first.
    pending: Vec<Change>,
    /// Bytes that no read may touch.
    bad: Range<u64>,
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

impl MemDisk {
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes, syncs and name changes so far: the boundaries a crash test steps through.
    pub fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// The change numbered `n` (from 0) and all after it fail. A failed write may still reach
    /// the disk, in part; a failed sync makes nothing durable.
    pub fn fail_from(&self, n: u64) {
        self.lock().fail_from = Some(n);
    }

    /// Files may grow by so many bytes more, and by what is removed; none: as they like. A write
    /// that does not fit is done in part, and fails.
    pub fn set_room(&self, bytes: Option<u64>) {
        self.lock().room = bytes;
    }

    /// The disk as found after a power loss: what was not synced is lost whole, kept whole, kept
    /// as a prefix, or kept in random sectors. Name changes survive as a prefix of their order,
    /// as on a journaling file system.
    #[must_use]
    pub fn crash(&self, seed: u64) -> MemDisk {
        let mut random = Prng::new(seed);
        let state = self.lock();
        let kept = random.below(state.moves.len() as u64 + 1) as usize;
        let names = match kept {
            0 => state.names_durable.clone(),
            n => state.moves[n - 1].clone(),
        };
        let inodes = state.inodes.iter().map(|inode| inode.crash(&mut random)).collect();
        let after = State { inodes, names_durable: names.clone(), names, ..State::default() };
        MemDisk { state: Arc::new(Mutex::new(after)) }
    }

    /// A copy of everything written, all of it durable: a process killed on a healthy machine.
    #[must_use]
    pub fn fork(&self) -> MemDisk {
        let state = self.lock();
        let settle = |i: &Inode| Inode {
            written: i.written.clone(),
            durable: i.written.clone(),
            pending: Vec::new(),
            bad: i.bad.clone(),
        };
        let after = State {
            inodes: state.inodes.iter().map(settle).collect(),
            names: state.names.clone(),
            names_durable: state.names.clone(),
            ..State::default()
        };
        MemDisk { state: Arc::new(Mutex::new(after)) }
    }

    /// Damages one byte at rest. False if there is no such byte.
    pub fn flip(&self, name: &str, offset: u64, mask: u8) -> bool {
        let mut state = self.lock();
        let Some(&at) = state.names.get(name) else { return false };
        let inode = &mut state.inodes[at];
        let mut hit = false;
        for image in [&mut inode.written, &mut inode.durable] {
            if let Some(byte) = image.get_mut(offset as usize) {
                *byte ^= mask;
                hit = true;
            }
        }
        hit
    }

    /// Reads that touch these bytes of a file fail, as those of a bad sector do.
    ///
    /// Panics when there is no such file.
    pub fn spoil(&self, name: &str, bad: Range<u64>) {
        let mut state = self.lock();
        let at = state.names[name];
        state.inodes[at].bad = bad;
    }

    /// Bytes of a file as written.
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.lock();
        state.names.get(name).map(|&at| state.inodes[at].written.clone())
    }

    /// Any file vanishes, as when somebody removes it by hand; for tests.
    pub fn lose(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.change()?;
        let gone = state.names.remove(name).ok_or_else(|| missing(name))?;
        state.give_back(gone);
        state.moved();
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

impl Inode {
    fn crash(&self, random: &mut Prng) -> Inode {
        let mut image = self.durable.clone();
        for change in &self.pending {
            match change {
                Change::Length(n) => {
                    if random.below(2) == 0 {
                        image.resize(*n, 0);
                    }
                }
                Change::Write { offset, bytes } => match random.below(4) {
                    0 => {}
                    1 => put(&mut image, *offset, bytes),
                    2 => {
                        let n = random.below(bytes.len() as u64 + 1) as usize;
                        put(&mut image, *offset, &bytes[..n]);
                    }
                    _ => put_sectors(&mut image, *offset, bytes, random),
                },
            }
        }
        let bad = self.bad.clone();
        Inode { written: image.clone(), durable: image, pending: Vec::new(), bad }
    }
}

fn put(image: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    image.resize(image.len().max(end), 0);
    image[offset..end].copy_from_slice(bytes);
}

fn put_sectors(image: &mut Vec<u8>, offset: usize, bytes: &[u8], random: &mut Prng) {
    let mut at = 0;
    while at < bytes.len() {
        let until = bytes.len().min(at + SECTOR - (offset + at) % SECTOR);
        if random.below(2) == 0 {
            put(image, offset + at, &bytes[at..until]);
        }
        at = until;
    }
}

fn missing(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no file {name}"))
}

impl State {
    /// Counts a change; an error once the planned failure is reached.
    fn change(&mut self) -> io::Result<()> {
        let n = self.changes;
        self.changes += 1;
        match self.fail_from {
            Some(from) if n >= from => Err(io::Error::other("planned disk failure")),
            _ => Ok(()),
        }
    }

    fn give_back(&mut self, inode: usize) {
        let bytes = self.inodes[inode].written.len() as u64;
        self.room = self.room.map(|room| room + bytes);
    }

    /// How many of these bytes fit, written at `offset` of a file.
    fn fits(&mut self, inode: usize, offset: usize, bytes: usize) -> usize {
        let len = self.inodes[inode].written.len();
        let grows = (offset + bytes).saturating_sub(len) as u64;
        let Some(room) = self.room else { return bytes };
        let grown = grows.min(room);
        self.room = Some(room - grown);
        bytes - (grows - grown) as usize
    }

    fn moved(&mut self) {
        self.moves.push(self.names.clone());
    }
}

impl Disk for MemDisk {
    fn list(&mut self) -> io::Result<Vec<String>> {
        Ok(self.lock().names.keys().cloned().collect())
    }

    fn open(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let inode = *self.lock().names.get(name).ok_or_else(|| missing(name))?;
        Ok(Box::new(MemFile { disk: self.clone(), inode }))
    }

    fn create(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.lock();
        state.change()?;
        let inode = match state.names.get(name) {
            Some(&at) => at,
            None => {
                state.inodes.push(Inode::default());
                let at = state.inodes.len() - 1;
                state.names.insert(name.to_owned(), at);
                state.moved();
                at
            }
        };
        state.give_back(inode);
        state.inodes[inode].written.clear();
        state.inodes[inode].pending.push(Change::Length(0));
        drop(state);
        Ok(Box::new(MemFile { disk: self.clone(), inode }))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.change()?;
        let at = state.names.remove(from).ok_or_else(|| missing(from))?;
        if let Some(replaced) = state.names.insert(to.to_owned(), at) {
            state.give_back(replaced);
        }
        state.moved();
        Ok(())
    }

    fn remove(&mut self, file: &Ours) -> io::Result<()> {
        self.lose(file.name())
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        let mut state = self.lock();
        state.change()?;
        state.names_durable = state.names.clone();
        state.moves.clear();
        Ok(())
    }
}

struct MemFile {
    disk: MemDisk,
    inode: usize,
}

impl DiskFile for MemFile {
    fn len(&mut self) -> io::Result<u64> {
        Ok(self.disk.lock().inodes[self.inode].written.len() as u64)
    }

    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let state = self.disk.lock();
        let Inode { written: image, bad, .. } = &state.inodes[self.inode];
        if offset < bad.end && bad.start < offset + into.len() as u64 {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        let from = image.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
        let n = into.len().min(image.len() - from);
        into[..n].copy_from_slice(&image[from..from + n]);
        Ok(n)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.lock();
        let done = state.change();
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let fits = state.fits(self.inode, offset, bytes.len());
        if fits < bytes.len() && done.is_ok() {
            let inode = &mut state.inodes[self.inode];
            put(&mut inode.written, offset, &bytes[..fits]);
            inode.pending.push(Change::Write { offset, bytes: bytes[..fits].to_vec() });
            return Err(io::ErrorKind::StorageFull.into());
        }
        let inode = &mut state.inodes[self.inode];
        inode.pending.push(Change::Write { offset, bytes: bytes.to_vec() });
        if done.is_ok() {
            put(&mut inode.written, offset, bytes);
        }
        done
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.change()?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let inode = &mut state.inodes[self.inode];
        inode.written.resize(len, 0);
        inode.pending.push(Change::Length(len));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.change()?;
        let inode = &mut state.inodes[self.inode];
        // Replaying is linear in what changed, not in the file.
        for change in std::mem::take(&mut inode.pending) {
            match change {
                Change::Write { offset, bytes } => put(&mut inode.durable, offset, &bytes),
                Change::Length(n) => inode.durable.resize(n, 0),
            }
        }
        debug_assert_eq!(inode.durable, inode.written, "a synced file is what was written");
        Ok(())
    }
}
