//! What is found in value files where more than one thing is damaged.

use super::make::{
    All, BLOCK, HEAD, HEADER, INTERVAL, checksum, keys, lost, pieces, put, some, version_blocks,
    versions, walk, write,
};
use super::odd::{Odd, Plan};
use base::Prng;
use std::collections::BTreeSet;
use std::sync::Arc;
use store::{Age, Interval, Salvaged, StoreErrorKind, ValueFile, ValueReader, ValueTable};
use wal::MemDisk;

fn rebuild(disk: &MemDisk, known: &ValueFile) -> Salvaged {
    ValueTable::rebuild(&mut disk.clone(), known).unwrap()
}

#[test]
fn whatever_is_damaged_all_blocks_that_are_whole_are_found() {
    let mut p = Prng::new(1);
    for seed in 0..150 {
        let (disk, all) = (MemDisk::new(), some(&mut p, 300, 400, 2));
        let told = pieces(&mut p, seed % 3 * 8);
        let known = write(&disk, INTERVAL, &all, &told);
        let name = INTERVAL.name();
        let walked = walk(&disk.bytes(&name).unwrap(), HEADER, 68);
        let blocks = version_blocks(&disk, INTERVAL);
        let mut hit = BTreeSet::new();
        for _ in 0..1 + p.below(6) {
            // Runs of bytes, at times over the edges of blocks.
            let (from, len) = (p.below(known.len), 1 + p.below(3000));
            let to = known.len.min(from + len);
            for at in from..to {
                disk.flip(&name, at, 0x5a);
            }
            hit.extend(from..to);
        }
        if p.below(3) == 0 {
            // And a place that cannot be read at all.
            let from = p.below(known.len) / 512 * 512;
            disk.spoil(&name, from..from + 512);
            hit.extend(from..known.len.min(from + 512));
        }
        let touched = |at: &std::ops::Range<usize>| {
            hit.range(at.start as u64..at.end as u64).next().is_some()
        };
        let whole: Vec<_> = blocks.iter().filter(|at| !touched(at)).collect();
        let Salvaged { table, lost } = rebuild(&disk, &known);
        // Two runs may take each other back.
        assert!(table.blocks() >= whole.len(), "seed {seed}");
        let keys_whole = walked.iter().filter(|b| b.0 == *b"QVKS").all(|b| !touched(&b.3));
        let lost_bytes: u64 = lost.iter().map(|at| at.end - at.start).sum();
        assert!(lost.is_sorted_by(|a, b| a.end < b.start) && lost_bytes < known.len);
        let mut reader = ValueReader::open(&mut disk.clone(), Arc::new(table)).unwrap();
        let found = versions(&mut reader).unwrap();
        let lookup: std::collections::BTreeMap<Age, _> = all.into_iter().collect();
        assert!(found.iter().all(|(age, version)| lookup.get(age) == Some(version)));
        for (age, version) in &found {
            let block = reader.block_of(*age).unwrap().unwrap();
            assert_eq!(block.version(*age), Some(&version[..]));
        }
        let there: BTreeSet<Age> = found.iter().map(|(age, _)| *age).collect();
        let missing = || lookup.keys().filter(|age| !there.contains(age));
        let holes: Vec<_> = reader.table().lost().collect();
        let is_told = |age: &Age| holes.iter().any(|lost| lost.contains(&age.0));
        assert!(missing().all(is_told), "seed {seed}: what is lost is said to be");
        assert!(holes.is_empty() == missing().next().is_none(), "seed {seed}: and nothing else");
        let (mut walked, mut failed) = (BTreeSet::new(), Vec::new());
        let mut versions = reader.versions_from((0, 0));
        loop {
            match versions.next_version() {
                Ok(Some((age, _))) => assert!(walked.insert(age)),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(error.kind, StoreErrorKind::Corrupt);
                    failed.push(versions.failed());
                }
            }
        }
        assert_eq!((walked, failed), (there, holes), "seed {seed}: nobody walks over a hole");
        if let Some(count) = reader.table().pieces() {
            assert!(keys_whole && count == told.len() as u64);
            assert_eq!(keys(&mut reader).unwrap(), told);
        }
    }
}

