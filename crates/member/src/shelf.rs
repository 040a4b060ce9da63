//! What has settled, in files: written beside the thread that votes, read by whoever may wait.
//!
//! A merge puts what is new into a value file, makes anew what is worn, and writes the index that
//! goes with both. Nothing of it counts before a checkpoint names it, so a write that breaks off
//! leaves files that nobody asks for.

use crate::cache::Cache;
use crate::wounds::{Name, Wounds};
use base::{Blob, LogIndex, planted};
use mvcc::{Age, File, IndexFile, NotAtHand, Settled, Settling, Values, Version, Wanted};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use store::{
    Home, IndexReader, IndexWriter, Interval, StoreError, StoreErrorKind, ValueFile, ValueReader,
    ValueTable, ValueWriter,
};
use wal::Disk;

const PART: &str = "values";
/// Files that are open and not being read.
const IDLE_MAX: usize = 128;
/// Versions, and bytes of them, that a reader takes in one go.
const RUN_MAX: usize = 256;
const RUN_BYTES_MAX: usize = 256 << 10;

/// Of the directory itself.
fn failed(error: std::io::Error) -> StoreError {
    StoreError::new(StoreErrorKind::Io, PART, 0, error.to_string())
}

pub(crate) fn part(home: &dyn Home) -> Result<Box<dyn Disk>, StoreError> {
    home.disk(PART).map_err(failed)
}

fn known(file: &File) -> ValueFile {
    let File { first, end, generation, versions, len, digest } = *file;
    ValueFile { interval: Interval { first, end, generation }, versions, len, digest }
}

fn corrupt(file: &File, what: impl std::fmt::Display) -> StoreError {
    let name = known(file).interval.name();
    StoreError::new(StoreErrorKind::Corrupt, &name, 0, what.to_string())
}

/// By first revision and generation.
type ByName<T> = BTreeMap<Name, T>;

/// What is known of files that somebody reads; clones are one.
#[derive(Clone, Default)]
pub struct Tables(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    tables: ByName<Arc<ValueTable>>,
    /// Open, and not being read. A file that was removed gives its room back once none is left.
    idle: ByName<Vec<ValueReader>>,
    idle_count: usize,
}

impl Tables {
    fn with<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Of a file of which header, table or footer is damaged, whatever blocks are found.
    fn table(
        &self,
        disk: &mut dyn Disk,
        file: &File,
        wounds: &Wounds,
    ) -> Result<Arc<ValueTable>, StoreError> {
        let key = file.name();
        if let Some(table) = self.with(|known| known.tables.get(&key).cloned()) {
            return Ok(table);
        }
        let opened = match ValueTable::open(disk, &known(file)) {
            Err(error) if error.kind == StoreErrorKind::Corrupt => {
                let salvaged = ValueTable::rebuild(disk, &known(file))?;
                wounds.note_around(file, salvaged.table.lost());
                salvaged.table
            }
            opened => opened?,
        };
        let table = Arc::new(opened);
        self.with(|known| known.tables.insert(key, Arc::clone(&table)));
        Ok(table)
    }

    fn idle(&self, file: &File) -> Option<ValueReader> {
        self.with(|known| {
            let idle = known.idle.get_mut(&file.name()).and_then(Vec::pop);
            known.idle_count -= usize::from(idle.is_some());
            idle
        })
    }

    fn give_back(&self, file: &File, reader: ValueReader) {
        let key = file.name();
        self.with(|known| {
            if known.idle_count < IDLE_MAX && known.tables.contains_key(&key) {
                known.idle.entry(key).or_default().push(reader);
                known.idle_count += 1;
            }
        });
    }

    fn retain(&self, kept: &BTreeSet<Name>) {
        self.with(|known| {
            known.tables.retain(|key, _| kept.contains(key));
            known.idle.retain(|key, _| kept.contains(key));
            known.idle_count = known.idle.values().map(Vec::len).sum();
        });
    }
}

/// What all readers of a member share; clones are one.
#[derive(Clone)]
pub(crate) struct Shared {
    pub tables: Tables,
    pub cache: Cache,
    pub wounds: Wounds,
}

impl Shared {
    /// Of a file of which nothing is left, an error, and all of it is noted.
    fn table(&self, disk: &mut dyn Disk, file: &File) -> Result<Arc<ValueTable>, StoreError> {
        let table = self.tables.table(disk, file, &self.wounds);
        if is_damage(&table) {
            self.wounds.note(file, file.first..file.end);
        }
        table
    }

    fn reader(&self, disk: &mut dyn Disk, file: &File) -> Result<ValueReader, StoreError> {
        if let Some(idle) = self.tables.idle(file) {
            return Ok(idle);
        }
        let table = self.table(disk, file)?;
        let opened = ValueReader::open(disk, table);
        if is_damage(&opened) {
            self.wounds.note(file, file.first..file.end);
        }
        opened
    }
}

