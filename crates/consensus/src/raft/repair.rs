//! A member whose disk was damaged: it follows and fetches again, and takes no part in any
//! decision until it holds all it may ever have acknowledged (protocol-aware recovery,
//! Alagappan et al., FAST 2018; `docs/design/repair.md`).
//!
//! Its old acknowledgements may still be counted, by this leader or by one before it. That is
//! safe because it grants no vote meanwhile: an elect set that meets a commit set in this member
//! alone cannot form. When it votes again its log is the log of a leader of `Repair::ballot` or
//! above, up to an entry of that leader's own. By leader completeness (Ongaro 2014 section 3.6.3)
//! that holds all that was committed under lower ballots. If that leader led before the damage
//! already, `Repair::index` covers what was acknowledged to it.

use super::disk::Wait;
use super::message::{AppendOutcome, Body, EntryKind};
use super::progress::{Peer, State};
use super::{Raft, Ready, Role, Trace};
use base::{Ballot, Blob, LogIndex, Nanos, planted};

/// Entries a heartbeat appends at most so that repairs end.
const PROMPT_MAX: u32 = 1024;

/// What a damaged journal proves about the member it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The promise (term and vote) restated by the last intact header: nothing was promised or
    /// acknowledged above it.
    pub ballot: Ballot,
    /// No entry of that ballot's term above this was ever acknowledged. A leader of a later term
    /// settles all others.
    pub index: LogIndex,
}

/// Whether this member takes part in decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Sound,
    /// Grants, acknowledges and confirms nothing.
    Repairing(Repair),
    /// Holds everything; the shell makes the end durable before it is acted on.
    Proven,
}

impl Raft {
    /// Begins as a damaged member. Before the first call of any other method.
    pub fn repair(&mut self, repair: Repair) {
        let fresh = self.disk.is_unused() && matches!(&self.role, Role::Follower(_));
        assert!(fresh, "a repair begins with the life of the member");
        assert!(self.promise.get() >= repair.ballot, "what was promised is still promised");
        self.standing = Standing::Repairing(repair);
    }

    /// True until [`Raft::repaired`] was called.
    pub fn is_repairing(&self) -> bool {
        self.standing != Standing::Sound
    }

    /// The end of the repair, reported by `Ready.repaired`, is durable: the member votes again.
    pub fn repaired(&mut self, now: Nanos, out: &mut Ready) {
        self.advance_clock(now);
        assert!(self.standing != Standing::Sound, "only a repair that was begun ends");
        if self.standing == Standing::Proven {
            self.standing = Standing::Sound;
            let deadline = self.random_deadline();
            if let Some(follower) = self.follower_mut() {
                follower.deadline = deadline;
            }
            self.acknowledge_commit();
        }
        self.finish(out);
    }

    /// Looks whether everything is here again: durable, equal to the log of a leader that the old
    /// promise allows, past all that was proven, up to a commit by that leader's own ballot.
    pub(crate) fn prove(&mut self, out: &mut Ready) {
        let Standing::Repairing(Repair { ballot, index }) = self.standing else { return };
        let Some(leader) = self.follower().and_then(|f| f.leader) else { return };
        let own = self.log.ballot_at(self.commit) == Some(leader);
        assert!(leader.term >= ballot.term, "a leader below the promise is not followed");
        let past = leader.term > ballot.term || self.commit >= index || planted!(RepairEndsEarly);
        if own && past && self.disk.durable() >= self.commit {
            self.standing = Standing::Proven;
            assert!(self.commit <= self.log.last_index(), "all of it is here");
            out.repaired = Some(self.commit);
        }
    }

    /// At a leader, with each heartbeat: a member that holds the whole log, all of it committed,
    /// and repairs still waits for an index that this log does not reach: what it acknowledged
    /// was rolled back in the same term, or its bound is too high. Without writes nothing else
    /// would end its repair, so empty entries do, twice as many each time.
    pub(crate) fn prompt_repairs(&mut self, out: &mut Ready) {
        let (last, commit) = (self.log.last_index(), self.commit);
        let Role::Leader(leader) = &mut self.role else { unreachable!("only a leader does") };
        if last != commit || leader.transfer.is_some() {
            return;
        }
        let waits = |p: &&mut Peer| {
            p.repairing
                && p.seated
                && p.state == State::Replicate
                && p.matched == last
                && p.sent_commit == last
        };
        let mut wanted = 0;
        for peer in leader.peers.iter_mut().filter(waits) {
            // Since the last heartbeat: one that has just caught up may be making its end durable.
            wanted = wanted.max(peer.prompts);
            peer.prompts = peer.prompts.saturating_mul(2).clamp(1, PROMPT_MAX);
        }
        let ballot = leader.ballot;
        for _ in 0..wanted {
            self.append_own(EntryKind::Empty, Blob::from(&[][..]));
        }
        if wanted > 0 {
            let to = self.log.last_index();
            self.trace(out, Trace::Appended { from: last.next(), to, ballot });
        }
    }

