//! Files whose checksums and digest hold, and which no writer makes: what a reader refuses because
//! of what they say. They are made by other code than the one under test.

use super::make::{
    All, INDEX, INTERVAL, checksum, keys, lost, open, read_index, replace, try_index, versions,
    write,
};
use super::odd::{Odd, Plan};
use base::crc::crc32c;
use base::limits::STORED_BYTES_MAX;
use std::io;
use std::sync::Arc;
use store::{
    Age, IndexReader, Interval, StoreError, StoreErrorKind, ValueFile, ValueReader, ValueTable,
    list_shelf,
};
use wal::{Disk, DiskFile, MemDisk, Ours};

/// As in `docs/design/checkpoint-format.md`.
fn digest(bytes: &[u8]) -> u64 {
    let word = |state: u64, word: u64| {
        let mixed = state ^ word.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed.rotate_left(29).wrapping_mul(0xBF58_476D_1CE4_E5B9)
    };
    let mut state = 0;
    for chunk in bytes.chunks_exact(8).chain([bytes.chunks_exact(8).remainder()]) {
        let mut eight = [0; 8];
        eight[..chunk.len()].copy_from_slice(chunk);
        state = word(state, u64::from_le_bytes(eight));
    }
    state = word(state, bytes.len() as u64);
    state ^ (state >> 32)
}

#[derive(Clone)]
struct Block {
    tag: [u8; 4],
    number: u64,
    count: u32,
    body: Vec<u8>,
}

impl Block {
    fn encode(&self, seal: u32) -> Vec<u8> {
        let mut out = self.tag.to_vec();
        out.extend([0; 4]);
        out.extend((self.body.len() as u32).to_le_bytes());
        out.extend(self.count.to_le_bytes());
        out.extend(self.number.to_le_bytes());
        out.extend(&self.body);
        let crc = checksum(seal, &out);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        out
    }
}

fn record(before: &[u8], bytes: &[u8]) -> Vec<u8> {
    [before, &(bytes.len() as u32).to_le_bytes(), bytes].concat()
}

fn age(age: Age) -> Vec<u8> {
    [&age.0.to_le_bytes()[..], &age.1.to_le_bytes()].concat()
}

fn of_versions(number: u64, ages: &[Age]) -> Block {
    let body = ages.iter().flat_map(|at| record(&age(*at), b"version")).collect();
    Block { tag: *b"QVBK", number, count: ages.len() as u32, body }
}

fn of_pieces(tag: [u8; 4], number: u64, pieces: &[&[u8]]) -> Block {
    let body = pieces.iter().flat_map(|piece| record(&[], piece)).collect();
    Block { tag, number, count: pieces.len() as u32, body }
}

fn sealed(mut header: Vec<u8>) -> (Vec<u8>, u32) {
    let seal = crc32c(&header);
    header.extend(seal.to_le_bytes());
    (header, seal)
}

fn with_footer(bytes: Vec<u8>, tag: &[u8; 4], counts: &[u64], seal: u32) -> (Vec<u8>, u64) {
    let digest = digest(&bytes);
    (with_digest(bytes, tag, counts, (seal, digest)), digest)
}

fn with_digest(
    mut bytes: Vec<u8>,
    tag: &[u8; 4],
    counts: &[u64],
    (seal, digest): (u32, u64),
) -> Vec<u8> {
    let mut footer = tag.to_vec();
    counts.iter().for_each(|count| footer.extend(count.to_le_bytes()));
    let len = bytes.len() + footer.len() + 24;
    footer.extend((len as u64).to_le_bytes());
    footer.extend(digest.to_le_bytes());
    footer.extend(seal.to_le_bytes());
    let (footer, _) = sealed(footer);
    bytes.extend(footer);
    bytes
}

/// A value file in the making: each part may be spoilt before it is sealed.
struct Raw {
    interval: Interval,
    blocks: Vec<Block>,
    /// Ages and offsets, instead of those of the blocks.
    table: Option<Vec<(Age, u64)>>,
    /// How many entries the table says it has beside those that it has.
    unlisted: u32,
    /// How many blocks come before the table, in its own number and the footer.
    before: u64,
    versions: u64,
    pieces: u64,
    keys_at: Option<u64>,
    foreign: bool,
}

const AGES: [Age; 4] = [(10, 0), (12, 0), (13, 0), (13, 1)];

