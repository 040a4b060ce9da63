//! Meeting peers: who may come in, who is told to stop, and what a newcomer is told.

use crate::announced::{Announced, Word};
use crate::births::{Births, Written};
pub use crate::births::{Remembered, Unwritten};
use crate::hello::{Hello, PROTOCOL, Purpose};
use crate::join::{Ask, No};
use crate::open::Born;
use crate::unwelcome::Unwelcome;
use base::{Birth, Life, NodeId, planted};
use cluster::Configuration;
use consensus::raft::Raft;
use std::collections::BTreeMap;
use std::sync::Arc;
use store::Identity;

/// What a member says of itself beside its identity.
#[derive(Clone, Debug, Default)]
pub struct Said {
    pub name: String,
    pub client_urls: Vec<String>,
    pub peer_urls: Vec<String>,
}

/// The others as this member knows them: as it met them, and as the configuration says.
pub struct Peers {
    said: Said,
    /// What this member says to clients, and what the others have said.
    own: Word,
    announced: Announced,
    /// The bootstrap configuration.
    first: Arc<Configuration>,
    births: Births,
    /// Version of the configuration in force, and whether it is committed, as followed last.
    followed: Option<(u64, bool)>,
    /// The configuration in force.
    config: Option<Configuration>,
    /// Ids and names of members that have left: committed.
    gone: Vec<(NodeId, String)>,
    /// Directories and starts of members, by what is committed; empty while nobody's is.
    lives: BTreeMap<NodeId, Life>,
}

impl Peers {
    /// `identity` is what the directory's identity file holds; `first` is the bootstrap
    /// configuration that it states.
    pub fn new(identity: Identity, first: Arc<Configuration>, said: Said) -> Self {
        let life = Life { birth: Birth(identity.birth), incarnation: identity.incarnation };
        let own = Word { name: said.name.clone(), client_urls: said.client_urls.clone(), life };
        Self {
            said,
            own,
            announced: Announced::default(),
            first,
            births: Births::new(identity),
            followed: None,
            config: None,
            gone: Vec::new(),
            lives: BTreeMap::new(),
        }
    }

    /// Who this member is, to `to`.
    pub fn hello(&self, purpose: Purpose, to: NodeId) -> Hello {
        let identity = self.births.identity();
        Hello {
            purpose,
            protocol: PROTOCOL,
            cluster: identity.cluster,
            member: identity.member,
            to,
            incarnation: identity.incarnation,
            birth: identity.birth,
            config: Arc::clone(&self.first),
            client_urls: self.said.client_urls.clone(),
            name: self.said.name.clone(),
            peer_urls: self.said.peer_urls.clone(),
        }
    }

    /// Goes by the configuration in force and the last one known to be committed; whether they
    /// are others than before.
    pub fn follow(&mut self, raft: &Raft) -> bool {
        let now = (raft.config_version(), raft.config_is_committed());
        if self.followed.replace(now) == Some(now) {
            return false;
        }
        let (config, committed) = (raft.config(), raft.config_at(raft.commit()));
        let left = |m: &&cluster::Member| committed.member(m.id).is_none();
        // Until the first change those that are missing are not known yet.
        let changed = committed.change.request.seq > 0;
        let early = self.first.members.iter().filter(|m| changed && left(m));
        let removed = committed.change.removed.iter().cloned();
        self.gone = removed.chain(early.map(|m| (m.id, m.name.clone()))).collect();
        let met = committed.members.iter().filter(|m| m.life != Life::UNKNOWN);
        self.lives = met.map(|m| (m.id, m.life)).collect();
        self.config = Some(config.config().clone());
        let members = config.members.iter().chain(&committed.members).map(|member| member.id);
        let gone = &self.gone;
        self.announced.follow(members.collect(), |id| gone.iter().any(|(gone, _)| *gone == id));
        true
    }

    /// Takes in what a peer that was let in says of itself; whether that is news.
    pub fn learn(&mut self, hello: &Hello) -> bool {
        self.announced.insert(hello.member, Word::of(hello))
    }

    /// What `id` said last, if it has spoken since the start here; this member's own word too.
    pub fn said(&self, id: NodeId) -> Option<&Word> {
        let own = id == self.births.identity().member;
        if own { Some(&self.own) } else { self.announced.get(id) }
    }

    /// Whether the configuration in force names it; until one is followed, the first one.
    pub fn is_member(&self, id: NodeId) -> bool {
        self.config.as_ref().unwrap_or(&self.first).member(id).is_some()
    }

