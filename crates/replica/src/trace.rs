//! The trace vocabulary: what every view of a running cluster is drawn from.

use crate::{RefusalReason, UnknownReason};
use alloc::string::String;
use alloc::vec::Vec;
use base::{Ballot, LogIndex, Nanos, NodeId, RequestId};

/// One thing that happened at one replica, in its own order.
#[derive(Clone, Debug)]
pub struct TraceEvent {
    /// At whom.
    pub node: NodeId,
    /// When, by that member's own clock.
    pub at: Nanos,
    /// What.
    pub kind: TraceKind,
}

/// What a replica tells of itself; `crates/trace` gives these words their JSON.
#[derive(Clone, Debug)]
pub enum TraceKind {
    /// A write reached this member; it is its origin.
    Proposed {
        /// As given out here.
        id: RequestId,
    },
    /// The leader put a write into its log.
    Logged {
        /// Of the write or change.
        id: RequestId,
        /// Where it stands.
        index: LogIndex,
        /// Of the leader.
        ballot: Ballot,
    },
    /// A persist request became durable here.
    Persisted {
        /// And all before it.
        ticket: u64,
    },
    /// An entry was applied here; `revision` and `chain` are the state's after it.
    Applied {
        /// Of the entry.
        index: LogIndex,
        /// Of the request, if it is one.
        id: Option<RequestId>,
        /// Of the data.
        revision: i64,
        /// [`mvcc::View::chain_hash`].
        chain: u64,
    },
    /// A duplicate of an applied request was dropped.
    Deduplicated {
        /// Of the later entry.
        index: LogIndex,
        /// Of the request.
        id: RequestId,
    },
    /// The origin refused a write: it was not applied and never will be.
    Refused {
        /// Of the write.
        id: RequestId,
        /// As its client is told.
        reason: RefusalReason,
        /// Names of members not heard from.
        missing: Vec<String>,
    },
    /// The origin was told that a change of members or quorum is not done and never will be.
    ChangeRefused {
        /// Of the change.
        id: RequestId,
    },
    /// The origin gave up on a write that may have been applied, or may be later.
    Unknown {
        /// Of the write.
        id: RequestId,
        /// As its client is told.
        reason: UnknownReason,
    },
    /// The origin answered its client.
    Replied {
        /// Of the request.
        id: RequestId,
    },
    /// The leader put a configuration into its log; both quorums decide while `joint` is there.
    Changing {
        /// Of the change.
        id: RequestId,
        /// Where it stands.
        index: LogIndex,
        /// Who asked for it, if that has a name.
        by: Option<String>,
        /// The text in force.
        quorum: String,
        /// The text that is to follow it.
        joint: Option<String>,
    },
    /// A checkpoint replaced the state.
    Installed {
        /// The last entry in it.
        index: LogIndex,
    },
    /// This replica's chain hash differs from a quorum's at this index.
    Diverged {
        /// Where the hashes were compared.
        index: LogIndex,
    },
    /// What consensus did.
    Raft(consensus::raft::Trace),
}
