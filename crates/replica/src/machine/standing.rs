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
use consensus::raft::{Persist, Raft, ReadOutcome};

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
    /// and there is nothing more. Void once a later write is durable that adds something: one
    /// that only promises leaves the word as it stands.
    stated: VecDeque<(Ticket, LogIndex)>,
    /// Writes under way, and where the log ends after each.
    written: VecDeque<(Ticket, LogIndex)>,
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
            written: VecDeque::new(),
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
        self.written.push_back((persist.ticket, self.last));
        if persist.commit >= self.last {
            self.stated.push_back((persist.ticket, self.last));
        }
    }

    pub fn persisted(&mut self, ticket: Ticket) {
        assert!(ticket <= self.latest, "only what was written is durable");
        self.durable = self.durable.max(ticket);
        let mut end = LogIndex::ZERO;
        while let Some((_, last)) = self.written.pop_front_if(|(at, _)| *at <= ticket) {
            end = last;
        }
        self.stated.retain(|(at, index)| *at >= ticket || *index >= end);
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
    pub fn told(&mut self, outcome: ReadOutcome) -> bool {
        let own = self.asked == Some(outcome.seq);
        if own {
            (self.asked, self.until) = (None, Some(outcome.index));
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
            let begun = self.raft.read(self.now, seq, &mut self.ready);
            self.standing.asked = begun.then_some(seq);
        }
    }

    pub(super) fn look_at_standing(&mut self, out: &mut Effects) {
        self.standing.look(self.applied);
        out.known = self.standing.pause(self.now, self.applied, &self.raft).or(out.known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Event;
    use crate::machine::alone::{Alone, settings};
    use alloc::vec;
    use alloc::vec::Vec;
    use base::{Ballot, Blob};
    use consensus::raft::{Entry, EntryKind};

    const NONE: LogIndex = LogIndex(u64::MAX);

    /// A write that adds these entries, once those from `cut` on are void.
    fn write(ticket: u64, cut: Option<u64>, indices: &[u64], commit: u64) -> Persist {
        let entry = |index: &u64| Entry {
            index: LogIndex(*index),
            ballot: Ballot::new(1, 1),
            kind: EntryKind::Data,
            payload: Blob::default(),
        };
        Persist {
            ticket: Ticket(ticket),
            ballot: Ballot::new(1, 1),
            truncate_from: cut.map(LogIndex),
            entries: indices.iter().map(entry).collect(),
            commit: LogIndex(commit),
        }
    }

    /// What the write says is committed, once it was noted.
    fn noted(standing: &mut Standing, mut persist: Persist, takes_seat: bool) -> u64 {
        standing.writes(&mut persist, takes_seat);
        persist.commit.0
    }

    #[test]
    fn a_log_that_by_its_own_word_is_committed_whole_is_all_that_was_shown() {
        for (known, whole) in [(4, false), (5, true), (6, true)] {
            let mut standing = Standing::new(LogIndex(known), LogIndex(5));
            assert_eq!(standing.limit(), if whole { LogIndex(5) } else { NONE }, "{known}");
            standing.look(LogIndex(4));
            assert!(!standing.current);
            standing.look(LogIndex(5));
            assert_eq!(standing.current, whole, "{known}");
            standing.look(LogIndex(4));
            assert_eq!(standing.current, whole, "once said it is so");
        }
    }

    #[test]
    fn damage_takes_back_what_the_disk_said() {
        let mut standing = Standing::new(LogIndex(5), LogIndex(5));
        standing.damaged();
        standing.look(LogIndex(9));
        assert!(!standing.current);
        assert_eq!(standing.limit(), NONE);
    }

    #[test]
    fn before_it_is_current_no_write_but_that_of_the_seat_says_the_log_is_whole() {
        let mut standing = Standing::new(LogIndex(0), LogIndex(5));
        assert_eq!(noted(&mut standing, write(1, None, &[6, 7], 7), false), 6);
        assert_eq!(standing.limit(), NONE);
        assert_eq!(noted(&mut standing, write(2, None, &[8], 6), false), 6);
        assert_eq!(noted(&mut standing, write(3, None, &[9], 9), true), 9);
        assert_eq!(standing.limit(), LogIndex(9));
        let mut standing = Standing::new(LogIndex(0), LogIndex(5));
        standing.confirmed(LogIndex(5), LogIndex(4));
        assert!(!standing.current);
        standing.confirmed(LogIndex(5), LogIndex(5));
        standing.confirmed(LogIndex(5), LogIndex(4));
        assert!(standing.current, "it was there once");
        assert_eq!(noted(&mut standing, write(1, None, &[6], 6), false), 6);
        assert_eq!(standing.limit(), LogIndex(6));
    }

    #[test]
    fn a_statement_holds_until_a_later_write_is_durable() {
        let mut standing = Standing::new(LogIndex(5), LogIndex(5));
        standing.look(LogIndex(5));
        noted(&mut standing, write(1, None, &[6], 6), false);
        noted(&mut standing, write(2, None, &[7], 6), false);
        assert_eq!(standing.limit(), LogIndex(5), "the lowest counts");
        standing.persisted(Ticket(1));
        assert_eq!(standing.limit(), LogIndex(6));
        standing.persisted(Ticket(2));
        assert_eq!(standing.limit(), NONE);
    }

    #[test]
    fn the_end_of_the_log_is_that_of_the_last_write() {
        let mut standing = Standing::new(LogIndex(5), LogIndex(5));
        standing.look(LogIndex(5));
        let mut end = |persist| {
            noted(&mut standing, persist, false);
            standing.last.0
        };
        assert_eq!(end(write(1, Some(4), &[], 0)), 3);
        assert_eq!(end(write(2, Some(9), &[], 0)), 3);
        assert_eq!(end(write(3, None, &[], 0)), 3);
        assert_eq!(end(write(4, Some(3), &[3, 4], 0)), 4);
        standing.installed(LogIndex(20));
        assert_eq!(noted(&mut standing, write(5, None, &[], 20), false), 20);
        assert_eq!(standing.stated.back(), Some(&(Ticket(5), LogIndex(20))));
        standing.check(LogIndex(20));
    }

    #[test]
    #[should_panic(expected = "writes are of the log")]
    fn a_write_beyond_the_log_is_noticed() {
        Standing::new(LogIndex(0), LogIndex(5)).check(LogIndex(4));
    }

    #[test]
    fn only_the_round_that_was_asked_for_here_tells_how_far_it_was() {
        let mut standing = Standing::new(LogIndex(0), LogIndex(5));
        let told = |seq, index| ReadOutcome { seq, index: LogIndex(index) };
        assert!(!standing.told(told(3, 1)), "nothing was asked");
        standing.asked = Some(3);
        assert!(!standing.told(told(2, 1)));
        assert_eq!((standing.asked, standing.until), (Some(3), None));
        assert!(standing.told(told(3, 7)));
        assert_eq!((standing.asked, standing.until), (None, Some(LogIndex(7))));
    }

    /// What the machine knows to be all there is, at each of these moments.
    fn known(alone: &mut Alone, waits: &[u64]) -> Vec<Option<u64>> {
        let ms = |wait: &u64| Nanos::from_millis(*wait);
        waits.iter().map(|wait| alone.pass(ms(wait)).known.map(|index| index.0)).collect()
    }

    fn grant(id: i64) -> Event {
        let command = mvcc::Command::LeaseGrant { id, ttl: 100 };
        Event::Propose { token: base::Token(1), caller: mvcc::Caller::nobody(), command }
    }

    #[test]
    fn a_pause_of_forty_milliseconds_is_stated_once() {
        let mut alone = Alone::leading(settings(), &["a"]);
        alone.step(grant(1));
        let last = alone.replica.status().last.0;
        assert!(alone.replica.is_current());
        assert_eq!(alone.replica.whole(), Some(LogIndex(last)));
        assert_eq!(alone.replica.deadline(), alone.now.plus(PAUSE), "it wants to be asked then");
        assert_eq!(known(&mut alone, &[39, 1, 40, 400]), [None, Some(last), None, None]);
        assert_eq!(alone.replica.standing.limit(), LogIndex(last));
        // Another write begins another pause, and is shown once it is durable.
        assert_eq!(alone.step(grant(2)).replies.len(), 1);
        assert_eq!(known(&mut alone, &[20, 19, 1, 50]), [None, None, Some(last + 1), None]);
    }

    #[test]
    fn a_write_that_is_not_durable_puts_a_pause_off() {
        let mut alone = Alone::leading(settings(), &["a"]);
        let last = alone.replica.status().last;
        let mut out = crate::Effects::default();
        alone.replica.step(alone.now, grant(1), &mut out);
        let ticket = out.persist.last().expect("the entry").ticket;
        assert_eq!(known(&mut alone, &[50, 50]), [None, None]);
        assert_eq!(alone.replica.whole(), None, "its end is not committed");
        assert_eq!(alone.replica.status().commit, last);
        alone.step(Event::Persisted(ticket));
        assert_eq!(alone.replica.whole(), Some(last.next()));
        assert_eq!(known(&mut alone, &[39, 1]), [None, Some(last.0 + 1)]);
    }

    #[test]
    fn a_member_that_can_ask_nobody_waits_and_shows_nothing() {
        let mut alone = Alone::of(settings(), &["a", "b"], "all of (a, b)");
        alone.replica.standing = Standing::new(LogIndex(0), LogIndex(1));
        alone.replica.standing.last = LogIndex(0);
        assert_eq!(known(&mut alone, &[10, 50, 50]), vec![None; 3]);
        assert!(!alone.replica.is_current());
        assert_eq!((alone.replica.whole(), alone.replica.standing.asked), (None, None));
    }
}
