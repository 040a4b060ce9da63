//! Who watches a key: an index from keys and ranges to watchers, so that an event costs those it
//! matches, however many there are.
//!
//! Watchers of one key stand in a map. Ranges stand in a tree ordered by their start, balanced by
//! height (Adelson-Velsky and Landis 1962), of which every subtree knows its furthest end (Cormen,
//! Leiserson, Rivest, Stein, "Introduction to Algorithms", section 14.3): what cannot hold a key
//! is stepped over whole. Watchers of one range share a node.

use crate::key_range::KeyRange;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use base::Blob;
use core::cmp::Ordering;
use core::ops::Bound;

/// Watchers by what they watch; `W` is a watcher's id.
pub struct Interest<W> {
    keys: BTreeMap<Blob, BTreeSet<W>>,
    ranges: Tree<W>,
    len: usize,
}

impl<W: Ord + Copy> Default for Interest<W> {
    fn default() -> Self {
        Self { keys: BTreeMap::new(), ranges: None, len: 0 }
    }
}

impl<W: Ord + Copy> Interest<W> {
    /// Pairs of a range and a watcher, but for ranges that no key is in.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody watches anything.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// False when the watcher is there already, or when no key can match.
    pub fn insert(&mut self, range: &KeyRange, watcher: W) -> bool {
        let new = match Span::of(range) {
            _ if range.is_empty() => false,
            None => self.keys.entry(range.start().into()).or_default().insert(watcher),
            Some(span) => insert(&mut self.ranges, span, watcher),
        };
        self.len += usize::from(new);
        assert!(new || !self.is_empty() || range.is_empty(), "who is there already is counted");
        new
    }

    /// False when the watcher is not there.
    pub fn remove(&mut self, range: &KeyRange, watcher: W) -> bool {
        let was = match Span::of(range) {
            None => {
                let key = range.start();
                let all = self.keys.get_mut(key);
                let (was, rest) = all.map_or((false, 1), |all| (all.remove(&watcher), all.len()));
                if rest == 0 {
                    self.keys.remove(key);
                }
                was
            }
            Some(span) => remove(&mut self.ranges, &span, watcher),
        };
        assert!(self.len >= usize::from(was), "who goes was counted");
        self.len -= usize::from(was);
        assert!(self.len > 0 || (self.keys.is_empty() && self.ranges.is_none()), "none is left");
        was
    }

    /// Whoever watches exactly `key`, behind `after`.
    pub fn of_key(&self, key: &[u8], after: Option<W>) -> impl Iterator<Item = W> + '_ {
        let all = self.keys.get(key).into_iter();
        all.flat_map(move |all| all.range(behind(after))).copied()
    }

    /// Tells `each` of those who watch a range that may hold keys from `low` to `high`, and of
    /// which `has` says, by its start and its end, that it holds one; in the order of their
    /// ranges, from `mark` on. Each node and each watcher that is met takes one off `left`; when
    /// nothing is left of that, says where to go on.
    pub fn over(
        &self,
        (low, high): (&[u8], &[u8]),
        mark: Option<&Mark<W>>,
        left: &mut usize,
        (has, each): (impl Fn(&[u8], Option<&[u8]>) -> bool, impl FnMut(W)),
    ) -> Option<Mark<W>> {
        assert!(low <= high, "the lowest key is not above the highest");
        Walk { low, high, mark, left, has, each }.walk(&self.ranges)
    }
}

/// Where a walk over ranges stopped: at one of them, behind one of its watchers or before all.
#[derive(Clone)]
pub struct Mark<W> {
    span: Span,
    after: Option<W>,
}

fn behind<W>(after: Option<W>) -> (Bound<W>, Bound<W>) {
    (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    start: Blob,
    end: End,
}

/// The first key past a range.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Before(Blob),
    Open,
}

impl End {
    fn is_past(&self, key: &[u8]) -> bool {
        match self {
            Self::Before(end) => *key < **end,
            Self::Open => true,
        }
    }

    fn key(&self) -> Option<&[u8]> {
        match self {
            Self::Before(end) => Some(end),
            Self::Open => None,
        }
    }
}

impl Span {
    /// None for a single key.
    fn of(range: &KeyRange) -> Option<Self> {
        if range.single().is_some() {
            return None;
        }
        let end = range.end().map_or(End::Open, |end| End::Before(end.clone()));
        Some(Self { start: range.start().into(), end })
    }
}

type Tree<W> = Option<Box<Node<W>>>;

struct Node<W> {
    span: Span,
    watchers: BTreeSet<W>,
    left: Tree<W>,
    right: Tree<W>,
    height: u32,
    /// The furthest end of the subtree.
    furthest: End,
}

fn height<W>(tree: &Tree<W>) -> u32 {
    tree.as_ref().map_or(0, |node| node.height)
}

