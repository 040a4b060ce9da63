//! What is left of a value file whose header, table or footer is damaged.

use super::layout::{
    FOOTER_TAG, Footer, HEADER_BYTES, KEYS, TABLE, VERSIONS, read_header, seal_of,
};
use super::table::{Entry, Section};
use super::{Age, Interval, ValueFile, ValueTable, VersionBlock};
use crate::block::{HEAD_BYTES, Head, Verified};
use crate::blocks::Kind;
use crate::disk::{self, again, read_up_to};
use crate::{StoreError, StoreErrorKind};
use std::collections::BTreeMap;
use std::ops::Range;
use wal::{Disk, DiskFile};

const KINDS: [Kind; 3] = [VERSIONS, KEYS, TABLE];
/// Bytes that are looked through at once for the next block.
const WINDOW_BYTES: usize = 4 << 10;
/// A disk fails to read no less than one of these.
const SECTOR_BYTES: u64 = 512;
/// In bytes that are looked at in vain.
const UNREADABLE_COST: u64 = 1 << 20;
/// Bytes that are looked at in vain, at most, of each of the file.
const VAIN: u64 = 8;

/// The blocks of a file that verify, wherever they stand.
#[derive(Debug)]
pub struct Salvaged {
    /// Serves what was found; what a lost block held, it does not find.
    pub table: ValueTable,
    /// The bytes that could not be read, header and footer among them. Empty: nothing is damaged.
    pub lost: Vec<Range<u64>>,
}

impl ValueTable {
    /// Looks through the file that is known by this for whatever blocks of it verify, whether or
    /// not its header, table and footer do. Errors: `Io`, `Corrupt` when it is gone.
    pub fn rebuild(disk: &mut dyn Disk, known: &ValueFile) -> Result<Salvaged, StoreError> {
        let name = known.interval.name();
        let mut file = disk::open_known(disk, &name)?;
        let len = file.len().map_err(|e| StoreError::io(&name, "length", &e))?;
        let seal = seal_of(known.interval);
        let budget = VAIN * len + (1 << 20);
        let file = file.as_mut();
        let mut scan = Scan { file, name: &name, known, seal, len, budget, found: BTreeMap::new() };
        scan.blocks()?;
        let (header, footer) = (scan.header()?, scan.footer()?);
        scan.drop_displaced();
        let found = &scan.found;
        let keys = key_section(found, footer.as_ref().map(|footer| footer.start));
        let mut whole: Vec<Range<u64>> = found.values().map(|block| block.at.clone()).collect();
        whole.extend(header.into_iter().chain(footer));
        let lost = complement(whole, len);
        let versions = found.iter().filter_map(|(number, block)| {
            let (first, _) = block.ages?;
            Some((*number, Entry::of(first, block.at.clone())?))
        });
        let holes = holes(found, known);
        let table = Self::salvaged(known.clone(), seal, versions.collect(), keys, holes);
        Ok(Salvaged { table, lost })
    }
}

/// A block that verifies.
struct Found {
    tag: u32,
    at: Range<u64>,
    records: u32,
    /// Of the first version and the last, in a block of versions.
    ages: Option<(Age, Age)>,
}

struct Scan<'a> {
    file: &'a mut dyn DiskFile,
    name: &'a str,
    known: &'a ValueFile,
    seal: u32,
    len: u64,
    /// Bytes that may still be looked at in vain.
    budget: u64,
    /// By number.
    found: BTreeMap<u64, Found>,
}

