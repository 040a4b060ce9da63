//! Settling: what was made since the last one goes from the maps into the index and onto the shelf,
//! and what compaction has ended goes out of them, on whatever thread has the time for it.

use crate::discard::Discard;
use crate::index::Index;
use crate::shelf::{Anew, Memory, Shelf, Volume};
use crate::store::Store;
use crate::values::{File, InMemory, IndexFile, Values, Version, Wanted};
use crate::view::View;
use crate::walk::{Step, Walk};
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::{LogIndex, planted};
use core::ops::Range;

/// What settles, as it stood when that began.
pub struct Settling(View);

/// What came of it.
pub struct Settled {
    merged: (Index, Shelf),
    /// Where the store stood when that began.
    begun: LogIndex,
    file: Option<IndexFile>,
    /// First revisions of what cannot be made anew.
    left: Vec<i64>,
}

impl Settling {
    /// Merges it, and leaves out what is not retained any more. Takes time in proportion to what
    /// is retained.
    pub fn merge(&self) -> Settled {
        let Self(view) = self;
        let merged = view.layers.merged(|key, versions, gone| view.retain(key, versions, gone));
        Settled { merged, begun: view.applied, file: None, left: Vec::new() }
    }

    /// The same for a store that has all in memory: what is worn is made anew.
    pub fn run(&self) -> Settled {
        let mut settled = self.merge();
        while let Some(worn) = settled.worn() {
            let mut kept = settled.kept(&worn);
            let records = core::iter::from_fn(|| kept.next(&settled, &mut InMemory).ok().flatten());
            let records = records.map(|version| version.0).collect();
            let volume = Memory::new(worn.first, worn.end, records);
            settled.renew(&worn, Volume::Memory(Arc::new(volume)));
        }
        settled
    }
}

/// Volumes that are to be made anew as one: they are more dead than alive, or small.
#[derive(Debug)]
pub struct Worn {
    anew: Anew,
    /// Of the interval that they hold together.
    pub first: i64,
    /// The revision behind it.
    pub end: i64,
}

/// Goes through the versions that are kept of worn volumes.
#[derive(Debug)]
pub struct Kept {
    walk: Walk,
    /// For a planted bug only.
    lost: bool,
}

/// What follows is not at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAtHand;

impl Kept {
    /// The first revision of what could not be read, or of what is still to be.
    fn reached(&self) -> i64 {
        self.walk.reached().0
    }

    /// The next one, in order of age; none behind the last.
    ///
    /// # Errors
    /// It is not at hand.
    pub fn next(
        &mut self,
        settled: &Settled,
        values: &mut dyn Values,
    ) -> Result<Option<Version>, NotAtHand> {
        let (index, shelf) = &settled.merged;
        loop {
            match self.walk.next(shelf, values) {
                Step::Missing => return Err(NotAtHand),
                Step::End => return Ok(None),
                Step::Version(record) if index.has(&record.kv.key, record.age()) => {
                    if core::mem::take(&mut self.lost) {
                        continue;
                    }
                    return Ok(Some(Version(record)));
                }
                Step::Version(_) => {}
            }
        }
    }
}

impl Settled {
    /// What is worth to be made anew.
    pub fn worn(&self) -> Option<Worn> {
        Some(self.interval(self.merged.1.worn(&self.left)?))
    }

    /// This file is to be made anew, if anything goes by it.
    pub fn anew(&self, file: &File) -> Option<Worn> {
        Some(self.interval(self.merged.1.volume(file)?))
    }

    fn interval(&self, anew: Anew) -> Worn {
        let (first, end, _) = self.merged.1.interval(&anew);
        Worn { anew, first, end }
    }

    /// What is retained of these revisions, without its values. Takes time in proportion to all
    /// that is.
    pub fn settled_between(&self, first: i64, end: i64) -> Vec<Wanted> {
        self.merged.0.between(first, end).map(|(_, facts)| Wanted::of(&facts)).collect()
    }

    /// What is kept of it.
    pub fn kept(&self, worn: &Worn) -> Kept {
        let lost = planted!(LivingCollected);
        Kept { walk: Walk::between((worn.first, 0), worn.end), lost }
    }

    fn renew(&mut self, worn: &Worn, volume: Volume) {
        self.merged.1 = self.merged.1.replaced(&worn.anew, volume);
    }

    /// This file is in the place of what is worn, if it holds all that is kept of it; otherwise
    /// that stays as it is: whether it is.
    pub fn renewed(&mut self, worn: &Worn, file: File) -> bool {
        let (_, _, kept) = self.merged.1.interval(&worn.anew);
        let whole = usize::try_from(file.versions) == Ok(kept) || planted!(LivingCollected);
        if whole {
            self.renew(worn, Volume::File(Arc::new(file)));
        } else {
            self.left.push(worn.first);
        }
        whole
    }

    /// What is worn stays as it is, since the versions of it from this one on cannot be read.
    pub fn left(&mut self, kept: &Kept) {
        self.left.push(kept.reached());
    }

    /// The files that it goes by.
    pub fn files(&self) -> impl Iterator<Item = &Arc<File>> {
        self.merged.1.in_files()
    }

    /// Where the store stood when the merge began: a name for its index.
    pub fn begun(&self) -> LogIndex {
        self.begun
    }

    /// The index as pieces, to be kept in a file.
    pub fn index_pieces(&self) -> impl Iterator<Item = &[u8]> {
        let mut pieces = self.merged.0.pieces().peekable();
        core::iter::from_fn(move || {
            let piece = pieces.next()?;
            let is_lost = planted!(IndexTailLost) && pieces.peek().is_none();
            (!is_lost).then_some(piece)
        })
    }

