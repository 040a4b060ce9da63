//! An ordered map whose copies share what they have in common, so that a search may keep
//! thousands of states. A treap (Seidel and Aragon, Algorithmica 1996) with the key's hash as
//! priority: equal contents have equal shapes, so that shared parts compare at once.

use std::cmp::Ordering;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use crate::FoldState;

type Link<K, V> = Option<Arc<Node<K, V>>>;

struct Node<K, V> {
    key: K,
    value: V,
    /// Hash of the key.
    priority: u64,
    /// Hash of key and value.
    own: u64,
    /// Sum of `own` over this node and all below.
    sum: u64,
    left: Link<K, V>,
    right: Link<K, V>,
}

/// Cloning is O(1), changing O(log n), both expected.
pub struct Map<K, V> {
    root: Link<K, V>,
}

impl<K, V> Clone for Map<K, V> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone() }
    }
}

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Self { root: None }
    }
}

impl<K, V> Map<K, V> {
    fn sum(&self) -> u64 {
        sum(&self.root)
    }
}

impl<K: Ord + Hash + Clone, V: Hash + Clone> Map<K, V> {
    pub fn get(&self, key: &K) -> Option<&V> {
        let mut link = &self.root;
        while let Some(node) = link {
            link = match key.cmp(&node.key) {
                Ordering::Equal => return Some(&node.value),
                Ordering::Less => &node.left,
                Ordering::Greater => &node.right,
            };
        }
        None
    }

    pub fn insert(&mut self, key: K, value: V) {
        let state = FoldState::default();
        let priority = state.hash_one(&key);
        let mut hasher = state.build_hasher();
        hasher.write_u64(priority);
        value.hash(&mut hasher);
        let fresh =
            Node { key, value, priority, own: hasher.finish(), sum: 0, left: None, right: None };
        self.root = Some(insert(self.root.as_ref(), fresh));
    }

    pub fn remove(&mut self, key: &K) {
        self.root = remove(self.root.as_ref(), key);
    }

    /// Pairs from `from` on, ascending.
    pub fn iter_from<'a>(&'a self, from: &K) -> Iter<'a, K, V> {
        let mut open = Vec::new();
        let mut link = &self.root;
        while let Some(node) = link {
            if node.key < *from {
                link = &node.right;
            } else {
                open.push(&**node);
                link = &node.left;
            }
        }
        Iter { open }
    }
}

/// Ascending walk.
pub struct Iter<'a, K, V> {
    /// Nodes whose left sides are done, the next one last.
    open: Vec<&'a Node<K, V>>,
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        let node = self.open.pop()?;
        let mut link = &node.right;
        while let Some(below) = link {
            self.open.push(&**below);
            link = &below.left;
        }
        Some((&node.key, &node.value))
    }
}

impl<K: Eq, V: Eq> PartialEq for Map<K, V> {
    fn eq(&self, other: &Self) -> bool {
        same(&self.root, &other.root)
    }
}

impl<K: Eq, V: Eq> Eq for Map<K, V> {}

impl<K, V> Hash for Map<K, V> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.sum());
    }
}

impl<K: std::fmt::Debug, V: std::fmt::Debug> std::fmt::Debug for Map<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut open = Vec::new();
        let mut link = &self.root;
        while let Some(node) = link {
            open.push(&**node);
            link = &node.left;
        }
        f.debug_map().entries(Iter { open }).finish()
    }
}

fn sum<K, V>(link: &Link<K, V>) -> u64 {
    link.as_ref().map_or(0, |node| node.sum)
}

fn same<K: Eq, V: Eq>(a: &Link<K, V>, b: &Link<K, V>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => {
            Arc::ptr_eq(a, b)
                || (a.sum == b.sum
                    && a.key == b.key
                    && a.value == b.value
                    && same(&a.left, &b.left)
                    && same(&a.right, &b.right))
        }
        _ => false,
    }
}

/// `node` with these children; its sum is set here and only here.
fn join<K, V>(mut node: Node<K, V>, left: Link<K, V>, right: Link<K, V>) -> Arc<Node<K, V>> {
    node.sum = node.own.wrapping_add(sum(&left)).wrapping_add(sum(&right));
    node.left = left;
    node.right = right;
    Arc::new(node)
}

