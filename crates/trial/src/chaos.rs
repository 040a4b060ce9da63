//! Rounds of faults against real processes under load, each checked to the last answer.

mod aftermath;
mod dump;
mod history;
mod kills;
mod load;
mod nemesis;
mod roster;
mod round;
mod schedule;
mod search;
mod shown;
mod strangers;
mod verdict;
mod watcher;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::cluster::Program;
use round::{Plan, Report};
use strangers::History;

/// Arguments of the trial.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Rounds; each has its own seed, counted up from --seed
    #[arg(long, default_value_t = 20)]
    rounds: u64,
    /// Seed of the first round: it decides faults and requests, not how threads run
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Members of every round [default: three and five in turn]
    #[arg(long, value_parser = clap::value_parser!(u8).range(3..=9))]
    members: Option<u8>,
    /// Rounds at the same time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    jobs: u8,
    /// Every round, not one in three, begins with members that never met another one whose
    /// directory is then emptied or put back
    #[arg(long)]
    strangers: bool,
    /// No rounds: kill the leader of three members with default timing so often under light load,
    /// and print how long puts paused each time
    #[arg(long, conflicts_with_all = ["rounds", "strangers", "members", "jobs"])]
    #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    kills: Option<u32>,
    /// Keep directories, logs and histories of good rounds too
    #[arg(long)]
    keep: bool,
}

/// Runs the rounds and prints one line for each and a table of all; or measures kills.
///
/// # Errors
/// A round that went wrong: where its remains are, and how to play it again.
pub fn run(program: &Program, args: &Args) -> Result<()> {
    if let Some(kills) = args.kills {
        return kills::run(program, kills);
    }
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let total = Mutex::new(Total::default());
    std::thread::scope(|scope| {
        for _ in 0..args.jobs {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= args.rounds {
                        return;
                    }
                    let plan = plan(args, n);
                    let result = round::run(program, &plan);
                    total.lock().expect("no holder panics").add(&plan, result);
                }
            });
        }
    });
    let total = total.into_inner().expect("no holder panics");
    total.print(began.elapsed());
    ensure!(total.bad == 0, "{} of {} rounds went wrong", total.bad, args.rounds);
    Ok(())
}

fn plan(args: &Args, n: u64) -> Plan {
    let seed = args.seed.wrapping_add(n);
    let alternate = if seed % 2 == 1 { 3 } else { 5 };
    let members = args.members.map_or(alternate, usize::from);
    let name = format!("chaos-{}-{seed}-{members}", std::process::id());
    let history = History::of(seed, members, args.strangers);
    Plan { seed, members, history, keep: args.keep, remains: remains_root().join(name) }
}

fn remains_root() -> PathBuf {
    std::env::temp_dir()
}

/// Sums over rounds.
#[derive(Default)]
struct Total {
    rounds: u64,
    bad: u64,
    sum: history::Tally,
    unknown_applied: u64,
    faults: BTreeMap<&'static str, u64>,
    leader_changes: u64,
    unavailable: Duration,
}

impl Total {
    fn add(&mut self, plan: &Plan, result: Result<Report>) {
        self.rounds += 1;
        let report = result.unwrap_or_else(|why| Report {
            wrong: vec![format!("the round could not be run: {why:#}")],
            ..Report::default()
        });
        self.sum.add(report.tally);
        self.unknown_applied += report.unknown_applied;
        self.leader_changes += report.leader_changes;
        self.unavailable = self.unavailable.max(report.unavailable);
        for (kind, count) in &report.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        let faults: Vec<_> = report.faults.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
        println!(
            "seed {:4}, {} members: {:5} acknowledged, {:3} unknown ({} took effect), \
             {:4} refused, {} leader changes, {:.1} s: {}",
            plan.seed,
            plan.members,
            report.tally.acknowledged,
            report.tally.unknown,
            report.unknown_applied,
            report.tally.refused,
            report.leader_changes,
            report.took.as_secs_f64(),
            faults.join(", "),
        );
        if !report.wrong.is_empty() {
            self.bad += 1;
            complain(plan, &report.wrong, &plan.remains);
        }
    }

    fn print(&self, took: Duration) {
        let row = |name: &str, value: String| println!("{name:28} {value}");
        println!();
        row("rounds", format!("{} ({} wrong)", self.rounds, self.bad));
        row("operations", self.sum.operations().to_string());
        row("acknowledged", self.sum.acknowledged.to_string());
        let unknown = format!("{} ({} took effect)", self.sum.unknown, self.unknown_applied);
        row("unknown writes", unknown);
        row("refused writes", self.sum.refused.to_string());
        row("reads without an answer", self.sum.unanswered_reads.to_string());
        self.faults.iter().for_each(|(kind, count)| row(kind, count.to_string()));
        row("leader changes", self.leader_changes.to_string());
        let unavailable = self.unavailable.as_secs_f64();
        row("longest without a write", format!("{unavailable:.2} s"));
        row("time", format!("{:.0} s", took.as_secs_f64()));
    }
}

fn complain(plan: &Plan, wrong: &[String], remains: &Path) {
    const SHOWN_MAX: usize = 10;
    const FILLER: &str = "xxxxxxxx";
    for what in wrong.iter().take(SHOWN_MAX) {
        // Long values end in filler; the files have them whole.
        let short: String = what.replace(FILLER, "").chars().take(600).collect();
        println!("  WRONG: {short}");
    }
    if wrong.len() > SHOWN_MAX {
        println!("  and {} more", wrong.len() - SHOWN_MAX);
    }
    println!("  remains: {}", remains.display());
    let history = remains.join("history.jsonl");
    println!("  the search alone: quorate check linear --model etcd {}", history.display());
    let (seed, members) = (plan.seed, plan.members);
    let strangers = if plan.history.is_some() { " --strangers" } else { "" };
    println!("  again: cargo xtask chaos --rounds 1 --seed {seed} --members {members}{strangers}");
}
