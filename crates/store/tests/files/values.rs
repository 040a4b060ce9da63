//! Value files that are whole.

use super::make::{
    All, BLOCK, FOOTER, HEAD, HEADER, INTERVAL, keys, open, pieces, read, some, version_blocks,
    versions, walk, write,
};
use super::odd::{Odd, Plan};
use base::Prng;
use base::limits::STORED_BYTES_MAX;
use std::collections::BTreeMap;
use std::sync::Arc;
use store::{Age, Interval, StoreErrorKind, ValueFile, ValueReader, ValueTable, ValueWriter};
use wal::{Disk, MemDisk};

#[test]
fn what_was_written_is_found_by_its_age_and_nothing_else() {
    let mut p = Prng::new(1);
    let sizes = [(0, 1, 0), (1, 1, 0), (1, 9, 100), (2, 9, 0), (60, 400, 2), (900, 300, 1)];
    for (n, bytes, large) in sizes.into_iter().chain([(40, 20_000, 50), (3000, 20, 0)]) {
        let disk = MemDisk::new();
        let all = some(&mut p, n, bytes, large);
        // Their number has nothing to do with that of the versions.
        let told = pieces(&mut p, [0, 1, 7, 40][n as usize % 4]);
        let written = write(&disk, INTERVAL, &all, &told);
        assert_eq!(written.versions, n);
        assert_eq!(read(&disk, &written).unwrap(), (all.clone(), told.clone()));
        let mut reader = open(&disk, &written).unwrap();
        assert_eq!(reader.table().pieces(), Some(told.len() as u64));
        let twin: BTreeMap<Age, &Vec<u8>> = all.iter().map(|(age, v)| (*age, v)).collect();
        for _ in 0..300 {
            let age = (9 + p.below(n + 3) as i64, p.below(20) as u32);
            let found = reader.block_of(age).unwrap();
            let version = found.as_ref().and_then(|block| block.version(age));
            assert_eq!(version, twin.get(&age).map(|v| &v[..]));
        }
        for (age, version) in &all {
            let at = reader.table().find(*age).unwrap();
            let block = reader.block(at).unwrap();
            assert_eq!(block.bytes()[block.range(*age).unwrap()], version[..]);
            assert!(block.len() > 0 && block.memory() >= version.len());
        }
    }
}

#[test]
fn versions_are_read_on_from_any_age() {
    let mut p = Prng::new(2);
    let (disk, all) = (MemDisk::new(), some(&mut p, 400, 300, 2));
    let known = write(&disk, INTERVAL, &all, &[]);
    let mut reader = open(&disk, &known).unwrap();
    let ages = all.iter().map(|(age, _)| *age);
    let beside = all.iter().map(|(age, _)| (age.0, age.1 + 1));
    let ends: [Age; 4] = [(0, 0), (10, 0), (8999, 0), (i64::MAX, u32::MAX)];
    for from in ages.chain(beside).chain(ends) {
        let mut left = all.iter().filter(|(age, _)| *age >= from);
        let mut found = reader.versions_from(from);
        while let Some((age, version)) = found.next_version().unwrap() {
            assert_eq!(left.next(), Some(&(age, version.to_vec())));
        }
        assert_eq!(found.next_version(), Ok(None));
        assert_eq!(left.next(), None);
    }
}

/// Sizes of bodies of the blocks of versions.
fn bodies(versions: &[usize]) -> Vec<usize> {
    let disk = MemDisk::new();
    let age = |at: usize| (10 + at as i64, 0);
    let all: All = versions.iter().enumerate().map(|(at, n)| (age(at), vec![7; *n])).collect();
    let known = write(&disk, INTERVAL, &all, &[vec![1]]);
    assert_eq!(read(&disk, &known).unwrap().0, all);
    version_blocks(&disk, INTERVAL).iter().map(|at| at.len() - HEAD).collect()
}

#[test]
fn a_block_ends_before_it_is_longer_than_its_size_unless_one_version_is() {
    assert_eq!(bodies(&[]), []);
    assert_eq!(bodies(&[0]), [16]);
    assert_eq!(bodies(&[BLOCK - 16, 0]), [BLOCK, 16]);
    assert_eq!(bodies(&[BLOCK - 32, 0, 1]), [BLOCK, 17]);
    assert_eq!(bodies(&[BLOCK - 31, 0]), [BLOCK - 15, 16]);
    assert_eq!(bodies(&[BLOCK - 15]), [BLOCK + 1]);
    assert_eq!(bodies(&[1, 5 * BLOCK, 1, 1]), [17, 5 * BLOCK + 16, 34]);
}

