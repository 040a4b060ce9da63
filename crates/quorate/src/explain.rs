//! Why something was committed, or why not, from a trace alone: of a life or of live members.

mod rule;

use clap::Args;
use quorum::NodeSet;
use rule::{Role, Rule};
use trace::{Event, Head, What};

/// What is asked about a trace; a summary of it unless something is.
#[derive(Args, Clone, Debug, Default)]
pub struct Ask {
    /// Why this revision was committed
    #[arg(long, conflicts_with = "event")]
    revision: Option<i64>,
    /// What the event of this number rests on
    #[arg(long)]
    event: Option<u64>,
}

/// A trace that can be asked.
pub struct Trace {
    /// What the first members were born with.
    first: Rule,
    events: Vec<Event>,
}

fn ms(event: &Event) -> String {
    format!("{}.{:03} ms", event.at / 1_000_000, event.at / 1000 % 1000)
}

/// The member it happened at; "-" for the world.
fn node(event: &Event) -> &str {
    event.node.as_deref().unwrap_or("-")
}

impl Trace {
    /// # Errors
    /// No trace.
    pub fn parse(lines: &str) -> Result<Self, String> {
        let (head, events) = trace::read(lines).map_err(|error| error.to_string())?;
        Self::new(&head, events)
    }

    /// # Errors
    /// A quorum text that cannot be read.
    pub fn new(head: &Head, events: Vec<Event>) -> Result<Self, String> {
        Ok(Self { first: Rule::first(head)?, events })
    }

    /// # Errors
    /// No such event, or a quorum text that cannot be read.
    pub fn answer(&self, ask: &Ask) -> Result<Vec<String>, String> {
        match (ask.revision, ask.event) {
            (Some(revision), _) => Ok(self.revision(revision)),
            (None, Some(event)) => self.event(event),
            (None, None) => Ok(self.summary()),
        }
    }

    /// The lines of a summary that these events add. Of them is kept what later lines rest on.
    pub fn go_on(&mut self, events: Vec<Event>) -> Vec<String> {
        let known = self.events.len();
        self.events.extend(events);
        let lines = self.events[known..].iter().filter_map(|event| self.line(event)).collect();
        self.events.retain(|event| matches!(event.what, What::Config { .. }));
        lines
    }

    /// What decided at an event: what its member went by, or the one before when that changed in
    /// the same step.
    fn rule(&self, event: &Event, role: Role, set: NodeSet) -> Result<Rule, String> {
        let before = self.events.iter().rev().skip_while(|e| e.n > event.n);
        let own = before.filter(|e| e.node == event.node);
        let read: Result<Vec<Rule>, String> =
            own.filter_map(|e| Rule::read(&e.what)).take(2).collect();
        let mut read = read?;
        read.push(self.first.clone());
        let decides = read.iter().position(|rule| rule.family(role).is_quorum(set));
        Ok(read.swap_remove(decides.unwrap_or(0)))
    }

    /// The first count of a quorum that covers `index`, and who was counted.
    fn decided(&self, index: u64) -> Option<(&Event, NodeSet)> {
        self.events.iter().find_map(|event| match event.what {
            What::Quorum { index: upto, acked, .. } if upto >= index => Some((event, acked)),
            _ => None,
        })
    }

    fn revision(&self, revision: i64) -> Vec<String> {
        let applied = |event: &Event| match event.what {
            What::Apply { index, revision, .. } => Some((index, revision)),
            _ => None,
        };
        let made = |event: &&Event| applied(event).is_some_and(|(_, made)| made == revision);
        let Some(event) = self.events.iter().find(made) else {
            let all = || self.events.iter().filter_map(applied).map(|(_, revision)| revision);
            // A live member keeps its last events only; the first revision is nobody's write.
            if let Some(first) = all().min().filter(|first| *first > revision.max(1)) {
                let begin = format!("the trace begins at revision {first}");
                return vec![format!("revision {revision} is not recorded any more: {begin}")];
            }
            let reached = all().max().unwrap_or(0);
            let end = format!("the trace ends at revision {reached}");
            let mut lines = vec![format!("revision {revision} was never applied: {end}")];
            lines.extend(self.pending(u64::MAX));
            return lines;
        };
        let index = applied(event).map_or(0, |(index, _)| index);
        let (by, at) = (node(event), ms(event));
        let mut lines =
            vec![format!("revision {revision} is entry {index}, first applied by {by} at {at}")];
        lines.extend(self.counted(index));
        lines
    }

    /// Who was counted for an entry, and what that amounts to.
    fn counted(&self, index: u64) -> Vec<String> {
        let Some((event, acked)) = self.decided(index) else {
            return vec!["no quorum for it is in this trace".to_owned()];
        };
        let What::Quorum { index, ballot, .. } = event.what else { return Vec::new() };
        let rule = match self.rule(event, Role::Commit, acked) {
            Ok(rule) => rule,
            Err(why) => return vec![why],
        };
        let (n, leader, names) = (event.n, node(event), rule.names.show(acked));
        let mut lines = vec![format!(
            "event {n}: {leader} leads ballot {ballot} and counts {names} for entry {index}, \
             durably"
        )];
        lines.extend(rule.weigh(Role::Commit, acked));
        let silent = rule.system.support().minus(acked);
        lines.push(format!("  not counted: {}", rule.names.show(silent)));
        lines
    }

