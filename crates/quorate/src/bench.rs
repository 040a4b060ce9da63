//! `quorate bench`: a load generator for any endpoint that speaks etcd's v3 API.
//!
//! It uses one thread and the `h2` crate directly, so that its own cost stays small next to the
//! cost of the server it measures; `bench null-server` exists to state that cost. With `--rate`
//! the load is an open loop: a latency counts from the moment the request should have started,
//! so a stalled server cannot hide the requests it delayed (coordinated omission).

mod cpu;
mod load;
mod null_server;
mod report;

use crate::out::say;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand, ValueEnum};

/// Arguments of `quorate bench`.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    #[command(subcommand)]
    workload: Workload,
}

#[derive(Subcommand, Clone, Debug)]
enum Workload {
    /// Write random keys
    Put(LoadArgs),
    /// Read random keys, one at a time
    Range(LoadArgs),
    /// Write and read random keys (see --write-percent)
    Mixed(LoadArgs),
    /// Answer every Put and Range with a constant, to measure the load generator itself
    #[command(hide = true)]
    NullServer(NullServerArgs),
}

#[derive(Args, Clone, Debug)]
struct NullServerArgs {
    /// Address to listen on; port 0 picks a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Bytes in the value of every Range answer
    #[arg(long, default_value_t = 256)]
    val_size: usize,
}

/// Which reads: those a quorum confirmed, or those of one member's own state.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Consistency {
    /// Linearizable
    #[value(name = "l")]
    Linearizable,
    /// Serializable
    #[value(name = "s")]
    Serializable,
}

#[derive(Args, Clone, Debug)]
struct LoadArgs {
    /// Endpoints, comma-separated: host:port or http://host:port
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:2379")]
    endpoints: Vec<String>,
    /// HTTP/2 connections, spread over the endpoints [default: one per client, at most 16]
    #[arg(long)]
    conns: Option<usize>,
    /// Requests in flight at once
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// Bytes in a key
    #[arg(long, default_value_t = 8)]
    key_size: usize,
    /// Bytes in a value
    #[arg(long, default_value_t = 256)]
    val_size: usize,
    /// Number of different keys
    #[arg(long, default_value_t = 100_000)]
    key_space: u64,
    /// Stop after this many measured requests
    #[arg(long, conflicts_with = "duration")]
    total: Option<u64>,
    /// Stop after this long: seconds, or with a unit [default: 5 unless --total is given]
    #[arg(long, value_parser = seconds)]
    duration: Option<f64>,
    /// Start this many requests a second, however slowly they are answered
    #[arg(long)]
    rate: Option<u64>,
    /// Kind of read: l(inearizable) or s(erializable)
    #[arg(long, value_enum, default_value = "l")]
    consistency: Consistency,
    /// Load before measuring starts: seconds, or with a unit
    #[arg(long, default_value_t = 0.5, value_parser = seconds)]
    warmup: f64,
    /// Share of writes in a mixed load
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=100))]
    write_percent: u8,
    /// Write every key once before the load starts
    #[arg(long)]
    preload: bool,
    /// A request without an answer after this many milliseconds counts as an error
    #[arg(long, default_value_t = 10_000)]
    timeout_ms: u64,
    /// Seed of the keys' and values' generator
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
}

/// `2`, `0.5`, `500ms`, `3s` or `2m`, in seconds.
fn seconds(text: &str) -> Result<f64, String> {
    let (number, scale) = match text.strip_suffix("ms") {
        Some(number) => (number, 1e-3),
        None => match (text.strip_suffix('s'), text.strip_suffix('m')) {
            (Some(number), _) => (number, 1.0),
            (None, Some(number)) => (number, 60.0),
            (None, None) => (text, 1.0),
        },
    };
    let number: f64 = number.parse().map_err(|_| "a time such as 5, 2s or 500ms is expected")?;
    Ok(number * scale)
}

/// The largest key and value the generator makes; etcd refuses requests above 1.5 MiB.
const KEY_BYTES_MAX: usize = 64 << 10;
const VALUE_BYTES_MAX: usize = 8 << 20;
const CLIENTS_MAX: usize = 100_000;
const CONNECTIONS_DEFAULT_MAX: usize = 16;

