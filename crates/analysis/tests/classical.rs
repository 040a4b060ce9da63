//! Load, resilience and availability of the classical systems, as fractions.

use analysis::availability::{Needed, live};
use analysis::ratio::{ratio, to_f64};
use analysis::{Goal, Model, Objective, Ratio, Strategy, Workload};
use num_bigint::BigInt;

/// What a table row says: text, minimal quorums, load, resilience, live sets by size, the
/// probability of failure at p = 0.1 and at 0.5.
struct Row {
    text: &'static str,
    quorums: usize,
    load: (i64, i64),
    resilience: usize,
    /// From the first size that is not 0 to all members; empty where the table has none.
    live: &'static [u64],
    tenth: Chance,
    half: Chance,
}

enum Chance {
    Exact(i64, i64),
    Near(f64),
    NotSaid,
}
use Chance::{Exact, Near, NotSaid};

const fn row(
    text: &'static str,
    quorums: usize,
    load: (i64, i64),
    resilience: usize,
    live: &'static [u64],
    tenth: Chance,
    half: Chance,
) -> Row {
    Row { text, quorums, load, resilience, live, tenth, half }
}

const HALF: Chance = Exact(1, 2);
const ROWS: [Row; 27] = [
    row("majority(a,b,c)", 3, (2, 3), 1, &[3, 1], Exact(7, 250), HALF),
    row("majority(a,b,c,d)", 4, (3, 4), 1, &[4, 1], Exact(523, 10_000), Exact(11, 16)),
    row("majority(a,b,c,d,e)", 10, (3, 5), 2, &[10, 5, 1], Exact(107, 12_500), HALF),
    row("majority(a,b,c,d,e,f,g)", 35, (4, 7), 3, &[35, 21, 7, 1], Exact(341, 125_000), HALF),
    row("majority(a,b,c,d,e,f,g,h,i)", 126, (5, 9), 4, &[126, 84, 36, 9, 1], Near(8.9092e-4), HALF),
    row(
        "cross(a b c / d e f / g h i)",
        9,
        (5, 9),
        2,
        &[9, 36, 36, 9, 1],
        Near(0.0333088),
        Exact(421, 512),
    ),
    row(
        "grid(a b c / d e f / g h i)",
        27,
        (5, 9),
        2,
        &[27, 54, 36, 9, 1],
        Near(0.0226800),
        Exact(385, 512),
    ),
    row(
        "cross(a b c d / e f g h / i j k l / m n o p)",
        16,
        (7, 16),
        3,
        &[],
        Near(0.0248891),
        Exact(59_747, 65_536),
    ),
    row("plane(a b c d e f g)", 7, (3, 7), 2, &[7, 28, 21, 7, 1], Near(0.0068104), HALF),
    row(
        "plane(a b c d e f g h i j k l m)",
        13,
        (4, 13),
        3,
        &[13, 117, 468, 1014, 1170, 702, 286, 78, 13, 1],
        Near(0.00141677),
        Exact(2165, 4096),
    ),
    row("tree(a b c d e f g)", 15, (1, 2), 2, &[6, 29, 21, 7, 1], Exact(973, 156_250), HALF),
    row("tree(a b c d e f g h i j k l m n o)", 255, (2, 5), 3, &[], Near(0.00127646), HALF),
    row("hqs(a b c d e f g h i)", 27, (4, 9), 3, &[27, 99, 84, 36, 9, 1], Near(0.0023081), HALF),
    row("wheel(a b c d e)", 5, (4, 7), 1, &[4, 6, 5, 1], Near(0.03448), HALF),
    row(
        "wheel(a b c d e f g h i)",
        9,
        (8, 15),
        1,
        &[8, 28, 56, 70, 56, 28, 9, 1],
        Near(0.0569533),
        HALF,
    ),
    row("triangle(a b c d e f)", 10, (1, 2), 2, &[10, 15, 6, 1], Exact(107, 12_500), HALF),
    row(
        "triangle(a b c d e f g h i j)",
        41,
        (2, 5),
        3,
        &[41, 126, 169, 120, 45, 10, 1],
        Near(0.0030429),
        HALF,
    ),
    row(
        "wall(a / b c / d e f / g h i)",
        31,
        (3, 7),
        2,
        &[1, 36, 90, 83, 36, 9, 1],
        Near(0.0033112),
        HALF,
    ),
    row("weighted{a:3,b:1,c:1,d:1,e:1} >= 4", 5, (4, 7), 1, &[4, 6, 5, 1], Near(0.03448), HALF),
    row("weighted{a:2,b:2,c:1,d:1,e:1} >= 4", 7, (4, 7), 1, &[1, 9, 5, 1], Near(0.01504), HALF),
    row("weighted{a:2,b:1,c:1,d:1} >= 3", 4, (3, 5), 1, &[3, 4, 1], Near(0.028), HALF),
    row("byzantine(1; a,b,c,d)", 4, (3, 4), 1, &[4, 1], Near(0.0523), Exact(11, 16)),
    row("byzantine(2; a,b,c,d,e,f,g)", 21, (5, 7), 2, &[21, 7, 1], Near(0.0256915), Exact(99, 128)),
    row("masking(1; a,b,c,d,e)", 5, (4, 5), 1, &[5, 1], Near(0.08146), NotSaid),
    row("masking(2; a,b,c,d,e,f,g,h,i)", 36, (7, 9), 2, &[36, 9, 1], Near(0.0529721), NotSaid),
    row(
        "joint(majority(a,b,c), majority(c,d,e))",
        5,
        (2, 3),
        1,
        &[4, 5, 1],
        Near(0.0523),
        Exact(11, 16),
    ),
    row(
        "zones(x{a,b,c}, y{d,e,f}, z{g,h,i})",
        27,
        (4, 9),
        3,
        &[27, 99, 84, 36, 9, 1],
        Near(0.0023081),
        HALF,
    ),
];

