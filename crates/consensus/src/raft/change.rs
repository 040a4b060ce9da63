//! Changes of members and quorum: what is asked, why it is refused, and the next configuration.
//!
//! A change is a walk of configurations: a newcomer comes in as a learner, then the joint of old
//! and new, then the new one alone (Ongaro 2014 section 4.3). What is still to be done stands in
//! the configuration itself, so that any leader, also the next one, goes on from the log.

use super::config::{Configuration, Member};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use base::codec::{DecodeError, Get, Put};
use base::{NodeId, RequestId};
use core::fmt;
use quorum::{Expr, NODES_MAX, NodeSet, SystemSpec};

/// Members remembered after their removal, so that they are refused by name.
pub const REMOVED_MAX: usize = 64;
/// Learners that somebody asked for as such; as etcd's `--max-learners`.
pub const LEARNERS_MAX: usize = 1;
const LIST_MAX: usize = 64;

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
}

/// A member that is to come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newcomer {
    pub id: NodeId,
    /// The name quorum texts use; empty: a label made of the id until it says its own.
    pub name: String,
    pub peer_urls: Vec<String>,
}

/// One change of members or quorum. `quorum` is the text the cluster is to have afterwards; a
/// majority of all voters follows the members by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Comes in as a learner; as a voter once it has caught up, unless `learner`.
    Add {
        member: Newcomer,
        learner: bool,
        quorum: Option<String>,
    },
    Promote {
        id: NodeId,
        quorum: Option<String>,
    },
    Remove {
        id: NodeId,
        quorum: Option<String>,
    },
    Update {
        id: NodeId,
        peer_urls: Vec<String>,
    },
    /// One in, one out, in one joint step once the newcomer has caught up.
    Replace {
        old: NodeId,
        member: Newcomer,
        quorum: Option<String>,
    },
    Quorum {
        text: String,
    },
    /// A member says its name and where it serves clients.
    Publish {
        id: NodeId,
        name: String,
        client_urls: Vec<String>,
    },
}

/// Why a change was not begun. Nothing of it was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeError {
    MemberNotFound,
    IdExists,
    PeerUrlsExist,
    NotLearner,
    LearnerNotReady,
    TooManyLearners,
    /// The members alive are no quorum of the system asked for: who is missing.
    NotEnoughStarted(String),
    /// Another change is not done yet.
    Pending(String),
    /// The system asked for is unreadable or unsafe, or no quorum was named where one must be.
    Invalid(String),
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

/// The name of a member that has not said its own.
pub fn label(id: NodeId) -> String {
    alloc::format!("m{:016x}", id.0)
}

impl Configuration {
    /// Whether its system is the plain majority of all voters, which follows the members.
    pub fn follows_members(&self) -> bool {
        let spec = |c: &Configuration| c.system().ok();
        let plain = Configuration { quorum: self.majority(), joint: None, ..self.clone() };
        self.joint.is_none() && spec(self).is_some() && spec(self) == spec(&plain)
    }

    /// The plain majority of the voters, as text.
    fn majority(&self) -> String {
        let voters = self.members.iter().filter(|m| !m.learner);
        Expr::majority(voters.map(|m| m.name.as_str())).to_string()
    }

