//! Numbers of Whittaker et al., "Read-Write Quorum Systems Made Practical" (PaPoC 2021), its
//! tutorial and its case study, recomputed as fractions.

use analysis::ratio::{parse, ratio, to_f64};
use analysis::search::{Found, Wanted, search};
use analysis::{Goal, Limits, Model, NoStrategy, Node, Objective, Ratio, Strategy, Workload};
use quorum::NodeSet;

const GRID: &str = "elect = row(a b c / d e f); commit = dual(row(a b c / d e f))";

fn model(text: &str, figures: &[&str]) -> Model {
    let nodes: Vec<Node> = figures.iter().map(|figure| Node::parse(figure).unwrap()).collect();
    Model::parse(text, &nodes).unwrap()
}

fn unit(text: &str) -> Model {
    model(text, &[])
}

/// Reads as given, writes their dual.
fn from_reads(reads: &str) -> String {
    format!("elect = {reads}; commit = dual({reads})")
}

fn reads(text: &str) -> Workload {
    Workload::parse(text).unwrap()
}

fn goal(objective: Objective, spare: usize) -> Goal {
    Goal { spare, ..Goal::least(objective) }
}

fn load(model: &Model, work: &str, spare: usize) -> Ratio {
    let work = reads(work);
    let strategy = Strategy::best(model, &work, &goal(Objective::Load, spare)).unwrap();
    strategy.load(model, &work)
}

fn capacity(model: &Model, work: &str, spare: usize) -> Ratio {
    let work = reads(work);
    let strategy = Strategy::best(model, &work, &goal(Objective::Load, spare)).unwrap();
    strategy.capacity(model, &work)
}

#[track_caller]
fn near(value: &Ratio, expected: f64) {
    let (value, digits) = (to_f64(value), format!("{expected}"));
    let places = digits.split_once('.').map_or(0, |(_, part)| part.len());
    let half = 0.500_001 * 10f64.powi(-(places as i32));
    assert!((value - expected).abs() <= half, "{value} is not {expected}");
}

fn set(model: &Model, names: &str) -> NodeSet {
    names.chars().map(|c| model.names().slot(&c.to_string()).unwrap()).collect()
}

#[test]
fn a_majority_of_three_has_capacity_one_and_a_half() {
    let model = unit("majority(a, b, c)");
    assert_eq!(model.elect().resilience(), 1);
    assert_eq!(capacity(&model, "0.5", 0), ratio(3, 2));
}

#[test]
fn the_grid_of_two_by_three_has_the_tutorials_loads() {
    let model = unit(GRID);
    assert_eq!((model.elect().resilience(), model.commit().resilience()), (1, 2));
    let work = reads("0.25");
    let best = Strategy::best(&model, &work, &Goal::least(Objective::Load)).unwrap();
    assert_eq!(best.load(&model, &work), ratio(3, 8));
    assert_eq!(best.capacity(&model, &work), ratio(8, 3));
    for (fraction, expected) in [("0", ratio(1, 3)), ("0.5", ratio(5, 12)), ("1", ratio(1, 2))] {
        assert_eq!(best.load(&model, &reads(fraction)), expected);
    }
    assert_eq!(load(&model, "0.1:1,0.75:1", 0), ratio(97, 240));
}

#[test]
fn a_strategy_given_by_hand_has_the_loads_of_its_arithmetic() {
    let model = unit(GRID);
    let rows = [(set(&model, "abc"), ratio(2, 3)), (set(&model, "def"), ratio(1, 3))];
    let columns = ["ad", "be", "cf"].map(|names| (set(&model, names), ratio(1, 3)));
    let strategy = Strategy::given(&model, &rows, &columns);
    for (fraction, expected) in [("1", ratio(2, 3)), ("0", ratio(1, 3)), ("0.25", ratio(5, 12))] {
        assert_eq!(strategy.load(&model, &reads(fraction)), expected);
    }
    for (slot, expected) in (0..6).map(|slot| (slot, if slot < 3 { (5, 12) } else { (1, 3) })) {
        let load = strategy.node_load(&model, slot, &ratio(1, 4));
        assert_eq!(load, ratio(expected.0, expected.1));
    }
}