#[test]
fn a_file_is_as_its_page_says_block_by_block() {
    let mut p = Prng::new(3);
    let (disk, all, told) = (MemDisk::new(), some(&mut p, 30_000, 9, 0), pieces(&mut p, 60));
    let interval = Interval { end: 40_000, ..INTERVAL };
    let known = write(&disk, interval, &all, &told);
    let bytes = disk.bytes(&interval.name()).unwrap();
    let blocks = walk(&bytes, HEADER, FOOTER);
    let records = |tag: &[u8; 4]| -> u64 {
        blocks.iter().filter(|b| b.0 == *tag).map(|b| u64::from(b.2)).sum()
    };
    let count = |tag: &[u8; 4]| blocks.iter().filter(|b| b.0 == *tag).count() as u64;
    assert_eq!((records(b"QVBK"), records(b"QVKS")), (known.versions, 60));
    assert_eq!(records(b"QVTB"), count(b"QVBK"));
    assert!(count(b"QVKS") > 3, "64 KiB each");
    assert_eq!(known.len, bytes.len() as u64);
    let footer: Vec<u64> = bytes[bytes.len() - FOOTER + 4..bytes.len() - 8]
        .chunks(8)
        .map(|field| u64::from_le_bytes(field.try_into().unwrap()))
        .collect();
    let first = |tag: &[u8; 4]| blocks.iter().find(|b| b.0 == *tag).unwrap();
    let (keys, table) = (first(b"QVKS"), first(b"QVTB"));
    let places = [keys.3.start as u64, table.3.start as u64];
    let said = [table.1, known.versions, 60, places[0], places[1], known.len, known.digest];
    assert_eq!(footer, said);
    let listed: Vec<u64> = blocks
        .iter()
        .filter(|b| b.0 == *b"QVTB")
        .flat_map(|b| bytes[b.3.start + HEAD..b.3.end].chunks(20))
        .map(|entry| u64::from_le_bytes(entry[12..].try_into().unwrap()))
        .collect();
    let stand: Vec<u64> =
        blocks.iter().filter(|b| b.0 == *b"QVBK").map(|b| b.3.start as u64).collect();
    assert_eq!(listed, stand);
    assert_eq!(read(&disk, &known).unwrap(), (all, told));
}

#[test]
fn a_table_of_several_blocks_is_read_whole() {
    let disk = MemDisk::new();
    let all: All = (10..4010).map(|at| ((at, 0), vec![at as u8; BLOCK])).collect();
    let known = write(&disk, INTERVAL, &all, &[]);
    let bytes = disk.bytes(&INTERVAL.name()).unwrap();
    let tables = walk(&bytes, HEADER, FOOTER).into_iter().filter(|b| b.0 == *b"QVTB").count();
    assert_eq!(tables, 2);
    let mut reader = open(&disk, &known).unwrap();
    assert_eq!(reader.table().blocks(), 4000);
    assert_eq!(versions(&mut reader).unwrap(), all);
    let salvaged = ValueTable::rebuild(&mut disk.clone(), &known).unwrap();
    assert_eq!((salvaged.table.blocks(), salvaged.lost), (4000, vec![]));
}

#[test]
fn what_is_longer_than_a_reader_takes_is_refused_before_it_is_written() {
    let mut disk = MemDisk::new();
    let mut writer = ValueWriter::begin(&mut disk, INTERVAL).unwrap();
    let long = vec![5; STORED_BYTES_MAX + 1];
    writer.put((10, 0), b"first").unwrap();
    let refused = writer.put((11, 0), &long).unwrap_err();
    assert_eq!(refused.kind, StoreErrorKind::Invalid);
    writer.put((11, 0), &long[1..]).unwrap();
    assert_eq!(writer.piece(&long).unwrap_err().kind, StoreErrorKind::Invalid);
    writer.piece(&long[1..]).unwrap();
    let known = writer.finish(&mut disk).unwrap();
    let mut reader = open(&disk, &known).unwrap();
    assert_eq!(known.versions, 2);
    let block = reader.block_of((11, 0)).unwrap().unwrap();
    assert_eq!(block.version((11, 0)).map(<[u8]>::len), Some(STORED_BYTES_MAX));
    assert!(keys(&mut reader).unwrap() == [&long[1..]]);
}

