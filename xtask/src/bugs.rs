//! `cargo xtask bugs`: plants each known bug and measures what notices it, how soon
//! (`docs/bugs.md`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

const PAGE: &str = "docs/bugs.md";
const TABLE_BEGINS: &str = "<!-- the table: written by cargo xtask bugs -->\n";
const TABLE_ENDS: &str = "<!-- end of the table -->";
const VARIABLE: [&str; 2] = ["QUORATE_PLANTED", "_BUG"];
/// Seeds between two ranges.
const RANGE: u64 = 10_000_000;
/// What a sweep may take beyond its limit, which is processor time, before it is called stuck.
const GRACE: Duration = Duration::from_secs(600);

struct Options {
    only: Vec<String>,
    quick: bool,
    jobs: usize,
    seconds: u64,
    ranges: u64,
    from: u64,
}

/// One bug of the catalogue.
#[derive(Clone)]
struct Bug {
    name: String,
    /// Sweeps to measure, the first being the one that counts; or a test.
    means: Vec<String>,
    quick: bool,
    text: String,
}

/// What one range of seeds came to.
#[derive(Clone, Debug)]
struct Found {
    killed: bool,
    seeds: u64,
    ms: u64,
    by: String,
}

pub fn run(words: &[&str]) -> Result<()> {
    let options = parse(words)?;
    let build = ["build", "--release", "--locked", "-p", "sim", "--example", "bugs"];
    crate::run_cargo(&[&build[..], &["--features", "planted"]].concat())?;
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let runner = crate::root().join(target).join("release/examples/bugs");
    let bugs = choose(&options, catalogue(&runner)?)?;
    let jobs = plan(&options, &bugs);
    println!("{} bugs, {} sweeps", bugs.len(), jobs.len());
    let found = play(&options, &runner, &jobs)?;
    let (table, survivors) = tabulate(&bugs, &found);
    println!("{table}");
    if options.only.is_empty() && !options.quick {
        write_page(&table)?;
    }
    ensure!(survivors.is_empty(), "nothing noticed {}", survivors.join(", "));
    Ok(())
}

fn parse(words: &[&str]) -> Result<Options> {
    let mut options =
        Options { only: vec![], quick: false, jobs: 2, seconds: 60, ranges: 5, from: 0 };
    // Ranges nobody has looked at, unless they are asked for: they begin with the clock.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    options.from = now.as_secs() % 1_000_000_000 * 1000 * RANGE;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} needs a value"));
        match *word {
            // The same seeds each time: what CI says depends on the commit alone.
            "--quick" => {
                (options.quick, options.ranges, options.seconds, options.from) = (true, 1, 30, 0);
            }
            "--only" => options.only.extend(value()?.split(',').map(str::to_owned)),
            "--jobs" => options.jobs = value()?.parse::<usize>()?.max(1),
            "--seconds" => options.seconds = value()?.parse()?,
            "--ranges" => options.ranges = value()?.parse::<u64>()?.max(1),
            "--from" => options.from = value()?.parse()?,
            _ => bail!("bugs [--only NAME,..] [--quick] [--jobs N] [--seconds S] [--ranges N]"),
        }
    }
    Ok(options)
}

fn catalogue(runner: &PathBuf) -> Result<Vec<Bug>> {
    let output = Command::new(runner).arg("list").output().context("start the runner")?;
    ensure!(output.status.success(), "the runner has no list");
    let text = String::from_utf8(output.stdout)?;
    let row = |line: &str| -> Option<Bug> {
        let mut cells = line.split('\t').map(str::to_owned);
        let (name, means) = (cells.next()?, cells.next()?);
        let (quick, text) = (cells.next()? == "quick", cells.next()?);
        let means = means.split(' ').map(str::to_owned).collect();
        Some(Bug { name, means, quick, text })
    };
    text.lines().map(|line| row(line).with_context(|| line.to_owned())).collect()
}

