//! Strategies over more quorums than can be listed: only those that pay are made, one at a time,
//! by asking for the cheapest quorum at the present prices (column generation).

use num_traits::Zero;
use quorum::{Family, NodeSet};

use crate::column::{Column, column};
use crate::exact;
use crate::goal::{Goal, Objective};
use crate::model::Model;
use crate::program::{Program, Weights};
use crate::ratio::Ratio;
use crate::simplex::Simplex;
use crate::workload::Workload;

/// Rounds before it gives up; each adds one or two quorums.
const ROUNDS_MAX: usize = 5_000;

/// Read sets, write sets and the variables that are not 0.
pub(crate) type Generated = (Vec<Column>, Vec<Column>, Vec<(usize, Ratio)>);

/// `None` when the cheapest quorum is not found gate by gate, or with spare members, a latency
/// or a limit on load, where a cheapest quorum does not say enough.
pub(crate) fn solve(model: &Model, work: &Workload, goal: &Goal) -> Option<Generated> {
    let limits = &goal.limits;
    let timed = goal.objective == Objective::Latency || limits.latency_max.is_some();
    if goal.spare > 0 || timed || limits.load_max.is_some() {
        return None;
    }
    let families = [&model.elect, &model.commit];
    let smallest = |family: &Family| Some(column(model, family, family.cheapest(0, |_| 1)?.0));
    let mut made = [vec![smallest(families[0])?], vec![smallest(families[1])?]];
    for _ in 0..ROUNDS_MAX {
        let program = Program::of(model, work, goal, &made[0], &made[1]);
        let approximate = program.approximate();
        let mut fast = Simplex::fast(&approximate);
        fast.run().ok()?;
        let mut grown = false;
        for role in [0, 1] {
            let weights = approximate.weights(role, fast.prices(), true);
            let found = dearest(model, families[role], &weights)?;
            grown |= found.1 > 1e-9 && add(model, families[role], &mut made[role], found.0);
        }
        if grown {
            continue;
        }
        // Nothing pays in floating point: now in fractions.
        let solved = exact::solve(&program)?;
        for role in [0, 1] {
            let weights = program.weights(role, &solved.prices, true);
            let found = dearest(model, families[role], &weights)?;
            let gains = found.1 > Ratio::zero();
            grown |= gains && add(model, families[role], &mut made[role], found.0);
        }
        if !grown {
            let [reads, writes] = made;
            return Some((reads, writes, solved.values));
        }
    }
    None
}

/// The quorum that gains most at these weights, and its gain.
fn dearest<T: crate::program::Number>(
    model: &Model,
    family: &Family,
    weights: &Weights<T>,
) -> Option<(NodeSet, T)> {
    let cost = |slot: u8| {
        let class = model.classes.iter().position(|class| class.contains(slot));
        let member = class.map_or(T::zero(), |class| weights.member[class].clone());
        T::zero() - member - weights.size.clone()
    };
    let (set, cost) = family.cheapest(T::zero(), cost)?;
    Some((set, weights.fixed.clone() - cost))
}

/// False when a set of that kind is there already.
fn add(model: &Model, family: &Family, made: &mut Vec<Column>, set: NodeSet) -> bool {
    let new = column(model, family, set);
    let is_new = !made.contains(&new);
    if is_new {
        made.push(new);
    }
    is_new
}
