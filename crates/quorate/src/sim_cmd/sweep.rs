//! `quorate sim sweep`: many lives on a few threads, until one breaks a promise.

use super::{LifeArgs, changes, faults};
use crate::out::say;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use sim::{Plan, Stats, Verdict};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Lives spent on making a violation shorter.
const MINIMISE_LIVES_MAX: u32 = 300;

#[derive(Args, Clone, Debug)]
pub struct SweepArgs {
    /// Seeds, the last one excluded
    #[arg(long, value_name = "A..B", value_parser = range)]
    seeds: (u64, u64),
    /// Threads, each with its own lives
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1024))]
    jobs: u64,
    #[command(flatten)]
    life: LifeArgs,
    /// Where the trace of a violation goes
    #[arg(long, value_name = "FILE", default_value = "violation.jsonl")]
    trace: PathBuf,
    /// Writes a line for every seed, over all bytes of its trace: equal for every build
    #[arg(long, value_name = "FILE")]
    hashes: Option<PathBuf>,
    /// Reports the violation as it is, without making it shorter
    #[arg(long)]
    no_minimise: bool,
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let (a, b) = text.split_once("..").ok_or("A..B, for example 0..1000")?;
    let number = |text: &str| text.trim().parse::<u64>().map_err(|error| error.to_string());
    let (a, b) = (number(a)?, number(b)?);
    if a < b { Ok((a, b)) } else { Err("the range is empty".to_owned()) }
}

/// What all lives together amounted to.
#[derive(Default)]
struct Sum {
    lives: u64,
    stats: Stats,
    time: u64,
    standard: u64,
    seen: BTreeMap<&'static str, u64>,
    /// By seed, if they are wanted.
    hashes: BTreeMap<u64, String>,
}

impl Sum {
    fn add(&mut self, plan: &Plan, verdict: &Verdict) {
        self.lives += 1;
        self.time += verdict.time.0;
        self.stats.add(&verdict.stats);
        if !verdict.trace.is_empty() {
            self.hashes.insert(plan.seed, verdict.fingerprint());
        }
        let stats = &verdict.stats;
        let standard = stats.ops() >= 300 && stats.faults_all() >= 10 && verdict.time >= sim::LIFE;
        self.standard += u64::from(standard);
        let mut seen = |name: &'static str, was: bool| {
            *self.seen.entry(name).or_insert(0) += u64::from(was);
        };
        seen("leadership changed 3 times", stats.elections > 3);
        seen("checkpoint written", stats.checkpoints > 0);
        seen("layers merged", stats.merges > 0);
        seen("checkpoint installed from a peer", stats.installs > 0);
        seen("torn tail cut", stats.cuts > 0);
        seen("unknown outcome", stats.ops_unknown > 0);
        seen("damaged member refused", stats.faults.contains_key("refused-damaged"));
        seen("disk put back and refused", stats.faults.contains_key("put-back-refused"));
        let change = |name: &str| stats.changes.contains_key(name);
        seen("members or quorum changed", change("change-done"));
        seen("a change was refused", stats.changes.keys().any(|n| n.starts_with("change-refused")));
        seen("a member was removed and stopped", change("member-left"));
        seen("not a majority", !plan.quorum.starts_with("majority"));
    }
}

