//! The rows: what is loaded, and what one client then asks of the leader.

mod cancels;
mod entries;
mod reads;
mod watches;

use std::time::Duration;

use anyhow::{Result, ensure};

use super::stage::Stage;

/// What a row's own requests met.
#[derive(Clone, Debug, Default)]
pub struct Work {
    pub note: String,
    pub wrong: Option<String>,
    /// The leader's CPU after a cancel, idle use included; the worst round.
    pub cancelled_cpu: Option<Duration>,
    /// Keys one entry touched, and how long it took.
    pub entry: Option<(u64, Duration)>,
}

/// One row.
#[derive(Debug)]
pub struct Row {
    pub name: &'static str,
    pub what: &'static str,
    /// Whether `/health` and reads are asked everywhere: the rows with one long entry.
    pub apart: bool,
    /// Loads, and gives what the work has to know: a revision, a lease.
    pub load: fn(&Stage) -> Result<i64>,
    pub work: fn(&Stage, i64) -> Result<Work>,
}

/// The reference: nothing but the probe.
pub const QUIET: Row = Row {
    name: "quiet",
    what: "nothing else",
    apart: false,
    load: nothing,
    work: |stage, _| {
        std::thread::sleep(stage.plan.quiet);
        Ok(Work { note: "nothing else".to_owned(), ..Work::default() })
    },
};

/// All rows, in their order.
pub const ROWS: &[Row] = &[
    Row {
        name: "1a",
        what: "eight full ranges of 200,000 keys of 1 KiB at once on one connection, linearizable",
        apart: false,
        load: reads::load_big,
        work: |stage, _| reads::full(stage, false),
    },
    Row {
        name: "1b",
        what: "the same, serializable",
        apart: false,
        load: reads::load_big,
        work: |stage, _| reads::full(stage, true),
    },
    Row {
        name: "1c",
        what: "the same, sorted by value with limit 1",
        apart: false,
        load: reads::load_big,
        work: |stage, _| reads::sorted(stage),
    },
    Row {
        name: "2",
        what: "eight HashKV of 1,000,000 keys at once",
        apart: false,
        load: reads::load_many,
        work: |stage, _| reads::hashes(stage),
    },
    Row {
        name: "3",
        what: "50,000 watchers of distinct keys on one stream, 500 puts a second to another key",
        apart: false,
        load: nothing,
        work: |stage, _| watches::many(stage),
    },
    Row {
        name: "4",
        what: "pages of 500 over 300,000 keys at a fixed old revision",
        apart: false,
        load: reads::load_pages,
        work: reads::pages,
    },
    Row {
        name: "5",
        what: "16 watchers from 400,000 revisions back with previous values, 8 read slowly",
        apart: false,
        load: watches::load_past,
        work: watches::late,
    },
    Row {
        name: "6",
        what: "200 ranges of 200,000 keys of 1 KiB, cancelled after 50 ms",
        apart: false,
        load: reads::load_big,
        work: |stage, _| cancels::cut(stage),
    },
    Row {
        name: "7",
        what: "10,000 ranges of 200,000 keys of 1 KiB on one connection, each reset at once",
        apart: false,
        load: reads::load_big,
        work: |stage, _| cancels::storm(stage),
    },
    Row {
        name: "8",
        what: "the revocation of a lease with 100,000 keys under a prefix watch",
        apart: true,
        load: entries::load_leased,
        work: entries::revoke,
    },
    Row {
        name: "9",
        what: "a delete of 1,000,000 keys",
        apart: true,
        load: reads::load_many,
        work: |stage, _| entries::delete(stage),
    },
];

fn nothing(_: &Stage) -> Result<i64> {
    Ok(0)
}

/// Rows by name; a number stands for all of its rows. All of them when none is named.
///
/// # Errors
/// A name that is no row.
pub fn chosen(names: &[String]) -> Result<Vec<&'static Row>> {
    let is = |row: &Row, name: &str| {
        row.name == name || row.name.trim_end_matches(char::is_alphabetic) == name
    };
    for name in names {
        ensure!(
            ROWS.iter().any(|row| is(row, name)),
            "no row is named {name:?}; --list names them"
        );
    }
    let wanted = |row: &&Row| names.is_empty() || names.iter().any(|name| is(row, name));
    Ok(ROWS.iter().filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(asked: &[&str]) -> Result<Vec<&'static str>> {
        let asked: Vec<_> = asked.iter().map(|&name| name.to_owned()).collect();
        Ok(chosen(&asked)?.iter().map(|row| row.name).collect())
    }

    #[test]
    fn rows_are_chosen_by_name_or_number_and_come_in_their_own_order() {
        assert_eq!(names(&["9", "1"]).unwrap(), ["1a", "1b", "1c", "9"]);
        assert_eq!(names(&["1b"]).unwrap(), ["1b"]);
        assert_eq!(names(&[]).unwrap().len(), ROWS.len());
        assert!(names(&["10"]).is_err() && names(&["a"]).is_err());
    }

    #[test]
    fn every_row_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = ROWS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), ROWS.len());
        assert!(!names.contains(QUIET.name));
    }
}
