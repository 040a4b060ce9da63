//! What the request layer needs from the node, and nothing more.
//!
//! Everything runs on one thread, so the trait takes `&self`, callbacks are not `Send`, and an
//! implementation must not hold a borrow of its own state while it calls one: a callback may call
//! straight back into the engine.

use std::rc::Rc;
use std::sync::Arc;

use crate::grpc::Caller;
use cluster::{Change, ChangeError};
use mvcc::{Changes, Command, Error, Response, TxnRequest, TxnResponse, View};

/// What a member knew of its cluster when it did not answer a request with a result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Why {
    /// Name of the leader it follows.
    pub leader: Option<String>,
    /// Names of members whose return would help.
    pub missing: Vec<String>,
}

/// Why a request was not answered with its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The data model refused it: deterministic, and the request was not applied.
    Store(Error),
    /// Not applied: this member knows no leader.
    NoLeader(Why),
    /// Not applied, or not known to be: the leader changed while the request was under way.
    LeaderChanged,
    /// Unknown outcome: no answer within the request timeout.
    Timeout(Why),
    /// A read that its leader did not confirm within the request timeout.
    ReadTimeout(Why),
    /// Unknown outcome: the state that would tell came as a checkpoint, without this answer.
    InCheckpoint,
    /// Not applied: too much is pending already.
    Overloaded(Why),
    /// The node is stopping; a write's outcome is unknown.
    Stopped,
    /// This member is not the leader, and only a leader can do what was asked.
    NotLeader,
    /// Target of a leadership transfer that cannot take it.
    BadTransferee,
    /// Learners serve only serializable reads and status.
    Learner,
    /// State differs from the cluster's.
    Corrupt,
    /// Not applied: this member votes and has no data.
    Witness,
    /// The client's own deadline passed; a write's outcome is unknown.
    Deadline,
    /// Not applied: the client's own deadline passed, or it left, before anything was done.
    Late,
    /// A change of members or quorum that was not begun.
    Change(ChangeError),
    /// Anything else, with the exact gRPC code and text to send.
    Status(u32, String),
}

impl std::fmt::Display for Failure {
    /// What the client is told: text, outcome, reason, names.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        super::refusal::status(self.clone()).fmt(f)
    }
}

/// Called exactly once with the result; it may be called before the submitting call returns.
pub type Done<T> = Box<dyn FnOnce(Result<T, Failure>)>;

/// Receives every applied revision, in order, exactly once, after it is visible in `view()`.
pub type ChangeListener = Rc<dyn Fn(&[Arc<Changes>])>;

/// What every response header carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    pub cluster_id: u64,
    pub member_id: u64,
    /// Revision of the local store.
    pub revision: i64,
    pub raft_term: u64,
}

/// One member as `MemberList` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberInfo {
    pub id: u64,
    pub name: String,
    pub peer_urls: Vec<String>,
    pub client_urls: Vec<String>,
    pub learner: bool,
}

/// Member-local facts for `Maintenance.Status`, health and metrics. Sizes are bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub leader: u64,
    pub raft_index: u64,
    pub raft_applied_index: u64,
    pub db_size: i64,
    pub db_size_in_use: i64,
    pub db_size_quota: i64,
    pub learner: bool,
    /// Its state was proven to differ from a quorum's: it serves no more.
    pub diverged: bool,
    /// Why it stands still for good, if it does: what is committed cannot be applied here, or
    /// contradicts what it had.
    pub halted: Option<String>,
}

impl Status {
    /// It serves no data any more, and no time will change that.
    pub fn is_out_of_service(&self) -> bool {
        self.diverged || self.halted.is_some()
    }
}

/// What `LeaseTimeToLive` answers; seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseInfo {
    pub ttl: i64,
    pub granted_ttl: i64,
    /// Attached keys in byte order; empty unless asked for.
    pub keys: Vec<base::Blob>,
}

/// The node as its request layer sees it.
pub trait Engine {
    /// Static checks, then proposes; the answer comes after the command was applied here. What
    /// `caller` has left by the time it would be proposed is not.
    fn submit(&self, caller: Caller, command: Command, done: Done<Response>);
    /// Answers once everything committed before the call is applied here; a caller that has left
    /// before is not waited for.
    fn barrier(&self, caller: Caller, done: Done<()>);
    /// Cheap immutable picture of the local store.
    fn view(&self) -> View;
    /// Serializable read-only transaction against the local store.
    fn read_txn_local(&self, request: &TxnRequest) -> Result<TxnResponse, Error>;
    fn header(&self) -> Header;
    /// Operations one transaction may have, as this cluster replicates it.
    fn txn_ops_max(&self) -> usize;
    fn status(&self) -> Status;
    /// Why this member has no data to serve, if so: a witness, or one that may be one, or one
    /// whose state is proven to differ from a quorum's.
    fn serves_no_data(&self) -> Option<Failure> {
        None
    }
    /// Whether it stands where it stood before its start. Until then its own state is shown to
    /// nobody.
    fn is_current(&self) -> bool {
        true
    }
    /// Answers once it does, or with why not when that takes longer than a read may.
    fn when_current(&self, caller: Caller, done: Done<()>);
    fn members(&self) -> Vec<MemberInfo>;
    /// Changes members or quorum; the answer is the membership after it.
    fn change(&self, change: Change, done: Done<Vec<MemberInfo>>) {
        let text = format!("{change:?} is not possible here");
        done(Err(Failure::Status(12, text)));
    }
    /// The quorum text in force, and the one that is being moved to.
    fn quorum(&self) -> (String, Option<String>) {
        (String::new(), None)
    }
    /// Active alarms as (member id, 1 = NOSPACE, 2 = CORRUPT).
    fn alarms(&self) -> Vec<(u64, i32)>;
    /// The leader this member follows, and who is missing.
    fn why(&self) -> Why;
    /// `None` for a lease that is unknown or has expired.
    fn lease_ttl(&self, id: i64, keys: bool) -> Option<LeaseInfo>;
    /// Ids of the leases known here, ascending.
    fn leases(&self) -> Vec<i64>;
    /// Seconds; a shorter grant is raised to it.
    fn lease_ttl_min(&self) -> i64 {
        1
    }
    /// A positive lease id no other grant was given.
    fn fresh_lease_id(&self) -> i64;
    /// Asks the leader to hand over to `target`.
    fn move_leader(&self, target: u64, done: Done<()>);
    /// Registers the watch hub; called once, before serving.
    fn on_changes(&self, listener: ChangeListener);
    /// Lines in Prometheus text format, or empty.
    fn metrics(&self) -> String {
        String::new()
    }
}
