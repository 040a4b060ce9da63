//! The load itself: many clients on one thread, closed loop or at a fixed rate.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::etcdserverpb::{PutRequest, PutResponse, RangeRequest, RangeResponse};
use base::Prng;
use bytes::Bytes;
use client::{Call, Channel, Failure, frame, method};
use hdrhistogram::Histogram;
use tokio::sync::Semaphore;

use super::cpu;

/// One channel with the two methods of a load prepared.
pub struct Connection {
    pub channel: Channel,
    put: Call,
    range: Call,
}

impl Connection {
    /// A connection to `host:port`, not made yet.
    pub fn new(authority: &str) -> Self {
        let channel = Channel::new(authority);
        let (put, range) = (channel.prepare(method::kv::PUT), channel.prepare(method::kv::RANGE));
        Self { channel, put, range }
    }

    async fn call(&self, kind: Kind, message: Bytes) -> Result<Bytes, Failure> {
        let call = match kind {
            Kind::Put => &self.put,
            Kind::Range => &self.range,
        };
        self.channel.raw(call, message).await
    }
}

/// The two requests of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Put,
    Range,
}

/// When a load ends: after so many measured requests, or so long after the warm-up.
#[derive(Clone, Copy, Debug)]
pub enum Stop {
    After(u64),
    At(Duration),
}

/// What to send, how fast and for how long.
#[derive(Clone, Debug)]
pub struct Plan {
    pub write_percent: u8,
    pub clients: usize,
    pub key_size: usize,
    pub val_size: usize,
    pub key_space: u64,
    pub stop: Stop,
    pub rate: Option<u64>,
    pub serializable: bool,
    pub warmup: Duration,
    pub timeout: Duration,
    pub seed: u64,
}

/// What was measured. Latencies are in microseconds.
pub struct Outcome {
    pub puts: Histogram<u64>,
    pub ranges: Histogram<u64>,
    /// Ranges that were answered with no pair.
    pub absent: u64,
    /// Failed requests by reason.
    pub failures: BTreeMap<String, u64>,
    pub elapsed: Duration,
    pub client_cpu: Option<Duration>,
}

impl Outcome {
    /// Requests that succeeded in the measured window.
    pub fn operations(&self) -> u64 {
        self.puts.len() + self.ranges.len()
    }

    /// Requests that failed in the measured window.
    pub fn failures(&self) -> u64 {
        self.failures.values().sum()
    }
}

/// Longest latency told apart from longer ones, in microseconds.
const LATENCY_US_MAX: u64 = 120_000_000;
/// A client that just failed waits this long, so that a dead endpoint is not a busy loop.
const FAILURE_PAUSE: Duration = Duration::from_millis(20);
/// Shortest sleep of the pacer: bounds its wake-ups (10,000 a second) and its lateness.
const PACE_STEP: Duration = Duration::from_micros(100);
/// Random bytes from which values are cut.
const POOL_SLACK: usize = 1 << 16;

/// State shared by the clients of one load; they all live on one thread.
struct Shared {
    plan: Plan,
    pool: Bytes,
    start: Instant,
    measure_from: Instant,
    /// Requests whose intended start has been handed out; only used at a fixed rate.
    handed_out: Cell<u64>,
    measured: Cell<u64>,
    prng: RefCell<Prng>,
    permits: Arc<Semaphore>,
    cpu_before: Cell<Option<Duration>>,
    outcome: RefCell<Outcome>,
}

/// One request to come: when it should start and whether it counts.
struct Turn {
    intended: Instant,
    measured: bool,
}

impl Shared {
    fn new(plan: Plan) -> Self {
        let mut prng = Prng::new(plan.seed);
        let mut pool = Vec::with_capacity(plan.val_size + POOL_SLACK + 8);
        while pool.len() < plan.val_size + POOL_SLACK {
            pool.extend_from_slice(&prng.next_u64().to_le_bytes());
        }
        let histogram =
            || Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("the bounds are constants");
        let start = Instant::now();
        Self {
            pool: pool.into(),
            start,
            measure_from: start + plan.warmup,
            plan,
            handed_out: Cell::new(0),
            measured: Cell::new(0),
            prng: RefCell::new(prng),
            permits: Arc::new(Semaphore::new(0)),
            cpu_before: Cell::new(None),
            outcome: RefCell::new(Outcome {
                puts: histogram(),
                ranges: histogram(),
                absent: 0,
                failures: BTreeMap::new(),
                elapsed: Duration::ZERO,
                client_cpu: None,
            }),
        }
    }

