//! Value files that are damaged: what is noticed, and what it costs.

use super::make::{
    All, BLOCK, FOOTER, HEADER, INTERVAL, keys, lost, open, pieces, put, read, replace, some,
    version_blocks, versions, write,
};
use super::odd::{Odd, Plan};
use base::Prng;
use store::{Interval, StoreErrorKind, ValueFile, ValueReader, ValueTable};
use wal::{Disk, MemDisk};

/// Four blocks of versions, a key section, a table.
fn small(p: &mut Prng) -> (All, Vec<Vec<u8>>) {
    let sizes = [4000, 4000, 90, 5000, 3000, 8500, 4000];
    let ages = [(10, 0), (10, 1), (10, 7), (12, 0), (13, 0), (13, 1), (8999, 0)];
    let version = |n| (0..n).map(|_| p.next_u64() as u8).collect();
    (ages.into_iter().zip(sizes.map(version)).collect(), vec![vec![1; 700], vec![], vec![3; 90]])
}

/// The blocks of a reader that do not verify.
fn bad(reader: &mut ValueReader) -> Vec<usize> {
    (0..reader.table().blocks()).filter(|n| reader.block(*n).is_err()).collect()
}

#[test]
fn whatever_byte_is_damaged_is_noticed_and_costs_no_other_block() {
    let disk = MemDisk::new();
    let (all, told) = small(&mut Prng::new(1));
    let known = write(&disk, INTERVAL, &all, &told);
    let blocks = version_blocks(&disk, INTERVAL);
    assert_eq!(blocks.len(), 4);
    let name = INTERVAL.name();
    let table_at = blocks[3].end as u64;
    let mut whole = open(&disk, &known).unwrap();
    for at in 0..known.len {
        let mask = 1 << (at % 8);
        assert!(disk.flip(&name, at, mask));
        let hit = blocks.iter().position(|block| block.contains(&(at as usize)));
        let error = read(&disk, &known).unwrap_err();
        assert_eq!((error.kind, &error.file), (StoreErrorKind::Corrupt, &name), "byte {at}");
        // Who had it open before loses that block.
        assert_eq!(bad(&mut whole), hit.into_iter().collect::<Vec<_>>(), "byte {at}");
        // Header, table and footer are needed to open it, all else is not.
        let opened = open(&disk, &known);
        let within_keys = at >= table_at && opened.is_ok();
        assert_eq!(opened.is_ok(), hit.is_some() || within_keys, "byte {at}");
        if let Some(n) = hit {
            assert_eq!(error.offset, blocks[n].start as u64);
            assert_eq!(keys(&mut opened.unwrap()).unwrap(), told);
        } else if within_keys {
            let error = keys(&mut opened.unwrap()).unwrap_err();
            assert_eq!(error.offset, table_at);
        }
        // Whatever it is, the other blocks are found again.
        let salvaged = ValueTable::rebuild(&mut disk.clone(), &known).unwrap();
        assert_eq!(salvaged.table.blocks(), 4 - hit.iter().count());
        let lost = lost(&salvaged).expect("what is damaged is lost");
        assert!(lost.contains(&at));
        assert!(hit.is_none_or(|n| (lost.start as usize..lost.end as usize) == blocks[n]));
        assert!(disk.flip(&name, at, mask));
    }
    assert_eq!(read(&disk, &known).unwrap(), (all, told), "as it was");
}

#[test]
fn wherever_a_file_is_cut_short_it_is_noticed_and_what_is_before_is_found() {
    let whole = MemDisk::new();
    let (all, told) = small(&mut Prng::new(2));
    let known = write(&whole, INTERVAL, &all, &told);
    let blocks = version_blocks(&whole, INTERVAL);
    let disk = whole.fork();
    let mut file = disk.clone().open(&INTERVAL.name()).unwrap();
    for cut in (0..known.len).rev() {
        file.set_len(cut).unwrap();
        if cut % 64 == 0 {
            file.sync().unwrap();
        }
        let error = ValueTable::open(&mut disk.clone(), &known).unwrap_err();
        assert_eq!((error.kind, error.file), (StoreErrorKind::Corrupt, INTERVAL.name()));
        let salvaged = ValueTable::rebuild(&mut disk.clone(), &known).unwrap();
        let left = blocks.iter().filter(|block| block.end as u64 <= cut).count();
        assert_eq!(salvaged.table.blocks(), left, "{cut} bytes");
        // At the very end of a block there is nothing that could not be read.
        assert!(salvaged.lost.iter().all(|lost| lost.end <= cut));
    }
}

