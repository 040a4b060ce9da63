//! Minimal quorums gate by gate: those of a gate are made from those of its items.

use alloc::vec::Vec;

use crate::meet::lowest;
use crate::op::DEPTH_MAX;
use crate::{Family, NodeSet};

/// Sets of a gate before the search gives up.
const SETS_MAX: usize = 1 << 20;
/// The same where items share members, and sets must be held against each other.
const SHARED_SETS_MAX: usize = 1 << 14;

/// Something a gate counts: any `1..=limit` members of a class, or a gate below by one of its
/// minimal sets.
struct Item {
    weight: u32,
    support: NodeSet,
    kind: Kind,
}

enum Kind {
    Class(NodeSet),
    Gate(Vec<NodeSet>),
}

impl Family {
    /// Every minimal quorum that takes the lowest slots of each class: one for all those that
    /// differ only by exchanging members of a class. With classes of one member these are all
    /// minimal quorums. `None` when they are too many.
    ///
    /// # Panics
    /// When exchanging members of a class changes the family (see [`crate::interchangeable`]).
    pub fn minimal_by_class(&self, classes: &[NodeSet]) -> Option<Vec<NodeSet>> {
        let mut levels: [Vec<Item>; DEPTH_MAX] = core::array::from_fn(|_| Vec::new());
        let mut top = None;
        for op in self.ops() {
            let depth = op.depth as usize;
            let at = if op.need == 0 { depth } else { depth + 1 };
            let weight = if op.need == 0 { op.weight } else { 1 };
            for class in classes {
                let members = class.intersect(NodeSet(op.mask));
                assert!(members.is_empty() || members == *class, "a step splits a class");
                if !members.is_empty() {
                    levels[at].push(Item { weight, support: members, kind: Kind::Class(members) });
                }
            }
            if op.need > 0 {
                let items = core::mem::take(&mut levels[depth + 1]);
                let support = items.iter().fold(NodeSet::EMPTY, |all, i| all.union(i.support));
                let sets = gate(items, op.need)?;
                assert!(!sets.is_empty(), "every gate can be true");
                top = Some(sets.clone());
                levels[depth].push(Item { weight: op.weight, support, kind: Kind::Gate(sets) });
            }
        }
        top
    }
}

/// The minimal sets of "weights of the items reach `need`".
fn gate(mut items: Vec<Item>, need: u32) -> Option<Vec<NodeSet>> {
    // Heaviest first: a sum that reaches `need` then needs its last and lightest item, and so
    // every item.
    items.sort_by_key(|item| core::cmp::Reverse(item.weight));
    let mut seen = NodeSet::EMPTY;
    let mut shared = false;
    for item in &items {
        shared |= !seen.intersect(item.support).is_empty();
        seen = seen.union(item.support);
    }
    let sets_max = if shared { SHARED_SETS_MAX } else { SETS_MAX };
    let mut rest: Vec<u32> = Vec::new();
    let mut sum = 0u32;
    for item in items.iter().rev() {
        sum += item.weight * item.count();
        rest.push(sum);
    }
    rest.reverse();
    let mut walk = Choose { items: &items, rest: &rest, found: Vec::new(), sets_max };
    walk.from(0, need, NodeSet::EMPTY)?;
    let found = walk.found;
    Some(if shared { antichain(found) } else { found })
}

impl Item {
    fn count(&self) -> u32 {
        match &self.kind {
            Kind::Class(members) => members.0.count_ones(),
            Kind::Gate(_) => 1,
        }
    }
}

struct Choose<'a> {
    items: &'a [Item],
    /// Weight of the items from here on.
    rest: &'a [u32],
    found: Vec<NodeSet>,
    sets_max: usize,
}

impl Choose<'_> {
    /// `need` more from the items from `at` on; `None` when there are too many sets.
    fn from(&mut self, at: usize, need: u32, set: NodeSet) -> Option<()> {
        if need == 0 {
            self.found.push(set);
            return (self.found.len() <= self.sets_max).then_some(());
        }
        assert!(self.items.len() == self.rest.len(), "each item knows what follows it");
        let items = self.items;
        let Some(item) = items.get(at) else { return Some(()) };
        if self.rest[at] < need {
            return Some(());
        }
        match &item.kind {
            Kind::Class(members) => {
                let most = item.count().min(need.div_ceil(item.weight));
                for count in (0..=most).rev() {
                    let left = need.saturating_sub(count * item.weight);
                    self.from(at + 1, left, set.union(lowest(*members, count as usize)))?;
                }
            }
            Kind::Gate(sets) => {
                for choice in sets {
                    self.from(at + 1, need.saturating_sub(item.weight), set.union(*choice))?;
                }
                self.from(at + 1, need, set)?;
            }
        }
        Some(())
    }
}

/// Without the sets that hold another one.
fn antichain(mut sets: Vec<NodeSet>) -> Vec<NodeSet> {
    sets.sort_unstable_by_key(|set| (set.len(), set.0));
    sets.dedup();
    let mut kept: Vec<NodeSet> = Vec::new();
    for set in sets {
        if !kept.iter().any(|smaller| smaller.is_subset(set)) {
            kept.push(set);
        }
    }
    kept
}
