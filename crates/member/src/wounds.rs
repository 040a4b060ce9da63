//! What cannot be read of value files, and what other members gave in its place.
//!
//! A block that does not verify costs its versions. Whoever meets it notes the block's revisions;
//! other members are asked for all that they retain of those; what they give is served at once,
//! held against the hash that the index has, and goes into a new file with the next merge.

use crate::ranges::Ranges;
use base::planted;
use mvcc::{Age, File, Version, Wanted};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// First revision and generation of a value file.
pub type Name = (i64, u64);

/// Bytes of versions that are kept here at most; more is asked for once these are in a file.
const GIVEN_BYTES_MAX: usize = 64 << 20;

#[derive(Default)]
struct Wound {
    /// Revisions that cannot be read; none where only what stands around them cannot.
    missing: Ranges,
    /// Of those, what was given, or is retained by nobody.
    given: Ranges,
    /// Nobody had the rest when there was room for nothing else: the others come first.
    put_off: bool,
}

impl Wound {
    fn is_whole(&self) -> bool {
        self.missing.iter().all(|range| self.given.covers(&range))
    }
}

#[derive(Default)]
struct All {
    wounds: BTreeMap<Name, Wound>,
    given: BTreeMap<Age, Version>,
    bytes: usize,
    /// Before this revision not all was given that was made, as some is compacted.
    compacted: i64,
}

impl All {
    /// Lets go of versions that are in the place of nothing.
    fn forget(&mut self) {
        let (wounds, bytes) = (&self.wounds, &mut self.bytes);
        self.given.retain(|age, version| {
            let stays = wounds.values().any(|wound| wound.given.has(age.0));
            *bytes -= if stays { 0 } else { version.kept_bytes() };
            stays
        });
    }

    fn given(&self, wanted: &Wanted) -> Option<&Version> {
        self.given.get(&wanted.age).filter(|version| version.hash() == wanted.hash)
    }
}

