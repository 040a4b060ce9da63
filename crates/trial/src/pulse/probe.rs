//! What the others do meanwhile: a put every 50 ms, a lease, and a clock that asks nobody.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use api::etcdserverpb as pb;
use client::{Channel, Duplex, method};
use tokio::task::{JoinHandle, JoinSet};

use super::figures::{Figures, Sample, figures};
use super::verdict::{LEASE_TTL, Lease};
use crate::beside::Beside;
use crate::gap::longest_gap;

/// Between two puts, and two reads of a kind.
pub const EVERY: Duration = Duration::from_millis(50);
const RENEW_EVERY: Duration = Duration::from_secs(1);
const CONTROL_EVERY: Duration = Duration::from_millis(10);
/// Longer than anything a row does; what is not answered then has failed.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a single request around the row may take.
const CALL_MAX: Duration = Duration::from_secs(10);
/// The key that is put, and read again.
pub const KEY: &str = "pulse/put";

/// Starts a request at every tick until `stop` is set; none waits for another, so a server that
/// stands still is asked as often as one that answers. Ends when all have ended.
pub async fn series<F>(
    every: Duration,
    stop: Arc<AtomicBool>,
    ask: impl Fn() -> F + Send + 'static,
) -> Vec<Sample>
where
    F: Future<Output = bool> + Send + 'static,
{
    let mut open = JoinSet::new();
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep_until(due.into()).await;
        due += every;
        let request = ask();
        open.spawn(async move {
            let sent = Instant::now();
            let answered = tokio::time::timeout(PATIENCE, request).await.unwrap_or(false);
            Sample { sent, ended: Instant::now(), answered }
        });
    }
    let mut samples = Vec::new();
    while let Some(ended) = open.join_next().await {
        samples.push(ended.expect("no request panics"));
    }
    samples
}

/// Puts and a lease through one member, each on a thread of its own, and the control on a third.
pub struct Probe {
    stop: Arc<AtomicBool>,
    puts: (Beside, JoinHandle<Vec<Sample>>),
    lease: (Beside, JoinHandle<Result<Renewals>>),
    control: (Beside, JoinHandle<Vec<Sample>>),
}

/// What a probe saw in a window.
pub struct Seen {
    pub puts: Figures,
    pub lease: Lease,
    pub control: Duration,
}

impl Probe {
    /// Starts all three; a put has been answered and the lease granted when it returns.
    ///
    /// # Errors
    /// The member does not serve.
    pub fn start(endpoint: &str) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let puts = Beside::start()?;
        let channel = Arc::new(Channel::new(endpoint));
        let first = Arc::clone(&channel);
        let answered = async move { tokio::time::timeout(CALL_MAX, put(&first)).await };
        let answered = puts.wait(puts.handle().spawn(answered))?;
        anyhow::ensure!(answered == Ok(true), "the probe's first put failed");
        let ask = move || {
            let channel = Arc::clone(&channel);
            async move { put(&channel).await }
        };
        let putting = puts.handle().spawn(series(EVERY, Arc::clone(&stop), ask));
        let lease = Beside::start()?;
        let channel = Channel::new(endpoint);
        let granted =
            lease.handle().spawn(async move { grant(&channel).await.map(|id| (channel, id)) });
        let (channel, id) = lease.wait(granted)?.context("the probe's lease")?;
        let renewing = lease.handle().spawn(renew(channel, id, Arc::clone(&stop)));
        let control = Beside::start()?;
        let ticking = control.handle().spawn(ticks(Arc::clone(&stop)));
        Ok(Self {
            stop,
            puts: (puts, putting),
            lease: (lease, renewing),
            control: (control, ticking),
        })
    }

    /// Stops, waits for what is open, and says what was seen between two moments.
    ///
    /// # Errors
    /// The lease could not be asked for at the end.
    pub fn finish(self, from: Instant, until: Instant) -> Result<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        let puts = self.puts.0.wait(self.puts.1)?;
        let renewals = self.lease.0.wait(self.lease.1)??;
        let control = self.control.0.wait(self.control.1)?;
        let unconfirmed = longest_gap(&renewals.confirmed, from, until);
        Ok(Seen {
            puts: figures(&puts, from, until),
            lease: Lease { expired: renewals.expired, unconfirmed },
            control: figures(&control, from, until).longest,
        })
    }
}

async fn put(channel: &Channel) -> bool {
    let value = vec![b'p'; 64].into();
    let request = pb::PutRequest { key: KEY.into(), value, ..Default::default() };
    channel.call::<pb::PutResponse>(method::kv::PUT, &request).await.is_ok()
}

