//! How long nobody's put is acknowledged when the leader is killed, over many kills.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::beside::Beside;
use crate::cluster::{Cluster, Program};
use crate::gap::{Load, leader, ms};

const MEMBERS: usize = 3;
/// What the product takes without flags, as etcd does.
const ELECTION_TIMEOUT: Duration = Duration::from_millis(1000);
/// Load that must flow before a kill, and after it.
const SETTLED: Duration = Duration::from_millis(500);
/// A pause in load that flows. Requests have 100 ms.
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);
const BUCKET_MS: u64 = 20;
const BAR_WIDTH: usize = 50;

/// Kills the leader of one cluster that many times and prints how long puts paused.
///
/// # Errors
/// A cluster that does not come back.
pub fn run(program: &Program, kills: u32) -> Result<()> {
    let mut cluster = Cluster::start(program, MEMBERS, &[])?;
    // Nothing done to members makes the load wait.
    let beside = Beside::start()?;
    let load = beside.wait(async { Load::start(&cluster.endpoints(), 1) });
    let mut gaps = Vec::new();
    let result = (1..=kills).try_for_each(|n| {
        let gap = beside.wait(kill(&mut cluster, &load));
        let (victim, gap) = gap.with_context(|| format!("kill {n}"))?;
        println!("kill {n:4} of n{}: {:5} ms", victim + 1, ms(gap));
        gaps.push(gap);
        cluster.spawn(victim)?;
        cluster.await_ready().with_context(|| format!("after kill {n}"))
    });
    let stopped = beside.wait(load.stop());
    print!("{}", Distribution::of(gaps).text());
    result.and(stopped)
}

/// One kill: who it was, and the longest time without an acknowledgement after it.
async fn kill(cluster: &mut Cluster, load: &Load) -> Result<(usize, Duration)> {
    let before = Instant::now();
    let flows = load.flows(before, SETTLED, PAUSE_MAX, before + PATIENCE).await;
    flows.context("puts do not flow before the kill")?;
    let victim = await_leader(cluster).await?;
    let from = Instant::now();
    cluster.kill(victim);
    let flows = load.flows(from, SETTLED, PAUSE_MAX, from + PATIENCE).await;
    let until = flows.context("puts do not flow after the kill")?;
    Ok((victim, load.gap(from, until)))
}

async fn await_leader(cluster: &Cluster) -> Result<usize> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match leader(cluster).await {
            Err(why) if Instant::now() < deadline => drop(why),
            found => return found,
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Pauses, the shortest first.
struct Distribution(Vec<Duration>);

impl Distribution {
    fn of(mut gaps: Vec<Duration>) -> Self {
        gaps.sort_unstable();
        Self(gaps)
    }

    /// The least pause that is at least as long as so many in a hundred.
    fn percentile(&self, percent: usize) -> Duration {
        assert!((1..=100).contains(&percent) && !self.0.is_empty(), "a percentile of something");
        self.0[(self.0.len() * percent).div_ceil(100) - 1]
    }

    fn text(&self) -> String {
        let (Some(least), Some(most)) = (self.0.first(), self.0.last()) else {
            return "no kill was measured\n".to_owned();
        };
        let [p50, p90, p99] = [50, 90, 99].map(|percent| ms(self.percentile(percent)));
        let over = self.0.iter().filter(|gap| **gap > ELECTION_TIMEOUT).count();
        let mut text = format!(
            "\nms without a put over {} kills: min {}, p50 {p50}, p90 {p90}, p99 {p99}, max {}\n\
             over one election timeout ({} ms): {over}\n\n",
            self.0.len(),
            ms(*least),
            ms(*most),
            ms(ELECTION_TIMEOUT),
        );
        let mut buckets: BTreeMap<u64, usize> = BTreeMap::new();
        self.0.iter().for_each(|gap| *buckets.entry(ms(*gap) / BUCKET_MS).or_default() += 1);
        let highest = buckets.values().copied().max().unwrap_or(1);
        for (bucket, count) in buckets {
            let bar = "#".repeat((count * BAR_WIDTH).div_ceil(highest));
            let (from, to) = (bucket * BUCKET_MS, (bucket + 1) * BUCKET_MS);
            text.push_str(&format!("{from:5} to {to:5} ms {count:5} {bar}\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(millis: impl IntoIterator<Item = u64>) -> Distribution {
        Distribution::of(millis.into_iter().map(Duration::from_millis).collect())
    }

    #[test]
    fn percentiles_are_measured_pauses() {
        let hundred = of((1..=100).rev());
        for percent in [1, 50, 90, 99, 100] {
            assert_eq!(ms(hundred.percentile(percent)), percent as u64);
        }
        let few = of([30, 10, 20]);
        assert_eq!([50, 90, 99].map(|p| ms(few.percentile(p))), [20, 30, 30]);
    }

    #[test]
    fn the_text_counts_what_took_longer_than_an_election_timeout() {
        let text = of([120, 130, 1000, 1001, 1800]).text();
        assert!(text.contains("min 120, p50 1000, p90 1800, p99 1800, max 1800"), "{text}");
        assert!(text.contains("over one election timeout (1000 ms): 2"), "{text}");
        let rows = |from: &str| text.lines().find(|line| line.trim_start().starts_with(from));
        assert!(rows("120 to").is_some_and(|row| row.contains("2 ####")), "{text}");
        assert!(rows("1000 to").is_some_and(|row| row.contains("2 ####")), "{text}");
        assert!(of([]).text().contains("no kill was measured"));
    }
}
