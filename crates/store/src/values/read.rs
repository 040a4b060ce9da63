//! Reading value files.

use super::layout::{Footer, HEADER_BYTES, KEYS, VERSIONS};
use super::table::unlike;
use super::{Age, ValueTable, VersionBlock};
use crate::StoreError;
use crate::block::Source;
use crate::digest::Digest;
use crate::disk::{self, read_up_to};
use crate::run::Run;
use base::{Blob, planted};
use std::ops::Range;
use std::sync::Arc;
use wal::{Disk, DiskFile};

/// A handle on a file whose table is shared. Each thread that reads has one of its own.
pub struct ValueReader {
    table: Arc<ValueTable>,
    file: Box<dyn DiskFile>,
}

impl ValueReader {
    /// Errors: `Io`, `Corrupt` when it is gone.
    pub fn open(disk: &mut dyn Disk, table: Arc<ValueTable>) -> Result<Self, StoreError> {
        let file = disk::open_known(disk, table.name())?;
        Ok(Self { table, file })
    }

    pub fn table(&self) -> &Arc<ValueTable> {
        &self.table
    }

    fn source(&mut self) -> Source<'_> {
        let (name, seal) = (self.table.name(), self.table.seal());
        Source { file: self.file.as_mut(), name, seal }
    }

    /// The `n`th block of versions, checked. Errors: `Io`, `Corrupt`: the others are as they were.
    ///
    /// Panics when there are not so many.
    pub fn block(&mut self, n: usize) -> Result<VersionBlock, StoreError> {
        let (entry, number) = self.table.entry(n);
        let block = self.source().block((VERSIONS.tag(), number), entry.at())?;
        let table = &self.table;
        let of = VersionBlock::of(block.body(), block.head.count, table.interval());
        let versions = of.map_err(|_| unlike(table, n))?;
        let (first, last) = versions.ages();
        if first != entry.age() || table.first_age(n + 1).is_some_and(|next| next <= last) {
            return Err(unlike(table, n));
        }
        Ok(versions)
    }

    /// The block that holds the version of this age, if the file has that version. In a salvaged
    /// file it may have been in a block that is lost. Errors: as `block`.
    pub fn block_of(&mut self, age: Age) -> Result<Option<VersionBlock>, StoreError> {
        let Some(n) = self.table.find(age) else { return Ok(None) };
        let block = self.block(n)?;
        Ok(block.range(age).is_some().then_some(block))
    }

    /// All versions from this age on.
    pub fn versions_from(&mut self, age: Age) -> Versions<'_> {
        let next = self.table.find(age).unwrap_or(0);
        Versions { reader: self, from: age, next, block: None, read: 0, told: None }
    }

    /// The pieces of the key section in order. Errors: `Corrupt`, of a salvaged file that lost
    /// some of them.
    pub fn pieces(&mut self) -> Result<Pieces<'_>, StoreError> {
        let Some(keys) = self.table.keys() else {
            let what = "not all of its key section was found";
            return Err(StoreError::corrupt(self.table.name(), HEADER_BYTES as u64, what));
        };
        let place = (KEYS.tag(), keys.numbers.start);
        let run = Run::new(place, keys.at.clone(), Digest::default());
        Ok(Pieces { reader: self, run, ended: false })
    }

    /// Reads every byte against the digest. Errors: `Io`, `Corrupt`.
    pub fn verify(&mut self) -> Result<(), StoreError> {
        const STEP: u64 = 1 << 20;
        let (name, about) = (self.table.name(), self.table.about());
        let (mut digest, mut at) = (Digest::default(), 0);
        let end = about.len.saturating_sub(Footer::BYTES as u64);
        while at < end {
            let len = STEP.min(end - at);
            let bytes = read_up_to(self.file.as_mut(), name, at, len as usize)?;
            if bytes.len() as u64 != len {
                return Err(StoreError::corrupt(name, at, "cut short"));
            }
            digest.add(&bytes);
            at += len;
        }
        if digest.finish() != about.digest {
            return Err(StoreError::corrupt(name, 0, "the whole does not match its digest"));
        }
        Ok(())
    }
}

/// Versions in order of age. A block that does not verify is one error, as is what a salvaged file
/// lost before or behind a block, and the next call goes on behind it.
pub struct Versions<'a> {
    reader: &'a mut ValueReader,
    from: Age,
    /// The block to be read next.
    next: usize,
    block: Option<VersionBlock>,
    read: usize,
    /// The block before which something is lost, once that was said.
    told: Option<usize>,
}

impl Versions<'_> {
    /// The revisions that the last error was of.
    pub fn failed(&self) -> Range<i64> {
        let table = &self.reader.table;
        match table.hole(self.next, self.from).filter(|_| self.told == Some(self.next)) {
            Some(lost) => lost.clone(),
            None => table.revisions(self.next.saturating_sub(1)),
        }
    }

    /// The next version; none at the end. Errors: `Io`, `Corrupt`.
    pub fn next_version(&mut self) -> Result<Option<(Age, &[u8])>, StoreError> {
        while self.block.as_ref().is_none_or(|block| self.read == block.len()) {
            self.block = None;
            let table = &self.reader.table;
            if self.told != Some(self.next)
                && !planted!(HoleWalkedOver)
                && let Some(lost) = table.hole(self.next, self.from)
            {
                self.told = Some(self.next);
                let what = format!("revisions {} to below {} are lost", lost.start, lost.end);
                return Err(StoreError::corrupt(table.name(), 0, what));
            }
            if self.next == table.blocks() {
                return Ok(None);
            }
            self.next += 1;
            let block = self.reader.block(self.next - 1)?;
            self.read = block.before(self.from);
            self.block = Some(block);
        }
        self.read += 1;
        Ok(self.block.as_ref().and_then(|block| block.nth(self.read - 1)))
    }
}

/// Pieces of the key section in order. Only an end without an error is the end of all of them; an
/// error is the last item.
pub struct Pieces<'a> {
    reader: &'a mut ValueReader,
    run: Run,
    ended: bool,
}

impl Pieces<'_> {
    fn step(&mut self) -> Result<Option<Blob>, StoreError> {
        let piece = self.run.next(&mut self.reader.source())?;
        if piece.is_none() {
            let keys = self.reader.table.keys().expect("they are being read");
            let (number, pieces, _) = self.run.told();
            if (number, pieces) != (keys.numbers.end, keys.pieces) {
                let what = "a key section of other pieces than its footer says";
                let name = self.reader.table.name();
                return Err(StoreError::corrupt(name, keys.at.start, what));
            }
        }
        Ok(piece)
    }
}

impl Iterator for Pieces<'_> {
    type Item = Result<Blob, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let step = self.step().transpose();
        self.ended = !matches!(step, Some(Ok(_)));
        step
    }
}
