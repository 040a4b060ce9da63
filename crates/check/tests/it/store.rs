//! A naive etcd: plain maps, one operation at a time. The model is held against it.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{Blob, Prng};
use check::etcd::{
    Change, Compare, CompareOp, Delete, KeyValue, Put, Range, Reply, Request, Response, Seen,
    SortOrder, SortTarget, Target, Txn,
};

type Keys = BTreeMap<Vec<u8>, KeyValue>;

#[derive(Clone)]
pub struct Store {
    pub revision: i64,
    pub keys: Keys,
    /// Keys at each revision.
    pub past: BTreeMap<i64, Keys>,
    /// Changes of the request at work.
    pub changes: Vec<Change>,
}

impl Store {
    pub fn new() -> Self {
        let past = BTreeMap::from([(1, Keys::new())]);
        Self { revision: 1, keys: Keys::new(), past, changes: Vec::new() }
    }

    /// None if it would be refused; then nothing happened.
    pub fn request(&mut self, request: &Request) -> Option<Response> {
        let before = self.clone();
        self.changes.clear();
        let Some(reply) = self.reply(request, &before.keys) else {
            *self = before;
            return None;
        };
        if !self.changes.is_empty() {
            self.revision += 1;
            self.past.insert(self.revision, self.keys.clone());
        }
        Some(Response { revision: Some(self.revision), reply: Some(reply) })
    }

    fn reply(&mut self, request: &Request, before: &Keys) -> Option<Reply> {
        match request {
            Request::Range(range) => self.range(range),
            Request::Put(put) => self.put(put),
            Request::Delete(delete) => {
                let gone = within(&self.keys, &delete.key, &delete.range_end);
                for kv in &gone {
                    self.remove(&kv.key);
                }
                let prev = Some(gone.iter().map(Seen::from).collect());
                Some(Reply::Delete { deleted: Some(gone.len() as i64), prev })
            }
            Request::Txn(txn) => {
                let succeeded = txn.compare.iter().all(|compare| holds(before, compare));
                let branch = if succeeded { &txn.success } else { &txn.failure };
                let replies: Option<Vec<Reply>> =
                    branch.iter().map(|request| self.reply(request, before)).collect();
                Some(Reply::Txn { succeeded, replies: replies? })
            }
            Request::Revoke { lease } => {
                let gone: Vec<Blob> = self
                    .keys
                    .values()
                    .filter(|kv| kv.lease == *lease)
                    .map(|kv| kv.key.clone())
                    .collect();
                gone.iter().for_each(|key| self.remove(key));
                Some(Reply::Revoke)
            }
        }
    }

    fn remove(&mut self, key: &Blob) {
        self.keys.remove(&**key);
        self.changes.push(Change::Delete(key.clone()));
    }

    fn put(&mut self, put: &Put) -> Option<Reply> {
        let old = self.keys.get(&*put.key).cloned();
        if old.is_none() && (put.ignore_value || put.ignore_lease) {
            return None;
        }
        let revision = self.revision + 1;
        let kv = KeyValue {
            key: put.key.clone(),
            value: match &old {
                Some(old) if put.ignore_value => old.value.clone(),
                _ => put.value.clone(),
            },
            create_revision: old.as_ref().map_or(revision, |old| old.create_revision),
            mod_revision: revision,
            version: old.as_ref().map_or(1, |old| old.version + 1),
            lease: match &old {
                Some(old) if put.ignore_lease => old.lease,
                _ => put.lease,
            },
        };
        self.changes.push(Change::Put(Arc::new(kv.clone())));
        self.keys.insert(put.key.to_vec(), kv);
        Some(Reply::Put { prev: Some(old.as_ref().map(Seen::from)) })
    }

    pub fn range(&self, range: &Range) -> Option<Reply> {
        let keys = match range.revision {
            ..=0 => &self.keys,
            revision => self.past.get(&revision)?,
        };
        let mut found = within(keys, &range.key, &range.range_end);
        let count = Some(found.len() as i64);
        if range.count_only {
            return Some(Reply::Range { kvs: Vec::new(), count, more: Some(false) });
        }
        found.retain(|kv| {
            (range.min_mod_revision == 0 || kv.mod_revision >= range.min_mod_revision)
                && (range.max_mod_revision == 0 || kv.mod_revision <= range.max_mod_revision)
                && (range.min_create_revision == 0
                    || kv.create_revision >= range.min_create_revision)
                && (range.max_create_revision == 0
                    || kv.create_revision <= range.max_create_revision)
        });
        match range.sort_target {
            SortTarget::Key => {}
            SortTarget::Version => found.sort_by_key(|kv| kv.version),
            SortTarget::Create => found.sort_by_key(|kv| kv.create_revision),
            SortTarget::Mod => found.sort_by_key(|kv| kv.mod_revision),
            SortTarget::Value => found.sort_by_key(|kv| kv.value.clone()),
        }
        if range.sort_order == SortOrder::Descend {
            found.reverse();
        }
        let limit = if range.limit > 0 { range.limit as usize } else { usize::MAX };
        let more = Some(found.len() > limit);
        found.truncate(limit);
        if range.keys_only {
            found.iter_mut().for_each(|kv| (kv.value, kv.lease) = (Blob::default(), 0));
        }
        Some(Reply::Range { kvs: found.iter().map(Seen::from).collect(), count, more })
    }
}

