//! `quorate sim`: cluster lives under a virtual clock.

use clap::{Args, Subcommand};
use sim::{Plan, Profile, Stats, Verdict, Wishes};
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
    #[arg(long)]
    pub clients: Option<u16>,
}

#[derive(Args, Clone, Debug)]
struct RunArgs {
    #[arg(long)]
    seed: u64,
    #[command(flatten)]
    life: LifeArgs,
    /// Writes the trace as JSON lines
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

fn profile(text: &str) -> Result<Profile, String> {
    Profile::parse(text).ok_or_else(|| "calm, rough, hostile or swarm".to_owned())
}

impl LifeArgs {
    pub fn wishes(&self) -> Wishes {
        Wishes {
            nodes: self.nodes,
            quorum: self.quorum.clone(),
            ops: self.ops,
            clients: self.clients,
        }
    }
}

pub fn run(args: SimArgs) -> ExitCode {
    let done = match args.what {
        What::Run(args) => one(&args),
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
    let wishes = args.life.wishes();
    let plan = Plan::new(args.seed, args.life.profile, &wishes)?;
    quiet_panics();
    let verdict = sim::run(&plan, args.trace.is_some())?;
    if let Some(path) = &args.trace {
        let written = std::fs::write(path, &verdict.trace);
        written.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    println!("{} members, {}, {:?}", plan.nodes, plan.quorum, plan.rule);
    println!("{}", faults(&verdict.stats));
    for (name, why) in &verdict.refused {
        println!("{name} refuses to start: {why}");
    }
    println!("{}", last_line(&plan, &verdict));
    if let Some(violation) = &verdict.violation {
        println!(
            "VIOLATION at {}: {}: {}",
            seconds(violation.at.0),
            violation.rule,
            violation.what
        );
        println!("replay: {}", plan.command(&wishes));
        return Ok(ExitCode::from(EXIT_VIOLATION));
    }
    Ok(ExitCode::SUCCESS)
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
        "seed {} {word}: {} operations ({} unknown, {} refused), {} virtual, {} events, {} faults, \
         revision {}, {} entries, chain {:016x}, digest {:016x}",
        plan.seed,
        stats.ops(),
        stats.ops_unknown,
        stats.ops_refused,
        seconds(verdict.time.0),
        stats.events,
        stats.faults_all(),
        verdict.revision,
        verdict.entries,
        verdict.chain,
        verdict.digest
    )
}

/// Faults that took effect, by kind.
pub fn faults(stats: &Stats) -> String {
    let counts: Vec<String> = stats.faults.iter().map(|(name, n)| format!("{name} {n}")).collect();
    match counts.is_empty() {
        true => "no fault took effect".to_owned(),
        false => format!("faults: {}", counts.join(", ")),
    }
}
