//! Edits of many entries in the order of their keys. The tree is gone down once for each leaf that
//! they fall into and not once for each entry, and a leaf is copied, weighed and split once.

use super::key::{Key, Slots};
use super::{Child, FANOUT_LOW, FANOUT_MAX, Map, Node, Weight, child, child_of, merge};
use alloc::sync::Arc;
use alloc::vec::{self, Vec};

/// What an edit did to the weight of a subtree.
#[derive(Clone, Copy, Default)]
struct Delta {
    gained: u128,
    lost: u128,
}

impl Delta {
    fn of(self, weight: u128) -> u128 {
        assert!(self.lost <= weight + self.gained, "what is lost was counted");
        weight + self.gained - self.lost
    }
}

/// Edits whose keys rise. Each call of `leaf` or `passes` leaves nothing to do before `end`.
trait Run<K, V> {
    const INSERTS: bool = false;

    /// Where the next edit is; none once all are done.
    fn next(&self) -> Option<&K>;

    /// Does what falls into this leaf, which holds all keys from `next` up to `end`.
    fn leaf(&mut self, entries: &mut Slots<K, V>, end: Option<&K>) -> Delta;

    /// Whether all that is in this child goes: then it need not be copied first.
    fn removes(&mut self, _child: &Child<K, V>) -> bool {
        false
    }
}

impl<K: Key + Clone, V: Clone + Weight> Map<K, V> {
    /// Inserts keys that rise, and of which none is there.
    pub fn insert_run(&mut self, items: Vec<(K, V)>) {
        debug_assert!(items.is_sorted_by(|a, b| a.0 < b.0), "keys rise");
        let added = items.len();
        let mut run = Insert { items: items.into_iter() };
        self.edit(&mut run);
        assert!(run.items.len() == 0, "all of them found their place");
        self.len += added;
    }

    /// Removes keys that rise, and all of which are there.
    pub fn remove_run(&mut self, keys: &[K]) {
        debug_assert!(keys.is_sorted_by(|a, b| a < b), "keys rise");
        let mut run = Remove { keys };
        self.edit(&mut run);
        assert!(run.keys.is_empty(), "each was found");
        assert!(self.len >= keys.len(), "every entry is counted");
        self.len -= keys.len();
        self.settle();
    }

    fn edit(&mut self, run: &mut impl Run<K, V>) {
        if run.next().is_none() {
            return; // what is not edited is not copied
        }
        let mut rights = Vec::new();
        edit_in(&mut self.root, None, run, &mut rights);
        while !rights.is_empty() {
            let left = core::mem::replace(&mut self.root, Map::default().root);
            let all = core::iter::once(left).chain(rights.drain(..));
            let mut top = Slots::new(all.map(child));
            let cut = top.cut(true);
            rights.extend(cut.into_iter().map(|right| Arc::new(Node::Inner(right))));
            self.root = Arc::new(Node::Inner(top));
        }
        assert!(self.root.size() <= FANOUT_MAX, "a full node was cut");
    }
}

/// Edits what falls before `end`; the new right neighbours of a node that had to be cut.
fn edit_in<K: Key + Clone, V: Clone + Weight>(
    node: &mut Arc<Node<K, V>>,
    end: Option<&K>,
    run: &mut impl Run<K, V>,
    rights: &mut Vec<Arc<Node<K, V>>>,
) -> Delta {
    match Arc::make_mut(node) {
        Node::Leaf(entries) => {
            let delta = run.leaf(entries, end);
            let leaves = entries.cut(end.is_none());
            rights.extend(leaves.into_iter().map(|right| Arc::new(Node::Leaf(right))));
            delta
        }
        Node::Inner(children) => {
            let mut sum = Delta::default();
            while let Some(key) = run.next() {
                if children.is_empty() || end.is_some_and(|end| *key >= *end) {
                    break;
                }
                let Delta { gained, lost } = edit_child(children, end, run);
                sum = Delta { gained: sum.gained + gained, lost: sum.lost + lost };
            }
            let nodes = children.cut(end.is_none());
            rights.extend(nodes.into_iter().map(|right| Arc::new(Node::Inner(right))));
            sum
        }
    }
}

/// Edits what falls into the child where the run is.
fn edit_child<K: Key + Clone, V: Clone + Weight, R: Run<K, V>>(
    children: &mut Slots<K, Child<K, V>>,
    end: Option<&K>,
    run: &mut R,
) -> Delta {
    let key = run.next().expect("who edits has a key");
    let at = child_of(children, key);
    // Only the first child can be asked for a key below its own.
    if R::INSERTS && at == 0 && *key < children[0].key {
        children.set_key(0, key.low());
    }
    let next = children.get(at + 1).map(|slot| slot.key.clone());
    let end = next.as_ref().or(end);
    let target = children.value_mut(at);
    if run.removes(target) {
        let lost = children.remove(at).weight;
        return Delta { gained: 0, lost };
    }
    let mut rights = Vec::new();
    let delta = edit_in(&mut target.node, end, run, &mut rights);
    debug_assert!(run.next().is_none_or(|key| end.is_some_and(|end| *key >= *end)), "it goes on");
    if !rights.is_empty() {
        target.weight = target.node.weight();
        for (n, right) in rights.into_iter().enumerate() {
            let (low, right) = child(right);
            children.insert(at + 1 + n, low, right);
        }
        return delta;
    }
    target.weight = delta.of(target.weight);
    debug_assert_eq!(target.weight, target.node.weight(), "weights are those below");
    match target.node.size() {
        0 => drop(children.remove(at)),
        size if size <= FANOUT_LOW => merge(children, at),
        _ => {}
    }
    delta
}

