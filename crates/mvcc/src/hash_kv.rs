//! etcd's `HashKV` (`server/storage/mvcc/hash.go`) in slices.

use crate::budget::{Budget, units};
use crate::command::Error;
use crate::hash::{HashKv, marshal, revision_key};
use crate::values::{InMemory, Values};
use crate::version::Record;
use crate::view::View;
use crate::walk::{Step, Walk};
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::{LogIndex, crc};

/// One hash, begun and not ended. It holds no view: whoever runs it gives it the one that it began
/// on, each time.
pub struct HashKvWork {
    revision: i64,
    applied: LogIndex,
    /// Where it goes on.
    walk: Walk,
    stage: Stage,
}

enum Stage {
    /// Whether any of the rows is kept.
    Keeps,
    Hash {
        keep_any: bool,
        hash: u32,
    },
    Done,
}

impl HashKvWork {
    /// At `revision` (0: the newest; a negative one, as in etcd, hashes nothing).
    ///
    /// # Errors
    /// `Compacted`, `FutureRevision`.
    pub fn start(view: &View, revision: i64) -> Result<Self, Error> {
        if revision > 0 && revision < view.compact_revision {
            return Err(Error::Compacted);
        }
        if revision > view.revision {
            return Err(Error::FutureRevision);
        }
        let revision = if revision == 0 { view.revision } else { revision };
        assert!(revision <= view.revision, "what is hashed is there");
        let walk = Walk::new((0, 0));
        Ok(Self { revision, applied: view.applied, walk, stage: Stage::Keeps })
    }

    /// Goes on for as long as the budget lasts, and what it needs is at hand; the answer once it is
    /// whole.
    ///
    /// Panics when `view` is not the one that the work began on.
    pub fn run(
        &mut self,
        view: &View,
        values: &mut dyn Values,
        budget: &mut Budget,
    ) -> Option<HashKv> {
        assert_eq!(view.applied, self.applied, "one view is hashed");
        loop {
            if !budget.is_left() {
                return None;
            }
            match self.stage {
                Stage::Keeps => {
                    let keep_any = self.keeps_any(view, values, budget)?;
                    let hash = crc::crc32c(b"key");
                    (self.stage, self.walk) = (Stage::Hash { keep_any, hash }, Walk::new((0, 0)));
                }
                Stage::Hash { keep_any, ref mut hash } => {
                    let mut so_far = *hash;
                    let done = self.hash(view, keep_any, &mut so_far, (values, budget));
                    self.stage = Stage::Hash { keep_any, hash: so_far };
                    if !done {
                        return None;
                    }
                    self.stage = Stage::Done;
                    let (compact_revision, hash_revision) = (view.compact_revision, self.revision);
                    return Some(HashKv { hash: so_far, compact_revision, hash_revision });
                }
                Stage::Done => unreachable!("it was answered"),
            }
        }
    }

    /// The next row that is hashed, in order of age; Err when what follows is not at hand.
    fn row(&mut self, view: &View, values: &mut dyn Values) -> Result<Option<Arc<Record>>, ()> {
        loop {
            match self.walk.next(&view.layers, values) {
                Step::Missing => return Err(()),
                Step::End => return Ok(None),
                Step::Version(row) if row.kv.mod_revision > self.revision => return Ok(None),
                Step::Version(row) if view.is_retained(&row) && !view.is_void(&row) => {
                    return Ok(Some(row));
                }
                Step::Version(_) => {}
            }
        }
    }

    /// Whether the row is what is left of its key at the revision.
    fn keeps(&self, view: &View, row: &Record) -> bool {
        assert!(row.kv.mod_revision <= self.revision, "later rows are none");
        let kept = view.live_at(&row.kv.key, self.revision);
        kept.is_some_and(|kept| kept.age() == row.age())
    }

    /// etcd skips nothing when nothing is to be kept.
    fn keeps_any(
        &mut self,
        view: &View,
        values: &mut dyn Values,
        budget: &mut Budget,
    ) -> Option<bool> {
        while budget.is_left() {
            let Some(row) = self.row(view, values).ok()? else { return Some(false) };
            if self.keeps(view, &row) {
                return Some(true);
            }
            budget.spend(1);
        }
        None
    }

    /// Whether all rows are hashed by now.
    fn hash(
        &mut self,
        view: &View,
        keep_any: bool,
        hash: &mut u32,
        (values, budget): (&mut dyn Values, &mut Budget),
    ) -> bool {
        let mut bytes = Vec::new();
        while budget.is_left() {
            let row = match self.row(view, values) {
                Err(()) => return false,
                Ok(None) => return true,
                Ok(Some(row)) => row,
            };
            budget.spend(units(row.kv.value.len()));
            let main = row.kv.mod_revision;
            if main <= view.compact_revision && keep_any && !self.keeps(view, &row) {
                continue;
            }
            if main == view.compact_revision && row.tombstone {
                continue;
            }
            bytes.clear();
            revision_key(main, row.sub.into(), row.tombstone, &mut bytes);
            marshal(&row.kv, row.tombstone, &mut bytes);
            *hash = crc::crc32c_append(*hash, &bytes);
        }
        false
    }
}

impl View {
    /// etcd's `HashKV` at `revision`, at once, of a store that has all in memory.
    ///
    /// # Errors
    /// As [`HashKvWork::start`].
    pub fn hash_kv(&self, revision: i64) -> Result<HashKv, Error> {
        let mut work = HashKvWork::start(self, revision)?;
        Ok(work.run(self, &mut InMemory, &mut Budget::endless()).expect("the budget is endless"))
    }
}
