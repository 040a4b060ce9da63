//! Cluster time: advances only by leader-stamped entries.
//!
//! A leader stamps an entry with the last applied stamp plus its own monotonic time since then.
//! Wall clocks never enter. Without a leader nothing is stamped and cluster time stands still, so
//! a lease never expires because of a clock, only late.

use base::{ClusterTime, Nanos};

#[derive(Clone, Copy, Debug, Default)]
pub struct ClusterClock {
    last: ClusterTime,
    at: Nanos,
}

impl ClusterClock {
    pub fn new(last: ClusterTime, now: Nanos) -> Self {
        Self { last, at: now }
    }

    /// The last applied stamp.
    pub fn last(&self) -> ClusterTime {
        self.last
    }

    /// What a leader would stamp now.
    pub fn estimate(&self, now: Nanos) -> ClusterTime {
        ClusterTime(self.last.0.saturating_add(now.since(self.at).0))
    }

    /// Starts a leadership: time since the last stamp under another leader does not count.
    pub fn lead(&mut self, now: Nanos) {
        self.at = now;
    }

    /// Applies a stamp; time never goes back, whatever order leaders stamped in.
    pub fn apply(&mut self, stamp: ClusterTime, now: Nanos) -> ClusterTime {
        if stamp > self.last {
            // A leader's own estimate may already be past the stamp: keep the later reading.
            let estimate = self.estimate(now);
            self.last = stamp;
            self.at = Nanos(now.0.saturating_sub(estimate.0.saturating_sub(stamp.0)));
        }
        self.last
    }
}
