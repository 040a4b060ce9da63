//! One picture of a system: its minimal quorums, how busy its members are, how often it fails.

use std::fmt::Write as _;

use quorum::NodeSet;

use crate::availability::Live;
use crate::ratio::{ratio, short, to_f64};
use crate::report::{Report, Side};

/// Quorums drawn for each role.
const ROWS_MAX: usize = 16;
const CELL: usize = 22;
const LEFT: usize = 90;
const ELECT: &str = "#2f6db3";
const COMMIT: &str = "#c05a1c";
const GREY: &str = "#d5d9de";
const CURVE_WIDTH: usize = 220;
const CURVE_HEIGHT: usize = 150;

/// A stand-alone SVG document.
pub fn picture(report: &Report) -> String {
    let members: Vec<u8> = report.model.members().iter().collect();
    let same = report.model.elect() == report.model.commit();
    let mut body = String::new();
    let mut y = 64;
    let sides: Vec<(&str, &Side, &str)> = if same {
        vec![("both roles", &report.elect, COMMIT)]
    } else {
        vec![("elect", &report.elect, ELECT), ("commit", &report.commit, COMMIT)]
    };
    for (at, slot) in members.iter().enumerate() {
        let name = report.model.names().name(*slot).unwrap_or_default();
        label(&mut body, LEFT + at * CELL + CELL / 2, y - 12, "middle", 12, name);
    }
    for (title, side, colour) in sides {
        label(&mut body, LEFT - 10, y + 15, "end", 12, title);
        y = quorums(&mut body, report, &members, side, colour, y) + 12;
    }
    y = loads(&mut body, report, &members, y + 10);
    let curve_x = LEFT + members.len() * CELL + 70;
    curves(&mut body, report, same, curve_x, 60);
    let width = (curve_x + CURVE_WIDTH + 60).max(8 * report.text.chars().count() + 40);
    let height = y.max(60 + CURVE_HEIGHT + 80) + 20;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    label(&mut out, 20, 26, "start", 14, &report.text);
    out.push_str(&body);
    out.push_str("</svg>\n");
    out
}

fn label(out: &mut String, x: usize, y: usize, anchor: &str, size: usize, text: &str) {
    let safe = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(
        out,
        "<text x=\"{x}\" y=\"{y}\" font-size=\"{size}\" text-anchor=\"{anchor}\" \
         fill=\"#222\">{safe}</text>"
    );
}

/// One row a quorum, a filled dot for each of its members, a ring for a witness. Returns the
/// next free line.
fn quorums(
    out: &mut String,
    report: &Report,
    members: &[u8],
    side: &Side,
    colour: &str,
    top: usize,
) -> usize {
    let mut y = top;
    let shown = side.quorums.len().min(ROWS_MAX);
    let row = |out: &mut String, quorum: &NodeSet, y: usize| {
        for (at, slot) in members.iter().enumerate() {
            let x = LEFT + at * CELL + CELL / 2;
            let (fill, stroke, radius) = if !quorum.contains(*slot) {
                (GREY, GREY, 2)
            } else if report.model.witnesses().contains(*slot) {
                ("white", colour, 6)
            } else {
                (colour, colour, 6)
            };
            let _ = writeln!(
                out,
                "<circle cx=\"{x}\" cy=\"{y}\" r=\"{radius}\" fill=\"{fill}\" \
                 stroke=\"{stroke}\" stroke-width=\"2\"/>"
            );
        }
    };
    for quorum in &side.quorums[..shown] {
        row(out, quorum, y + 10);
        y += CELL - 3;
    }
    let more = match side.count {
        Some(count) if count > shown => format!("and {} more", count - shown),
        Some(_) => return y,
        None => "and many more".to_owned(),
    };
    label(out, LEFT + 4, y + 12, "start", 11, &more);
    y + 18
}

