//! The first answer that cannot be explained, for models that were made from the history.
//!
//! Such a model knows later answers too, so its search ends before it comes to the answer that is
//! wrong. Which one that is, is found by halving: what was answered by some moment is searched
//! with a model of just that.

use super::search::{Budget, Found, Search};
use crate::{Model, Operation};

/// The longest order of what was answered before, and the operations that do not fit after it:
/// the first is the one whose answer nothing explains. None where the model tells nothing, or a
/// limit is reached.
pub fn earliest<M: Model>(
    model: &M,
    ops: &[Operation<M::Input, M::Output>],
    part: &[usize],
    budget: &mut Budget<'_>,
) -> Option<(Vec<usize>, Vec<usize>)> {
    model.restudied(&[])?;
    let mut deadlines: Vec<u64> = part
        .iter()
        .map(|&at| &ops[at])
        .filter(|op| !op.is_unknown())
        .map(Operation::deadline)
        .collect();
    deadlines.sort_unstable();
    deadlines.dedup();
    // An order explains the answers of the first `good` moments, none those of the first `bad`.
    let (mut good, mut bad, mut prefix) = (0, deadlines.len(), Vec::new());
    while good + 1 < bad {
        let middle = good.midpoint(bad);
        let (ops, model) = by(model, ops, part, deadlines[middle - 1])?;
        let all: Vec<usize> = (0..ops.len()).collect();
        match Search::new(&model, &ops, &all).run(budget) {
            Found::Order(order) => (good, prefix) = (middle, order),
            Found::Stuck { .. } => bad = middle,
            Found::Limit(_) => return None,
        }
    }
    let prefix: Vec<usize> = prefix.into_iter().map(|at| part[at]).collect();
    let stuck = stuck(model, ops, part, &prefix, deadlines[bad - 1]);
    (!stuck.is_empty()).then_some((prefix, stuck))
}

type Ops<M> = Vec<Operation<<M as Model>::Input, <M as Model>::Output>>;

/// What was answered by `until`, and the model of it; later answers are not known.
fn by<M: Model>(
    model: &M,
    ops: &[Operation<M::Input, M::Output>],
    part: &[usize],
    until: u64,
) -> Option<(Ops<M>, M)> {
    let mut known: Vec<_> = part.iter().map(|&at| ops[at].clone()).collect();
    for op in known.iter_mut().filter(|op| op.deadline() > until) {
        op.output = None;
    }
    let model = model.restudied(&known)?;
    Some((known, model))
}

fn stuck<M: Model>(
    model: &M,
    ops: &[Operation<M::Input, M::Output>],
    part: &[usize],
    prefix: &[usize],
    deadline: u64,
) -> Vec<usize> {
    let mut state = model.initial();
    for &at in prefix {
        let next = model.step(&state, &ops[at].input, ops[at].output.as_ref());
        state = next.expect("the search made these steps");
    }
    let placed: std::collections::BTreeSet<usize> = prefix.iter().copied().collect();
    let open = |at: &&usize| !placed.contains(*at) && !ops[**at].is_unknown();
    let (first, mut rest): (Vec<usize>, Vec<usize>) =
        part.iter().filter(open).partition(|&&at| ops[at].deadline() == deadline);
    rest.retain(|&at| {
        let op = &ops[at];
        let fits = model.step(&state, &op.input, op.output.as_ref()).is_some();
        op.invoked <= deadline && !fits
    });
    first.into_iter().chain(rest).collect()
}