fn raw() -> Raw {
    let blocks = vec![
        of_versions(0, &AGES[..2]),
        of_versions(1, &AGES[2..]),
        of_pieces(*b"QVKS", 2, &[b"one", b"two"]),
        of_pieces(*b"QVKS", 3, &[b"three"]),
    ];
    let (table, keys_at) = (None, None);
    let (interval, foreign) = (INTERVAL, false);
    Raw {
        interval,
        blocks,
        table,
        unlisted: 0,
        before: 4,
        versions: 4,
        pieces: 3,
        keys_at,
        foreign,
    }
}

impl Raw {
    fn put(&self, disk: &MemDisk) -> ValueFile {
        let Interval { first, end, generation } = self.interval;
        let mut header = b"QVALU\0\0\0\x01\0\0\0".to_vec();
        header.extend(first.to_le_bytes());
        header.extend(end.to_le_bytes());
        header.extend(generation.to_le_bytes());
        let (mut bytes, seal) = sealed(header);
        let (mut table, mut keys_at) = (Vec::new(), None);
        for block in &self.blocks {
            if block.tag == *b"QVBK" {
                let revision = i64::from_le_bytes(block.body[..8].try_into().unwrap());
                let sub = u32::from_le_bytes(block.body[8..12].try_into().unwrap());
                table.push(((revision, sub), bytes.len() as u64));
            } else {
                keys_at.get_or_insert(bytes.len() as u64);
            }
            bytes.extend(block.encode(seal));
        }
        let table_at = bytes.len() as u64;
        let table = self.table.as_ref().unwrap_or(&table);
        let body: Vec<u8> = table
            .iter()
            .flat_map(|(at, n)| [age(*at), n.to_le_bytes().to_vec()].concat())
            .collect();
        if !table.is_empty() {
            let count = table.len() as u32 + self.unlisted;
            let table = Block { tag: *b"QVTB", number: self.before, count, body };
            bytes.extend(table.encode(seal));
        }
        let keys_at = self.keys_at.or(keys_at).unwrap_or(table_at);
        let counts = [self.before, self.versions, self.pieces, keys_at, table_at];
        let seal = seal ^ u32::from(self.foreign);
        let (bytes, digest) = with_footer(bytes, b"QVFT", &counts, seal);
        replace(disk, &self.interval.name(), &bytes);
        let (versions, len) = (self.versions, bytes.len() as u64);
        ValueFile { interval: self.interval, versions, len, digest }
    }

    /// What a reader says of it.
    fn error(&self) -> String {
        let disk = MemDisk::new();
        let known = self.put(&disk);
        let read = || {
            let mut reader = open(&disk, &known)?;
            versions(&mut reader)?;
            keys(&mut reader)?;
            reader.verify()
        };
        let error: StoreError = read().expect_err("no writer makes it");
        assert_eq!((error.kind, error.file), (StoreErrorKind::Corrupt, self.interval.name()));
        error.what
    }
}

#[test]
fn what_is_made_here_is_what_a_writer_makes() {
    let (disk, other) = (MemDisk::new(), MemDisk::new());
    let mut one = raw();
    // A writer would not begin a second block for so little.
    one.blocks = vec![of_versions(0, &AGES), of_pieces(*b"QVKS", 1, &[b"one", b"two", b"three"])];
    one.before = 2;
    let all: All = AGES.iter().map(|at| (*at, b"version".to_vec())).collect();
    let told = [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()];
    assert_eq!(one.put(&disk), write(&other, INTERVAL, &all, &told));
    assert_eq!(disk.bytes(&INTERVAL.name()), other.bytes(&INTERVAL.name()));
    let known = raw().put(&disk);
    let mut reader = open(&disk, &known).unwrap();
    assert_eq!((versions(&mut reader).unwrap(), keys(&mut reader).unwrap()), (all, told.to_vec()));
}

