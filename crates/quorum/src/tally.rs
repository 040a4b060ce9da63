//! Votes for one decision.

use crate::{Family, NodeSet, Slot};

/// What the votes so far decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The yes votes hold a quorum.
    Won,
    /// No completion can win: the members that did not say no hold no quorum.
    Lost,
    /// More votes may still decide either way.
    Pending,
}

/// Votes of one decision. The first vote of a slot stands; duplicates and strangers (slots the
/// family does not name) change nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    yes: NodeSet,
    no: NodeSet,
}

impl Tally {
    /// Before the first vote.
    pub const fn new() -> Self {
        Self { yes: NodeSet::EMPTY, no: NodeSet::EMPTY }
    }

    /// True when the vote is the first of its slot; a slot of 64 or more is nobody.
    pub fn vote(&mut self, slot: Slot, yes: bool) -> bool {
        if slot as usize >= crate::NODES_MAX || self.voted().contains(slot) {
            return false;
        }
        if yes {
            self.yes.insert(slot);
        } else {
            self.no.insert(slot);
        }
        assert!(self.yes.intersect(self.no).is_empty(), "a slot votes once");
        true
    }

    /// What `family` makes of the votes: slots it does not name never matter.
    pub fn verdict(&self, family: &Family) -> Verdict {
        if family.is_quorum(self.yes) {
            assert!(!family.blocks(self.no), "what is won cannot be lost");
            Verdict::Won
        } else if family.blocks(self.no) {
            Verdict::Lost
        } else {
            Verdict::Pending
        }
    }

    /// Slots that said yes, strangers included.
    pub const fn yes(&self) -> NodeSet {
        self.yes
    }

    /// Slots that said no, strangers included.
    pub const fn no(&self) -> NodeSet {
        self.no
    }

    /// Slots that said anything.
    pub const fn voted(&self) -> NodeSet {
        self.yes.union(self.no)
    }

    /// Members of the family that have not voted.
    pub fn missing(&self, family: &Family) -> NodeSet {
        family.support().minus(self.voted())
    }
}
