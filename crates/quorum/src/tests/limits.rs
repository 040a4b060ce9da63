//! Every bound of a text, from both sides.

use std::format;
use std::prelude::rust_2024::*;
use std::vec::Vec;

use base::limits::QUORUM_TEXT_BYTES_MAX;

use super::{family, system};
use crate::{Expr, NodeSet, ParseError, Protocol, System, SystemSpec};

const TOO_LARGE: &str = "this is too large when written out";

/// `prefix0, prefix1, ..` as a list of names.
fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|i| format!("{prefix}{i}")).collect()
}

/// A wall of rows of one: it is written out as every end of the list.
fn wall(prefix: &str, rows: usize) -> String {
    format!("wall({})", names(prefix, rows).join("/"))
}

fn message(text: &str) -> String {
    Expr::parse(text).expect_err("it is refused").message
}

#[test]
fn a_text_may_have_64_kib() {
    let longest = format!("a or b{}", " ".repeat(QUORUM_TEXT_BYTES_MAX - 6));
    assert!(Expr::parse(&longest).is_ok());
    for more in [" ", "  ", "c"] {
        let error = Expr::parse(&[&longest, more].concat()).unwrap_err();
        assert_eq!(error, ParseError { column: 1, message: "longer than 65536 bytes".into() });
    }
}

#[test]
fn brackets_may_nest_16_deep() {
    let nested = |depth: usize| format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Expr::parse(&nested(16)).is_ok());
    assert_eq!(message(&nested(17)), "brackets nest deeper than 16");
    let beside: Vec<String> = names("a", 40).iter().map(|name| format!("(({name}))")).collect();
    assert!(Expr::parse(&beside.join(" or ")).is_ok(), "only what is open counts");
}

/// Gates so deep below one another that the names are at `depth`; two gates to a bracket.
fn nest(depth: usize) -> String {
    match depth {
        1 => "x".into(),
        2 => "x and y".into(),
        _ => format!("a{depth} or b{depth} and ({})", nest(depth - 2)),
    }
}

#[test]
fn gates_may_nest_26_deep_and_two_joins_still_fit_on_top() {
    let deepest = Expr::parse(&nest(26)).expect("it fits");
    for depth in 27..=32 {
        assert_eq!(message(&nest(depth)), "this nests too deeply");
    }
    let names = deepest.infer_names();
    let spec = SystemSpec { elect: deepest.dual(), commit: deepest };
    let old = spec.compile(&names).expect("a family meets its dual");
    let next = System::majority(NodeSet::first(3));
    let joint = System::joint(&System::joint(&old, &next), &System::majority(NodeSet::first(5)));
    let all = joint.support();
    assert!(joint.commit().is_quorum(all));
    let mut last_two = NodeSet::new();
    last_two.insert(names.slot("x").expect("a member"));
    last_two.insert(names.slot("y").expect("a member"));
    assert!(joint.commit().blocks(NodeSet::first(3)));
    // Each level is "a or b and the rest": without any `a` all of the rest is needed.
    let without_a: NodeSet =
        names.iter().filter(|(_, name)| !name.starts_with('a')).map(|(slot, _)| slot).collect();
    assert!(old.commit().is_quorum(without_a));
    assert!(!old.commit().is_quorum(without_a.minus(last_two)));
}

#[test]
fn a_gate_may_have_256_items_and_a_shape_256_rows() {
    let list = names("n", 257);
    for [open, between, close] in [
        ["any of (", ",", ")"],
        ["zones 1 of (z{", ",", "})"],
        ["weighted{", ":1,", ":1}"],
        ["row(", " ", ")"],
    ] {
        let text = |count: usize| format!("{open}{}{close}", list[..count].join(between));
        assert!(Expr::parse(&text(256)).is_ok(), "{open}");
        assert_eq!(message(&text(257)), "more than 256 items", "{open}");
    }
    let zones: Vec<String> = list.iter().map(|name| format!("z{{{name}}}")).collect();
    assert!(Expr::parse(&format!("zones({})", zones[..256].join(","))).is_ok());
    assert_eq!(message(&format!("zones({})", zones.join(","))), "more than 256 items");
    let column = |count: usize| format!("column({})", list[..count].join("/"));
    assert_eq!(Expr::parse(&column(256)).expect("it fits").names().len(), 256);
    assert_eq!(message(&column(257)), "more than 256 rows");
    let group = |count: usize| -> String {
        let servers: Vec<String> = (0..count).map(|i| i.to_string()).collect();
        SystemSpec::parse(&format!("group.1={}", servers.join(":"))).unwrap_err().message
    };
    assert!(group(256).contains("one name too many"));
    assert_eq!(group(257), "too many servers");
}

