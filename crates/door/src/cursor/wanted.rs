//! What a watcher is to see, and how much of that at a time.

use mvcc::{Before, Event, EventKind, KeyRange, KeyValue};

/// Bytes of a key with its value beside the two themselves, in any front's form at most.
pub(crate) const KEY_VALUE_OVERHEAD_BYTES: usize = 64;
/// Bytes of an event beside its keys and values, in any front's form at most.
const EVENT_OVERHEAD_BYTES: usize = 24;

/// What a watcher is to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The keys it watches.
    pub range: KeyRange,
    /// The version before each event too.
    pub prev_kv: bool,
    /// Without what was put.
    pub no_put: bool,
    /// Without what was deleted.
    pub no_delete: bool,
}

impl Wanted {
    pub(super) fn has(&self, kind: EventKind) -> bool {
        match kind {
            EventKind::Put => !self.no_put,
            EventKind::Delete => !self.no_delete,
        }
    }

    pub(crate) fn wants(&self, event: &Event) -> bool {
        self.range.matches(&event.kv.key) && self.has(event.kind)
    }
}

/// Bytes of an event as the watcher is told it, at most about; what was before it is as large as
/// what came of it, until somebody looks.
pub(super) fn bytes_about(wanted: &Wanted, event: &Event) -> usize {
    let after = size(&event.kv);
    EVENT_OVERHEAD_BYTES + after + if wanted.prev_kv { after } else { 0 }
}

/// The same once what was before it is known.
pub(super) fn bytes_of(event: &Event, before: &Before) -> usize {
    EVENT_OVERHEAD_BYTES + size(&event.kv) + before.as_ref().map_or(0, size)
}

fn size(kv: &KeyValue) -> usize {
    KEY_VALUE_OVERHEAD_BYTES + kv.key.len() + kv.value.len()
}

/// How much one step of a cursor may look at and give; each is positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Revisions of one batch.
    pub revisions_max: usize,
    /// Events looked at, whether they concern the watcher or not, but for one revision of any
    /// length, which is gone through apart.
    pub events_max: usize,
    /// A batch is closed once it holds so many bytes, at a revision's end.
    pub bytes_target: usize,
}

impl Bounds {
    pub(crate) const fn are_positive(&self) -> bool {
        self.revisions_max > 0 && self.events_max > 0 && self.bytes_target > 0
    }
}
