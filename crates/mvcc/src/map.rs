//! A copy-on-write ordered map: a B+ tree of shared nodes. A clone costs one pointer; a write while
//! clones live copies only the nodes on its path. Every subtree knows its weight, so counting the
//! live keys of a range is O(log n) and scans step over what is dead.

mod key;
mod run;

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::borrow::Borrow;
pub(crate) use key::Key;
use key::Slots;

/// Entries of a leaf, or children of an inner node, at most.
const FANOUT_MAX: usize = 32;
/// A node at or below this is merged with a neighbour when both fit one node.
const FANOUT_LOW: usize = 8;

/// What an entry adds to the count of its range: one number, or several side by side in one.
pub(crate) trait Weight {
    fn weight(&self) -> u128 {
        0
    }
}

impl Weight for () {}

#[derive(Clone)]
enum Node<K, V> {
    Leaf(Slots<K, V>),
    /// A slot's key is at or below every key of its child, and above those of the child before.
    Inner(Slots<K, Child<K, V>>),
}

#[derive(Clone)]
struct Child<K, V> {
    weight: u128,
    node: Arc<Node<K, V>>,
}

#[derive(Clone)]
pub(crate) struct Map<K, V> {
    root: Arc<Node<K, V>>,
    len: usize,
}

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Self { root: Arc::new(Node::Leaf(Slots::default())), len: 0 }
    }
}

impl<K, V: Weight> Node<K, V> {
    fn weight(&self) -> u128 {
        match self {
            Self::Leaf(entries) => entries.iter().map(|slot| slot.value.weight()).sum(),
            Self::Inner(children) => children.iter().map(|slot| slot.value.weight).sum(),
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Leaf(entries) => entries.len(),
            Self::Inner(children) => children.len(),
        }
    }
}

/// The child that holds `key` if any does.
fn child_of<K: Key + Borrow<Q>, V, Q: Key + ?Sized>(
    children: &Slots<K, Child<K, V>>,
    key: &Q,
) -> usize {
    children.before(key, true).saturating_sub(1)
}

impl<K: Key + Clone, V: Clone + Weight> Map<K, V> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn get<Q: Key + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let mut node = &self.root;
        loop {
            match &**node {
                Node::Inner(children) => node = &children[child_of(children, key)].value.node,
                Node::Leaf(entries) => return Some(&entries[entries.find(key).ok()?].value),
            }
        }
    }

    /// The last entry at or before `key`.
    pub fn floor<Q: Key + ?Sized>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
    {
        floor_in(&self.root, key)
    }

    /// Sets `key`; the old value if there was one.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let mut old = None;
        if let Some(right) = insert_in(&mut self.root, key, value, &mut old) {
            let left = self.root.clone();
            self.root = Arc::new(Node::Inner(Slots::new([child(left), child(right)])));
        }
        self.len += usize::from(old.is_none());
        assert!(self.len > 0 && self.root.size() > 0, "it holds the key now");
        assert!(self.root.size() <= FANOUT_MAX, "a full node was split");
        old
    }

    pub fn remove<Q: Key + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        // A miss must not copy the path.
        self.get(key)?;
        let old = remove_in(&mut self.root, key);
        assert!(old.is_some(), "the key was just found");
        assert!(self.len > 0, "every entry is counted");
        self.len -= 1;
        self.settle();
        old
    }

    /// After removals: the root has more than one child.
    fn settle(&mut self) {
        while let Node::Inner(children) = &*self.root {
            match &**children {
                [] => self.root = Map::default().root,
                [only] => self.root = only.value.node.clone(),
                _ => break,
            }
        }
        assert!((self.len == 0) == (self.root.size() == 0), "no empty node stays");
    }

    /// Sum of weights of all keys before `key`.
    pub fn weight_before<Q: Key + ?Sized>(&self, key: &Q) -> u128
    where
        K: Borrow<Q>,
    {
        let (mut node, mut sum) = (&self.root, 0);
        loop {
            match &**node {
                Node::Inner(children) => {
                    let at = child_of(children, key);
                    sum += children[..at].iter().map(|slot| slot.value.weight).sum::<u128>();
                    node = &children[at].value.node;
                }
                Node::Leaf(entries) => {
                    let before = &entries[..entries.before(key, false)];
                    return sum + before.iter().map(|slot| slot.value.weight()).sum::<u128>();
                }
            }
        }
    }

    pub fn weight(&self) -> u128 {
        self.root.weight()
    }

    /// The first key at which more than `n` is counted, that key included, of what `of` takes from
    /// a weight.
    pub fn select(&self, mut n: u128, of: impl Fn(u128) -> u128) -> Option<&K> {
        let mut passes = |weight: u128| {
            let here = of(weight);
            let passed = here <= n;
            if passed {
                n -= here;
            }
            passed
        };
        let mut node = &self.root;
        loop {
            match &**node {
                Node::Inner(children) => {
                    node = &children.iter().find(|slot| !passes(slot.value.weight))?.value.node;
                }
                Node::Leaf(entries) => {
                    let found = entries.iter().find(|slot| !passes(slot.value.weight()))?;
                    return Some(&found.key);
                }
            }
        }
    }

    /// All entries in order.
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter { stack: vec![(&*self.root, 0)], only_live: false }
    }

    /// Entries at or after `key`, in order; with `only_live`, those of weight 0 are stepped over.
    pub fn iter_from<Q: Key + ?Sized>(&self, key: &Q, only_live: bool) -> Iter<'_, K, V>
    where
        K: Borrow<Q>,
    {
        let (mut node, mut stack) = (&*self.root, Vec::new());
        loop {
            match node {
                Node::Inner(children) => {
                    let at = child_of(children, key);
                    stack.push((node, at + 1));
                    node = &children[at].value.node;
                }
                Node::Leaf(entries) => {
                    stack.push((node, entries.before(key, false)));
                    return Iter { stack, only_live };
                }
            }
        }
    }
}

