//! The verdict of a whole history: its parts one by one, the search in [`search`].

mod earliest;
mod list;
mod memo;
mod merge;
mod plan;
mod search;

use crate::{Model, Operation};
use search::{Budget, Found, Search};

/// How much a check may cost. Reaching a limit gives [`Verdict::Unknown`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Calls of [`Model::step`], over all parts.
    pub steps_max: u64,
    /// Bytes of remembered states, at any one moment; an estimate.
    pub memory_bytes_max: u64,
}

impl Default for Limits {
    /// No limit on steps, 2 GiB.
    fn default() -> Self {
        Self { steps_max: u64::MAX, memory_bytes_max: 2 << 30 }
    }
}

/// Why a check ended without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// [`Limits::steps_max`].
    Steps,
    /// [`Limits::memory_bytes_max`].
    Memory,
    /// The `cancel` function said so (a time limit, usually).
    Cancelled,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Steps => "step limit",
            Self::Memory => "memory limit",
            Self::Cancelled => "time limit",
        })
    }
}

/// All numbers are indices into the operations that were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// `order` explains every answer. Operations of unknown outcome that no answer needs are
    /// not in it: they may never have taken effect.
    Linearizable { order: Vec<usize> },
    /// No order exists. Already what had been answered when the first of `stuck` was answered
    /// has none, whatever of the later is added.
    NotLinearizable {
        /// The operations of the part that failed.
        part: Vec<usize>,
        /// The longest order found; it explains every answer in it and leaves `stuck` out.
        prefix: Vec<usize>,
        /// The operation that cannot be placed, then others that were open and do not fit
        /// after `prefix` either. Never empty.
        stuck: Vec<usize>,
    },
    /// A limit was reached first, and nothing is claimed.
    Unknown { why: Why },
}

/// What the search cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Different situations visited (set of placed operations, state).
    pub states: u64,
    /// Calls of [`Model::step`].
    pub steps: u64,
    /// Independent parts.
    pub parts: u64,
    /// Largest estimate of remembered bytes.
    pub memory_bytes: u64,
}

/// A verdict and its price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub verdict: Verdict,
    pub stats: Stats,
}

/// Decides whether `ops` is linearizable as `model`.
///
/// Wing and Gong's search (JPDC 1993) with Lowe's memory of visited situations (CCPE 2017), by
/// independent parts. `cancel` is asked every thousand steps or so; true ends the check.
///
/// # Panics
/// If an operation returned before it was invoked, or [`Model::partition`] is no partition.
pub fn check<M: Model>(
    model: &M,
    ops: &[Operation<M::Input, M::Output>],
    limits: Limits,
    cancel: &dyn Fn() -> bool,
) -> Outcome {
    for op in ops {
        assert!(op.returned.is_none_or(|at| op.invoked <= at), "an answer follows its request");
    }
    let mut parts = model.partition(ops);
    assert_partition(&parts, ops.len());
    let mut stats = Stats { parts: parts.len() as u64, ..Stats::default() };
    // Small parts first: a violation there is found before a large part eats the limits.
    parts.sort_by_key(Vec::len);
    let mut budget = Budget::new(limits, cancel);
    let mut orders = Vec::with_capacity(parts.len());
    let mut unknown = None;
    let mut violation = None;
    for part in &parts {
        let found = Search::new(model, ops, part).run(&mut budget);
        match found {
            Found::Order(order) => orders.push(order),
            Found::Stuck { prefix, stuck } => {
                let first = earliest::earliest(model, ops, part, &mut budget);
                let (prefix, stuck) = first.unwrap_or((prefix, stuck));
                violation = Some(Verdict::NotLinearizable { part: part.clone(), prefix, stuck });
                break;
            }
            Found::Limit(why) => {
                unknown = unknown.or(Some(why));
                if why != Why::Memory {
                    break;
                }
            }
        }
    }
    stats.states = budget.states;
    stats.steps = budget.steps;
    stats.memory_bytes = budget.memory_bytes_peak;
    let verdict = match (violation, unknown) {
        (Some(violation), _) => violation,
        (None, Some(why)) => Verdict::Unknown { why },
        (None, None) => {
            let order = merge::merge(ops, &orders);
            assert_order(ops, &order);
            Verdict::Linearizable { order }
        }
    };
    Outcome { verdict, stats }
}

/// Whatever the search did: every answer is explained once, and real time is kept.
fn assert_order<I, O>(ops: &[Operation<I, O>], order: &[usize]) {
    let mut seen = vec![false; ops.len()];
    let mut latest = 0;
    for &index in order {
        assert!(!std::mem::replace(&mut seen[index], true), "an operation takes effect once");
        assert!(ops[index].deadline() >= latest, "none comes after one invoked past its answer");
        latest = latest.max(ops[index].invoked);
    }
    let placed = |(index, op): (usize, &Operation<I, O>)| op.is_unknown() || seen[index];
    assert!(ops.iter().enumerate().all(placed), "what was answered took effect");
}

fn assert_partition(parts: &[Vec<usize>], count: usize) {
    let mut seen = vec![false; count];
    for &index in parts.iter().flatten() {
        assert!(!std::mem::replace(&mut seen[index], true), "parts do not overlap");
    }
    assert!(seen.iter().all(|&seen| seen), "parts cover every operation");
}
