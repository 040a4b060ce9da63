//! Reads of versions that have left memory.

use super::{Client, Given, got};
use crate::query::{Found, Query, Reading};
use crate::reads::{Read, Reads, Stage};
use crate::refusal::{Reason, Refusal};
use crate::work::{Made, Work};
use crate::{Finding, Header, LONG_MAX};
use alloc::rc::Rc;
use alloc::sync::Arc;
use base::limits::FETCHING_MAX;
use base::{Blob, ClusterTime, LogIndex, Nanos};
use core::cell::{Cell, RefCell};
use core::task::{Context, Waker};
use later::{Asker, Later, Promise};
use mvcc::{
    Age, Command, File, Limits, PutRequest, RangeRequest, Store, Values, Version, View, Wanted,
};
use std::boxed::Box;
use std::collections::BTreeMap;
use std::string::{String, ToString};
use std::vec::Vec;

/// All versions in one file, which only the works read.
#[derive(Clone, Default)]
struct Files {
    all: BTreeMap<Age, Version>,
    damaged: Option<Age>,
    trouble: Option<String>,
}

impl Values for Files {
    fn version(&mut self, _: &Arc<File>, wanted: Wanted) -> Option<Version> {
        if self.damaged == Some(wanted.age) {
            self.trouble = Some("values-1.qv: block 7".to_string());
            return None;
        }
        Some(self.all[&wanted.age].clone())
    }

    fn versions(&mut self, _: &Arc<File>, from: Age) -> Option<Vec<Version>> {
        Some(self.all.range(from..).take(9).map(|(_, version)| version.clone()).collect())
    }

    fn take_trouble(&mut self) -> Option<String> {
        self.trouble.take()
    }
}

struct Scene {
    store: RefCell<Store>,
    files: RefCell<Files>,
    /// Nothing that was read stays at hand.
    begun: Cell<usize>,
    works: RefCell<Vec<Given>>,
}

impl Stage for Scene {
    fn begin(&self, query: &Query) -> Result<Reading, Refusal> {
        self.begun.set(self.begun.get() + 1);
        query.begin(Arc::new(self.view()), ClusterTime(1), 128).map_err(Refusal::from)
    }
    fn header(&self) -> Header {
        Header::default()
    }
    fn at_hand(&self) -> Box<dyn Values> {
        Box::new(mvcc::Hand::default())
    }
    fn run(&self, work: Box<dyn Work>, answer: Promise<Made>) {
        self.works.borrow_mut().push((work, answer));
    }
}

impl Scene {
    fn view(&self) -> View {
        self.store.borrow().view()
    }

    fn put(&self, key: &str, bytes: usize) {
        let (key, value) = (Blob::from(key.as_bytes()), Blob::from(std::vec![b'v'; bytes]));
        let put = Command::Put(PutRequest { key, value, ..PutRequest::default() });
        let mut store = self.store.borrow_mut();
        let index = store.applied_index().next();
        assert!(store.apply(index, ClusterTime(1), &put).result.is_ok());
        assert!(index > LogIndex::ZERO);
    }

    /// All that is there leaves memory.
    fn settle(&self) {
        let (mut store, mut files) = (self.store.borrow_mut(), self.files.borrow_mut());
        let mut settled = store.settle(1).expect("something is fresh").merge();
        let put = |first, end, versions: &[Version]| {
            files.all.extend(versions.iter().map(|version| (version.age(), version.clone())));
            let count = versions.len() as u64;
            Ok::<_, ()>(File { first, end, generation: 1, versions: count, len: 9, digest: 0 })
        };
        settled.store(100, put).expect("a map takes everything");
        drop(store.settled(settled));
    }
}

struct Test {
    scene: Rc<Scene>,
    reads: Rc<Reads>,
}

impl Test {
    /// So many keys `k000`.. that have left memory.
    fn new(keys: usize, bytes: usize) -> Self {
        let scene = Rc::new(Scene {
            store: RefCell::new(Store::new(Limits::default())),
            files: RefCell::default(),
            begun: Cell::new(0),
            works: RefCell::default(),
        });
        (0..keys).for_each(|n| scene.put(&std::format!("k{n:03}"), bytes));
        scene.settle();
        let stage: Rc<dyn Stage> = scene.clone();
        Self { reads: Reads::new(Rc::downgrade(&stage), || Nanos::ZERO), scene }
    }

