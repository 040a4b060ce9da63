//! The links of a running member: they follow the configuration.

use super::link::Link;
use super::listen::Shared;
use crate::config::Url;
use base::NodeId;
use consensus::raft::Raft;
use member::Hello;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use tokio::task::AbortHandle;

/// Peers outside the configuration that are answered: a leader this member has not heard of yet.
const STRANGERS_MAX: usize = 64;

/// Ways to the others.
#[derive(Default)]
pub struct Members {
    links: RefCell<BTreeMap<NodeId, (Rc<Link>, AbortHandle)>>,
    /// Addresses of members that are not in the configuration here, as they said them.
    strangers: RefCell<BTreeMap<NodeId, Vec<String>>>,
}

impl Members {
    pub fn link(&self, id: NodeId) -> Option<Rc<Link>> {
        self.links.borrow().get(&id).map(|(link, _)| Rc::clone(link))
    }

    /// Calls `each` for every link, without copying the list.
    pub fn for_each(&self, mut each: impl FnMut(&Link)) {
        self.links.borrow().values().for_each(|(link, _)| each(link));
    }
}

/// In one spelling and order.
pub fn canonical(urls: &[String]) -> Vec<String> {
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
    pub fn follow(self: &Rc<Self>, raft: &Raft) {
        if !self.met.borrow_mut().follow(raft) {
            return;
        }
        self.state.news.set(true);
        let (config, committed) = (raft.config(), raft.config_at(raft.commit()));
        let gone = self.met.borrow().gone().to_vec();
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
        drop(links);
        self.count_links();
        for (id, _) in &gone {
            if let Some(task) = self.state.incoming.borrow_mut().remove(id) {
                task.abort();
            }
        }
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
        self.count_links();
    }

    fn count_links(&self) {
        let links = self.members.links.borrow();
        let links = links.values().map(|(link, _)| Arc::clone(&link.metrics));
        self.metrics.set_links(links.collect());
    }
}
