//! Clients that put without pause, and the longest time in which none of them was answered.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use api::etcdserverpb as pb;
use client::{Channel, method};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::cluster::Cluster;

/// Short, so that a client whose request was lost with the leader soon asks again.
const REQUEST_MAX: Duration = Duration::from_millis(100);
const STATUS_MAX: Duration = Duration::from_millis(1000);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The member that says it leads.
///
/// # Errors
/// Nobody does.
pub async fn leader(cluster: &Cluster) -> Result<usize> {
    for at in 0..cluster.len() {
        if !cluster.is_running(at) {
            continue;
        }
        let channel = Channel::new(&cluster.endpoint(at));
        let request = pb::StatusRequest::default();
        let status: pb::StatusResponse =
            channel.call_within(STATUS_MAX, method::maintenance::STATUS, &request).await?;
        if status.header.is_some_and(|header| header.member_id == status.leader) {
            return Ok(at);
        }
    }
    anyhow::bail!("no member leads")
}

/// Clients, each with one put at a time; started and stopped together.
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// Moments of acknowledgements, in order.
    acknowledged: Mutex<Vec<Instant>>,
}

impl Load {
    /// Spawns `each` clients for every endpoint, on the runtime that is entered.
    pub fn start(endpoints: &[String], each: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let clients = (0..each)
            .flat_map(|_| endpoints)
            .enumerate()
            .map(|(n, endpoint)| tokio::spawn(Arc::clone(&shared).put(n, Channel::new(endpoint))));
        Self { clients: clients.collect(), shared }
    }

    /// Waits for the last answers.
    ///
    /// # Errors
    /// A client that panicked.
    pub async fn stop(self) -> Result<()> {
        self.shared.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.context("a client")?;
        }
        Ok(())
    }

    /// The longest time without an acknowledgement between two moments.
    pub fn gap(&self, from: Instant, until: Instant) -> Duration {
        longest_gap(&self.acknowledged(), from, until)
    }

    /// Waits until puts have flowed for `settled`, all of it after `from`, without a pause of
    /// `pause_max`; the moment, or none if that is not so at `until`.
    pub async fn flows(
        &self,
        from: Instant,
        settled: Duration,
        pause_max: Duration,
        until: Instant,
    ) -> Option<Instant> {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = Instant::now();
            if now >= from + settled && self.gap(now - settled, now) < pause_max {
                return Some(now);
            }
            if now > until {
                return None;
            }
        }
    }

    /// How many puts were acknowledged so far.
    pub fn count(&self) -> usize {
        self.acknowledged().len()
    }

    fn acknowledged(&self) -> std::sync::MutexGuard<'_, Vec<Instant>> {
        self.shared.acknowledged.lock().expect("no holder panics")
    }
}

impl Shared {
    async fn put(self: Arc<Self>, client: usize, channel: Channel) {
        let request = pb::PutRequest {
            key: format!("load/{client}").into(),
            value: vec![b'x'; 256].into(),
            ..Default::default()
        };
        while !self.stop.load(Ordering::Relaxed) {
            let answer: Result<pb::PutResponse, _> =
                channel.call_within(REQUEST_MAX, method::kv::PUT, &request).await;
            if answer.is_ok() {
                self.acknowledged.lock().expect("no holder panics").push(Instant::now());
            } else {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

/// The longest time between two moments of a window, its ends included; they are in order.
pub fn longest_gap(moments: &[Instant], from: Instant, until: Instant) -> Duration {
    let first = moments.partition_point(|at| *at < from);
    let mut last = from;
    let mut longest = Duration::ZERO;
    for &at in moments[first..].iter().take_while(|at| **at < until) {
        longest = longest.max(at - last);
        last = at;
    }
    longest.max(until - last)
}

/// Whole milliseconds of a short span.
pub fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).expect("a short span")
}

/// The middle one; sorts them.
pub fn median(gaps: &mut [Duration]) -> Duration {
    gaps.sort_unstable();
    gaps[gaps.len() / 2]
}

/// Median, least, most and all of them, in milliseconds.
pub fn spread(gaps: &mut [Duration]) -> Value {
    let median = median(gaps);
    let all: Vec<_> = gaps.iter().map(|gap| ms(*gap)).collect();
    json!({ "median_ms": ms(median), "min_ms": all[0], "max_ms": all[all.len() - 1], "all": all })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_counts_both_ends_of_the_window() {
        let start = Instant::now();
        let at = |n: u64| start + Duration::from_millis(n);
        let moments = [at(10), at(20), at(70), at(80)];
        assert_eq!(longest_gap(&moments, at(0), at(90)), Duration::from_millis(50));
        assert_eq!(longest_gap(&moments, at(0), at(300)), Duration::from_millis(220));
        assert_eq!(longest_gap(&moments, at(30), at(60)), Duration::from_millis(30));
        assert_eq!(longest_gap(&[], at(0), at(5)), Duration::from_millis(5));
    }

    #[test]
    fn the_median_is_the_middle_of_the_sorted() {
        let mut gaps: Vec<_> = [30, 10, 20].map(Duration::from_millis).into();
        assert_eq!(median(&mut gaps), Duration::from_millis(20));
        let row = spread(&mut gaps);
        assert_eq!((row["min_ms"].as_u64(), row["max_ms"].as_u64()), (Some(10), Some(30)));
    }
}