    /// Keys from `key` on; how many bytes of values were found.
    fn ask(&self, whose: usize, key: &str, end: &str) -> Later<Result<usize, Refusal>> {
        let told = |found: Result<Finding, Refusal>| {
            found.map(|finding| match finding.found {
                Found::Range(range) => range.kvs.iter().map(|kv| kv.value.len()).sum(),
                _ => 0,
            })
        };
        let (key, range_end) = (Blob::from(key.as_bytes()), Blob::from(end.as_bytes()));
        let range = RangeRequest { key, range_end, ..RangeRequest::default() };
        let asker = Asker::new(Client::new(whose) as _);
        let (read, later) = Read::new(asker, Query::Range(range), told);
        self.reads.serve(read);
        later
    }

    /// Runs the oldest work to its end.
    fn work(&self) {
        let (mut work, answer) = self.scene.works.borrow_mut().remove(0);
        let mut files = self.scene.files.borrow().clone();
        while answer.is_wanted() {
            if let Some(made) = work.step(&mut files) {
                return answer.keep(made);
            }
        }
    }

    fn work_all(&self) {
        while self.works() > 0 {
            self.work();
            self.reads.turn(&mut Context::from_waker(Waker::noop()));
        }
    }

    fn works(&self) -> usize {
        self.scene.works.borrow().len()
    }

    fn places(&self) -> usize {
        self.reads.places.borrow().len()
    }
}

#[test]
fn a_few_versions_are_fetched_without_a_place_and_the_read_begins_again() {
    let test = Test::new(300, 10);
    let (one, some) = (test.ask(1, "k007", ""), test.ask(1, "k010", "k050"));
    assert_eq!((test.works(), test.places(), test.reads.fetching.get()), (2, 0, 2));
    test.scene.put("k007", 99);
    test.work();
    assert_eq!(got(one), Some(Ok(99)), "as it is when it begins again");
    test.work();
    assert_eq!((got(some), test.reads.fetching.get()), (Some(Ok(400)), 0));
    assert_eq!((test.scene.begun.get(), test.works()), (4, 0));
}

#[test]
fn what_changes_while_it_is_fetched_goes_on_in_a_place_at_last() {
    let test = Test::new(8, 10);
    let later = test.ask(1, "k007", "");
    for bytes in [11, 12] {
        assert_eq!(test.places(), 0);
        test.scene.put("k007", bytes);
        test.scene.settle();
        test.work();
    }
    assert_eq!((test.places(), test.works(), test.reads.fetching.get()), (1, 1, 0));
    test.scene.put("k007", 13);
    test.work();
    assert_eq!((got(later), test.places()), (Some(Ok(12)), 0), "from the picture it began on");
}

#[test]
fn much_goes_on_in_a_place_and_so_does_what_comes_while_much_is_fetched() {
    let test = Test::new(300, 3_000);
    let long = test.ask(1, "k000", "k050");
    assert_eq!((test.places(), test.works(), test.reads.fetching.get()), (1, 1, 0), "in bytes");
    test.work();
    assert_eq!(got(long), Some(Ok(150_000)));
    let count = FETCHING_MAX + LONG_MAX + 3;
    let all: Vec<_> = (0..count).map(|n| test.ask(1 + n, &std::format!("k{n:03}"), "")).collect();
    assert_eq!((test.reads.fetching.get(), test.places()), (FETCHING_MAX, LONG_MAX));
    assert_eq!(test.works(), FETCHING_MAX + LONG_MAX, "the others wait for a place");
    test.work_all();
    assert!(all.into_iter().all(|later| got(later) == Some(Ok(3_000))));
    assert_eq!((test.reads.fetching.get(), test.places()), (0, 0));
}

#[test]
fn what_cannot_be_read_is_named_and_costs_no_other() {
    let test = Test::new(100, 2_000);
    test.scene.files.borrow_mut().damaged = Some((2 + 7, 0));
    let (bad, good) = (test.ask(1, "k007", ""), test.ask(1, "k008", ""));
    let (long, other) = (test.ask(2, "k", "l"), test.ask(3, "k008", "l"));
    test.work_all();
    let named = Refusal::not_applied(Reason::Unreadable("values-1.qv: block 7".to_string()));
    assert_eq!((got(bad), got(good)), (Some(Err(named.clone())), Some(Ok(2_000))));
    assert_eq!((got(long), got(other)), (Some(Err(named)), Some(Ok(184_000))));
    assert_eq!((test.reads.fetching.get(), test.places(), test.works()), (0, 0, 0));
}

#[test]
fn who_leaves_while_it_is_fetched_gives_its_room_back() {
    let test = Test::new(9, 10);
    let later = test.ask(1, "k007", "");
    assert_eq!(test.reads.fetching.get(), 1);
    drop(later);
    test.work();
    assert_eq!(test.reads.fetching.get(), 0);
}
