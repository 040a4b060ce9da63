//! How long a request that is not whole is waited for.

use super::status::{Code, Outcome, Status};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// Longest time in which a message may not get on; a network that comes back within it costs none.
const PATIENCE_MAX: Duration = Duration::from_secs(30);
/// The same while requests that are not whole take room that others want.
const PRESSED_MAX: Duration = Duration::from_secs(5);
/// Bytes that count as getting on.
const PROGRESS_BYTES_MIN: usize = 64 * 1024;
/// One that is looked at so long after its time was not waited for: its bytes lay elsewhere.
const UNWATCHED_MIN: Duration = Duration::from_secs(1);

/// Runs while a message is not whole.
#[derive(Default)]
pub(super) struct Patience {
    timer: Option<Pin<Box<Sleep>>>,
    /// When it last got on, with so many bytes of it here and so many of its connection ever.
    last: Option<(Instant, usize, u64)>,
}

impl Patience {
    /// Part of every turn that leaves the message unfinished, with so many bytes of it here; ready
    /// when that has gone on for too long. Where there is room enough it gets on with whatever its
    /// connection says: many messages may share a slow network.
    pub(super) fn poll(
        &mut self,
        have: usize,
        (received, pressed): (u64, bool),
        cx: &mut Context<'_>,
    ) -> Poll<Status> {
        let now = Instant::now();
        let looked_late = self.timer.as_ref().is_some_and(|t| now > t.deadline() + UNWATCHED_MIN);
        let more = |(_, had, before): (Instant, usize, u64)| {
            let shared = received >= before + PROGRESS_BYTES_MIN as u64;
            have >= had + PROGRESS_BYTES_MIN || (!pressed && shared)
        };
        if looked_late || self.last.is_none_or(more) {
            self.last = Some((now, have, received));
        }
        let since = self.last.map_or(now, |(since, ..)| since);
        if now >= since + if pressed { PRESSED_MAX } else { PATIENCE_MAX } {
            let text = "the request did not come in time";
            let late = Status::new(Code::DeadlineExceeded, text);
            return Poll::Ready(late.outcome(Outcome::NotApplied));
        }
        // Soon enough to notice that others want the room.
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(now)));
        timer.as_mut().reset(now + PRESSED_MAX);
        while timer.as_mut().poll(cx).is_ready() {
            timer.as_mut().reset(Instant::now() + PRESSED_MAX);
        }
        Poll::Pending
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
            let mut after = async |ms, have, flow| {
                tokio::time::advance(Duration::from_millis(ms)).await;
                patience.poll(have, flow, &mut Context::from_waker(Waker::noop())).is_ready()
            };
            let (quiet, pressed) = ((0, false), (0, true));
            for _ in 0..6 {
                assert!(!after(4_900, 5, quiet).await, "a byte is not much");
            }
            assert!(!after(4_900, 6, quiet).await, "but its time has not come");
            assert!(after(5_100, 7, quiet).await);
            assert!(!after(9_000, 8, quiet).await, "nobody looked");
            for n in 1..9 {
                assert!(!after(5_500, n * 65_600, quiet).await, "{n}");
                assert!(!after(4_500, n * 65_600, quiet).await, "{n}");
            }
            // Others of its connection get on, until there is little room.
            for n in 1..20 {
                assert!(!after(5_500, 9 * 65_600, (n * 70_000, false)).await, "{n}");
            }
            assert!(after(5_100, 9 * 65_600, (30 * 70_000, true)).await);
            patience.rest();
            let mut after = async |ms, have, flow| {
                tokio::time::advance(Duration::from_millis(ms)).await;
                patience.poll(have, flow, &mut Context::from_waker(Waker::noop())).is_ready()
            };
            assert!(!after(0, 1, pressed).await && !after(4_900, 2, pressed).await);
            assert!(after(200, 3, pressed).await);
        });
    }
}
