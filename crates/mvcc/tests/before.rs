//! What was before an event, looked up in views of any age, is what lived when it was made.

use base::{Blob, ClusterTime, LogIndex, Prng};
use mvcc::{
    Command, DeleteRequest, Event, EventKind, KeyValue, Limits, PutRequest, RequestOp, Store,
    TxnRequest, View,
};
use std::collections::BTreeMap;

fn key(p: &mut Prng) -> Blob {
    Blob::from([b'a' + p.below(6) as u8].as_slice())
}

fn put(p: &mut Prng) -> PutRequest {
    let value = Blob::from(p.below(1 << 20).to_string().as_bytes());
    PutRequest { key: key(p), value, ..PutRequest::default() }
}

fn delete(p: &mut Prng) -> DeleteRequest {
    let range_end = if p.below(3) == 0 { key(p) } else { Blob::default() };
    DeleteRequest { key: key(p), range_end, prev_kv: false }
}

/// To the last key of all: as in etcd, what such a delete meets may be put in its transaction too.
fn delete_on(p: &mut Prng) -> DeleteRequest {
    DeleteRequest { range_end: Blob::from(&b"\0"[..]), ..delete(p) }
}

/// Transactions delete what they put and put again what they deleted.
fn command(p: &mut Prng, revision: i64) -> Command {
    match p.below(8) {
        0 | 1 => Command::Delete(delete(p)),
        2 | 3 => {
            let (first, put, last) = (delete_on(p), put(p), delete_on(p));
            let ops = [RequestOp::Delete(first), RequestOp::Put(put), RequestOp::Delete(last)];
            let from = p.below(2) as usize;
            let success = ops[from..from + 2].to_vec();
            Command::Txn(TxnRequest { success, ..TxnRequest::default() })
        }
        4 if p.below(3) == 0 => Command::Compact { revision: revision - p.below(9) as i64 },
        _ => Command::Put(put(p)),
    }
}

/// All that was ever made: every event with what was before it.
#[derive(Default)]
struct Twin {
    live: BTreeMap<Blob, KeyValue>,
    told: Vec<(Event, Option<KeyValue>)>,
}

impl Twin {
    fn push(&mut self, events: &[Event]) {
        let before = self.live.clone();
        for event in events {
            let key = &event.kv.key;
            let was = before.get(key).filter(|_| !event.is_create()).cloned();
            self.told.push((event.clone(), was));
            match event.kind {
                EventKind::Put => drop(self.live.insert(key.clone(), (*event.kv).clone())),
                EventKind::Delete => drop(self.live.remove(key).expect("it lived")),
            }
        }
    }

    /// How many of those that a view of it knows were compacted, are to come, and are there.
    fn check(&self, view: &View, seed: u64) -> [usize; 3] {
        let mut counts = [0; 3];
        for (event, was) in &self.told {
            let at = event.kv.mod_revision;
            let (compacted, to_come) = (at <= view.compact_revision(), at > view.revision() + 1);
            let expected = was.as_ref().filter(|_| !compacted && !to_come);
            assert_eq!(view.before(event).as_ref(), expected, "seed {seed}: {event:?}");
            let kind = if compacted { 0 } else { 2 - usize::from(to_come) };
            counts[kind] += usize::from(was.is_some());
        }
        counts
    }
}

#[test]
fn whoever_looks_finds_what_lived_unless_it_is_compacted_or_to_come() {
    let (mut counts, mut twice) = ([0; 3], 0);
    for seed in 0..60 {
        let mut p = Prng::new(seed);
        let (mut store, mut twin) = (Store::new(Limits::default()), Twin::default());
        let mut views = Vec::new();
        for index in 1..=120 {
            let command = command(&mut p, store.revision());
            let applied = store.apply(LogIndex(index), ClusterTime(index), &command);
            if let Some(changes) = applied.changes {
                twin.push(&changes.events);
                let keys: Vec<_> = changes.events.iter().map(|event| &event.kv.key).collect();
                twice += usize::from((1..keys.len()).any(|n| keys[..n].contains(&keys[n])));
            }
            if p.below(10) == 0 {
                views.push(store.view());
            }
        }
        let restored = Store::restore(store.limits(), store.checkpoint_records());
        views.extend([store.view(), restored.expect("its own checkpoint").view()]);
        for view in &views {
            let found = twin.check(view, seed);
            counts = std::array::from_fn(|n| counts[n] + found[n]);
        }
    }
    assert!(counts.iter().all(|count| *count > 5_000) && twice > 100, "{counts:?} {twice}");
}