/// Runs the load and prints its result on standard output.
///
/// # Errors
/// Arguments that make no sense, endpoints that cannot be reached at the start, and a load in
/// which no request succeeded. Requests that fail during the load are counted, not returned.
pub fn run(args: BenchArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    match args.workload {
        Workload::Put(load) => local.block_on(&runtime, run_load("put", 100, load)),
        Workload::Range(load) => local.block_on(&runtime, run_load("range", 0, load)),
        Workload::Mixed(load) => {
            local.block_on(&runtime, run_load("mixed", load.write_percent, load))
        }
        Workload::NullServer(args) => {
            local.block_on(&runtime, null_server::serve(args.listen, args.val_size))
        }
    }
}

async fn run_load(name: &'static str, write_percent: u8, args: LoadArgs) -> anyhow::Result<()> {
    let plan = plan(write_percent, &args)?;
    let authorities = args
        .endpoints
        .iter()
        .map(|endpoint| client::authority(endpoint).map_err(anyhow::Error::msg))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let connections =
        args.conns.unwrap_or_else(|| args.clients.clamp(1, CONNECTIONS_DEFAULT_MAX)).max(1);
    let mut pool = Vec::with_capacity(connections);
    for at in 0..connections {
        let authority = &authorities[at % authorities.len()];
        let connection = load::Connection::new(authority);
        connection.channel.connect().await.with_context(|| format!("connect to {authority}"))?;
        pool.push(Rc::new(connection));
    }
    if args.preload {
        load::preload(&pool, &plan).await?;
    }
    let visible = !args.json && std::io::stderr().is_terminal();
    let result = load::run(&pool, plan, visible).await;
    let header = report::Header {
        operation: name,
        endpoints: authorities.len(),
        connections,
        clients: args.clients,
        key_size: args.key_size,
        val_size: args.val_size,
        key_space: args.key_space,
        rate: args.rate,
        linearizable: args.consistency == Consistency::Linearizable,
    };
    if args.json {
        say!("{}", report::json(&header, &result));
    } else {
        crate::out::put(format_args!("{}", report::text(&header, &result)));
    }
    if result.operations() == 0 {
        bail!("no request succeeded ({} failed)", result.failures());
    }
    Ok(())
}

/// Turns the arguments into a load, refusing what cannot be meant.
fn plan(write_percent: u8, args: &LoadArgs) -> anyhow::Result<load::Plan> {
    ensure!((1..=KEY_BYTES_MAX).contains(&args.key_size), "--key-size: 1 to {KEY_BYTES_MAX}");
    ensure!(args.val_size <= VALUE_BYTES_MAX, "--val-size: at most {VALUE_BYTES_MAX}");
    ensure!((1..=CLIENTS_MAX).contains(&args.clients), "--clients: 1 to {CLIENTS_MAX}");
    ensure!(args.key_space > 0, "--key-space: at least 1");
    ensure!(args.rate != Some(0), "--rate: at least 1");
    let digits = args.key_size.min(20) as u32;
    let names = 10u128.pow(digits);
    ensure!(
        u128::from(args.key_space) <= names,
        "--key-space {} does not fit keys of {} digits",
        args.key_space,
        args.key_size
    );
    let seconds = |name: &str, value: f64| {
        Duration::try_from_secs_f64(value).with_context(|| format!("{name} {value}"))
    };
    let stop = match (args.total, args.duration) {
        (Some(total), _) => load::Stop::After(total),
        (None, wanted) => load::Stop::At(seconds("--duration", wanted.unwrap_or(5.0))?),
    };
    Ok(load::Plan {
        write_percent,
        clients: args.clients,
        key_size: args.key_size,
        val_size: args.val_size,
        key_space: args.key_space,
        stop,
        rate: args.rate,
        serializable: args.consistency == Consistency::Serializable,
        warmup: seconds("--warmup", args.warmup)?,
        timeout: Duration::from_millis(args.timeout_ms.max(1)),
        seed: args.seed,
    })
}

#[cfg(test)]
mod tests;
