//! The pictures of docs/quorums.md are what `quorate quorum analyze EXPR --svg FILE` draws.
//!
//! `UPDATE_PICTURES=1 cargo test -p analysis --test pictures` draws them again.

use std::path::PathBuf;

use analysis::report::Report;
use analysis::{Goal, Model, Objective, Workload, svg};

/// File name and text; both stand in the page.
const PICTURES: [(&str, &str); 23] = [
    ("majority", "majority(n1, n2, n3, n4, n5)"),
    ("folk", "4 of (n1, n2, n3, n4, n5)"),
    ("k-of-n", "3 of (a, b, c, d)"),
    ("flexible", "flexible(2; n1, n2, n3, n4, n5)"),
    ("rowa", "elect = any of (a, b, c); commit = all of (a, b, c)"),
    ("weighted", "weighted{a:2, b:1, c:1, d:1}"),
    ("gifford", "gifford(2, 3; a:2, b:1, c:1)"),
    ("rows", "elect = row(a b c / d e f); commit = cover(a b c / d e f)"),
    ("grid", "grid(a b c / d e f / g h i)"),
    ("cross", "cross(a b c / d e f / g h i)"),
    ("tree", "tree(a / b c / d e f g)"),
    ("hqs", "hqs(a b c / d e f / g h i)"),
    ("zones", "zones(eu{a, b, c}, us{d, e, f}, ap{g, h, i})"),
    (
        "local",
        "elect = zones 1 of (eu{a, b, c}, us{d, e, f}); \
         commit = zones 2 of (eu{a, b, c}, us{d, e, f})",
    ),
    ("wall", "wall(a / b c / d e f / g h i)"),
    ("wheel", "wheel(hub, a, b, c, d)"),
    ("triangle", "triangle(a / b c / d e f)"),
    ("plane", "plane(a b c d e f g)"),
    ("joint", "joint(majority(a, b, c), majority(c, d, e))"),
    ("witness", "majority(a, b, witness(w))"),
    ("masking", "masking(1; a, b, c, d, e)"),
    ("byzantine", "byzantine(1; a, b, c, d, e)"),
    ("two-threshold", "two_threshold(1; a, b, c, d, e, f)"),
];

fn docs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

#[test]
fn every_family_of_the_page_has_its_picture_and_every_picture_is_current() {
    let page = std::fs::read_to_string(docs().join("quorums.md")).unwrap();
    let update = std::env::var_os("UPDATE_PICTURES").is_some();
    for (name, text) in PICTURES {
        assert!(page.contains(&format!("(quorums/{name}.svg)")), "{name} is not in the page");
        assert!(page.contains(text), "the page does not say `{text}`");
        let model = Model::parse(text, &[]).unwrap();
        let work = Workload::parse("0.5").unwrap();
        let report = Report::new(text, model, work, Goal::least(Objective::Load));
        let (file, drawn) = (docs().join(format!("quorums/{name}.svg")), svg::picture(&report));
        if update {
            std::fs::write(&file, &drawn).unwrap();
        }
        let kept = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(kept == drawn, "{name}.svg is old: UPDATE_PICTURES=1");
    }
}
