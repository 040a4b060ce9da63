//! Throughput, latency and CPU of three members of quorate beside three of etcd, or of another
//! build of quorate.
//!
//! Every run starts both clusters anew, one after the other on an otherwise idle machine, and
//! puts the same load on each. Quorate's clients are spread over all members; of etcd the better
//! of two placements counts: spread, or all at the leader. Reported are medians over the runs,
//! and the ratio of medians.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use api::etcdserverpb::{StatusRequest, StatusResponse};
use client::{Channel, method};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Program};

const MEMBERS: usize = 3;

/// Options of `trial compare`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Runs of each system, interleaved
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Measured seconds of each load
    #[arg(long, default_value_t = 4.0)]
    duration: f64,
    /// Requests in flight at once
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// Bytes in a value
    #[arg(long, default_value_t = 256)]
    val_size: usize,
    /// Number of different keys, all written before the reads
    #[arg(long, default_value_t = 10_000)]
    key_space: u64,
    /// Flags for quorate only, e.g. "--quorum=2 of (n1, n2, n3)"
    #[arg(long)]
    flag: Vec<String>,
    /// Another build of quorate to stand beside instead of etcd, such as the one before a change
    #[arg(long, value_name = "BINARY")]
    before: Option<PathBuf>,
    /// Print one line of JSON besides the table
    #[arg(long)]
    json: bool,
}

/// The loads, by the name `quorate bench` gives them.
const LOADS: [&str; 2] = ["put", "range"];

/// What one load of one run showed.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    ops_per_s: f64,
    p50_us: f64,
    p99_us: f64,
    server_cpu_us_per_op: f64,
    client_cpu_us_per_op: f64,
}

impl Args {
    /// What quorate stands beside.
    fn other(&self) -> Program {
        self.before.clone().map_or(Program::Etcd, Program::Quorate)
    }

    fn other_name(&self) -> &'static str {
        if self.before.is_some() { "before" } else { "etcd" }
    }

    /// Columns of the other, and whether its clients are at the leader; quorate's are spread.
    fn placements(&self) -> &'static [(usize, bool)] {
        if self.before.is_some() { &[(1, false)] } else { &[(1, false), (2, true)] }
    }
}

/// A named figure of a sample.
type Figure = (&'static str, fn(&Sample) -> f64);

const FIGURES: [Figure; 5] = [
    ("ops/s", |sample| sample.ops_per_s),
    ("p50 us", |sample| sample.p50_us),
    ("p99 us", |sample| sample.p99_us),
    ("server CPU us/op", |sample| sample.server_cpu_us_per_op),
    ("client CPU us/op", |sample| sample.client_cpu_us_per_op),
];

/// Runs the comparison and prints its table.
///
/// # Errors
/// A cluster that does not start, a load with a failed request, or a missing binary.
pub fn run(quorate: &Path, args: &Args) -> Result<()> {
    ensure!(args.runs > 0, "--runs: at least 1");
    let mut samples: Vec<Vec<Vec<Sample>>> = vec![vec![Vec::new(); 3]; LOADS.len()];
    for run in 0..args.runs {
        // The order alternates, so that neither system always finds the warmer disk.
        for turn in 0..2 {
            let first = (run + turn) % 2 == 0;
            eprintln!(
                "run {} of {}: {}",
                run + 1,
                args.runs,
                if first { "quorate" } else { args.other_name() }
            );
            if first {
                let program = Program::Quorate(PathBuf::from(quorate));
                let flags: Vec<&str> = args.flag.iter().map(String::as_str).collect();
                let cluster = Cluster::start(&program, MEMBERS, &flags)?;
                measure(quorate, args, &cluster, &cluster.endpoints(), &mut samples, 0)?;
            } else {
                for &(at, at_leader) in args.placements() {
                    let cluster = Cluster::start(&args.other(), MEMBERS, &[])?;
                    let endpoints =
                        if at_leader { vec![leader(&cluster)?] } else { cluster.endpoints() };
                    measure(quorate, args, &cluster, &endpoints, &mut samples, at)?;
                }
            }
        }
    }
    report(args, &samples);
    Ok(())
}

/// Puts every load on one cluster and notes what came out in column `at`.
fn measure(
    quorate: &Path,
    args: &Args,
    cluster: &Cluster,
    endpoints: &[String],
    samples: &mut [Vec<Vec<Sample>>],
    at: usize,
) -> Result<()> {
    bench(quorate, args, "put", endpoints, &["--preload", "--duration", "0.5"])?;
    for (load, columns) in LOADS.iter().zip(samples) {
        let duration = args.duration.to_string();
        let before = cluster.cpu_used()?;
        let answer = bench(quorate, args, load, endpoints, &["--duration", &duration])?;
        let used = cluster.cpu_used()?.saturating_sub(before);
        let number = |value: &Value| value.as_f64().context("bench --json lacks a number");
        let ops = number(&answer["ops"])?;
        columns[at].push(Sample {
            ops_per_s: number(&answer["ops_per_s"])?,
            p50_us: number(&answer["latency_us"]["p50"])?,
            p99_us: number(&answer["latency_us"]["p99"])?,
            server_cpu_us_per_op: used.as_secs_f64() * 1e6 / ops,
            client_cpu_us_per_op: number(&answer["client_cpu_us_per_op"])?,
        });
    }
    Ok(())
}

/// One load by `quorate bench`; a failed request fails the comparison.
fn bench(
    quorate: &Path,
    args: &Args,
    load: &str,
    endpoints: &[String],
    more: &[&str],
) -> Result<Value> {
    let output = Command::new(quorate)
        .args(["bench", load, "--json", "--warmup", "0", "--conns", "12"])
        .args(["--endpoints", &endpoints.join(",")])
        .args(["--clients", &args.clients.to_string()])
        .args(["--val-size", &args.val_size.to_string()])
        .args(["--key-space", &args.key_space.to_string()])
        .args(more)
        .output()
        .context("start quorate bench")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "quorate bench {load}: {errors}");
    let answer: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(answer["errors"] == 0, "quorate bench {load}: {}", answer["error_kinds"]);
    Ok(answer)
}