/// Those of the keys that are before `end`.
fn upto<'a, K: Ord>(keys: &'a [K], end: Option<&K>) -> &'a [K] {
    match (end, keys.last()) {
        (Some(end), Some(last)) if last >= end => &keys[..keys.partition_point(|key| key < end)],
        _ => keys,
    }
}

struct Insert<K, V> {
    items: vec::IntoIter<(K, V)>,
}

impl<K: Key + Clone, V: Weight> Run<K, V> for Insert<K, V> {
    const INSERTS: bool = true;

    fn next(&self) -> Option<&K> {
        self.items.as_slice().first().map(|(key, _)| key)
    }

    fn leaf(&mut self, entries: &mut Slots<K, V>, end: Option<&K>) -> Delta {
        let mut delta = Delta::default();
        let rest = self.items.as_slice();
        let here = end.map_or(rest.len(), |end| rest.partition_point(|(key, _)| key < end));
        assert!(here > 0, "it is asked for because of a key in it");
        for (key, value) in self.items.by_ref().take(here) {
            let at = match entries.last() {
                Some(last) if last.key > key => {
                    entries.find(&key).expect_err("it is not there yet")
                }
                last => {
                    assert!(last.is_none_or(|last| last.key != key), "it is not there yet");
                    entries.len()
                }
            };
            delta.gained += value.weight();
            entries.insert(at, key, value);
        }
        delta
    }
}

struct Remove<'a, K> {
    keys: &'a [K],
}

