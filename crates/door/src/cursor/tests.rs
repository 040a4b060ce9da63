use super::*;
use alloc::vec::Vec;
use base::{Blob, ClusterTime, LogIndex};
use mvcc::{
    Before, Command, DeleteRequest, Event, KeyRange, Limits, PutRequest, RequestOp, Store,
    TxnRequest,
};

const BOUNDS: Bounds = Bounds { revisions_max: 3, events_max: 10, bytes_target: 1 << 20 };

struct Stage {
    store: Store,
    recent: Recent,
    index: u64,
}

fn put(key: &str, value: &str) -> PutRequest {
    let (key, value) = (Blob::from(key.as_bytes()), Blob::from(value.as_bytes()));
    PutRequest { key, value, ..PutRequest::default() }
}

impl Stage {
    /// Revision 1, and nothing in it.
    fn new() -> Self {
        Self { store: Store::new(Limits::default()), recent: Recent::new(1 << 20), index: 0 }
    }

    fn apply(&mut self, command: &Command) {
        self.index += 1;
        let applied = self.store.apply(LogIndex(self.index), ClusterTime(1), command);
        applied.result.expect("it applies");
        let changes: Vec<_> = applied.changes.into_iter().collect();
        self.recent.push(&changes);
    }

    fn put(&mut self, key: &str, value: &str) {
        self.apply(&Command::Put(put(key, value)));
    }

    fn step(&self, cursor: &mut Cursor, bounds: &Bounds) -> Option<(Vec<i64>, i64)> {
        // As a feed does: from what was heard where that goes, else from the store.
        let followed = cursor.follow(&self.recent, self.store.revision(), bounds);
        let moved = followed.or_else(|Lags| cursor.advance(&self.store.view(), bounds));
        let batch = moved.expect("history")?;
        let view = self.store.view();
        let revisions = events(&batch, Some(&view)).map(|(event, _)| event.kv.mod_revision);
        Some((revisions.collect(), batch.revision()))
    }
}

fn parts_of<'a>(batch: &'a Batch, bounds: (usize, usize), view: &View) -> Option<Vec<Part<'a>>> {
    batch.parts(bounds, Some(view), &mut mvcc::InMemory).expect("all is in memory")
}

