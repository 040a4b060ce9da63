//! What is known of a value file once it is open: which block holds which versions.

use super::layout::{ENTRY_BYTES, FOOTER_TAG, Footer, HEADER_BYTES, TABLE, get_age, read_header};
use super::{Age, Interval, ValueFile};
use crate::block::{BODY_BYTES_MAX, HEAD_BYTES, Source};
use crate::disk::{self, again};
use crate::{StoreError, StoreErrorKind};
use base::codec::{DecodeError, Get};
use std::ops::Range;
use wal::{Disk, DiskFile};

/// A block of versions: its first one, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    revision: i64,
    offset: u64,
    sub: u32,
    len: u32,
}

impl Entry {
    /// `None` for a range that no block fills.
    pub fn of(age: Age, at: Range<u64>) -> Option<Self> {
        let len = at.end.checked_sub(at.start)?;
        let fits = (HEAD_BYTES as u64 + 1..=(HEAD_BYTES + BODY_BYTES_MAX) as u64).contains(&len);
        let len = u32::try_from(len).ok().filter(|_| fits)?;
        Some(Self { revision: age.0, offset: at.start, sub: age.1, len })
    }

    pub fn age(&self) -> Age {
        (self.revision, self.sub)
    }

    pub fn at(&self) -> Range<u64> {
        self.offset..self.offset + u64::from(self.len)
    }
}

/// The blocks of the key section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub at: Range<u64>,
    /// Numbers of its blocks.
    pub numbers: Range<u64>,
    pub pieces: u64,
}

/// Which file, and its block table; immutable, and shared by whoever reads. 24 bytes a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueTable {
    about: ValueFile,
    name: String,
    seal: u32,
    entries: Vec<Entry>,
    /// Of a salvaged file, the number of each block; otherwise they are numbered as they stand.
    numbers: Vec<u64>,
    /// None where not all of it was found.
    keys: Option<Section>,
    /// Of a salvaged file, revisions of which blocks are lost, each by the block behind it.
    holes: Vec<(usize, Range<i64>)>,
}

impl ValueTable {
    /// Opens the file that is known by this. Errors: `Io`, `Corrupt` (damaged, or another file:
    /// of another interval, generation, length, number of versions or digest), `Unknown`.
    pub fn open(disk: &mut dyn Disk, known: &ValueFile) -> Result<Self, StoreError> {
        let name = known.interval.name();
        let mut file = disk::open_known(disk, &name)?;
        again(|| {
            let opened = Self::read(file.as_mut(), &name)?;
            if opened.about != *known {
                let what = format!("is {}, not {}", told(&opened.about), told(known));
                return Err(StoreError::corrupt(&name, 0, what));
            }
            Ok(opened)
        })
    }

    fn read(file: &mut dyn DiskFile, name: &str) -> Result<Self, StoreError> {
        let (about, footer) = read_ends(file, name)?;
        let [blocks, versions, pieces, keys_at, table_at] = footer.counts;
        let end = footer.len - Footer::BYTES as u64;
        let mut source = Source { file, name, seal: footer.seal };
        let entries = read_entries(&mut source, blocks, table_at..end, keys_at)?;
        let first = entries.len() as u64;
        let keys = first <= blocks && (first < blocks) == (keys_at < table_at);
        if !keys || (versions == 0) != entries.is_empty() {
            return Err(StoreError::corrupt(name, end, "footer: blocks of other sections"));
        }
        let keys = Section { at: keys_at..table_at, numbers: first..blocks, pieces };
        let (name, seal) = (name.to_owned(), footer.seal);
        let (numbers, holes) = (Vec::new(), Vec::new());
        Ok(Self { about, name, seal, entries, numbers, keys: Some(keys), holes })
    }

    pub(super) fn salvaged(
        about: ValueFile,
        seal: u32,
        blocks: Vec<(u64, Entry)>,
        keys: Option<Section>,
        holes: Vec<(usize, Range<i64>)>,
    ) -> Self {
        let name = about.interval.name();
        let (numbers, entries) = blocks.into_iter().unzip();
        Self { about, name, seal, entries, numbers, keys, holes }
    }

    /// Revisions of which blocks are lost; none of a file that was not salvaged. The first and the
    /// last of a range may not be lost altogether.
    pub fn lost(&self) -> impl Iterator<Item = Range<i64>> {
        self.holes.iter().map(|(_, revisions)| revisions.clone())
    }

    /// What is lost before a block, or behind the last one, and behind `from`.
    pub(super) fn hole(&self, n: usize, from: Age) -> Option<&Range<i64>> {
        let hole = self.holes.iter().find(|(before, _)| *before == n);
        let is_ahead = self.first_age(n).is_none_or(|first| from < first);
        hole.filter(|_| is_ahead).map(|(_, revisions)| revisions)
    }

    pub fn about(&self) -> &ValueFile {
        &self.about
    }

