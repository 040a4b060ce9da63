//! What is durable, and what has to wait until it is.

use super::message::{AppendOutcome, Body, Message};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use base::{Ballot, LogIndex, Ticket, planted};

/// Which durability a statement rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Refusals, pre-votes, a leader's appends: states nothing that a crash could take back.
    Now,
    /// Rests on the promise.
    Ballot,
    /// Rests on the promise and the log.
    Log,
}

/// Something that leaves when its ticket is durable.
#[derive(Clone, Debug)]
pub(crate) enum Held {
    Message(Message),
    /// This node's own vote for the ballot.
    OwnVote(Ballot),
}

impl Held {
    /// Whether who hears this need not hear `old`: an answer to the same leader, at least as far.
    fn says_again(&self, old: &Held) -> bool {
        use AppendOutcome::{Held as Holds, Matched};
        let (Held::Message(new), Held::Message(old)) = (self, old) else { return false };
        let same = (new.to, new.ballot, new.life) == (old.to, old.ballot, old.life);
        same && match (&new.body, &old.body) {
            (
                Body::AppendReply { of: a, round: m, outcome: Matched(i) },
                Body::AppendReply { of: b, round: n, outcome: Matched(j) },
            )
            | (
                Body::AppendReply { of: a, round: m, outcome: Holds(i) },
                Body::AppendReply { of: b, round: n, outcome: Holds(j) },
            ) => a == b && m >= n && i >= j,
            (Body::RoundAck { of: a, round: m }, Body::RoundAck { of: b, round: n }) => {
                a == b && m >= n
            }
            (new, old) => new == old,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Disk {
    latest: Ticket,
    through: Ticket,
    /// The last ticket that carried a changed promise.
    ballot_ticket: Ticket,
    /// Writes under way: ticket, and the last index it makes durable.
    pending: VecDeque<(Ticket, LogIndex)>,
    durable: LogIndex,
    held: VecDeque<(Ticket, Held)>,
    pub outbox: Vec<(Wait, Held)>,
    /// First index not yet in a persist request.
    unwritten_from: LogIndex,
    truncate_from: Option<LogIndex>,
}

impl Disk {
    pub fn new(durable: LogIndex) -> Self {
        Self {
            latest: Ticket::ZERO,
            through: Ticket::ZERO,
            ballot_ticket: Ticket::ZERO,
            pending: VecDeque::new(),
            durable,
            held: VecDeque::new(),
            outbox: Vec::new(),
            unwritten_from: durable.next(),
            truncate_from: None,
        }
    }

    /// The promise that was handed over last survives a crash.
    pub fn has_promise(&self) -> bool {
        self.ballot_ticket <= self.through
    }

    /// Nothing was written or sent yet.
    pub fn is_unused(&self) -> bool {
        self.latest == Ticket::ZERO && self.held.is_empty() && self.outbox.is_empty()
    }

    /// Entries up to here survive a crash.
    pub fn durable(&self) -> LogIndex {
        self.durable
    }

    /// Entries at `from` and above are overwritten: no write under way vouches for them any
    /// more, not even for an equal entry that comes back later (etcd's append ABA race).
    pub fn truncate(&mut self, from: LogIndex) {
        assert!(from > LogIndex::ZERO, "the first entry has index 1");
        let keep = from.prev();
        for (_, last) in &mut self.pending {
            *last = if planted!(LateWriteVouches) { *last } else { (*last).min(keep) };
        }
        self.durable = self.durable.min(keep);
        self.unwritten_from = self.unwritten_from.min(from);
        self.truncate_from = Some(self.truncate_from.map_or(from, |t| t.min(from)));
        let vouches = |held: &Held| match held {
            Held::Message(Message { body: Body::AppendReply { outcome, .. }, .. }) => {
                use AppendOutcome::{Held, Matched};
                let voids = |m: LogIndex| m >= from && !planted!(LateWriteVouches);
                matches!(outcome, Matched(m) | Held(m) if voids(*m))
            }
            _ => false,
        };
        self.held.retain(|(_, held)| !vouches(held));
        self.outbox.retain(|(_, held)| !vouches(held));
    }

    /// Answers to appends that have not left are as those of a member without a seat.
    pub fn retract(&mut self) {
        let held = self.held.iter_mut().map(|(_, held)| held);
        let answers = held.chain(self.outbox.iter_mut().map(|(_, held)| held));
        for held in answers {
            if let Held::Message(Message {
                body: Body::AppendReply { outcome, round, .. }, ..
            }) = held
            {
                (*outcome, *round) = (outcome.without_seat(), 0);
            }
        }
        let confirms = |held: &Held| {
            matches!(held, Held::Message(Message { body: Body::RoundAck { .. }, .. }))
        };
        self.held.retain(|(_, held)| !confirms(held));
        self.outbox.retain(|(_, held)| !confirms(held));
    }

    /// A durable checkpoint covers everything up to `index`.
    pub fn covered(&mut self, index: LogIndex) {
        self.durable = self.durable.max(index);
        self.unwritten_from = self.unwritten_from.max(index.next());
    }

    /// As `covered`, for entries that have been handed to the journal already.
    pub fn covered_entries(&mut self, upto: LogIndex) {
        self.durable = self.durable.max(upto);
    }

    /// The next request, if anything has to be written: ticket, truncation, first new index.
    pub fn begin(
        &mut self,
        ballot_changed: bool,
        last: LogIndex,
    ) -> Option<(Ticket, Option<LogIndex>, LogIndex)> {
        let from = self.unwritten_from;
        assert!(from <= last.next(), "nothing was written that is not there");
        assert!(self.durable <= last, "nothing is durable that is not there");
        let truncate = self.truncate_from.take().filter(|_| !planted!(ForgottenTruncation));
        if !ballot_changed && truncate.is_none() && from > last {
            return None;
        }
        self.latest = self.latest.next();
        if ballot_changed {
            self.ballot_ticket = self.latest;
        }
        assert!(self.ballot_ticket <= self.latest && self.through < self.latest, "tickets rise");
        self.pending.push_back((self.latest, last));
        self.unwritten_from = last.next();
        Some((self.latest, truncate, from))
    }

    /// Moves the outbox: what may leave at once goes to `send`, the rest is held.
    pub fn release_outbox(&mut self, mut send: impl FnMut(Held)) {
        for (wait, held) in core::mem::take(&mut self.outbox) {
            let ticket = match wait {
                Wait::Now => Ticket::ZERO,
                Wait::Ballot => self.ballot_ticket,
                Wait::Log => self.latest,
            };
            if ticket <= self.through {
                send(held);
            } else {
                self.hold(ticket, held);
            }
        }
    }

    /// While a disk stalls, every append and heartbeat is answered: of answers that wait for the
    /// same write only the last one is kept, for it says what those before it said.
    fn hold(&mut self, ticket: Ticket, new: Held) {
        let waiting = self.held.iter_mut().rev().filter(|(t, _)| *t == ticket);
        match waiting.map(|(_, old)| old).find(|old| new.says_again(old)) {
            Some(old) => *old = new,
            None => self.held.push_back((ticket, new)),
        }
    }

    /// Everything up to `ticket` is durable; returns what waited for it, in order.
    pub fn persisted(&mut self, ticket: Ticket) -> Vec<Held> {
        assert!(ticket <= self.latest, "only what was asked for is durable");
        self.through = self.through.max(ticket);
        while let Some(&(t, last)) = self.pending.front() {
            if t > self.through {
                break;
            }
            self.durable = self.durable.max(last);
            self.pending.pop_front();
        }
        let mut free = Vec::new();
        let mut rest = VecDeque::new();
        for (t, held) in core::mem::take(&mut self.held) {
            if t <= self.through { free.push(held) } else { rest.push_back((t, held)) }
        }
        self.held = rest;
        let waits = self.held.front().is_none_or(|(t, _)| *t > self.through);
        assert!(waits, "whatever is durable leaves");
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use base::{Birth, Incarnation, Life, NodeId};

    #[test]
    fn while_a_write_stalls_its_answers_are_one() {
        let (of, life) = (Ballot::new(3, 2), base::Life::UNKNOWN);
        let answer = |round, outcome| {
            let body = Body::AppendReply { of, round, outcome };
            Held::Message(Message { from: NodeId(1), to: of.node, life, ballot: of, body })
        };
        let mut disk = Disk::new(LogIndex(4));
        let (ticket, ..) = disk.begin(true, LogIndex(5)).expect("entry 5 is new");
        for round in 0..10_000 {
            let outcome = AppendOutcome::Matched(LogIndex(4 + round.min(1)));
            disk.outbox.push((Wait::Log, answer(round, outcome)));
            let body = Body::RoundAck { of, round };
            let ack = Message { from: NodeId(1), to: of.node, life, ballot: of, body };
            disk.outbox.push((Wait::Ballot, Held::Message(ack)));
            disk.release_outbox(|_| panic!("nothing is durable"));
        }
        // One that says less, and one to another leader, stand for themselves.
        disk.outbox.push((Wait::Log, answer(0, AppendOutcome::Matched(LogIndex(5)))));
        disk.outbox.push((Wait::Log, answer(10_000, AppendOutcome::Held(LogIndex(5)))));
        disk.release_outbox(|_| panic!("nothing is durable"));
        let left = disk.persisted(ticket);
        assert_eq!(left.len(), 4);
        let last = AppendOutcome::Matched(LogIndex(5));
        assert!(matches!(&left[0], Held::Message(Message {
            body: Body::AppendReply { round: 9999, outcome, .. }, ..
        }) if *outcome == last));
    }

    #[test]
    fn a_late_write_never_vouches_for_an_entry_overwritten_since() {
        let mut disk = Disk::new(LogIndex(4));
        let (first, ..) = disk.begin(false, LogIndex(5)).expect("entry 5 is new");
        disk.truncate(LogIndex(5));
        let (second, truncate, from) = disk.begin(false, LogIndex(5)).expect("5 again");
        assert_eq!((truncate, from), (Some(LogIndex(5)), LogIndex(5)));
        disk.persisted(first);
        assert_eq!(disk.durable(), LogIndex(4), "the first write was of another entry");
        disk.persisted(second);
        assert_eq!(disk.durable(), LogIndex(5));
    }
    const OF: Ballot = Ballot::new(3, 2);

    fn says(body: Body) -> Held {
        let life = Life { birth: Birth(1), incarnation: Incarnation(1) };
        Held::Message(Message { from: NodeId(1), to: OF.node, life, ballot: OF, body })
    }

    fn answer(round: u64, outcome: AppendOutcome) -> Held {
        says(Body::AppendReply { of: OF, round, outcome })
    }

    fn matched(index: u64) -> Held {
        answer(0, AppendOutcome::Matched(LogIndex(index)))
    }

    fn ack(of: Ballot, round: u64) -> Held {
        says(Body::RoundAck { of, round })
    }

    fn refusal(granted: bool) -> Held {
        says(Body::PreVoteReply { of: OF, granted })
    }

    fn bodies(held: Vec<Held>) -> Vec<Body> {
        let body = |held| match held {
            Held::Message(message) => message.body,
            Held::OwnVote(of) => Body::VoteReply { of, granted: true },
        };
        held.into_iter().map(body).collect()
    }

    /// What the disk lets go at once.
    fn released(disk: &mut Disk) -> Vec<Body> {
        let mut left = Vec::new();
        disk.release_outbox(|held| left.push(held));
        bodies(left)
    }

    #[test]
    fn an_answer_takes_the_place_of_one_that_says_no_more() {
        let holds = |round, index| answer(round, AppendOutcome::Held(LogIndex(index)));
        let full = |round, index| answer(round, AppendOutcome::Matched(LogIndex(index)));
        let other = Ballot::new(4, 2);
        let stale = |of| says(Body::AppendReply { of, round: 5, outcome: AppendOutcome::Stale });
        let another = says(Body::AppendReply {
            of: other,
            round: 5,
            outcome: AppendOutcome::Matched(LogIndex(5)),
        });
        let cases = [
            (full(5, 5), full(5, 5), true),
            (full(6, 6), full(5, 5), true),
            (full(4, 6), full(5, 5), false),
            (full(6, 4), full(5, 5), false),
            (another, full(5, 5), false),
            (holds(5, 5), holds(5, 5), true),
            (holds(4, 6), holds(5, 5), false),
            (holds(6, 4), holds(5, 5), false),
            (holds(9, 9), full(5, 5), false),
            (ack(OF, 5), ack(OF, 5), true),
            (ack(OF, 6), ack(OF, 5), true),
            (ack(OF, 4), ack(OF, 5), false),
            (ack(other, 5), ack(OF, 5), false),
            (stale(OF), stale(OF), true),
            (stale(other), stale(OF), false),
            (Held::OwnVote(OF), Held::OwnVote(OF), false),
        ];
        for (new, old, again) in cases {
            assert_eq!(new.says_again(&old), again, "{new:?} after {old:?}");
        }
        let Held::Message(message) = full(6, 6) else { unreachable!() };
        let elsewhere = [
            Message { to: NodeId(9), ..message.clone() },
            Message { ballot: other, ..message.clone() },
            Message { life: Life::UNKNOWN, ..message },
        ];
        for message in elsewhere {
            assert!(!Held::Message(message).says_again(&full(5, 5)));
        }
    }

    #[test]
    fn an_answer_waits_for_its_own_write_beside_an_equal_one_for_an_earlier_write() {
        let mut disk = Disk::new(LogIndex(4));
        let mut tickets = Vec::new();
        for index in [5, 6] {
            let begun = disk.begin(index == 5, LogIndex(index)).expect("one more is new");
            tickets.push(begun.0);
            disk.outbox.push((Wait::Log, ack(OF, 1)));
            assert_eq!(released(&mut disk), []);
        }
        assert_eq!(disk.persisted(tickets[0]).len(), 1);
        assert_eq!((disk.durable(), disk.has_promise()), (LogIndex(5), true));
        assert_eq!(disk.persisted(tickets[1]).len(), 1, "and this one for the second");
    }

    #[test]
    fn a_statement_leaves_when_what_it_rests_on_is_durable() {
        let mut disk = Disk::new(LogIndex(4));
        assert!(disk.has_promise(), "it was read from the disk");
        let all = [Wait::Now, Wait::Ballot, Wait::Log];
        let said = |disk: &mut Disk| {
            disk.outbox.extend((1..).zip(all).map(|(round, wait)| (wait, ack(OF, round))));
            released(disk).len()
        };
        let (promise, ..) = disk.begin(true, LogIndex(4)).expect("a promise");
        assert!(!disk.has_promise());
        assert_eq!(said(&mut disk), 1);
        disk.persisted(promise);
        assert!(disk.has_promise());
        disk.begin(false, LogIndex(5)).expect("an entry");
        assert_eq!(said(&mut disk), 2, "the promise was durable before");
    }

    #[test]
    fn a_write_is_asked_for_when_there_is_something_to_write() {
        let mut disk = Disk::new(LogIndex(4));
        assert_eq!(disk.begin(false, LogIndex(4)), None);
        let ticket = |n| base::Ticket(n);
        assert_eq!(disk.begin(true, LogIndex(4)), Some((ticket(1), None, LogIndex(5))));
        assert_eq!(disk.begin(false, LogIndex(5)), Some((ticket(2), None, LogIndex(5))));
        assert_eq!(disk.begin(false, LogIndex(5)), None, "once");
        disk.truncate(LogIndex(4));
        let cut = Some(LogIndex(4));
        assert_eq!(disk.begin(false, LogIndex(3)), Some((ticket(3), cut, LogIndex(4))));
        disk.covered(LogIndex(6));
        assert_eq!(disk.begin(false, LogIndex(6)), None, "the checkpoint has it");
        assert_eq!(disk.begin(false, LogIndex(7)), Some((ticket(4), None, LogIndex(7))));
        assert_eq!(disk.durable(), LogIndex(6));
        disk.covered_entries(LogIndex(7));
        assert_eq!(disk.durable(), LogIndex(7));
    }

    #[test]
    fn a_disk_is_unused_until_something_is_written_or_said() {
        let mut disk = Disk::new(LogIndex(4));
        assert!(disk.is_unused());
        disk.outbox.push((Wait::Now, refusal(false)));
        assert!(!disk.is_unused(), "something is to leave");
        assert_eq!(released(&mut disk).len(), 1);
        assert!(disk.is_unused());
        disk.hold(base::Ticket(1), refusal(false));
        assert!(!disk.is_unused(), "something waits");
        let mut disk = Disk::new(LogIndex(4));
        disk.begin(true, LogIndex(4)).expect("a promise");
        assert!(!disk.is_unused(), "something was written");
    }

    #[test]
    fn an_answer_about_entries_that_are_overwritten_never_leaves() {
        let mut disk = Disk::new(LogIndex(4));
        let (ticket, ..) = disk.begin(true, LogIndex(8)).expect("entries 5 to 8");
        let holds = |index| answer(0, AppendOutcome::Held(LogIndex(index)));
        let rejected = || {
            let (hint, hint_ballot) = (LogIndex(7), OF);
            answer(0, AppendOutcome::Rejected { prev: LogIndex(9), hint, hint_ballot })
        };
        let all = || vec![matched(6), holds(6), matched(5), holds(5), rejected(), refusal(true)];
        disk.outbox.extend(all().into_iter().map(|held| (Wait::Log, held)));
        assert_eq!(released(&mut disk), []);
        disk.outbox.extend(all().into_iter().map(|held| (Wait::Now, held)));
        disk.truncate(LogIndex(6));
        let left = bodies(vec![matched(5), holds(5), rejected(), refusal(true)]);
        assert_eq!(released(&mut disk), left, "of those that were to leave");
        assert_eq!(bodies(disk.persisted(ticket)), left, "of those that wait");
        assert_eq!(disk.durable(), LogIndex(5), "the write was of other entries above");
    }

    #[test]
    fn whatever_was_said_under_a_founding_that_came_to_nothing_counts_for_nobody() {
        let mut disk = Disk::new(LogIndex(4));
        let (ticket, ..) = disk.begin(true, LogIndex(5)).expect("entry 5");
        let all = || [answer(3, AppendOutcome::Matched(LogIndex(5))), ack(OF, 3), refusal(true)];
        disk.outbox.extend(all().map(|held| (Wait::Log, held)));
        assert_eq!(released(&mut disk), []);
        disk.outbox.extend(all().map(|held| (Wait::Now, held)));
        disk.retract();
        let holds = answer(0, AppendOutcome::Held(LogIndex(5)));
        let left = bodies(vec![holds, refusal(true)]);
        assert_eq!(released(&mut disk), left, "of what was to leave");
        assert_eq!(bodies(disk.persisted(ticket)), left, "of what waits");
    }

    #[test]
    fn a_ticket_vouches_for_the_writes_up_to_it_and_frees_what_waits_for_them() {
        let mut disk = Disk::new(LogIndex(4));
        for index in 5..=7 {
            disk.begin(false, LogIndex(index)).expect("one more is new");
            disk.outbox.push((Wait::Log, matched(index)));
            assert_eq!(released(&mut disk), []);
        }
        assert_eq!(bodies(disk.persisted(base::Ticket(2))), bodies(vec![matched(5), matched(6)]));
        assert_eq!(disk.durable(), LogIndex(6));
        assert_eq!(bodies(disk.persisted(base::Ticket(1))), [], "a late report of the first one");
        assert_eq!(bodies(disk.persisted(base::Ticket(3))), bodies(vec![matched(7)]));
        assert_eq!(disk.durable(), LogIndex(7));
    }
}
