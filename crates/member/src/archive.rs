//! The files of what has settled, and who goes by them.
//!
//! A file is written once and goes once nobody needs it: neither the newest checkpoint names it,
//! nor does a view go by it, a merge or a transfer. So whoever reads finds what it goes by.

use crate::cache::Cache;
use crate::shelf::{self, Shared, Shelf, Tables};
use crate::wounds::{Name, Wounds};
use base::{Blob, LogIndex, planted};
use mvcc::{File, Settled, Settling, View};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::{Home, StoreError};

#[derive(Default)]
struct Held {
    /// All that somebody may go by.
    files: Vec<Arc<File>>,
    /// Of the newest checkpoint that is durable.
    named: BTreeSet<Name>,
    /// Indexes that were written since the one that it names, and that one: they have rising places
    /// in the log.
    indexes: BTreeSet<LogIndex>,
}

impl Held {
    /// Forgets the files that nobody goes by: whoever goes by one holds it too.
    fn prune(&mut self) {
        let Self { files, named, .. } = self;
        files.sort_unstable_by_key(|file| (file.name(), Arc::as_ptr(file)));
        files.dedup_by(|a, b| Arc::ptr_eq(a, b));
        let held = |file: &Arc<File>| Arc::strong_count(file) > 1 && !planted!(HeldFileRemoved);
        let is_named =
            |file: &Arc<File>| named.contains(&file.name()) && !planted!(NamedFileRemoved);
        files.retain(|file| held(file) || is_named(file));
    }
}

/// Clones are one.
#[derive(Clone)]
pub struct Archive {
    shared: Shared,
    held: Arc<Mutex<Held>>,
    /// Whoever makes a checkpoint for a peer: two would be one file.
    making: Arc<Mutex<()>>,
    /// Nothing more is to be merged.
    ended: Arc<AtomicBool>,
    loading: Arc<Loading>,
}

/// How far a load is.
#[derive(Default)]
struct Loading {
    read: AtomicU64,
    of: AtomicU64,
}

impl Archive {
    /// Of a member that holds no more than so many bytes of values in memory, beside those that
    /// have not settled.
    pub fn new(cache_bytes: usize) -> Self {
        let (tables, cache) = (Tables::default(), Cache::new(cache_bytes));
        let shared = Shared { tables, cache, wounds: Wounds::default() };
        let (held, making, ended) = (Arc::default(), Arc::default(), Arc::default());
        Self { shared, held, making, ended, loading: Arc::default() }
    }

    /// Bytes of the index that were read so far, and all of them; zeros before and without one.
    pub fn loading(&self) -> (u64, u64) {
        (self.loading.read.load(Ordering::Relaxed), self.loading.of.load(Ordering::Relaxed))
    }

    /// Counts the pieces of an index of so many bytes.
    pub(crate) fn counting<'a>(
        &'a self,
        of: u64,
        pieces: impl Iterator<Item = Blob> + 'a,
    ) -> impl Iterator<Item = Blob> + 'a {
        self.loading.read.store(0, Ordering::Relaxed);
        self.loading.of.store(of, Ordering::Relaxed);
        pieces.inspect(|piece| {
            self.loading.read.fetch_add(piece.len() as u64, Ordering::Relaxed);
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut Held) -> T) -> T {
        change(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The member stops: a merge under way breaks off.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// What is at hand without a look at a file.
    pub fn cache(&self) -> Cache {
        self.shared.cache.clone()
    }

    /// One more reader of the files.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn reader(&self, home: &dyn Home) -> Result<Shelf, StoreError> {
        Shelf::open(home, &self.shared)
    }

    /// What is damaged, and what others gave in its place.
    pub fn wounds(&self) -> Wounds {
        self.shared.wounds.clone()
    }

    /// The files that somebody goes by, in order.
    pub(crate) fn files(&self) -> Vec<Arc<File>> {
        let mut files = self.with(|held| {
            held.prune();
            held.files.clone()
        });
        files.dedup_by_key(|file| file.name());
        files
    }

    /// Bytes of files that only the newest checkpoint names, and of all.
    pub fn superseded(&self) -> (u64, u64) {
        self.with(|held| {
            held.prune();
            let old = held.files.iter().filter(|file| Arc::strong_count(file) == 1);
            let bytes = held.files.iter().map(|file| file.len).sum();
            (old.map(|file| file.len).sum(), bytes)
        })
    }

    /// How many those are.
    pub fn count(&self) -> usize {
        self.files().len()
    }

    /// Bytes of those.
    pub fn bytes(&self) -> u64 {
        self.files().iter().map(|file| file.len).sum()
    }

    /// The place in the log of the index that a start would go by.
    pub(crate) fn named_index(&self) -> Option<LogIndex> {
        self.with(|held| held.indexes.first().copied())
    }

    /// What readers of the files share.
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// A start goes by what this view does, and its checkpoint is the newest. What no checkpoint
    /// names goes: a life before has left it.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) fn begin(&self, home: &dyn Home, view: &View) -> Result<(), StoreError> {
        self.hold(view);
        self.names(view);
        shelf::clean(home)?;
        self.tidy(home)
    }

    /// Held while a checkpoint is made for a peer.
    pub(crate) fn making(&self) -> MutexGuard<'_, ()> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this view goes by stays for as long as it does.
    pub(crate) fn hold(&self, view: &View) {
        let files: Vec<_> = view.held_files().cloned().collect();
        self.with(|held| held.files.extend(files));
    }

    /// The newest checkpoint is durable, and is of this view.
    pub(crate) fn names(&self, view: &View) {
        let (index, files) = view.files().map_or((None, Vec::new()), |(i, f)| (Some(i.index), f));
        self.with(|held| {
            held.named = files.iter().map(File::name).collect();
            if let Some(index) = index {
                held.indexes = held.indexes.split_off(&index);
                held.indexes.insert(index);
                if planted!(NamedIndexRemoved) {
                    held.indexes.remove(&index);
                }
            }
        });
    }

    /// Merges what settles and puts all of it into files. Durable on return; takes time in
    /// proportion to what is retained. Only one at a time, and [`Archive::tidy`] not beside it.
    ///
    /// # Errors
    /// Those of the disk, and the end of the member: nothing has happened then.
    pub fn settle(&self, home: &dyn Home, settling: &Settling) -> Result<Settled, StoreError> {
        let settled = shelf::settle(home, settling, &self.shared, &|| !self.has_ended());
        let settled = settled.inspect_err(|_| {
            // What was written before it failed is of no use. If that cannot go now it goes later.
            let _ = self.tidy(home);
        })?;
        self.with(|held| {
            held.files.extend(settled.files().cloned());
            held.indexes.insert(settled.begun());
        });
        Ok(settled)
    }

    /// Removes the files that nobody goes by any more.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn tidy(&self, home: &dyn Home) -> Result<(), StoreError> {
        let (names, indexes) = self.with(|held| {
            held.prune();
            let Held { files, named, indexes } = held;
            let files = files.iter().map(|file| file.name());
            let named = named.iter().filter(|_| !planted!(NamedFileRemoved));
            (files.chain(named.copied()).collect(), indexes.clone())
        });
        self.shared.wounds.retain(&names);
        shelf::keep(home, &names, &indexes, &self.shared.tables)
    }
}