fn is_damage<T>(read: &Result<T, StoreError>) -> bool {
    matches!(read, Err(error) if error.kind == StoreErrorKind::Corrupt)
}

/// Reads versions from the cache or from their files, as long as that takes.
pub struct Shelf {
    disk: Box<dyn Disk>,
    shared: Shared,
    trouble: Option<StoreError>,
    /// For whoever knows by the index which versions are to be there: what others gave of damaged
    /// ones serves it whatever of them was compacted.
    by_index: bool,
}

impl Shelf {
    pub(crate) fn open(home: &dyn Home, shared: &Shared) -> Result<Self, StoreError> {
        Ok(Self { disk: part(home)?, shared: shared.clone(), trouble: None, by_index: false })
    }

    /// Why the last version was not at hand, if it was not: it cannot be read.
    pub fn take_error(&mut self) -> Option<StoreError> {
        self.trouble.take()
    }

    fn with<T>(
        &mut self,
        file: &File,
        read: impl FnOnce(&mut ValueReader) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut reader = self.shared.reader(self.disk.as_mut(), file)?;
        let found = read(&mut reader);
        self.shared.tables.give_back(file, reader);
        found
    }

    fn find(&mut self, file: &File, wanted: Wanted) -> Result<Version, StoreError> {
        let wounds = self.shared.wounds.clone();
        self.with(file, |reader| {
            let found = Self::find_by(reader, file, wanted);
            if is_damage(&found) {
                wounds.note(file, Self::damaged_at(reader, wanted.age));
            }
            found
        })
    }

    fn find_by(
        reader: &mut ValueReader,
        file: &File,
        wanted: Wanted,
    ) -> Result<Version, StoreError> {
        let block = reader.block_of(wanted.age)?;
        let bytes = block.as_ref().and_then(|block| block.version(wanted.age));
        let bytes = bytes.ok_or_else(|| corrupt(file, format!("no version {:?}", wanted.age)))?;
        let version = Version::decode(bytes).map_err(|error| corrupt(file, error))?;
        let is_it = version.hash() == wanted.hash || planted!(HashUnchecked);
        if version.age() == wanted.age && is_it {
            Ok(version)
        } else {
            Err(corrupt(file, format!("another version stands at {:?}", wanted.age)))
        }
    }

    /// What is damaged where the version of this age is not: its block, or that version alone.
    fn damaged_at(reader: &mut ValueReader, age: Age) -> Range<i64> {
        let block = reader.table().find(age);
        match block.filter(|n| reader.block(*n).is_err()) {
            Some(n) => reader.table().revisions(n),
            None => age.0..age.0 + 1,
        }
    }

    fn run(
        reader: &mut ValueReader,
        file: &File,
        from: Age,
        wounds: &Wounds,
    ) -> Result<Vec<Version>, StoreError> {
        let mut found = Vec::new();
        let mut bytes_left = RUN_BYTES_MAX;
        let mut versions = reader.versions_from(from);
        while found.len() < RUN_MAX {
            let next = match versions.next_version() {
                // What is sound before it comes first, so that it is met where it begins.
                Err(_) if !found.is_empty() => break,
                Err(error) if error.kind == StoreErrorKind::Corrupt => {
                    wounds.note(file, versions.failed());
                    return Err(error);
                }
                next => next?,
            };
            let Some((age, bytes)) = next else { break };
            let version = Version::decode(bytes).ok().filter(|version| version.age() == age);
            let Some(version) = version else {
                if !found.is_empty() {
                    break;
                }
                wounds.note(file, age.0..age.0 + 1);
                return Err(corrupt(file, format!("another version stands at {age:?}")));
            };
            bytes_left = bytes_left.saturating_sub(bytes.len());
            found.push(version);
            if bytes_left == 0 {
                break;
            }
        }
        Ok(found)
    }

    /// Reads the blocks of a file from this one on, about so many bytes of them, and notes those
    /// that do not verify. How many bytes it were, and which block is next.
    pub(crate) fn scrub(
        &mut self,
        file: &File,
        first: usize,
        bytes_max: u64,
    ) -> Result<(u64, Option<usize>), StoreError> {
        let wounds = self.shared.wounds.clone();
        let read = self.with(file, |reader| {
            let (mut n, mut bytes) = (first, 0);
            while n < reader.table().blocks() && bytes < bytes_max {
                match reader.block(n) {
                    Ok(block) => bytes += block.bytes().len() as u64,
                    Err(error) if error.kind == StoreErrorKind::Corrupt => {
                        wounds.note(file, reader.table().revisions(n));
                        // It was tried, and twice: a file of such blocks is read in steps too.
                        bytes += 1 << 13;
                    }
                    Err(error) => return Err(error),
                }
                n += 1;
            }
            Ok((bytes, (n < reader.table().blocks()).then_some(n)))
        });
        match read {
            // All of it is gone, and noted.
            Err(error) if error.kind == StoreErrorKind::Corrupt => Ok((file.len, None)),
            read => read,
        }
    }

