//! What members say of themselves, as they said it last.

use crate::hello::Hello;
use base::limits::STRANGERS_MAX;
use base::{Life, NodeId};
use std::collections::{BTreeMap, BTreeSet};

/// A name, and URLs for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    pub name: String,
    pub client_urls: Vec<String>,
    /// Of which start of which directory.
    pub life: Life,
}

impl Word {
    /// What a peer said when it was met.
    pub fn of(hello: &Hello) -> Self {
        let (name, client_urls) = (hello.name.clone(), hello.client_urls.clone());
        Self { name, client_urls, life: hello.life() }
    }
}

/// Of members, and of a bounded number of peers that the configuration does not have: a newcomer
/// may come in before the entry that makes it one.
#[derive(Default)]
pub struct Announced {
    said: BTreeMap<NodeId, Word>,
    members: BTreeSet<NodeId>,
}

impl Announced {
    /// Takes in what `id` says; whether it says anything else than before.
    pub fn insert(&mut self, id: NodeId, word: Word) -> bool {
        let strangers = self.said.keys().filter(|id| !self.members.contains(id)).count();
        assert!(strangers <= STRANGERS_MAX, "strangers are bounded");
        let is_new = !self.said.contains_key(&id) && !self.members.contains(&id);
        if is_new && strangers >= STRANGERS_MAX {
            return false;
        }
        let says = |old: &Word| (&old.name, &old.client_urls) == (&word.name, &word.client_urls);
        let news = !self.said.get(&id).is_some_and(says);
        self.said.insert(id, word);
        news
    }

    /// What `id` said last, if it is known.
    pub fn get(&self, id: NodeId) -> Option<&Word> {
        self.said.get(&id)
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

    fn said(name: &str) -> Word {
        let client_urls = vec![format!("http://{name}")];
        Word { name: name.to_string(), client_urls, life: Life::UNKNOWN }
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
        assert_eq!(announced.get(NodeId(2)), Some(&said("b")));
        assert!(announced.get(NodeId(3)).is_none());
        assert!(announced.insert(late, said("late")), "there is room again");
        announced.follow([NodeId(2)].into(), |_| false);
        assert_eq!(announced.get(NodeId(1)), Some(&said("a")), "its entry was cut off");
        announced.follow([NodeId(2)].into(), |id| id == NodeId(1));
        assert!(announced.get(NodeId(1)).is_none(), "who has left is forgotten");
        // A member that falls out of the configuration counts as a stranger from then on.
        announced.follow([].into(), |_| false);
        for id in 1000..1100 {
            announced.insert(NodeId(id), said("more"));
        }
        assert_eq!(announced.said.len(), STRANGERS_MAX);
    }

    #[test]
    fn the_same_word_of_a_later_start_is_no_news_and_counts_as_later() {
        let mut announced = Announced::default();
        assert!(announced.insert(NodeId(1), said("a")));
        let life = Life { birth: base::Birth(1), incarnation: base::Incarnation(2) };
        assert!(!announced.insert(NodeId(1), Word { life, ..said("a") }));
        assert_eq!(announced.get(NodeId(1)).map(|word| word.life), Some(life));
        assert!(announced.insert(NodeId(1), Word { name: "b".to_string(), life, ..said("a") }));
    }
}
