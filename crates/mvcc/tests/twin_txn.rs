//! Transactions and leases against a naive twin: a sorted map and a list of leases, written from
//! the contract and sharing nothing with the store but its types.

use base::{Blob, ClusterTime, LogIndex, Prng};
use mvcc::*;
use std::collections::{BTreeMap, BTreeSet};

const SECOND: u64 = 1_000_000_000;

#[derive(Clone, Debug, PartialEq)]
struct TwinLease {
    ttl: i64,
    /// Seconds times 1.01, from the grant or the last renewal.
    deadline: u64,
    renewal: u64,
}

#[derive(Clone, Default)]
struct Twin {
    revision: i64,
    keys: BTreeMap<Blob, KeyValue>,
    leases: BTreeMap<i64, TwinLease>,
    index: u64,
    now: u64,
}

impl Twin {
    fn inside(key: &Blob, end: &Blob, at: &Blob) -> bool {
        match &**end {
            b"" => at == key,
            b"\0" => at >= key,
            _ => at >= key && at < end,
        }
    }

    fn range(&self, key: &Blob, end: &Blob) -> Vec<KeyValue> {
        let found = self.keys.iter().filter(|(at, _)| Self::inside(key, end, at));
        found.map(|(_, kv)| kv.clone()).collect()
    }

    fn holds(&self, c: &Compare) -> bool {
        let mut found = self.range(&c.key, &c.range_end);
        if found.is_empty() {
            if matches!(c.target, CompareTarget::Value(_)) {
                return false;
            }
            found.push(KeyValue::default());
        }
        found.iter().all(|kv| {
            let (less, equal) = match &c.target {
                CompareTarget::Version(x) => (kv.version < *x, kv.version == *x),
                CompareTarget::Create(x) => (kv.create_revision < *x, kv.create_revision == *x),
                CompareTarget::Mod(x) => (kv.mod_revision < *x, kv.mod_revision == *x),
                CompareTarget::Lease(x) => (kv.lease < *x, kv.lease == *x),
                CompareTarget::Value(x) => (*kv.value < **x, kv.value == *x),
            };
            match c.op {
                CompareOp::Equal => equal,
                CompareOp::NotEqual => !equal,
                CompareOp::Less => less,
                CompareOp::Greater => !less && !equal,
            }
        })
    }

    fn check_put(&self, r: &PutRequest) -> Result<(), Error> {
        let lease = r.lease != 0 && !self.leases.contains_key(&r.lease);
        let kept = (r.ignore_value || r.ignore_lease) && !self.keys.contains_key(&r.key);
        match (lease, kept) {
            (true, _) => Err(Error::LeaseNotFound),
            (false, true) => Err(Error::KeyNotFound),
            (false, false) => Ok(()),
        }
    }

    /// Writes at the revision the command makes, if it makes one.
    fn put(&mut self, r: &PutRequest, next: i64) -> PutResponse {
        let old = self.keys.get(&r.key).cloned();
        let kept = |keep: bool| old.as_ref().filter(|_| keep);
        let kv = KeyValue {
            key: r.key.clone(),
            create_revision: old.as_ref().map_or(next, |kv| kv.create_revision),
            mod_revision: next,
            version: old.as_ref().map_or(1, |kv| kv.version + 1),
            value: kept(r.ignore_value).map_or(r.value.clone(), |kv| kv.value.clone()),
            lease: kept(r.ignore_lease).map_or(r.lease, |kv| kv.lease),
        };
        self.keys.insert(r.key.clone(), kv);
        PutResponse { revision: next, prev_kv: old.filter(|_| r.prev_kv) }
    }

    fn delete(&mut self, r: &DeleteRequest) -> Vec<KeyValue> {
        let gone = self.range(&r.key, &r.range_end);
        gone.iter().for_each(|kv| drop(self.keys.remove(&kv.key)));
        gone
    }

