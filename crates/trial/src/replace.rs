//! Whether puts go on while a dead member of a loaded three-member cluster is replaced.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use crate::cluster::{Cluster, Program};
use crate::gap::{Load, leader, ms, spread};

const MEMBERS: usize = 3;
const CLIENTS_EACH: usize = 8;
const ELECTION_TIMEOUT: Duration = Duration::from_millis(1000);
const FLAGS: [&str; 2] = ["--heartbeat-interval=100", "--election-timeout=1000"];
/// Checkpoints so often, and so few entries kept below them, that a newcomer needs one.
const CHECKPOINT_FLAGS: [&str; 3] =
    ["--checkpoint-bytes-min=65536", "--snapshot-count=500", "--snapshot-catchup-entries=100"];
/// Far more than `CHECKPOINT_FLAGS` keep.
const PUTS_BEFORE: usize = 3000;
const PATIENCE: Duration = Duration::from_secs(60);
/// Load watched before the strike, and after the end of the replacement.
const SETTLED: Duration = Duration::from_millis(2000);

/// Arguments of the trial.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Clusters of each case, taken in turn
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Print one line of JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Who is dead, and how the newcomer catches up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Follower,
    Leader,
    ByCheckpoint,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Follower => "follower",
            Self::Leader => "leader",
            Self::ByCheckpoint => "follower, joins by checkpoint",
        })
    }
}

/// What one replacement cost.
struct Measured {
    /// Longest time without an acknowledged put, from the command on.
    gap: Duration,
    /// From the command to its end.
    took: Duration,
    /// Acknowledged meanwhile.
    puts: usize,
}

/// Replaces dead members and holds the gaps against the bar.
///
/// # Errors
/// A replacement that failed, or puts that paused for more than an election timeout.
pub fn run(quorate: &Path, args: &Args) -> Result<()> {
    let mut results = Vec::new();
    for case in [Case::Follower, Case::Leader, Case::ByCheckpoint] {
        let (mut gaps, mut took) = (Vec::new(), Vec::new());
        for n in 0..args.runs {
            let one = measure(quorate, case).with_context(|| format!("{case}, run {n}"))?;
            if !args.json {
                println!(
                    "{case}: longest gap {} ms; replaced in {} ms under {} puts",
                    ms(one.gap),
                    ms(one.took),
                    one.puts
                );
            }
            gaps.push(one.gap);
            took.push(one.took);
        }
        results.push((case, spread(&mut gaps), spread(&mut took), gaps));
    }
    let rows: Vec<_> = results
        .iter()
        .map(|(case, gap, took, _)| json!({ "dead": case.to_string(), "gap": gap, "took": took }))
        .collect();
    if args.json {
        let timeout = ms(ELECTION_TIMEOUT);
        let (trial, runs) = ("replace", args.runs);
        let line =
            json!({ "trial": trial, "runs": runs, "election_timeout_ms": timeout, "cases": rows });
        println!("{line}");
    } else {
        println!("\nms without a put                    median     min     max");
        for row in &rows {
            let number = |name: &str| row["gap"][name].as_u64().unwrap_or(0);
            let dead = row["dead"].as_str().unwrap_or_default();
            let (median, least, most) = (number("median_ms"), number("min_ms"), number("max_ms"));
            println!("{dead:32} {median:9} {least:7} {most:7}");
        }
    }
    for (case, .., gaps) in &results {
        let most = gaps.iter().copied().max().unwrap_or_default();
        ensure!(most <= ELECTION_TIMEOUT, "{case}: puts paused for {} ms", ms(most));
    }
    Ok(())
}

fn measure(quorate: &Path, case: Case) -> Result<Measured> {
    let mut flags = FLAGS.to_vec();
    if case == Case::ByCheckpoint {
        flags.extend(CHECKPOINT_FLAGS);
    }
    let program = Program::Quorate(quorate.to_owned());
    let mut cluster = Cluster::start(&program, MEMBERS, &flags)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _entered = runtime.enter();
    let load = Load::start(&cluster.endpoints(), CLIENTS_EACH);
    let result = runtime.block_on(replace(quorate, case, &mut cluster, &load));
    runtime.block_on(load.stop())?;
    result
}

async fn replace(
    quorate: &Path,
    case: Case,
    cluster: &mut Cluster,
    load: &Load,
) -> Result<Measured> {
    let until = Instant::now() + PATIENCE;
    tokio::time::sleep(SETTLED).await;
    while case == Case::ByCheckpoint && load.count() < PUTS_BEFORE {
        ensure!(Instant::now() < until, "only {} puts", load.count());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let leads = leader(cluster).await?;
    let dead = if case == Case::Leader { leads } else { (leads + 1) % MEMBERS };
    cluster.kill(dead);
    flows(load, Instant::now()).await?;

    let new = cluster.reserve()?;
    let alive: Vec<_> =
        (0..MEMBERS).filter(|at| *at != dead).map(|at| cluster.endpoint(at)).collect();
    let (from, before) = (Instant::now(), load.count());
    let mut command = Command::new(quorate)
        .args(["member", "replace", &format!("n{}", dead + 1), &format!("n{}", new + 1)])
        .arg(format!("--peer-urls=http://{}", cluster.peer_address(new)))
        .arg(format!("--endpoints={}", alive.join(",")))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // The load runs on this thread: reading must not stop it.
    let (out, err) = (command.stdout.take(), command.stderr.take());
    let begun = tokio::task::spawn_blocking(move || until_in(out, err)).await?;
    let ended = match begun.and_then(|()| cluster.spawn(new)) {
        Ok(()) => end_of(&mut command).await,
        Err(why) => Err(why),
    };
    // Ours, and perhaps at its end already.
    let _ = (command.kill(), command.wait());
    ended?;
    let took = from.elapsed();
    flows(load, Instant::now()).await?;
    let by_checkpoint = std::fs::read_dir(cluster.data_dir(new).join("checkpoints"))?.count() > 0;
    ensure!(case != Case::ByCheckpoint || by_checkpoint, "the newcomer holds no checkpoint");
    let gap = load.gap(from, Instant::now());
    Ok(Measured { gap, took, puts: load.count() - before })
}

/// Waits until puts have flowed for a while without a pause.
async fn flows(load: &Load, from: Instant) -> Result<()> {
    let flows = load.flows(from, SETTLED, ELECTION_TIMEOUT / 2, from + PATIENCE).await;
    flows.map(drop).context("puts do not flow")
}

/// Reads what the command says until the newcomer may be started.
fn until_in(out: Option<ChildStdout>, err: Option<ChildStderr>) -> Result<()> {
    let mut out = BufReader::new(out.context("a pipe")?);
    let mut said = String::new();
    while out.read_line(&mut said)? > 0 {
        if said.contains("is in as a learner") {
            // The rest, so that the command never waits for a reader.
            std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
            return Ok(());
        }
    }
    let why = std::io::read_to_string(err.context("a pipe")?)?;
    bail!("the replacement was not begun: {said}{why}")
}

async fn end_of(command: &mut Child) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = command.try_wait()? {
            ensure!(status.success(), "the replacement failed ({status})");
            return Ok(());
        }
        ensure!(Instant::now() < until, "the replacement does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