impl<K: Key, V: Weight> Run<K, V> for Remove<'_, K> {
    fn next(&self) -> Option<&K> {
        self.keys.first()
    }

    fn leaf(&mut self, entries: &mut Slots<K, V>, end: Option<&K>) -> Delta {
        let mut delta = Delta::default();
        let mut here = upto(self.keys, end);
        assert!(!here.is_empty(), "it is asked for because of a key in it");
        self.keys = &self.keys[here.len()..];
        while let Some(key) = here.first() {
            let at = entries.find(key).expect("it is there");
            let both = entries[at..].iter().zip(here);
            let len = both.take_while(|(slot, key)| slot.key == **key).count();
            delta.lost +=
                entries[at..at + len].iter().map(|slot| slot.value.weight()).sum::<u128>();
            entries.remove_range(at..at + len);
            here = &here[len..];
        }
        delta
    }

    fn removes(&mut self, child: &Child<K, V>) -> bool {
        let Node::Leaf(entries) = &*child.node else { return false };
        // All keys are in the map: as many between the same two ends are the same ones.
        let last = self.keys.get(entries.len() - 1);
        if entries[0].key != self.keys[0] || last != Some(&entries[entries.len() - 1].key) {
            return false;
        }
        self.keys = &self.keys[entries.len()..];
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::levels;
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::vec;
    use base::Prng;

    type Twin = BTreeMap<u64, u64>;

    /// What holds of every node; the depth of the leaves, and the keys from `low` on below it.
    fn check(node: &Node<u64, u64>, is_root: bool) -> usize {
        assert!(node.size() <= FANOUT_MAX && (is_root || node.size() > 0));
        let Node::Inner(children) = node else { return 0 };
        let mut depths = Vec::new();
        for (at, slot) in children.iter().enumerate() {
            assert_eq!(slot.value.weight, slot.value.node.weight(), "weights are those below");
            let (first, last) = match &*slot.value.node {
                Node::Leaf(entries) => (entries[0].key, entries[entries.len() - 1].key),
                Node::Inner(below) => (below[0].key, below[below.len() - 1].key),
            };
            assert!(slot.key <= first, "no key is below its child's");
            assert!(children.get(at + 1).is_none_or(|next| last < next.key), "nor above");
            depths.push(check(&slot.value.node, false));
        }
        assert!(depths.iter().all(|depth| *depth == depths[0]), "all leaves are at one depth");
        1 + depths[0]
    }

    /// Keys that rise: neighbours, or from all over.
    fn keys(p: &mut Prng) -> Vec<u64> {
        let (from, many) = (p.below(6000), p.below(900));
        let step = [1, 1, 2, 40][p.below(4) as usize];
        (from..6000).step_by(step).take(many as usize).collect()
    }

    fn step(map: &mut Map<u64, u64>, twin: &mut Twin, p: &mut Prng, grows: bool) {
        let keys = keys(p);
        match p.below(if grows { 5 } else { 3 }) {
            0..2 => {
                let there: Vec<u64> =
                    keys.into_iter().filter(|key| twin.remove(key).is_some()).collect();
                map.remove_run(&there);
            }
            _ => {
                let missing = keys.into_iter().filter(|key| !twin.contains_key(key));
                let items: Vec<_> = missing.map(|key| (key, p.next_u64() >> 1)).collect();
                twin.extend(items.iter().copied());
                map.insert_run(items);
            }
        }
    }

    #[test]
    fn runs_do_what_the_standard_map_does_key_by_key_and_copies_keep_what_they_had() {
        let (mut most, mut deepest, mut emptied) = (0, 0, 0);
        for seed in 0..12 {
            let (mut map, mut twin) = (Map::default(), Twin::new());
            let mut p = Prng::new(seed);
            let mut held = Vec::new();
            for round in 0..240 {
                step(&mut map, &mut twin, &mut p, (round / 60) % 2 == 0);
                assert!(map.iter().eq(twin.iter()), "seed {seed}, round {round}");
                assert_eq!((map.len(), map.root.size() == 0), (twin.len(), twin.is_empty()));
                deepest = deepest.max(check(&map.root, true));
                (most, emptied) = (most.max(map.len()), emptied + u32::from(map.len() == 0));
                let probe = p.below(6000);
                let before = twin.range(..probe).map(|(_, value)| value.weight()).sum::<u128>();
                assert_eq!(map.weight_before(&probe), before, "seed {seed}, round {round}");
                assert_eq!(map.floor(&probe), twin.range(..=probe).next_back());
                if round % 20 == 0 {
                    held.push((map.clone(), twin.clone()));
                }
            }
            let rest: Vec<u64> = twin.keys().copied().collect();
            map.remove_run(&rest);
            assert!(map.len() == 0 && map.iter().next().is_none(), "nothing is left");
            assert!(held.iter().all(|(map, twin)| map.iter().eq(twin.iter())), "seed {seed}");
        }
        assert!(most > 2000 && deepest >= 2 && emptied > 0, "{most} {deepest} {emptied}");
    }

    /// Shared leaves of which everything goes are let go of, and what is not edited is not copied.
    #[test]
    fn a_run_copies_only_what_it_edits() {
        let mut map = Map::default();
        map.insert_run((0..640u64).map(|key| (key, key | 1)).collect());
        let leaves = |map: &Map<u64, u64>| -> Vec<*const Node<u64, u64>> {
            let Node::Inner(children) = &*map.root else { panic!("20 leaves have a root") };
            children.iter().map(|slot| Arc::as_ptr(&slot.value.node)).collect()
        };
        let before = map.clone();
        map.remove_run(&(64..128).collect::<Vec<u64>>());
        map.remove_run(&[200, 201]);
        let (was, is) = (leaves(&before), leaves(&map));
        let gone = was.iter().filter(|leaf| !is.contains(leaf)).count();
        assert_eq!((was.len(), is.len(), gone), (20, 18, 3), "two went, one was edited");
        map.remove_run(&[]);
        map.insert_run(Vec::new());
        assert_eq!(leaves(&map), is);
    }

    #[test]
    fn a_run_behind_all_keys_fills_the_nodes_and_one_between_them_leaves_room() {
        let mut map = Map::default();
        map.insert_run((0..96u64).map(|key| (key * 100, key)).collect());
        assert_eq!(levels(&map), [vec![3], vec![32; 3]]);
        map.insert_run((1..40u64).map(|key| (key, key)).collect());
        assert_eq!(levels(&map)[1], [24, 24, 23, 32, 32]);
        map.insert_run((0..33u64).map(|key| (10_000 + key, key)).collect());
        assert_eq!(levels(&map)[1], [24, 24, 23, 32, 32, 32, 1]);
    }

    #[test]
    fn a_run_of_removals_joins_small_nodes_and_lets_go_of_empty_ones() {
        let full = |keys: u64| {
            let mut map = Map::default();
            map.insert_run((0..keys).map(|key| (key, key)).collect());
            map
        };
        for (left, joined) in [(24, true), (25, false)] {
            let mut map = full(64);
            map.remove_run(&(left..32).collect::<Vec<u64>>());
            map.remove_run(&(40..63).collect::<Vec<u64>>());
            assert_eq!(levels(&map), [vec![2], vec![left as usize, 9]], "not small yet");
            map.remove_run(&[63]);
            assert_eq!(levels(&map).len(), if joined { 1 } else { 2 });
            check(&map.root, true);
        }
        let mut map = full(96);
        map.remove_run(&(32..63).collect::<Vec<u64>>());
        map.remove_run(&[63]);
        assert_eq!(levels(&map), [vec![2], vec![32; 2]]);
        // All but the last key of every other leaf at once.
        let mut map = full(64 * 32);
        map.remove_run(&(0..64 * 32).filter(|key| key % 64 < 63).collect::<Vec<u64>>());
        assert!(levels(&map).pop().unwrap().len() <= 2, "32 keys in {:?}", levels(&map));
        check(&map.root, true);
    }
}
