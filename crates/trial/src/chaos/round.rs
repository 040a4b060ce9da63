//! One round: a fresh cluster, load, faults, heal, and every claim checked.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base::Prng;

use super::history::{Event, Op, Tally};
use super::load::{Client, Shared};
use super::nemesis::Nemesis;
use super::schedule::{Fault, Loss, Shape, Target, schedule, step};
use super::shown::Shown;
use super::strangers::History;
use super::watcher::Leaders;
use super::{aftermath, dump, search, verdict};
use crate::cluster::{Cluster, Program, free_ports};
use crate::proxy::Proxies;

const ACKNOWLEDGED_MIN: u64 = 500;
const ACKNOWLEDGED: &str = "500 acknowledged operations";
const PARTITION: &str = "partition";
/// Time beyond the schedule, until a round has everything it needs: a slow machine needs more.
const EXTRA_MAX: Duration = Duration::from_secs(60);
/// Checkpoints after little, and few entries kept: who was away long gets a checkpoint.
const FLAGS: [&str; 10] = [
    "--heartbeat-interval",
    "20",
    "--election-timeout",
    "200",
    "--snapshot-count",
    "200",
    "--snapshot-catchup-entries",
    "50",
    "--checkpoint-bytes-min",
    "65536",
];

/// What one round is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub members: usize,
    /// Some members never met one whose directory is lost.
    pub history: Option<History>,
    pub keep: bool,
    /// Where a failed round leaves its files.
    pub remains: PathBuf,
}

/// What a round did and found.
#[derive(Debug, Default)]
pub struct Report {
    pub tally: Tally,
    /// Unknown writes that the final history holds.
    pub unknown_applied: u64,
    pub faults: BTreeMap<&'static str, u64>,
    pub leader_changes: u64,
    /// Longest time without an acknowledged write.
    pub unavailable: Duration,
    pub wrong: Vec<String>,
    pub took: Duration,
}

/// Runs a round.
///
/// # Errors
/// The trial itself could not be carried out; what the product did wrong is in the report.
pub fn run(program: &Program, plan: &Plan) -> Result<Report> {
    let began = Instant::now();
    let initial = plan.history.map_or(plan.members, |history| history.initial(plan.members));
    let mut cluster = Cluster::prepare(program, initial, &FLAGS)?;
    while cluster.len() < plan.members {
        cluster.reserve()?;
    }
    let count = cluster.len();
    let ports = free_ports(count)?;
    let targets: Vec<_> = (0..count).map(|at| cluster.peer_address(at)).collect();
    let proxies = Proxies::start(&ports, &targets, &cluster.endpoints())?;
    for (at, &port) in ports.iter().enumerate() {
        cluster.put_proxy(at, port);
    }
    let first = plan.history.map_or(0..count, |history| history.founders(count));
    for at in 0..count {
        if first.contains(&at) {
            cluster.spawn(at)?;
        } else {
            proxies.net.set_up(at, false);
        }
    }
    cluster.await_ready()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let shared = Shared::new(cluster.endpoints());
    let leaders = Arc::new(Leaders::default());
    let random = Prng::new(plan.seed);
    let net = Arc::clone(&proxies.net);
    let nemesis = Nemesis::new(cluster, net, Arc::clone(&shared), Arc::clone(&leaders), random);
    let (shown, ops, log) = (Arc::default(), Vec::new(), Vec::new());
    let mut round = Round { nemesis, shared, leaders, shown, ops, log };
    let result = runtime.block_on(round.act(plan));
    let strangers = proxies.net.strangers.load(Ordering::Relaxed);
    let mut report = round.report();
    report.wrong.extend(result.err().map(|why| format!("{why:#}")));
    if strangers > 0 {
        report.wrong.push(format!("{strangers} peer connections without a known dialer"));
    }
    report.took = began.elapsed();
    if plan.keep || !report.wrong.is_empty() {
        dump::keep(&plan.remains, &mut round, &report)?;
    }
    Ok(report)
}

/// A round while it runs.
pub struct Round {
    pub nemesis: Nemesis,
    shared: Arc<Shared>,
    leaders: Arc<Leaders>,
    shown: Arc<Shown>,
    pub ops: Vec<Op>,
    pub log: Vec<Event>,
}

