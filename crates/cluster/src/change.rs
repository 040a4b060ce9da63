//! Changes of members and quorum: what is asked, why it is refused, and the next configuration.
//!
//! A change is a walk of configurations: a newcomer comes in as a learner, then the joint of old
//! and new, then the new one alone (Ongaro 2014 section 4.3). What is still to be done stands in
//! the configuration itself, so that any leader, also the next one, goes on from the log.

mod bytes;
mod walk;

use crate::error::ConfigError;
use alloc::string::String;
use alloc::vec::Vec;
use base::{NodeId, RequestId};
use core::fmt;

/// How far a change is, replicated with the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeState {
    /// The request that made this configuration; zero at bootstrap.
    pub request: RequestId,
    /// A learner that becomes a voter as soon as it has caught up.
    pub promote: Option<NodeId>,
    /// Leaves when the change is done.
    pub remove: Option<NodeId>,
    /// The quorum the promotion ends with; none: the majority follows the members.
    pub quorum: Option<String>,
    /// Ids and names of members that have left, the last one last.
    pub removed: Vec<(NodeId, String)>,
    /// Data members marked out: commits go on without them, with a witness in their place
    /// (`docs/design/witness.md`). Empty where there is no witness.
    pub out: Vec<NodeId>,
    /// Written by a leader that knew of no founded cluster: whom it names takes part at once.
    pub founding: bool,
    /// The slot that the last newcomer got; none since bootstrap.
    pub slot_last: Option<u8>,
}

/// A member that is to come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newcomer {
    /// Never that of a member, present or gone.
    pub id: NodeId,
    /// The name quorum texts use; empty: a label made of the id until it says its own.
    pub name: String,
    /// Where the other members reach it; not yet taken by one of them.
    pub peer_urls: Vec<String>,
}

/// One change of members or quorum. `quorum` is the text the cluster is to have afterwards; a
/// majority of all voters follows the members by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Comes in as a learner; as a voter once it has caught up, unless `learner`.
    Add {
        /// Who comes in.
        member: Newcomer,
        /// Stays a learner until it is promoted.
        learner: bool,
        /// The text the promotion ends with; none: the majority follows.
        quorum: Option<String>,
    },
    /// A learner that has caught up becomes a voter.
    Promote {
        /// The learner.
        id: NodeId,
        /// The text it ends with; none: the majority follows.
        quorum: Option<String>,
    },
    /// Leaves: a learner at once, a voter through a joint step.
    Remove {
        /// The one that leaves; it never comes back under this id.
        id: NodeId,
        /// The text without it; none where the majority follows or it stands in none.
        quorum: Option<String>,
    },
    /// Other peer URLs of a member.
    Update {
        /// Whose they are.
        id: NodeId,
        /// All of them; what it had before is gone.
        peer_urls: Vec<String>,
    },
    /// One in, one out, in one joint step once the newcomer has caught up.
    Replace {
        /// The one that leaves.
        old: NodeId,
        /// The one that comes in for it.
        member: Newcomer,
        /// None: the old text with the new name in the place of the old one.
        quorum: Option<String>,
    },
    /// Another quorum system over the same members.
    Quorum {
        /// As the cluster is to have it.
        text: String,
    },
    /// A member says its name and where it serves clients.
    Publish {
        /// Who says it.
        id: NodeId,
        /// Taken once, by a learner that has none of its own yet.
        name: String,
        /// All of them; what it had before is gone.
        client_urls: Vec<String>,
    },
}

/// Why a change was not begun. Nothing of it was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeError {
    /// No member has the id.
    MemberNotFound,
    /// A member has the id, or had it before it left.
    IdExists,
    /// Another member is reached at one of these URLs.
    PeerUrlsExist,
    /// Who is to be promoted votes already.
    NotLearner,
    /// Its log ends too far before the leader's.
    LearnerNotReady,
    /// [`base::limits::LEARNERS_MAX`] stay learners already.
    TooManyLearners,
    /// The members alive are no quorum of the system asked for: who is missing.
    NotEnoughStarted(String),
    /// Another change is not done yet.
    Pending(String),
    /// The system asked for is unreadable or unsafe, or no quorum was named where one must be.
    Invalid(String),
}

impl From<ConfigError> for ChangeError {
    fn from(error: ConfigError) -> Self {
        Self::Invalid(error.message)
    }
}

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MemberNotFound => "member not found",
            Self::IdExists => "member id already exists",
            Self::PeerUrlsExist => "peer URLs already exist",
            Self::NotLearner => "only a learner can be promoted",
            Self::LearnerNotReady => "the learner has not caught up with the leader",
            Self::TooManyLearners => "too many learners",
            Self::NotEnoughStarted(why) | Self::Pending(why) | Self::Invalid(why) => why,
        })
    }
}
