//! The best system over given members: every way to write a family that names each member once.

use quorum::{Expr, Family, Names};

use crate::goal::{Goal, Objective};
use crate::model::Model;
use crate::node::Node;
use crate::program::{Contact, Program};
use crate::ratio::{self, to_f64};
use crate::simplex::Simplex;
use crate::strategy::{NoStrategy, Strategy};
use crate::table::Table;
use crate::tree::all_trees;
use crate::workload::Workload;

/// Members a search takes: families are tables over all their sets.
pub const MEMBERS_MAX: usize = 12;

/// Sets of members looked at, over all systems: ten seconds to half a minute. The flattest systems
/// come first.
const SETS_MAX: usize = 1 << 26;

/// Systems that are looked at where there are so many members.
const fn systems_max(members: usize) -> usize {
    SETS_MAX >> members
}

/// What the search may answer with.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub goal: Goal,
    /// Any so many members may fail, for both roles.
    pub resilience: usize,
    /// Elect sets meet each other, as a protocol with shared terms needs; elect always meets
    /// commit.
    pub elect_meets_elect: bool,
}

/// The best of all that was looked at.
#[derive(Clone, Debug)]
pub struct Found {
    /// `elect = ...; commit = dual(...)`.
    pub text: String,
    pub model: Model,
    pub strategy: Strategy,
    /// Systems looked at, those too fragile included.
    pub candidates: usize,
    /// Whether these are all there are.
    pub complete: bool,
}

/// Looks at every elect family in which each member appears once, with its dual as commit
/// family, and answers with the one whose best strategy is best. Candidates are ranked in
/// floating point; of two within 1e-9 the flatter stays. The answer itself is exact.
///
/// # Errors
/// [`NoStrategy::Impossible`] when no system is within the limits, [`NoStrategy::TooMany`] for
/// more than [`MEMBERS_MAX`] members.
pub fn search(nodes: &[Node], work: &Workload, wanted: &Wanted) -> Result<Found, NoStrategy> {
    if nodes.len() > MEMBERS_MAX {
        return Err(NoStrategy::TooMany);
    }
    let (mut trees, complete) = all_trees(nodes);
    let complete = complete && trees.len() <= systems_max(nodes.len());
    trees.truncate(systems_max(nodes.len()));
    let mut race = Race::new(nodes, work, wanted);
    for (at, tree) in trees.iter().enumerate() {
        // Each member once: the smallest blocking set of either role adds up from below.
        let survives = tree.least_quorum().min(tree.least_blocking()) - 1;
        if survives >= wanted.resilience {
            race.enter(at, &tree.table(nodes.len()));
        }
    }
    let (_, at) = race.best.ok_or(NoStrategy::Impossible)?;
    let text = trees[at].text(nodes);
    let names = Names::in_order(nodes.iter().map(|node| node.name.as_str()));
    let elect = Expr::parse(&text).expect("the text is our own");
    let elect = Family::compile(&elect, &names).expect("every name has a slot");
    let commit = elect.dual();
    let model = Model::new(names, elect, commit, nodes).expect("the figures are of members");
    let strategy = Strategy::best(&model, work, &wanted.goal)?;
    let text = format!("elect = {text}; commit = dual({text})");
    Ok(Found { text, model, strategy, candidates: trees.len(), complete })
}

/// Candidates against the best so far.
struct Race<'a> {
    wanted: &'a Wanted,
    /// Everything but the contacts, which are a candidate's.
    program: Program<f64>,
    latencies: Vec<f64>,
    /// Members, the fastest first.
    by_latency: Vec<u8>,
    /// Cost and number.
    best: Option<(f64, usize)>,
    /// Prices at the best: for any candidate they give a bound from below.
    prices: Vec<f64>,
}

