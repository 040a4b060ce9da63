//! All revisions of a store, and reads held against them.

use std::fmt;
use std::sync::Arc;

use base::Blob;

use super::range::{Keys, answers};
use super::run::Change;
use super::types::{KeyValue, Range, Reply};

/// What one revision changed, in the order in which it was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    pub revision: i64,
    /// Never empty.
    pub changes: Vec<Change>,
}

/// The total order of revisions: what a linearizable history came to, or what a simulator knows.
#[derive(Clone, Debug)]
pub struct Timeline {
    first: i64,
    /// Keys at `first` and at each revision after it.
    keys: Vec<Keys>,
    commits: Vec<Commit>,
}

/// A read that no member with a correct state could have answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadFault {
    /// The header names a revision that was never made.
    NeverMade { revision: i64, last: i64 },
    /// It read at a revision above the one that its own header names.
    Future { asked: i64, header: i64 },
    /// The revision existed, and held something else.
    Differs { revision: i64 },
    /// The answer is not one of a read.
    NoRead,
}

impl fmt::Display for ReadFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverMade { revision, last } => {
                write!(f, "the header says revision {revision}, but the last is {last}")
            }
            Self::Future { asked, header } => {
                write!(f, "read at revision {asked} while the header says {header}")
            }
            Self::Differs { revision } => write!(f, "revision {revision} held something else"),
            Self::NoRead => f.write_str("the answer is not one of a read"),
        }
    }
}

impl Default for Timeline {
    fn default() -> Self {
        Self::new()
    }
}

impl Timeline {
    /// A fresh store: no keys, revision 1.
    pub fn new() -> Self {
        Self::starting_at(1, Keys::default())
    }

    /// A store that held `keys` at `revision`. Older revisions are not known.
    pub fn with_keys(revision: i64, keys: impl IntoIterator<Item = KeyValue>) -> Self {
        let mut map = Keys::default();
        for kv in keys {
            map.insert(kv.key.clone(), Arc::new(kv));
        }
        Self::starting_at(revision, map)
    }

    pub(super) fn starting_at(first: i64, keys: Keys) -> Self {
        Self { first, keys: vec![keys], commits: Vec::new() }
    }

    /// Makes the next revision and returns its number.
    ///
    /// # Panics
    /// If `changes` is empty, or a put in it is not of the next revision.
    pub fn append(&mut self, changes: Vec<Change>) -> i64 {
        assert!(!changes.is_empty(), "a revision changes something");
        let revision = self.revision() + 1;
        let mut keys = self.latest().clone();
        for change in &changes {
            match change {
                Change::Put(kv) => {
                    assert!(kv.mod_revision == revision, "revisions have no gaps");
                    keys.insert(kv.key.clone(), kv.clone());
                }
                Change::Delete(key) => keys.remove(key),
            }
        }
        self.keys.push(keys);
        self.commits.push(Commit { revision, changes });
        revision
    }

    /// The oldest revision that is known.
    pub fn first(&self) -> i64 {
        self.first
    }

    /// The latest revision.
    pub fn revision(&self) -> i64 {
        self.first + self.commits.len() as i64
    }

    /// All commits after [`Self::first`], in order.
    pub fn commits(&self) -> &[Commit] {
        &self.commits
    }

    /// What `revision` changed; none for one that is not known.
    pub fn commit(&self, revision: i64) -> Option<&Commit> {
        let index = revision.checked_sub(self.first)?.checked_sub(1)?;
        self.commits.get(usize::try_from(index).ok()?)
    }

    /// A key at a revision; none where it was not there or the revision is not known.
    pub fn get(&self, key: &Blob, revision: i64) -> Option<&KeyValue> {
        self.at(revision)?.get(key).map(|kv| &**kv)
    }

    pub(super) fn latest(&self) -> &Keys {
        self.keys.last().expect("the first is always there")
    }

    pub(super) fn at(&self, revision: i64) -> Option<&Keys> {
        self.keys.get(usize::try_from(revision.checked_sub(self.first)?).ok()?)
    }

    /// Holds a read against the state at its revision: the one asked for, else the one that the
    /// header names (a serializable read may be old, but it must have been true at its time).
    /// What is older than [`Self::first`] passes.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check_read(&self, range: &Range, header: i64, reply: &Reply) -> Result<(), ReadFault> {
        let Reply::Range { kvs, count, more } = reply else { return Err(ReadFault::NoRead) };
        if header > self.revision() {
            return Err(ReadFault::NeverMade { revision: header, last: self.revision() });
        }
        if range.revision > header {
            return Err(ReadFault::Future { asked: range.revision, header });
        }
        let revision = if range.revision > 0 { range.revision } else { header };
        let Some(keys) = self.at(revision) else { return Ok(()) };
        if answers(keys, range, kvs, *count, *more) {
            Ok(())
        } else {
            Err(ReadFault::Differs { revision })
        }
    }
}
