//! Strategies: which sets to contact how often, and what that costs.

use std::fmt;

use num_traits::{One, Zero};
use quorum::NodeSet;

use crate::column::{Column, columns, slowest};
use crate::exact;
use crate::generate;
use crate::goal::{Goal, Objective};
use crate::model::Model;
use crate::program::Program;
use crate::ratio::{self, Ratio};
use crate::workload::Workload;

/// Kinds of sets up to which all are given to the solver at once.
const LISTED_MAX: usize = 1_000;

/// Why there is no strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoStrategy {
    /// Not within the limits, or no set has that many spare members.
    Impossible,
    /// More kinds of sets than are listed.
    TooMany,
}

impl fmt::Display for NoStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoStrategy::Impossible => "no strategy is within the limits",
            NoStrategy::TooMany => "too many quorums to list",
        })
    }
}

impl std::error::Error for NoStrategy {}

/// A kind of set and how often it is contacted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// (how many, of which members), all equally likely.
    pub parts: Vec<(usize, NodeSet)>,
    pub probability: Ratio,
    /// Members contacted.
    pub size: usize,
    /// Seconds.
    pub latency: Ratio,
}

/// Probabilities over sets, each role's sum to 1, and the figures they have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strategy {
    pub reads: Vec<Choice>,
    pub writes: Vec<Choice>,
    /// For each slot: probability that a read, and that a write, contacts it.
    contacts: Vec<(Ratio, Ratio)>,
}

impl Strategy {
    /// The best strategy for `work`.
    pub fn best(model: &Model, work: &Workload, goal: &Goal) -> Result<Self, NoStrategy> {
        let listed = both_columns(model, goal);
        let few = listed.as_ref().is_ok_and(|(r, w)| r.len() + w.len() <= LISTED_MAX);
        let generated = if few { None } else { generate::solve(model, work, goal) };
        let (reads, writes, values) = match generated {
            Some(generated) => generated,
            None => {
                let (reads, writes) = listed?;
                let program = Program::of(model, work, goal, &reads, &writes);
                let values = exact::solve(&program).ok_or(NoStrategy::Impossible)?.values;
                (reads, writes, values)
            }
        };
        let (mut of_reads, mut of_writes) = (Vec::new(), Vec::new());
        for (at, value) in values {
            match at.checked_sub(reads.len()) {
                None => of_reads.push((reads[at].clone(), value)),
                Some(at) if at < writes.len() => of_writes.push((writes[at].clone(), value)),
                Some(_) => {}
            }
        }
        Ok(Self::new(model, of_reads, of_writes))
    }

    /// Every minimal quorum equally often.
    pub fn uniform(model: &Model) -> Result<Self, NoStrategy> {
        let goal = Goal::least(Objective::Load);
        let (reads, writes) = both_columns(model, &goal)?;
        let even = |columns: Vec<Column>| -> Vec<(Column, Ratio)> {
            let ways: Vec<Ratio> = columns.iter().map(|column| ways(model, column)).collect();
            let total: Ratio = ways.iter().sum();
            columns.into_iter().zip(ways.into_iter().map(|ways| ways / &total)).collect()
        };
        Ok(Self::new(model, even(reads), even(writes)))
    }

    /// A strategy of explicit (set, probability) pairs; each role's sum to 1.
    ///
    /// # Panics
    /// When a set is no quorum of its role, or the probabilities do not sum to 1.
    pub fn given(model: &Model, reads: &[(NodeSet, Ratio)], writes: &[(NodeSet, Ratio)]) -> Self {
        let choices = |pairs: &[(NodeSet, Ratio)], family: &quorum::Family| -> Vec<Choice> {
            assert!(pairs.iter().map(|(_, p)| p).sum::<Ratio>().is_one(), "shares sum to 1");
            let choice = |(set, probability): &(NodeSet, Ratio)| {
                assert!(family.is_quorum(*set), "a strategy contacts quorums");
                let slowest = slowest(model, family, *set);
                let latency = model.nodes[slowest as usize].latency.clone();
                let (parts, size) = (vec![(set.len(), *set)], set.len());
                Choice { parts, probability: probability.clone(), size, latency }
            };
            pairs.iter().map(choice).collect()
        };
        let (reads, writes) = (choices(reads, &model.elect), choices(writes, &model.commit));
        let contacts = contacts(model, &reads).into_iter().zip(contacts(model, &writes)).collect();
        Self { reads, writes, contacts }
    }

