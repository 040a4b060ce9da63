//! The commit index of any family.

use crate::{Family, NODES_MAX, NodeSet};

/// The largest i such that the slots with `matched[slot] >= i` hold a quorum; 0 when only the
/// slots at 0 complete one. Slots beyond `matched` count as 0, slots outside the family do not
/// count.
pub fn commit_index(family: &Family, matched: &[u64]) -> u64 {
    let value = |slot: u8| matched.get(slot as usize).copied().unwrap_or(0);
    // The support in descending order of matched: prefixes of it are the only candidate sets.
    let mut order = [0u8; NODES_MAX];
    let mut count = 0;
    for slot in family.support().iter() {
        let mut at = count;
        while at > 0 && value(order[at - 1]) < value(slot) {
            order[at] = order[at - 1];
            at -= 1;
        }
        order[at] = slot;
        count += 1;
    }
    // A prefix that ends inside a tie has the same value as the whole tie, so ends are exact.
    let mut acked = NodeSet::EMPTY;
    for &slot in &order[..count] {
        acked.insert(slot);
        if family.is_quorum(acked) {
            return value(slot);
        }
    }
    unreachable!("the support of a family is always a quorum")
}
