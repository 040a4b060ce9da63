//! A copy-on-write table by revision: a radix tree. Revisions are dense and rise, so a place is
//! found in a step or two, without comparing; a clone costs one pointer, and a write while clones
//! live copies only the nodes on its path.

use alloc::sync::Arc;

/// Bits of a revision that one node tells apart.
const BITS: u32 = 6;
const FANOUT: usize = 1 << BITS;

#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "a node is never anywhere but behind a pointer")]
enum Node<T> {
    Leaf(Slots<T>),
    Inner(Slots<Arc<Node<T>>>),
}

/// The slots of one node, and which of them hold something.
#[derive(Clone)]
struct Slots<S> {
    filled: u64,
    items: [Option<S>; FANOUT],
}

impl<S> Slots<S> {
    fn new() -> Self {
        Self { filled: 0, items: [const { None }; FANOUT] }
    }

    fn put(&mut self, at: usize, item: S) -> Option<S> {
        self.filled |= 1 << at;
        self.items[at].replace(item)
    }

    /// The first one at `at` or behind it that holds something.
    fn next(&self, at: usize) -> Option<(usize, &S)> {
        let filled = u64::MAX.checked_shl(u32::try_from(at).ok()?)? & self.filled;
        let at = filled.trailing_zeros() as usize;
        Some((at, self.items.get(at)?.as_ref().expect("it is marked as filled")))
    }
}

/// Of no revision below 0.
#[derive(Clone)]
pub(crate) struct Table<T> {
    root: Option<Arc<Node<T>>>,
    /// Nodes on the way to a leaf, that one included; 0 when there is none.
    levels: u32,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { root: None, levels: 0 }
    }
}

fn slot(revision: u64, level: u32) -> usize {
    // `FANOUT - 1` keeps six bits.
    (revision >> (BITS * (level - 1))) as usize & (FANOUT - 1)
}

fn number(revision: i64) -> u64 {
    u64::try_from(revision).expect("no revision is negative")
}

impl<T> Table<T> {
    /// Whether so many levels reach the revision.
    fn reaches(&self, revision: u64) -> bool {
        revision.checked_shr(BITS * self.levels).unwrap_or(0) == 0
    }

    pub fn get(&self, revision: i64) -> Option<&T> {
        let revision = u64::try_from(revision).ok()?;
        let mut node = self.root.as_deref().filter(|_| self.reaches(revision))?;
        let mut level = self.levels;
        loop {
            let at = slot(revision, level);
            match node {
                Node::Leaf(slots) => return slots.items[at].as_ref(),
                Node::Inner(slots) => node = slots.items[at].as_deref()?,
            }
            level -= 1;
        }
    }

    /// Those at or behind `revision`, in order.
    pub fn iter_from(&self, revision: i64) -> impl Iterator<Item = (i64, &T)> {
        let mut from = Some(revision.max(0).unsigned_abs());
        core::iter::from_fn(move || {
            let (at, item) = self.next(from?)?;
            from = at.checked_add(1);
            Some((i64::try_from(at).expect("it was put as one"), item))
        })
    }

    fn next(&self, from: u64) -> Option<(u64, &T)> {
        let root = self.root.as_deref().filter(|_| self.reaches(from))?;
        next_in(root, self.levels, 0, from)
    }

    pub fn last(&self) -> Option<(i64, &T)> {
        let (mut node, mut at) = (self.root.as_deref()?, 0u64);
        loop {
            let filled = match node {
                Node::Leaf(slots) => slots.filled,
                Node::Inner(slots) => slots.filled,
            };
            let last = 63 - filled.leading_zeros();
            at = at << BITS | u64::from(last);
            match node {
                Node::Leaf(slots) => {
                    let item = slots.items[last as usize].as_ref();
                    let at = i64::try_from(at).expect("it was put as one");
                    return Some((at, item.expect("it is marked as filled")));
                }
                Node::Inner(slots) => node = slots.items[last as usize].as_deref()?,
            }
        }
    }
}

