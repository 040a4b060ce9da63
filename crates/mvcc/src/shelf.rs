//! Versions that have settled, in volumes by revision: each holds what was retained of an interval,
//! in the order in which it was made, and never changes. What compaction ends stays until more than
//! half of a volume is dead; then that one is made anew, alone.

use crate::version::Record;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::planted;
use core::slice;

/// Where a version stands among all: its revision, and its position within that.
pub(crate) type Age = (i64, u32);

/// Records of one piece of a volume's table, about.
const PIECE: usize = 8;

/// What was retained of the revisions from `first` to the one before `end`.
pub(crate) struct Volume {
    first: i64,
    end: i64,
    /// In order of age.
    records: Vec<Arc<Record>>,
    /// Of each record its revision, counted from `first`: to be searched without touching it.
    revisions: Vec<u64>,
    /// For each stretch of `1 << shift` revisions how many records are before it.
    pieces: Vec<u32>,
    shift: u32,
}

impl Volume {
    pub fn new(first: i64, end: i64, records: Vec<Arc<Record>>) -> Self {
        assert!(first < end, "an interval holds a revision");
        assert!(records.is_sorted_by(|a, b| a.age() < b.age()), "in the order they were made in");
        let is_inside = |record: &Arc<Record>| (first..end).contains(&record.kv.mod_revision);
        let inside = |record: Option<&Arc<Record>>| record.is_none_or(is_inside);
        assert!(inside(records.first()) && inside(records.last()), "all are of the interval");
        let of = |record: &Arc<Record>| record.kv.mod_revision.abs_diff(first);
        let revisions: Vec<u64> = records.iter().map(of).collect();
        let span = end.abs_diff(first);
        let a_piece = span.saturating_mul(PIECE as u64) / records.len().max(1) as u64;
        let shift = a_piece.max(1).ilog2();
        let last = usize::try_from((span - 1) >> shift).expect("no more than there are records");
        let before = |piece: usize| {
            let upto = revisions.partition_point(|at| at >> shift < piece as u64);
            u32::try_from(upto).expect("a volume is far below 4 G versions")
        };
        let pieces = (0..=last).map(before).collect();
        Self { first, end, records, revisions, pieces, shift }
    }

    /// How many records are before this revision.
    fn before(&self, revision: i64) -> usize {
        if revision <= self.first {
            return 0;
        }
        if revision >= self.end {
            return self.records.len();
        }
        let at = revision.abs_diff(self.first);
        let piece = usize::try_from(at >> self.shift).expect("it is inside");
        let from = self.pieces[piece] as usize;
        let upto = self.pieces.get(piece + 1).map_or(self.records.len(), |next| *next as usize);
        from + self.revisions[from..upto].partition_point(|here| *here < at)
    }

    fn of(&self, revision: i64) -> &[Arc<Record>] {
        let from = self.before(revision);
        let is_it = |record: &&Arc<Record>| record.kv.mod_revision == revision;
        let len = self.records[from..].iter().take_while(is_it).count();
        &self.records[from..from + len]
    }
}

#[derive(Clone)]
struct Shelved {
    volume: Arc<Volume>,
    /// Records that the index knows no longer.
    dead: usize,
}

/// By rising revisions, without a gap between them.
#[derive(Clone, Default)]
pub(crate) struct Shelf(Arc<Vec<Shelved>>);

impl Shelf {
    fn volumes_from(&self, revision: i64) -> slice::Iter<'_, Shelved> {
        let from = self.0.partition_point(|shelved| shelved.volume.end <= revision);
        self.0[from..].iter()
    }

    /// All versions of one revision that are here, dead ones among them, in order.
    pub fn of(&self, revision: i64) -> &[Arc<Record>] {
        let found = self.volumes_from(revision).next();
        found.map_or(&[], |shelved| shelved.volume.of(revision))
    }

    /// All versions from this revision on, dead ones among them, revision by revision.
    pub fn from(&self, revision: i64) -> impl Iterator<Item = (i64, &[Arc<Record>])> {
        let records = self
            .volumes_from(revision)
            .map(move |Shelved { volume, .. }| &volume.records[volume.before(revision)..]);
        let of_one = |a: &Arc<Record>, b: &Arc<Record>| a.kv.mod_revision == b.kv.mod_revision;
        let revisions = records.flat_map(move |records| records.chunk_by(of_one));
        revisions.map(|here| (here[0].kv.mod_revision, here))
    }

    /// The last revision that something is left of.
    pub fn last(&self) -> Option<i64> {
        let last = |shelved: &Shelved| Some(shelved.volume.records.last()?.kv.mod_revision);
        self.0.iter().rev().find_map(last)
    }

    /// With a volume of later revisions, if there is one. `gone` are those that the index knows
    /// since then no longer, `is_kept` says which it knows.
    pub fn with(
        &self,
        volume: Option<Volume>,
        gone: &[Age],
        is_kept: impl Fn(&Record) -> bool,
    ) -> Self {
        let mut all = Vec::clone(&self.0);
        let end = all.last().map(|last| last.volume.end);
        if let Some(volume) = volume {
            assert!(end.is_none_or(|end| end == volume.first), "no revision is in none or in two");
            all.push(Shelved { volume: Arc::new(volume), dead: 0 });
        }
        for (revision, _) in gone {
            let at = all.partition_point(|shelved| shelved.volume.end <= *revision);
            let shelved = &mut all[at];
            shelved.dead += 1;
            assert!(shelved.dead <= shelved.volume.records.len(), "a version goes once");
        }
        for shelved in &mut all {
            if shelved.dead * 2 > shelved.volume.records.len() {
                let Volume { first, end, ref records, .. } = *shelved.volume;
                let kept = records.iter().filter(|r| is_kept(r)).cloned();
                let kept: Vec<_> = kept.skip(usize::from(planted!(LivingCollected))).collect();
                let counted = kept.len() + shelved.dead == records.len();
                assert!(counted || planted!(LivingCollected), "the dead are counted");
                *shelved = Shelved { volume: Arc::new(Volume::new(first, end, kept)), dead: 0 };
            }
        }
        Self(Arc::new(join(all)))
    }
}

