//! A planned stop: leadership goes to another member, clients are told to go elsewhere, what is
//! pending is answered or forwarded, and then the member ends; all within `Config::stop_grace`.

use super::input::Word;
use super::voter::Voter;
use replica::Event;
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

impl Voter {
    /// Begins the stop; again it changes nothing.
    pub(super) fn begin_stop(&mut self, events: &mut Vec<Event>) {
        if self.stop != Stop::No {
            return;
        }
        let (now, grace) = (Instant::now(), self.config.stop_grace);
        let election = Duration::from_millis(self.config.election_timeout_ms);
        let (until, end) = (now + election.min(grace), now + grace);
        self.stop = Stop::HandingOver { until, end };
        if self.replica.raft().is_leader() {
            events.push(Event::TransferLeader { to: None });
        }
    }

    /// Takes the stop a step further; true when the member has to end.
    pub(super) fn continue_stop(&mut self) -> bool {
        match self.stop {
            Stop::No => false,
            Stop::HandingOver { until, end } => {
                let raft = self.replica.raft();
                let waits = raft.config().members.len() > 1 && raft.is_leader();
                if waits && Instant::now() < until {
                    return false;
                }
                self.stop = Stop::Draining { end };
                // Nobody at the desk: nobody to send away.
                self.desk.send(Word::Drain).is_err()
            }
            Stop::Draining { end } => Instant::now() >= end,
        }
    }
}
