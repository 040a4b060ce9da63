//! Delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input",
//! IEEE TSE 2002): ever shorter sequences, each on fresh servers, that still differ.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::side::Setup;
use super::step::Step;
use super::{Course, Difference};
use crate::cluster::Program;

/// Shrinking stops here with what it has.
const TIME_MAX: Duration = Duration::from_secs(180);

/// A short sequence that gives a difference of the same signature; `None` when not even the whole
/// one does so again.
///
/// # Errors
/// A server does not start.
pub fn shrink(quorate: &Program, from: &Difference) -> Result<Option<Difference>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let wanted = from.signature();
    let attempt = |steps: &[Step]| -> Result<Option<Difference>> {
        let found = runtime.block_on(replay(quorate, from.setup, steps))?;
        Ok(found.filter(|found| found.signature() == wanted))
    };
    let deadline = Instant::now() + TIME_MAX;
    // Most differences need little of the past: try short ends first.
    let mut least = None;
    for length in [1, 10, 50, 250, usize::MAX] {
        let steps = &from.steps[from.steps.len().saturating_sub(length)..];
        least = attempt(steps)?;
        if least.is_some() || steps.len() == from.steps.len() {
            break;
        }
    }
    let Some(mut least) = least else { return Ok(None) };
    let mut parts = 2;
    while least.steps.len() > 1 && Instant::now() < deadline {
        // The last step is the one that differs; only what precedes it can go.
        let before = least.steps.len() - 1;
        let size = before.div_ceil(parts);
        let mut shorter = None;
        for start in (0..before).step_by(size) {
            let end = (start + size).min(before);
            let kept = [&least.steps[..start], &least.steps[end..]].concat();
            shorter = attempt(&kept)?;
            if shorter.is_some() || Instant::now() >= deadline {
                break;
            }
        }
        match shorter {
            Some(found) => {
                least = found;
                parts = (parts - 1).max(2);
            }
            None if size == 1 => break,
            None => parts = (parts * 2).min(before),
        }
    }
    Ok(Some(least))
}

async fn replay(quorate: &Program, setup: Setup, steps: &[Step]) -> Result<Option<Difference>> {
    let mut course = Course::start(quorate, setup).await?;
    for step in steps {
        if let Some(difference) = course.step(step.clone()).await? {
            return Ok(Some(difference));
        }
        if course.diverged {
            break;
        }
    }
    Ok(None)
}
