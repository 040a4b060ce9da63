//! Versions that have left memory, as this room sees them: files by revision, which somebody else
//! reads.

use crate::index::Facts;
use crate::response_codec::{get_key_value, key_value};
use crate::types::KeyValue;
use crate::version::Record;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::codec::{DecodeError, Get, Put};
use base::{Blob, LogIndex};
use core::fmt;

/// Where a version stands among all: its revision, and its position within that.
pub type Age = (i64, u32);

/// What was retained of an interval of revisions, in a file. A view holds the files that it goes
/// by: a file may go once nobody holds it, and no manifest names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The first revision of the interval.
    pub first: i64,
    /// The one behind the last.
    pub end: i64,
    /// How often the interval was written before.
    pub generation: u64,
    /// Versions in it.
    pub versions: u64,
    /// Its length in bytes.
    pub len: u64,
    /// Of what is in it.
    pub digest: u64,
}

impl File {
    /// First revision and generation: no two files have both.
    pub fn name(&self) -> (i64, u64) {
        (self.first, self.generation)
    }
}

/// An index in a file, as [`crate::Settled::index_pieces`] gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexFile {
    /// Where the store stood when its merge began.
    pub index: LogIndex,
    /// Its length in bytes.
    pub len: u64,
    /// Of what is in it.
    pub digest: u64,
}

/// A version that somebody looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// Where it stands.
    pub age: Age,
    /// What it has to be.
    pub hash: u64,
    /// Bytes of its value.
    pub bytes: u32,
}

impl Wanted {
    /// The version with these facts.
    pub(crate) fn of(facts: &Facts) -> Self {
        Self { age: facts.age(), hash: facts.hash, bytes: facts.value_len }
    }
}

/// Where versions that have left memory are found. Whoever asks for one that is not at hand stops,
/// and is to be run again once it is; so an answer may be late and never another one.
pub trait Values {
    /// The version that is wanted, which stands in that file; none when it is not at hand.
    fn version(&mut self, file: &Arc<File>, wanted: Wanted) -> Option<Version>;

    /// The versions of a file from `from` on, in order: some of them, at least one as long as there
    /// are any. None when they are not at hand.
    fn versions(&mut self, file: &Arc<File>, from: Age) -> Option<Vec<Version>>;

    /// Why what was asked for last was not at hand, where it cannot be read at all. Said once.
    fn take_trouble(&mut self) -> Option<String> {
        None
    }
}

/// For whoever knows that all versions are in memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct InMemory;

impl Values for InMemory {
    fn version(&mut self, file: &Arc<File>, wanted: Wanted) -> Option<Version> {
        unreachable!("{wanted:?} is in {file:?}")
    }

    fn versions(&mut self, file: &Arc<File>, from: Age) -> Option<Vec<Version>> {
        unreachable!("what follows {from:?} is in {file:?}")
    }
}

/// Remembers whether something was not at hand.
pub(crate) struct Asked<'a> {
    pub values: &'a mut dyn Values,
    pub missed: bool,
}

impl Values for Asked<'_> {
    fn version(&mut self, file: &Arc<File>, wanted: Wanted) -> Option<Version> {
        let found = self.values.version(file, wanted);
        self.missed |= found.is_none();
        found
    }

    fn versions(&mut self, file: &Arc<File>, from: Age) -> Option<Vec<Version>> {
        let found = self.values.versions(file, from);
        self.missed |= found.is_none();
        found
    }

    fn take_trouble(&mut self) -> Option<String> {
        self.values.take_trouble()
    }
}

/// What stands around key and value in a version as it is kept.
const KEPT_BYTES: usize = 64;

/// One version of one key, shared with whoever has it.
#[derive(Clone, PartialEq, Eq)]
pub struct Version(pub(crate) Arc<Record>);

impl Version {
    /// Where it stands.
    pub fn age(&self) -> Age {
        self.0.age()
    }

    /// Of all that it is.
    pub fn hash(&self) -> u64 {
        self.0.hash()
    }

    /// Bytes of its key and its value.
    pub fn bytes(&self) -> usize {
        self.0.kv.key.len() + self.0.kv.value.len()
    }

    /// Bytes of it as it is kept, and of its length before it, at most.
    pub fn kept_bytes(&self) -> usize {
        self.bytes() + KEPT_BYTES
    }

    /// Appends it as it is kept.
    pub fn encode(&self, out: &mut Vec<u8>) {
        key_value(&self.0.kv, out);
        out.put_u32(self.0.sub);
        out.put_u8(u8::from(self.0.tombstone));
    }

    /// Reads what [`Version::encode`] wrote.
    ///
    /// # Errors
    /// Whatever no store writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Get::new(bytes);
        let kv = get_key_value(&mut input)?;
        let (sub, tombstone) = (input.u32()?, input.bool()?);
        input.finish()?;
        record(kv, sub, tombstone).map(Self)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({:?} of {:?})", self.0.age(), self.0.kv.key)
    }
}

/// The version that these are the parts of, if a command could have made it.
pub(crate) fn record(kv: KeyValue, sub: u32, tombstone: bool) -> Result<Arc<Record>, DecodeError> {
    if kv.key.is_empty() || kv.mod_revision < 2 {
        return Err(DecodeError::Invalid { what: "version" });
    }
    let lives = (2..=kv.mod_revision).contains(&kv.create_revision)
        && (1..=kv.mod_revision).contains(&kv.version);
    let dead = KeyValue { mod_revision: kv.mod_revision, ..KeyValue::default() };
    let is_dead = || KeyValue { key: Blob::default(), ..kv.clone() } == dead;
    if (tombstone && !is_dead()) || (!tombstone && !lives) {
        return Err(DecodeError::Invalid { what: "a version that no command makes" });
    }
    Ok(Arc::new(if tombstone {
        Record::tombstone(kv.key, kv.mod_revision, sub)
    } else {
        Record::new(kv, sub)
    }))
}
