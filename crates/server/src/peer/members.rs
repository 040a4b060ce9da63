//! The peers of a running member: links follow the configuration, and who has left stays out.

use super::hello::Hello;
use super::link::Link;
use super::listen::Shared;
use super::{births, join};
use crate::config::Url;
use base::{Life, NodeId};
use cluster::Configuration;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use tokio::task::AbortHandle;

/// Peers outside the configuration that are answered: a leader this member has not heard of yet.
const STRANGERS_MAX: usize = 64;

/// What this member believes of the others; follows the replica.
#[derive(Default)]
pub struct Members {
    links: RefCell<BTreeMap<NodeId, (Rc<Link>, AbortHandle)>>,
    /// Addresses of members that are not in the configuration here, as they said them.
    strangers: RefCell<BTreeMap<NodeId, Vec<String>>>,
    /// Ids and names of members that have left: committed.
    gone: RefCell<Vec<(NodeId, String)>>,
    config: RefCell<Option<Configuration>>,
    /// Directories and starts of members: committed.
    lives: RefCell<BTreeMap<NodeId, Life>>,
}

impl Members {
    pub fn link(&self, id: NodeId) -> Option<Rc<Link>> {
        self.links.borrow().get(&id).map(|(link, _)| Rc::clone(link))
    }

    pub fn links(&self) -> Vec<Rc<Link>> {
        self.links.borrow().values().map(|(link, _)| Rc::clone(link)).collect()
    }

    /// Calls `each` for every link, without copying the list.
    pub fn for_each(&self, mut each: impl FnMut(&Link)) {
        self.links.borrow().values().for_each(|(link, _)| each(link));
    }

    /// The directory a member is known by, if anybody has met it.
    pub fn life_of(&self, id: NodeId) -> Option<Life> {
        self.lives.borrow().get(&id).copied()
    }

    /// The name of a member that is known to have left.
    pub fn gone(&self, id: NodeId) -> Option<String> {
        self.gone.borrow().iter().find(|(gone, _)| *gone == id).map(|(_, name)| name.clone())
    }

    /// Answers a newcomer that asks who it is, or says why not.
    pub fn introduce(&self, ask: &join::Ask, births: &births::Births) -> Result<NodeId, join::No> {
        let config = self.config.borrow();
        let config = config.as_ref().ok_or(join::No::NotYet("it is starting".to_string()))?;
        let urls = ask.peer_urls.join(",");
        let asked = canonical(&ask.peer_urls);
        let member = config.members.iter().find(|m| canonical(&m.peer_urls) == asked);
        let member = member.ok_or_else(|| {
            let text = format!("no member has the peer URLs {urls}: add it with member add first");
            join::No::NotYet(text)
        })?;
        let written = self.life_of(member.id).map(|life| life.birth.0);
        match written.or_else(|| births.knows(member.id)) {
            None => Ok(member.id),
            Some(birth) if birth == ask.birth => Ok(member.id),
            Some(_) => Err(join::No::Never(format!(
                "member {} ({:x}) was here before and its data directory was emptied, so it has \
                 forgotten its votes: replace it under a new id with `quorate member replace {}`",
                member.name, member.id.0, member.name
            ))),
        }
    }
}

/// In one spelling and order; the newcomer itself asks with what its names mean.
fn canonical(urls: &[String]) -> Vec<String> {
    let one = |url: &String| {
        Url::parse(url).map_or_else(|_| url.clone(), |url| url.canonical().to_string())
    };
    let mut urls: Vec<String> = urls.iter().map(one).collect();
    urls.sort();
    urls
}

/// `host:port` of each.
pub fn addresses(urls: &[String]) -> Vec<String> {
    urls.iter().filter_map(|url| Some(Url::parse(url).ok()?.authority())).collect()
}

impl Shared {
    /// Follows the configuration in force and the last one known to be committed: a member is
    /// spoken to until its removal is committed.
    pub fn follow(self: &Rc<Self>, config: &Configuration, committed: &Configuration) {
        let mut gone = committed.change.removed.clone();
        let left = |m: &&cluster::Member| committed.member(m.id).is_none();
        let joined = committed.change.request.seq > 0;
        let early = self.config.members.iter().filter(|m| joined && left(m));
        gone.extend(early.map(|m| (m.id, m.name.clone())));
        let mut wanted = self.members.strangers.borrow().clone();
        for member in config.members.iter().chain(&committed.members) {
            wanted.insert(member.id, addresses(&member.peer_urls));
        }
        wanted.retain(|id, to| {
            *id != self.member && !to.is_empty() && gone.iter().all(|(gone, _)| gone != id)
        });
        let mut links = self.members.links.borrow_mut();
        links.retain(|id, (link, task)| {
            if let Some(to) = wanted.get(id) {
                link.readdress(to.clone());
                return true;
            }
            task.abort();
            link.disconnect();
            false
        });
        for (id, to) in wanted {
            links.entry(id).or_insert_with(|| {
                let link = Link::new(id, to);
                // Until it says so itself: where it was when this member first met the cluster.
                let first = self.config.members.iter().find(|m| m.id == id);
                link.says(first.map_or(Vec::new(), |m| addresses(&m.peer_urls)));
                let task = tokio::task::spawn_local(Rc::clone(&link).run(Rc::clone(self)));
                (link, task.abort_handle())
            });
        }
        for (id, _) in &gone {
            if let Some(task) = self.state.incoming.borrow_mut().remove(id) {
                task.abort();
            }
        }
        *self.members.gone.borrow_mut() = gone;
        let met = committed.members.iter().filter(|m| m.life != Life::UNKNOWN);
        *self.members.lives.borrow_mut() = met.map(|m| (m.id, m.life)).collect();
        *self.members.config.borrow_mut() = Some(config.clone());
    }

    /// A peer came in: it can be answered also when the configuration here does not know it, or
    /// has it elsewhere.
    pub fn learn_way_back(self: &Rc<Self>, hello: &Hello) {
        let id = hello.member;
        let to = addresses(&hello.peer_urls);
        if let Some(link) = self.members.link(id) {
            return link.says(to);
        }
        let mut strangers = self.members.strangers.borrow_mut();
        if to.is_empty() || strangers.len() >= STRANGERS_MAX {
            return;
        }
        strangers.insert(id, to.clone());
        let link = Link::new(id, to);
        let task = tokio::task::spawn_local(Rc::clone(&link).run(Rc::clone(self)));
        self.members.links.borrow_mut().insert(id, (link, task.abort_handle()));
    }
}