fn choose(options: &Options, all: Vec<Bug>) -> Result<Vec<Bug>> {
    if let Some(name) = options.only.iter().find(|name| all.iter().all(|bug| bug.name != **name)) {
        bail!("no bug is called {name}");
    }
    let wanted = |bug: &Bug| {
        if options.only.is_empty() {
            bug.quick || !options.quick
        } else {
            options.only.contains(&bug.name)
        }
    };
    Ok(all.into_iter().filter(wanted).collect())
}

type Job = (String, String, u64);

fn plan(options: &Options, bugs: &[Bug]) -> Vec<Job> {
    let mut jobs = Vec::new();
    for bug in bugs {
        for means in bug.means.iter().take(if options.quick { 1 } else { usize::MAX }) {
            // A test is the same whatever the seeds.
            let ranges = if means.starts_with("test:") { 1 } else { options.ranges };
            for range in 0..ranges {
                jobs.push((bug.name.clone(), means.clone(), options.from + range * RANGE));
            }
        }
    }
    jobs
}

fn play(options: &Options, runner: &PathBuf, jobs: &[Job]) -> Result<BTreeMap<Job, Found>> {
    let next = AtomicUsize::new(0);
    let all = Mutex::new(BTreeMap::<Job, Found>::new());
    let work = || -> Result<()> {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (bug, means, from) = job;
            // Once it has missed a range it is not what notices the bug.
            let missed =
                |(other, run): (&Job, &Found)| !run.killed && (&other.0, &other.1) == (bug, means);
            if all.lock().expect("no holder panics").iter().any(missed) {
                continue;
            }
            let found = sweep(options, runner, job)?;
            println!("{bug} {means} from {from}: {found:?}");
            all.lock().expect("no holder panics").insert(job.clone(), found);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..options.jobs).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("workers do not panic"))
    })?;
    Ok(all.into_inner().expect("no holder panics"))
}

