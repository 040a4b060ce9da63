//! The sets a strategy may contact, one for all that differ by members of a class.

use quorum::{Family, NodeSet};

use crate::counts::Space;
use crate::model::Model;

/// A kind of set: some members of each class, whichever they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    /// Members taken of each class.
    pub counts: Vec<u8>,
    /// Members in all.
    pub size: usize,
    /// Of the fastest members that form a quorum the slowest: its latency is the set's.
    pub slowest: u8,
}

/// Kinds of sets of one role; more would not fit the time of an interactive command.
const COLUMNS_MAX: usize = 100_000;

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
        if sets.len() > COLUMNS_MAX {
            return None;
        }
        return Some(sets.into_iter().map(|set| column(model, family, set)).collect());
    }
    let space = Space::new(classes)?;
    let mut holds = space.quorums(family);
    for _ in 0..spare {
        // A set that loses its last member is no quorum, so entry 0 stays false.
        let all_below = |number: usize| space.below(number).all(|less| holds[less]);
        holds = (0..space.size).map(|number| holds[number] && all_below(number)).collect();
    }
    let latency = |number: usize| {
        let slot = slowest(model, family, space.set(number));
        &model.nodes[slot as usize].latency
    };
    let useful = |number: &usize| {
        let faster = |less: usize| by_latency && latency(less) > latency(*number);
        holds[*number] && space.below(*number).all(|less| !holds[less] || faster(less))
    };
    let found: Vec<usize> = (0..space.size).filter(useful).take(COLUMNS_MAX + 1).collect();
    let all = found.len() <= COLUMNS_MAX;
    all.then(|| found.into_iter().map(|n| column(model, family, space.set(n))).collect())
}

pub(crate) fn column(model: &Model, family: &Family, set: NodeSet) -> Column {
    let counts = model.classes.iter().map(|class| class.intersect(set).len() as u8).collect();
    Column { counts, size: set.len(), slowest: slowest(model, family, set) }
}

/// The member whose answer makes a quorum, when the members of `set` answer by latency.
pub(crate) fn slowest(model: &Model, family: &Family, set: NodeSet) -> u8 {
    let mut answered = NodeSet::EMPTY;
    for slot in model.by_latency.iter().filter(|slot| set.contains(**slot)) {
        answered.insert(*slot);
        if family.is_quorum(answered) {
            return *slot;
        }
    }
    unreachable!("a column is a quorum")
}
