//! A family compiled to a flat program.

use alloc::vec::Vec;

use crate::expr::{Expr, Kind};
use crate::op::{DEPTH_MAX, Op};
use crate::program::Program;
use crate::refusal::SystemError;
use crate::{Names, NodeSet};

/// A compiled monotone predicate over slots. The empty set is never a quorum and the support
/// always is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    ops: Vec<Op>,
    support: NodeSet,
    /// The same predicate for speed, where its shape allows one.
    program: Option<Program>,
}

impl Family {
    /// Compiles an expression; fails on a name that `names` does not hold.
    pub fn compile(expr: &Expr, names: &Names) -> Result<Self, SystemError> {
        let mut ops = Vec::new();
        compile_gate(expr, names, 0, 1, &mut ops)?;
        let family = Self::from_ops(ops);
        assert!(family.support.is_subset(names.all()), "only who has a name is counted");
        Ok(family)
    }

    /// A strict majority of `members`, which must not be empty.
    pub fn majority(members: NodeSet) -> Self {
        let total = members.0.count_ones();
        Self::at_least(total / 2 + 1, members)
    }

    /// Any `need` of `members`; 1 <= need <= how many they are.
    pub fn at_least(need: u32, members: NodeSet) -> Self {
        let total = members.0.count_ones();
        assert!(need >= 1 && need <= total, "a threshold is between one and all");
        let op = Op { mask: members.0, need, weight: 1, total, depth: 0 };
        Self::from_ops([op].into())
    }

    fn from_ops(ops: Vec<Op>) -> Self {
        let answer = ops.last().expect("a family has a gate");
        assert!(answer.depth == 0 && answer.need > 0, "the last step is the whole");
        let support = NodeSet(ops.iter().fold(0, |all, op| all | op.mask));
        let program = Program::compile(&ops);
        let out = Self { ops, support, program };
        assert!(out.is_quorum(support), "a family holds its support");
        assert!(!out.is_quorum(NodeSet::EMPTY), "the empty set is never a quorum");
        out
    }

    /// Whether `set` holds a quorum. Slots outside the support are ignored.
    #[inline]
    pub fn is_quorum(&self, set: NodeSet) -> bool {
        match (&self.program, self.ops.as_slice()) {
            (_, [gate]) => (gate.mask & set.0).count_ones() >= gate.need,
            (Some(program), _) => program.holds(set.0),
            (None, ops) => run(ops, set.0),
        }
    }

    /// Whether `set` hits every quorum: without it, no quorum is left.
    pub fn blocks(&self, set: NodeSet) -> bool {
        !self.is_quorum(self.support.minus(set))
    }

    /// Every slot the family names.
    pub const fn support(&self) -> NodeSet {
        self.support
    }

    /// Quorums of both.
    #[must_use]
    pub fn and(&self, other: &Family) -> Family {
        self.join(other, 2)
    }

    /// Quorums of either.
    #[must_use]
    pub fn or(&self, other: &Family) -> Family {
        self.join(other, 1)
    }

    fn join(&self, other: &Family, need: u32) -> Family {
        if self == other {
            return self.clone();
        }
        let mut ops = Vec::with_capacity(self.ops.len() + other.ops.len() + 1);
        for op in self.ops.iter().chain(&other.ops) {
            assert!((op.depth as usize) + 3 < DEPTH_MAX, "joined families nest too deeply");
            ops.push(Op { depth: op.depth + 1, ..op.clone() });
        }
        ops.push(Op { mask: 0, need, weight: 1, total: 2, depth: 0 });
        let joined = Self::from_ops(ops);
        assert_eq!(joined.support, self.support.union(other.support), "nobody is lost");
        joined
    }

    /// The family of sets that hit every quorum of this one ([`Family::blocks`]). The dual of
    /// the dual is the family itself.
    #[must_use]
    pub fn dual(&self) -> Family {
        let ops = self.ops.iter().map(|op| match op.need {
            0 => op.clone(),
            need => Op { need: op.total - need + 1, ..op.clone() },
        });
        let dual = Self::from_ops(ops.collect());
        assert_eq!(dual.support, self.support, "nobody is lost");
        dual
    }

    /// (k, members) when the family is "any k of the members", as written.
    pub(crate) fn as_threshold(&self) -> Option<(u32, NodeSet)> {
        match self.ops.as_slice() {
            [gate] => Some((gate.need, self.support)),
            _ => None,
        }
    }

    pub(crate) fn ops(&self) -> &[Op] {
        &self.ops
    }
}

pub(crate) fn run(ops: &[Op], set: u64) -> bool {
    let mut counts = [0u32; DEPTH_MAX];
    let mut won = false;
    for op in ops {
        let here = if op.mask == 0 { 0 } else { (op.mask & set).count_ones() };
        let depth = op.depth as usize & (DEPTH_MAX - 1);
        if op.need == 0 {
            counts[depth] += here * op.weight;
            continue;
        }
        let below = &mut counts[(depth + 1) & (DEPTH_MAX - 1)];
        won = here + *below >= op.need;
        *below = 0;
        counts[depth] += op.weight * u32::from(won);
    }
    won
}

/// Emits the gate for `expr`, which adds `weight` to the counter of level `depth`.
fn compile_gate(
    expr: &Expr,
    names: &Names,
    depth: u8,
    weight: u32,
    ops: &mut Vec<Op>,
) -> Result<(), SystemError> {
    assert!((depth as usize) + 2 < DEPTH_MAX, "the parser bounds the depth");
    let (need, items) = match &expr.kind {
        Kind::Name(name) | Kind::Witness(name) => {
            let mask = 1 << resolve(expr, name, names)?;
            ops.push(Op { mask, need: 1, weight, total: 1, depth });
            return Ok(());
        }
        Kind::Sum { need, items } => (*need, items),
    };
    let mut mask = 0u64;
    let mut total = 0u32;
    // Names of equal weight share one step, so that interchangeable members look alike.
    let mut heavy: Vec<(u32, u64)> = Vec::new();
    for (item, item_weight) in items {
        total = total.checked_add(*item_weight).expect("the parser bounds weights");
        let Some(name) = item.name() else {
            compile_gate(item, names, depth + 1, *item_weight, ops)?;
            continue;
        };
        let bit = 1 << resolve(item, name, names)?;
        if *item_weight == 1 && mask & bit == 0 {
            mask |= bit;
            continue;
        }
        match heavy.iter_mut().find(|(w, m)| w == item_weight && *m & bit == 0) {
            Some((_, members)) => *members |= bit,
            None => heavy.push((*item_weight, bit)),
        }
    }
    for (weight, mask) in heavy {
        ops.push(Op { mask, need: 0, weight, total: 0, depth: depth + 1 });
    }
    assert!(need >= 1 && need <= total, "the parser bounds thresholds");
    ops.push(Op { mask, need, weight, total, depth });
    Ok(())
}

fn resolve(expr: &Expr, name: &str, names: &Names) -> Result<u8, SystemError> {
    names
        .slot(name)
        .ok_or_else(|| SystemError::UnknownName { name: name.into(), column: expr.column })
}