/// Joins neighbours until each volume is more than twice as large as the one behind it: few are
/// searched, and a version is copied a logarithmic number of times.
fn join(all: Vec<Shelved>) -> Vec<Shelved> {
    let mut joined: Vec<Shelved> = Vec::new();
    for mut shelved in all {
        while let Some(last) = joined.pop() {
            if last.volume.records.len() > 2 * shelved.volume.records.len() {
                joined.push(last);
                break;
            }
            let records = [&last.volume.records[..], &shelved.volume.records].concat();
            let volume = Volume::new(last.volume.first, shelved.volume.end, records);
            let dead = last.dead + shelved.dead;
            shelved = Shelved { volume: Arc::new(volume), dead };
        }
        joined.push(shelved);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyValue;
    use alloc::collections::BTreeMap;
    use base::{Blob, Prng};

    fn record((mod_revision, sub): Age) -> Arc<Record> {
        let kv = KeyValue { key: Blob::from(&b"k"[..]), mod_revision, ..KeyValue::default() };
        Arc::new(Record::new(kv, sub))
    }

    #[test]
    fn a_shelf_holds_what_is_put_there_until_more_than_half_of_a_volume_is_gone() {
        for seed in 0..30 {
            let mut p = Prng::new(seed);
            let (mut shelf, mut twin, mut end) = (Shelf::default(), BTreeMap::new(), 2);
            let mut all = 0;
            for _ in 0..40 {
                let first = end;
                let mut records = Vec::new();
                for _ in 0..p.below(60) {
                    let age = match records.last().map(|r: &Arc<Record>| r.age()) {
                        Some((revision, sub)) if p.below(3) == 0 => (revision, sub + 1),
                        _ => (end, 0),
                    };
                    end = age.0 + if p.below(20) == 0 { 900 } else { 1 };
                    records.push(record(age));
                }
                let new = (end > first).then(|| Volume::new(first, end, records.clone()));
                all += records.len();
                twin.extend(records.into_iter().map(|r| (r.age(), r)));
                let goes = p.below(3);
                let gone: Vec<Age> = twin.keys().filter(|_| p.below(4) < goes).copied().collect();
                gone.iter().for_each(|age| drop(twin.remove(age)));
                shelf = shelf.with(new, &gone, |r| twin.contains_key(&r.age()));
                assert_is(&shelf, &twin, &mut p, end);
                let held: usize = shelf.0.iter().map(|x| x.volume.records.len()).sum();
                assert!(held <= 2 * twin.len() && held <= all, "{held} for {}", twin.len());
                assert!(shelf.0.len() <= 12, "few are searched");
            }
        }
    }

    fn assert_is(shelf: &Shelf, twin: &BTreeMap<Age, Arc<Record>>, p: &mut Prng, end: i64) {
        let from = 2 + p.below(end.unsigned_abs()).cast_signed();
        for from in [from, 0, end] {
            let here = shelf.from(from).flat_map(|(revision, records)| {
                assert!(records.iter().all(|r| r.kv.mod_revision == revision));
                assert!(core::ptr::eq(shelf.of(revision), records), "found alone as in a row");
                records
            });
            let kept: Vec<Age> = here.map(|r| r.age()).filter(|x| twin.contains_key(x)).collect();
            assert!(kept.iter().eq(twin.range((from, 0)..).map(|(age, _)| age)));
        }
        assert!(shelf.last() >= twin.keys().next_back().map(|(revision, _)| *revision));
    }

    #[test]
    fn who_was_there_before_sees_what_was_there() {
        let shelf = Shelf::default().with(
            Some(Volume::new(2, 9, (2..9).map(|n| record((n, 0))).collect())),
            &[],
            |_| true,
        );
        let held = shelf.clone();
        let gone: Vec<Age> = (2..8).map(|n| (n, 0)).collect();
        let after = shelf.with(None, &gone, |r| r.kv.mod_revision == 8);
        assert_eq!(held.from(0).count(), 7);
        assert_eq!(after.from(0).map(|(revision, _)| revision).collect::<Vec<_>>(), [8]);
        assert!(after.of(3).is_empty() && after.of(1).is_empty() && after.of(9).is_empty());
        assert_eq!(after.last(), Some(8));
    }
}
