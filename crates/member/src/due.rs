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
    /// Checkpoints written since the start.
    pub written: u64,
    /// The one being written is awaited by a peer that no file here can help.
    needed: bool,
    /// When leadership was given up last because none could be written, and how long it is kept
    /// from then on.
    handed_over: Option<(Nanos, Nanos)>,
}

/// The first pause between two hand-overs for want of a checkpoint; it doubles.
const HAND_OVER_PAUSE_MIN: Nanos = Nanos::from_millis(10_000);
const HAND_OVER_PAUSE_MAX: Nanos = Nanos::from_millis(600_000);

impl CheckpointState {
    /// Of a start from a checkpoint of `bytes` at `index`; both are zero where there is none.
    pub fn new(policy: Policy, index: LogIndex, bytes: u64, journal_bytes: u64) -> Self {
        let (running, written, needed, handed_over) = (false, 0, false, None);
        Self { policy, index, bytes, journal_bytes, running, written, needed, handed_over }
    }

    /// Whether one is to be taken now; it counts as begun then.
    pub fn wants(&mut self, applied: LogIndex) -> bool {
        let enough = self.policy.bytes_min.max(self.bytes);
        let since = applied.0.saturating_sub(self.index.0);
        let wanted = !self.running && self.journal_bytes >= enough && since >= self.policy.entries;
        self.running |= wanted;
        wanted
    }

    /// A peer could not have the newest one, `written` having been written when it was to be sent:
    /// whether another one is to be taken at once. Journal and memory are good where only the file
    /// is bad.
    pub fn replaces(&mut self, written: u64) -> bool {
        if self.running || self.written != written {
            return false; // there is a newer one by now, or soon
        }
        (self.running, self.needed) = (true, true);
        true
    }

    /// One is durable; the journal may let go of everything up to the index returned.
    pub fn written(&mut self, index: LogIndex, bytes: u64) -> LogIndex {
        assert!(self.running, "what was written was asked for");
        (self.running, self.needed, self.handed_over) = (false, false, None);
        self.written += 1;
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
        assert!(state.replaces(0) && !state.replaces(0), "it is being written");
        state.written(LogIndex(6), 10);
        assert!(!state.replaces(0), "the complaint is of the one before");
        assert!(state.replaces(1));
        assert!(state.failed(at(0), true), "somebody else must lead");
        assert!(state.replaces(1) && !state.failed(at(1), true), "not again so soon");
        assert!(state.replaces(1) && !state.failed(at(100), false), "who does not lead cannot");
        assert!(!state.wants(LogIndex(50)), "there is no more journal than before");
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
        assert!(state.replaces(0));
        state.written(LogIndex(1), 1);
        assert_eq!(moves(&mut state, 3600, 3610), 1);
    }
}
