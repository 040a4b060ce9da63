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
    /// The version before each event too, as far as it is there when the event is told.
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

fn size(kv: &KeyValue) -> usize {
    KEY_VALUE_OVERHEAD_BYTES + kv.key.len() + kv.value.len()
}

/// Bytes of an event as a watcher is told it, in any front's form at most.
pub(super) fn bytes_of(event: &Event, before: &Before) -> usize {
    EVENT_OVERHEAD_BYTES + size(&event.kv) + before.as_ref().map_or(0, size)
}

/// As [`bytes_of`], of what is not looked up: the version before is taken to be as long as the
/// event itself.
pub(super) fn estimate(wanted: &Wanted, event: &Event) -> usize {
    let before = if wanted.prev_kv && !event.is_create() { size(&event.kv) } else { 0 };
    bytes_of(event, &Before::default()) + before
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
