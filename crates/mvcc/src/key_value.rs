//! What a key holds.

use base::Blob;

/// One key at one revision (`mvccpb.KeyValue`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyValue {
    /// Never empty in the store; empty only in the default, which stands for "no such key".
    pub key: Blob,
    /// Revision of the last creation.
    pub create_revision: i64,
    /// Revision of the last change.
    pub mod_revision: i64,
    /// 1 at creation, +1 per put, reset by a delete.
    pub version: i64,
    /// Any bytes, none too; empty in what a range with `keys_only` answers.
    pub value: Blob,
    /// Attached lease, 0 for none.
    pub lease: i64,
}

/// What every retained version costs beyond its key and value, as the quota counts it
/// (etcd's `kvOverhead`).
pub const VERSION_OVERHEAD_BYTES: u64 = 256;

/// Bytes of a version, as the quota counts them.
pub(crate) fn version_bytes(key: usize, value: usize) -> u64 {
    VERSION_OVERHEAD_BYTES + key as u64 + value as u64
}
