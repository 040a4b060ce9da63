//! The index: every key, and of every retained version all but its value, in order of keys and
//! then of age. Leaves of bytes under a tree: a clone costs one pointer, a key its own bytes and
//! about thirty, a superseded version about fifteen. It never changes: what comes is merged into
//! another one, which shares the leaves that nothing comes of.

mod facts;
mod leaf;
mod num;

use crate::map::{self, Map, Weight};
use alloc::vec::Vec;
use base::Blob;
use base::codec::DecodeError;
use core::cmp::Ordering;
pub(crate) use facts::Facts;
pub(crate) use leaf::Group;
use leaf::{Builder, Leaf, Owned};

/// A place in the order of versions.
#[derive(Clone, Debug)]
struct Place {
    key: Blob,
    age: (i64, u32),
}

impl Place {
    fn newest(key: &Blob) -> Self {
        Self { key: key.clone(), age: (i64::MAX, u32::MAX) }
    }

    fn oldest(key: &Blob) -> Self {
        Self { key: key.clone(), age: (i64::MIN, 0) }
    }

    /// The last place before it under the same key.
    fn before(&self) -> Option<Self> {
        let age = match self.age {
            (i64::MIN, 0) => return None,
            (at, 0) => (at - 1, u32::MAX),
            (at, sub) => (at, sub - 1),
        };
        Some(Self { key: self.key.clone(), age })
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key).then_with(|| self.age.cmp(&other.age))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.age == other.age && self.key == other.key
    }
}

impl Eq for Place {}

impl map::Key for Place {
    fn common(&self, other: &Self) -> usize {
        self.key.common(&other.key)
    }

    fn cmp_head(&self, other: &Self, head: usize) -> Ordering {
        self.key.cmp_head(&other.key, head)
    }

    fn hint(&self, head: usize) -> u64 {
        self.key.hint(head)
    }
}

impl Leaf {
    /// Where its first version stands.
    fn first(&self) -> Place {
        let first = self.group(0);
        let age = first.versions().last().expect("a group has a version").age();
        Place { key: first.key(), age }
    }
}

impl Weight for Leaf {
    fn weight(&self) -> u128 {
        self.live().into()
    }
}

/// Live keys, as the leaves weigh them.
fn counted(weight: u128) -> u64 {
    u64::try_from(weight).expect("no more keys than memory has bytes")
}

#[derive(Clone, Default)]
pub(crate) struct Index {
    /// Each under a place at or before its first version.
    leaves: Map<Place, Leaf>,
    versions: usize,
}

impl Index {
    pub fn len(&self) -> usize {
        self.versions
    }

    /// Keys that live now.
    pub fn live(&self) -> u64 {
        counted(self.leaves.weight())
    }

    /// The newest version at or before `revision`, if it is retained.
    pub fn at(&self, key: &Blob, revision: i64) -> Option<Facts> {
        let place = Place { key: key.clone(), age: (revision, u32::MAX) };
        let (_, leaf) = self.leaves.floor(&place)?;
        let group = leaf.group(leaf.find(key).ok()?);
        group.versions().find(|facts| facts.mod_revision <= revision)
    }

    /// Whether this version of the key is retained.
    pub fn has(&self, key: &Blob, age: (i64, u32)) -> bool {
        let place = Place { key: key.clone(), age };
        let Some((_, leaf)) = self.leaves.floor(&place) else { return false };
        let Ok(at) = leaf.find(key) else { return false };
        leaf.group(at).versions().any(|facts| facts.age() == age)
    }

    /// Keys that live now and are before `key`.
    pub fn live_before(&self, key: &Blob) -> u64 {
        let Some((low, leaf)) = self.leaves.floor(&Place::oldest(key)) else { return 0 };
        let upto = match leaf.find(key) {
            Ok(at) | Err(at) => at,
        };
        let here = (0..upto).filter(|at| leaf.group(*at).is_live()).count();
        counted(self.leaves.weight_before(low)) + here as u64
    }

