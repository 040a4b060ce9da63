mod cold;

use super::*;
use alloc::sync::Arc;
use base::limits::READS_WAITING_MAX;
use core::time::Duration;
use mvcc::{Limits, PutRequest, RangeRequest, Store, View};
use std::vec::Vec;

struct Client {
    left: Cell<bool>,
    full: Cell<bool>,
    owed: Cell<bool>,
    whose: usize,
}

impl Client {
    fn new(whose: usize) -> Rc<Self> {
        Rc::new(Self { left: Cell::default(), full: Cell::default(), owed: Cell::default(), whose })
    }
}

impl later::Asking for Client {
    fn has_left(&self) -> bool {
        self.left.get()
    }
    fn is_late(&self) -> bool {
        false
    }
    fn has_room(&self) -> bool {
        !self.full.get()
    }
    fn may_write(&self) -> bool {
        true
    }
    fn poll_room(&self, _: &mut Context<'_>) -> bool {
        !self.full.get()
    }
    fn poll_long_room(&self, _: &mut Context<'_>) -> bool {
        !self.full.get() && !self.owed.get()
    }
    fn whose(&self) -> usize {
        self.whose
    }
    fn time_left(&self) -> Option<Duration> {
        None
    }
}

type Given = (Box<dyn Work>, Promise<Made>);

/// A store with keys, a clock that each beginning moves, and works that run when they are told to.
struct Scene {
    view: Arc<View>,
    ms: u64,
    clock: Cell<Nanos>,
    begun: Cell<usize>,
    works: RefCell<Vec<Given>>,
}

impl Stage for Scene {
    fn begin(&self, query: &Query) -> Result<Reading, Refusal> {
        self.begun.set(self.begun.get() + 1);
        self.clock.set(self.clock.get().plus(Nanos::from_millis(self.ms)));
        query.begin(self.view.clone(), base::ClusterTime(1), 128).map_err(Refusal::from)
    }
    fn header(&self) -> Header {
        Header::default()
    }
    fn at_hand(&self) -> Box<dyn Values> {
        Box::new(mvcc::InMemory)
    }
    fn run(&self, work: Box<dyn Work>, answer: Promise<Made>) {
        self.works.borrow_mut().push((work, answer));
    }
}

struct Test {
    scene: Rc<Scene>,
    reads: Rc<Reads>,
}

/// Bytes of each value.
const VALUE: usize = 100;

impl Test {
    /// Each read takes so long to begin, and there are so many keys.
    fn new(ms: u64, keys: usize) -> Self {
        let mut store = Store::new(Limits::default());
        for n in 0..keys {
            let key = base::Blob::from(std::format!("k{n:06}").as_bytes());
            let value = base::Blob::from(&[b'v'; VALUE][..]);
            let put = mvcc::Command::Put(PutRequest { key, value, ..PutRequest::default() });
            let index = base::LogIndex(1 + n as u64);
            assert!(store.apply(index, base::ClusterTime(1), &put).result.is_ok());
        }
        let scene = Rc::new(Scene {
            view: Arc::new(store.view()),
            ms,
            clock: Cell::new(Nanos::ZERO),
            begun: Cell::new(0),
            works: RefCell::default(),
        });
        let clock = Rc::clone(&scene);
        let stage: Rc<dyn Stage> = scene.clone();
        Self { reads: Reads::new(Rc::downgrade(&stage), move || clock.clock.get()), scene }
    }

    fn ask(&self, client: &Rc<Client>, query: Query) -> Later<Result<usize, Refusal>> {
        let told = |found: Result<Finding, Refusal>| {
            found.map(|finding| match finding.found {
                Found::Range(range) => range.kvs.len(),
                _ => 0,
            })
        };
        let (read, later) = Read::new(Asker::new(client.clone() as _), query, told);
        self.reads.serve(read);
        later
    }

    fn small(&self, client: &Rc<Client>) -> Later<Result<usize, Refusal>> {
        self.ask(client, Query::Lease { id: 1, keys: false })
    }

    fn all(&self, client: &Rc<Client>) -> Later<Result<usize, Refusal>> {
        let all = base::Blob::from(&b"\0"[..]);
        let range = RangeRequest { key: all.clone(), range_end: all, ..RangeRequest::default() };
        self.ask(client, Query::Range(range))
    }

    fn turn(&self) {
        self.reads.turn(&mut Context::from_waker(Waker::noop()));
    }

    fn works(&self) -> usize {
        self.scene.works.borrow().len()
    }

