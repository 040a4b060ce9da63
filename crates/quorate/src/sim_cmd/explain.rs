//! `quorate sim explain`: why something was committed, or why not, from the trace alone.

use clap::Args;
use quorum::{Names, NodeSet, System, SystemSpec};
use serde_json::Value;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Args, Clone, Debug)]
pub struct ExplainArgs {
    /// A trace written by `quorate sim run --trace`
    trace: PathBuf,
    /// Why this revision was committed
    #[arg(long, conflicts_with = "event")]
    revision: Option<i64>,
    /// What the event of this number rests on
    #[arg(long)]
    event: Option<u64>,
}

struct Trace {
    names: Names,
    spec: SystemSpec,
    system: System,
    events: Vec<Value>,
}

pub fn explain(args: &ExplainArgs) -> Result<ExitCode, String> {
    let text = std::fs::read_to_string(&args.trace)
        .map_err(|error| format!("{}: {error}", args.trace.display()))?;
    let trace = Trace::parse(&text)
        .map_err(|error| format!("{}: no trace: {error}", args.trace.display()))?;
    let lines = match (args.revision, args.event) {
        (Some(revision), _) => trace.revision(revision),
        (None, Some(event)) => trace.event(event)?,
        (None, None) => trace.summary(),
    };
    lines.iter().for_each(|line| println!("{line}"));
    Ok(ExitCode::SUCCESS)
}

/// What a set of members is to do.
#[derive(Clone, Copy)]
enum Role {
    Elect,
    Commit,
}

fn number(event: &Value, field: &str) -> u64 {
    event[field].as_u64().unwrap_or(0)
}

fn text<'a>(event: &'a Value, field: &str) -> &'a str {
    event[field].as_str().unwrap_or("")
}

fn ms(event: &Value) -> String {
    let at = number(event, "at");
    format!("{}.{:03} ms", at / 1_000_000, at / 1000 % 1000)
}

impl Trace {
    fn parse(lines: &str) -> Result<Self, String> {
        let mut values = lines.lines().enumerate().map(|(at, line)| {
            serde_json::from_str::<Value>(line).map_err(|error| format!("line {}: {error}", at + 1))
        });
        let header = values.next().ok_or("an empty trace")??;
        let spec = SystemSpec::parse(text(&header, "quorum")).map_err(|e| e.to_string())?;
        let nodes = number(&header, "nodes");
        let names = Names::in_order((1..=nodes).map(|n| format!("n{n}")));
        let system = spec.compile(&names).map_err(|error| error.to_string())?;
        Ok(Self { names, spec, system, events: values.collect::<Result<_, _>>()? })
    }

    fn set(&self, event: &Value, field: &str) -> NodeSet {
        NodeSet::from_bits(number(event, field))
    }

    /// What a set amounts to: why it is enough or not, the quorum inside it, and whom it hangs on.
    fn weigh(&self, role: Role, set: NodeSet) -> Vec<String> {
        let (family, expr) = match role {
            Role::Elect => (self.system.elect(), &self.spec.elect),
            Role::Commit => (self.system.commit(), &self.spec.commit),
        };
        let why = expr.explain(&self.names, family.minimal_within(set).unwrap_or(set));
        let mut lines = vec![format!("  {why}")];
        let Some(minimal) = family.minimal_within(set) else {
            let missing = family.what_is_missing(set);
            lines.push(format!("  no quorum inside; {} would make one", self.names.show(missing)));
            let (sets, all) = family.minimal_quorums_max(8);
            for quorum in sets {
                let absent = quorum.minus(set);
                let (quorum, absent) = (self.names.show(quorum), self.names.show(absent));
                lines.push(format!("    {quorum} lacks {absent}"));
            }
            if !all {
                lines.push("    ... and more".to_owned());
            }
            return lines;
        };
        lines.push(format!("  a minimal quorum inside: {}", self.names.show(minimal)));
        let needed: NodeSet = set
            .iter()
            .filter(|slot| !family.is_quorum(set.minus(NodeSet::from_iter([*slot]))))
            .collect();
        lines.push(match needed.is_empty() {
            true => "  any one of them could be missing".to_owned(),
            false => format!("  one vote away: without any of {}", self.names.show(needed)),
        });
        lines
    }