fn within(keys: &Keys, key: &[u8], end: &[u8]) -> Vec<KeyValue> {
    let inside = |candidate: &[u8]| match end {
        b"" => candidate == key,
        b"\0" => candidate >= key,
        _ => candidate >= key && candidate < end,
    };
    keys.values().filter(|kv| inside(&kv.key)).cloned().collect()
}

fn holds(keys: &Keys, compare: &Compare) -> bool {
    let found = within(keys, &compare.key, &compare.range_end);
    let zero = KeyValue {
        key: Blob::default(),
        value: Blob::default(),
        create_revision: 0,
        mod_revision: 0,
        version: 0,
        lease: 0,
    };
    if found.is_empty() {
        return !matches!(compare.target, Target::Value(_)) && holds_for(compare, &zero);
    }
    found.iter().all(|kv| holds_for(compare, kv))
}

fn holds_for(compare: &Compare, kv: &KeyValue) -> bool {
    fn test<T: Ord>(op: CompareOp, a: &T, b: &T) -> bool {
        match op {
            CompareOp::Equal => a == b,
            CompareOp::NotEqual => a != b,
            CompareOp::Greater => a > b,
            CompareOp::Less => a < b,
        }
    }
    match &compare.target {
        Target::Version(with) => test(compare.op, &kv.version, with),
        Target::Create(with) => test(compare.op, &kv.create_revision, with),
        Target::Mod(with) => test(compare.op, &kv.mod_revision, with),
        Target::Lease(with) => test(compare.op, &kv.lease, with),
        Target::Value(with) => test(compare.op, &kv.value, with),
    }
}

pub fn blob(text: &str) -> Blob {
    Blob::from(text.as_bytes())
}

fn key(rng: &mut Prng) -> Blob {
    blob(["a", "b", "c"][rng.below(3) as usize])
}

fn span(rng: &mut Prng) -> (Blob, Blob) {
    let end = ["", "", "", "c", "\0", "d"][rng.below(6) as usize];
    (key(rng), blob(end))
}

fn range(rng: &mut Prng) -> Request {
    let (key, range_end) = span(rng);
    let mut range = Range { key, range_end, ..Range::default() };
    if rng.below(3) == 0 {
        range.revision = rng.below(5) as i64;
        range.keys_only = rng.below(4) == 0;
        range.count_only = rng.below(6) == 0;
        range.min_mod_revision = [0, 0, 3][rng.below(3) as usize];
        range.max_create_revision = [0, 0, 4][rng.below(3) as usize];
        let sorted = rng.below(3);
        if sorted > 0 {
            range.sort_order = [SortOrder::Ascend, SortOrder::Descend][rng.below(2) as usize];
            range.limit = rng.below(3) as i64;
        } else if range.min_mod_revision == 0 && range.max_create_revision == 0 {
            range.limit = rng.below(3) as i64;
        }
        if sorted == 2 {
            let targets =
                [SortTarget::Version, SortTarget::Create, SortTarget::Mod, SortTarget::Value];
            range.sort_target = targets[rng.below(4) as usize];
        }
    }
    Request::Range(range)
}

fn compare(rng: &mut Prng) -> Compare {
    let (key, range_end) = span(rng);
    let op = [CompareOp::Equal, CompareOp::NotEqual, CompareOp::Greater, CompareOp::Less];
    let op = op[rng.below(4) as usize];
    let number = rng.below(4) as i64;
    let target = match rng.below(5) {
        0 => Target::Version(number),
        1 => Target::Create(number),
        2 => Target::Mod(number),
        3 => Target::Lease(number % 2),
        _ => Target::Value(blob(["x", "y"][rng.below(2) as usize])),
    };
    Compare { key, range_end, op, target }
}

/// One request of any kind; transactions at most two deep, without a key that is put twice.
pub fn request(rng: &mut Prng, depth: u64) -> Request {
    match rng.below(if depth == 0 { 11 } else { 8 }) {
        0..=2 => range(rng),
        3..=5 => {
            let ignore_value = rng.below(12) == 0;
            let value = blob(["x", "y"][rng.below(2) as usize]);
            let value = if ignore_value { Blob::default() } else { value };
            let ignore_lease = rng.below(12) == 0;
            let lease = if ignore_lease { 0 } else { rng.below(6) as i64 / 4 };
            Request::Put(Put { key: key(rng), value, lease, ignore_value, ignore_lease })
        }
        6 | 7 => {
            let (key, range_end) = span(rng);
            Request::Delete(Delete { key, range_end })
        }
        8 => Request::Revoke { lease: 1 },
        _ => {
            let nested = |rng: &mut Prng| {
                let mut put = Vec::new();
                let mut all: Vec<Request> =
                    (0..rng.below(3)).map(|_| request(rng, depth + 1)).collect();
                all.retain(|request| match request {
                    Request::Put(Put { key, .. }) => {
                        let new = !put.contains(key);
                        put.push(key.clone());
                        new
                    }
                    Request::Delete(_) => put.is_empty(),
                    _ => true,
                });
                all
            };
            let compare = (0..rng.below(3)).map(|_| compare(rng)).collect();
            let (success, mut failure) = (nested(rng), nested(rng));
            if depth == 0 && rng.below(4) == 0 {
                let txn = Txn { compare: Vec::new(), success: vec![range(rng)], ..Txn::default() };
                failure.push(Request::Txn(txn));
            }
            Request::Txn(Txn { compare, success, failure })
        }
    }
}
