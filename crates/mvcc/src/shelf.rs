//! Versions that have settled, in volumes by revision: each holds what was retained of an interval,
//! in the order in which it was made, and never changes. What compaction ends stays until more than
//! half of a volume is dead; then that one is made anew, alone. A volume is in memory or in a file.

mod memory;

use crate::values::{Age, File, Version};
use crate::version::Record;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::planted;
use core::ops::Range;
use core::slice;
pub(crate) use memory::Memory;

/// Where the versions of an interval are.
#[derive(Clone)]
pub(crate) enum Volume {
    Memory(Arc<Memory>),
    File(Arc<File>),
}

impl Volume {
    fn first(&self) -> i64 {
        match self {
            Self::Memory(volume) => volume.first(),
            Self::File(file) => file.first,
        }
    }

    fn end(&self) -> i64 {
        match self {
            Self::Memory(volume) => volume.end(),
            Self::File(file) => file.end,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Memory(volume) => volume.records().len(),
            Self::File(file) => usize::try_from(file.versions).expect("far below memory's size"),
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Memory(volume) => volume.bytes(),
            Self::File(file) => file.len,
        }
    }
}

#[derive(Clone)]
struct Shelved {
    volume: Volume,
    /// Records that the index knows no longer.
    dead: usize,
}

/// By rising revisions, without a gap between them.
#[derive(Clone, Default)]
pub(crate) struct Shelf(Arc<Vec<Shelved>>);

