//! etcd's `HashKV` (`server/storage/mvcc/hash.go`) in slices.

use crate::budget::{Budget, units};
use crate::command::Error;
use crate::hash::{HashKv, marshal, revision_key};
use crate::sorter::Sorter;
use crate::version::{Old, Record};
use crate::view::View;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::{Blob, LogIndex, crc};

type Rows = Vec<Arc<Record>>;

/// One hash, begun and not ended. It holds no view: whoever runs it gives it the one that it began
/// on, each time.
pub struct HashKvWork {
    revision: i64,
    applied: LogIndex,
    rows: Sorter<Arc<Record>>,
    stage: Stage,
}

enum Stage {
    /// Behind this key of the newest versions, and then of the superseded ones.
    Current(Option<Blob>),
    Old(Option<Old>),
    Sort,
    /// Whether any of the rows is kept; those before this one are not.
    Keeps(Rows, usize),
    Hash {
        rows: Rows,
        at: usize,
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
        let by_age = |a: &Arc<Record>, b: &Arc<Record>| {
            (a.kv.mod_revision, a.sub).cmp(&(b.kv.mod_revision, b.sub))
        };
        let rows = Sorter::new(by_age, usize::MAX);
        Ok(Self { revision, applied: view.applied, rows, stage: Stage::Current(None) })
    }

    /// Goes on for as long as the budget lasts; the answer once it is whole.
    ///
    /// Panics when `view` is not the one that the work began on.
    pub fn run(&mut self, view: &View, budget: &mut Budget) -> Option<HashKv> {
        assert_eq!(view.applied, self.applied, "one view is hashed");
        loop {
            if !budget.is_left() {
                return None;
            }
            self.stage = match core::mem::replace(&mut self.stage, Stage::Done) {
                Stage::Current(after) => self.take_current(view, after, budget),
                Stage::Old(after) => self.take_old(view, after, budget),
                Stage::Sort => {
                    let rows = self.rows.finish(budget);
                    rows.map_or(Stage::Sort, |rows| Stage::Keeps(rows, 0))
                }
                Stage::Keeps(rows, at) => self.keeps_any(view, rows, at, budget),
                Stage::Hash { rows, at, keep_any, hash } => {
                    let (at, hash) = self.hash(view, (&rows, at, keep_any), hash, budget);
                    if at == rows.len() {
                        let compact_revision = view.compact_revision;
                        return Some(HashKv {
                            hash,
                            compact_revision,
                            hash_revision: self.revision,
                        });
                    }
                    Stage::Hash { rows, at, keep_any, hash }
                }
                Stage::Done => unreachable!("it was answered"),
            };
        }
    }

    fn take(&mut self, view: &View, record: &Arc<Record>, budget: &mut Budget) {
        budget.spend(1);
        let is_void = || view.is_sweeping() && view.is_void(record);
        if record.kv.mod_revision <= self.revision && !is_void() {
            self.rows.push(record.clone());
        }
    }

    fn take_current(&mut self, view: &View, after: Option<Blob>, budget: &mut Budget) -> Stage {
        let from = after.clone().unwrap_or_default();
        let mut all = view.current.iter_from(&from, false);
        let mut last = after.as_ref();
        while budget.is_left() {
            let Some((key, record)) = all.next() else { return Stage::Old(None) };
            if Some(key) != after.as_ref() {
                self.take(view, record, budget);
            }
            last = Some(key);
        }
        Stage::Current(last.cloned())
    }

    fn take_old(&mut self, view: &View, after: Option<Old>, budget: &mut Budget) -> Stage {
        let from = after.clone().unwrap_or_else(Old::first);
        let mut all = view.old.iter_from(&from, false);
        let mut last = after.as_ref();
        while budget.is_left() {
            let Some((old, ())) = all.next() else { return Stage::Sort };
            if Some(old) != after.as_ref() {
                self.take(view, old, budget);
            }
            last = Some(old);
        }
        Stage::Old(last.map(Old::place))
    }

    /// Whether the row is what is left of its key at the revision.
    fn keeps(&self, view: &View, row: &Record) -> bool {
        assert!(row.kv.mod_revision <= self.revision, "later rows were not taken");
        let kept = view.live_at(&row.kv.key, self.revision);
        kept.is_some_and(|kept| (kept.kv.mod_revision, kept.sub) == (row.kv.mod_revision, row.sub))
    }

    /// etcd skips nothing when nothing is to be kept.
    fn keeps_any(&self, view: &View, rows: Rows, mut at: usize, budget: &mut Budget) -> Stage {
        let hash = crc::crc32c(b"key");
        while budget.is_left() {
            let Some(row) = rows.get(at) else {
                return Stage::Hash { rows, at: 0, keep_any: false, hash };
            };
            budget.spend(1);
            if self.keeps(view, row) {
                return Stage::Hash { rows, at: 0, keep_any: true, hash };
            }
            at += 1;
        }
        Stage::Keeps(rows, at)
    }

    /// How many rows are hashed then, and their hash.
    fn hash(
        &self,
        view: &View,
        (rows, mut at, keep_any): (&[Arc<Record>], usize, bool),
        mut hash: u32,
        budget: &mut Budget,
    ) -> (usize, u32) {
        let mut bytes = Vec::new();
        assert!(at <= rows.len(), "a row is hashed once");
        while let Some(row) = rows.get(at)
            && budget.is_left()
        {
            budget.spend(units(row.kv.value.len()));
            at += 1;
            let main = row.kv.mod_revision;
            debug_assert!(at < 2 || rows[at - 2].kv.mod_revision <= main, "in order of age");
            if main <= view.compact_revision && keep_any && !self.keeps(view, row) {
                continue;
            }
            if main == view.compact_revision && row.tombstone {
                continue;
            }
            bytes.clear();
            revision_key(main, row.sub.into(), row.tombstone, &mut bytes);
            marshal(&row.kv, row.tombstone, &mut bytes);
            hash = crc::crc32c_append(hash, &bytes);
        }
        (at, hash)
    }
}

impl View {
    /// etcd's `HashKV` at `revision`, at once.
    ///
    /// # Errors
    /// As [`HashKvWork::start`].
    pub fn hash_kv(&self, revision: i64) -> Result<HashKv, Error> {
        let mut work = HashKvWork::start(self, revision)?;
        Ok(work.run(self, &mut Budget::endless()).expect("the budget is endless"))
    }
}
