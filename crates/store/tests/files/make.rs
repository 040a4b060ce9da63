//! What files are made of, what they are read back as, and their form read by other code than the
//! one under test.

use base::crc::{crc32c, crc32c_append};
use base::{LogIndex, Prng};
use std::ops::Range;
use std::sync::Arc;
use store::{
    Age, IndexFile, IndexReader, IndexWriter, Interval, Salvaged, StoreError, ValueFile,
    ValueReader, ValueTable, ValueWriter,
};
use wal::{Disk, MemDisk};

pub const INTERVAL: Interval = Interval { first: 10, end: 9000, generation: 3 };
pub const BLOCK: usize = 8 << 10;
pub const HEADER: usize = 40;
pub const FOOTER: usize = 68;
pub const HEAD: usize = 24;

pub type All = Vec<(Age, Vec<u8>)>;

/// Versions that rise, several of a revision at times; `large` in a hundred are above a block.
pub fn some(p: &mut Prng, n: u64, bytes: u64, large: u64) -> All {
    let mut age = (9, 0);
    let mut one = |_| {
        age = if p.below(4) == 0 { (age.0, age.1 + 1 + p.below(9) as u32) } else { (age.0 + 1, 0) };
        age = age.max((10, 0));
        let above = p.below(100) < large;
        let len = if above { BLOCK as u64 + p.below(3 * BLOCK as u64) } else { p.below(bytes) };
        (age, (0..len).map(|_| p.next_u64() as u8).collect())
    };
    (0..n).map(&mut one).collect()
}

pub fn pieces(p: &mut Prng, n: u64) -> Vec<Vec<u8>> {
    (0..n).map(|at| vec![at as u8; p.below(9000) as usize]).collect()
}

pub fn try_write(
    disk: &mut dyn Disk,
    interval: Interval,
    all: &All,
    pieces: &[Vec<u8>],
) -> Result<ValueFile, StoreError> {
    let mut writer = ValueWriter::begin(disk, interval)?;
    for (age, version) in all {
        writer.put(*age, version)?;
    }
    for piece in pieces {
        writer.piece(piece)?;
    }
    writer.finish(disk)
}

pub fn write(disk: &MemDisk, interval: Interval, all: &All, pieces: &[Vec<u8>]) -> ValueFile {
    try_write(&mut disk.clone(), interval, all, pieces).unwrap()
}

pub fn open(disk: &dyn CloneDisk, known: &ValueFile) -> Result<ValueReader, StoreError> {
    let mut disk = disk.disk();
    let table = Arc::new(ValueTable::open(disk.as_mut(), known)?);
    ValueReader::open(disk.as_mut(), table)
}

/// A disk to be opened again.
pub trait CloneDisk {
    fn disk(&self) -> Box<dyn Disk>;
}

impl<T: Disk + Clone + 'static> CloneDisk for T {
    fn disk(&self) -> Box<dyn Disk> {
        Box::new(self.clone())
    }
}

/// All versions, each read block by block.
pub fn versions(reader: &mut ValueReader) -> Result<All, StoreError> {
    let mut all = All::new();
    for n in 0..reader.table().blocks() {
        let block = reader.block(n)?;
        all.extend(block.versions().map(|(age, version)| (age, version.to_vec())));
    }
    Ok(all)
}

pub fn keys(reader: &mut ValueReader) -> Result<Vec<Vec<u8>>, StoreError> {
    reader.pieces()?.map(|piece| piece.map(|piece| piece.to_vec())).collect()
}

/// All that a file says, verified whole.
pub fn read(disk: &MemDisk, known: &ValueFile) -> Result<(All, Vec<Vec<u8>>), StoreError> {
    let mut reader = open(disk, known)?;
    let read = (versions(&mut reader)?, keys(&mut reader)?);
    reader.verify()?;
    Ok(read)
}

/// A block as it stands there: tag, number, number of records, where.
pub type Walked = ([u8; 4], u64, u32, Range<usize>);

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// The blocks of a file as `docs/design/value-format.md` has them, each checked.
pub fn walk(bytes: &[u8], header: usize, footer: usize) -> Vec<Walked> {
    let seal = u32_at(bytes, header - 4);
    assert_eq!(seal, crc32c(&bytes[..header - 4]));
    let end = bytes.len() - footer;
    assert_eq!(u32_at(bytes, bytes.len() - 8), seal);
    assert_eq!(u32_at(bytes, bytes.len() - 4), crc32c(&bytes[end..bytes.len() - 4]));
    let (mut at, mut found) = (header, Vec::new());
    while at < end {
        let whole = at..at + HEAD + u32_at(bytes, at + 8) as usize;
        let block = &bytes[whole.clone()];
        assert_eq!(u32_at(block, 4), checksum(seal, block), "block at {at}");
        let number = u64::from_le_bytes(block[16..24].try_into().unwrap());
        assert_eq!(number, found.len() as u64);
        found.push((block[..4].try_into().unwrap(), number, u32_at(block, 12), whole.clone()));
        at = whole.end;
    }
    assert_eq!(at, end);
    found
}

pub fn checksum(seal: u32, block: &[u8]) -> u32 {
    crc32c_append(crc32c_append(seal, &block[..4]), &block[8..])
}

/// What was lost, if it is one range.
pub fn lost(salvaged: &Salvaged) -> Option<Range<u64>> {
    assert!(salvaged.lost.len() <= 1, "{:?}", salvaged.lost);
    salvaged.lost.first().cloned()
}

/// Where the blocks of versions are.
pub fn version_blocks(disk: &MemDisk, interval: Interval) -> Vec<Range<usize>> {
    let bytes = disk.bytes(&interval.name()).unwrap();
    let found = walk(&bytes, HEADER, FOOTER).into_iter().filter(|block| block.0 == *b"QVBK");
    found.map(|block| block.3).collect()
}

/// Puts bytes in the place of a file's.
pub fn put(disk: &MemDisk, name: &str, at: usize, bytes: &[u8]) {
    disk.clone().open(name).unwrap().write_at(at as u64, bytes).unwrap();
}

pub fn replace(disk: &MemDisk, name: &str, bytes: &[u8]) {
    disk.clone().create(name).unwrap().write_at(0, bytes).unwrap();
}

pub const INDEX: LogIndex = LogIndex(77);

pub fn try_index(
    disk: &mut dyn Disk,
    meta: &[u8],
    pieces: &[Vec<u8>],
) -> Result<IndexFile, StoreError> {
    let mut writer = IndexWriter::begin(disk, INDEX, meta)?;
    for piece in pieces {
        writer.piece(piece)?;
    }
    writer.finish(disk)
}

/// What an index is, its meta and its pieces.
pub type Indexed = (IndexFile, Vec<u8>, Vec<Vec<u8>>);

pub fn read_index(disk: &MemDisk) -> Result<Indexed, StoreError> {
    let mut reader = IndexReader::open(&mut disk.clone(), INDEX)?;
    let pieces = reader.by_ref().map(|piece| piece.map(|piece| piece.to_vec()));
    let pieces = pieces.collect::<Result<_, _>>()?;
    assert!(reader.next().is_none(), "an end is an end");
    Ok((reader.about().clone(), reader.meta().to_vec(), pieces))
}
