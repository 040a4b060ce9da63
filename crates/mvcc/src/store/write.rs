//! One command's writes: they share a revision, and become visible to its own later reads.

use super::version_bytes;
use crate::command::{Error, Response};
use crate::key_range::KeyRange;
use crate::lease::Lease;
use crate::sweep::Slice;
use crate::txn;
use crate::types::{
    Changes, DeleteRequest, DeleteResponse, Event, EventKind, KeyValue, PutRequest, PutResponse,
    RequestOp, ResponseOp, TxnRequest, TxnResponse,
};
use crate::view::{Record, View};
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::{Blob, planted};

pub(super) struct Writer<'a> {
    pub view: &'a mut View,
    events: Vec<Event>,
}

impl<'a> Writer<'a> {
    pub fn new(view: &'a mut View) -> Self {
        Self { view, events: Vec::new() }
    }

    /// Closes the revision; none when nothing changed.
    pub fn finish(self) -> Option<Arc<Changes>> {
        if self.events.is_empty() {
            return None;
        }
        self.view.revision += 1;
        let changes = Arc::new(Changes { revision: self.view.revision, events: self.events });
        self.view.history.insert(changes.revision, changes.clone());
        Some(changes)
    }

    /// The revision reads of this command see.
    fn current(&self) -> i64 {
        self.view.revision + i64::from(!self.events.is_empty())
    }

    pub fn put_alone(&mut self, request: &PutRequest) -> Result<PutResponse, Error> {
        check_put(self.view, request)?;
        Ok(self.put(request))
    }

    fn put(&mut self, request: &PutRequest) -> PutResponse {
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
        self.write(EventKind::Put, kv, prev.clone());
        PutResponse { revision, prev_kv: prev.filter(|_| request.prev_kv) }
    }

    pub fn delete(&mut self, request: &DeleteRequest) -> DeleteResponse {
        let range = KeyRange::new(request.key.clone(), request.range_end.clone());
        let newest = self.view.revision + 1;
        let found: Vec<_> = self.view.live(&range, newest, newest).map(|x| x.kv.clone()).collect();
        for kv in &found {
            self.tombstone(kv.key.clone());
        }
        DeleteResponse {
            revision: self.current(),
            deleted: i64::try_from(found.len()).expect("fits memory"),
            prev_kvs: if request.prev_kv { found } else { Vec::new() },
        }
    }

    fn tombstone(&mut self, key: Blob) {
        let mod_revision = self.view.revision + 1;
        let kv = KeyValue { key, mod_revision, ..KeyValue::default() };
        let prev = self.view.live_at(&kv.key, mod_revision).map(|record| record.kv.clone());
        self.write(EventKind::Delete, kv, prev);
    }

    /// `prev` is what lives under the key now, this command's own writes included.
    fn write(&mut self, kind: EventKind, kv: KeyValue, prev: Option<KeyValue>) {
        let revision = self.view.revision + 1;
        assert_eq!(kv.mod_revision, revision);
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
        let sub = i64::try_from(self.events.len()).expect("fits memory");
        let tombstone = kind == EventKind::Delete;
        self.view.add_version(Arc::new(Record { kv: kv.clone(), sub, tombstone }));
        self.events.push(Event { kind, kv, prev_kv });
    }

    pub fn txn(&mut self, request: &TxnRequest) -> Result<TxnResponse, Error> {
        let (mut path, mut ops) = (txn::Path::new(), Vec::new());
        txn::path(self.view, request, &mut path);
        txn::taken(request, &mut path.as_slice(), &mut ops);
        for (at, op) in ops.iter().enumerate() {
            let checked = match op {
                RequestOp::Range(range) => txn::check_range(self.view, range),
                RequestOp::Put(put) => check_put(self.view, put),
                RequestOp::Delete(_) => Ok(()),
                RequestOp::Txn(_) => unreachable!("the taken path is flat"),
            };
            if let (Err(_), Some(RequestOp::Put(put))) = (checked, ops[..at].first())
                && planted!(PartialTxn)
            {
                self.put(put);
            }
            checked?;
        }
        // Whether the answer is too large shows when its writes are made: they are taken back.
        let before = self.may_answer_much(&ops).then(|| self.view.clone());
        match self.branch(request, &mut path.as_slice(), &mut txn::Budget::new()) {
            Ok(mut response) => {
                response.revision = self.current();
                Ok(response)
            }
            Err(error) => {
                *self.view = before.expect("a few reads of what there is are no large answer");
                self.events.clear();
                Err(error)
            }
        }
    }

    /// Whether reads of everything, the transaction's own writes included, could be too much.
    fn may_answer_much(&self, ops: &[&RequestOp]) -> bool {
        let (mut ranges, mut bytes) = (0u64, self.view.size_bytes);
        for op in ops {
            match op {
                RequestOp::Range(_) => ranges += 1,
                RequestOp::Put(put) => bytes += version_bytes(put.key.len(), put.value.len()),
                RequestOp::Delete(_) | RequestOp::Txn(_) => {}
            }
        }
        ranges.saturating_mul(bytes) > txn::ANSWER_BYTES_MAX
    }

