//! One command's writes: they share a revision, and become visible to its own later reads.

use super::version_bytes;
use crate::budget::{Budget, units};
use crate::command::Error;
use crate::digest::Digest;
use crate::key_range::KeyRange;
use crate::lease::Lease;
use crate::types::{
    Changes, DeleteRequest, DeleteResponse, Event, EventKind, KeyValue, PutRequest, PutResponse,
};
use crate::view::{Record, View};
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::{Blob, planted};

/// Keys looked up at once, before any of them is written.
const BATCH_MAX: usize = 64;

pub(crate) struct Writer<'a> {
    pub view: &'a mut View,
    pub events: &'a mut Vec<Event>,
    pub digest: &'a mut Digest,
}

impl Writer<'_> {
    /// Closes the revision; none when nothing changed.
    pub fn finish(self) -> Option<Arc<Changes>> {
        if self.events.is_empty() {
            return None;
        }
        self.view.revision += 1;
        let events = core::mem::take(self.events);
        let changes = Arc::new(Changes { revision: self.view.revision, events });
        debug_assert!(changes.events.iter().all(|e| e.kv.mod_revision == changes.revision));
        let old = self.view.history.insert(changes.revision, changes.clone());
        assert!(old.is_none(), "a revision is made once");
        Some(changes)
    }

    /// The revision reads of this command see.
    pub fn current(&self) -> i64 {
        self.view.revision + i64::from(!self.events.is_empty())
    }

    pub fn put(&mut self, request: &PutRequest) -> PutResponse {
        assert!(!request.key.is_empty(), "requests are checked before they run");
        let revision = self.view.revision + 1;
        let prev = self.view.live_at(&request.key, revision).map(|record| record.kv.clone());
        let old = prev.as_ref();
        // A transaction may have deleted the key since the check: nothing is left to keep then.
        let value = if request.ignore_value {
            old.map_or_else(Blob::default, |kv| kv.value.clone())
        } else {
            request.value.clone()
        };
        let lease = if request.ignore_lease { old.map_or(0, |kv| kv.lease) } else { request.lease };
        let kv = KeyValue {
            key: old.map_or_else(|| request.key.clone(), |kv| kv.key.clone()),
            create_revision: old.map_or(revision, |kv| kv.create_revision),
            mod_revision: revision,
            version: old.map_or(1, |kv| kv.version + 1),
            value,
            lease,
        };
        assert!(kv.create_revision <= revision && kv.version > 0, "a put makes a live key");
        self.write(EventKind::Put, kv, prev.clone());
        let prev_kv = prev.filter(|_| request.prev_kv);
        prev_kv.iter().for_each(|kv| self.digest.answered(kv));
        self.digest.number(revision);
        PutResponse { revision, prev_kv }
    }

    /// `prev` as in `write`.
    fn tombstone(&mut self, key: Blob, prev: Option<KeyValue>) {
        let mod_revision = self.view.revision + 1;
        let kv = KeyValue { key, mod_revision, ..KeyValue::default() };
        self.write(EventKind::Delete, kv, prev);
    }

    /// `prev` is what lives under the key now, this command's own writes included.
    fn write(&mut self, kind: EventKind, kv: KeyValue, prev: Option<KeyValue>) {
        let revision = self.view.revision + 1;
        assert_eq!(kv.mod_revision, revision, "a command's writes share one revision");
        assert!(!kv.key.is_empty(), "every key has a name");
        assert!(prev.as_ref().is_none_or(|prev| prev.key == kv.key), "its own earlier value");
        assert!(prev.as_ref().is_none_or(|prev| prev.mod_revision <= revision), "and no later one");
        // A watcher's previous value is the one before the revision, as in etcd; only a command
        // that wrote the key twice has to look further back than `prev`.
        let is_create = kind == EventKind::Put && kv.create_revision == revision;
        let prev_kv = match prev {
            _ if is_create => None,
            Some(kv) if kv.mod_revision < revision => Some(kv),
            None => None,
            Some(_) => {
                let before = self.view.live_at(&kv.key, revision - 1);
                before.map(|record| record.kv.clone())
            }
        };
        let earlier = prev_kv.as_ref().is_none_or(|prev| prev.mod_revision < revision);
        assert!(earlier, "a watcher is shown what was before the revision");
        let sub = i64::try_from(self.events.len()).expect("fits memory");
        let tombstone = kind == EventKind::Delete;
        let hash = self.view.add_version(Arc::new(Record { kv: kv.clone(), sub, tombstone }));
        self.digest.version(hash);
        self.events.push(Event { kind, kv, prev_kv });
    }
}

/// A delete of a range, key by key.
pub(crate) struct DeleteWork {
    range: KeyRange,
    prev_kv: bool,
    after: Option<Blob>,
    deleted: i64,
    prev_kvs: Vec<KeyValue>,
}

impl DeleteWork {
    pub fn new(request: &DeleteRequest) -> Self {
        Self {
            range: KeyRange::new(request.key.clone(), request.range_end.clone()),
            prev_kv: request.prev_kv,
            after: None,
            deleted: 0,
            prev_kvs: Vec::new(),
        }
    }