fn events<'a>(
    batch: &'a Batch,
    view: Option<&View>,
) -> impl Iterator<Item = (&'a Event, Before)> + use<'a> {
    let whole = batch.whole(view, &mut mvcc::InMemory).expect("all is in memory");
    whole.events().collect::<Vec<_>>().into_iter()
}

fn all() -> Wanted {
    let range = KeyRange::new(&b"\0"[..], &b"\0"[..]);
    Wanted { range, prev_kv: true, no_put: false, no_delete: false }
}

fn of(key: &str) -> Wanted {
    Wanted { range: KeyRange::new(key.as_bytes(), &b""[..]), ..all() }
}

#[test]
fn a_watcher_catches_up_in_whole_revisions_and_is_told_the_stores_revision_once_it_has() {
    let mut stage = Stage::new();
    (0..5).for_each(|_| stage.put("a", "v"));
    let mut cursor = Cursor::new(all(), 2, stage.store.revision());
    assert_eq!(stage.step(&mut cursor, &BOUNDS), Some((Vec::from([2, 3, 4]), 4)));
    assert!(!cursor.in_sync(6) && !cursor.may_promise(6));
    assert_eq!(stage.step(&mut cursor, &BOUNDS), Some((Vec::from([5, 6]), 6)));
    assert!(cursor.in_sync(6) && cursor.may_promise(6));
    assert_eq!(stage.step(&mut cursor, &BOUNDS), None);
    stage.put("b", "v");
    stage.put("c", "v");
    let mut late = Cursor::new(of("b"), 2, stage.store.revision());
    assert_eq!(stage.step(&mut late, &BOUNDS), Some((Vec::from([7]), 8)), "it is up to date");
    let mut live = Cursor::new(of("b"), 0, 6);
    assert_eq!(stage.step(&mut live, &BOUNDS), Some((Vec::from([7]), 7)), "as it always was");
}

#[test]
fn a_watcher_of_the_future_sees_nothing_before_and_is_promised_nothing() {
    let mut stage = Stage::new();
    let mut cursor = Cursor::new(all(), 4, 1);
    for _ in 0..2 {
        stage.put("a", "v");
        assert_eq!(stage.step(&mut cursor, &BOUNDS), None);
        assert!(!cursor.may_promise(2) && cursor.in_sync(2));
    }
    stage.put("a", "v");
    assert_eq!(stage.step(&mut cursor, &BOUNDS), Some((Vec::from([4]), 4)));
}

#[test]
fn one_step_looks_no_further_than_it_may_and_gives_no_more() {
    let mut stage = Stage::new();
    (0..20).for_each(|_| stage.put("a", "v"));
    stage.put("b", "v");
    let wanted = Wanted { range: KeyRange::new(&b"b"[..], &b"d"[..]), ..all() };
    let mut cursor = Cursor::new(wanted, 2, 22);
    assert_eq!(stage.step(&mut cursor, &BOUNDS), None);
    assert_eq!(cursor.next(), 12);
    assert_eq!(stage.step(&mut cursor, &BOUNDS), None);
    assert_eq!(stage.step(&mut cursor, &BOUNDS), Some((Vec::from([22]), 22)));
    let small = Bounds { bytes_target: 1, ..BOUNDS };
    let mut cursor = Cursor::new(all(), 2, 22);
    assert_eq!(stage.step(&mut cursor, &small), Some((Vec::from([2]), 2)));
    assert_eq!(cursor.next(), 3);
}

#[test]
fn what_is_compacted_is_told_and_what_a_live_watcher_was_owed_is_not_lost() {
    let mut stage = Stage::new();
    let mut live = Cursor::new(all(), 0, 1);
    stage.put("a", "1");
    stage.put("a", "2");
    stage.apply(&Command::Compact { revision: 3 });
    let mut late = Cursor::new(all(), 2, 3);
    assert_eq!(late.follow(&stage.recent, 3, &BOUNDS).err(), Some(Lags), "it began below");
    let told = late.advance(&stage.store.view(), &BOUNDS);
    assert_eq!(told.err(), Some(Error::Compacted));
    assert_eq!(stage.step(&mut live, &BOUNDS), Some((Vec::from([2, 3]), 3)));
}

#[test]
fn filters_drop_kinds_and_the_version_before_comes_only_where_it_is_wanted() {
    let mut stage = Stage::new();
    stage.put("a", "1");
    stage.put("a", "2");
    let key = Blob::from(&b"a"[..]);
    stage.apply(&Command::Delete(DeleteRequest { key, ..DeleteRequest::default() }));
    let seen = |wanted: Wanted| {
        let mut cursor = Cursor::new(wanted, 2, 4);
        let batch = cursor.advance(&stage.store.view(), &BOUNDS).expect("history");
        let batch = batch.expect("events");
        let view = Some(stage.store.view()).filter(|_| batch.looks_back());
        let events = events(&batch, view.as_ref());
        events.map(|(e, before)| (e.kv.mod_revision, before.is_some())).collect::<Vec<_>>()
    };
    assert_eq!(seen(all()), [(2, false), (3, true), (4, true)]);
    assert_eq!(seen(Wanted { no_put: true, prev_kv: false, ..all() }), [(4, false)]);
    assert_eq!(seen(Wanted { no_delete: true, ..all() }), [(2, false), (3, true)]);
}

#[test]
fn a_batch_comes_apart_by_bytes_with_one_event_at_least_in_each_part() {
    let mut stage = Stage::new();
    let long = "v".repeat(100);
    let put = |key: &str, value: &str| RequestOp::Put(put(key, value));
    let success = Vec::from([put("a", "v"), put("b", "v"), put("c", &long), put("d", "v")]);
    stage.apply(&Command::Txn(TxnRequest { success, ..TxnRequest::default() }));
    let mut cursor = Cursor::new(all(), 2, 2);
    let batch = cursor.advance(&stage.store.view(), &BOUNDS).expect("history");
    let batch = batch.expect("events");
    let view = stage.store.view();
    let parts = |bytes_max| {
        let parts = parts_of(&batch, (bytes_max, usize::MAX), &view).expect("all of it");
        parts.iter().map(|part| (part.count(), part.more)).collect::<Vec<_>>()
    };
    assert_eq!(parts(1 << 20), [(4, false)]);
    assert_eq!(parts(200), [(2, true), (1, true), (1, false)]);
    assert_eq!(parts(1), [(1, true), (1, true), (1, true), (1, false)]);
    assert_eq!(events(&batch, Some(&view)).count(), 4);
    assert!((400..600).contains(&batch.bytes()), "{}", batch.bytes());
}

#[test]
fn what_was_before_is_of_the_moment_it_is_told_and_parts_are_as_long_as_that_is() {
    let mut stage = Stage::new();
    let long = "v".repeat(1000);
    for key in ["a", "b", "c"] {
        stage.put(key, &long);
    }
    let (key, range_end) = (Blob::from(&b"a"[..]), Blob::from(&b"d"[..]));
    stage.apply(&Command::Delete(DeleteRequest { key, range_end, prev_kv: false }));
    let mut cursor = Cursor::new(all(), 5, 5);
    let batch = cursor.advance(&stage.store.view(), &BOUNDS).expect("history").expect("events");
    assert!(batch.looks_back() && batch.bytes() < 1000, "a deletion is short by itself");
    let before = |view: &View| {
        let events = events(&batch, Some(view));
        events.map(|(_, before)| before.is_some()).collect::<Vec<_>>()
    };
    let parts = |view: &View| parts_of(&batch, (2500, usize::MAX), view).expect("all").len();
    let fits = |view: &View| parts_of(&batch, (usize::MAX, 3000), view).is_some();
    let early = stage.store.view();
    assert_eq!((before(&early), parts(&early), fits(&early)), (Vec::from([true; 3]), 2, false));
    stage.apply(&Command::Compact { revision: 5 });
    let late = stage.store.view();
    assert_eq!((before(&late), parts(&late), fits(&late)), (Vec::from([false; 3]), 1, true));
    assert_eq!((before(&early), parts(&early)), (Vec::from([true; 3]), 2), "a view stays");
}

#[test]
fn the_version_before_is_counted_as_long_as_the_event_and_not_at_a_creation() {
    let mut stage = Stage::new();
    stage.put("a", &"v".repeat(100));
    stage.put("a", &"v".repeat(100));
    let view = stage.store.view();
    let bytes = |wanted: Wanted, start| {
        let mut cursor = Cursor::new(wanted, start, 3);
        let bounds = Bounds { revisions_max: 1, ..BOUNDS };
        cursor.advance(&view, &bounds).expect("history").expect("events").bytes()
    };
    let plain = Wanted { prev_kv: false, ..all() };
    assert_eq!(bytes(all(), 2), bytes(plain.clone(), 2));
    let (with, without) = (bytes(all(), 3), bytes(plain, 3));
    assert_eq!(with - without, KEY_VALUE_OVERHEAD_BYTES + 101);
}
