//! Rows 6 and 7: ranges that are taken back.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use client::method;

use super::Work;
use super::reads::BIG;
use crate::field::asked::all;
use crate::pulse::stage::Stage;
use crate::wire::{CALM, Wire};

const CUT: u64 = 200;
const CUT_AFTER: Duration = Duration::from_millis(50);
const RESETS: u64 = 10_000;
/// Calls and their resets that are written together.
const BURST: u64 = 50;
/// A server that turns everybody away is not asked for ever.
const CONNECTIONS_MAX: usize = 100;
/// Between two rounds, so that each meets a server that is idle.
const BETWEEN: Duration = Duration::from_secs(1);

/// Full ranges at once on one connection, all cancelled after 50 ms; several rounds.
pub fn cut(stage: &Stage) -> Result<Work> {
    let count = stage.plan.scaled(CUT);
    let (mut rounds, mut latest) = (0, Duration::ZERO);
    let (cancelled_cpu, _) = repeated(stage, || {
        let mut wire = Wire::connect(&stage.endpoint(), true)?;
        let (calls, resets): (Vec<_>, Vec<_>) =
            (0..count).map(|_| wire.call(method::kv::RANGE, &all(BIG))).unzip();
        ensure!(wire.send(&calls.concat()), "the ranges were not taken");
        let sent = Instant::now();
        std::thread::sleep(CUT_AFTER);
        ensure!(wire.send(&resets.concat()), "the cancels were not taken");
        latest = latest.max(sent.elapsed());
        rounds += 1;
        Ok(wire)
    })?;
    let note = format!("{rounds} rounds of {count}, cancelled {latest:.0?} later at the latest");
    Ok(Work { note, cancelled_cpu: Some(cancelled_cpu), ..Work::default() })
}

/// Full ranges on one connection, each reset right behind itself; several rounds. A server that
/// ends the connection gets the rest on a new one: the same work for every server.
pub fn storm(stage: &Stage) -> Result<Work> {
    let count = stage.plan.scaled(RESETS);
    let (mut rounds, mut connections) = (0, 0);
    let (cancelled_cpu, calmed) = repeated(stage, || {
        rounds += 1;
        let mut sent = 0;
        loop {
            let mut wire = Wire::connect(&stage.endpoint(), true)?;
            connections += 1;
            send_resets(&mut wire, &mut sent, count);
            if sent >= count {
                return Ok(wire);
            }
            ensure!(connections < CONNECTIONS_MAX * rounds, "only {sent} of {count} were taken");
        }
    })?;
    let note = format!(
        "{rounds} rounds of {count} on {connections} connections, {calmed} rounds end in \
         ENHANCE_YOUR_CALM"
    );
    Ok(Work { note, cancelled_cpu: Some(cancelled_cpu), ..Work::default() })
}

/// Sends what is left, or as much as the server takes before it ends the connection.
fn send_resets(wire: &mut Wire, sent: &mut u64, count: u64) {
    while *sent < count {
        let burst = BURST.min(count - *sent);
        let mut bytes = Vec::new();
        for _ in 0..burst {
            let (call, reset) = wire.call(method::kv::RANGE, &all(BIG));
            bytes.extend(call);
            bytes.extend(reset);
        }
        if !wire.send(&bytes) || wire.ended() || wire.goaway().is_some() {
            return;
        }
        *sent += burst;
    }
}

/// Plays rounds until the row has lasted; the leader's CPU after the worst, and how many rounds
/// ended with a server that asked for calm.
fn repeated(stage: &Stage, mut round: impl FnMut() -> Result<Wire>) -> Result<(Duration, usize)> {
    let (began, vitals) = (Instant::now(), stage.vitals()?);
    let (mut worst, mut calmed) = (Duration::ZERO, 0);
    loop {
        // The connection stays: its end must not be what ends the work.
        let wire = round()?;
        worst = worst.max(vitals.cpu_after(Instant::now())?);
        calmed += usize::from(wire.goaway() == Some(CALM));
        drop(wire);
        if began.elapsed() >= stage.plan.row {
            return Ok((worst, calmed));
        }
        std::thread::sleep(BETWEEN);
    }
}