fn check(chance: &Chance, value: &Ratio, text: &str) {
    match chance {
        Exact(top, bottom) => assert_eq!(*value, ratio(*top, *bottom), "{text}"),
        Near(expected) => {
            let value = to_f64(value);
            assert!((value - expected).abs() < 1e-6 * expected.max(0.06), "{text}: {value}");
        }
        NotSaid => {}
    }
}

#[test]
fn classical_systems_have_the_loads_and_availabilities_of_the_literature() {
    for row in &ROWS {
        let model = Model::parse(row.text, &[]).unwrap();
        assert_eq!(model.commit().minimal_quorums().len(), row.quorums, "{}", row.text);
        assert_eq!(model.commit().resilience(), row.resilience, "{}", row.text);
        let work = Workload::parse("0.5").unwrap();
        let strategy = Strategy::best(&model, &work, &Goal::least(Objective::Load)).unwrap();
        assert_eq!(strategy.load(&model, &work), ratio(row.load.0, row.load.1), "{}", row.text);
        let live = live(&model, Needed::Both).unwrap();
        if !row.live.is_empty() {
            let mut expected = vec![BigInt::from(0); live.sets.len() - row.live.len()];
            expected.extend(row.live.iter().map(|sets| BigInt::from(*sets)));
            assert_eq!(live.sets, expected, "{}", row.text);
        }
        check(&row.tenth, &live.failure(&ratio(1, 10)), row.text);
        check(&row.half, &live.failure(&ratio(1, 2)), row.text);
    }
}

#[test]
fn giffords_examples_block_as_often_as_he_says() {
    let blocked = |text: &str, needed: Needed| {
        let model = Model::parse(text, &[]).unwrap();
        live(&model, needed).unwrap().failure(&ratio(1, 100))
    };
    let votes = "gifford(2, 3; a:2, b:1, c:1)";
    assert_eq!(blocked(votes, Needed::Elect), ratio(199, 1_000_000));
    assert_eq!(blocked(votes, Needed::Commit), ratio(10_099, 1_000_000));
    let all = "gifford(1, 3; a:1, b:1, c:1)";
    assert_eq!(blocked(all, Needed::Elect), ratio(1, 1_000_000));
    assert_eq!(blocked(all, Needed::Commit), ratio(29_701, 1_000_000));
}

#[test]
fn a_system_is_not_dominated_exactly_when_it_fails_half_of_the_time_at_one_half() {
    for row in &ROWS {
        let model = Model::parse(row.text, &[]).unwrap();
        let half = live(&model, Needed::Commit).unwrap().failure(&ratio(1, 2));
        let never = model.commit().dominated_by(model.elect()) == quorum::Dominance::Never;
        assert_eq!(half == ratio(1, 2), never, "{}", row.text);
    }
}

#[test]
fn load_keeps_the_bounds_of_naor_and_wool() {
    // Naor, Wool 1998: L >= max(1/c, c/n), c the size of the smallest quorum.
    for row in &ROWS {
        let model = Model::parse(row.text, &[]).unwrap();
        let smallest = model.commit().minimal_quorums()[0].len() as i64;
        let members = model.members().len() as i64;
        let load = ratio(row.load.0, row.load.1);
        assert!(load >= ratio(1, smallest) && load >= ratio(smallest, members), "{}", row.text);
    }
}

#[test]
fn twenty_members_that_all_differ_are_counted_exactly() {
    let weights: Vec<String> = (0..20).map(|i| format!("n{i}:{}", 100 + i * i)).collect();
    let model = Model::parse(&format!("weighted{{{}}}", weights.join(", ")), &[]).unwrap();
    let live = live(&model, Needed::Commit).unwrap();
    // An odd sum of weights: of a set and its complement exactly one is a quorum.
    let sum: i64 = (0..20).map(|i| 100 + i * i).sum();
    let quorums: BigInt = live.sets.iter().sum();
    assert!(quorums <= BigInt::from(1 << 19));
    assert_eq!(quorums == BigInt::from(1 << 19), sum % 2 == 1);
    let many: Vec<String> = (0..64).map(|i| format!("n{i}")).collect();
    let majority = Model::parse(&format!("majority({})", many.join(", ")), &[]).unwrap();
    assert!(live_all(&majority), "64 equal members are one class");
}

fn live_all(model: &Model) -> bool {
    live(model, Needed::Both).is_some_and(|live| live.sets.len() == 65)
}

#[test]
fn a_majority_of_many_different_members_is_solved_without_listing_its_quorums() {
    // 5,200,300 minimal quorums. Capacity is bounded by all the work the members can do: an
    // operation needs 13 contacts, and no strategy can use more than every member in full.
    let capacities: Vec<i64> = (0..25).map(|i| 1000 + 10 * i).collect();
    let nodes: Vec<analysis::Node> = capacities
        .iter()
        .enumerate()
        .map(|(i, cap)| analysis::Node::parse(&format!("n{i}:cap={cap}")).unwrap())
        .collect();
    let names: Vec<String> = (0..25).map(|i| format!("n{i}")).collect();
    let model = Model::parse(&format!("majority({})", names.join(", ")), &nodes).unwrap();
    let work = Workload::parse("0.5").unwrap();
    let strategy = Strategy::best(&model, &work, &Goal::least(Objective::Load)).unwrap();
    let all: i64 = capacities.iter().sum();
    assert_eq!(strategy.capacity(&model, &work), ratio(all, 13));
}
