//! What a member tells of itself and of its cluster.

use alloc::string::String;
use alloc::vec::Vec;
use base::{Blob, NodeId, Term};

/// Where an answer comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Id of the cluster.
    pub cluster: u64,
    /// The member that answers.
    pub member: NodeId,
    /// Revision of the member's own store.
    pub revision: i64,
    /// The term it is in.
    pub term: Term,
}

/// One member of the cluster, as clients see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberInfo {
    /// Its id, for ever.
    pub id: NodeId,
    /// Empty until the member has said it.
    pub name: String,
    /// Where other members reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it, as far as it has said.
    pub client_urls: Vec<String>,
    /// It has no vote yet.
    pub learner: bool,
}

/// How a member stands. Sizes are bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Whom it follows; itself, when it leads.
    pub leader: Option<NodeId>,
    /// Index of the last committed entry that it knows of.
    pub commit: u64,
    /// Index of the last entry in its state.
    pub applied: u64,
    /// Held, and all of it in use: space is reclaimed as it is freed.
    pub size_bytes: u64,
    /// At which writes that add are refused; 0: never.
    pub quota_bytes: u64,
    /// It has no vote yet.
    pub learner: bool,
    /// Its state was proven to differ from a quorum's: it serves no more.
    pub diverged: bool,
    /// Why it stands still for good, if it does: what is committed cannot be applied here, or
    /// contradicts what it had.
    pub halted: Option<String>,
}

impl Status {
    /// It serves no data any more, and no time will change that.
    pub const fn is_out_of_service(&self) -> bool {
        self.diverged || self.halted.is_some()
    }
}

/// One lease; seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseInfo {
    /// What is left.
    pub ttl: i64,
    /// What was granted, and is left again after each renewal.
    pub granted_ttl: i64,
    /// Attached keys in byte order; empty unless asked for.
    pub keys: Vec<Blob>,
}
