//! `quorate sim explain`: why something was committed, or why not, from the trace alone.

use crate::out::say;
use clap::Args;
use quorum::{Expr, Family, NODES_MAX, Names, NodeSet, System, SystemSpec};
use serde_json::Value;
use std::path::PathBuf;
use std::process::ExitCode;

/// Quorums listed when none is whole.
const LISTED_MAX: usize = 8;

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

/// What a member goes by: one system, or two while one takes over from the other.
#[derive(Clone)]
struct Rule {
    names: Names,
    system: System,
    specs: Vec<SystemSpec>,
}

impl Rule {
    fn new(names: Names, texts: &[&str]) -> Result<Self, String> {
        let specs: Result<Vec<_>, _> = texts.iter().map(|text| SystemSpec::parse(text)).collect();
        let specs = specs.map_err(|error| error.to_string())?;
        let compiled: Result<Vec<System>, _> =
            specs.iter().map(|spec| spec.compile(&names)).collect();
        let all = compiled.map_err(|error| error.to_string())?;
        let joint = all.into_iter().reduce(|old, new| System::joint(&old, &new));
        Ok(Self { names, system: joint.ok_or("a system without a text")?, specs })
    }

    /// From a `config` line of the trace.
    fn read(event: &Value) -> Result<Self, String> {
        let mut names = Names::new();
        let none = Vec::new();
        let learners = event["learners"].as_array().unwrap_or(&none);
        for (name, slot) in event["slots"].as_object().into_iter().flatten() {
            let slot = slot.as_u64().and_then(|slot| u8::try_from(slot).ok());
            if let Some(slot) = slot
                && !learners.contains(&Value::from(name.as_str()))
            {
                names.insert(slot, name);
            }
        }
        let texts = [Some(text(event, "quorum")), event["joint"].as_str()];
        Self::new(names, &texts.into_iter().flatten().collect::<Vec<_>>())
    }

    /// In the words of the family; of both while two decide.
    fn words(&self, role: Role, set: NodeSet) -> String {
        let expr = |spec: &SystemSpec| -> Expr {
            match role {
                Role::Elect => spec.elect.clone(),
                Role::Commit => spec.commit.clone(),
            }
        };
        let told: Vec<String> =
            self.specs.iter().map(|spec| expr(spec).explain(&self.names, set)).collect();
        told.join("; and in the quorum to come: ")
    }

    const fn family(&self, role: Role) -> &Family {
        match role {
            Role::Elect => self.system.elect(),
            Role::Commit => self.system.commit(),
        }
    }
}

#[derive(Clone, Copy)]
enum Role {
    Elect,
    Commit,
}

