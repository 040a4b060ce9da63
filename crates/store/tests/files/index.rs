//! Index files, whole and damaged.

use super::make::{INDEX, pieces, put, read_index, replace, try_index, walk};
use super::odd::{Odd, Plan};
use base::limits::{INDEX_META_BYTES_MAX, STORED_BYTES_MAX};
use base::{LogIndex, Prng};
use std::collections::BTreeSet;
use store::{IndexReader, IndexWriter, StoreErrorKind};
use wal::{Disk, MemDisk};

const FOOTER: usize = 44;

#[test]
fn an_index_is_read_back_piece_by_piece() {
    let mut p = Prng::new(1);
    for n in [0, 1, 2, 15, 16, 300] {
        for meta in [0, 1, 70_000] {
            let (mut disk, meta, all) = (MemDisk::new(), vec![9; meta], pieces(&mut p, n));
            let written = try_index(&mut disk, &meta, &all).unwrap();
            assert_eq!((written.index, written.pieces), (INDEX, n));
            assert_eq!(read_index(&disk).unwrap(), (written.clone(), meta.clone(), all.clone()));
            let bytes = disk.bytes(&written.name()).unwrap();
            let blocks = walk(&bytes, 28 + meta.len(), FOOTER);
            assert_eq!(blocks.iter().map(|b| u64::from(b.2)).sum::<u64>(), n);
            assert!(blocks.iter().all(|b| b.0 == *b"QXPC" && b.3.len() <= 24 + (64 << 10)));
            assert!(blocks.windows(2).all(|b| b[0].3.len() > 50 << 10), "they are filled");
            assert_eq!(bytes.len() as u64, written.len);
        }
    }
}

#[test]
fn a_block_of_pieces_is_filled_to_its_last_byte() {
    let full = (64 << 10) - 4;
    for (sizes, blocks) in
        [(vec![full], 1), (vec![full, 0], 2), (vec![full - 4, 0], 1), (vec![full + 9, 0], 2)]
    {
        let mut disk = MemDisk::new();
        let all: Vec<Vec<u8>> = sizes.iter().map(|n| vec![3; *n]).collect();
        let written = try_index(&mut disk, b"", &all).unwrap();
        assert_eq!(walk(&disk.bytes(&written.name()).unwrap(), 28, FOOTER).len(), blocks);
        assert_eq!(read_index(&disk).unwrap().2, all);
    }
}

#[test]
fn a_meta_of_an_index_that_could_not_be_read_back_is_not_written() {
    let mut disk = MemDisk::new();
    let meta = vec![1; INDEX_META_BYTES_MAX + 1];
    let error = try_index(&mut disk, &meta, &[]).unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Invalid);
    assert_eq!(disk.list().unwrap(), [""; 0]);
    try_index(&mut disk, &meta[1..], &[]).unwrap();
    assert_eq!(read_index(&disk).unwrap().1, meta[1..]);
}

#[test]
fn a_piece_that_could_not_be_read_back_is_not_written() {
    let mut disk = MemDisk::new();
    let mut writer = IndexWriter::begin(&mut disk, INDEX, b"").unwrap();
    let piece = vec![1; STORED_BYTES_MAX + 1];
    assert_eq!(writer.piece(&piece).unwrap_err().kind, StoreErrorKind::Invalid);
    writer.piece(&piece[1..]).unwrap();
    assert!(writer.written() < 100, "it is in the block that is being filled");
    writer.finish(&mut disk).unwrap();
    assert!(read_index(&disk).unwrap().2 == [&piece[1..]]);
}

