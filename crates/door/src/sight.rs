//! Who may see the data of a member: decided here once, for every shell that carries it out.

use crate::query::{Freshness, Query, Reading};
use crate::refusal::{Reason, Refusal};
use alloc::sync::Arc;
use base::ClusterTime;
use mvcc::View;
use replica::{RefusalReason, Replica};

/// How a member stood after a step, as far as that decides who may see its data.
#[derive(Clone, Debug)]
pub struct Sight {
    /// Why it has no data to show, if so.
    pub no_data: Option<RefusalReason>,
    /// It stands where it stood before its start. Until then its own state is shown to nobody.
    pub current: bool,
    /// The cluster's time.
    pub now: ClusterTime,
    /// Operations a transaction may have.
    pub ops_max: usize,
}

impl Sight {
    /// Of a replica between two steps; it goes with a view that is taken at the same moment.
    pub fn of(replica: &Replica) -> Self {
        Self {
            no_data: replica.serves_no_data(),
            current: replica.is_current(),
            now: replica.cluster_time(),
            ops_max: replica.store().limits().max_txn_ops,
        }
    }

    /// The same, of a member that cannot apply any further.
    #[must_use]
    pub fn halted(self) -> Self {
        Self { no_data: Some(RefusalReason::Diverged), ..self }
    }

    /// Whether its own state is shown as it is to whoever asks for no more: watchers, local reads.
    pub const fn is_open(&self) -> bool {
        self.no_data.is_none() && self.current
    }

    /// Why there is no data to show, if so. Who could help is for the shell to add.
    pub fn no_data(&self) -> Option<Refusal> {
        let reason = match self.no_data? {
            RefusalReason::Witness => Reason::Witness,
            RefusalReason::Diverged => Reason::Diverged,
            RefusalReason::NoMember => Reason::NoLeader,
            // It is told call by call.
            RefusalReason::NoLeader | RefusalReason::Timeout | RefusalReason::Overloaded => {
                return None;
            }
        };
        Some(Refusal::not_applied(reason))
    }

    /// How a read that has come is served: from what is here, or behind a barrier. Where nothing
    /// may be shown yet, local reads need one too.
    ///
    /// # Errors
    /// No barrier would help.
    pub fn admit(&self, query: &Query, fresh: Freshness) -> Result<Freshness, Refusal> {
        match self.no_data() {
            Some(refusal) if query.is_refused_by(&refusal) => Err(refusal),
            None if !self.current => Ok(Freshness::Linearizable),
            _ => Ok(fresh),
        }
    }

    /// Begins a read of `view`, which is of the same moment: one before may have been the last
    /// that had any data.
    ///
    /// # Errors
    /// There is no data to show, or what the data model refuses without looking at it.
    pub fn begin(&self, query: &Query, view: Arc<View>) -> Result<Reading, Refusal> {
        match self.no_data().filter(|refusal| query.is_refused_by(refusal)) {
            Some(refusal) => Err(refusal),
            None => Ok(query.begin(view, self.now, self.ops_max)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mvcc::{Limits, RangeRequest, Store};

    fn sight(no_data: Option<RefusalReason>, current: bool) -> Sight {
        Sight { no_data, current, now: ClusterTime(1), ops_max: 1 }
    }

    fn range() -> Query {
        let key = base::Blob::from(&b"k"[..]);
        Query::Range(RangeRequest { key, ..RangeRequest::default() })
    }

    #[test]
    fn the_own_state_is_shown_once_the_member_stands_where_it_stood_and_before_behind_a_barrier() {
        for fresh in [Freshness::Local, Freshness::Linearizable] {
            assert_eq!(sight(None, true).admit(&range(), fresh), Ok(fresh));
            let behind = sight(None, false).admit(&range(), fresh);
            assert_eq!(behind, Ok(Freshness::Linearizable));
        }
        assert!(sight(None, true).is_open() && !sight(None, false).is_open());
    }

    #[test]
    fn who_has_no_data_shows_none_whether_asked_or_confirmed_and_says_why() {
        let view = Arc::new(Store::new(Limits::default()).view());
        for (why, reason) in [
            (RefusalReason::Witness, Reason::Witness),
            (RefusalReason::NoMember, Reason::NoLeader),
            (RefusalReason::Diverged, Reason::Diverged),
        ] {
            let sight = sight(Some(why), true);
            let refusal = Refusal::not_applied(reason);
            assert!(!sight.is_open());
            assert_eq!(sight.no_data(), Some(refusal.clone()));
            assert_eq!(sight.admit(&range(), Freshness::Local), Err(refusal.clone()));
            assert_eq!(sight.begin(&range(), view.clone()).err(), Some(refusal));
        }
        assert!(sight(None, true).begin(&range(), view.clone()).is_ok());
        let halted = sight(None, true).halted();
        assert_eq!(halted.no_data(), Some(Refusal::not_applied(Reason::Diverged)));
        let hash = Query::Hash { revision: 0 };
        assert_eq!(halted.admit(&hash, Freshness::Local), Ok(Freshness::Local), "how it differs");
        assert!(halted.begin(&hash, view).is_ok());
    }
}
