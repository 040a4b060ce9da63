//! The commit index of any family.

use core::cmp::Reverse;

use crate::{Family, NODES_MAX, NodeSet};

/// The largest i such that the slots with `matched[slot] >= i` hold a quorum; 0 when only the
/// slots at 0 complete one. Slots beyond `matched` count as 0, slots outside the family do not
/// count.
pub fn commit_index(family: &Family, matched: &[u64]) -> u64 {
    let value = |slot: u8| matched.get(slot as usize).copied().unwrap_or(0);
    // The support in descending order of matched: prefixes of it are the only candidate sets.
    let mut order = [0u8; NODES_MAX];
    let mut count = 0;
    for (place, slot) in order.iter_mut().zip(family.support().iter()) {
        *place = slot;
        count += 1;
    }
    let order = &mut order[..count];
    order.sort_unstable_by_key(|slot| Reverse(value(*slot)));
    // Families are monotone, so the shortest winning prefix is found by halving. A prefix that
    // ends inside a tie has the same value as the whole tie, so ends are exact.
    let (mut short, mut long) = (0, count);
    let mut acked = NodeSet::EMPTY;
    while long - short > 1 {
        let middle = (short + long) / 2;
        let more: NodeSet = order[short..middle].iter().copied().collect();
        let prefix = acked.union(more);
        if family.is_quorum(prefix) {
            long = middle;
        } else {
            (short, acked) = (middle, prefix);
        }
    }
    assert!(long > 0, "the empty set is never a quorum, the support always is");
    let decided = acked.union(order[short..long].iter().copied().collect());
    assert!(family.is_quorum(decided), "who holds the index is a quorum");
    assert!(!family.is_quorum(acked), "who holds more is none");
    value(order[long - 1])
}
