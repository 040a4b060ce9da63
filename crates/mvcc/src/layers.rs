//! The versions of a view in layers by revision: those made since the last settling in maps, what
//! settles just now in maps that nobody changes, and all others in the index, with the versions
//! themselves on a shelf.
//!
//! A version is in one layer, and every one of a layer is later than all of the layer below. So
//! what is newest is found by asking the layers from above, and who writes touches small maps only.

mod fresh;
mod merged;

use crate::index::{Facts, Index};
use crate::made::Made;
use crate::map::Map;
use crate::shelf::{Memory, Place, Shelf};
use crate::values::{Age, File, IndexFile};
use crate::version::Record;
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::{Blob, LogIndex, planted};
use fresh::{Fresh, Top, added, hidden};
pub(crate) use merged::KeyRef;
use merged::{DEAD_RUN, Merged};

#[derive(Clone, Default)]
pub(crate) struct Layers {
    fresh: Fresh,
    /// None, or what is merged into the index.
    settling: Fresh,
    /// Where the store stood when that began.
    settles_since: Option<LogIndex>,
    base: Index,
    /// The file that the index is in, if it is in one.
    base_file: Option<IndexFile>,
    shelf: Shelf,
    /// The index holds all versions up to this revision, `settling` all up to the other.
    based: i64,
    settles: i64,
}

impl Layers {
    /// Versions in memory, dead ones that are still to be left out among them.
    pub fn len(&self) -> usize {
        self.base.len() + self.settling.len() + self.fresh.len()
    }

    /// Keys that live now.
    pub fn live(&self) -> u64 {
        let more = added(self.settling.tops.weight()) + added(self.fresh.tops.weight());
        self.base.live().checked_add_signed(more).expect("what is lost below lives there")
    }

    /// Keys that live now and are before `key`.
    pub fn live_before(&self, key: &Blob) -> u64 {
        let of = |layer: &Fresh| added(layer.tops.weight_before(key));
        let more = of(&self.settling) + of(&self.fresh);
        let below = self.base.live_before(key);
        below.checked_add_signed(more).expect("what is lost below lives there")
    }

    /// The newest version at or before `revision`, if it is retained.
    pub fn at(&self, key: &Blob, revision: i64) -> Option<Facts> {
        let fresh = self.fresh.at(key, revision).filter(|_| revision > self.settles);
        let settling = || self.settling.at(key, revision).filter(|_| revision > self.based);
        let here = fresh.or_else(settling);
        here.map(|record| record.facts()).or_else(|| self.base.at(key, revision))
    }

    /// Every retained version of the key, newest first.
    pub fn versions(&self, key: &Blob) -> Vec<Facts> {
        let mut all = Vec::new();
        self.fresh.versions(key, &mut all);
        self.settling.versions(key, &mut all);
        all.append(&mut self.base.versions(key));
        debug_assert!(all.is_sorted_by(|a, b| a.age() > b.age()), "each layer is later");
        all
    }

    /// Shows the versions of the key from revision `from` on, oldest first, while `each` wants
    /// them.
    pub fn each_from(&self, key: &Blob, from: i64, mut each: impl FnMut(&Facts) -> bool) {
        let mut goes_on = true;
        if from <= self.based {
            self.base.each_from(key, from, |facts| {
                goes_on = each(facts);
                goes_on
            });
        }
        let _ = goes_on
            && self.settling.each_from(key, from, &mut each)
            && self.fresh.each_from(key, from, &mut each);
    }