    /// Waits for the next turn; `None` when the load is over.
    async fn turn(&self) -> Option<Turn> {
        let intended = match self.plan.rate {
            None => Instant::now(),
            Some(rate) => {
                self.permits.acquire().await.ok()?.forget();
                let number = self.handed_out.replace(self.handed_out.get() + 1);
                self.start + Duration::from_secs_f64(number as f64 / rate as f64)
            }
        };
        if intended < self.measure_from {
            return Some(Turn { intended, measured: false });
        }
        let over = match self.plan.stop {
            Stop::After(total) => self.measured.get() >= total,
            Stop::At(length) => intended >= self.measure_from + length,
        };
        if over {
            self.permits.close();
            return None;
        }
        if self.measured.replace(self.measured.get() + 1) == 0 {
            self.cpu_before.set(cpu::used());
        }
        Some(Turn { intended, measured: true })
    }

    /// The next request: a write or a read of a random key.
    fn request(&self) -> (Kind, Bytes) {
        let mut prng = self.prng.borrow_mut();
        let key = key(prng.below(self.plan.key_space), self.plan.key_size).into();
        if prng.below(100) < u64::from(self.plan.write_percent) {
            let from = prng.below(POOL_SLACK as u64) as usize;
            let value = self.pool.slice(from..from + self.plan.val_size);
            (Kind::Put, frame::encode(&PutRequest { key, value, ..Default::default() }))
        } else {
            let serializable = self.plan.serializable;
            let request = RangeRequest { key, serializable, ..Default::default() };
            (Kind::Range, frame::encode(&request))
        }
    }

    fn record(&self, kind: Kind, latency: Duration, answer: Result<Bytes, Failure>) {
        let mut outcome = self.outcome.borrow_mut();
        let outcome = &mut *outcome;
        let micros = u64::try_from(latency.as_micros()).unwrap_or(LATENCY_US_MAX);
        let result = answer.and_then(|answer| match kind {
            Kind::Put => frame::whole::<PutResponse>(answer).map(|_| &mut outcome.puts),
            Kind::Range => {
                let answer = frame::whole::<RangeResponse>(answer)?;
                outcome.absent += u64::from(answer.kvs.is_empty());
                Ok(&mut outcome.ranges)
            }
        });
        match result {
            Ok(histogram) => histogram.saturating_record(micros.max(1)),
            Err(why) => *outcome.failures.entry(why.to_string()).or_default() += 1,
        }
    }
}

/// A key of exactly `size` bytes: the number in decimal with leading zeros.
fn key(number: u64, size: usize) -> Vec<u8> {
    let mut key = vec![b'0'; size];
    let mut rest = number;
    for digit in key.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    assert_eq!(rest, 0, "the plan was checked: every key number fits its key");
    key
}

/// Runs the load over `pool` and returns what was measured.
pub async fn run(pool: &[Rc<Connection>], plan: Plan, visible: bool) -> Outcome {
    assert!(!pool.is_empty() && plan.clients > 0, "a load needs connections and clients");
    let shared = Rc::new(Shared::new(plan));
    let pacer = shared.plan.rate.map(|rate| {
        let (permits, start) = (shared.permits.clone(), shared.start);
        std::thread::spawn(move || pace(&permits, start, rate))
    });
    let progress = visible.then(|| tokio::task::spawn_local(show_progress(shared.clone())));
    let clients: Vec<_> = (0..shared.plan.clients)
        .map(|at| tokio::task::spawn_local(client(pool[at % pool.len()].clone(), shared.clone())))
        .collect();
    for client in clients {
        client.await.expect("a client does not panic");
    }
    let elapsed = shared.measure_from.elapsed();
    let cpu_after = cpu::used();
    shared.permits.close();
    if let Some(pacer) = pacer {
        pacer.join().expect("the pacer does not panic");
    }
    if let Some(progress) = progress {
        progress.await.expect("the progress bar does not panic");
    }
    let shared = Rc::into_inner(shared).expect("every task that shared the load has ended");
    let mut outcome = shared.outcome.into_inner();
    outcome.elapsed = elapsed;
    outcome.client_cpu = match (shared.cpu_before.get(), cpu_after) {
        (Some(before), Some(after)) => Some(after.saturating_sub(before)),
        _ => None,
    };
    outcome
}

