//! The vocabulary.

use crate::form;
use base::{Ballot, RequestId};
use quorum::NodeSet;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A word of a small set: a reason, a kind.
pub type Word = Cow<'static, str>;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its place in this trace, from 1; gaps are events that were lost.
    pub n: u64,
    /// Nanoseconds.
    pub at: u64,
    /// The member it happened at, by name; none when it happened to the world around.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// What happened there.
    #[serde(flatten)]
    pub what: What,
}

/// What happened. Members in it are named as in [`Event::node`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ev", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum What {
    /// A write reached this member; it is its origin.
    Propose {
        #[serde(with = "form::request")]
        id: RequestId,
    },
    /// The leader put a write into its log.
    Log {
        #[serde(with = "form::request")]
        id: RequestId,
        index: u64,
        #[serde(with = "form::ballot")]
        ballot: Ballot,
    },
    /// Entries `from` to `to` joined this member's log.
    Append {
        from: u64,
        to: u64,
        #[serde(with = "form::ballot")]
        ballot: Ballot,
    },
    /// A persist request became durable here.
    Persist { ticket: u64 },
    /// The leader learned that `by` holds the log durably up to `index`.
    Ack { by: String, index: u64 },
    /// The set that made `index` committed, as the leader saw it: slots of the commit family.
    Quorum {
        index: u64,
        #[serde(with = "form::set")]
        acked: NodeSet,
        #[serde(with = "form::ballot")]
        ballot: Ballot,
    },
    /// Everything up to `index` is known here to be committed.
    Commit { index: u64 },
    /// An entry was applied here; `revision` and `chain` are the state's after it.
    Apply {
        index: u64,
        #[serde(default, skip_serializing_if = "Option::is_none", with = "form::maybe_request")]
        id: Option<RequestId>,
        revision: i64,
        #[serde(with = "form::hash")]
        chain: u64,
    },
    /// A duplicate of an applied request was dropped.
    Repeat {
        index: u64,
        #[serde(with = "form::request")]
        id: RequestId,
    },
    /// The origin answered its client.
    Reply {
        #[serde(with = "form::request")]
        id: RequestId,
    },
    /// The origin refused a request: it was not applied and never will be.
    Refuse {
        #[serde(with = "form::request")]
        id: RequestId,
        reason: Word,
        /// Members whose return would help.
        missing: Vec<String>,
    },
    /// The origin gave up on a write that may have been applied, or may be later.
    Unknown {
        #[serde(with = "form::request")]
        id: RequestId,
        reason: Word,
    },
    /// The leader put a configuration into its log; both quorums decide while `joint` is there.
    Change {
        #[serde(with = "form::request")]
        id: RequestId,
        index: u64,
        /// Who asked for it, if that has a name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
        quorum: String,
        joint: Option<String>,
    },
    /// What this member goes by from now on: the texts, and the bit of each member in every set.
    Config {
        quorum: String,
        joint: Option<String>,
        slots: BTreeMap<String, u8>,
        learners: Vec<String>,
    },
    /// It asks whether an election could be won (pre-vote).
    Ask {
        #[serde(with = "form::ballot")]
        ballot: Ballot,
    },
    /// It asks for votes.
    Campaign {
        #[serde(with = "form::ballot")]
        ballot: Ballot,
    },
    /// It answered a campaign of `to`.
    Vote {
        #[serde(with = "form::ballot")]
        ballot: Ballot,
        to: String,
        granted: bool,
    },
    /// It leads; `votes` are slots of the elect family.
    Elect {
        #[serde(with = "form::ballot")]
        ballot: Ballot,
        #[serde(with = "form::set")]
        votes: NodeSet,
    },
    /// It follows a leader, or waits for one.
    Follow {
        #[serde(with = "form::ballot")]
        ballot: Ballot,
        leader: Option<String>,
    },
    /// A leader or candidate gave up.
    StepDown {
        #[serde(with = "form::ballot")]
        ballot: Ballot,
        why: Word,
    },
    /// A leader hands over.
    Transfer { to: String },
    /// A round of reads was confirmed by these slots.
    Read {
        seq: u64,
        #[serde(with = "form::set")]
        acked: NodeSet,
    },
    /// Its state differs from a quorum's at this index: it serves no more.
    Diverged { index: u64 },
    /// A checkpoint was written.
    Checkpoint { index: u64 },
    /// A checkpoint of the leader replaced its state.
    Install { index: u64 },
    /// A checkpoint could not be handed over.
    TransferFailed { why: String },
    /// Its process began: the promise and the log it found.
    Restart {
        life: u32,
        incarnation: u64,
        #[serde(with = "form::ballot")]
        promise: Ballot,
        base: u64,
        last: u64,
    },
    /// It will not start.
    Refused { why: String },
    /// It found its disk damaged, and asks the others.
    Repair {
        #[serde(with = "form::ballot")]
        promise: Ballot,
        index: u64,
        why: String,
    },
    /// It holds everything again up to this index, and votes.
    Repaired { index: u64 },
    /// Its disk failed, so it stops.
    DiskFailed { why: String },
    /// Its process ended; `loss` says what became of bytes that were not synced.
    Crash { why: Word, loss: Word },
    /// A process that stood still goes on.
    Resume,
    /// Bytes of its disk were changed.
    Damage { place: String },
    /// A fault was injected.
    Fault { fault: Word, span: u64 },
    /// A fault of the network ended; all of them at the end of a life.
    Heal {
        #[serde(default, skip_serializing_if = "is_false")]
        all: bool,
    },
    /// A client asked this member for something.
    Invoke { client: u64, op: u64, ask: String },
    /// A client got its answer, or gave up.
    Return { client: u64, op: u64, outcome: Word, read: bool },
    /// An operator was told how the change it asked for ended.
    Operator { op: u64, told: String },
    /// A promise was broken.
    Violation { rule: Word, what: String },
    /// Something that a later build knows.
    #[serde(other)]
    Other,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape serde calls")]
fn is_false(value: &bool) -> bool {
    !*value
}