fn child<K: Key + Clone, V: Weight>(node: Arc<Node<K, V>>) -> (K, Child<K, V>) {
    assert!((1..=FANOUT_MAX).contains(&node.size()), "a child is neither empty nor overfull");
    let low = match &*node {
        Node::Leaf(entries) => entries[0].key.low(),
        Node::Inner(children) => children[0].key.clone(),
    };
    (low, Child { weight: node.weight(), node })
}

fn floor_in<'a, K: Key + Borrow<Q>, V, Q: Key + ?Sized>(
    node: &'a Node<K, V>,
    key: &Q,
) -> Option<(&'a K, &'a V)> {
    match node {
        Node::Leaf(entries) => {
            let at = entries.before(key, true).checked_sub(1)?;
            Some((&entries[at].key, &entries[at].value))
        }
        // A removal may leave `low` below the first key, so the neighbour may hold the answer.
        Node::Inner(children) => {
            let at = child_of(children, key);
            children[..=at].iter().rev().find_map(|slot| floor_in(&slot.value.node, key))
        }
    }
}

/// The new right neighbour if the node had to split. Appending leaves the left node full.
fn insert_in<K: Key + Clone, V: Clone + Weight>(
    node: &mut Arc<Node<K, V>>,
    key: K,
    value: V,
    old: &mut Option<V>,
) -> Option<Arc<Node<K, V>>> {
    match Arc::make_mut(node) {
        Node::Leaf(entries) => {
            let at = match entries.find(&key) {
                Ok(at) => {
                    *old = Some(core::mem::replace(entries.value_mut(at), value));
                    return None;
                }
                Err(at) => at,
            };
            let appended = at == entries.len();
            entries.insert(at, key, value);
            split(entries, appended).map(|right| Arc::new(Node::Leaf(right)))
        }
        Node::Inner(children) => {
            let at = child_of(children, &key);
            // Only the first child can be asked for a key below its own.
            if at == 0 && key < children[0].key {
                children.set_key(0, key.low());
            }
            let gained = value.weight();
            let target = children.value_mut(at);
            let Some(right) = insert_in(&mut target.node, key, value, old) else {
                // Summing the child anew would touch every value below it.
                let lost = old.as_ref().map_or(0, Weight::weight);
                assert!(lost <= target.weight, "what was replaced was counted");
                target.weight = target.weight + gained - lost;
                return None;
            };
            target.weight = target.node.weight();
            let appended = at + 1 == children.len();
            let (low, right) = child(right);
            children.insert(at + 1, low, right);
            split(children, appended).map(|right| Arc::new(Node::Inner(right)))
        }
    }
}

