mod large;

use super::*;
use base::{Blob, ClusterTime, LogIndex, Prng};
use mvcc::{
    Command, DeleteRequest, Event, EventKind, KeyRange, Limits, PutRequest, RequestOp, Store,
    TxnRequest,
};
use std::collections::VecDeque;
use std::format;
use std::vec::Vec;

/// What a watcher was told: revision, key, and whether it was put.
type Seen = (i64, Blob, bool);

struct Twin {
    wanted: Wanted,
    from: i64,
    got: Vec<Seen>,
}

impl Twin {
    /// All there is for it, up to a revision.
    fn expected(&self, history: &[Arc<Changes>], upto: i64) -> Vec<Seen> {
        let mut all = Vec::new();
        for changes in history.iter().filter(|c| (self.from..=upto).contains(&c.revision)) {
            let has = |kind| match kind {
                EventKind::Put => !self.wanted.no_put,
                EventKind::Delete => !self.wanted.no_delete,
            };
            let mine = changes.events.iter().filter(|e| self.wanted.range.matches(&e.kv.key));
            all.extend(mine.filter(|e| has(e.kind)).map(seen));
        }
        all
    }
}

fn seen(event: &Event) -> Seen {
    (event.kv.mod_revision, event.kv.key.clone(), event.kind == EventKind::Put)
}

#[derive(Default)]
struct Stream {
    twins: BTreeMap<i64, Twin>,
    errand: Option<Errand>,
    asleep: bool,
    asked: Option<i64>,
}

struct Stage {
    p: Prng,
    store: Store,
    index: u64,
    history: Vec<Arc<Changes>>,
    unheard: VecDeque<Vec<Arc<Changes>>>,
    feed: Feed,
    streams: BTreeMap<StreamId, Stream>,
    /// Those who had seen all before the batch that was heard last, while nothing else is done
    /// than to serve them.
    at_head: BTreeSet<(StreamId, i64)>,
    /// Kinds of what happened, to see that the test meets them.
    count: BTreeMap<&'static str, u32>,
}

fn key(n: u64) -> Blob {
    Blob::from(format!("k{n:02}").as_bytes())
}

fn range(p: &mut Prng) -> KeyRange {
    match p.below(4) {
        0 => KeyRange::new(&b"\0"[..], &b"\0"[..]),
        1 => KeyRange::new(key(p.below(8)), key(p.below(9))),
        _ => KeyRange::new(key(p.below(8)), Blob::default()),
    }
}

impl Stage {
    fn new(seed: u64) -> Self {
        let mut p = Prng::new(seed);
        let pick = |p: &mut Prng, all: &[usize]| all[p.below(all.len() as u64) as usize];
        let bounds = Bounds {
            revisions_max: 1 + p.below(5) as usize,
            events_max: 1 + p.below(12) as usize,
            bytes_target: pick(&mut p, &[1, 300, 1 << 20]),
        };
        let near_max = p.below(6) as i64;
        let recent_bytes_max = pick(&mut p, &[0, 1000, 3000, 1 << 20]);
        let limits = FeedLimits {
            bounds,
            at_hand_max: 1 + p.below(5) as usize,
            at_hand_bytes_max: pick(&mut p, &[1, 150, 1 << 20]),
            near_max,
            errand_bytes_max: pick(&mut p, &[1, 300, 1 << 20]),
            hear_max: 2 + p.below(4) as usize,
            recent_bytes_max,
        };
        let mut feed = Feed::new(limits, 1);
        let streams = (0..3).map(|_| (feed.open(), Stream::default())).collect();
        let store = Store::new(Limits::default());
        let (history, unheard, count) = (Vec::new(), VecDeque::new(), BTreeMap::new());
        let at_head = BTreeSet::new();
        Self { p, store, index: 0, history, unheard, feed, streams, at_head, count }
    }

    fn note(&mut self, what: &'static str) {
        *self.count.entry(what).or_default() += 1;
    }