#[test]
fn capacities_of_the_tutorial_are_met() {
    let mixed: Vec<String> = "abcdef"
        .chars()
        .enumerate()
        .map(|(i, c)| format!("{c}:cap={}", if i % 2 == 0 { 1000 } else { 500 }))
        .collect();
    let mixed: Vec<&str> = mixed.iter().map(String::as_str).collect();
    let grid = model(GRID, &mixed);
    assert_eq!(load(&grid, "0.75", 0), ratio(3, 4000));
    assert_eq!(capacity(&grid, "0.75", 0), ratio(4000, 3));

    let grid = model(GRID, &TUTORIAL);
    assert_eq!(capacity(&grid, "1", 0), ratio(10_000, 1));
    near(&capacity(&grid, "0.5", 0), 3913.043);
    assert_eq!(capacity(&grid, "0.5", 0), ratio(90_000, 23));
    assert_eq!(capacity(&grid, "0", 0), ratio(2000, 1));
    assert_eq!(capacity(&grid, "0", 1), ratio(1000, 1));

    let five = "elect = dual(2 of (a, b, c, d, e)); commit = 2 of (a, b, c, d, e)";
    let two_of_five = model(five, &TUTORIAL[..5]);
    assert_eq!(capacity(&two_of_five, "0", 0), ratio(2000, 1));
    assert_eq!(capacity(&two_of_five, "0", 1), ratio(4000, 3));
}

const TUTORIAL: [&str; 6] = [
    "a:cap=1000/10000,latency=1s",
    "b:cap=500/5000,latency=2s",
    "c:cap=1000/10000,latency=3s",
    "d:cap=500/5000,latency=4s",
    "e:cap=1000/10000,latency=5s",
    "f:cap=500/5000,latency=6s",
];

#[test]
fn latency_load_and_network_are_traded_as_in_the_tutorial() {
    let grid = model(GRID, &TUTORIAL);
    let half = reads("0.5");
    let fast = Strategy::best(&grid, &half, &Goal::least(Objective::Latency)).unwrap();
    assert_eq!(fast.latency(&half), ratio(7, 2));
    assert_eq!(fast.latency(&reads("1")), ratio(3, 1));
    assert_eq!(fast.latency(&reads("0")), ratio(4, 1));

    let mut limited = Goal::least(Objective::Latency);
    limited.limits.load_max = Some(ratio(1, 1500));
    let fast = Strategy::best(&grid, &half, &limited).unwrap();
    assert_eq!(fast.latency(&half), ratio(11, 3));
    assert_eq!(fast.capacity(&grid, &half), ratio(1500, 1));

    let mut limited = Goal::least(Objective::Load);
    limited.limits.latency_max = Some(ratio(4, 1));
    let strong = Strategy::best(&grid, &half, &limited).unwrap();
    near(&strong.capacity(&grid, &half), 3856.209);
    limited.limits.latency_max = Some(ratio(1, 1));
    assert_eq!(Strategy::best(&grid, &half, &limited), Err(NoStrategy::Impossible));

    let few = Strategy::best(&grid, &half, &Goal::least(Objective::Network)).unwrap();
    assert_eq!(few.network(&half), ratio(5, 2));
}

const PAPER: [&str; 4] = ["a:cap=100/200", "b:cap=100/200", "c:cap=50/100", "d:cap=50/100"];

#[test]
fn examples_of_the_paper_come_out_as_printed() {
    let rows = from_reads("a and b or c and d");
    let plain = model(&rows, &["a:cap=100", "b:cap=100", "c:cap=50", "d:cap=50"]);
    assert_eq!(capacity(&plain, "1", 0), ratio(150, 1));
    let grid = model(&rows, &PAPER);
    for (fraction, expected) in [("1", 300), ("0.5", 200), ("0", 100)] {
        assert_eq!(capacity(&grid, fraction, 0), ratio(expected, 1));
    }
    let crossed = model(&from_reads("a and c or b and d"), &PAPER);
    near(&capacity(&crossed, "0:10,0.25:4,0.5:2,0.75:1,1:1", 0), 159.304);

    let pairs = model(&from_reads("2 of (a, b, c, d)"), &PAPER);
    assert_eq!((capacity(&grid, "1", 0), capacity(&pairs, "1", 0)), (ratio(300, 1), ratio(300, 1)));
    assert_eq!((capacity(&grid, "1", 1), capacity(&pairs, "1", 1)), (ratio(100, 1), ratio(200, 1)));
}

