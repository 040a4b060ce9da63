//! A planned stop: leadership goes to another member, clients are told to go elsewhere, what is
//! pending is answered or forwarded, and then the member ends; all within `Config::stop_grace`.

use super::Node;
use super::input::Input;
use replica::Event;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How far a stop is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stop {
    #[default]
    No,
    /// Until leadership is gone, or then; the whole stop may last until `end`.
    HandingOver { until: Instant, end: Instant },
    /// Until every client connection is closed, or then.
    Draining { end: Instant },
}

impl Stop {
    /// When the next step is due at the latest.
    pub(super) fn deadline(self) -> Option<Instant> {
        match self {
            Self::No => None,
            Self::HandingOver { until, .. } => Some(until),
            Self::Draining { end } => Some(end),
        }
    }
}

impl Node {
    /// Begins the stop; again it changes nothing.
    pub(super) fn begin_stop(&self, events: &mut Vec<Event>) {
        if self.stop.get() != Stop::No {
            return;
        }
        let (now, grace) = (Instant::now(), self.config.stop_grace);
        let election = Duration::from_millis(self.config.election_timeout_ms);
        let (until, end) = (now + election.min(grace), now + grace);
        self.stop.set(Stop::HandingOver { until, end });
        if self.replica.borrow().raft().is_leader() {
            events.push(Event::TransferLeader { to: None });
        }
    }

    /// Takes the stop a step further; true when the member has to end.
    pub(super) fn continue_stop(self: &Rc<Self>) -> bool {
        match self.stop.get() {
            Stop::No => false,
            Stop::HandingOver { until, end } => {
                let waits = {
                    let replica = self.replica.borrow();
                    let alone = replica.raft().config().members.len() == 1;
                    !alone && replica.raft().is_leader()
                };
                if waits && Instant::now() < until {
                    return false;
                }
                self.stop.set(Stop::Draining { end });
                !self.drain()
            }
            Stop::Draining { end } => Instant::now() >= end,
        }
    }

    /// Sends the clients away; false when there are none. The inbox hears when all have gone.
    fn drain(&self) -> bool {
        let Some(server) = self.server.borrow().upgrade() else { return false };
        server.stop();
        let inbox = self.inbox.clone();
        tokio::task::spawn_local(async move {
            server.closed().await;
            let _ = inbox.send(Input::Drained);
        });
        true
    }
}
