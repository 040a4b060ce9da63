//! What holds between the fields at the end of every step, whatever came in. Cheap enough to stay
//! on: comparisons, and one look at each round of reads.

use super::Replica;
use super::propose::REVOKES_PER_STEP_MAX;
use base::planted;

impl Replica {
    /// A machine that has halted does nothing more, in whatever state that was.
    pub(super) fn check(&self) {
        if self.halted {
            assert!(self.running.is_none(), "who halts gives up what was under way");
            return;
        }
        self.check_log();
        self.check_leadership();
        self.check_waiting();
    }

    fn check_log(&self) {
        let (commit, last) = (self.raft.commit(), self.raft.last().0);
        assert!(self.applied <= commit && commit <= last, "only what is committed is applied");
        let stands = self.store.applied_index() == self.applied;
        assert!(stands || planted!(CheckpointIndexAhead), "the data is that of the applied entry");
        assert!(self.checkpointed <= self.applied, "a checkpoint holds what is applied");
        assert!(self.clock.at() <= self.now, "a stamp was applied in the past");
        if let Some(running) = &self.running {
            let next = running.index() == self.applied.next();
            assert!(next || planted!(JobSurvivesInstall), "one entry is under way, the next one");
            assert!(running.index() <= commit, "what is under way is committed");
        }
        self.standing.check(last);
        self.check_hashes();
    }

    fn check_leadership(&self) {
        let leading = self.raft.is_leader().then(|| self.raft.ballot());
        assert_eq!(self.leading, leading, "a change of office is noticed in its step");
        assert_eq!(self.followed, self.raft.leader(), "so is a change of leader");
        let alone = self.followed.is_none();
        assert_eq!(self.leaderless_since.is_some(), alone, "time without a leader is counted");
        assert!(self.batch.is_empty(), "what was taken for the log is in it, or offered again");
        assert!(leading.is_some() || self.tail.is_empty(), "only a leader watches over its tail");
        assert!(leading.is_some() || self.revoking.is_empty(), "only a leader ends leases");
        assert!(self.revoking.len() <= REVOKES_PER_STEP_MAX, "what is being ended is bounded");
    }

    fn check_waiting(&self) {
        self.writes.check(self.seq_next);
        self.reads.check();
        self.changes.check(self.seq_next);
        let waiting = self.writes.len() + self.reads.len();
        assert!(waiting <= self.settings.pending_max, "what waits is bounded");
    }
}