#[test]
fn the_papers_seventh_figure_takes_two_seconds_not_three() {
    let latencies = ["4s", "4s", "1s", "1s"];
    let figures: Vec<String> = PAPER
        .iter()
        .zip(latencies)
        .map(|(node, latency)| format!("{node},latency={latency}"))
        .collect();
    let figures: Vec<&str> = figures.iter().map(String::as_str).collect();
    let grid = model(&from_reads("a and b or c and d"), &figures);
    let all = reads("1");
    let strong = Strategy::best(&grid, &all, &Goal::least(Objective::Load)).unwrap();
    assert_eq!(strong.capacity(&grid, &all), ratio(300, 1));
    assert_eq!((strong.network(&all), strong.latency(&all)), (ratio(2, 1), ratio(3, 1)));
    let limits =
        Limits { load_max: Some(ratio(1, 150)), network_max: Some(ratio(2, 1)), latency_max: None };
    let goal = Goal { objective: Objective::Latency, limits, spare: 0 };
    let fast = Strategy::best(&grid, &all, &goal).unwrap();
    assert_eq!((fast.capacity(&grid, &all), fast.latency(&all)), (ratio(150, 1), ratio(2, 1)));
    assert_eq!(fast.reads[0].probability, ratio(2, 3));
}

const CASE: [&str; 5] = [
    "a:cap=2000/4000,latency=1s",
    "b:cap=1000/2000,latency=1s",
    "c:cap=2000/4000,latency=3s",
    "d:cap=1000/2000,latency=4s",
    "e:cap=2000/4000,latency=5s",
];
const CASE_WORK: &str = ".9:10,.8:20,.7:100,.6:100,.5:100,.4:60,.3:30,.2:30,.1:20";

#[test]
fn the_case_study_has_its_capacities() {
    let majority = model("majority(a, b, c, d, e)", &CASE);
    let work = reads(CASE_WORK);
    let uniform = Strategy::uniform(&majority).unwrap();
    near(&uniform.capacity(&majority, &work), 2291.60);
    assert_eq!(uniform.latency(&work), ratio(9, 2));
    let grid = from_reads("a and b or c and d and e");
    let paths = from_reads("a and b or a and c and e or d and e or d and c and b");
    for (text, none, one) in [
        ("majority(a, b, c, d, e)", 3666.56, 2749.92),
        (grid.as_str(), 4200.22, 1374.96),
        (paths.as_str(), 4124.88, 1374.96),
    ] {
        let model = model(text, &CASE);
        near(&capacity(&model, CASE_WORK, 0), none);
        near(&capacity(&model, CASE_WORK, 1), one);
    }
    let best = model(&from_reads("(a or b and d) and (c or e)"), &CASE);
    near(&capacity(&best, CASE_WORK, 0), 5005.185);
    near(&load(&best, CASE_WORK, 0), 2.0159574e-4);
    let spare = model(&from_reads("3 of (a, c, b or d, e)"), &CASE);
    near(&capacity(&spare, CASE_WORK, 1), 3012.026);
}

#[test]
fn the_case_study_has_its_latencies() {
    let work = reads(CASE_WORK);
    let mut goal = Goal::least(Objective::Latency);
    goal.limits.load_max = Some(ratio(1, 2000));
    for (text, seconds) in [
        ("3 of (a, b, c, d, e)", 3.238298),
        ("a and b or c and d and e", 1.953191),
        ("a and b or a and c and e or d and e or d and c and b", 2.433570),
        ("2 of (a, b, c and d and e)", 1.476596),
    ] {
        let model = model(&from_reads(text), &CASE);
        let strategy = Strategy::best(&model, &work, &goal).unwrap();
        near(&strategy.latency(&work), seconds);
    }
}

#[test]
fn unit_members_give_round_numbers() {
    let nine = "a, b, c, d, e, f, g, h, i";
    let majority = unit(&format!("majority({nine})"));
    assert_eq!(capacity(&majority, "0.5", 0), ratio(9, 5));
    let rows = "a b c / d e f / g h i";
    let grid = unit(&format!("elect = row({rows}); commit = cover({rows})"));
    assert_eq!(capacity(&grid, "0.5", 0), ratio(3, 1));
    assert_eq!(capacity(&grid, "0.5", 1), ratio(3, 2));
    let one_all = unit(&format!("elect = any of ({nine}); commit = all of ({nine})"));
    assert_eq!(capacity(&one_all, "0.5", 0), ratio(9, 5));
    assert_eq!(capacity(&one_all, "0.9", 0), ratio(5, 1));
    assert_eq!(capacity(&majority, "0.9", 0), ratio(9, 5));

    let two = unit("flexible(2; a, b, c, d, e)");
    for (fraction, expected) in [("0", ratio(5, 2)), ("0.5", ratio(5, 3)), ("0.9", ratio(25, 19))] {
        assert_eq!(capacity(&two, fraction, 0), expected);
    }
    near(&capacity(&two, "0.9", 0), 1.315789);
    assert_eq!(capacity(&two, "0.5", 1), ratio(5, 4));

    let five = unit("majority(a, b, c, d, e)");
    for (spare, expected) in [(0, ratio(3, 5)), (1, ratio(4, 5)), (2, ratio(1, 1))] {
        assert_eq!(load(&five, "0.5", spare), expected);
    }
    assert_eq!(
        Strategy::best(&five, &reads("0.5"), &goal(Objective::Load, 3)),
        Err(NoStrategy::Impossible)
    );
}

