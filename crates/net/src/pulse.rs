//! Notices that the whole process stood still: stopped by a signal, a frozen machine, a long turn.
//!
//! What arrived meanwhile lies in the kernel's buffers without a date, so a `grpc-timeout` seems to
//! begin only when it is read. A call found there in the first turn after a standstill that was
//! longer than the call's time is taken for expired: all but the last of its kind have been given
//! up by their clients, which are owed no effect any more, and the few that were sent shortly
//! before the end are refused as not applied, which is true and safe to try again.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(50);
/// A shorter gap between two ticks is load, not a standstill.
const STANDSTILL_MIN: Duration = Duration::from_millis(300);

pub(super) struct Pulse {
    ticked: Cell<Instant>,
    /// The standstill that has just ended.
    stood: Cell<Duration>,
}

impl Pulse {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self { ticked: Cell::new(Instant::now()), stood: Cell::new(Duration::ZERO) })
    }

    /// Ticks until dropped.
    pub(super) async fn run(self: Rc<Self>) {
        loop {
            tokio::time::sleep(TICK).await;
            self.tick(Instant::now());
            if !self.stood.get().is_zero() {
                // Lets every connection that had something to read have its first turn.
                tokio::time::sleep(Duration::from_millis(1)).await;
                tokio::task::yield_now().await;
                self.recover(Instant::now());
            }
        }
    }

    fn tick(&self, now: Instant) {
        self.stood.set(self.standstill(now));
        self.ticked.set(now);
    }

    /// The first turn after a standstill is over.
    fn recover(&self, now: Instant) {
        self.stood.set(Duration::ZERO);
        self.ticked.set(now);
    }

    /// Whether the process stood still before this turn.
    pub(super) fn stood(&self) -> bool {
        !self.standstill(Instant::now()).is_zero()
    }

    /// How long the process stood still before this turn; zero when it did not.
    pub(super) fn standstill(&self, now: Instant) -> Duration {
        let gap = now.saturating_duration_since(self.ticked.get());
        self.stood.get().max(if gap < STANDSTILL_MIN { Duration::ZERO } else { gap })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_gap_between_ticks_is_a_standstill_in_the_turn_after_it_and_a_short_one_is_not() {
        let pulse = Pulse::new();
        let start = pulse.ticked.get();
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(pulse.standstill(at(299)), Duration::ZERO);
        assert_eq!(pulse.standstill(at(2_000)), Duration::from_secs(2), "before the tick");
        pulse.tick(at(2_001));
        assert_eq!(pulse.standstill(at(2_001)), Duration::from_millis(2_001), "and after it");
        pulse.recover(at(2_003));
        pulse.tick(at(2_053));
        assert_eq!(pulse.standstill(at(2_060)), Duration::ZERO);
    }
}
