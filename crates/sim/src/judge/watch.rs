//! What a watching client may be told: every event once, in order, no revision in part, nothing
//! left out below a promise, and from where it was left.

use crate::model::Model;
use mvcc::{Before, Event, EventKind, KeyRange};

/// What a client asked to see.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub range: KeyRange,
    pub prev_kv: bool,
    pub no_put: bool,
    pub no_delete: bool,
    /// A promise now and then when nothing happens.
    pub progress: bool,
    pub fragment: bool,
}

impl Wanted {
    /// What the member that is asked has to know of it.
    pub fn cursor(&self) -> door::Wanted {
        let (range, prev_kv) = (self.range.clone(), self.prev_kv);
        door::Wanted { range, prev_kv, no_put: self.no_put, no_delete: self.no_delete }
    }
}

/// An event as a watcher is told it.
#[derive(Clone, Debug)]
pub struct Shown {
    pub event: Event,
    /// What was before it, if that was asked for and is there.
    pub before: Before,
    /// Compact revision of the picture that this was looked up in.
    pub compacted: i64,
}

/// One message of a stream.
#[derive(Clone, Debug)]
pub enum Heard {
    /// The watch is open from this revision on, or from now for 0.
    Created {
        from: i64,
        revision: i64,
    },
    /// `more`: the rest of these events is in the next message.
    Events {
        events: Vec<Shown>,
        revision: i64,
        more: bool,
    },
    /// Nothing at or below this revision will follow.
    Progress {
        revision: i64,
    },
    /// What was to be seen next is gone; this revision is the first that is not.
    Compacted {
        revision: i64,
    },
    Canceled,
}

/// A client and what it has seen.
#[derive(Clone, Debug)]
pub struct Watching {
    pub wanted: Wanted,
    /// Everything up to here has been seen; none before the first answer.
    seen: Option<i64>,
    /// Fragments of a batch that is not complete.
    parts: Vec<Shown>,
    closed: bool,
}

