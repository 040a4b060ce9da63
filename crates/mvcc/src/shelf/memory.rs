//! A volume in memory: records by age, found by their revision in a step or two.

use crate::key_value::version_bytes;
use crate::values::Age;
use crate::version::Record;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Records of one piece of a volume's table, about.
const PIECE: usize = 8;

/// What was retained of the revisions from `first` to the one before `end`.
pub(crate) struct Memory {
    first: i64,
    end: i64,
    /// In order of age.
    records: Vec<Arc<Record>>,
    /// Of each record its revision, counted from `first`: to be searched without touching it.
    revisions: Vec<u64>,
    /// For each stretch of `1 << shift` revisions how many records are before it.
    pieces: Vec<u32>,
    shift: u32,
    bytes: u64,
}

impl Memory {
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
        let of = |record: &Arc<Record>| version_bytes(record.kv.key.len(), record.kv.value.len());
        let bytes = records.iter().map(of).sum();
        Self { first, end, records, revisions, pieces, shift, bytes }
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

    pub fn first(&self) -> i64 {
        self.first
    }

    pub fn end(&self) -> i64 {
        self.end
    }

    pub fn records(&self) -> &[Arc<Record>] {
        &self.records
    }

    /// As the quota counts them.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Those at or behind this age.
    pub fn from(&self, age: Age) -> &[Arc<Record>] {
        let from = self.before(age.0);
        let earlier = self.records[from..].iter().take_while(|record| record.age() < age).count();
        &self.records[from + earlier..]
    }

    pub fn of(&self, revision: i64) -> &[Arc<Record>] {
        let from = self.before(revision);
        let is_it = |record: &&Arc<Record>| record.kv.mod_revision == revision;
        let len = self.records[from..].iter().take_while(is_it).count();
        &self.records[from..from + len]
    }
}