#[test]
fn a_weight_is_at_most_a_million_and_a_number_a_thousand_million() {
    assert_eq!(family("weighted{a:1000000, b:1}").minimal_quorums(), [NodeSet::first(1)]);
    assert_eq!(message("weighted{a:1000001}"), "a weight is 1 to 1000000");
    assert_eq!(message("weighted{a:0, b:1}"), "a weight is 1 to 1000000");
    let lines = |weight: u32| SystemSpec::parse(&format!("group.1=1:2 weight.1={weight}"));
    assert!(lines(1_000_000).is_ok());
    assert_eq!(lines(1_000_001).unwrap_err().message, "a weight is 0 to 1000000");
    let flexible = |size: u32| {
        let error = SystemSpec::parse(&format!("flexible({size}; a)")).unwrap_err();
        (error.column, error.message)
    };
    let size = "a commit set of 1 has 1 to 1, not 1000000000";
    assert_eq!(flexible(1_000_000_000), (1, size.into()));
    let number = "expected the size of a commit set, found `1000000001`";
    assert_eq!(flexible(1_000_000_001), (10, number.into()));
    let heaviest: Vec<String> =
        names("n", 256).iter().map(|name| format!("{name}:1000000")).collect();
    let all = format!("weighted{{{}}} >= 256000000", heaviest.join(", "));
    assert!(Expr::parse(&all).is_ok(), "any item may be heavy");
}

#[test]
fn a_threshold_may_be_all_there_is() {
    let votes = system("gifford(3, 3; a:2, b:1)");
    assert_eq!(votes.elect().minimal_quorums(), [NodeSet::first(2)]);
    assert_eq!(votes.commit(), votes.elect());
    let all = system("flexible(3; a, b, c)");
    assert_eq!(all.elect().minimal_quorums().len(), 3, "any one elects");
    assert_eq!(all.check(Protocol::Paxos), Ok(()));
}

#[test]
fn most_of_the_groups_and_more_than_half_of_the_weight_decide() {
    let groups = |count: usize| -> Vec<String> {
        (0..count).map(|group| format!("group.{group}={group}")).collect()
    };
    for (count, need) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4)] {
        let family = system(&groups(count).join(" ")).commit().clone();
        assert_eq!(family.smallest_blocking().len(), count + 1 - need, "{count}");
        assert_eq!(family.minimal_quorums()[0].len(), need, "{count}");
    }
    // Three votes: the one with two of them decides alone.
    let heavy = system("group.1=1:2 weight.2=2");
    assert_eq!(heavy.commit().minimal_quorums(), [NodeSet::from_bits(2)]);
    let even = system("weight.1=3 weight.2=3 weight.3=3 weight.4=3");
    assert_eq!(even.commit().minimal_quorums().len(), 4, "three of four");
}

#[test]
fn a_shape_is_refused_where_it_would_be_too_large_when_written_out() {
    // 127 rows of one make 8,255 gates and names, and each row of the shape around it counts.
    let big = wall("n", 127);
    assert!(Expr::parse(&big).is_ok());
    assert_eq!(message(&wall("n", 128)), TOO_LARGE);
    for shape in [
        "grid(BIG a)",
        "cross(BIG a)",
        "wall(a / b / BIG)",
        "triangle(a b c d e f g h i j k l m n BIG)",
        "plane(BIG b c d e f g h i j k l m)",
    ] {
        assert_eq!(message(&shape.replace("BIG", &big)), TOO_LARGE, "{shape}");
        let small = shape.replace("BIG", &wall("n", 30));
        assert!(Expr::parse(&small).is_ok(), "{shape}");
    }
    // A line of four for each member, a lowest row of five: half of that is too much already.
    let half = wall("n", 90);
    for shape in ["triangle(a b c d e f g h i j k l m n BIG)", "plane(BIG b c d e f g h i j k l m)"]
    {
        assert_eq!(message(&shape.replace("BIG", &half)), TOO_LARGE, "{shape}");
    }
    for shape in ["majority(BIG, a, b)", "BIG or a", "witness(a) and BIG"] {
        assert!(Expr::parse(&shape.replace("BIG", &big)).is_ok(), "{shape}");
    }
    // A row alone and rows below it: as many times as there are rows, 63, and once more.
    let rows = |count: usize| {
        let mut list = names("n", count).join(" ");
        for row in 1..63 {
            list = list.replacen(&format!(" n{row} "), &format!(" / n{row} "), 1);
        }
        format!("row({list})")
    };
    assert!(Expr::parse(&rows(256)).is_ok());
    assert_eq!(message(&rows(257)), TOO_LARGE);
}

#[test]
fn a_text_is_refused_where_all_of_it_would_be_too_large_when_written_out() {
    // Seven walls of 8,255 gates and names, one of 7,625, 125 names and the gate: 65,536.
    let mut items: Vec<String> = (0..7).map(|w| wall(&format!("w{w}n"), 127)).collect();
    items.push(wall("rest", 122));
    items.extend(names("m", 125));
    let text = |items: &[String]| format!("any of ({})", items.join(","));
    assert_eq!(Expr::parse(&text(&items)).expect("it just fits").size(), 65_536);
    items.push("one-more".into());
    assert_eq!(message(&text(&items)), TOO_LARGE);
}
