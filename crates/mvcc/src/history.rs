//! What every revision made, for as long as any of it is retained, and how watchers are told of it.

use crate::command::Error;
use crate::key_range::KeyRange;
use crate::types::{Changes, Event, EventKind};
use crate::values::{InMemory, Values};
use crate::version::{Before, Record};
use crate::view::View;
use crate::walk::{Step, Walk};
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::{Blob, planted};

/// A stretch of history; see [`View::history_page`] and [`View::history_stretch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryPage {
    /// In order.
    pub changes: Vec<Arc<Changes>>,
    /// First revision not looked at; past the view's revision when there is none.
    pub next: i64,
}

impl HistoryPage {
    /// Those ahead of `from` that have no more than `events_max` events together, but for one.
    pub(crate) fn stretch<'a>(
        ahead: impl Iterator<Item = &'a Arc<Changes>>,
        from: i64,
        events_max: usize,
    ) -> Self {
        let (mut page, mut events) = (Self { changes: Vec::new(), next: from }, 0);
        for changes in ahead {
            events += changes.events.len();
            if events > events_max && !page.changes.is_empty() {
                break;
            }
            page.changes.push(changes.clone());
            page.next = changes.revision + 1;
        }
        assert!(page.next >= from, "a page goes on");
        page
    }
}

/// Goes through versions revision by revision.
struct Revisions {
    walk: Walk,
    open: Vec<Arc<Record>>,
}

impl Revisions {
    fn new(from: i64) -> Self {
        Self { walk: Walk::new((from, 0)), open: Vec::new() }
    }

    /// What the next revision made, dead versions among it; none behind the last one. Err when it
    /// is not at hand.
    fn next(
        &mut self,
        view: &View,
        values: &mut dyn Values,
    ) -> Result<Option<Vec<Arc<Record>>>, Missing> {
        loop {
            let record = match self.walk.next(&view.layers, values) {
                Step::Missing => return Err(Missing),
                Step::End if self.open.is_empty() => return Ok(None),
                Step::End => return Ok(Some(core::mem::take(&mut self.open))),
                Step::Version(record) => record,
            };
            let is_next = |first: &Arc<Record>| first.kv.mod_revision < record.kv.mod_revision;
            if self.open.first().is_some_and(is_next) {
                return Ok(Some(core::mem::replace(&mut self.open, Vec::from([record]))));
            }
            self.open.push(record);
        }
    }
}

/// What follows is not at hand.
struct Missing;

