//! What settles goes into files, and a member starts from those.

use crate::home::Place;
use crate::twins::{Twins, all, assert_alike, read};
use base::{ClusterTime, Prng};
use member::{Archive, Incoming, checkpoints};
use mvcc::{File, RangeRequest, Store};
use store::{Home, StoreErrorKind};
use wal::Disk;

#[test]
fn what_settled_is_read_from_files_named_by_checkpoints_started_from_and_sent() {
    let mut most = 0;
    for seed in 0..12 {
        let (mut p, mut twins) = (Prng::new(seed), Twins::new());
        for round in 0..14 {
            twins.apply(&mut p, 40);
            twins.settle().expect("room");
            let after = p.below(20);
            twins.apply(&mut p, after);
            assert_alike(&twins, &twins.store);
            let file = twins.checkpoint().expect("room");
            let loaded = checkpoints::load(&twins.place, &file, &twins.archive);
            let loaded = loaded.expect("it is whole");
            assert_eq!((loaded.index, &loaded.extra[..]), (file.index, &b"dedupe"[..]));
            assert_alike(&twins, &loaded.store);
            if p.below(3) == 0 {
                twins.store = loaded.store; // it was started again
            }
            if round % 5 == 4 {
                assert_is_sent_whole(&twins);
            }
        }
        let (_, files) = twins.store.files().expect("in files");
        let names = twins.place.disk("values").unwrap().list().unwrap();
        assert_eq!(names.len(), files.len() + 1, "its files and its index: {names:?}");
        assert!(files.len() < 12, "{files:?}");
        most = most.max(files.iter().map(|file| file.versions).sum());
    }
    assert!(most > 100, "{most}");
}

/// A peer has no file of this member: it is sent what they hold.
fn assert_is_sent_whole(twins: &Twins) {
    let there = Place::default();
    let (offer, mut file) =
        checkpoints::offer(&twins.place, false, &twins.archive).expect("there is one");
    let mut bytes = vec![0; offer.len as usize];
    assert_eq!(file.read_at(0, &mut bytes).expect("it stays open"), bytes.len());
    let mut incoming = Incoming::begin(&there, &offer).expect("room");
    incoming.write(&bytes).expect("room");
    let taken = incoming.finish(&there, &Archive::new(0)).expect("it verifies");
    assert!(taken.store.files().is_none(), "all of it is in memory until it settles there");
    assert_alike(twins, &taken.store);
    assert!(twins.place.disk("outgoing").unwrap().list().unwrap().is_empty(), "no copy stays");
}

/// A member that crashes anywhere while it merges, writes its checkpoint and removes what went
/// before starts from the checkpoint before or from that one.
#[test]
fn a_crash_anywhere_leaves_a_checkpoint_that_is_whole() {
    let mut p = Prng::new(7);
    let mut twins = Twins::new();
    for _ in 0..3 {
        twins.apply(&mut p, 40);
        twins.settle().expect("room");
    }
    twins.checkpoint().expect("room");
    let before = twins.store.applied_index();
    let entries = twins.apply(&mut p, 60);
    let (log, disk) = (twins.job(), twins.place.0.clone());
    let (mut olds, mut news) = (0, 0);
    for n in 1.. {
        let (place, archive) = (Place(disk.fork()), Archive::new(0));
        // A store of its own for each try: as it was started from the checkpoint, and went on.
        let file = store::latest(place.disk("checkpoints").unwrap().as_mut()).unwrap();
        let mut store =
            checkpoints::load(&place, &file.expect("there is one"), &archive).unwrap().store;
        for (index, command) in &entries {
            store.apply(*index, ClusterTime(index.0), command);
        }
        let whole = Store::new(store.limits());
        let mut tried = Twins { whole, store, place, archive };
        tried.place.0.fail_from(n);
        let done = tried.settle().and_then(|()| tried.checkpoint());
        for seed in 0..3 {
            let place = Place(tried.place.0.crash(seed));
            let file = store::latest(place.disk("checkpoints").unwrap().as_mut()).unwrap();
            let found = checkpoints::load(&place, &file.expect("there was one"), &Archive::new(0))
                .expect("whole");
            let is_new = found.index == log.index;
            assert!(is_new || found.index == before, "no other");
            (olds, news) = (olds + u32::from(!is_new), news + u32::from(is_new));
        }
        if done.is_ok() {
            break;
        }
    }
    assert!(olds > 20 && news > 3, "{olds} {news}");
}

