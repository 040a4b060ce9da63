//! A leaf of the index: the versions of neighbouring keys as one piece of bytes. What its keys
//! share stands once, a table of places finds a key by halving, and whoever changes a key copies
//! the others as they are.
//!
//! `count u32, length of the head u32, base revision i64, live keys u32, versions u32, places (u32
//! each), head, groups`. A group is a key's versions in this leaf, newest first: length of the rest
//! of the key, the rest, whether the key's newest version is here, number of versions, versions.

use super::facts::Facts;
use super::num::{get_u64, put_u64, take};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Ordering;

/// A leaf that grows beyond this is cut; one group or version of any size makes a larger one.
pub(super) const LEAF_BYTES_MAX: usize = 4096;
const HEADER: usize = 24;
const SOUND: &str = "a leaf is made here, or was gone through when it was read";

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Leaf(Arc<[u8]>);

/// One key's versions in a leaf.
#[derive(Clone, Copy)]
pub(crate) struct Group<'a> {
    head: &'a [u8],
    rest: &'a [u8],
    pub has_newest: bool,
    pub len: usize,
    base: i64,
    body: &'a [u8],
}

impl<'a> Group<'a> {
    pub fn cmp_key(&self, key: &[u8]) -> Ordering {
        let head = self.head.len().min(key.len());
        self.head.cmp(&key[..head]).then_with(|| self.rest.cmp(&key[head..]))
    }

    /// Puts its key in the place of what is there.
    pub fn key_into(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(self.head);
        out.extend_from_slice(self.rest);
    }

    pub fn key(&self) -> Arc<[u8]> {
        [self.head, self.rest].concat().into()
    }

    /// How many versions it has, if its bytes are those and nothing else.
    fn check(&self) -> Option<usize> {
        let (mut after, mut bytes) = (None::<Facts>, self.body);
        for _ in 0..self.len {
            let facts = Facts::decode(after.as_ref(), self.base, &mut bytes)?;
            if !facts.is_possible() || after.is_some_and(|after| after.age() <= facts.age()) {
                return None;
            }
            after = Some(facts);
        }
        (self.len > 0 && bytes.is_empty()).then_some(self.len)
    }

    /// Newest first.
    pub fn versions(&self) -> Versions<'a> {
        Versions { after: None, left: self.len, base: self.base, bytes: self.body }
    }

    pub fn first(&self) -> Facts {
        self.versions().next().expect("a group has a version")
    }

    /// Whether the key lives now, as far as this leaf knows.
    pub fn is_live(&self) -> bool {
        self.has_newest && !Facts::is_tombstone(self.body)
    }
}

pub(crate) struct Versions<'a> {
    after: Option<Facts>,
    left: usize,
    base: i64,
    bytes: &'a [u8],
}

impl Iterator for Versions<'_> {
    type Item = Facts;

    fn next(&mut self) -> Option<Facts> {
        self.left = self.left.checked_sub(1)?;
        let facts = Facts::decode(self.after.as_ref(), self.base, &mut self.bytes).expect(SOUND);
        self.after = Some(facts);
        Some(facts)
    }
}

/// What a group is to be: written anew, with the versions of one key, newest first.
pub(super) struct Entry<'a> {
    pub key: &'a [u8],
    pub has_newest: bool,
    pub versions: &'a [Facts],
}

impl Entry<'_> {
    fn encode(&self, head: usize, base: i64, out: &mut Vec<u8>) {
        assert!(!self.versions.is_empty(), "a key without versions is none");
        put_u64((self.key.len() - head) as u64, out);
        out.extend_from_slice(&self.key[head..]);
        put_u64((self.versions.len() as u64) << 1 | u64::from(self.has_newest), out);
        let mut after = None;
        for facts in self.versions {
            facts.encode(after, base, out);
            after = Some(facts);
        }
    }

    fn is_live(&self) -> bool {
        self.has_newest && !self.versions[0].tombstone
    }
}

impl Leaf {
    fn u32_at(&self, at: usize) -> usize {
        u32::from_le_bytes(self.0[at..at + 4].try_into().expect("four")) as usize
    }

