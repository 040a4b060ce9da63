//! One member's storage: what is written, what is durable, and every way a disk lies.
//!
//! It implements the journal's own [`Disk`], so the code that ships runs over it. A write is
//! visible at once and durable after a sync; a power loss decides, per unsynced write, whether it
//! is lost, kept, cut short or kept in some sectors. Damage at rest is only done to bytes that a
//! later durable batch vouches for: damage to the last batch cannot be told from a torn tail by
//! anybody (`docs/faults.md`).

mod image;

use base::Prng;
use image::{Change, Inode};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use store::Home;
use wal::{Disk, DiskFile, Ours};

/// What became of disk faults; only those that changed something are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskCounts {
    /// Unsynced writes lost whole, cut to a prefix, or kept in some sectors only.
    pub lost_whole: u64,
    pub lost_prefix: u64,
    pub lost_sectors: u64,
    /// Name changes not yet durable that were undone.
    pub lost_names: u64,
    /// Power went between two disk operations, or inside one.
    pub crash_points: u64,
    pub sync_failed: u64,
    pub full: u64,
    pub rot_read: u64,
    pub rot_rest: u64,
    /// Of those, sectors that cannot be read.
    pub bad_sectors: u64,
    pub bad_reads: u64,
    pub misdirected: u64,
}

/// How a power loss treats writes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// All of them are lost.
    Whole,
    /// Each is cut to a random prefix.
    Prefix,
    /// Each keeps a random subset of its sectors.
    Sectors,
    /// Each draws one of the above, or survives.
    Mixed,
    /// Only the process died: the page cache survives.
    None,
}

impl Loss {
    /// As the trace has it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Prefix => "prefix",
            Self::Sectors => "sectors",
            Self::Mixed => "mixed",
            Self::None => "none",
        }
    }
}

/// A directory of one member's disk. Clones share it.
#[derive(Clone)]
pub struct SimDisk {
    machine: Arc<Mutex<Machine>>,
    dir: &'static str,
}

/// The storage behind every directory of one member.
pub struct Machine {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    names_durable: BTreeMap<String, usize>,
    /// Names after each change since the last directory sync.
    moves: Vec<BTreeMap<String, usize>>,
    prng: Prng,
    /// Changes so far: writes, syncs, name changes.
    changes: u64,
    crash_at: Option<u64>,
    dead: bool,
    sync_fails_once: bool,
    full: bool,
    /// Of a full disk, bytes that were given back since.
    room: u64,
    rot_reads: u32,
    pub counts: DiskCounts,
}

/// A copy of everything durable, to be put back later.
#[derive(Clone)]
pub struct Image {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
}

impl SimDisk {
    pub fn new(seed: u64) -> Self {
        let machine = Machine {
            inodes: Vec::new(),
            names: BTreeMap::new(),
            names_durable: BTreeMap::new(),
            moves: Vec::new(),
            prng: Prng::new(seed),
            changes: 0,
            crash_at: None,
            dead: false,
            sync_fails_once: false,
            full: false,
            room: 0,
            rot_reads: 0,
            counts: DiskCounts::default(),
        };
        Self { machine: Arc::new(Mutex::new(machine)), dir: "" }
    }

    /// The same storage, seen from one of its directories.
    #[must_use]
    pub fn dir(&self, dir: &'static str) -> Self {
        Self { machine: Arc::clone(&self.machine), dir }
    }

    pub fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().expect("one thread, and no holder panics")
    }

    fn path(&self, name: &str) -> String {
        format!("{}{name}", self.dir)
    }
}

impl Home for SimDisk {
    fn disk(&self, part: &str) -> io::Result<Box<dyn Disk>> {
        Ok(Box::new(self.dir(match part {
            "journal" => "journal/",
            "checkpoints" => "checkpoints/",
            "values" => "values/",
            "outgoing" => "outgoing/",
            _ => "",
        })))
    }

    fn has(&self, _part: &str) -> bool {
        true
    }
}

impl Machine {
    /// Power goes at the change numbered `after` from now (1 = the next one).
    pub fn crash_in(&mut self, after: u64) {
        self.crash_at = Some(self.changes + after.max(1));
    }

    /// True once the planned power loss has come.
    pub fn is_full(&self) -> bool {
        self.full
    }

    pub fn is_dead(&self) -> bool {
        self.dead
    }

    pub fn fail_sync_once(&mut self) {
        self.sync_fails_once = true;
    }

    pub fn set_full(&mut self, full: bool) {
        (self.full, self.room) = (full, 0);
    }

    /// The next `n` reads of vouched journal bytes or checkpoints return one wrong bit each.
    pub fn rot_reads(&mut self, n: u32) {
        self.rot_reads = n;
    }