    fn revision(&self, revision: i64) -> Vec<String> {
        let applied = self
            .events
            .iter()
            .find(|e| text(e, "ev") == "apply" && e["revision"].as_i64() == Some(revision));
        let Some(applied) = applied else {
            let mut lines = vec![format!("revision {revision} was never applied")];
            lines.extend(self.pending());
            return lines;
        };
        let index = number(applied, "index");
        let quorum =
            self.events.iter().find(|e| text(e, "ev") == "quorum" && number(e, "index") >= index);
        let (node, at) = (text(applied, "node"), ms(applied));
        let mut lines =
            vec![format!("revision {revision} is entry {index}, first applied by {node} at {at}")];
        let Some(quorum) = quorum else {
            lines.push("no quorum for it is in this trace".to_owned());
            return lines;
        };
        let acked = self.set(quorum, "acked");
        lines.push(format!(
            "event {}: {} leads ballot {} and counts {} for entry {}, durably",
            number(quorum, "n"),
            text(quorum, "node"),
            text(quorum, "ballot"),
            self.names.show(acked),
            number(quorum, "index")
        ));
        lines.extend(self.weigh(Role::Commit, acked));
        let silent = self.system.support().minus(acked);
        lines.push(format!("  not counted: {}", self.names.show(silent)));
        lines
    }

    /// Who holds the last entry a leader appended, and who would suffice.
    fn pending(&self) -> Vec<String> {
        let rest =
            |what: &'static str| self.events.iter().rev().find(move |e| text(e, "ev") == what);
        let Some(elected) = rest("elect") else {
            return vec!["no leader was ever elected".to_owned()];
        };
        let leader = text(elected, "node");
        let appended = self
            .events
            .iter()
            .rev()
            .find(|e| text(e, "ev") == "append" && text(e, "node") == leader);
        let Some(appended) = appended else { return vec![format!("{leader} appended nothing")] };
        let index = number(appended, "to");
        let mut acked = NodeSet::new();
        for event in self.events.iter().filter(|e| {
            text(e, "ev") == "ack" && text(e, "node") == leader && number(e, "index") >= index
        }) {
            if let Some(slot) = self.names.slot(text(event, "by")) {
                acked.insert(slot);
            }
        }
        let acked_names = self.names.show(acked);
        let mut lines = vec![format!("{leader} leads; its entry {index} is on {acked_names}")];
        lines.extend(self.weigh(Role::Commit, acked));
        lines
    }

    fn event(&self, n: u64) -> Result<Vec<String>, String> {
        let event = self.events.iter().find(|e| number(e, "n") == n);
        let event = event.ok_or_else(|| format!("there is no event {n}"))?;
        let mut lines = vec![event.to_string()];
        match text(event, "ev") {
            "quorum" => {
                lines.extend(self.weigh(Role::Commit, self.set(event, "acked")));
            }
            "elect" => lines.extend(self.weigh(Role::Elect, self.set(event, "votes"))),
            "read" => lines.extend(self.weigh(Role::Commit, self.set(event, "acked"))),
            "apply" => {
                let revision = event["revision"].as_i64().unwrap_or(0);
                lines.extend(self.revision(revision));
            }
            "commit" => {
                let index = number(event, "index");
                let decided = |e: &&Value| text(e, "ev") == "quorum" && number(e, "index") >= index;
                if let Some(quorum) = self.events.iter().find(decided) {
                    lines.push(format!("decided by event {}:", number(quorum, "n")));
                    lines.extend(self.weigh(Role::Commit, self.set(quorum, "acked")));
                }
            }
            "refuse" | "unknown" | "violation" => lines.extend(self.pending()),
            _ => {}
        }
        Ok(lines)
    }

    fn summary(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for event in &self.events {
            let line = match text(event, "ev") {
                "elect" => {
                    let votes = self.names.show(self.set(event, "votes"));
                    format!(
                        "{} leads ballot {} with {votes}",
                        text(event, "node"),
                        text(event, "ballot")
                    )
                }
                "step-down" => {
                    format!("{} steps down: {}", text(event, "node"), text(event, "why"))
                }
                "fault" => format!("fault: {}", text(event, "fault")),
                "crash" => format!("{} stops: {}", text(event, "node"), text(event, "why")),
                "restart" => format!("{} starts", text(event, "node")),
                "refused" => {
                    format!("{} refuses to start: {}", text(event, "node"), text(event, "why"))
                }
                "violation" => {
                    format!("VIOLATION: {}: {}", text(event, "rule"), text(event, "what"))
                }
                _ => continue,
            };
            lines.push(format!("{:>8} {:>14}  {line}", number(event, "n"), ms(event)));
        }
        lines.extend(self.pending());
        lines
    }
}
