//! Questions about one family: minimal quorums, resilience, what is missing.

use alloc::vec::Vec;

use crate::meet::{classes, lowest};
use crate::{Family, NodeSet};

/// Steps of an exact search before a cheaper answer is given.
const STEPS_MAX: usize = 1 << 20;

impl Family {
    /// A minimal quorum inside `set`: none of its members can go. It prefers low slots.
    pub fn minimal_within(&self, set: NodeSet) -> Option<NodeSet> {
        let mut quorum = set.intersect(self.support());
        if !self.is_quorum(quorum) {
            return None;
        }
        // One pass is enough: what could not go from a larger set cannot go from a smaller one.
        let mut slots: Vec<u8> = quorum.iter().collect();
        while let Some(slot) = slots.pop() {
            quorum.remove(slot);
            if !self.is_quorum(quorum) {
                quorum.insert(slot);
            }
        }
        assert!(self.is_quorum(quorum), "a pass keeps the quorum");
        Some(quorum)
    }

    /// Every minimal quorum, smallest first, then by slots. Exponential in general: use
    /// [`Family::minimal_quorums_max`] for a family that may be large.
    pub fn minimal_quorums(&self) -> Vec<NodeSet> {
        self.minimal_quorums_max(usize::MAX).0
    }

    /// At most `max` minimal quorums, and whether these are all.
    pub fn minimal_quorums_max(&self, max: usize) -> (Vec<NodeSet>, bool) {
        let alone: Vec<NodeSet> = self.support().iter().map(|slot| NodeSet(1 << slot)).collect();
        if let Some(mut found) = self.minimal_by_class(&alone) {
            found.sort_unstable_by_key(|q| (q.len(), q.0.reverse_bits() ^ u64::MAX));
            let complete = found.len() <= max;
            found.truncate(max);
            return (found, complete);
        }
        // From the highest slot, so that the first ones found keep the lowest.
        let mut slots: Vec<u8> = self.support().iter().collect();
        slots.reverse();
        let mut walk =
            Walk { family: self, slots, found: Vec::new(), max, complete: true, steps: 0 };
        walk.from(0, NodeSet::EMPTY, self.support());
        walk.found.sort_unstable_by_key(|q| (q.len(), q.0.reverse_bits() ^ u64::MAX));
        (walk.found, walk.complete)
    }

    /// A smallest set to add to `present` to make a quorum; empty when it is one. Smallest is
    /// exact unless the family is so irregular that the search gives up; then it is minimal.
    pub fn what_is_missing(&self, present: NodeSet) -> NodeSet {
        let absent = self.support().minus(present);
        let mut steps = 0;
        for size in 0..=absent.len() {
            match self.complete(&classes(&[self]), present, absent, size, &mut steps) {
                Some(added) => {
                    assert!(self.is_quorum(present.union(added)), "it is what was missing");
                    assert!(
                        added.intersect(present).is_empty(),
                        "nothing that is there is missing"
                    );
                    return added;
                }
                None if steps > STEPS_MAX => break,
                None => {}
            }
        }
        let mut added = absent;
        for slot in absent.iter() {
            added.remove(slot);
            if !self.is_quorum(present.union(added)) {
                added.insert(slot);
            }
        }
        assert!(self.is_quorum(present.union(added)), "it is what was missing");
        added
    }

    /// Adds exactly `size` slots of `absent`, class by class.
    fn complete(
        &self,
        classes: &[NodeSet],
        have: NodeSet,
        absent: NodeSet,
        size: usize,
        steps: &mut usize,
    ) -> Option<NodeSet> {
        if size == 0 {
            return self.is_quorum(have).then_some(NodeSet::EMPTY);
        }
        *steps += 1;
        let open = classes.iter().fold(NodeSet::EMPTY, |all, c| all.union(c.intersect(absent)));
        let (first, rest) = classes.split_first()?;
        if *steps > STEPS_MAX || open.len() < size || !self.is_quorum(have.union(open)) {
            return None;
        }
        let members = first.intersect(absent);
        for count in (0..=members.len().min(size)).rev() {
            let taken = lowest(members, count);
            let found = self.complete(rest, have.union(taken), absent, size - count, steps);
            if let Some(more) = found {
                return Some(more.union(taken));
            }
        }
        None
    }

    /// A smallest set whose loss leaves no quorum.
    pub fn smallest_blocking(&self) -> NodeSet {
        self.dual().what_is_missing(NodeSet::EMPTY)
    }

    /// How many members may fail, whichever they are, with a quorum left.
    pub fn resilience(&self) -> usize {
        let blocking = self.smallest_blocking();
        assert!(self.blocks(blocking) && !blocking.is_empty(), "a family has a quorum to block");
        blocking.len() - 1
    }

    /// Every minimal blocking set, at most `max`, and whether these are all.
    pub fn blocking_sets_max(&self, max: usize) -> (Vec<NodeSet>, bool) {
        self.dual().minimal_quorums_max(max)
    }
}

struct Walk<'a> {
    family: &'a Family,
    slots: Vec<u8>,
    found: Vec<NodeSet>,
    max: usize,
    complete: bool,
    steps: usize,
}

impl Walk<'_> {
    /// `chosen` is decided for slots before `at`; `possible` is chosen plus the undecided ones.
    fn from(&mut self, at: usize, chosen: NodeSet, possible: NodeSet) {
        assert!(chosen.is_subset(possible), "what is chosen is possible");
        if !self.complete || !self.family.is_quorum(possible) {
            return;
        }
        self.steps += 1;
        if self.steps > STEPS_MAX && self.max != usize::MAX {
            self.complete = false;
            return;
        }
        if self.family.is_quorum(chosen) {
            if self.family.minimal_within(chosen) != Some(chosen) {
                return;
            }
            self.complete = self.found.len() < self.max;
            if !self.complete {
                return;
            }
            self.found.push(chosen);
            return;
        }
        let Some(&slot) = self.slots.get(at) else { return };
        // Leaving out first reaches a minimal quorum at once, however large the family is.
        let mut without = possible;
        without.remove(slot);
        self.from(at + 1, chosen, without);
        let mut with = chosen;
        with.insert(slot);
        self.from(at + 1, with, possible);
    }
}
