//! Counters of one member, shown under etcd's names in Prometheus' text format.

use base::NodeId;
use net::Page;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A number that only grows; any thread.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds, in microseconds, of the sync histogram: etcd's 1 ms times powers of two.
const BOUNDS_US: [u64; 14] = [
    1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000, 512_000, 1_024_000,
    2_048_000, 4_096_000, 8_192_000,
];

/// Durations observed on the log thread and read on the node's.
#[derive(Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    pub fn observe(&self, duration: std::time::Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.iter().position(|bound| us <= *bound).unwrap_or(BOUNDS_US.len());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    pub fn write(&self, name: &str, page: &Page) {
        page.line(format_args!("# TYPE {name} histogram"));
        let mut total = 0;
        for (bucket, bound) in self.buckets.iter().zip(BOUNDS_US) {
            total += bucket.load(Ordering::Relaxed);
            let seconds = bound as f64 / 1e6;
            page.line(format_args!("{name}_bucket{{le=\"{seconds}\"}} {total}"));
        }
        total += self.buckets[BOUNDS_US.len()].load(Ordering::Relaxed);
        let sum = self.sum_us.load(Ordering::Relaxed) as f64 / 1e6;
        page.line(format_args!("{name}_bucket{{le=\"+Inf\"}} {total}"));
        page.line(format_args!("{name}_sum {sum}"));
        page.line(format_args!("{name}_count {total}"));
    }
}

/// What the log thread measures.
#[derive(Default)]
pub struct DiskMetrics {
    pub sync: Histogram,
    pub write_bytes: AtomicU64,
    pub batches: AtomicU64,
    pub entries: AtomicU64,
    /// Live size of the journal.
    pub journal_bytes: AtomicU64,
    /// Bytes that the scrub has read, its passes, and when the last one ended, in seconds of the
    /// calendar.
    pub scrub_bytes: AtomicU64,
    pub scrubs: AtomicU64,
    pub scrub_last: AtomicU64,
}

/// What the voter and the desk count.
#[derive(Default)]
pub struct Metrics {
    pub leader_changes: Counter,
    pub proposals_failed: Counter,
    pub reads_failed: Counter,
    pub received_bytes: Counter,
    links: Mutex<Vec<Arc<LinkMetrics>>>,
}

impl Metrics {
    /// Those of the peers there are.
    pub fn links(&self) -> Vec<Arc<LinkMetrics>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_links(&self, links: Vec<Arc<LinkMetrics>>) {
        *self.links.lock().unwrap_or_else(PoisonError::into_inner) = links;
    }
}

/// What is counted of one peer.
pub struct LinkMetrics {
    pub peer: NodeId,
    pub sent_bytes: Counter,
    connected: AtomicBool,
}

impl LinkMetrics {
    pub fn new(peer: NodeId) -> Arc<Self> {
        let connected = AtomicBool::new(false);
        Arc::new(Self { peer, sent_bytes: Counter::default(), connected })
    }

    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    pub fn set_connected(&self, connected: bool) {
        self.connected.store(connected, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_histogram_counts_up_to_infinity() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_micros(10));
        histogram.observe(Duration::from_secs(100));
        let page = Page::default();
        histogram.write("h", &page);
        let text = page.into_text();
        assert!(text.contains("h_bucket{le=\"0.001\"} 1\n"), "{text}");
        assert!(text.contains("h_bucket{le=\"+Inf\"} 2\n"), "{text}");
    }
}