    /// The configuration a change begins with, or why it may not. `live` are the slots of the
    /// members known to be alive; `caught_up` says whether a learner has the leader's log.
    pub fn begin(
        &self,
        change: &Change,
        request: RequestId,
        live: NodeSet,
        caught_up: impl Fn(NodeId) -> bool,
    ) -> Result<Configuration, ChangeError> {
        self.refuse_second(change)?;
        let mut next = self.clone();
        next.change.request = request;
        match change {
            Change::Add { member, learner, quorum } => {
                if *learner && self.learners() >= LEARNERS_MAX {
                    return Err(ChangeError::TooManyLearners);
                }
                next.take_in(member)?;
                if *learner {
                    return Ok(next);
                }
                next.change.promote = Some(member.id);
                next.change.quorum.clone_from(quorum);
                next.rehearse(live)
            }
            Change::Replace { old, member, quorum } => {
                let leaving = self.member(*old).ok_or(ChangeError::MemberNotFound)?;
                next.take_in(member)?;
                next.change.promote = Some(member.id);
                next.change.remove = Some(*old);
                next.change.quorum.clone_from(quorum);
                if quorum.is_none() && !self.follows_members() {
                    let name = &next.members.last().expect("just taken in").name;
                    next.change.quorum = Some(renamed(&self.quorum, &leaving.name, name));
                }
                next.rehearse(live)
            }
            Change::Promote { id, quorum } => {
                let member = self.member(*id).ok_or(ChangeError::MemberNotFound)?;
                if !member.learner {
                    return Err(ChangeError::NotLearner);
                }
                if !caught_up(*id) {
                    return Err(ChangeError::LearnerNotReady);
                }
                next.change.promote = Some(*id);
                if quorum.is_some() {
                    next.change.quorum.clone_from(quorum);
                }
                next.join(live)
            }
            Change::Remove { id, quorum } => next.begin_removal(*id, quorum.as_ref(), live),
            Change::Update { id, peer_urls } => {
                next.refuse_taken_urls(peer_urls, *id)?;
                let member = next.members.iter_mut().find(|m| m.id == *id);
                member.ok_or(ChangeError::MemberNotFound)?.peer_urls.clone_from(peer_urls);
                Ok(next)
            }
            Change::Quorum { text } => {
                next.change.quorum = Some(text.clone());
                next.join(live)
            }
            Change::Publish { id, name, client_urls } => next.publish(*id, name, client_urls),
        }
    }

    /// The configuration that follows this one, once this one is committed: none when nothing is
    /// left to do, or a learner has not caught up yet.
    pub fn advance(
        &self,
        live: NodeSet,
        caught_up: impl Fn(NodeId) -> bool,
    ) -> Result<Option<Configuration>, ChangeError> {
        if self.joint.is_some() {
            return Ok(Some(self.done()));
        }
        match self.change.promote {
            Some(id) if self.is_named(id) && caught_up(id) => self.clone().join(live).map(Some),
            _ => Ok(None),
        }
    }

    /// A voter's name is for good, so a newcomer says its own first.
    fn is_named(&self, id: NodeId) -> bool {
        let said = |m: &Member| m.name != label(id) || !m.client_urls.is_empty();
        self.member(id).is_some_and(said)
    }

    /// True while a change is under way.
    pub fn is_changing(&self) -> bool {
        self.joint.is_some() || self.change.promote.is_some()
    }

    /// One change at a time. What is under way can be called off before its joint entry, by
    /// removing the newcomer.
    fn refuse_second(&self, change: &Change) -> Result<(), ChangeError> {
        let name = |id: NodeId| self.member(id).map_or_else(|| label(id), |m| m.name.clone());
        match (self.change.promote, change) {
            _ if self.joint.is_some() => {
                let text = self.joint.as_deref().unwrap_or_default();
                let why = alloc::format!("the change to quorum {text} is not done yet");
                Err(ChangeError::Pending(why))
            }
            (None, _) | (Some(_), Change::Publish { .. }) => Ok(()),
            (Some(new), Change::Remove { id, .. } | Change::Promote { id, .. }) if new == *id => {
                Ok(())
            }
            (Some(new), _) => Err(ChangeError::Pending(alloc::format!(
                "member {} ({:x}) has not caught up yet; start it, or remove it",
                name(new),
                new.0
            ))),
        }
    }

    /// Learners that stay learners until somebody promotes them.
    fn learners(&self) -> usize {
        let stays = |m: &&Member| m.learner && self.change.promote != Some(m.id);
        self.members.iter().filter(stays).count()
    }

    fn refuse_taken_urls(&self, urls: &[String], own: NodeId) -> Result<(), ChangeError> {
        let others = self.members.iter().filter(|m| m.id != own);
        match others.flat_map(|m| &m.peer_urls).any(|url| urls.contains(url)) {
            true => Err(ChangeError::PeerUrlsExist),
            false => Ok(()),
        }
    }

