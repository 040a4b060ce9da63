//! Checkpoints that arrive at a follower.

use super::configs::Configs;
use super::disk::Wait;
use super::log::Log;
use super::message::AppendOutcome;
use super::{Configuration, Raft, Ready};
use base::{Ballot, LogIndex, Nanos};

impl Raft {
    /// A durable checkpoint replaced the state; the log restarts after `index`, unless it
    /// already holds that very entry.
    pub fn installed(
        &mut self,
        now: Nanos,
        index: LogIndex,
        ballot: Ballot,
        config: Configuration,
        out: &mut Ready,
    ) {
        self.advance_clock(now);
        if index > self.commit {
            if self.log.ballot_at(index) == Some(ballot) {
                self.advance_commit(index, out);
                self.compact(index);
            } else if let Ok(configs) = Configs::new(index, config) {
                if self.log.last_index() > self.log.base() {
                    self.disk.truncate(self.log.base().next());
                }
                self.log = Log::new(index, ballot);
                self.configs = configs.replacing(&self.configs);
                self.advance_commit(index, out);
            } else {
                return; // Not compiled by this build: the leader will offer it again.
            }
        }
        self.disk.covered(index.min(self.commit));
        self.acknowledge_commit();
        self.finish(out);
    }

    /// A checkpoint came that this log had passed already. It is not installed, and the leader
    /// hears where the log really is, or it would wait for an answer and offer the same again.
    pub fn checkpoint_passed(&mut self, now: Nanos, out: &mut Ready) {
        self.advance_clock(now);
        self.acknowledge_commit();
        self.finish(out);
    }

    /// What is committed here equals every later leader's log; it is said once it is durable.
    pub(crate) fn acknowledge_commit(&mut self) {
        if let Some(leader) = self.follower().and_then(|f| f.leader) {
            self.answer(Wait::Log, leader, 0, AppendOutcome::Matched(self.commit));
        }
    }
}
