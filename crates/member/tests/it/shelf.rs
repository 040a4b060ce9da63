//! What settles goes into files, and a member starts from those.

use crate::home::{Place, cluster};
use base::{Ballot, Blob, ClusterTime, LogIndex, Prng};
use member::shelf::Shelf;
use member::{Archive, Incoming, checkpoints, limits};
use mvcc::{
    Budget, Command, DeleteRequest, File, KeyRange, PutRequest, RangeRequest, RangeResponse,
    RangeWork, Store, View,
};
use replica::CheckpointJob;
use store::{CheckpointFile, Home, StoreError, StoreErrorKind};
use wal::Disk;

fn key(n: u64) -> Blob {
    Blob::from(format!("key {n:03}").as_bytes())
}

fn command(p: &mut Prng, revision: i64) -> Command {
    match p.below(12) {
        0 | 1 => {
            let range_end = if p.below(4) == 0 { key(p.below(60)) } else { Blob::default() };
            Command::Delete(DeleteRequest { key: key(p.below(60)), range_end, prev_kv: false })
        }
        2 if p.below(3) == 0 => Command::Compact { revision: revision - p.below(30) as i64 },
        3 if p.below(4) == 0 => Command::LeaseGrant { id: 1 + p.below(3) as i64, ttl: 60 },
        _ => {
            let value = Blob::from(vec![p.below(256) as u8; p.below(3000) as usize]);
            Command::Put(PutRequest { key: key(p.below(60)), value, ..PutRequest::default() })
        }
    }
}

/// The same log applied twice: to a store that has all in memory, and to one that settles in files.
struct Twins {
    whole: Store,
    store: Store,
    place: Place,
    archive: Archive,
}

impl Twins {
    fn new() -> Self {
        let limits = limits::store_limits(&cluster(3));
        let (whole, store) = (Store::new(limits), Store::new(limits));
        Self { whole, store, place: Place::default(), archive: Archive::new(20_000) }
    }

    fn apply(&mut self, p: &mut Prng, entries: u64) -> Vec<(LogIndex, Command)> {
        let mut applied = Vec::new();
        for _ in 0..entries {
            let index = self.whole.applied_index().next();
            let command = command(p, self.whole.revision());
            let one = self.whole.apply(index, ClusterTime(index.0), &command);
            let other = self.store.apply(index, ClusterTime(index.0), &command);
            assert_eq!(one.result, other.result);
            applied.push((index, command));
        }
        applied
    }

    fn settle(&mut self) -> Result<(), StoreError> {
        let Some(settling) = self.store.settle(1) else { return Ok(()) };
        let settled = self.archive.settle(&self.place, &settling)?;
        drop(self.store.settled(settled));
        Ok(())
    }

    fn job(&self) -> CheckpointJob {
        CheckpointJob {
            index: self.store.applied_index(),
            ballot: Ballot::new(3, 2),
            view: self.store.view(),
            config: cluster(3),
            extra: b"dedupe".to_vec(),
        }
    }

    /// Writes a checkpoint and removes the files that no one goes by any more.
    fn checkpoint(&self) -> Result<CheckpointFile, StoreError> {
        let file = checkpoints::write(&self.place, &self.job(), &self.archive)?;
        self.archive.tidy(&self.place)?;
        Ok(file)
    }
}

fn read(
    view: &View,
    request: &RangeRequest,
    shelf: &mut Shelf,
) -> Result<RangeResponse, StoreError> {
    let mut work = RangeWork::start(view, request).expect("it is asked for what is there");
    work.run(view, shelf, &mut Budget::endless()).ok_or_else(|| shelf.take_error().expect("why"))
}

fn all(revision: i64) -> RangeRequest {
    let (key, range_end) = (Blob::from(&b"\0"[..]), Blob::from(&b"\0"[..]));
    RangeRequest { key, range_end, revision, ..RangeRequest::default() }
}

fn assert_alike(twins: &Twins, store: &View) {
    let whole = &twins.whole;
    assert_eq!(store.applied_index(), whole.applied_index());
    let hashes = |view: &View| (view.chain_hash(), view.content_hash(), view.size_bytes());
    assert_eq!(hashes(store), hashes(whole));
    let mut shelf = twins.archive.reader(&twins.place).expect("a directory");
    for revision in whole.compact_revision().max(1)..=whole.revision() {
        let found = read(store, &all(revision), &mut shelf).expect("it is there");
        assert_eq!(found, whole.read(&all(revision)).expect("it was made"), "{revision}");
    }
    let (from, every) = (whole.compact_revision(), KeyRange::new(&b"\0"[..], &b"\0"[..]));
    let told = store.history_stretch(from, &every, usize::MAX, &mut shelf).expect("not compacted");
    assert_eq!(told.expect("it is there").changes, whole.history(from, &every, 9999).unwrap());
}

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
    let error = checkpoints::load(&damaged, &checkpoint, &Archive::new(0))
        .err()
        .expect("nor without a file");
    assert_eq!(error.file, name);
}
