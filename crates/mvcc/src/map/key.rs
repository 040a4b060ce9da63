//! Keys as the map's nodes compare them: a shared head once, then eight bytes held in the node
//! itself, and only on a tie the key behind its pointer. Most steps of a search touch no key.

use super::FANOUT_MAX;
use crate::version::Old;
use alloc::vec::Vec;
use base::Blob;
use core::borrow::Borrow;
use core::cmp::Ordering;
use core::ops::Range;

/// Keys ordered by a head of any length, then by eight bytes, then by themselves.
pub(crate) trait Key: Ord {
    /// Length of the head that both have in common; 0 for keys that have no head.
    fn common(&self, _other: &Self) -> usize {
        0
    }

    /// Order of the first `head` bytes; `other` has as many.
    fn cmp_head(&self, _other: &Self, _head: usize) -> Ordering {
        Ordering::Equal
    }

    /// Never decreases along keys of one head.
    fn hint(&self, head: usize) -> u64;

    /// An equal key for a node above, which may outlive the entry.
    fn low(&self) -> Self
    where
        Self: Clone,
    {
        self.clone()
    }
}

impl Key for [u8] {
    fn common(&self, other: &Self) -> usize {
        self.iter().zip(other).take_while(|(a, b)| a == b).count()
    }

    fn cmp_head(&self, other: &Self, head: usize) -> Ordering {
        // A key shorter than the head that it begins is before it, as slices compare.
        if head == 0 { Ordering::Equal } else { self[..head.min(self.len())].cmp(&other[..head]) }
    }

    fn hint(&self, head: usize) -> u64 {
        let rest = self.get(head..).unwrap_or_default();
        if let Some(eight) = rest.first_chunk() {
            return u64::from_be_bytes(*eight);
        }
        let mut eight = [0; 8];
        eight[..rest.len()].copy_from_slice(rest);
        u64::from_be_bytes(eight)
    }
}

impl Key for Blob {
    fn common(&self, other: &Self) -> usize {
        (**self).common(other)
    }

    fn cmp_head(&self, other: &Self, head: usize) -> Ordering {
        (**self).cmp_head(other, head)
    }

    fn hint(&self, head: usize) -> u64 {
        (**self).hint(head)
    }
}

impl Key for i64 {
    fn hint(&self, _head: usize) -> u64 {
        self.cast_unsigned() ^ (1 << 63)
    }
}

impl Key for u64 {
    fn hint(&self, _head: usize) -> u64 {
        *self
    }
}

/// A first part without a head. Where all have the same one it counts as the head's first byte,
/// and the second part goes on from there: the keys of one lease differ in nothing else.
impl<A: Key, B: Key> Key for (A, B) {
    fn common(&self, other: &Self) -> usize {
        if self.0 == other.0 { 1 + self.1.common(&other.1) } else { 0 }
    }

    fn cmp_head(&self, other: &Self, head: usize) -> Ordering {
        match head.checked_sub(1) {
            None => Ordering::Equal,
            Some(head) => self.0.cmp(&other.0).then_with(|| self.1.cmp_head(&other.1, head)),
        }
    }

    fn hint(&self, head: usize) -> u64 {
        head.checked_sub(1).map_or_else(|| self.0.hint(0), |head| self.1.hint(head))
    }
}

impl Key for Old {
    fn common(&self, other: &Self) -> usize {
        self.kv.key.common(&other.kv.key)
    }

    fn cmp_head(&self, other: &Self, head: usize) -> Ordering {
        self.kv.key.cmp_head(&other.kv.key, head)
    }

    fn hint(&self, head: usize) -> u64 {
        self.kv.key.hint(head)
    }

    fn low(&self) -> Self {
        self.place()
    }
}

#[derive(Clone)]
pub(super) struct Slot<K, T> {
    hint: u64,
    pub key: K,
    pub value: T,
}

/// The sorted slots of one node.
#[derive(Clone)]
pub(super) struct Slots<K, T> {
    /// Every key has this many bytes and begins with the same ones.
    head: usize,
    items: Vec<Slot<K, T>>,
}

impl<K, T> Default for Slots<K, T> {
    fn default() -> Self {
        Self { head: 0, items: Vec::new() }
    }
}

impl<K, T> core::ops::Deref for Slots<K, T> {
    type Target = [Slot<K, T>];

    fn deref(&self) -> &Self::Target {
        &self.items
    }
}

impl<K: Key, T> Slots<K, T> {
    /// From keys in order.
    pub fn new(sorted: impl IntoIterator<Item = (K, T)>) -> Self {
        let slot = |(key, value)| Slot { hint: 0, key, value };
        let mut slots = Self { head: 0, items: sorted.into_iter().map(slot).collect() };
        slots.refresh();
        slots
    }

