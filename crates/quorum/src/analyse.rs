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
        self.minimal_quorums_within(usize::MAX, usize::MAX).0
    }

    /// At most `max` minimal quorums, and whether these are all.
    pub fn minimal_quorums_max(&self, max: usize) -> (Vec<NodeSet>, bool) {
        self.minimal_quorums_within(max, STEPS_MAX)
    }

    fn minimal_quorums_within(&self, max: usize, steps_max: usize) -> (Vec<NodeSet>, bool) {
        let alone: Vec<NodeSet> = self.support().iter().map(|slot| NodeSet(1 << slot)).collect();
        if let Some(mut found) = self.minimal_by_class(&alone) {
            found.sort_unstable_by_key(by_size);
            let complete = found.len() <= max;
            found.truncate(max);
            return (found, complete);
        }
        self.walk(max, steps_max)
    }

    /// Any `max` minimal quorums found in so many steps, and whether these are all.
    fn walk(&self, max: usize, steps_max: usize) -> (Vec<NodeSet>, bool) {
        // From the highest slot, so that the first ones found keep the lowest.
        let mut slots: Vec<u8> = self.support().iter().collect();
        slots.reverse();
        let mut walk =
            Walk { family: self, slots, found: Vec::new(), max, complete: true, steps: steps_max };
        walk.from(0, NodeSet::EMPTY, self.support());
        walk.found.sort_unstable_by_key(by_size);
        (walk.found, walk.complete)
    }

    /// A smallest set to add to `present` to make a quorum; empty when it is one. Smallest is
    /// exact unless the family is so irregular that the search gives up; then it is minimal.
    pub fn what_is_missing(&self, present: NodeSet) -> NodeSet {
        self.missing_within(present, STEPS_MAX)
    }

    fn missing_within(&self, present: NodeSet, steps_max: usize) -> NodeSet {
        let absent = self.support().minus(present);
        let (classes, mut steps) = (classes(&[self]), steps_max);
        let mut sizes = 0..=absent.len();
        let found =
            sizes.find_map(|size| self.complete(&classes, present, absent, size, &mut steps));
        let added = found.unwrap_or_else(|| {
            let mut added = absent;
            for slot in absent.iter() {
                added.remove(slot);
                if !self.is_quorum(present.union(added)) {
                    added.insert(slot);
                }
            }
            added
        });
        assert!(self.is_quorum(present.union(added)), "it is what was missing");
        assert!(added.intersect(present).is_empty(), "nothing that is there is missing");
        added
    }

    /// Adds exactly `size` slots of `absent`, class by class; `None` once no steps are left.
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
        *steps = steps.checked_sub(1)?;
        let open = classes.iter().fold(NodeSet::EMPTY, |all, c| all.union(c.intersect(absent)));
        let (first, rest) = classes.split_first()?;
        if !self.is_quorum(have.union(open)) {
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

/// Smallest first, then by slots: of two sets of one size, the one with the lowest slot that is in
/// only one of them.
fn by_size(set: &NodeSet) -> (usize, u64) {
    (set.len(), !set.0.reverse_bits())
}

struct Walk<'a> {
    family: &'a Family,
    slots: Vec<u8>,
    found: Vec<NodeSet>,
    max: usize,
    complete: bool,
    /// Left before the walk gives up.
    steps: usize,
}

impl Walk<'_> {
    /// `chosen` is decided for slots before `at`; `possible` is chosen plus the undecided ones.
    fn from(&mut self, at: usize, chosen: NodeSet, possible: NodeSet) {
        assert!(chosen.is_subset(possible), "what is chosen is possible");
        if !self.complete || !self.family.is_quorum(possible) {
            return;
        }
        let Some(left) = self.steps.checked_sub(1) else {
            self.complete = false;
            return;
        };
        self.steps = left;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Expr;

    /// Members that no class puts together: rows and columns of nine.
    fn cross() -> Family {
        let expr = Expr::parse("cross(a b c / d e f / g h i)").expect("it parses");
        Family::compile(&expr, &expr.infer_names()).expect("all have names")
    }

    fn set(slots: &[u8]) -> NodeSet {
        slots.iter().copied().collect()
    }

    #[test]
    fn a_search_that_gave_up_still_adds_nobody_who_could_go() {
        // Smallest is a row and a column; to drop the lowest slots first ends elsewhere.
        let expr = Expr::parse("a and b or b and c and d").expect("it parses");
        let family = Family::compile(&expr, &expr.infer_names()).expect("all have names");
        assert_eq!(family.missing_within(NodeSet::EMPTY, usize::MAX), set(&[0, 1]));
        for steps in 0..40 {
            for bits in 0..16 {
                let present = NodeSet::from_bits(bits);
                let added = family.missing_within(present, steps);
                assert!(added.intersect(present).is_empty());
                for slot in added.iter() {
                    let mut less = added;
                    less.remove(slot);
                    assert!(!family.is_quorum(present.union(less)), "{slot} is not needed");
                }
            }
        }
        assert_eq!(family.missing_within(NodeSet::EMPTY, 0), set(&[1, 2, 3]));
        assert_eq!(family.missing_within(set(&[0, 1]), 0), NodeSet::EMPTY, "it is there at once");
    }

    #[test]
    fn a_search_leaves_out_what_cannot_lead_to_a_quorum() {
        // One class is taken by numbers, whoever they are: 2^64 sets are never looked at.
        let majority = Family::majority(NodeSet::first(64));
        assert_eq!(majority.missing_within(NodeSet::EMPTY, 600), NodeSet::first(33));
        assert_eq!(majority.missing_within(NodeSet::first(30), 10).len(), 3);
        // Nine classes of one: most of the 382 sets of up to five are not looked at.
        let cross = cross();
        assert_eq!(cross.missing_within(NodeSet::EMPTY, 200).len(), 5);
        assert_eq!(cross.missing_within(set(&[8]), 100).len(), 4);
    }

    #[test]
    fn a_walk_finds_what_the_gates_say_or_says_that_it_did_not() {
        for family in [cross(), Family::majority(NodeSet::first(7)), cross().dual()] {
            let (all, complete) = family.minimal_quorums_max(100);
            assert!(complete);
            assert_eq!(family.walk(100, usize::MAX), (all.clone(), true));
            assert_eq!(family.walk(all.len(), usize::MAX), (all.clone(), true));
            let (some, complete) = family.walk(all.len() - 1, usize::MAX);
            assert!(!complete && some.len() == all.len() - 1);
            let mut least = 0;
            while family.walk(100, least) != (all.clone(), true) {
                let (found, complete) = family.walk(100, least);
                assert!(!complete && found.iter().all(|set| all.contains(set)), "{least} steps");
                least += 1;
            }
            assert!(least >= all.len() && least < 1 << family.support().len(), "{least} steps");
        }
        // Leaving out the highest first: at once at a quorum of the lowest, then at its neighbours.
        let many = Family::majority(NodeSet::first(64));
        let mut less = NodeSet::first(33);
        less.remove(31);
        let mut next = NodeSet::first(34);
        next.remove(32);
        let mut last = less;
        last.insert(33);
        let first = [NodeSet::first(33), next, last];
        assert_eq!(many.walk(3, 200), (first.to_vec(), false));
    }
}