    /// Which branches are taken, all compares on the state before.
    fn plan<'a>(&self, txn: &'a TxnRequest, taken: &mut Vec<bool>, ops: &mut Vec<&'a RequestOp>) {
        let yes = txn.compare.iter().all(|c| self.holds(c));
        taken.push(yes);
        for op in if yes { &txn.success } else { &txn.failure } {
            match op {
                RequestOp::Txn(nested) => self.plan(nested, taken, ops),
                other => ops.push(other),
            }
        }
    }

    fn run(
        &mut self,
        txn: &TxnRequest,
        taken: &mut std::vec::IntoIter<bool>,
        wrote: &mut bool,
    ) -> TxnResponse {
        let succeeded = taken.next().unwrap();
        let mut responses = vec![];
        for op in if succeeded { &txn.success } else { &txn.failure } {
            let next = self.revision + 1;
            responses.push(match op {
                RequestOp::Put(r) => {
                    *wrote = true;
                    ResponseOp::Put(self.put(r, next))
                }
                RequestOp::Delete(r) => {
                    let gone = self.delete(r);
                    *wrote |= !gone.is_empty();
                    ResponseOp::Delete(DeleteResponse {
                        revision: self.revision + i64::from(*wrote),
                        deleted: gone.len() as i64,
                        prev_kvs: if r.prev_kv { gone } else { vec![] },
                    })
                }
                RequestOp::Range(r) => {
                    let kvs = self.range(&r.key, &r.range_end);
                    let (revision, count) = (self.revision + i64::from(*wrote), kvs.len() as i64);
                    ResponseOp::Range(RangeResponse { revision, kvs, more: false, count })
                }
                RequestOp::Txn(nested) => ResponseOp::Txn(self.run(nested, taken, wrote)),
            });
        }
        TxnResponse { revision: 0, succeeded, responses }
    }

    fn lease(&self, ttl: i64) -> TwinLease {
        let deadline = self.now + ttl as u64 * SECOND / 100 * 101;
        TwinLease { ttl, deadline, renewal: self.index }
    }

    fn apply(&mut self, command: &Command) -> Result<Response, Error> {
        match command {
            Command::Put(r) => {
                self.check_put(r)?;
                self.revision += 1;
                Ok(Response::Put(self.put(r, self.revision)))
            }
            Command::Delete(r) => {
                let gone = self.delete(r);
                self.revision += i64::from(!gone.is_empty());
                let (revision, deleted) = (self.revision, gone.len() as i64);
                let prev_kvs = if r.prev_kv { gone } else { vec![] };
                Ok(Response::Delete(DeleteResponse { revision, deleted, prev_kvs }))
            }
            Command::Txn(txn) => {
                let (mut taken, mut ops) = (vec![], vec![]);
                self.plan(txn, &mut taken, &mut ops);
                for op in ops {
                    if let RequestOp::Put(r) = op {
                        self.check_put(r)?;
                    }
                }
                let mut wrote = false;
                let mut response = self.run(txn, &mut taken.into_iter(), &mut wrote);
                self.revision += i64::from(wrote);
                response.revision = self.revision;
                Ok(Response::Txn(response))
            }
            Command::LeaseGrant { id, ttl } => {
                if self.leases.contains_key(id) {
                    return Err(Error::LeaseExists);
                }
                let ttl = (*ttl).max(1);
                self.leases.insert(*id, self.lease(ttl));
                Ok(Response::LeaseGrant { id: *id, ttl, revision: self.revision })
            }
            Command::LeaseRevoke { id, renewal } => {
                let lease = self.leases.get(id).ok_or(Error::LeaseNotFound)?;
                if renewal.is_some_and(|seen| seen != lease.renewal) {
                    return Err(Error::LeaseRenewed);
                }
                self.leases.remove(id);
                let before = self.keys.len();
                self.keys.retain(|_, kv| kv.lease != *id);
                self.revision += i64::from(self.keys.len() < before);
                Ok(Response::LeaseRevoke { revision: self.revision })
            }
            Command::LeaseRenew { ids } => {
                let mut ttls = vec![];
                for id in ids {
                    let ttl = self.leases.get(id).map_or(0, |lease| lease.ttl);
                    if ttl > 0 {
                        self.leases.insert(*id, self.lease(ttl));
                    }
                    ttls.push((*id, ttl));
                }
                Ok(Response::LeaseRenew { ttls })
            }
            other => panic!("not generated: {other:?}"),
        }
    }
}

