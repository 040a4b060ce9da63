//! A page that draws histories: one lane a process, time to the right, the order as a line.
//! It needs nothing but itself: no script, font or picture from elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::{Report, Shown};
use crate::Verdict;

/// More operations of one history are not drawn, only those around what cannot be placed.
const DRAWN_MAX: usize = 3_000;
const LABEL_CHARS_MAX: usize = 28;
const CHAR_WIDTH: u64 = 7;
const LANE_HEIGHT: u64 = 34;
const BAR_HEIGHT: u64 = 22;
const LEFT: u64 = 70;
const TOP: u64 = 14;
/// Between two moments at least.
const STEP: u64 = 12;

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1c2733; --page: #fff; --line: #d4dae1; --muted: #6b7885;
  --placed: #d7e8fb; --placed-edge: #4a87c9; --open: #eceff2; --open-edge: #9aa5b1;
  --stuck: #f9d2d0; --stuck-edge: #c8322b; --also: #fbe7c8; --also-edge: #c98a1b;
  --path: #24598f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e9ef; --page: #14191f; --line: #2f3944;
  --muted: #93a0ad; --placed: #1d3d5e; --placed-edge: #5f9fe0; --open: #262d35;
  --open-edge: #66717d; --stuck: #5c2220; --stuck-edge: #f0645c; --also: #4d3a17;
  --also-edge: #e0a63d; --path: #8cc0f5; } }
body { margin: 2rem; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin: 2.5rem 0 .3rem; }
.bad { color: var(--stuck-edge); } .muted { color: var(--muted); }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; }
svg text { font: 12px ui-monospace, monospace; fill: var(--ink); }
.lane { stroke: var(--line); } .name { fill: var(--muted) !important; }
.placed { fill: var(--placed); stroke: var(--placed-edge); }
.open { fill: var(--open); stroke: var(--open-edge); }
.stuck { fill: var(--stuck); stroke: var(--stuck-edge); stroke-width: 2; }
.also { fill: var(--also); stroke: var(--also-edge); }
.unknown { stroke-dasharray: 4 3; }
.path { fill: none; stroke: var(--path); stroke-opacity: .55; }
.point { fill: var(--path); }
.key { display: inline-block; margin-right: 1.2rem; }
.key svg { vertical-align: -3px; margin-right: .4rem; }
table { border-collapse: collapse; } td, th { padding: .1rem .8rem .1rem 0; text-align: left; }
td { font-family: ui-monospace, monospace; font-size: 13px; }
pre { white-space: pre-wrap; }
";

