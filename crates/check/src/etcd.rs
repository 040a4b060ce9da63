//! etcd's key space: requests, answers, one revision order for all keys.
//!
//! An answer's header carries the store's revision after the request. Where answers have it,
//! writes are ordered by it and reads stand between two of them, so the search has nothing to
//! choose: it replays the revisions and compares real times. Only a revision that no answer
//! claims leaves a choice, between the writes of unknown outcome; what was read of that revision
//! narrows it down ([`Etcd::study`]).

mod between;
mod history;
mod narrow;
mod range;
mod run;
mod timeline;
mod types;
mod watch;

pub use history::{Etcd, EtcdOutcome, EtcdState, check};
pub use run::Change;
pub use timeline::{Commit, ReadFault, Timeline};
pub use types::{
    Compare, CompareOp, Delete, KeyValue, Put, Range, Reply, Request, Response, Seen, SortOrder,
    SortTarget, Target, Txn,
};

pub use watch::{
    EventKind, Rule, Watch, WatchEvent, WatchFault, WatchProgress, WatchRequest, WatchResponse,
    check_watch,
};

use crate::Operation;

/// One request and what is known of its answer.
pub type EtcdOperation = Operation<Request, Response>;
