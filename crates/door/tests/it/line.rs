//! A second front, so that the cut is a fact: lines of text, one request each.
//!
//! | request | answer |
//! |---|---|
//! | `GET key` | `VALUE revision value`, or `NONE` |
//! | `PUT key value` | `OK revision` |
//! | `DEL key` | `OK revision`, or `NONE` |
//! | `CAS key old new` | `OK revision`, or `NO` |
//! | `WATCH key` | `WATCHING revision`; then events: `PUT revision key value`, `DEL revision key` |
//!
//! A refusal is `REFUSED why` when nothing was applied, and `UNKNOWN why` when nobody can tell.

use base::Blob;
use door::{
    Batch, Bounds, Caller, Door, Feed, FeedLimits, Finding, Found, Freshness, Outcome, Query, Read,
    Refusal, StreamId, Told, Wanted,
};
use later::{Asker, Later, promise};
use mvcc::{
    Command, Compare, CompareOp, CompareTarget, DeleteRequest, Error, EventKind, InMemory,
    KeyRange, PutRequest, RangeRequest, RequestOp, Response, TxnRequest,
};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

const BOUNDS: Bounds = Bounds { revisions_max: 100, events_max: 1_000, bytes_target: 1 << 16 };
/// Whoever lags is fed at once, and all is heard in one go: there is one client.
const LIMITS: FeedLimits = FeedLimits {
    bounds: BOUNDS,
    at_hand_max: usize::MAX,
    at_hand_bytes_max: usize::MAX,
    near_max: i64::MAX,
    errand_bytes_max: 1,
    hear_max: usize::MAX,
    recent_bytes_max: 1 << 20,
};

/// One client of the line protocol.
pub struct Line {
    door: Rc<dyn Door>,
    feed: Rc<RefCell<Feed>>,
    stream: StreamId,
    watches: Cell<i64>,
    /// Something was applied that concerns the client and of which it has not heard.
    news: Rc<Cell<bool>>,
}

impl Line {
    pub fn new(door: Rc<dyn Door>) -> Self {
        let mut feed = Feed::new(LIMITS, door.header().revision);
        let stream = feed.open();
        let feed = Rc::new(RefCell::new(feed));
        let news = Rc::new(Cell::new(false));
        let (hears, bell) = (Rc::clone(&feed), Rc::clone(&news));
        door.listen(true);
        door.on_changes(Rc::new(move |batch| {
            let rung = hears.borrow_mut().hear(batch);
            bell.set(bell.get() || rung.contains(&stream));
        }));
        Self { door, feed, stream, watches: Cell::new(0), news }
    }

    /// Answers one line, now or later.
    pub fn line(&self, asker: Asker, line: &str) -> Later<String> {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["GET", key] => self.get(asker, key),
            ["PUT", key, value] => {
                let (key, value) = (blob(key), blob(value));
                let put = PutRequest { key, value, ..PutRequest::default() };
                self.write(asker, Command::Put(put))
            }
            ["DEL", key] => {
                let delete = DeleteRequest { key: blob(key), ..DeleteRequest::default() };
                self.write(asker, Command::Delete(delete))
            }
            ["CAS", key, old, new] => self.write(asker, Command::Txn(cas(key, old, new))),
            ["WATCH", key] => Later::now(self.watch(key)),
            _ => Later::now("REFUSED no such request".to_owned()),
        }
    }

    fn get(&self, asker: Asker, key: &str) -> Later<String> {
        let range = RangeRequest { key: blob(key), ..RangeRequest::default() };
        let told = |found: Result<Finding, Refusal>| match found.map(|finding| finding.found) {
            Ok(Found::Range(range)) => match range.kvs.first() {
                Some(kv) => format!("VALUE {} {}", kv.mod_revision, text(&kv.value)),
                None => "NONE".to_owned(),
            },
            Ok(other) => unreachable!("a range was asked for: {other:?}"),
            Err(refusal) => refused(&refusal),
        };
        let (read, later) = Read::new(asker, Query::Range(range), told);
        self.door.read(Caller::nobody(), Freshness::Linearizable, read);
        later
    }

    fn write(&self, asker: Asker, command: Command) -> Later<String> {
        let (answer, later) = promise(asker, |result: Result<Response, Refusal>| match result {
            Ok(Response::Put(put)) => format!("OK {}", put.revision),
            Ok(Response::Delete(deleted)) if deleted.deleted == 0 => "NONE".to_owned(),
            Ok(Response::Delete(deleted)) => format!("OK {}", deleted.revision),
            Ok(Response::Txn(txn)) if txn.succeeded => format!("OK {}", txn.revision),
            Ok(Response::Txn(_)) => "NO".to_owned(),
            Ok(other) => unreachable!("nothing else is written: {other:?}"),
            Err(refusal) => refused(&refusal),
        });
        self.door.write(Caller::nobody(), command, answer);
        later
    }

    fn watch(&self, key: &str) -> String {
        if let Some(refusal) = self.door.serves_no_data() {
            return refused(&refusal);
        }
        let revision = self.door.header().revision;
        let range = KeyRange::new(blob(key), Blob::default());
        let wanted = Wanted { range, prev_kv: false, no_put: false, no_delete: false };
        let id = self.watches.replace(self.watches.get() + 1);
        self.feed.borrow_mut().watch((self.stream, id), wanted, 0, revision);
        format!("WATCHING {revision}")
    }

    /// What the watches have not told yet.
    pub fn events(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.news.take() {
            return lines;
        }
        let mut feed = self.feed.borrow_mut();
        while feed.has_work(self.stream) {
            match feed.next(self.stream, || self.door.view(), &mut InMemory) {
                Some(Told::Events { batch, .. }) => tell(&batch, &mut lines),
                Some(Told::Compacted { .. }) => lines.push(refused(&Error::Compacted.into())),
                Some(Told::Unreadable { why, .. }) => panic!("{why}"),
                Some(Told::Progress(_)) | None => {}
            }
        }
        lines
    }
}

fn tell(batch: &Batch, lines: &mut Vec<String>) {
    let whole = batch.whole(None, &mut InMemory).expect("nobody looks back");
    for (event, _) in whole.events() {
        let (revision, key) = (event.kv.mod_revision, text(&event.kv.key));
        lines.push(match event.kind {
            EventKind::Put => format!("PUT {revision} {key} {}", text(&event.kv.value)),
            EventKind::Delete => format!("DEL {revision} {key}"),
        });
    }
}

fn cas(key: &str, old: &str, new: &str) -> TxnRequest {
    let (key, target) = (blob(key), CompareTarget::Value(blob(old)));
    let op = CompareOp::Equal;
    let compare = Compare { key: key.clone(), range_end: Blob::default(), op, target };
    let put = RequestOp::Put(PutRequest { key, value: blob(new), ..PutRequest::default() });
    TxnRequest { compare: vec![compare], success: vec![put], failure: Vec::new() }
}

fn refused(refusal: &Refusal) -> String {
    match refusal.outcome {
        Outcome::NotApplied => format!("REFUSED {}", refusal.reason),
        Outcome::Unknown => format!("UNKNOWN {}", refusal.reason),
    }
}

fn blob(text: &str) -> Blob {
    Blob::from(text.as_bytes())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