fn split<K: Key, T>(items: &mut Slots<K, T>, appended: bool) -> Option<Slots<K, T>> {
    if items.len() <= FANOUT_MAX {
        return None;
    }
    assert!(items.len() == FANOUT_MAX + 1, "a node is split as soon as it is overfull");
    let right = items.split_off(if appended { items.len() - 1 } else { items.len() / 2 });
    assert!(!items.is_empty() && !right.is_empty(), "both sides hold something");
    Some(right)
}

fn remove_in<K: Key + Clone + Borrow<Q>, V: Clone + Weight, Q: Key + ?Sized>(
    node: &mut Arc<Node<K, V>>,
    key: &Q,
) -> Option<V> {
    match Arc::make_mut(node) {
        Node::Leaf(entries) => {
            let at = entries.find(key).ok()?;
            Some(entries.remove(at))
        }
        Node::Inner(children) => {
            let at = child_of(children, key);
            let target = children.value_mut(at);
            let old = remove_in(&mut target.node, key)?;
            assert!(old.weight() <= target.weight, "what is removed was counted");
            target.weight -= old.weight();
            let size = target.node.size();
            if size == 0 {
                children.remove(at);
            } else if size <= FANOUT_LOW {
                merge(children, at);
            }
            Some(old)
        }
    }
}

/// Joins a small child with a neighbour when both fit one node. The one before it counts too: what
/// is removed in order finds the one behind it still full.
fn merge<K: Key + Clone, V: Clone + Weight>(children: &mut Slots<K, Child<K, V>>, at: usize) {
    let size = |at: usize| children.get(at).map(|slot| slot.value.node.size());
    let both = |left: usize| Some(size(left)? + size(left + 1)?);
    let fit = |left: &usize| both(*left).is_some_and(|both| both <= FANOUT_MAX);
    let Some(left) = [Some(at), at.checked_sub(1)].into_iter().flatten().find(fit) else {
        return;
    };
    let right = children.remove(left + 1);
    let target = children.value_mut(left);
    match (Arc::make_mut(&mut target.node), Arc::unwrap_or_clone(right.node)) {
        (Node::Leaf(to), Node::Leaf(from)) => to.append(from),
        (Node::Inner(to), Node::Inner(from)) => to.append(from),
        _ => unreachable!("all leaves are at one depth"),
    }
    assert!(target.node.size() <= FANOUT_MAX, "both fit one node");
    target.weight += right.weight;
    debug_assert_eq!(target.weight, target.node.weight(), "weights are those below");
}

pub(crate) struct Iter<'a, K, V> {
    stack: Vec<(&'a Node<K, V>, usize)>,
    only_live: bool,
}

