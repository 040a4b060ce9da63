//! Leases: a granted time to live, and a deadline in cluster time.

use crate::hash::Hasher;
use crate::map::Weight;
use base::{ClusterTime, planted};

/// Longest TTL, seconds (`server/lease/lessor.go`).
pub(crate) const TTL_MAX: i64 = 9_000_000_000;
const NANOS_PER_SECOND: u128 = 1_000_000_000;
/// A leader's clock may run this much faster than a client's: deadlines are longer by it, so that
/// no lease ends early.
const CLOCK_BOUND_PERCENT: u128 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub id: i64,
    /// Granted, seconds.
    pub ttl: i64,
    pub deadline: u64,
    /// Log index of the grant or of the last renewal: never the same twice, also when an id is
    /// granted again, so a late expiry cannot end a later lease.
    pub renewal: u64,
}

impl Weight for Lease {}

impl Lease {
    pub fn new(id: i64, ttl: i64, now: ClusterTime, index: u64) -> Self {
        assert!(id != 0, "lease 0 is none");
        assert!((1..=TTL_MAX).contains(&ttl), "what was granted is in bounds");
        Self { id, ttl, deadline: deadline(ttl, now), renewal: index }
    }

    pub fn hash(&self) -> u64 {
        let mut hasher = Hasher::new(2);
        hasher.int(self.id);
        hasher.int(self.ttl);
        hasher.word(self.deadline);
        hasher.word(self.renewal);
        hasher.finish()
    }

    /// Whole seconds a client may count on.
    pub fn remaining(&self, now: ClusterTime) -> i64 {
        let left = u128::from(self.deadline.saturating_sub(now.0));
        let seconds = left * 100 / (100 + CLOCK_BOUND_PERCENT) / NANOS_PER_SECOND;
        let seconds = i64::try_from(seconds).unwrap_or(self.ttl).min(self.ttl);
        assert!((0..=self.ttl).contains(&seconds), "nobody counts on more than was granted");
        seconds
    }
}

fn deadline(ttl: i64, now: ClusterTime) -> u64 {
    assert!(ttl > 0, "it ends later than now");
    let seconds = u128::from(ttl.unsigned_abs());
    let slack = if planted!(LeaseEarly) { 0 } else { CLOCK_BOUND_PERCENT };
    let span = seconds * NANOS_PER_SECOND * (100 + slack) / 100;
    assert!(span >= seconds * NANOS_PER_SECOND, "it never ends early");
    now.0.saturating_add(u64::try_from(span).unwrap_or(u64::MAX))
}

/// What `LeaseTimeToLive` tells, seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTtl {
    /// As granted, the minimum of the cluster included.
    pub granted: i64,
    /// What a client may count on, 0 once it is over; never more than granted.
    pub remaining: i64,
}
