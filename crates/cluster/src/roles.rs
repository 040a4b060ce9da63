//! Who of a configuration keeps what (`docs/design/witness.md`).

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
    /// Of these voters, with the support of their system, and those marked out. The witnesses are
    /// those of its texts already.
    pub(crate) fn of(
        (voters, support): (NodeSet, NodeSet),
        witnesses: NodeSet,
        out: NodeSet,
    ) -> Self {
        let holders = voters.intersect(support).minus(witnesses);
        let data = holders.minus(out);
        assert!(data.is_subset(holders) && holders.is_subset(voters), "each is some of the next");
        Self { witnesses, holders, data }
    }
}
