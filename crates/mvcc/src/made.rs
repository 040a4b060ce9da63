//! What one revision made.

use crate::version::Record;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::slice;

/// The versions of one revision that are retained, in order; one at least.
#[derive(Clone)]
pub(crate) enum Made {
    One(Arc<Record>),
    Many(Arc<Vec<Arc<Record>>>),
}

impl Made {
    /// None of none.
    pub fn new(mut records: Vec<Arc<Record>>) -> Option<Self> {
        assert!(records.is_sorted_by(|a, b| a.age() < b.age()), "in the order they were made in");
        if records.len() > 1 {
            records.shrink_to_fit();
            return Some(Self::Many(Arc::new(records)));
        }
        records.pop().map(Self::One)
    }

    pub fn records(&self) -> &[Arc<Record>] {
        match self {
            Self::One(record) => slice::from_ref(record),
            Self::Many(records) => records,
        }
    }
}

/// The one of a revision that was made at this position of it.
pub(crate) fn find(records: &[Arc<Record>], sub: u32) -> Option<&Arc<Record>> {
    let at = records.binary_search_by_key(&sub, |record| record.sub);
    Some(&records[at.ok()?])
}
