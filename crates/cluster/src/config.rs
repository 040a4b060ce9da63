//! The replicated configuration: members, quorum system, ballot rule, limits.

use super::change::ChangeState;
use alloc::string::String;
use alloc::vec::Vec;
use base::codec::{DecodeError, Get, Put};
use base::crc::{crc32c, crc32c_append};
use base::limits::{MEMBERS_MAX, URLS_MAX};
use base::{Life, NodeId, planted};
use core::fmt;
use quorum::{NODES_MAX, Names, NodeSet, Protocol, System, SystemSpec};

/// What a cluster is born with; a change makes it [`VERSION_CHANGED`].
const VERSION: u8 = 1;
const VERSION_CHANGED: u8 = 2;
/// With members marked out.
const VERSION_MARKED: u8 = 3;
/// With the lives of members, and the list of those marked out even when it is empty.
const VERSION_LIVES: u8 = 4;
/// As that, with the slot given last.
const VERSION_SLOTTED: u8 = 5;
/// Named limits a configuration may carry.
pub const LIMITS_MAX: usize = 256;

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
    pub id: NodeId,
    pub slot: u8,
    pub name: String,
    /// Receives the log, is never counted.
    pub learner: bool,
    pub peer_urls: Vec<String>,
    pub client_urls: Vec<String>,
    /// The directory it takes part with, and the latest start of it that a leader wrote down;
    /// unknown until it was met (`docs/design/births.md`).
    pub life: Life,
}

/// One configuration, as it stands in config entries, checkpoints and the bootstrap record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    pub members: Vec<Member>,
    /// Quorum system text over member names.
    pub quorum: String,
    /// The system being moved to: while it is here, decisions need both.
    pub joint: Option<String>,
    pub rule: BallotRule,
    /// Replicated limits by name (quota and the like).
    pub limits: Vec<(String, u64)>,
    /// The change that made it and what of that is still to be done.
    pub change: ChangeState,
}

/// Why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub message: String,
}

impl ConfigError {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for ConfigError {}

impl Configuration {
    /// Compiles and checks the quorum system in force (joint with the next one, if any).
    pub fn system(&self) -> Result<System, ConfigError> {
        self.check_members()?;
        let names = self.voter_names();
        let old = self.compile(&self.quorum, &names)?;
        match &self.joint {
            None => Ok(old),
            Some(text) if planted!(JointCountsNewOnly) => self.compile(text, &names),
            Some(text) => Ok(System::joint(&old, &self.compile(text, &names)?)),
        }
    }

    fn compile(&self, text: &str, names: &Names) -> Result<System, ConfigError> {
        let spec = SystemSpec::parse(text)
            .map_err(|e| ConfigError::new(alloc::format!("quorum {text:?}: {e}")))?;
        let protocol = match self.rule {
            BallotRule::SharedTerms => Protocol::RaftSharedTerms,
            BallotRule::TermAndNode => Protocol::RaftTermAndNode,
        };
        spec.compile_for(names, protocol)
            .map_err(|e| ConfigError::new(alloc::format!("quorum {text:?}: {e}")))
    }

