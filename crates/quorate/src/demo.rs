//! `quorate demo`: a cluster on loopback and a tour of what its quorums decide.

mod cluster;
mod ledger;
mod losses;
mod plan;
mod say;
mod tour;

use anyhow::Context;
use cluster::Cluster;
use ledger::Lie;
use say::Say;
use server::config::ConfigError;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tour::Tour;

/// Members where nobody says how many.
const NODES: u8 = 5;
const NODES_MAX: u8 = 9;

/// Arguments of `quorate demo`.
#[derive(clap::Args, Debug)]
pub struct DemoArgs {
    /// End after the tour; exit 0 only if every claim was checked and true
    #[arg(long)]
    once: bool,
    /// Members to start (1 to 9) [default: those the quorum names, or 5]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=9))]
    nodes: Option<u8>,
    /// Quorum system over n1, n2, ... [default: a majority]
    #[arg(long, value_name = "EXPR")]
    quorum: Option<String>,
    /// Keep the members' data here [default: a temporary directory, removed at the end]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Write what the members said there, as one trace for `quorate sim explain`
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Falsify the trace: the tour must notice
    #[arg(long, hide = true)]
    liar: Option<Lie>,
}

pub fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let own = std::env::temp_dir().join(format!("quorate-demo-{}", std::process::id()));
    let root = args.data_dir.clone().unwrap_or_else(|| own.clone());
    std::fs::create_dir_all(&root).with_context(|| format!("data directory {}", root.display()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut result = runtime.block_on(show(args, &root));
    if let Err(why) = &result
        && why.is::<ConfigError>()
    {
        eprintln!("quorate demo: {why}");
        result = Ok(ExitCode::from(2));
    }
    if args.data_dir.is_none() {
        // Ours alone; a leftover in the system's temporary directory harms nobody.
        let _ = std::fs::remove_dir_all(&own);
    }
    result
}

/// As many members as a quorum text names as `nK`; what is wrong with a text is told later.
fn named(quorum: Option<&str>) -> u8 {
    let spec = quorum.and_then(|text| quorum::SystemSpec::parse(text).ok());
    let number = |name: &str| name.strip_prefix('n')?.parse().ok();
    let highest = spec.iter().flat_map(|spec| spec.names()).filter_map(number).max();
    highest.map_or(NODES, |highest: u8| highest.clamp(1, NODES_MAX))
}

async fn show(args: &DemoArgs, root: &Path) -> anyhow::Result<ExitCode> {
    // Heard from the first moment on: what was started is stopped, and what was made is removed.
    let mut end = End::new()?;
    let mut say = Say::new(args.json);
    let count = usize::from(args.nodes.unwrap_or_else(|| named(args.quorum.as_deref())));
    let mut cluster = Cluster::new(count, args.quorum.as_deref(), root, args.liar)?;
    let mut tour = Tour { cluster: &mut cluster, say: &mut say, acknowledged: Vec::new() };
    let toured = tokio::select! {
        toured = tour.run() => toured,
        () = end.asked() => Err(anyhow::anyhow!("a signal ended it")),
    };
    if let Err(why) = &toured {
        say.claim(false, &format!("the tour reached its end: {why:#}"));
    }
    say.chapter("Verdict");
    say.fact(&format!("{} claims checked, {} false", say.claims, say.failed.len()));
    for text in &say.failed {
        say.fact(&format!("false: {text}"));
    }
    if !args.once && say.failed.is_empty() {
        stay(&say, &cluster, &mut end).await;
    }
    cluster.stop_all();
    if let Some(path) = &args.trace {
        let named = || path.display().to_string();
        std::fs::write(path, cluster.trace()).with_context(named)?;
    }
    let sound = say.claims > 0 && say.failed.is_empty();
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Somebody wants the demo to end: Ctrl-C or SIGTERM.
struct End {
    interrupt: Signal,
    terminate: Signal,
}

impl End {
    fn new() -> std::io::Result<Self> {
        let (interrupt, terminate) = (SignalKind::interrupt(), SignalKind::terminate());
        Ok(Self { interrupt: signal(interrupt)?, terminate: signal(terminate)? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

async fn stay(say: &Say, cluster: &Cluster, end: &mut End) {
    let endpoints = cluster.endpoints().join(",");
    say.chapter("The cluster stays up; stop it with Ctrl-C");
    say.fact(&format!("endpoints: {endpoints}"));
    say.fact(&format!("export ETCDCTL_API=3 ETCDCTL_ENDPOINTS={endpoints}"));
    say.fact("etcdctl endpoint status -w table");
    say.fact("etcdctl put hello world");
    say.fact("etcdctl get --prefix '' -w fields");
    say.fact(&format!("quorate trace --endpoints {endpoints}"));
    end.asked().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quorum_says_how_many_members_there_are() {
        assert_eq!(named(None), 5);
        let zones = "zones(eu{n1, n2, n3}, us{n4, n5, n6}, ap{n7, n8, n9})";
        assert_eq!(named(Some(zones)), 9);
        assert_eq!(named(Some("majority(n1, n2, n3)")), 3);
        assert_eq!(named(Some("majority(n1, n40)")), 9, "then n40 is refused by name");
        assert_eq!(named(Some("majority(")), 5);
    }
}
