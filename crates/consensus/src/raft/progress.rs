//! What a leader knows about one peer.

use alloc::collections::VecDeque;
use base::{Life, LogIndex, Nanos, NodeId, planted};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Looking for where the logs meet: one append at a time.
    Probe { sent: bool },
    /// Logs meet: appends are pipelined optimistically.
    Replicate,
    /// Needs a checkpoint that covers `floor`; an ack from there on shows that it arrived. Probed
    /// again at `retry_at` without one; `Nanos(u64::MAX)` while the transfer is under way.
    Snapshot { floor: LogIndex, retry_at: Nanos },
}

#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub id: NodeId,
    pub slot: u8,
    /// Its directory and start as last heard; unknown until it answers.
    pub life: Life,
    /// With which it voted for this leader.
    pub voted: Option<Life>,
    /// That directory is the one the configuration in force names, as far as is known.
    pub seated: bool,
    pub state: State,
    /// Durable at the peer and equal to our log.
    pub matched: LogIndex,
    /// Next entry to send.
    pub next: LogIndex,
    /// Appends under way: last index and bytes of each.
    inflight: VecDeque<(LogIndex, usize)>,
    pub inflight_bytes: usize,
    /// Last message of this ballot from the peer.
    pub heard: Nanos,
    /// The shell says its connection is gone, and nothing came since.
    pub lost: bool,
    /// Highest read round it confirmed, and highest sent to it.
    pub round: u64,
    pub sent_round: u64,
    pub sent_commit: LogIndex,
    /// Its disk was damaged: `matched` is progress only, and it stands in no tally.
    pub repairing: bool,
    /// Empty entries the next heartbeat appends for it, if it then still repairs in vain.
    pub prompts: u32,
}

impl Peer {
    pub fn new(id: NodeId, slot: u8, next: LogIndex, now: Nanos) -> Self {
        Self {
            id,
            slot,
            life: Life::UNKNOWN,
            voted: None,
            seated: true,
            state: State::Probe { sent: false },
            matched: LogIndex::ZERO,
            next,
            inflight: VecDeque::new(),
            inflight_bytes: 0,
            heard: now,
            lost: false,
            round: 0,
            sent_round: 0,
            sent_commit: LogIndex::ZERO,
            repairing: false,
            prompts: 0,
        }
    }

    /// The peer repairs a damaged disk: what it acknowledged before is not there any more.
    pub fn repair(&mut self) {
        if !self.repairing {
            self.repairing = true;
            self.prompts = 0;
            self.matched = LogIndex::ZERO;
        }
    }

    /// Whether what it says stands in a tally.
    pub fn is_counted(&self) -> bool {
        self.seated && !self.repairing
    }

    /// Whether it takes part once it has caught up, and until then speaks as one that repairs: it
    /// voted for this leader, which one that repairs does not.
    pub fn takes_seat(&self) -> bool {
        self.voted == Some(self.life)
    }

    /// Another directory, or another start of it: what was said before is not believed of it.
    pub fn begin_again(&mut self, last: LogIndex) {
        (self.repairing, self.prompts, self.matched) = (false, 0, LogIndex::ZERO);
        if !matches!(self.state, State::Snapshot { .. }) {
            self.probe(last.next());
        }
    }

    /// An acknowledgement ends the repair; true if there was one. What the peer said to hold
    /// meanwhile may have been said by an earlier life, which lost it again: only what it proves
    /// from here on is counted.
    pub fn end_repair(&mut self) -> bool {
        let ends = core::mem::take(&mut self.repairing);
        if ends && !planted!(HeldIsAcked) {
            self.matched = LogIndex::ZERO;
        }
        ends
    }

    /// Something of this ballot came from the peer, which confirms the read rounds up to `round`.
    pub fn hear(&mut self, now: Nanos, round: u64) {
        self.heard = now;
        self.lost = false;
        self.round = self.round.max(round);
    }

    /// The peer holds our log durably up to `index`. True when that is news.
    pub fn ack(&mut self, index: LogIndex) -> bool {
        let news = index > self.matched;
        self.matched = self.matched.max(index);
        self.next = self.next.max(self.matched.next());
        assert!(self.matched < self.next, "what is acknowledged is not sent again");
        while let Some(&(last, bytes)) = self.inflight.front() {
            if last > index {
                break;
            }
            assert!(bytes <= self.inflight_bytes, "what is under way was counted");
            self.inflight_bytes -= bytes;
            self.inflight.pop_front();
        }
        news
    }