fn bare<K: Clone, V: Clone>(node: &Node<K, V>) -> Node<K, V> {
    Node {
        key: node.key.clone(),
        value: node.value.clone(),
        priority: node.priority,
        own: node.own,
        sum: 0,
        left: None,
        right: None,
    }
}

/// Whether `a` stands above `b`.
fn above<K: Ord, V>(a: &Node<K, V>, b: &Node<K, V>) -> bool {
    (a.priority, &a.key) > (b.priority, &b.key)
}

fn insert<K: Ord + Clone, V: Clone>(
    root: Option<&Arc<Node<K, V>>>,
    fresh: Node<K, V>,
) -> Arc<Node<K, V>> {
    let Some(root) = root else { return join(fresh, None, None) };
    match fresh.key.cmp(&root.key) {
        Ordering::Equal => join(fresh, root.left.clone(), root.right.clone()),
        Ordering::Less => {
            let left = insert(root.left.as_ref(), fresh);
            if above(&left, root) {
                let lower = join(bare(root), left.right.clone(), root.right.clone());
                join(bare(&left), left.left.clone(), Some(lower))
            } else {
                join(bare(root), Some(left), root.right.clone())
            }
        }
        Ordering::Greater => {
            let right = insert(root.right.as_ref(), fresh);
            if above(&right, root) {
                let lower = join(bare(root), root.left.clone(), right.left.clone());
                join(bare(&right), Some(lower), right.right.clone())
            } else {
                join(bare(root), root.left.clone(), Some(right))
            }
        }
    }
}

fn remove<K: Ord + Clone, V: Clone>(root: Option<&Arc<Node<K, V>>>, key: &K) -> Link<K, V> {
    let root = root?;
    match key.cmp(&root.key) {
        Ordering::Equal => merge(root.left.as_ref(), root.right.as_ref()),
        Ordering::Less => {
            Some(join(bare(root), remove(root.left.as_ref(), key), root.right.clone()))
        }
        Ordering::Greater => {
            Some(join(bare(root), root.left.clone(), remove(root.right.as_ref(), key)))
        }
    }
}

/// All of `left` lies before all of `right`.
fn merge<K: Ord + Clone, V: Clone>(
    left: Option<&Arc<Node<K, V>>>,
    right: Option<&Arc<Node<K, V>>>,
) -> Link<K, V> {
    let (Some(a), Some(b)) = (left, right) else { return left.or(right).cloned() };
    Some(if above(a, b) {
        join(bare(a), a.left.clone(), merge(a.right.as_ref(), right))
    } else {
        join(bare(b), merge(left, b.left.as_ref()), b.right.clone())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Prng;
    use std::collections::BTreeMap;

    #[test]
    fn it_agrees_with_a_btree_map_and_copies_do_not_change() {
        let mut rng = Prng::new(7);
        let (mut map, mut twin) = (Map::default(), BTreeMap::new());
        let mut copies = Vec::new();
        for round in 0..4_000u64 {
            let key = rng.below(200);
            if rng.below(3) == 0 {
                map.remove(&key);
                twin.remove(&key);
            } else {
                map.insert(key, round);
                twin.insert(key, round);
            }
            assert_eq!(map.get(&key), twin.get(&key));
            let from = rng.below(200);
            assert!(map.iter_from(&from).eq(twin.range(from..)));
            if round % 100 == 0 {
                copies.push((map.clone(), twin.clone()));
            }
        }
        for (copy, twin) in &copies {
            assert!(copy.iter_from(&0).eq(twin.iter()));
        }
    }

    #[test]
    fn equal_contents_are_equal_however_they_came_about() {
        let (mut up, mut down) = (Map::default(), Map::default());
        for key in 0..500u32 {
            up.insert(key, key);
            down.insert(499 - key, 499 - key);
        }
        for key in 100..200 {
            up.remove(&key);
            down.remove(&(299 - key));
        }
        assert_eq!(up, down);
        assert_eq!(up.sum(), down.sum());
        down.insert(3, 4);
        assert_ne!(up, down);
        down.insert(3, 3);
        assert_eq!(up, down);
    }
}