impl<'a> Race<'a> {
    fn new(nodes: &[Node], work: &Workload, wanted: &'a Wanted) -> Self {
        let capacities = nodes.iter().flat_map(|n| [&n.read_capacity, &n.write_capacity]);
        let unit = capacities.max().map_or(1.0, to_f64);
        let rate = |of_reads: bool| -> Vec<Vec<f64>> {
            let rates = work.shares().iter().map(|(fraction, _)| {
                let rate = |node: &Node| {
                    if of_reads {
                        to_f64(fraction) * unit / to_f64(&node.read_capacity)
                    } else {
                        to_f64(&ratio::rest(fraction)) * unit / to_f64(&node.write_capacity)
                    }
                };
                nodes.iter().map(rate).collect()
            });
            rates.collect()
        };
        let limits = &wanted.goal.limits;
        let mean = to_f64(&work.mean());
        let program = Program {
            rate: [rate(true), rate(false)],
            shares: work.shares().iter().map(|(_, share)| to_f64(share)).collect(),
            often: [mean, 1.0 - mean],
            contacts: [Vec::new(), Vec::new()],
            objective: wanted.goal.objective,
            load_max: limits.load_max.as_ref().map(|load| to_f64(load) * unit),
            network_max: limits.network_max.as_ref().map(to_f64),
            latency_max: limits.latency_max.as_ref().map(to_f64),
        };
        let mut by_latency: Vec<u8> = (0..nodes.len() as u8).collect();
        by_latency.sort_by(|a, b| nodes[*a as usize].latency.cmp(&nodes[*b as usize].latency));
        let latencies = nodes.iter().map(|node| to_f64(&node.latency)).collect();
        Self { wanted, program, latencies, by_latency, best: None, prices: Vec::new() }
    }

    fn enter(&mut self, at: usize, elect: &Table) {
        let commit = elect.dual();
        if self.wanted.elect_meets_elect && !elect.within(&commit) {
            return;
        }
        let reads = self.contacts(elect);
        let writes = self.contacts(&commit);
        if reads.is_empty() || writes.is_empty() {
            return;
        }
        self.program.contacts = [reads, writes];
        if self.best.is_some_and(|(least, _)| self.bound() > least * (1.0 - 1e-9)) {
            return;
        }
        let mut simplex = Simplex::fast(&self.program);
        if simplex.run().is_err() {
            return;
        }
        let cost = simplex.cost();
        if self.best.is_none_or(|(least, _)| cost < least * (1.0 - 1e-9)) {
            self.best = Some((cost, at));
            self.prices = simplex.prices().to_vec();
        }
    }

    /// Weak duality: the best's prices, with the probabilities priced as the candidate allows,
    /// bound its cost from below. Rows of load have 0 on the right.
    fn bound(&self) -> f64 {
        let mut prices = self.prices.clone();
        let mut bound = 0.0;
        for role in [0, 1] {
            prices[role] = 0.0;
            let weights = self.program.weights(role, &prices, true);
            let gains = self.program.contacts[role].iter().map(|contact| weights.of(contact));
            bound -= gains.fold(f64::MIN, f64::max);
        }
        let p = &self.program;
        let limits = [p.load_max, p.network_max, p.latency_max];
        for (row, limit) in self.program.limit_rows().into_iter().zip(limits) {
            if let Some((row, limit)) = row.zip(limit) {
                bound += prices[row] * limit;
            }
        }
        bound
    }

    fn contacts(&self, family: &Table) -> Vec<Contact<f64>> {
        let goal = &self.wanted.goal;
        let by_latency = goal.objective == Objective::Latency || goal.limits.latency_max.is_some();
        let mut spare = family.clone();
        for _ in 0..goal.spare {
            spare = spare.after_any_loss();
        }
        let members = self.latencies.len();
        let latency = |set: usize| self.latencies[family.slowest(set, &self.by_latency) as usize];
        let mut contacts = Vec::new();
        for set in spare.sets() {
            let own = latency(set);
            let mut below = (0..members).filter(|x| set >> x & 1 == 1).map(|x| set & !(1 << x));
            let faster = |less: usize| by_latency && latency(less) > own;
            if below.all(|less| !spare.holds(less) || faster(less)) {
                let counts = (0..members).map(|member| (set >> member & 1) as u8).collect();
                let size = set.count_ones() as usize;
                contacts.push(Contact { counts, size, latency: own });
            }
        }
        contacts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_over_few_members_is_whole_and_one_over_many_ends() {
        let all = |members: usize| {
            let nodes = (0..members).map(|n| Node::parse(&format!("n{n}")).expect("a node"));
            let (trees, complete) = all_trees(&nodes.collect::<Vec<_>>());
            (complete, trees.len() <= systems_max(members))
        };
        assert_eq!(all(6), (true, true));
        assert_eq!(all(9), (true, true));
        assert_eq!(systems_max(MEMBERS_MAX), 16_384);
    }
}