    /// Keys at or behind `key` in order; with `only_live` those that live now.
    pub fn iter_from<'a>(
        &'a self,
        key: &Blob,
        only_live: bool,
    ) -> impl Iterator<Item = KeyRef<'a>> + use<'a> {
        Merged::new(self, key, only_live)
    }

    /// A key behind this one, some way off if possible, up to which nothing lives: whoever takes
    /// from the front of a long line leaves a long run of ends behind.
    fn dead_upto<'a>(&'a self, key: &Blob) -> Option<&'a Blob> {
        let live = self.live_before(key);
        let upto = |tops: &'a Map<Blob, Top>| {
            let first = hidden(tops.weight_before(key));
            let nth = |n: u128| tops.select(first + n, hidden);
            let is_dead = |to: &&Blob| self.live_before(to) == live;
            // Twice as far each time, then half of that.
            let (mut low, mut high) = (0, DEAD_RUN as u128);
            while nth(high).filter(is_dead).is_some() {
                (low, high) = (high, high * 2);
            }
            while high - low > DEAD_RUN as u128 {
                let middle = low.midpoint(high);
                match nth(middle).filter(is_dead) {
                    Some(_) => low = middle,
                    None => high = middle,
                }
            }
            nth(low).filter(|_| low > 0)
        };
        upto(&self.fresh.tops).max(upto(&self.settling.tops))
    }

    /// Makes this version the newest of its key, which lives before it or not.
    pub fn push(&mut self, record: Arc<Record>, lives: bool) {
        self.check_new(&record);
        self.fresh.push(record, lives);
    }

    /// As [`Layers::push`], of keys that all live and go in order.
    pub fn push_run(&mut self, run: &[Arc<Record>]) {
        run.iter().for_each(|record| self.check_new(record));
        self.fresh.push_run(run);
    }

    /// Takes, where nothing is fresh, all versions of each of these keys, oldest first, and whether
    /// it lives below.
    pub fn load(&mut self, keys: &[(&[Arc<Record>], bool)]) {
        keys.iter().flat_map(|(versions, _)| *versions).for_each(|record| self.check_new(record));
        self.fresh.load(keys);
    }

    fn check_new(&self, record: &Record) {
        assert!(record.kv.mod_revision > self.settles, "what is made is later than what settles");
    }

    /// Takes what a revision made, which is behind all others.
    pub fn add_made(&mut self, revision: i64, made: Made) {
        self.fresh.add_made(revision, made);
    }

    /// Where the versions of a revision are, dead ones among them.
    pub fn of(&self, revision: i64) -> Place<'_> {
        if revision > self.settles {
            Place::Here(self.fresh.of(revision))
        } else if revision > self.based {
            Place::Here(self.settling.of(revision))
        } else {
            self.shelf.of(revision)
        }
    }

    /// Where the first versions at or behind this age are, dead ones among them: some of them, in
    /// order. None when there are none.
    pub fn from(&self, age: Age) -> Option<Place<'_>> {
        self.shelf.from(age).or_else(|| {
            let here = self.settling.from(age).or_else(|| self.fresh.from(age));
            here.map(Place::Here)
        })
    }

    /// No revision behind this one is here.
    pub fn last_made(&self) -> i64 {
        let here = self.fresh.last_made().or_else(|| self.settling.last_made());
        here.unwrap_or(self.based)
    }

    /// Whether all versions of this revision and of later ones are in memory.
    pub fn is_in_memory(&self, revision: i64) -> bool {
        revision > self.based || self.shelf.is_in_memory(revision)
    }

    /// Whether this version, which is on the shelf or in the maps, was left out by no merge.
    pub fn knows(&self, record: &Record) -> bool {
        record.kv.mod_revision > self.based || self.base.has(&record.kv.key, record.age())
    }

    /// Versions made since the last settling.
    pub fn fresh_len(&self) -> usize {
        self.fresh.len()
    }

    /// Bytes of keys and values of those.
    pub fn fresh_bytes(&self) -> usize {
        self.fresh.bytes
    }

    /// Versions in the index, dead ones among them.
    pub fn base_len(&self) -> usize {
        self.base.len()
    }

    /// What is fresh settles from now on, all of it made up to `revision`. What a merge of that
    /// gives goes to [`Layers::settled`].
    ///
    /// Panics when something settles already.
    pub fn settle(&mut self, revision: i64, applied: LogIndex) {
        assert!(self.settles_since.is_none(), "one layer settles at a time");
        assert!(self.settles <= revision, "revisions rise");
        let fresh = Fresh::behind(revision);
        self.settling = core::mem::replace(&mut self.fresh, fresh);
        assert!(self.settling.len() == 0 || self.settles < revision, "it was made since");
        (self.settles, self.settles_since) = (revision, Some(applied));
    }

    /// Where the store stood when that began which settles now.
    pub fn settling_since(&self) -> Option<LogIndex> {
        self.settles_since
    }

    /// The index and the shelf with what settles; `retain` leaves in the list of a key's versions,
    /// newest first, those that are kept, and tells of the others.
    pub fn merged(
        &self,
        retain: impl Fn(&[u8], &mut Vec<Facts>, &mut dyn FnMut(&Facts)),
    ) -> (Index, Shelf) {
        let keys = self.settling.tops.iter().map(|(key, _)| {
            let mut versions = Vec::new();
            self.settling.versions(key, &mut versions);
            (key.clone(), versions)
        });
        // What is new and dead at once is on no shelf yet.
        let (based, mut gone) = (self.based, Vec::<Age>::new());
        let index = self.base.merged(keys, |key, versions| {
            retain(key, versions, &mut |facts| {
                if facts.mod_revision <= based {
                    gone.push(facts.age());
                }
            });
        });
        let is_kept = |record: &&Arc<Record>| index.has(&record.kv.key, record.age());
        let made = self.settling.made_from(i64::MIN).flat_map(|(_, records)| records);
        let kept = made.filter(is_kept).cloned().collect();
        let (first, end) = (based + 1, self.settles + 1);
        let volume = (first < end).then(|| Memory::new(first, end, kept));
        let shelf = self.shelf.with(volume, &gone);
        (index, shelf)
    }

    /// Puts the index and the shelf in the place of what they were merged from; what goes.
    pub fn settled(
        &mut self,
        (base, shelf): (Index, Shelf),
        file: Option<IndexFile>,
    ) -> impl Send + Sync + 'static {
        assert!(self.settles_since.is_some(), "it was merged from what settles");
        let fresh = Fresh::behind(self.settles);
        let old = (
            core::mem::replace(&mut self.base, base),
            core::mem::replace(&mut self.shelf, shelf),
            core::mem::replace(&mut self.settling, fresh),
        );
        (self.based, self.settles_since) = (self.settles, None);
        self.base_file = file;
        if planted!(MadeLostByMerge) {
            self.fresh = Fresh::behind(self.settles);
        }
        old
    }

    /// The files that hold all that has settled, and that of the index; none where a part is in
    /// memory alone.
    pub fn files(&self) -> Option<(IndexFile, impl Iterator<Item = (&File, usize)>)> {
        let (file, files) = (self.base_file?, self.shelf.files()?);
        Some((file, files))
    }

    pub fn held_files(&self) -> impl Iterator<Item = &Arc<File>> {
        self.shelf.in_files()
    }

    /// Keys with a version of these revisions that has settled; goes through the whole index.
    pub fn settled_keys(&self, first: i64, end: i64) -> BTreeSet<Blob> {
        self.base.between(first, end).map(|(group, _)| group.key()).collect()
    }

    /// Where the store stood when the index was begun that is in a file.
    pub fn base_begun(&self) -> Option<LogIndex> {
        self.base_file.map(|file| file.index)
    }

    /// Every version that has not settled, in order of age.
    pub fn unsettled(&self) -> impl Iterator<Item = &Arc<Record>> {
        let layers = [&self.settling, &self.fresh].into_iter();
        layers.flat_map(|layer| layer.made_from(i64::MIN)).flat_map(|(_, records)| records)
    }

    /// What settled up to a revision, in an index and in files.
    pub fn of_files((base, file): (Index, IndexFile), shelf: Shelf, based: i64) -> Self {
        let (fresh, settling) = (Fresh::behind(based), Fresh::behind(based));
        let base_file = Some(file);
        let (settles, settles_since) = (based, None);
        Self { fresh, settling, settles_since, base, base_file, shelf, based, settles }
    }

    /// All of it, in order of age and made up to `revision`, in an index and on a shelf.
    pub fn of_records(records: Vec<Arc<Record>>, revision: i64) -> Self {
        let mut layers = Self::default();
        let mut by_key: Vec<&Arc<Record>> = records.iter().collect();
        by_key.sort_by(|a, b| a.kv.key.cmp(&b.kv.key).then_with(|| b.age().cmp(&a.age())));
        let keys = by_key.chunk_by(|a, b| a.kv.key == b.kv.key).map(|of_one| {
            (of_one[0].kv.key.clone(), of_one.iter().map(|record| record.facts()).collect())
        });
        layers.base = Index::build(keys);
        layers.shelf = Shelf::default().with(Some(Memory::new(0, revision + 1, records)), &[]);
        (layers.fresh, layers.settling) = (Fresh::behind(revision), Fresh::behind(revision));
        (layers.based, layers.settles) = (revision, revision);
        layers
    }
}

#[cfg(test)]
mod tests;
