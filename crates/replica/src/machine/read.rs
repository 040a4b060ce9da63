//! Reads: one confirmation round serves every read that waited for it.

use super::Replica;
use crate::{Effects, RefusalReason, Reply};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use base::{LogIndex, Nanos, Token, planted};
use consensus::raft::ReadOutcome;

pub enum ReadKind {
    /// What was committed before has to be applied.
    Barrier,
    /// Nothing has to be applied for it.
    Confirm,
}

struct Waiting {
    token: Token,
    kind: ReadKind,
    deadline: Nanos,
}

/// Rounds under way at once: while one is confirmed the next may already be asked for.
const ROUNDS_MAX: usize = 4;

#[derive(Default)]
pub struct Reads {
    /// Not yet in a round.
    waiting: VecDeque<Waiting>,
    /// Rounds asked for, by sequence number.
    rounds: VecDeque<(u64, Vec<Waiting>)>,
    /// Confirmed at an index, waiting for it to be applied here.
    confirmed: VecDeque<(LogIndex, Vec<Waiting>)>,
    seq: u64,
    count: usize,
}

impl Reads {
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn check(&self) {
        let rounds = self.rounds.iter().map(|(_, requests)| requests.len());
        let confirmed = self.confirmed.iter().map(|(_, requests)| requests.len());
        let count = self.waiting.len() + rounds.chain(confirmed).sum::<usize>();
        assert_eq!(self.count, count, "every read that waits is counted");
        assert!(self.rounds.len() <= ROUNDS_MAX, "rounds under way are bounded");
        let rising = self.rounds.iter().is_sorted_by(|(a, _), (b, _)| a < b);
        assert!(rising, "rounds are asked for in order");
        let last = self.rounds.back().map_or(0, |(seq, _)| *seq);
        assert!(last <= self.seq, "each under a number that was given out");
    }

