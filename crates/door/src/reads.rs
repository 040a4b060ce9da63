//! Reads in their turn: only for whom they are still of use, only where there is room for the
//! answer, and no more at a time than the rest of the member can wait for.
//!
//! Each begins with one slice where it was asked for, which is all that most need. Where little has
//! left memory of what that needs, it is fetched, no picture is held meanwhile, and the read begins
//! again. What is not done by then goes on apart, from the picture it began on: one at a time for
//! each connection, and no more than [`LONG_MAX`] in all, so that pictures have a bound. What was
//! found is handed over without one, and writing it down holds no place here; whoever is owed too
//! much of other long answers waits with the next.

use crate::answer::Answer;
use crate::facts::Header;
use crate::query::{Found, Query, Reading};
use crate::refusal::{Reason, Refusal};
use crate::weight::of_found;
use crate::work::{Made, Work};
use alloc::boxed::Box;
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use base::Nanos;
use base::limits::{AT_ONCE_BYTES_MAX, FETCHING_MAX, LONG_MAX};
use core::cell::{Cell, RefCell};
use core::task::{Context, Waker};
use later::{Asker, Later, Promise, promise};
use lines::{For, Lines};
use mvcc::{Budget, Fetch, FetchOutcome, Hand, Values};
use pages::Pages;

mod lines;
mod pages;

/// Time spent on reads before everything else gets its turn; one first slice overshoots.
const TURN_MAX: Nanos = Nanos::from_millis(5);
/// Units of the first slice: some tenths of a millisecond.
const FIRST_UNITS: u64 = 1000;
/// Units of each slice apart: about a millisecond.
const SLICE_UNITS: u64 = 4096;
/// Versions that are fetched for a read; one that needs more goes on apart.
const FETCH_MAX: usize = 64;
/// How often they are: what it reads may change meanwhile, or turn out to be long.
const FETCHES_MAX: u8 = 2;

/// What a read is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What the answer says of where it comes from.
    pub header: Header,
    /// What was found; it shares its keys and values with the store.
    pub found: Found,
    /// Bytes of an answer that tells it, about; [`crate::COUNTED_BYTES_MAX`] stands for more.
    pub bytes: usize,
}

/// One read: what is wanted, and who waits for it.
pub struct Read {
    query: Query,
    answer: Answer<Finding>,
    /// What was fetched for it, how often.
    hand: Hand,
    fetches: u8,
}

impl Read {
    /// `told` makes the answer of what was found, or of why there is none, where it was asked for:
    /// what is longer than [`AT_ONCE_BYTES_MAX`] is not to be written down there in one step.
    pub fn new<U: 'static>(
        asker: Asker,
        query: Query,
        told: impl FnOnce(Result<Finding, Refusal>) -> U + 'static,
    ) -> (Self, Later<U>) {
        let (answer, later) = promise(asker, told);
        (Self { query, answer, hand: Hand::default(), fetches: 0 }, later)
    }

    /// Whoever asked, to be answered with a refusal in place of the read.
    pub fn refuse(self, refusal: Refusal) {
        self.answer.keep(Err(refusal));
    }

    /// Somebody waits for it.
    pub fn is_wanted(&self) -> bool {
        self.answer.is_wanted()
    }

    /// What is wanted.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// Who waits for it.
    pub fn asker(&self) -> &Asker {
        self.answer.asker()
    }
}

/// Where reads are carried out.
pub trait Stage {
    /// Begins one, from the state as it is.
    ///
    /// # Errors
    /// What the data model refuses, or why there is no state to read.
    fn begin(&self, query: &Query) -> Result<Reading, Refusal>;
    /// As the door's.
    fn header(&self) -> Header;
    /// As the door's.
    fn at_hand(&self) -> Box<dyn Values>;
    /// As the door's.
    fn run(&self, work: Box<dyn Work>, answer: Promise<Made>);
}

/// The reads of one member whose state is fresh enough.
pub struct Reads {
    me: Weak<Self>,
    stage: Weak<dyn Stage>,
    /// The caller's clock.
    now: Box<dyn Fn() -> Nanos>,
    /// Those that wait, for a turn or, known to be long, for a place.
    lines: RefCell<Lines>,
    /// Whose long reads are under way.
    places: RefCell<Vec<usize>>,
    /// Reads that versions are fetched for.
    fetching: Cell<usize>,
    pages: RefCell<Pages>,
    /// Spent on reads since the queue had its last turn.
    spent: Cell<Nanos>,
    waker: RefCell<Option<Waker>>,
}

/// A place among the long reads, held until what was found is handed over.
struct Place {
    reads: Rc<Reads>,
    whose: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.reads.places.borrow_mut();
        let at = places.iter().position(|whose| *whose == self.whose);
        places.swap_remove(at.expect("a place is given back once"));
        drop(places);
        self.reads.wake();
    }
}

