//! What etcd promises of a watch, held against the known order of revisions.

use std::fmt;

use base::Blob;

use super::range::contains;
use super::run::Change;
use super::timeline::Timeline;
use super::types::{KeyValue, Seen};

/// What a client asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchRequest {
    pub key: Blob,
    /// As in [`super::Range::range_end`].
    pub range_end: Blob,
    /// 0: from now on.
    pub start_revision: i64,
    pub no_put: bool,
    pub no_delete: bool,
    pub prev_kv: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    Put,
    Delete,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchEvent {
    pub kind: EventKind,
    /// `mod_revision` must be recorded.
    pub kv: Seen,
    pub prev_kv: Option<Seen>,
}

/// One message of a stream. Without events, and neither `created` nor `canceled`, it is a
/// progress notification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchResponse {
    pub header_revision: i64,
    pub created: bool,
    pub canceled: bool,
    /// With `canceled`: the revision up to which history is gone; else 0.
    pub compact_revision: i64,
    /// More of the same revision follows in the next message.
    pub fragment: bool,
    pub events: Vec<WatchEvent>,
}

impl WatchResponse {
    fn is_progress(&self) -> bool {
        !self.created && !self.canceled && self.events.is_empty() && !self.fragment
    }
}

/// One watch from its creation to its end. A client that resumes makes another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    pub request: WatchRequest,
    pub responses: Vec<WatchResponse>,
    /// The highest revision that was compacted while the watch lived, 0 for none: an earlier
    /// value may then be missing from `prev_kv`.
    pub compacted: i64,
}

/// The promises of etcd's documentation (`api_guarantees`), and of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Revisions never go back.
    Ordered,
    /// No event comes twice.
    Unique,
    /// A revision comes whole, in one message or in marked fragments of one.
    Atomic,
    /// Nothing between two events is left out.
    Reliable,
    /// It begins at the revision asked for.
    Resumable,
    /// After progress at R nothing up to R is outstanding.
    Bookmarkable,
    /// `prev_kv` is the value just before, and there only if asked for.
    PrevKv,
    /// Only what was asked for arrives.
    Filtered,
    /// An event says what happened.
    True,
}

/// One promise broken, at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchFault {
    pub rule: Rule,
    /// Index into the responses.
    pub response: usize,
    pub text: String,
}

impl fmt::Display for WatchFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "watch is not {:?}: message {}: {}", self.rule, self.response, self.text)
    }
}

/// How far a correct watch got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchProgress {
    /// Everything that was asked for below this revision was delivered.
    pub next_revision: i64,
    pub events: usize,
}

/// One event that ought to arrive.
struct Due<'a> {
    revision: i64,
    change: &'a Change,
}

struct Checker<'a> {
    timeline: &'a Timeline,
    watch: &'a Watch,
    due: Vec<Due<'a>>,
    /// The next of `due` to arrive.
    next: usize,
    start: i64,
    /// The highest progress so far.
    bookmark: i64,
    response: usize,
}

/// Holds one watch against the revisions.
///
/// # Errors
/// The first promise that is broken.
pub fn check_watch(timeline: &Timeline, watch: &Watch) -> Result<WatchProgress, WatchFault> {
    let start = start_of(watch);
    let request = &watch.request;
    let due = timeline
        .commits()
        .iter()
        .filter(|commit| commit.revision >= start)
        .flat_map(|commit| {
            commit.changes.iter().map(|change| Due { revision: commit.revision, change })
        })
        .filter(|due| wanted(request, due.change))
        .collect();
    let mut checker = Checker { timeline, watch, due, next: 0, start, bookmark: 0, response: 0 };
    for (at, response) in watch.responses.iter().enumerate() {
        checker.response = at;
        checker.message(response)?;
    }
    let events = checker.next;
    let reached = checker.due[..events].last().map_or(start, |due| due.revision + 1);
    Ok(WatchProgress { next_revision: reached.max(checker.bookmark + 1), events })
}

