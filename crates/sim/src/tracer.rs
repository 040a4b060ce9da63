//! The trace of a life, and a running digest of everything that happened in it.
//!
//! The lines are those of `trace`, as of a live server: times are virtual, so two runs of one seed
//! can be compared byte by byte.

use crate::plan::{self, Plan};
use base::{Nanos, NodeId};
use cluster::Configuration;
use replica::{TraceEvent, TraceKind};
use trace::{Event, Head, What};

/// Where lines go.
#[derive(Default)]
pub struct Tracer {
    lines: Option<String>,
    number: u64,
    digest: u64,
}

/// What a member is called: by its place, as in every plan.
fn name(id: NodeId) -> String {
    plan::name(usize::try_from(id.0 - 1).expect("members of a life are few"))
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
        let head = Head {
            trace: trace::VERSION,
            names: (0..plan.nodes).map(plan::name).collect(),
            quorum: plan.quorum.clone(),
            rule: trace::rule(plan.rule).to_owned(),
            seed: Some(plan.seed),
            profile: Some(plan.profile.name().to_owned()),
            ..Head::default()
        };
        trace::write_head(&head, lines);
    }

    /// Something of the world around the members; `what` is not asked for when nothing is kept.
    pub fn line(&mut self, at: Nanos, what: impl FnOnce() -> What) {
        self.write(at, None, what);
    }

    /// Something of one member.
    pub fn node(&mut self, at: Nanos, node: usize, what: impl FnOnce() -> What) {
        self.write(at, Some(node), what);
    }

    fn write(&mut self, at: Nanos, node: Option<usize>, what: impl FnOnce() -> What) {
        let Some(lines) = &mut self.lines else { return };
        self.number += 1;
        let node = node.map(plan::name);
        trace::write(&Event { n: self.number, at: at.0, node, what: what() }, lines);
    }

    /// What a member goes by from now on.
    pub fn config(&mut self, at: Nanos, node: usize, config: &Configuration) {
        self.node(at, node, || trace::config(config));
    }

    /// What a replica says of itself, at virtual time `at`.
    pub fn event(&mut self, at: Nanos, event: &TraceEvent) {
        if let TraceKind::Applied { index, chain, .. } = &event.kind {
            self.mix(at.0 ^ index.0.rotate_left(40) ^ event.node.0.rotate_left(56));
            self.mix(*chain);
        }
        let node = event.node.0 as usize - 1;
        self.node(at, node, || trace::product(&event.kind, &name));
    }
}
