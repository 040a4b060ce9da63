//! The same predicate for speed: every gate is one bit of a word, so no counter is carried.

use alloc::vec::Vec;

use crate::op::Op;

/// Gates of unit weight whose results fit one word. Gates that see only members come first:
/// they do not depend on each other, so the processor works on several at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    leaves: Vec<Gate>,
    /// A gate of gates, after everything it reads. The last one is the answer.
    inner: Vec<Inner>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gate {
    mask: u64,
    need: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Inner {
    members: Gate,
    /// Bits of earlier gates: leaves first, then inner gates in order.
    gates: u64,
}

/// Bits of one word.
const GATES_MAX: usize = 64;

impl Program {
    /// `None` when a weight is not 1, there are more than 64 gates, or one gate is everything.
    pub(crate) fn compile(ops: &[Op]) -> Option<Self> {
        let unit = ops.iter().all(|op| op.need > 0 && op.weight == 1);
        if !unit || ops.len() > GATES_MAX || ops.len() == 1 {
            return None;
        }
        // A gate is a leaf when nothing waits one level below it. The second pass repeats the
        // walk, once the leaves are counted and every gate's bit is known.
        let mut leaves = Vec::new();
        let mut waiting = [0u64; crate::op::DEPTH_MAX];
        for op in ops {
            if core::mem::take(&mut waiting[op.depth as usize + 1]) == 0 {
                leaves.push(Gate { mask: op.mask, need: op.need });
            }
            waiting[op.depth as usize] = 1;
        }
        let mut inner = Vec::new();
        let mut below = [0u64; crate::op::DEPTH_MAX];
        let mut leaf = 0;
        for op in ops {
            let gates = core::mem::take(&mut below[op.depth as usize + 1]);
            let bit = if gates == 0 { leaf } else { leaves.len() + inner.len() };
            if gates == 0 {
                leaf += 1;
            } else {
                inner.push(Inner { members: Gate { mask: op.mask, need: op.need }, gates });
            }
            below[op.depth as usize] |= 1 << bit;
        }
        assert!(leaves.len() + inner.len() <= GATES_MAX, "a word has a bit for each");
        assert_eq!(leaf, leaves.len(), "both walks see the same leaves");
        assert_eq!(leaves.len() + inner.len(), ops.len(), "every gate has one bit");
        Some(Self { leaves, inner })
    }

    #[inline]
    pub(crate) fn holds(&self, set: u64) -> bool {
        let mut won = 0u64;
        for (bit, gate) in self.leaves.iter().enumerate() {
            won |= u64::from((gate.mask & set).count_ones() >= gate.need) << bit;
        }
        let mut last = false;
        for (bit, gate) in (self.leaves.len()..).zip(&self.inner) {
            let mut count = (gate.gates & won).count_ones();
            if gate.members.mask != 0 {
                count += (gate.members.mask & set).count_ones();
            }
            last = count >= gate.members.need;
            won |= u64::from(last) << bit;
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Expr, Family, NodeSet};
    use alloc::format;
    use alloc::string::String;
    use base::Prng;

    fn compiled(text: &str) -> (Family, Option<Program>) {
        let expr = Expr::parse(text).expect("it parses");
        let family = Family::compile(&expr, &expr.infer_names()).expect("all have names");
        let program = Program::compile(family.ops());
        (family, program)
    }

    /// Most of so many gates, two of three members each, each member in three of them; the gate
    /// of all of them is one more.
    fn gates(count: usize) -> String {
        let gate = |i: usize| {
            let far = if i < 50 { 7 } else { 8 };
            format!("2 of (n{}, n{}, n{})", i % 50, (i + 1) % 50, (i + far) % 50)
        };
        let gates: Vec<String> = (0..count).map(gate).collect();
        format!("majority(x, {})", gates.join(", "))
    }

    #[test]
    fn gates_of_equal_weight_are_bits_of_one_word() {
        let two = "a and b or c";
        for text in [two, "zones(x{a, b}, y{c, d})", &gates(40), &gates(GATES_MAX - 1)] {
            let (family, program) = compiled(text);
            let program = program.expect(text);
            assert_eq!(program.leaves.len() + program.inner.len(), family.ops().len());
            let mut random = Prng::new(7);
            for _ in 0..1_000 {
                let set = random.next_u64();
                assert_eq!(program.holds(set), crate::family::run(family.ops(), set), "{text}");
            }
        }
        let one_gate = "majority(a, b, c)";
        let weights = "weighted{(a and b):2, c:1} >= 2";
        for text in [one_gate, weights, &gates(GATES_MAX), &gates(70)] {
            assert_eq!(compiled(text).1, None, "{text}");
        }
        let (family, _) = compiled(&gates(70));
        assert!(family.is_quorum(family.support()) && !family.is_quorum(NodeSet::first(3)));
    }
}