impl<W> Node<W> {
    fn refresh(&mut self) {
        let (left, right) = (height(&self.left), height(&self.right));
        self.height = 1 + left.max(right);
        assert!(left.abs_diff(right) <= 2, "one rotation mends it");
        assert!(self.height < 92, "a balanced tree of 2^64 nodes is no higher");
        let below = self.left.iter().chain(&self.right).map(|node| &node.furthest);
        let furthest = below.chain([&self.span.end]).max().expect("its own is one");
        if self.furthest != *furthest {
            self.furthest = furthest.clone();
        }
    }
}

fn insert<W: Ord>(tree: &mut Tree<W>, span: Span, watcher: W) -> bool {
    let Some(node) = tree else {
        let (furthest, watchers) = (span.end.clone(), BTreeSet::from([watcher]));
        let node = Node { span, watchers, left: None, right: None, height: 1, furthest };
        *tree = Some(Box::new(node));
        return true;
    };
    let new = match span.cmp(&node.span) {
        Ordering::Less => insert(&mut node.left, span, watcher),
        Ordering::Greater => insert(&mut node.right, span, watcher),
        Ordering::Equal => return node.watchers.insert(watcher),
    };
    balance(tree);
    new
}

fn remove<W: Ord>(tree: &mut Tree<W>, span: &Span, watcher: W) -> bool {
    let Some(node) = tree else { return false };
    let was = match span.cmp(&node.span) {
        Ordering::Less => remove(&mut node.left, span, watcher),
        Ordering::Greater => remove(&mut node.right, span, watcher),
        Ordering::Equal => {
            let was = node.watchers.remove(&watcher);
            if node.watchers.is_empty() {
                let mut node = tree.take().expect("it was just found");
                *tree = match (node.left.take(), node.right.take()) {
                    (None, other) | (other, None) => other,
                    (left, mut right) => {
                        // The next one takes its place.
                        let mut next = take_first(&mut right).expect("there is a right side");
                        (next.left, next.right) = (left, right);
                        Some(next)
                    }
                };
            }
            was
        }
    };
    balance(tree);
    was
}

fn take_first<W>(tree: &mut Tree<W>) -> Tree<W> {
    let node = tree.as_mut()?;
    if node.left.is_some() {
        let first = take_first(&mut node.left);
        balance(tree);
        return first;
    }
    let mut first = tree.take()?;
    *tree = first.right.take();
    Some(first)
}

/// The two sides of a node differ by one level at most.
fn balance<W>(tree: &mut Tree<W>) {
    let Some(node) = tree else { return };
    let (left, right) = (height(&node.left), height(&node.right));
    assert!(left.abs_diff(right) <= 2, "a side grows or shrinks by one level at a time");
    if left > right + 1 {
        let child = node.left.as_ref().expect("it is the higher side");
        if height(&child.right) > height(&child.left) {
            rotate_left(&mut node.left);
        }
        rotate_right(tree);
    } else if right > left + 1 {
        let child = node.right.as_ref().expect("it is the higher side");
        if height(&child.left) > height(&child.right) {
            rotate_right(&mut node.right);
        }
        rotate_left(tree);
    } else {
        node.refresh();
    }
}

fn rotate_right<W>(tree: &mut Tree<W>) {
    let mut top = tree.take().expect("only nodes are rotated");
    let mut child = top.left.take().expect("its left side is the higher one");
    top.left = child.right.take();
    top.refresh();
    child.right = Some(top);
    child.refresh();
    *tree = Some(child);
}

fn rotate_left<W>(tree: &mut Tree<W>) {
    let mut top = tree.take().expect("only nodes are rotated");
    let mut child = top.right.take().expect("its right side is the higher one");
    top.right = child.left.take();
    top.refresh();
    child.left = Some(top);
    child.refresh();
    *tree = Some(child);
}

/// From range to range, in order: what ends before the lowest key or begins behind the highest
/// is stepped over whole.
struct Walk<'a, W, H, E> {
    low: &'a [u8],
    high: &'a [u8],
    mark: Option<&'a Mark<W>>,
    left: &'a mut usize,
    has: H,
    each: E,
}