    pub fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    pub fn oldest_deadline(&self) -> Option<Nanos> {
        let waiting = self.waiting.front().map(|w| w.deadline);
        let round = self.rounds.front().and_then(|(_, r)| r.first()).map(|w| w.deadline);
        match (waiting, round) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

impl Replica {
    pub(super) fn queue_read(&mut self, token: Token, kind: ReadKind, out: &mut Effects) {
        // A member without data confirms too; whoever reads there is told so by the shell.
        if self.diverged {
            out.replies.push((token, self.refusal(RefusalReason::Diverged)));
            return;
        }
        if self.writes.len() + self.reads.len() >= self.settings.pending_max {
            out.replies.push((token, self.refusal(RefusalReason::Overloaded)));
            return;
        }
        let deadline = self.now.plus(self.settings.request_timeout);
        self.reads.count += 1;
        self.reads.waiting.push_back(Waiting { token, kind, deadline });
    }

    /// Asks consensus to confirm everything that waits, as one round.
    pub(super) fn start_read_round(&mut self) {
        let reads = &mut self.reads;
        if reads.waiting.is_empty() || reads.rounds.len() >= ROUNDS_MAX {
            return;
        }
        if self.raft.leader().is_none() {
            return;
        }
        let seq = reads.next_seq();
        if self.raft.read(self.now, seq, &mut self.ready) {
            reads.rounds.push_back((seq, reads.waiting.drain(..).collect()));
        }
    }

    pub(super) fn on_read_outcome(&mut self, outcome: ReadOutcome) {
        if self.standing.told(outcome) {
            return;
        }
        let at = self.reads.rounds.iter().position(|(seq, _)| *seq == outcome.seq);
        // None: it was confirmed in the step in which its requests timed out.
        if let Some((_, requests)) = at.and_then(|at| self.reads.rounds.remove(at)) {
            self.reads.confirmed.push_back((outcome.index, requests));
        }
    }

    /// Answers confirmed reads whose index is applied.
    pub(super) fn serve_reads(&mut self, out: &mut Effects) {
        let mut held = VecDeque::new();
        while let Some((index, mut requests)) = self.reads.confirmed.pop_front() {
            if index > self.applied && !planted!(ReadBeforeApply) {
                let confirmed = requests.extract_if(.., |w| matches!(w.kind, ReadKind::Confirm));
                let before = out.replies.len();
                out.replies.extend(confirmed.map(|w| (w.token, Reply::Barrier)));
                self.reads.count -= out.replies.len() - before;
                if !requests.is_empty() {
                    held.push_back((index, requests));
                }
                continue;
            }
            assert!(self.reads.count >= requests.len(), "every read that waits is counted");
            self.reads.count -= requests.len();
            self.standing.confirmed(index, self.applied);
            out.replies.extend(requests.into_iter().map(|w| (w.token, Reply::Barrier)));
        }
        self.reads.confirmed = held;
    }

    /// A read that waited too long changed nothing: it is refused. Consensus knows no deadlines: a
    /// round that nobody waits for any more is withdrawn from it.
    pub(super) fn expire_reads(&mut self, out: &mut Effects) {
        let now = self.now;
        let wait = self.settings.leaderless_wait;
        let leaderless = self.raft.leader().is_none()
            && self.leaderless_since.is_some_and(|since| now >= since.plus(wait));
        let slack = self.settings.request_timeout.since(wait);
        let cutoff = if leaderless { now.plus(slack) } else { now };
        let reads = &mut self.reads;
        let mut expired = Vec::new();
        while reads.waiting.front().is_some_and(|w| w.deadline <= cutoff) {
            expired.extend(reads.waiting.pop_front());
        }
        for (seq, requests) in &mut reads.rounds {
            expired.extend(requests.extract_if(.., |w| w.deadline <= cutoff));
            if requests.is_empty() {
                self.raft.withdraw(*seq);
            }
        }
        for (_, requests) in &mut reads.confirmed {
            expired.extend(requests.extract_if(.., |w| w.deadline <= now));
        }
        reads.rounds.retain(|(_, requests)| !requests.is_empty());
        reads.confirmed.retain(|(_, requests)| !requests.is_empty());
        assert!(reads.count >= expired.len(), "every read that waits is counted");
        reads.count -= expired.len();
        let led = self.raft.leader().is_some();
        let reason = if led { RefusalReason::Timeout } else { RefusalReason::NoLeader };
        for request in expired {
            out.replies.push((request.token, self.refusal(reason)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn waiting(deadline: u64) -> Waiting {
        Waiting { token: Token(1), kind: ReadKind::Barrier, deadline: Nanos(deadline) }
    }

    #[test]
    fn the_oldest_read_waits_for_a_round_or_is_first_in_the_first_one() {
        let mut reads = Reads::default();
        assert_eq!(reads.oldest_deadline(), None);
        reads.waiting.extend([waiting(7), waiting(8)]);
        assert_eq!(reads.oldest_deadline(), Some(Nanos(7)));
        reads.rounds.push_back((1, vec![waiting(9)]));
        assert_eq!(reads.oldest_deadline(), Some(Nanos(7)));
        reads.rounds.push_front((0, vec![waiting(5), waiting(6)]));
        assert_eq!(reads.oldest_deadline(), Some(Nanos(5)));
        reads.waiting.clear();
        assert_eq!(reads.oldest_deadline(), Some(Nanos(5)));
    }

    /// Three reads that wait in every way there is, of two rounds under these numbers.
    fn three(rounds: [u64; 2]) -> Reads {
        let mut reads = Reads::default();
        assert_eq!([reads.next_seq(), reads.next_seq(), reads.next_seq()], [1, 2, 3]);
        reads.rounds.extend(rounds.map(|seq| (seq, vec![waiting(5)])));
        reads.waiting.push_back(waiting(7));
        reads.confirmed.push_back((LogIndex(1), vec![waiting(4), waiting(4)]));
        reads.count = 5;
        reads
    }

    #[test]
    fn reads_are_counted_wherever_they_wait() {
        three([1, 2]).check();
        three([1, 3]).check();
        assert_eq!(three([1, 3]).len(), 5);
    }

    #[test]
    #[should_panic(expected = "every read that waits is counted")]
    fn a_read_that_is_not_counted_is_noticed() {
        Reads { count: 4, ..three([1, 2]) }.check();
    }

    #[test]
    #[should_panic(expected = "rounds are asked for in order")]
    fn two_rounds_of_one_number_are_noticed() {
        three([2, 2]).check();
    }
}
