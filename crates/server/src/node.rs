//! One running member: its thread, its tasks, and the handle that embeds it.
//!
//! Everything but disk writes runs on one thread with a current-thread runtime: the replica is
//! owned by one task, sockets by others beside it, and they meet in an inbox.

mod chores;
mod engine;
mod handle;
pub mod input;
mod run;
pub mod start;
mod stop;

pub use handle::{Handle, Phase};
pub use start::StartError;

use crate::config::Config;
use crate::disk::{Log, Wrap};
use crate::metrics::{DiskMetrics, Metrics};
use crate::peer::listen::Shared;
use crate::pool::Pool;
use base::{NodeId, Prng};
use door::{ChangeListener, Reads, Refusal};
use input::{Input, TraceSink};
use member::CheckpointState;
use net::Server;
use replica::Replica;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Instant;
use stop::Stop;
use tokio::sync::{mpsc::UnboundedSender, watch};

/// Why a node ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// As asked, in order.
    Stopped,
    /// As asked, at once.
    Killed,
    /// This member was removed from its cluster; the text is for the operator.
    Removed(String),
    /// The disk failed or state was unusable; the text is for the operator.
    Failed(String),
}

/// The state of one member; lives on its own thread.
pub struct Node {
    me: Weak<Node>,
    config: Config,
    replica: RefCell<Replica>,
    disk: Log,
    peers: Rc<Shared>,
    inbox: UnboundedSender<Input>,
    started: Instant,
    pending: RefCell<BTreeMap<u64, engine::Pending>>,
    /// Why this member stands still for good, with what it has committed untouched.
    halted: RefCell<Option<String>>,
    /// Nothing more is taken.
    ended: Cell<bool>,
    next_token: Cell<u64>,
    pool: Rc<Pool>,
    /// Reads whose state is fresh enough.
    reads: Rc<Reads>,
    /// Those who waited for the replica to be current have been served.
    stands: Cell<bool>,
    listeners: RefCell<Vec<ChangeListener>>,
    traces: RefCell<Vec<TraceSink>>,
    cut: RefCell<BTreeSet<NodeId>>,
    /// Peers a checkpoint is on its way to.
    sending: RefCell<BTreeSet<NodeId>>,
    checkpoint: RefCell<CheckpointState>,
    /// The store was replaced by a checkpoint: watchers must look again, whatever changed.
    replaced: Cell<bool>,
    leader: Cell<Option<NodeId>>,
    /// The failure logged last; forgotten when a leader appears.
    last_failure: RefCell<Option<Refusal>>,
    stop: Cell<Stop>,
    /// The client side, for as long as it has listeners or connections.
    server: RefCell<Weak<Server>>,
    random: RefCell<Prng>,
    quota_bytes: u64,
    metrics: Metrics,
    disk_metrics: Arc<DiskMetrics>,
    phase: watch::Sender<Phase>,
}

impl Node {
    /// Starts a member on its own thread and returns once it listens.
    ///
    /// # Errors
    /// Everything that keeps it from starting, in one sentence for the operator.
    pub fn start(config: Config) -> Result<Handle, StartError> {
        start::spawn(config, None)
    }

    /// As [`Node::start`], with `wrap` in front of its disks.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub fn start_on(config: Config, wrap: Wrap) -> Result<Handle, StartError> {
        start::spawn(config, Some(wrap))
    }
}