pub fn sweep(args: &SweepArgs) -> Result<ExitCode, String> {
    let wishes = args.life.wishes()?;
    let (first, end) = args.seeds;
    Plan::new(first, args.life.profile, &wishes)?;
    let bar = ProgressBar::new(end - first);
    let style = "{bar:30} {pos}/{len} lives, {per_sec}, {eta} left {msg}";
    bar.set_style(ProgressStyle::with_template(style).map_err(|error| error.to_string())?);
    let (next, stop) = (AtomicU64::new(first), AtomicBool::new(false));
    let (sender, receiver) = mpsc::channel();
    let started = Instant::now();
    let mut sum = Sum::default();
    let mut busy = Duration::ZERO;
    let mut broken: Option<Plan> = None;
    std::thread::scope(|scope| {
        for _ in 0..args.jobs {
            let sender = sender.clone();
            let (next, stop, wishes) = (&next, &stop, &wishes);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
                    let began = Instant::now();
                    let lived = Plan::new(seed, args.life.profile, wishes)
                        .and_then(|plan| Ok((sim::run(&plan, args.hashes.is_some())?, plan)));
                    if sender.send((lived, began.elapsed())).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        for (lived, took) in receiver {
            busy += took;
            let (verdict, plan) = lived?;
            sum.add(&plan, &verdict);
            bar.inc(1);
            // The lowest seed is reported, whichever thread was first.
            if verdict.violation.is_some() {
                stop.store(true, Ordering::Relaxed);
                if broken.as_ref().is_none_or(|other| plan.seed < other.seed) {
                    broken = Some(plan);
                }
            }
        }
        Ok::<(), String>(())
    })?;
    bar.finish_and_clear();
    report(args, &sum, busy, started.elapsed());
    if let Some(path) = &args.hashes {
        let lines = sum.hashes.iter().map(|(seed, hash)| format!("{seed} {hash}\n"));
        let written = std::fs::write(path, lines.collect::<String>());
        written.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    match broken {
        None => Ok(ExitCode::SUCCESS),
        Some(plan) => violated(args, &plan),
    }
}

fn report(args: &SweepArgs, sum: &Sum, busy: Duration, wall: Duration) {
    let core = busy.as_secs_f64().max(1e-9);
    let stats = &sum.stats;
    let per_core = |n: u64| (n as f64 / core) as u64;
    say!(
        "{} lives of {} under {}, {} of them standard, {:.1} s with {} jobs",
        sum.lives,
        args.seeds.1 - args.seeds.0,
        args.life.profile.name(),
        sum.standard,
        wall.as_secs_f64(),
        args.jobs
    );
    say!(
        "{} client operations checked ({}/s per core), {} events ({}/s per core), \
         {:.2} virtual hours",
        stats.ops(),
        per_core(stats.ops()),
        stats.events,
        per_core(stats.events),
        sum.time as f64 / 3.6e12
    );
    say!(
        "{} elections, {} starts, {} checkpoints, {} installed, {} torn tails, {} watch events, \
         {} unknown outcomes",
        stats.elections,
        stats.starts,
        stats.checkpoints,
        stats.installs,
        stats.cuts,
        stats.watch_events,
        stats.ops_unknown
    );
    say!("{}", faults(stats));
    changes(stats).iter().for_each(|line| say!("{line}"));
    for (name, lives) in &sum.seen {
        say!("  {lives:>6} lives: {name}");
    }
}

fn violated(args: &SweepArgs, plan: &Plan) -> Result<ExitCode, String> {
    let wishes = args.life.wishes()?;
    say!("replay: {}", plan.command(&wishes));
    let (verdict, command) = if args.no_minimise {
        (sim::run(plan, true)?, plan.command(&wishes))
    } else {
        let short = sim::minimise(plan, &wishes, MINIMISE_LIVES_MAX)?;
        say!(
            "shortened in {} lives: {} of {} faults, {} operations",
            short.lives,
            short.plan.faults.len(),
            plan.faults.len(),
            short.plan.ops
        );
        for fault in &short.plan.faults {
            say!("  at {} ms: {} for {} ms", ms(fault.at.0), fault.kind.name(), ms(fault.span.0));
        }
        (short.verdict, short.plan.command(&short.wishes))
    };
    if let Some(violation) = &verdict.violation {
        say!("VIOLATION at {} ms: {}: {}", ms(violation.at.0), violation.rule, violation.what);
    }
    say!("replay: {command}");
    let written = std::fs::write(&args.trace, &verdict.trace);
    written.map_err(|error| format!("{}: {error}", args.trace.display()))?;
    say!("trace: {}", args.trace.display());
    Ok(ExitCode::from(super::EXIT_VIOLATION))
}

fn ms(nanos: u64) -> u64 {
    nanos / 1_000_000
}
