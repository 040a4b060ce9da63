//! What goes into the machine and what comes out of it.

use crate::{PeerMessage, TraceEvent};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::{Ballot, LogIndex, NodeId, Ticket, Token};
use cluster::{Change, ChangeError, Configuration};
use consensus::raft::{Halt, Persist};
use mvcc::{Caller, Changes, Command, Fetch, Fetched, Response, View};

/// Something that happened outside the machine.
pub enum Event {
    /// The time given by `Replica::deadline` has come, or may have.
    Tick,
    /// A frame from a peer.
    Message(PeerMessage),
    /// A client's write.
    Propose {
        /// Given back with the reply.
        token: Token,
        /// As the door let them in.
        caller: Caller,
        /// Checked again here and at apply.
        command: Command,
    },
    /// Somebody's change of members or quorum, at any member.
    Change {
        /// Given back with the reply.
        token: Token,
        /// Who asks; goes with it to the leader.
        caller: Caller,
        /// Judged by the leader.
        change: Change,
    },
    /// Answered with `Reply::Barrier` once a view taken then is linearizable. Reading it is the
    /// shell's: no step takes time that grows with what is read.
    ReadBarrier {
        /// Given back with the reply.
        token: Token,
    },
    /// Answered with `Reply::Barrier` once a quorum has confirmed, since it was asked, that a
    /// leader leads. What was committed before need not be applied here.
    Confirm {
        /// Given back with the reply.
        token: Token,
    },
    /// Every persist request up to this ticket is durable.
    Persisted(Ticket),
    /// The shell wants a checkpoint of what is applied now.
    TakeCheckpoint,
    /// A checkpoint at this index is durable; the log below it is not needed for recovery.
    CheckpointWritten {
        /// At most what is applied here.
        index: LogIndex,
    },
    /// What [`Effects::fetch`] asked for, each with what was read.
    Fetched(Fetched),
    /// What [`Effects::fetch`] asked for cannot be read, and why: the entry cannot be applied here.
    Unreadable(Fetch, String),
    /// What came of [`Effects::settle`].
    Settled(Box<mvcc::Settled>),
    /// What has settled is to be written anew, though little is fresh: a file of it is damaged.
    SettleAnew,
    /// A checkpoint received from the leader is durable, verified and loaded.
    Install(Box<Installed>),
    /// The transfer of a checkpoint to a peer ended.
    SnapshotSent {
        /// The peer, from [`Effects::snapshots`].
        to: NodeId,
        /// Whether it said that it has it.
        ok: bool,
    },
    /// A peer's connection was reset and it refuses a new one.
    PeerLost(NodeId),
    /// A peer can be spoken to, both ways, and could not before.
    PeerFound(NodeId),
    /// The end of the repair that [`Effects::repaired`] asked for is durable.
    Repaired,
    /// Hand leadership to `to`, or to the best follower.
    TransferLeader {
        /// None for the best follower.
        to: Option<NodeId>,
    },
}

/// A loaded checkpoint that replaces the state.
pub struct Installed {
    /// The last entry that it holds.
    pub index: LogIndex,
    /// Of that entry.
    pub ballot: Ballot,
    /// In force at that entry.
    pub config: Configuration,
    /// The data after that entry; what a witness is given is dropped.
    pub store: mvcc::Store,
    /// The machine's own part of the checkpoint, from [`CheckpointJob::extra`].
    pub extra: Vec<u8>,
}

/// What the shell must carry out, in order within each field.
#[derive(Default)]
pub struct Effects {
    /// Writes for the journal; [`Event::Persisted`] says when one is durable.
    pub persist: Vec<Persist>,
    /// Frames for peers; losing one is allowed.
    pub send: Vec<PeerMessage>,
    /// Answers; one for every token that was given, but for a machine that stops.
    pub replies: Vec<(Token, Reply)>,
    /// What applied entries changed, by rising revision: for watchers.
    pub changes: Vec<Arc<Changes>>,
    /// The checkpoint that [`Event::TakeCheckpoint`] asked for.
    pub checkpoint: Option<CheckpointJob>,
    /// What is to be merged elsewhere, whenever there is time: [`Event::Settled`] brings what came
    /// of it. Nothing waits for that.
    pub settle: Option<mvcc::Settling>,
    /// Versions that the entry under way waits for: exactly one [`Event::Fetched`] or
    /// [`Event::Unreadable`] is to follow. Everything but applying goes on meanwhile.
    pub fetch: Vec<Fetch>,
    /// Peers that need the latest checkpoint.
    pub snapshots: Vec<NodeId>,
    /// What happened, while [`crate::Replica::set_tracing`] has it on.
    pub trace: Vec<TraceEvent>,
    /// Set when this replica's state is proven to differ from a quorum's: stop serving.
    pub diverged: Option<LogIndex>,
    /// Set when a committed entry cannot be applied, or contradicts the leader's, or a
    /// configuration cannot be read: the machine does nothing more, the shell names the reason
    /// and stops.
    pub halted: Option<Halt>,
    /// The log of a damaged member is whole again up to this commit: make the end of the repair
    /// durable, then say so with [`Event::Repaired`].
    pub repaired: Option<LogIndex>,
    /// All up to here is committed, and is all that the log holds: to be said by the journal's next
    /// mark. Never a reason for a sync of its own.
    pub known: Option<LogIndex>,
    /// This member has left the cluster for good: the shell says so and stops.
    pub removed: bool,
    /// What a long entry or an installed checkpoint left behind. To be dropped elsewhere, and last:
    /// after the shell has let go of what it shares with it.
    pub discard: mvcc::Discard,
}

