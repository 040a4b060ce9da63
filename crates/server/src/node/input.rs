//! Everything that reaches the replica's owner, from tasks and threads alike.

use base::{LogIndex, NodeId, Ticket};
use replica::{Event, Installed, PeerMessage, TraceEvent};
use std::sync::mpsc;

/// A receiver of trace events on any thread.
pub type TraceSink = Box<dyn Fn(&TraceEvent) + Send>;

/// One item of the inbox.
pub enum Input {
    /// A client's request.
    Event(Event),
    /// A frame of a member.
    Peer(PeerMessage),
    /// Durable up to this ticket; `bytes` is the journal's live size.
    Persisted {
        ticket: Ticket,
        bytes: u64,
    },
    /// The disk failed: the node stops and never retries.
    DiskFailed(String),
    /// A checkpoint was written, or why not.
    Checkpointed(Result<Checkpointed, String>),
    /// A checkpoint of the leader is durable and loaded.
    Installed(Box<Installed>),
    PeerLost(NodeId),
    /// Connections to and from a member stand, and did not before.
    PeerFound(NodeId),
    /// A member says that this one has left the cluster.
    Removed(String),
    /// A member has met a later life of this directory: it was put back, and stops for good.
    PutBack(String),
    /// The newest checkpoint here is gone or damaged: a peer needs it and cannot have it.
    /// `written` is how many had been written when it was to be sent.
    CheckpointUnfit {
        written: u64,
    },
    SnapshotSent {
        to: NodeId,
        ok: bool,
    },
    /// The member stops, and its last client connection is closed.
    Drained,
    Control(Control),
}

/// A durable checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct Checkpointed {
    pub index: LogIndex,
    pub bytes: u64,
}

/// What the handle asks for.
pub enum Control {
    /// Hand over leadership, send clients away, answer what is pending, end.
    Stop,
    /// End at once, as a crash would.
    Kill,
    /// Drop everything to and from these members, silently.
    Cut(Vec<NodeId>),
    /// End all cuts.
    Heal,
    Trace(TraceSink),
    Status(mpsc::Sender<replica::Status>),
    /// Propose a command; the answer goes to the sender.
    Propose(mvcc::Command, mpsc::Sender<Result<mvcc::Response, String>>),
    /// A linearizable range.
    Range(mvcc::RangeRequest, mpsc::Sender<Result<mvcc::RangeResponse, String>>),
}