#[test]
fn bytes_behind_the_end_are_noticed() {
    let disk = MemDisk::new();
    let (all, told) = small(&mut Prng::new(3));
    let known = write(&disk, INTERVAL, &all, &told);
    put(&disk, &INTERVAL.name(), known.len as usize, &[0]);
    assert!(ValueTable::open(&mut disk.clone(), &known).is_err());
    let salvaged = ValueTable::rebuild(&mut disk.clone(), &known).unwrap();
    let end = lost(&salvaged).unwrap().end;
    assert_eq!((salvaged.table.blocks(), end), (4, known.len + 1));
}

/// Files of blocks of one length.
fn even(disk: &MemDisk, interval: Interval, fill: u8) -> ValueFile {
    let all: All = (10..15).map(|at| ((at, 0), vec![fill + at as u8; BLOCK])).collect();
    write(disk, interval, &all, &[])
}

#[test]
fn blocks_that_are_exchanged_are_noticed_and_found_where_they_are() {
    let disk = MemDisk::new();
    let known = even(&disk, INTERVAL, 0);
    let name = INTERVAL.name();
    let (bytes, blocks) = (disk.bytes(&name).unwrap(), version_blocks(&disk, INTERVAL));
    put(&disk, &name, blocks[1].start, &bytes[blocks[3].clone()]);
    put(&disk, &name, blocks[3].start, &bytes[blocks[1].clone()]);
    let mut reader = open(&disk, &known).unwrap();
    assert_eq!(bad(&mut reader), [1, 3]);
    assert_eq!(reader.block(1).unwrap_err().what, "block 3 stands where 1 should");
    let salvaged = ValueTable::rebuild(&mut disk.clone(), &known).unwrap();
    assert_eq!(salvaged.lost, []);
    let table = std::sync::Arc::new(salvaged.table);
    let mut reader = ValueReader::open(&mut disk.clone(), table).unwrap();
    let all: All = (10..15).map(|at| ((at, 0), vec![at as u8; BLOCK])).collect();
    assert_eq!(versions(&mut reader).unwrap(), all);
    // One that is there twice stands for itself only.
    put(&disk, &name, blocks[3].start, &bytes[blocks[3].clone()]);
    let salvaged = ValueTable::rebuild(&mut disk.clone(), &known).unwrap();
    let at = blocks[3].start as u64..blocks[3].end as u64;
    assert_eq!((salvaged.table.blocks(), lost(&salvaged)), (4, Some(at)));
}

#[test]
fn a_block_of_another_file_or_generation_is_not_taken() {
    let others = [
        Interval { generation: 4, ..INTERVAL },
        Interval { first: 9, ..INTERVAL },
        Interval { end: 9001, generation: 5, ..INTERVAL },
    ];
    for other in others {
        let disk = MemDisk::new();
        let known = even(&disk, INTERVAL, 0);
        even(&disk, other, 100);
        let blocks = version_blocks(&disk, INTERVAL);
        let bytes = disk.bytes(&other.name()).unwrap();
        put(&disk, &INTERVAL.name(), blocks[2].start, &bytes[blocks[2].clone()]);
        let mut reader = open(&disk, &known).unwrap();
        assert_eq!(bad(&mut reader), [2], "the same place in {other:?}");
        let salvaged = ValueTable::rebuild(&mut disk.clone(), &known).unwrap();
        assert_eq!(salvaged.table.blocks(), 4);
        // The other file whole in the place of this one.
        replace(&disk, &INTERVAL.name(), &bytes);
        let error = ValueTable::open(&mut disk.clone(), &known).unwrap_err();
        assert_eq!((error.kind, error.file), (StoreErrorKind::Corrupt, INTERVAL.name()));
        let salvaged = ValueTable::rebuild(&mut disk.clone(), &known).unwrap();
        assert_eq!((salvaged.table.blocks(), lost(&salvaged)), (0, Some(0..known.len)));
    }
}

