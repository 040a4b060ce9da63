//! A planned stop: leadership goes to another member, clients are told to go elsewhere, what is
//! pending is answered or forwarded, and then the member ends; all within a time of grace.

use base::{LogIndex, Nanos, planted};
use replica::Replica;

/// How far a stop is. Times are of the clock of `now` in every call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stop {
    #[default]
    No,
    /// Until leadership is gone, or then; the whole stop may last until `end`.
    HandingOver { until: Nanos, end: Nanos },
    /// Until no client is left, or then.
    Draining { end: Nanos },
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing before [`Stop::deadline`], unless leadership or clients go.
    Wait,
    /// Send the clients away: nothing new is taken, what is pending is answered. Said once.
    Drain,
    /// The member ends.
    End,
}

impl Stop {
    /// Begins the stop; again it changes nothing. True when leadership is to be handed over, which
    /// is given one election timeout; the whole stop ends after `grace`.
    pub fn begin(&mut self, now: Nanos, grace: Nanos, election: Nanos, leads: bool) -> bool {
        if *self != Self::No {
            return false;
        }
        let (until, end) = (now.plus(election.min(grace)), now.plus(grace));
        assert!(now <= until && until <= end, "a hand-over is part of the stop");
        *self = Self::HandingOver { until, end };
        leads
    }

    /// Takes the stop a step further. `leads` is whether the member leads others.
    pub fn go_on(&mut self, now: Nanos, leads: bool) -> Next {
        match *self {
            Self::No => Next::Wait,
            Self::HandingOver { until, end } => {
                if leads && now < until && !planted!(DrainBeforeHandOver) {
                    return Next::Wait;
                }
                assert!(until <= end, "there is time left to drain, or none at all");
                *self = Self::Draining { end };
                Next::Drain
            }
            Self::Draining { end } if now >= end => Next::End,
            Self::Draining { .. } => Next::Wait,
        }
    }

    /// No client is left: whether the member ends with that.
    pub fn drained(self) -> bool {
        matches!(self, Self::Draining { .. })
    }

    /// When the next step is due at the latest.
    pub fn deadline(self) -> Option<Nanos> {
        match self {
            Self::No => None,
            Self::HandingOver { until, .. } => Some(until),
            Self::Draining { end } => Some(end),
        }
    }
}

/// What the journal is told of last when a member ends in order, and its answers have left: up to
/// where all is known to be committed, if that is all there is.
pub fn last_word(replica: &Replica) -> Option<LogIndex> {
    let word = replica.whole();
    let end = replica.raft().last().0;
    assert!(word.is_none_or(|word| word == end), "what is said is said of the whole log");
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Nanos = Nanos(5000);
    const ELECTION: Nanos = Nanos(1000);

    fn begun(leads: bool) -> Stop {
        let mut stop = Stop::default();
        assert_eq!(stop.begin(Nanos(10), GRACE, ELECTION, leads), leads, "who leads hands over");
        stop
    }

    #[test]
    fn nothing_is_done_before_a_stop_begins() {
        let mut stop = Stop::default();
        for leads in [false, true] {
            assert_eq!(stop.go_on(Nanos(u64::MAX), leads), Next::Wait);
        }
        assert_eq!((stop, stop.deadline(), stop.drained()), (Stop::No, None, false));
    }

    #[test]
    fn clients_are_sent_away_when_leadership_is_gone_or_an_election_timeout_after_the_beginning() {
        let mut follows = begun(false);
        assert_eq!(follows.go_on(Nanos(10), false), Next::Drain, "at once");
        let mut leads = begun(true);
        assert_eq!(leads.deadline(), Some(Nanos(1010)));
        assert_eq!(leads.go_on(Nanos(500), true), Next::Wait);
        assert!(!leads.drained(), "clients that leave by themselves end nothing");
        let mut given_up = leads;
        assert_eq!(leads.go_on(Nanos(501), false), Next::Drain);
        assert_eq!(given_up.go_on(Nanos(1009), true), Next::Wait);
        assert_eq!(given_up.go_on(Nanos(1010), true), Next::Drain, "nobody takes it");
        assert_eq!(leads, given_up);
        assert_eq!(given_up.go_on(Nanos(1011), true), Next::Wait, "they are sent away once");
    }

    #[test]
    fn a_member_ends_when_its_clients_are_gone_or_the_grace_is_over() {
        let mut stop = begun(false);
        assert_eq!(stop.go_on(Nanos(10), false), Next::Drain);
        assert!(stop.drained());
        assert_eq!(stop.deadline(), Some(Nanos(5010)));
        assert_eq!(stop.go_on(Nanos(5009), false), Next::Wait);
        assert_eq!(stop.go_on(Nanos(5010), false), Next::End);
    }

    #[test]
    fn to_begin_again_changes_nothing() {
        let mut stop = begun(true);
        let before = stop;
        assert!(!stop.begin(Nanos(900), GRACE, ELECTION, true));
        assert_eq!(stop, before);
        assert_eq!(stop.go_on(Nanos(900), false), Next::Drain);
        assert!(!stop.begin(Nanos(901), GRACE, ELECTION, true), "nor does it while it drains");
        assert_eq!(stop, Stop::Draining { end: Nanos(5010) });
    }

    #[test]
    fn without_grace_all_steps_are_due_at_once() {
        let mut stop = Stop::default();
        assert!(stop.begin(Nanos(7), Nanos::ZERO, ELECTION, true));
        assert_eq!(stop.deadline(), Some(Nanos(7)));
        assert_eq!(stop.go_on(Nanos(7), true), Next::Drain);
        assert_eq!(stop.go_on(Nanos(7), true), Next::End);
        let mut long = Stop::default();
        long.begin(Nanos(u64::MAX - 1), GRACE, ELECTION, true);
        assert_eq!(long.deadline(), Some(Nanos(u64::MAX)), "a clock that ends is no error");
    }
}