#[test]
fn blocks_of_versions_that_no_writer_makes_are_refused() {
    let unlike = "block 0 does not hold what its table says";
    let with = |blocks: &[Block]| {
        let mut one = raw();
        one.blocks.splice(..blocks.len(), blocks.iter().cloned());
        one.error()
    };
    assert_eq!(with(&[of_versions(0, &[(10, 0), (10, 0)])]), unlike, "twice");
    assert_eq!(with(&[of_versions(0, &[(12, 0), (11, 0)])]), unlike, "not in order");
    assert_eq!(with(&[of_versions(0, &[(10, 0), (13, 0)])]), unlike, "the first of the next one");
    assert_eq!(with(&[of_versions(0, &[(9, 0), (11, 0)])]), unlike, "before the interval");
    let last = [of_versions(0, &[(10, 0)]), of_versions(1, &[(11, 0), (9000, 0)])];
    assert_eq!(with(&last), "block 1 does not hold what its table says", "behind it");
    let mut more = of_versions(0, &AGES[..2]);
    more.body.push(0);
    assert_eq!(with(&[more.clone()]), unlike, "more bytes than versions");
    more.body.truncate(10 + more.body.len() / 2);
    assert_eq!(with(&[more.clone()]), unlike, "fewer");
    more.count = u32::MAX;
    assert_eq!(with(&[more.clone()]), unlike, "far fewer");
    more.count = 0;
    assert_eq!(with(&[more]), "block 0 does not verify");
    let other = Block { number: 7, ..of_versions(0, &AGES[..2]) };
    assert_eq!(with(&[other]), "block 7 stands where 0 should");
    let mut one = raw();
    one.table = Some(vec![((10, 0), 40), ((13, 0), 40 + 24 + 46)]);
    one.keys_at = Some(180);
    one.blocks[0].tag = *b"QVKS";
    assert_eq!(one.error(), "block 0 is of another kind");
}

#[test]
fn tables_that_no_writer_makes_are_refused() {
    let wrong = "a table that no writer makes";
    let second = 40 + 24 + 46;
    let with = |table: &[(Age, u64)]| Raw { table: Some(table.to_vec()), ..raw() }.error();
    assert_eq!(with(&[((10, 0), 40), ((10, 0), second)]), wrong, "of one age");
    assert_eq!(with(&[((13, 0), 40), ((10, 0), second)]), wrong, "not in order");
    assert_eq!(with(&[((10, 0), 41), ((13, 0), second)]), wrong, "a byte before it");
    assert_eq!(with(&[((10, 0), 40), ((13, 0), 40)]), wrong, "of one place");
    assert_eq!(with(&[((10, 0), 40), ((13, 0), 60)]), wrong, "less than a head");
    assert_eq!(with(&[((10, 0), 40), ((13, 0), 1 << 50)]), wrong, "behind the end");
    assert_eq!(with(&[((10, 0), 40), ((13, 0), u64::MAX)]), wrong, "behind any end");
    assert_eq!(with(&[((10, 0), 40), ((13, 0), second - 1)]), "block 0 does not verify");
    assert_eq!(Raw { unlisted: 1, ..raw() }.error(), wrong, "of more entries");
    assert_eq!(with(&[((10, 0), 40)]), "block 0 does not verify", "two for one");
}

#[test]
fn footers_that_no_writer_makes_are_refused() {
    let sections = "footer: blocks of other sections";
    assert_eq!(Raw { foreign: true, ..raw() }.error(), "the footer of another file");
    for keys_at in [39, 1 << 20] {
        assert_eq!(Raw { keys_at: Some(keys_at), ..raw() }.error(), "the footer of another file");
    }
    assert_eq!(Raw { versions: 0, ..raw() }.error(), sections);
    assert_eq!(Raw { before: 2, ..raw() }.error(), sections);
    assert_eq!(Raw { before: 1, ..raw() }.error(), sections);
    let two = raw().blocks[..2].to_vec();
    assert_eq!(Raw { blocks: two, before: 1, pieces: 0, ..raw() }.error(), sections);
    assert_eq!(Raw { blocks: raw().blocks[..2].to_vec(), pieces: 0, ..raw() }.error(), sections);
    let none = Raw { blocks: vec![], before: 0, pieces: 0, ..raw() };
    assert_eq!(none.error(), sections, "versions without blocks");
    let other = "a key section of other pieces than its footer says";
    assert_eq!(Raw { pieces: 4, ..raw() }.error(), other);
    assert_eq!(Raw { before: 5, ..raw() }.error(), other, "a block less than there should be");
}

#[test]
fn pieces_that_no_writer_makes_are_refused() {
    let wrong = "block 2 holds no such pieces";
    let with = |change: &dyn Fn(&mut Block)| {
        let mut one = raw();
        change(&mut one.blocks[2]);
        one.error()
    };
    assert_eq!(with(&|block| block.body.push(0)), wrong);
    assert_eq!(with(&|block| block.count = 1), wrong);
    assert_eq!(with(&|block| block.count = 3), wrong);
    assert_eq!(with(&|block| block.body[0] = 200), wrong);
    assert_eq!(with(&|block| block.count = 0), "block 2 does not verify");
    assert_eq!(with(&|block| block.tag = *b"QXPC"), "block 2 is of another kind");
}

