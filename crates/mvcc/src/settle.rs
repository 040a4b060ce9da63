//! Settling: what was made since the last one goes from the maps into the index and onto the shelf,
//! and what compaction has ended goes out of them, on whatever thread has the time for it.

use crate::discard::Discard;
use crate::index::Index;
use crate::shelf::Shelf;
use crate::store::Store;
use crate::view::View;
use base::{LogIndex, planted};

/// What settles, as it stood when that began.
pub struct Settling(View);

/// What came of it.
pub struct Settled {
    merged: (Index, Shelf),
    /// Where the store stood when that began.
    begun: LogIndex,
}

impl Settling {
    /// Merges it, and leaves out what is not retained any more. Takes time in proportion to what
    /// is retained.
    pub fn run(&self) -> Settled {
        let Self(view) = self;
        let merged = view.layers.merged(|key, versions, gone| view.retain(key, versions, gone));
        Settled { merged, begun: view.applied }
    }
}

/// A merge costs something for each version that is there already: it waits until what comes and
/// goes is this part of that.
const PART: usize = 8;

impl Store {
    /// Begins to settle what was made since the last time, once that, or what compaction has ended
    /// since, is `least` versions and worth a merge. None while something settles. To be called
    /// between two entries, never while a job runs.
    pub fn settle(&mut self, least: usize) -> Option<Settling> {
        assert!(least > 0, "nothing is not worth a merge");
        let (layers, worth) = (&self.view.layers, least.max(self.view.layers.base_len() / PART));
        let dead = layers.len() as u64 - self.view.versions;
        let is_due = layers.fresh_len() >= worth || dead >= worth as u64;
        if layers.settling_since().is_some() || !is_due {
            return None;
        }
        self.view.layers.settle(self.view.revision, self.view.applied);
        Some(Settling(self.view.clone()))
    }

    /// Puts in place what came of [`Store::settle`], unless another state has come in the meantime.
    /// What goes is returned. To be called between two entries, never while a job runs.
    pub fn settled(&mut self, settled: Settled) -> Discard {
        let mut discard = Discard::default();
        let Settled { merged, begun } = settled;
        if self.view.layers.settling_since() == Some(begun)
            || (planted!(SettledOfAnotherState) && self.view.layers.settling_since().is_some())
        {
            discard.push(self.view.layers.settled(merged));
            self.view.check();
        } else {
            discard.push(merged);
        }
        discard
    }
}