impl<W: Ord + Copy, H: Fn(&[u8], Option<&[u8]>) -> bool, E: FnMut(W)> Walk<'_, W, H, E> {
    fn walk(&mut self, tree: &Tree<W>) -> Option<Mark<W>> {
        let node = tree.as_deref().filter(|node| node.furthest.is_past(self.low))?;
        let place = self.mark.map_or(Ordering::Greater, |mark| node.span.cmp(&mark.span));
        if place == Ordering::Greater
            && let Some(mark) = self.walk(&node.left)
        {
            return Some(mark);
        }
        if *node.span.start > *self.high {
            return None;
        }
        if place != Ordering::Less
            && let Some(mark) = self.meet(node, place)
        {
            return Some(mark);
        }
        self.walk(&node.right)
    }

    fn meet(&mut self, node: &Node<W>, place: Ordering) -> Option<Mark<W>> {
        let mut after = self.mark.filter(|_| place == Ordering::Equal).and_then(|mark| mark.after);
        let stop = |after| Some(Mark { span: node.span.clone(), after });
        if *self.left == 0 {
            return stop(after);
        }
        *self.left -= 1;
        let span = &node.span;
        if !span.end.is_past(self.low) || !(self.has)(&span.start, span.end.key()) {
            return None;
        }
        for watcher in node.watchers.range(behind(after)) {
            if *self.left == 0 {
                return stop(after);
            }
            *self.left -= 1;
            (self.each)(*watcher);
            after = Some(*watcher);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use base::Prng;

    fn key(p: &mut Prng) -> Blob {
        Blob::from(alloc::format!("k{:03}", p.below(200)).as_bytes())
    }

    fn range(p: &mut Prng) -> KeyRange {
        let end = match p.below(6) {
            0 | 1 => Blob::default(),
            2 => Blob::from(&b"\0"[..]),
            _ => key(p), // at or before the start at times: no key matches
        };
        KeyRange::new(key(p), end)
    }

    fn check<W>(tree: &Tree<W>) -> u32 {
        let Some(node) = tree else { return 0 };
        let (left, right) = (check(&node.left), check(&node.right));
        assert!(left.abs_diff(right) <= 1 && node.height == 1 + left.max(right));
        assert!(node.left.iter().all(|left| left.span < node.span));
        assert!(node.right.iter().all(|right| right.span > node.span));
        node.height
    }

    /// Whoever watches one of the keys, found in slices of so many steps.
    fn found(index: &Interest<u64>, keys: &[Blob], slice: usize) -> Vec<u64> {
        let mut found = Vec::new();
        let mut keys = Vec::from(keys);
        keys.dedup();
        for key in &keys {
            let mut after = None;
            while let Some(id) = index.of_key(key, after).next() {
                found.push(id);
                after = Some(id);
            }
        }
        let has = |start: &[u8], end: Option<&[u8]>| {
            keys.iter().any(|key| **key >= *start && end.is_none_or(|end| **key < *end))
        };
        let (mut mark, mut slices) = (None, 0);
        let hull = (&*keys[0], &**keys.last().unwrap());
        loop {
            let mut left = slice;
            mark = index.over(hull, mark.as_ref(), &mut left, (has, |id| found.push(id)));
            slices += 1;
            assert!(slices < 10_000, "every slice is progress");
            if mark.is_none() {
                return found;
            }
            assert_eq!(left, 0, "it stops when nothing is left");
        }
    }

    #[test]
    fn whoever_watches_a_key_is_found_as_a_look_at_all_of_them_finds_them() {
        let mut p = Prng::new(9);
        let mut most = 0;
        for _ in 0..20 {
            let (mut index, mut twin) = (Interest::default(), Vec::<(KeyRange, u64)>::new());
            for round in 0..1500u64 {
                // Growing, shrinking, growing again.
                let grows = p.below(10) < if (round / 500) == 1 { 2 } else { 7 };
                if grows || twin.is_empty() {
                    let (range, id) = (range(&mut p), p.below(40));
                    let new = !range.is_empty() && !twin.contains(&(range.clone(), id));
                    assert_eq!(index.insert(&range, id), new);
                    if new {
                        twin.push((range, id));
                    }
                } else {
                    let at = p.below(twin.len() as u64) as usize;
                    let (range, id) = twin.swap_remove(at);
                    assert!(index.remove(&range, id));
                    assert!(!index.remove(&range, id), "it is gone");
                }
                assert_eq!(index.len(), twin.len());
                if round % 50 == 0 {
                    most = most.max(check(&index.ranges));
                    // Some neighbours, looked for at once, in slices.
                    let mut keys: Vec<Blob> = (0..1 + p.below(3)).map(|_| key(&mut p)).collect();
                    keys.sort_unstable();
                    let mut found = found(&index, &keys, 2 + p.below(9) as usize);
                    let holds = |range: &KeyRange| keys.iter().any(|key| range.matches(key));
                    let all = twin.iter().filter(|(range, _)| holds(range));
                    let mut wanted: Vec<u64> = all.map(|(_, id)| *id).collect();
                    found.sort_unstable();
                    wanted.sort_unstable();
                    assert_eq!(found, wanted);
                }
            }
            assert_eq!(index.is_empty(), twin.is_empty());
        }
        assert!(most >= 8, "the tree is deep enough to mean something: {most}");
    }

    #[test]
    fn a_key_that_few_watch_costs_few_looks_among_many_watchers() {
        let mut index = Interest::default();
        for n in 0..20_000u64 {
            let key = |n: u64| alloc::format!("k{n:05}").into_bytes();
            index.insert(&KeyRange::new(&*key(n), &*key(n + 1)), n);
        }
        for n in (0..20_000u64).step_by(997) {
            let key = alloc::format!("k{n:05}").into_bytes();
            let (mut found, mut left) = (Vec::new(), 1000);
            let all = (|_: &[u8], _: Option<&[u8]>| true, |id| found.push(id));
            assert!(index.over((&key, &key), None, &mut left, all).is_none());
            assert_eq!(found, [n]);
            assert!(left >= 1000 - 64, "{left}");
        }
    }
}