/// Where the versions of a revision are, dead ones among them.
pub(crate) enum Place<'a> {
    Here(&'a [Arc<Record>]),
    File(&'a Arc<File>),
}

/// Volumes that are to be made anew, as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Anew(pub Range<usize>);

/// So many neighbours of one size are made one, unless that would be larger than this: what settles
/// under load is written once then, and few are searched all the same.
const JOINED: usize = 4;
const JOINED_BYTES_MAX: u64 = 48 << 20;

impl Shelf {
    fn volumes_from(&self, revision: i64) -> slice::Iter<'_, Shelved> {
        let from = self.0.partition_point(|shelved| shelved.volume.end() <= revision);
        self.0[from..].iter()
    }

    /// Where all versions of one revision are.
    pub fn of(&self, revision: i64) -> Place<'_> {
        match self.volumes_from(revision).next().map(|shelved| &shelved.volume) {
            None => Place::Here(&[]),
            Some(Volume::Memory(volume)) => Place::Here(volume.of(revision)),
            Some(Volume::File(file)) => Place::File(file),
        }
    }

    /// Whether all versions of this revision and of later ones are in memory.
    pub fn is_in_memory(&self, revision: i64) -> bool {
        let in_memory = |shelved: &Shelved| matches!(shelved.volume, Volume::Memory(_));
        self.volumes_from(revision).all(in_memory)
    }

    /// Where the first versions at or behind this age are: those of one volume, one at least where
    /// they are in memory. None when there are none behind it.
    pub fn from(&self, age: Age) -> Option<Place<'_>> {
        self.volumes_from(age.0).find_map(|shelved| match &shelved.volume {
            Volume::Memory(volume) => {
                let records = volume.from(age);
                (!records.is_empty()).then_some(Place::Here(records))
            }
            Volume::File(file) => Some(Place::File(file)),
        })
    }

    /// All volumes, each with the number of those in it that the index knows no longer; none where
    /// one is in memory.
    pub fn files(&self) -> Option<impl Iterator<Item = (&File, usize)>> {
        let is_file = |shelved: &Shelved| matches!(shelved.volume, Volume::File(_));
        self.0.iter().all(is_file).then(|| {
            self.0.iter().filter_map(|shelved| match &shelved.volume {
                Volume::File(file) => Some((&**file, shelved.dead)),
                Volume::Memory(_) => None,
            })
        })
    }

    /// Of files by rising revisions; none where they leave a gap, or there are none.
    pub fn of_files(files: Vec<(File, usize)>) -> Option<Self> {
        let follows = |a: &(File, usize), b: &(File, usize)| a.0.end == b.0.first;
        let is_one = |(file, dead): &(File, usize)| {
            file.first < file.end && u64::try_from(*dead).is_ok_and(|dead| dead <= file.versions)
        };
        let shelved = |(file, dead)| Shelved { volume: Volume::File(Arc::new(file)), dead };
        let sound = !files.is_empty() && files.iter().all(is_one) && files.is_sorted_by(follows);
        sound.then(|| Self(Arc::new(files.into_iter().map(shelved).collect())))
    }

    /// The revisions that volumes are of, and how many versions of them the index knows.
    pub fn sums(&self) -> (Range<i64>, usize) {
        let known = self.0.iter().map(|shelved| shelved.volume.len() - shelved.dead).sum();
        let first = self.0.first().map_or(0, |first| first.volume.first());
        (first..self.0.last().map_or(0, |last| last.volume.end()), known)
    }

    /// With a volume of later revisions, if there is one. `gone` are those that the index knows
    /// since then no longer.
    pub fn with(&self, volume: Option<Memory>, gone: &[Age]) -> Self {
        let mut all = Vec::clone(&self.0);
        if let Some(volume) = volume {
            let end = all.last().map(|last| last.volume.end());
            assert!(
                end.is_none_or(|end| end == volume.first()),
                "no revision is in none or in two"
            );
            all.push(Shelved { volume: Volume::Memory(Arc::new(volume)), dead: 0 });
        }
        for (revision, _) in gone {
            let at = all.partition_point(|shelved| shelved.volume.end() <= *revision);
            let shelved = &mut all[at];
            shelved.dead += 1;
            assert!(shelved.dead <= shelved.volume.len(), "a version goes once");
        }
        Self(Arc::new(all))
    }

    /// What is worth to be made anew, from the last on: a volume that is more dead than alive, and
    /// neighbours of one size, so that few are searched, and a version is copied a logarithmic
    /// number of times. Not what holds one of these revisions.
    pub fn worn(&self, left: &[i64]) -> Option<Anew> {
        let all = &self.0;
        let is_left = |at: usize| {
            let volume = &all[at].volume;
            left.iter().any(|first| (volume.first()..volume.end()).contains(first))
        };
        let is_dead = |at: &usize| 2 * all[*at].dead > all[*at].volume.len() && !is_left(*at);
        if let Some(at) = (0..all.len()).rev().find(is_dead) {
            return Some(Anew(at..at + 1));
        }
        let bytes = |at: usize| {
            let Shelved { volume, dead } = &all[at];
            let part = volume.bytes() * (volume.len() - dead) as u64;
            part / (volume.len() as u64).max(1)
        };
        let from = all.len().checked_sub(JOINED)?;
        let these = (0..=from).rev().map(|from| from..from + JOINED).find(|these| {
            let (first, rest) = (bytes(these.start), these.clone().skip(1).map(bytes));
            let rest: u64 = rest.sum();
            let is_small = first <= 2 * rest && first + rest <= JOINED_BYTES_MAX;
            is_small && !these.clone().any(is_left)
        });
        these.map(Anew)
    }

    /// Where the versions stand that are to be made anew, and how many of them are kept.
    pub fn interval(&self, Anew(these): &Anew) -> (i64, i64, usize) {
        let all = &self.0[these.clone()];
        let (first, last) = (&all[0], &all[all.len() - 1]);
        let kept = all.iter().map(|shelved| shelved.volume.len() - shelved.dead).sum();
        (first.volume.first(), last.volume.end(), kept)
    }

    /// With this one in the place of those.
    pub fn replaced(&self, Anew(these): &Anew, volume: Volume) -> Self {
        let mut all = Vec::clone(&self.0);
        let (first, end, kept) = self.interval(&Anew(these.clone()));
        assert_eq!((volume.first(), volume.end()), (first, end), "it takes their place");
        let counted = volume.len() == kept;
        assert!(counted || planted!(LivingCollected), "the dead are counted");
        all.splice(these.clone(), [Shelved { volume, dead: 0 }]);
        Self(Arc::new(all))
    }

    /// With these files in the place of the volume at `at`, which is in memory: they hold what the
    /// index knows of it.
    pub fn stored(&self, at: usize, files: Vec<File>) -> Self {
        let mut all = Vec::clone(&self.0);
        let Shelved { volume: old, dead } = &all[at];
        assert!(matches!(old, Volume::Memory(_)), "what is in a file stays there");
        assert!(files.is_sorted_by(|a, b| a.end == b.first), "no revision is in none or in two");
        let (first, end) = (files.first().map(|file| file.first), files.last().map(|f| f.end));
        let versions: u64 = files.iter().map(|file| file.versions).sum();
        let held = (Some(old.first()), Some(old.end()), (old.len() - dead) as u64);
        assert_eq!((first, end, versions), held, "the files hold what was in memory");
        let volume = |file| Shelved { volume: Volume::File(Arc::new(file)), dead: 0 };
        all.splice(at..=at, files.into_iter().map(volume));
        Self(Arc::new(all))
    }

    /// The volume in this file.
    pub fn volume(&self, file: &File) -> Option<Anew> {
        let is_it = |shelved: &Shelved| match &shelved.volume {
            Volume::Memory(_) => false,
            Volume::File(held) => held.name() == file.name(),
        };
        self.0.iter().position(is_it).map(|at| Anew(at..at + 1))
    }

    pub fn in_files(&self) -> impl Iterator<Item = &Arc<File>> {
        self.0.iter().filter_map(|shelved| match &shelved.volume {
            Volume::Memory(_) => None,
            Volume::File(file) => Some(file),
        })
    }

    /// Volumes that are in memory: where they stand, how many records of them the index knows no
    /// longer, and what they hold.
    pub fn in_memory(&self) -> impl Iterator<Item = (usize, usize, Range<i64>, Vec<Version>)> {
        self.0.iter().enumerate().filter_map(|(at, shelved)| match &shelved.volume {
            Volume::Memory(volume) => {
                let versions = volume.records().iter().cloned().map(Version).collect();
                Some((at, shelved.dead, volume.first()..volume.end(), versions))
            }
            Volume::File(_) => None,
        })
    }
}

#[cfg(test)]
mod tests;
