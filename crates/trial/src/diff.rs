//! `diff-etcd`: random sequences sent to quorate and to the real etcd, every answer compared.
//!
//! Both servers of a pair start fresh and always get the same requests, so their revisions are
//! equal throughout and nothing is mapped. Several pairs run beside each other; a pair is
//! replaced after a few sequences. See `docs/design/diff-etcd.md`.

mod alone;
mod answer;
mod coverage;
mod generate;
mod probe;
mod service;
mod show;
mod shrink;
mod side;
mod step;
mod wanted;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use clap::Args;

use crate::cluster::Program;
use answer::Answer;
use coverage::Coverage;
use generate::Generator;
use side::{Pair, Setup};
use step::{Body, Clock, Step};

/// What to compare, and how much of it.
#[derive(Args, Debug, Clone)]
pub struct Options {
    /// Requests in all, each sent to both servers
    #[arg(long, default_value_t = 100_000)]
    requests: u64,
    /// Where the random sequences start
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Requests in a sequence
    #[arg(long, default_value_t = 250)]
    sequence_len: usize,
    /// Different keys
    #[arg(long, default_value_t = 20)]
    keys: usize,
    /// Sequences sent to a pair of servers before it is replaced by a fresh one
    #[arg(long, default_value_t = 10)]
    life: u64,
    /// The first pair: with the seed it decides what is sent
    #[arg(long, default_value_t = 0)]
    first_pair: u64,
    /// Pairs of servers at a time
    #[arg(long, default_value_t = 4)]
    pairs: usize,
    /// Different differences to collect before giving up
    #[arg(long, default_value_t = 1)]
    differences: usize,
    /// Every so many pairs one of three members each; 0: never
    #[arg(long, default_value_t = 8)]
    three_every: u64,
    /// Print the first difference as it came, without shrinking the sequence
    #[arg(long)]
    no_shrink: bool,
    /// Only leave one member of three alone and compare what it answers
    #[arg(long)]
    alone: bool,
}

/// Heartbeat interval and election timeout of pairs of one member, ms: the shortest lease that is
/// granted follows them.
const TIMEOUTS_MS: [(u64, u64); 4] = [(100, 1_000), (10, 100), (400, 2_100), (100, 1_000)];

impl Options {
    /// How the pair of this life is started.
    fn setup(&self, life: u64) -> Setup {
        if self.three_every > 0 && life % self.three_every == self.three_every - 1 {
            // Short timeouts would only test the machine: leaders would change.
            return Setup::of(3);
        }
        let at = usize::try_from(life % TIMEOUTS_MS.len() as u64).expect("a small number");
        let (heartbeat_ms, election_ms) = TIMEOUTS_MS[at];
        Setup { members: 1, heartbeat_ms, election_ms }
    }
}

/// Two answers that should have been equal.
#[derive(Clone, Debug)]
struct Difference {
    /// Every step since the servers were fresh; the last one differed.
    steps: Vec<Step>,
    setup: Setup,
    /// The last step as it was sent.
    sent: Step,
    quorate: Answer,
    etcd: Answer,
}

impl Difference {
    /// Differences of one signature are taken to be the same.
    fn signature(&self) -> String {
        let sent = format!("{:?}", self.sent);
        let kind = match &self.sent {
            Step::Raw { body: Body::Wire(_), .. } => &sent[..],
            _ => sent.split(['(', ' ']).next().unwrap_or_default(),
        };
        let side = |answer: &Answer| match answer.ended {
            Some(_) => "ended".to_owned(),
            None => format!("{:?}", answer.refused),
        };
        format!("{kind} {} {}", side(&self.quorate), side(&self.etcd))
    }

    fn print(&self, title: &str) {
        println!("{title}: {} steps on {:?}", self.steps.len(), self.setup);
        for step in &self.steps {
            println!("  {}", show::brief(&format!("{step:?}")));
        }
        println!("  the last as sent: {}", show::brief(&format!("{:?}", self.sent)));
        let (ours, theirs) = show::part(&self.quorate.text, &self.etcd.text);
        println!("  quorate: {} {:?}", show::brief(ours), self.quorate.ttl);
        println!("  etcd:    {} {:?}", show::brief(theirs), self.etcd.ttl);
        for (who, answer) in [("quorate", &self.quorate), ("etcd", &self.etcd)] {
            if let Some(end) = &answer.ended {
                println!("  {who} ended: {end}");
            }
        }
        println!();
    }
}

/// What all pairs share.
struct Trial {
    options: Options,
    quorate: Program,
    next_life: AtomicU64,
    sent: AtomicU64,
    found: Mutex<BTreeMap<String, Difference>>,
    coverage: Mutex<Coverage>,
}

/// Runs the trial.
///
/// # Errors
/// A server that does not start, or a difference that nobody wanted.
pub fn run(quorate: PathBuf, options: Options) -> Result<()> {
    let start = Instant::now();
    if options.alone || options.requests >= coverage::FULL_RUN {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(alone::run(&Program::Quorate(quorate.clone())))?;
    }
    if options.alone {
        return Ok(());
    }
    let trial = Trial {
        quorate: Program::Quorate(quorate),
        next_life: AtomicU64::new(options.first_pair),
        sent: AtomicU64::new(0),
        found: Mutex::default(),
        coverage: Mutex::default(),
        options,
    };
    let results: Vec<Result<()>> = std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..trial.options.pairs).map(|_| scope.spawn(|| trial.work())).collect();
        workers.into_iter().map(|w| w.join().expect("a worker returns its error")).collect()
    });
    results.into_iter().collect::<Result<Vec<()>>>()?;
    let sent = trial.sent.load(Ordering::Relaxed);
    println!("{sent} requests to both in {:.1} s", start.elapsed().as_secs_f64());
    trial.report()
}