impl Round {
    async fn act(&mut self, plan: &Plan) -> Result<()> {
        let seed = plan.seed;
        let count = self.nemesis.cluster.len();
        let mut tasks = tokio::task::JoinSet::new();
        for at in 0..count {
            tasks.spawn(Arc::clone(&self.leaders).watch(at, Arc::clone(&self.shared)));
            tasks.spawn(Arc::clone(&self.shown).read(at, Arc::clone(&self.shared)));
            tasks.spawn(Arc::clone(&self.shown).watch(at, Arc::clone(&self.shared)));
        }
        for id in 0..if count > 3 { 8 } else { 6 } {
            tasks.spawn(Client::new(id, seed, Arc::clone(&self.shared)).run());
        }
        let acted = self.hurt(plan).await;
        self.shared.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = tasks.join_next().await {
            ended.context("a client")?;
        }
        self.ops = self.shared.recorder.take();
        acted?;
        let survivors = self.survivors().await?;
        self.log = aftermath::settle(&mut self.nemesis.cluster, &survivors, &mut self.ops, || {
            self.shared.recorder.now()
        })
        .await?;
        if let Some(lost) = self.nemesis.lost.filter(|lost| lost.stays_out) {
            aftermath::stays_out(&self.nemesis.cluster, lost.at, &survivors).await?;
        }
        self.nemesis.nobody_ended()
    }

    /// The history, the schedule, then more of whatever a round needs and has not had.
    async fn hurt(&mut self, plan: &Plan) -> Result<()> {
        let mut random = Prng::new(plan.seed);
        random.next_u64();
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut steps = schedule(&mut random);
        if let Some(history) = &plan.history {
            self.nemesis.estrange(history).await?;
            // One directory a round: a second one could end the quorum for good.
            steps.retain(|step| !matches!(step.fault, Fault::Empty(_)));
        }
        self.nemesis.run(&steps).await?;
        let end = Instant::now() + EXTRA_MAX;
        while Instant::now() < end {
            let extra = match self.missing().first() {
                None => break,
                Some(&ACKNOWLEDGED) => {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    continue;
                }
                Some(&PARTITION) => Fault::Partition(Shape::Leader, Loss::Held),
                Some(_) => Fault::Kill(Target::Leader),
            };
            let extra = step(extra, &mut random);
            self.nemesis.run(&[extra]).await?;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        let missing = self.missing();
        ensure!(missing.is_empty(), "the round is too quiet: no {}", missing.join(", no "));
        Ok(())
    }

    /// What a round must have seen and has not.
    fn missing(&self) -> Vec<&'static str> {
        let tally = self.shared.recorder.tally();
        let struck = |part: &str| self.nemesis.struck.keys().any(|kind| kind.ends_with(part));
        let needed = [
            (struck("leader kill"), "leader kill"),
            (self.leaders.changes() > 0, "leader change"),
            (tally.unknown > 0, "unknown outcome"),
            (struck(PARTITION), PARTITION),
            (tally.acknowledged >= ACKNOWLEDGED_MIN, ACKNOWLEDGED),
        ];
        needed.iter().filter(|(met, _)| !met).map(|&(_, what)| what).collect()
    }

    /// Everybody who must hold the same in the end.
    async fn survivors(&mut self) -> Result<Vec<usize>> {
        let mut survivors: Vec<usize> = (0..self.nemesis.cluster.len()).collect();
        let Some(lost) = self.nemesis.lost.filter(|lost| !lost.back) else { return Ok(survivors) };
        survivors.retain(|&at| at != lost.at);
        let returned = !lost.stays_out
            && aftermath::came_back(&self.nemesis.cluster, lost.at, &survivors).await?;
        self.nemesis.note(if returned { "the victim came back" } else { "the victim stays out" });
        survivors.extend(returned.then_some(lost.at));
        Ok(survivors)
    }

    fn report(&self) -> Report {
        let mut wrong = self.leaders.rivals();
        let (taken_back, answers) = self.shown.judge(self.nemesis.lost.map(|lost| lost.at));
        wrong.extend(taken_back);
        if answers == 0 {
            wrong.push("nobody read a member's own state".into());
        }
        if !self.log.is_empty() {
            wrong.extend(verdict::judge(&self.ops, &self.log));
            wrong.extend(search::judge(&self.ops, &self.log));
        }
        let events: std::collections::BTreeSet<&str> =
            self.log.iter().map(|event| event.value.as_str()).collect();
        let applied = |op: &&Op| {
            matches!(op.answer, super::history::Answer::Unknown { .. })
                && op.input.value().is_some_and(|value| events.contains(value))
        };
        Report {
            tally: Tally::of(&self.ops),
            unknown_applied: self.ops.iter().filter(applied).count() as u64,
            faults: self.nemesis.struck.clone(),
            leader_changes: self.leaders.changes(),
            unavailable: verdict::longest_gap(&self.ops),
            wrong,
            took: Duration::ZERO,
        }
    }
}