    /// Keys at or behind `key` in order, each as its newest versions; with `only_live` those that
    /// live now.
    pub fn iter_from(&self, key: &Blob, only_live: bool) -> Groups<'_> {
        let from = self.leaves.floor(&Place::oldest(key)).map(|(low, _)| low.clone());
        let from = from.unwrap_or_else(|| Place::oldest(key));
        let mut leaves = self.leaves.iter_from(&from, only_live);
        // Only the first leaf can hold keys before it.
        let first = leaves.next().map(|(_, leaf)| match leaf.find(key) {
            Ok(at) | Err(at) => (leaf, at),
        });
        Groups { leaves, leaf: first, only_live }
    }

    /// The versions of the key, newest first.
    pub fn versions(&self, key: &Blob) -> Vec<Facts> {
        let mut found = Vec::new();
        for (_, leaf, at) in self.parts(key) {
            found.extend(leaf.group(at).versions());
        }
        found
    }

    /// The leaves that hold versions of the key, newest first, and where in them.
    fn parts(&self, key: &Blob) -> Vec<(Place, Leaf, usize)> {
        let mut parts = Vec::new();
        let mut upto = Some(Place::newest(key));
        while let Some((low, leaf)) = upto.and_then(|upto| self.leaves.floor(&upto)) {
            let Ok(at) = leaf.find(key) else { break };
            parts.push((low.clone(), leaf.clone(), at));
            upto = low.before().filter(|_| low.key == *key);
        }
        parts
    }

    /// The leaves that hold versions of the key, oldest first, and where in them.
    fn oldest_parts(&self, key: &Blob) -> impl Iterator<Item = (&Place, &Leaf, usize)> {
        let from = self.leaves.floor(&Place::oldest(key)).map(|(low, _)| low.clone());
        let from = from.unwrap_or_else(|| Place::oldest(key));
        let leaves = self.leaves.iter_from(&from, false).enumerate();
        // The first one may end before the key begins.
        let leaves = leaves.take_while(|(n, (low, _))| *n == 0 || low.key <= *key);
        leaves.filter_map(|(_, (low, leaf))| Some((low, leaf, leaf.find(key).ok()?)))
    }

    /// Shows the versions of the key from revision `from` on, oldest first, while `each` wants
    /// them.
    pub fn each_from(&self, key: &Blob, from: i64, mut each: impl FnMut(&Facts) -> bool) {
        for (_, leaf, at) in self.oldest_parts(key) {
            let here: Vec<Facts> =
                leaf.group(at).versions().take_while(|facts| facts.mod_revision >= from).collect();
            if !here.iter().rev().all(&mut each) {
                return;
            }
        }
    }

    /// With these keys, in order, each with its versions, newest first, all of them later than what
    /// is here. `retain` leaves in the list of a key's versions those that are kept. What nothing
    /// comes of is shared.
    pub fn merged(
        &self,
        keys: impl Iterator<Item = (Blob, Vec<Facts>)>,
        mut retain: impl FnMut(&[u8], &mut Vec<Facts>),
    ) -> Self {
        let mut keys = keys.peekable();
        let mut all =
            Merging { index: Self::default(), full: Vec::new(), open: Builder::default() };
        let mut add = |all: &mut Merging, key: Blob, mut versions: Vec<Facts>| {
            retain(&key, &mut versions);
            all.push(&key, versions);
        };
        // Older versions of a key whose newer ones are in the next leaf.
        let mut part: Option<(Blob, Vec<Facts>)> = None;
        let mut leaves = self.leaves.iter().map(|(_, leaf)| leaf).peekable();
        while let Some(leaf) = leaves.next() {
            let end = leaves.peek().map(|next| next.group(0).key());
            let is_here = |key: &Blob| end.as_ref().is_none_or(|end| key < end);
            let is_met = part.is_some() || keys.peek().is_some_and(|(key, _)| is_here(key));
            if !is_met && leaf.is_clean() && !all.open.is_short() {
                all.share(leaf);
                continue;
            }
            for group in (0..leaf.len()).map(|at| leaf.group(at)) {
                let is_before = |(key, _): &(Blob, _)| group.cmp_key(key) == Ordering::Greater;
                while let Some((key, versions)) = keys.next_if(is_before) {
                    add(&mut all, key, versions);
                }
                let (key, mut versions) = (group.key(), Vec::new());
                if group.has_newest
                    && let Some((_, mut newer)) = keys.next_if(|(newer, _)| *newer == key)
                {
                    versions.append(&mut newer);
                }
                versions.extend(group.versions());
                if let Some((older, mut those)) = part.take() {
                    assert_eq!(older, key, "a key that goes on is first in the next leaf");
                    versions.append(&mut those);
                }
                if group.has_newest {
                    add(&mut all, key, versions);
                } else {
                    part = Some((key, versions));
                }
            }
            while let Some((key, versions)) = keys.next_if(|(key, _)| is_here(key)) {
                add(&mut all, key, versions);
            }
        }
        assert!(part.is_none(), "the newest version of every key is somewhere");
        keys.for_each(|(key, versions)| add(&mut all, key, versions));
        all.done()
    }

    /// Every version of these revisions, and the group that says whose it is, in the order of keys.
    /// Goes through all of it.
    pub fn between(&self, first: i64, end: i64) -> impl Iterator<Item = (Group<'_>, Facts)> {
        let leaves = self.leaves.iter().map(|(_, leaf)| leaf);
        let groups = leaves.flat_map(|leaf| (0..leaf.len()).map(|at| leaf.group(at)));
        let all = groups.flat_map(|group| group.versions().map(move |facts| (group, facts)));
        all.filter(move |(_, facts)| (first..end).contains(&facts.mod_revision))
    }

    /// Its leaves as bytes, in order.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.leaves.iter().map(|(_, leaf)| leaf.as_bytes())
    }

    /// An index of what [`Index::pieces`] gave; `each` is shown every key and its versions, newest
    /// first.
    ///
    /// # Errors
    /// Anything else.
    pub fn of_pieces(
        pieces: impl Iterator<Item = Blob>,
        mut each: impl FnMut(&[u8], &[Facts]),
    ) -> Result<Self, DecodeError> {
        let wrong = DecodeError::Invalid { what: "piece of the index" };
        let (mut leaves, mut count) = (Vec::new(), 0);
        // The last key, and its versions so far where newer ones are to come. What is filled for
        // each key is kept from one to the next: a start goes through all of them.
        let (mut last, mut part) = (Vec::new(), Vec::<Facts>::new());
        let mut versions = Vec::<Facts>::new();
        for piece in pieces {
            let leaf = Leaf::read(&piece).ok_or(wrong)?;
            for (at, group) in (0..leaf.len()).map(|at| (at, leaf.group(at))) {
                versions.clear();
                versions.extend(group.versions());
                count += versions.len();
                let order = group.cmp_key(&last);
                let goes_on = at == 0 && !part.is_empty() && order == Ordering::Equal;
                let newer = versions.last().map(Facts::age);
                if goes_on && newer > part.first().map(Facts::age) {
                    versions.append(&mut part);
                }
                // Whatever was not taken up has no newest version anywhere.
                if !part.is_empty() || (!goes_on && order != Ordering::Greater) {
                    return Err(wrong);
                }
                group.key_into(&mut last);
                if group.has_newest {
                    each(&last, &versions);
                } else if at + 1 == leaf.len() {
                    part.append(&mut versions);
                } else {
                    return Err(wrong);
                }
            }
            leaves.push((leaf.first(), leaf));
        }
        if !part.is_empty() {
            return Err(wrong);
        }
        let mut index = Self { versions: count, ..Self::default() };
        index.leaves.insert_run(leaves);
        Ok(index)
    }

    /// Of keys in order, each with its versions, newest first.
    pub fn build(keys: impl IntoIterator<Item = (Blob, Vec<Facts>)>) -> Self {
        Self::default().merged(keys.into_iter(), |_, _| ())
    }

    #[cfg(test)]
    /// Bytes of all leaves.
    pub fn bytes(&self) -> usize {
        self.leaves.iter().map(|(_, leaf)| leaf.bytes()).sum()
    }
}