type Told = Result<(), (&'static str, String)>;

impl Watching {
    pub fn new(wanted: Wanted) -> Self {
        Self { wanted, seen: None, parts: Vec::new(), closed: true }
    }

    /// Where the next stream goes on; none when nothing was heard yet.
    pub fn resume(&self) -> Option<i64> {
        self.seen.map(|seen| seen + 1)
    }

    /// Takes one message, or says which promise it breaks.
    ///
    /// # Errors
    /// The promise and what was told instead.
    pub fn hear(&mut self, heard: &Heard, model: &Model) -> Told {
        if let Heard::Created { from, revision } = heard {
            let start = if *from == 0 { revision + 1 } else { *from };
            if self.seen.is_some_and(|seen| start != seen + 1) {
                return Err(("watch is resumable", format!("from {start}, seen {:?}", self.seen)));
            }
            self.seen = Some(start - 1);
            self.parts.clear();
            self.closed = false;
            return Ok(());
        }
        if self.closed {
            return Err(("watch is ordered", format!("{heard:?} on a closed watch")));
        }
        let seen = self.seen.expect("an open watch was created");
        match heard {
            Heard::Created { .. } => {}
            Heard::Events { events, revision, more } => {
                self.parts.extend(events.iter().cloned());
                if *more && !self.wanted.fragment {
                    return Err(("watch is atomic", "a fragment nobody asked for".to_owned()));
                }
                if !more {
                    self.upto(seen, *revision, model)?;
                    self.seen = Some(seen.max(*revision));
                }
            }
            Heard::Progress { revision } => {
                if *revision < seen {
                    let what = format!("progress to {revision} after {seen}");
                    return Err(("watch is bookmarkable", what));
                }
                self.upto(seen, *revision, model)
                    .map_err(|(_, what)| ("watch is bookmarkable", what))?;
                self.seen = Some(*revision);
            }
            Heard::Compacted { revision } => {
                self.closed = true;
                if *revision > model.compacted || *revision <= seen + 1 {
                    let what = format!("compacted at {revision}, {seen} was seen");
                    return Err(("watch is reliable", what));
                }
                self.parts.clear();
                self.seen = Some(revision - 1);
            }
            Heard::Canceled => self.closed = true,
        }
        Ok(())
    }

    fn wants(&self, event: &Event) -> bool {
        let kind = match event.kind {
            EventKind::Put => !self.wanted.no_put,
            EventKind::Delete => !self.wanted.no_delete,
        };
        kind && self.wanted.range.matches(&event.kv.key)
    }

    /// The parts are exactly what happened after `seen` and up to `revision`.
    fn upto(&mut self, seen: i64, revision: i64, model: &Model) -> Told {
        let parts = std::mem::take(&mut self.parts);
        let after = model.changes_after(seen);
        let until = after.iter().take_while(|changes| changes.revision <= revision);
        let mut expected = until.flat_map(|changes| &changes.events).filter(|e| self.wants(e));
        for Shown { event: got, before, compacted } in &parts {
            let at = got.kv.mod_revision;
            let Some(want) = expected.next() else {
                return Err(("watch is unique", format!("{got:?} nobody expects to {revision}")));
            };
            if want.kv.mod_revision != at || want.kv.key != got.kv.key {
                return Err(("watch is ordered", format!("got {got:?}, expected {want:?}")));
            }
            if got.kind != want.kind || got.kv != want.kv {
                return Err(("watch is reliable", format!("got {got:?}, expected {want:?}")));
            }
            // The version before may be gone where it was looked for, with a compaction at this
            // revision or above.
            let lost = before.is_none() && (at..=model.compacted).contains(compacted);
            let old = model.before(want).filter(|_| self.wanted.prev_kv);
            if before.as_ref() != old && !lost {
                let what = format!("{got:?} was {before:?}, not {old:?}");
                return Err(("watch tells what was before", what));
            }
        }
        match expected.next() {
            Some(missed) => {
                let at = missed.kv.mod_revision;
                Err(("watch is reliable", format!("{at} is missing up to {revision}")))
            }
            None => Ok(()),
        }
    }

    /// A revision that was never seen and should have been.
    pub fn missed(&self, model: &Model) -> Option<i64> {
        let after = model.changes_after(self.seen?);
        let wanted = |e: &&Event| self.wants(e);
        after.iter().flat_map(|changes| &changes.events).find(wanted).map(|e| e.kv.mod_revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mvcc::{Changes, KeyValue};
    use std::sync::Arc;

    fn put(key: &'static str, revision: i64) -> Event {
        let kv = KeyValue {
            key: base::Blob::from(key.as_bytes()),
            mod_revision: revision,
            create_revision: revision,
            version: 1,
            ..KeyValue::default()
        };
        Event { kind: EventKind::Put, kv: kv.into() }
    }

    /// Revision 2 puts a and b, 3 puts c.
    fn model() -> Model {
        let mut model = Model::default();
        for (revision, keys) in [(2, &["a", "b"][..]), (3, &["c"])] {
            let events: Vec<Event> = keys.iter().map(|key| put(key, revision)).collect();
            model.push(&Arc::new(Changes { revision, events })).expect("a history");
        }
        model
    }

    fn open(fragment: bool) -> Watching {
        let range = KeyRange::new(&b"\0"[..], &b"\0"[..]);
        let (prev_kv, no_put, no_delete, progress) = (true, false, false, true);
        let wanted = Wanted { range, prev_kv, no_put, no_delete, progress, fragment };
        let mut watching = Watching::new(wanted);
        watching.hear(&Heard::Created { from: 2, revision: 1 }, &model()).expect("it opens");
        watching
    }

    fn events(events: &[Event], revision: i64, more: bool) -> Heard {
        let shown = |event: &Event| Shown {
            event: event.clone(),
            before: Before::default(),
            compacted: -1,
        };
        Heard::Events { events: events.iter().map(shown).collect(), revision, more }
    }

    fn rule(watching: &mut Watching, heard: &Heard) -> Option<&'static str> {
        watching.hear(heard, &model()).err().map(|(rule, _)| rule)
    }

    #[test]
    fn whole_revisions_in_order_are_taken_and_the_next_stream_goes_on_behind_them() {
        let mut w = open(true);
        assert_eq!(rule(&mut w, &events(&[put("a", 2)], 2, true)), None);
        assert_eq!(w.resume(), Some(2), "half a revision is not seen");
        assert_eq!(rule(&mut w, &events(&[put("b", 2)], 2, false)), None);
        assert_eq!(w.resume(), Some(3));
        assert_eq!(w.missed(&model()), Some(3));
        assert_eq!(rule(&mut w, &events(&[put("c", 3)], 3, false)), None);
        assert_eq!(rule(&mut w, &Heard::Progress { revision: 3 }), None);
        assert_eq!(w.missed(&model()), None);
    }

    #[test]
    fn each_broken_promise_is_told_by_its_name() {
        let both = [put("a", 2), put("b", 2)];
        let torn = events(&both[..1], 2, false);
        assert_eq!(rule(&mut open(false), &torn), Some("watch is reliable"));
        let twisted = events(&[put("b", 2), put("a", 2)], 2, false);
        assert_eq!(rule(&mut open(false), &twisted), Some("watch is ordered"));
        let gap = events(&[put("c", 3)], 3, false);
        assert_eq!(rule(&mut open(false), &gap), Some("watch is ordered"));
        let part = events(&both[..1], 2, true);
        assert_eq!(rule(&mut open(false), &part), Some("watch is atomic"));
        let early = Heard::Progress { revision: 2 };
        assert_eq!(rule(&mut open(false), &early), Some("watch is bookmarkable"));
        let mut w = open(false);
        assert_eq!(rule(&mut w, &events(&both, 2, false)), None);
        assert_eq!(rule(&mut w, &events(&both, 2, false)), Some("watch is unique"));
        let mut w = open(false);
        assert_eq!(rule(&mut w, &Heard::Compacted { revision: 9 }), Some("watch is reliable"));
        let mut w = open(false);
        assert_eq!(rule(&mut w, &Heard::Canceled), None);
        assert_eq!(rule(&mut w, &events(&both, 2, false)), Some("watch is ordered"));
        let again = Heard::Created { from: 3, revision: 3 };
        assert_eq!(rule(&mut w, &again), Some("watch is resumable"));
    }

    /// Revision 2 puts a, 3 puts it again and 4 is told: what was before it is gone only for whom
    /// a compaction at 4 or above took it, and it really was compacted there.
    #[test]
    fn what_was_before_is_the_version_that_lived_or_it_is_lost_to_a_compaction() {
        let value = |revision| KeyValue {
            create_revision: 2,
            version: revision - 1,
            ..(*put("a", revision).kv).clone()
        };
        let event = |revision| Event { kind: EventKind::Put, kv: value(revision).into() };
        let told = |compacted_by_all: i64, before: Option<i64>, compacted: i64, prev_kv: bool| {
            let mut model = Model::default();
            for revision in 2..=4 {
                let changes = Changes { revision, events: vec![event(revision)] };
                model.push(&Arc::new(changes)).expect("a history");
            }
            model.compacted = compacted_by_all;
            let mut watching = open(false);
            watching.wanted.prev_kv = prev_kv;
            watching.seen = Some(3);
            let before = before.map(value).into();
            let events = vec![Shown { event: event(4), before, compacted }];
            let heard = Heard::Events { events, revision: 4, more: false };
            watching.hear(&heard, &model).err().map(|(rule, _)| rule)
        };
        let wrong = Some("watch tells what was before");
        assert_eq!(told(-1, Some(3), -1, true), None);
        assert_eq!(told(-1, Some(2), -1, true), wrong);
        assert_eq!(told(-1, None, -1, true), wrong);
        assert_eq!(told(4, None, 4, true), None);
        assert_eq!(told(4, None, 3, true), wrong, "it was there");
        assert_eq!(told(3, None, 4, true), wrong, "nobody compacted it");
        assert_eq!(told(4, Some(2), 4, true), wrong, "gone is not another");
        assert_eq!([told(4, None, 3, false), told(4, Some(3), 3, false)], [None, wrong]);
    }
}
