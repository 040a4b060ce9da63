//! One command's writes: they share a revision, and become visible to its own later reads.

use crate::command::Error;
use crate::digest::Digest;
use crate::lease::Lease;
use crate::map::Map;
use crate::types::{Changes, Event, EventKind, KeyValue, PutRequest, PutResponse};
use crate::version::{Old, Record};
use crate::view::View;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::{Blob, planted};

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
        let prev = self.view.live_at(&request.key, revision).cloned();
        let old = prev.as_ref().map(|record| &record.kv);
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
        let prev_kv = old.filter(|_| request.prev_kv).cloned();
        self.write(kv, prev);
        prev_kv.iter().for_each(|kv| self.digest.answered(kv));
        self.digest.number(revision);
        PutResponse { revision, prev_kv }
    }

    /// `prev` is what lives under the key now, this command's own writes included.
    fn write(&mut self, kv: KeyValue, prev: Option<Arc<Record>>) {
        let revision = self.view.revision + 1;
        assert_eq!(kv.mod_revision, revision, "a command's writes share one revision");
        assert!(!kv.key.is_empty(), "every key has a name");
        assert!(prev.as_ref().is_none_or(|prev| prev.kv.key == kv.key), "its own earlier value");
        let is_create = kv.create_revision == revision;
        let prev = prev.filter(|_| !is_create);
        let prev_kv = prev.and_then(|prev| before(&self.view.old, prev, revision)).into();
        let sub = u32::try_from(self.events.len()).expect("fits memory");
        let record = Arc::new(Record { kv, sub, tombstone: false });
        let hash = self.view.add_version(record.clone());
        self.digest.version(hash);
        if self.events.is_empty() {
            self.events.reserve_exact(1); // mostly the only one, and kept for long
        }
        self.events.push(Event { kind: EventKind::Put, kv: record.into(), prev_kv });
    }
}

/// What a watcher is shown as the value before `revision`, as in etcd, of a key that lives as
/// `prev` by now. Only a command that wrote the key twice has to look further back than that.
pub(super) fn before(old: &Map<Old, ()>, prev: Arc<Record>, revision: i64) -> Option<Arc<Record>> {
    assert!(prev.kv.mod_revision <= revision, "no later version is there");
    if prev.kv.mod_revision < revision {
        return Some(prev);
    }
    let (found, ()) = old.floor(&Old::at(prev.kv.key.clone(), revision - 1, u32::MAX))?;
    let is_its = found.kv.key == prev.kv.key;
    assert!(!is_its || found.kv.mod_revision < revision, "later versions are behind it");
    (is_its && !found.tombstone).then(|| found.0.clone())
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
        let twice = self.old.insert(Old(old), ());
        assert!(twice.is_none(), "a version is superseded once");
        hash
    }

    /// A superseded version out of a checkpoint.
    pub(crate) fn add_old(&mut self, record: Arc<Record>) {
        self.versions_hash = self.versions_hash.wrapping_add(record.hash());
        self.size_bytes += record.bytes();
        let twice = self.old.insert(Old(record), ());
        assert!(twice.is_none(), "who restores refuses a version that comes twice");
    }

    pub(crate) fn forget(&mut self, record: &Record) {
        self.versions_hash = self.versions_hash.wrapping_sub(record.hash());
        assert!(self.size_bytes >= record.bytes(), "what is forgotten was counted");
        self.size_bytes -= record.bytes();
    }
}