/// A page with one section for each named report.
pub fn page(title: &str, reports: &[(String, Report)]) -> String {
    let mut out = String::new();
    out.push_str("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    let title = escape(title);
    let _ = write!(out, "<title>{title}</title><style>{STYLE}</style></head><body>");
    let _ = write!(out, "<h1>{title}</h1>");
    legend(&mut out);
    for (number, (name, report)) in reports.iter().enumerate() {
        section(&mut out, number, name, report);
    }
    out.push_str("</body></html>\n");
    out
}

fn legend(out: &mut String) {
    out.push_str("<p>");
    let kinds = [
        ("placed", "in the order"),
        ("stuck", "cannot be placed"),
        ("also", "open then, and fits neither"),
        ("open", "not in the order"),
        ("open unknown", "outcome unknown: may take effect at any later time, or never"),
    ];
    for (class, text) in kinds {
        let _ = write!(
            out,
            "<span class=\"key\"><svg width=\"26\" height=\"15\"><rect class=\"{class}\" x=\"1\" \
             y=\"1\" width=\"24\" height=\"13\" rx=\"3\"/></svg>{text}</span>"
        );
    }
    out.push_str(
        "</p><p class=\"muted\">Time goes to the right, not to scale. Dots and the line \
                  are the order: each operation takes effect at its dot. Point at an operation \
                  for all of it.</p>",
    );
}

fn section(out: &mut String, number: usize, name: &str, report: &Report) {
    let bad = matches!(report.outcome.verdict, Verdict::NotLinearizable { .. });
    let class = if bad { " class=\"bad\"" } else { "" };
    let _ = write!(out, "<h2>{}: <span{class}>{}</span></h2>", escape(name), report.word());
    let stats = &report.outcome.stats;
    let _ = write!(
        out,
        "<p class=\"muted\">{} operations, {} parts, {} states visited</p>",
        report.ops.len(),
        stats.parts,
        stats.states
    );
    let lines = report.explain();
    if !lines.is_empty() {
        let _ = write!(out, "<pre>{}</pre>", escape(&lines.join("\n")));
    }
    if bad {
        let _ = write!(out, "<p><a href=\"#stuck-{number}\">Show where it breaks</a></p>");
    }
    let drawn = choose(report);
    if drawn.len() < report.ops.len() {
        let _ = write!(
            out,
            "<p class=\"muted\">Drawn: {} operations{}.</p>",
            drawn.len(),
            if bad { " of the part that fails, around what cannot be placed" } else { "" }
        );
    }
    Drawing::new(report, &drawn, number).draw(out);
    last_steps(out, report);
}

/// The operations to draw: the part that fails or all, and of many those around the end of the
/// order.
fn choose(report: &Report) -> Vec<usize> {
    let (mut drawn, focus) = match &report.outcome.verdict {
        Verdict::NotLinearizable { part, stuck, .. } => {
            (part.clone(), report.ops[stuck[0]].invoked)
        }
        Verdict::Linearizable { .. } | Verdict::Unknown { .. } => {
            ((0..report.ops.len()).collect::<Vec<_>>(), 0)
        }
    };
    drawn.sort_by_key(|&index| (report.ops[index].invoked.abs_diff(focus), index));
    drawn.truncate(DRAWN_MAX);
    drawn.sort_by_key(|&index| (report.ops[index].invoked, index));
    drawn
}

/// Where everything stands.
struct Drawing<'a> {
    report: &'a Report,
    drawn: &'a [usize],
    number: usize,
    /// Horizontal place of each moment.
    at: BTreeMap<u64, u64>,
    lanes: BTreeMap<u32, u64>,
    width: u64,
}

fn label(op: &Shown) -> String {
    if op.text.chars().count() <= LABEL_CHARS_MAX {
        return op.text.clone();
    }
    let head: String = op.text.chars().take(LABEL_CHARS_MAX - 2).collect();
    format!("{head}..")
}

fn label_width(op: &Shown) -> u64 {
    label(op).chars().count() as u64 * CHAR_WIDTH + 14
}

impl<'a> Drawing<'a> {
    fn new(report: &'a Report, drawn: &'a [usize], number: usize) -> Self {
        let mut ends: BTreeMap<u64, Vec<&Shown>> = BTreeMap::new();
        let mut lanes = BTreeMap::new();
        for &index in drawn {
            let op = &report.ops[index];
            ends.entry(op.invoked).or_default();
            if let Some(returned) = op.returned {
                ends.entry(returned).or_default().push(op);
            }
            let lane = lanes.len() as u64;
            lanes.entry(op.process).or_insert(lane);
        }
        // Moments are as far apart as the labels of the operations between them need.
        let mut at: BTreeMap<u64, u64> = BTreeMap::new();
        let mut next = LEFT;
        for (&moment, ops) in &ends {
            for op in ops {
                let begin = at.get(&op.invoked).copied().unwrap_or(next);
                next = next.max(begin + label_width(op));
            }
            at.insert(moment, next);
            next += STEP;
        }
        Self { report, drawn, number, at, lanes, width: next + 260 }
    }

    fn x(&self, moment: u64) -> u64 {
        self.at.get(&moment).copied().unwrap_or(LEFT)
    }

    fn y(&self, op: &Shown) -> u64 {
        TOP + self.lanes[&op.process] * LANE_HEIGHT
    }

    fn end(&self, op: &Shown) -> u64 {
        let least = self.x(op.invoked) + label_width(op);
        op.returned.map_or(least, |moment| self.x(moment).max(least))
    }