    /// The index is in this file.
    pub fn indexed(&mut self, file: IndexFile) {
        self.file = Some(file);
    }

    /// Shows every version that is in memory until [`Settled::store`].
    pub fn in_memory(&self, mut each: impl FnMut(&Version)) {
        let volumes = self.merged.1.in_memory();
        volumes.for_each(|(.., versions)| versions.iter().for_each(&mut each));
    }

    /// Has all that is in memory put into files of about so many bytes at most; values are read
    /// from there then.
    ///
    /// # Errors
    /// As `put`.
    pub fn store<E>(
        &mut self,
        bytes_max: usize,
        mut put: impl FnMut(i64, i64, &[Version]) -> Result<File, E>,
    ) -> Result<(), E> {
        let all: Vec<_> = self.merged.1.in_memory().collect();
        // What is behind a volume is not where it was once that is several files.
        for (at, dead, Range { start: first, end }, mut versions) in all.into_iter().rev() {
            if dead > 0 {
                versions.retain(|Version(record)| self.merged.0.has(&record.kv.key, record.age()));
            }
            let (mut files, mut from, mut rest) = (Vec::new(), first, &versions[..]);
            while from < end {
                let (some, left) = rest.split_at(within(rest, bytes_max));
                let to = left.first().map_or(end, |next| next.age().0);
                files.push(put(from, to, some)?);
                (from, rest) = (to, left);
            }
            self.merged.1 = self.merged.1.stored(at, files);
        }
        Ok(())
    }
}

/// How many of these are so many bytes, or the first revision of them alone: no revision is in two
/// files.
fn within(versions: &[Version], bytes_max: usize) -> usize {
    let mut bytes = 0;
    let ends = versions.windows(2).enumerate().find_map(|(at, two)| {
        bytes += two[0].bytes();
        let is_full = bytes + two[1].bytes() > bytes_max;
        (is_full && two[0].age().0 < two[1].age().0).then_some(at + 1)
    });
    ends.unwrap_or(versions.len())
}

/// A merge costs something for each version that is there already: it waits until what comes and
/// goes is this part of that.
const PART: usize = 8;

impl Store {
    /// As [`Store::settle_within`], whatever those versions take.
    pub fn settle(&mut self, least: usize) -> Option<Settling> {
        self.settle_within(least, usize::MAX)
    }

    /// Begins to settle what was made since the last time, once that, or what compaction has ended
    /// since, is `least` versions and worth a merge, or once what was made takes `bytes_max`. None
    /// while something settles. To be called between two entries, never while a job runs.
    pub fn settle_within(&mut self, least: usize, bytes_max: usize) -> Option<Settling> {
        assert!(least > 0, "nothing is not worth a merge");
        let (layers, worth) = (&self.view.layers, least.max(self.view.layers.base_len() / PART));
        let dead = layers.len() as u64 - self.view.versions;
        let is_large = layers.fresh_bytes() >= bytes_max;
        let is_due = layers.fresh_len() >= worth || dead >= worth as u64 || is_large;
        if layers.settling_since().is_some() || !is_due {
            return None;
        }
        Some(self.begin_to_settle())
    }

    /// As [`Store::settle`], though little is fresh: what has settled is to be written anew. None
    /// too before anything was applied since the last time, since files are named by that.
    pub fn settle_anew(&mut self) -> Option<Settling> {
        let layers = &self.view.layers;
        let goes_on = layers.base_begun().is_none_or(|begun| begun < self.view.applied);
        let may = layers.settling_since().is_none() && goes_on;
        may.then(|| self.begin_to_settle())
    }

    fn begin_to_settle(&mut self) -> Settling {
        self.view.layers.settle(self.view.revision, self.view.applied);
        Settling(self.view.clone())
    }

    /// Puts in place what came of [`Store::settle`], unless another state has come in the meantime.
    /// What goes is returned. To be called between two entries, never while a job runs.
    pub fn settled(&mut self, settled: Settled) -> Discard {
        let mut discard = Discard::default();
        let Settled { merged, begun, file, left: _ } = settled;
        if self.view.layers.settling_since() == Some(begun)
            || (planted!(SettledOfAnotherState) && self.view.layers.settling_since().is_some())
        {
            discard.push(self.view.layers.settled(merged, file));
            self.view.check();
        } else {
            discard.push(merged);
        }
        discard
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Command, Limits, PutRequest};
    use base::ClusterTime;

    fn put(store: &mut Store, n: u8) {
        let key = [n][..].into();
        let put = Command::Put(PutRequest { key, ..PutRequest::default() });
        store.apply(store.applied_index().next(), ClusterTime(1), &put);
    }

    #[test]
    fn what_was_merged_of_an_earlier_state_is_let_go_of() {
        let mut store = Store::new(Limits::default());
        (1..9).for_each(|n| put(&mut store, n));
        let early = store.settle(1).expect("something is fresh").run();
        // A checkpoint comes in its place, and begins to settle too.
        let mut later = Store::new(Limits::default());
        (1..12).for_each(|n| put(&mut later, n));
        let late = later.settle(1).expect("something is fresh").run();
        drop(later.settled(early));
        assert!(later.view.layers.settling_since().is_some(), "its own is still to come");
        drop(later.settled(late));
        assert!(later.view.layers.settling_since().is_none());
        assert_eq!((later.view.layers.base_len(), later.view.layers.fresh_len()), (11, 0));
        assert!(later.settle(1).is_none(), "nothing is left to settle");
        put(&mut later, 1);
        assert!(later.settle(2).is_none(), "one version is not worth it");
        assert!(later.settle(1).is_some() && later.settle(1).is_none(), "one at a time");
    }
}
