//! A watcher's place in the history.
//!
//! Nothing is queued for a watcher: what it has not seen is read from a picture of the store when
//! there is room for it, so one that falls behind is simply a cursor further back.

mod batch;
mod search;
mod wanted;

use base::planted;
pub use batch::{Batch, Part, Place};
use mvcc::{Error, Recent, Values, View};
pub(crate) use search::Search;
pub(crate) use wanted::KEY_VALUE_OVERHEAD_BYTES;
pub use wanted::{Bounds, Wanted};

/// One watcher: what it wants, and the first revision it has not seen.
#[derive(Clone, Debug)]
pub struct Cursor {
    wanted: Wanted,
    next: i64,
    /// It has been up to date once: what it gets from then on is live.
    synced: bool,
}

impl Cursor {
    /// A watcher of `wanted` from revision `start` on; 0: of what comes after `current`, the
    /// store's revision now.
    pub fn new(wanted: Wanted, start: i64, current: i64) -> Self {
        assert!(start >= 0 && current >= 0, "revisions are counted from 0");
        let live = start == 0;
        let next = if live { current + 1 } else { start };
        let next = next.saturating_add(i64::from(planted!(CatchUpSkips)));
        Self { wanted, next, synced: live || start > current }
    }

    /// The first revision it has not seen.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// It has seen everything up to `revision`.
    pub fn in_sync(&self, revision: i64) -> bool {
        self.next > revision
    }

    /// It may be promised that nothing at or below `revision`, the store's, will follow: it has
    /// seen all, and does not wait for a revision of the future.
    pub fn may_promise(&self, revision: i64) -> bool {
        self.next == revision + 1
    }

    /// What it sees next of `view`; none when nothing that was looked at concerns it. Moves the
    /// cursor, at most by so many events or one revision, so it may have to be asked again. All is
    /// in memory.
    ///
    /// # Errors
    /// `Compacted` when what it should see next is gone.
    #[cfg(test)]
    pub fn advance(&mut self, view: &View, bounds: &Bounds) -> Result<Option<Batch>, Error> {
        let looked = self.look(view, bounds, &mut mvcc::InMemory).expect("it is in memory");
        let Some(mut search) = looked? else { return Ok(None) };
        let mut endless = usize::MAX;
        assert!(search.run(&self.wanted, bounds, &mut endless), "it is gone through");
        Ok(self.take(search))
    }

    /// As [`Cursor::advance`], of the changes heard last, which no compaction takes away from a
    /// watcher that has been up to date. What lies behind `upto` is left.
    ///
    /// # Errors
    /// It has never been up to date, or what it should see next is not there any more.
    pub fn follow(
        &mut self,
        recent: &Recent,
        upto: i64,
        bounds: &Bounds,
    ) -> Result<Option<Batch>, Lags> {
        if self.in_sync(upto) {
            return Ok(None);
        }
        let mut search = self.hears(recent, upto, bounds).ok_or(Lags)?;
        let mut endless = usize::MAX;
        assert!(search.run(&self.wanted, bounds, &mut endless), "it is gone through");
        Ok(self.take(search))
    }

    /// What is to be gone through next in `view`; nothing when it has seen all of that. None when
    /// it is not at hand.
    ///
    /// # Errors
    /// `Compacted` when what it should see next is gone.
    pub(crate) fn look(
        &self,
        view: &View,
        bounds: &Bounds,
        values: &mut dyn Values,
    ) -> Option<Result<Option<Search>, Error>> {
        let end = view.revision();
        if self.in_sync(end) {
            return Some(Ok(None));
        }
        let (range, max) = (&self.wanted.range, bounds.events_max);
        match view.history_stretch(self.next, range, max, values) {
            Ok(page) => Some(Ok(Some(Search::new(page?, end)))),
            Err(error) => Some(Err(error)),
        }
    }

    /// As [`Cursor::look`], of the changes heard last; none where [`Cursor::follow`] fails.
    pub(crate) fn hears(&self, recent: &Recent, upto: i64, bounds: &Bounds) -> Option<Search> {
        let page = recent.stretch((self.next, upto), bounds.events_max);
        page.filter(|_| self.synced).map(|page| Search::new(page, upto))
    }

    /// Passes over what does not concern it, up to `next`.
    pub(crate) fn skip_to(&mut self, next: i64) {
        assert!(next >= self.next, "a cursor never goes back");
        self.next = next;
    }

    /// It is up to date with what was heard: no compaction takes from it what comes.
    pub(crate) fn goes_live(&mut self) {
        self.synced = true;
    }

    pub(crate) fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// Goes on behind what was gone through, and gives what was found there.
    pub(crate) fn take(&mut self, search: Search) -> Option<Batch> {
        let found = search.found(&self.wanted, self.synced);
        assert!(found.next > self.next, "every page is progress");
        self.next = found.next;
        self.synced |= found.is_complete;
        found.batch
    }
}

/// What a watcher should see next is not among the changes heard last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lags;

#[cfg(test)]
mod tests;
