//! Removals of many keys: a range, or what is attached to a lease. The keys go in order, a batch at
//! a time, so that each index is gone through in order too and no key is looked up by itself.

use super::write::{Writer, before};
use crate::budget::{Budget, units};
use crate::command::Error;
use crate::digest::Digest;
use crate::key_range::KeyRange;
use crate::map::Map;
use crate::types::{DeleteRequest, DeleteResponse, Event, EventKind, KeyValue};
use crate::version::{Old, Record};
use crate::view::View;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::{Blob, planted};

/// Keys ended in one walk over the newest versions, before the other indexes hear of them.
const BATCH_MAX: usize = 256;

/// One batch: what its keys were, until it is closed.
struct Batch<'a> {
    old: &'a Map<Old, ()>,
    events: &'a mut Vec<Event>,
    digest: &'a mut Digest,
    revision: i64,
    ended: Ended,
}

/// What the other indexes and the sums have to hear of.
#[derive(Default)]
struct Ended {
    superseded: Vec<(Old, ())>,
    /// (lease, key), in order of keys.
    detached: Vec<(i64, Blob)>,
    hash: u64,
    bytes: u64,
}

impl Batch<'_> {
    /// Puts a tombstone in the place of the live version; the live one.
    fn end<'a>(&'a mut self, key: &Blob, newest: &mut Arc<Record>) -> &'a KeyValue {
        assert!(!newest.tombstone && newest.kv.key == *key, "a key's own version, and live");
        let prev_kv = before(self.old, newest.clone(), self.revision).into();
        let sub = u32::try_from(self.events.len()).expect("fits memory");
        let record = Arc::new(Record::tombstone(key.clone(), self.revision, sub));
        assert!(newest.age() < record.age(), "a newer version supersedes an older one");
        let hash = record.hash();
        self.digest.version(hash);
        let ended = &mut self.ended;
        let last = ended.superseded.last();
        assert!(last.is_none_or(|(last, ())| last.kv.key < *key), "keys go in order");
        ended.hash = ended.hash.wrapping_add(hash);
        ended.bytes += record.bytes();
        if newest.kv.lease != 0 {
            ended.detached.push((newest.kv.lease, key.clone()));
        }
        let kv = record.clone().into();
        self.events.push(Event { kind: EventKind::Delete, kv, prev_kv });
        let old = core::mem::replace(newest, record);
        ended.superseded.push((Old(old), ()));
        let (old, ()) = ended.superseded.last().expect("it was just pushed");
        &old.kv
    }
}

impl Writer<'_> {
    /// Runs `walk` over the newest versions of all keys; whatever it ends is ended altogether.
    fn batch(&mut self, walk: impl FnOnce(&mut Map<Blob, Arc<Record>>, &mut Batch<'_>)) {
        let revision = self.view.revision + 1;
        let View { current, old, .. } = &mut *self.view;
        let (events, digest) = (&mut *self.events, &mut *self.digest);
        let mut batch = Batch { old, events, digest, revision, ended: Ended::default() };
        walk(current, &mut batch);
        let Ended { superseded, mut detached, hash, bytes } = batch.ended;
        assert!(detached.len() <= superseded.len(), "a key is attached to one lease");
        old.insert_run(superseded);
        self.view.versions_hash = self.view.versions_hash.wrapping_add(hash);
        self.view.size_bytes += bytes;
        if !planted!(AttachmentKept) {
            detached.sort_unstable(); // mostly one lease, and sorted
            self.view.lease_keys.remove_run(&detached);
        }
    }
}

/// A delete of a range.
pub(crate) struct DeleteWork {
    range: KeyRange,
    prev_kv: bool,
    after: Option<Blob>,
    /// Keys that live in the range before it; none until it has begun.
    live: Option<usize>,
    deleted: usize,
    prev_kvs: Vec<KeyValue>,
}

impl DeleteWork {
    pub fn new(request: &DeleteRequest) -> Self {
        Self {
            range: KeyRange::new(request.key.clone(), request.range_end.clone()),
            prev_kv: request.prev_kv,
            after: None,
            live: None,
            deleted: 0,
            prev_kvs: Vec::new(),
        }
    }

