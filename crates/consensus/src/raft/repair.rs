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