    /// The machine or the process stops; what a restart finds is settled here.
    pub fn power_off(&mut self, loss: Loss) {
        self.crash_at = None;
        self.dead = false;
        self.sync_fails_once = false;
        if loss == Loss::None {
            return;
        }
        let kept = match loss {
            Loss::Whole => 0,
            _ => self.prng.below(self.moves.len() as u64 + 1) as usize,
        };
        self.counts.lost_names += u64::from(kept < self.moves.len());
        let names = match kept {
            0 => self.names_durable.clone(),
            n => self.moves[n - 1].clone(),
        };
        for inode in &mut self.inodes {
            inode.power_off(loss, &mut self.prng, &mut self.counts);
        }
        self.names_durable.clone_from(&names);
        self.names = names;
        self.moves.clear();
        self.forget_unnamed();
    }

    /// Nothing planned happens any more.
    pub fn settle(&mut self) {
        self.crash_at = None;
        self.sync_fails_once = false;
        self.rot_reads = 0;
    }

    /// What is durable now.
    pub fn image(&self) -> Image {
        let inodes = self.inodes.iter().map(Inode::durable_copy).collect();
        Image { inodes, names: self.names_durable.clone() }
    }

    /// Puts an older image back: valid bytes, and everything since then forgotten.
    pub fn restore(&mut self, image: &Image) {
        self.inodes.clone_from(&image.inodes);
        self.names.clone_from(&image.names);
        self.names_durable.clone_from(&image.names);
        self.moves.clear();
    }

    /// Everything is gone: a new, empty disk.
    pub fn erase(&mut self) {
        self.restore(&Image { inodes: Vec::new(), names: BTreeMap::new() });
    }

    /// Flips one durable, vouched bit; of a file of values or an index its sector is at times lost
    /// instead. Says where, or none when there is no such byte.
    pub fn rot(&mut self, pick: u64) -> Option<String> {
        let (name, inode, at) = self.pick_vouched(pick)?;
        if name.starts_with("values/") && pick >> 56 & 7 < 3 {
            self.inodes[inode].spoil(at);
            self.counts.rot_rest += 1;
            self.counts.bad_sectors += 1;
            return Some(format!("{name} at byte {at}, unreadable"));
        }
        let mask = 1u8 << (pick >> 59 & 7);
        self.inodes[inode].flip(at, mask);
        self.counts.rot_rest += 1;
        Some(format!("{name} at byte {at}, mask {mask:#04x}"))
    }

    /// A sector lands on another one. Says where, or none when nothing would change.
    pub fn misdirect(&mut self, pick: u64) -> Option<String> {
        let mut random = Prng::new(pick);
        let (from, source, at) = self.pick_vouched(random.next_u64())?;
        let (to, target, over) = self.pick_vouched(random.next_u64())?;
        let sector = self.inodes[source].sector(at);
        let moved = self.inodes[target].overwrite_vouched(over, &sector);
        if !moved {
            return None;
        }
        self.counts.misdirected += 1;
        Some(format!("a sector of {from} at {at} written over {to} at {over}"))
    }

    fn pick_vouched(&mut self, pick: u64) -> Option<(String, usize, usize)> {
        let mut random = Prng::new(pick);
        let sizes: Vec<(String, usize, usize)> = self
            .names
            .iter()
            .filter_map(|(name, &inode)| {
                let n = self.inodes[inode].vouched(name);
                (n > 0).then(|| (name.clone(), inode, n))
            })
            .collect();
        let total: usize = sizes.iter().map(|(_, _, n)| n).sum();
        if total == 0 {
            return None;
        }
        let mut at = random.below(total as u64) as usize;
        for (name, inode, n) in sizes {
            if at < n {
                return Some((name, inode, at));
            }
            at -= n;
        }
        None
    }

    fn change(&mut self) -> io::Result<()> {
        if self.dead {
            return Err(io::Error::other("the power is off"));
        }
        self.changes += 1;
        if self.crash_at.is_some_and(|at| self.changes >= at) {
            self.dead = true;
            self.counts.crash_points += 1;
            return Err(io::Error::other("the power went"));
        }
        Ok(())
    }

    fn grows(&mut self, bytes: usize) -> io::Result<()> {
        if self.full && self.room >= bytes as u64 {
            self.room -= bytes as u64;
        } else if self.full {
            self.counts.full += 1;
            return Err(io::Error::new(io::ErrorKind::StorageFull, "no space left on device"));
        }
        Ok(())
    }

    fn moved(&mut self) {
        self.moves.push(self.names.clone());
    }