/// Looks on, a slice at a time.
struct Looks(Reading);

impl Work for Looks {
    fn step(&mut self, values: &mut dyn Values) -> Option<Made> {
        let found = self.0.run(values, &mut Budget::new(SLICE_UNITS))?;
        Some(Box::new(found.map(weighed)) as Made)
    }
}

/// Reads a few versions, all of them at once.
struct Fetches(Vec<Fetch>);

impl Work for Fetches {
    fn step(&mut self, values: &mut dyn Values) -> Option<Made> {
        let fetched: FetchOutcome = Fetch::read_all(core::mem::take(&mut self.0), values);
        Some(Box::new(fetched))
    }
}

/// One that versions are fetched for, until they have come.
struct Fetching(Rc<Reads>);

impl Drop for Fetching {
    fn drop(&mut self) {
        assert!(self.0.fetching.get() > 0, "each was counted once");
        self.0.fetching.set(self.0.fetching.get() - 1);
    }
}

type Weighed = (Found, usize);

fn weighed(found: Found) -> Weighed {
    let bytes = of_found(&found);
    (found, bytes)
}

impl Reads {
    /// `now` tells how long reads take.
    pub fn new(stage: Weak<dyn Stage>, now: impl Fn() -> Nanos + 'static) -> Rc<Self> {
        Rc::new_cyclic(|me| Self {
            me: me.clone(),
            stage,
            now: Box::new(now),
            lines: RefCell::default(),
            places: RefCell::default(),
            fetching: Cell::new(0),
            pages: RefCell::default(),
            spent: Cell::new(Nanos::ZERO),
            waker: RefCell::default(),
        })
    }

    /// Reads and answers, now or in turn, unless whoever asked leaves before.
    pub fn serve(&self, read: Read) {
        let clear = self.lines.borrow().is_clear(read.asker().whose());
        if clear && self.spent.get() < TURN_MAX && read.asker().has_room() {
            return self.first(read);
        }
        self.wait(read, For::Turn);
    }

