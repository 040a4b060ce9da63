//! The `quorate` binary: reads a command line and hands over to a crate.
//!
//! It decides what flags mean, what is printed and with which code a command ends. It never
//! decides anything of a cluster: `serve` starts a member, the others ask, simulate or compute.

mod bench;
mod check_cmd;
mod demo;
mod explain;
mod flags;
mod log;
mod member_cmd;
mod out;
mod quorum_cmd;
mod serve;
mod sim_cmd;
mod size;
mod trace_cmd;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Requests are made on one thread and freed on another, which is what it is good at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "quorate", version, about = "A linearizable key-value store; quorums are data")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs one member (etcd's flags; see `quorate serve --help`).
    #[command(disable_help_flag = true)]
    Serve {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Shows a cluster at work in this terminal.
    Demo(demo::DemoArgs),
    /// Loads a running cluster and reports throughput and latency.
    Bench(bench::BenchArgs),
    /// Lives cluster lives under a virtual clock and checks every promise.
    Sim(sim_cmd::SimArgs),
    /// Checks recorded histories: is there an order that explains every answer?
    Check(check_cmd::CheckArgs),
    /// Lists, adds, removes, promotes and replaces members of a running cluster.
    Member(member_cmd::MemberArgs),
    /// Tells what running members record, in one order: elections, changes, why a write is decided.
    Trace(trace_cmd::TraceArgs),
    /// Analyses a quorum system, or sets that of a running cluster.
    Quorum(quorum_cmd::QuorumArgs),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve { args } => return serve::run(&args),
        Command::Quorum(args) => return quorum_cmd::run(args),
        Command::Check(args) => return check_cmd::run(&args),
        Command::Sim(args) => return sim_cmd::run(args),
        Command::Member(args) => member_cmd::run(args).map(|()| ExitCode::SUCCESS),
        Command::Trace(args) => trace_cmd::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Demo(args) => demo::run(&args),
        Command::Bench(args) => bench::run(args).map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        eprintln!("quorate: {error:#}");
        ExitCode::FAILURE
    })
}