impl Scan<'_> {
    fn blocks(&mut self) -> Result<(), StoreError> {
        let mut at = HEADER_BYTES as u64;
        while at < self.len {
            at = match self.block(at)? {
                Some((number, block)) => {
                    let end = block.at.end;
                    self.found.entry(number).or_insert(block);
                    end
                }
                None => self.next_tag(at + 1)?,
            };
        }
        Ok(())
    }

    /// The block that begins there, if one does.
    fn block(&mut self, at: u64) -> Result<Option<(u64, Found)>, StoreError> {
        let none = || StoreError::corrupt(self.name, at, "no block");
        let mut vain = 0;
        let read = sound(again(|| {
            let head = Head::of(&read_up_to(self.file, self.name, at, HEAD_BYTES)?);
            let (len, budget) = (self.len, self.budget);
            let head = head.filter(|head| is_likely(head, len - at, budget)).ok_or_else(none)?;
            vain = head.block_bytes();
            let bytes = read_up_to(self.file, self.name, at, vain as usize)?;
            Verified::of(self.seal, bytes).ok_or_else(none)
        }))?;
        let Some(block) = read else {
            // It was read twice.
            self.budget = self.budget.saturating_sub(2 * vain);
            return Ok(None);
        };
        let len = block.head.block_bytes();
        let Head { tag, count: records, number, .. } = block.head;
        let mut ages = None;
        if tag == VERSIONS.tag() {
            let of = VersionBlock::of(block.body(), records, self.known.interval);
            let Ok(versions) = of else { return Ok(None) };
            ages = Some(versions.ages());
        }
        Ok(Some((number, Found { tag, at: at..at + len, records, ages })))
    }

    /// Where the next tag of a block stands, from there on; otherwise the end.
    fn next_tag(&mut self, mut at: u64) -> Result<u64, StoreError> {
        while at < self.len && self.budget > 0 {
            let Some(window) = self.window(at)? else {
                // A disk may take seconds for each: a file of many is fetched from others.
                self.budget = self.budget.saturating_sub(UNREADABLE_COST);
                at += left_of_sector(at);
                continue;
            };
            let is_tag = |word: &[u8]| KINDS.iter().any(|kind| kind.tag == *word);
            let tag = window.windows(4).position(is_tag);
            let seen = tag.unwrap_or(window.len().saturating_sub(3).max(1)) as u64;
            self.budget = self.budget.saturating_sub(window.len() as u64);
            at += seen;
            if tag.is_some() {
                return Ok(at);
            }
        }
        Ok(self.len)
    }

    /// What stands there, less of it where a place behind cannot be read, none where that one is.
    fn window(&mut self, at: u64) -> Result<Option<Vec<u8>>, StoreError> {
        for len in [WINDOW_BYTES, left_of_sector(at) as usize] {
            let window = sound(read_up_to(self.file, self.name, at, len))?;
            if window.is_some() {
                return Ok(window);
            }
        }
        Ok(None)
    }

    /// The bytes of the header, if they are what they should be.
    fn header(&mut self) -> Result<Option<Range<u64>>, StoreError> {
        let read = again(|| read_header(self.file, self.name));
        let seal = sound(read)?.map(|(_, seal)| seal);
        Ok((seal == Some(self.seal)).then_some(0..HEADER_BYTES as u64))
    }

    /// The bytes of the footer, if it is the known one.
    fn footer(&mut self) -> Result<Option<Range<u64>>, StoreError> {
        let footer = sound(again(|| Footer::read(self.file, self.name, FOOTER_TAG)))?;
        let known = footer.is_some_and(|footer| {
            let says = (footer.seal, footer.counts[1], footer.len, footer.digest);
            says == (self.seal, self.known.versions, self.known.len, self.known.digest)
        });
        Ok(known.then_some(self.len.saturating_sub(Footer::BYTES as u64)..self.len))
    }

    /// Leaves out blocks of versions that are not behind those before them by number.
    fn drop_displaced(&mut self) {
        let mut before: Option<Age> = None;
        self.found.retain(|_, block| {
            let Some((first, last)) = block.ages else { return true };
            let rises = before.is_none_or(|before| before < first);
            if rises {
                before = Some(last);
            }
            rises
        });
    }
}

/// Bytes from there to where the next place begins that may be readable.
fn left_of_sector(at: u64) -> u64 {
    SECTOR_BYTES - at % SECTOR_BYTES
}

/// Whether a head may be one, before so many bytes, as far as it says itself.
fn is_likely(head: &Head, left: u64, budget: u64) -> bool {
    KINDS.iter().any(|kind| kind.tag() == head.tag)
        && head.is_bounded()
        && head.block_bytes() <= left.min(budget)
}

/// What was read, unless it is damaged. Errors: `Io`.
fn sound<T>(read: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind == StoreErrorKind::Io => Err(error),
        Err(_) => Ok(None),
    }
}

/// Revisions of which blocks are not there, each by the place of the block behind it.
fn holes(found: &BTreeMap<u64, Found>, known: &ValueFile) -> Vec<(usize, Range<i64>)> {
    let blocks = found.iter().filter_map(|(number, block)| Some((*number, block, block.ages?)));
    let Interval { first, end, .. } = known.interval;
    let (mut holes, mut place, mut versions) = (Vec::new(), 0, 0);
    let (mut next, mut from) = (0, first);
    for (number, block, (oldest, newest)) in blocks {
        if number != next {
            // Of the revision that the next block begins with, a part may be lost.
            let to = oldest.0 + i64::from(oldest.1 > 0);
            holes.push((place, from..to.max(from + 1)));
        }
        (next, from) = (number + 1, newest.0);
        (place, versions) = (place + 1, versions + u64::from(block.records));
    }
    if versions == known.versions {
        return Vec::new();
    }
    let ends = found.get(&next).is_some_and(|block| block.tag != VERSIONS.tag());
    if !ends || holes.is_empty() {
        holes.push((place, from..end));
    }
    holes
}

/// The key section, if all of it is there: from the last version, block behind block, to the table
/// or the footer.
fn key_section(found: &BTreeMap<u64, Found>, footer_at: Option<u64>) -> Option<Section> {
    let last = found.iter().rev().find(|(_, block)| block.tag == VERSIONS.tag());
    let behind = last.map(|(number, block)| (number + 1, block.at.end));
    let (first, start) = behind.unwrap_or((0, HEADER_BYTES as u64));
    let (mut number, mut end, mut pieces) = (first, start, 0);
    let at = |number: u64, place: u64| found.get(&number).filter(|b| b.at.start == place);
    while let Some(block) = at(number, end).filter(|block| block.tag == KEYS.tag()) {
        pieces += u64::from(block.records);
        (number, end) = (number + 1, block.at.end);
    }
    let ends = at(number, end).is_some_and(|block| block.tag == TABLE.tag());
    let whole = ends || footer_at == Some(end);
    whole.then_some(Section { at: start..end, numbers: first..number, pieces })
}

/// The bytes of a file of this length that are in none of these ranges.
fn complement(mut ranges: Vec<Range<u64>>, len: u64) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    let (mut lost, mut at) = (Vec::new(), 0);
    for range in ranges.into_iter().chain(std::iter::once(len..len)) {
        if at < range.start {
            lost.push(at..range.start);
        }
        at = at.max(range.end);
    }
    lost
}
