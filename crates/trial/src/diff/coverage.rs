//! What a run exercised: options of requests and texts of refusals, each with its count.

mod rows;

use std::collections::BTreeMap;

use super::answer::Answer;
use super::step::Step;

use rows::note;

/// Requests of the run that the counts of [`Row::full`] are meant for.
pub const FULL_RUN: u64 = 100_000;

/// A shorter run needs a quarter of its share: chance has a larger part in it.
const SHORT_RUN_DIVISOR: u64 = 4;

/// The least count in a run of so many requests of a row with this one in a full run.
fn least(full: u64, requests: u64) -> u64 {
    if requests >= FULL_RUN { full } else { full * requests / FULL_RUN / SHORT_RUN_DIVISOR }
}

/// Counts by row.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    counts: BTreeMap<String, u64>,
}

impl Coverage {
    /// Counts a step as sent and the real etcd's answer to it.
    pub fn add(&mut self, sent: &Step, etcd: &Answer) {
        note(sent, etcd, &mut |row| *self.counts.entry(row).or_default() += 1);
    }

    /// Counts something else.
    pub fn count(&mut self, row: &str, times: u64) {
        *self.counts.entry(row.to_owned()).or_default() += times;
    }

    pub fn merge(&mut self, other: Self) {
        for (row, times) in other.counts {
            *self.counts.entry(row).or_default() += times;
        }
    }

    /// Prints every row with its count; false when one is under what a run of so many requests
    /// must have.
    pub fn print(&self, requests: u64) -> bool {
        let mut enough = true;
        println!("\n   count  at least  what");
        for row in rows::ROWS {
            let count = self.counts.get(row.name).copied().unwrap_or(0);
            let least = least(row.full, requests);
            let mark = if count < least { " <- too few" } else { "" };
            println!("{count:8}  {least:8}  {}{mark}", row.name);
            enough &= count >= least;
        }
        let listed = |name: &str| rows::ROWS.iter().any(|row| row.name == name);
        for (name, count) in self.counts.iter().filter(|(name, _)| !listed(name)) {
            println!("{count:8}         -  {name} (not listed)");
        }
        println!();
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_under_its_count_is_noticed_and_short_runs_need_less() {
        let mut coverage = Coverage::default();
        for row in rows::ROWS {
            coverage.count(row.name, row.full);
        }
        assert!(coverage.print(FULL_RUN));
        assert!(coverage.print(10 * FULL_RUN), "longer runs need no more");
        assert_eq!(
            [least(500, FULL_RUN), least(500, FULL_RUN - 1), least(500, 5_000)],
            [500, 124, 6]
        );
        let mut none = Coverage::default();
        assert!(none.print(0));
        none.count("put", 1);
        assert!(!none.print(FULL_RUN));
    }

    #[test]
    fn every_row_is_listed_once() {
        let mut names: Vec<_> = rows::ROWS.iter().map(|row| row.name).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