#[test]
fn headers_that_no_writer_makes_are_refused() {
    for (first, end) in [(10, 10), (10, 9), (-1, 9000), (i64::MIN, i64::MAX)] {
        let one = Raw { interval: Interval { first, end, generation: 3 }, ..raw() };
        let disk = MemDisk::new();
        let known = one.put(&disk);
        let error = ValueTable::open(&mut disk.clone(), &known).unwrap_err();
        assert!(error.what.starts_with("holds what should be in"), "{first} {end}: {error}");
        let shelf = list_shelf(&mut disk.clone()).unwrap();
        assert_eq!((shelf.values.len(), shelf.damaged.len()), (0, 1));
    }
}

#[test]
fn a_file_of_another_kind_is_refused_by_its_magic() {
    let disk = MemDisk::new();
    let known = raw().put(&disk);
    let mut bytes = disk.bytes(&INTERVAL.name()).unwrap();
    bytes[..8].copy_from_slice(b"QCKPT\0\0\0");
    let (header, _) = sealed(bytes[..36].to_vec());
    bytes[..40].copy_from_slice(&header);
    replace(&disk, &INTERVAL.name(), &bytes);
    let error = ValueTable::open(&mut disk.clone(), &known).unwrap_err();
    assert_eq!((error.kind, &error.what[..]), (StoreErrorKind::Corrupt, "header checksum"));
}

/// What an index file ends with.
struct End {
    tag: [u8; 4],
    counts: [u64; 2],
    /// What is wrong with the seal, and with the digest.
    foreign: u32,
    other: u64,
}

const END: End = End { tag: *b"QXFT", counts: [1, 2], foreign: 0, other: 0 };

/// The index file of these blocks, and what a reader says of it.
fn index_error(blocks: &[Block], end: &End) -> String {
    let mut header = b"QINDX\0\0\0\x01\0\0\0".to_vec();
    header.extend(INDEX.0.to_le_bytes());
    header.extend(record(&[], b"meta"));
    let (mut bytes, seal) = sealed(header);
    blocks.iter().for_each(|block| bytes.extend(block.encode(seal)));
    let digest = digest(&bytes) ^ end.other;
    let bytes = with_digest(bytes, &end.tag, &end.counts, (seal ^ end.foreign, digest));
    let disk = MemDisk::new();
    replace(&disk, "index-000000000000004d.qx", &bytes);
    match read_index(&disk) {
        Ok((about, ..)) => {
            let mut other = MemDisk::new();
            let told = [b"one".to_vec(), b"two".to_vec()];
            assert_eq!(about, try_index(&mut other, b"meta", &told).unwrap());
            String::new()
        }
        Err(error) => {
            assert_eq!(error.kind, StoreErrorKind::Corrupt);
            error.what
        }
    }
}

#[test]
fn indexes_that_no_writer_makes_are_refused() {
    let block = of_pieces(*b"QXPC", 0, &[b"one", b"two"]);
    let one = std::slice::from_ref(&block);
    assert_eq!(index_error(one, &END), "", "a writer makes it");
    assert_eq!(index_error(one, &End { foreign: 1, ..END }), "the footer of another file");
    assert_eq!(index_error(one, &End { tag: *b"QVFT", ..END }), "footer: invalid checksum");
    let whole = "the whole does not match its footer";
    assert_eq!(index_error(one, &End { other: 1, ..END }), whole);
    for counts in [[1, 3], [2, 2], [0, 2], [u64::MAX, u64::MAX]] {
        assert_eq!(index_error(one, &End { counts, ..END }), whole);
    }
    let of = |block: Block| index_error(&[block], &END);
    assert_eq!(of(Block { tag: *b"QVKS", ..block.clone() }), "block 0 is of another kind");
    assert_eq!(of(Block { number: 1, ..block.clone() }), "block 1 stands where 0 should");
    assert_eq!(of(Block { count: 3, ..block.clone() }), "block 0 holds no such pieces");
}

/// A file that is said to be long, of few bytes that are not zero. It is only read.
#[derive(Clone)]
struct Sparse {
    len: u64,
    parts: Arc<Vec<(u64, Vec<u8>)>>,
    odd: Odd,
}