    /// Runs the oldest work to its end, as long as it is wanted.
    fn work(&self) {
        let (mut work, answer) = self.scene.works.borrow_mut().remove(0);
        while answer.is_wanted() {
            if let Some(made) = work.step(&mut mvcc::InMemory) {
                return answer.keep(made);
            }
        }
    }

    fn waits(&self) -> usize {
        self.reads.lines.borrow().len(For::Turn)
    }

    /// Those that have a place, and those that wait for one.
    fn under_way(&self) -> (usize, usize) {
        (self.reads.places.borrow().len(), self.reads.lines.borrow().len(For::Place))
    }
}

fn got(later: Later<Result<usize, Refusal>>) -> Option<Result<usize, Refusal>> {
    let mut later = later;
    let polled = core::pin::Pin::new(&mut later).poll(&mut Context::from_waker(Waker::noop()));
    match polled {
        core::task::Poll::Ready(value) => value,
        core::task::Poll::Pending => panic!("it has not come"),
    }
}

#[test]
fn reads_wait_their_turn_once_enough_time_was_spent_on_them() {
    let (test, client) = (Test::new(3, 0), Client::new(1));
    let _all: Vec<_> = (0..7).map(|_| test.small(&client)).collect();
    assert_eq!(test.scene.begun.get(), 2, "the second one overshoots");
    test.turn();
    assert_eq!(test.scene.begun.get(), 4);
    test.turn();
    test.turn();
    assert_eq!(test.scene.begun.get(), 7);
}

#[test]
fn a_read_without_room_waits_and_one_whose_caller_left_is_never_made() {
    let test = Test::new(1, 0);
    let (full, gone) = (Client::new(1), Client::new(2));
    full.full.set(true);
    gone.full.set(true);
    let _waits = test.small(&full);
    let _left = test.small(&gone);
    drop(test.small(&full));
    test.turn();
    assert_eq!(test.scene.begun.get(), 0);
    assert_eq!(test.waits(), 3, "who left waits behind who did not");
    gone.left.set(true);
    full.full.set(false);
    test.turn();
    assert_eq!((test.scene.begun.get(), test.waits()), (1, 0));
}

#[test]
fn the_read_too_many_of_a_connection_is_refused_and_reads_of_others_pass_it() {
    let (test, client, other) = (Test::new(0, 0), Client::new(1), Client::new(2));
    client.full.set(true);
    let all: Vec<_> = (0..READS_WAITING_MAX).map(|_| test.small(&client)).collect();
    let refused = Refusal::not_applied(Reason::Overloaded);
    assert_eq!(got(test.small(&client)), Some(Err(refused)));
    assert_eq!(got(test.small(&other)), Some(Ok(0)), "who has room does not wait");
    test.turn();
    assert_eq!(test.waits(), READS_WAITING_MAX);
    other.full.set(true);
    let waits = test.small(&other);
    assert_eq!(test.waits(), READS_WAITING_MAX, "one of the others gave way to it");
    other.full.set(false);
    test.turn();
    assert_eq!(got(waits), Some(Ok(0)));
    drop(all);
}

#[test]
fn where_all_are_too_many_the_longest_line_gives_way() {
    let (test, count) = (Test::new(0, 0), 4);
    let clients: Vec<_> = (1..=count + 1).map(Client::new).collect();
    clients.iter().for_each(|client| client.full.set(true));
    let mut all: Vec<Vec<_>> = clients[..count]
        .iter()
        .map(|client| (0..READS_WAITING_MAX / count).map(|_| test.small(client)).collect())
        .collect();
    let one = test.small(&clients[count]);
    assert_eq!(test.waits(), READS_WAITING_MAX);
    let ended: usize = all.iter_mut().map(|line| usize::from(is_ended(line))).sum();
    assert_eq!(ended, 1, "the last of a longest line was refused");
    clients[count].full.set(false);
    test.turn();
    assert_eq!(got(one), Some(Ok(0)), "and who came last is served as soon as it has room");
}

/// Whether the last read of the line has been refused.
fn is_ended(line: &mut [Later<Result<usize, Refusal>>]) -> bool {
    let last = line.last_mut().expect("it has one");
    let refused = Refusal::not_applied(Reason::Overloaded);
    let polled = core::pin::Pin::new(last).poll(&mut Context::from_waker(Waker::noop()));
    polled == core::task::Poll::Ready(Some(Err(refused)))
}

