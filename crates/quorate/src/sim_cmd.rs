//! `quorate sim`: cluster lives under a virtual clock.

mod show;
mod sweep;

use crate::explain::{Ask, Trace};
use crate::out::say;
use clap::{Args, Subcommand};
use sim::families::Group;
use sim::{Plan, Profile, Stats, Still, Verdict, Wishes};
use std::path::PathBuf;
use std::process::ExitCode;

/// A promise was broken.
const EXIT_VIOLATION: u8 = 1;
/// The arguments make no life.
const EXIT_ARGUMENTS: u8 = 2;

/// Arguments of `quorate sim`.
#[derive(Args, Clone, Debug)]
pub struct SimArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Clone, Debug)]
enum What {
    /// Lives one cluster life; exit code 1 when a promise is broken
    Run(RunArgs),
    /// Lives many of them and stops at the first broken promise
    Sweep(sweep::SweepArgs),
    /// Says from a trace why something was committed, or why not
    Explain(ExplainArgs),
    /// Tells one scenario and checks how it ends
    Story {
        /// One of those listed when it is left out
        name: Option<String>,
    },
}

/// What a life is made of.
#[derive(Args, Clone, Debug)]
pub struct LifeArgs {
    /// calm, rough, hostile, or swarm (every knob drawn from the seed)
    #[arg(long, default_value = "swarm", value_parser = profile)]
    pub profile: Profile,
    /// Members, n1 to nN; drawn from the seed under swarm, else 3
    #[arg(long)]
    pub nodes: Option<usize>,
    /// Quorum system over n1, n2, ...
    #[arg(long, value_name = "EXPR")]
    pub quorum: Option<String>,
    /// Client operations
    #[arg(long)]
    pub ops: Option<u32>,
    /// Clients, each with one operation at a time
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub clients: Option<u16>,
    /// Planned faults that happen, by number: 3,7 or none
    #[arg(long, value_name = "LIST")]
    pub faults: Option<String>,
    /// Parts of the environment that behave: loss,duplicates,replays,damage,delays,client-loss,
    /// drift,batches,watches
    #[arg(long, value_name = "LIST")]
    pub still: Option<String>,
    /// Members and the quorum change in every life; under swarm else in every third
    #[arg(long)]
    pub changes: bool,
    /// Draws the quorum system from a family: majority, flexible, weighted, grid, tree, hqs,
    /// zones, wall, wheel, plane, all, or witness (any of them, some members without data)
    #[arg(long, value_parser = family, conflicts_with = "quorum")]
    pub family: Option<Group>,
    /// Clocks run at most this much too fast or too slow; leases allow for 10000
    #[arg(long, value_name = "PPM")]
    pub drift_ppm: Option<u64>,
}

#[derive(Args, Clone, Debug)]
struct RunArgs {
    /// Equal seeds give equal lives
    #[arg(long)]
    seed: u64,
    #[command(flatten)]
    life: LifeArgs,
    /// Writes the trace as JSON lines
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Shows the cluster at work in this terminal
    #[arg(long)]
    show: bool,
}

#[derive(Args, Clone, Debug)]
struct ExplainArgs {
    /// A trace written by `quorate sim run --trace`, `demo --trace` or `trace --out`
    trace: PathBuf,
    #[command(flatten)]
    ask: Ask,
}

fn profile(text: &str) -> Result<Profile, String> {
    Profile::parse(text).ok_or_else(|| "calm, rough, hostile or swarm".to_owned())
}

fn family(text: &str) -> Result<Group, String> {
    let names = || Group::ALL.iter().map(|group| group.name()).collect::<Vec<_>>().join(", ");
    Group::parse(text).ok_or_else(|| format!("one of {}", names()))
}

impl LifeArgs {
    /// # Errors
    /// A list that is not one.
    pub fn wishes(&self) -> Result<Wishes, String> {
        let numbers = |text: &String| match text.as_str() {
            "none" => Ok(Vec::new()),
            list => list
                .split(',')
                .map(|n| n.trim().parse().map_err(|error| format!("--faults {n}: {error}")))
                .collect(),
        };
        let parts = |text: &String| {
            let names = text.split(',').map(str::trim);
            names
                .map(|name| {
                    Still::parse(name).ok_or_else(|| format!("--still: there is no {name}"))
                })
                .collect()
        };
        Ok(Wishes {
            nodes: self.nodes,
            quorum: self.quorum.clone(),
            ops: self.ops,
            clients: self.clients,
            faults: self.faults.as_ref().map(numbers).transpose()?,
            still: self.still.as_ref().map(parts).transpose()?.unwrap_or_default(),
            drift_ppm: self.drift_ppm,
            changes: self.changes,
            family: self.family,
        })
    }
}

