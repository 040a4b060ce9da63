//! How long a request that is not whole is waited for.

use super::status::{Code, Outcome, Status};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// Longest time in which a message may not get on; a network that comes back within it costs none.
const PATIENCE_MAX: Duration = Duration::from_secs(30);
/// Bytes that count as getting on.
const PROGRESS_BYTES_MIN: usize = 64 * 1024;
/// One that is looked at so long after its time was not waited for: its bytes lay elsewhere.
const UNWATCHED_MIN: Duration = Duration::from_secs(1);

/// Runs while a message is not whole.
#[derive(Default)]
pub(super) struct Patience {
    timer: Option<Pin<Box<Sleep>>>,
    /// Bytes there were when it last got on.
    had: usize,
}

impl Patience {
    /// Part of every turn that leaves the message unfinished, with so many bytes of it here; ready
    /// when that has gone on for too long.
    pub(super) fn poll(&mut self, have: usize, cx: &mut Context<'_>) -> Poll<Status> {
        let now = Instant::now();
        let gets_on = match &self.timer {
            None => true,
            Some(timer) => {
                have >= self.had + PROGRESS_BYTES_MIN || now > timer.deadline() + UNWATCHED_MIN
            }
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(now)));
        if gets_on {
            self.had = have;
            timer.as_mut().reset(now + PATIENCE_MAX);
        }
        timer.as_mut().poll(cx).map(|()| {
            let text = "the request did not come in time";
            Status::new(Code::DeadlineExceeded, text).outcome(Outcome::NotApplied)
        })
    }

    /// The message is whole.
    pub(super) fn rest(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    #[test]
    fn a_message_that_does_not_get_on_ends_in_time_and_one_that_was_not_looked_at_does_not() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            tokio::time::pause();
            let mut patience = Patience::default();
            let mut after = async |ms, have| {
                tokio::time::advance(Duration::from_millis(ms)).await;
                patience.poll(have, &mut Context::from_waker(Waker::noop())).is_ready()
            };
            assert!(!after(0, 5).await);
            assert!(!after(29_000, 6).await, "a byte is not much, but its time has not come");
            assert!(after(1_500, 7).await);
            assert!(!after(2_000, 8).await, "nobody looked");
            for n in 1..5 {
                assert!(!after(29_000, n * 65_600).await, "{n}");
            }
            assert!(after(30_500, 5 * 65_600 - 100).await);
        });
    }
}
