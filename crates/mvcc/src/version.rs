//! Versions of keys, shared between the store and whoever is told of them.

use crate::hash::Hasher;
use crate::map::Weight;
use crate::store::version_bytes;
use crate::types::KeyValue;
use alloc::sync::Arc;
use base::Blob;
use core::fmt;
use core::ops::Deref;

/// One version of one key; a tombstone's `kv` holds only key and `mod_revision`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub kv: KeyValue,
    /// Position within its revision: no list of events in memory is as long as this counts.
    pub sub: u32,
    pub tombstone: bool,
}

impl Weight for Arc<Record> {
    fn weight(&self) -> u64 {
        u64::from(!self.tombstone)
    }
}

impl Record {
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
        Self { kv, sub, tombstone: true }
    }

    pub fn hash(&self) -> u64 {
        let mut hasher = Hasher::new(1);
        hasher.bytes(&self.kv.key);
        hasher.bytes(&self.kv.value);
        for number in [self.kv.create_revision, self.kv.mod_revision, self.kv.version] {
            hasher.int(number);
        }
        hasher.int(self.kv.lease);
        hasher.int(self.sub.into());
        hasher.word(u64::from(self.tombstone));
        hasher.finish()
    }

    pub fn old_key(&self) -> OldKey {
        OldKey { key: self.kv.key.clone(), main: self.kv.mod_revision, sub: self.sub.into() }
    }

    /// What orders the versions of one key.
    pub fn age(&self) -> (i64, u32) {
        (self.kv.mod_revision, self.sub)
    }

    pub fn bytes(&self) -> u64 {
        version_bytes(self.kv.key.len(), self.kv.value.len())
    }
}

/// Order of superseded versions: by key, then by age.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OldKey {
    pub key: Blob,
    pub main: i64,
    pub sub: i64,
}

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
        Self(Arc::new(Record { kv, sub: 0, tombstone: false }))
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
        Self(kv.map(|kv| Arc::new(Record { kv, sub: 0, tombstone: false })))
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