#[test]
fn a_key_section_is_offered_where_all_of_it_is_there_and_nowhere_else() {
    let mut p = Prng::new(2);
    for count in [0, 1, 30] {
        let whole = MemDisk::new();
        let (all, told) = (some(&mut p, 100, 400, 2), pieces(&mut p, count));
        let known = write(&whole, INTERVAL, &all, &told);
        let blocks = walk(&whole.bytes(&INTERVAL.name()).unwrap(), HEADER, 68);
        let last = blocks.iter().rposition(|b| b.0 == *b"QVBK").unwrap();
        for (n, block) in blocks.iter().enumerate() {
            let disk = whole.fork();
            disk.flip(&INTERVAL.name(), block.3.start as u64 + 30, 1);
            disk.flip(&INTERVAL.name(), 9, 1);
            let table = rebuild(&disk, &known).table;
            // Without the last block of versions, or the table behind it, who could say where the
            // section begins and ends?
            let offered = (n < last).then_some(count);
            assert_eq!(table.pieces(), offered, "block {n} of {count}");
            let mut reader = ValueReader::open(&mut disk.clone(), Arc::new(table)).unwrap();
            assert_eq!(keys(&mut reader).is_ok(), offered.is_some());
        }
    }
}

/// Of one version that is made of this without end, whose block is damaged.
fn looked_at(unit: &[u8]) -> (usize, Salvaged) {
    let disk = MemDisk::new();
    let all: All = vec![
        ((10, 0), vec![1; BLOCK]),
        ((11, 0), unit.repeat((4 << 20) / unit.len())),
        ((12, 0), vec![2; BLOCK]),
    ];
    let known = write(&disk, INTERVAL, &all, &[]);
    let blocks = version_blocks(&disk, INTERVAL);
    assert!(disk.flip(&INTERVAL.name(), known.len - 1, 1));
    assert_eq!(rebuild(&disk, &known).table.blocks(), 3, "whole, it is not looked into");
    assert!(disk.flip(&INTERVAL.name(), blocks[1].start as u64 + 9, 1));
    let mut odd = Odd::new(&disk, Plan::default());
    let salvaged = ValueTable::rebuild(&mut odd, &known).unwrap();
    assert_eq!(salvaged.table.first_age(0), Some((10, 0)));
    assert_eq!(salvaged.lost[0].start, blocks[1].start as u64);
    (odd.told().asked / known.len as usize, salvaged)
}

