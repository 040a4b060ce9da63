//! Watches and old reads against known revisions.

use std::sync::Arc;

use base::{Blob, Prng};
use check::etcd::{
    Change, EventKind, KeyValue, Range, ReadFault, Reply, Rule, Seen, Timeline, Watch, WatchEvent,
    WatchRequest, WatchResponse, check_watch,
};

use crate::store::{Store, blob, request};

/// A store's life as revisions.
fn life(seed: u64, count: usize) -> (Timeline, Store) {
    let mut rng = Prng::new(seed);
    let (mut store, mut timeline) = (Store::new(), Timeline::new());
    while timeline.commits().len() < count {
        let asked = request(&mut rng, 0);
        if store.request(&asked).is_some() && !store.changes.is_empty() {
            assert_eq!(timeline.append(store.changes.clone()), store.revision);
        }
    }
    (timeline, store)
}

/// All that a correct server sends: a message a revision, some of them together, and progress.
fn serve(timeline: &Timeline, request: WatchRequest, rng: &mut Prng) -> Watch {
    let header_revision = request.start_revision.max(1);
    let created = WatchResponse { header_revision, created: true, ..WatchResponse::default() };
    let mut responses = vec![created];
    for commit in timeline.commits() {
        if commit.revision < request.start_revision {
            continue;
        }
        let header_revision = commit.revision;
        let events: Vec<WatchEvent> = commit
            .changes
            .iter()
            .filter(|change| {
                let key = &change.key()[..];
                let end = &request.range_end[..];
                let inside = if end.is_empty() { key == &*request.key } else { key < end };
                inside
                    && key >= &*request.key
                    && !matches!(change, Change::Put(_) if request.no_put)
            })
            .map(|change| event(timeline, change, commit.revision, request.prev_kv))
            .collect();
        let last = responses.last_mut().unwrap();
        if !events.is_empty() && last.events.len() == 1 && rng.below(3) == 0 {
            last.events.extend(events);
            last.header_revision = header_revision;
        } else if !events.is_empty() {
            responses.push(WatchResponse { header_revision, events, ..WatchResponse::default() });
        } else if rng.below(3) == 0 {
            responses.push(WatchResponse { header_revision, ..WatchResponse::default() });
        }
    }
    Watch { request, responses, compacted: 0 }
}

fn event(timeline: &Timeline, change: &Change, revision: i64, prev_kv: bool) -> WatchEvent {
    let prev = timeline.get(change.key(), revision - 1).filter(|_| prev_kv).map(Seen::from);
    match change {
        Change::Put(kv) => {
            WatchEvent { kind: EventKind::Put, kv: Seen::from(&**kv), prev_kv: prev }
        }
        Change::Delete(key) => {
            let kv = Seen { key: key.clone(), mod_revision: Some(revision), ..Seen::default() };
            WatchEvent { kind: EventKind::Delete, kv, prev_kv: prev }
        }
    }
}

fn everything(start_revision: i64) -> WatchRequest {
    WatchRequest {
        key: blob("a"),
        range_end: blob("x"),
        start_revision,
        prev_kv: true,
        ..WatchRequest::default()
    }
}

/// The rule that a changed watch breaks.
fn broken(timeline: &Timeline, watch: &Watch) -> Rule {
    check_watch(timeline, watch).expect_err("the change must be noticed").rule
}

/// Message numbers whose events satisfy `test`.
fn messages(watch: &Watch, test: impl Fn(&[WatchEvent]) -> bool) -> Vec<usize> {
    let all = watch.responses.iter().enumerate();
    all.filter(|(_, response)| test(&response.events)).map(|(at, _)| at).collect()
}

