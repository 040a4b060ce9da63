//! Reads in their turn: only for whom they are still of use, only where there is room for the
//! answer, and no more at a time than the rest of the member can wait for.
//!
//! Each begins with one slice where it was asked for, which is all that most need. What is not
//! done by then, or is long to write down, goes on apart, from the picture it began on: one at a
//! time for each connection, and no more than [`LONG_MAX`] in all, so that pictures and answers in
//! the making have a bound.

use crate::ask::Answer;
use crate::facts::Header;
use crate::query::{Found, Query, Reading};
use crate::refusal::{Reason, Refusal};
use crate::work::{Made, Work};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use base::Nanos;
use core::cell::{Cell, RefCell};
use core::task::{Context, Waker};
use later::{Asker, Later, Promise, promise};
use mvcc::{Budget, Error};

/// Reads that wait for their turn or for room.
pub const READS_WAITING_MAX: usize = 16_384;
/// Long reads under way.
pub const LONG_MAX: usize = 4;
/// Time spent on reads before everything else gets its turn; one first slice overshoots.
const TURN_MAX: Nanos = Nanos::from_millis(5);
/// Units of the first slice: some tenths of a millisecond.
const FIRST_UNITS: u64 = 1000;
/// Units of each slice apart: about a millisecond.
const SLICE_UNITS: u64 = 4096;
/// Bytes of an answer that is written down at once.
const AT_ONCE_BYTES_MAX: usize = 128 << 10;
/// Bytes of long answers that are written down at the same time; one alone may have more.
const MAKING_BYTES_MAX: usize = 256 << 20;

type Render = Box<dyn FnOnce(Header, Found) -> Made + Send>;

/// One read: what is wanted, how it is written down, and who waits for that.
pub struct Read {
    query: Query,
    render: Render,
    answer: Answer<Made>,
}

impl Read {
    /// `render` writes down what was found, on any thread; `told` makes the answer of that where
    /// it was asked for, or of why there is none.
    pub fn new<T: Send + 'static, U: 'static>(
        asker: Asker,
        query: Query,
        render: impl FnOnce(Header, Found) -> T + Send + 'static,
        told: impl FnOnce(Result<T, Refusal>) -> U + 'static,
    ) -> (Self, Later<U>) {
        let typed = |made: Made| *made.downcast::<T>().expect("it is what `render` made");
        let (answer, later) =
            promise(asker, move |made: Result<Made, Refusal>| told(made.map(typed)));
        let render = Box::new(|header, found| Box::new(render(header, found)) as Made);
        (Self { query, render, answer }, later)
    }

    /// Whoever asked, to be answered with a refusal in place of the read.
    pub fn refuse(self, refusal: Refusal) {
        self.answer.keep(Err(refusal));
    }

    /// Somebody waits for it.
    pub fn is_wanted(&self) -> bool {
        self.answer.is_wanted()
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
    fn run(&self, work: Box<dyn Work>, answer: Promise<Made>);
}

/// The reads of one member whose state is fresh enough.
pub struct Reads {
    me: Weak<Self>,
    stage: Weak<dyn Stage>,
    /// The caller's clock.
    now: Box<dyn Fn() -> Nanos>,
    waiting: RefCell<VecDeque<Read>>,
    /// Those that are known to be long, and wait for a place.
    long: RefCell<VecDeque<Read>>,
    /// Whose long reads are under way.
    places: RefCell<Vec<usize>>,
    /// Found, and too long to be written down beside what is being written.
    unmade: RefCell<VecDeque<Unmade>>,
    /// Bytes being written down.
    making: Cell<usize>,
    /// Spent on reads since the queue had its last turn.
    spent: Cell<Nanos>,
    waker: RefCell<Option<Waker>>,
}

/// A place among the long reads, held until the answer is handed over.
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

struct Unmade {
    found: Found,
    render: Render,
    answer: Answer<Made>,
    place: Place,
}

/// Looks on, a slice at a time.
struct Looks(Reading);

impl Work for Looks {
    fn step(&mut self) -> Option<Made> {
        let found = self.0.run(&mut Budget::new(SLICE_UNITS))?;
        Some(Box::new(found))
    }
}

/// Writes down what was found.
struct Writes(Option<(Render, Header, Found)>);

impl Work for Writes {
    fn step(&mut self) -> Option<Made> {
        let (render, header, found) = self.0.take()?;
        Some(render(header, found))
    }
}

impl Reads {
    /// `now` tells how long reads take.
    pub fn new(stage: Weak<dyn Stage>, now: impl Fn() -> Nanos + 'static) -> Rc<Self> {
        Rc::new_cyclic(|me| Self {
            me: me.clone(),
            stage,
            now: Box::new(now),
            waiting: RefCell::default(),
            long: RefCell::default(),
            places: RefCell::default(),
            unmade: RefCell::default(),
            making: Cell::new(0),
            spent: Cell::new(Nanos::ZERO),
            waker: RefCell::default(),
        })
    }

    /// Reads and answers, now or in turn, unless whoever asked leaves before.
    pub fn serve(&self, read: Read) {
        let clear = self.waiting.borrow().is_empty() && self.spent.get() < TURN_MAX;
        if clear && read.asker().has_room() {
            return self.first(read);
        }
        if self.may_wait() {
            self.waiting.borrow_mut().push_back(read);
            self.wake();
        } else {
            read.refuse(Refusal::not_applied(Reason::Overloaded));
        }
    }

