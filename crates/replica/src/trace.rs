//! The trace vocabulary: what every view of a running cluster is drawn from.

use crate::{RefusalReason, UnknownReason};
use alloc::string::String;
use alloc::vec::Vec;
use base::{Ballot, LogIndex, Nanos, NodeId, RequestId};

/// Version of the event schema; it grows by added variants.
pub const TRACE_VERSION: u16 = 1;

/// One thing that happened at one replica, in its own order.
#[derive(Clone, Debug)]
pub struct TraceEvent {
    pub node: NodeId,
    pub at: Nanos,
    pub kind: TraceKind,
}

#[derive(Clone, Debug)]
pub enum TraceKind {
    /// A write reached this member; it is its origin.
    Proposed { id: RequestId },
    /// The leader put a write into its log.
    Logged { id: RequestId, index: LogIndex, ballot: Ballot },
    /// A persist request became durable here.
    Persisted { ticket: u64 },
    /// An entry was applied here; `revision` and `chain` are the state's after it.
    Applied { index: LogIndex, id: Option<RequestId>, revision: i64, chain: u64 },
    /// A duplicate of an applied request was dropped.
    Deduplicated { index: LogIndex, id: RequestId },
    /// The origin refused a write: it was not applied and never will be.
    Refused { id: RequestId, reason: RefusalReason, missing: Vec<String> },
    /// The origin was told that a change of members or quorum is not done and never will be.
    ChangeRefused { id: RequestId },
    /// The origin gave up on a write that may have been applied, or may be later.
    Unknown { id: RequestId, reason: UnknownReason },
    /// The origin answered its client.
    Replied { id: RequestId },
    /// The leader put a configuration into its log; both quorums decide while `joint` is there.
    Changing { id: RequestId, index: LogIndex, quorum: String, joint: Option<String> },
    /// A checkpoint replaced the state.
    Installed { index: LogIndex },
    /// This replica's chain hash differs from a quorum's at this index.
    Diverged { index: LogIndex },
    /// What consensus did.
    Raft(consensus::raft::Trace),
}