    /// The peer holds our log up to `matched`: more of it can follow. `base` is where ours starts.
    pub fn advance(&mut self, base: LogIndex) {
        match self.state {
            State::Probe { .. } => self.replicate(),
            State::Snapshot { .. } if self.matched >= base => self.replicate(),
            // It arrived, and the log was cut again meanwhile: on to the next one.
            State::Snapshot { floor, retry_at }
                if self.matched >= floor && retry_at != Nanos(u64::MAX) =>
            {
                self.probe(self.matched.next());
            }
            _ => {}
        }
    }

    /// How its fields hang together, at a leader whose log ends in `last` and whose reads are at
    /// `round`.
    pub fn check(&self, last: LogIndex, round: u64) {
        assert!(self.matched < self.next, "what is acknowledged is not sent again");
        assert!(self.next <= last.next(), "nothing is sent that is not there");
        assert!(self.round <= self.sent_round, "a round is confirmed once it was sent");
        assert!(self.sent_round <= round, "a round is sent once it has begun");
        let pipelined = self.state == State::Replicate;
        assert!(pipelined || self.inflight.is_empty(), "only logs that meet are ahead of answers");
        assert_eq!(self.inflight.is_empty(), self.inflight_bytes == 0, "bytes are of entries");
    }

    /// The least index a checkpoint on its way to the peer covers.
    pub fn floor(&self) -> Option<LogIndex> {
        match self.state {
            State::Snapshot { floor, .. } => Some(floor),
            _ => None,
        }
    }

    pub fn sent(&mut self, last: LogIndex, bytes: usize) {
        assert!(last >= self.next, "only new entries are in flight");
        assert_eq!(self.state, State::Replicate, "only logs that meet are ahead of answers");
        self.inflight.push_back((last, bytes));
        self.inflight_bytes += bytes;
        self.next = last.next();
    }

    pub fn probe(&mut self, next: LogIndex) {
        self.state = State::Probe { sent: false };
        self.next = next.max(self.matched.next());
        self.inflight.clear();
        self.inflight_bytes = 0;
    }

    pub fn replicate(&mut self) {
        self.state = State::Replicate;
        self.next = self.matched.next();
        self.inflight.clear();
        self.inflight_bytes = 0;
    }

    pub fn snapshot(&mut self, floor: LogIndex) {
        assert!(floor > self.matched, "a log that meets ours needs no checkpoint");
        self.state = State::Snapshot { floor, retry_at: Nanos(u64::MAX) };
        self.inflight.clear();
        self.inflight_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Birth, Incarnation};

    const START: Life = Life { birth: Birth(4), incarnation: Incarnation(1) };

    fn peer() -> Peer {
        Peer::new(NodeId(4), 3, LogIndex(8), Nanos(0))
    }

    /// Entries up to 5 are there, and two appends are under way: up to 7, and up to 9.
    fn pipelined() -> Peer {
        let mut peer = peer();
        assert!(peer.ack(LogIndex(5)));
        peer.replicate();
        peer.sent(LogIndex(7), 20);
        peer.sent(LogIndex(9), 30);
        assert_eq!((peer.next, peer.inflight_bytes), (LogIndex(10), 50));
        peer
    }

    fn snapshot(floor: u64, retry_at: u64) -> State {
        State::Snapshot { floor: LogIndex(floor), retry_at: Nanos(retry_at) }
    }

    #[test]
    fn an_acknowledgement_ends_the_appends_it_covers_and_no_others() {
        for (index, news, bytes) in [
            (4, false, 50),
            (5, false, 50),
            (6, true, 50),
            (7, true, 30),
            (8, true, 30),
            (9, true, 0),
        ] {
            let mut peer = pipelined();
            assert_eq!(peer.ack(LogIndex(index)), news, "{index}");
            assert_eq!((peer.inflight_bytes, peer.matched.0), (bytes, index.max(5)));
            assert_eq!(peer.next, LogIndex(10), "all of it was sent");
            peer.check(LogIndex(9), 0);
        }
    }