impl Trial {
    fn is_over(&self) -> bool {
        self.sent.load(Ordering::Relaxed) >= self.options.requests || self.gave_up()
    }

    fn gave_up(&self) -> bool {
        self.found.lock().expect("no holder panics").len() >= self.options.differences
    }

    fn work(&self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        while !self.is_over() {
            let life = self.next_life.fetch_add(1, Ordering::Relaxed);
            if let Some(difference) = runtime.block_on(self.live(life))? {
                let signature = difference.signature();
                let mut found = self.found.lock().expect("no holder panics");
                if !found.contains_key(&signature) {
                    println!("a difference: {signature}");
                }
                found.entry(signature).or_insert(difference);
            }
        }
        Ok(())
    }

    /// A pair from fresh to its end, or to the first difference.
    async fn live(&self, life: u64) -> Result<Option<Difference>> {
        let options = &self.options;
        let seed = options.seed.wrapping_mul(1_000_003).wrapping_add(life);
        let setup = options.setup(life);
        let mut generator = Generator::new(seed, options.keys, setup.members == 1);
        let mut course = Course::start(&self.quorate, setup).await?;
        let mut found = None;
        for _ in 0..options.life {
            for step in generator.sequence(options.sequence_len) {
                found = course.step(step).await?;
                if found.is_some() || self.gave_up() {
                    break;
                }
                self.sent.fetch_add(1, Ordering::Relaxed);
                if course.diverged {
                    return Ok(self.end(course, None));
                }
            }
            if found.is_some() || self.is_over() {
                break;
            }
        }
        Ok(self.end(course, found))
    }

    fn end(&self, course: Course, found: Option<Difference>) -> Option<Difference> {
        self.coverage.lock().expect("no holder panics").merge(course.coverage);
        found
    }

    fn report(&self) -> Result<()> {
        let found = self.found.lock().expect("no holder panics");
        let coverage = self.coverage.lock().expect("no holder panics");
        let enough = coverage.print(self.sent.load(Ordering::Relaxed));
        println!("wanted differences\n{}", wanted::table());
        if found.is_empty() {
            ensure!(enough, "no unwanted difference, but not everything was tried often enough");
            println!("no unwanted difference");
            return Ok(());
        }
        for difference in found.values() {
            if self.options.no_shrink {
                difference.print("as it came");
                continue;
            }
            match shrink::shrink(&self.quorate, difference)? {
                Some(least) => least.print("least reproduction on fresh servers"),
                None => difference.print("not reproduced on fresh servers; as it came"),
            }
        }
        bail!("{} unwanted difference(s)", found.len())
    }
}

/// A pair and everything it was sent.
struct Course {
    pair: Pair,
    clock: Clock,
    setup: Setup,
    steps: Vec<Step>,
    coverage: Coverage,
    /// Revisions of transactions after which etcd cannot compact at that revision.
    fragile: BTreeSet<i64>,
    /// A wanted difference left them with different data: nothing more can be compared.
    diverged: bool,
}

impl Course {
    async fn start(quorate: &Program, setup: Setup) -> Result<Self> {
        let pair = Pair::start(quorate, setup)?;
        pair.etcd.await_storage_version().await?;
        Ok(Self {
            pair,
            clock: Clock::FRESH,
            setup,
            steps: Vec::new(),
            coverage: Coverage::default(),
            fragile: BTreeSet::new(),
            diverged: false,
        })
    }

    async fn step(&mut self, step: Step) -> Result<Option<Difference>> {
        let sent = self.clock.resolve(&step);
        self.steps.push(step);
        let (quorate, etcd) = self.pair.perform(&sent).await?;
        self.clock.current = self.clock.current.max(etcd.revision);
        if let (Step::Compact(compact), None) = (&sent, &etcd.refused) {
            self.clock.compacted = compact.revision;
            if self.fragile.contains(&compact.revision) {
                self.coverage.count(&format!("wanted difference: {}", wanted::COMPACTED_AWAY), 1);
                self.diverged = true;
            }
        }
        if let (Step::Txn(txn), None) = (&sent, &etcd.refused)
            && wanted::puts_what_it_deleted(txn)
        {
            self.fragile.insert(etcd.revision);
        }
        self.coverage.add(&sent, &etcd);
        if quorate.agrees(&etcd, self.pair.slowest) {
            return Ok(None);
        }
        let hashed = match &sent {
            Step::HashKv(request) if request.revision == 0 => Some(etcd.revision),
            Step::HashKv(request) => Some(request.revision),
            _ => None,
        };
        if hashed.is_some_and(|revision| self.fragile.contains(&revision))
            && wanted::differ_in_hash(&quorate, &etcd)
        {
            self.coverage.count(&format!("wanted difference: {}", wanted::HASHED_AWAY), 1);
            return Ok(None);
        }
        if let Some(wanted) = wanted::explains(self.setup.members, &sent, &quorate, &etcd) {
            self.coverage.count(&format!("wanted difference: {}", wanted.name), 1);
            self.diverged |= wanted.diverges;
            return Ok(None);
        }
        let (steps, setup) = (std::mem::take(&mut self.steps), self.setup);
        Ok(Some(Difference { steps, setup, sent, quorate, etcd }))
    }
}
