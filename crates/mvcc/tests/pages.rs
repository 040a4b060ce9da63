//! What a range does not answer is counted without a look at each key, at old revisions too.

use base::{Blob, ClusterTime, LogIndex, Prng};
use mvcc::{
    Budget, Command, Counted, DeleteRequest, InMemory, Limits, PutRequest, RangeRequest, RangeWork,
    RequestOp, SortOrder, SortTarget, Store, TxnRequest, View,
};

const KEYS: u64 = 400;

fn key(n: u64) -> Blob {
    Blob::from(format!("k{n:05}").as_bytes())
}

fn put(key: Blob) -> PutRequest {
    PutRequest { key, value: Blob::from(&b"v"[..]), ..PutRequest::default() }
}

fn delete(p: &mut Prng) -> DeleteRequest {
    let from = p.below(KEYS);
    DeleteRequest { key: key(from), range_end: key(from + p.below(4)), prev_kv: false }
}

/// Puts, deletes, and transactions that delete keys and put one of them again.
fn command(p: &mut Prng) -> Command {
    match p.below(8) {
        0 | 1 => Command::Delete(delete(p)),
        2 => {
            let gone = delete(p);
            let again = put(gone.key.clone());
            let success = vec![RequestOp::Delete(gone), RequestOp::Put(again)];
            Command::Txn(TxnRequest { success, ..TxnRequest::default() })
        }
        _ => Command::Put(put(key(p.below(KEYS)))),
    }
}

fn store(p: &mut Prng, commands: u64) -> Store {
    let mut store = Store::new(Limits::default());
    for index in 1..=commands {
        let _ = store.apply(LogIndex(index), ClusterTime(index), &command(p));
    }
    store
}

/// What is answered, and in how many units.
fn run(view: &View, mut work: RangeWork, slice: u64) -> (mvcc::RangeResponse, u64) {
    let mut units = 0;
    loop {
        let mut budget = Budget::new(slice);
        let found = work.run(view, &mut InMemory, &mut budget);
        units += slice - budget.left();
        if let Some(found) = found {
            return (found, units);
        }
    }
}

fn all(view: &View, r: &RangeRequest) -> i64 {
    let (key, range_end, revision) = (r.key.clone(), r.range_end.clone(), r.revision);
    let all = RangeRequest { key, range_end, revision, ..RangeRequest::default() };
    view.read(&all).expect("it can be read").kvs.len() as i64
}

/// The key of the page after this one.
fn next(found: &mvcc::RangeResponse) -> Option<Blob> {
    let last = found.kvs.last().filter(|_| found.more)?;
    Some(Blob::from([&last.key[..], b"\0"].concat()))
}

#[test]
fn the_rest_of_a_page_is_counted_as_if_each_key_was_looked_at() {
    let (mut pages, mut known) = (0, 0);
    for seed in 0..40 {
        let mut p = Prng::new(7000 + seed);
        let view = store(&mut p, 1500).view();
        let revision = view.revision() - p.below(600) as i64;
        let end = [Blob::from(&b"\0"[..]), key(350), key(20)][p.below(3) as usize].clone();
        let mut counted: Vec<Counted> = Vec::new();
        let mut from = Some(key(p.below(30)));
        while let Some(key) = from {
            let limit = 1 + p.below(40) as i64;
            let (range_end, slice) = (end.clone(), [1, 3, 1000][p.below(3) as usize]);
            let r = RangeRequest { key, range_end, limit, revision, ..RangeRequest::default() };
            let mut work = RangeWork::start(&view, &r).expect("it can be read");
            // From one of the pages before, as when another member answered the last one.
            if !counted.is_empty() && p.below(3) > 0 {
                let before = &counted[p.below(counted.len() as u64) as usize];
                work = work.knowing(&view, before.clone());
                known += 1;
            }
            let (found, _) = run(&view, work, slice);
            assert_eq!(found.count, all(&view, &r), "seed {seed}: {r:?}");
            assert_eq!(found.more, found.count > limit, "seed {seed}: {r:?}");
            pages += 1;
            from = next(&found);
            let count = (found.count - found.kvs.len() as i64) as usize;
            counted.extend(from.clone().map(|from| Counted { from, count }));
        }
    }
    assert!(pages > 300 && known > 150, "{pages} pages, {known} that knew");
}

