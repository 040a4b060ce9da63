//! What cannot be read of value files, and what other members gave in its place.
//!
//! A block that does not verify costs its versions. Whoever meets it notes the block's revisions;
//! other members are asked for all that they retain of those; what they give is served at once,
//! held against the hash that the index has, and goes into a new file with the next merge.

use base::planted;
use mvcc::{Age, File, Values, Version, Wanted};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// First revision and generation of a value file.
pub type Name = (i64, u64);

/// Bytes of versions that are kept here at most; more is asked for once these are in a file.
const GIVEN_BYTES_MAX: usize = 64 << 20;

#[derive(Default)]
struct Wound {
    /// Revisions that are missing, by the first of them, and whether all of it was given.
    missing: BTreeMap<i64, (i64, bool)>,
}

#[derive(Default)]
struct All {
    wounds: BTreeMap<Name, Wound>,
    given: BTreeMap<Age, Version>,
    bytes: usize,
}

impl All {
    fn given(&self, wanted: &Wanted) -> Option<&Version> {
        self.given.get(&wanted.age).filter(|version| version.hash() == wanted.hash)
    }
}

/// Called when damage is met that was not known.
pub type Alarm = Box<dyn Fn() + Send + Sync>;

/// Clones are one.
#[derive(Clone, Default)]
pub struct Wounds {
    all: Arc<Mutex<All>>,
    alarm: Arc<Mutex<Option<Alarm>>>,
}

impl Wounds {
    fn with<T>(&self, change: impl FnOnce(&mut All) -> T) -> T {
        change(&mut self.all.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn on_damage(&self, alarm: Alarm) {
        *self.alarm.lock().unwrap_or_else(PoisonError::into_inner) = Some(alarm);
    }

    /// These revisions of a file cannot be read.
    pub(crate) fn note(&self, file: &File, revisions: Range<i64>) {
        assert!(!revisions.is_empty(), "a block holds something");
        let is_new = self.with(|all| {
            let missing = &mut all.wounds.entry(file.name()).or_default().missing;
            let known = missing.get(&revisions.start).is_some_and(|(end, _)| *end >= revisions.end);
            if !known {
                missing.insert(revisions.start, (revisions.end, false));
            }
            !known
        });
        let alarm = self.alarm.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(alarm) = alarm.as_ref().filter(|_| is_new) {
            alarm();
        }
    }

    /// Revisions that other members are to be asked for; none when there is enough to be put into
    /// files first.
    pub fn asks(&self) -> Vec<Range<i64>> {
        self.with(|all| {
            if all.bytes >= GIVEN_BYTES_MAX {
                return Vec::new();
            }
            let missing = all.wounds.values().flat_map(|wound| &wound.missing);
            let open = missing.filter(|(_, (_, is_given))| !is_given);
            let asks: BTreeSet<(i64, i64)> = open.map(|(first, (end, _))| (*first, *end)).collect();
            asks.into_iter().map(|(first, end)| first..end).collect()
        })
    }

    /// Blocks that are known to be damaged and not in a new file yet.
    pub fn len(&self) -> usize {
        self.with(|all| all.wounds.values().map(|wound| wound.missing.len()).sum())
    }

    /// Whether anything is known to be damaged.
    pub fn is_empty(&self) -> bool {
        self.with(|all| all.wounds.is_empty())
    }

    /// Files of which something is missing, and all was given of that which `wanted` says is
    /// needed of some revisions.
    pub(crate) fn mendable(&self, wanted: impl Fn(i64, i64) -> Vec<Wanted>) -> BTreeSet<Name> {
        self.with(|all| {
            let whole = |wound: &Wound| {
                let mut missing = wound.missing.iter();
                missing.all(|(first, (end, is_given))| {
                    let all_there = || wanted(*first, *end).iter().all(|w| all.given(w).is_some());
                    *is_given && (all_there() || planted!(MendedInPart))
                })
            };
            let names = all.wounds.iter().filter(|(_, wound)| whole(wound));
            names.map(|(name, _)| *name).collect()
        })
    }

    /// Takes what another member retains of these revisions. `wanted` is all that is retained of
    /// them here: true once none of that is missing. Nothing else is taken.
    pub fn give(&self, revisions: &Range<i64>, wanted: &[Wanted], versions: Vec<Version>) -> bool {
        self.with(|all| {
            let is_wanted = |version: &Version| {
                let has = |w: &Wanted| (w.age, w.hash) == (version.age(), version.hash());
                wanted.iter().any(has)
            };
            for version in versions.into_iter().filter(is_wanted) {
                all.bytes += version.bytes();
                if let Some(twice) = all.given.insert(version.age(), version) {
                    all.bytes -= twice.bytes();
                }
            }
            let all_there = wanted.iter().all(|w| all.given(w).is_some());
            let whole = all_there || planted!(MendedInPart);
            let missing = all.wounds.values_mut().flat_map(|wound| &mut wound.missing);
            let these = missing
                .filter(|(first, (end, _))| **first == revisions.start && *end == revisions.end);
            these.for_each(|(_, (_, is_given))| *is_given |= whole);
            whole
        })
    }

    /// What was given in the place of this one.
    pub(crate) fn given(&self, wanted: Wanted) -> Option<Version> {
        self.with(|all| all.given(&wanted).cloned())
    }

    /// Versions from `from` on of damaged revisions that were given, and where those end: of the
    /// first behind `from`, as there is nothing sound before.
    fn run(&self, file: &File, from: Age) -> Option<(Vec<Version>, i64)> {
        self.with(|all| {
            let missing = &all.wounds.get(&file.name())?.missing;
            let next = missing.iter().find(|(_, (end, _))| *end > from.0);
            let (_, (end, _)) = next.filter(|(_, (_, is_given))| *is_given)?;
            let given = all.given.range(from..(*end, 0)).map(|(_, version)| version.clone());
            Some((given.collect(), *end))
        })
    }

    /// Forgets those of files that are gone.
    pub(crate) fn retain(&self, kept: &BTreeSet<Name>) {
        self.with(|all| {
            all.wounds.retain(|name, _| kept.contains(name));
            let (wounds, bytes) = (&all.wounds, &mut all.bytes);
            all.given.retain(|age, version| {
                let missing = wounds.values().flat_map(|wound| &wound.missing);
                let stays = { missing }.any(|(first, (end, _))| (*first..*end).contains(&age.0));
                *bytes -= if stays { 0 } else { version.bytes() };
                stays
            });
        });
    }
}

/// Reads files with what was given in the place of their damage: for whoever knows by the index
/// what is to be there.
pub(crate) struct Mended<'a, V> {
    pub values: &'a mut V,
    pub wounds: &'a Wounds,
}

impl<V: Values> Values for Mended<'_, V> {
    fn version(&mut self, file: &Arc<File>, wanted: Wanted) -> Option<Version> {
        self.values.version(file, wanted)
    }

    fn versions(&mut self, file: &Arc<File>, mut from: Age) -> Option<Vec<Version>> {
        loop {
            if let Some(found) = self.values.versions(file, from) {
                return Some(found);
            }
            let (given, end) = self.wounds.run(file, from)?;
            let _known = self.values.take_trouble();
            if !given.is_empty() || end >= file.end {
                return Some(given);
            }
            from = (end, 0);
        }
    }

    fn take_trouble(&mut self) -> Option<String> {
        self.values.take_trouble()
    }
}
