//! The replicated configuration: members, quorum system, ballot rule, limits.

mod bytes;

use crate::change::ChangeState;
use crate::error::ConfigError;
use alloc::string::String;
use alloc::vec::Vec;
use base::limits::MEMBERS_MAX;
use base::{Life, NodeId};
use core::fmt;
use quorum::{NODES_MAX, NodeSet};

/// Which protocol the members agree by; chosen at bootstrap, for the life of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Raft (Ongaro, Ousterhout 2014) over any safe quorum system.
    Raft,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raft => "raft",
        })
    }
}

/// How ballots are unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BallotRule {
    /// Raft: one leader a term, because any two elect sets meet.
    SharedTerms,
    /// Paxos: a ballot is (term, node), elect sets need not meet each other.
    TermAndNode,
}

/// One member. `slot` is its bit in every `NodeSet` and never changes or is reused while a
/// configuration that names it is live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Never zero, never given twice.
    pub id: NodeId,
    /// Below [`NODES_MAX`].
    pub slot: u8,
    /// What quorum texts call it; a voter's is for good.
    pub name: String,
    /// Receives the log, is never counted.
    pub learner: bool,
    /// Where members reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it; empty until it said so.
    pub client_urls: Vec<String>,
    /// The directory it takes part with, and the latest start of it that a leader wrote down;
    /// unknown until it was met (`docs/design/births.md`).
    pub life: Life,
}

/// One configuration, as it stands in config entries, checkpoints and the bootstrap record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// For the life of the cluster.
    pub protocol: Protocol,
    /// In order of arrival; voters and learners, at most [`MEMBERS_MAX`].
    pub members: Vec<Member>,
    /// Quorum system text over member names.
    pub quorum: String,
    /// The system being moved to: while it is here, decisions need both.
    pub joint: Option<String>,
    /// For the life of the cluster.
    pub rule: BallotRule,
    /// Replicated limits by name (quota and the like).
    pub limits: Vec<(String, u64)>,
    /// The change that made it and what of that is still to be done.
    pub change: ChangeState,
}

impl Configuration {
    pub(crate) fn check_members(&self) -> Result<(), ConfigError> {
        if self.members.len() > MEMBERS_MAX {
            return Err(ConfigError::new("too many members"));
        }
        for (i, m) in self.members.iter().enumerate() {
            if m.id == NodeId::ZERO {
                return Err(ConfigError::new("member id 0 means nobody"));
            }
            if usize::from(m.slot) >= NODES_MAX {
                return Err(ConfigError::new(alloc::format!("slot {} is out of range", m.slot)));
            }
            let twice =
                |o: &Member| o.id == m.id || o.slot == m.slot || (o.name == m.name && !o.learner);
            if self.members[i + 1..].iter().any(twice) {
                return Err(ConfigError::new(alloc::format!("member {} is not unique", m.name)));
            }
        }
        Ok(())
    }

    /// Slots of the members that vote.
    pub fn voters(&self) -> NodeSet {
        let mut set = NodeSet::new();
        self.members.iter().filter(|m| !m.learner).for_each(|m| {
            set.insert(m.slot);
        });
        set
    }

    /// Slots of the members marked out; in a founded cluster also of those nobody has met yet.
    pub fn out(&self) -> NodeSet {
        let founded = self.is_founded();
        let out =
            |m: &&Member| (founded && m.life == Life::UNKNOWN) || self.change.out.contains(&m.id);
        self.members.iter().filter(out).map(|m| m.slot).collect()
    }

    /// The member of this id.
    pub fn member(&self, id: NodeId) -> Option<&Member> {
        self.members.iter().find(|m| m.id == id)
    }

    /// The directory and the latest start of `id` as written down here.
    pub fn life_of(&self, id: NodeId) -> Life {
        self.member(id).map_or(Life::UNKNOWN, |m| m.life)
    }

    /// Slots of the members whose directories are written down.
    pub fn met(&self) -> NodeSet {
        self.members.iter().filter(|m| m.life != Life::UNKNOWN).map(|m| m.slot).collect()
    }

    /// Whether anybody's directory is written down: a leader has met a quorum.
    pub fn is_founded(&self) -> bool {
        self.members.iter().any(|m| m.life != Life::UNKNOWN)
    }

    /// Its bit in every `NodeSet`.
    pub fn slot_of(&self, id: NodeId) -> Option<u8> {
        self.member(id).map(|m| m.slot)
    }

    /// Who has this bit.
    pub fn id_of(&self, slot: u8) -> Option<NodeId> {
        self.members.iter().find(|m| m.slot == slot).map(|m| m.id)
    }
}