    fn check_members(&self) -> Result<(), ConfigError> {
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

    /// Names a quorum text may use: voters only, so that a learner can never be counted.
    fn voter_names(&self) -> Names {
        let mut names = Names::new();
        for m in self.members.iter().filter(|m| !m.learner) {
            names.insert(m.slot, &m.name);
        }
        names
    }

    /// Slots of the members that vote.
    pub fn voters(&self) -> NodeSet {
        let mut set = NodeSet::new();
        self.members.iter().filter(|m| !m.learner).for_each(|m| {
            set.insert(m.slot);
        });
        set
    }

    /// Slots of the members that a quorum text calls `witness(..)`, the text being moved to and
    /// the one a newcomer waits for included: they vote and keep the log's positions, no data.
    pub fn witnesses(&self) -> NodeSet {
        let texts = [Some(&self.quorum), self.joint.as_ref(), self.change.quorum.as_ref()];
        let mut set = NodeSet::new();
        for spec in texts.into_iter().flatten().filter_map(|t| SystemSpec::parse(t).ok()) {
            let names = spec.witnesses();
            self.members.iter().filter(|m| names.contains(&m.name.as_str())).for_each(|m| {
                set.insert(m.slot);
            });
        }
        set
    }

    pub fn is_witness(&self, id: NodeId) -> bool {
        self.slot_of(id).is_some_and(|slot| self.witnesses().contains(slot))
    }

    /// Slots of the members marked out; in a founded cluster also of those nobody has met yet.
    pub fn out(&self) -> NodeSet {
        let founded = self.is_founded();
        let out =
            |m: &&Member| (founded && m.life == Life::UNKNOWN) || self.change.out.contains(&m.id);
        self.members.iter().filter(out).map(|m| m.slot).collect()
    }

    /// Whether the others can elect and commit while `id` takes no part; the error says who is
    /// too few.
    pub fn decides_without(&self, id: NodeId) -> Result<(), String> {
        let system = self.system().map_err(|error| error.message)?;
        let mut others = self.voters();
        self.slot_of(id).map(|slot| others.remove(slot));
        if system.elect().is_quorum(others) && system.commit().is_quorum(others) {
            return Ok(());
        }
        let voters = self.members.iter().filter(|m| !m.learner && m.id != id);
        let names: Vec<&str> = voters.map(|m| m.name.as_str()).collect();
        Err(alloc::format!("the others ({}) are no quorum without this member", names.join(", ")))
    }

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

    pub fn slot_of(&self, id: NodeId) -> Option<u8> {
        self.member(id).map(|m| m.slot)
    }

    pub fn id_of(&self, slot: u8) -> Option<NodeId> {
        self.members.iter().find(|m| m.slot == slot).map(|m| m.id)
    }

    /// Equal configurations have equal hashes; compared in the peer handshake.
    pub fn hash(&self) -> u64 {
        let bytes = self.encode();
        let low = crc32c(&bytes);
        let high = crc32c_append(low ^ 0x5155_4F52, &bytes);
        (u64::from(high) << 32) | u64::from(low)
    }

    /// The lowest that says all of it: one content has one encoding.
    fn version(&self) -> u8 {
        let changed = self.change != ChangeState::default();
        match (changed, self.change.out.is_empty()) {
            _ if self.change.slot_last.is_some() => VERSION_SLOTTED,
            _ if self.change.founding || self.is_founded() => VERSION_LIVES,
            (false, _) => VERSION,
            (true, true) => VERSION_CHANGED,
            (true, false) => VERSION_MARKED,
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let version = self.version();
        out.put_u8(version);
        out.put_u8(match self.rule {
            BallotRule::SharedTerms => 1,
            BallotRule::TermAndNode => 2,
        });
        out.put_bytes(self.quorum.as_bytes());
        out.put_u8(u8::from(self.joint.is_some()));
        if let Some(joint) = &self.joint {
            out.put_bytes(joint.as_bytes());
        }
        put_len(&mut out, self.members.len());
        for m in &self.members {
            out.put_u64(m.id.0);
            out.put_u8(m.slot);
            out.put_u8(u8::from(m.learner));
            out.put_bytes(m.name.as_bytes());
            put_strings(&mut out, &m.peer_urls);
            put_strings(&mut out, &m.client_urls);
        }
        put_len(&mut out, self.limits.len());
        for (name, value) in &self.limits {
            out.put_bytes(name.as_bytes());
            out.put_u64(*value);
        }
        if version >= VERSION_CHANGED {
            self.change.encode(&mut out, version >= VERSION_MARKED);
        }
        if version >= VERSION_LIVES {
            out.put_u8(u8::from(self.change.founding));
            self.members.iter().for_each(|m| out.put_life(m.life));
        }
        out.extend(self.change.slot_last);
        out
    }

    /// Reads a whole configuration; its quorum text is checked by `system`, not here.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut get = Get::new(bytes);
        let version = get.u8()?;
        if !(VERSION..=VERSION_SLOTTED).contains(&version) {
            let value = u64::from(version);
            return Err(DecodeError::Unknown { what: "configuration version", value });
        }
        let rule = match get.u8()? {
            1 => BallotRule::SharedTerms,
            2 => BallotRule::TermAndNode,
            v => {
                return Err(DecodeError::Unknown { what: "ballot rule", value: u64::from(v) });
            }
        };
        let quorum = String::from(get.str()?);
        let joint = if get.bool()? { Some(String::from(get.str()?)) } else { None };
        let mut members = Vec::new();
        for _ in 0..get_len(&mut get, MEMBERS_MAX)? {
            let id = NodeId(get.u64()?);
            let slot = get.u8()?;
            let learner = get.bool()?;
            let name = String::from(get.str()?);
            let peer_urls = get_strings(&mut get)?;
            let client_urls = get_strings(&mut get)?;
            let life = Life::UNKNOWN;
            members.push(Member { id, slot, name, learner, peer_urls, client_urls, life });
        }
        let mut limits = Vec::new();
        for _ in 0..get_len(&mut get, LIMITS_MAX)? {
            limits.push((String::from(get.str()?), get.u64()?));
        }
        let mut change = match version {
            VERSION => ChangeState::default(),
            _ => ChangeState::decode(&mut get, version >= VERSION_MARKED)?,
        };
        if version >= VERSION_LIVES {
            change.founding = get.bool()?;
            for member in &mut members {
                member.life = get.life()?;
            }
        }
        if version >= VERSION_SLOTTED {
            let slot = get.u8()?;
            if usize::from(slot) >= NODES_MAX {
                return Err(DecodeError::Invalid { what: "slot given last" });
            }
            change.slot_last = Some(slot);
        }
        get.finish()?;
        let config = Self { members, quorum, joint, rule, limits, change };
        if config.version() != version {
            return Err(DecodeError::Invalid { what: "configuration version" });
        }
        Ok(config)
    }
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    out.put_u32(u32::try_from(len).expect("configuration lists are short"));
}

pub(crate) fn get_len(get: &mut Get<'_>, max: usize) -> Result<usize, DecodeError> {
    let len = get.u32()? as usize;
    if len > max {
        return Err(DecodeError::Invalid { what: "list length" });
    }
    Ok(len)
}

pub(crate) fn put_strings(out: &mut Vec<u8>, strings: &[String]) {
    put_len(out, strings.len());
    strings.iter().for_each(|s| out.put_bytes(s.as_bytes()));
}

pub(crate) fn get_strings(get: &mut Get<'_>) -> Result<Vec<String>, DecodeError> {
    (0..get_len(get, URLS_MAX)?).map(|_| Ok(String::from(get.str()?))).collect()
}
