//! Do any two quorums miss each other? A search over members in classes that are
//! interchangeable, remembering states that lead nowhere.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::op::Op;
use crate::{Family, NodeSet};

/// Operations of both programs that are gone through before the search gives up, up to twice a
/// state: within a tenth of a second, since a member that appends a change proves its text before
/// it does anything else. Three times what 64 members of 31 different weights take.
const WORK_MAX: usize = 1 << 23;

pub(crate) enum Disjoint {
    Never,
    /// A quorum of the first and one of the second family, both minimal.
    Pair(NodeSet, NodeSet),
    TooComplex,
}

/// Looks for a quorum of `a` and a quorum of `b` that share at most `shared_max` members.
pub(crate) fn disjoint(a: &Family, b: &Family, shared_max: u8) -> Disjoint {
    let (classes, dead) = (classes(&[a, b]), BTreeSet::new());
    let mut search = Search { a, b, classes, dead, work: 0 };
    match search.from(0, NodeSet::EMPTY, NodeSet::EMPTY, shared_max) {
        Some((x, y)) => {
            assert!(x.is_subset(a.support().union(b.support())), "only members are placed");
            let x = a.minimal_within(x).expect("the search ends on quorums");
            let y = b.minimal_within(y).expect("the search ends on quorums");
            assert!(x.intersect(y).len() <= shared_max as usize, "an offending pair offends");
            Disjoint::Pair(x, y)
        }
        None if search.work >= WORK_MAX => Disjoint::TooComplex,
        None => Disjoint::Never,
    }
}

struct Search<'a> {
    a: &'a Family,
    b: &'a Family,
    classes: Vec<NodeSet>,
    dead: BTreeSet<Vec<u32>>,
    work: usize,
}

impl Search<'_> {
    /// Members of classes before `class` are placed in `x`, `y` or both; `shared` more may be in
    /// both.
    fn from(
        &mut self,
        class: usize,
        x: NodeSet,
        y: NodeSet,
        shared: u8,
    ) -> Option<(NodeSet, NodeSet)> {
        let open = self.classes[class..].iter().fold(NodeSet::EMPTY, |all, c| all.union(*c));
        assert!(x.union(y).intersect(open).is_empty(), "what is placed is not open");
        self.work += self.a.ops().len() + self.b.ops().len();
        if !self.a.is_quorum(x.union(open)) || !self.b.is_quorum(y.union(open)) {
            return None;
        }
        let Some(&members) = self.classes.get(class) else { return Some((x, y)) };
        let mut key = Vec::from([class as u32, u32::from(shared)]);
        residue(self.a.ops(), x, open, &mut key);
        residue(self.b.ops(), y, open, &mut key);
        self.work += self.a.ops().len() + self.b.ops().len();
        if self.work >= WORK_MAX || self.dead.contains(&key) {
            return None;
        }
        for both in 0..=members.len().min(shared as usize) {
            let common = lowest(members, both);
            let apart = members.minus(common);
            for first in 0..=apart.len() {
                let mine = lowest(apart, first);
                let rest = apart.minus(mine);
                let left = shared - both as u8;
                let next_x = x.union(common).union(mine);
                let next_y = y.union(common).union(rest);
                let found = self.from(class + 1, next_x, next_y, left);
                if found.is_some() {
                    return found;
                }
            }
        }
        self.dead.insert(key);
        None
    }
}

/// Members no step of any family tells apart. Each split puts the members of its step first, so
/// that those of one gate stand next to each other: its residue then collapses early.
pub(crate) fn classes(families: &[&Family]) -> Vec<NodeSet> {
    let all = families.iter().fold(NodeSet::EMPTY, |all, f| all.union(f.support()));
    let mut classes: Vec<NodeSet> = Vec::from([all]);
    for op in families.iter().flat_map(|f| f.ops()) {
        let mask = NodeSet(op.mask);
        let split = classes.iter().flat_map(|c| [c.intersect(mask), c.minus(mask)]);
        classes = split.filter(|c| !c.is_empty()).collect();
    }
    let members: usize = classes.iter().map(|class| class.len()).sum();
    assert_eq!(members, all.len(), "each member is in one class");
    classes
}

/// Members in classes: exchanging two of one class changes no family. Members may be
/// interchangeable and yet in different classes; the families' texts decide.
pub fn interchangeable(families: &[&Family]) -> Vec<NodeSet> {
    classes(families)
}

/// The `count` lowest slots of `set`.
pub(crate) fn lowest(set: NodeSet, count: usize) -> NodeSet {
    let lowest: NodeSet = set.iter().take(count).collect();
    assert!(lowest.is_subset(set) && lowest.len() == count.min(set.len()), "as many as there are");
    lowest
}

