//! One command's writes: they share a revision, and become visible to its own later reads.

use crate::command::Error;
use crate::digest::Digest;
use crate::index::Facts;
use crate::lease::Lease;
use crate::made::Made;
use crate::types::{Changes, Event, EventKind, KeyValue, PutRequest, PutResponse};
use crate::values::Values;
use crate::version::Record;
use crate::view::View;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::{Blob, planted};

pub(crate) struct Writer<'a> {
    pub view: &'a mut View,
    pub values: &'a mut dyn Values,
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
        let made = Made::new(core::mem::take(&mut self.view.making)).expect("each event is of one");
        assert_eq!(made.records().len(), changes.events.len(), "and each has its event");
        self.view.layers.add_made(changes.revision, made);
        Some(changes)
    }

    /// The revision reads of this command see.
    pub fn current(&self) -> i64 {
        self.view.revision + i64::from(!self.events.is_empty())
    }

    /// None, and nothing is written, when the version before is needed and not at hand.
    pub fn put(&mut self, request: &PutRequest) -> Option<PutResponse> {
        assert!(!request.key.is_empty(), "requests are checked before they run");
        let revision = self.view.revision + 1;
        let old = self.view.live_at(&request.key, revision);
        let is_asked = request.prev_kv || request.ignore_value;
        let prev = match old.filter(|_| is_asked) {
            Some(old) => Some(self.view.version(&old, self.values)?.kv.clone()),
            None => None,
        };
        // A transaction may have deleted the key since the check: nothing is left to keep then.
        let kept = prev.as_ref().filter(|_| request.ignore_value);
        let value = if request.ignore_value {
            kept.map_or_else(Blob::default, |kv| kv.value.clone())
        } else {
            request.value.clone()
        };
        let lease =
            if request.ignore_lease { old.map_or(0, |old| old.lease) } else { request.lease };
        let kv = KeyValue {
            key: request.key.clone(),
            create_revision: old.map_or(revision, |old| old.create_revision),
            mod_revision: revision,
            version: old.map_or(1, |old| old.version + 1),
            value,
            lease,
        };
        assert!(kv.create_revision <= revision && kv.version > 0, "a put makes a live key");
        let prev_kv = prev.filter(|_| request.prev_kv);
        self.write(kv, old);
        prev_kv.iter().for_each(|kv| self.digest.answered(kv));
        self.digest.number(revision);
        Some(PutResponse { revision, prev_kv })
    }

    /// `prev` is what lives under the key now, this command's own writes included.
    fn write(&mut self, kv: KeyValue, old: Option<Facts>) {
        let revision = self.view.revision + 1;
        assert_eq!(kv.mod_revision, revision, "a command's writes share one revision");
        assert!(!kv.key.is_empty(), "every key has a name");
        let sub = u32::try_from(self.events.len()).expect("fits memory");
        let record = Arc::new(Record::new(kv, sub));
        let hash = self.view.add_version(&record, old.as_ref());
        self.digest.version(hash);
        self.view.making.push(record.clone());
        if self.events.is_empty() {
            self.events.reserve_exact(1); // mostly the only one
        }
        self.events.push(Event { kind: EventKind::Put, kv: record.into() });
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

    /// Makes `record` the newest version of its key, which lives as `old`; its hash.
    pub(crate) fn add_version(&mut self, record: &Arc<Record>, old: Option<&Facts>) -> u64 {
        let (key, facts) = (&record.kv.key, record.facts());
        assert!(!facts.tombstone || facts.lease == 0, "nothing is attached to a dead key");
        self.count(key, &facts);
        if facts.lease != 0 {
            self.lease_keys.insert((facts.lease, key.clone()), ());
        }
        self.layers.push(record.clone(), old.is_some());
        let old = old.map_or(0, |old| old.lease);
        if old != 0 && old != facts.lease && !planted!(AttachmentKept) {
            self.lease_keys.remove(&(old, key.clone()));
        }
        facts.hash
    }

    /// Takes a version into the sums.
    pub(crate) fn count(&mut self, key: &Blob, facts: &Facts) {
        self.versions_hash = self.versions_hash.wrapping_add(facts.hash);
        self.size_bytes += facts.bytes(key);
        self.versions += 1;
    }
}