    fn new(model: &Model, reads: Vec<(Column, Ratio)>, writes: Vec<(Column, Ratio)>) -> Self {
        let choices = |pairs: Vec<(Column, Ratio)>| -> Vec<Choice> {
            let mut out: Vec<Choice> = Vec::new();
            for (column, probability) in pairs.into_iter().filter(|(_, p)| !p.is_zero()) {
                let counts = column.counts.iter().map(|count| usize::from(*count));
                let parts = counts.zip(model.classes.iter().copied());
                let parts = parts.filter(|(count, _)| *count > 0).collect();
                let latency = model.nodes[column.slowest as usize].latency.clone();
                let size = column.size;
                out.push(Choice { parts, probability, size, latency });
            }
            out.sort_by(|a, b| b.probability.cmp(&a.probability));
            assert!(out.iter().map(|c| &c.probability).sum::<Ratio>().is_one(), "shares sum to 1");
            out
        };
        let (reads, writes) = (choices(reads), choices(writes));
        let contacts = contacts(model, &reads).into_iter().zip(contacts(model, &writes)).collect();
        Self { reads, writes, contacts }
    }

    /// The share of the member's capacity that one operation takes, at a fraction of reads.
    pub fn node_load(&self, model: &Model, slot: u8, reads: &Ratio) -> Ratio {
        let ((read, write), node) = (&self.contacts[slot as usize], &model.nodes[slot as usize]);
        reads * read / &node.read_capacity + ratio::rest(reads) * write / &node.write_capacity
    }

    /// The same over a workload.
    pub fn node_load_mean(&self, model: &Model, slot: u8, work: &Workload) -> Ratio {
        let shares = work.shares().iter();
        shares.map(|(reads, share)| share * self.node_load(model, slot, reads)).sum()
    }

    /// The load of the busiest member at a fraction of reads.
    pub fn load_at(&self, model: &Model, reads: &Ratio) -> Ratio {
        let loads = model.members().iter().map(|slot| self.node_load(model, slot, reads));
        loads.max().expect("a system has members")
    }

    /// The expected load of the busiest member.
    pub fn load(&self, model: &Model, work: &Workload) -> Ratio {
        work.shares().iter().map(|(reads, share)| share * self.load_at(model, reads)).sum()
    }

    /// The expected capacity, the mean of 1 / load: operations a second before the busiest
    /// member is saturated. For a fixed fraction of reads it is 1 / load; for a distribution it
    /// is at least that.
    pub fn capacity(&self, model: &Model, work: &Workload) -> Ratio {
        work.shares().iter().map(|(reads, share)| share / self.load_at(model, reads)).sum()
    }

    /// Expected members contacted an operation.
    pub fn network(&self, work: &Workload) -> Ratio {
        self.expected(work, |choice| ratio::whole(choice.size))
    }

    /// Expected seconds until a quorum has answered.
    pub fn latency(&self, work: &Workload) -> Ratio {
        self.expected(work, |choice| choice.latency.clone())
    }

    fn expected(&self, work: &Workload, figure: impl Fn(&Choice) -> Ratio) -> Ratio {
        let of = |choices: &[Choice]| -> Ratio {
            choices.iter().map(|choice| &choice.probability * figure(choice)).sum()
        };
        let reads = work.mean();
        &reads * of(&self.reads) + ratio::rest(&reads) * of(&self.writes)
    }
}

/// How likely each slot is contacted.
fn contacts(model: &Model, choices: &[Choice]) -> Vec<Ratio> {
    let mut out = vec![Ratio::zero(); model.nodes.len()];
    for choice in choices {
        for (count, members) in &choice.parts {
            let often = &choice.probability * ratio::whole(*count) / ratio::whole(members.len());
            for slot in members.iter() {
                out[slot as usize] += &often;
            }
        }
    }
    out
}

/// How many sets are of this kind.
fn ways(model: &Model, column: &Column) -> Ratio {
    let mut ways = Ratio::one();
    for (class, count) in model.classes.iter().zip(&column.counts) {
        for at in 0..usize::from(*count) {
            ways = ways * ratio::whole(class.len() - at) / ratio::whole(at + 1);
        }
    }
    ways
}

fn both_columns(model: &Model, goal: &Goal) -> Result<(Vec<Column>, Vec<Column>), NoStrategy> {
    let by_latency = goal.objective == Objective::Latency || goal.limits.latency_max.is_some();
    let of = |family| {
        let found = columns(model, family, goal.spare, by_latency).ok_or(NoStrategy::TooMany)?;
        if found.is_empty() { Err(NoStrategy::Impossible) } else { Ok(found) }
    };
    Ok((of(&model.elect)?, of(&model.commit)?))
}