/// Keys of an index in order.
pub(crate) struct Groups<'a> {
    leaves: map::Iter<'a, Place, Leaf>,
    leaf: Option<(&'a Leaf, usize)>,
    only_live: bool,
}

impl<'a> Iterator for Groups<'a> {
    type Item = Group<'a>;

    fn next(&mut self) -> Option<Group<'a>> {
        loop {
            let (leaf, at) = self.leaf.as_mut()?;
            if *at == leaf.len() {
                self.leaf = self.leaves.next().map(|(_, leaf)| (leaf, 0));
                continue;
            }
            let group = leaf.group(*at);
            *at += 1;
            if if self.only_live { group.is_live() } else { group.has_newest } {
                return Some(group);
            }
        }
    }
}

/// An index on its way.
struct Merging {
    index: Index,
    full: Vec<Leaf>,
    open: Builder,
}

/// Versions of one key in one leaf.
const GROUP_VERSIONS_MAX: usize = 128;

impl Merging {
    fn push(&mut self, key: &Blob, versions: Vec<Facts>) {
        if versions.is_empty() {
            return;
        }
        self.index.versions += versions.len();
        let mut from = versions.len();
        while from > 0 {
            // Whole pieces of what is oldest, so that those stay as they are.
            let upto = from;
            from = from.saturating_sub(GROUP_VERSIONS_MAX);
            let versions = versions[from..upto].to_vec();
            let group = Owned { key: key.clone(), has_newest: from == 0, versions };
            self.full.extend(self.open.push(group));
            if from > 0 {
                // A key stands once in a leaf.
                self.full.extend(self.open.finish());
            }
        }
    }

