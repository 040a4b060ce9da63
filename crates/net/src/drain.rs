//! Whether a client takes what it was sent; free of I/O.

use super::outflow::Outflow;
use base::limits::UNSENT_TOLERATED_BYTES_MAX;
use std::time::Duration;
use tokio::time::Instant;

/// How long a connection may take nothing of what it was sent, or of a message that is ready for it
/// and cannot be taken back.
pub const DRAIN_MAX: Duration = Duration::from_secs(10);
/// The same while all connections together hold or are owed what they may: others wait for this
/// one.
const DRAIN_UNDER_PRESSURE_MAX: Duration = Duration::from_secs(1);
/// Bytes a connection takes in that time at least, or all there are.
const DRAINED_BYTES_MIN: u64 = 64 * 1024;
/// The same under pressure of one that holds much: what keeps others waiting goes on at a rate
/// at which it ends.
const DRAINED_UNDER_PRESSURE_BYTES_MIN: u64 = 1 << 20;
/// How often a connection with unsent bytes is looked at.
pub(super) const DRAIN_INTERVAL: Duration = Duration::from_millis(500);

/// How far one connection has got.
pub(super) struct Drain {
    /// When so many bytes had been taken, the last time that was progress.
    drained: (Instant, u64),
    /// So little lay here at the last look that it does not matter.
    idle: bool,
}

impl Drain {
    pub(super) fn new(now: Instant) -> Self {
        Self { drained: (now, 0), idle: true }
    }

    /// When to look again, or that the connection has not drained in time. `tolerated` bytes may
    /// lie here for as long as it likes, where nobody waits for them.
    pub(super) fn look(
        &mut self,
        now: Instant,
        outflow: &Outflow,
        tolerated: usize,
    ) -> Result<Instant, ()> {
        let (unsent, sent) = (outflow.unsent(), outflow.sent());
        let all = outflow.everybody();
        let tolerated = if all.is_full() { 0 } else { tolerated };
        // What it is owed comes once it has taken what lies here, which may be a part of that.
        let most = unsent.max(outflow.owed());
        let idle = unsent == 0 || most <= tolerated;
        let pressed = all.owes_much() && most > UNSENT_TOLERATED_BYTES_MAX;
        let least = if pressed { DRAINED_UNDER_PRESSURE_BYTES_MIN } else { DRAINED_BYTES_MIN };
        // Nobody looked for a while at who was idle: its time begins now.
        let was_idle = std::mem::replace(&mut self.idle, idle);
        if idle || was_idle || sent - self.drained.1 >= least {
            self.drained = (now, sent);
        }
        if unsent == 0 {
            return Ok(now + DRAIN_MAX);
        }
        let max = if all.owes_much() { DRAIN_UNDER_PRESSURE_MAX } else { DRAIN_MAX };
        if now >= self.drained.0 + max { Err(()) } else { Ok(now + DRAIN_INTERVAL) }
    }

    /// Nothing lay here for a while.
    pub(super) fn rest(&mut self) {
        self.idle = true;
    }
}
