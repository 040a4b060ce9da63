//! Milliseconds of analyses: `cargo bench -p analysis`.
//!
//! Bars: 50 ms for the load of majority of 15, of majority of 25 and of the 5 x 5 grid, members
//! alike or not; 0.5 s for the six-member search of the tutorial.

use std::time::Instant;

use analysis::availability::{Needed, live};
use analysis::ratio::ratio;
use analysis::search::{Wanted, search};
use analysis::{Goal, Limits, Model, Node, Objective, Strategy, Workload};

fn main() {
    let letters = |count: usize| -> Vec<String> { (0..count).map(|i| format!("n{i}")).collect() };
    let majority = |count: usize| format!("majority({})", letters(count).join(", "));
    let shape = |form: &str| {
        let rows: Vec<String> = letters(25).chunks(5).map(|row| row.join(" ")).collect();
        format!("{form}({})", rows.join(" / "))
    };
    let half = Workload::parse("0.5").expect("a fraction");
    let unequal = |count: usize| -> Vec<Node> {
        let node = |i: usize| format!("n{i}:cap={}/{}", 1000 + 37 * i, 2000 + 91 * i);
        (0..count).map(|i| Node::parse(&node(i)).expect("figures")).collect()
    };
    let goal = Goal::least(Objective::Load);
    for (title, text, nodes) in [
        ("majority of 15", majority(15), Vec::new()),
        ("majority of 25", majority(25), Vec::new()),
        ("majority of 64", majority(64), Vec::new()),
        ("majority of 13, all different", majority(13), unequal(13)),
        ("majority of 15, all different", majority(15), unequal(15)),
        ("majority of 25, all different", majority(25), unequal(25)),
        ("grid 5 x 5, row + one of each", shape("grid"), Vec::new()),
        ("grid 5 x 5, row + column", shape("cross"), Vec::new()),
        ("grid 5 x 5, row + column, all different", shape("cross"), unequal(25)),
    ] {
        let start = Instant::now();
        let model = Model::parse(&text, &nodes).expect("the texts above parse");
        let strategy = Strategy::best(&model, &half, &goal).expect("there is a strategy");
        let load = strategy.load(&model, &half);
        let spent = start.elapsed().as_secs_f64() * 1e3;
        println!("load of {title:<42} {spent:>9.2} ms  {}", analysis::ratio::short(&load));
    }
    let start = Instant::now();
    let model = Model::parse(&majority(15), &[]).expect("it parses");
    let failure = live(&model, Needed::Both).expect("one class").failure(&ratio(1, 100));
    let spent = start.elapsed().as_secs_f64() * 1e3;
    println!(
        "availability of majority of 15 {spent:>28.2} ms  {}",
        analysis::ratio::short(&failure)
    );
    let start = Instant::now();
    let weights: Vec<String> = (0..20).map(|i| format!("n{i}:{}", 100 + i * i)).collect();
    let text = format!("weighted{{{}}}", weights.join(", "));
    let model = Model::parse(&text, &[]).expect("it parses");
    let failure = live(&model, Needed::Commit).expect("20 members fit").failure(&ratio(1, 100));
    let spent = start.elapsed().as_secs_f64() * 1e3;
    println!(
        "availability of 20 different weights {spent:>22.2} ms  {}",
        analysis::ratio::short(&failure)
    );
    tutorial();
}

/// Six members, resilience 1, one spare member, latency within 4 s, at most 4 contacts.
fn tutorial() {
    let node = |(i, c): (usize, char)| {
        let (write, read) = if i % 2 == 0 { (1000, 10_000) } else { (500, 5_000) };
        Node::parse(&format!("{c}:cap={write}/{read},latency={}s", i + 1)).expect("figures")
    };
    let nodes: Vec<Node> = "abcdef".chars().enumerate().map(node).collect();
    let limits =
        Limits { load_max: None, network_max: Some(ratio(4, 1)), latency_max: Some(ratio(4, 1)) };
    let goal = Goal { objective: Objective::Load, limits, spare: 1 };
    let wanted = Wanted { goal, resilience: 1, elect_meets_elect: false };
    let work = Workload::parse("0.75").expect("a fraction");
    let start = Instant::now();
    let found = search(&nodes, &work, &wanted).expect("there is a system");
    let spent = start.elapsed().as_secs_f64() * 1e3;
    let capacity = found.strategy.capacity(&found.model, &work);
    println!(
        "search of the tutorial, {} systems {spent:>25.2} ms  {} ({})",
        found.candidates,
        analysis::ratio::short(&capacity),
        found.text
    );
}