/// A bar for each member: the share of its capacity an operation takes, at the best strategy.
fn loads(out: &mut String, report: &Report, members: &[u8], top: usize) -> usize {
    let Ok(strategy) = &report.strategy else { return top };
    let load = |slot: &u8| strategy.node_load_mean(&report.model, *slot, &report.work);
    let loads: Vec<f64> = members.iter().map(|slot| to_f64(&load(slot))).collect();
    let most = loads.iter().copied().fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let height = 60.0;
    label(out, LEFT - 10, top + 34, "end", 12, "load");
    for (at, load) in loads.iter().enumerate() {
        let bar = load / most * height;
        let _ = writeln!(
            out,
            "<rect x=\"{}\" y=\"{:.1}\" width=\"{}\" height=\"{bar:.1}\" fill=\"#5b8c5a\"/>",
            LEFT + at * CELL + 4,
            top as f64 + height - bar,
            CELL - 8,
        );
    }
    top + 70
}

/// The probability that no quorum is alive against the probability that a member is down.
fn curves(out: &mut String, report: &Report, same: bool, left: usize, top: usize) {
    label(out, left, top - 10, "start", 12, "no quorum alive");
    let _ = writeln!(
        out,
        "<rect x=\"{left}\" y=\"{top}\" width=\"{CURVE_WIDTH}\" height=\"{CURVE_HEIGHT}\" \
         fill=\"none\" stroke=\"{GREY}\"/>"
    );
    for (text, down) in [("1", 0), ("0.5", CURVE_HEIGHT / 2), ("0", CURVE_HEIGHT)] {
        label(out, left - 6, top + down + 4, "end", 10, text);
    }
    for (text, along) in [("0", 0), ("0.25", CURVE_WIDTH / 2), ("0.5", CURVE_WIDTH)] {
        label(out, left + along, top + CURVE_HEIGHT + 14, "middle", 10, text);
    }
    label(out, left, top + CURVE_HEIGHT + 30, "start", 11, "p that a member is down");
    if let Ok(strategy) = &report.strategy {
        let load = short(&strategy.load(&report.model, &report.work));
        let capacity = short(&strategy.capacity(&report.model, &report.work));
        let reads = short(&report.work.mean());
        let lines = [format!("with {reads} reads:"), format!("load {load}, capacity {capacity}")];
        for (at, line) in lines.iter().enumerate() {
            label(out, left, top + CURVE_HEIGHT + 54 + 16 * at, "start", 11, line);
        }
    }
    let lines: Vec<(&Option<Live>, &str, &str)> = if same {
        vec![(&report.commit.live, COMMIT, "elect and commit")]
    } else {
        vec![(&report.elect.live, ELECT, "elect"), (&report.commit.live, COMMIT, "commit")]
    };
    for (at, (live, colour, title)) in lines.into_iter().enumerate() {
        let Some(live) = live else { continue };
        let mut points = String::new();
        for step in 0..=50i64 {
            let failure = to_f64(&live.failure(&ratio(step, 100)));
            let x = left as f64 + step as f64 / 50.0 * CURVE_WIDTH as f64;
            let y = top as f64 + (1.0 - failure) * CURVE_HEIGHT as f64;
            let _ = write!(points, "{x:.1},{y:.1} ");
        }
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            points.trim_end()
        );
        let y = top + 18 + 16 * at;
        let _ = writeln!(
            out,
            "<rect x=\"{}\" y=\"{}\" width=\"10\" height=\"10\" fill=\"{colour}\"/>",
            left + 10,
            y - 9
        );
        label(out, left + 26, y, "start", 11, title);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Goal, Model, Objective, Workload};

    #[test]
    fn a_picture_has_a_dot_for_each_member_of_each_quorum_and_no_loose_tag() {
        let text = "elect = 2 of (a, \"<b>\", c); commit = 2 of (a, \"<b>\", c)";
        let model = Model::parse(text, &[]).unwrap();
        let work = Workload::parse("0.5").unwrap();
        let report = Report::new(text, model, work, Goal::least(Objective::Load));
        let svg = picture(&report);
        assert_eq!(svg.matches("r=\"6\"").count(), 6);
        assert_eq!(svg.matches("<polyline").count(), 1);
        assert!(svg.contains("&lt;b&gt;") && !svg.contains("<b>"));
        assert_eq!(svg.matches("<svg").count(), svg.matches("</svg>").count());
    }
}
