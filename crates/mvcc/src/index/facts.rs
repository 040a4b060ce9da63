//! What the index knows of a version, and its form in a leaf: against the version that came after
//! it, most of it is nothing.

use super::num::{get_i64, get_u64, get_word, put_i64, put_u64, take};
use crate::key_value::{KeyValue, version_bytes};
use alloc::vec::Vec;
use base::Blob;

/// A version without its key and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub mod_revision: i64,
    /// Position within its revision.
    pub sub: u32,
    /// 0 of a tombstone, as `version` and `lease`.
    pub create_revision: i64,
    pub version: i64,
    pub lease: i64,
    pub value_len: u32,
    /// Of the whole record: key, value and all.
    pub hash: u64,
    pub tombstone: bool,
}

const TOMBSTONE: u8 = 1;
const HAS_SUB: u8 = 1 << 1;
/// It made its key, or was made by whom the one after it says.
const SAME_CREATE: u8 = 1 << 2;
/// The first of its key, or one less than the one after it.
const NEXT_VERSION: u8 = 1 << 3;
const HAS_LEASE: u8 = 1 << 4;
/// That of the one after it.
const SAME_LEASE: u8 = 1 << 5;
const SAME_LEN: u8 = 1 << 6;

impl Facts {
    /// The version of this key, without its value.
    pub fn key_value(&self, key: Blob) -> KeyValue {
        let Self { create_revision, mod_revision, version, lease, .. } = *self;
        let value = Blob::default();
        KeyValue { key, create_revision, mod_revision, version, value, lease }
    }

    /// Bytes of it and its key, as the quota counts them.
    pub fn bytes(&self, key: &[u8]) -> u64 {
        version_bytes(key.len(), self.value_len as usize)
    }

    /// What orders the versions of one key.
    pub fn age(&self) -> (i64, u32) {
        (self.mod_revision, self.sub)
    }

    /// Appends it; `after` is the version before which it is written, `base` the leaf's revision.
    pub fn encode(&self, after: Option<&Self>, base: i64, out: &mut Vec<u8>) {
        assert!(after.is_none_or(|after| self.age() < after.age()), "newest first");
        let after = after.filter(|after| !after.tombstone);
        let create = after.map_or(self.mod_revision, |after| after.create_revision);
        let version = after.map_or(1, |after| after.version - 1);
        let lease = after.map_or(0, |after| after.lease);
        let mut flags = 0;
        let mut flag = |set: bool, bit: u8| flags |= if set { bit } else { 0 };
        flag(self.tombstone, TOMBSTONE);
        flag(self.sub != 0, HAS_SUB);
        flag(!self.tombstone && self.create_revision == create, SAME_CREATE);
        flag(!self.tombstone && self.version == version, NEXT_VERSION);
        flag(self.lease != 0 && self.lease == lease, SAME_LEASE);
        flag(self.lease != 0 && self.lease != lease, HAS_LEASE);
        flag(after.is_some_and(|after| after.value_len == self.value_len), SAME_LEN);
        out.push(flags);
        put_i64(base - self.mod_revision, out);
        if flags & HAS_SUB != 0 {
            put_u64(self.sub.into(), out);
        }
        out.extend_from_slice(&self.hash.to_le_bytes());
        if self.tombstone {
            return;
        }
        if flags & SAME_CREATE == 0 {
            put_i64(self.mod_revision - self.create_revision, out);
        }
        if flags & NEXT_VERSION == 0 {
            put_i64(self.version, out);
        }
        if flags & HAS_LEASE != 0 {
            out.extend_from_slice(&self.lease.to_le_bytes());
        }
        if flags & SAME_LEN == 0 {
            put_u64(self.value_len.into(), out);
        }
    }

    /// Whether the version that stands first in `bytes` ends its key.
    pub fn is_tombstone(bytes: &[u8]) -> bool {
        bytes[0] & TOMBSTONE != 0
    }

    /// Takes one off the front of what [`Facts::encode`] wrote; none of what nobody writes.
    pub fn decode(after: Option<&Self>, base: i64, bytes: &mut &[u8]) -> Option<Self> {
        let after = after.filter(|after| !after.tombstone);
        let flags = take(bytes, 1)?[0];
        let has = |bit: u8| flags & bit != 0;
        let mod_revision = base.checked_sub(get_i64(bytes)?)?;
        let sub = if has(HAS_SUB) { u32::try_from(get_u64(bytes)?).ok()? } else { 0 };
        let hash = get_word(bytes)?;
        let mut facts = Self {
            mod_revision,
            sub,
            create_revision: 0,
            version: 0,
            lease: 0,
            value_len: 0,
            hash,
            tombstone: has(TOMBSTONE),
        };
        if facts.tombstone {
            return Some(facts);
        }
        let create = after.map_or(mod_revision, |after| after.create_revision);
        let version = after.map_or(1, |after| after.version - 1);
        facts.create_revision =
            if has(SAME_CREATE) { create } else { mod_revision.checked_sub(get_i64(bytes)?)? };
        facts.version = if has(NEXT_VERSION) { version } else { get_i64(bytes)? };
        if has(HAS_LEASE) {
            facts.lease = get_word(bytes)?.cast_signed();
        } else if has(SAME_LEASE) {
            facts.lease = after.map_or(0, |after| after.lease);
        }
        facts.value_len = match after.filter(|_| has(SAME_LEN)) {
            Some(after) => after.value_len,
            None => u32::try_from(get_u64(bytes)?).ok()?,
        };
        Some(facts)
    }

    /// Whether a command can have made it.
    pub fn is_possible(&self) -> bool {
        let Self { mod_revision, create_revision, version, lease, .. } = *self;
        let lives =
            (2..=mod_revision).contains(&create_revision) && (1..=mod_revision).contains(&version);
        mod_revision >= 2 && (lives || (self.tombstone && (version, lease) == (0, 0)))
    }
}
