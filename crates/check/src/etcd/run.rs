//! One request on one state.

use std::sync::Arc;

use base::Blob;

use super::range::{Keys, answers, within};
use super::types::{
    Compare, CompareOp, Delete, KeyValue, Put, Range, Reply, Request, Seen, Target, Txn,
};
use crate::map::Map;

/// Transactions within transactions; etcd's own limits are far below.
const DEPTH_MAX: usize = 64;

/// What became of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Put(Arc<KeyValue>),
    Delete(Blob),
}

impl Change {
    pub fn key(&self) -> &Blob {
        match self {
            Self::Put(kv) => &kv.key,
            Self::Delete(key) => key,
        }
    }
}

/// A request at work. Ranges of a transaction see its earlier writes, compares do not.
pub struct Run<'a> {
    /// The revision and the keys before the request.
    revision: i64,
    before: &'a Keys,
    /// Earlier revisions.
    past: &'a Map<i64, Keys>,
    pub keys: Keys,
    pub changes: Vec<Change>,
}

impl<'a> Run<'a> {
    pub fn new(revision: i64, before: &'a Keys, past: &'a Map<i64, Keys>) -> Self {
        Self { revision, before, past, keys: before.clone(), changes: Vec::new() }
    }

    /// Carries out `request`. False if it cannot answer `reply` here; without a reply, if it
    /// would be refused.
    pub fn request(&mut self, request: &Request, reply: Option<&Reply>) -> bool {
        self.nested(request, reply, 0)
    }

    fn nested(&mut self, request: &Request, reply: Option<&Reply>, depth: usize) -> bool {
        match (request, reply) {
            (Request::Range(range), None) => self.keys_at(range).is_ok(),
            (Request::Range(range), Some(Reply::Range { kvs, count, more })) => {
                match self.keys_at(range) {
                    Ok(Some(keys)) => answers(keys, range, kvs, *count, *more),
                    Ok(None) => true,
                    Err(Refused) => false,
                }
            }
            (Request::Put(put), None) => self.put(put, None),
            (Request::Put(put), Some(Reply::Put { prev })) => self.put(put, prev.as_ref()),
            (Request::Delete(delete), None) => self.delete(delete, None, None),
            (Request::Delete(delete), Some(Reply::Delete { deleted, prev })) => {
                self.delete(delete, *deleted, prev.as_deref())
            }
            (Request::Txn(_), _) if depth == DEPTH_MAX => false,
            (Request::Txn(txn), None) => self.txn(txn, None, depth),
            (Request::Txn(txn), Some(Reply::Txn { succeeded, replies })) => {
                self.txn(txn, Some((*succeeded, replies)), depth)
            }
            (Request::Revoke { lease }, None | Some(Reply::Revoke)) => {
                self.revoke(*lease);
                true
            }
            _ => false,
        }
    }

    /// The keys to read; none if that revision is older than the history.
    fn keys_at(&self, range: &Range) -> Result<Option<&Keys>, Refused> {
        if range.revision <= 0 {
            Ok(Some(&self.keys))
        } else if range.revision > self.revision {
            Err(Refused)
        } else if range.revision == self.revision {
            Ok(Some(self.before))
        } else {
            Ok(self.past.get(&range.revision))
        }
    }

    fn put(&mut self, put: &Put, prev: Option<&Option<Seen>>) -> bool {
        let old = self.keys.get(&put.key);
        let fits = match (prev, old) {
            (None, _) | (Some(None), None) => true,
            (Some(Some(seen)), Some(old)) => seen.fits(old),
            _ => false,
        };
        if !fits || (old.is_none() && (put.ignore_value || put.ignore_lease)) {
            return false;
        }
        let revision = self.revision + 1;
        let kept = |ignore: bool| if ignore { old } else { None };
        let kv = Arc::new(KeyValue {
            key: put.key.clone(),
            value: kept(put.ignore_value).map_or(&put.value, |old| &old.value).clone(),
            create_revision: old.map_or(revision, |old| old.create_revision),
            mod_revision: revision,
            version: old.map_or(1, |old| old.version + 1),
            lease: kept(put.ignore_lease).map_or(put.lease, |old| old.lease),
        });
        self.keys.insert(put.key.clone(), kv.clone());
        self.changes.push(Change::Put(kv));
        true
    }

    fn delete(&mut self, delete: &Delete, deleted: Option<i64>, prev: Option<&[Seen]>) -> bool {
        let found: Vec<Arc<KeyValue>> =
            within(&self.keys, &delete.key, &delete.range_end).cloned().collect();
        if deleted.is_some_and(|deleted| deleted != found.len() as i64) {
            return false;
        }
        if let Some(prev) = prev
            && (prev.len() != found.len() || !prev.iter().zip(&found).all(|(s, kv)| s.fits(kv)))
        {
            return false;
        }
        for kv in found {
            self.remove(&kv.key);
        }
        true
    }

    fn revoke(&mut self, lease: i64) {
        let all = self.keys.iter_from(&Blob::default());
        let attached: Vec<Blob> =
            all.filter(|(_, kv)| kv.lease == lease).map(|(key, _)| key.clone()).collect();
        for key in attached {
            self.remove(&key);
        }
    }

    fn remove(&mut self, key: &Blob) {
        self.keys.remove(key);
        self.changes.push(Change::Delete(key.clone()));
    }

    fn txn(&mut self, txn: &Txn, reply: Option<(bool, &Vec<Reply>)>, depth: usize) -> bool {
        let holds = txn.compare.iter().all(|compare| self.holds(compare));
        if reply.is_some_and(|(succeeded, _)| succeeded != holds) {
            return false;
        }
        let branch = if holds { &txn.success } else { &txn.failure };
        let Some((_, replies)) = reply else {
            return branch.iter().all(|request| self.nested(request, None, depth + 1));
        };
        branch.len() == replies.len()
            && branch
                .iter()
                .zip(replies)
                .all(|(request, reply)| self.nested(request, Some(reply), depth + 1))
    }

    fn holds(&self, compare: &Compare) -> bool {
        let mut found = within(self.before, &compare.key, &compare.range_end).peekable();
        if found.peek().is_some() {
            return found.all(|kv| holds_for(compare, Some(kv)));
        }
        holds_for(compare, None)
    }
}

/// The request would be refused.
struct Refused;

/// A key that is not there counts as zeros, but has no value to compare with.
fn holds_for(compare: &Compare, kv: Option<&KeyValue>) -> bool {
    let number = |of: fn(&KeyValue) -> i64| kv.map_or(0, of);
    let order = match &compare.target {
        Target::Version(given) => number(|kv| kv.version).cmp(given),
        Target::Create(given) => number(|kv| kv.create_revision).cmp(given),
        Target::Mod(given) => number(|kv| kv.mod_revision).cmp(given),
        Target::Lease(given) => number(|kv| kv.lease).cmp(given),
        Target::Value(given) => match kv {
            Some(kv) => kv.value.cmp(given),
            None => return false,
        },
    };
    match compare.op {
        CompareOp::Equal => order.is_eq(),
        CompareOp::NotEqual => order.is_ne(),
        CompareOp::Greater => order.is_gt(),
        CompareOp::Less => order.is_lt(),
    }
}