    /// Of the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn interval(&self) -> Interval {
        self.about.interval
    }

    pub(super) fn seal(&self) -> u32 {
        self.seal
    }

    /// Number of blocks of versions.
    pub fn blocks(&self) -> usize {
        self.entries.len()
    }

    /// Number of pieces of the key section; unknown in a salvaged file that lost some of it.
    pub fn pieces(&self) -> Option<u64> {
        self.keys.as_ref().map(|keys| keys.pieces)
    }

    pub(super) fn keys(&self) -> Option<&Section> {
        self.keys.as_ref()
    }

    /// The block that holds the version of this age, if any does.
    pub fn find(&self, age: Age) -> Option<usize> {
        self.entries.partition_point(|entry| entry.age() <= age).checked_sub(1)
    }

    /// Where a block of versions stands, and its number in the file.
    pub(super) fn entry(&self, n: usize) -> (Entry, u64) {
        (self.entries[n], self.numbers.get(n).copied().unwrap_or(n as u64))
    }

    /// The revisions of which a block holds versions: others may hold more of the first and the
    /// last of them.
    pub fn revisions(&self, n: usize) -> Range<i64> {
        let first = if n == 0 { self.about.interval.first } else { self.entries[n].revision };
        let end = match self.entries.get(n + 1) {
            None => self.about.interval.end,
            Some(next) => next.revision + i64::from(next.sub > 0),
        };
        first..end
    }

    /// Age of the first version of a block, if there are so many.
    pub fn first_age(&self, n: usize) -> Option<Age> {
        self.entries.get(n).map(Entry::age)
    }
}

fn told(file: &ValueFile) -> String {
    let ValueFile { interval: Interval { first, end, generation }, versions, len, digest } = file;
    let of = format!("revisions {first} to below {end}, generation {generation}");
    format!("of {of}, {versions} versions, {len} bytes, digest {digest:016x}")
}

/// Header and footer, which must be of one file.
fn read_ends(file: &mut dyn DiskFile, name: &str) -> Result<(ValueFile, Footer), StoreError> {
    // What is of another version has another footer, too: its header says so.
    let (interval, seal) = read_header(file, name)?;
    let footer = Footer::read(file, name, FOOTER_TAG)?;
    let [_, versions, _, keys_at, table_at] = footer.counts;
    let end = footer.len - Footer::BYTES as u64;
    let ends = [HEADER_BYTES as u64, keys_at, table_at, end];
    if footer.seal != seal || !ends.is_sorted() {
        return Err(StoreError::corrupt(name, end, "the footer of another file"));
    }
    Ok((ValueFile { interval, versions, len: footer.len, digest: footer.digest }, footer))
}

/// A file as it says it is itself. Errors: `Io`, `Corrupt`, `Unknown`.
pub(crate) fn describe(disk: &mut dyn Disk, name: &str) -> Result<ValueFile, StoreError> {
    let mut file = disk::open(disk, name)?;
    again(|| Ok(read_ends(file.as_mut(), name)?.0))
}

/// The table, whose blocks are numbered from `number` on and fill `at`. What it lists begins behind
/// the header and ends at `end`.
fn read_entries(
    source: &mut Source<'_>,
    mut number: u64,
    mut at: Range<u64>,
    end: u64,
) -> Result<Vec<Entry>, StoreError> {
    let (name, table_at) = (source.name, at.start);
    let wrong = || StoreError::corrupt(name, table_at, "a table that no writer makes");
    let mut listed: Vec<(Age, u64)> = Vec::new();
    while !at.is_empty() {
        let block = source.next((TABLE.tag(), number), at.clone())?;
        if block.body().len() != block.head.count as usize * ENTRY_BYTES {
            return Err(wrong());
        }
        let mut get = Get::new(block.body());
        while get.remaining() > 0 {
            let mut one = || Ok::<_, DecodeError>((get_age(&mut get)?, get.u64()?));
            listed.push(one().map_err(|_| wrong())?);
        }
        at.start += block.bytes.len() as u64;
        number = number.checked_add(1).ok_or_else(wrong)?;
    }
    let begins = listed.first().map_or(end, |(_, offset)| *offset);
    if begins != HEADER_BYTES as u64 || !listed.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(wrong());
    }
    let ends = listed.iter().skip(1).map(|(_, offset)| *offset).chain([end]);
    let entries = listed.iter().zip(ends).map(|((age, at), end)| Entry::of(*age, *at..end));
    entries.collect::<Option<_>>().ok_or_else(wrong)
}

/// Errors: `Corrupt`, for a block that says other than its table.
pub(super) fn unlike(table: &ValueTable, n: usize) -> StoreError {
    let (entry, number) = table.entry(n);
    let what = format!("block {number} does not hold what its table says");
    StoreError::new(StoreErrorKind::Corrupt, &table.name, entry.at().start, what)
}