    #[test]
    fn who_repairs_or_is_another_directory_is_not_counted() {
        for (seated, repairing) in [(true, false), (true, true), (false, false), (false, true)] {
            let peer = Peer { seated, repairing, ..peer() };
            assert_eq!(peer.is_counted(), seated && !repairing, "{seated} {repairing}");
        }
    }

    #[test]
    fn a_voter_takes_its_seat_with_the_start_it_voted_with() {
        let later = Life { incarnation: Incarnation(2), ..START };
        for (voted, takes) in [(None, false), (Some(later), false), (Some(START), true)] {
            let peer = Peer { life: START, voted, ..peer() };
            assert_eq!(peer.takes_seat(), takes, "{voted:?}");
        }
    }

    #[test]
    fn a_repair_forgets_what_was_acknowledged_once_and_its_end_forgets_what_was_held() {
        let mut peer = pipelined();
        assert!(!peer.end_repair(), "none was begun");
        assert_eq!(peer.matched, LogIndex(5));
        peer.prompts = 3;
        peer.repair();
        assert_eq!((peer.repairing, peer.matched, peer.prompts), (true, LogIndex::ZERO, 0));
        peer.ack(LogIndex(6));
        peer.prompts = 2;
        peer.repair();
        assert_eq!((peer.matched, peer.prompts), (LogIndex(6), 2), "the same repair goes on");
        assert!(peer.end_repair());
        assert_eq!((peer.repairing, peer.matched), (false, LogIndex::ZERO));
    }

    #[test]
    fn another_start_is_probed_anew_unless_a_checkpoint_is_on_its_way() {
        for state in [State::Replicate, State::Probe { sent: true }, snapshot(7, 9)] {
            let mut peer = pipelined();
            (peer.state, peer.prompts, peer.repairing) = (state.clone(), 4, true);
            peer.begin_again(LogIndex(9));
            assert_eq!((peer.matched, peer.prompts, peer.repairing), (LogIndex::ZERO, 0, false));
            let on_its_way = peer.floor() == Some(LogIndex(7));
            let after = if on_its_way { state } else { State::Probe { sent: false } };
            assert_eq!((peer.state, peer.next), (after, LogIndex(10)));
        }
    }

    #[test]
    fn what_a_peer_holds_says_how_it_goes_on() {
        let never = u64::MAX;
        let probe = State::Probe { sent: false };
        let cases = [
            (State::Probe { sent: true }, 0, State::Replicate),
            (State::Replicate, 9, State::Replicate),
            (snapshot(8, never), 5, State::Replicate),
            (snapshot(8, never), 6, snapshot(8, never)),
            // The log was cut at 9 since, and the checkpoint covers 5.
            (snapshot(5, 70), 9, probe.clone()),
            (snapshot(5, never), 9, snapshot(5, never)),
            (snapshot(6, 70), 9, snapshot(6, 70)),
            (snapshot(6, never), 9, snapshot(6, never)),
        ];
        for (state, base, after) in cases {
            let mut peer = pipelined();
            peer.state = state.clone();
            peer.advance(LogIndex(base));
            assert_eq!(peer.state, after, "{state:?}, a log from {base}");
            if after != state && after != State::Replicate {
                assert_eq!(peer.next, LogIndex(6), "after what it holds");
            }
        }
    }

    #[test]
    fn who_is_heard_is_not_lost_and_confirms_no_less_than_before() {
        let mut peer = Peer { lost: true, ..peer() };
        peer.hear(Nanos(5), 3);
        peer.hear(Nanos(6), 2);
        assert_eq!((peer.heard, peer.lost, peer.round), (Nanos(6), false, 3));
    }

    #[test]
    fn whoever_is_probed_or_takes_a_checkpoint_has_nothing_under_way() {
        let mut peer = pipelined();
        peer.probe(LogIndex(3));
        assert_eq!((peer.next, peer.inflight_bytes), (LogIndex(6), 0), "5 is acknowledged");
        peer.check(LogIndex(9), 0);
        let mut peer = pipelined();
        assert_eq!(peer.floor(), None);
        peer.snapshot(LogIndex(8));
        assert_eq!((peer.floor(), peer.inflight_bytes), (Some(LogIndex(8)), 0));
        assert_eq!(peer.state, snapshot(8, u64::MAX));
        peer.check(LogIndex(9), 0);
    }
}