/// The first revision that must be delivered. A watch from now on may see the revisions made
/// while it was created, and must see those after.
fn start_of(watch: &Watch) -> i64 {
    if watch.request.start_revision > 0 {
        return watch.request.start_revision;
    }
    let created = watch.responses.first().map_or(i64::MAX, |first| first.header_revision);
    let events = watch.responses.iter().flat_map(|response| &response.events);
    let seen = events.filter_map(|event| event.kv.mod_revision).next().unwrap_or(i64::MAX);
    created.saturating_add(1).min(seen)
}

fn wanted(request: &WatchRequest, change: &Change) -> bool {
    let filtered = match change {
        Change::Put(_) => request.no_put,
        Change::Delete(_) => request.no_delete,
    };
    !filtered && contains(&request.key, &request.range_end, change.key())
}

impl<'a> Checker<'a> {
    fn fault(&self, rule: Rule, text: String) -> WatchFault {
        WatchFault { rule, response: self.response, text }
    }

    fn message(&mut self, response: &WatchResponse) -> Result<(), WatchFault> {
        for event in &response.events {
            self.event(event, response)?;
        }
        let last = self.next.checked_sub(1).map(|last| self.due[last].revision);
        let partial =
            last.is_some_and(|last| self.due.get(self.next).is_some_and(|d| d.revision == last));
        if !response.events.is_empty() && partial && !response.fragment {
            let text = format!("only a part of revision {}", last.unwrap_or_default());
            return Err(self.fault(Rule::Atomic, text));
        }
        if response.is_progress() {
            self.progress(response.header_revision)?;
        }
        if response.compact_revision > 0 {
            let next = last.map_or(self.start, |last| last + 1).max(self.bookmark + 1);
            if next >= response.compact_revision {
                let gone = response.compact_revision;
                let text = format!("canceled as compacted to {gone}, though {next} is next");
                return Err(self.fault(Rule::Reliable, text));
            }
        }
        Ok(())
    }

    fn progress(&mut self, revision: i64) -> Result<(), WatchFault> {
        if let Some(due) = self.due.get(self.next)
            && due.revision <= revision
        {
            let text = format!(
                "progress at {revision} before the event of {} at {}",
                printable(due.change.key()),
                due.revision
            );
            return Err(self.fault(Rule::Bookmarkable, text));
        }
        if revision.saturating_add(1) < self.start {
            let text = format!("progress at {revision} before the start, {}", self.start);
            return Err(self.fault(Rule::Bookmarkable, text));
        }
        if revision > self.timeline.revision() {
            let text = format!("progress at {revision}, which was never made");
            return Err(self.fault(Rule::Bookmarkable, text));
        }
        self.bookmark = self.bookmark.max(revision);
        Ok(())
    }

    fn event(&mut self, event: &WatchEvent, response: &WatchResponse) -> Result<(), WatchFault> {
        let key = &event.kv.key;
        let Some(revision) = event.kv.mod_revision else {
            return Err(self.fault(Rule::True, "an event without a revision".to_owned()));
        };
        let place = format!("{} at {revision}", printable(key));
        if revision > response.header_revision {
            let text = format!("{place}, but the header says {}", response.header_revision);
            return Err(self.fault(Rule::True, text));
        }
        let change = self.change(event, revision, &place)?;
        self.order(revision, change, &place)?;
        self.content(event, change, &place)?;
        self.prev_kv(event, revision, &place)?;
        self.next += 1;
        Ok(())
    }