    fn wait(&self, read: Read, waits: For) {
        let gone = self.lines.borrow_mut().push(read, waits);
        if let Some(gone) = gone {
            gone.refuse(Refusal::not_applied(Reason::Overloaded));
        }
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn place(&self, whose: usize) -> Option<Place> {
        let mut places = self.places.borrow_mut();
        // 0 shares its hands with nobody.
        if places.len() >= LONG_MAX || (whose != 0 && places.contains(&whose)) {
            return None;
        }
        let reads = self.me.upgrade()?;
        places.push(whose);
        assert!(places.len() <= LONG_MAX, "pictures that are held are bounded");
        Some(Place { reads, whose })
    }

    /// Begins one, none for whoever left or may not see what there is.
    fn begin(&self, read: Read) -> Option<(Reading, Read, Rc<dyn Stage>)> {
        if !read.is_wanted() {
            read.refuse(Refusal::not_applied(Reason::Deadline));
            return None;
        }
        let Some(stage) = self.stage.upgrade() else {
            read.refuse(Refusal::stopped());
            return None;
        };
        match stage.begin(&read.query) {
            Ok(reading) => {
                let reading = match self.pages.borrow().known(&read.query) {
                    Some(counted) => reading.knowing(counted),
                    None => reading,
                };
                Some((reading, read, stage))
            }
            Err(refusal) => {
                read.refuse(refusal);
                None
            }
        }
    }

    /// The first slice, and the answer where that is all.
    fn first(&self, read: Read) {
        let began = (self.now)();
        if let Some((mut reading, mut read, stage)) = self.begin(read) {
            let mut at_hand = stage.at_hand();
            let values = &mut read.hand.beside(&mut *at_hand);
            let found = reading.run(values, &mut Budget::new(FIRST_UNITS));
            if let Some(Ok(found)) = &found {
                self.pages.borrow_mut().note(&read.query, found);
            }
            match found.map(|found| found.map(weighed)) {
                Some(Err(refusal)) => read.answer.keep(Err(refusal)),
                Some(Ok((found, bytes))) if bytes <= AT_ONCE_BYTES_MAX || may_be_long(&read) => {
                    read.answer.keep(Ok(Finding { header: stage.header(), found, bytes }));
                }
                // From the beginning, once there is room for it.
                Some(Ok(_)) => self.wait(read, For::Place),
                None if self.may_fetch(&read) => self.fetch(read, &*stage),
                None => self.apart(reading, read),
            }
        }
        let took = (self.now)().since(began);
        self.spent.set(self.spent.get().plus(took));
    }

    /// Little of what it needs has left memory, and it is not longer than that.
    fn may_fetch(&self, read: &Read) -> bool {
        let Read { hand, fetches, .. } = read;
        let bytes = hand.asked_bytes().is_some_and(|bytes| bytes <= AT_ONCE_BYTES_MAX as u64);
        let is_short = hand.waits() && bytes && hand.asked().len() <= FETCH_MAX;
        is_short && *fetches < FETCHES_MAX && self.fetching.get() < FETCHING_MAX
    }

    /// Has what it needs fetched; then it begins again.
    fn fetch(&self, read: Read, stage: &dyn Stage) {
        let Some(reads) = self.me.upgrade() else { return read.refuse(Refusal::stopped()) };
        self.fetching.set(self.fetching.get() + 1);
        let fetching = Fetching(reads);
        let Read { query, answer, mut hand, fetches } = read;
        let asked = hand.asked();
        assert!(!asked.is_empty() && asked.len() <= FETCH_MAX, "a few are missing");
        assert!(self.fetching.get() <= FETCHING_MAX, "and few reads wait for some");
        let fetched = answer.before(move |made: Option<Made>, answer: Answer<Finding>| {
            // None: whoever asked has left, or the member ends.
            let Some(made) = made else { return };
            let Fetching(reads) = &fetching;
            let fetched = made.downcast::<FetchOutcome>();
            match *fetched.expect("it is what was fetched") {
                Err((_, why)) => answer.keep(Err(Refusal::not_applied(Reason::Unreadable(why)))),
                Ok(fetched) => {
                    hand.take(fetched);
                    let fetches = fetches + 1;
                    reads.serve(Read { query, answer, hand, fetches });
                }
            }
            drop(fetching);
        });
        stage.run(Box::new(Fetches(asked)), fetched);
    }

    /// Goes on apart, now or when there is a place: then from the beginning, as no picture is held
    /// for who waits.
    fn apart(&self, reading: Reading, read: Read) {
        let goes = may_be_long(&read);
        match if goes { self.place(read.asker().whose()) } else { None } {
            Some(place) => self.look_on(reading, read, place),
            None => self.wait(read, For::Place),
        }
    }

    fn look_on(&self, reading: Reading, read: Read, place: Place) {
        let Some(stage) = self.stage.upgrade() else { return };
        assert_eq!(place.whose, read.asker().whose(), "it looks on in its own place");
        self.lines.borrow_mut().note_served(place.whose, For::Place);
        let tells = Weak::clone(&self.stage);
        let Read { query, answer, .. } = read;
        let found = answer.before(move |made: Option<Made>, answer: Answer<Finding>| {
            // None: whoever asked has left, or it panicked; the promise goes with its place.
            let (Some(made), Some(stage)) = (made, tells.upgrade()) else { return };
            let found = made.downcast::<Result<Weighed, Refusal>>();
            match *found.expect("it is what was looked for") {
                Err(refusal) => answer.keep(Err(refusal)),
                Ok((found, bytes)) => {
                    place.reads.pages.borrow_mut().note(&query, &found);
                    answer.keep(Ok(Finding { header: stage.header(), found, bytes }));
                }
            }
            drop(place);
        });
        stage.run(Box::new(Looks(reading)), found);
    }

    /// Serves what waits, for one turn; wakes the task when there is more to do.
    pub fn turn(&self, cx: &mut Context<'_>) {
        self.spent.set(Nanos::ZERO);
        *self.waker.borrow_mut() = Some(cx.waker().clone());
        // One of each connection after the other.
        let mut order = self.lines.borrow_mut().order(For::Turn);
        while let Some(whose) = order.pop_front() {
            let Some(read) = self.lines.borrow_mut().pop(whose, For::Turn) else { continue };
            // Who has left needs no room, and makes some.
            if !read.asker().poll_room(cx) && read.is_wanted() {
                self.lines.borrow_mut().put_back(read, For::Turn);
                continue;
            }
            self.lines.borrow_mut().note_served(whose, For::Turn);
            self.first(read);
            order.push_back(whose);
            if self.spent.get() >= TURN_MAX {
                cx.waker().wake_by_ref();
                break;
            }
        }
        self.turn_long(cx);
    }

    fn turn_long(&self, cx: &mut Context<'_>) {
        let mut order = self.lines.borrow_mut().order(For::Place);
        while let Some(whose) = order.pop_front() {
            let Some(read) = self.lines.borrow_mut().pop(whose, For::Place) else { continue };
            // Who has left needs no place: it is refused where it would begin.
            let needs = read.is_wanted();
            let goes = needs && read.asker().poll_long_room(cx);
            let place = if goes { self.place(whose) } else { None };
            if needs && place.is_none() {
                self.lines.borrow_mut().put_back(read, For::Place);
                continue;
            }
            if let Some((reading, read, _)) = self.begin(read) {
                self.look_on(reading, read, place.expect("who is begun is wanted"));
            }
            order.push_back(whose);
        }
    }
}

/// Whether a long answer may be made for it now.
fn may_be_long(read: &Read) -> bool {
    read.asker().poll_long_room(&mut Context::from_waker(Waker::noop()))
}

#[cfg(test)]
mod tests;