/// The first one at or behind `from` below this node, which stands `above` the others of its
/// level.
fn next_in<T>(node: &Node<T>, level: u32, above: u64, from: u64) -> Option<(u64, &T)> {
    let first = slot(from, level);
    match node {
        Node::Leaf(slots) => {
            let (at, item) = slots.next(first)?;
            Some((above << BITS | at as u64, item))
        }
        Node::Inner(slots) => {
            let (mut at, mut from) = (first, from);
            loop {
                let (here, child) = slots.next(at)?;
                if here > first {
                    from = 0; // all of it is behind
                }
                let found = next_in(child, level - 1, above << BITS | here as u64, from);
                if found.is_some() {
                    return found;
                }
                at = here + 1;
            }
        }
    }
}

impl<T: Clone> Table<T> {
    /// What stood there.
    ///
    /// Panics when `revision` is negative.
    pub fn insert(&mut self, revision: i64, item: T) -> Option<T> {
        let revision = number(revision);
        let mut root = self.root.take();
        while root.is_none() || !self.reaches(revision) {
            root = Some(Arc::new(match root {
                None => {
                    // As many levels as it takes at once: nothing stands below.
                    self.levels = (u64::BITS - revision.leading_zeros()).div_ceil(BITS).max(1);
                    if self.levels == 1 {
                        Node::Leaf(Slots::new())
                    } else {
                        Node::Inner(Slots::new())
                    }
                }
                Some(root) => {
                    let mut slots = Slots::new();
                    slots.put(0, root);
                    self.levels += 1;
                    Node::Inner(slots)
                }
            }));
        }
        let mut node = Arc::make_mut(self.root.insert(root.expect("it was made")));
        let mut level = self.levels;
        loop {
            let at = slot(revision, level);
            match node {
                Node::Leaf(slots) => {
                    return slots.put(at, item);
                }
                Node::Inner(slots) => {
                    level -= 1;
                    if slots.items[at].is_none() {
                        slots.put(
                            at,
                            Arc::new(match level {
                                1 => Node::Leaf(Slots::new()),
                                _ => Node::Inner(Slots::new()),
                            }),
                        );
                    }
                    node = Arc::make_mut(slots.items[at].as_mut().expect("it was just put"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;
    use base::Prng;

    fn assert_alike(table: &Table<u64>, twin: &BTreeMap<i64, u64>, from: i64) {
        let ahead: Vec<_> = twin.range(from..).map(|(at, item)| (*at, item)).collect();
        assert_eq!(table.iter_from(from).collect::<Vec<_>>(), ahead);
        assert_eq!(table.get(from), twin.get(&from));
        assert_eq!(table.last(), twin.iter().next_back().map(|(at, item)| (*at, item)));
    }

    #[test]
    fn the_table_is_a_map_by_revision_through_growth_and_held_clones() {
        for seed in 0..20 {
            let mut p = Prng::new(seed);
            let (mut table, mut twin) = (Table::default(), BTreeMap::new());
            let mut held = Vec::new();
            let spread = [40, 70, 5_000, 300_000, i64::MAX.unsigned_abs()][seed as usize % 5];
            for round in 0..600u64 {
                let at = if p.below(3) == 0 { round } else { p.below(spread) };
                let at = i64::try_from(at).unwrap();
                assert_eq!(table.insert(at, round), twin.insert(at, round));
                if round % 20 == 0 {
                    assert_alike(&table, &twin, at);
                    held.push((table.clone(), twin.clone(), at));
                }
            }
            held.iter().for_each(|(table, twin, at)| assert_alike(table, twin, *at));
        }
    }

    #[test]
    fn the_edges_of_revisions_are_places_like_others_and_none_is_below_zero() {
        let mut table = Table::default();
        assert!(table.get(-1).is_none() && table.last().is_none() && table.get(9).is_none());
        for at in [0, 63, 64, 4095, 4096, i64::MAX] {
            assert_eq!(table.insert(at, at), None);
            assert_eq!(table.get(at), Some(&at));
            assert_eq!(table.last(), Some((at, &at)));
        }
        assert_eq!(table.iter_from(-5).count(), 6);
        assert_eq!(table.iter_from(4096).map(|(at, _)| at).collect::<Vec<_>>(), [4096, i64::MAX]);
    }
}