impl View {
    /// Every retained version in the order in which they were made, from this revision on, of a
    /// store that has all in memory.
    #[cfg(test)]
    pub(crate) fn retained(&self, from: i64) -> impl Iterator<Item = Arc<Record>> + use<'_> {
        let mut walk = Walk::new((from, 0));
        let all = core::iter::from_fn(move || match walk.next(&self.layers, &mut InMemory) {
            Step::Version(record) => Some(record),
            _ => None,
        });
        all.filter(|record| self.is_retained(record))
    }

    /// The first revision that watchers are still told of. Of the compact revision they are told
    /// what a compaction leaves of it, removed or not by now.
    fn told_from(&self) -> i64 {
        self.compact_revision + i64::from(planted!(CompactDropsEvents))
    }

    /// What watchers are told of one revision.
    fn changes(&self, records: &[Arc<Record>]) -> Arc<Changes> {
        let revision = records[0].kv.mod_revision;
        let stays = |record: &Record| {
            let is_last = || self.version_at(&record.kv.key, revision).map(|x| x.age());
            revision > self.compact_revision || is_last() == Some(record.age())
        };
        let told = records.iter().filter(|record| stays(record));
        let kind = |is_end| if is_end { EventKind::Delete } else { EventKind::Put };
        let event = |record: &Arc<Record>| Event {
            kind: kind(record.tombstone),
            kv: record.clone().into(),
        };
        let events: Vec<Event> = told.map(event).collect();
        assert!(!events.is_empty(), "the last version of a revision is told");
        Arc::new(Changes { revision, events })
    }

    /// What lived under the key of an event just before it, as etcd looks it up when it tells a
    /// watcher that asked for it. None for a creation, none once the event's revision is compacted,
    /// since what was before that is gone, and none of what is to come. Nothing at all when it is
    /// not at hand.
    pub fn before_of(&self, event: &Event, values: &mut dyn Values) -> Option<Before> {
        let revision = event.kv.mod_revision;
        let is_known = (self.compact_revision + 1..=self.revision + 1).contains(&revision);
        let prev = (is_known && !event.is_create())
            .then(|| self.live_at(&event.kv.key, revision - 1))
            .flatten();
        match prev {
            None => Some(Before::default()),
            Some(prev) => Some(Some(self.version(&prev, values)?).into()),
        }
    }

    /// The same of a store that has all in memory.
    pub fn before(&self, event: &Event) -> Before {
        self.before_of(event, &mut InMemory).expect("all is in memory")
    }

    /// All revisions from `from` on that touch `range`, up to `max` of them, of a store that has
    /// all in memory. Fewer than `max` means that the caller has seen everything up to
    /// [`View::revision`].
    ///
    /// # Errors
    /// `Compacted` when `from` is below the compact revision.
    pub fn history(
        &self,
        from: i64,
        range: &KeyRange,
        max: usize,
    ) -> Result<Vec<Arc<Changes>>, Error> {
        Ok(self.history_page(from, range, max.max(1), usize::MAX)?.changes)
    }

    /// As `history`, but looks at no more than `scan_max` revisions; goes on at `next`.
    ///
    /// # Errors
    /// `Compacted` when `from` is below the compact revision.
    pub fn history_page(
        &self,
        from: i64,
        range: &KeyRange,
        max: usize,
        scan_max: usize,
    ) -> Result<HistoryPage, Error> {
        assert!(max > 0 && scan_max > 0, "a page makes progress");
        if from < self.compact_revision {
            return Err(Error::Compacted);
        }
        let end = self.revision.saturating_add(1).max(from);
        let mut page = HistoryPage { changes: Vec::new(), next: end };
        if range.single().is_some() {
            let there = self.history_of_key(range.first(), max, from, &mut page, &mut InMemory);
            assert!(there.is_ok(), "all is in memory");
            return Ok(page);
        }
        let mut ahead = Revisions::new(from.max(self.told_from()));
        let mut looked = 0;
        while let Ok(Some(records)) = ahead.next(self, &mut InMemory) {
            let at = records[0].kv.mod_revision;
            if looked == scan_max || page.changes.len() == max {
                page.next = at;
                break;
            }
            looked += 1;
            if touches(&records, range) {
                page.changes.push(self.changes(&records));
            }
        }
        assert!(from <= page.next && page.next <= end, "a page goes on, to the head at most");
        Ok(page)
    }

    /// What follows from `from` on: all revisions, or, of a single key, those that changed it. No
    /// more than `events_max` events, but for one revision. None when that is not at hand.
    ///
    /// # Errors
    /// `Compacted` when `from` is below the compact revision.
    pub fn history_stretch(
        &self,
        from: i64,
        range: &KeyRange,
        events_max: usize,
        values: &mut dyn Values,
    ) -> Result<Option<HistoryPage>, Error> {
        if from < self.compact_revision {
            return Err(Error::Compacted);
        }
        Ok(self.stretch(from, range, events_max, values).ok())
    }

    fn stretch(
        &self,
        from: i64,
        range: &KeyRange,
        events_max: usize,
        values: &mut dyn Values,
    ) -> Result<HistoryPage, Missing> {
        let end = self.revision.saturating_add(1).max(from);
        let mut page = HistoryPage { changes: Vec::new(), next: end };
        if range.single().is_some() {
            let mut found = HistoryPage { changes: Vec::new(), next: end };
            self.history_of_key(range.first(), events_max.max(1), from, &mut found, values)?;
            page = HistoryPage::stretch(found.changes.iter(), from, events_max);
            if page.changes.len() == found.changes.len() {
                page.next = found.next;
            }
            return Ok(page);
        }
        let (mut ahead, mut events) = (Revisions::new(from.max(self.told_from())), 0);
        while let Some(records) = ahead.next(self, values)? {
            events += records.len();
            if events > events_max && !page.changes.is_empty() {
                page.next = records[0].kv.mod_revision;
                break;
            }
            page.changes.push(self.changes(&records));
        }
        assert!(from <= page.next && page.next <= end, "a page goes on, to the head at most");
        Ok(page)
    }

    /// The versions of one key name its revisions: nothing else is looked at.
    fn history_of_key(
        &self,
        key: &Blob,
        max: usize,
        from: i64,
        page: &mut HistoryPage,
        values: &mut dyn Values,
    ) -> Result<(), Missing> {
        let mut revisions: Vec<i64> = Vec::new();
        self.layers.each_from(key, from.max(self.told_from()), |facts| {
            // A revision that changed the key twice is one.
            if revisions.last() == Some(&facts.mod_revision) {
                return true;
            }
            if revisions.len() == max {
                page.next = facts.mod_revision;
                return false;
            }
            revisions.push(facts.mod_revision);
            true
        });
        assert!(revisions.len() <= max, "a page is bounded");
        assert!(revisions.is_sorted_by(|a, b| a < b), "each revision once, in order");
        assert!(revisions.last().is_none_or(|last| *last < page.next), "what is next is later");
        for revision in revisions {
            let records = Revisions::new(revision).next(self, values)?;
            let records = records.expect("a version of it is retained");
            assert_eq!(records[0].kv.mod_revision, revision, "and is found there");
            page.changes.push(self.changes(&records));
        }
        Ok(())
    }
}

fn touches(records: &[Arc<Record>], range: &KeyRange) -> bool {
    records.iter().any(|record| range.matches(&record.kv.key))
}
