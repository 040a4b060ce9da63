//! `field`: what a member meets in the field, each as a scenario with real processes.
//!
//! Every row is played on quorate and, where it has the same contract, on the real etcd. The
//! table is in [`rows`], what a scenario may use in [`stage`]. See `docs/design/field.md`.

pub mod asked;
mod member;
mod probe;
mod relay;
mod rows;
mod stage;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};

use crate::cluster::Program;
use rows::{Beside, ROWS, Row};
use stage::{Seen, Stage};

/// Rows at once that measure no time: they mostly wait.
const QUIET_JOBS: usize = 3;

/// Arguments of the trial.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Each line: row, verdict, seconds | what was asked | what quorate did | what etcd did.
`wrong` says what did not hold; logs of a wrong scenario are kept, their place is printed.
`doubtful`: etcd, which has the same contract, did not hold it either: the scenario is at fault.

  cargo xtask field                    every row, as CI runs it (6 minutes at most)
  cargo xtask field --only B1,B9       two of them
  cargo xtask field --list             what each row asks
  cargo xtask field --before old/quorate   the same rows on an older build beside this one
Exit code 1 when anything is wrong.")]
pub struct Args {
    /// Rows to play, by name
    #[arg(long, value_delimiter = ',', value_name = "ROW,..")]
    only: Vec<String>,
    /// Play quorate alone
    #[arg(long)]
    no_etcd: bool,
    /// Print what each row asks, play nothing
    #[arg(long)]
    list: bool,
    /// The binary under trial [default: target/release/quorate of this workspace]
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// An older build to play beside it; what it does is printed, never judged
    #[arg(long, value_name = "PATH")]
    before: Option<PathBuf>,
    /// Times every row is played
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    times: u16,
}

/// Plays the rows and prints a line for each.
///
/// # Errors
/// A row that is wrong, or a name that is no row.
pub fn run(quorate: &Path, args: &Args) -> Result<()> {
    let rows = chosen(&args.only)?;
    if args.list {
        for row in rows {
            println!("{:4} {}", row.name, row.asked);
        }
        return Ok(());
    }
    let binary = args.binary.as_deref().unwrap_or(quorate);
    ensure!(binary.exists(), "{} is missing: build it first", binary.display());
    let began = Instant::now();
    let total = Mutex::new(Vec::new());
    for _ in 0..args.times {
        // What measures time plays alone; the others have no need of the machine's quiet.
        let (quiet, loud): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.quiet);
        for (rows, jobs) in [(quiet, QUIET_JOBS), (loud, 1)] {
            let next = AtomicUsize::new(0);
            std::thread::scope(|scope| {
                for _ in 0..jobs.min(rows.len()) {
                    scope.spawn(|| {
                        while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                            let line = play(row, binary, args);
                            println!("{}", line.text);
                            total.lock().expect("no holder panics").push((row.name, line.right));
                        }
                    });
                }
            });
        }
    }
    let total = total.into_inner().expect("no holder panics");
    let wrong: Vec<&str> = total.iter().filter(|(_, right)| !right).map(|(row, _)| *row).collect();
    println!("{} rows in {} s", total.len(), began.elapsed().as_secs());
    ensure!(wrong.is_empty(), "{} of {} wrong: {}", wrong.len(), total.len(), wrong.join(", "));
    Ok(())
}

fn chosen(only: &[String]) -> Result<Vec<&'static Row>> {
    let by_name: BTreeMap<&str, &Row> = ROWS.iter().map(|row| (row.name, row)).collect();
    if only.is_empty() {
        return Ok(ROWS.iter().collect());
    }
    let find = |name: &String| {
        let row = by_name.get(name.to_uppercase().as_str()).copied();
        row.ok_or_else(|| anyhow!("no row is named {name:?}; --list names them"))
    };
    only.iter().map(find).collect()
}

struct Line {
    right: bool,
    text: String,
}

/// One row on every program.
fn play(row: &Row, binary: &Path, args: &Args) -> Line {
    let began = Instant::now();
    let ours = on(row, Program::Quorate(binary.to_owned()), true);
    let before = args.before.as_ref().map(|path| on(row, Program::Quorate(path.clone()), false));
    let theirs = match row.beside {
        Beside::Absent(why) => Err(why),
        _ if args.no_etcd => Err("not asked"),
        Beside::Same => Ok(on(row, Program::Etcd, true)),
        Beside::Told => Ok(on(row, Program::Etcd, false)),
    };
    let right = ours.wrong.is_empty();
    let doubtful =
        row.beside == Beside::Same && theirs.as_ref().is_ok_and(|seen| !seen.wrong.is_empty());
    let verdict = if !right {
        "wrong"
    } else if doubtful {
        "doubtful"
    } else {
        "right"
    };
    let mut text = format!("{:4} {verdict:8} {:4.0} s", row.name, seconds(began.elapsed()));
    text.push_str(&format!(" | {} | quorate: {}", row.asked, ours.text()));
    if let Some(before) = before {
        text.push_str(&format!(" | before: {}", before.text()));
    }
    match theirs {
        Ok(seen) => text.push_str(&format!(" | etcd: {}", seen.text())),
        Err(why) => text.push_str(&format!(" | etcd: ({why})")),
    }
    Line { right: right && !doubtful, text }
}

fn seconds(span: Duration) -> f64 {
    span.as_secs_f64()
}

/// A scenario on one program; whatever ends it, its processes are stopped.
fn on(row: &Row, program: Program, judged: bool) -> Seen {
    let mut seen = Seen { judged, ..Seen::default() };
    let mut stage = match Stage::new(row.name, program) {
        Ok(stage) => stage,
        Err(why) => {
            seen.must(false, format!("{why:#}"));
            return seen;
        }
    };
    let played = catch_unwind(AssertUnwindSafe(|| (row.play)(&stage, &mut seen)));
    match played {
        Ok(Ok(())) => {}
        Ok(Err(why)) => seen.must(false, format!("{why:#}")),
        Err(_) => seen.must(false, "the scenario panicked; what it said stands above"),
    }
    if judged && !seen.wrong.is_empty() {
        seen.kept = Some(stage.keep());
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_name_of_its_own_and_is_found_by_it() {
        let all = chosen(&[]).expect("all rows");
        for row in &all {
            let found = chosen(&[row.name.to_lowercase()]).expect("one row");
            assert!(found.len() == 1 && std::ptr::eq(found[0], *row), "{}", row.name);
        }
        assert!(chosen(&["B99".to_owned()]).is_err());
        let rows: Vec<u8> =
            all.iter().map(|row| row.name[1..].parse().expect("B and a number")).collect();
        assert_eq!(rows, (1..=20).collect::<Vec<_>>(), "one scenario for each row of the list");
    }
}