/// Plays one range. A process that dies or does not end has noticed the bug too.
fn sweep(options: &Options, runner: &PathBuf, (bug, means, from): &Job) -> Result<Found> {
    let mut command = match means.strip_prefix("test:") {
        None => Command::new(runner),
        Some(test) => return one_test(bug, test),
    };
    let words = [means.clone(), from.to_string(), options.seconds.to_string()];
    command.args(words).env(VARIABLE.concat(), bug).stdout(Stdio::piped()).stderr(Stdio::null());
    let begun = Instant::now();
    let mut child = command.spawn().context("start the runner")?;
    let limit = Duration::from_secs(options.seconds) + GRACE;
    while child.try_wait()?.is_none() {
        if begun.elapsed() > limit {
            child.kill()?;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let cells: Vec<&str> = text.trim_end_matches('\n').split('\t').collect();
    Ok(match cells[..] {
        [verdict, seeds, ms, _, by] => Found {
            killed: verdict == "killed",
            seeds: seeds.parse()?,
            ms: ms.parse()?,
            by: by.to_owned(),
        },
        _ => {
            let ms = u64::try_from(begun.elapsed().as_millis())?;
            Found { killed: true, seeds: 1, ms, by: "a life does not end".to_owned() }
        }
    })
}

/// `PACKAGE/TARGET/NAME`: one named test, or all of a target that hold the name.
fn one_test(bug: &str, test: &str) -> Result<Found> {
    let [package, target, name] = test.split('/').collect::<Vec<_>>()[..] else {
        bail!("a test is PACKAGE/TARGET/NAME, not {test}");
    };
    let cargo_test = || {
        let mut command = crate::cargo();
        command.args(["test", "--locked", "-p", package, "--features", "base/planted"]);
        match target {
            "lib" => command.arg("--lib"),
            _ => command.args(["--test", target]),
        };
        command
    };
    let built = cargo_test().arg("--no-run").stderr(Stdio::null()).status()?;
    ensure!(built.success(), "{test} does not build");
    let begun = Instant::now();
    let mut command = cargo_test();
    command.arg(name).env(VARIABLE.concat(), bug).stdout(Stdio::piped()).stderr(Stdio::null());
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let failed = text.lines().find_map(|line| line.strip_prefix("test ")?.strip_suffix("FAILED"));
    let failed = failed.map(|name| name.trim_end_matches(" ... ").to_owned());
    let ms = u64::try_from(begun.elapsed().as_millis())?;
    let (killed, by) = (failed.is_some(), failed.unwrap_or_default());
    Ok(Found { killed, seeds: 1, ms, by: format!("test `{by}`") })
}

/// The table, and the bugs that no means of theirs killed in every range.
fn tabulate(bugs: &[Bug], found: &BTreeMap<Job, Found>) -> (String, Vec<String>) {
    let mut out = String::from(
        "| bug | what it is | noticed by | rule or test | seeds | seconds |\n\
         |---|---|---|---|---|---|\n",
    );
    let (mut survivors, mut general) = (Vec::new(), 0);
    for bug in bugs {
        let mut killed_by = None;
        for means in &bug.means {
            let mine = |job: &&Job| job.0 == bug.name && job.1 == *means;
            let runs: Vec<&Found> = found.keys().filter(mine).map(|job| &found[job]).collect();
            if runs.is_empty() {
                continue;
            }
            let killed = runs.iter().filter(|run| run.killed).count();
            if killed == runs.len() {
                killed_by.get_or_insert(means);
            }
            let (seeds, ms) = (median(&runs, |run| run.seeds), median(&runs, |run| run.ms));
            let by = runs.iter().find(|run| run.killed).map_or("nothing", |run| &run.by);
            let missed = runs.len() - killed;
            let note = if missed > 0 {
                format!(" ({missed} of {} missed)", runs.len())
            } else {
                String::new()
            };
            let (name, text) = if means == &bug.means[0] {
                (format!("`{}`", bug.name), &bug.text[..])
            } else {
                (String::new(), "")
            };
            let means = if means.starts_with("test:") { "test" } else { means };
            let seconds = format!("{}.{:02}", ms / 1000, ms % 1000 / 10);
            let _ =
                writeln!(out, "| {name} | {text} | {means}{note} | {by} | {seeds} | {seconds} |");
        }
        match killed_by {
            None => survivors.push(bug.name.clone()),
            Some(means) => general += usize::from(!means.starts_with("test:")),
        }
    }
    let (all, killed) = (bugs.len(), bugs.len() - survivors.len());
    let sum = format!("{all} bugs, {killed} noticed, {general} of them by general sweeps.\n\n");
    (sum + &out, survivors)
}

fn median(runs: &[&Found], of: impl Fn(&Found) -> u64) -> u64 {
    let mut values: Vec<u64> = runs.iter().map(|run| of(run)).collect();
    values.sort_unstable();
    values[values.len() / 2]
}

fn write_page(table: &str) -> Result<()> {
    let path = crate::root().join(PAGE);
    let page = std::fs::read_to_string(&path).context(PAGE)?;
    let (before, rest) = page.split_once(TABLE_BEGINS).context("the table's first mark")?;
    let (_, after) = rest.split_once(TABLE_ENDS).context("the table's last mark")?;
    let page = format!("{before}{TABLE_BEGINS}\n{table}\n{TABLE_ENDS}{after}");
    std::fs::write(path, page).context(PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_that_one_range_missed_is_a_survivor_and_the_median_is_the_middle() {
        let bug = |name: &str| Bug {
            name: name.to_owned(),
            means: vec!["lives".to_owned()],
            quick: true,
            text: "what".to_owned(),
        };
        let found = |killed, seeds| Found { killed, seeds, ms: 1230, by: "rule".to_owned() };
        let job = |name: &str, from| (name.to_owned(), "lives".to_owned(), from);
        let all = BTreeMap::from([
            (job("a", 1), found(true, 9)),
            (job("a", 2), found(true, 1)),
            (job("a", 3), found(true, 2)),
            (job("b", 1), found(true, 1)),
            (job("b", 2), found(false, 1)),
        ]);
        let (table, survivors) = tabulate(&[bug("a"), bug("b")], &all);
        assert_eq!(survivors, ["b"]);
        assert!(table.contains("| `a` | what | lives | rule | 2 | 1.23 |"), "{table}");
        assert!(table.contains("1 of 2 missed"), "{table}");
        assert!(table.starts_with("2 bugs, 1 noticed, 1 of them by general sweeps."));
    }
}