    /// Ids and names of members that are known to have left.
    pub fn gone(&self) -> &[(NodeId, String)] {
        &self.gone
    }

    /// Whether one that says `hello` may come in, and what has to be written down and
    /// [kept](Peers::keep) before it does. Nobody else is looked at in between.
    ///
    /// # Errors
    /// The first reason against it.
    pub fn admit(&mut self, hello: &Hello) -> Result<Option<Unwritten>, Unwelcome> {
        let mine = self.hello(hello.purpose, hello.member);
        if let Some(difference) = mine.difference(hello) {
            return Err(Unwelcome::Other(difference));
        }
        self.receive(hello.member, hello.life())
    }

    /// As [`Peers::admit`], of a member whose hello was looked at.
    ///
    /// # Errors
    /// As there.
    pub fn receive(&mut self, member: NodeId, life: Life) -> Result<Option<Unwritten>, Unwelcome> {
        let gone = self.gone.iter().find(|(gone, _)| *gone == member);
        if let Some((_, name)) = gone
            && !planted!(LeaverLetIn)
        {
            let (id, cluster) = (member.0, self.births.identity().cluster);
            let text = format!("member {name} ({id:x}) was removed from cluster {cluster:x}");
            return Err(Unwelcome::Gone(text));
        }
        self.meet(member, life)
    }

    /// Whether one that this member called, and that says it lives `life`, is who it was; what has
    /// to be written down as in [`Peers::admit`].
    ///
    /// # Errors
    /// What happened to its directory.
    pub fn meet(&mut self, member: NodeId, life: Life) -> Result<Option<Unwritten>, Unwelcome> {
        let config = self.config.as_ref().unwrap_or(&self.first);
        self.births.make_room(|id| config.member(id).is_some());
        self.births.check(member, life, self.written(member))
    }

    fn written(&self, member: NodeId) -> Written {
        match self.lives.get(&member) {
            Some(life) => Written::As(*life),
            None if self.lives.is_empty() => Written::Nobodys,
            None => Written::Others,
        }
    }

    /// Answers a newcomer that asks who it is. `meant` brings URLs into one spelling and order;
    /// the newcomer itself asks with what its names mean.
    ///
    /// # Errors
    /// Why it is not told.
    pub fn introduce(
        &self,
        ask: &Ask,
        meant: &dyn Fn(&[String]) -> Vec<String>,
    ) -> Result<Born, No> {
        let config = self.config.as_ref().ok_or(No::NotYet("it is starting".to_string()))?;
        let asked = meant(&ask.peer_urls);
        let member = config.members.iter().find(|m| meant(&m.peer_urls) == asked);
        let member = member.ok_or_else(|| {
            let urls = ask.peer_urls.join(",");
            No::NotYet(format!("no member has the peer URLs {urls}: add it with member add first"))
        })?;
        let known = match self.written(member.id) {
            Written::As(life) => Some(life),
            Written::Nobodys => self.births.knows(member.id),
            Written::Others => None,
        };
        if known.is_some_and(|known| known.birth != Birth(ask.birth)) {
            return Err(No::Never(format!(
                "member {} ({:x}) was here before and its data directory was emptied, so it has \
                 forgotten its votes: replace it under a new id with `quorate member replace {}`",
                member.name, member.id.0, member.name
            )));
        }
        let (cluster, config) = (self.births.identity().cluster, Configuration::clone(&self.first));
        Ok(Born { cluster, member: member.id, config })
    }

    /// Goes by what was written: whoever was met is known.
    pub fn keep(&mut self, remembered: Remembered) {
        self.births.keep(remembered);
    }

    /// What says that this directory may never be started again.
    pub fn forswear(&self, why: &str) -> Unwritten {
        self.births.forswear(why)
    }

    /// Whom this member has met, for another thread.
    pub fn seen(&self) -> Seen {
        let met = &self.births.identity().peers;
        Seen(met.iter().map(|met| (met.member, Birth(met.birth))).collect())
    }
}

/// The directories of peers at some moment.
#[derive(Clone, Debug, Default)]
pub struct Seen(BTreeMap<NodeId, Birth>);

impl Seen {
    /// Whether a peer still has the directory that it was met with, if it was.
    ///
    /// # Errors
    /// It has another one.
    pub fn allows(&self, member: NodeId, life: Life) -> Result<(), String> {
        match self.0.get(&member) {
            Some(birth) if *birth != life.birth => Err("its data directory changed".to_string()),
            _ => Ok(()),
        }
    }
}
