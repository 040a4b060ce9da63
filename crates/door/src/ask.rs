//! What a front asks of the member behind it.

use crate::answer::Answer;
use crate::facts::{Header, MemberInfo, Status};
use crate::query::Freshness;
use crate::reads::Read;
use crate::refusal::Refusal;
use crate::work::{Made, Work};
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::NodeId;
use cluster::Change;
use later::Promise;
use mvcc::{AlarmKind, Caller, Changes, Command, Response, Values, View};

/// Receives every applied revision, in order, exactly once, after it is visible in
/// [`Door::view`]. An empty batch means that the store was replaced.
pub type ChangeListener = Rc<dyn Fn(&[Arc<Changes>])>;

/// A member of a cluster, as its fronts see it.
///
/// Everything happens on one thread. An implementation must not hold a borrow of its own state
/// while it keeps a promise: what waits may call straight back. What has no answer to wait for is
/// told from a picture that is at most a moment old, and never older than an answer given.
pub trait Door {
    /// Static checks, then proposes; the answer comes after the command was applied here. What is
    /// no longer wanted by the time it would be proposed is not.
    fn write(&self, caller: Caller, command: Command, answer: Answer<Response>);
    /// Reads once the state is fresh enough and it is the read's turn, unless it is no longer
    /// wanted then, or there is no room for its answer.
    fn read(&self, caller: Caller, fresh: Freshness, read: Read);
    /// Answers once everything committed before the call is applied here.
    fn barrier(&self, answer: Answer<()>);
    /// Answers once a quorum has confirmed, since the call, that a leader leads: that the cluster
    /// would serve, though what it serves may be behind something long here.
    fn confirm(&self, answer: Answer<()>);
    /// Answers once this member stands where it stood before its start, or with why not when that
    /// takes longer than a read may.
    fn when_current(&self, answer: Answer<()>);
    /// Changes members or quorum; the answer is the membership after it.
    fn change(&self, caller: Caller, change: Change, answer: Answer<Vec<MemberInfo>>);
    /// Asks the leader to hand over to `target`.
    fn move_leader(&self, caller: Caller, target: NodeId, answer: Answer<()>);
    /// Registers for what is applied; called once by each front, before it serves.
    fn on_changes(&self, listener: ChangeListener);
    /// Whether changes are of use now; without, they may pass unheard. What was shown before the
    /// call may pass too.
    fn listen(&self, wanted: bool);

    /// Does what is long apart, a slice at a time among others. Nothing is answered, and the rest
    /// not done, once the answer is not wanted.
    fn run(&self, work: Box<dyn Work>, answer: Promise<Made>);

    /// An immutable picture of the data.
    fn view(&self) -> View;
    /// Versions that have left memory, as far as they are at hand all the same.
    fn at_hand(&self) -> Box<dyn Values>;
    /// What an answer that is given now says of where it comes from.
    fn header(&self) -> Header;
    /// How the member stands.
    fn status(&self) -> Status;
    /// The members of the configuration in force, in any order.
    fn members(&self) -> Vec<MemberInfo>;
    /// The quorum text in force, and the one that is being moved to.
    fn quorum(&self) -> (String, Option<String>);
    /// Active alarms, and which members raised them.
    fn alarms(&self) -> Vec<(NodeId, AlarmKind)>;
    /// Name of the leader this member follows, and of those whose return would help.
    fn knows(&self) -> (Option<String>, Vec<String>);
    /// Why this member has no data to serve, if so: a witness, or one that may be one, or one
    /// whose state is proven to differ from a quorum's.
    fn serves_no_data(&self) -> Option<Refusal>;
    /// Whether it stands where it stood before its start. Until then its own state is shown to
    /// nobody.
    fn is_current(&self) -> bool;
    /// Operations one transaction may have, as this cluster replicates it.
    fn txn_ops_max(&self) -> usize;
    /// Seconds; a shorter grant is raised to it.
    fn lease_ttl_min(&self) -> i64;
    /// A positive number that was given to nothing else: the id of a lease or of a member.
    fn fresh_id(&self) -> i64;
}
