//! Decisions told in the words of their family.

use crate::{NodeSet, SystemSpec};
use alloc::string::String;

fn told(text: &str, who: &[&str]) -> String {
    let spec = SystemSpec::parse(text).expect("it parses");
    let names = spec.infer_names();
    let set: NodeSet = who.iter().map(|name| names.slot(name).expect("a member")).collect();
    spec.commit.explain(&names, set)
}

#[test]
fn zones_are_told_by_what_each_has() {
    let text = "zones(eu{a, b, c}, us{d, e, f}, ap{g, h, i})";
    assert_eq!(
        told(text, &["a", "b", "d", "f", "g"]),
        "eu has 2 of 3, us has 2 of 3: two zones of three are enough"
    );
    assert_eq!(
        told(text, &["a", "b", "g"]),
        "eu has 2 of 3, us has 0 of 3, ap has 1 of 3: one zone of three, two are needed"
    );
    let both = "zones 2 of (eu{a, b, c}, us{d})";
    assert_eq!(
        told(both, &["a", "b", "d"]),
        "eu has 2 of 3, us is there: every zone is needed and there"
    );
    let one = "zones 1 of (eu{a, b, c}, us{d, e, f})";
    assert_eq!(told(one, &["e", "f"]), "us has 2 of 3: one zone of two is enough");
}

#[test]
fn counts_and_weights_are_told_with_what_is_enough_or_needed() {
    assert_eq!(told("majority(a, b, c)", &["a", "c"]), "a and c: 2 of 3, 2 are a majority");
    assert_eq!(told("majority(a, b, c)", &["b"]), "b: 1 of 3, 2 are needed");
    assert_eq!(told("2 of (a, b, c, d)", &["a", "c", "d"]), "a, c and d: 3 of 4, 2 are enough");
    assert_eq!(told("all of (a, b)", &["a", "b"]), "a and b: 2 of 2, all are needed");
    assert_eq!(told("any of (a, b)", &[]), "nobody: 0 of 2, 1 is needed");
    assert_eq!(
        told("weighted{a:3, b:1, c:1} >= 4", &["a", "c"]),
        "a (3) and c (1): 4 of 5 votes, 4 are enough"
    );
    assert_eq!(
        told("elect = 3 of (a, b, c); commit = 1 of (a, b, c)", &["b"]),
        "b: 1 of 3, 1 is enough"
    );
}

#[test]
fn shapes_are_told_by_rows_columns_paths_and_lines() {
    let grid = "grid(a b c / d e f)";
    assert_eq!(told(grid, &["a", "b", "c", "f"]), "the row a b c is whole and every row has one");
    assert_eq!(
        told(grid, &["a", "b"]),
        "no row is whole, a b c lacks c and the row d e f has nobody"
    );
    assert_eq!(
        told("cross(a b / c d)", &["a", "b", "c"]),
        "the row a b is whole and the column a c is whole"
    );
    let wall = "wall(a / b c / d e f)";
    assert_eq!(told(wall, &["b", "c", "e"]), "the row b c is whole and every row below has one");
    assert_eq!(told(wall, &["d", "e", "f"]), "the row d e f, the lowest, is whole");
    assert_eq!(
        told(wall, &["a", "c"]),
        "no row is whole with one of every row below it, the row a wants one of d e f"
    );
    assert_eq!(told("wheel(h, a, b, c)", &["h", "b"]), "the hub h and b of the rim");
    assert_eq!(told("wheel(h, a, b, c)", &["a", "b", "c"]), "the whole rim");
    assert_eq!(told("wheel(h, a, b, c)", &["a", "b"]), "the hub h is missing, and the rim lacks c");
    let tree = "tree(a / b c / d e f g)";
    assert_eq!(told(tree, &["a", "c", "f"]), "the path a c f");
    assert_eq!(
        told(tree, &["a", "d", "e"]),
        "the path a, then the path d and the path e in place of b"
    );
    assert_eq!(told(tree, &["b", "d", "c", "g"]), "the path b d and the path c g in place of a");
    assert_eq!(told(tree, &["b"]), "no path from a to a leaf, with a, d, e, c, f, g missing");
    assert_eq!(
        told("hqs(a b c / d e f / g h i)", &["a", "b", "h", "i"]),
        "a b c has 2 of 3, g h i has 2 of 3: two groups of three are enough"
    );
    assert_eq!(told("plane(a b c d e f g)", &["b", "c", "e"]), "the line b c e is whole");
}

#[test]
fn what_is_put_together_by_hand_is_told_part_by_part() {
    let text = "(a and 2 of (b, c, d)) or 3 of (b, c, d)";
    assert_eq!(told(text, &["a", "b", "d"]), "a is there and b and d: 2 of 3, 2 are a majority");
    assert_eq!(
        told(text, &["b", "d"]),
        "a is missing and b and d: 2 of 3, 2 are a majority; or b and d: 2 of 3, 3 are needed"
    );
}

#[test]
fn a_sentence_says_enough_exactly_when_the_set_is_a_quorum() {
    let texts = [
        "zones(eu{a, b, c}, us{d, e, f}, ap{g, h, i})",
        "weighted{a:3, b:1, c:1, d:2} >= 4",
        "wall(a / b c / d e f)",
        "hqs(a b c / d e f / g h i)",
        "tree(a / b c / d e f g)",
        "plane(a b c d e f g)",
        "wheel(h, a, b, c)",
    ];
    for text in texts {
        let spec = SystemSpec::parse(text).expect("it parses");
        let names = spec.infer_names();
        let system = spec.compile(&names).expect("safe");
        for bits in 0..1u64 << names.all().len() {
            let set = NodeSet::from_bits(bits);
            let line = spec.commit.explain(&names, set);
            let short = ["needed", "lacks", "wants", "no path", "needs"];
            let no = short.iter().any(|word| line.contains(word))
                && !line.ends_with("is needed and there")
                && !line.ends_with("all are needed");
            assert_eq!(no, !system.commit().is_quorum(set), "{text}: {set:?}: {line}");
        }
    }
}