impl DiskFile for Sparse {
    fn len(&mut self) -> io::Result<u64> {
        Ok(self.len)
    }
    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut plan = self.odd.plan.lock().unwrap();
        plan.longest = plan.longest.max(into.len());
        into.fill(0);
        for (at, part) in self.parts.iter() {
            for (n, byte) in part.iter().enumerate() {
                let place =
                    (at + n as u64).checked_sub(offset).and_then(|n| usize::try_from(n).ok());
                if let Some(place) = place.and_then(|n| into.get_mut(n)) {
                    *place = *byte;
                }
            }
        }
        Ok(into.len())
    }
    fn write_at(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
        unreachable!("only read")
    }
    fn set_len(&mut self, _: u64) -> io::Result<()> {
        unreachable!("only read")
    }
    fn sync(&mut self) -> io::Result<()> {
        unreachable!("only read")
    }
}

impl Disk for Sparse {
    fn list(&mut self) -> io::Result<Vec<String>> {
        unreachable!("only read")
    }
    fn open(&mut self, _: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(self.clone()))
    }
    fn create(&mut self, _: &str) -> io::Result<Box<dyn DiskFile>> {
        unreachable!("only read")
    }
    fn rename(&mut self, _: &str, _: &str) -> io::Result<()> {
        unreachable!("only read")
    }
    fn remove(&mut self, _: &Ours) -> io::Result<()> {
        unreachable!("only read")
    }
    fn sync_dir(&mut self) -> io::Result<()> {
        unreachable!("only read")
    }
}

fn sparse(len: u64, parts: Vec<(u64, Vec<u8>)>) -> Sparse {
    Sparse { len, parts: Arc::new(parts), odd: Odd::new(&MemDisk::new(), Plan::default()) }
}

/// Head of a block that is said to have so many bytes.
fn head(tag: &[u8; 4], len: u32) -> Vec<u8> {
    let words = [0, len, 1, 0, 0].map(u32::to_le_bytes).concat();
    [&tag[..], &words].concat()
}

#[test]
fn no_room_is_made_for_a_length_that_no_writer_makes() {
    const LEN: u64 = 1 << 40;
    let footer = |tag: &[u8; 4], counts: &[u64], seal: u32| {
        let mut out = tag.to_vec();
        counts.iter().chain(&[LEN, 7]).for_each(|count| out.extend(count.to_le_bytes()));
        out.extend(seal.to_le_bytes());
        sealed(out).0
    };
    // An index: its meta, then a block.
    let mut header = b"QINDX\0\0\0\x01\0\0\0".to_vec();
    header.extend(INDEX.0.to_le_bytes());
    let mut long = header.clone();
    long.extend(u32::MAX.to_le_bytes());
    let mut disk = sparse(LEN, vec![(0, long)]);
    assert!(IndexReader::open(&mut disk, INDEX).is_err());
    assert!(disk.odd.told().longest < 100, "{}", disk.odd.told().longest);
    header.extend([0; 4]);
    let (header, seal) = sealed(header);
    let end = footer(b"QXFT", &[1, 1], seal);
    let block = (header.len() as u64, head(b"QXPC", u32::MAX));
    let mut disk = sparse(LEN, vec![(0, header), block, (LEN - 44, end)]);
    let mut reader = IndexReader::open(&mut disk, INDEX).unwrap();
    assert!(reader.next().unwrap().is_err());
    assert!(disk.odd.told().longest <= STORED_BYTES_MAX + 100);
    // Values: the table, and a block that stands for itself.
    let mut header = b"QVALU\0\0\0\x01\0\0\0".to_vec();
    header.extend([INTERVAL.first as u64, INTERVAL.end as u64, 3].map(u64::to_le_bytes).concat());
    let (header, seal) = sealed(header);
    let end = footer(b"QVFT", &[1, 1, 0, 100, 100], seal);
    let parts = vec![(0, header), (100, head(b"QVTB", u32::MAX)), (LEN - 68, end)];
    let mut disk = sparse(LEN, parts);
    let known = ValueFile { interval: INTERVAL, versions: 1, len: LEN, digest: 7 };
    assert_eq!(ValueTable::open(&mut disk, &known).unwrap_err().what, "block 1 does not verify");
    assert!(disk.odd.told().longest <= STORED_BYTES_MAX + 100);
    let parts = vec![(40, head(b"QVBK", u32::MAX)), (70, head(b"QVKS", 66 << 20))];
    let mut disk = sparse(8 << 30, parts);
    disk.len = 100 << 20;
    let salvaged = ValueTable::rebuild(&mut disk, &known).unwrap();
    assert_eq!(lost(&salvaged), Some(0..100 << 20));
    assert!(disk.odd.told().longest <= 4 << 10);
    let table = Arc::new(salvaged.table);
    assert!(ValueReader::open(&mut disk, table).unwrap().pieces().is_err());
}
