//! What is large is heard, found and let go of bit by bit.

use super::*;

/// A revision that removes so many keys.
fn removal(revision: i64, keys: u64) -> Arc<Changes> {
    let made = change(revision, &Blob::from(&b"k"[..])).events[0].clone();
    let event = |n: u64| {
        let mut event = made.clone();
        let key = Blob::from(format!("k{n:06}").as_bytes());
        let kv = mvcc::KeyValue { key, mod_revision: revision, ..mvcc::KeyValue::default() };
        (event.kind, event.kv) = (EventKind::Delete, kv.into());
        event
    };
    Arc::new(Changes { revision, events: (0..keys).map(event).collect() })
}

fn wanted(start: &str, end: &str) -> Wanted {
    let range = KeyRange::new(start.as_bytes(), end.as_bytes());
    Wanted { range, prev_kv: false, no_put: false, no_delete: false }
}

fn small() -> FeedLimits {
    FeedLimits { hear_max: 200, ..limits() }
}

/// Hears to the end, never looks at more in one go than it may, and says in how many.
fn hear_out(feed: &mut Feed, batch: &[Arc<Changes>]) -> u64 {
    let (mut met, mut slices) = (feed.met, 1);
    drop(feed.hear(batch));
    while feed.is_behind() {
        assert!(feed.met - met <= feed.limits.hear_max as u64);
        met = feed.met;
        drop(feed.go_on());
        slices += 1;
    }
    slices
}

#[test]
fn a_large_change_is_heard_in_slices_and_fed_by_errands_whoever_watches() {
    const KEYS: u64 = 5_000;
    const WATCHERS: i64 = 300;
    let store = Store::new(Limits::default());
    let mut feed = Feed::new(small(), 1);
    let stream = feed.open();
    (0..WATCHERS).for_each(|id| feed.watch((stream, id), wanted("k", "l"), 0, 1));
    let slices = hear_out(&mut feed, &[removal(2, KEYS)]);
    assert!(slices > KEYS / 200, "{slices}");
    assert!(feed.met <= 2 * WATCHERS as u64, "a watcher is met once a run: {}", feed.met);
    assert_eq!(feed.take_gone().len(), 1, "long ones are freed elsewhere");
    feed.want_progress(stream, 2);
    assert!(
        feed.next(stream, no_view, &mut mvcc::InMemory).is_none(),
        "nothing large is made at hand"
    );
    let mut told = 0;
    while feed.has_work(stream) {
        match feed.next(stream, no_view, &mut mvcc::InMemory) {
            Some(Told::Progress(2)) => assert_eq!(told, WATCHERS, "not before what is owed"),
            None => {
                let Some(mut errand) = feed.begin(stream, || store.view()) else { continue };
                let mut slices = 1;
                while !errand.step(&mut mvcc::InMemory) {
                    slices += 1;
                }
                assert!(slices >= KEYS / 100, "{slices}");
                assert!(feed.end(&errand));
                for (_, batch) in errand.take_batches() {
                    assert_eq!((batch.revision(), batch.count() as u64), (2, KEYS));
                    told += 1;
                }
            }
            told => panic!("{told:?}"),
        }
    }
    assert_eq!((told, feed.quiet(stream, 0)), (WATCHERS, Some(2)));
}

#[test]
fn watchers_of_one_key_are_found_and_forgotten_in_slices() {
    let mut feed = Feed::new(small(), 1);
    let (stream, other) = (feed.open(), feed.open());
    (0..1_000).for_each(|id| feed.watch((stream, id), wanted("k", ""), 0, 1));
    (1_000..2_000).for_each(|id| feed.watch((stream, id), wanted("k", "k0"), 0, 1));
    feed.watch((other, 1), wanted("k", "k0"), 0, 1);
    let slices = hear_out(&mut feed, &[change(2, &Blob::from(&b"k"[..]))]);
    assert!((10..20).contains(&slices), "{slices}");
    assert_eq!(feed.met, 2_001, "each of them once");
    let (mut missed, mut rung) = (1, feed.replaced(9));
    while feed.is_behind() {
        rung.append(&mut feed.go_on());
        missed += 1;
    }
    assert!((10..20).contains(&missed) && rung.is_empty(), "{missed}: all were owed something");
    feed.close(stream);
    assert!(feed.is_behind() && feed.streams() == 1 && feed.watchers() > 1_500);
    // What is heard meanwhile concerns nobody there.
    assert!(!feed.hear(&[change(10, &Blob::from(&b"k"[..]))]).contains(&stream));
    while feed.is_behind() {
        drop(feed.go_on());
    }
    assert_eq!((feed.watchers(), feed.quiet(other, 1)), (1, None));
}

#[test]
fn watchers_that_come_back_together_are_fed_by_few_errands() {
    const WATCHERS: u64 = 2_000;
    let mut store = Store::new(Limits::default());
    for n in 0..WATCHERS {
        let put = Command::Put(PutRequest { key: key(n), ..PutRequest::default() });
        assert!(store.apply(LogIndex(n + 1), ClusterTime(1), &put).result.is_ok());
    }
    let current = store.revision();
    let mut feed = Feed::new(limits(), current);
    let stream = feed.open();
    for n in 0..WATCHERS {
        let range = KeyRange::new(key(n), Blob::default());
        let wanted = Wanted { range, prev_kv: false, no_put: false, no_delete: false };
        feed.watch((stream, n as i64), wanted, 2, current);
    }
    let (mut errands, mut told) = (0, 0);
    while feed.has_work(stream) {
        assert!(feed.next(stream, || store.view(), &mut mvcc::InMemory).is_none());
        let Some(mut errand) = feed.begin(stream, || store.view()) else { continue };
        while !errand.step(&mut mvcc::InMemory) {}
        assert!(feed.end(&errand));
        told += errand.take_batches().len() as u64;
        errands += 1;
    }
    assert_eq!(told, WATCHERS);
    assert!(errands <= 2 * WATCHERS as usize / ERRAND_WATCHERS_MAX, "{errands}");
}

#[test]
fn what_waits_to_be_heard_is_bounded_and_looked_up_instead() {
    use base::limits::EVENTS_UNHEARD_MAX;
    let mut feed = Feed::new(small(), 1);
    let stream = feed.open();
    feed.watch((stream, 1), wanted("k", "l"), 0, 1);
    let one = removal(2, 10_000);
    let of = |revision| Arc::new(Changes { revision, events: one.events.clone() });
    let many = EVENTS_UNHEARD_MAX as i64 / 10_000 + 3;
    for revision in 2..2 + many {
        drop(feed.hear(&[of(revision)]));
        assert!(feed.hearing.events() <= EVENTS_UNHEARD_MAX);
    }
    assert!(feed.take_gone().len() as i64 >= many - 3, "they are told to nobody");
    while feed.is_behind() {
        drop(feed.go_on());
    }
    feed.want_progress(stream, 1);
    assert!(feed.next(stream, no_view, &mut mvcc::InMemory).is_none() && feed.wants_errand(stream));
    assert_eq!(feed.head, 1 + many, "all of them are accounted for");
}
