//! A crash and an error at every operation of the disk while files are written and removed.

use super::make::{All, INTERVAL, pieces, read, read_index, some, try_index, try_write, write};
use super::odd::{Odd, Plan, Refused};
use base::Prng;
use std::collections::BTreeSet;
use store::{
    Interval, StoreError, StoreErrorKind, ValueFile, ValueWriter, clean_shelf, keep_on_shelf,
    list_shelf,
};
use wal::{Disk, MemDisk};

/// Runs `work` with every change failing from some point on, for every point and several ways to
/// lose what was not synced; `check` looks at what is left, and is told whether all was done.
fn at_every_change(
    make: &dyn Fn() -> MemDisk,
    work: &dyn Fn(&mut MemDisk) -> Result<(), StoreError>,
    check: &mut dyn FnMut(MemDisk, bool),
) {
    for n in 0.. {
        let mut done = false;
        for seed in 0..8 {
            let mut disk = make();
            disk.fail_from(disk.changes() + n);
            done = work(&mut disk).is_ok();
            check(disk.crash(seed), done);
        }
        if done {
            assert!(n >= 4, "{n} boundaries were crossed");
            return;
        }
    }
}

fn some_values() -> (All, Vec<Vec<u8>>) {
    let mut p = Prng::new(1);
    (some(&mut p, 60, 600, 5), pieces(&mut p, 20))
}

#[test]
fn a_crash_anywhere_while_values_are_written_leaves_no_such_file_or_the_whole() {
    let (all, told) = some_values();
    let known = write(&MemDisk::new(), INTERVAL, &all, &told);
    let name = INTERVAL.name();
    let work = |disk: &mut MemDisk| try_write(disk, INTERVAL, &all, &told).map(|_| ());
    let (mut whole, mut none) = (0, 0);
    // Begun on an empty disk, and on what an earlier attempt left, which is longer.
    let left = || {
        let mut disk = MemDisk::new();
        let mut writer = ValueWriter::begin(&mut disk, INTERVAL).unwrap();
        (10..400).for_each(|at| writer.put((at, 0), &[9; 900]).unwrap());
        disk.sync_dir().unwrap();
        disk
    };
    for make in [&MemDisk::new as &dyn Fn() -> MemDisk, &left] {
        at_every_change(make, &work, &mut |mut disk, done| {
            if disk.list().unwrap().contains(&name) {
                whole += 1;
                assert_eq!(read(&disk, &known).unwrap(), (all.clone(), told.clone()));
            } else {
                none += 1;
                assert!(!done, "durable on return");
            }
            clean_shelf(&mut disk).unwrap();
            let mut names = disk.list().unwrap();
            names.retain(|left| *left != name);
            assert_eq!(names, [""; 0], "nothing else stays");
            let again = try_write(&mut disk, INTERVAL, &all, &told).unwrap();
            assert_eq!(again, known);
        });
    }
    assert!(whole > 10 && none > 100, "{whole} whole, {none} without");
}

#[test]
fn a_crash_anywhere_while_an_index_is_written_leaves_no_such_file_or_the_whole() {
    let told = pieces(&mut Prng::new(2), 40);
    let work = |disk: &mut MemDisk| try_index(disk, b"meta", &told).map(|_| ());
    at_every_change(&MemDisk::new, &work, &mut |mut disk, done| {
        let there = list_shelf(&mut disk).unwrap();
        assert_eq!(there.damaged, []);
        assert!(there.indexes.len() == 1 || !done);
        if !there.indexes.is_empty() {
            assert_eq!(read_index(&disk).unwrap().2, told);
        }
    });
}

#[test]
fn a_crash_anywhere_while_files_are_removed_takes_none_that_is_kept() {
    let (all, told) = some_values();
    let interval = |generation| Interval { generation, ..INTERVAL };
    let make = || {
        let mut disk = MemDisk::new();
        for generation in 1..6 {
            write(&disk, interval(generation), &all, &told);
        }
        drop(ValueWriter::begin(&mut disk, INTERVAL).unwrap());
        try_index(&mut disk, b"", &told).unwrap();
        disk
    };
    let keep = BTreeSet::from([interval(2).name(), interval(5).name()]);
    let work = |disk: &mut MemDisk| {
        clean_shelf(disk)?;
        keep_on_shelf(disk, &keep).map(|_| ())
    };
    at_every_change(&make, &work, &mut |mut disk, done| {
        let names: BTreeSet<String> = disk.list().unwrap().into_iter().collect();
        assert!(names.is_superset(&keep));
        assert!(!done || names == keep, "for good: {names:?}");
        assert_eq!(list_shelf(&mut disk).unwrap().damaged, []);
    });
}