#[test]
fn several_threads_read_one_file_each_with_a_handle_of_its_own() {
    let mut p = Prng::new(4);
    let (disk, all) = (MemDisk::new(), some(&mut p, 500, 300, 1));
    let known = write(&disk, INTERVAL, &all, &[]);
    let table = Arc::new(ValueTable::open(&mut disk.clone(), &known).unwrap());
    std::thread::scope(|scope| {
        for seed in 0..3 {
            let (mut disk, table, all) = (disk.clone(), table.clone(), &all);
            scope.spawn(move || {
                let mut reader = ValueReader::open(&mut disk, table).unwrap();
                let mut p = Prng::new(seed);
                for _ in 0..500 {
                    let (age, version) = &all[p.below(500) as usize];
                    let block = reader.block_of(*age).unwrap().unwrap();
                    assert_eq!(block.version(*age), Some(&version[..]));
                }
            });
        }
    });
}

#[test]
fn a_file_that_is_not_the_known_one_is_refused_by_name() {
    let mut p = Prng::new(5);
    let (disk, all) = (MemDisk::new(), some(&mut p, 50, 300, 1));
    let known = write(&disk, INTERVAL, &all, &[]);
    let with = |interval: Interval| ValueFile { interval, ..known.clone() };
    let others = [
        with(Interval { end: 9001, ..INTERVAL }),
        ValueFile { versions: 51, ..known.clone() },
        ValueFile { len: known.len + 1, ..known.clone() },
        ValueFile { digest: known.digest ^ 1, ..known.clone() },
    ];
    for other in others {
        let error = ValueTable::open(&mut disk.clone(), &other).unwrap_err();
        assert_eq!((error.kind, &error.file), (StoreErrorKind::Corrupt, &INTERVAL.name()));
        assert!(error.what.contains("not of revisions 10 to below"), "{error}");
    }
    // The same file under another name, as a misdirected rename leaves it.
    for other in [Interval { generation: 4, ..INTERVAL }, Interval { first: 11, ..INTERVAL }] {
        let disk = disk.fork();
        disk.clone().rename(&INTERVAL.name(), &other.name()).unwrap();
        let error = ValueTable::open(&mut disk.clone(), &with(other)).unwrap_err();
        let what = format!("holds what should be in {}", INTERVAL.name());
        assert_eq!((error.kind, error.what), (StoreErrorKind::Corrupt, what));
        assert_eq!(error.file, other.name());
    }
    let gone = with(Interval { generation: 5, ..INTERVAL });
    let error = ValueTable::open(&mut disk.clone(), &gone).unwrap_err();
    assert_eq!((error.kind, error.file), (StoreErrorKind::Corrupt, gone.interval.name()));
    assert_eq!(error.what, "is gone", "what is known has to be there");
}

#[test]
fn a_later_version_of_the_form_is_refused_by_its_number() {
    let (disk, all) = (MemDisk::new(), some(&mut Prng::new(6), 3, 9, 0));
    let known = write(&disk, INTERVAL, &all, &[]);
    let mut bytes = disk.bytes(&INTERVAL.name()).unwrap();
    bytes[8] = 2;
    let crc = base::crc::crc32c(&bytes[..HEADER - 4]);
    bytes[HEADER - 4..HEADER].copy_from_slice(&crc.to_le_bytes());
    super::make::replace(&disk, &INTERVAL.name(), &bytes);
    let error = ValueTable::open(&mut disk.clone(), &known).unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unknown);
    assert!(error.what.contains("version 2"), "{error}");
}

#[test]
fn short_reads_are_carried_on() {
    let mut p = Prng::new(7);
    let (disk, all, told) = (MemDisk::new(), some(&mut p, 60, 300, 2), pieces(&mut p, 20));
    let known = write(&disk, INTERVAL, &all, &told);
    for short in [1, 3, 100] {
        let odd = Odd::new(&disk, Plan { short: Some(short), ..Plan::default() });
        let mut reader = open(&odd, &known).unwrap();
        assert_eq!(versions(&mut reader).unwrap(), all);
        assert_eq!(keys(&mut reader).unwrap(), told);
        reader.verify().unwrap();
    }
}

#[test]
fn an_empty_file_is_a_header_and_a_footer() {
    let disk = MemDisk::new();
    let known = write(&disk, INTERVAL, &All::new(), &[]);
    assert_eq!(known.len as usize, HEADER + FOOTER);
    let mut reader = open(&disk, &known).unwrap();
    assert_eq!((reader.table().blocks(), reader.table().find((10, 0))), (0, None));
    assert_eq!(reader.versions_from((0, 0)).next_version(), Ok(None));
    assert_eq!(reader.pieces().unwrap().count(), 0);
    reader.verify().unwrap();
}