/// A timer of the kind the puts start by: what it is late is the machine, not a server.
async fn ticks(stop: Arc<AtomicBool>) -> Vec<Sample> {
    let mut ticks = Vec::new();
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        due += CONTROL_EVERY;
        tokio::time::sleep_until(due.into()).await;
        ticks.push(Sample { sent: due, ended: Instant::now(), answered: true });
    }
    ticks
}

async fn grant(channel: &Channel) -> Result<i64> {
    let ttl = i64::try_from(LEASE_TTL.as_secs())?;
    let request = pb::LeaseGrantRequest { ttl, id: 0 };
    let granted: pb::LeaseGrantResponse =
        channel.call_within(CALL_MAX, method::lease::GRANT, &request).await?;
    Ok(granted.id)
}

struct Renewals {
    confirmed: Vec<Instant>,
    expired: Option<String>,
}

/// Renews every second on one stream, opened again when it breaks, and looks at the end whether
/// the lease still stands.
async fn renew(channel: Channel, id: i64, stop: Arc<AtomicBool>) -> Result<Renewals> {
    let mut renewals = Renewals { confirmed: Vec::new(), expired: None };
    let mut stream: Option<Duplex<pb::LeaseKeepAliveResponse>> = None;
    let mut due = Instant::now();
    while renewals.expired.is_none() {
        tokio::select! {
            () = tokio::time::sleep_until(due.into()) => {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                due += RENEW_EVERY;
                if stream.is_none() {
                    let call = channel.prepare(method::lease::KEEP_ALIVE);
                    let opened = tokio::time::timeout(RENEW_EVERY, channel.stream(&call)).await;
                    stream = opened.ok().and_then(Result::ok);
                }
                let request = pb::LeaseKeepAliveRequest { id };
                if stream.as_mut().is_some_and(|stream| stream.send(&request).is_err()) {
                    stream = None;
                }
            }
            answer = heard(&mut stream) => match answer {
                Some(answer) if answer.ttl > 0 => renewals.confirmed.push(Instant::now()),
                Some(_) => {
                    let last = renewals.confirmed.last().map_or(LEASE_TTL, Instant::elapsed);
                    let ms = last.as_millis();
                    renewals.expired = Some(format!("TTL 0 {ms} ms after it was confirmed"));
                }
                None => stream = None,
            },
        }
    }
    if renewals.expired.is_none() {
        let request = pb::LeaseTimeToLiveRequest { id, keys: false };
        let left: pb::LeaseTimeToLiveResponse = channel
            .call_within(CALL_MAX, method::lease::TIME_TO_LIVE, &request)
            .await
            .context("what is left of the probe's lease")?;
        if left.ttl <= 0 {
            renewals.expired = Some(format!("TTL {} at the end", left.ttl));
        }
    }
    Ok(renewals)
}

/// The next answer; none when the stream broke; waits where there is no stream.
async fn heard(
    stream: &mut Option<Duplex<pb::LeaseKeepAliveResponse>>,
) -> Option<pb::LeaseKeepAliveResponse> {
    match stream {
        Some(stream) => stream.next().await.ok().flatten(),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn a_series_asks_on_while_nobody_answers_and_waits_for_all_at_its_end() {
        const WANTED: usize = 5;
        let beside = Beside::start().expect("a thread");
        let stop = Arc::new(AtomicBool::new(false));
        let (asked, enough) = (Arc::new(AtomicUsize::new(0)), Arc::new(tokio::sync::Notify::new()));
        let (counted, gate, stopper) = (Arc::clone(&asked), Arc::clone(&enough), Arc::clone(&stop));
        let ask = move || {
            if counted.fetch_add(1, Ordering::SeqCst) + 1 == WANTED {
                stopper.store(true, Ordering::SeqCst);
                gate.notify_one();
            }
            let gate = Arc::clone(&gate);
            async move {
                gate.notified().await;
                gate.notify_one();
                true
            }
        };
        let every = Duration::from_millis(1);
        let samples = beside.handle().spawn(series(every, stop, ask));
        let samples = beside.wait(samples).expect("it does not panic");
        assert_eq!(samples.len(), asked.load(Ordering::SeqCst));
        assert!(samples.len() >= WANTED && samples.iter().all(|sample| sample.answered));
        assert!(samples.iter().all(|sample| sample.ended >= sample.sent));
    }
}