/// The endpoint of the member that leads.
fn leader(cluster: &Cluster) -> Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for endpoint in cluster.endpoints() {
        let channel = Channel::new(&endpoint);
        let request = StatusRequest::default();
        let call = channel.call(method::maintenance::STATUS, &request);
        let status: StatusResponse = runtime.block_on(call)?;
        if status.header.is_some_and(|header| header.member_id == status.leader) {
            return Ok(endpoint);
        }
    }
    anyhow::bail!("no member says that it leads")
}

fn median(mut values: Vec<f64>) -> f64 {
    assert!(!values.is_empty(), "a median needs a value");
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}

fn report(args: &Args, samples: &[Vec<Vec<Sample>>]) {
    let (mut lines, other) = (Vec::new(), args.other_name());
    let placement = format!("{other}_placement");
    println!(
        "medians of {} runs, {} clients, {}-byte values, {} keys, {MEMBERS} members, fsync on",
        args.runs, args.clients, args.val_size, args.key_space
    );
    for (load, columns) in LOADS.iter().zip(samples) {
        let of = |at: usize, figure: fn(&Sample) -> f64| {
            median(columns[at].iter().map(figure).collect())
        };
        let throughput = |at| of(at, |sample| sample.ops_per_s);
        let spread = args.before.is_some() || throughput(1) >= throughput(2);
        let better = if spread { 1 } else { 2 };
        let placed = if better == 1 { "spread" } else { "leader" };
        println!(
            "\n{load:<18} {:>10} {:>14} {:>7}",
            "quorate",
            format!("{other} {placed}"),
            "ratio"
        );
        let mut figures = serde_json::Map::new();
        for (name, figure) in FIGURES {
            let (ours, theirs) = (of(0, figure), of(better, figure));
            let ratio = ours / theirs;
            println!("{name:<18} {ours:>10.0} {theirs:>14.0} {ratio:>7.2}");
            figures
                .insert(name.to_owned(), json!({ "quorate": ours, other: theirs, "ratio": ratio }));
        }
        let runs: Vec<f64> = columns[0]
            .iter()
            .zip(&columns[better])
            .map(|(q, e)| q.ops_per_s / e.ops_per_s)
            .collect();
        let (least, most) =
            runs.iter().fold((f64::MAX, 0.0_f64), |(l, m), r| (l.min(*r), m.max(*r)));
        println!("ratio of ops/s by run: {least:.2} to {most:.2}");
        lines.push(json!({ "load": load, placement.as_str(): placed, "figures": figures }));
    }
    if args.json {
        println!("{}", json!({ "runs": args.runs, "loads": lines }));
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn a_median_is_the_middle_or_the_mean_of_the_two_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