#[test]
fn a_damaged_value_is_named_and_costs_no_other_and_a_damaged_index_the_checkpoint() {
    let mut p = Prng::new(3);
    let mut twins = Twins::new();
    twins.apply(&mut p, 200);
    twins.settle().expect("room");
    let checkpoint = twins.checkpoint().expect("room");
    let (index, files) = twins.store.files().expect("in files");
    let file: &File = files.last().expect("one at least");
    let name = format!("values-{:016x}-{:016x}.qv", file.first, file.generation);
    let at = |name: &str| format!("values/{name}");
    let damaged = Place(twins.place.0.fork());
    assert!(damaged.0.flip(&at(&name), file.len / 2, 4));
    let mut shelf = Archive::new(0).reader(&damaged).expect("a directory");
    let (mut sound, mut named) = (0, 0);
    for kv in twins.whole.read(&all(0)).expect("all").kvs {
        let request = RangeRequest { key: kv.key.clone(), ..RangeRequest::default() };
        match read(&twins.store, &request, &mut shelf) {
            Ok(found) => {
                assert_eq!(found.kvs, [kv]);
                sound += 1;
            }
            Err(error) => {
                assert_eq!((error.kind, &error.file), (StoreErrorKind::Corrupt, &name));
                named += 1;
            }
        }
    }
    assert!(sound > 20 && named < 12, "{sound} {named}");
    let index = format!("index-{:016x}.qx", index.index.0);
    for lost in [false, true] {
        let damaged = Place(twins.place.0.fork());
        if lost {
            damaged.0.clone().lose(&at(&index)).expect("it was there");
        } else {
            assert!(damaged.0.flip(&at(&index), 70, 1));
        }
        let error = checkpoints::load(&damaged, &checkpoint, &Archive::new(0))
            .err()
            .expect("no start from that");
        assert_eq!(error.file, index);
    }
    let damaged = Place(twins.place.0.fork());
    damaged.0.clone().lose(&at(&name)).expect("it was there");
    let archive = Archive::new(0);
    let loaded = checkpoints::load(&damaged, &checkpoint, &archive).expect("the rest is served");
    assert_eq!(loaded.store.content_hash(), twins.store.content_hash());
    assert!(archive.wounds().asks(), "and what the file held is asked for");
}

/// As when the first attempt could not be finished, or another state began at the same entry.
#[test]
fn a_merge_that_is_made_twice_names_no_file_twice() {
    let mut p = Prng::new(5);
    let mut twins = Twins::new();
    for _ in 0..3 {
        twins.apply(&mut p, 60);
        twins.settle().expect("room");
    }
    twins.apply(&mut p, 60);
    let settling = twins.store.settle(1).expect("something is fresh");
    let merge = || twins.archive.settle(&twins.place, &settling).expect("room");
    let (one, two) = (merge(), merge());
    let new = |settled: &mvcc::Settled| {
        let begun = |file: &&std::sync::Arc<File>| file.generation >> 20 == settled.begun().0;
        settled.files().filter(begun).map(|file| file.name()).collect::<Vec<_>>()
    };
    assert!(!new(&one).is_empty() && new(&one).iter().all(|name| !new(&two).contains(name)));
    drop(twins.store.settled(one));
    assert_alike(&twins, &twins.store);
}

#[test]
fn what_the_newest_checkpoint_names_stays_when_the_member_goes_by_other_files() {
    let (mut p, mut merged) = (Prng::new(6), 0);
    let mut twins = Twins::new();
    for _ in 0..12 {
        twins.apply(&mut p, 60);
        twins.settle().expect("room");
        let checkpoint = twins.checkpoint().expect("room");
        let (_, named) = twins.store.files().expect("in files");
        twins.apply(&mut p, 90);
        twins.settle().expect("room");
        let (_, now) = twins.store.files().expect("in files");
        merged += usize::from(named.iter().any(|file| !now.contains(file)));
        twins.archive.tidy(&twins.place).expect("it removes what it may");
        // The member starts again, from that checkpoint.
        let archive = Archive::new(0);
        let loaded = checkpoints::load(&twins.place, &checkpoint, &archive).expect("it is whole");
        assert!(archive.wounds().is_empty(), "and so is what it names");
        assert_eq!(loaded.index, checkpoint.index);
    }
    assert!(merged > 2, "{merged}");
}