impl<'a, K, V: Weight> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (node, at) = self.stack.last_mut()?;
            match node {
                Node::Leaf(entries) => {
                    while let Some(slot) = entries.get(*at) {
                        *at += 1;
                        if !self.only_live || slot.value.weight() > 0 {
                            return Some((&slot.key, &slot.value));
                        }
                    }
                    self.stack.pop();
                }
                Node::Inner(children) => match children.get(*at) {
                    None => {
                        self.stack.pop();
                    }
                    Some(slot) => {
                        *at += 1;
                        if !self.only_live || slot.value.weight > 0 {
                            self.stack.push((&slot.value.node, 0));
                        }
                    }
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use base::{Blob, Prng};

    impl Weight for u64 {
        fn weight(&self) -> u128 {
            u128::from(self % 2)
        }
    }

    #[test]
    fn the_map_is_the_standard_one_through_growth_and_shrinking() {
        let (mut map, mut twin, mut random) = (Map::default(), BTreeMap::new(), Prng::new(1));
        let mut held = Vec::new();
        for round in 0..30_000u64 {
            let (key, value) = (random.below(3000), random.next_u64());
            // Growing, then shrinking to nothing, then growing again.
            if random.below(10) < if (round / 10_000) == 1 { 1 } else { 7 } {
                assert_eq!(map.insert(key, value), twin.insert(key, value));
            } else {
                assert_eq!(map.remove(&key), twin.remove(&key));
            }
            assert_eq!(map.len(), twin.len());
            if round % 1000 == 0 {
                held.push((map.clone(), twin.clone()));
            }
        }
        for (map, twin) in held {
            assert!(map.iter().eq(twin.iter()));
            for key in (0..3001).step_by(37) {
                assert!(map.iter_from(&key, false).eq(twin.range(key..)));
                let live = twin.range(key..).filter(|(_, v)| v.weight() > 0);
                assert!(map.iter_from(&key, true).eq(live));
                let before = twin.range(..key).map(|(_, v)| v.weight()).sum::<u128>();
                assert_eq!(map.weight_before(&key), before);
                let nth = twin.iter().filter(|(_, v)| v.weight() > 0).nth(key as usize);
                assert_eq!(map.select(key.into(), |w| w), nth.map(|(key, _)| key));
                assert_eq!(map.floor(&key), twin.range(..=key).next_back());
                assert_eq!(map.get(&key), twin.get(&key));
            }
        }
    }

    /// Keys that share long heads, begin one another, and end in zero bytes.
    fn tricky(random: &mut Prng) -> Blob {
        let heads: [&[u8]; 5] = [b"", b"/registry/pods/default/", b"/registry/", b"\0", b"\xff"];
        let mut key = heads[random.below(5) as usize].to_vec();
        for _ in 0..random.below(12) {
            key.push([0, 1, b'a', b'b', 0xff][random.below(5) as usize]);
        }
        key.into()
    }

    #[test]
    fn byte_keys_of_any_head_are_ordered_as_the_standard_map_orders_them() {
        let mut random = Prng::new(2);
        let (mut map, mut twin) = (Map::<Blob, u64>::default(), BTreeMap::new());
        for round in 0..40_000u64 {
            let (key, value) = (tricky(&mut random), random.next_u64());
            if random.below(10) < if (round / 10_000) % 2 == 1 { 2 } else { 7 } {
                assert_eq!(map.insert(key.clone(), value), twin.insert(key, value));
            } else {
                assert_eq!(map.remove(&*key), twin.remove(&key));
            }
            let probe = tricky(&mut random);
            assert_eq!(map.get(&*probe), twin.get(&probe));
            if round % 200 == 0 {
                assert!(map.iter().eq(twin.iter()));
                assert!(map.iter_from(&*probe, false).eq(twin.range(probe.clone()..)));
                let before = twin.range(..probe.clone()).map(|(_, v)| v.weight()).sum::<u128>();
                assert_eq!(map.weight_before(&*probe), before);
                assert_eq!(map.floor(&*probe), twin.range(..=probe).next_back());
            }
        }
        assert!(twin.len() > 500, "the map is deep enough to mean something");
    }

    /// As the keys of leases: few first parts, and second parts of any head.
    #[test]
    fn pairs_are_ordered_as_the_standard_map_orders_them() {
        let mut random = Prng::new(3);
        let (mut map, mut twin) = (Map::<(i64, Blob), u64>::default(), BTreeMap::new());
        for round in 0..40_000u64 {
            let pair = |p: &mut Prng| ([-1, 7, 7, 8][p.below(4) as usize], tricky(p));
            let (key, probe) = (pair(&mut random), pair(&mut random));
            if random.below(10) < if (round / 10_000) % 2 == 1 { 2 } else { 7 } {
                assert_eq!(map.insert(key.clone(), round), twin.insert(key, round));
            } else {
                assert_eq!(map.remove(&key), twin.remove(&key));
            }
            assert_eq!(map.get(&probe), twin.get(&probe));
            if round % 200 == 0 {
                assert!(map.iter().eq(twin.iter()));
                assert!(map.iter_from(&probe, false).eq(twin.range(probe.clone()..)));
                assert_eq!(map.floor(&probe), twin.range(..=probe).next_back());
            }
        }
        assert!(twin.len() > 500, "the map is deep enough to mean something");
    }

    /// Sizes of the nodes of each level, from the root to the leaves.
    pub(super) fn levels<K, V>(map: &Map<K, V>) -> Vec<Vec<usize>> {
        let (mut level, mut found) = (vec![&*map.root], Vec::new());
        while !level.is_empty() {
            let (mut sizes, mut below) = (Vec::new(), Vec::new());
            for node in level {
                match node {
                    Node::Leaf(entries) => sizes.push(entries.len()),
                    Node::Inner(children) => {
                        sizes.push(children.len());
                        below.extend(children.iter().map(|slot| &*slot.value.node));
                    }
                }
            }
            found.push(sizes);
            level = below;
        }
        found
    }

    /// The map of the keys 0, 1, ... in nodes that are full.
    fn ascending(keys: u64) -> Map<u64, u64> {
        let mut map = Map::default();
        (0..keys).for_each(|key| assert_eq!(map.insert(key, key), None));
        map
    }

    #[test]
    fn keys_that_come_in_order_fill_the_nodes_and_others_leave_them_at_least_half_full() {
        let full = FANOUT_MAX;
        let levels_of = |keys| levels(&ascending(keys));
        assert_eq!(levels_of(32), [[full]]);
        assert_eq!(levels_of(33), [vec![2], vec![full, 1]]);
        assert_eq!(levels_of(64 * 32), [vec![2], vec![full; 2], vec![full; 64]]);
        let mut map = Map::default();
        (0..64 * 32u64).rev().for_each(|key| assert_eq!(map.insert(key, key), None));
        let mut halved = ascending(32);
        assert_eq!(halved.remove(&7), Some(7));
        [40, 7].iter().for_each(|key| assert_eq!(halved.insert(*key, *key), None));
        assert_eq!(levels(&halved), [vec![2], vec![16, 17]], "a key between others");
        for level in &levels(&map)[1..] {
            assert!(level.iter().all(|size| (full / 2..=full).contains(size)), "{level:?}");
        }
    }

    #[test]
    fn a_small_node_joins_a_neighbour_when_one_node_holds_both() {
        // The left one keeps so many, and then the right one loses a key at a time.
        for (left, joined) in [(24, true), (25, false)] {
            let mut map = ascending(64);
            (left..32).for_each(|key| assert!(map.remove(&key).is_some()));
            (32..55).for_each(|key| assert!(map.remove(&key).is_some()));
            assert_eq!(levels(&map), [vec![2], vec![left as usize, 9]], "not small yet");
            assert!(map.remove(&55).is_some());
            let apart = [vec![2], vec![left as usize, 8]];
            assert_eq!(levels(&map) == apart, !joined);
            assert!(!joined || levels(&map) == [[32]], "as full as a node can be");
            assert!(map.iter().map(|(key, _)| *key).eq((0..left).chain(56..64)));
        }
        // The first of three joins the one behind it, the last one the one before.
        for (small, kept) in [(0, [12, 32]), (64, [32, 12])] {
            let mut map = ascending(96);
            (36..64).for_each(|key| assert!(map.remove(&key).is_some()));
            assert_eq!(levels(&map)[1], [32, 4, 32], "its neighbours are full");
            (small..small + 24).for_each(|key| assert!(map.remove(&key).is_some()));
            assert_eq!(levels(&map)[1], kept);
        }
    }

    #[test]
    fn a_map_that_shrinks_gives_its_nodes_back() {
        let in_order: Vec<u64> = (0..64 * 32).filter(|key| key % 16 > 0).collect();
        let (mut back, mut mixed) = (in_order.clone(), in_order.clone());
        back.reverse();
        mixed.sort_by_key(|key| (key % 16, *key));
        for order in [in_order, back, mixed] {
            let mut map = ascending(64 * 32);
            for key in order {
                assert_eq!(map.remove(&key), Some(key));
            }
            assert_eq!(map.len(), 128);
            let leaves = levels(&map).pop().unwrap();
            assert!(leaves.len() <= 16, "128 keys in {leaves:?}");
            assert!(map.remove(&5).is_none() && map.len() == 128, "it is not there");
        }
    }
}