#[test]
fn a_turn_serves_one_of_each_connection_after_the_other() {
    let (test, greedy, modest) = (Test::new(3, 0), Client::new(1), Client::new(2));
    let _first: Vec<_> = (0..2).map(|_| test.small(&greedy)).collect();
    let _greedy: Vec<_> = (0..20).map(|_| test.small(&greedy)).collect();
    let modest = test.small(&modest);
    test.turn();
    assert_eq!(got(modest), Some(Ok(0)), "it waits for one of the others, not for twenty");
}

#[test]
fn a_long_read_goes_on_apart_and_short_ones_pass_it() {
    let (test, client) = (Test::new(0, 3000), Client::new(1));
    let long = test.all(&client);
    assert_eq!((test.works(), test.under_way()), (1, (1, 0)));
    assert_eq!(got(test.small(&client)), Some(Ok(0)), "on the same connection too");
    test.work();
    assert_eq!(test.under_way(), (0, 0), "whoever writes it down holds no place");
    assert_eq!(got(long), Some(Ok(3000)));
}

#[test]
fn a_long_answer_waits_until_little_is_owed_and_begins_anew_then() {
    // Found in the first slice, and not.
    for keys in [900, 3000] {
        let (test, client, other) = (Test::new(0, keys), Client::new(1), Client::new(2));
        client.owed.set(true);
        let long = test.all(&client);
        assert_eq!((test.works(), test.under_way()), (0, (0, 1)));
        assert_eq!(got(test.small(&client)), Some(Ok(0)), "short ones go on");
        let others = test.all(&other);
        while test.works() > 0 {
            test.work();
        }
        assert_eq!(got(others), Some(Ok(keys)), "those of others too");
        test.turn();
        assert_eq!(test.under_way(), (0, 1));
        client.owed.set(false);
        test.turn();
        test.work();
        assert_eq!(got(long), Some(Ok(keys)));
        assert_eq!((test.works(), test.under_way()), (0, (0, 0)));
    }
}

#[test]
fn how_long_an_answer_gets_is_counted_until_it_is_known_to_be_long() {
    let read = |keys: usize| {
        let kvs = std::vec![mvcc::KeyValue::default(); keys];
        Found::Range(mvcc::RangeResponse { kvs, ..Default::default() })
    };
    let (few, many) = (of_found(&read(10)), of_found(&read(1 << 18)));
    assert!(few < AT_ONCE_BYTES_MAX && many == crate::COUNTED_BYTES_MAX, "{few}, {many}");
    let ranges = std::vec![mvcc::ResponseOp::Range(mvcc::RangeResponse::default()); 3000];
    let txn = mvcc::TxnResponse { responses: ranges, ..Default::default() };
    assert!(of_found(&Found::Txn(txn.clone())) > AT_ONCE_BYTES_MAX);
    let nested = mvcc::ResponseOp::Txn(txn);
    let outer = mvcc::TxnResponse { responses: std::vec![nested; 100], ..Default::default() };
    let written = crate::response_bytes(&mvcc::Response::Txn(outer));
    assert_eq!(written, crate::COUNTED_BYTES_MAX);
}

#[test]
fn long_reads_are_one_for_each_connection_and_few_in_all() {
    let test = Test::new(0, 3000);
    let clients: Vec<_> = (1..=LONG_MAX + 1).map(Client::new).collect();
    let first: Vec<_> = clients.iter().map(|client| test.all(client)).collect();
    let second = test.all(&clients[0]);
    assert_eq!((test.works(), test.under_way()), (LONG_MAX, (LONG_MAX, 2)));
    let mut later = first.into_iter().chain([second]);
    // The first of all is answered: the one too many takes its place, not the same client's.
    test.work();
    test.turn();
    assert_eq!(got(later.next().expect("the first")), Some(Ok(3000)));
    let places = test.reads.places.borrow().clone();
    assert!(places.contains(&(LONG_MAX + 1)) && !places.contains(&1), "{places:?}");
    while test.works() > 0 {
        test.work();
        test.turn();
    }
    assert!(later.all(|later| got(later) == Some(Ok(3000))));
    assert_eq!(test.under_way(), (0, 0));
}

#[test]
fn a_client_that_leaves_gives_its_place_back() {
    let (test, client) = (Test::new(0, 3000), Client::new(1));
    drop(test.all(&client));
    assert_eq!((test.works(), test.under_way()), (1, (1, 0)));
    test.work();
    assert_eq!((test.works(), test.under_way()), (0, (0, 0)));
}