fn names(disk: &Odd) -> Vec<String> {
    disk.disk.clone().list().unwrap()
}

#[test]
fn a_disk_that_is_full_is_reported_and_leaves_nothing() {
    let (all, told) = some_values();
    let known = write(&MemDisk::new(), INTERVAL, &all, &told);
    let index = try_index(&mut MemDisk::new(), b"meta", &told).unwrap();
    let attempt = |room: u64| {
        let mut odd = Odd::new(&MemDisk::new(), Plan { room: Some(room), ..Plan::default() });
        let error = put_values(&mut odd, &all, &told);
        if let Err(error) = &error {
            assert_eq!(error.kind, StoreErrorKind::NoRoom, "{room}: {error}");
            assert!(error.file.ends_with(".tmp"), "{error}");
            assert_eq!(names(&odd), [""; 0], "with room for {room} bytes");
        }
        error
    };
    for room in (0..known.len).step_by(1001).chain([known.len - 1]) {
        attempt(room).unwrap_err();
    }
    assert_eq!(attempt(known.len).unwrap(), known);
    for room in (30..index.len).step_by(5003).chain([index.len - 1]) {
        let mut odd = Odd::new(&MemDisk::new(), Plan { room: Some(room), ..Plan::default() });
        let error = try_index(&mut odd, b"meta", &told).unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::NoRoom);
        assert!(names(&odd).iter().all(|name| name.ends_with(".tmp")));
    }
}

/// As whoever writes does: what failed is discarded.
fn put_values(disk: &mut Odd, all: &All, told: &[Vec<u8>]) -> Result<ValueFile, StoreError> {
    let mut writer = ValueWriter::begin(disk, INTERVAL)?;
    let versions = all.iter().try_for_each(|(age, version)| writer.put(*age, version));
    let done = versions.and_then(|()| told.iter().try_for_each(|piece| writer.piece(piece)));
    match done {
        Ok(()) => writer.finish(disk),
        Err(error) => {
            writer.discard(disk).unwrap();
            Err(error)
        }
    }
}

#[test]
fn after_an_error_nothing_more_is_written() {
    let mut odd = Odd::new(&MemDisk::new(), Plan { room: Some(9000), ..Plan::default() });
    let mut writer = ValueWriter::begin(&mut odd, INTERVAL).unwrap();
    let put = |writer: &mut ValueWriter, at| writer.put((at, 0), &[1; 8000]);
    put(&mut writer, 10).unwrap();
    put(&mut writer, 11).unwrap();
    assert_eq!(put(&mut writer, 12).unwrap_err().kind, StoreErrorKind::NoRoom);
    // There is room again, and a block is missing.
    odd.plan.lock().unwrap().room = None;
    let error = (13..20).find_map(|at| put(&mut writer, at).err()).unwrap();
    assert_eq!(error.what, "written on after an error");
    writer.finish(&mut odd).unwrap_err();
    assert_eq!(names(&odd), [""; 0]);
}

#[test]
fn whatever_the_disk_refuses_is_reported_and_no_file_is_relied_on() {
    let (all, told) = some_values();
    for refused in [Refused::Create, Refused::Sync, Refused::Rename, Refused::SyncDir] {
        let plan = Plan { refused: Some(refused), ..Plan::default() };
        let mut odd = Odd::new(&MemDisk::new(), plan);
        for error in [
            try_write(&mut odd, INTERVAL, &all, &told).unwrap_err(),
            try_index(&mut odd, b"", &told).unwrap_err(),
        ] {
            assert_eq!(error.kind, StoreErrorKind::Io);
            assert!(error.what.ends_with(&format!("refused: {refused:?}")), "{error}");
        }
        // Behind the rename it has its name, whole; before it nothing is left.
        let left = names(&odd).len();
        assert_eq!(left, if refused == Refused::SyncDir { 2 } else { 0 }, "{refused:?}");
        let shelf = list_shelf(&mut odd).unwrap();
        assert_eq!((shelf.damaged.len(), shelf.values.len() + shelf.indexes.len()), (0, left));
    }
}