    fn command(&mut self) -> Command {
        let p = &mut self.p;
        let put = |p: &mut Prng| PutRequest { key: key(p.below(8)), ..PutRequest::default() };
        match p.below(12) {
            0 | 1 => {
                let range_end = if p.below(3) == 0 { key(9) } else { Blob::default() };
                let key = key(p.below(8));
                Command::Delete(DeleteRequest { key, range_end, prev_kv: false })
            }
            2 | 3 => {
                let mut keys: Vec<u64> = (0..8).collect();
                let success = (0..1 + p.below(3)).map(|_| {
                    let key = key(keys.swap_remove(p.below(keys.len() as u64) as usize));
                    RequestOp::Put(PutRequest { key, ..PutRequest::default() })
                });
                let success = success.collect();
                Command::Txn(TxnRequest { success, ..TxnRequest::default() })
            }
            4 => {
                let revision = self.store.revision() - p.below(6) as i64;
                Command::Compact { revision }
            }
            _ => Command::Put(put(p)),
        }
    }

    fn apply(&mut self) {
        let mut batch = Vec::new();
        for _ in 0..1 + self.p.below(4) {
            let command = self.command();
            self.index += 1;
            let applied = self.store.apply(LogIndex(self.index), ClusterTime(1), &command);
            batch.extend(applied.changes);
        }
        self.history.extend(batch.iter().cloned());
        if !batch.is_empty() {
            self.unheard.push_back(batch);
        }
    }

    fn ring(&mut self, rung: &BTreeSet<StreamId>) {
        for (id, stream) in &mut self.streams {
            stream.asleep &= !rung.contains(id);
        }
    }

    fn hear(&mut self) {
        let Some(batch) = self.unheard.pop_front() else { return };
        let is_alone = self.p.below(4) == 0;
        if is_alone {
            self.hear_all();
        }
        let all = self.streams.iter().flat_map(|(s, stream)| stream.twins.keys().map(|w| (*s, *w)));
        let at_head: BTreeSet<_> = all.filter(|(s, w)| self.feed.quiet(*s, *w).is_some()).collect();
        let rung = self.feed.hear(&batch);
        self.ring(&rung);
        if is_alone {
            self.hear_all();
            self.at_head = at_head;
            self.drain();
            self.at_head.clear();
        }
    }

    fn go_on(&mut self) {
        if self.feed.is_behind() {
            self.note("behind");
        }
        let rung = self.feed.go_on();
        self.ring(&rung);
    }

    fn hear_all(&mut self) {
        while self.feed.is_behind() {
            self.go_on();
        }
    }

    /// Serves all streams for as long as they have something to do.
    fn drain(&mut self) {
        let streams: Vec<_> = self.streams.keys().copied().collect();
        for stream in streams {
            while self.feed.has_work(stream) || self.streams[&stream].errand.is_some() {
                self.serve(stream);
                self.run(stream);
            }
        }
    }

    fn replace(&mut self) {
        // What a checkpoint brought is told by nobody, what came after it is.
        let lost = self.p.below(self.unheard.len() as u64 + 1) as usize;
        self.unheard.drain(..lost);
        let rung = self.feed.replaced(self.store.revision());
        self.ring(&rung);
        self.note("replaced");
    }

    fn watch(&mut self, stream: StreamId) {
        let (id, current) = (self.p.below(6) as i64, self.store.revision());
        if self.streams[&stream].twins.contains_key(&id) {
            return;
        }
        let wanted = Wanted {
            range: range(&mut self.p),
            prev_kv: false,
            no_put: self.p.below(6) == 0,
            no_delete: self.p.below(6) == 0,
        };
        let start = match self.p.below(4) {
            0 => 0,
            1 => current + 1 + self.p.below(4) as i64,
            _ => (current - self.p.below(20) as i64).max(1),
        };
        self.feed.watch((stream, id), wanted.clone(), start, current);
        let from = if start == 0 { current + 1 } else { start };
        let place = self.streams.get_mut(&stream).expect("open");
        place.twins.insert(id, Twin { wanted, from, got: Vec::new() });
        place.asleep = false;
    }

