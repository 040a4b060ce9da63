//! Keys in order, through all layers.

use super::Layers;
use super::fresh::Top;
use crate::index::{Facts, Group, Groups};
use crate::key_range::KeyRange;
use crate::map::Iter;
use base::Blob;
use core::cmp::Ordering;
use core::iter::Peekable;

/// One key of an iteration.
pub(crate) struct KeyRef<'a> {
    layers: &'a Layers,
    name: Name<'a>,
    newest: Facts,
}

enum Name<'a> {
    Here(&'a Blob),
    Base(Group<'a>),
}

impl KeyRef<'_> {
    pub fn key(&self) -> Blob {
        match self.name {
            Name::Here(key) => key.clone(),
            Name::Base(group) => group.key(),
        }
    }

    fn cmp_key(&self, key: &[u8]) -> Ordering {
        match self.name {
            Name::Here(here) => (**here).cmp(key),
            Name::Base(group) => group.cmp_key(key),
        }
    }

    pub fn is(&self, key: &[u8]) -> bool {
        self.cmp_key(key) == Ordering::Equal
    }

    /// Whether the key, which is not before the range, is behind it.
    pub fn is_past(&self, range: &KeyRange) -> bool {
        match (range.single(), range.end()) {
            (Some(key), _) => !self.is(key),
            (None, Some(end)) => self.cmp_key(end) != Ordering::Less,
            (None, None) => false,
        }
    }

    pub fn newest(&self) -> Facts {
        self.newest
    }

    /// The newest version at or before `revision`, if it is retained.
    pub fn at(&self, revision: i64) -> Option<Facts> {
        if self.newest.mod_revision <= revision {
            return Some(self.newest);
        }
        match self.name {
            Name::Here(key) => self.layers.at(key, revision),
            Name::Base(group) => {
                let found = group.versions().find(|facts| facts.mod_revision <= revision);
                // Those of a key that was written often go on in the leaf before.
                found.or_else(|| self.layers.at(&group.key(), revision))
            }
        }
    }
}

/// Keys in order, through all layers.
pub(super) struct Merged<'a> {
    layers: &'a Layers,
    only_live: bool,
    fresh: Peekable<Iter<'a, Blob, Top>>,
    settling: Peekable<Iter<'a, Blob, Top>>,
    base: Peekable<Groups<'a>>,
}

/// Dead keys in a row before it is looked how many more there are.
pub(super) const DEAD_RUN: usize = 32;

impl<'a> Merged<'a> {
    pub fn new(layers: &'a Layers, key: &Blob, only_live: bool) -> Self {
        Self {
            layers,
            only_live,
            fresh: layers.fresh.tops.iter_from(key, only_live).peekable(),
            settling: layers.settling.tops.iter_from(key, only_live).peekable(),
            base: layers.base.iter_from(key, only_live).peekable(),
        }
    }

    /// The next key, dead or alive.
    fn step(&mut self) -> Option<KeyRef<'a>> {
        let fresh = self.fresh.peek().map(|(key, _)| *key);
        let settling = self.settling.peek().map(|(key, _)| *key);
        // Of two layers of maps the one whose key is first; the upper one where both are there.
        let (upper, from_fresh) = match (fresh, settling) {
            (Some(a), Some(b)) => (Some(a.min(b)), a <= b),
            (Some(a), None) => (Some(a), true),
            (None, Some(b)) => (Some(b), false),
            (None, None) => (None, false),
        };
        let order = match (upper, self.base.peek()) {
            (None, None) => return None,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(key), Some(group)) => group.cmp_key(key).reverse(),
        };
        if order == Ordering::Greater {
            let group = self.base.next().expect("it was just seen");
            let (name, newest) = (Name::Base(group), group.first());
            return Some(KeyRef { layers: self.layers, name, newest });
        }
        if order == Ordering::Equal {
            self.base.next();
        }
        let twice = fresh.is_some() && fresh == settling;
        let (key, top) = if from_fresh {
            if twice {
                self.settling.next();
            }
            self.fresh.next()
        } else {
            self.settling.next()
        }
        .expect("it was just seen");
        let newest = top.record.facts();
        Some(KeyRef { layers: self.layers, name: Name::Here(key), newest })
    }
}

impl<'a> Iterator for Merged<'a> {
    type Item = KeyRef<'a>;

    fn next(&mut self) -> Option<KeyRef<'a>> {
        let mut dead = 0;
        loop {
            let key = self.step()?;
            if !self.only_live || !key.newest.tombstone {
                return Some(key);
            }
            dead += 1;
            if dead % DEAD_RUN == 0
                && let Name::Here(key) = key.name
                && let Some(to) = self.layers.dead_upto(key)
            {
                *self = Self::new(self.layers, to, true);
            }
        }
    }
}
