//! Standing in line under a prefix until no older key is left.

use super::prefix::{oldest, prefix_end};
use super::{Heard, Lost, Step};
use alloc::vec::Vec;
use base::Blob;
use mvcc::{
    Compare, CompareOp, CompareTarget, DeleteRequest, EventKind, KeyValue, PutRequest,
    RangeRequest, RangeResponse, RequestOp, ResponseOp, SortOrder, SortTarget, TxnRequest,
    TxnResponse,
};

/// A place at the head of a line: a lock that is held, or leadership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The holder's own key.
    pub key: Blob,
    /// Revision at which the key was created: it grows from holder to holder, so it can fence
    /// whatever the holder does elsewhere.
    pub revision: i64,
    /// The place lasts as long as this lease.
    pub lease: i64,
    /// The store's revision when the place was known to be the first.
    pub since: i64,
}

impl Held {
    /// Puts a value of the holder's, if it still holds its place; else the answer has not
    /// succeeded.
    pub fn proclaim(&self, value: Blob) -> TxnRequest {
        self.guarded(RequestOp::Put(put(&self.key, value, self.lease)))
    }

    /// Gives the place up, if it is still held.
    pub fn resign(&self) -> TxnRequest {
        let key = self.key.clone();
        self.guarded(RequestOp::Delete(DeleteRequest { key, ..DeleteRequest::default() }))
    }

    fn guarded(&self, op: RequestOp) -> TxnRequest {
        let compare = Vec::from([created_at(&self.key, self.revision)]);
        TxnRequest { compare, success: Vec::from([op]), failure: Vec::new() }
    }
}

fn put(key: &Blob, value: Blob, lease: i64) -> PutRequest {
    PutRequest { key: key.clone(), value, lease, ..PutRequest::default() }
}

fn created_at(key: &Blob, revision: i64) -> Compare {
    let (op, target) = (CompareOp::Equal, CompareTarget::Create(revision));
    Compare { key: key.clone(), range_end: Blob::default(), op, target }
}

fn get(key: &Blob) -> RangeRequest {
    RangeRequest { key: key.clone(), ..RangeRequest::default() }
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Placing,
    /// It stood there before, with another value.
    Renaming,
    /// Looking for the youngest of the keys that are older.
    Looking,
    /// That one is to go.
    Waiting,
    /// Nobody is older: is it still there itself?
    Checking,
}

/// One who stands in line.
#[derive(Debug)]
pub(super) struct Line {
    prefix: Blob,
    value: Blob,
    stage: Stage,
    held: Held,
}

impl Line {
    /// `name` says which line, `lease` who stands in it.
    pub fn new(name: &[u8], value: Blob, lease: i64) -> Self {
        let prefix = Blob::from([name, b"/"].concat());
        let key = Blob::from([&prefix[..], alloc::format!("{lease:x}").as_bytes()].concat());
        assert!(key.len() > prefix.len(), "whoever stands in line has a key of its own");
        let held = Held { key, revision: 0, lease, since: 0 };
        Self { prefix, value, stage: Stage::Placing, held }
    }

    pub fn begin(&mut self) -> Step<Held> {
        self.stage = Stage::Placing;
        let (key, first) = (&self.held.key, oldest(&self.prefix));
        let put = RequestOp::Put(put(key, self.value.clone(), self.held.lease));
        Step::Write(TxnRequest {
            compare: Vec::from([created_at(key, 0)]),
            success: Vec::from([put, RequestOp::Range(first.clone())]),
            failure: Vec::from([RequestOp::Range(get(key)), RequestOp::Range(first)]),
        })
    }

    pub fn next(&mut self, heard: Heard) -> Result<Step<Held>, Lost> {
        match (&self.stage, heard) {
            (Stage::Placing, Heard::Written(answer)) => self.placed(&answer),
            (Stage::Renaming, Heard::Written(answer)) => {
                if answer.succeeded {
                    Ok(self.look())
                } else {
                    Err(Lost::Expired)
                }
            }
            (Stage::Looking, Heard::Read(found)) => Ok(self.found(&found)),
            (Stage::Waiting, Heard::Event(event)) if event.kind == EventKind::Put => {
                Ok(Step::Await)
            }
            // What is compacted may be its end: the next look tells.
            (Stage::Waiting, Heard::Event(_) | Heard::Compacted) => Ok(self.look()),
            (Stage::Checking, Heard::Read(found)) => {
                let mine = |kv: &KeyValue| kv.create_revision == self.held.revision;
                if !found.kvs.first().is_some_and(mine) {
                    return Err(Lost::Expired);
                }
                self.held.since = found.revision;
                Ok(Step::Done(self.held.clone()))
            }
            _ => Err(Lost::Nonsense),
        }
    }

    fn placed(&mut self, answer: &TxnResponse) -> Result<Step<Held>, Lost> {
        let [own, ResponseOp::Range(first)] = &answer.responses[..] else {
            return Err(Lost::Nonsense);
        };
        let before = match own {
            ResponseOp::Put(_) => None,
            ResponseOp::Range(found) => found.kvs.first(),
            ResponseOp::Delete(_) | ResponseOp::Txn(_) => return Err(Lost::Nonsense),
        };
        (self.held.revision, self.held.since) = match before {
            None => (answer.revision, answer.revision),
            Some(kv) => (kv.create_revision, answer.revision),
        };
        if before.is_some_and(|kv| kv.value != self.value) {
            self.stage = Stage::Renaming;
            return Ok(Step::Write(self.held.proclaim(self.value.clone())));
        }
        let owner = first.kvs.first().map_or(self.held.revision, |kv| kv.create_revision);
        if owner == self.held.revision {
            return Ok(Step::Done(self.held.clone()));
        }
        Ok(self.look())
    }

    /// Only the next older key is watched, so that one end wakes one waiter.
    fn look(&mut self) -> Step<Held> {
        self.stage = Stage::Looking;
        Step::Read(RangeRequest {
            key: self.prefix.clone(),
            range_end: prefix_end(&self.prefix),
            limit: 1,
            sort_order: SortOrder::Descend,
            sort_target: SortTarget::Create,
            max_create_revision: self.held.revision - 1,
            ..RangeRequest::default()
        })
    }

    fn found(&mut self, found: &RangeResponse) -> Step<Held> {
        match found.kvs.first() {
            None => {
                self.stage = Stage::Checking;
                Step::Read(get(&self.held.key))
            }
            Some(older) => {
                self.stage = Stage::Waiting;
                let (key, from) = (older.key.clone(), found.revision + 1);
                Step::Watch { key, range_end: Blob::default(), from }
            }
        }
    }
}
