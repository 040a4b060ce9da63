//! Bytes of any kind under the names of value and index files: errors, and never a panic.

use super::make::{
    All, FOOTER, HEAD, HEADER, INDEX, INTERVAL, checksum, pieces, replace, some, try_index, walk,
    write,
};
use base::Prng;
use base::crc::crc32c;
use std::sync::Arc;
use store::{IndexReader, StoreErrorKind, ValueFile, ValueReader, ValueTable, list_shelf};
use wal::MemDisk;

/// Reads all that can be read, by every way there is. How many versions and pieces there were.
fn use_all(disk: &MemDisk, known: &ValueFile) -> u64 {
    let mut disk = disk.clone();
    let mut found = 0;
    let salvaged = ValueTable::rebuild(&mut disk, known).unwrap();
    assert!(salvaged.lost.iter().all(|at| at.start < at.end));
    let opened = ValueTable::open(&mut disk, known);
    for table in opened.into_iter().chain([salvaged.table]) {
        let mut reader = ValueReader::open(&mut disk, Arc::new(table)).unwrap();
        for n in 0..reader.table().blocks() {
            let at = reader.table().first_age(n).unwrap();
            let _ = reader.block(n).map(|block| found += block.versions().count() as u64);
            let _ = reader.block_of(at).map(|block| block.map(|block| block.memory()));
        }
        let mut versions = reader.versions_from((0, 0));
        while !matches!(versions.next_version(), Ok(None)) {}
        if let Ok(pieces) = reader.pieces() {
            found += pieces.filter(Result::is_ok).count() as u64;
        }
        let _ = reader.verify();
    }
    if let Ok(index) = IndexReader::open(&mut disk, INDEX) {
        found += index.filter(Result::is_ok).count() as u64;
    }
    // A file that describes itself otherwise is opened as what it says it is.
    for other in list_shelf(&mut disk).unwrap().values {
        let _ = ValueTable::open(&mut disk, &other);
    }
    found
}

fn put_both(disk: &MemDisk, bytes: &[u8]) {
    replace(disk, &INTERVAL.name(), bytes);
    replace(disk, "index-000000000000004d.qx", bytes);
}

#[test]
fn random_bytes_are_never_a_file() {
    let mut p = Prng::new(1);
    let known = ValueFile { interval: INTERVAL, versions: 3, len: 500, digest: 7 };
    for _ in 0..3000 {
        let disk = MemDisk::new();
        let mut bytes: Vec<u8> = (0..p.below(600)).map(|_| p.next_u64() as u8).collect();
        for _ in 0..p.below(6) {
            // Words that a reader looks for.
            let words = [*b"QVBK", *b"QVKS", *b"QVTB", *b"QVFT", *b"QXPC", *b"QXFT", [0; 4]];
            let word = words[p.below(7) as usize];
            if bytes.len() > 8 {
                let at = p.below(bytes.len() as u64 - 4) as usize;
                bytes[at..at + 4].copy_from_slice(&word);
            }
        }
        put_both(&disk, &bytes);
        assert_eq!(use_all(&disk, &known), 0);
        assert_eq!(list_shelf(&mut disk.clone()).unwrap().damaged.len(), 2);
    }
}

/// Changes some bytes, at times a length or a count to an end of its range.
fn mutate(p: &mut Prng, bytes: &mut [u8]) {
    for _ in 0..1 + p.below(3) {
        let at = p.below(bytes.len() as u64) as usize;
        match p.below(3) {
            0 => bytes[at] ^= 1 << p.below(8),
            1 => bytes[at] = p.next_u64() as u8,
            _ => {
                let ends = [0, 1, u64::from(u32::MAX), i64::MAX as u64, u64::MAX, 1 << 31];
                let word = ends[p.below(6) as usize].to_le_bytes();
                let n = if p.below(2) == 0 { 4 } else { 8 }.min(bytes.len() - at);
                bytes[at..at + n].copy_from_slice(&word[..n]);
            }
        }
    }
}

/// What only a writer that is broken makes: checksums hold, and what they cover does not.
fn mutate_sealed(p: &mut Prng, bytes: &mut [u8], header: usize, footer: usize) {
    let blocks = walk(bytes, header, footer);
    let seal = u32::from_le_bytes(bytes[header - 4..header].try_into().unwrap());
    let end = bytes.len();
    if blocks.is_empty() || p.below(4) == 0 {
        let fields = end - footer..end - 4;
        mutate(p, &mut bytes[fields.clone()]);
        let crc = crc32c(&bytes[fields]);
        bytes[end - 4..].copy_from_slice(&crc.to_le_bytes());
        return;
    }
    let block = &mut bytes[blocks[p.below(blocks.len() as u64) as usize].3.clone()];
    // The count, or the body: places and lengths stand at its beginning.
    let body = if p.below(3) == 0 { 12..24 } else { HEAD..block.len().min(HEAD + 60) };
    mutate(p, &mut block[body]);
    let crc = checksum(seal, block);
    block[4..8].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn mutated_files_are_errors_and_never_a_panic() {
    let mut p = Prng::new(2);
    let mut found = 0;
    for round in 0..3000 {
        let mut disk = MemDisk::new();
        let all: All = some(&mut p, round % 9, 5000, 5);
        let told = pieces(&mut p, round % 4);
        let known = write(&disk, INTERVAL, &all, &told);
        let index = try_index(&mut disk, b"meta", &told).unwrap();
        let mut values = disk.bytes(&INTERVAL.name()).unwrap();
        let mut pieces = disk.bytes(&index.name()).unwrap();
        if round % 3 == 0 {
            mutate(&mut p, &mut values);
            mutate(&mut p, &mut pieces);
        } else {
            mutate_sealed(&mut p, &mut values, HEADER, FOOTER);
            mutate_sealed(&mut p, &mut pieces, 32, 44);
        }
        replace(&disk, &INTERVAL.name(), &values);
        replace(&disk, &index.name(), &pieces);
        found += use_all(&disk, &known);
    }
    assert!(found > 1000, "most blocks are whole: {found}");
}

#[test]
fn a_length_that_no_file_has_makes_no_room() {
    // Sealed, so that nothing but its bounds can refuse it.
    let disk = MemDisk::new();
    let all: All = vec![((10, 0), vec![1; 100])];
    let known = write(&disk, INTERVAL, &all, &[vec![2; 10]]);
    let whole = disk.bytes(&INTERVAL.name()).unwrap();
    let seal = u32::from_le_bytes(whole[HEADER - 4..HEADER].try_into().unwrap());
    let blocks = walk(&whole, HEADER, FOOTER);
    for (n, field) in [(0, 8), (0, 12), (0, HEAD + 12), (1, 8), (1, 12), (1, HEAD), (2, 8), (2, 12)]
    {
        let mut bytes = whole.clone();
        let block = &mut bytes[blocks[n].3.clone()];
        block[field..field + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        let crc = checksum(seal, block);
        block[4..8].copy_from_slice(&crc.to_le_bytes());
        replace(&disk, &INTERVAL.name(), &bytes);
        let error = super::make::read(&disk, &known).unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Corrupt, "block {n}, byte {field}: {error}");
        assert_ne!(error.what, "the whole does not match its digest", "block {n}, byte {field}");
        use_all(&disk, &known);
    }
}
