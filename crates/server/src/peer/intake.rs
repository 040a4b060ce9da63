//! What one peer has sent and the voter has not taken yet. Beyond a bound its stream is not read
//! on, so that TCP tells the peer to wait: nothing is lost.

use base::limits::PEER_UNHANDLED_BYTES_MAX;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a message takes in the inbox beside its bytes.
const MESSAGE_OVERHEAD_BYTES: u32 = 256;

/// The room one stream has.
pub struct Intake {
    room: Arc<Semaphore>,
    bytes_max: u32,
}

/// The room that one message takes, until it is dropped.
pub struct Unhandled(#[expect(dead_code, reason = "held, never read")] OwnedSemaphorePermit);

impl Default for Intake {
    fn default() -> Self {
        Self::new(u32::try_from(PEER_UNHANDLED_BYTES_MAX).expect("a few frames"))
    }
}

impl Intake {
    fn new(bytes_max: u32) -> Self {
        assert!(bytes_max > 0, "a message needs room");
        Self { room: Arc::new(Semaphore::new(bytes_max as usize)), bytes_max }
    }

    /// Resolves when there is room for a message of `bytes`; one that is larger than all of it
    /// comes when nothing else is there.
    pub async fn take(&self, bytes: usize) -> Unhandled {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let wanted = bytes.saturating_add(MESSAGE_OVERHEAD_BYTES).min(self.bytes_max);
        let room = Arc::clone(&self.room).acquire_many_owned(wanted).await;
        Unhandled(room.expect("it is never closed"))
    }
}

#[cfg(test)]
impl Intake {
    /// Room for so many messages of `bytes`.
    pub fn of(messages: u32, bytes: u32) -> Self {
        Self::new(messages * (bytes + MESSAGE_OVERHEAD_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::{Context, Poll, Waker};

    #[tokio::test]
    async fn a_message_larger_than_all_room_comes_alone() {
        let intake = Intake::of(1, 1000);
        let large = intake.take(1 << 30).await;
        let mut context = Context::from_waker(Waker::noop());
        let mut next = std::pin::pin!(intake.take(1));
        assert!(matches!(next.as_mut().poll(&mut context), Poll::Pending));
        drop(large);
        next.await;
    }
}