/// What is left of the program when `placed` is in and `open` undecided: one number a step.
/// Equal residues have equal futures. A settled gate is `MAX`, whichever way it settled, since
/// its parent's number already says which.
fn residue(ops: &[Op], placed: NodeSet, open: NodeSet, key: &mut Vec<u32>) {
    const SETTLED: u32 = u32::MAX;
    let mut counts = [0u32; crate::op::DEPTH_MAX];
    let mut undecided = [false; crate::op::DEPTH_MAX];
    for op in ops {
        let depth = op.depth as usize;
        let here = (op.mask & placed.0).count_ones();
        let waits = op.mask & open.0 != 0;
        if op.need == 0 {
            counts[depth] += here * op.weight;
            undecided[depth] |= waits;
            continue;
        }
        let count = here + counts[depth + 1];
        let waits = waits || undecided[depth + 1];
        (counts[depth + 1], undecided[depth + 1]) = (0, false);
        if count >= op.need {
            counts[depth] += op.weight;
            key.push(SETTLED);
        } else if waits {
            undecided[depth] = true;
            key.push(count);
        } else {
            key.push(SETTLED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SystemError, SystemSpec, Unsafe, Why};
    use alloc::format;
    use alloc::string::String;
    use base::Prng;

    /// More than half of so many gates, each over nine of 64 members.
    fn gates(count: usize) -> String {
        let mut p = Prng::new(3);
        let mut gate = || {
            let mut set = NodeSet::EMPTY;
            while set.len() < 9 {
                set.insert(p.below(64) as u8);
            }
            let names: Vec<String> = set.iter().map(|slot| format!("n{slot}")).collect();
            format!("majority({})", names.join(", "))
        };
        let gates: Vec<String> = (0..count).map(|_| gate()).collect();
        format!("majority({})", gates.join(", "))
    }

    #[test]
    fn a_search_that_gave_up_is_no_proof_and_names_nobody() {
        let spec = SystemSpec::parse(&gates(24)).expect("it is short enough");
        let names = spec.infer_names();
        let error = spec.compile(&names).expect_err("it is not proved");
        assert_eq!(format!("{error}"), "too complex to prove that its quorums meet");
        let SystemError::Unsafe { cause, .. } = error else { panic!("{error}") };
        let none = NodeSet::EMPTY;
        assert_eq!(cause, Unsafe { a: none, b: none, why: Why::TooComplex, share_min: 1 });
    }

    #[test]
    fn states_with_one_future_are_looked_at_once() {
        let names: Vec<String> = (0..64).map(|slot| format!("n{slot}")).collect();
        let zones: Vec<String> =
            names.chunks(8).map(|zone| format!("z{{{}}}", zone.join(","))).collect();
        let votes: Vec<String> = names[..24]
            .iter()
            .zip(0..)
            .map(|(name, at)| format!("{name}:{}", 1 + at % 7))
            .collect();
        let gates = "weighted{a:2, b:3, c:4, d:5}, weighted{e:2, f:3, g:4, h:5}, \
                     weighted{i:2, j:3, k:4, l:5}";
        // Far fewer states than sets, of which a line of 64 members has 2^64.
        for (text, states_max) in [
            (format!("zones({})", zones.join(",")), 30),
            (format!("hqs({})", names[..27].join(" ")), 20),
            (format!("tree({})", names[..31].join(" ")), 60),
            (format!("plane({})", names[..13].join(" ")), 1_805),
            (format!("weighted{{{}}}", votes.join(",")), 125),
            (format!("2 of ({gates})"), 63),
            ("weighted{(a and b):3, (c or d):2, (c and e):2, majority(a, f, g):3}".into(), 17),
        ] {
            let spec = SystemSpec::parse(&text).expect("it parses");
            let (a, b) = spec.families(&spec.infer_names()).expect("all have names");
            let (classes, dead) = (classes(&[&a, &b]), BTreeSet::new());
            let mut search = Search { a: &a, b: &b, classes, dead, work: 0 };
            assert_eq!(search.from(0, NodeSet::EMPTY, NodeSet::EMPTY, 0), None, "{text}");
            let states = search.dead.len();
            assert!(states <= states_max, "{states} states of at most {states_max}: {text}");
        }
    }

    #[test]
    fn a_search_through_a_long_text_gives_up_in_time_and_before_it_fills_the_memory() {
        let spec = SystemSpec::parse(&gates(200)).expect("it is short enough");
        let (family, _) = spec.families(&spec.infer_names()).expect("all have names");
        let (a, b, classes) = (&family, &family, classes(&[&family]));
        let mut search = Search { a, b, classes, dead: BTreeSet::new(), work: 0 };
        assert_eq!(search.from(0, NodeSet::EMPTY, NodeSet::EMPTY, 0), None);
        assert!((WORK_MAX..WORK_MAX + 64 * 1024).contains(&search.work), "{}", search.work);
        let kept: usize = search.dead.iter().map(Vec::len).sum();
        assert!(kept <= WORK_MAX / 2, "{kept} numbers are remembered, each of one operation");
    }
}
