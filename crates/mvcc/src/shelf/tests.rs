use super::*;
use crate::drive::Drive;
use crate::walk::{Step, Walk};
use crate::{KeyValue, Values, Wanted};
use alloc::collections::BTreeMap;
use base::{Blob, Prng};

type Twin = BTreeMap<Age, Arc<Record>>;

fn record((mod_revision, sub): Age) -> Arc<Record> {
    let kv = KeyValue {
        key: Blob::from(&b"k"[..]),
        create_revision: 2,
        mod_revision,
        version: 1,
        ..KeyValue::default()
    };
    Arc::new(Record::new(kv, sub))
}

/// All that is worn is made anew in memory, and then some volumes go into files.
fn tidy(mut shelf: Shelf, twin: &Twin, drive: &mut Drive, p: &mut Prng) -> Shelf {
    while let Some(anew) = shelf.worn(&[]) {
        let (first, end, kept) = shelf.interval(&anew);
        let records: Vec<_> = all(&shelf, drive, (first, 0))
            .into_iter()
            .filter(|r| r.kv.mod_revision < end && twin.contains_key(&r.age()))
            .collect();
        assert_eq!(records.len(), kept);
        let volume = Memory::new(first, end, records);
        shelf = shelf.replaced(&anew, Volume::Memory(Arc::new(volume)));
    }
    let stored: Vec<_> = shelf.in_memory().filter(|_| p.below(2) == 0).collect();
    for (at, _, Range { start: first, end }, mut versions) in stored.into_iter().rev() {
        versions.retain(|version| twin.contains_key(&version.age()));
        // As one file or as two.
        let middle = first + p.below((end - first) as u64) as i64;
        let behind = versions.partition_point(|version| version.age().0 < middle);
        let (before, behind) = versions.split_at(behind);
        let mut files = Vec::from([drive.put(middle, end, behind)]);
        if first < middle {
            files.insert(0, drive.put(first, middle, before));
        }
        shelf = shelf.stored(at, files);
    }
    shelf
}

fn all(shelf: &Shelf, drive: &mut Drive, from: Age) -> Vec<Arc<Record>> {
    let (mut walk, mut found) = (Walk::new(from), Vec::new());
    loop {
        match walk.next(shelf, drive) {
            Step::Version(record) => found.push(record),
            Step::Missing => assert!(drive.fetch(), "what is missing was asked for"),
            Step::End => return found,
        }
    }
}

#[test]
fn a_shelf_holds_what_is_put_there_until_more_than_half_of_a_volume_is_gone() {
    for seed in 0..30 {
        let mut p = Prng::new(seed);
        let (mut shelf, mut twin, mut end) = (Shelf::default(), Twin::new(), 2);
        let (mut held, mut drive) = (Vec::new(), Drive::default());
        for _ in 0..40 {
            let first = end;
            let mut records = Vec::new();
            for _ in 0..p.below(60) {
                let age = match records.last().map(|r: &Arc<Record>| r.age()) {
                    Some((revision, sub)) if p.below(3) == 0 => (revision, sub + 1),
                    _ => (end, 0),
                };
                end = age.0 + if p.below(20) == 0 { 900 } else { 1 };
                records.push(record(age));
            }
            let new = (end > first).then(|| Memory::new(first, end, records.clone()));
            twin.extend(records.into_iter().map(|r| (r.age(), r)));
            let goes = p.below(3);
            let gone: Vec<Age> = twin.keys().filter(|_| p.below(4) < goes).copied().collect();
            gone.iter().for_each(|age| drop(twin.remove(age)));
            shelf = tidy(shelf.with(new, &gone), &twin, &mut drive, &mut p);
            assert_is(&shelf, &twin, &mut drive, &mut p, end);
            let len: usize = shelf.0.iter().map(|x| x.volume.len()).sum();
            assert!(len <= 2 * twin.len(), "{len} for {}", twin.len());
            assert!(shelf.0.len() <= 20, "{} are searched", shelf.0.len());
            drive.forget();
            held.push((shelf.clone(), twin.keys().copied().collect::<Vec<_>>()));
        }
        for (shelf, ages) in held {
            let here = all(&shelf, &mut drive, (0, 0));
            let here: Vec<Age> = here.iter().map(|r| r.age()).collect();
            assert!(ages.iter().all(|age| here.binary_search(age).is_ok()), "it is as it was");
        }
    }
}

fn assert_is(shelf: &Shelf, twin: &Twin, drive: &mut Drive, p: &mut Prng, end: i64) {
    let from = 2 + p.below(end.unsigned_abs()).cast_signed();
    for from in [(from, 0), (from, 2), (0, 0), (end, 0)] {
        let here = all(shelf, drive, from);
        assert!(here.is_sorted_by(|a, b| a.age() < b.age()));
        let kept: Vec<Age> =
            here.iter().map(|r| r.age()).filter(|x| twin.contains_key(x)).collect();
        assert!(kept.iter().eq(twin.range(from..).map(|(age, _)| age)));
        let in_files = shelf.volumes_from(from.0).any(|x| matches!(x.volume, Volume::File(_)));
        assert_eq!(shelf.is_in_memory(from.0), !in_files);
    }
    for (age, record) in twin.iter().filter(|_| p.below(9) == 0) {
        match shelf.of(age.0) {
            Place::Here(records) => assert!(records.contains(record)),
            Place::File(file) => {
                let wanted = Wanted { age: *age, hash: record.hash(), bytes: 0 };
                assert!(drive.version(file, wanted).is_none() && drive.fetch(), "not yet");
                assert_eq!(drive.version(file, wanted).unwrap().0, *record);
            }
        }
    }
}