    /// Sends the answer to an append. One that repairs, or has no seat, says how far it is, which
    /// nobody counts, and confirms no read round.
    pub(crate) fn answer(&mut self, wait: Wait, of: Ballot, round: u64, outcome: AppendOutcome) {
        let silent = self.is_silent_member() && !(self.is_repairing() && planted!(RepairAcks));
        let (outcome, round) = if silent { (outcome.without_seat(), 0) } else { (outcome, round) };
        self.send(wait, of.node, Body::AppendReply { of, round, outcome });
    }
}

#[cfg(test)]
mod tests {
    use super::super::follower::Follower;
    use super::*;
    use crate::raft::tests::machine::*;
    use base::NodeId;
    use cluster::Configuration;

    fn three() -> Configuration {
        config(3, MAJORITY)
    }

    #[test]
    fn a_repair_ends_at_a_commit_of_the_leaders_own_that_is_durable_and_past_what_was_proven() {
        let (same, later) = (Ballot::new(1, 3), Ballot::new(2, 3));
        for (leader, own, commit, durable, ends) in [
            (later, true, 4, 4, true),
            (later, true, 1, 1, true),
            (later, true, 4, 3, false),
            (later, false, 4, 4, false),
            (same, true, 5, 5, true),
            (same, true, 6, 9, true),
            (same, true, 4, 9, false),
        ] {
            let mut raft = raft(2, three());
            let repair = Repair { ballot: Ballot::new(1, 1), index: LogIndex(5) };
            raft.repair(repair);
            assert!(raft.is_repairing());
            raft.promise.observe(raft.rule(), leader);
            let ballot = if own { leader } else { Ballot::new(1, 1) };
            for index in (1..=9).map(LogIndex) {
                let payload = Blob::from(&b""[..]);
                let kind = EntryKind::Data;
                raft.log.push(super::super::Entry { index, ballot, kind, payload });
            }
            raft.role =
                Role::Follower(Follower { leader: Some(leader), ..Follower::begin(raft.now) });
            raft.commit = LogIndex(commit);
            raft.disk.covered_entries(LogIndex(durable));
            let mut out = Ready::default();
            raft.prove(&mut out);
            assert_eq!(out.repaired, ends.then_some(LogIndex(commit)), "{leader} {own} {commit}");
            assert!(raft.is_repairing(), "until that is durable");
            raft.repaired(Nanos(1), &mut out);
            assert_eq!(raft.is_repairing(), !ends);
        }
    }

    fn heartbeats(raft: &mut Raft, count: usize) -> (u64, usize) {
        let mut out = Ready::default();
        let before = raft.log.last_index().0;
        for _ in 0..count {
            raft.prompt_repairs(&mut out);
        }
        (raft.log.last_index().0 - before, out.trace.len())
    }

    /// Member 1 leads, all of its entries are committed, and members 2 and 3 hold them.
    fn quiet() -> Raft {
        let mut raft = leads(three(), 9);
        raft.commit = LogIndex(9);
        for id in [2, 3] {
            holds(&mut raft, id, 9);
            peer(&mut raft, id).sent_commit = LogIndex(9);
        }
        raft
    }

    #[test]
    fn a_repair_is_prompted_from_the_second_heartbeat_on_where_nothing_else_can_end_it() {
        let mut raft = quiet();
        peer(&mut raft, 2).repairing = true;
        assert_eq!(heartbeats(&mut raft, 1), (0, 0), "it has just caught up");
        assert_eq!(heartbeats(&mut raft, 1), (1, 1));
        assert_eq!(peer(&mut raft, 2).prompts, 2);
        let changes: [fn(&mut Raft); 7] = [
            |raft| peer(raft, 2).repairing = false,
            |raft| peer(raft, 2).seated = false,
            |raft| peer(raft, 2).state = State::Probe { sent: true },
            |raft| peer(raft, 2).matched = LogIndex(8),
            |raft| peer(raft, 2).sent_commit = LogIndex(8),
            |raft| raft.commit = LogIndex(8),
            |raft| raft.start_transfer(Some(NodeId(3)), &mut Ready::default()),
        ];
        for (at, change) in changes.into_iter().enumerate() {
            let mut raft = quiet();
            peer(&mut raft, 2).repairing = true;
            change(&mut raft);
            assert_eq!(heartbeats(&mut raft, 3), (0, 0), "change {at}");
            assert_eq!(peer(&mut raft, 2).prompts, 0, "change {at}");
        }
    }
}