fn key(p: &mut Prng) -> Blob {
    Blob::from([b'a' + p.below(7) as u8].as_slice())
}

fn end(p: &mut Prng) -> Blob {
    match p.below(4) {
        0 => Blob::from(&b"\0"[..]),
        1 => key(p),
        _ => Blob::default(),
    }
}

fn put(p: &mut Prng) -> PutRequest {
    let (ignore_value, ignore_lease) = (p.below(6) == 0, p.below(6) == 0);
    PutRequest {
        key: key(p),
        value: if ignore_value { Blob::default() } else { key(p) },
        lease: if ignore_lease { 0 } else { p.below(5) as i64 },
        prev_kv: p.below(2) == 0,
        ignore_value,
        ignore_lease,
    }
}

fn delete(p: &mut Prng) -> DeleteRequest {
    DeleteRequest { key: key(p), range_end: end(p), prev_kv: p.below(2) == 0 }
}

fn compare(p: &mut Prng, revision: i64) -> Compare {
    let near = revision - p.below(6) as i64;
    let target = match p.below(5) {
        0 => CompareTarget::Version(p.below(4) as i64),
        1 => CompareTarget::Create(if p.below(2) == 0 { 0 } else { near }),
        2 => CompareTarget::Mod(near),
        3 => CompareTarget::Lease(p.below(4) as i64),
        _ => CompareTarget::Value(key(p)),
    };
    let ops = [CompareOp::Equal, CompareOp::Greater, CompareOp::Less, CompareOp::NotEqual];
    Compare { key: key(p), range_end: end(p), op: ops[p.below(4) as usize], target }
}

fn txn(p: &mut Prng, revision: i64, depth: u64) -> TxnRequest {
    let ops = |p: &mut Prng| -> Vec<RequestOp> {
        let op = |p: &mut Prng| match p.below(3 + u64::from(depth > 0) * 2) {
            0 => {
                let (key, range_end) = (key(p), end(p));
                RequestOp::Range(RangeRequest { key, range_end, ..RangeRequest::default() })
            }
            1 => RequestOp::Put(put(p)),
            2 => RequestOp::Delete(delete(p)),
            _ => RequestOp::Txn(txn(p, revision, depth - 1)),
        };
        (0..p.below(4)).map(|_| op(p)).collect()
    };
    let (success, failure) = (ops(p), ops(p));
    let compare = (0..p.below(3)).map(|_| compare(p, revision)).collect();
    TxnRequest { compare, success, failure }
}

fn command(p: &mut Prng, twin: &Twin) -> Command {
    let id = 1 + p.below(4) as i64;
    match p.below(12) {
        0..=2 => Command::Put(put(p)),
        3 => Command::Delete(delete(p)),
        4..=7 => Command::Txn(txn(p, twin.revision, 3)),
        8 => Command::LeaseGrant { id, ttl: p.below(6) as i64 },
        9 => Command::LeaseRenew { ids: (0..=p.below(2)).map(|i| id + i as i64).collect() },
        10 => Command::LeaseRevoke { id, renewal: None },
        _ => {
            let seen = twin.leases.get(&id).map_or(0, |lease| lease.renewal);
            Command::LeaseRevoke { id, renewal: Some(seen - seen.min(p.below(2))) }
        }
    }
}

