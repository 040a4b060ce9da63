//! The trace: one JSON line an event, and a running digest of all of them.
//!
//! The vocabulary is that of the live server. Members are named, sets are bit masks of slots, and
//! times are virtual nanoseconds, so two runs of one seed can be compared byte by byte.

use crate::plan::Plan;
use base::{Nanos, NodeId};
use cluster::{Configuration, Member};
use consensus::raft::Trace;
use replica::{TraceEvent, TraceKind};
use std::fmt::Write as _;

/// Version of the lines.
pub const VERSION: u32 = 1;

/// Where lines go.
#[derive(Default)]
pub struct Tracer {
    lines: Option<String>,
    number: u64,
    digest: u64,
}

impl Tracer {
    /// Keeps only the digest.
    pub fn quiet() -> Self {
        Self::default()
    }

    /// Keeps every line.
    pub fn full() -> Self {
        Self { lines: Some(String::new()), ..Self::default() }
    }

    pub fn is_full(&self) -> bool {
        self.lines.is_some()
    }

    /// Every line so far, and forgets them.
    pub fn take(&mut self) -> String {
        self.lines.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Over everything mixed in, lines or not.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    pub fn mix(&mut self, value: u64) {
        let mut z = (self.digest ^ value).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        self.digest = z ^ (z >> 27);
    }

    pub fn header(&mut self, plan: &Plan) {
        let Some(lines) = &mut self.lines else { return };
        let rule = match plan.rule {
            cluster::BallotRule::SharedTerms => "shared-terms",
            cluster::BallotRule::TermAndNode => "term-and-node",
        };
        let _ = writeln!(
            lines,
            "{{\"trace\":{VERSION},\"seed\":{},\"profile\":\"{}\",\"nodes\":{},\"quorum\":\"{}\",\
             \"rule\":\"{rule}\"}}",
            plan.seed,
            plan.profile.name(),
            plan.nodes,
            plan.quorum
        );
    }

    /// One line; `rest` is what follows its name, as JSON members with a leading comma.
    pub fn line(&mut self, at: Nanos, what: &str, rest: std::fmt::Arguments<'_>) {
        let Some(lines) = &mut self.lines else { return };
        self.number += 1;
        let n = self.number;
        let _ = writeln!(lines, "{{\"n\":{n},\"at\":{at},\"ev\":\"{what}\"{rest}}}");
    }

    /// A line about one member.
    pub fn node(&mut self, at: Nanos, node: usize, what: &str, rest: std::fmt::Arguments<'_>) {
        if self.lines.is_some() {
            let name = node + 1;
            self.line(at, what, format_args!(",\"node\":\"n{name}\"{rest}"));
        }
    }

    /// What a member goes by from now on: the texts, and the bit of each member in every set.
    pub fn config(&mut self, at: Nanos, node: usize, config: &Configuration) {
        if self.lines.is_none() {
            return;
        }
        let slot = |m: &Member| format!("{:?}:{}", m.name, m.slot);
        let slots: Vec<String> = config.members.iter().map(slot).collect();
        let learners = config.members.iter().filter(|m| m.learner).map(|m| &m.name[..]);
        let learners: Vec<&str> = learners.collect();
        let joint = config.joint.as_ref().map_or("null".to_owned(), |text| format!("{text:?}"));
        let rest = format_args!(
            ",\"quorum\":{:?},\"joint\":{joint},\"slots\":{{{}}},\"learners\":{learners:?}",
            config.quorum,
            slots.join(",")
        );
        self.node(at, node, "config", rest);
    }

    /// What a replica says of itself, at virtual time `at`.
    pub fn event(&mut self, at: Nanos, event: &TraceEvent) {
        if let TraceKind::Applied { index, chain, .. } = &event.kind {
            self.mix(at.0 ^ index.0.rotate_left(40) ^ event.node.0.rotate_left(56));
            self.mix(*chain);
        }
        if self.lines.is_none() {
            return;
        }
        let node = event.node.0 as usize - 1;
        match &event.kind {
            TraceKind::Proposed { id } => {
                self.node(at, node, "propose", format_args!(",\"id\":\"{id}\""));
            }
            TraceKind::Logged { id, index, ballot } => {
                let rest =
                    format_args!(",\"id\":\"{id}\",\"index\":{index},\"ballot\":\"{ballot}\"");
                self.node(at, node, "log", rest);
            }
            TraceKind::Persisted { ticket } => {
                self.node(at, node, "persist", format_args!(",\"ticket\":{ticket}"));
            }
            TraceKind::Applied { index, id, revision, chain } => {
                let id = id.map_or_else(String::new, |id| format!(",\"id\":\"{id}\""));
                let rest = format_args!(
                    ",\"index\":{index}{id},\"revision\":{revision},\"chain\":\"{chain:016x}\""
                );
                self.node(at, node, "apply", rest);
            }
            TraceKind::Deduplicated { index, id } => {
                self.node(at, node, "repeat", format_args!(",\"index\":{index},\"id\":\"{id}\""));
            }
            TraceKind::Refused { id, reason, missing } => {
                let rest = format_args!(
                    ",\"id\":\"{id}\",\"reason\":\"{reason:?}\",\"missing\":{missing:?}"
                );
                self.node(at, node, "refuse", rest);
            }
            TraceKind::ChangeRefused { id } => {
                let rest = format_args!(",\"id\":\"{id}\",\"reason\":\"Change\",\"missing\":[]");
                self.node(at, node, "refuse", rest);
            }
            TraceKind::Unknown { id, reason } => {
                let rest = format_args!(",\"id\":\"{id}\",\"reason\":\"{reason:?}\"");
                self.node(at, node, "unknown", rest);
            }
            TraceKind::Replied { id } => {
                self.node(at, node, "reply", format_args!(",\"id\":\"{id}\""));
            }
            TraceKind::Changing { index, quorum, joint, .. } => {
                let joint = joint.as_ref().map_or("null".to_owned(), |text| format!("{text:?}"));
                let rest =
                    format_args!(",\"index\":{index},\"quorum\":{quorum:?},\"joint\":{joint}");
                self.node(at, node, "change", rest);
            }
            TraceKind::Installed { index } => {
                self.node(at, node, "install", format_args!(",\"index\":{index}"));
            }
            TraceKind::Diverged { index } => {
                self.node(at, node, "diverged", format_args!(",\"index\":{index}"));
            }
            TraceKind::Raft(event) => self.raft(at, node, event),
        }
    }

    fn raft(&mut self, at: Nanos, node: usize, event: &Trace) {
        let name = |id: Option<NodeId>| {
            id.map_or_else(|| "null".to_owned(), |id| format!("\"n{}\"", id.0))
        };
        match event {
            Trace::BecameFollower { ballot, leader } => {
                let leader = name(*leader);
                let rest = format_args!(",\"ballot\":\"{ballot}\",\"leader\":{leader}");
                self.node(at, node, "follow", rest);
            }
            Trace::PreCampaign { ballot } => {
                self.node(at, node, "ask", format_args!(",\"ballot\":\"{ballot}\""));
            }
            Trace::Campaign { ballot } => {
                self.node(at, node, "campaign", format_args!(",\"ballot\":\"{ballot}\""));
            }
            Trace::Vote { ballot, to, granted } => {
                let rest =
                    format_args!(",\"ballot\":\"{ballot}\",\"to\":\"n{to}\",\"granted\":{granted}");
                self.node(at, node, "vote", rest);
            }
            Trace::Elected { ballot, votes } => {
                let votes = votes.bits();
                let rest = format_args!(",\"ballot\":\"{ballot}\",\"votes\":{votes}");
                self.node(at, node, "elect", rest);
            }
            Trace::SteppedDown { ballot, why } => {
                let rest = format_args!(",\"ballot\":\"{ballot}\",\"why\":\"{why:?}\"");
                self.node(at, node, "step-down", rest);
            }
            Trace::Appended { from, to, ballot } => {
                let rest = format_args!(",\"from\":{from},\"to\":{to},\"ballot\":\"{ballot}\"");
                self.node(at, node, "append", rest);
            }
            Trace::Acked { by, index } => {
                self.node(at, node, "ack", format_args!(",\"by\":\"n{by}\",\"index\":{index}"));
            }
            Trace::Quorum { index, acked, ballot } => {
                let acked = acked.bits();
                let rest =
                    format_args!(",\"index\":{index},\"acked\":{acked},\"ballot\":\"{ballot}\"");
                self.node(at, node, "quorum", rest);
            }
            Trace::Committed { index } => {
                self.node(at, node, "commit", format_args!(",\"index\":{index}"));
            }
            Trace::Transfer { to } => {
                self.node(at, node, "transfer", format_args!(",\"to\":\"n{to}\""));
            }
            Trace::ReadConfirmed { seq, acked } => {
                let acked = acked.bits();
                self.node(at, node, "read", format_args!(",\"seq\":{seq},\"acked\":{acked}"));
            }
        }
    }
}
