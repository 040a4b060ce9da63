//! Keys under a common prefix.

use alloc::vec::Vec;
use base::Blob;
use mvcc::{RangeRequest, SortOrder, SortTarget};

/// The end of the range of keys that begin with `prefix`.
pub fn prefix_end(prefix: &[u8]) -> Blob {
    let Some(last) = prefix.iter().rposition(|byte| *byte < 0xff) else {
        return Blob::from(&b"\0"[..]);
    };
    let mut end = Vec::from(&prefix[..=last]);
    end[last] += 1;
    assert!(end.as_slice() > prefix, "the end is behind all that begin so");
    Blob::from(end)
}

/// The oldest key under the prefix: its owner is who holds the lock, or leads.
pub(super) fn oldest(prefix: &Blob) -> RangeRequest {
    RangeRequest {
        key: prefix.clone(),
        range_end: prefix_end(prefix),
        limit: 1,
        sort_order: SortOrder::Ascend,
        sort_target: SortTarget::Create,
        ..RangeRequest::default()
    }
}
