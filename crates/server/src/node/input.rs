//! Everything that reaches the replica's owner, from tasks and threads alike, and what it says
//! to the clients' thread.

use crate::peer::intake::Unhandled;
use crate::record::TraceSink;
use base::{LogIndex, NodeId, Ticket, Token};
use door::{MemberInfo, Refusal};
use replica::{Event, Installed, PeerMessage, Replica};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;

/// Held by a thread without which there is no member: says so when it panics.
pub struct Vital(pub &'static str, pub UnboundedSender<Input>);

impl Drop for Vital {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.1.send(Input::Failed(format!("the {} thread panicked", self.0)));
        }
    }
}

/// One item of the inbox.
pub enum Input {
    /// Requests of clients.
    Asked(Vec<Asked>),
    Event(Event),
    /// A frame of a member, and the room it takes meanwhile.
    Peer(PeerMessage, Unhandled),
    /// Durable up to this ticket; `bytes` is the journal's live size.
    Persisted {
        ticket: Ticket,
        bytes: u64,
    },
    /// The disk failed, or a thread without which there is no member: it stops and never retries.
    Failed(String),
    /// A damaged member holds everything up to here again, and that is durable: it votes.
    Repaired(LogIndex),
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
    /// Values cannot be read here: others are to be asked for them.
    Damaged,
    /// Others were asked, after that pause: whether anything came of it.
    Mended {
        gave: bool,
        pause: Duration,
    },
    /// The newest checkpoint is: another one is to be taken.
    CheckpointDamaged,
    /// Bytes of value files that stay for the newest checkpoint alone, and of all.
    Superseded {
        superseded: u64,
        of: u64,
    },
    SnapshotSent {
        to: NodeId,
        ok: bool,
    },
    /// The member stops, and its last client connection is closed.
    Drained,
    Control(Control),
}

/// A client's request, which is not begun once that time has passed.
pub struct Asked {
    pub event: Event,
    pub late_at: Option<Instant>,
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
    /// Keep the last so many trace events.
    Record(usize),
    Trace(TraceSink),
    /// Something for the thread that votes, between two steps.
    Look(Box<dyn FnOnce(&Replica) + Send>),
}

/// What the clients' thread is told.
pub enum Word {
    /// What one step brought, after it is to be seen on the board.
    Batch {
        replies: Vec<(Token, Told)>,
        /// Every applied revision, in order.
        changes: Vec<Arc<mvcc::Changes>>,
        /// The store was replaced by a checkpoint: watchers must look again, whatever changed.
        replaced: bool,
    },
    /// Propose a command; the answer goes to the sender.
    Propose(mvcc::Command, mpsc::Sender<Result<mvcc::Response, String>>),
    /// A range; the answer goes to the sender.
    Range(mvcc::RangeRequest, mpsc::Sender<Result<mvcc::RangeResponse, String>>),
    /// The member stops: no new clients, and those there are to go elsewhere.
    Drain,
    /// Nothing more can be done here.
    Halted,
    /// The member ends: as a crash would, or with an answer for whoever waits.
    Close { at_once: bool },
}

/// A reply, in words that need no replica to be understood.
#[derive(Clone, Debug)]
pub enum Told {
    /// Decided by a quorum and applied here.
    Applied(Result<mvcc::Response, mvcc::Error>),
    /// What the board shows is fresh enough.
    Barrier,
    /// A change is committed; the members after it.
    Members(Vec<MemberInfo>),
    Refused(Refusal),
    /// It was too late for its caller, and was not begun.
    Late,
}