    fn take_in(&mut self, new: &Newcomer) -> Result<(), ChangeError> {
        self.refuse_taken_urls(&new.peer_urls, NodeId::ZERO)?;
        let known = self.member(new.id).is_some();
        let left = self.change.removed.iter().any(|(id, _)| *id == new.id);
        if known || left || new.id == NodeId::ZERO {
            return Err(ChangeError::IdExists);
        }
        let name = if new.name.is_empty() { label(new.id) } else { new.name.clone() };
        if self.members.iter().any(|m| m.name == name) {
            let why = alloc::format!("a member is called {name:?} already");
            return Err(ChangeError::Invalid(why));
        }
        // A slot that was just left is taken last, so that nothing late is said in its name.
        let top = self.members.iter().map(|m| u32::from(m.slot) + 1).max().unwrap_or(0);
        let taken = |s: u8| self.members.iter().any(|m| m.slot == s);
        let above = u8::try_from(top).ok().filter(|s| usize::from(*s) < NODES_MAX);
        let free = above.or_else(|| (0..NODES_MAX as u8).find(|s| !taken(*s)));
        let slot = free.ok_or_else(|| ChangeError::Invalid("too many members".into()))?;
        self.members.push(Member {
            id: new.id,
            slot,
            name,
            learner: true,
            peer_urls: new.peer_urls.clone(),
            client_urls: Vec::new(),
        });
        Ok(())
    }

    fn begin_removal(
        mut self,
        id: NodeId,
        quorum: Option<&String>,
        live: NodeSet,
    ) -> Result<Configuration, ChangeError> {
        let member = self.member(id).ok_or(ChangeError::MemberNotFound)?;
        let (learner, name) = (member.learner, member.name.clone());
        if learner {
            if self.change.promote == Some(id) {
                // Called off, with everything that came along.
                (self.change.promote, self.change.quorum) = (None, None);
            }
            self.change.remove = Some(id);
            return Ok(self.done());
        }
        if self.members.iter().filter(|m| !m.learner).count() <= 1 {
            let why = "it is the last voting member".to_string();
            return Err(ChangeError::NotEnoughStarted(why));
        }
        self.change.remove = Some(id);
        self.change.quorum = quorum.cloned();
        let named = |text: &str| {
            SystemSpec::parse(text).is_ok_and(|spec| spec.names().contains(&name.as_str()))
        };
        if quorum.is_none() && !self.follows_members() && !named(&self.quorum) {
            self.change.quorum = Some(self.quorum.clone());
        }
        self.join(live)
    }

    fn publish(
        mut self,
        id: NodeId,
        name: &str,
        client_urls: &[String],
    ) -> Result<Configuration, ChangeError> {
        let free = !name.is_empty() && self.members.iter().all(|m| m.name != name);
        let fixed = self.change.quorum.is_some();
        let member = self.members.iter_mut().find(|m| m.id == id);
        let member = member.ok_or(ChangeError::MemberNotFound)?;
        member.client_urls = client_urls.to_vec();
        // Only a learner's name stands in no quorum text.
        if member.learner && !fixed && free && member.name == label(id) {
            member.name = name.to_string();
        }
        Ok(self)
    }

    /// Checks a promotion that is to come, with the newcomer counted as alive.
    fn rehearse(self, live: NodeSet) -> Result<Configuration, ChangeError> {
        let mut then = live;
        self.change.promote.and_then(|id| self.slot_of(id)).map(|slot| then.insert(slot));
        self.clone().join(then)?;
        Ok(self)
    }

    /// The joint of this configuration and the one its change asks for; the latter at once when
    /// both decide alike.
    fn join(mut self, live: NodeSet) -> Result<Configuration, ChangeError> {
        let follows = self.follows_members();
        let promoted = self.change.promote.take();
        let mut target = self.clone();
        for config in [&mut self, &mut target] {
            let member = config.members.iter_mut().find(|m| Some(m.id) == promoted);
            member.into_iter().for_each(|m| m.learner = false);
        }
        let leaving = self.change.remove;
        target.members.retain(|m| Some(m.id) != leaving);
        target.quorum = match self.change.quorum.take() {
            Some(text) => text,
            None if follows => target.majority(),
            None => {
                return Err(ChangeError::Invalid(alloc::format!(
                    "the quorum {} names its members: say which one the cluster is to have with \
                     --quorum",
                    self.quorum
                )));
            }
        };
        let invalid = |e: super::ConfigError| ChangeError::Invalid(e.to_string());
        let system = target.system().map_err(invalid)?;
        if !system.commit().is_quorum(live) || !system.elect().is_quorum(live) {
            let dead = |m: &&Member| !m.learner && !live.contains(m.slot);
            let dead: Vec<_> = target.members.iter().filter(dead).map(|m| &m.name[..]).collect();
            let (text, dead) = (&target.quorum, dead.join(", "));
            let why = alloc::format!("no quorum of {text} is alive: {dead} not heard from");
            return Err(ChangeError::NotEnoughStarted(why));
        }
        let (old, new) = (SystemSpec::parse(&self.quorum), SystemSpec::parse(&target.quorum));
        self.joint = Some(target.quorum);
        if old.is_ok() && old == new {
            return Ok(self.done());
        }
        self.system().map_err(invalid)?;
        Ok(self)
    }