/// Called when damage is met that was not known, and when there is room again for what was given
/// of other damage.
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

    /// Damage that was met before is told at once.
    pub fn on_damage(&self, alarm: Alarm) {
        *self.alarm.lock().unwrap_or_else(PoisonError::into_inner) = Some(alarm);
        if !self.is_empty() {
            self.alarm();
        }
    }

    fn alarm(&self) {
        let alarm = self.alarm.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(alarm) = &*alarm {
            alarm();
        }
    }

    /// These revisions of a file cannot be read.
    pub(crate) fn note(&self, file: &File, revisions: Range<i64>) {
        assert!(!revisions.is_empty(), "a block holds something");
        let is_new = self.with(|all| {
            let wound = all.wounds.entry(file.name()).or_default();
            let known = wound.missing.covers(&revisions);
            wound.missing.add(revisions);
            !known
        });
        if is_new {
            self.alarm();
        }
    }

    /// What stands around the versions of a file is damaged, and these revisions are lost.
    pub(crate) fn note_around(&self, file: &File, lost: impl Iterator<Item = Range<i64>>) {
        self.with(|all| {
            let wound = all.wounds.entry(file.name()).or_default();
            lost.for_each(|revisions| wound.missing.add(revisions));
        });
        self.alarm();
    }

    /// Revisions that other members are to be asked for, the first at or behind `from`; none when
    /// there is enough to be put into files first. What was begun of a file is asked for whole: it
    /// goes into a file only then.
    pub fn next_ask(&self, from: i64) -> Option<Range<i64>> {
        self.with(|all| {
            let is_full = all.bytes >= GIVEN_BYTES_MAX;
            let wounds = all.wounds.values().filter(|wound| !is_full || !wound.given.is_empty());
            let open = wounds.filter_map(|wound| {
                let range = wound.missing.first_without(&wound.given, from)?;
                Some((wound.put_off, range.start, range.end))
            });
            open.min().map(|(_, start, end)| start..end)
        })
    }

    /// Nobody has what is asked for. Where what was begun takes all the room it is let go of, so
    /// that others can be mended first.
    pub fn in_vain(&self) {
        self.with(|all| {
            if all.bytes < GIVEN_BYTES_MAX {
                return;
            }
            for wound in all.wounds.values_mut().filter(|wound| !wound.is_whole()) {
                (wound.given, wound.put_off) = (Ranges::default(), true);
            }
            all.forget();
        });
    }

    /// Whether a file is damaged around its versions alone: it is made anew without others.
    pub fn has_bare(&self) -> bool {
        self.with(|all| all.wounds.values().any(|wound| wound.missing.is_empty()))
    }

    /// Whether anybody is to be asked for anything.
    pub fn asks(&self) -> bool {
        self.next_ask(i64::MIN).is_some()
    }

    /// Ranges of revisions that are known to be damaged and not in a new file yet; one at least of
    /// a file that is damaged otherwise.
    pub fn len(&self) -> usize {
        self.with(|all| all.wounds.values().map(|wound| wound.missing.len().max(1)).sum())
    }

    /// Whether anything is known to be damaged.
    pub fn is_empty(&self) -> bool {
        self.with(|all| all.wounds.is_empty())
    }

    /// Files of which something is damaged, and all was given of that which `wanted` says is
    /// needed of some revisions.
    pub(crate) fn mendable(&self, wanted: impl Fn(i64, i64) -> Vec<Wanted>) -> BTreeSet<Name> {
        self.with(|all| {
            let whole = |wound: &Wound| {
                let mut missing = wound.missing.iter();
                missing.all(|range| {
                    let needed = || wanted(range.start, range.end).into_iter();
                    let all_there = || needed().all(|wanted| all.given(&wanted).is_some());
                    wound.given.covers(&range) && (all_there() || planted!(MendedInPart))
                })
            };
            let names = all.wounds.iter().filter(|(_, wound)| whole(wound));
            names.map(|(name, _)| *name).collect()
        })
    }

    /// Takes what another member retains of these revisions, and of the one behind them. `wanted`
    /// is all that is retained of both here, where before `compacted` not all is: true once nothing
    /// of the revisions is missing that was. Nothing else is taken.
    pub fn give(
        &self,
        revisions: &Range<i64>,
        (wanted, compacted): (&[Wanted], i64),
        versions: Vec<Version>,
    ) -> bool {
        let wanted: BTreeMap<Age, u64> = wanted.iter().map(|w| (w.age, w.hash)).collect();
        self.with(|all| {
            let is_wanted = |version: &Version| wanted.get(&version.age()) == Some(&version.hash());
            for version in versions.into_iter().filter(is_wanted) {
                all.bytes += version.kept_bytes();
                if let Some(twice) = all.given.insert(version.age(), version) {
                    all.bytes -= twice.kept_bytes();
                }
            }
            let is_given = |(age, hash): (&Age, &u64)| {
                all.given.get(age).is_some_and(|version| version.hash() == *hash)
            };
            let mut of_these = wanted.range((revisions.start, 0)..(revisions.end, 0));
            let whole = of_these.all(is_given) || planted!(MendedInPart);
            if whole && !revisions.is_empty() {
                all.compacted = all.compacted.max(compacted);
                for Wound { missing, given, .. } in all.wounds.values_mut() {
                    let within = missing.iter().map(|range| {
                        range.start.max(revisions.start)..range.end.min(revisions.end)
                    });
                    within.for_each(|range| given.add(range));
                }
            }
            whole && !revisions.is_empty()
        })
    }

    /// What was given in the place of this one.
    pub(crate) fn given(&self, wanted: Wanted) -> Option<Version> {
        self.with(|all| all.given(&wanted).cloned())
    }

    /// Versions from `from` on of damaged revisions that were given, and where those end: of the
    /// first behind `from`, as there is nothing sound before.
    /// None where something was not given, or `is_all` is asked for and what is compacted was not.
    pub(crate) fn run(&self, file: &File, from: Age, is_all: bool) -> Option<(Vec<Version>, i64)> {
        self.with(|all| {
            if is_all && from.0.max(0) < all.compacted {
                return None;
            }
            let Wound { missing, given, .. } = all.wounds.get(&file.name())?;
            let start = missing.at_or_behind(from.0)?.start.max(from.0);
            let end = given.at_or_behind(start).filter(|given| given.start <= start)?.end;
            let versions = all.given.range(from..(end, 0)).map(|(_, version)| version.clone());
            Some((versions.collect(), end))
        })
    }

    /// Forgets those of files that are gone. There is room for more then.
    pub(crate) fn retain(&self, kept: &BTreeSet<Name>) {
        let is_less = self.with(|all| {
            let bytes_before = all.bytes;
            all.wounds.retain(|name, _| kept.contains(name));
            all.forget();
            all.bytes < bytes_before
        });
        if is_less && self.asks() {
            self.alarm();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Blob, ClusterTime, LogIndex};
    use mvcc::{Command, InMemory, Limits, PutRequest, Store};
    use std::sync::atomic::{AtomicUsize, Ordering};

    const LARGE: usize = 1 << 20;

    fn file(revisions: Range<i64>) -> File {
        let Range { start: first, end } = revisions;
        File { first, end, generation: 1, versions: 1, len: 1, digest: 0 }
    }

    /// Of revisions 2, 3, and so on, each of a key of its own.
    fn versions(count: u64) -> Vec<Version> {
        let mut store = Store::new(Limits::default());
        let value = Blob::from(vec![7; LARGE]);
        for n in 1..=count {
            let (key, value) = (Blob::from(&n.to_be_bytes()[..]), value.clone());
            let put = Command::Put(PutRequest { key, value, ..PutRequest::default() });
            store.apply(LogIndex(n), ClusterTime(n), &put);
        }
        store.view().versions_between((2, 0), 2 + count as i64, usize::MAX, &mut InMemory).0
    }

    fn wanted(versions: &[Version]) -> Vec<Wanted> {
        let wanted = |v: &Version| Wanted { age: v.age(), hash: v.hash(), bytes: LARGE as u32 };
        versions.iter().map(wanted).collect()
    }

    #[test]
    fn what_does_not_fit_is_asked_for_once_there_is_room_and_what_was_begun_is_ended() {
        let (wounds, alarms) = (Wounds::default(), Arc::new(AtomicUsize::new(0)));
        let rung = Arc::clone(&alarms);
        wounds.on_damage(Box::new(move || {
            rung.fetch_add(1, Ordering::Relaxed);
        }));
        let (first, second) = (file(2..90), file(90..100));
        wounds.note(&first, 2..80);
        wounds.note(&second, 90..95);
        wounds.note(&second, 93..95);
        let heard = || alarms.load(Ordering::Relaxed);
        assert_eq!((heard(), wounds.len()), (2, 2), "what is known is told once");
        let all = versions(78);
        let (some, rest) = all.split_at(70);
        assert!(wounds.give(&(2..72), (&wanted(some), 0), some.to_vec()));
        assert_eq!(wounds.next_ask(i64::MIN), Some(72..80), "it goes into a file only whole");
        assert_eq!(wounds.next_ask(80), None, "there is enough");
        assert!(wounds.mendable(|_, _| Vec::new()).is_empty());
        // Not all of it, and another one in the place of what is needed.
        assert!(!wounds.give(&(72..80), (&wanted(rest), 0), rest[1..].to_vec()));
        assert!(!wounds.give(&(72..80), (&wanted(rest), 0), some.to_vec()));
        assert!(wounds.give(&(72..80), (&wanted(rest), 0), rest.to_vec()));
        let needed = |_, _| wanted(&all);
        assert_eq!(wounds.mendable(needed), BTreeSet::from([first.name()]));
        assert!(!wounds.asks() && heard() == 2);
        let (given, end) = wounds.run(&first, (2, 0), true).expect("all of it");
        assert_eq!((given, end), (all.clone(), 80));
        assert!(wounds.run(&first, (80, 0), true).is_none(), "nothing is missing there");
        wounds.retain(&BTreeSet::from([second.name()]));
        assert_eq!((heard(), wounds.next_ask(i64::MIN)), (3, Some(90..95)));
        assert!(wounds.given(wanted(&all)[0]).is_none(), "it is in a file");
    }

    #[test]
    fn what_was_compacted_where_it_was_given_is_given_to_those_only_who_know_of_it() {
        let (wounds, file) = (Wounds::default(), file(2..10));
        wounds.note(&file, 2..10);
        let all = versions(8);
        let kept = &all[3..];
        assert!(wounds.give(&(2..10), (&wanted(kept), 6), kept.to_vec()));
        assert!(wounds.run(&file, (5, 0), true).is_none());
        assert_eq!(wounds.run(&file, (5, 0), false), Some((kept.to_vec(), 10)));
        assert_eq!(wounds.run(&file, (6, 0), true), Some((all[4..].to_vec(), 10)));
    }

    #[test]
    fn a_file_of_which_only_what_stands_around_versions_is_damaged_is_made_anew_alone() {
        let (wounds, file) = (Wounds::default(), file(2..10));
        wounds.note_around(&file, std::iter::empty());
        assert!(!wounds.is_empty() && !wounds.asks() && wounds.len() == 1);
        assert_eq!(wounds.mendable(|_, _| unreachable!()), BTreeSet::from([file.name()]));
    }
}