    fn take<T>(&mut self, read: Result<T, StoreError>) -> Option<T> {
        read.map_err(|error| self.trouble = Some(error)).ok()
    }
}

impl Values for Shelf {
    fn version(&mut self, file: &Arc<File>, wanted: Wanted) -> Option<Version> {
        if let Some(cached) = self.shared.cache.find(wanted) {
            return Some(cached);
        }
        let found = self.find(file, wanted);
        if is_damage(&found)
            && let Some(given) = self.shared.wounds.given(wanted)
        {
            return Some(given);
        }
        let found = self.take(found)?;
        self.shared.cache.add(&found);
        Some(found)
    }

    fn versions(&mut self, file: &Arc<File>, from: Age) -> Option<Vec<Version>> {
        let wounds = self.shared.wounds.clone();
        let mut from = from;
        loop {
            let found = self.with(file, |reader| Self::run(reader, file, from, &wounds));
            if !is_damage(&found) {
                return self.take(found);
            }
            match wounds.run(file, from, !self.by_index) {
                None => return self.take(found),
                Some((given, end)) if given.is_empty() && end < file.end => from = (end, 0),
                Some((given, _)) => return Some(given),
            }
        }
    }

    fn take_trouble(&mut self) -> Option<String> {
        self.take_error().map(|error| error.to_string())
    }
}

/// Merges what settles and puts all of it into files, as long as it goes on. What is worn and
/// damaged stays as it is.
pub(crate) fn settle(
    home: &dyn Home,
    settling: &Settling,
    shared: &Shared,
    goes_on: &dyn Fn() -> bool,
) -> Result<Settled, StoreError> {
    let mut settled = settling.merge();
    let mut disk = part(home)?;
    let mut shelf = Shelf { by_index: true, ..Shelf::open(home, shared)? };
    let mut names = Names::new(settled.begun(), disk.as_mut())?;
    let Shared { wounds, cache, .. } = shared;
    // They leave memory with this, and were made lately.
    settled.in_memory(|version| cache.add(version));
    let mut mendable = wounds.mendable(|first, end| settled.settled_between(first, end));
    let held: Vec<Arc<File>> = settled.files().cloned().collect();
    let mut mending = held.iter().filter(|file| mendable.remove(&file.name()));
    loop {
        let mended = mending.next().and_then(|file| settled.anew(file));
        let Some(worn) = mended.or_else(|| settled.worn()) else { break };
        let interval = names.next(worn.first, worn.end)?;
        let mut writer = ValueWriter::begin(disk.as_mut(), interval)?;
        let mut kept = settled.kept(&worn);
        let written = loop {
            match kept.next(&settled, &mut shelf) {
                Ok(None) => break Ok(()),
                Ok(Some(version)) => {
                    if let Err(error) = put(&mut writer, &version, goes_on) {
                        break Err(error);
                    }
                }
                Err(NotAtHand) => break Err(shelf.take_error().expect("it cannot be read")),
            }
        };
        match finish(disk.as_mut(), writer, written) {
            Ok(file) => {
                // Less than is kept, where what was given is of a later state: the next one does.
                settled.renewed(&worn, file);
            }
            Err(error) if error.kind == StoreErrorKind::Corrupt => settled.left(&kept),
            Err(error) => return Err(error),
        }
    }
    settled.store(FILE_BYTES_MAX, |first, end, versions| {
        let mut writer = ValueWriter::begin(disk.as_mut(), names.next(first, end)?)?;
        let written = versions.iter().try_for_each(|version| put(&mut writer, version, goes_on));
        let file = finish(disk.as_mut(), writer, written)?;
        Ok::<_, StoreError>(file)
    })?;
    let index = write_index(disk.as_mut(), &settled)?;
    settled.indexed(index);
    Ok(settled)
}

/// Names are given once: no two files of one first revision have the same generation, whatever an
/// attempt before or another state has left.
struct Names {
    begun: LogIndex,
    given: u64,
    there: BTreeSet<String>,
}

/// What settles in one go may be all that a member holds: damage to one file is to cost no more.
const FILE_BYTES_MAX: usize = 128 << 20;
/// Files that one merge writes, at most.
const GIVEN_BITS: u32 = 20;

