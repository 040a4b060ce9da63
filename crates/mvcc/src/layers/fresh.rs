//! Versions made between two revisions, in maps.

use crate::index::Facts;
use crate::made::Made;
use crate::map::{Map, Weight};
use crate::table::Table;
use crate::values::Age;
use crate::version::{Old, Record};
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::{Blob, planted};

/// The newest version of a key in one layer of maps.
#[derive(Clone)]
pub(super) struct Top {
    pub record: Arc<Record>,
    /// Whether the key lives in the layers below.
    pub below: bool,
}

/// Bits of one of the three counts in a weight.
const COUNT_BITS: u32 = 42;

/// Three counts side by side: keys that live here and not below, those that are dead here and live
/// below, and those that live in both. What is dead in both weighs nothing: nobody who looks for
/// what lives has to see it.
impl Weight for Top {
    fn weight(&self) -> u128 {
        match (!self.record.tombstone, self.below) {
            (true, false) => 1 << (2 * COUNT_BITS),
            (false, true) => 1 << COUNT_BITS,
            (true, true) => 1,
            (false, false) => 0,
        }
    }
}

/// Of so many entries those that are dead here and live below.
pub(super) fn hidden(weight: u128) -> u128 {
    (weight >> COUNT_BITS) & ((1 << COUNT_BITS) - 1)
}

/// What so many entries add to the live keys.
pub(super) fn added(weight: u128) -> i64 {
    let count = |n: u128| i64::try_from(n).expect("a count has 42 bits");
    count(weight >> (2 * COUNT_BITS)) - count(hidden(weight))
}

/// Versions made between two revisions.
#[derive(Clone, Default)]
pub(super) struct Fresh {
    pub tops: Map<Blob, Top>,
    /// Those that a later one of the same layer superseded.
    older: Map<Old, ()>,
    /// What every revision made, counted from the one that this is behind.
    made: Table<Made>,
    behind: i64,
    /// Bytes of keys and values.
    pub bytes: usize,
}

/// Of its key and its value.
fn bytes_of(record: &Record) -> usize {
    record.kv.key.len() + record.kv.value.len()
}

impl Fresh {
    /// Of revisions behind this one.
    pub fn behind(revision: i64) -> Self {
        Self { behind: revision, ..Self::default() }
    }

    /// The versions of the first revision that has some at or behind this age.
    pub fn from(&self, (revision, sub): Age) -> Option<&[Arc<Record>]> {
        let ahead = |(at, records): (i64, _)| -> &[Arc<Record>] {
            let records: &[Arc<Record>] = records;
            let earlier = |record: &&Arc<Record>| at == revision && record.sub < sub;
            &records[records.iter().take_while(earlier).count()..]
        };
        self.made_from(revision).map(ahead).find(|records| !records.is_empty())
    }

    /// Takes what a revision made, which is behind all others.
    pub fn add_made(&mut self, revision: i64, made: Made) {
        assert!(revision > self.behind, "what is made is later than what settles");
        let old = self.made.insert(revision - self.behind, made);
        assert!(old.is_none(), "a revision is made once");
    }

    /// The last revision of which a version is here.
    pub fn last_made(&self) -> Option<i64> {
        self.made.last().map(|(at, _)| self.behind + at)
    }

    /// Makes this version the newest of its key, which lives before it or not.
    pub fn push(&mut self, record: Arc<Record>, lives: bool) {
        self.bytes += bytes_of(&record);
        let key = record.kv.key.clone();
        // Its whole path is copied where a view holds it: no second walk to look for the key.
        let Some(old) = self.tops.insert(key.clone(), Top { record, below: lives }) else {
            return;
        };
        if old.below != lives && !planted!(BelowForgotten) {
            let top = self.newest(&key).expect("it was just put").clone();
            self.tops.insert(key, Top { record: top, below: old.below });
        }
        self.supersede(old.record);
    }

    /// As [`Fresh::push`], of keys that all live and go in order.
    pub fn push_run(&mut self, run: &[Arc<Record>]) {
        let mut new = Vec::with_capacity(run.len());
        for record in run {
            match self.tops.get(&*record.kv.key) {
                Some(_) => self.push(record.clone(), true),
                None => {
                    self.bytes += bytes_of(record);
                    new.push((record.kv.key.clone(), Top { record: record.clone(), below: true }));
                }
            }
        }
        self.tops.insert_run(new);
    }

    /// All versions of each of these keys, which go in order: oldest first, and whether the key
    /// lives below.
    ///
    /// Panics when there is something already.
    pub fn load(&mut self, keys: &[(&[Arc<Record>], bool)]) {
        assert_eq!(self.len(), 0, "nothing is fresh");
        let (mut tops, mut older) = (Vec::with_capacity(keys.len()), Vec::new());
        for (versions, below) in keys {
            self.bytes += versions.iter().map(|record| bytes_of(record)).sum::<usize>();
            let (newest, rest) = versions.split_last().expect("a key has a version");
            let top = Top { record: newest.clone(), below: *below };
            tops.push((newest.kv.key.clone(), top));
            older.extend(rest.iter().map(|record| (Old(record.clone()), ())));
        }
        self.tops.insert_run(tops);
        self.older.insert_run(older);
    }

    pub fn len(&self) -> usize {
        self.tops.len() + self.older.len()
    }

    pub fn of(&self, revision: i64) -> &[Arc<Record>] {
        self.made.get(revision - self.behind).map_or(&[], Made::records)
    }

    pub fn made_from(&self, revision: i64) -> impl Iterator<Item = (i64, &[Arc<Record>])> {
        let made = self.made.iter_from(revision.saturating_sub(self.behind));
        made.map(|(at, made)| (self.behind + at, made.records()))
    }

    fn supersede(&mut self, old: Arc<Record>) {
        let twice = self.older.insert(Old(old), ());
        assert!(twice.is_none(), "a version is superseded once");
    }

    pub fn newest(&self, key: &[u8]) -> Option<&Arc<Record>> {
        self.tops.get(key).map(|top| &top.record)
    }

    pub fn at(&self, key: &Blob, revision: i64) -> Option<&Arc<Record>> {
        let newest = self.newest(key)?;
        if newest.kv.mod_revision <= revision {
            return Some(newest);
        }
        let (found, ()) = self.older.floor(&Old::at(key.clone(), revision, u32::MAX))?;
        (found.kv.key == *key).then_some(&found.0)
    }

    /// From revision `from` on, oldest first, while `each` wants them; whether it wants more.
    pub fn each_from(&self, key: &Blob, from: i64, each: &mut impl FnMut(&Facts) -> bool) -> bool {
        let Some(newest) = self.newest(key) else { return true };
        let low = Old::at(key.clone(), from, 0);
        let mut older = self.older.iter_from(&low, false).map(|(old, ())| old);
        older.by_ref().take_while(|old| old.kv.key == *key).all(|old| each(&old.facts()))
            && (newest.kv.mod_revision < from || each(&newest.facts()))
    }

    /// Newest first.
    pub fn versions(&self, key: &Blob, out: &mut Vec<Facts>) {
        let Some(newest) = self.newest(key) else { return };
        out.push(newest.facts());
        let from = Old::at(key.clone(), i64::MIN, 0);
        let older = self.older.iter_from(&from, false).map(|(old, ())| old);
        let older: Vec<Facts> =
            older.take_while(|old| old.kv.key == *key).map(|old| old.facts()).collect();
        out.extend(older.iter().rev());
    }
}
