//! How many live keys a range has behind those that were looked at.

use super::{has_filters, is_in_key_order};
use crate::budget::Budget;
use crate::key_range::KeyRange;
use crate::layers::KeyRef;
use crate::types::{RangeRequest, RangeResponse};
use crate::values::Values;
use crate::view::View;
use crate::walk::{Step, Walk};
use base::Blob;

/// What an earlier read of the same revision and the same end has counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The first key that was counted, if it is there; not above the first key read now.
    pub from: Blob,
    /// Live keys from there to the end of the range.
    pub count: usize,
}

impl Counted {
    /// What the answer to a page says of the keys behind it; none when there are none, and when
    /// the page is not the first live keys of its range.
    pub fn behind(request: &RangeRequest, found: &RangeResponse) -> Option<Self> {
        let first = is_in_key_order(request) && !has_filters(request);
        let last = found.kvs.last().filter(|_| first && found.more)?;
        let count = usize::try_from(found.count).ok()?.checked_sub(found.kvs.len())?;
        Some(Self { from: Blob::from([&last.key[..], b"\0"].concat()), count })
    }
}

/// How the rest is counted.
pub(super) enum Rest {
    /// The map has counted the newest versions.
    Newest,
    /// What was counted before, less the live keys in front of the range.
    Behind { counted: Counted, before: KeyRange, after: Option<Blob>, passed: usize },
    /// The newest versions, less what came and went since the revision read.
    Since { revision: i64, walk: Walk, grown: i64 },
    /// By looking at each key.
    Looked,
}

/// Keys passed for each change that is looked back at: a change is the dearer one.
const KEYS_A_CHANGE: usize = 2;

impl Rest {
    /// The cheapest way to count `range` at `revision`.
    pub fn new(view: &View, range: &KeyRange, revision: i64, current: i64) -> Self {
        if range.single().is_some() {
            return Self::Looked;
        }
        if revision >= current {
            return Self::Newest;
        }
        let revision = revision + 1;
        let since = Self::Since { revision, walk: Walk::new((revision, 0)), grown: 0 };
        let is_near = since.price(view, range) < Self::Looked.price(view, range)
            && view.layers.is_in_memory(revision);
        // A transaction's own changes are not yet in the history.
        if is_near && current == view.revision { since } else { Self::Looked }
    }

    /// Keys that are looked at, about, when nothing is counted yet.
    fn price(&self, view: &View, range: &KeyRange) -> usize {
        match self {
            Self::Newest => 0,
            Self::Behind { before, .. } => view.count_newest(before),
            Self::Since { revision, .. } => {
                let changes = usize::try_from(view.revision + 1 - revision);
                changes.unwrap_or(usize::MAX).saturating_mul(KEYS_A_CHANGE)
            }
            Self::Looked if range.single().is_some() => 0,
            Self::Looked => view.count_newest(range),
        }
    }

    /// Goes by what was counted before, where that is nearer.
    pub fn knowing(self, view: &View, range: &KeyRange, counted: Counted) -> Self {
        let first = range.first();
        assert!(counted.from <= *first, "the range is part of what was counted");
        if **first == *b"\0" {
            return self; // As an end that spells "none".
        }
        let before = KeyRange::new(counted.from.clone(), first.clone());
        let behind = Self::Behind { counted, before, after: None, passed: 0 };
        if behind.price(view, range) < self.price(view, range) { behind } else { self }
    }

    /// Goes on for as long as the budget lasts; the live keys of the whole range at its end.
    pub fn count(
        &mut self,
        view: &View,
        (range, revision): (&KeyRange, i64),
        values: &mut dyn Values,
        budget: &mut Budget,
    ) -> Option<usize> {
        match self {
            Self::Looked => unreachable!("who looks at each key has counted them"),
            Self::Newest => Some(view.count_newest(range)),
            Self::Behind { counted, before, after, passed } => {
                let mut last = None;
                for (key, facts) in view.live(before, after.clone(), revision, view.revision) {
                    if !budget.is_left() {
                        if let Some(last) = last {
                            *after = Some(KeyRef::key(&last));
                        }
                        return None;
                    }
                    budget.spend(1);
                    last = Some(key);
                    *passed += usize::from(facts.is_some());
                }
                // Less only where a store with other data was put in its place meanwhile.
                Some(counted.count.saturating_sub(*passed))
            }
            Self::Since { walk, grown, .. } => {
                while budget.is_left() {
                    let record = match walk.next(&view.layers, values) {
                        Step::Missing => return None,
                        Step::End => return Some(Self::less(view, range, *grown)),
                        Step::Version(record) => record,
                    };
                    budget.spend(KEYS_A_CHANGE as u64);
                    if range.matches(&record.kv.key) {
                        let grows = i64::from(record.kv.version == 1);
                        *grown += if record.tombstone { -1 } else { grows };
                    }
                }
                None
            }
        }
    }

    /// Live keys of the range before it grew by so many.
    fn less(view: &View, range: &KeyRange, grown: i64) -> usize {
        let newest = i64::try_from(view.count_newest(range)).expect("fits memory");
        usize::try_from(newest - grown).expect("what was there was counted")
    }
}
