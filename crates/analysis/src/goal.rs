//! What a strategy is asked for.

use crate::ratio::Ratio;

/// What a strategy makes as small as it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objective {
    /// The busiest member's share of its capacity an operation takes: the most capacity.
    Load,
    /// Members contacted an operation.
    Network,
    /// Seconds until a quorum has answered.
    Latency,
}

/// Bounds on the other figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub load_max: Option<Ratio>,
    pub network_max: Option<Ratio>,
    /// In seconds.
    pub latency_max: Option<Ratio>,
}

/// What to ask of a strategy.
#[derive(Clone, Debug)]
pub struct Goal {
    pub objective: Objective,
    pub limits: Limits,
    /// Contacted sets stay quorums after any `spare` of their members fail.
    pub spare: usize,
}

impl Goal {
    /// No limits, no spare members.
    pub fn least(objective: Objective) -> Self {
        Self { objective, limits: Limits::default(), spare: 0 }
    }
}
