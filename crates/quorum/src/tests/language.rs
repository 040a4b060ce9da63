//! What the language accepts, and where its errors point.

use std::prelude::rust_2024::*;
use std::string::ToString;

use super::{family, letters};
use crate::{Expr, SystemError, SystemSpec};

#[test]
fn equal_texts_compile_to_equal_families() {
    for (a, b) in [
        ("a and b or c", "(a and b) or c"),
        ("majority(a, b, c)", "2 of (a, b, c)"),
        ("majority(a, b, c, d, e)", "majority of (a, b, c, d, e)"),
        ("all of (a, b)", "a and b"),
        ("any of (a, b)", "a or b"),
        ("joint(a, b)", "a and b"),
        ("zones 1 of (eu{a, b, c}, us{d})", "majority(a, b, c) or d"),
        ("zones(w{x{a, b, c}, y{d, e, f}}, v{g})", "majority(a,b,c) and majority(d,e,f) and g"),
        ("cover(a b / c d)", "(a or b) and (c or d)"),
        ("row(a, b / c, d)", "(a and b) or (c and d)"),
        ("weighted{a:1, b:1, c:1}", "2 of (a, b, c)"),
        ("2 of (1, 2, 3)", "majority(a, b, c)"),
        ("\"a b\" and \"or\"", "x and y"),
        ("majority and zones", "x and y"),
        ("witness and elect or commit", "x and y or z"),
        ("zones and row or zones and wall", "x and y or x and z"),
        ("flexible or gifford", "x or y"),
        ("group.1 or weight.1", "x or y"),
        ("grid(a)", "a"),
        ("cross(a)", "a"),
        ("wall(a / b)", "a and b or b"),
        ("a and a and a", "a"),
        ("a and a and b and b and c", "a and b and c"),
        ("a or a", "a"),
        ("wheel(h, a, b)", "majority(h, a, b)"),
        ("zones(x{weighted{a:2, b:1}, c, d})", "majority(a or a and b, c, d)"),
        ("weighted{a:2, b:1} >= 3", "a and b"),
    ] {
        let (x, y) = (family(a), family(b));
        assert_eq!(x.minimal_quorums(), y.minimal_quorums(), "{a} is {b}");
    }
}

#[test]
fn an_error_points_at_its_column() {
    for (text, column, message) in [
        ("", 1, "expected a name or `(`, found the end"),
        ("a and", 6, "expected a name or `(`, found the end"),
        ("a b", 3, "expected the end, found `b`"),
        ("(a or b", 8, "expected `)`, found the end"),
        ("a & b", 3, "`&` means nothing here (try `and`, `or`, quotes)"),
        ("0 of (a, b)", 1, "0 would make the empty set a quorum"),
        ("3 of (a, b)", 1, "3 of 2 can never be reached"),
        ("x of (a, b)", 1, "`x` is not a number, `all` or `any`"),
        ("majority(a, b, a)", 16, "`a` appears twice"),
        ("grid(a b / c a)", 14, "`a` appears twice"),
        ("weighted{a:0}", 12, "a weight is 1 to 1000000"),
        ("weighted{a:2, b:1} >= 4", 20, "the threshold is 1 to 3, the sum of weights"),
        ("byzantine(1; a, b, c)", 1, "1 faulty members need at least 4 members, not 3"),
        ("elect = a", 10, "expected `commit = ...`, found the end"),
        ("elect = a; elect = b", 12, "`elect` is given twice"),
        ("a or \"b", 6, "this quote is never closed"),
        ("column(a b / c d e)", 14, "this row has 3 items, the first has 2"),
        ("tree(a / b c / d e f)", 16, "row 3 of a tree has 4 items"),
        ("tree(a b c d)", 1, "a tree has rows of 1, 2, 4, .. items, which is not 4"),
        ("triangle(a b c d)", 1, "a triangle has rows of 1, 2, 3, .. items, which is not 4"),
        ("b or hqs(a b c / d e f)", 6, "hqs has 3, 9 or 27 items, not 6"),
        ("plane(a b c)", 1, "a plane has 7, 13, 21, 31 or 57 items, not 3"),
        ("wheel(a, b)", 1, "a wheel is a hub and a rim of two or more"),
        ("masking(1; a, b, c, d)", 1, "1 faulty members need at least 5 members, not 4"),
        ("dual(a, b)", 1, "the dual is of one family"),
        ("witness(a) and majority(witness(a), b, a)", 40, "`a` appears twice"),
        ("witness(", 9, "expected a name, found the end"),
        ("flexible(4; a, b, c)", 1, "a commit set of 3 has 1 to 3, not 4"),
        ("a and flexible(1; a)", 7, "`flexible` is a pair of families and stands alone"),
        ("gifford(1, 5; a:2, b:1)", 12, "the threshold is 1 to 3, the sum of votes"),
        ("two_threshold(1; a, b)", 1, "1 faulty members need at least 6 members, not 2"),
        ("group.1=1:2 group.2=3:1", 23, "server `1` appears twice"),
        ("group.1=1:2 weight.3=1", 13, "`3` is in no group"),
        ("weight.1=0", 1, "no group weighs anything"),
        ("weight.1=1 weight.1=2", 12, "the weight of `1` is given twice"),
        ("server.1=a:1:2 server.1=b:1:2", 16, "server `1` is given twice"),
        ("group.1=1 weight.=2", 11, "a number follows the dot"),
        ("\"a\\\"b\" c", 8, "expected the end, found `c`"),
        ("weighted{a:1} >= 1 x", 20, "expected the end, found `x`"),
        ("weighted{a:1} > 1", 15, "`>` means nothing here (try `and`, `or`, quotes)"),
        ("weighted{a:1} >= 0", 15, "the threshold is 1 to 1, the sum of weights"),
        ("a and \"\"", 7, "an empty name"),
        ("row(a b, )", 10, "expected a name or `(`, found `)`"),
        ("row(a b, / c)", 10, "expected a name or `(`, found `/`"),
        ("flexible(0; a, b)", 1, "a commit set of 2 has 1 to 2, not 0"),
        ("gifford(0, 3; a:2, b:1)", 9, "the threshold is 1 to 3, the sum of votes"),
        ("vote = a", 6, "expected the end, found `=`"),
        ("tree(a b / c)", 6, "row 1 of a tree has 1 items"),
    ] {
        let error = SystemSpec::parse(text).unwrap_err();
        assert_eq!((error.column, error.message.as_str()), (column, message), "{text}");
        let caret = error.caret(text);
        let line = caret.lines().nth(1).unwrap();
        assert_eq!(line.len(), column);
    }
}