fn agree(store: &Store, twin: &Twin) {
    let all = RangeRequest {
        key: Blob::from(&b"a"[..]),
        range_end: Blob::from(&b"\0"[..]),
        ..RangeRequest::default()
    };
    let kvs: Vec<KeyValue> = twin.keys.values().cloned().collect();
    assert_eq!(store.read(&all).unwrap().kvs, kvs);
    assert_eq!(store.revision(), twin.revision);
    assert_eq!(
        store.leases_page(None, usize::MAX),
        twin.leases.keys().copied().collect::<Vec<_>>()
    );
    let now = ClusterTime(twin.now);
    for (id, lease) in &twin.leases {
        let attached = twin.keys.values().filter(|kv| kv.lease == *id).map(|kv| kv.key.clone());
        assert_eq!(store.lease_keys_page(*id, None, usize::MAX), attached.collect::<Vec<_>>());
        let left = lease.deadline.saturating_sub(twin.now) as i64 / 1_010_000_000;
        let ttl = store.lease_ttl(*id, now).unwrap();
        assert_eq!((ttl.granted, ttl.remaining), (lease.ttl, left.min(lease.ttl)));
    }
    let due = twin.leases.iter().filter(|(_, lease)| lease.deadline <= twin.now);
    let mut due: Vec<_> = due.map(|(id, lease)| (lease.deadline, *id, lease.renewal)).collect();
    due.sort_unstable();
    let due: Vec<_> = due.into_iter().map(|(_, id, renewal)| (id, renewal)).collect();
    assert_eq!(store.lease_expired(now, 99), due);
}

/// What the lives so far met, to show that they were not idle.
#[derive(Default)]
pub struct Met {
    nested: usize,
    expired: usize,
    taken: [usize; 2],
    refused: BTreeSet<String>,
}

/// Sixty commands to the store and to its twin.
pub fn life(seed: u64, met: &mut Met) {
    let mut p = Prng::new(seed);
    let mut store = Store::new(Limits::default());
    let mut twin = Twin { revision: 1, ..Twin::default() };
    let mut settling: Option<(u64, Settling)> = None;
    for index in 1..=60 {
        twin.index = index;
        twin.now += p.below(2 * SECOND);
        // What a leader does with the leases that are due, at once or after a while.
        let due = store.lease_expired(ClusterTime(twin.now), 1).pop();
        let command = match due.filter(|_| p.below(2) == 0) {
            Some((id, renewal)) => {
                met.expired += 1;
                Command::LeaseRevoke { id, renewal: Some(renewal) }
            }
            None => command(&mut p, &twin),
        };
        let valid = store.validate(&command);
        let wanted = valid.and_then(|()| twin.clone().apply(&command));
        let done = store.apply(LogIndex(index), ClusterTime(twin.now), &command);
        assert_eq!(done.result, wanted, "seed {seed} index {index}: {command:?}");
        match wanted {
            Ok(response) => {
                let before = twin.revision;
                twin.apply(&command).unwrap();
                assert_eq!(done.changes.is_some(), twin.revision > before);
                if let Response::Txn(txn) = response {
                    met.taken[usize::from(txn.succeeded)] += 1;
                    let deep = |op: &ResponseOp| matches!(op, ResponseOp::Txn(_));
                    met.nested += txn.responses.iter().filter(|op| deep(op)).count();
                }
            }
            Err(error) => drop(met.refused.insert(format!("{error:?}"))),
        }
        agree(&store, &twin);
        // What was made goes into the index now and then, some entries later.
        match settling.take() {
            Some((due, begun)) if due <= index => drop(store.settled(Settling::run(&begun))),
            None if seed.is_multiple_of(2) => {
                settling = store.settle(5).map(|begun| (index + 4, begun))
            }
            waits => settling = waits,
        }
    }
}

#[test]
fn nested_transactions_range_compares_and_leases_are_the_naive_twins() {
    let mut met = Met::default();
    (0..1500).for_each(|seed| life(seed, &mut met));
    let Met { nested, expired, taken, refused } = met;
    assert!(nested > 1000 && expired > 1000 && taken.iter().all(|n| *n > 1000));
    let kinds = ["DuplicateKey", "KeyNotFound", "LeaseExists", "LeaseNotFound", "LeaseRenewed"];
    assert!(kinds.iter().all(|kind| refused.contains(*kind)), "{refused:?}");
}