async fn client(connection: Rc<Connection>, shared: Rc<Shared>) {
    while let Some(turn) = shared.turn().await {
        let (kind, message) = shared.request();
        let answer =
            match tokio::time::timeout(shared.plan.timeout, connection.call(kind, message)).await {
                Ok(answer) => answer,
                Err(_) => Err(Failure::Timeout),
            };
        let latency = turn.intended.elapsed();
        let failed = answer.is_err();
        if turn.measured {
            shared.record(kind, latency, answer);
        }
        if failed {
            tokio::time::sleep(FAILURE_PAUSE).await;
        }
    }
}

/// Releases one permit per intended start. A thread of its own, because the runtime's timer
/// counts whole milliseconds, which would show up in every latency.
fn pace(permits: &Semaphore, start: Instant, rate: u64) {
    let mut released = 0u64;
    while !permits.is_closed() {
        // Request k starts at k / rate: request 0 is due at once.
        let due = (start.elapsed().as_secs_f64() * rate as f64) as u64 + 1;
        if due > released {
            permits.add_permits((due - released) as usize);
            released = due;
        }
        let next = start + Duration::from_secs_f64(released as f64 / rate as f64);
        std::thread::sleep(next.saturating_duration_since(Instant::now()).max(PACE_STEP));
    }
}

/// Redraws a bar ten times a second until the load is over.
async fn show_progress(shared: Rc<Shared>) {
    let length = match shared.plan.stop {
        Stop::After(total) => total,
        Stop::At(length) => length.as_millis() as u64,
    };
    let bar = indicatif::ProgressBar::new(length);
    let style = indicatif::ProgressStyle::with_template("{wide_bar} {percent}% {msg}");
    bar.set_style(style.expect("the template is a constant"));
    while !shared.permits.is_closed() {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let since = Instant::now().saturating_duration_since(shared.measure_from);
        let at = match shared.plan.stop {
            Stop::After(_) => shared.measured.get(),
            Stop::At(_) => since.as_millis() as u64,
        };
        bar.set_position(at.min(length));
        let outcome = shared.outcome.borrow();
        let rate = outcome.operations() as f64 / since.as_secs_f64().max(0.001);
        bar.set_message(format!("{rate:.0} ops/s, {} errors", outcome.failures()));
    }
    bar.finish_and_clear();
}

/// Writes every key once, as fast as the clients can; not measured.
pub async fn preload(pool: &[Rc<Connection>], plan: &Plan) -> Result<(), Failure> {
    let next = Rc::new(Cell::new(0u64));
    let value = Bytes::from(vec![b'v'; plan.val_size]);
    let mut tasks = Vec::with_capacity(plan.clients);
    for at in 0..plan.clients {
        let (connection, next, value) =
            (pool[at % pool.len()].clone(), next.clone(), value.clone());
        let (key_space, key_size) = (plan.key_space, plan.key_size);
        tasks.push(tokio::task::spawn_local(async move {
            loop {
                let number = next.get();
                if number >= key_space {
                    return Ok(());
                }
                next.set(number + 1);
                let (key, value) = (key(number, key_size).into(), value.clone());
                let message = frame::encode(&PutRequest { key, value, ..Default::default() });
                connection.call(Kind::Put, message).await?;
            }
        }));
    }
    for task in tasks {
        task.await.expect("a client does not panic")?;
    }
    Ok(())
}
