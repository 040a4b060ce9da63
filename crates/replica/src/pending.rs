//! Requests that wait for an answer, bounded, oldest first.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use base::limits::{OFFERED_BYTES_MAX, OFFERED_MAX};
use base::{Nanos, NodeId, Token};
use mvcc::{Caller, Command};

/// A write received here and not yet applied here.
pub struct Write {
    pub token: Token,
    pub caller: Caller,
    pub command: Command,
    /// Of the command, encoded.
    pub bytes: usize,
    pub deadline: Nanos,
    pub sent: Sent,
}

/// A write's number and what there is to say of it.
pub type Offered = (u64, Caller, Command, usize);

/// Whether a write may already be in some log. Only one that is not may be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Never left this member.
    Parked,
    /// Proposed here or forwarded to `to`: it may be applied. Offered again at `again`; in this
    /// member's own log it needs no repetition until the leader changes.
    Gone { to: NodeId, again: Option<Nanos> },
}

/// Pending writes by their sequence number, which is also their order of arrival and of their
/// deadlines. What has to be offered to a leader is kept apart, so that a step costs what it
/// sends and not what waits.
#[derive(Default)]
pub struct Writes {
    by_seq: BTreeMap<u64, Write>,
    /// Of all their commands.
    bytes: usize,
    parked: BTreeSet<u64>,
    /// When a write that is gone is offered again.
    due: BTreeSet<(Nanos, u64)>,
}

impl Writes {
    pub fn len(&self) -> usize {
        self.by_seq.len()
    }

    /// Bytes of their commands.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes in what came from `token`'s client.
    pub fn park(
        &mut self,
        seq: u64,
        token: Token,
        (caller, command, bytes): (Caller, Command, usize),
        deadline: Nanos,
    ) {
        let write = Write { token, caller, command, bytes, deadline, sent: Sent::Parked };
        let last = self.by_seq.last_key_value();
        assert!(last.is_none_or(|(s, w)| *s < seq && w.deadline <= deadline), "in order");
        self.bytes += bytes;
        self.by_seq.insert(seq, write);
        assert!(self.parked.insert(seq), "a write is taken in once");
    }

    /// The command of the write under this number.
    pub fn command(&self, seq: u64) -> Option<&Command> {
        self.by_seq.get(&seq).map(|write| &write.command)
    }

    pub fn remove(&mut self, seq: u64) -> Option<Write> {
        let write = self.by_seq.remove(&seq)?;
        assert!(self.bytes >= write.bytes, "every command is counted");
        self.bytes -= write.bytes;
        self.forget(seq, write.sent);
        Some(write)
    }

    fn forget(&mut self, seq: u64, sent: Sent) {
        let kept = match sent {
            Sent::Parked => self.parked.remove(&seq),
            Sent::Gone { again: Some(at), .. } => self.due.remove(&(at, seq)),
            Sent::Gone { again: None, .. } => true,
        };
        assert!(kept, "a waiting write is in the list of its state");
    }

