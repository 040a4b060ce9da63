//! What has settled, in files: written beside the thread that votes, read by whoever may wait.
//!
//! A merge puts what is new into a value file, makes anew what is worn, and writes the index that
//! goes with both. Nothing of it counts before a checkpoint names it, so a write that breaks off
//! leaves files that nobody asks for.

use base::{Blob, LogIndex};
use mvcc::{Age, File, IndexFile, NotAtHand, Settled, Settling, Values, Version, Wanted};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use store::{
    Home, IndexReader, IndexWriter, Interval, StoreError, StoreErrorKind, ValueFile, ValueReader,
    ValueTable, ValueWriter,
};
use wal::Disk;

const PART: &str = "values";
/// Files that one reader has open.
const OPEN_MAX: usize = 64;
/// Versions, and bytes of them, that a reader takes in one go.
const RUN_MAX: usize = 256;
const RUN_BYTES_MAX: usize = 256 << 10;

pub(crate) fn part(home: &dyn Home) -> Result<Box<dyn Disk>, StoreError> {
    let failed =
        |error: std::io::Error| StoreError::new(StoreErrorKind::Io, PART, 0, error.to_string());
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
type ByName<T> = BTreeMap<(i64, u64), T>;

/// The tables of files that somebody reads; clones are one.
#[derive(Clone, Default)]
pub struct Tables(Arc<Mutex<ByName<Arc<ValueTable>>>>);

impl Tables {
    fn with<T>(&self, change: impl FnOnce(&mut ByName<Arc<ValueTable>>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn table(&self, disk: &mut dyn Disk, file: &File) -> Result<Arc<ValueTable>, StoreError> {
        let key = (file.first, file.generation);
        if let Some(table) = self.with(|tables| tables.get(&key).cloned()) {
            return Ok(table);
        }
        let table = Arc::new(ValueTable::open(disk, &known(file))?);
        self.with(|tables| tables.insert(key, Arc::clone(&table)));
        Ok(table)
    }
}

/// Reads versions from their files, as long as that takes.
pub struct Shelf {
    disk: Box<dyn Disk>,
    tables: Tables,
    open: ByName<ValueReader>,
    trouble: Option<StoreError>,
}

impl Shelf {
    /// # Errors
    /// Those of the disk.
    pub fn open(home: &dyn Home, tables: Tables) -> Result<Self, StoreError> {
        Ok(Self { disk: part(home)?, tables, open: BTreeMap::new(), trouble: None })
    }

    /// Why the last version was not at hand, if it was not: it cannot be read.
    pub fn take_trouble(&mut self) -> Option<StoreError> {
        self.trouble.take()
    }

    fn reader(&mut self, file: &File) -> Result<&mut ValueReader, StoreError> {
        let key = (file.first, file.generation);
        if !self.open.contains_key(&key) {
            if self.open.len() == OPEN_MAX {
                self.open.pop_first();
            }
            let table = self.tables.table(self.disk.as_mut(), file)?;
            self.open.insert(key, ValueReader::open(self.disk.as_mut(), table)?);
        }
        Ok(self.open.get_mut(&key).expect("it was just opened"))
    }

    fn find(&mut self, file: &File, wanted: Wanted) -> Result<Version, StoreError> {
        let block = self.reader(file)?.block_of(wanted.age)?;
        let bytes = block.as_ref().and_then(|block| block.version(wanted.age));
        let bytes = bytes.ok_or_else(|| corrupt(file, format!("no version {:?}", wanted.age)))?;
        let version = Version::decode(bytes).map_err(|error| corrupt(file, error))?;
        if (version.age(), version.hash()) == (wanted.age, wanted.hash) {
            Ok(version)
        } else {
            Err(corrupt(file, format!("another version stands at {:?}", wanted.age)))
        }
    }

    fn run(&mut self, file: &File, from: Age) -> Result<Vec<Version>, StoreError> {
        let mut found = Vec::new();
        let mut bytes_left = RUN_BYTES_MAX;
        let mut versions = self.reader(file)?.versions_from(from);
        while found.len() < RUN_MAX {
            let Some((age, bytes)) = versions.next_version()? else { break };
            let version = Version::decode(bytes).map_err(|error| corrupt(file, error))?;
            if version.age() != age {
                return Err(corrupt(file, format!("another version stands at {age:?}")));
            }
            bytes_left = bytes_left.saturating_sub(bytes.len());
            found.push(version);
            if bytes_left == 0 {
                break;
            }
        }
        Ok(found)
    }

    fn take<T>(&mut self, read: Result<T, StoreError>) -> Option<T> {
        read.map_err(|error| self.trouble = Some(error)).ok()
    }
}

impl Values for Shelf {
    fn version(&mut self, file: &Arc<File>, wanted: Wanted) -> Option<Version> {
        let found = self.find(file, wanted);
        self.take(found)
    }

    fn versions(&mut self, file: &Arc<File>, from: Age) -> Option<Vec<Version>> {
        let found = self.run(file, from);
        self.take(found)
    }
}

/// Merges what settles and puts all of it into files. Durable on return; takes time in proportion
/// to what is retained.
///
/// # Errors
/// Those of the disk, and damage of a file that is made anew.
pub fn settle(
    home: &dyn Home,
    settling: &Settling,
    tables: &Tables,
) -> Result<Settled, StoreError> {
    let mut settled = settling.merge();
    let mut names = Names { begun: settled.begun(), given: 0 };
    let (mut disk, mut shelf) = (part(home)?, Shelf::open(home, tables.clone())?);
    while let Some(worn) = settled.worn() {
        let interval = names.next(worn.first, worn.end);
        let mut writer = ValueWriter::begin(disk.as_mut(), interval)?;
        let mut kept = settled.kept(&worn);
        let written = loop {
            match kept.next(&settled, &mut shelf) {
                Ok(None) => break Ok(()),
                Ok(Some(version)) => {
                    if let Err(error) = put(&mut writer, &version) {
                        break Err(error);
                    }
                }
                Err(NotAtHand) => break Err(shelf.take_trouble().expect("it cannot be read")),
            }
        };
        let file = finish(disk.as_mut(), writer, written)?;
        settled.renewed(&worn, file);
    }
    settled.store(|first, end, versions| {
        let mut writer = ValueWriter::begin(disk.as_mut(), names.next(first, end))?;
        let written = versions.iter().try_for_each(|version| put(&mut writer, version));
        finish(disk.as_mut(), writer, written)
    })?;
    let index = write_index(disk.as_mut(), &settled)?;
    settled.indexed(index);
    Ok(settled)
}

/// Names are given once: no two files of one first revision have the same generation.
struct Names {
    begun: LogIndex,
    given: u64,
}

/// Files that one merge writes, at most.
const GIVEN_BITS: u32 = 12;

impl Names {
    fn next(&mut self, first: i64, end: i64) -> Interval {
        self.given += 1;
        assert!(self.given < 1 << GIVEN_BITS, "a merge writes few files");
        Interval { first, end, generation: (self.begun.0 << GIVEN_BITS) | self.given }
    }
}

fn put(writer: &mut ValueWriter, version: &Version) -> Result<(), StoreError> {
    let mut bytes = Vec::with_capacity(version.bytes() + 64);
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

/// Whether all these files are there and are those that are meant.
///
/// # Errors
/// What is wrong with one.
pub(crate) fn prove(home: &dyn Home, files: &[File], tables: &Tables) -> Result<(), StoreError> {
    let mut disk = part(home)?;
    files.iter().try_for_each(|file| tables.table(disk.as_mut(), file).map(|_| ()))
}

/// Removes the files that neither these views go by nor this checkpoint, and what a write that
/// broke off left.
///
/// # Errors
/// Those of the disk.
pub fn keep(
    home: &dyn Home,
    files: impl IntoIterator<Item = File>,
    indexes: impl IntoIterator<Item = LogIndex>,
    tables: &Tables,
) -> Result<(), StoreError> {
    let files: Vec<File> = files.into_iter().collect();
    let mut names: BTreeSet<String> =
        files.iter().map(|file| known(file).interval.name()).collect();
    let name = |index| store::IndexFile { index, pieces: 0, len: 0, digest: 0 }.name();
    names.extend(indexes.into_iter().map(name));
    let kept: BTreeSet<_> = files.iter().map(|file| (file.first, file.generation)).collect();
    tables.with(|tables| tables.retain(|key, _| kept.contains(key)));
    store::keep_on_shelf(part(home)?.as_mut(), &names)?;
    Ok(())
}