#[test]
fn values_that_look_like_blocks_are_taken_for_none_and_cost_a_bounded_time() {
    // Heads without end, of blocks as long as may be here, or longer.
    let head = |len: u32| {
        let mut head = b"QVBK".to_vec();
        head.extend([1, 2, 3, 4]);
        head.extend(len.to_le_bytes());
        head.extend([1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(head.len(), HEAD);
        head
    };
    for unit in [head(2 << 20), head(u32::MAX), head(0), b"QVBK".to_vec()] {
        let (times, salvaged) = looked_at(&unit);
        assert!((2..=10).contains(&times), "{times} times its length was read");
        assert_eq!(salvaged.table.blocks(), 1, "it was given up before the third one");
    }
    // What looks like nothing is read once, and so is what is behind it.
    let (times, salvaged) = looked_at(b"QVB");
    assert!(times <= 2, "{times} times");
    assert_eq!(salvaged.table.blocks(), 2);
}

#[test]
fn the_next_block_is_found_wherever_it_begins() {
    for long in (4060..4120).chain(8150..8230) {
        let disk = MemDisk::new();
        let all: All = vec![((10, 0), vec![1; long]), ((11, 0), vec![2; 5000])];
        let known = write(&disk, INTERVAL, &all, &[]);
        assert!(disk.flip(&INTERVAL.name(), HEADER as u64, 1));
        let salvaged = rebuild(&disk, &known);
        assert_eq!(salvaged.table.first_age(0), Some((11, 0)), "{long} bytes");
        assert_eq!(lost(&salvaged), Some(40..(HEADER + HEAD + 16 + long) as u64));
    }
}

#[test]
fn header_and_footer_of_another_file_are_lost_as_they_stand() {
    let (disk, all) = (MemDisk::new(), some(&mut Prng::new(4), 9, 90, 0));
    let known = write(&disk, INTERVAL, &all, &[]);
    let footer = known.len - 68..known.len;
    for other in [
        ValueFile { digest: 1, ..known.clone() },
        ValueFile { versions: 8, ..known.clone() },
        ValueFile { len: known.len + 1, ..known.clone() },
    ] {
        let salvaged = rebuild(&disk, &other);
        assert_eq!((salvaged.table.blocks(), lost(&salvaged)), (1, Some(footer.clone())));
    }
    // Of the same name.
    let interval = Interval { end: 9001, ..INTERVAL };
    let salvaged = rebuild(&disk, &ValueFile { interval, ..known.clone() });
    assert_eq!((salvaged.table.blocks(), lost(&salvaged)), (0, Some(0..known.len)));
}

#[test]
fn a_key_section_without_versions_ends_at_the_footer() {
    let disk = MemDisk::new();
    let told = pieces(&mut Prng::new(3), 20);
    let known = write(&disk, INTERVAL, &All::new(), &told);
    assert!(disk.flip(&INTERVAL.name(), 9, 1));
    let table = rebuild(&disk, &known).table;
    assert_eq!((table.blocks(), table.pieces()), (0, Some(20)));
    let mut reader = ValueReader::open(&mut disk.clone(), Arc::new(table)).unwrap();
    assert_eq!(keys(&mut reader).unwrap(), told);
    // Without either end of it, nobody can say whether that is all.
    assert!(disk.flip(&INTERVAL.name(), known.len - 9, 1));
    assert_eq!(rebuild(&disk, &known).table.pieces(), None);
}

#[test]
fn a_key_section_whose_blocks_were_exchanged_is_not_offered() {
    let disk = MemDisk::new();
    let told: Vec<Vec<u8>> = (0..3).map(|at| vec![at; 64 << 10]).collect();
    let known = write(&disk, INTERVAL, &vec![((10, 0), vec![1])], &told);
    let bytes = disk.bytes(&INTERVAL.name()).unwrap();
    let blocks = walk(&bytes, HEADER, 68);
    let (first, second) = (blocks[1].3.clone(), blocks[2].3.clone());
    put(&disk, &INTERVAL.name(), first.start, &bytes[second.clone()]);
    put(&disk, &INTERVAL.name(), second.start, &bytes[first]);
    let salvaged = rebuild(&disk, &known);
    assert_eq!((salvaged.lost, salvaged.table.pieces()), (vec![], None));
    let mut reader = super::make::open(&disk, &known).unwrap();
    let error = keys(&mut reader).unwrap_err();
    assert_eq!(error.what, "block 2 stands where 1 should");
}

#[test]
fn a_block_of_versions_that_no_writer_makes_is_not_found() {
    let disk = MemDisk::new();
    let all: All = (10..14).map(|at| ((at, 0), vec![at as u8; BLOCK])).collect();
    let known = write(&disk, INTERVAL, &all, &[]);
    let name = INTERVAL.name();
    let bytes = disk.bytes(&name).unwrap();
    let seal = u32::from_le_bytes(bytes[HEADER - 4..HEADER].try_into().unwrap());
    let at = version_blocks(&disk, INTERVAL)[2].clone();
    // A revision outside the interval, and one before that of the block before it.
    for revision in [9, 9000, 11, 10] {
        let mut block = bytes[at.clone()].to_vec();
        block[HEAD..HEAD + 8].copy_from_slice(&i64::to_le_bytes(revision));
        let crc = checksum(seal, &block);
        block[4..8].copy_from_slice(&crc.to_le_bytes());
        put(&disk, &name, at.start, &block);
        let mut reader = super::make::open(&disk, &known).unwrap();
        let error = reader.block(2).unwrap_err();
        assert_eq!(error.what, "block 2 does not hold what its table says");
        let salvaged = rebuild(&disk, &known);
        assert_eq!(lost(&salvaged), Some(at.start as u64..at.end as u64), "{revision}");
        assert_eq!(salvaged.table.blocks(), 3);
    }
}