#[test]
fn zones_have_their_loads() {
    let zones = unit("zones(x{a,b,c}, y{d,e,f}, z{g,h,i})");
    assert_eq!(zones.commit().resilience(), 3);
    assert_eq!(load(&zones, "0.5", 0), ratio(4, 9));
    assert_eq!(load(&zones, "0.5", 1), ratio(2, 3));
    let half = reads("0.5");
    let few = Strategy::best(&zones, &half, &Goal::least(Objective::Network)).unwrap();
    assert_eq!(few.network(&half), ratio(4, 1));

    let three = "x{a,b,c}, y{d,e,f}, z{g,h,i}";
    let local = unit(&format!("elect = zones 1 of ({three}); commit = zones 3 of ({three})"));
    assert_eq!((local.elect().resilience(), local.commit().resilience()), (5, 1));
    for (fraction, expected) in [("0", ratio(2, 3)), ("0.5", ratio(4, 9)), ("0.9", ratio(4, 15))] {
        assert_eq!(load(&local, fraction, 0), expected);
    }
}

#[test]
fn fractions_in_texts_are_exact() {
    assert_eq!(parse("0.1").unwrap() * ratio(10, 1), ratio(1, 1));
}

fn found(figures: &[&str], work: &str, goal: Goal, resilience: usize) -> Found {
    let nodes: Vec<Node> = figures.iter().map(|figure| Node::parse(figure).unwrap()).collect();
    let wanted = Wanted { goal, resilience, elect_meets_elect: false };
    let found = search(&nodes, &reads(work), &wanted).unwrap();
    assert!(found.complete);
    found
}

/// Whether the found elect family is this one.
fn is(found: &Found, text: &str) -> bool {
    let expr = quorum::Expr::parse(text).unwrap();
    let family = quorum::Family::compile(&expr, found.model.names()).unwrap();
    found.model.elect().minimal_quorums() == family.minimal_quorums()
}

#[test]
fn the_tutorials_search_finds_its_system() {
    let limits =
        Limits { load_max: None, network_max: Some(ratio(4, 1)), latency_max: Some(ratio(4, 1)) };
    let goal = Goal { objective: Objective::Load, limits, spare: 1 };
    let found = found(&TUTORIAL, "0.75", goal, 1);
    assert!(is(&found, "3 of (a, c, e, b or d or f)"), "{}", found.text);
    let work = reads("0.75");
    assert_eq!(found.strategy.capacity(&found.model, &work), ratio(3500, 1));
    near(&found.strategy.latency(&work), 3.907143);
    near(&found.strategy.network(&work), 3.985714);
}

#[test]
fn the_case_studys_searches_find_its_best_systems() {
    let best = found(&CASE, CASE_WORK, Goal::least(Objective::Load), 1);
    near(&best.strategy.capacity(&best.model, &reads(CASE_WORK)), 5005.185);
    // (a or b and d) and (c or e), or the same with e in the place of a: they cost the same.
    near(&best.strategy.load(&best.model, &reads(CASE_WORK)), 2.0159574e-4);
    let spare = found(&CASE, CASE_WORK, goal(Objective::Load, 1), 1);
    near(&spare.strategy.capacity(&spare.model, &reads(CASE_WORK)), 3012.026);
    let mut fast = Goal::least(Objective::Latency);
    fast.limits.load_max = Some(ratio(1, 2000));
    let fast = found(&CASE, CASE_WORK, fast, 1);
    near(&fast.strategy.latency(&reads(CASE_WORK)), 1.476596);
}

#[test]
fn a_search_for_shared_terms_answers_with_elect_sets_that_meet() {
    let nodes: Vec<Node> = CASE.iter().map(|figure| Node::parse(figure).unwrap()).collect();
    let goal = Goal::least(Objective::Load);
    let wanted = Wanted { goal, resilience: 1, elect_meets_elect: true };
    let found = search(&nodes, &reads(CASE_WORK), &wanted).unwrap();
    let rule = quorum::Protocol::RaftSharedTerms;
    assert_eq!(quorum::check_pair(found.model.elect(), found.model.commit(), rule), Ok(()));
    let cost = to_f64(&found.strategy.load(&found.model, &reads(CASE_WORK)));
    assert!(cost > 2.0159574e-4, "the best of all has elect sets that miss each other");
}
