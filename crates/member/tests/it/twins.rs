//! The same log in memory and in files.

use crate::home::{Place, cluster};
use base::{Ballot, Blob, ClusterTime, LogIndex, Prng};
use member::shelf::Shelf;
use member::{Archive, checkpoints, limits};
use mvcc::{
    Budget, Command, DeleteRequest, KeyRange, PutRequest, RangeRequest, RangeResponse, RangeWork,
    Store, View,
};
use replica::CheckpointJob;
use store::{CheckpointFile, StoreError};

pub fn key(n: u64) -> Blob {
    Blob::from(format!("key {n:03}").as_bytes())
}

pub fn command(p: &mut Prng, revision: i64) -> Command {
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
pub struct Twins {
    pub whole: Store,
    pub store: Store,
    pub place: Place,
    pub archive: Archive,
}

impl Twins {
    pub fn new() -> Self {
        let limits = limits::store_limits(&cluster(3));
        let (whole, store) = (Store::new(limits), Store::new(limits));
        Self { whole, store, place: Place::default(), archive: Archive::new(20_000) }
    }

    pub fn apply(&mut self, p: &mut Prng, entries: u64) -> Vec<(LogIndex, Command)> {
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

    pub fn settle(&mut self) -> Result<(), StoreError> {
        let Some(settling) = self.store.settle(1) else { return Ok(()) };
        let settled = self.archive.settle(&self.place, &settling)?;
        drop(self.store.settled(settled));
        Ok(())
    }

    pub fn job(&self) -> CheckpointJob {
        CheckpointJob {
            index: self.store.applied_index(),
            ballot: Ballot::new(3, 2),
            view: self.store.view(),
            config: cluster(3),
            extra: b"dedupe".to_vec(),
        }
    }

    /// Writes a checkpoint and removes the files that no one goes by any more.
    pub fn checkpoint(&self) -> Result<CheckpointFile, StoreError> {
        let file = checkpoints::write(&self.place, &self.job(), &self.archive)?;
        self.archive.tidy(&self.place)?;
        Ok(file)
    }
}

pub fn read(
    view: &View,
    request: &RangeRequest,
    shelf: &mut Shelf,
) -> Result<RangeResponse, StoreError> {
    let mut work = RangeWork::start(view, request).expect("it is asked for what is there");
    work.run(view, shelf, &mut Budget::endless()).ok_or_else(|| shelf.take_error().expect("why"))
}

pub fn all(revision: i64) -> RangeRequest {
    let (key, range_end) = (Blob::from(&b"\0"[..]), Blob::from(&b"\0"[..]));
    RangeRequest { key, range_end, revision, ..RangeRequest::default() }
}

pub fn assert_alike(twins: &Twins, store: &View) {
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
