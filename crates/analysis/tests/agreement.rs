//! Random systems: our strategies cost what those of the `quoracle` crate cost.
//!
//! 1,000 systems of three to six members, half of them with one spare member, some with members
//! that appear twice. The other crate counts in floating point, so six digits are compared.

use std::time::Duration;

use analysis::ratio::{ratio, to_f64};
use analysis::{Goal, Limits, Model, NoStrategy, Node, Objective, Strategy, Workload};
use base::Prng;
use quoracle::{Distribution, Expr, QuorumSystem, StrategyLimits};

const SYSTEMS: usize = 1_000;

/// A random family as text and as the other crate's expression.
fn gate(rng: &mut Prng, nodes: &[quoracle::Node<String>], depth: u32) -> (String, Expr<String>) {
    if depth == 0 || rng.below(3) == 0 {
        let node = &nodes[rng.below(nodes.len() as u64) as usize];
        return (node.x().clone(), Expr::Node(node.clone()));
    }
    let (mut texts, mut exprs) = (Vec::new(), Vec::new());
    for _ in 0..2 + rng.below(3) {
        let (text, expr) = gate(rng, nodes, depth - 1);
        if !texts.contains(&text) {
            texts.push(text);
            exprs.push(expr);
        }
    }
    let need = 1 + rng.below(texts.len() as u64) as usize;
    if texts.len() == 1 {
        return (texts.remove(0), exprs.remove(0));
    }
    (format!("{need} of ({})", texts.join(", ")), quoracle::choose(need, exprs).unwrap())
}

struct Case {
    model: Model,
    other: QuorumSystem<String>,
}

fn case(rng: &mut Prng) -> Case {
    let count = 3 + rng.below(4) as usize;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for name in ["a", "b", "c", "d", "e", "f"].iter().take(count) {
        let (write, read) = (100 * (1 + rng.below(4)), 100 * (1 + rng.below(8)));
        let seconds = 1 + rng.below(5);
        let text = format!("{name}:cap={write}/{read},latency={seconds}s");
        ours.push(Node::parse(&text).unwrap());
        let node = quoracle::Node::new((*name).to_owned());
        let node = node.with_read_write_capacity(read as f64, write as f64).unwrap();
        theirs.push(node.with_latency(Duration::from_secs(seconds)));
    }
    let (text, expr) = gate(rng, &theirs, 2);
    let text = format!("elect = {text}; commit = dual({text})");
    let names = quorum::SystemSpec::parse(&text).unwrap();
    let used = names.names();
    ours.retain(|node| used.contains(&node.name.as_str()));
    let model = Model::parse(&text, &ours).unwrap();
    Case { model, other: QuorumSystem::from_reads(expr) }
}

fn figures(case: &Case, work: &Workload, goal: &Goal) -> Option<f64> {
    let strategy = match Strategy::best(&case.model, work, goal) {
        Err(NoStrategy::Impossible) => return None,
        strategy => strategy.unwrap(),
    };
    Some(to_f64(&match goal.objective {
        Objective::Load => strategy.load(&case.model, work),
        Objective::Network => strategy.network(work),
        Objective::Latency => strategy.latency(work),
    }))
}

fn their_figures(
    case: &Case,
    fractions: &Distribution,
    objective: Objective,
    limits: &StrategyLimits,
    spare: usize,
) -> Option<f64> {
    let theirs = match objective {
        Objective::Load => quoracle::Objective::Load,
        Objective::Network => quoracle::Objective::Network,
        Objective::Latency => quoracle::Objective::Latency,
    };
    let strategy = case.other.strategy(theirs, Some(fractions), None, limits, spare).ok()?;
    Some(match objective {
        Objective::Load => strategy.load(Some(fractions), None).unwrap(),
        Objective::Network => strategy.network_load(Some(fractions), None).unwrap(),
        Objective::Latency => strategy.latency(Some(fractions), None).unwrap().as_secs_f64(),
    })
}

#[test]
fn a_thousand_random_systems_cost_what_another_implementation_says() {
    let mut rng = Prng::new(4);
    let (mut compared, mut impossible) = (0, 0);
    for number in 0..SYSTEMS {
        let case = case(&mut rng);
        let fractions = [(rng.below(11), 1 + rng.below(3)), (rng.below(11), 1 + rng.below(3))];
        let pairs =
            fractions.map(|(tenths, weight)| (ratio(tenths as i64, 10), ratio(weight as i64, 1)));
        let work = Workload::weighted(pairs.to_vec()).unwrap();
        let pairs = fractions.map(|(tenths, weight)| (tenths as f64 / 10.0, weight as f64));
        let theirs = Distribution::weighted(&pairs).unwrap();
        let spare = number % 2;
        for objective in [Objective::Load, Objective::Network, Objective::Latency] {
            let mut goal = Goal { spare, ..Goal::least(objective) };
            let mut limits = StrategyLimits::default();
            if rng.below(2) == 0 && objective != Objective::Latency {
                let seconds = 2 + rng.below(4);
                goal.limits =
                    Limits { latency_max: Some(ratio(seconds as i64, 1)), ..Limits::default() };
                limits.latency = Some(Duration::from_secs(seconds));
            }
            let ours = figures(&case, &work, &goal);
            let other = their_figures(&case, &theirs, objective, &limits, spare);
            match (ours, other) {
                (Some(ours), Some(other)) => {
                    let close = (ours - other).abs() <= 1e-6 * ours.abs().max(1e-3);
                    assert!(close, "system {number}, {objective:?}: {ours}, theirs {other}");
                    compared += 1;
                }
                (None, None) => impossible += 1,
                differ => panic!("system {number}, {objective:?}: {differ:?}"),
            }
        }
        assert_eq!(case.model.elect().resilience(), case.other.read_resilience(), "{number}");
        assert_eq!(case.model.commit().resilience(), case.other.write_resilience(), "{number}");
    }
    println!("{SYSTEMS} systems: {compared} figures agree, {impossible} are possible to neither");
    assert!(compared > SYSTEMS && impossible > 0);
}