    pub fn len(&self) -> usize {
        self.u32_at(0)
    }

    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.0.len()
    }

    pub fn live(&self) -> u64 {
        self.u32_at(16) as u64
    }

    /// Whether it holds one version of each of its keys, and all of them live: nothing in it can be
    /// left out.
    pub fn is_clean(&self) -> bool {
        self.u32_at(16) == self.len() && self.u32_at(20) == self.len()
    }

    fn base(&self) -> i64 {
        i64::from_le_bytes(self.0[8..16].try_into().expect("eight"))
    }

    fn head(&self) -> &[u8] {
        let from = HEADER + 4 * self.len();
        &self.0[from..from + self.u32_at(4)]
    }

    /// Where the groups begin.
    fn body(&self) -> usize {
        HEADER + 4 * self.len() + self.u32_at(4)
    }

    fn place(&self, at: usize) -> usize {
        if at == self.len() { self.0.len() - self.body() } else { self.u32_at(HEADER + 4 * at) }
    }

    pub fn group(&self, at: usize) -> Group<'_> {
        let bytes = &self.0[self.body() + self.place(at)..];
        self.group_in(bytes).expect(SOUND)
    }

    fn group_in<'a>(&'a self, mut bytes: &'a [u8]) -> Option<Group<'a>> {
        let rest = usize::try_from(get_u64(&mut bytes)?).ok()?;
        let rest = take(&mut bytes, rest)?;
        let count = get_u64(&mut bytes)?;
        Some(Group {
            head: self.head(),
            rest,
            has_newest: count & 1 == 1,
            len: usize::try_from(count >> 1).ok()?,
            base: self.base(),
            body: bytes,
        })
    }

    /// A leaf that was written somewhere: whatever is asked of it has an answer then. None of bytes
    /// that no leaf has.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let leaf = Self(bytes.into());
        let word = |at: usize| {
            let word = bytes.get(at..at + 4)?;
            Some(u32::from_le_bytes(word.try_into().ok()?) as usize)
        };
        let (count, head) = (word(0)?, word(4)?);
        let body = HEADER.checked_add(count.checked_mul(4)?)?.checked_add(head)?;
        let len = bytes.len().checked_sub(body).filter(|_| count > 0)?;
        let (mut live, mut versions, mut last) = (0, 0, None::<&[u8]>);
        for at in 0..count {
            let (from, upto) = (leaf.place(at), leaf.place(at + 1));
            if from >= upto || upto > len || (at == 0 && from > 0) {
                return None;
            }
            let group = leaf.group_in(&bytes[body + from..body + upto])?;
            versions += group.check()?;
            live += usize::from(group.is_live());
            // All of a leaf begin with its head: the rest has their order.
            if group.head.is_empty() && group.rest.is_empty()
                || last.is_some_and(|last| last >= group.rest)
            {
                return None;
            }
            last = Some(group.rest);
        }
        ((live, versions) == (word(16)?, word(20)?)).then_some(leaf)
    }

    /// All of it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The group of `key`, or where it would be.
    pub fn find(&self, key: &[u8]) -> Result<usize, usize> {
        let head = self.head();
        let body = &self.0[self.body()..];
        match head.cmp(&key[..head.len().min(key.len())]) {
            Ordering::Equal => {}
            Ordering::Less => return Err(self.len()),
            Ordering::Greater => return Err(0),
        }
        let key = &key[head.len()..];
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            let mut bytes = &body[self.u32_at(HEADER + 4 * middle)..];
            let rest = get_u64(&mut bytes).expect(SOUND) as usize;
            match bytes[..rest].cmp(key) {
                Ordering::Equal => return Ok(middle),
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// Of entries in order of keys, at least one.
    pub fn new(entries: &[Entry<'_>]) -> Self {
        let (first, last) = (&entries[0], &entries[entries.len() - 1]);
        let head = first.key.iter().zip(last.key).take_while(|(a, b)| a == b).count();
        let base = entries.iter().map(|e| e.versions[0].mod_revision).max().expect("at least one");
        let mut body = Vec::with_capacity(LEAF_BYTES_MAX);
        let mut places = Vec::with_capacity(entries.len());
        for entry in entries {
            places.push(body.len());
            entry.encode(head, base, &mut body);
        }
        let live = entries.iter().filter(|entry| entry.is_live()).count();
        let versions = entries.iter().map(|entry| entry.versions.len()).sum();
        Self::of((&first.key[..head], base), (live, versions), &places, &body)
    }

    fn of(
        (head, base): (&[u8], i64),
        (live, versions): (usize, usize),
        places: &[usize],
        body: &[u8],
    ) -> Self {
        let word = |n: usize| u32::try_from(n).expect("a leaf is small").to_le_bytes();
        let len = HEADER + 4 * places.len() + head.len() + body.len();
        let mut out = Vec::with_capacity(len);
        out.extend_from_slice(&word(places.len()));
        out.extend_from_slice(&word(head.len()));
        out.extend_from_slice(&base.to_le_bytes());
        out.extend_from_slice(&word(live));
        out.extend_from_slice(&word(versions));
        places.iter().for_each(|place| out.extend_from_slice(&word(*place)));
        out.extend_from_slice(head);
        out.extend_from_slice(body);
        assert_eq!(out.len(), len, "its parts are all of it");
        Self(out.into())
    }

    fn of_owned(entries: &[Owned]) -> Self {
        let entries: Vec<Entry<'_>> = entries.iter().map(Owned::entry).collect();
        Self::new(&entries)
    }
}

impl Default for Leaf {
    fn default() -> Self {
        Self::of((b"", 0), (0, 0), &[], &[])
    }
}

/// An entry with bytes of its own.
#[derive(Clone)]
pub(super) struct Owned {
    pub key: Arc<[u8]>,
    pub has_newest: bool,
    pub versions: Vec<Facts>,
}

impl Owned {
    fn entry(&self) -> Entry<'_> {
        Entry { key: &self.key, has_newest: self.has_newest, versions: &self.versions }
    }
}

/// Fills leaves one after the other.
#[derive(Default)]
pub(super) struct Builder {
    entries: Vec<Owned>,
    bytes: usize,
}

/// About what a version takes.
const VERSION_BYTES: usize = 20;

impl Builder {
    /// A leaf that is full by now.
    pub fn push(&mut self, entry: Owned) -> Option<Leaf> {
        let bytes = entry.key.len() + 8 + VERSION_BYTES * entry.versions.len();
        let full = self.bytes + bytes > LEAF_BYTES_MAX;
        let leaf = if full { self.finish() } else { None };
        self.bytes += bytes;
        self.entries.push(entry);
        leaf
    }

    /// Whether there is something, and too little for a leaf.
    pub fn is_short(&self) -> bool {
        (1..LEAF_BYTES_MAX / 4).contains(&self.bytes)
    }

    pub fn finish(&mut self) -> Option<Leaf> {
        self.bytes = 0;
        let entries = core::mem::take(&mut self.entries);
        (!entries.is_empty()).then(|| Leaf::of_owned(&entries))
    }
}
