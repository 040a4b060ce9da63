//! What ends a stream from this side: no leader for too long, or a state proven wrong.

use super::bell::{Bell, Bells};
use super::refusal;
use door::{Door, Reason, Refusal};
use net::{Metadata, Status};
use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Election timeouts without a leader after which streams that want one are cut; etcd's number
/// (`api/v3rpc/interceptor.go`, `maxNoLeaderCnt`).
const LEADERLESS_TIMEOUTS_MAX: u32 = 3;

/// Tells streams of what ends them.
#[derive(Default)]
pub(super) struct Cuts {
    /// Looks in a row that found no leader.
    leaderless: Cell<u32>,
    /// Counts the times there was none for too long.
    cut: Cell<u64>,
    /// This member's state was proven to differ from a quorum's; that does not pass.
    diverged: Cell<bool>,
    bells: Bells,
}

impl Cuts {
    /// To be called once every election timeout.
    pub(super) fn look(&self, door: &dyn Door) {
        let status = door.status();
        let leaderless = if status.leader.is_none() { self.leaderless.get() + 1 } else { 0 };
        self.leaderless.set(leaderless);
        if leaderless >= LEADERLESS_TIMEOUTS_MAX {
            self.cut.set(self.cut.get() + 1);
        }
        if status.is_out_of_service() {
            self.diverged.set(true);
        }
        if leaderless >= LEADERLESS_TIMEOUTS_MAX || self.diverged.get() {
            self.bells.ring();
        }
    }

    /// What ends the stream that is opened now with `metadata` and listens to `bell`.
    pub(super) fn cut(
        self: &Rc<Self>,
        metadata: Metadata,
        door: Rc<dyn Door>,
        bell: &Rc<Bell>,
    ) -> Cut {
        self.bells.enrol(bell);
        let leaderless = metadata.has_leader.then(|| self.cut.get());
        Cut { cuts: Rc::clone(self), leaderless, door, bell: Rc::clone(bell) }
    }
}

/// What ends one stream.
pub(super) struct Cut {
    cuts: Rc<Cuts>,
    /// For one that wants a leader: the count at its opening.
    leaderless: Option<u64>,
    door: Rc<dyn Door>,
    bell: Rc<Bell>,
}

impl Cut {
    /// What wakes the stream's task.
    pub(super) const fn bell(&self) -> &Rc<Bell> {
        &self.bell
    }

    /// Ready when the stream must end, with the reason. Also wakes the task when its bell rings
    /// for any other reason.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Status> {
        self.bell.listen(cx.waker());
        if self.cuts.diverged.get() {
            return Poll::Ready(refusal::status(&Refusal::not_applied(Reason::Diverged)));
        }
        if self.leaderless.is_some_and(|count| count != self.cuts.cut.get()) {
            return Poll::Ready(refusal::no_leader(&*self.door));
        }
        Poll::Pending
    }
}