    fn may_wait(&self) -> bool {
        self.waiting.borrow().len() + self.long.borrow().len() < READS_WAITING_MAX
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
            Ok(reading) => Some((reading, read, stage)),
            Err(refusal) => {
                read.refuse(refusal);
                None
            }
        }
    }

    /// The first slice, and the answer where that is all.
    fn first(&self, read: Read) {
        let began = (self.now)();
        if let Some((mut reading, read, stage)) = self.begin(read) {
            let is_long = read.query.is_long();
            let mut budget = Budget::new(FIRST_UNITS);
            let found = if is_long { None } else { reading.run(&mut budget) };
            match found {
                Some(Err(error)) => read.answer.keep(Err(error.into())),
                Some(Ok(found)) if found.bytes() <= AT_ONCE_BYTES_MAX => {
                    read.answer.keep(Ok((read.render)(stage.header(), found)));
                }
                found => self.apart(reading, found, read),
            }
        }
        let took = (self.now)().since(began);
        self.spent.set(self.spent.get().plus(took));
    }

    /// Goes on apart, now or when there is a place: then from the beginning, as no picture is held
    /// for who waits.
    fn apart(&self, reading: Reading, found: Option<Result<Found, Error>>, read: Read) {
        let Some(place) = self.place(read.asker().whose()) else {
            if self.may_wait() {
                self.long.borrow_mut().push_back(read);
            } else {
                read.refuse(Refusal::not_applied(Reason::Overloaded));
            }
            return;
        };
        match found {
            Some(found) => self.write_down(found, read.render, read.answer, place),
            None => self.look_on(reading, read, place),
        }
    }

    fn look_on(&self, reading: Reading, read: Read, place: Place) {
        let Some(stage) = self.stage.upgrade() else { return };
        let Read { render, answer, .. } = read;
        let found = answer.before(move |made: Option<Made>, answer| {
            // None: whoever asked has left, or it panicked; the promise goes with its place.
            let Some(made) = made else { return };
            let found = made.downcast::<Result<Found, Error>>().expect("it is what was looked for");
            let reads = Rc::clone(&place.reads);
            reads.write_down(*found, render, answer, place);
        });
        stage.run(Box::new(Looks(reading)), found);
    }

    fn write_down(
        &self,
        found: Result<Found, Error>,
        render: Render,
        answer: Answer<Made>,
        place: Place,
    ) {
        match found {
            Err(error) => answer.keep(Err(error.into())),
            Ok(found) => {
                self.unmade.borrow_mut().push_back(Unmade { found, render, answer, place });
                self.make();
            }
        }
    }

    /// Has written down what there is room for, in order.
    fn make(&self) {
        loop {
            let mut unmade = self.unmade.borrow_mut();
            let Some(first) = unmade.front() else { return };
            let (bytes, making) = (first.found.bytes(), self.making.get());
            if making > 0 && making + bytes > MAKING_BYTES_MAX {
                return;
            }
            let Unmade { found, render, answer, place } =
                unmade.pop_front().expect("it was just looked at");
            drop(unmade);
            let Some(stage) = self.stage.upgrade() else {
                // The member has ended. What waits here has a place, which holds all of this.
                drop(self.unmade.take());
                return;
            };
            self.making.set(making + bytes);
            let done = answer.before(move |made: Option<Made>, answer: Answer<Made>| {
                let reads = Rc::clone(&place.reads);
                reads.making.set(reads.making.get() - bytes);
                if let Some(made) = made {
                    answer.keep(Ok(made));
                }
                drop(place);
                reads.make();
            });
            stage.run(Box::new(Writes(Some((render, stage.header(), found)))), done);
        }
    }

    /// Serves what waits, for one turn; wakes the task when there is more to do.
    pub fn turn(&self, cx: &mut Context<'_>) {
        self.spent.set(Nanos::ZERO);
        *self.waker.borrow_mut() = Some(cx.waker().clone());
        let count = self.waiting.borrow().len();
        for _ in 0..count {
            let Some(read) = self.waiting.borrow_mut().pop_front() else { break };
            // Who has left needs no room, and makes some.
            if read.asker().poll_room(cx) || !read.is_wanted() {
                self.first(read);
            } else {
                self.waiting.borrow_mut().push_back(read);
            }
            if self.spent.get() >= TURN_MAX {
                cx.waker().wake_by_ref();
                break;
            }
        }
        self.turn_long(cx);
    }

    fn turn_long(&self, cx: &mut Context<'_>) {
        let count = self.long.borrow().len();
        for _ in 0..count {
            let Some(read) = self.long.borrow_mut().pop_front() else { break };
            let goes = read.asker().poll_room(cx) || !read.is_wanted();
            let place = if goes { self.place(read.asker().whose()) } else { None };
            let Some(place) = place else {
                self.long.borrow_mut().push_back(read);
                continue;
            };
            if let Some((reading, read, _)) = self.begin(read) {
                self.look_on(reading, read, place);
            }
        }
    }
}

#[cfg(test)]
mod tests;