    fn tell(&mut self, stream: StreamId, told: Told) {
        let place = self.streams.get_mut(&stream).expect("open");
        match told {
            Told::Events { watcher, batch } => {
                let twin = place.twins.get_mut(&watcher).expect("whoever is told is there");
                let part = batch.whole(None, &mut mvcc::InMemory).expect("nobody looks back");
                twin.got.extend(part.events().map(|(event, _)| seen(event)));
                let expected = twin.expected(&self.history, i64::MAX);
                assert!(expected.starts_with(&twin.got), "in order, once, without a gap");
                self.note("events");
            }
            Told::Unreadable { why, .. } => panic!("all is in memory: {why}"),
            Told::Compacted { watcher, revision } => {
                let twin = place.twins.remove(&watcher).expect("whoever is told is there");
                assert_eq!(revision, self.store.view().compact_revision().min(revision));
                let expected = twin.expected(&self.history, i64::MAX);
                let last = twin.got.last().map_or(twin.from, |(at, ..)| at + 1);
                assert!(expected.starts_with(&twin.got));
                assert!(last < revision, "something it had not seen is gone");
                assert!(!self.at_head.contains(&(stream, watcher)), "it did not lag");
                self.note("compacted");
            }
            Told::Progress(revision) => {
                assert!(place.asked.take().is_some_and(|asked| asked <= revision));
                for twin in place.twins.values() {
                    assert_eq!(twin.got, twin.expected(&self.history, revision), "it was owed");
                    assert!(twin.from <= revision + 1, "no promise for the future");
                }
                self.note("progress");
            }
        }
    }

    /// One turn of a stream's task.
    fn serve(&mut self, stream: StreamId) {
        let view = self.store.view();
        let place = self.streams.get_mut(&stream).expect("open");
        if !self.feed.has_work(stream) {
            // Also while an errand is under way, which wakes it when it ends.
            place.asleep = true;
            return;
        }
        if place.errand.is_none() {
            place.errand = self.feed.begin(stream, || view.clone());
        }
        let had = place.errand.is_some();
        let told = self.feed.next(stream, || view.clone(), &mut mvcc::InMemory);
        self.count.entry("while out").and_modify(|n| *n += u32::from(had && told.is_some()));
        if let Some(told) = told {
            self.tell(stream, told);
        }
    }

    fn run(&mut self, stream: StreamId) {
        let place = self.streams.get_mut(&stream).expect("open");
        let Some(mut errand) = place.errand.take() else { return };
        if !errand.step(&mut mvcc::InMemory) {
            place.errand = Some(errand);
            return;
        }
        place.asleep = false;
        assert!(self.feed.end(&errand), "nobody left");
        assert!(!self.feed.end(&errand), "once");
        let told = errand.take_told();
        if told.len() > 1 {
            self.note("several");
        }
        told.into_iter().for_each(|told| self.tell(stream, told));
        self.note("errands");
    }

    fn unwatch(&mut self, stream: StreamId) {
        let id = self.p.below(6) as i64;
        let place = self.streams.get_mut(&stream).expect("open");
        assert_eq!(self.feed.unwatch(stream, id), place.twins.remove(&id).is_some());
        if !self.feed.is_out(stream) && place.errand.take().is_some_and(|e| !self.feed.end(&e)) {
            self.note("recalled");
        }
        self.streams.get_mut(&stream).expect("open").asleep = false;
    }

    fn act(&mut self) {
        let n = self.p.below(3) as usize;
        let stream = *self.streams.keys().nth(n).expect("three are open");
        match self.p.below(40) {
            0..8 => self.apply(),
            8..12 => self.hear(),
            12..14 => self.go_on(),
            14..18 => self.watch(stream),
            18..28 => self.serve(stream),
            28..37 => self.run(stream),
            37 => self.unwatch(stream),
            38 => {
                let current = self.store.revision();
                self.feed.want_progress(stream, current);
                let place = self.streams.get_mut(&stream).expect("open");
                place.asked = place.asked.max(Some(current));
                place.asleep = false;
            }
            _ if self.p.below(4) == 0 => self.replace(),
            _ => {}
        }
        let asleep = self.streams.iter().filter(|(_, stream)| stream.asleep);
        for (id, _) in asleep {
            assert!(!self.feed.has_work(*id), "a stream with work sleeps");
        }
    }

    fn finish(&mut self) {
        while !self.unheard.is_empty() {
            self.hear();
        }
        self.hear_all();
        self.drain();
        let streams: Vec<_> = self.streams.keys().copied().collect();
        for stream in streams {
            for (id, twin) in &self.streams[&stream].twins {
                assert_eq!(twin.got, twin.expected(&self.history, i64::MAX), "all there is");
                let now = twin.from <= self.store.revision() + 1;
                assert_eq!(self.feed.quiet(stream, *id).is_some(), now);
            }
            self.feed.close(stream);
        }
        self.hear_all();
        assert!(self.feed.interest.is_empty() && self.feed.streams() == 0);
    }
}