    /// The end of the change under way.
    pub fn done(&self) -> Configuration {
        let mut end = self.clone();
        if let Some(text) = end.joint.take() {
            end.quorum = text;
        }
        let leaving = end.change.remove.take();
        if let Some(at) = end.members.iter().position(|m| Some(m.id) == leaving) {
            let gone = end.members.remove(at);
            end.change.removed.push((gone.id, gone.name));
            let surplus = end.change.removed.len().saturating_sub(REMOVED_MAX);
            end.change.removed.drain(..surplus);
        }
        end
    }
}

/// `text` with the name `old` written as `new`, quoted or not; other words stay.
fn renamed(text: &str, old: &str, new: &str) -> String {
    let Ok(spec) = SystemSpec::parse(text) else { return text.to_string() };
    if !spec.names().contains(&old) {
        return text.to_string();
    }
    let new = Expr::majority([new]).names().first().map_or(String::new(), |n| quoted(n));
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| !c.is_whitespace() && !"(){},;:=/>\"".contains(c);
        let len = match first {
            '"' => rest[1..].find('"').map_or(rest.len(), |at| at + 2),
            c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        let (word, tail) = rest.split_at(len);
        out.push_str(if word.trim_matches('"') == old { &new } else { word });
        rest = tail;
    }
    out
}

fn quoted(name: &str) -> String {
    alloc::format!("\"{name}\"")
}

impl ChangeState {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_request_id(self.request);
        out.put_u64(self.promote.unwrap_or(NodeId::ZERO).0);
        out.put_u64(self.remove.unwrap_or(NodeId::ZERO).0);
        put_text(out, self.quorum.as_deref());
        out.put_u32(u32::try_from(self.removed.len()).expect("bounded by REMOVED_MAX"));
        for (id, name) in &self.removed {
            out.put_u64(id.0);
            out.put_bytes(name.as_bytes());
        }
    }

    pub(crate) fn decode(get: &mut Get<'_>) -> Result<Self, DecodeError> {
        let request = get.request_id()?;
        let promote = Some(NodeId(get.u64()?)).filter(|id| *id != NodeId::ZERO);
        let remove = Some(NodeId(get.u64()?)).filter(|id| *id != NodeId::ZERO);
        let quorum = get_text(get)?;
        let mut removed = Vec::new();
        for _ in 0..get_len(get, REMOVED_MAX)? {
            removed.push((NodeId(get.u64()?), String::from(get.str()?)));
        }
        Ok(Self { request, promote, remove, quorum, removed })
    }
}

fn put_text(out: &mut Vec<u8>, text: Option<&str>) {
    out.put_u8(u8::from(text.is_some()));
    if let Some(text) = text {
        out.put_bytes(text.as_bytes());
    }
}

fn get_text(get: &mut Get<'_>) -> Result<Option<String>, DecodeError> {
    if get.bool()? { Ok(Some(String::from(get.str()?))) } else { Ok(None) }
}

fn get_len(get: &mut Get<'_>, max: usize) -> Result<usize, DecodeError> {
    let len = get.u32()? as usize;
    if len > max {
        return Err(DecodeError::Invalid { what: "list length" });
    }
    Ok(len)
}

fn put_strings(out: &mut Vec<u8>, strings: &[String]) {
    out.put_u32(u32::try_from(strings.len()).expect("lists of URLs are short"));
    strings.iter().for_each(|s| out.put_bytes(s.as_bytes()));
}

