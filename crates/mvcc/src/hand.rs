//! What an entry or a read needs of versions that have left memory: what was fetched for it, and
//! what is still to be.

use crate::values::{Age, File, Values, Version, Wanted};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::planted;

/// Versions that somebody waits for, and somebody else reads.
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
            Self::Version(file, wanted) => (file.name(), false, wanted.age),
            Self::Versions(file, from) => (file.name(), true, *from),
        }
    }

    /// Reads all of them where whatever can be read is at hand.
    ///
    /// # Errors
    /// Which one cannot be, and why.
    pub fn read_all(all: Vec<Self>, values: &mut dyn Values) -> FetchOutcome {
        let read = |fetch: Self| match fetch.read(values) {
            Some(versions) => Ok((fetch, versions)),
            None => Err((fetch, values.take_trouble().expect("what can be read is read"))),
        };
        all.into_iter().map(read).collect()
    }

    /// Reads it from wherever versions are found; none when they are not at hand.
    pub fn read(&self, values: &mut dyn Values) -> Option<Vec<Version>> {
        match self {
            Self::Version(file, wanted) => Some(Vec::from([values.version(file, *wanted)?])),
            Self::Versions(file, from) => values.versions(file, *from),
        }
    }
}

/// What was read for each.
pub type Fetched = Vec<(Fetch, Vec<Version>)>;

/// That, or which one cannot be read, and why.
pub type FetchOutcome = Result<Fetched, (Fetch, String)>;

/// The file's name, whether it is a run, and where that begins.
type Key = ((i64, u64), bool, Age);

/// Of one entry or read: it gives what was fetched, and notes what is still to be.
#[derive(Debug, Default)]
pub struct Hand {
    there: BTreeMap<Key, Vec<Version>>,
    asked: BTreeMap<Key, Fetch>,
}

impl Hand {
    /// What is to be fetched.
    pub fn asked(&self) -> Vec<Fetch> {
        self.asked.values().cloned().collect()
    }

    /// Bytes of values that are to be fetched; none where nobody can say.
    pub fn asked_bytes(&self) -> Option<u64> {
        let bytes = self.asked.values().map(|fetch| match fetch {
            Fetch::Version(_, wanted) => Some(u64::from(wanted.bytes)),
            Fetch::Versions(..) => None,
        });
        bytes.sum()
    }

    /// Whether this was asked for and has not come.
    pub fn waits_for(&self, fetch: &Fetch) -> bool {
        self.asked.get(&fetch.key()) == Some(fetch)
    }

    /// Whether something was asked for and has not come.
    pub fn waits(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Takes what was fetched. What nobody waits for is let go of: it was for an entry that an
    /// installed checkpoint holds.
    pub fn take(&mut self, fetched: Fetched) {
        for (fetch, versions) in fetched {
            if self.asked.remove(&fetch.key()).is_some() {
                self.there.insert(fetch.key(), versions);
            }
        }
    }

    fn find(&mut self, fetch: &Fetch) -> Option<&[Version]> {
        let key = fetch.key();
        if !self.there.contains_key(&key) {
            self.asked.insert(key, fetch.clone());
            return None;
        }
        self.there.get(&key).map(Vec::as_slice)
    }
}

impl Values for Hand {
    fn version(&mut self, file: &Arc<File>, wanted: Wanted) -> Option<Version> {
        let found = self.find(&Fetch::Version(Arc::clone(file), wanted))?;
        let version = found.first().expect("one was asked for");
        let is_it = version.hash() == wanted.hash || planted!(HashUnchecked);
        assert!(is_it, "whoever fetches has held it against its hash");
        Some(version.clone())
    }

    fn versions(&mut self, file: &Arc<File>, from: Age) -> Option<Vec<Version>> {
        Some(self.find(&Fetch::Versions(Arc::clone(file), from))?.to_vec())
    }
}

/// Somebody's hand, and what is at hand for all.
pub struct Both<'a> {
    hand: &'a mut Hand,
    others: &'a mut dyn Values,
}

impl Hand {
    /// What is in `others` need not be fetched.
    pub fn beside<'a>(&'a mut self, others: &'a mut dyn Values) -> Both<'a> {
        Both { hand: self, others }
    }
}

impl Values for Both<'_> {
    fn version(&mut self, file: &Arc<File>, wanted: Wanted) -> Option<Version> {
        self.others.version(file, wanted).or_else(|| self.hand.version(file, wanted))
    }

    fn versions(&mut self, file: &Arc<File>, from: Age) -> Option<Vec<Version>> {
        self.others.versions(file, from).or_else(|| self.hand.versions(file, from))
    }

    fn take_trouble(&mut self) -> Option<String> {
        self.others.take_trouble()
    }
}
