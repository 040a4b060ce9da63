//! Trials with real processes: the product beside the real etcd, killed, cut off and compared.
//!
//! Development only; nothing of the product depends on it. [`cluster`] starts and stops members,
//! each trial is a module and a subcommand.

mod beside;
mod chaos;
mod cluster;
mod compare;
mod diff;
mod field;
mod gap;
mod proxy;
mod pulse;
mod replace;
mod unavailable;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Trials with real processes.
#[derive(Parser, Debug)]
#[command(name = "trial", max_term_width = 100)]
struct Args {
    /// The quorate binary under trial [default: target/release/quorate of this workspace]
    #[arg(long, global = true)]
    quorate: Option<PathBuf>,
    #[command(subcommand)]
    trial: Trial,
}

#[derive(Subcommand, Debug)]
enum Trial {
    /// Start three members of quorate and of etcd, and print their versions
    Smoke,
    /// Kill, stop, cut off and empty members under load, and check every answer
    Chaos(chaos::Args),
    /// Throughput, latency and CPU beside three members of etcd
    Compare(compare::Args),
    /// Send random sequences to quorate and to the real etcd and compare every answer
    DiffEtcd(diff::Options),
    /// What a member meets in the field: each fault once reported, played beside the real etcd
    Field(field::Args),
    /// What others notice while one client asks the leader for much, beside etcd
    Pulse(pulse::Args),
    /// Time without acknowledged puts while a dead member of a loaded cluster is replaced
    Replace(replace::Args),
    /// Time without acknowledged puts when the leader is killed or stopped, beside etcd
    Unavailable(unavailable::Args),
}

fn main() -> ExitCode {
    let args = Args::parse();
    let quorate = args.quorate.unwrap_or_else(cluster::quorate_binary);
    let result = match args.trial {
        Trial::Smoke => smoke(quorate),
        Trial::Chaos(args) => chaos::run(&cluster::Program::Quorate(quorate), &args),
        Trial::Compare(args) => compare::run(&quorate, &args),
        Trial::DiffEtcd(options) => diff::run(quorate, options),
        Trial::Field(args) => field::run(&quorate, &args),
        Trial::Pulse(args) => pulse::run(&quorate, &args),
        Trial::Replace(args) => replace::run(&quorate, &args),
        Trial::Unavailable(args) => unavailable::run(&cluster::Program::Quorate(quorate), &args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why:#}");
            ExitCode::FAILURE
        }
    }
}

fn smoke(quorate: PathBuf) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for program in [cluster::Program::Quorate(quorate), cluster::Program::Etcd] {
        let cluster = cluster::Cluster::start(&program, 3, &[])?;
        let channel = client::Channel::new(&cluster.endpoint(0));
        let request = api::etcdserverpb::StatusRequest::default();
        let status: api::etcdserverpb::StatusResponse =
            runtime.block_on(channel.call(client::method::maintenance::STATUS, &request))?;
        println!("{program}: version {}, leader {:x}", status.version, status.leader);
    }
    Ok(())
}