#[test]
fn whatever_byte_of_an_index_is_damaged_is_an_error_of_its_reader() {
    let mut p = Prng::new(2);
    let mut disk = MemDisk::new();
    let all = pieces(&mut p, 30);
    let written = try_index(&mut disk, b"some meta", &all[..20]).unwrap();
    let name = written.name();
    for at in 0..written.len {
        // Most of it is bytes of pieces, which are all alike.
        if at > 200 && at + 200 < written.len && at % 17 != 0 {
            continue;
        }
        assert!(disk.flip(&name, at, 1 << (at % 8)));
        let error = read_index(&disk).unwrap_err();
        assert_eq!((error.kind, &error.file), (StoreErrorKind::Corrupt, &name), "byte {at}");
        assert!(disk.flip(&name, at, 1 << (at % 8)));
    }
    let mut file = disk.open(&name).unwrap();
    for cut in (0..written.len).rev().filter(|at| at % 31 == 0 || *at < 300) {
        file.set_len(cut).unwrap();
        assert_eq!(read_index(&disk).unwrap_err().kind, StoreErrorKind::Corrupt, "{cut} bytes");
    }
}

#[test]
fn blocks_of_an_index_that_are_exchanged_lost_or_of_another_are_errors() {
    let all: Vec<Vec<u8>> = (0..8).map(|at| vec![at; 64 << 10]).collect();
    let mut disk = MemDisk::new();
    let written = try_index(&mut disk, b"meta", &all).unwrap();
    let name = written.name();
    let bytes = disk.bytes(&name).unwrap();
    let blocks = walk(&bytes, 32, FOOTER);
    let (second, sixth) = (blocks[1].3.clone(), blocks[5].3.clone());
    let swapped = disk.fork();
    put(&swapped, &name, second.start, &bytes[sixth.clone()]);
    put(&swapped, &name, sixth.start, &bytes[second.clone()]);
    let error = read_index(&swapped).unwrap_err();
    assert_eq!(error.what, "block 5 stands where 1 should");
    // A block less, and the last one gone with it.
    for cut in [1, 7] {
        let at = &blocks[cut].3;
        let fewer = [&bytes[..at.start], &bytes[at.end..]].concat();
        let short = disk.fork();
        replace(&short, &name, &fewer);
        assert_eq!(read_index(&short).unwrap_err().kind, StoreErrorKind::Corrupt);
    }
    // The index of another place in the log, and of another meta.
    let mut other = MemDisk::new();
    try_index(&mut other, b"atem", &all).unwrap();
    let theirs = other.bytes(&name).unwrap();
    put(&disk, &name, sixth.start, &theirs[sixth]);
    assert_eq!(read_index(&disk).unwrap_err().what, "block 5 does not verify");
    disk.rename(&name, "index-000000000000004e.qx").unwrap();
    let error = IndexReader::open(&mut disk, LogIndex(78)).err().unwrap();
    assert_eq!((error.kind, &error.what[..]), (StoreErrorKind::Corrupt, "holds the index at 77"));
}

#[test]
fn an_error_is_the_last_that_is_read_of_an_index() {
    let mut disk = MemDisk::new();
    let all: Vec<Vec<u8>> = (0..8).map(|at| vec![at; 64 << 10]).collect();
    let written = try_index(&mut disk, b"", &all).unwrap();
    disk.flip(&written.name(), 5 * (64 << 10), 1);
    let reader = IndexReader::open(&mut disk, INDEX).unwrap();
    let kinds: Vec<bool> = reader.map(|piece| piece.is_ok()).collect();
    assert_eq!(kinds, [true, true, true, true, false]);
}

#[test]
fn an_index_is_read_with_short_reads_and_in_spite_of_a_wrong_one() {
    let mut disk = MemDisk::new();
    let all = pieces(&mut Prng::new(3), 40);
    try_index(&mut disk, b"meta", &all).unwrap();
    let read = |plan: Plan| {
        let mut odd = Odd::new(&disk, plan);
        let reader = IndexReader::open(&mut odd, INDEX).unwrap();
        let found: Vec<Vec<u8>> = reader.map(|piece| piece.unwrap().to_vec()).collect();
        assert_eq!(found, all);
        odd.told().reads
    };
    read(Plan { short: Some(3), ..Plan::default() });
    let places: BTreeSet<usize> = [0, 2, 8, 9, 20, 21, 999].into();
    for wrong in 0..read(Plan::default()) {
        for place in &places {
            read(Plan { wrong: Some(wrong), place: *place, ..Plan::default() });
        }
    }
}