#[test]
fn what_a_correct_server_sends_passes_whatever_was_asked() {
    for seed in 0..200 {
        let mut rng = Prng::new(seed);
        let (timeline, _) = life(seed, 40);
        let start_revision = 1 + rng.below(45) as i64;
        let (key, range_end) = [("a", ""), ("b", "d"), ("a", "z")][rng.below(3) as usize];
        let request = WatchRequest {
            key: blob(key),
            range_end: blob(range_end),
            start_revision,
            no_put: rng.below(4) == 0,
            no_delete: false,
            prev_kv: rng.below(2) == 0,
        };
        let watch = serve(&timeline, request, &mut rng);
        let progress = check_watch(&timeline, &watch).unwrap();
        let sent: usize = watch.responses.iter().map(|response| response.events.len()).sum();
        assert_eq!(progress.events, sent);
        assert!(progress.next_revision <= timeline.revision() + 1 || sent == 0);
    }
}

#[test]
fn each_broken_promise_is_named() {
    let (timeline, _) = life(3, 60);
    let good = serve(&timeline, everything(5), &mut Prng::new(3));
    assert!(check_watch(&timeline, &good).is_ok());
    let single = messages(&good, |events| events.len() == 1);
    let double = messages(&good, |events| {
        events.len() > 1 && events[0].kv.mod_revision == events[1].kv.mod_revision
    });
    let (first, second) = (single[1], single[2]);

    let mut watch = good.clone();
    watch.responses.remove(first);
    assert_eq!(broken(&timeline, &watch), Rule::Reliable);

    let mut watch = good.clone();
    let again = watch.responses[first].clone();
    watch.responses.insert(second, again);
    assert_eq!(broken(&timeline, &watch), Rule::Unique);

    let mut watch = good.clone();
    watch.responses[double[0]].events.truncate(1);
    assert_eq!(broken(&timeline, &watch), Rule::Atomic);

    let mut watch = good.clone();
    let rest = watch.responses[double[0]].events.split_off(1);
    let mut later = watch.responses[double[0]].clone();
    later.events = rest;
    watch.responses.insert(double[0] + 1, later);
    assert_eq!(broken(&timeline, &watch), Rule::Atomic);
    watch.responses[double[0]].fragment = true;
    assert!(check_watch(&timeline, &watch).is_ok(), "a marked fragment may be split");

    let mut watch = good.clone();
    watch.request.start_revision += 4;
    assert_eq!(broken(&timeline, &watch), Rule::Resumable);

    let mut watch = good.clone();
    let header_revision = watch.responses[first].events[0].kv.mod_revision.unwrap();
    let early = WatchResponse { header_revision, ..WatchResponse::default() };
    watch.responses.insert(first, early);
    assert_eq!(broken(&timeline, &watch), Rule::Bookmarkable);

    let mut watch = good.clone();
    let never = timeline.revision() + 1;
    watch.responses.push(WatchResponse { header_revision: never, ..WatchResponse::default() });
    assert_eq!(broken(&timeline, &watch), Rule::Bookmarkable);
}

#[test]
fn wrong_contents_are_named() {
    let (timeline, _) = life(3, 60);
    let good = serve(&timeline, everything(5), &mut Prng::new(3));
    let put = messages(&good, |events| {
        events.first().is_some_and(|event| event.kind == EventKind::Put && event.prev_kv.is_some())
    })[0];
    let spoil = |change: &dyn Fn(&mut WatchEvent)| {
        let mut watch = good.clone();
        change(&mut watch.responses[put].events[0]);
        broken(&timeline, &watch)
    };
    assert_eq!(spoil(&|event| event.kv.value = Some(blob("no"))), Rule::True);
    assert_eq!(spoil(&|event| event.kv.version = Some(99)), Rule::True);
    assert_eq!(spoil(&|event| event.kv.mod_revision = Some(999)), Rule::True);
    assert_eq!(spoil(&|event| event.kv.mod_revision = None), Rule::True);
    assert_eq!(spoil(&|event| event.kind = EventKind::Delete), Rule::True);
    assert_eq!(spoil(&|event| event.prev_kv = None), Rule::PrevKv);
    assert_eq!(
        spoil(&|event| event.prev_kv.as_mut().unwrap().value = Some(blob("no"))),
        Rule::PrevKv
    );
    let mut watch = good.clone();
    watch.request.no_put = true;
    assert_eq!(broken(&timeline, &watch), Rule::Filtered);
    let mut watch = good.clone();
    watch.request.prev_kv = false;
    assert_eq!(broken(&timeline, &watch), Rule::PrevKv);
    let mut watch = good.clone();
    watch.responses[put].events[0].prev_kv = None;
    watch.compacted = timeline.revision();
    assert!(check_watch(&timeline, &watch).is_ok(), "compaction may have taken it");
}

