//! What a call of the machine asks the shell to do, and what it tells the watchers.

use super::message::{Entry, Message};
use alloc::string::String;
use alloc::vec::Vec;
use base::{Ballot, LogIndex, NodeId, Ticket};
use quorum::NodeSet;

/// One write to the journal; durable in ticket order, reported by `Raft::persisted`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persist {
    pub ticket: Ticket,
    /// The promise: term and vote in one value, so that they are durable together or not at all.
    pub ballot: Ballot,
    /// Entries at this index and above are void before `entries` are added.
    pub truncate_from: Option<LogIndex>,
    /// Consecutive entries; empty when only the ballot or a truncation is written.
    pub entries: Vec<Entry>,
    /// A hint: known committed when this was emitted. Never a reason for a write of its own.
    pub commit: LogIndex,
}

/// No leader confirmed a read in time; nothing was read and a retry is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoLeader;

/// The end of one `Raft::read`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadOutcome {
    pub seq: u64,
    /// Serve once the applied index is at least this.
    pub result: Result<LogIndex, NoLeader>,
}

/// Effects of one call, in order within each field.
#[derive(Clone, Debug, Default)]
pub struct Ready {
    pub persist: Vec<Persist>,
    pub messages: Vec<Message>,
    pub reads: Vec<ReadOutcome>,
    /// Peers that need the latest checkpoint; answer with `Raft::snapshot_done`.
    pub snapshots: Vec<NodeId>,
    pub trace: Vec<Trace>,
    /// The log is whole again up to this commit index: make the end of the repair durable, then
    /// call `Raft::repaired`.
    pub repaired: Option<LogIndex>,
    /// What is known here and what came cannot both be true, or cannot be read: the member must
    /// not go on. Nothing of what came was taken.
    pub halted: Option<Halt>,
}

impl Ready {
    /// Empties every field and keeps the buffers.
    pub fn clear(&mut self) {
        self.persist.clear();
        self.messages.clear();
        self.reads.clear();
        self.snapshots.clear();
        self.trace.clear();
        self.repaired = None;
        self.halted = None;
    }
}

/// Why a member cannot go on: a configuration that this build cannot read, because a newer one
/// wrote it, or committed entries here that its leader contradicts. Skipping it would be a guess.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halt {
    pub index: LogIndex,
    pub why: String,
}

/// Why a leader or candidate gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A higher ballot exists.
    HigherBallot,
    /// No commit set was heard within an election timeout.
    QuorumLost,
    /// The election cannot be won any more.
    VotesLost,
    /// Another leader of this ballot's term was heard.
    LeaderHeard,
    /// A checkpoint took the place of the log, and of the configuration the votes are of.
    Installed,
    /// A committed configuration does not let this member vote.
    NotVoter,
}

/// What happened inside, with raw member bitsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    BecameFollower {
        ballot: Ballot,
        leader: Option<NodeId>,
    },
    PreCampaign {
        ballot: Ballot,
    },
    Campaign {
        ballot: Ballot,
    },
    Vote {
        ballot: Ballot,
        to: NodeId,
        granted: bool,
    },
    Elected {
        ballot: Ballot,
        votes: NodeSet,
    },
    SteppedDown {
        ballot: Ballot,
        why: Why,
    },
    /// Entries `from..=to` joined this node's log.
    Appended {
        from: LogIndex,
        to: LogIndex,
        ballot: Ballot,
    },
    Acked {
        by: NodeId,
        index: LogIndex,
    },
    /// The set that made `index` committed, as the leader saw it: members of the commit family.
    Quorum {
        index: LogIndex,
        acked: NodeSet,
        ballot: Ballot,
    },
    Committed {
        index: LogIndex,
    },
    Transfer {
        to: NodeId,
    },
    ReadConfirmed {
        seq: u64,
        acked: NodeSet,
    },
}
