//! Checkpoints that arrive at a follower.

use super::configs::Configs;
use super::disk::Wait;
use super::log::Log;
use super::message::AppendOutcome;
use super::progress::Peer;
use super::{Halt, Raft, Ready, Role, Why};
use base::{Ballot, LogIndex, Nanos, planted};
use cluster::Configuration;

/// Entries kept at most for a peer that takes in a checkpoint.
const TRANSFER_ENTRIES_MAX: u64 = 10_000;
/// Entries forgotten by one call.
pub(super) const FORGOTTEN_MAX: u64 = 4096;

impl Raft {
    /// The checkpoint this member starts from was committed by the leader of `settled`. Before
    /// the first call of any other method.
    pub fn settled_by(&mut self, settled: Ballot) {
        assert!(self.disk.is_unused(), "said once, at the start");
        self.settled = self.settled.max(settled);
        self.keep_up();
    }

    /// The highest leader's ballot that told of a commit here; what a checkpoint has to state.
    pub fn settled(&self) -> Ballot {
        self.settled
    }

    /// A checkpoint can come past the leader that is followed here, and tells of a later one:
    /// an earlier one may hold other entries in its place, and is obeyed no more. Else what the
    /// checkpoint covers would be acknowledged to it, and counted for what it holds itself; and a
    /// candidate could still win its votes and lead under a ballot below its own log's.
    pub(crate) fn keep_up(&mut self) -> bool {
        let rule = self.rule();
        let log = self.promise.observe(rule, self.log.last().1);
        self.promise.observe(rule, self.settled) || log
    }

    /// Forgets entries at or below `upto`, which a durable checkpoint covers; some at once, the
    /// others with the calls that follow, since to free millions takes long.
    pub fn compact(&mut self, upto: LogIndex) {
        let upto = upto.min(self.commit);
        self.disk.covered_entries(upto);
        let upto = upto.min(self.transfer_floor());
        self.release = self.release.max(upto);
        self.forget();
    }

    pub(super) fn forget(&mut self) {
        let base = self.log.base();
        let next = LogIndex(base.0.saturating_add(FORGOTTEN_MAX)).min(self.release);
        if next > base {
            self.log.compact(next);
            self.configs.compact(next);
        }
    }

    /// Where the log of a peer that takes in a checkpoint will go on, at the lowest: what is above
    /// is kept for it while it answers, or it could be overtaken again and again.
    fn transfer_floor(&self) -> LogIndex {
        let Role::Leader(leader) = &self.role else { return LogIndex(u64::MAX) };
        let lowest = LogIndex(self.log.last_index().0.saturating_sub(TRANSFER_ENTRIES_MAX));
        let answers = |p: &&Peer| self.now.since(p.heard) <= self.settings.election_timeout_min;
        let floors = leader.peers.iter().filter(answers).filter_map(Peer::floor);
        floors.min().map_or(LogIndex(u64::MAX), |floor| floor.max(lowest))
    }

    /// A durable checkpoint replaced the state; the log restarts after `index`, unless it
    /// already holds that very entry. `settled` is what [`Raft::settled`] said to its writer.
    pub fn installed(
        &mut self,
        now: Nanos,
        (index, ballot, settled): (LogIndex, Ballot, Ballot),
        config: Configuration,
        out: &mut Ready,
    ) {
        self.advance_clock(now);
        if self.configs.config().changes_rule(&config) {
            let why = "a checkpoint of another ballot rule".into();
            out.halted = Some(Halt { index, why });
            return;
        }
        let settled = settled.max(ballot);
        if index > self.commit {
            if self.log.ballot_at(index) == Some(ballot) {
                self.advance_commit(index, settled, out);
                self.compact(index);
            } else {
                let configs = match Configs::new(index, config) {
                    Ok(configs) => configs,
                    Err(error) => {
                        let why = alloc::format!("a checkpoint whose configuration: {error}");
                        out.halted = Some(Halt { index, why });
                        return;
                    }
                };
                if self.log.last_index() > self.log.base() {
                    self.disk.truncate(self.log.base().next());
                }
                self.log = Log::new(index, ballot);
                self.configs = configs.replacing(&self.configs);
                if !self.is_seated() {
                    self.disk.retract();
                }
                self.end_campaign(out);
                self.advance_commit(index, settled, out);
            }
            if !planted!(InstallKeepsPromise) && self.keep_up() {
                self.become_follower(None, Why::HigherBallot, out);
            }
            if matches!(&self.role, Role::Leader(l) if l.first_own > self.log.last_index()) {
                // It says that others decided without what this leader appended.
                self.become_follower(None, Why::Installed, out);
            }
            assert!(self.commit >= index, "a checkpoint holds what is committed");
        }
        self.disk.covered(index.min(self.commit));
        self.acknowledge_commit();
        self.finish(out);
    }

    /// Votes were asked for with another log, and of the members of another configuration.
    fn end_campaign(&mut self, out: &mut Ready) {
        let campaigns = matches!(self.role, Role::PreCandidate(_) | Role::Candidate(_));
        if campaigns && !planted!(TallyOutlivesConfig) {
            self.become_follower(None, Why::Installed, out);
        }
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