#[test]
fn a_footer_or_a_table_of_another_file_is_not_taken() {
    let other = Interval { generation: 4, ..INTERVAL };
    let disk = MemDisk::new();
    let known = even(&disk, INTERVAL, 0);
    even(&disk, other, 100);
    let bytes = disk.bytes(&other.name()).unwrap();
    let table = version_blocks(&disk, INTERVAL)[4].end;
    let footer = bytes.len() - FOOTER;
    for part in [0..HEADER, table..footer, footer..bytes.len()] {
        let disk = disk.fork();
        put(&disk, &INTERVAL.name(), part.start, &bytes[part.clone()]);
        let error = ValueTable::open(&mut disk.clone(), &known).unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Corrupt);
        let salvaged = ValueTable::rebuild(&mut disk.clone(), &known).unwrap();
        assert_eq!(salvaged.table.blocks(), 5);
        assert_eq!(lost(&salvaged), Some(part.start as u64..part.end as u64));
    }
}

#[test]
fn a_damaged_block_is_one_error_of_who_reads_on() {
    let mut p = Prng::new(4);
    let (disk, all) = (MemDisk::new(), some(&mut p, 300, 400, 1));
    let known = write(&disk, INTERVAL, &all, &[]);
    let blocks = version_blocks(&disk, INTERVAL);
    assert!(blocks.len() > 6);
    assert!(disk.flip(&INTERVAL.name(), blocks[3].start as u64 + 99, 1));
    let mut reader = open(&disk, &known).unwrap();
    let (from, to) = (reader.table().first_age(3).unwrap(), reader.table().first_age(4).unwrap());
    let (mut found, mut errors) = (All::new(), Vec::new());
    let mut read = reader.versions_from((0, 0));
    loop {
        match read.next_version() {
            Ok(Some((age, version))) => found.push((age, version.to_vec())),
            Ok(None) => break,
            Err(error) => errors.push(error.offset),
        }
    }
    assert_eq!(errors, [blocks[3].start as u64]);
    let others = all.iter().filter(|(age, _)| !(from..to).contains(age));
    assert!(found.iter().eq(others));
}

#[test]
fn a_wrong_read_is_no_damage() {
    let (all, told) = small(&mut Prng::new(5));
    let disk = MemDisk::new();
    let known = write(&disk, INTERVAL, &all, &told);
    let reads = |wrong, place| {
        let odd = Odd::new(&disk, Plan { wrong, place, ..Plan::default() });
        let mut reader = open(&odd, &known).unwrap();
        assert_eq!(versions(&mut reader).unwrap(), all);
        assert_eq!(keys(&mut reader).unwrap(), told);
        let salvaged = ValueTable::rebuild(&mut odd.clone(), &known).unwrap();
        assert_eq!(salvaged.lost, []);
        odd.told().reads
    };
    for wrong in 0..reads(None, 0) {
        for place in [0, 2, 8, 9, 16, 30, 999] {
            reads(Some(wrong), place);
        }
    }
}

#[test]
fn the_whole_is_held_against_its_digest() {
    let mut p = Prng::new(6);
    let (disk, all, told) = (MemDisk::new(), some(&mut p, 9000, 500, 0), pieces(&mut p, 9));
    let known = write(&disk, INTERVAL, &all[..4000].to_vec(), &told);
    let mut reader = open(&disk, &known).unwrap();
    assert!(known.len > 1 << 20, "it is read in steps");
    reader.verify().unwrap();
    for at in [9, known.len / 3, known.len - FOOTER as u64 - 1] {
        assert!(disk.flip(&INTERVAL.name(), at, 8));
        assert_eq!(reader.verify().unwrap_err().kind, StoreErrorKind::Corrupt);
        assert!(disk.flip(&INTERVAL.name(), at, 8));
    }
    disk.clone().open(&INTERVAL.name()).unwrap().set_len(known.len / 2).unwrap();
    assert_eq!(reader.verify().unwrap_err().what, "cut short");
}
