//! The alarm that the quota raises itself.

use crate::command::AlarmKind;
use base::ClusterTime;
use base::codec::{DecodeError, Get, Put};

/// As whom it is listed: no member has id 0.
pub(crate) const ALARM_OWN: (u64, AlarmKind) = (0, AlarmKind::NoSpace);
/// How long it is still listed once there is space again: who compacts and then disarms, as etcd
/// asks for, finds something to disarm.
const LISTED_NANOS: u64 = 30_000_000_000;

/// Moves by applied entries and by their cluster time, so it is the same on every member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    Enough,
    /// Writes are refused.
    Full,
    /// There is space since then: writes are taken, and the alarm is still listed.
    Back(ClusterTime),
}

impl Space {
    pub fn is_listed(self) -> bool {
        self != Self::Enough
    }

    /// When it is no longer listed.
    pub fn ends(self) -> Option<ClusterTime> {
        match self {
            Self::Back(since) => Some(ClusterTime(since.0.saturating_add(LISTED_NANOS))),
            Self::Enough | Self::Full => None,
        }
    }

    /// Cluster time has come this far.
    pub fn pass(&mut self, now: ClusterTime) {
        let was = *self;
        if self.ends().is_some_and(|end| now >= end) {
            *self = Self::Enough;
        }
        assert!(*self == was || was != Self::Full, "time alone makes no room");
    }

    /// Far enough below the quota.
    pub fn freed(&mut self, now: ClusterTime) {
        if *self == Self::Full {
            *self = Self::Back(now);
        }
        assert!(*self != Self::Full, "writes are taken");
    }

    pub fn encode(self, out: &mut alloc::vec::Vec<u8>) {
        match self {
            Self::Enough => out.put_u8(0),
            Self::Full => out.put_u8(1),
            Self::Back(since) => {
                out.put_u8(2);
                out.put_u64(since.0);
            }
        }
    }

    pub fn decode(input: &mut Get<'_>) -> Result<Self, DecodeError> {
        Ok(match input.u8()? {
            0 => Self::Enough,
            1 => Self::Full,
            2 => Self::Back(ClusterTime(input.u64()?)),
            other => return crate::codec::unknown("state of the quota's alarm", other),
        })
    }
}
