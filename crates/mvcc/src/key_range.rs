//! Key ranges as etcd spells them.

use crate::types::{Changes, Event};
use base::Blob;

#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    /// Only the start key.
    Single,
    /// Up to, not including.
    Before(Blob),
    /// No end.
    Open,
}

/// A set of keys: one key, `[key, range_end)`, or everything from `key` when `range_end` is `"\0"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    start: Blob,
    end: End,
}

impl KeyRange {
    /// From the two fields of a request; any bytes are a range, perhaps an empty one.
    pub fn new(key: impl Into<Blob>, range_end: impl Into<Blob>) -> Self {
        let (start, end) = (key.into(), range_end.into());
        let end = match &*end {
            b"" => End::Single,
            b"\0" => End::Open,
            _ => End::Before(end),
        };
        Self { start, end }
    }

    /// Whether the key is in it, bytewise.
    pub fn matches(&self, key: &[u8]) -> bool {
        match &self.end {
            End::Single => *self.start == *key,
            End::Before(end) => *self.start <= *key && *key < **end,
            End::Open => *self.start <= *key,
        }
    }

    /// True when no key can match (`range_end` at or below `key`).
    pub fn is_empty(&self) -> bool {
        matches!(&self.end, End::Before(end) if **end <= *self.start)
    }

    /// The first key; the only one of a single key.
    pub fn start(&self) -> &[u8] {
        &self.start
    }

    /// As `start`, to be shared.
    pub(crate) fn first(&self) -> &Blob {
        &self.start
    }

    /// The key, when the range is exactly one.
    pub fn single(&self) -> Option<&[u8]> {
        matches!(self.end, End::Single).then_some(&*self.start)
    }

    /// The first key past the range, where it has such an end.
    pub(crate) fn end(&self) -> Option<&Blob> {
        match &self.end {
            End::Before(end) => Some(end),
            End::Single | End::Open => None,
        }
    }
}

impl Changes {
    /// The events of this revision that a watcher of `range` sees, in order.
    pub fn matching<'a>(&'a self, range: &'a KeyRange) -> impl Iterator<Item = &'a Event> + 'a {
        self.events.iter().filter(move |event| range.matches(&event.kv.key))
    }

    /// Whether a watcher of `range` sees any event of this revision.
    pub fn touches(&self, range: &KeyRange) -> bool {
        self.matching(range).next().is_some()
    }
}
