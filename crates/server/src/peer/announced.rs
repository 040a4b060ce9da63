//! Names and client URLs as the peers gave them.

use base::NodeId;
use base::limits::STRANGERS_MAX;
use std::collections::{BTreeMap, BTreeSet};

/// A name, and URLs for clients.
pub type Said = (String, Vec<String>);

/// Of members, and of a bounded number of peers that the configuration does not have: a newcomer
/// may come in before the entry that makes it one.
#[derive(Default)]
pub struct Announced {
    said: BTreeMap<NodeId, Said>,
    members: BTreeSet<NodeId>,
}

impl Announced {
    /// Whether it is another word than the last one.
    pub fn insert(&mut self, id: NodeId, said: Said) -> bool {
        let strangers = self.said.keys().filter(|id| !self.members.contains(id)).count();
        let is_new = !self.said.contains_key(&id) && !self.members.contains(&id);
        if is_new && strangers >= STRANGERS_MAX {
            return false;
        }
        self.said.insert(id, said.clone()) != Some(said)
    }

    pub fn get(&self, id: NodeId) -> Option<Said> {
        self.said.get(&id).cloned()
    }

    /// Another configuration: who has left is forgotten. Whose entry was cut off may come again.
    pub fn follow(&mut self, members: BTreeSet<NodeId>, is_gone: impl Fn(NodeId) -> bool) {
        self.said.retain(|id, _| !is_gone(*id));
        let strangers = self.said.keys().filter(|id| !members.contains(id));
        let surplus: Vec<NodeId> = strangers.skip(STRANGERS_MAX).copied().collect();
        surplus.iter().for_each(|id| drop(self.said.remove(id)));
        self.members = members;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(name: &str) -> Said {
        (name.to_string(), vec![format!("http://{name}")])
    }

    #[test]
    fn of_members_and_a_bounded_number_of_strangers_is_known_what_they_said() {
        let mut announced = Announced::default();
        announced.follow([NodeId(1)].into(), |_| false);
        let strangers = 2..2 + STRANGERS_MAX as u64;
        assert!(strangers.clone().all(|id| announced.insert(NodeId(id), said("early"))));
        let late = NodeId(strangers.end);
        assert!(!announced.insert(late, said("late")) && announced.get(late).is_none());
        assert!(announced.insert(NodeId(1), said("a")), "a member is not kept out by strangers");
        assert!(!announced.insert(NodeId(1), said("a")) && announced.insert(NodeId(2), said("b")));
        // One stranger has become a member, another one has come and gone.
        announced.follow([NodeId(1), NodeId(2)].into(), |id| id == NodeId(3));
        assert_eq!(announced.get(NodeId(2)), Some(said("b")));
        assert!(announced.get(NodeId(3)).is_none());
        assert!(announced.insert(late, said("late")), "there is room again");
        announced.follow([NodeId(2)].into(), |_| false);
        assert_eq!(announced.get(NodeId(1)), Some(said("a")), "its entry was cut off");
        announced.follow([NodeId(2)].into(), |id| id == NodeId(1));
        assert!(announced.get(NodeId(1)).is_none(), "who has left is forgotten");
        for id in 1000..1100 {
            announced.insert(NodeId(id), said("more"));
        }
        announced.follow([].into(), |_| false);
        assert_eq!(announced.said.len(), STRANGERS_MAX);
    }
}
