//! Which versions a compaction leaves, and how far the sums over the retained ones have come with
//! that.

use crate::index::Facts;
use base::Blob;

/// How far what is dead is out of the sums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sweep {
    /// Whatever is dead at this compact revision is.
    pub done: i64,
    /// Where the pass under way takes them to: a compact revision, perhaps not the last one.
    pub target: i64,
    /// The last version that the pass has looked at, by key and then by age.
    pub upto: Option<(Blob, (i64, u32))>,
}

impl Sweep {
    pub const fn done(compact_revision: i64) -> Self {
        Self { done: compact_revision, target: compact_revision, upto: None }
    }

    /// The compact revision at which this version is looked at: dead by then it is not retained.
    pub fn compacted(&self, key: &[u8], age: (i64, u32)) -> i64 {
        match &self.upto {
            Some((upto, last)) if (key, age) <= (upto, *last) => self.target,
            _ => self.done,
        }
    }
}

/// Whether nobody can see a version any more once all up to `compacted` is compacted: of every key
/// there stay the newest version at or before that revision and all later ones. A tombstone goes,
/// unless it is of the revision itself: a watch may still start there.
pub(crate) fn is_dead(version: &Facts, newer: Option<&Facts>, compacted: i64) -> bool {
    assert!(newer.is_none_or(|newer| version.age() < newer.age()), "it is newer");
    let superseded = newer.is_some_and(|newer| newer.mod_revision <= compacted);
    superseded || (version.tombstone && version.mod_revision < compacted)
}
