//! Who of a configuration keeps what (`docs/design/witness.md`).

use crate::Configuration;
use quorum::{NodeSet, System};

/// Slots by what they keep, of one configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct Roles {
    pub witnesses: NodeSet,
    /// Voters that hold data.
    pub holders: NodeSet,
    /// Those of them that are not marked out.
    pub data: NodeSet,
}

impl Roles {
    pub fn of(config: &Configuration, system: &System) -> Self {
        let witnesses = config.witnesses();
        let holders = config.voters().intersect(system.support()).minus(witnesses);
        Self { witnesses, holders, data: holders.minus(config.out()) }
    }
}
