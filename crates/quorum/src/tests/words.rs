//! Decisions told in the words of their family.

use crate::{NodeSet, SystemSpec};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

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
fn more_than_half_is_a_majority_and_less_is_only_enough() {
    let five = "majority(a, b, c, d, e)";
    assert_eq!(told(five, &["a", "b", "e"]), "a, b and e: 3 of 5, 3 are a majority");
    assert_eq!(told("2 of (a, b, c, d, e)", &["a", "b"]), "a and b: 2 of 5, 2 are enough");
    let weighted = "weighted{a:2, b:1, c:1, d:1}";
    assert_eq!(told(weighted, &["a", "b"]), "a (2) and b (1): 3 of 5 votes, 3 are a majority");
}

#[test]
fn one_zone_row_or_group_alone_is_told_as_what_is_in_it() {
    let both = "a and b: 2 of 3, 2 are a majority";
    let texts = ["zones(eu{a, b, c})", "tree(majority(a, b, c))", "hqs(a b c)"];
    for text in texts.into_iter().chain(["hqs(majority(a, b, c))"]) {
        assert_eq!(told(text, &["a", "b"]), both, "{text}");
    }
    for text in ["row(a b)", "wall(a b)", "column(a / b)"] {
        assert_eq!(told(text, &["a"]), "a: 1 of 2, 2 are needed", "{text}");
    }
    assert_eq!(told("cover(a b)", &["a"]), "a: 1 of 2, 1 is enough");
    assert_eq!(told("a", &["a"]), "a is there");
    assert_eq!(told("a", &[]), "a is missing");
}

#[test]
fn parts_without_a_name_are_told_by_their_members() {
    let text = "2 of (a and b, c and d, e)";
    assert_eq!(
        told(text, &["a", "b", "e"]),
        "a b has 2 of 2, e is there: two parts of three are enough"
    );
    assert_eq!(
        told(text, &["a"]),
        "a b has 1 of 2, c d has 0 of 2, e is missing: no parts of three, two are needed"
    );
    assert_eq!(
        told("2 of (weighted{a:2, b:1, c:1}, d, e)", &["a", "b", "e"]),
        "a b c has 3 of 4 votes, e is there: two parts of three are enough"
    );
    assert_eq!(told("a or majority(b, c, d)", &["b"]), "a is missing; or b: 1 of 3, 2 are needed");
    let pair = "a or majority(b, c, d)";
    assert_eq!(told(pair, &["b", "d"]), "b and d: 2 of 3, 2 are a majority");
}

#[test]
fn zones_in_zones_are_told_in_brackets_and_numbers_past_ten_in_digits() {
    let nested = "zones(w{x{a, b, c}, y{d, e, f}}, v{g}, u{h})";
    assert_eq!(
        told(nested, &["a", "b", "d", "g"]),
        "w (a and b: 2 of 3, 2 are a majority and d: 1 of 3, 2 are needed), \
         v is there, u is missing: one zone of three, two are needed"
    );
    let zones: Vec<String> = ('a'..='k').map(|name| format!("z{name}{{{name}}}")).collect();
    assert_eq!(
        told(&format!("zones({})", zones.join(", ")), &["a", "b", "d", "g", "h", "j"]),
        "za is there, zb is there, zd is there, zg is there, zh is there, zj is there: \
         six zones of 11 are enough"
    );
    let one = "zones 1 of (eu{a, b, c}, us{d, e, f})";
    assert_eq!(told(one, &["a"]), "eu has 1 of 3, us has 0 of 3: no zones of two, one is needed");
    let both = "zones 2 of (eu{a, b, c}, us{d, e, f})";
    assert_eq!(told(both, &["a"]), "eu has 1 of 3, us has 0 of 3: no zones of two, two are needed");
}

#[test]
fn a_shape_that_is_short_says_what_is_nearest_to_whole() {
    let wall = |who: &[&str]| told("wall(a / b c / d e f)", who);
    let short = "no row is whole with one of every row below it,";
    assert_eq!(wall(&["d", "e"]), format!("{short} the row d e f wants f"));
    assert_eq!(wall(&["b"]), format!("{short} the row a wants a, one of d e f"));
    assert_eq!(wall(&[]), format!("{short} the row a wants a, one of b c, one of d e f"));
    let wheel = |who: &[&str]| told("wheel(h, a, b, c)", who);
    assert_eq!(wheel(&["h"]), "the hub h needs one of the rim");
    assert_eq!(wheel(&["h", "a", "b", "c"]), "the hub h and a of the rim");
    let cross = "the row a b is whole and no column is whole, a c lacks c";
    assert_eq!(told("cross(a b / c d)", &["a", "b"]), cross);
    assert_eq!(told("cover(a b / c d)", &["a"]), "the row c d has nobody");
    assert_eq!(told("cover(a b / c d)", &["a", "d"]), "every row has one");
    assert_eq!(told("cover(a b / c d)", &[]), "the row a b / c d has nobody");
    let line = "no line is whole, a b d lacks d";
    assert_eq!(told("plane(a b c d e f g)", &["a", "b"]), line);
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