    /// Files that no name reaches any more give their bytes back.
    fn forget_unnamed(&mut self) {
        let mut named = vec![false; self.inodes.len()];
        for inode in self.names.values().chain(self.names_durable.values()) {
            named[*inode] = true;
        }
        for (inode, named) in self.inodes.iter_mut().zip(named) {
            if !named {
                *inode = Inode::default();
            }
        }
    }
}

fn missing(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no file {name}"))
}

impl Disk for SimDisk {
    fn list(&mut self) -> io::Result<Vec<String>> {
        let machine = self.machine();
        let names = machine.names.keys().filter_map(|name| name.strip_prefix(self.dir));
        Ok(names.filter(|name| !name.contains('/')).map(str::to_owned).collect())
    }

    fn open(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let path = self.path(name);
        let inode = *self.machine().names.get(&path).ok_or_else(|| missing(name))?;
        Ok(Box::new(SimFile { machine: Arc::clone(&self.machine), inode, path }))
    }

    fn create(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let path = self.path(name);
        let mut machine = self.machine();
        machine.change()?;
        machine.grows(1)?;
        let inode = match machine.names.get(&path) {
            Some(&at) => at,
            None => {
                machine.inodes.push(Inode::default());
                let at = machine.inodes.len() - 1;
                machine.names.insert(path.clone(), at);
                machine.moved();
                at
            }
        };
        machine.room += machine.inodes[inode].written().len() as u64;
        machine.inodes[inode].set_len(0);
        drop(machine);
        Ok(Box::new(SimFile { machine: Arc::clone(&self.machine), inode, path }))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.path(from), self.path(to));
        let mut machine = self.machine();
        machine.change()?;
        let at = machine.names.remove(&from).ok_or_else(|| missing(&from))?;
        if let Some(replaced) = machine.names.insert(to, at) {
            machine.room += machine.inodes[replaced].written().len() as u64;
        }
        machine.moved();
        Ok(())
    }

    fn remove(&mut self, file: &Ours) -> io::Result<()> {
        let name = file.name();
        let path = self.path(name);
        let mut machine = self.machine();
        machine.change()?;
        let inode = machine.names.remove(&path).ok_or_else(|| missing(name))?;
        machine.room += machine.inodes[inode].written().len() as u64;
        machine.moved();
        Ok(())
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        let mut machine = self.machine();
        machine.change()?;
        machine.names_durable = machine.names.clone();
        machine.moves.clear();
        machine.forget_unnamed();
        Ok(())
    }
}

struct SimFile {
    machine: Arc<Mutex<Machine>>,
    inode: usize,
    path: String,
}

impl SimFile {
    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().expect("one thread, and no holder panics")
    }
}

impl DiskFile for SimFile {
    fn len(&mut self) -> io::Result<u64> {
        Ok(self.machine().inodes[self.inode].written().len() as u64)
    }

    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut machine = self.machine();
        let inode = &machine.inodes[self.inode];
        let image = inode.written();
        let from = image.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
        let n = into.len().min(image.len() - from);
        if inode.is_bad(&(from..from + n)) {
            machine.counts.bad_reads += 1;
            return Err(io::Error::other("a bad sector"));
        }
        into[..n].copy_from_slice(&image[from..from + n]);
        let safe = inode.vouched(&self.path).saturating_sub(from).min(n);
        if machine.rot_reads > 0 && safe > 0 {
            machine.rot_reads -= 1;
            machine.counts.rot_read += 1;
            let at = machine.prng.below(safe as u64) as usize;
            into[at] ^= 1 << machine.prng.below(8);
        }
        Ok(n)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut machine = self.machine();
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        if machine.dead {
            return machine.change();
        }
        let mut done = machine.change();
        let len = machine.inodes[self.inode].written().len();
        if done.is_ok() && offset + bytes.len() > len {
            done = machine.grows(offset + bytes.len() - len);
        }
        let keep = match &done {
            Ok(()) => bytes.len(),
            // What failed may still have reached the disk, in part.
            Err(_) => machine.prng.below(bytes.len() as u64 + 1) as usize,
        };
        machine.inodes[self.inode].write(Change::write(offset, &bytes[..keep], done.is_ok()));
        done
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        let mut machine = self.machine();
        machine.change()?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        machine.inodes[self.inode].set_len(len);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut machine = self.machine();
        machine.change()?;
        if machine.sync_fails_once {
            // The pages are marked clean and still readable: the next sync succeeds without
            // them (Rebello et al., ATC 2020).
            machine.sync_fails_once = false;
            machine.counts.sync_failed += 1;
            machine.inodes[self.inode].drop_pending();
            return Err(io::Error::other("input/output error"));
        }
        machine.inodes[self.inode].sync();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
