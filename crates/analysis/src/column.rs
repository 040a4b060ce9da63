//! The sets a strategy may contact, one for all that differ by members of a class.

use num_traits::Zero;
use quorum::{Family, NodeSet};

use crate::counts::Space;
use crate::model::Model;
use crate::ratio::Ratio;

/// A kind of set: some members of each class, whichever they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    /// Members taken of each class.
    pub counts: Vec<usize>,
    /// Members in all.
    pub size: usize,
    /// Seconds until the fastest of them form a quorum.
    pub latency: Ratio,
}

/// Every kind of set that may be worth contacting: minimal ones among those that are quorums
/// after any `spare` of their members fail. Where latency matters, larger ones that are faster
/// too. `None` when there are too many.
pub(crate) fn columns(
    model: &Model,
    family: &Family,
    spare: usize,
    by_latency: bool,
) -> Option<Vec<Column>> {
    let classes = &model.classes;
    if spare == 0 {
        let sets = family.minimal_by_class(classes)?;
        return Some(sets.into_iter().map(|set| column(model, family, set)).collect());
    }
    let space = Space::new(classes)?;
    let mut holds = space.quorums(family);
    for _ in 0..spare {
        // A set that loses its last member is no quorum, so entry 0 stays false.
        let all_below = |number: usize| space.below(number).all(|less| holds[less]);
        holds = (0..space.size).map(|number| holds[number] && all_below(number)).collect();
    }
    let useful = |number: &usize| {
        holds[*number]
            && space.below(*number).all(|less| {
                let slower = || latency(model, family, space.set(less));
                !holds[less] || by_latency && slower() > latency(model, family, space.set(*number))
            })
    };
    Some((0..space.size).filter(useful).map(|n| column(model, family, space.set(n))).collect())
}

fn column(model: &Model, family: &Family, set: NodeSet) -> Column {
    let counts = model.classes.iter().map(|class| class.intersect(set).len()).collect();
    Column { counts, size: set.len(), latency: latency(model, family, set) }
}

/// Seconds until the fastest members of `set` form a quorum; 0 when they never do.
pub(crate) fn latency(model: &Model, family: &Family, set: NodeSet) -> Ratio {
    let mut slots: Vec<u8> = set.iter().collect();
    slots.sort_by(|a, b| model.nodes[*a as usize].latency.cmp(&model.nodes[*b as usize].latency));
    let mut answered = NodeSet::EMPTY;
    for slot in slots {
        answered.insert(slot);
        if family.is_quorum(answered) {
            return model.nodes[slot as usize].latency.clone();
        }
    }
    Ratio::zero()
}
