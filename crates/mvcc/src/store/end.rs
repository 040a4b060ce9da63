//! Removals of many keys: a range, or what is attached to a lease. The keys go in order, a batch at
//! a time, so that each index is gone through in order too and no key is looked up by itself.

use super::write::Writer;
use crate::budget::{Budget, units};
use crate::command::Error;
use crate::digest::Digest;
use crate::index::Facts;
use crate::key_range::KeyRange;
use crate::types::{DeleteRequest, DeleteResponse, Event, EventKind, KeyValue};
use crate::version::Record;
use crate::view::View;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::{Blob, planted};

/// Keys ended in one walk over the newest versions, before the other indexes hear of them.
const BATCH_MAX: usize = 256;

impl Writer<'_> {
    /// Puts tombstones in the place of these live versions, whose keys go in order.
    fn end(&mut self, keys: &[(Blob, Facts)], mut each: impl FnMut(&mut Digest)) {
        assert!(keys.is_sorted_by(|a, b| a.0 < b.0), "keys go in order");
        let revision = self.view.revision + 1;
        let (mut run, mut detached) = (Vec::with_capacity(keys.len()), Vec::new());
        for (key, newest) in keys {
            assert!(!newest.tombstone, "what is ended lives");
            let sub = u32::try_from(self.events.len()).expect("fits memory");
            let record = Arc::new(Record::tombstone(key.clone(), revision, sub));
            let facts = record.facts();
            assert!(newest.age() < facts.age(), "a newer version supersedes an older one");
            self.digest.version(facts.hash);
            self.view.count(key, &facts);
            if newest.lease != 0 {
                detached.push((newest.lease, key.clone()));
            }
            self.view.making.push(record.clone());
            run.push(record.clone());
            let kv = record.into();
            self.events.push(Event { kind: EventKind::Delete, kv });
            each(self.digest);
        }
        assert!(detached.len() <= run.len(), "a key is attached to one lease");
        self.view.layers.push_run(&run);
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
            w.events.reserve_exact(live);
            w.view.making.reserve_exact(live);
            live
        });
        self.live = Some(live);
        while self.deleted < live {
            let max = budget.batch(BATCH_MAX).min(live - self.deleted);
            if max == 0 {
                return None;
            }
            let skips = planted!(SliceSkipsKey) && self.after.is_some();
            let newest = w.view.live(&self.range, self.after.clone(), i64::MAX, i64::MAX);
            let newest = newest.skip(usize::from(skips));
            let mut keys = Vec::with_capacity(max);
            for (key, facts) in newest.take(max) {
                let facts = facts.expect("only what lives is looked at");
                budget.spend(1 + if self.prev_kv { units(facts.value_len as usize) } else { 0 });
                keys.push((key.key(), facts));
                if !budget.is_left() {
                    break;
                }
            }
            let Some((last, _)) = keys.last() else { break };
            // All are asked for before one of them is waited for.
            let asked = keys.iter().filter(|_| self.prev_kv);
            let prevs: Vec<_> = asked.map(|(_, newest)| w.view.version(newest, w.values)).collect();
            let mut prevs = prevs.into_iter().collect::<Option<Vec<_>>>()?.into_iter();
            self.after = Some(last.clone());
            self.deleted += keys.len();
            let prev_kvs = &mut self.prev_kvs;
            w.end(&keys, |digest| {
                if let Some(prev) = prevs.next() {
                    digest.answered(&prev.kv);
                    prev_kvs.push(prev.kv.clone());
                }
            });
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
            let mut live = Vec::with_capacity(keys.len());
            for key in &keys {
                let newest = w.view.live_at(key, i64::MAX);
                // Only live keys are attached.
                assert!(newest.is_some() || planted!(AttachmentKept), "what is attached is there");
                live.extend(newest.map(|newest| (key.clone(), newest)));
            }
            w.end(&live, |_| {});
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