struct Trace {
    /// What the first members were born with.
    first: Rule,
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
    lines.iter().for_each(|line| say!("{line}"));
    Ok(ExitCode::SUCCESS)
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
        let nodes = number(&header, "nodes");
        let members = (1..=nodes).take(NODES_MAX); // it may say anything
        let names = Names::in_order(members.map(|n| format!("n{n}")));
        let first = Rule::new(names, &[text(&header, "quorum")])?;
        Ok(Self { first, events: values.collect::<Result<_, _>>()? })
    }

    /// What decided at an event: what its member went by, or the one before when that changed in
    /// the same step.
    fn rule(&self, event: &Value, role: Role, set: NodeSet) -> Result<Rule, String> {
        let before = self.events.iter().rev().skip_while(|e| number(e, "n") > number(event, "n"));
        let node = text(event, "node");
        let configs = before.filter(|e| text(e, "ev") == "config" && text(e, "node") == node);
        let read: Result<Vec<Rule>, String> = configs.take(2).map(Rule::read).collect();
        let mut read = read?;
        read.push(self.first.clone());
        let decides = read.iter().position(|rule| rule.family(role).is_quorum(set));
        Ok(read.swap_remove(decides.unwrap_or(0)))
    }

    fn set(&self, event: &Value, field: &str) -> NodeSet {
        NodeSet::from_bits(number(event, field))
    }

    /// What a set amounts to: the words, the quorum inside it, and who it hangs on.
    fn weigh(rule: &Rule, role: Role, set: NodeSet) -> Vec<String> {
        let (family, names) = (rule.family(role), &rule.names);
        let mut lines =
            vec![format!("  {}", rule.words(role, family.minimal_within(set).unwrap_or(set)))];
        let Some(minimal) = family.minimal_within(set) else {
            let missing = family.what_is_missing(set);
            lines.push(format!("  no quorum inside; {} would make one", names.show(missing)));
            let (mut sets, all) = family.minimal_quorums_max(LISTED_MAX);
            sets.sort_by_key(|quorum| quorum.minus(set).len());
            for quorum in sets {
                let absent = quorum.minus(set);
                let near = if absent.len() == 1 { ": one vote away" } else { "" };
                let (quorum, absent) = (names.show(quorum), names.show(absent));
                lines.push(format!("    {quorum} lacks {absent}{near}"));
            }
            if !all {
                lines.push("    ... and more".to_owned());
            }
            return lines;
        };
        lines.push(format!("  a minimal quorum inside: {}", names.show(minimal)));
        let needed: NodeSet = set
            .iter()
            .filter(|slot| !family.is_quorum(set.minus(NodeSet::from_iter([*slot]))))
            .collect();
        lines.push(if needed.is_empty() {
            "  any one of them could be missing".to_owned()
        } else {
            format!("  one vote away: without any of {}", names.show(needed))
        });
        lines
    }

    fn revision(&self, revision: i64) -> Vec<String> {
        let applied = self
            .events
            .iter()
            .find(|e| text(e, "ev") == "apply" && e["revision"].as_i64() == Some(revision));
        let Some(applied) = applied else {
            let reached = self.events.iter().filter(|e| text(e, "ev") == "apply");
            let reached = reached.filter_map(|e| e["revision"].as_i64()).max().unwrap_or(0);
            let end = format!("the trace ends at revision {reached}");
            let mut lines = vec![format!("revision {revision} was never applied: {end}")];
            lines.extend(self.pending(u64::MAX));
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
        let rule = match self.rule(quorum, Role::Commit, acked) {
            Ok(rule) => rule,
            Err(why) => return vec![why],
        };
        lines.push(format!(
            "event {}: {} leads ballot {} and counts {} for entry {}, durably",
            number(quorum, "n"),
            text(quorum, "node"),
            text(quorum, "ballot"),
            rule.names.show(acked),
            number(quorum, "index")
        ));
        lines.extend(Self::weigh(&rule, Role::Commit, acked));
        let silent = rule.system.support().minus(acked);
        lines.push(format!("  not counted: {}", rule.names.show(silent)));
        lines
    }

    /// Who held the last entry that the last leader up to event `until` had appended, and who
    /// would have sufficed.
    fn pending(&self, until: u64) -> Vec<String> {
        let before = || self.events.iter().rev().skip_while(move |e| number(e, "n") > until);
        let Some(elected) = before().find(|e| text(e, "ev") == "elect") else {
            return vec!["no leader had been elected".to_owned()];
        };
        let (leader, since) = (text(elected, "node"), number(elected, "n"));
        let reign = || before().take_while(move |e| number(e, "n") > since);
        let ended = |e: &&Value| {
            text(e, "node") == leader && matches!(text(e, "ev"), "step-down" | "crash")
        };
        let state = match reign().find(ended) {
            Some(end) => format!("led last, until {}", ms(end)),
            None => "leads".to_owned(),
        };
        let mut own = reign().filter(|e| text(e, "node") == leader);
        let Some(appended) = own.find(|e| text(e, "ev") == "append") else {
            return vec![format!("{leader} {state}; it has appended nothing")];
        };
        let index = number(appended, "to");
        let mut acked = NodeSet::new();
        let rule = match self.rule(appended, Role::Commit, NodeSet::EMPTY) {
            Ok(rule) => rule,
            Err(why) => return vec![why],
        };
        for event in reign().filter(|e| {
            text(e, "ev") == "ack" && text(e, "node") == leader && number(e, "index") >= index
        }) {
            if let Some(slot) = rule.names.slot(text(event, "by")) {
                acked.insert(slot);
            }
        }
        let acked_names = rule.names.show(acked);
        let mut lines = vec![format!("{leader} {state}; its entry {index} is on {acked_names}")];
        lines.extend(Self::weigh(&rule, Role::Commit, acked));
        lines
    }

    fn because(&self, event: &Value, role: Role, field: &str) -> Result<Vec<String>, String> {
        let set = self.set(event, field);
        Ok(Self::weigh(&self.rule(event, role, set)?, role, set))
    }

    fn event(&self, n: u64) -> Result<Vec<String>, String> {
        let event = self.events.iter().find(|e| number(e, "n") == n);
        let event = event.ok_or_else(|| format!("there is no event {n}"))?;
        let mut lines = vec![event.to_string()];
        match text(event, "ev") {
            "quorum" | "read" => lines.extend(self.because(event, Role::Commit, "acked")?),
            "elect" => lines.extend(self.because(event, Role::Elect, "votes")?),
            "commit" => {
                let index = number(event, "index");
                let decided = |e: &&Value| text(e, "ev") == "quorum" && number(e, "index") >= index;
                if let Some(quorum) = self.events.iter().find(decided) {
                    lines.push(format!("decided by event {}:", number(quorum, "n")));
                    lines.extend(self.because(quorum, Role::Commit, "acked")?);
                }
            }
            "apply" => {
                let revision = event["revision"].as_i64().unwrap_or(0);
                lines.extend(self.revision(revision));
            }
            "return" if text(event, "outcome") == "Done" => {}
            "refuse" | "return" | "violation" => lines.extend(self.pending(n)),
            _ => {}
        }
        Ok(lines)
    }

    fn summary(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for event in &self.events {
            let line = match text(event, "ev") {
                "elect" => {
                    let votes = self.set(event, "votes");
                    let told = self.rule(event, Role::Elect, votes);
                    let told = told.map(|rule| rule.words(Role::Elect, votes));
                    format!(
                        "{} leads ballot {}: {}",
                        text(event, "node"),
                        text(event, "ballot"),
                        told.unwrap_or_else(|why| why)
                    )
                }
                "change" => {
                    let to =
                        event["joint"].as_str().map_or(String::new(), |to| format!(" to {to}"));
                    format!("{} appends {}{to}", text(event, "node"), text(event, "quorum"))
                }
                "operator" => format!("the operator is told: {}", text(event, "told")),
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
        lines.extend(self.pending(u64::MAX));
        lines
    }
}