#[test]
fn every_watcher_is_told_what_concerns_it_once_and_in_order_in_any_order_of_things() {
    let mut count = BTreeMap::new();
    for seed in 0..600 {
        let mut stage = Stage::new(seed);
        stage.count.insert("while out", 0);
        (0..400).for_each(|_| stage.act());
        stage.finish();
        for (what, times) in stage.count {
            *count.entry(what).or_insert(0) += times;
        }
    }
    for what in
        ["events", "compacted", "progress", "replaced", "errands", "several", "recalled", "behind"]
    {
        assert!(count.get(what).is_some_and(|times| *times > 40), "{what} of {count:?}");
    }
    assert!(count["while out"] > 200, "{count:?}");
}

fn limits() -> FeedLimits {
    let bounds = Bounds { revisions_max: 100, events_max: 100, bytes_target: 1 << 20 };
    FeedLimits {
        bounds,
        at_hand_max: 100,
        at_hand_bytes_max: 1 << 16,
        near_max: 0,
        errand_bytes_max: 1 << 16,
        hear_max: 1_000,
        recent_bytes_max: 1 << 20,
    }
}

fn change(revision: i64, key: &Blob) -> Arc<Changes> {
    let mut store = Store::new(Limits::default());
    let put = Command::Put(PutRequest { key: key.clone(), ..PutRequest::default() });
    let made = store.apply(LogIndex(1), ClusterTime(1), &put).changes.expect("a revision");
    Arc::new(Changes { revision, events: made.events.clone() })
}

fn no_view() -> View {
    unreachable!("live watchers need no picture")
}

#[test]
fn a_change_costs_those_it_concerns_however_many_watch() {
    const WATCHERS: i64 = 50_000;
    let mut feed = Feed::new(limits(), 1);
    let stream = feed.open();
    let of = |n: i64| {
        let range = KeyRange::new(format!("w{n:05}").as_bytes(), &b""[..]);
        Wanted { range, prev_kv: false, no_put: false, no_delete: false }
    };
    (0..WATCHERS).for_each(|n| feed.watch((stream, n), of(n), 0, 1));
    let other = Blob::from(&b"other"[..]);
    for n in 0..1_000 {
        assert!(feed.hear(&[change(2 + n, &other)]).is_empty(), "nobody is rung");
    }
    assert!(!feed.has_work(stream));
    assert_eq!(feed.met, 0, "nobody is looked at");
    let rung = feed.hear(&[change(1_002, &Blob::from(&b"w00007"[..]))]);
    assert_eq!((rung.len(), feed.met), (1, 1));
    let told = feed.next(stream, no_view, &mut mvcc::InMemory);
    let Some(Told::Events { watcher: 7, batch }) = told else { panic!("{told:?}") };
    assert_eq!((batch.revision(), batch.count()), (1_002, 1));
    assert!(!feed.has_work(stream) && feed.next(stream, no_view, &mut mvcc::InMemory).is_none());
    assert_eq!(feed.quiet(stream, 9), Some(1_002), "its place is where the feed stands");
}

#[test]
fn what_a_picture_showed_is_passed_over_when_it_is_heard() {
    let mut store = Store::new(Limits::default());
    let mut made = Vec::new();
    for n in 0..6 {
        let put = Command::Put(PutRequest { key: key(1), ..PutRequest::default() });
        made.extend(store.apply(LogIndex(n + 1), ClusterTime(1), &put).changes);
    }
    let mut feed = Feed::new(limits(), 1);
    let stream = feed.open();
    feed.hear(&made[..2]); // 2 and 3; the picture has 7
    let range = KeyRange::new(key(1), Blob::default());
    let wanted = Wanted { range, prev_kv: false, no_put: false, no_delete: false };
    feed.watch((stream, 1), wanted.clone(), 2, 7);
    feed.watch((stream, 2), wanted, 0, 7);
    assert!(feed.next(stream, no_view, &mut mvcc::InMemory).is_none(), "it is far behind");
    let mut errand = feed.begin(stream, || store.view()).expect("one lags");
    assert!(errand.step(&mut mvcc::InMemory) && feed.end(&errand));
    let told = errand.take_told();
    let [Told::Events { watcher: 1, batch }] = &told[..] else { panic!("{told:?}") };
    assert_eq!((batch.revision(), batch.count()), (7, 6));
    feed.want_progress(stream, 7);
    assert!(!feed.has_work(stream) && feed.quiet(stream, 1).is_none(), "4 to 7 were not heard");
    assert_eq!(feed.hear(&made[2..5]).len(), 1, "it is looked at once more");
    assert!(!feed.has_work(stream) && feed.next(stream, no_view, &mut mvcc::InMemory).is_none());
    assert_eq!(feed.hear(&made[5..]).len(), 1);
    let told = feed.next(stream, no_view, &mut mvcc::InMemory);
    assert!(matches!(told, Some(Told::Progress(7))), "{told:?}");
}

