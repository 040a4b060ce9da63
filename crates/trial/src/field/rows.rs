//! Which scenarios there are.

use anyhow::Result;

use super::stage::{Seen, Stage};

mod files;
mod flags;
mod hostile;
mod links;
mod members;
mod restart;
mod stops;
mod upkeep;
mod watches;

/// What etcd's part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// It has the same contract and must hold it, or the scenario is at fault.
    Same,
    /// What it does is printed; it does not hold what is asked.
    Told,
    /// It has nothing of the kind.
    Absent(&'static str),
}

/// Plays a row: says what it saw; an error means that it could not be played to its end.
pub type Play = fn(&Stage, &mut Seen) -> Result<()>;

/// A scenario.
pub struct Row {
    pub name: &'static str,
    /// What is asked, in one line.
    pub asked: &'static str,
    /// It measures no time that others could stretch.
    pub quiet: bool,
    pub beside: Beside,
    pub play: Play,
}

const fn quiet(name: &'static str, asked: &'static str, beside: Beside, play: Play) -> Row {
    Row { name, asked, quiet: true, beside, play }
}

const fn loud(name: &'static str, asked: &'static str, beside: Beside, play: Play) -> Row {
    Row { name, asked, quiet: false, beside, play }
}

/// All rows, in the order of the list of faults.
pub const ROWS: &[Row] = &[
    quiet(
        "B1",
        "identity lost beside data: refuse, name it, change nothing",
        Beside::Absent("it keeps no such file"),
        files::identity_lost,
    ),
    quiet(
        "B2",
        "other peer URLs, names and tokens after the first start are taken",
        Beside::Same,
        flags::bootstrap_flags_change,
    ),
    quiet(
        "B3",
        "client URLs of a member that is down are kept over restarts",
        Beside::Same,
        members::client_urls_of_the_dead,
    ),
    quiet(
        "B4",
        "equal addresses spelled differently bootstrap; no wildcard is advertised",
        Beside::Same,
        flags::spellings_of_addresses,
    ),
    loud(
        "B5",
        "100 frozen clients are gone soon, with keep-alive 2s/1s",
        Beside::Same,
        hostile::frozen_clients,
    ),
    loud(
        "B6",
        "a frozen peer connection is replaced by a new one",
        Beside::Told,
        links::frozen_peer,
    ),
    loud(
        "B7",
        "65,537 half-closed watches hang no call; cancelled ones leave nothing",
        Beside::Told,
        hostile::many_watches,
    ),
    loud(
        "B8",
        "60 ranges never read: memory and others' puts are safe",
        Beside::Told,
        hostile::never_reads,
    ),
    loud(
        "B9",
        "ranges cut short and calls reset at once cost nobody else anything",
        Beside::Told,
        hostile::taken_back,
    ),
    quiet(
        "B10",
        "a fresh lease of 10 s is told within a second",
        Beside::Same,
        upkeep::fresh_lease,
    ),
    quiet("B11", "Go's durations; a bad URL is shown whole", Beside::Same, flags::go_texts),
    quiet(
        "B12",
        "a client's alarm stays, the quota's is listed until it is disarmed",
        Beside::Same,
        upkeep::alarms,
    ),
    quiet(
        "B13",
        "member add of a voter says so; the list is in etcd's order",
        Beside::Same,
        members::added_as_asked,
    ),
    quiet(
        "B14",
        "a leader whose checkpoints are gone or damaged helps a follower",
        Beside::Absent("it keeps no such files"),
        links::checkpoint_gone,
    ),
    loud("B15", "a rolling restart fails no request", Beside::Told, stops::rolling_restart),
    quiet("B16", "history not compacted is in use", Beside::Same, upkeep::size_in_use),
    loud("B17", "three members started together serve soon", Beside::Told, stops::start_together),
    loud(
        "B18",
        "calls given up while it was stopped are not done on waking",
        Beside::Told,
        stops::wakes_up,
    ),
    loud(
        "B19",
        "a restarted member shows nothing older than it had shown",
        Beside::Same,
        restart::shows_no_past,
    ),
    loud(
        "B20",
        "compactions at the newest revision end no watch that keeps up",
        Beside::Same,
        watches::compaction_beside_watch,
    ),
];