    fn draw(&self, out: &mut String) {
        let height = TOP + self.lanes.len() as u64 * LANE_HEIGHT + 10;
        let width = self.width;
        let _ = write!(
            out,
            "<div class=\"scroll\"><svg width=\"{width}\" height=\"{height}\" role=\"img\">"
        );
        for (process, lane) in &self.lanes {
            let y = TOP + lane * LANE_HEIGHT + BAR_HEIGHT / 2;
            let _ = write!(
                out,
                "<line class=\"lane\" x1=\"{LEFT}\" y1=\"{y}\" x2=\"{width}\" y2=\"{y}\"/>\
                 <text class=\"name\" x=\"8\" y=\"{}\">p {process}</text>",
                y + 4
            );
        }
        let placed: BTreeMap<usize, usize> =
            self.report.placed.iter().enumerate().map(|(at, one)| (one.index, at)).collect();
        let stuck: &[usize] = match &self.report.outcome.verdict {
            Verdict::NotLinearizable { stuck, .. } => stuck,
            Verdict::Linearizable { .. } | Verdict::Unknown { .. } => &[],
        };
        for &index in self.drawn {
            let class = match stuck.iter().position(|&one| one == index) {
                Some(0) => "stuck",
                Some(_) => "also",
                None if placed.contains_key(&index) => "placed",
                None => "open",
            };
            self.bar(out, index, class, placed.get(&index).copied());
        }
        self.path(out);
        out.push_str("</svg></div>");
    }

    fn bar(&self, out: &mut String, index: usize, class: &str, place: Option<usize>) {
        let op = &self.report.ops[index];
        let (x, y, end) = (self.x(op.invoked), self.y(op), self.end(op));
        let dashes = if op.unknown { " unknown" } else { "" };
        let id = match class {
            "stuck" => format!(" id=\"stuck-{}\"", self.number),
            _ => String::new(),
        };
        let mut title = format!("process {}: {}\ninvoked {}", op.process, op.text, op.invoked);
        match op.returned {
            Some(at) => title.push_str(&format!(", answered {at}")),
            None => title.push_str(", not answered"),
        }
        if let Some(place) = place {
            let state = &self.report.placed[place].state;
            title.push_str(&format!("\nnumber {} in the order; then {state}", place + 1));
        }
        let _ = write!(
            out,
            "<g{id}><title>{}</title><rect class=\"{class}{dashes}\" x=\"{x}\" y=\"{y}\" \
             width=\"{}\" height=\"{BAR_HEIGHT}\" rx=\"4\"/><text x=\"{}\" y=\"{}\">{}</text></g>",
            escape(&title),
            end - x,
            x + 7,
            y + 15,
            escape(&label(op))
        );
    }

    /// Each operation takes effect at its invocation, or right after the one before it.
    fn path(&self, out: &mut String) {
        let drawn: BTreeSet<usize> = self.drawn.iter().copied().collect();
        let mut points = Vec::new();
        let mut x = 0;
        for placed in &self.report.placed {
            if !drawn.contains(&placed.index) {
                continue;
            }
            let op = &self.report.ops[placed.index];
            x = (x + 2).max(self.x(op.invoked) + 3).min(self.end(op));
            points.push((x, self.y(op) + BAR_HEIGHT));
        }
        out.push_str("<polyline class=\"path\" points=\"");
        for (x, y) in &points {
            let _ = write!(out, "{x},{y} ");
        }
        out.push_str("\"/>");
        for (x, y) in &points {
            let _ = write!(out, "<circle class=\"point\" cx=\"{x}\" cy=\"{y}\" r=\"3\"/>");
        }
    }
}

/// The end of the order with its states.
fn last_steps(out: &mut String, report: &Report) {
    const STEPS: usize = 12;
    let first = report.placed.len().saturating_sub(STEPS);
    if report.placed.is_empty() {
        return;
    }
    out.push_str("<h3>The end of the order</h3><table><tr><th>#</th><th>process</th>");
    out.push_str("<th>operation</th><th>state after it</th></tr>");
    for (at, placed) in report.placed.iter().enumerate().skip(first) {
        let op = &report.ops[placed.index];
        let _ = write!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            at + 1,
            op.process,
            escape(&op.text),
            escape(&placed.state)
        );
    }
    if let Verdict::NotLinearizable { stuck, .. } = &report.outcome.verdict {
        let op = &report.ops[stuck[0]];
        let _ = write!(
            out,
            "<tr class=\"bad\"><td></td><td>{}</td><td>{}</td><td>does not fit</td></tr>",
            op.process,
            escape(&op.text)
        );
    }
    out.push_str("</table>");
}

/// Safe as text and within quotes; control characters are made visible.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' => out.push('\n'),
            control if control.is_control() => out.push('\u{fffd}'),
            plain => out.push(plain),
        }
    }
    out
}
