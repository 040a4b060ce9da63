//! One file: its bytes as written, its bytes as durable, and what lies between.

use super::{DiskCounts, Loss};
use base::Prng;
use std::ops::Range;

const SECTOR: usize = 512;

#[derive(Clone, Debug)]
pub(super) enum Change {
    Write {
        offset: usize,
        bytes: Vec<u8>,
        /// It did not fail half way.
        whole: bool,
    },
    Length(usize),
}

impl Change {
    pub fn write(offset: usize, bytes: &[u8], whole: bool) -> Self {
        Self::Write { offset, bytes: bytes.to_vec(), whole }
    }

    /// Zeros wipe a torn tail, and what failed may be a part: neither is a header that vouches for
    /// what is before it.
    fn vouches(&self) -> bool {
        matches!(self, Self::Write { bytes, whole: true, .. } if bytes.iter().any(|b| *b != 0))
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    written: Vec<u8>,
    durable: Vec<u8>,
    /// Changes since the last sync, oldest first.
    pending: Vec<Change>,
    /// End of what was written since the file was begun anew (a write at its start).
    data_end: usize,
    synced_end: usize,
    /// A durable write followed a sync of everything below this: a later header vouches for it.
    vouched: usize,
    candidate: usize,
    /// Bytes that cannot be read any more.
    bad: Range<usize>,
}

impl Inode {
    /// The sector at this byte cannot be read from now on.
    pub fn spoil(&mut self, at: usize) {
        let start = at / SECTOR * SECTOR;
        self.bad = start..start + SECTOR;
    }

    /// Whether some of this cannot be read.
    pub fn is_bad(&self, bytes: &Range<usize>) -> bool {
        bytes.start < self.bad.end && self.bad.start < bytes.end
    }

    pub fn written(&self) -> &[u8] {
        &self.written
    }

    /// Bytes from the start whose damage must be noticed: in a journal those a later batch
    /// vouches for, in any other file all that is durable.
    pub fn vouched(&self, name: &str) -> usize {
        if store::is_aside(name.rsplit('/').next().unwrap_or(name)) {
            0
        } else if name.starts_with("journal/segment-") {
            self.vouched.min(self.durable.len())
        } else if [".qc", ".qv", ".qx"].iter().any(|end| name.ends_with(end))
            || name == "identity"
            || name == "repair"
        {
            if self.pending.is_empty() { self.durable.len() } else { 0 }
        } else {
            0
        }
    }

    pub fn write(&mut self, change: Change) {
        if let Change::Write { offset, bytes, .. } = &change {
            if change.vouches() && !self.pending.iter().any(Change::vouches) {
                // What is written again is vouched for only up to where that begins.
                self.candidate = self.synced_end.min(*offset);
            }
            put(&mut self.written, *offset, bytes);
            if self.is_bad(&(*offset..offset + bytes.len())) {
                self.bad = 0..0;
            }
            if *offset == 0 {
                // A header: the file starts over.
                (self.data_end, self.synced_end) = (bytes.len(), 0);
                (self.vouched, self.candidate) = (0, 0);
            } else {
                self.data_end = self.data_end.max(offset + bytes.len());
            }
        }
        self.pending.push(change);
    }

    pub fn set_len(&mut self, len: usize) {
        self.written.resize(len, 0);
        if len == 0 {
            (self.data_end, self.synced_end) = (0, 0);
            (self.vouched, self.candidate) = (0, 0);
        }
        self.pending.push(Change::Length(len));
    }

    pub fn sync(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        for change in self.pending.drain(..) {
            apply(&mut self.durable, &change);
        }
        self.synced_end = self.data_end;
        self.vouched = self.vouched.max(self.candidate);
    }

    /// The pages are clean now, and were never written.
    pub fn drop_pending(&mut self) {
        self.pending.clear();
    }

    pub fn durable_copy(&self) -> Self {
        Self {
            written: self.durable.clone(),
            durable: self.durable.clone(),
            pending: Vec::new(),
            data_end: self.synced_end,
            synced_end: self.synced_end,
            vouched: self.vouched,
            candidate: self.vouched,
            bad: self.bad.clone(),
        }
    }

    pub fn power_off(&mut self, loss: Loss, random: &mut Prng, counts: &mut DiskCounts) {
        for change in std::mem::take(&mut self.pending) {
            let Change::Write { offset, bytes, .. } = &change else {
                if loss != Loss::Whole && random.below(2) == 0 {
                    apply(&mut self.durable, &change);
                }
                continue;
            };
            let how = match loss {
                Loss::Mixed => random.below(4),
                Loss::Whole => 0,
                Loss::Prefix => 1,
                Loss::Sectors => 2,
                Loss::None => 3,
            };
            match how {
                0 => counts.lost_whole += 1,
                1 => {
                    let n = random.below(bytes.len() as u64 + 1) as usize;
                    counts.lost_prefix += u64::from(n < bytes.len());
                    put(&mut self.durable, *offset, &bytes[..n]);
                }
                2 => {
                    let lost = put_sectors(&mut self.durable, *offset, bytes, random);
                    counts.lost_sectors += u64::from(lost);
                }
                _ => put(&mut self.durable, *offset, bytes),
            }
        }
        self.written.clone_from(&self.durable);
        self.synced_end = self.synced_end.min(self.durable.len());
        self.data_end = self.synced_end;
        self.candidate = self.vouched;
    }

    pub fn flip(&mut self, at: usize, mask: u8) {
        for image in [&mut self.written, &mut self.durable] {
            if let Some(byte) = image.get_mut(at) {
                *byte ^= mask;
            }
        }
    }

    /// The sector around a byte, as far as the file goes.
    pub fn sector(&self, at: usize) -> Vec<u8> {
        let start = at / SECTOR * SECTOR;
        self.durable[start..self.durable.len().min(start + SECTOR)].to_vec()
    }

    /// Writes a sector over the one around `at`, but never over bytes nobody vouches for. False
    /// when nothing changed.
    pub fn overwrite_vouched(&mut self, at: usize, sector: &[u8]) -> bool {
        let start = at / SECTOR * SECTOR;
        let vouched = if self.vouched == 0 { self.durable.len() } else { self.vouched };
        let end = vouched.min(start + sector.len()).max(start);
        let new = &sector[..end - start];
        if self.durable[start..end] == *new {
            return false;
        }
        for image in [&mut self.written, &mut self.durable] {
            image[start..end].copy_from_slice(new);
        }
        true
    }
}

fn apply(image: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { offset, bytes, .. } => put(image, *offset, bytes),
        Change::Length(n) => image.resize(*n, 0),
    }
}

fn put(image: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[offset..end].copy_from_slice(bytes);
}

/// True when a sector was left out.
fn put_sectors(image: &mut Vec<u8>, offset: usize, bytes: &[u8], random: &mut Prng) -> bool {
    let (mut at, mut lost) = (0, false);
    while at < bytes.len() {
        let until = bytes.len().min(at + SECTOR - (offset + at) % SECTOR);
        if random.below(2) == 0 {
            put(image, offset + at, &bytes[at..until]);
        } else {
            lost = true;
        }
        at = until;
    }
    lost
}