#[test]
fn a_form_nobody_knows_is_told_which_there_are() {
    let error = Expr::parse("a or most(b, c)").unwrap_err();
    assert_eq!(error.column, 6);
    assert!(error.message.starts_with("`most` is not a form; known: majority, weighted, "));
    let error = Expr::parse("a or gifford(1, 1; b:1)").unwrap_err();
    assert_eq!(error.message, "`gifford` is a pair of families and stands alone");
}

#[test]
fn an_error_is_shown_below_its_text() {
    let error = SystemSpec::parse("majority(a,\tb,\na)").unwrap_err();
    assert_eq!(error.to_string(), "column 16: `a` appears twice");
    let shown = "majority(a, b, a)\n               ^\ncolumn 16: `a` appears twice";
    assert_eq!(error.caret("majority(a,\tb,\na)"), shown);
}

#[test]
fn a_text_is_printed_in_the_shortest_words_that_fit() {
    for (text, printed) in [
        ("a", "a"),
        ("a and b", "all of (a, b)"),
        ("a or b", "any of (a, b)"),
        ("2 of (a, b, c)", "majority(a, b, c)"),
        ("1 of (a, b, c)", "any of (a, b, c)"),
        ("3 of (a, b, c)", "all of (a, b, c)"),
        ("2 of (a, b, c, d)", "2 of (a, b, c, d)"),
        ("3 of (a, b, c, d)", "majority(a, b, c, d)"),
        ("3 of (a, b, c, d, e)", "majority(a, b, c, d, e)"),
        ("weighted{a:2, b:1} >= 2", "weighted{a:2, b:1} >= 2"),
        ("\"a\" or \"b c\" or \"of\" or \"q\\\"\"", "any of (a, \"b c\", \"of\", \"q\\\"\")"),
        ("witness(a) or b@c-d_e.f", "any of (witness(a), b@c-d_e.f)"),
        ("weight.1=2 weight.2=2 weight.3=2", "majority(1, 2, 3)"),
        ("group.1 or weight.1", "any of (group.1, weight.1)"),
        ("flexible or gifford", "any of (flexible, gifford)"),
        ("elect or commit", "any of (elect, commit)"),
        ("elect = a; commit = a", "a"),
        ("commit = a; elect = b", "elect = b; commit = a"),
    ] {
        assert_eq!(SystemSpec::parse(text).unwrap().to_string(), printed, "{text}");
    }
    let names = ["a", "b", "c", "d", "e", "f"];
    for (count, need) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4)] {
        let expected = Expr::parse(&std::format!("{need} of ({})", names[..count].join(",")));
        assert_eq!(Expr::majority(&names[..count]), expected.unwrap());
    }
    let marked = Expr::majority_marked([("a", false), ("w", true), ("b", false)]);
    assert_eq!(marked.to_string(), "majority(a, witness(w), b)");
}

#[test]
fn an_unknown_name_is_named() {
    let spec = SystemSpec::parse("majority(a, b, zed)").unwrap();
    let error = spec.compile(&letters(3)).unwrap_err();
    assert_eq!(error, SystemError::UnknownName { name: "zed".into(), column: 16 });
    assert_eq!(error.to_string(), "column 16: no member is named `zed`");
}

#[test]
fn an_unsafe_system_does_not_construct_and_says_who() {
    let spec = SystemSpec::parse("elect = 2 of (a,b,c,d); commit = 2 of (a,b,c,d)").unwrap();
    let error = spec.compile(&letters(4)).unwrap_err().to_string();
    assert_eq!(error, "unsafe: elect quorum {a, b} and commit quorum {c, d} share no member");
}

#[test]
fn deep_long_and_wide_texts_are_refused() {
    let deep = "(".repeat(10_000);
    assert!(Expr::parse(&deep).unwrap_err().message.contains("deeper"));
    assert!(Expr::parse(&"a ".repeat(40_000)).is_err());
    let mut nested = String::from("x0 / y0");
    for i in 1..8 {
        nested = std::format!("x{i} / y{i} / z{i} / w{i} / v{i} / wall({nested})");
    }
    assert!(Expr::parse(&std::format!("wall({nested})")).unwrap_err().message.contains("large"));
    let long: Vec<String> = (0..300).map(|i| std::format!("n{i}")).collect();
    let error = Expr::parse(&std::format!("any of ({})", long.join(","))).unwrap_err();
    assert_eq!(error.message, "more than 256 items");
    let wide: Vec<String> = (0..65).map(|i| std::format!("n{i}")).collect();
    let error = SystemSpec::parse(&std::format!("majority({})", wide.join(","))).unwrap_err();
    assert!(error.message.contains("`n64`"));
    assert!(SystemSpec::parse(&std::format!("majority({})", wide[..64].join(","))).is_ok());
}
