//! When a checkpoint is wanted, when the one on disk is unfit, and when leadership is handed over
//! for want of one.

use base::{LogIndex, Nanos};

/// How often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Entries applied since the last checkpoint, at least.
    pub entries: u64,
    /// Bytes of journal, at least; as many as the last checkpoint has where those are more, so
    /// that no more is written for checkpoints than for the log.
    pub bytes_min: u64,
}

/// What decides when the next checkpoint is due.
#[derive(Clone, Debug)]
pub struct CheckpointState {
    policy: Policy,
    /// The newest checkpoint here, or one that a peer sent and that was taken in.
    pub index: LogIndex,
    /// Size of the last one; more than the journal has after one that failed.
    bytes: u64,
    pub journal_bytes: u64,
    running: bool,
    /// Much of what the newest one names is of no use to anybody else.
    holds_back: bool,
    /// Checkpoints written since the start.
    pub written: u64,
    /// The one being written is awaited by a peer that no file here can help.
    needed: bool,
    /// The number of the last one that was written for that.
    replacement: u64,
    /// When leadership was given up last because none could be written, and how long it is kept
    /// from then on.
    handed_over: Option<(Nanos, Nanos)>,
}

/// What is done about a checkpoint that no peer can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// There is a newer one by now, or soon.
    Newer,
    /// Another one is to be taken at once.
    Replace,
    /// Another member is to lead.
    HandOver,
    /// Another member was to lead just now, or does.
    Helpless,
}

/// So large a part of all may stay for nobody else.
const SUPERSEDED_PART: u64 = 4;
/// The first pause between two hand-overs for want of a checkpoint; it doubles.
const HAND_OVER_PAUSE_MIN: Nanos = Nanos::from_millis(10_000);
const HAND_OVER_PAUSE_MAX: Nanos = Nanos::from_millis(600_000);

impl CheckpointState {
    /// Of a start from a checkpoint of `bytes` at `index`; both are zero where there is none.
    pub fn new(policy: Policy, index: LogIndex, bytes: u64, journal_bytes: u64) -> Self {
        Self {
            policy,
            index,
            bytes,
            journal_bytes,
            running: false,
            holds_back: false,
            written: 0,
            needed: false,
            replacement: 0,
            handed_over: None,
        }
    }

    /// Whether one is to be taken now; it counts as begun then.
    pub fn wants(&mut self, applied: LogIndex) -> bool {
        let enough = self.policy.bytes_min.max(self.bytes);
        let since = applied.0.saturating_sub(self.index.0);
        let is_due = self.journal_bytes >= enough && since >= self.policy.entries;
        let wanted = !self.running && (is_due || (self.holds_back && since > 0));
        if wanted {
            (self.running, self.holds_back) = (true, false);
        }
        wanted
    }

    /// Of so many bytes of value files `superseded` stay for the newest checkpoint alone: where
    /// that is much another one is taken, and they go.
    pub fn superseded(&mut self, superseded: u64, of: u64) {
        let least = self.policy.bytes_min / SUPERSEDED_PART;
        self.holds_back = superseded >= least.max(of / SUPERSEDED_PART);
    }

    /// A peer could not have the newest one, `written` having been written when it was to be sent.
    /// Journal and memory are good where only that file is bad: another one is taken. Where that
    /// did not help, what it names is bad, and another member has to lead.
    pub fn unfit(&mut self, written: u64, now: Nanos, leads: bool) -> Unfit {
        if self.running || self.written != written {
            return Unfit::Newer;
        }
        if written > 0 && self.replacement == written {
            let hands_over = leads && self.hands_over(now);
            return if hands_over { Unfit::HandOver } else { Unfit::Helpless };
        }
        (self.running, self.needed) = (true, true);
        Unfit::Replace
    }

    /// One is durable; the journal may let go of everything up to the index returned.
    pub fn written(&mut self, index: LogIndex, bytes: u64) -> LogIndex {
        assert!(self.running, "what was written was asked for");
        self.written += 1;
        if std::mem::take(&mut self.needed) {
            self.replacement = self.written;
        } else {
            self.handed_over = None;
        }
        self.running = false;
        (self.index, self.bytes) = (self.index.max(index), bytes);
        index
    }

    /// None could be written: whether another member is to lead, because a peer needs one. The
    /// journal still holds everything; the next attempt comes with more of it.
    pub fn failed(&mut self, now: Nanos, leads: bool) -> bool {
        assert!(self.running, "what failed was asked for");
        self.running = false;
        self.bytes = self.journal_bytes.saturating_add(self.policy.bytes_min);
        std::mem::take(&mut self.needed) && leads && self.hands_over(now)
    }

    /// A peer's checkpoint is durable here; the journal may let go of everything up to the index
    /// returned.
    pub fn installed(&mut self, index: LogIndex) -> LogIndex {
        self.index = self.index.max(index);
        index
    }

