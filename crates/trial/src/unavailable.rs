//! How long nobody's put is acknowledged when the leader dies or stops: quorate beside etcd.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Program};
use crate::gap::{Load, leader, median, ms, spread};

const MEMBERS: usize = 3;
const ELECTION_TIMEOUT: Duration = Duration::from_millis(1000);
/// etcd's defaults, said explicitly.
const FLAGS: [&str; 4] = ["--heartbeat-interval", "100", "--election-timeout", "1000"];
const WARM_UP: Duration = Duration::from_millis(1500);
/// Watched after the event; longer than any election should take.
const WATCHED: Duration = Duration::from_secs(6);
/// Load that must flow again before the watching ends early.
const SETTLED: Duration = Duration::from_millis(1000);
const RATIO_MAX: f64 = 0.7;
const STOP_TIMEOUTS_MAX: f64 = 2.5;

/// Arguments of the trial.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Clusters of each program, taken in turn
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Print one line of JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// What befalls the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Kill,
    Stop,
}

/// Gaps of one program.
#[derive(Default)]
struct Gaps {
    kill: Vec<Duration>,
    stop: Vec<Duration>,
}

/// Measures both programs in turn and holds the product against the bars.
///
/// # Errors
/// A cluster that does not come back, or a bar that was missed.
pub fn run(quorate: &Program, args: &Args) -> Result<()> {
    let (mut ours, mut theirs) = (Gaps::default(), Gaps::default());
    for n in 0..args.runs {
        let mut pair = [(quorate, &mut ours), (&Program::Etcd, &mut theirs)];
        if n % 2 == 1 {
            pair.reverse();
        }
        for (program, gaps) in pair {
            let (kill, stop) = measure(program).with_context(|| format!("run {n}, {program}"))?;
            gaps.kill.push(kill);
            gaps.stop.push(stop);
            if !args.json {
                println!("{program:8} killed {:5} ms, stopped {:5} ms", ms(kill), ms(stop));
            }
        }
    }
    let ratio = median(&mut ours.kill).as_secs_f64() / median(&mut theirs.kill).as_secs_f64();
    let timeouts = median(&mut ours.stop).as_secs_f64() / ELECTION_TIMEOUT.as_secs_f64();
    let result = json!({
        "trial": "unavailable",
        "runs": args.runs,
        "members": MEMBERS,
        "election_timeout_ms": ms(ELECTION_TIMEOUT),
        "kill": { "quorate": spread(&mut ours.kill), "etcd": spread(&mut theirs.kill) },
        "stop": { "quorate": spread(&mut ours.stop), "etcd": spread(&mut theirs.stop) },
        "kill_ratio": ratio,
        "stop_election_timeouts": timeouts,
    });
    if args.json {
        println!("{result}");
    } else {
        print(&result, ratio, timeouts);
    }
    ensure!(ratio <= RATIO_MAX, "killed: {ratio:.2} of etcd's median, at most {RATIO_MAX}");
    ensure!(timeouts <= STOP_TIMEOUTS_MAX, "stopped: {timeouts:.2} election timeouts");
    Ok(())
}

fn print(result: &Value, ratio: f64, timeouts: f64) {
    println!("\nms without a put    median     min     max");
    for event in ["kill", "stop"] {
        for program in ["quorate", "etcd"] {
            let row = &result[event][program];
            let number = |name: &str| row[name].as_u64().unwrap_or(0);
            let (median, min, max) = (number("median_ms"), number("min_ms"), number("max_ms"));
            println!("{event:5} {program:10} {median:9} {min:7} {max:7}");
        }
    }
    println!("killed: {ratio:.2} of etcd's median (bar {RATIO_MAX})");
    println!("stopped: {timeouts:.2} election timeouts (bar {STOP_TIMEOUTS_MAX})");
}

/// One cluster: its leader killed, and the next one stopped.
fn measure(program: &Program) -> Result<(Duration, Duration)> {
    let mut cluster = Cluster::start(program, MEMBERS, &FLAGS)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _entered = runtime.enter();
    let load = Load::start(&cluster.endpoints(), 1);
    let result = runtime.block_on(async {
        let kill = hurt(&mut cluster, &load, Event::Kill).await?;
        cluster.await_ready()?;
        let stop = hurt(&mut cluster, &load, Event::Stop).await?;
        Ok((kill, stop))
    });
    runtime.block_on(load.stop())?;
    result
}

/// Strikes the leader under load and returns the longest time without an acknowledged put.
async fn hurt(cluster: &mut Cluster, load: &Load, event: Event) -> Result<Duration> {
    tokio::time::sleep(WARM_UP).await;
    let leader = leader(cluster).await?;
    let from = Instant::now();
    ensure!(load.gap(from - SETTLED, from) < SETTLED, "the load does not flow before the event");
    match event {
        Event::Kill => cluster.kill(leader),
        Event::Stop => cluster.signal(leader, Signal::STOP),
    }
    // The end is either of quiet: everything flows again, or patience is over.
    let least = from + 3 * ELECTION_TIMEOUT - SETTLED;
    let flows = load.flows(least, SETTLED, ELECTION_TIMEOUT / 4, from + WATCHED).await;
    let until = flows.unwrap_or_else(Instant::now);
    let gap = load.gap(from, until);
    match event {
        Event::Kill => cluster.spawn(leader)?,
        Event::Stop => cluster.signal(leader, Signal::CONT),
    }
    Ok(gap)
}