    /// What really happened there.
    fn change(
        &self,
        event: &WatchEvent,
        revision: i64,
        place: &str,
    ) -> Result<&'a Change, WatchFault> {
        let commit = self.timeline.commit(revision);
        let kind = |change: &Change| match change {
            Change::Put(_) => EventKind::Put,
            Change::Delete(_) => EventKind::Delete,
        };
        let same_key: Vec<&Change> = commit
            .iter()
            .flat_map(|commit| &commit.changes)
            .filter(|change| *change.key() == event.kv.key)
            .collect();
        // A transaction may delete a key and put it: then two events have one key.
        let is_due = |change: &&Change| {
            self.due.get(self.next).is_some_and(|due| std::ptr::eq(due.change, *change))
        };
        let same_kind = |change: &&Change| kind(change) == event.kind;
        let found = same_key
            .iter()
            .find(|change| is_due(change) && same_kind(change))
            .or_else(|| same_key.iter().find(|change| same_kind(change)))
            .or(same_key.first());
        let Some(&change) = found else {
            return Err(self.fault(Rule::True, format!("{place} never happened")));
        };
        if kind(change) != event.kind {
            let text = format!("{place} was a {:?}, not a {:?}", kind(change), event.kind);
            return Err(self.fault(Rule::True, text));
        }
        if !wanted(&self.watch.request, change) {
            return Err(self.fault(Rule::Filtered, format!("{place} was not asked for")));
        }
        Ok(change)
    }

    fn order(&self, revision: i64, change: &Change, place: &str) -> Result<(), WatchFault> {
        if revision < self.start {
            let text = format!("{place}, before the start, {}", self.start);
            return Err(self.fault(Rule::Resumable, text));
        }
        let is_it = |due: &Due<'_>| std::ptr::eq(due.change, change);
        if self.due.get(self.next).is_some_and(is_it) {
            if revision <= self.bookmark {
                let text = format!("{place}, after progress at {}", self.bookmark);
                return Err(self.fault(Rule::Bookmarkable, text));
            }
            return Ok(());
        }
        if self.due[..self.next].iter().any(is_it) {
            return Err(self.fault(Rule::Unique, format!("{place} again")));
        }
        let last = self.next.checked_sub(1).map_or(0, |last| self.due[last].revision);
        if revision < last {
            return Err(self.fault(Rule::Ordered, format!("{place} after revision {last}")));
        }
        let Some(missing) = self.due.get(self.next) else {
            return Err(self.fault(Rule::True, format!("{place} is not due")));
        };
        let text =
            format!("{place}, without {} at {}", printable(missing.change.key()), missing.revision);
        let torn = missing.revision == last || missing.revision == revision;
        Err(self.fault(if torn { Rule::Atomic } else { Rule::Reliable }, text))
    }

    fn content(&self, event: &WatchEvent, change: &Change, place: &str) -> Result<(), WatchFault> {
        let right = match change {
            Change::Put(kv) => event.kv.fits(kv),
            Change::Delete(key) => {
                let bare = KeyValue {
                    key: key.clone(),
                    value: Blob::default(),
                    create_revision: 0,
                    mod_revision: event.kv.mod_revision.unwrap_or_default(),
                    version: 0,
                    lease: 0,
                };
                event.kv.fits(&bare)
            }
        };
        if right { Ok(()) } else { Err(self.fault(Rule::True, format!("{place} reads otherwise"))) }
    }

    fn prev_kv(&self, event: &WatchEvent, revision: i64, place: &str) -> Result<(), WatchFault> {
        if !self.watch.request.prev_kv {
            if event.prev_kv.is_some() {
                let text = format!("{place} brings a prev_kv that nobody asked for");
                return Err(self.fault(Rule::PrevKv, text));
            }
            return Ok(());
        }
        if revision <= self.timeline.first() {
            return Ok(());
        }
        let before = self.timeline.get(&event.kv.key, revision - 1);
        let gone = revision - 1 < self.watch.compacted;
        let right = match (&event.prev_kv, before) {
            (None, None) => true,
            (None, Some(_)) => gone,
            (Some(seen), Some(kv)) => seen.fits(kv),
            (Some(_), None) => false,
        };
        if right {
            return Ok(());
        }
        Err(self.fault(Rule::PrevKv, format!("{place} brings the wrong prev_kv")))
    }
}

fn printable(key: &[u8]) -> String {
    format!("\"{}\"", key.escape_ascii())
}