    /// How many keys are before `key`; with `or_equal`, at or before it.
    pub fn before<Q: Key + ?Sized>(&self, key: &Q, or_equal: bool) -> usize
    where
        K: Borrow<Q>,
    {
        let Some(first) = self.items.first() else { return 0 };
        match key.cmp_head(first.key.borrow(), self.head) {
            Ordering::Less => return 0,
            Ordering::Greater => return self.items.len(),
            Ordering::Equal => {}
        }
        let hint = key.hint(self.head);
        let from = self.items.partition_point(|slot| slot.hint < hint);
        let ties = self.items[from..].partition_point(|slot| slot.hint == hint);
        let is_before = |slot: &Slot<K, T>| match slot.key.borrow().cmp(key) {
            Ordering::Less => true,
            Ordering::Equal => or_equal,
            Ordering::Greater => false,
        };
        let before = from + self.items[from..from + ties].partition_point(is_before);
        assert!(before <= self.items.len(), "all of them at most");
        before
    }

    /// Where `key` is, or where it would be.
    pub fn find<Q: Key + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        let at = self.before(key, false);
        match self.items.get(at) {
            Some(slot) if slot.key.borrow() == key => Ok(at),
            _ => Err(at),
        }
    }

    pub fn value_mut(&mut self, at: usize) -> &mut T {
        &mut self.items[at].value
    }

    pub fn insert(&mut self, at: usize, key: K, value: T) {
        let hint = key.hint(self.head);
        let fits = self.fits(&key);
        debug_assert!(at == 0 || self.items[at - 1].key < key, "keys rise along the slots");
        debug_assert!(self.items.get(at).is_none_or(|next| key < next.key), "and on from it");
        self.make_room();
        self.items.insert(at, Slot { hint, key, value });
        if !fits {
            self.refresh();
        }
    }

    /// Doubling would leave a full node as much room again as it takes.
    fn make_room(&mut self) {
        let len = self.items.len();
        if len == self.items.capacity() && len < FANOUT_MAX + 1 {
            let room = [4, 12, FANOUT_MAX + 1].into_iter().find(|room| *room > len);
            self.items.reserve_exact(room.expect("it is the largest") - len);
        }
    }

    /// Gives the slot another key at the same place in the order.
    pub fn set_key(&mut self, at: usize, key: K) {
        debug_assert!(at == 0 || self.items[at - 1].key < key, "its place stays the same");
        debug_assert!(key <= self.items[at].key, "a slot's key is only lowered");
        let fits = self.fits(&key);
        self.items[at].hint = key.hint(self.head);
        self.items[at].key = key;
        if !fits {
            self.refresh();
        }
    }

    pub fn remove(&mut self, at: usize) -> T {
        self.items.remove(at).value
    }

    pub fn remove_range(&mut self, range: Range<usize>) {
        assert!(!range.is_empty(), "who removes has found something");
        self.items.drain(range);
    }

    /// Leaves no more than a node holds, and hands out the others in as few nodes as it takes: full
    /// ones and a last one, or else all alike.
    pub fn cut(&mut self, full: bool) -> Vec<Self> {
        let len = self.items.len();
        if len <= FANOUT_MAX {
            return Vec::new();
        }
        let nodes = len.div_ceil(FANOUT_MAX);
        let each = if full { FANOUT_MAX } else { len.div_ceil(nodes) };
        assert!(0 < each && each <= FANOUT_MAX && each < len, "all sides keep something");
        let mut items = core::mem::take(&mut self.items).into_iter();
        let mut parts = Vec::with_capacity(nodes);
        while items.len() > 0 {
            let mut part = Self { head: 0, items: items.by_ref().take(each).collect() };
            part.refresh();
            parts.push(part);
        }
        *self = parts.remove(0);
        parts
    }

    /// Cuts off everything from `at` on.
    pub fn split_off(&mut self, at: usize) -> Self {
        assert!(0 < at && at < self.items.len(), "both sides keep something");
        let mut right = Self { head: 0, items: self.items.split_off(at) };
        right.refresh();
        self.refresh();
        right
    }

    pub fn append(&mut self, right: Self) {
        let ends = self.items.last().zip(right.items.first());
        debug_assert!(ends.is_none_or(|(left, right)| left.key < right.key), "in order");
        self.items.extend(right.items);
        self.refresh();
    }

    fn fits(&self, key: &K) -> bool {
        let first = self.items.first();
        first.is_some_and(|first| key.cmp_head(&first.key, self.head) == Ordering::Equal)
    }

    /// Takes the longest head again: what two ends of an order share, all between them share.
    fn refresh(&mut self) {
        let ends = self.items.first().zip(self.items.last());
        self.head = ends.map_or(0, |(first, last)| first.key.common(&last.key));
        for slot in &mut self.items {
            slot.hint = slot.key.hint(self.head);
        }
        debug_assert!(self.items.is_sorted_by_key(|slot| slot.hint), "hints rise with the keys");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn blob(key: &str) -> Blob {
        Blob::from(key.as_bytes())
    }

    #[test]
    fn the_head_is_what_keys_share_and_the_hint_the_eight_bytes_behind_it() {
        let key = blob("/registry/pods");
        assert_eq!(key.common(&blob("/registry/nodes")), 10);
        assert_eq!(key.common(&key), 14);
        assert_eq!(key.common(&blob("/reg")), 4);
        assert_eq!(key.hint(0), u64::from_be_bytes(*b"/registr"));
        assert_eq!(key.hint(6), u64::from_be_bytes(*b"try/pods"));
        assert_eq!(key.hint(10), u64::from_be_bytes(*b"pods\0\0\0\0"));
        assert_eq!((key.hint(14), key.hint(15)), (0, 0), "one that ends within the head is first");
        let old = |key: &str| Old::at(blob(key), 7, 1);
        assert_eq!(old("/registry/pods").common(&old("/registry/nodes")), 10);
        assert_eq!(old("/registry/pods").hint(10), key.hint(10));
        assert_eq!(old("abc").cmp_head(&old("abd"), 2), Ordering::Equal);
        assert_eq!(old("abc").cmp_head(&old("abd"), 3), Ordering::Less);
        let is = |key: &str, head| blob(key).cmp_head(&blob("/registry/"), head);
        assert_eq!(is("/registry/pods", 10), Ordering::Equal);
        assert_eq!((is("/reg", 10), is("/s", 10), is("/a", 10)), {
            (Ordering::Less, Ordering::Greater, Ordering::Less)
        });
        assert_eq!(is("/a", 0), Ordering::Equal, "without a head nothing is compared");
    }

    #[test]
    fn numbers_are_their_own_hint_and_negative_ones_come_first() {
        let rising = [i64::MIN, -2, -1, 0, 1, i64::MAX].map(|number| number.hint(0));
        assert!(rising.is_sorted_by(|a, b| a < b));
        assert_eq!((3_u64.hint(0), 3_u64.common(&3)), (3, 0));
    }

    #[test]
    fn a_first_part_that_all_share_is_the_first_byte_of_the_head() {
        let pair = |lease: i64, key: &str| (lease, blob(key));
        assert_eq!(pair(7, "abc").common(&pair(7, "abd")), 3);
        assert_eq!(pair(7, "abc").common(&pair(8, "abc")), 0);
        assert_eq!(pair(7, "abc").hint(0), 7_i64.hint(0));
        assert_eq!(pair(7, "abc").hint(3), u64::from_be_bytes(*b"c\0\0\0\0\0\0\0"));
        let order = |a: (i64, Blob), head| a.cmp_head(&pair(7, "abc"), head);
        assert_eq!((order(pair(8, "a"), 0), order(pair(7, "z"), 1)), {
            (Ordering::Equal, Ordering::Equal)
        });
        assert_eq!((order(pair(6, "z"), 2), order(pair(7, "z"), 2)), {
            (Ordering::Less, Ordering::Greater)
        });
    }

    fn slots(keys: &[&str]) -> Slots<Blob, ()> {
        Slots::new(keys.iter().map(|key| (blob(key), ())))
    }

    #[test]
    fn a_node_has_the_longest_head_of_its_keys_whatever_becomes_of_them() {
        let mut node = slots(&["abc1", "abc2"]);
        let hints = |node: &Slots<Blob, ()>| -> Vec<u8> {
            node.iter().map(|slot| slot.hint.to_be_bytes()[0]).collect()
        };
        assert_eq!((node.head, hints(&node)), (3, b"12".to_vec()));
        node.insert(2, blob("abc3"), ());
        assert_eq!((node.head, hints(&node)), (3, b"123".to_vec()));
        node.insert(3, blob("abd"), ());
        assert_eq!((node.head, hints(&node)), (2, b"cccd".to_vec()));
        node.set_key(0, blob("abb"));
        assert_eq!((node.head, hints(&node)), (2, b"bccd".to_vec()));
        node.set_key(0, blob("a"));
        assert_eq!((node.head, hints(&node)), (1, b"\0bbb".to_vec()));
        let mut right = node.split_off(1);
        assert_eq!((node.head, right.head, hints(&right)), (1, 2, b"ccd".to_vec()));
        right.append(slots(&["b"]));
        assert_eq!((right.head, hints(&right)), (0, b"aaab".to_vec()));
    }

    #[test]
    fn a_node_has_room_for_four_for_twelve_or_for_all() {
        let mut node = Slots::<u64, ()>::default();
        let mut rooms = Vec::new();
        for key in 0..=FANOUT_MAX as u64 {
            node.insert(key as usize, key, ());
            rooms.push(node.items.capacity());
        }
        let wanted = [vec![4; 4], vec![12; 8], vec![33; 21]].concat();
        assert_eq!(rooms, wanted);
    }

    #[test]
    fn what_a_node_cannot_hold_goes_into_as_few_others_as_it_takes() {
        let cut = |keys: u64, full| {
            let mut node = Slots::new((0..keys).map(|key| (key, ())));
            let rights = node.cut(full);
            let sizes: Vec<usize> =
                core::iter::once(&node).chain(&rights).map(|x| x.len()).collect();
            let all = core::iter::once(&node).chain(&rights).flat_map(|x| x.iter());
            assert!(all.map(|slot| slot.key).eq(0..keys), "all of them in order");
            sizes
        };
        assert_eq!((cut(32, true), cut(32, false)), (vec![32], vec![32]));
        assert_eq!((cut(33, true), cut(33, false)), (vec![32, 1], vec![17, 16]));
        assert_eq!((cut(70, true), cut(70, false)), (vec![32, 32, 6], vec![24, 24, 22]));
    }
}
