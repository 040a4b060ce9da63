//! One order from the orders of independent parts.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::Operation;

/// Takes, again and again, the part whose next operation was invoked first. That next operation
/// precedes none of the others: if one left over had returned before it was invoked, the head of
/// that one's part would have been invoked even earlier.
pub fn merge<I, O>(ops: &[Operation<I, O>], orders: &[Vec<usize>]) -> Vec<usize> {
    let mut heads: BinaryHeap<Reverse<(u64, usize, usize)>> = BinaryHeap::new();
    for (part, order) in orders.iter().enumerate() {
        if let Some(&first) = order.first() {
            heads.push(Reverse((ops[first].invoked, part, 0)));
        }
    }
    let mut merged = Vec::with_capacity(orders.iter().map(Vec::len).sum());
    while let Some(Reverse((_, part, at))) = heads.pop() {
        merged.push(orders[part][at]);
        if let Some(&next) = orders[part].get(at + 1) {
            heads.push(Reverse((ops[next].invoked, part, at + 1)));
        }
    }
    merged
}