#[test]
fn a_watch_may_end_early_but_not_as_compacted_without_reason() {
    let (timeline, _) = life(8, 40);
    let mut watch = serve(&timeline, everything(5), &mut Prng::new(8));
    watch.responses.truncate(4);
    let next = check_watch(&timeline, &watch).unwrap().next_revision;
    let mut end = WatchResponse { canceled: true, ..WatchResponse::default() };
    end.compact_revision = next + 3;
    watch.responses.push(end.clone());
    assert!(check_watch(&timeline, &watch).is_ok());
    end.compact_revision = next;
    *watch.responses.last_mut().unwrap() = end;
    assert_eq!(broken(&timeline, &watch), Rule::Reliable);
}

#[test]
fn a_watch_from_now_on_begins_where_it_was_created() {
    let (timeline, _) = life(4, 30);
    let mut watch = serve(&timeline, everything(11), &mut Prng::new(4));
    watch.request.start_revision = 0;
    watch.responses[0].header_revision = 10;
    assert!(check_watch(&timeline, &watch).is_ok());
    // Revision 11 is due, since the watch was there at 10.
    let at = watch.responses.iter().position(|response| !response.events.is_empty()).unwrap();
    watch.responses.remove(at);
    assert_eq!(broken(&timeline, &watch), Rule::Reliable);
}

#[test]
fn old_reads_are_held_against_their_revision() {
    let mut rng = Prng::new(5);
    let (mut store, mut timeline) = (Store::new(), Timeline::new());
    let mut seen: Vec<(i64, Range, Reply)> = Vec::new();
    for _ in 0..300 {
        let asked = request(&mut rng, 0);
        if let check::etcd::Request::Range(range) = &asked
            && let Some(reply) = store.range(range)
        {
            seen.push((store.revision, range.clone(), reply));
        }
        if store.request(&asked).is_some() && !store.changes.is_empty() {
            timeline.append(store.changes.clone());
        }
    }
    assert!(seen.len() > 60);
    for (header, range, reply) in &seen {
        assert_eq!(timeline.check_read(range, *header, reply), Ok(()), "{range:?}");
    }
    let range = Range { key: blob("a"), range_end: blob("\0"), ..Range::default() };
    let reply = store.range(&range).unwrap();
    let latest = timeline.revision();
    let never = timeline.check_read(&range, latest + 1, &reply);
    assert_eq!(never, Err(ReadFault::NeverMade { revision: latest + 1, last: latest }));
    let wrong = Reply::Range { kvs: vec![], count: Some(99), more: None };
    let differs = timeline.check_read(&range, latest, &wrong);
    assert_eq!(differs, Err(ReadFault::Differs { revision: latest }));
    let future = Range { revision: latest, ..range };
    let fault = timeline.check_read(&future, latest - 1, &reply);
    assert_eq!(fault, Err(ReadFault::Future { asked: latest, header: latest - 1 }));
}

#[test]
fn a_timeline_may_begin_in_the_middle() {
    let kv = KeyValue {
        key: blob("k"),
        value: blob("old"),
        create_revision: 7,
        mod_revision: 9,
        version: 3,
        lease: 0,
    };
    let mut timeline = Timeline::with_keys(20, [kv.clone()]);
    let new = KeyValue { value: blob("new"), mod_revision: 21, version: 4, ..kv.clone() };
    assert_eq!(timeline.append(vec![Change::Put(Arc::new(new.clone()))]), 21);
    let key: Blob = blob("k");
    assert_eq!(timeline.get(&key, 20), Some(&kv));
    assert_eq!(timeline.get(&key, 21), Some(&new));
    assert_eq!(timeline.get(&key, 19), None);
    assert_eq!(timeline.get(&key, i64::MIN), None);
}