    fn branch(
        &mut self,
        request: &TxnRequest,
        path: &mut &[bool],
        budget: &mut txn::Budget,
    ) -> Result<TxnResponse, Error> {
        let (succeeded, rest) = path.split_first().expect("one outcome per transaction met");
        *path = rest;
        let mut responses = Vec::new();
        for op in txn::branch(request, *succeeded) {
            responses.push(match op {
                RequestOp::Range(range) => {
                    let blind = planted!(TxnReadMissesOwnWrite);
                    let at = if blind { self.view.revision } else { self.current() };
                    let answer = self.view.range_at(range, at).expect("its revision was checked");
                    budget.take(&answer)?;
                    ResponseOp::Range(answer)
                }
                RequestOp::Put(put) => ResponseOp::Put(self.put(put)),
                RequestOp::Delete(delete) => ResponseOp::Delete(self.delete(delete)),
                RequestOp::Txn(nested) if planted!(CompareAfterWrite) => {
                    txn::taken(nested, path, &mut Vec::new());
                    let mut late = txn::Path::new();
                    txn::path(self.view, nested, &mut late);
                    ResponseOp::Txn(self.branch(nested, &mut late.as_slice(), budget)?)
                }
                RequestOp::Txn(nested) => ResponseOp::Txn(self.branch(nested, path, budget)?),
            });
        }
        Ok(TxnResponse { revision: 0, succeeded: *succeeded, responses })
    }

    /// Deletes the lease's keys in sorted order in one revision.
    pub fn revoke(&mut self, id: i64, renewal: Option<u64>) -> Result<Response, Error> {
        let lease = self.view.leases.get(&id).ok_or(Error::LeaseNotFound)?;
        if renewal.is_some_and(|seen| seen != lease.renewal) && !planted!(RevokeOverRenewal) {
            return Err(Error::LeaseRenewed);
        }
        for key in self.view.lease_keys(id) {
            self.tombstone(key);
        }
        self.view.remove_lease(id).expect("it was just found");
        Ok(Response::LeaseRevoke { revision: self.current() })
    }

    pub fn compact(&mut self, revision: i64) -> Result<Response, Error> {
        if revision <= self.view.compact_revision {
            return Err(Error::Compacted);
        }
        if revision > self.view.revision {
            return Err(Error::FutureRevision);
        }
        self.view.compact(revision);
        self.view.sweep(Slice::IDLE);
        Ok(Response::Compact { revision: self.view.revision })
    }
}

/// In etcd's order: of two faults a client is told about the lease.
fn check_put(view: &View, request: &PutRequest) -> Result<(), Error> {
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
        self.deadlines.insert((lease.deadline, lease.id), ());
        let old = self.leases.insert(lease.id, lease);
        assert!(old.is_none(), "a lease is granted once");
    }

    pub(crate) fn remove_lease(&mut self, id: i64) -> Option<Lease> {
        let lease = self.leases.remove(&id)?;
        self.leases_hash = self.leases_hash.wrapping_sub(lease.hash());
        self.deadlines.remove(&(lease.deadline, id)).expect("every lease has its deadline");
        Some(lease)
    }

    /// Makes `record` the newest version of its key.
    pub(crate) fn add_version(&mut self, record: Arc<Record>) {
        let bytes = version_bytes(record.kv.key.len(), record.kv.value.len());
        self.versions_hash = self.versions_hash.wrapping_add(record.hash());
        self.size_bytes += bytes;
        if record.kv.lease != 0 {
            self.lease_keys.insert((record.kv.lease, record.kv.key.clone()), ());
        }
        let lease = record.kv.lease;
        let Some(old) = self.current.insert(record.kv.key.clone(), record) else { return };
        if old.kv.lease != 0 && old.kv.lease != lease && !planted!(AttachmentKept) {
            self.lease_keys.remove(&(old.kv.lease, old.kv.key.clone()));
        }
        self.old.insert(old.old_key(), old);
    }

    /// A superseded version out of a checkpoint.
    pub(crate) fn add_old(&mut self, record: Arc<Record>) {
        self.versions_hash = self.versions_hash.wrapping_add(record.hash());
        self.size_bytes += version_bytes(record.kv.key.len(), record.kv.value.len());
        self.old.insert(record.old_key(), record);
    }

    pub(crate) fn forget(&mut self, record: &Record) {
        let bytes = version_bytes(record.kv.key.len(), record.kv.value.len());
        self.versions_hash = self.versions_hash.wrapping_sub(record.hash());
        self.size_bytes -= bytes;
    }
}