#[test]
fn a_live_watcher_has_its_place_where_the_feed_stands_when_the_store_is_replaced() {
    let little = FeedLimits { recent_bytes_max: 0, ..limits() };
    let (mut store, mut feed) = (Store::new(Limits::default()), Feed::new(little, 1));
    let stream = feed.open();
    let range = KeyRange::new(key(1), Blob::default());
    let wanted = Wanted { range, prev_kv: false, no_put: false, no_delete: false };
    feed.watch((stream, 1), wanted, 0, 1);
    let mut run = |index: u64, command: &Command| {
        store.apply(LogIndex(index), ClusterTime(1), command).changes
    };
    let put = |n: u64| Command::Put(PutRequest { key: key(n), ..PutRequest::default() });
    for n in 1..=4 {
        let made = run(n, &put(2)).expect("a revision"); // 2 to 5
        assert!(feed.hear(&[made]).is_empty());
    }
    assert!(run(5, &Command::Compact { revision: 5 }).is_none());
    assert!(run(6, &put(1)).is_some() && run(7, &put(2)).is_some());
    assert_eq!(feed.replaced(7).len(), 1);
    assert!(feed.next(stream, no_view, &mut mvcc::InMemory).is_none());
    let mut errand = feed.begin(stream, || store.view()).expect("it may have missed something");
    assert!(errand.step(&mut mvcc::InMemory) && feed.end(&errand));
    let told = errand.take_told();
    let [Told::Events { watcher: 1, batch }] = &told[..] else { panic!("{told:?}") };
    assert_eq!((batch.revision(), batch.count()), (6, 1));
    assert_eq!(feed.quiet(stream, 1), Some(7));
}

#[test]
fn an_errand_leaves_its_picture_to_whoever_looks_back_unless_that_has_grown_old() {
    let mut store = Store::new(Limits::default());
    let mut run = |command: &Command| {
        let index = store.applied_index().next();
        assert!(store.apply(index, ClusterTime(1), command).result.is_ok());
        store.view()
    };
    let number = |n: u16| Blob::from(n.to_be_bytes());
    for n in 0..2_000 {
        run(&Command::Put(PutRequest { key: number(n), ..PutRequest::default() }));
    }
    let remove = |from: u16, to: u16| {
        let (key, range_end) = (number(from), number(to));
        Command::Delete(DeleteRequest { key, range_end, prev_kv: false })
    };
    run(&remove(0, 10)); // 2002, then what takes more slices than an errand has
    let view = run(&remove(10, 2_000));
    for (prev_kv, start, steps, left) in
        [(true, 2_002, 1, true), (false, 2_002, 1, false), (true, 2_003, 20, false)]
    {
        let mut feed = Feed::new(limits(), 1);
        let stream = feed.open();
        let range = KeyRange::new(number(0), number(if start == 2_002 { 10 } else { 2_000 }));
        let wanted = Wanted { range, prev_kv, no_put: false, no_delete: false };
        feed.watch((stream, 1), wanted, start, 2_003);
        assert!(feed.next(stream, no_view, &mut mvcc::InMemory).is_none(), "it lags");
        let mut errand = feed.begin(stream, || view.clone()).expect("one lags");
        assert_eq!(1 + (0..99).take_while(|_| !errand.step(&mut mvcc::InMemory)).count(), steps);
        let view = errand.take_view();
        assert_eq!(view.is_some(), left, "{prev_kv} from {start}");
        assert!(errand.take_view().is_none(), "once");
        let batches = errand.take_batches();
        let [(1, batch)] = &batches[..] else { panic!("{batches:?}") };
        if let Some(view) = &view {
            let part = batch.whole(Some(view), &mut mvcc::InMemory).expect("in memory");
            assert!(part.events().all(|(_, before)| before.is_some()) && batch.looks_back());
        }
    }
}
