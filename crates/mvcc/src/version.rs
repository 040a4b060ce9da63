//! Versions of keys, shared between the store and whoever is told of them.

use crate::hash::Hasher;
use crate::index::Facts;
use crate::key_value::KeyValue;
use alloc::sync::Arc;
use base::Blob;
use core::cmp::Ordering;
use core::fmt;
use core::ops::Deref;

/// One version of one key; a tombstone's `kv` holds only key and `mod_revision`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub kv: KeyValue,
    /// Position within its revision: no list of events in memory is as long as this counts.
    pub sub: u32,
    pub tombstone: bool,
    /// Of all of it.
    hash: u64,
}

impl Record {
    pub fn new(kv: KeyValue, sub: u32) -> Self {
        Self { hash: hash_of(&kv, sub, false), kv, sub, tombstone: false }
    }

    pub fn tombstone(key: Blob, mod_revision: i64, sub: u32) -> Self {
        assert!(!key.is_empty() && mod_revision > 1, "a command ends a key");
        let kv = KeyValue {
            key,
            create_revision: 0,
            mod_revision,
            version: 0,
            value: Blob::default(),
            lease: 0,
        };
        Self { hash: hash_of(&kv, sub, true), kv, sub, tombstone: true }
    }

    /// What orders all versions.
    pub fn age(&self) -> (i64, u32) {
        (self.kv.mod_revision, self.sub)
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// What the index knows of it.
    pub fn facts(&self) -> Facts {
        let KeyValue { create_revision, mod_revision, version, lease, .. } = self.kv;
        let value_len = u32::try_from(self.kv.value.len()).expect("a value is far below 4 GiB");
        let (sub, hash, tombstone) = (self.sub, self.hash(), self.tombstone);
        Facts { mod_revision, sub, create_revision, version, lease, value_len, hash, tombstone }
    }
}

fn hash_of(kv: &KeyValue, sub: u32, tombstone: bool) -> u64 {
    let mut hasher = Hasher::new(1);
    hasher.bytes(&kv.key);
    hasher.bytes(&kv.value);
    for number in [kv.create_revision, kv.mod_revision, kv.version, kv.lease] {
        hasher.int(number);
    }
    hasher.int(sub.into());
    hasher.word(u64::from(tombstone));
    hasher.finish()
}

/// A superseded version in the order of all: by key, then by age. The version itself, since a key
/// beside it would take four times as much of a node.
#[derive(Clone, Debug)]
pub(crate) struct Old(pub Arc<Record>);

impl Old {
    /// A place in that order, whether there is a version or not.
    pub fn at(key: Blob, mod_revision: i64, sub: u32) -> Self {
        let kv = KeyValue { key, mod_revision, ..KeyValue::default() };
        Self(Arc::new(Record { kv, sub, tombstone: true, hash: 0 }))
    }

    /// The same place without its value, which whoever only keeps the place must not keep.
    pub fn place(&self) -> Self {
        let Record { kv, sub, tombstone, .. } = &*self.0;
        if *tombstone { self.clone() } else { Self::at(kv.key.clone(), kv.mod_revision, *sub) }
    }
}

impl Deref for Old {
    type Target = Arc<Record>;

    fn deref(&self) -> &Arc<Record> {
        &self.0
    }
}

impl Ord for Old {
    fn cmp(&self, other: &Self) -> Ordering {
        self.kv.key.cmp(&other.kv.key).then_with(|| self.age().cmp(&other.age()))
    }
}

impl PartialOrd for Old {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Old {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(self, other) || (self.age() == other.age() && self.kv.key == other.kv.key)
    }
}

impl Eq for Old {}

/// The key as an event left it: shared with the store, which keeps it as a version.
#[derive(Clone)]
pub struct After(Arc<Record>);

impl Deref for After {
    type Target = KeyValue;

    fn deref(&self) -> &KeyValue {
        &self.0.kv
    }
}

impl From<Arc<Record>> for After {
    fn from(record: Arc<Record>) -> Self {
        Self(record)
    }
}

impl From<KeyValue> for After {
    /// Of one that no store has.
    fn from(kv: KeyValue) -> Self {
        Self(Arc::new(Record::new(kv, 0)))
    }
}

/// As the keys and values are, shared or not.
impl PartialEq for After {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for After {}

impl fmt::Debug for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// What was before an event, if anything was: shared with the store that has it too, since a
/// removal of a million keys tells of a million of them.
#[derive(Clone, Default)]
pub struct Before(Option<Arc<Record>>);

impl Before {
    /// None at the creation of a key, or when compaction removed what was before.
    pub fn as_ref(&self) -> Option<&KeyValue> {
        self.0.as_ref().map(|record| &record.kv)
    }

    /// Whether it is known of nothing.
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Whether there was something.
    pub fn is_some(&self) -> bool {
        self.0.is_some()
    }
}

impl From<Option<Arc<Record>>> for Before {
    fn from(record: Option<Arc<Record>>) -> Self {
        assert!(record.as_ref().is_none_or(|record| !record.tombstone), "it lived before");
        Self(record)
    }
}

impl From<Option<KeyValue>> for Before {
    /// Of one that no store has.
    fn from(kv: Option<KeyValue>) -> Self {
        Self(kv.map(|kv| Arc::new(Record::new(kv, 0))))
    }
}

/// As the keys and values are: where they stood in their revisions is not told.
impl PartialEq for Before {
    fn eq(&self, other: &Self) -> bool {
        self.as_ref() == other.as_ref()
    }
}

impl Eq for Before {}

impl PartialEq<Option<KeyValue>> for Before {
    fn eq(&self, other: &Option<KeyValue>) -> bool {
        self.as_ref() == other.as_ref()
    }
}

impl fmt::Debug for Before {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Changes, Command, DeleteRequest, EventKind, Limits, PutRequest, Store};
    use alloc::vec::Vec;
    use base::ClusterTime;

