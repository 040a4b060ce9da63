//! What a call of the machine asks the shell to do, and what it tells the watchers.

use super::message::{Entry, Message};
use alloc::string::String;
use alloc::vec::Vec;
use base::{Ballot, LogIndex, NodeId, Ticket};
use quorum::NodeSet;

/// One write to the journal; durable in ticket order, reported by `Raft::persisted`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persist {
    /// Rises by one with each write of a start.
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

/// A leader has confirmed, after one `Raft::read` began, that it still led.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadOutcome {
    /// As `Raft::read` was given it.
    pub seq: u64,
    /// Serve once the applied index is at least this.
    pub index: LogIndex,
}

/// Effects of one call, in order within each field.
#[derive(Clone, Debug, Default)]
pub struct Ready {
    /// In ticket order; nothing may be left out or merged out of order.
    pub persist: Vec<Persist>,
    /// May leave at once, in order for each receiver; losing one is safe.
    pub messages: Vec<Message>,
    /// Reads that were confirmed.
    pub reads: Vec<ReadOutcome>,
    /// Peers that need the latest checkpoint; answer with `Raft::snapshot_done`.
    pub snapshots: Vec<NodeId>,
    /// What happened, for those who watch; empty while `Raft::set_tracing` has it off.
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
    /// Of the entry or checkpoint that cannot be taken.
    pub index: LogIndex,
    /// One sentence, to show.
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
    /// Follows somebody, or nobody.
    BecameFollower {
        /// The leader's, else the promise.
        ballot: Ballot,
        /// Whom; none while nobody is known to lead.
        leader: Option<NodeId>,
    },
    /// Asks around whether it could be elected.
    PreCampaign {
        /// It would run under this one.
        ballot: Ballot,
    },
    /// Asks for votes, and has promised its own.
    Campaign {
        /// It runs under this one.
        ballot: Ballot,
    },
    /// Answers a request for its vote.
    Vote {
        /// That was asked for.
        ballot: Ballot,
        /// Who asked.
        to: NodeId,
        /// For good, if so.
        granted: bool,
    },
    /// Leads from now on.
    Elected {
        /// Its own.
        ballot: Ballot,
        /// An elect set of the configuration in force.
        votes: NodeSet,
    },
    /// A leader or candidate gave up.
    SteppedDown {
        /// That it led or ran under.
        ballot: Ballot,
        /// What made it.
        why: Why,
    },
    /// Entries `from..=to` joined this node's log.
    Appended {
        /// The first new one.
        from: LogIndex,
        /// The last one.
        to: LogIndex,
        /// Of the last one.
        ballot: Ballot,
    },
    /// A leader learned that somebody's durable log reaches so far.
    Acked {
        /// Whose, perhaps its own.
        by: NodeId,
        /// How far.
        index: LogIndex,
    },
    /// The set that made `index` committed, as the leader saw it: members of the commit family.
    Quorum {
        /// The new commit index.
        index: LogIndex,
        /// Who holds it durably.
        acked: NodeSet,
        /// The leader's, which the entry has too.
        ballot: Ballot,
    },
    /// Everything up to here is committed, as this member has just learned.
    Committed {
        /// Its commit index.
        index: LogIndex,
    },
    /// A leader begins to hand over.
    Transfer {
        /// Its heir, once that one holds the whole log.
        to: NodeId,
    },
    /// A leader answers a read.
    ReadConfirmed {
        /// The asker's number of it.
        seq: u64,
        /// The commit set that confirmed the leader after the read began.
        acked: NodeSet,
    },
}