    /// Who held the last entry that the last leader up to event `until` had appended, and who
    /// would have sufficed.
    fn pending(&self, until: u64) -> Vec<String> {
        let before = || self.events.iter().rev().skip_while(move |event| event.n > until);
        let elected = before().find(|e| matches!(e.what, What::Elect { .. }));
        // A recording may begin after the election: who counts votes leads.
        let counts = |e: &&Event| matches!(e.what, What::Log { .. } | What::Quorum { .. });
        let Some(leads) = elected.or_else(|| before().find(counts)) else {
            return vec!["no leader had been elected".to_owned()];
        };
        let (leader, since) = (node(leads), elected.map_or(0, |event| event.n));
        let reign = || before().take_while(|e| e.n > since).filter(|e| node(e) == leader);
        let ends = |e: &&Event| matches!(e.what, What::StepDown { .. } | What::Crash { .. });
        let state = match reign().find(ends) {
            Some(end) => format!("led last, until {}", ms(end)),
            None => "leads".to_owned(),
        };
        let appended = reign().find_map(|event| match event.what {
            What::Append { to, .. } => Some((event, to)),
            _ => None,
        });
        let Some((event, index)) = appended else {
            return vec![format!("{leader} {state}; it has appended nothing")];
        };
        let rule = match self.rule(event, Role::Commit, NodeSet::EMPTY) {
            Ok(rule) => rule,
            Err(why) => return vec![why],
        };
        let acks = reign().filter_map(|event| match &event.what {
            What::Ack { by, index: upto } if *upto >= index => rule.names.slot(by),
            _ => None,
        });
        let acked: NodeSet = acks.collect();
        let acked_names = rule.names.show(acked);
        let mut lines = vec![format!("{leader} {state}; its entry {index} is on {acked_names}")];
        lines.extend(rule.weigh(Role::Commit, acked));
        lines
    }

    fn because(&self, event: &Event, role: Role, set: NodeSet) -> Result<Vec<String>, String> {
        Ok(self.rule(event, role, set)?.weigh(role, set))
    }

    fn event(&self, n: u64) -> Result<Vec<String>, String> {
        let event = self.events.iter().find(|event| event.n == n);
        let event = event.ok_or_else(|| format!("there is no event {n}"))?;
        let mut line = String::new();
        trace::write(event, &mut line);
        let mut lines = vec![line.trim_end().to_owned()];
        match &event.what {
            What::Quorum { acked, .. } | What::Read { acked, .. } => {
                lines.extend(self.because(event, Role::Commit, *acked)?);
            }
            What::Elect { votes, .. } => lines.extend(self.because(event, Role::Elect, *votes)?),
            What::Commit { index } => {
                if let Some((quorum, acked)) = self.decided(*index) {
                    lines.push(format!("decided by event {}:", quorum.n));
                    lines.extend(self.because(quorum, Role::Commit, acked)?);
                }
            }
            What::Apply { revision, .. } => lines.extend(self.revision(*revision)),
            What::Return { outcome, .. } if outcome == "done" => {}
            What::Refuse { .. } | What::Return { .. } | What::Violation { .. } => {
                lines.extend(self.pending(n));
            }
            _ => {}
        }
        Ok(lines)
    }

    fn summary(&self) -> Vec<String> {
        let mut lines: Vec<_> = self.events.iter().filter_map(|event| self.line(event)).collect();
        lines.extend(self.pending(u64::MAX));
        lines
    }

    fn line(&self, event: &Event) -> Option<String> {
        let told = self.told(event)?;
        Some(format!("{:>8} {:>14}  {told}", event.n, ms(event)))
    }

    /// One line of the summary; none for what is too common to be told.
    fn told(&self, event: &Event) -> Option<String> {
        let who = node(event);
        Some(match &event.what {
            What::Elect { ballot, votes } => {
                let told = self.rule(event, Role::Elect, *votes);
                let told = told.map_or_else(|why| why, |rule| rule.words(Role::Elect, *votes));
                format!("{who} leads ballot {ballot}: {told}")
            }
            What::Change { quorum, joint, .. } => {
                let to = joint.as_ref().map_or(String::new(), |to| format!(" to {to}"));
                format!("{who} appends {quorum}{to}")
            }
            What::Operator { told, .. } => format!("the operator is told: {told}"),
            What::StepDown { why, .. } => format!("{who} steps down: {why}"),
            What::Fault { fault, .. } => format!("fault: {fault}"),
            What::Crash { why, .. } => format!("{who} stops: {why}"),
            What::Restart { .. } => format!("{who} starts"),
            What::Refused { why } => format!("{who} refuses to start: {why}"),
            What::Violation { rule, what } => format!("VIOLATION: {rule}: {what}"),
            _ => return None,
        })
    }
}
