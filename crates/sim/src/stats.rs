//! What a life amounted to.

use crate::disk::DiskCounts;
use std::collections::BTreeMap;

/// Counts of one life, or of many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub events: u64,
    /// Operations whose outcome was known and checked.
    pub ops_done: u64,
    pub ops_refused: u64,
    pub ops_unknown: u64,
    pub watch_events: u64,
    pub elections: u64,
    pub checkpoints: u64,
    pub merges: u64,
    pub installs: u64,
    pub starts: u64,
    /// Torn tails cut at a start.
    pub cuts: u64,
    /// What watchers heard, by kind.
    pub watches: BTreeMap<&'static str, u64>,
    /// Changes of members and quorum, by what came of them.
    pub changes: BTreeMap<&'static str, u64>,
    /// Faults that took effect, by name.
    pub faults: BTreeMap<&'static str, u64>,
}

impl Stats {
    pub fn fault(&mut self, name: &'static str) {
        self.faults(name, 1);
    }

    pub fn faults(&mut self, name: &'static str, n: u64) {
        if n > 0 {
            *self.faults.entry(name).or_insert(0) += n;
        }
    }

    pub fn watch(&mut self, name: &'static str) {
        *self.watches.entry(name).or_insert(0) += 1;
    }

    pub fn change(&mut self, name: &'static str) {
        *self.changes.entry(name).or_insert(0) += 1;
    }

    pub fn disk(&mut self, counts: &DiskCounts) {
        self.faults("unsynced-lost", counts.lost_whole);
        self.faults("unsynced-prefix", counts.lost_prefix);
        self.faults("unsynced-sectors", counts.lost_sectors);
        self.faults("names-lost", counts.lost_names);
        self.faults("power-mid-operation", counts.crash_points);
        self.faults("sync-failed", counts.sync_failed);
        self.faults("disk-full", counts.full);
        self.faults("read-rot", counts.rot_read);
        self.faults("rest-rot", counts.rot_rest);
        self.faults("bad-sector", counts.bad_sectors);
        self.faults("bad-sector-read", counts.bad_reads);
        self.faults("misdirected-write", counts.misdirected);
    }

    /// Faults of all kinds.
    pub fn faults_all(&self) -> u64 {
        self.faults.values().sum()
    }

    pub fn ops(&self) -> u64 {
        self.ops_done + self.ops_refused + self.ops_unknown
    }

    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.ops_done += other.ops_done;
        self.ops_refused += other.ops_refused;
        self.ops_unknown += other.ops_unknown;
        self.watch_events += other.watch_events;
        self.elections += other.elections;
        self.checkpoints += other.checkpoints;
        self.merges += other.merges;
        self.installs += other.installs;
        self.starts += other.starts;
        self.cuts += other.cuts;
        for (name, n) in &other.watches {
            *self.watches.entry(name).or_insert(0) += n;
        }
        for (name, n) in &other.changes {
            *self.changes.entry(name).or_insert(0) += n;
        }
        for (name, n) in &other.faults {
            self.faults(name, *n);
        }
    }
}
