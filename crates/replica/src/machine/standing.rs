//! What a member may have shown before it stopped, and whether it stands there again.
//!
//! Clients read a member's own state (serializable ranges, watches, the revision in every
//! header), so a restarted member shows none before it has applied all that it may have shown.
//! How far that was is not on its disk in general: it shows what its leader commits, also where
//! its own write is still under way. So it asks, as for a linearizable read: what a leader
//! confirms after the start covers everything that anybody was told before.
//!
//! A member that can ask nobody must not be mute for ever. A log that by its own statement ends
//! with what is committed is all that was shown, if nothing is shown beyond such a statement
//! before something later is durable: then the disk never says so wrongly. While there are writes
//! the disk makes no such statement and nothing waits for it. Only in a pause is it made (with the
//! journal's idle mark), and only the first write after the pause is shown no sooner than it is
//! durable here.

use super::Replica;
use crate::Effects;
use alloc::collections::VecDeque;
use base::{LogIndex, Nanos, Ticket, planted};
use consensus::raft::{NoLeader, Persist, Raft};

/// Pause after which the disk is told that all it holds is committed: shorter than the journal's
/// silence, so that one mark says both.
const PAUSE: Nanos = Nanos::from_millis(40);

pub(super) struct Standing {
    current: bool,
    /// Once this is applied the member is current.
    until: Option<LogIndex>,
    /// The read round that will tell.
    asked: Option<u64>,
    /// What the disk may be found to say: after this write all up to this index is committed,
    /// and there is nothing more. Void once a later write is durable.
    stated: VecDeque<(Ticket, LogIndex)>,
    latest: Ticket,
    durable: Ticket,
    /// End of the log after the latest write.
    last: LogIndex,
    /// When to state this next.
    due: Option<(LogIndex, Nanos)>,
}

impl Standing {
    /// `known` is committed by the journal's own word, whose log ends at `last`.
    pub fn new(known: LogIndex, last: LogIndex) -> Self {
        let whole = known >= last;
        Self {
            current: false,
            until: whole.then_some(last),
            asked: None,
            stated: whole.then_some((Ticket::ZERO, last)).into_iter().collect(),
            latest: Ticket::ZERO,
            durable: Ticket::ZERO,
            last,
            due: None,
        }
    }

    /// What was shown may be among what the disk has lost.
    pub fn damaged(&mut self) {
        (self.until, self.current) = (None, false);
        self.stated.clear();
    }

    /// A checkpoint took the place of the log, which ends at `last` now.
    pub fn installed(&mut self, last: LogIndex) {
        self.last = last;
    }

    /// Takes note of a write before the disk has it. Until this member is current it may have
    /// shown more than its log holds, so no write may say that the log is all there is: only the
    /// one that keeps its seat does, without which it would count for nothing after a restart.
    pub fn writes(&mut self, persist: &mut Persist, takes_seat: bool) {
        assert!(persist.ticket > self.latest, "tickets rise");
        self.latest = persist.ticket;
        let kept = persist.truncate_from.map_or(self.last, |from| self.last.min(from.prev()));
        self.last = persist.entries.last().map_or(kept, |entry| entry.index);
        if !self.current && !takes_seat {
            persist.commit = persist.commit.min(LogIndex(self.last.0.saturating_sub(1)));
        }
        if persist.commit >= self.last {
            self.stated.push_back((persist.ticket, self.last));
        }
    }

    pub fn persisted(&mut self, ticket: Ticket) {
        assert!(ticket <= self.latest, "only what was written is durable");
        self.durable = self.durable.max(ticket);
        self.stated.retain(|(at, _)| *at >= ticket);
    }

    /// `last` ends the log.
    pub fn check(&self, last: LogIndex) {
        assert!(self.durable <= self.latest, "only what was written is durable");
        assert!(self.last <= last, "writes are of the log");
        assert!(self.stated.iter().all(|(at, _)| *at <= self.latest), "a write says so, or did");
        let rising = self.stated.iter().is_sorted_by(|(a, _), (b, _)| a <= b);
        assert!(rising, "the disk says one thing after the other");
    }

    /// Nothing above may be shown yet.
    pub fn limit(&self) -> LogIndex {
        let lowest = self.stated.iter().map(|(_, index)| *index).min();
        lowest.filter(|_| !planted!(ShownBeyondMark)).unwrap_or(LogIndex(u64::MAX))
    }

    pub fn deadline(&self) -> Option<Nanos> {
        self.due.map(|(_, at)| at)
    }

    /// True for the outcome of the round that was asked for here.
    pub fn told(&mut self, seq: u64, result: Result<LogIndex, NoLeader>) -> bool {
        let own = self.asked == Some(seq);
        if own {
            self.asked = None;
            self.until = result.ok();
        }
        own
    }

    /// A read of this life was confirmed at `index`.
    pub fn confirmed(&mut self, index: LogIndex, applied: LogIndex) {
        self.current |= applied >= index;
    }

    fn look(&mut self, applied: LogIndex) {
        self.current |= self.until.is_some_and(|until| applied >= until);
    }

    /// In a pause: what to state now.
    fn pause(&mut self, now: Nanos, applied: LogIndex, raft: &Raft) -> Option<LogIndex> {
        let last = raft.last().0;
        let rests = self.current
            && raft.commit() == last
            && applied == last
            && raft.durable() >= last
            && self.latest == self.durable
            && self.stated.is_empty();
        if !rests {
            self.due = None;
            return None;
        }
        match self.due {
            Some((index, at)) if index == last && now >= at => {
                self.due = None;
                self.stated.push_back((self.latest, last));
                Some(last)
            }
            Some((index, _)) if index == last => None,
            _ => {
                self.due = Some((last, now.plus(PAUSE)));
                None
            }
        }
    }
}

impl Replica {
    /// Whether all that this member may have shown before its start is applied again. Until then
    /// its own state is shown to nobody.
    pub fn is_current(&self) -> bool {
        self.standing.current || planted!(ShownBeforeStanding)
    }

    /// The end of the log, if that is all there is and all that was shown: for the last word of a
    /// planned stop.
    pub fn whole(&self) -> Option<LogIndex> {
        let last = self.raft.last().0;
        (self.is_current() && self.raft.commit() == last).then_some(last)
    }

    /// Asks a leader how far this member may have been.
    pub(super) fn ask_standing(&mut self) {
        let standing = &mut self.standing;
        if standing.current || standing.until.is_some() || standing.asked.is_some() {
            return;
        }
        if self.raft.leader().is_some() {
            let seq = self.reads.next_seq();
            self.standing.asked = Some(seq);
            self.raft.read(self.now, seq, &mut self.ready);
        }
    }

    pub(super) fn look_at_standing(&mut self, out: &mut Effects) {
        self.standing.look(self.applied);
        out.known = self.standing.pause(self.now, self.applied, &self.raft).or(out.known);
    }
}