    pub fn run(&mut self, w: &mut Writer<'_>, budget: &mut Budget) -> Option<DeleteResponse> {
        let live = self.live.unwrap_or_else(|| {
            let live = w.view.count_newest(&self.range);
            // A list that doubles would be copied by one slice, and be too large in the end.
            match w.events.len() {
                0 => w.events.reserve_exact(live),
                _ => w.events.reserve(live),
            }
            live
        });
        self.live = Some(live);
        while self.deleted < live {
            let mut skips = planted!(SliceSkipsKey) && self.after.is_some();
            let max = budget.batch(BATCH_MAX);
            if max == 0 {
                return None;
            }
            let before = self.deleted;
            let from = self.after.clone().unwrap_or_else(|| self.range.first().clone());
            w.batch(|current, batch| {
                current.walk_live(&from, |key, newest| {
                    if self.range.is_past(key) {
                        return false;
                    }
                    if core::mem::take(&mut skips) {
                        return true;
                    }
                    self.delete(key, newest, batch, budget);
                    self.deleted - before < max && self.deleted < live && budget.is_left()
                });
            });
            if self.deleted == before {
                break;
            }
            self.after = w.events.last().map(|event| event.kv.key.clone());
        }
        let told = self.prev_kvs.len() == self.deleted;
        assert!(told || !self.prev_kv, "each deleted key is told of once");
        assert!(self.deleted == live || planted!(SliceSkipsKey), "each that lived is deleted");
        let deleted = i64::try_from(self.deleted).expect("fits memory");
        let revision = w.current();
        w.digest.number(revision);
        w.digest.number(deleted);
        Some(DeleteResponse { revision, deleted, prev_kvs: core::mem::take(&mut self.prev_kvs) })
    }

    fn delete(
        &mut self,
        key: &Blob,
        newest: &mut Arc<Record>,
        batch: &mut Batch<'_>,
        budget: &mut Budget,
    ) {
        budget.spend(1);
        let kv = batch.end(key, newest);
        self.deleted += 1;
        if self.prev_kv {
            let kv = kv.clone();
            budget.spend(units(kv.value.len()));
            batch.digest.answered(&kv);
            self.prev_kvs.push(kv);
        }
    }
}

/// Deletes a lease's keys in sorted order in one revision, then the lease.
pub(crate) struct RevokeWork {
    id: i64,
    after: Option<Blob>,
}

impl RevokeWork {
    pub fn new(view: &View, id: i64, renewal: Option<u64>) -> Result<Self, Error> {
        let lease = view.leases.get(&id).ok_or(Error::LeaseNotFound)?;
        if renewal.is_some_and(|seen| seen != lease.renewal) && !planted!(RevokeOverRenewal) {
            return Err(Error::LeaseRenewed);
        }
        Ok(Self { id, after: None })
    }

    pub fn run(&mut self, w: &mut Writer<'_>, budget: &mut Budget) -> Option<i64> {
        loop {
            let max = budget.batch(BATCH_MAX);
            if max == 0 {
                return None;
            }
            let keys = w.view.lease_keys_after(self.id, self.after.as_ref());
            let keys: Vec<Blob> = keys.take(max).cloned().collect();
            budget.spend(keys.len().max(1) as u64);
            w.batch(|current, batch| {
                let found = current.update_run(&keys, |key, newest| {
                    // Only live keys are attached, or else it fails there.
                    if !(newest.tombstone && planted!(AttachmentKept)) {
                        batch.end(key, newest);
                    }
                });
                let all = found == keys.len();
                assert!(all || planted!(AttachmentKept), "what is attached is there");
            });
            match keys.last() {
                Some(last) if keys.len() == max => self.after = Some(last.clone()),
                _ => break,
            }
        }
        let attached = w.view.lease_keys_after(self.id, None).next();
        assert!(attached.is_none() || planted!(AttachmentKept), "its keys go before it");
        w.view.remove_lease(self.id).expect("nobody else ends it meanwhile");
        Some(w.current())
    }
}
