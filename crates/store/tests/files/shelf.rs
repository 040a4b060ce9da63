//! The value and index files of a directory.

use super::make::{All, INTERVAL, try_index, try_write};
use base::LogIndex;
use std::collections::BTreeSet;
use store::{
    IndexWriter, Interval, StoreErrorKind, ValueFile, ValueWriter, clean_shelf, keep_on_shelf,
    list_shelf,
};
use wal::{Disk, MemDisk, Part};

fn values(disk: &mut dyn Disk, first: i64, generation: u64) -> ValueFile {
    let interval = Interval { first, end: first + 100, generation };
    let all: All = (first..first + 5).map(|at| ((at, 0), vec![1; 50])).collect();
    try_write(disk, interval, &all, &[vec![2; 9]]).unwrap()
}

fn index(disk: &mut dyn Disk, at: u64) -> String {
    let writer = IndexWriter::begin(disk, LogIndex(at), b"meta").unwrap();
    writer.finish(disk).unwrap().name()
}

/// What others put there, and names that only look like ours.
const STRANGERS: [&str; 5] = [
    "values-000000000000000a-0000000000000001.qv.bak",
    "my-values-000000000000000a-0000000000000001.qv",
    "index-77.qx",
    "index-000000000000004D.qx",
    "notes.tmp",
];

fn begun() -> (MemDisk, Part) {
    let disk = MemDisk::new();
    let mut part = disk.part("data");
    for name in STRANGERS {
        part.create(name).unwrap();
    }
    part.sync_dir().unwrap();
    (disk, part)
}

#[test]
fn files_are_listed_with_what_is_wrong_with_each() {
    let (disk, mut part) = begun();
    assert_eq!(list_shelf(&mut part).unwrap(), store::Shelf::default());
    let made: Vec<ValueFile> = [(300, 1), (10, 2), (10, 1), (4000, 1), (5000, 1)]
        .map(|(first, generation)| values(&mut part, first, generation))
        .to_vec();
    let indexes = [9, 500, 70].map(|at| index(&mut part, at));
    let whole = |name: &String| format!("data/{name}");
    // A footer, a header, one that is empty, a block.
    assert!(disk.flip(&whole(&made[0].interval.name()), made[0].len - 1, 1));
    part.create(&indexes[1]).unwrap();
    assert!(disk.flip(&whole(&made[3].interval.name()), 20, 1));
    assert!(disk.flip(&whole(&made[4].interval.name()), 99, 1));
    let shelf = list_shelf(&mut part).unwrap();
    let sound = [made[2].clone(), made[1].clone(), made[4].clone()];
    assert_eq!(shelf.values, sound, "blocks are verified when they are read");
    let found: Vec<String> = shelf.indexes.iter().map(store::IndexFile::name).collect();
    assert_eq!(found, [indexes[0].clone(), indexes[2].clone()]);
    let damaged: BTreeSet<String> = shelf.damaged.iter().map(|e| e.file.clone()).collect();
    assert!(shelf.damaged.iter().all(|error| error.kind == StoreErrorKind::Corrupt));
    assert_eq!(
        damaged,
        [indexes[1].clone(), made[0].interval.name(), made[3].interval.name()].into()
    );
}

#[test]
fn what_is_half_written_goes_at_a_start_for_good_and_nothing_else() {
    let (disk, mut part) = begun();
    let known = values(&mut part, 10, 1);
    let kept = index(&mut part, 9);
    let half = ValueWriter::begin(&mut part, INTERVAL).unwrap();
    let other = IndexWriter::begin(&mut part, LogIndex(7), b"").unwrap();
    drop((half, other));
    part.sync_dir().unwrap();
    assert_eq!(part.list().unwrap().len(), STRANGERS.len() + 4);
    clean_shelf(&mut part).unwrap();
    let names: BTreeSet<String> = disk.crash(1).part("data").list().unwrap().into_iter().collect();
    let mut left: BTreeSet<String> = STRANGERS.map(str::to_owned).into();
    left.extend([known.interval.name(), kept]);
    assert_eq!(names, left);
    let changes = disk.changes();
    clean_shelf(&mut part).unwrap();
    assert_eq!(disk.changes(), changes, "nothing to do");
}

#[test]
fn files_that_are_not_to_be_kept_go_for_good_damaged_or_not() {
    let (disk, mut part) = begun();
    let made = [(10, 1), (10, 2), (300, 1)].map(|(first, n)| values(&mut part, first, n));
    let indexes = [7, 9].map(|at| index(&mut part, at));
    let names = made.clone().map(|file| file.interval.name());
    assert!(disk.flip(&format!("data/{}", names[0]), 3, 1));
    // What a manifest names beside them, and what is gone already.
    let keep = BTreeSet::from([
        names[1].clone(),
        indexes[1].clone(),
        "values-0000000000000fff-0000000000000001.qv".to_owned(),
    ]);
    let gone = keep_on_shelf(&mut part, &keep).unwrap();
    assert_eq!(gone, [indexes[0].clone(), names[0].clone(), names[2].clone()]);
    let mut after = disk.crash(1).part("data");
    let shelf = list_shelf(&mut after).unwrap();
    assert_eq!((shelf.values, shelf.damaged), (vec![made[1].clone()], vec![]));
    assert_eq!(shelf.indexes.len(), 1);
    assert_eq!(after.list().unwrap().len(), STRANGERS.len() + 2);
    let changes = disk.changes();
    assert_eq!(keep_on_shelf(&mut part, &keep).unwrap(), [""; 0]);
    assert_eq!(disk.changes(), changes, "nothing to do");
    assert_eq!(keep_on_shelf(&mut part, &BTreeSet::new()).unwrap().len(), 2);
}

#[test]
fn a_directory_that_cannot_be_read_is_an_error_and_no_damage() {
    struct Gone(MemDisk);
    impl Disk for Gone {
        fn list(&mut self) -> std::io::Result<Vec<String>> {
            self.0.list()
        }
        fn open(&mut self, _: &str) -> std::io::Result<Box<dyn wal::DiskFile>> {
            Err(std::io::Error::other("the cable is out"))
        }
        fn create(&mut self, name: &str) -> std::io::Result<Box<dyn wal::DiskFile>> {
            self.0.create(name)
        }
        fn rename(&mut self, from: &str, to: &str) -> std::io::Result<()> {
            self.0.rename(from, to)
        }
        fn remove(&mut self, file: &wal::Ours) -> std::io::Result<()> {
            self.0.remove(file)
        }
        fn sync_dir(&mut self) -> std::io::Result<()> {
            self.0.sync_dir()
        }
    }
    let mut disk = MemDisk::new();
    let file = try_index(&mut disk, b"", &[]).unwrap();
    let error = list_shelf(&mut Gone(disk)).unwrap_err();
    assert_eq!((error.kind, error.file), (StoreErrorKind::Io, file.name()));
}
