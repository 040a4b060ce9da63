//! The cheapest quorum, gate by gate.

use alloc::vec::Vec;
use core::ops::Add;

use crate::op::DEPTH_MAX;
use crate::{Family, NodeSet, Slot};

impl Family {
    /// A quorum of least total cost, and that cost; costs are at least `zero`. `None` when the
    /// family cannot be answered gate by gate: a member counts in two gates, or weights differ
    /// from 1.
    pub fn cheapest<T>(&self, zero: T, cost: impl Fn(Slot) -> T) -> Option<(NodeSet, T)>
    where
        T: Clone + PartialOrd + Add<Output = T>,
    {
        let mut levels: [Vec<(NodeSet, T)>; DEPTH_MAX] = core::array::from_fn(|_| Vec::new());
        let mut seen = NodeSet::EMPTY;
        for op in self.ops() {
            let members = NodeSet(op.mask);
            if op.need == 0 || op.weight != 1 || !seen.intersect(members).is_empty() {
                return None;
            }
            seen = seen.union(members);
            let mut items = core::mem::take(&mut levels[op.depth as usize + 1]);
            items.extend(members.iter().map(|slot| (NodeSet(1 << slot), cost(slot))));
            // Costs are ordered numbers; an unordered pair would only cost optimality.
            items.sort_by(|a, b| a.1.partial_cmp(&b.1).unwrap_or(core::cmp::Ordering::Equal));
            let start = (NodeSet::EMPTY, zero.clone());
            let gate = items
                .into_iter()
                .take(op.need as usize)
                .fold(start, |sum, item| (sum.0.union(item.0), sum.1 + item.1));
            levels[op.depth as usize].push(gate);
        }
        let (set, sum) = levels[0].pop()?;
        assert!(set.is_subset(self.support()), "only members cost");
        assert!(self.is_quorum(set), "each gate took as many items as it needs");
        Some((set, sum))
    }
}
