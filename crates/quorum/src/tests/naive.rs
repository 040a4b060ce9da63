//! The definitions, as slow and plain as they are written.

use std::format;
use std::prelude::rust_2024::*;
use std::vec::Vec;

use proptest::prelude::*;

use super::subsets;
use crate::{Expr, NodeSet, Verdict};

#[derive(Clone, Debug)]
pub enum Tree {
    Leaf(u8),
    Sum { need: u32, items: Vec<(Tree, u32)> },
}

impl Tree {
    pub fn holds(&self, set: NodeSet) -> bool {
        match self {
            Tree::Leaf(slot) => set.contains(*slot),
            Tree::Sum { need, items } => {
                let reached: u32 =
                    items.iter().filter(|(item, _)| item.holds(set)).map(|(_, w)| w).sum();
                reached >= *need
            }
        }
    }

    pub fn text(&self) -> String {
        match self {
            Tree::Leaf(slot) => char::from(b'a' + slot).into(),
            Tree::Sum { need, items } if items.iter().all(|(_, w)| *w == 1) => {
                let inner: Vec<String> = items.iter().map(|(item, _)| item.text()).collect();
                format!("{need} of ({})", inner.join(", "))
            }
            Tree::Sum { need, items } => {
                let inner: Vec<String> =
                    items.iter().map(|(item, w)| format!("{}: {w}", item.text())).collect();
                format!("weighted{{{}}} >= {need}", inner.join(", "))
            }
        }
    }
}

/// Random trees over the first `count` letters; no item is listed twice in one gate.
pub fn tree(count: u8) -> impl Strategy<Value = Tree> {
    let leaf = (0..count).prop_map(Tree::Leaf);
    leaf.prop_recursive(3, 24, 6, |inner| {
        let weight = prop_oneof![3 => Just(1u32), 1 => 1..5u32];
        let items = prop::collection::vec((inner, weight), 1..6);
        (items, any::<prop::sample::Index>()).prop_map(|(items, need)| {
            let mut seen: Vec<Expr> = Vec::new();
            let mut kept = Vec::new();
            for (item, weight) in items {
                let expr = Expr::parse(&item.text()).unwrap();
                if !seen.contains(&expr) {
                    seen.push(expr);
                    kept.push((item, weight));
                }
            }
            let total: u32 = kept.iter().map(|(_, w)| w).sum();
            Tree::Sum { need: need.index(total as usize) as u32 + 1, items: kept }
        })
    })
}

pub fn minimal(count: usize, holds: &dyn Fn(NodeSet) -> bool) -> Vec<NodeSet> {
    let without = |set: NodeSet, slot: u8| set.minus([slot].into_iter().collect());
    let is_minimal =
        |set: &NodeSet| holds(*set) && set.iter().all(|slot| !holds(without(*set, slot)));
    subsets(count).filter(is_minimal).collect()
}

/// Whether some completion of the silent members wins, whether all do.
pub fn verdict(
    count: usize,
    yes: NodeSet,
    no: NodeSet,
    holds: &dyn Fn(NodeSet) -> bool,
) -> Verdict {
    if holds(yes) {
        return Verdict::Won;
    }
    let fits = |set: &NodeSet| yes.is_subset(*set) && set.intersect(no).is_empty();
    let can_win = subsets(count).filter(fits).any(holds);
    if can_win { Verdict::Pending } else { Verdict::Lost }
}

pub fn commit_index(matched: &[u64], holds: &dyn Fn(NodeSet) -> bool) -> u64 {
    let acked = |index: u64| -> NodeSet {
        (0..matched.len() as u8).filter(|slot| matched[*slot as usize] >= index).collect()
    };
    let top = matched.iter().copied().max().unwrap_or(0);
    (0..=top).rev().find(|index| holds(acked(*index))).unwrap_or(0)
}

/// The fewest members a quorum of `a` and one of `b` share.
pub fn least_shared(a: &[NodeSet], b: &[NodeSet]) -> usize {
    let pairs = a.iter().flat_map(|x| b.iter().map(move |y| x.intersect(*y).len()));
    pairs.min().unwrap()
}