#[test]
fn a_page_at_an_old_revision_costs_what_changed_since_or_what_lies_between_pages() {
    let mut store = Store::new(Limits::default());
    let mut index = 0;
    let mut fill = |store: &mut Store, n: u64| {
        index += 1;
        let command = Command::Put(put(key(n)));
        let _ = store.apply(LogIndex(index), ClusterTime(index), &command);
    };
    (0..20_000).for_each(|n| fill(&mut store, n));
    let revision = store.revision();
    let read = |store: &Store, key: Blob, counted: Option<Counted>| {
        let (range_end, view) = (Blob::from(&b"l"[..]), store.view());
        let r = RangeRequest { key, range_end, limit: 10, revision, ..RangeRequest::default() };
        let mut work = RangeWork::start(&view, &r).expect("it can be read");
        if let Some(counted) = counted {
            work = work.knowing(&view, counted);
        }
        let (found, units) = run(&view, work, 50);
        assert_eq!(found.count, all(&view, &r));
        (found, units)
    };
    (0..100).for_each(|n| fill(&mut store, n));
    let (_, units) = read(&store, key(0), None);
    assert!(units < 300, "a hundred changes were looked back at in {units} units");
    // So much has changed that a look at each key is as cheap.
    (0..20_000).for_each(|n| fill(&mut store, n));
    let (found, units) = read(&store, key(0), None);
    assert!(units >= 20_000, "each key was looked at in {units} units");
    let from = next(&found).expect("there is more");
    let counted = Counted { from: from.clone(), count: found.count as usize - 10 };
    let (_, units) = read(&store, from, Some(counted.clone()));
    assert!(units < 20, "the page behind it took {units} units");
    let (_, units) = read(&store, key(200), Some(counted));
    assert!(units < 300, "a later page took {units} units");
}

#[test]
fn what_another_store_had_counted_is_no_reason_to_stop() {
    let view = store(&mut Prng::new(1), 1500).view();
    let (key, range_end) = (key(200), Blob::from(&b"\0"[..]));
    let revision = view.revision() - 300;
    let r = RangeRequest { key, range_end, limit: 5, revision, ..RangeRequest::default() };
    let work = RangeWork::start(&view, &r).expect("it can be read");
    let counted = Counted { from: self::key(190), count: 0 };
    let (found, _) = run(&view, work.knowing(&view, counted), 50);
    assert_eq!(found.kvs.len(), 5);
}

#[test]
fn a_change_is_looked_back_at_where_that_is_half_the_price_of_the_keys() {
    let mut store = Store::new(Limits::default());
    let mut fill = |n: u64| {
        let index = store.applied_index().next();
        let _ = store.apply(index, ClusterTime(index.0), &Command::Put(put(key(n))));
        (store.view(), store.revision())
    };
    (0..10).for_each(|n| drop(fill(n)));
    let (_, revision) = fill(0);
    let count = |view: &View, range_end: Blob| {
        let (key, count_only) = (key(0), true);
        let r = RangeRequest { key, range_end, count_only, revision, ..RangeRequest::default() };
        let work = RangeWork::start(view, &r).expect("it can be read");
        let (found, units) = run(view, work, 1000);
        (found.count, units)
    };
    let costs: Vec<_> = (1..=5).map(|n| count(&fill(100 + n).0, key(10))).collect();
    // A change costs two units, and ten keys ten.
    assert_eq!(costs, [(10, 2), (10, 4), (10, 6), (10, 8), (10, 10)]);
    let (view, _) = fill(0);
    assert_eq!(count(&view, key(10)), (10, 10), "six are dearer than the keys");
    assert_eq!(count(&view, key(200)), (10, 12), "and not dearer than fifteen keys");
    assert_eq!(count(&view, Blob::default()), (1, 1), "one key is looked up");
    assert_eq!(count(&view, key(0)), (0, 0), "there is no such key");
}

#[test]
fn only_a_first_page_in_the_order_of_keys_says_what_is_behind_it() {
    let mut p = Prng::new(3);
    let view = store(&mut p, 900).view();
    let (start, range_end) = (key(0), Blob::from(&b"l"[..]));
    let page = RangeRequest { key: start, range_end, limit: 7, ..RangeRequest::default() };
    let behind = |r: &RangeRequest| Counted::behind(r, &view.read(r).expect("it can be read"));
    let found = view.read(&page).expect("it can be read");
    let from = next(&found).expect("there is more");
    let count = found.count as usize - 7;
    assert!(count > 0);
    assert_eq!(behind(&page), Some(Counted { from, count }));
    let ascending = RangeRequest { sort_order: SortOrder::Ascend, ..page.clone() };
    assert_eq!(behind(&ascending), behind(&page));
    let others = [
        RangeRequest { limit: 0, ..page.clone() },
        RangeRequest { count_only: true, ..page.clone() },
        RangeRequest { sort_order: SortOrder::Descend, ..page.clone() },
        RangeRequest { sort_target: SortTarget::Mod, ..ascending },
        RangeRequest { min_mod_revision: 1, ..page.clone() },
        RangeRequest { max_create_revision: 999, ..page },
    ];
    assert_eq!(others.each_ref().map(behind), [const { None }; 6]);
}