    /// Whether another member is to lead, since none can be written here. The others may be no
    /// better off: then leadership comes back, and stays for longer each time.
    fn hands_over(&mut self, now: Nanos) -> bool {
        let pause = match self.handed_over {
            None => HAND_OVER_PAUSE_MIN,
            Some((at, pause)) if now.since(at) < pause => return false,
            Some((_, pause)) => Nanos(2 * pause.0).min(HAND_OVER_PAUSE_MAX),
        };
        self.handed_over = Some((now, pause));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { entries: 10, bytes_min: 100 };

    fn at(second: u64) -> Nanos {
        Nanos::from_millis(1000 * second)
    }

    #[test]
    fn what_stays_for_the_newest_one_alone_is_let_go_of_once_it_is_much() {
        let policy = Policy { entries: 100, bytes_min: 400 };
        let mut state = CheckpointState::new(policy, LogIndex(5), 10, 0);
        state.superseded(99, 200);
        assert!(!state.wants(LogIndex(6)), "it is little");
        state.superseded(250, 1004);
        assert!(!state.wants(LogIndex(6)), "and a small part");
        state.superseded(251, 1004);
        assert!(!state.wants(LogIndex(5)), "another one would be the same");
        assert!(state.wants(LogIndex(6)));
        assert!(!state.wants(LogIndex(7)), "one at a time");
        state.written(LogIndex(6), 10);
        assert!(!state.wants(LogIndex(7)), "it did its work");
    }

    #[test]
    fn one_is_due_after_enough_entries_and_enough_journal_and_only_one_at_a_time() {
        let mut state = CheckpointState::new(POLICY, LogIndex(5), 0, 99);
        assert!(!state.wants(LogIndex(15)), "99 bytes of journal");
        state.journal_bytes = 100;
        assert!(!state.wants(LogIndex(14)), "nine entries");
        assert!(state.wants(LogIndex(15)) && !state.wants(LogIndex(99)), "one at a time");
        assert_eq!(state.written(LogIndex(15), 300), LogIndex(15));
        assert!(!state.wants(LogIndex(25)), "the last one is larger than the journal");
        state.journal_bytes = 300;
        assert!(!state.wants(LogIndex(24)) && state.wants(LogIndex(25)));
        // After a failure more journal is waited for, and that of a peer counts.
        assert!(!state.failed(at(0), true), "nobody waits for it");
        assert!(!state.wants(LogIndex(25)));
        state.journal_bytes = 400;
        assert_eq!(state.installed(LogIndex(20)), LogIndex(20));
        assert!(!state.wants(LogIndex(29)) && state.wants(LogIndex(30)));
    }

    #[test]
    fn one_that_no_peer_can_have_is_replaced_once_and_a_newer_one_is_left_alone() {
        let mut state = CheckpointState::new(POLICY, LogIndex(5), 0, 0);
        assert_eq!(state.unfit(0, at(0), true), Unfit::Replace);
        assert_eq!(state.unfit(0, at(0), true), Unfit::Newer, "it is being written");
        assert!(state.failed(at(0), true), "somebody else must lead");
        assert_eq!(state.unfit(0, at(1), true), Unfit::Replace);
        assert!(!state.failed(at(1), true), "not again so soon");
        assert_eq!(state.unfit(0, at(100), true), Unfit::Replace);
        assert!(!state.failed(at(100), false), "who does not lead cannot");
        assert!(!state.wants(LogIndex(50)), "there is no more journal than before");
        assert_eq!(state.unfit(0, at(101), true), Unfit::Replace);
        state.written(LogIndex(6), 10);
        assert_eq!(state.unfit(0, at(101), true), Unfit::Newer, "the complaint is of another");
    }

    #[test]
    fn where_another_one_does_not_help_another_member_leads() {
        let mut state = CheckpointState::new(POLICY, LogIndex(5), 0, 1000);
        assert_eq!(state.unfit(0, at(0), true), Unfit::Replace);
        state.written(LogIndex(6), 10);
        assert_eq!(state.unfit(1, at(0), false), Unfit::Helpless, "it does not lead");
        assert_eq!(state.unfit(1, at(0), true), Unfit::HandOver);
        assert_eq!(state.unfit(1, at(1), true), Unfit::Helpless, "nobody else did it better");
        assert_eq!(state.unfit(1, at(11), true), Unfit::HandOver);
        assert!(state.wants(LogIndex(90)));
        state.written(LogIndex(90), 10);
        assert_eq!(state.unfit(2, at(12), true), Unfit::Replace, "it may be a better one");
    }

    #[test]
    fn leadership_that_no_checkpoint_helps_moves_less_and_less_often() {
        let mut state = CheckpointState::new(POLICY, LogIndex(0), 0, 0);
        let moves = |state: &mut CheckpointState, from: u64, to: u64| {
            (from..to).filter(|second| state.hands_over(at(*second))).count()
        };
        assert_eq!(moves(&mut state, 0, 10), 1);
        assert_eq!(moves(&mut state, 10, 30), 1, "after 10 s, then 20 s");
        assert_eq!(moves(&mut state, 30, 3600), 9, "at most 600 s apart");
        let mut exact = CheckpointState::new(POLICY, LogIndex(0), 0, 0);
        assert!(exact.hands_over(at(5)));
        assert!(!exact.hands_over(Nanos(at(15).0 - 1)) && exact.hands_over(at(15)));
        state.journal_bytes = 1000;
        assert!(state.wants(LogIndex(99)));
        state.written(LogIndex(99), 1);
        assert_eq!(moves(&mut state, 3600, 3610), 1);
    }
}