impl Effects {
    /// Whether there is nothing to carry out.
    pub fn is_empty(&self) -> bool {
        self.persist.is_empty()
            && self.send.is_empty()
            && self.replies.is_empty()
            && self.changes.is_empty()
            && self.checkpoint.is_none()
            && self.settle.is_none()
            && self.fetch.is_empty()
            && self.snapshots.is_empty()
            && self.trace.is_empty()
            && self.diverged.is_none()
            && self.halted.is_none()
            && self.repaired.is_none()
            && self.known.is_none()
            && !self.removed
            && self.discard.is_empty()
    }

    /// Forgets everything: it was carried out.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Everything a checkpoint file states, with an immutable view of the data.
pub struct CheckpointJob {
    /// The data at `index`.
    pub view: View,
    /// The last entry applied; zero before any.
    pub index: LogIndex,
    /// Of that entry.
    pub ballot: Ballot,
    /// In force at that entry.
    pub config: Configuration,
    /// The machine's own state (cluster time, dedupe window), opaque to the shell.
    pub extra: Vec<u8>,
}

/// The answer to one client request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Decided by a quorum and applied here, at this log index.
    Applied {
        /// Zero when the command was refused before it reached a log.
        index: LogIndex,
        /// What its client is answered.
        result: Result<Response, mvcc::Error>,
    },
    /// The state applied here now is linearizable for the request, or a leader is confirmed.
    Barrier,
    /// A change is committed: done, or for a newcomer under way. The configuration after it.
    Changed {
        /// Of the entry that said so.
        index: LogIndex,
        /// In force from there on.
        config: Box<Configuration>,
    },
    /// Nothing of the change was done, or will be.
    ChangeRefused(ChangeError),
    /// Not applied, and never will be.
    Refused(Refusal),
    /// May have been applied, or may be later.
    Unknown(UnknownReason),
}

/// Why a request was refused before it was proposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: RefusalReason,
    /// Who leads as far as this member knows: a client may ask there.
    pub leader: Option<NodeId>,
    /// Names of members not heard from, whose return would make a quorum possible.
    pub missing: Vec<String>,
}

/// Why a request was not taken; see [`Reply::Refused`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalReason {
    /// No leader was known for as long as a request may wait.
    NoLeader,
    /// A read that a known leader did not confirm in time.
    Timeout,
    /// As many requests are pending as the bound allows.
    Overloaded,
    /// This replica's state differs from a quorum's.
    Diverged,
    /// This member is a witness: it votes and has no data.
    Witness,
    /// This member goes by a configuration without it: what it is sent may be without the data.
    NoMember,
}

/// Why nobody can say here whether a request was applied; see [`Reply::Unknown`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownReason {
    /// Proposed, and not seen applied in time.
    Timeout,
    /// Applied, but the result went into a checkpoint this member installed instead.
    InCheckpoint,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PeerBody, TraceKind};
    use alloc::vec;
    use base::Nanos;

    fn a_put() -> Command {
        let put = mvcc::PutRequest { key: b"k"[..].into(), ..mvcc::PutRequest::default() };
        Command::Put(put)
    }

    #[test]
    fn effects_are_empty_only_when_there_is_nothing_of_any_kind_to_carry_out() {
        let (node, index) = (NodeId(2), LogIndex(3));
        let persist = Persist {
            ticket: Ticket(1),
            ballot: Ballot::ZERO,
            truncate_from: None,
            entries: vec![],
            commit: index,
        };
        let job = CheckpointJob {
            view: mvcc::Store::new(mvcc::Limits::default()).view(),
            index,
            ballot: Ballot::ZERO,
            config: crate::machine::alone::configuration(&["a"], "1 of (a)"),
            extra: vec![],
        };
        let mut store = mvcc::Store::new(mvcc::Limits::default());
        store.apply(index, base::ClusterTime(1), &a_put());
        let settling = store.settle(1).expect("something is fresh");
        let file = mvcc::File { first: 1, end: 3, generation: 1, versions: 1, len: 9, digest: 0 };
        let fetch = Fetch::Versions(Arc::new(file), (2, 0));
        let message = PeerMessage { from: NodeId(1), to: node, body: PeerBody::Removed };
        let trace = TraceEvent { node, at: Nanos::ZERO, kind: TraceKind::Installed { index } };
        let halt = Halt { index, why: String::new() };
        let changes = Arc::new(Changes { revision: 2, events: vec![] });
        let mut discard = mvcc::Discard::default();
        discard.push(1);
        let none = Effects::default;
        let one_of_each = [
            Effects { persist: vec![persist], ..none() },
            Effects { send: vec![message], ..none() },
            Effects { replies: vec![(Token(1), Reply::Barrier)], ..none() },
            Effects { changes: vec![changes], ..none() },
            Effects { checkpoint: Some(job), ..none() },
            Effects { settle: Some(settling), ..none() },
            Effects { fetch: vec![fetch], ..none() },
            Effects { snapshots: vec![node], ..none() },
            Effects { trace: vec![trace], ..none() },
            Effects { diverged: Some(index), ..none() },
            Effects { halted: Some(halt), ..none() },
            Effects { repaired: Some(index), ..none() },
            Effects { known: Some(index), ..none() },
            Effects { removed: true, ..none() },
            Effects { discard, ..none() },
        ];
        assert!(none().is_empty());
        for (at, mut effects) in one_of_each.into_iter().enumerate() {
            assert!(!effects.is_empty(), "field {at}");
            effects.clear();
            assert!(effects.is_empty(), "field {at}");
        }
    }
}
