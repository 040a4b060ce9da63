//! The links of a running member.

use super::link::Link;
use base::NodeId;
use base::limits::STRANGERS_MAX;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use tokio::task::AbortHandle;

/// Where members are: `host:port`, each to be tried in turn.
type Addresses = BTreeMap<NodeId, Vec<String>>;

/// Ways to the others.
#[derive(Default)]
pub struct Members {
    pub(super) links: RefCell<BTreeMap<NodeId, (Rc<Link>, AbortHandle)>>,
    /// Addresses of members that are not in the configuration here, as they said them.
    strangers: RefCell<Addresses>,
}

impl Members {
    pub fn link(&self, id: NodeId) -> Option<Rc<Link>> {
        self.links.borrow().get(&id).map(|(link, _)| Rc::clone(link))
    }

    /// Whether a peer that the configuration does not have, and that is at `to`, is linked to all
    /// the same; noted, if so.
    pub(super) fn takes_in(&self, stranger: NodeId, to: &[String]) -> bool {
        let mut strangers = self.strangers.borrow_mut();
        let takes = !to.is_empty() && strangers.len() < STRANGERS_MAX;
        if takes {
            strangers.insert(stranger, to.to_vec());
        }
        assert!(strangers.len() <= STRANGERS_MAX, "links to strangers are bounded");
        takes
    }

    /// Whoever was a member by an entry that was cut off is linked to as a stranger: it may lead,
    /// and has to be answered until the entry is here that says so.
    pub(super) fn keep_cut_off(&self, is_one: impl Fn(NodeId) -> bool) {
        for (id, (link, _)) in self.links.borrow().iter().filter(|(id, _)| is_one(**id)) {
            self.takes_in(*id, &link.addresses());
        }
    }

    /// Another configuration: who became a member, or has left, is no stranger. Those that stay.
    pub(super) fn strangers(&self, is_one: impl Fn(NodeId) -> bool) -> Addresses {
        let mut strangers = self.strangers.borrow_mut();
        strangers.retain(|id, _| is_one(*id));
        strangers.clone()
    }

    /// Calls `each` for every link, without copying the list.
    pub fn for_each(&self, mut each: impl FnMut(&Link)) {
        self.links.borrow().values().for_each(|(link, _)| each(link));
    }
}

/// Whether `peer` may be read, beside those that are.
pub(super) fn has_place(
    peer: NodeId,
    others: impl Iterator<Item = NodeId>,
    is_member: impl Fn(NodeId) -> bool,
) -> bool {
    let strangers = others.filter(|id| *id != peer && !is_member(*id)).count();
    is_member(peer) || strangers < STRANGERS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_strangers_are_bounded_and_members_take_no_place_among_them() {
        let members = Members::default();
        let at = ["host:2380".to_string()];
        let most = STRANGERS_MAX as u64;
        assert!(!members.takes_in(NodeId(0), &[]), "there is nowhere to call it");
        assert!((0..most).all(|id| members.takes_in(NodeId(id), &at)));
        assert!(!members.takes_in(NodeId(most), &at));
        let stay = members.strangers(|id| id != NodeId(3));
        assert_eq!(stay.len(), STRANGERS_MAX - 1);
        assert!(members.takes_in(NodeId(most), &at));
    }

    #[test]
    fn streams_of_strangers_are_bounded_and_members_and_who_comes_back_have_their_place() {
        let most = STRANGERS_MAX as u64;
        let read =
            |peer, others: u64| has_place(NodeId(peer), (0..others).map(NodeId), |id| id.0 < 3);
        assert!(read(99, most + 2), "three of them are members");
        assert!(!read(99, most + 3));
        assert!(read(2, most + 3), "a member");
        assert!(read(7, most + 3), "one of them, once more");
    }
}
