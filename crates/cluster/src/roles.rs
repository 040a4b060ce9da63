//! Who of a configuration keeps what (`docs/design/witness.md`).

use crate::Compiled;
use quorum::NodeSet;

/// Slots by what they keep, of one configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    /// Members that vote and keep no data; learners that will be such among them.
    pub witnesses: NodeSet,
    /// Voters that hold data.
    pub holders: NodeSet,
    /// Those of them that are not marked out.
    pub data: NodeSet,
}

impl Roles {
    /// The witnesses are those of its texts already.
    pub(crate) fn of(compiled: &Compiled) -> Self {
        let witnesses = compiled.witnesses();
        let voters = compiled.voters();
        let holders = voters.intersect(compiled.system().support()).minus(witnesses);
        let data = holders.minus(compiled.out());
        assert!(data.is_subset(holders) && holders.is_subset(voters), "each is some of the next");
        Self { witnesses, holders, data }
    }
}
