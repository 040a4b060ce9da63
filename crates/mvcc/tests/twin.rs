//! The store against a naive twin that keeps every version of every key in a vector.

use base::{Blob, ClusterTime, LogIndex};
use mvcc::{
    Command, DeleteRequest, Error, KeyRange, KeyValue, Limits, PutRequest, RangeRequest, Response,
    Store,
};
use proptest::prelude::*;

#[derive(Default)]
struct Twin {
    /// (revision, key, value; none = deleted), oldest first.
    versions: Vec<(i64, Vec<u8>, Option<KeyValue>)>,
    revision: i64,
    compacted: i64,
}

impl Twin {
    fn at(&self, key: &[u8], revision: i64) -> Option<&KeyValue> {
        let mut all = self.versions.iter().filter(|(r, k, _)| *r <= revision && k == key);
        all.next_back().and_then(|(_, _, kv)| kv.as_ref())
    }

    fn range(&self, range: &KeyRange, revision: i64) -> Vec<KeyValue> {
        let mut keys: Vec<_> = self.versions.iter().map(|(_, k, _)| k.clone()).collect();
        keys.sort();
        keys.dedup();
        keys.retain(|key| range.matches(key));
        keys.iter().filter_map(|key| self.at(key, revision).cloned()).collect()
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.revision += 1;
        let old = self.at(key, self.revision);
        let kv = KeyValue {
            key: Blob::from(key),
            create_revision: old.map_or(self.revision, |kv| kv.create_revision),
            mod_revision: self.revision,
            version: old.map_or(1, |kv| kv.version + 1),
            value: Blob::from(value),
            lease: 0,
        };
        self.versions.push((self.revision, key.to_vec(), Some(kv)));
    }

    fn delete(&mut self, range: &KeyRange) -> i64 {
        let gone = self.range(range, self.revision);
        if !gone.is_empty() {
            self.revision += 1;
        }
        for kv in &gone {
            self.versions.push((self.revision, kv.key.to_vec(), None));
        }
        gone.len() as i64
    }
}

#[derive(Clone, Debug)]
enum Op {
    Put(Vec<u8>, u8),
    Delete(Vec<u8>, Vec<u8>),
    Compact(i64),
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    (0u16..300).prop_map(|n| format!("k{n:03}").into_bytes())
}

fn end() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![3 => Just(Vec::new()), 1 => Just(vec![0]), 3 => key()]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        20 => (key(), any::<u8>()).prop_map(|(k, v)| Op::Put(k, v)),
        3 => (key(), end()).prop_map(|(k, e)| Op::Delete(k, e)),
        1 => (0i64..400).prop_map(Op::Compact),
    ]
}

fn step(store: &mut Store, twin: &mut Twin, index: u64, op: &Op) {
    let (index, now) = (LogIndex(index), ClusterTime(index));
    let mut apply = |command| store.apply(index, now, &command).result;
    match op {
        Op::Put(key, value) => {
            let (key, value) = (Blob::from(&**key), Blob::from([*value].as_slice()));
            twin.put(&key, &value);
            let put = PutRequest { key, value, ..PutRequest::default() };
            assert!(apply(Command::Put(put)).is_ok());
        }
        Op::Delete(key, end) => {
            let (key, range_end) = (Blob::from(&**key), Blob::from(&**end));
            let deleted = twin.delete(&KeyRange::new(key.clone(), range_end.clone()));
            let delete = DeleteRequest { key, range_end, prev_kv: false };
            let Ok(Response::Delete(answer)) = apply(Command::Delete(delete)) else { panic!() };
            assert_eq!((answer.deleted, answer.revision), (deleted, twin.revision));
        }
        Op::Compact(revision) => {
            let result = apply(Command::Compact { revision: *revision });
            if *revision <= twin.compacted {
                assert_eq!(result, Err(Error::Compacted));
            } else if *revision > twin.revision {
                assert_eq!(result, Err(Error::FutureRevision));
            } else {
                assert!(result.is_ok());
                twin.compacted = *revision;
            }
        }
    }
    assert_eq!(store.revision(), twin.revision);
}

fn agree(store: &Store, twin: &Twin, key: &[u8], end: &[u8], revision: i64, limit: i64) {
    let range = KeyRange::new(key, end);
    let request = RangeRequest {
        key: key.into(),
        range_end: end.into(),
        revision,
        limit,
        ..RangeRequest::default()
    };
    let answer = store.read(&request);
    if revision > twin.revision {
        return assert_eq!(answer, Err(Error::FutureRevision));
    }
    if revision > 0 && revision < twin.compacted {
        return assert_eq!(answer, Err(Error::Compacted));
    }
    let mut want = twin.range(&range, if revision <= 0 { twin.revision } else { revision });
    let answer = answer.unwrap();
    assert_eq!(answer.count, want.len() as i64);
    assert_eq!(answer.more, limit > 0 && want.len() as i64 > limit);
    if limit > 0 {
        want.truncate(limit as usize);
    }
    assert_eq!(answer.kvs, want);
    let count = store.read(&RangeRequest { count_only: true, ..request }).unwrap();
    assert_eq!(count.count, answer.count);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn the_store_is_its_naive_twin(
        ops in prop::collection::vec(op(), 1..600),
        reads in prop::collection::vec((key(), end(), -1i64..400, 0i64..20), 40),
        hold_views in any::<bool>(),
    ) {
        let mut store = Store::new(Limits::default());
        let mut twin = Twin { revision: 1, compacted: -1, ..Twin::default() };
        let (mut views, mut settling) = (Vec::new(), None);
        for (at, op) in ops.iter().enumerate() {
            step(&mut store, &mut twin, at as u64 + 1, op);
            // What was made goes into the index now and then, some commands later.
            match at % 40 {
                9 => settling = store.settle(1),
                30 => drop(settling.take().map(|begun| store.settled(begun.run()))),
                _ => {}
            }
            if hold_views && at % 7 == 0 {
                views.push((store.content_hash(), store.view()));
            }
        }
        for (key, end, revision, limit) in &reads {
            agree(&store, &twin, key, end, *revision, *limit);
        }
        agree(&store, &twin, &[0], &[0], 0, 0);
        // A restored store is the same one: reads, hashes, history.
        let records = store.view().checkpoint_records();
        let restored = Store::restore(Limits::default(), records).unwrap();
        for (key, end, revision, limit) in &reads {
            agree(&restored, &twin, key, end, *revision, *limit);
        }
        let all = KeyRange::new([0].as_slice(), [0].as_slice());
        let from = store.compact_revision();
        prop_assert_eq!(restored.history(from, &all, 9999), store.history(from, &all, 9999));
        prop_assert_eq!(restored.hash_kv(0), store.hash_kv(0));
        prop_assert_eq!(restored.size_bytes(), store.size_bytes());
        // Views did not move while the store went on.
        for (hash, view) in views {
            prop_assert_eq!(view.content_hash(), hash);
            prop_assert!(Store::restore(Limits::default(), view.checkpoint_records()).is_ok());
        }
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut with_version = vec![1];
        with_version.extend(&bytes);
        let _ = Command::decode(&mut base::codec::Get::new(&with_version));
        let _ = Response::decode(&mut base::codec::Get::new(&with_version));
        let _ = Store::restore(Limits::default(), [bytes]);
    }
}
