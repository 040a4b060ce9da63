//! A life from its plan to its verdict.

use crate::judge::Violation;
use crate::plan::Plan;
use crate::stats::Stats;
use crate::tracer::Tracer;
use crate::world::World;
use base::Nanos;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How a life ended.
#[derive(Clone, Debug)]
pub struct Verdict {
    pub violation: Option<Violation>,
    pub stats: Stats,
    /// Virtual time at the end.
    pub time: Nanos,
    /// Over every frame, applied entry and outcome: equal seeds give equal digests.
    pub digest: u64,
    /// Committed entries, and the chain hash of the state after the last.
    pub entries: u64,
    pub chain: u64,
    pub revision: i64,
    /// JSON lines, if they were asked for.
    pub trace: String,
    /// Operations on single keys, for a checker that knows no revisions; with the trace.
    pub registers: Vec<check::Operation<check::models::KvInput, check::models::KvOutput>>,
    /// Members that refuse to start, and why.
    pub refused: Vec<(String, String)>,
}

impl Verdict {
    /// One line that two builds must give alike: over every byte of the trace, if one was kept,
    /// and over what happened.
    pub fn fingerprint(&self) -> String {
        let crc = base::crc::crc32c(self.trace.as_bytes());
        let lines = self.trace.lines().count();
        format!("{lines} {crc:08x} {:016x} {:016x}", self.digest, self.chain)
    }
}

/// Lives the plan. A broken assertion of the product is a violation like any other.
///
/// # Errors
/// A quorum system that is unsafe.
pub fn run(plan: &Plan, trace: bool) -> Result<Verdict, String> {
    let tracer = if trace { Tracer::full() } else { Tracer::quiet() };
    let mut world = None;
    let lived = catch_unwind(AssertUnwindSafe(|| {
        let made = world.insert(World::new(plan.clone(), tracer)?);
        made.live();
        Ok::<(), String>(())
    }));
    let violation = match lived {
        Ok(Ok(())) => None,
        Ok(Err(error)) => return Err(error),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_default();
            Some(text)
        }
    };
    let Some(mut world) = world else {
        return Err(violation.unwrap_or_else(|| "the world did not begin".to_owned()));
    };
    if let Some(text) = violation {
        world.blame("assertions hold", text);
    }
    Ok(verdict(&mut world))
}

pub(crate) fn verdict(world: &mut World) -> Verdict {
    if let Some(violation) = world.judge.violation.clone() {
        let (rule, what) = (violation.rule.into(), violation.what.clone());
        world.tracer.line(violation.at, || trace::What::Violation { rule, what });
    }
    let last = world.judge.applied();
    Verdict {
        violation: world.judge.violation.clone(),
        stats: world.stats.clone(),
        time: world.now,
        digest: world.tracer.digest(),
        entries: last.0,
        chain: world.judge.chain_at(last).unwrap_or(0),
        revision: world.judge.model.revision(),
        registers: world.registers(),
        trace: world.tracer.take(),
        refused: world.refusals(),
    }
}

impl World {
    /// Ends a life that was lived step by step: the heal, and the verdict.
    pub fn end(mut self) -> Verdict {
        self.live();
        verdict(&mut self)
    }
}
