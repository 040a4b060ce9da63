//! What a long entry needs of versions that have left memory: what was fetched for it, and what is
//! still to be.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use mvcc::{Age, File, Values, Version, Wanted};

/// Versions that an entry waits for: the shell reads them and says so with
/// [`crate::Event::Fetched`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// One version of a file.
    Version(Arc<File>, Wanted),
    /// Some that follow one another.
    Versions(Arc<File>, Age),
}

impl Fetch {
    fn key(&self) -> Key {
        match self {
            Self::Version(file, wanted) => (file.first, file.generation, false, wanted.age),
            Self::Versions(file, from) => (file.first, file.generation, true, *from),
        }
    }

    /// Reads it from wherever versions are found; none when they cannot be read.
    pub fn read(&self, values: &mut dyn Values) -> Option<Vec<Version>> {
        match self {
            Self::Version(file, wanted) => Some(Vec::from([values.version(file, *wanted)?])),
            Self::Versions(file, from) => values.versions(file, *from),
        }
    }
}

/// First revision and generation of the file, whether it is a run, and where that begins.
type Key = (i64, u64, bool, Age);

/// Of one entry.
#[derive(Debug, Default)]
pub(crate) struct Hand {
    there: BTreeMap<Key, Vec<Version>>,
    asked: BTreeMap<Key, Fetch>,
}

impl Hand {
    /// What is to be fetched.
    pub fn asked(&self) -> Vec<Fetch> {
        self.asked.values().cloned().collect()
    }

    /// Whether something was asked for and has not come.
    pub fn waits(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Takes what was fetched. What nobody waits for is let go of: it was for an entry that an
    /// installed checkpoint holds.
    pub fn take(&mut self, fetched: Vec<(Fetch, Vec<Version>)>) {
        for (fetch, versions) in fetched {
            if self.asked.remove(&fetch.key()).is_some() {
                self.there.insert(fetch.key(), versions);
            }
        }
    }

    fn find(&mut self, fetch: Fetch) -> Option<&[Version]> {
        let key = fetch.key();
        if !self.there.contains_key(&key) {
            self.asked.insert(key, fetch);
            return None;
        }
        self.there.get(&key).map(Vec::as_slice)
    }
}

impl Values for Hand {
    fn version(&mut self, file: &Arc<File>, wanted: Wanted) -> Option<Version> {
        let found = self.find(Fetch::Version(Arc::clone(file), wanted))?;
        let version = found.first().expect("one was asked for");
        assert_eq!(version.hash(), wanted.hash, "whoever fetches has held it against its hash");
        Some(version.clone())
    }

    fn versions(&mut self, file: &Arc<File>, from: Age) -> Option<Vec<Version>> {
        Some(self.find(Fetch::Versions(Arc::clone(file), from))?.to_vec())
    }
}