    /// Takes what has to be offered to the leader `to` now, oldest first, and notes that it is
    /// offered again at `again`. No more than about [`OFFERED_BYTES_MAX`] and [`OFFERED_MAX`]: the
    /// rest is due as it was.
    pub fn offer(&mut self, now: Nanos, to: NodeId, again: Option<Nanos>) -> Vec<Offered> {
        assert!(again.is_none_or(|at| at > now), "never twice in one step");
        let due = self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, seq)| *seq);
        let mut seqs: Vec<u64> = self.parked.iter().copied().chain(due).collect();
        seqs.sort_unstable();
        let (mut offered, mut bytes) = (Vec::with_capacity(seqs.len().min(OFFERED_MAX)), 0);
        for seq in seqs {
            if offered.len() == OFFERED_MAX || bytes >= OFFERED_BYTES_MAX {
                return offered;
            }
            let write = self.by_seq.get_mut(&seq).expect("only waiting writes are listed");
            let before = core::mem::replace(&mut write.sent, Sent::Gone { to, again });
            bytes += write.bytes;
            offered.push((seq, write.caller.clone(), write.command.clone(), write.bytes));
            self.forget(seq, before);
            if let Some(at) = again {
                self.due.insert((at, seq));
            }
        }
        assert!(self.parked.is_empty(), "what had never left is offered first");
        assert!(self.due.first().is_none_or(|(at, _)| *at > now), "and all that was due");
        offered
    }

    /// Another leader: every unanswered write is offered to it, as soon as it is known.
    pub fn offer_all_again(&mut self) {
        self.due.clear();
        for (seq, write) in &mut self.by_seq {
            if let Sent::Gone { again, .. } = &mut write.sent {
                *again = Some(Nanos::ZERO);
                self.due.insert((Nanos::ZERO, *seq));
            }
        }
        assert_eq!(self.parked.len() + self.due.len(), self.by_seq.len(), "each has its turn");
    }

    /// `seq_next` is above the number of every request of this member.
    pub fn check(&self, seq_next: u64) {
        let last = self.by_seq.last_key_value().map_or(0, |(seq, _)| *seq);
        assert!(last < seq_next, "requests are numbered once");
        assert!(!self.by_seq.is_empty() || self.bytes == 0, "bytes are those of what waits");
        let listed = self.parked.len() + self.due.len();
        assert!(listed <= self.by_seq.len(), "a waiting write is in one list at most");
        let last = self.parked.last().copied().unwrap_or(0);
        debug_assert!(last == 0 || self.by_seq.contains_key(&last), "only what waits is listed");
    }

    /// When something has to be offered to a leader.
    pub fn offer_at(&self) -> Option<Nanos> {
        let due = self.due.first().map(|(at, _)| *at);
        if self.parked.is_empty() { due } else { Some(Nanos::ZERO) }
    }

    pub fn oldest_deadline(&self) -> Option<Nanos> {
        self.by_seq.first_key_value().map(|(_, write)| write.deadline)
    }

    /// Takes out what is past its deadline.
    pub fn expired(&mut self, now: Nanos) -> Vec<(u64, Write)> {
        let mut out = Vec::new();
        while let Some((seq, write)) = self.by_seq.first_key_value()
            && write.deadline <= now
        {
            let seq = *seq;
            out.extend(self.remove(seq).map(|write| (seq, write)));
        }
        out
    }

    /// Takes out what never left this member and is due at or before `deadline`.
    pub fn parked_until(&mut self, deadline: Nanos) -> Vec<(u64, Write)> {
        let mut out = Vec::new();
        while let Some(seq) = self.parked.first().copied()
            && self.by_seq[&seq].deadline <= deadline
        {
            out.extend(self.remove(seq).map(|write| (seq, write)));
        }
        out
    }

    /// Every pending sequence number, oldest first.
    pub fn seqs(&self) -> Vec<u64> {
        self.by_seq.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEADER: NodeId = NodeId(2);

    fn with(count: u64) -> Writes {
        let mut writes = Writes::default();
        for seq in 1..=count {
            writes.park(seq, Token(seq), write(), Nanos(100 + seq));
        }
        writes
    }

    fn write() -> (Caller, Command, usize) {
        (Caller::nobody(), Command::Compact { revision: 1 }, 1)
    }

    fn seqs(offered: &[Offered]) -> Vec<u64> {
        offered.iter().map(|(seq, ..)| *seq).collect()
    }

    #[test]
    fn a_write_is_offered_once_until_its_time_comes_again() {
        let mut writes = with(3);
        assert_eq!(writes.offer_at(), Some(Nanos::ZERO));
        assert_eq!(seqs(&writes.offer(Nanos(1), LEADER, Some(Nanos(11)))), [1, 2, 3]);
        writes.park(4, Token(4), write(), Nanos(200));
        assert_eq!(seqs(&writes.offer(Nanos(5), LEADER, Some(Nanos(15)))), [4]);
        assert_eq!(writes.command(2), Some(&write().1), "whoever applies it need not decode it");
        assert!(writes.remove(2).is_some());
        assert_eq!((writes.command(2), writes.command(5)), (None, None));
        assert_eq!(writes.offer_at(), Some(Nanos(11)));
        assert_eq!(seqs(&writes.offer(Nanos(10), LEADER, Some(Nanos(20)))), []);
        assert_eq!(seqs(&writes.offer(Nanos(11), LEADER, Some(Nanos(21)))), [1, 3]);
        assert_eq!(seqs(&writes.offer(Nanos(15), LEADER, Some(Nanos(25)))), [4]);
    }

    #[test]
    fn no_step_offers_more_than_its_share_and_the_rest_follows_in_order() {
        let mut writes = Writes::default();
        let large = (Caller::nobody(), Command::Compact { revision: 1 }, OFFERED_BYTES_MAX - 1);
        for (seq, write) in [(1, large.clone()), (2, write()), (3, large), (4, write())] {
            writes.park(seq, Token(seq), write, Nanos(900));
        }
        assert_eq!(seqs(&writes.offer(Nanos(1), LEADER, Some(Nanos(11)))), [1, 2]);
        assert_eq!(writes.offer_at(), Some(Nanos::ZERO), "there is more to be offered now");
        assert_eq!(seqs(&writes.offer(Nanos(1), LEADER, Some(Nanos(11)))), [3, 4]);
        assert_eq!(writes.offer_at(), Some(Nanos(11)));
        let many = OFFERED_MAX as u64 + 7;
        let mut writes = with(many);
        assert_eq!(writes.offer(Nanos(1), LEADER, None).len(), OFFERED_MAX);
        assert_eq!(writes.offer(Nanos(1), LEADER, None).len(), 7);
        writes.offer_all_again();
        assert_eq!(writes.offer(Nanos(2), NodeId(3), Some(Nanos(12))).len(), OFFERED_MAX);
        assert_eq!(seqs(&writes.offer(Nanos(2), NodeId(3), Some(Nanos(12)))).last(), Some(&many));
    }

    #[test]
    fn a_change_of_leader_offers_everything_again_in_order() {
        let mut writes = with(2);
        assert_eq!(seqs(&writes.offer(Nanos(1), LEADER, None)), [1, 2]);
        assert_eq!(writes.offer_at(), None, "its own log needs no repetition");
        writes.park(3, Token(3), write(), Nanos(200));
        writes.offer_all_again();
        assert_eq!(seqs(&writes.offer(Nanos(2), NodeId(3), Some(Nanos(12)))), [1, 2, 3]);
    }

    #[test]
    fn only_what_never_left_is_refused_early_and_all_expire() {
        let mut writes = with(2);
        writes.offer(Nanos(1), LEADER, Some(Nanos(11)));
        (3..=5).for_each(|seq| writes.park(seq, Token(seq), write(), Nanos(100 + seq)));
        let refused: Vec<u64> = writes.parked_until(Nanos(104)).iter().map(|(s, _)| *s).collect();
        assert_eq!(refused, [3, 4]);
        let expired = writes.expired(Nanos(105));
        assert_eq!(expired.len(), 3);
        assert_eq!(expired[2].1.sent, Sent::Parked);
        assert_eq!((writes.len(), writes.offer_at(), writes.oldest_deadline()), (0, None, None));
    }

    #[test]
    fn bytes_and_numbers_are_those_of_what_waits() {
        let mut writes = Writes::default();
        assert_eq!((writes.len(), writes.bytes(), writes.seqs()), (0, 0, Vec::new()));
        for (seq, len) in [(3, 10), (4, 7), (9, 1)] {
            let (caller, command, _) = write();
            writes.park(seq, Token(seq), (caller, command, len), Nanos(100));
        }
        assert_eq!((writes.len(), writes.bytes(), writes.seqs()), (3, 18, alloc::vec![3, 4, 9]));
        assert_eq!(writes.oldest_deadline(), Some(Nanos(100)));
        assert!(writes.remove(5).is_none());
        assert_eq!(writes.remove(4).map(|write| write.token), Some(Token(4)));
        assert_eq!((writes.len(), writes.bytes(), writes.seqs()), (2, 11, alloc::vec![3, 9]));
        writes.check(10);
        assert!(writes.expired(Nanos(99)).is_empty());
        assert_eq!(writes.expired(Nanos(100)).len(), 2);
        assert_eq!((writes.len(), writes.bytes()), (0, 0));
        writes.check(1);
    }

    #[test]
    fn as_many_may_be_due_again_as_were_never_sent() {
        let mut writes = with(3);
        writes.offer(Nanos(1), LEADER, Some(Nanos(11)));
        writes.check(4);
        (4..=6).for_each(|seq| writes.park(seq, Token(seq), write(), Nanos(200)));
        writes.check(7);
    }

    #[test]
    #[should_panic(expected = "requests are numbered once")]
    fn a_number_that_is_still_to_be_given_out_waits_for_nothing() {
        with(3).check(3);
    }
}