    fn share(&mut self, leaf: &Leaf) {
        self.full.extend(self.open.finish());
        self.index.versions += leaf.len();
        self.full.push(leaf.clone());
    }

    fn done(mut self) -> Index {
        self.full.extend(self.open.finish());
        let leaves = self.full.into_iter().map(|leaf| (leaf.first(), leaf));
        self.index.leaves.insert_run(leaves.collect());
        self.index
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use base::Prng;

    type Twin = BTreeMap<Blob, Vec<Facts>>;

    fn key(p: &mut Prng, keys: u64) -> Blob {
        let heads: [&str; 4] = ["", "/registry/pods/default/", "/registry/", "\0"];
        let n = p.below(keys);
        alloc::format!("{}{n}", heads[n as usize % 4]).into_bytes().into()
    }

    fn facts(p: &mut Prng, at: i64, before: Option<&Facts>) -> Facts {
        let dead = Facts {
            mod_revision: at,
            sub: p.below(3) as u32,
            create_revision: 0,
            version: 0,
            lease: 0,
            value_len: 0,
            hash: p.next_u64(),
            tombstone: true,
        };
        let before = before.filter(|before| !before.tombstone);
        if before.is_some() && p.below(8) == 0 {
            return dead;
        }
        Facts {
            create_revision: before.map_or(at, |before| before.create_revision),
            version: before.map_or(1, |before| before.version + 1),
            lease: if p.below(4) == 0 { p.next_u64().cast_signed() } else { 0 },
            value_len: p.below(300) as u32,
            tombstone: false,
            ..dead
        }
    }

    fn assert_same(index: &Index, twin: &Twin, p: &mut Prng, keys: u64, at: i64) {
        assert_eq!(index.len(), twin.values().map(Vec::len).sum::<usize>());
        let live = |versions: &Vec<Facts>| !versions[0].tombstone;
        assert_eq!(index.live(), twin.values().filter(|v| live(v)).count() as u64);
        for _ in 0..20 {
            let (key, at) = (key(p, keys), p.below(at as u64 + 2) as i64);
            let here = twin.get(&key);
            assert_eq!(index.at(&key, i64::MAX), here.map(|v| v[0]));
            assert_eq!(index.versions(&key), here.cloned().unwrap_or_default());
            let then = |v: &Vec<Facts>| v.iter().find(|f| f.mod_revision <= at).copied();
            assert_eq!(index.at(&key, at), here.and_then(then));
            let mut later = Vec::new();
            index.each_from(&key, at, |facts| {
                later.push(*facts);
                later.len() < 200
            });
            let wanted = here.into_iter().flatten().rev().filter(|f| f.mod_revision >= at);
            assert_eq!(later, wanted.take(200).copied().collect::<Vec<_>>());
            let before = twin.range(..key.clone()).filter(|(_, v)| live(v)).count();
            assert_eq!(index.live_before(&key), before as u64);
            for only_live in [false, true] {
                let found = index.iter_from(&key, only_live).take(70);
                let found: Vec<_> = found.map(|k| (k.key(), k.first())).collect();
                let wanted = twin.range(key.clone()..).filter(|(_, v)| !only_live || live(v));
                let wanted: Vec<_> = wanted.map(|(k, v)| (k.clone(), v[0])).take(70).collect();
                assert_eq!(found, wanted);
            }
        }
    }

    /// A run of later versions, some keys with several, merged into both.
    fn merge(p: &mut Prng, (index, twin): (&mut Index, &mut Twin), keys: u64, at: &mut i64) {
        let mut run = Twin::new();
        for _ in 0..p.below(300) {
            *at += 1;
            let key = key(p, keys);
            let newest = run.get(&key).or_else(|| twin.get(&key)).map(|versions| versions[0]);
            run.entry(key).or_default().insert(0, facts(p, *at, newest.as_ref()));
        }
        let dead = if p.below(3) == 0 { p.below(*at as u64) as i64 } else { 0 };
        let retain = |versions: &mut Vec<Facts>| {
            versions.retain(|f| f.mod_revision > dead || (!f.tombstone && f.hash % 4 == 0));
        };
        for (key, mut newer) in run.clone() {
            let versions = twin.entry(key).or_default();
            newer.append(versions);
            *versions = newer;
        }
        *index = index.merged(run.into_iter(), |_, versions| retain(versions));
        twin.values_mut().for_each(retain);
        twin.retain(|_, versions| !versions.is_empty());
    }

    #[test]
    fn the_index_is_its_naive_twin_through_merges_that_add_and_leave_out() {
        for (seed, keys) in [(1, 3), (2, 40), (3, 3000), (4, 30_000)] {
            let (mut p, mut index, mut twin) = (Prng::new(seed), Index::default(), Twin::new());
            let (mut at, mut held) = (1, Vec::new());
            for round in 0..60 {
                merge(&mut p, (&mut index, &mut twin), keys, &mut at);
                assert_same(&index, &twin, &mut p, keys, at);
                if round % 20 == 0 {
                    held.push((index.clone(), twin.clone()));
                }
            }
            for (index, twin) in held {
                assert_same(&index, &twin, &mut p, keys, at);
            }
            let built = Index::build(twin.clone());
            assert_same(&built, &twin, &mut p, keys, at);
        }
    }

    #[test]
    fn leaves_that_nothing_comes_of_are_shared_and_short_ones_are_joined() {
        let (mut p, mut twin) = (Prng::new(7), Twin::new());
        for at in 1..=20_000 {
            let key = alloc::format!("/registry/pods/default/{at:06}").into_bytes();
            twin.insert(key.into(), Vec::from([facts(&mut p, at, None)]));
        }
        let mut index = Index::build(twin.clone());
        let leaves = |index: &Index| -> Vec<Leaf> {
            index.leaves.iter().map(|(_, leaf)| leaf.clone()).collect()
        };
        let whole = leaves(&index);
        for at in 20_001..20_040 {
            let key: Blob = alloc::format!("/registry/pods/default/{:06}", p.below(20_000) + 1)
                .into_bytes()
                .into();
            let new = facts(&mut p, at, twin.get(&key).map(|versions| &versions[0]));
            let run = [(key, Vec::from([new]))];
            let before = leaves(&index);
            index = index.merged(run.into_iter(), |_, _| ());
            let after = leaves(&index);
            let shared = after.iter().filter(|leaf| before.contains(leaf)).count();
            assert!(shared + 45 > before.len(), "{shared} of {}", before.len());
            assert!(after.len() <= before.len() + 2);
        }
        index = index.merged(core::iter::empty(), |_, versions| versions.truncate(1));
        assert!(leaves(&index).len() <= whole.len() + 3, "{}", leaves(&index).len());
        assert!(index.bytes() < 20_000 * (28 + 24), "{} bytes", index.bytes());
    }
}
