//! What every revision made, for as long as any of it is retained, and how watchers are told of it.

use crate::command::Error;
use crate::key_range::KeyRange;
use crate::types::{Changes, Event, EventKind};
use crate::version::{Before, Record};
use crate::view::View;
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

impl View {
    /// Every retained version in the order in which they were made, from this revision on.
    pub(crate) fn retained(&self, from: i64) -> impl Iterator<Item = &Arc<Record>> {
        let all = self.layers.made_from(from).flat_map(|(_, records)| records);
        all.filter(|record| self.is_retained(record))
    }

    /// The versions that watchers are told of, revision by revision, from this one on. Of the
    /// compact revision that is what a compaction leaves of it, removed or not by now.
    pub(crate) fn told_from(&self, from: i64) -> impl Iterator<Item = (i64, &[Arc<Record>])> {
        let from = from.max(self.compact_revision + i64::from(planted!(CompactDropsEvents)));
        self.layers.made_from(from)
    }

    /// What watchers are told of one of them.
    fn changes(&self, revision: i64, records: &[Arc<Record>]) -> Arc<Changes> {
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
    /// watcher that asked for it. None for a creation, and none once the event's revision is
    /// compacted: what was before that is gone.
    ///
    /// Panics when the view is older than what it is asked for.
    pub fn before(&self, event: &Event) -> Before {
        let revision = event.kv.mod_revision;
        assert!(self.revision >= revision - 1, "an event is told from a view that has it");
        let is_there = !event.is_create() && revision > self.compact_revision;
        let prev = is_there.then(|| self.live_at(&event.kv.key, revision - 1)).flatten();
        prev.map(|prev| self.record(&prev).clone()).into()
    }

    /// Up to `max` revisions, from `from` on, that touch `range`. Fewer than `max` means that the
    /// caller has seen everything up to [`View::revision`]. Looks at every revision there is, if
    /// need be: [`View::history_page`] is bounded.
    ///
    /// # Errors
    /// `Compacted` when `from` is below the compact revision.
    pub fn history(
        &self,
        from: i64,
        range: &KeyRange,
        max: usize,
    ) -> Result<Vec<Arc<Changes>>, Error> {
        if from < self.compact_revision {
            return Err(Error::Compacted);
        }
        let touching = self.told_from(from).filter(|(_, records)| touches(records, range));
        Ok(touching.take(max).map(|(at, records)| self.changes(at, records)).collect())
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
            self.history_of_key(range.first(), max, from, &mut page);
            return Ok(page);
        }
        let mut ahead = self.told_from(from);
        for (at, records) in ahead.by_ref().take(scan_max) {
            if touches(records, range) {
                page.changes.push(self.changes(at, records));
            }
            if page.changes.len() == max {
                page.next = at + 1;
                return Ok(page);
            }
        }
        page.next = ahead.next().map_or(end, |(at, _)| at);
        assert!(from <= page.next && page.next <= end, "a page goes on, to the head at most");
        Ok(page)
    }

    /// What follows from `from` on: all revisions, or, of a single key, those that changed it. No
    /// more than `events_max` events, but for one revision.
    ///
    /// # Errors
    /// `Compacted` when `from` is below the compact revision.
    pub fn history_stretch(
        &self,
        from: i64,
        range: &KeyRange,
        events_max: usize,
    ) -> Result<HistoryPage, Error> {
        if from < self.compact_revision {
            return Err(Error::Compacted);
        }
        let end = self.revision.saturating_add(1).max(from);
        let mut page = HistoryPage { changes: Vec::new(), next: end };
        let is_all = if range.single().is_some() {
            let mut found = HistoryPage { changes: Vec::new(), next: end };
            self.history_of_key(range.first(), events_max.max(1), from, &mut found);
            page = HistoryPage::stretch(found.changes.iter(), from, events_max);
            page.changes.len() == found.changes.len() && found.next == end
        } else {
            let mut events = 0;
            let mut ahead = self.told_from(from).take_while(|(_, records)| {
                events += records.len();
                events <= events_max || events == records.len()
            });
            for (at, records) in ahead.by_ref() {
                page.changes.push(self.changes(at, records));
                page.next = at + 1;
            }
            let last = self.layers.last_made();
            last.is_none_or(|last| last < page.next)
        };
        if is_all {
            page.next = end;
        }
        assert!(from <= page.next && page.next <= end, "a page goes on, to the head at most");
        Ok(page)
    }

    /// The versions of one key name its revisions: nothing else is looked at.
    fn history_of_key(&self, key: &Blob, max: usize, from: i64, page: &mut HistoryPage) {
        let mut revisions: Vec<i64> = Vec::new();
        self.layers.each_from(key, from, |facts| {
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
        let told = |at: i64| self.told_from(at).next().filter(|(found, _)| *found == at);
        let told = revisions.into_iter().filter_map(told);
        page.changes.extend(told.map(|(at, records)| self.changes(at, records)));
    }
}

fn touches(records: &[Arc<Record>], range: &KeyRange) -> bool {
    records.iter().any(|record| range.matches(&record.kv.key))
}