impl Names {
    fn new(begun: LogIndex, disk: &mut dyn Disk) -> Result<Self, StoreError> {
        let there = disk.list().map_err(failed)?.into_iter().collect();
        Ok(Self { begun, given: 0, there })
    }

    fn next(&mut self, first: i64, end: i64) -> Result<Interval, StoreError> {
        while self.given + 1 < 1 << GIVEN_BITS {
            self.given += 1;
            let generation = (self.begun.0 << GIVEN_BITS) | self.given;
            let interval = Interval { first, end, generation };
            if !self.there.contains(&interval.name()) || planted!(FileNamedTwice) {
                return Ok(interval);
            }
        }
        let what = "a merge that writes more files than there are names";
        Err(StoreError::new(StoreErrorKind::Invalid, PART, 0, what))
    }
}

fn put(
    writer: &mut ValueWriter,
    version: &Version,
    goes_on: &dyn Fn() -> bool,
) -> Result<(), StoreError> {
    if !goes_on() {
        return Err(StoreError::new(StoreErrorKind::Io, PART, 0, "the member stops"));
    }
    let mut bytes = Vec::with_capacity(version.kept_bytes());
    version.encode(&mut bytes);
    writer.put(version.age(), &bytes)
}

fn finish(
    disk: &mut dyn Disk,
    writer: ValueWriter,
    written: Result<(), StoreError>,
) -> Result<File, StoreError> {
    if let Err(error) = written {
        writer.discard(disk)?;
        return Err(error);
    }
    let ValueFile { interval, versions, len, digest } = writer.finish(disk)?;
    let Interval { first, end, generation } = interval;
    Ok(File { first, end, generation, versions, len, digest })
}

fn write_index(disk: &mut dyn Disk, settled: &Settled) -> Result<IndexFile, StoreError> {
    let mut writer = IndexWriter::begin(disk, settled.begun(), &[])?;
    let written = settled.index_pieces().try_for_each(|piece| writer.piece(piece));
    if let Err(error) = written {
        writer.discard(disk)?;
        return Err(error);
    }
    let store::IndexFile { index, len, digest, .. } = writer.finish(disk)?;
    Ok(IndexFile { index, len, digest })
}

/// The pieces of an index; what is wrong with them is left in `failed`, behind the last sound one.
pub(crate) fn pieces<'a>(
    home: &dyn Home,
    file: &IndexFile,
    failed: &'a mut Option<StoreError>,
) -> Result<impl Iterator<Item = Blob> + use<'a>, StoreError> {
    let mut reader = IndexReader::open(part(home)?.as_mut(), file.index)?;
    let about = reader.about();
    if (about.len, about.digest) != (file.len, file.digest) {
        let what = "another index than the checkpoint names";
        return Err(StoreError::new(StoreErrorKind::Corrupt, &about.name(), 0, what));
    }
    Ok(std::iter::from_fn(move || match reader.next()? {
        Ok(piece) => Some(piece),
        Err(error) => {
            *failed = Some(error);
            None
        }
    }))
}

/// Whether this index is there and whole.
pub(crate) fn prove_index(home: &dyn Home, index: LogIndex) -> Result<(), StoreError> {
    let mut reader = IndexReader::open(part(home)?.as_mut(), index)?;
    reader.try_for_each(|piece| piece.map(|_| ()))
}

/// Looks whether all these files are there and are those that are meant; what is not, is noted.
///
/// # Errors
/// Those of the disk, but for damage.
pub(crate) fn prove(home: &dyn Home, files: &[File], shared: &Shared) -> Result<(), StoreError> {
    let mut disk = part(home)?;
    files.iter().try_for_each(|file| match shared.table(disk.as_mut(), file) {
        Err(error) if error.kind != StoreErrorKind::Corrupt => Err(error),
        _found => Ok(()),
    })
}

/// Removes all value and index files but these, by first revision and generation, and by place in
/// the log.
pub(crate) fn keep(
    home: &dyn Home,
    files: &BTreeSet<Name>,
    indexes: &BTreeSet<LogIndex>,
    tables: &Tables,
) -> Result<(), StoreError> {
    let value = |(first, generation): &Name| {
        Interval { first: *first, end: *first + 1, generation: *generation }.name()
    };
    let index =
        |index: &LogIndex| store::IndexFile { index: *index, pieces: 0, len: 0, digest: 0 }.name();
    let names = files.iter().map(value).chain(indexes.iter().map(index)).collect();
    tables.retain(files);
    store::keep_on_shelf(part(home)?.as_mut(), &names)?;
    Ok(())
}

/// Removes what a write that broke off left.
pub(crate) fn clean(home: &dyn Home) -> Result<(), StoreError> {
    store::clean_shelf(part(home)?.as_mut())
}