#[test]
fn with_the_member_end_all_reads_wherever_they_wait() {
    let scene = Test::new(0, 3000).scene;
    let stage: Rc<dyn Stage> = scene.clone();
    let reads = Reads::new(Rc::downgrade(&stage), || Nanos::ZERO);
    drop(stage);
    let test = Test { scene, reads };
    let clients: Vec<_> = (1..=LONG_MAX + 1).map(Client::new).collect();
    let all: Vec<_> = clients.iter().map(|client| test.all(client)).collect();
    assert_eq!((test.works(), test.under_way()), (LONG_MAX, (LONG_MAX, 1)));
    let Test { scene, reads } = test;
    let works = scene.works.take();
    let left = Rc::downgrade(&reads);
    drop((scene, reads));
    drop(works);
    assert!(all.into_iter().all(|later| got(later).is_none()));
    assert!(left.upgrade().is_none(), "nothing holds them any more");
}

/// A page, run to its end apart if need be: its keys, and the slices that took.
fn page(test: &Test, client: &Rc<Client>, key: &str, revision: i64) -> (usize, bool) {
    let (key, range_end) = (base::Blob::from(key.as_bytes()), base::Blob::from(&b"\0"[..]));
    let range = RangeRequest { key, range_end, limit: 10, revision, ..RangeRequest::default() };
    let later = test.ask(client, Query::Range(range));
    let apart = test.works() > 0;
    if apart {
        test.work();
    }
    (got(later).expect("an answer").expect("it is read"), apart)
}

#[test]
fn the_next_page_of_a_list_does_not_count_again_what_is_behind_it() {
    let (test, client) = (Test::new(0, 5000), Client::new(1));
    // Half of the keys came after that, so the first page looks at all that it does not answer.
    let old = 2500;
    assert_eq!(page(&test, &client, "k000000", old), (10, true));
    assert_eq!(page(&test, &client, "k000009\0", old), (10, false), "it counts on");
    assert_eq!(page(&test, &client, "k000500", old), (10, false), "so does one further on");
    assert_eq!(page(&test, &client, "k000000", old), (10, true), "not one before them");
    assert_eq!(page(&test, &client, "k000009\0", old + 1), (10, true), "nor at another revision");
    for n in 0..2 * base::limits::PAGES_MAX {
        page(&test, &client, &std::format!("k{n:06}"), 0);
    }
    assert_eq!(page(&test, &client, "k000500", old), (10, true), "old ones are forgotten");
}

#[test]
fn lists_of_leases_and_of_their_keys_are_found_in_slices_and_whole() {
    let mut store = Store::new(Limits::default());
    let mut apply = |command: &mvcc::Command| {
        let index = store.applied_index().next();
        assert!(store.apply(index, base::ClusterTime(1), command).result.is_ok());
    };
    (1..=700).for_each(|id| apply(&mvcc::Command::LeaseGrant { id, ttl: 60 }));
    for n in 0..600 {
        let key = base::Blob::from(std::format!("k{n:04}").as_bytes());
        let put = PutRequest { key, lease: 7, ..PutRequest::default() };
        apply(&mvcc::Command::Put(put));
    }
    let view = Arc::new(store.view());
    for units in [1, 50, 255, 256, 300, 100_000] {
        let run = |query: Query| {
            let mut reading = query.begin(view.clone(), base::ClusterTime(1), 128).unwrap();
            let mut slices = 1;
            loop {
                match reading.run(&mut mvcc::InMemory, &mut Budget::new(units)) {
                    Some(found) => return (found.expect("it is there"), slices),
                    None => slices += 1,
                }
            }
        };
        let (found, slices) = run(Query::Leases);
        assert_eq!(found, Found::Leases((1..=700).collect()));
        assert!(u64::from(slices == 1) == u64::from(units > 700), "{slices} of {units}");
        let (Found::Lease(Some(lease)), _) = run(Query::Lease { id: 7, keys: true }) else {
            panic!("it is known")
        };
        assert_eq!(lease.keys, view.lease_keys_page(7, None, usize::MAX));
        assert_eq!(lease.keys.len(), 600);
        let (found, slices) = run(Query::Lease { id: 9, keys: true });
        assert!(matches!(found, Found::Lease(Some(lease)) if lease.keys.is_empty()) && slices <= 2);
        assert_eq!(run(Query::Lease { id: 999, keys: true }).0, Found::Lease(None));
    }
}