fn get_strings(get: &mut Get<'_>) -> Result<Vec<String>, DecodeError> {
    (0..get_len(get, LIST_MAX)?).map(|_| Ok(String::from(get.str()?))).collect()
}

impl Newcomer {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.id.0);
        out.put_bytes(self.name.as_bytes());
        put_strings(out, &self.peer_urls);
    }

    fn decode(get: &mut Get<'_>) -> Result<Self, DecodeError> {
        let (id, name) = (NodeId(get.u64()?), String::from(get.str()?));
        Ok(Self { id, name, peer_urls: get_strings(get)? })
    }
}

impl Change {
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Add { member, learner, quorum } => {
                out.put_u8(1);
                member.encode(out);
                out.put_u8(u8::from(*learner));
                put_text(out, quorum.as_deref());
            }
            Self::Promote { id, quorum } | Self::Remove { id, quorum } => {
                out.put_u8(if matches!(self, Self::Promote { .. }) { 2 } else { 3 });
                out.put_u64(id.0);
                put_text(out, quorum.as_deref());
            }
            Self::Update { id, peer_urls } => {
                out.put_u8(4);
                out.put_u64(id.0);
                put_strings(out, peer_urls);
            }
            Self::Replace { old, member, quorum } => {
                out.put_u8(5);
                out.put_u64(old.0);
                member.encode(out);
                put_text(out, quorum.as_deref());
            }
            Self::Quorum { text } => {
                out.put_u8(6);
                out.put_bytes(text.as_bytes());
            }
            Self::Publish { id, name, client_urls } => {
                out.put_u8(7);
                out.put_u64(id.0);
                out.put_bytes(name.as_bytes());
                put_strings(out, client_urls);
            }
        }
    }

    /// Never panics, whatever the bytes are.
    pub fn decode(get: &mut Get<'_>) -> Result<Self, DecodeError> {
        let id = |get: &mut Get<'_>| Ok::<_, DecodeError>(NodeId(get.u64()?));
        Ok(match get.u8()? {
            1 => {
                let (member, learner) = (Newcomer::decode(get)?, get.bool()?);
                Self::Add { member, learner, quorum: get_text(get)? }
            }
            2 => Self::Promote { id: id(get)?, quorum: get_text(get)? },
            3 => Self::Remove { id: id(get)?, quorum: get_text(get)? },
            4 => Self::Update { id: id(get)?, peer_urls: get_strings(get)? },
            5 => {
                let (old, member) = (id(get)?, Newcomer::decode(get)?);
                Self::Replace { old, member, quorum: get_text(get)? }
            }
            6 => Self::Quorum { text: String::from(get.str()?) },
            7 => {
                let (id, name) = (id(get)?, String::from(get.str()?));
                Self::Publish { id, name, client_urls: get_strings(get)? }
            }
            n => return Err(DecodeError::Unknown { what: "change", value: u64::from(n) }),
        })
    }
}

impl ChangeError {
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (kind, text) = match self {
            Self::MemberNotFound => (1, ""),
            Self::IdExists => (2, ""),
            Self::PeerUrlsExist => (3, ""),
            Self::NotLearner => (4, ""),
            Self::LearnerNotReady => (5, ""),
            Self::TooManyLearners => (6, ""),
            Self::NotEnoughStarted(why) => (7, &why[..]),
            Self::Pending(why) => (8, &why[..]),
            Self::Invalid(why) => (9, &why[..]),
        };
        out.put_u8(kind);
        out.put_bytes(text.as_bytes());
    }

    pub fn decode(get: &mut Get<'_>) -> Result<Self, DecodeError> {
        let (kind, text) = (get.u8()?, String::from(get.str()?));
        Ok(match kind {
            1 => Self::MemberNotFound,
            2 => Self::IdExists,
            3 => Self::PeerUrlsExist,
            4 => Self::NotLearner,
            5 => Self::LearnerNotReady,
            6 => Self::TooManyLearners,
            7 => Self::NotEnoughStarted(text),
            8 => Self::Pending(text),
            9 => Self::Invalid(text),
            n => return Err(DecodeError::Unknown { what: "change error", value: u64::from(n) }),
        })
    }
}
