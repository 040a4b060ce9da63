//! Cluster time: advances only by leader-stamped entries.
//!
//! A leader stamps an entry with the last applied stamp plus its own monotonic time since then.
//! Wall clocks never enter. Without a leader nothing is stamped and cluster time stands still, so
//! a lease never expires because of a clock, only late.

use base::{Ballot, ClusterTime, Nanos};

/// One member's reading of cluster time, nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClusterClock {
    last: ClusterTime,
    at: Nanos,
    /// The leader by whose stamps this clock goes.
    by: Ballot,
}

impl ClusterClock {
    /// Stands at the stamp `last`, which counts as applied at local time `now`; no leader yet.
    pub fn new(last: ClusterTime, now: Nanos) -> Self {
        Self { last, at: now, by: Ballot::ZERO }
    }

    /// When the last stamp was applied, or would have been by this member's own clock.
    pub(crate) fn at(&self) -> Nanos {
        self.at
    }

    /// The last applied stamp.
    pub fn last(&self) -> ClusterTime {
        self.last
    }

    /// What a leader would stamp now.
    pub fn estimate(&self, now: Nanos) -> ClusterTime {
        ClusterTime(self.last.0.saturating_add(now.since(self.at).0))
    }

    /// Cluster time once this stamp is applied.
    pub fn after(&self, stamp: Option<ClusterTime>) -> ClusterTime {
        stamp.map_or(self.last, |stamp| self.last.max(stamp))
    }

    /// Starts a leadership: time since the last stamp under another leader does not count.
    pub fn lead(&mut self, now: Nanos, ballot: Ballot) {
        (self.at, self.by) = (now, ballot);
    }

    /// Applies a stamp of the leader `by`; time never goes back, whatever order leaders stamped in.
    pub fn apply(&mut self, stamp: ClusterTime, by: Ballot, now: Nanos) -> ClusterTime {
        let before = self.last;
        if stamp >= self.last && by > self.by {
            // What passed here since a stamp of another leader did not pass in cluster time.
            (self.last, self.at, self.by) = (stamp, now, by);
        } else if stamp >= self.last {
            // A leader's own estimate may already be past the stamp: keep the later reading.
            let estimate = self.estimate(now);
            self.last = stamp;
            self.at = Nanos(now.0.saturating_sub(estimate.0.saturating_sub(stamp.0)));
        }
        assert!(self.last == before.max(stamp), "the last stamp is the highest");
        assert!(self.at <= now || stamp <= before, "it was applied by now");
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{NodeId, Term};

    const fn ms(n: u64) -> Nanos {
        Nanos::from_millis(n)
    }

    fn of(term: u64) -> Ballot {
        Ballot { term: Term(term), node: NodeId(1) }
    }

    #[test]
    fn time_without_a_leader_does_not_count_at_a_follower_either() {
        let mut clock = ClusterClock::new(ClusterTime::ZERO, ms(0));
        // The first leader comes after 1.5 s and stamps 10 ms later.
        let stamp = ClusterTime(ms(10).0);
        assert_eq!(clock.apply(stamp, of(1), ms(1512)), stamp);
        assert_eq!(clock.estimate(ms(1522)), ClusterTime(ms(20).0));
        // It is gone for 3 s, and the next one goes on where it ended.
        let stamp = ClusterTime(ms(25).0);
        clock.apply(stamp, of(2), ms(4600));
        assert_eq!(clock.estimate(ms(4601)), ClusterTime(ms(26).0));
    }

    #[test]
    fn stamps_of_one_leader_keep_the_later_reading_and_old_ones_change_nothing() {
        let mut clock = ClusterClock::new(ClusterTime::ZERO, ms(0));
        clock.lead(ms(100), of(3));
        assert_eq!(clock.estimate(ms(150)), ClusterTime(ms(50).0));
        // Its own stamp of then, applied 30 ms later.
        clock.apply(ClusterTime(ms(50).0), of(3), ms(180));
        assert_eq!(clock.estimate(ms(180)), ClusterTime(ms(80).0));
        clock.apply(ClusterTime(ms(20).0), of(2), ms(190));
        assert_eq!(clock.estimate(ms(190)), ClusterTime(ms(90).0));
        assert_eq!(clock.last(), ClusterTime(ms(50).0));
    }

    #[test]
    fn no_stamp_and_an_old_one_move_no_time_and_a_new_leader_begins_where_the_last_one_ended() {
        let mut clock = ClusterClock::new(ClusterTime(5), Nanos(100));
        assert_eq!((clock.at(), clock.after(None)), (Nanos(100), ClusterTime(5)));
        assert_eq!([4, 5, 6].map(|stamp| clock.after(Some(ClusterTime(stamp))).0), [5, 5, 6]);
        assert_eq!(clock.apply(ClusterTime(4), of(1), Nanos(200)), ClusterTime(5));
        assert_eq!((clock.at(), clock.last()), (Nanos(100), ClusterTime(5)));
        // The first stamp of another leader, at the same time as the last one before it.
        assert_eq!(clock.apply(ClusterTime(5), of(1), Nanos(300)), ClusterTime(5));
        assert_eq!((clock.at(), clock.estimate(Nanos(310))), (Nanos(300), ClusterTime(15)));
        // The same stamp once more by the same leader.
        assert_eq!(clock.apply(ClusterTime(5), of(1), Nanos(320)), ClusterTime(5));
        assert_eq!(clock.estimate(Nanos(330)), ClusterTime(35));
    }
}