pub fn run(args: SimArgs) -> ExitCode {
    quiet_panics();
    let done = match args.what {
        What::Run(args) => one(&args),
        What::Sweep(args) => sweep::sweep(&args),
        What::Explain(args) => explain(&args),
        What::Story { name } => Ok(story(name.as_deref())),
    };
    match done {
        Ok(code) => code,
        Err(text) => {
            eprintln!("quorate sim: {text}");
            ExitCode::from(EXIT_ARGUMENTS)
        }
    }
}

fn one(args: &RunArgs) -> Result<ExitCode, String> {
    let wishes = args.life.wishes()?;
    let plan = Plan::new(args.seed, args.life.profile, &wishes)?;
    let verdict =
        if args.show { show::show(&plan)? } else { sim::run(&plan, args.trace.is_some())? };
    if let Some(path) = &args.trace {
        let written = std::fs::write(path, &verdict.trace);
        written.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    say!("{} members, {}, {:?}", plan.nodes, plan.quorum, plan.rule);
    changes(&verdict.stats).iter().for_each(|line| say!("{line}"));
    for (name, why) in &verdict.refused {
        say!("{name} refuses to start: {why}");
    }
    if let Some(violation) = &verdict.violation {
        say!("VIOLATION at {}: {}: {}", seconds(violation.at.0), violation.rule, violation.what);
        say!("replay: {}", plan.command(&wishes));
    }
    say!("{}", last_line(&plan, &verdict));
    let broken = verdict.violation.is_some();
    Ok(if broken { ExitCode::from(EXIT_VIOLATION) } else { ExitCode::SUCCESS })
}

fn explain(args: &ExplainArgs) -> Result<ExitCode, String> {
    let named = |why: &dyn std::fmt::Display| format!("{}: {why}", args.trace.display());
    let text = std::fs::read_to_string(&args.trace).map_err(|error| named(&error))?;
    let trace = Trace::parse(&text);
    let trace = trace.map_err(|error| named(&format_args!("no trace: {error}")))?;
    trace.answer(&args.ask)?.iter().for_each(|line| say!("{line}"));
    Ok(ExitCode::SUCCESS)
}

fn story(name: Option<&str>) -> ExitCode {
    let Some(name) = name else {
        for (name, about) in sim::story::ALL {
            say!("{name:<20} {about}");
        }
        return ExitCode::SUCCESS;
    };
    match sim::story::tell(name) {
        None => {
            eprintln!("quorate sim: there is no story {name}; see `quorate sim story`");
            ExitCode::from(EXIT_ARGUMENTS)
        }
        Some(told) => {
            told.lines.iter().for_each(|line| say!("{line}"));
            match told.broken {
                None => ExitCode::SUCCESS,
                Some(why) => {
                    say!("NOT AS PROMISED: {why}");
                    ExitCode::from(EXIT_VIOLATION)
                }
            }
        }
    }
}

/// A broken assertion is a finding that the verdict tells; the default report would tell it twice.
pub fn quiet_panics() {
    std::panic::set_hook(Box::new(|_| {}));
}

fn seconds(nanos: u64) -> String {
    format!("{}.{:03} s", nanos / 1_000_000_000, nanos / 1_000_000 % 1000)
}

fn last_line(plan: &Plan, verdict: &Verdict) -> String {
    let (stats, word) =
        (&verdict.stats, if verdict.violation.is_some() { "VIOLATION" } else { "clean" });
    format!(
        "seed {} {word}: {} operations ({} unknown, {} refused), {} virtual, {} events, {}, \
         revision {}, {} entries, chain {:016x}, digest {:016x}",
        plan.seed,
        stats.ops(),
        stats.ops_unknown,
        stats.ops_refused,
        seconds(verdict.time.0),
        stats.events,
        faults(stats),
        verdict.revision,
        verdict.entries,
        verdict.chain,
        verdict.digest
    )
}

/// Changes of members and quorum, if there were any.
pub fn changes(stats: &Stats) -> Option<String> {
    let counts = stats.changes.iter().map(|(name, n)| format!("{name} {n}"));
    let counts: Vec<String> = counts.collect();
    (!counts.is_empty()).then(|| format!("changes: {}", counts.join(", ")))
}

/// Faults that took effect, by kind.
pub fn faults(stats: &Stats) -> String {
    let counts: Vec<String> = stats.faults.iter().map(|(name, n)| format!("{name} {n}")).collect();
    if counts.is_empty() {
        "no faults".to_owned()
    } else {
        format!("{} faults ({})", stats.faults_all(), counts.join(", "))
    }
}