    fn run(store: &mut Store, command: &Command) -> Arc<Changes> {
        let index = store.applied_index().next();
        store.apply(index, ClusterTime(index.0), command).changes.expect("it makes a revision")
    }

    fn key(n: u8) -> Blob {
        Blob::from(&[n][..])
    }

    #[test]
    fn an_event_and_the_store_have_one_version_between_them() {
        let mut store = Store::new(Limits::default());
        let put = |n| PutRequest { key: key(n), value: key(n), ..PutRequest::default() };
        let puts: Vec<_> = (1..5).map(|n| run(&mut store, &Command::Put(put(n)))).collect();
        let all = DeleteRequest { key: key(0), range_end: key(9), prev_kv: false };
        let deletes = run(&mut store, &Command::Delete(all));
        assert_eq!(deletes.events.len(), puts.len());
        let view = store.view();
        for (put, delete) in puts.iter().zip(&deletes.events) {
            let put = &put.events[0];
            assert_eq!((put.kind, delete.kind), (EventKind::Put, EventKind::Delete));
            let old = view.version_at(&put.kv.key, put.kv.mod_revision).expect("it is retained");
            assert!(Arc::ptr_eq(&put.kv.0, &view.record(&old)), "what was put is what is kept");
            let prev = view.before(delete).0;
            let prev = prev.expect("it lived");
            assert!(Arc::ptr_eq(&prev, &view.record(&old)), "and what was before");
            let newest = view.layers.at(&delete.kv.key, i64::MAX).expect("it has a tombstone");
            assert!(newest.tombstone && Arc::ptr_eq(&delete.kv.0, &view.record(&newest)));
        }
    }

    #[test]
    fn shared_or_not_is_not_compared() {
        let kv = KeyValue { key: key(1), mod_revision: 7, ..KeyValue::default() };
        let ended = After::from(Arc::new(Record::tombstone(key(1), 7, 3)));
        assert_eq!(ended, After::from(kv.clone()), "nor where it stood in its revision");
        assert_eq!(ended, ended.clone());
        let later = KeyValue { mod_revision: 8, ..kv.clone() };
        assert_ne!(ended, After::from(later));
        assert_eq!(alloc::format!("{ended:?}"), alloc::format!("{kv:?}"));
    }

    #[test]
    fn superseded_versions_go_by_key_and_age_and_a_place_keeps_no_value() {
        let kv = KeyValue { value: Blob::from([7; 99]), ..KeyValue::default() };
        let old = |key: Blob, mod_revision, sub| {
            let kv = KeyValue { key, mod_revision, ..kv.clone() };
            Old(Arc::new(Record::new(kv, sub)))
        };
        let rising = [old(key(1), 2, 9), old(key(1), 3, 0), old(key(1), 3, 1), old(key(2), 1, 0)];
        assert!(rising.is_sorted_by(|a, b| a < b && a != b));
        for old in &rising {
            let place = old.place();
            assert!(place == *old && place.cmp(old) == Ordering::Equal);
            assert!(place.kv.value.is_empty() && Arc::strong_count(old) == 1);
            assert!(Arc::ptr_eq(&place, &place.place()), "one without a value serves itself");
        }
    }

    #[test]
    fn what_was_before_is_known_compared_and_shown_as_its_key_and_value() {
        let kv = KeyValue { key: key(1), mod_revision: 7, ..KeyValue::default() };
        let later = KeyValue { mod_revision: 8, ..kv.clone() };
        let (none, some) = (Before::default(), Before::from(Some(kv.clone())));
        assert!(none.is_none() && !none.is_some() && none.as_ref().is_none());
        assert!(some.is_some() && !some.is_none() && some.as_ref() == Some(&kv));
        let record = Record::new(kv.clone(), 3);
        assert_eq!(some, Before::from(Some(Arc::new(record))), "shared or not");
        assert_ne!(some, Before::from(Some(later.clone())));
        assert_eq!(none, Before::from(None::<KeyValue>), "of no store either");
        assert_ne!(some, none);
        assert!(some == Some(kv.clone()) && none == None::<KeyValue>);
        assert!(some != Some(later) && some != None::<KeyValue> && none != Some(kv.clone()));
        let shown = [alloc::format!("{some:?}"), alloc::format!("{none:?}")];
        assert_eq!(shown, [alloc::format!("{:?}", Some(kv)), "None".into()]);
    }

    #[test]
    fn each_field_counts_in_the_hash() {
        let record = |kv: KeyValue, sub, tombstone| hash_of(&kv, sub, tombstone);
        let kv = KeyValue { key: key(1), mod_revision: 7, ..KeyValue::default() };
        let mut hashes = [
            record(kv.clone(), 0, false),
            record(kv.clone(), 0, true),
            record(kv.clone(), 1, false),
            record(KeyValue { key: key(2), ..kv.clone() }, 0, false),
            record(KeyValue { value: key(1), ..kv.clone() }, 0, false),
            record(KeyValue { create_revision: 1, ..kv.clone() }, 0, false),
            record(KeyValue { mod_revision: 8, ..kv.clone() }, 0, false),
            record(KeyValue { version: 1, ..kv.clone() }, 0, false),
            record(KeyValue { lease: 1, ..kv }, 0, false),
        ];
        hashes.sort_unstable();
        assert!(hashes.is_sorted_by(|a, b| a < b), "no two are the same");
    }
}
