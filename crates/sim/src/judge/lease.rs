//! Leases: what was promised to whom, and when they really ended.

use base::{LogIndex, Nanos};
use std::collections::BTreeMap;

const SECOND: u64 = 1_000_000_000;

#[derive(Clone, Debug)]
struct Lease {
    ttl: i64,
    granted: LogIndex,
    /// The grant or the last renewal: index, and when it was first applied.
    renewal: (LogIndex, Nanos),
    /// Renewals applied, for answers.
    ended: Option<(LogIndex, Nanos, bool)>,
    /// (index of the grant or renewal, alive until): what clients were told.
    promises: Vec<(LogIndex, Nanos)>,
}

/// Every lease ever granted; an id is granted once.
#[derive(Default)]
pub struct Leases {
    all: BTreeMap<i64, Lease>,
    pub expired: u64,
}

impl Leases {
    pub(super) fn granted(&mut self, id: i64, ttl: i64, index: LogIndex, at: Nanos) {
        let renewal = (index, at);
        let lease =
            Lease { ttl: ttl.max(1), granted: index, renewal, ended: None, promises: vec![] };
        self.all.entry(id).or_insert(lease);
    }

    pub(super) fn renewed(&mut self, ids: &[i64], index: LogIndex, at: Nanos) {
        for id in ids {
            if let Some(lease) = self.all.get_mut(id)
                && lease.ended.is_none()
            {
                lease.renewal = (index, at);
            }
        }
    }

    /// An expiry that saw an older renewal does nothing.
    pub(super) fn revoked(
        &mut self,
        id: i64,
        renewal: Option<u64>,
        index: LogIndex,
        at: Nanos,
    ) -> Result<(), String> {
        let Some(lease) = self.all.get_mut(&id) else { return Ok(()) };
        if lease.ended.is_some() || renewal.is_some_and(|seen| seen != lease.renewal.0.0) {
            return Ok(());
        }
        let expiry = renewal.is_some();
        lease.ended = Some((index, at, expiry));
        self.expired += u64::from(expiry);
        let promises = lease.promises.clone();
        promises.into_iter().try_for_each(|promise| self.kept(id, promise))
    }

    /// A client was told that the lease lives for `ttl` from when it asked.
    pub(super) fn promised(
        &mut self,
        id: i64,
        index: LogIndex,
        asked: Nanos,
        ttl: i64,
    ) -> Result<(), String> {
        let until = asked.plus(Nanos(ttl.unsigned_abs() * SECOND));
        if let Some(lease) = self.all.get_mut(&id) {
            lease.promises.push((index, until));
        }
        self.kept(id, (index, until))
    }

    fn kept(&self, id: i64, (index, until): (LogIndex, Nanos)) -> Result<(), String> {
        match self.all.get(&id).and_then(|lease| lease.ended) {
            Some((end, at, true)) if index < end && at < until => Err(format!(
                "lease {id} was promised at {index} until {until}, and expired at {end}, {at}"
            )),
            _ => Ok(()),
        }
    }

    /// Whether the lease lives just before `index`.
    pub fn lives_at(&self, id: i64, index: LogIndex) -> Option<i64> {
        let lease = self.all.get(&id)?;
        let ended = lease.ended.is_some_and(|(end, ..)| end < index);
        (lease.granted < index && !ended).then_some(lease.ttl)
    }

    /// When every lease left must have ended by itself, given one leader since then: cluster time
    /// stands still without one, and a change of leader may lose a second of it.
    pub fn last_end(&self, leader_since: Nanos) -> Nanos {
        let open = self.all.values().filter(|lease| lease.ended.is_none());
        let ends = open.map(|lease| {
            let ttl = Nanos(lease.ttl.unsigned_abs() * (SECOND + SECOND / 50));
            lease.renewal.1.max(leader_since).plus(ttl)
        });
        ends.max().unwrap_or(Nanos::ZERO)
    }

    /// Leases that have not ended.
    pub fn open(&self) -> Vec<i64> {
        self.all.iter().filter(|(_, lease)| lease.ended.is_none()).map(|(id, _)| *id).collect()
    }
}