    pub fn run(&mut self, w: &mut Writer<'_>, budget: &mut Budget) -> Option<DeleteResponse> {
        let newest = w.view.revision + 1;
        loop {
            let max = budget.batch(BATCH_MAX);
            if max == 0 {
                return None;
            }
            let live = w.view.live(&self.range, self.after.as_ref(), newest, newest);
            let skipped = usize::from(planted!(SliceSkipsKey) && self.after.is_some());
            let live = live.skip(skipped).filter_map(|(_, record)| record);
            let batch: Vec<Arc<Record>> = live.take(max).cloned().collect();
            for record in &batch {
                if !budget.is_left() {
                    return None; // what they answered was long
                }
                budget.spend(1);
                self.delete(w, &record.kv, budget);
            }
            if batch.len() < max {
                break;
            }
        }
        let (revision, deleted) = (w.current(), self.deleted);
        let told = self.prev_kvs.len() as u64 == deleted.unsigned_abs();
        assert!(told || !self.prev_kv, "each deleted key is told of once");
        w.digest.number(revision);
        w.digest.number(deleted);
        Some(DeleteResponse { revision, deleted, prev_kvs: core::mem::take(&mut self.prev_kvs) })
    }

    fn delete(&mut self, w: &mut Writer<'_>, kv: &KeyValue, budget: &mut Budget) {
        assert!(self.after.as_ref().is_none_or(|after| *after < kv.key), "keys go in order");
        w.tombstone(kv.key.clone(), Some(kv.clone()));
        self.after = Some(kv.key.clone());
        self.deleted += 1;
        if self.prev_kv {
            budget.spend(units(kv.value.len()));
            w.digest.answered(kv);
            self.prev_kvs.push(kv.clone());
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
            let batch: Vec<Blob> = keys.take(max).cloned().collect();
            budget.spend(batch.len().max(1) as u64);
            for key in &batch {
                let prev = w.view.live_at(key, w.view.revision + 1);
                let prev = prev.map(|record| record.kv.clone());
                w.tombstone(key.clone(), prev);
            }
            match batch.last() {
                Some(last) if batch.len() == max => self.after = Some(last.clone()),
                _ => break,
            }
        }
        let attached = w.view.lease_keys_after(self.id, None).next();
        assert!(attached.is_none() || planted!(AttachmentKept), "its keys go before it");
        w.view.remove_lease(self.id).expect("nobody else ends it meanwhile");
        Some(w.current())
    }
}

/// In etcd's order: of two faults a client is told about the lease.
pub(crate) fn check_put(view: &View, request: &PutRequest) -> Result<(), Error> {
    if request.lease != 0 && view.leases.get(&request.lease).is_none() {
        return Err(Error::LeaseNotFound);
    }
    let keeps = request.ignore_value || request.ignore_lease;
    if keeps && view.live_at(&request.key, view.revision).is_none() {
        return Err(Error::KeyNotFound);
    }
    Ok(())
}

impl View {
    pub(crate) fn add_lease(&mut self, lease: Lease) {
        self.leases_hash = self.leases_hash.wrapping_add(lease.hash());
        let old = self.deadlines.insert((lease.deadline, lease.id), ());
        assert!(old.is_none(), "a lease has one deadline");
        let old = self.leases.insert(lease.id, lease);
        assert!(old.is_none(), "a lease is granted once");
        assert_eq!(self.leases.len(), self.deadlines.len(), "every lease has its deadline");
    }

    pub(crate) fn remove_lease(&mut self, id: i64) -> Option<Lease> {
        let lease = self.leases.remove(&id)?;
        self.leases_hash = self.leases_hash.wrapping_sub(lease.hash());
        self.deadlines.remove(&(lease.deadline, id)).expect("every lease has its deadline");
        assert_eq!(self.leases.len(), self.deadlines.len(), "every lease has its deadline");
        Some(lease)
    }

    /// Makes `record` the newest version of its key; its hash.
    pub(crate) fn add_version(&mut self, record: Arc<Record>) -> u64 {
        let (bytes, hash) = (record.bytes(), record.hash());
        assert!(!record.tombstone || record.kv.lease == 0, "nothing is attached to a dead key");
        self.versions_hash = self.versions_hash.wrapping_add(hash);
        self.size_bytes += bytes;
        if record.kv.lease != 0 {
            self.lease_keys.insert((record.kv.lease, record.kv.key.clone()), ());
        }
        let (lease, age) = (record.kv.lease, record.age());
        let Some(old) = self.current.insert(record.kv.key.clone(), record) else { return hash };
        if old.kv.lease != 0 && old.kv.lease != lease && !planted!(AttachmentKept) {
            self.lease_keys.remove(&(old.kv.lease, old.kv.key.clone()));
        }
        assert!(old.age() < age, "a newer version supersedes an older one");
        let twice = self.old.insert(old.old_key(), old);
        assert!(twice.is_none(), "a version is superseded once");
        hash
    }

    /// A superseded version out of a checkpoint.
    pub(crate) fn add_old(&mut self, record: Arc<Record>) {
        self.versions_hash = self.versions_hash.wrapping_add(record.hash());
        self.size_bytes += record.bytes();
        let twice = self.old.insert(record.old_key(), record);
        assert!(twice.is_none(), "who restores refuses a version that comes twice");
    }

    pub(crate) fn forget(&mut self, record: &Record) {
        self.versions_hash = self.versions_hash.wrapping_sub(record.hash());
        assert!(self.size_bytes >= record.bytes(), "what is forgotten was counted");
        self.size_bytes -= record.bytes();
    }
}

impl Record {
    /// What orders the versions of one key.
    pub(crate) fn age(&self) -> (i64, i64) {
        (self.kv.mod_revision, self.sub)
    }

    fn bytes(&self) -> u64 {
        version_bytes(self.kv.key.len(), self.kv.value.len())
    }
}
