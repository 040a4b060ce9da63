//! The end that takes.

use crate::asker::Asker;
use crate::promise::{Give, Promise};
use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::marker::PhantomData;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

/// Takes a value when it comes.
pub trait Receiver<T> {
    /// Called once. `None`: there will be no value.
    fn receive(self: Rc<Self>, value: Option<T>);
}

/// Where a value that has not come is waited for, and how.
enum Place<T> {
    /// Nobody has looked yet.
    Open,
    Watched(Waker),
    Held(Rc<dyn Receiver<T>>),
    /// It has come, or will not.
    Settled(Option<T>),
    /// Nobody waits any more.
    Left,
}

/// One promised value, and what is made of it on its way.
struct Slot<T, U, F> {
    make: Cell<Option<F>>,
    asker: Asker,
    place: RefCell<Place<U>>,
    takes: PhantomData<fn(T)>,
}

impl<T, U, F> Slot<T, U, F> {
    fn is_left(&self) -> bool {
        matches!(*self.place.borrow(), Place::Left)
    }

    fn settle(&self, value: Option<U>) {
        let before = self.place.replace(Place::Left);
        assert!(!matches!(before, Place::Settled(_)), "a promise is kept once");
        match before {
            Place::Left | Place::Settled(_) => {}
            Place::Open => *self.place.borrow_mut() = Place::Settled(value),
            Place::Watched(waker) => {
                *self.place.borrow_mut() = Place::Settled(value);
                waker.wake();
            }
            Place::Held(receiver) => receiver.receive(value),
        }
    }
}

impl<T, U, F: FnOnce(T) -> U> Give<T> for Slot<T, U, F> {
    fn give(&self, value: Option<T>) {
        let make = self.make.take().expect("a promise is kept once");
        if !self.is_awaited() {
            return;
        }
        // Nothing is borrowed meanwhile: what is made may ask again.
        let made = value.map(make);
        self.settle(made);
    }

    fn is_awaited(&self) -> bool {
        !self.is_left()
    }

    fn asker(&self) -> &Asker {
        &self.asker
    }
}

/// What a slot looks like from the end that takes.
trait Take<T> {
    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<T>>;
    fn hold(&self, receiver: Rc<dyn Receiver<T>>);
    fn leave(&self);
}

impl<T, U, F> Take<U> for Slot<T, U, F> {
    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<U>> {
        let mut place = self.place.borrow_mut();
        match core::mem::replace(&mut *place, Place::Left) {
            Place::Settled(value) => return Poll::Ready(value),
            Place::Watched(waker) if waker.will_wake(cx.waker()) => *place = Place::Watched(waker),
            Place::Open | Place::Watched(_) => *place = Place::Watched(cx.waker().clone()),
            Place::Held(_) | Place::Left => unreachable!("one end takes"),
        }
        assert!(matches!(*place, Place::Watched(_)), "whoever waits is woken");
        Poll::Pending
    }

    fn hold(&self, receiver: Rc<dyn Receiver<U>>) {
        let before = self.place.replace(Place::Left);
        assert!(!matches!(before, Place::Held(_) | Place::Left), "one end takes");
        match before {
            Place::Settled(value) => receiver.receive(value),
            _ => *self.place.borrow_mut() = Place::Held(receiver),
        }
    }

    fn leave(&self) {
        // What was here may ask again as it goes.
        let before = self.place.replace(Place::Left);
        assert!(self.is_left(), "nothing is put here for whoever has left");
        drop(before);
    }
}

enum Wait<T> {
    Now(T),
    Coming(Rc<dyn Take<T>>),
    Taken,
}

/// A value that is there, or comes when its [`Promise`] is kept. Dropped, it is no longer wanted.
///
/// As a future it ends with the value, or with none where there will be none.
#[must_use]
pub struct Later<T>(Wait<T>);

/// A promise made to `asker`, and what `make` will have made of its value.
pub fn promise<T: 'static, U: 'static>(
    asker: Asker,
    make: impl FnOnce(T) -> U + 'static,
) -> (Promise<T>, Later<U>) {
    let (make, place) = (Cell::new(Some(make)), RefCell::new(Place::Open));
    let slot = Rc::new(Slot { make, asker, place, takes: PhantomData });
    (Promise::new(Rc::clone(&slot) as _), Later(Wait::Coming(slot)))
}

impl<T> Later<T> {
    /// A value that is there.
    pub const fn now(value: T) -> Self {
        Self(Wait::Now(value))
    }

    /// The value, when it has been there all along.
    ///
    /// # Errors
    /// This, when it comes later.
    pub fn at_once(mut self) -> Result<T, Self> {
        match core::mem::replace(&mut self.0, Wait::Taken) {
            Wait::Now(value) => Ok(value),
            later => {
                self.0 = later;
                Err(self)
            }
        }
    }

    /// Has the value sent to `receiver`, at once where it is there.
    pub fn deliver(mut self, receiver: Rc<dyn Receiver<T>>) {
        assert!(!matches!(self.0, Wait::Taken), "a value is taken once");
        match core::mem::replace(&mut self.0, Wait::Taken) {
            Wait::Now(value) => receiver.receive(Some(value)),
            Wait::Coming(slot) => slot.hold(receiver),
            Wait::Taken => {}
        }
    }
}

impl<T: 'static> Later<T> {
    /// What comes of it, in a second step that may have to wait too. Where the value is there
    /// this is as if it were no step at all.
    pub fn then<U: 'static>(
        self,
        asker: Asker,
        next: impl FnOnce(T) -> Later<U> + 'static,
    ) -> Later<U> {
        let later = match self.at_once() {
            Ok(value) => return next(value),
            Err(later) => later,
        };
        assert!(matches!(later.0, Wait::Coming(_)), "what is not there comes");
        let (promise, result) = promise(asker, |value: U| value);
        later.deliver(Rc::new(Step(Cell::new(Some((next, promise))))));
        result
    }
}

impl<T> Drop for Later<T> {
    fn drop(&mut self) {
        if let Wait::Coming(slot) = &self.0 {
            slot.leave();
        }
    }
}

impl<T> Unpin for Later<T> {}

impl<T> Future for Later<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        if let Wait::Coming(slot) = &self.0 {
            let polled = slot.poll(cx);
            if polled.is_ready() {
                self.0 = Wait::Taken;
            }
            return polled;
        }
        match core::mem::replace(&mut self.0, Wait::Taken) {
            Wait::Now(value) => Poll::Ready(Some(value)),
            _ => unreachable!("a value is taken once"),
        }
    }
}

/// The step after a value, and who waits for what comes of it.
struct Step<F, U>(Cell<Option<(F, Promise<U>)>>);

impl<T, U: 'static, F: FnOnce(T) -> Later<U>> Receiver<T> for Step<F, U> {
    fn receive(self: Rc<Self>, value: Option<T>) {
        let (next, promise) = self.0.take().expect("a value is received once");
        // Without a value the promise is dropped, and whoever waits hears of it.
        if let Some(value) = value {
            next(value).deliver(Rc::new(Kept(Cell::new(Some(promise)))));
        }
    }
}

/// Keeps a promise with what it receives.
struct Kept<T>(Cell<Option<Promise<T>>>);

impl<T: 'static> Receiver<T> for Kept<T> {
    fn receive(self: Rc<Self>, value: Option<T>) {
        let promise = self.0.take().expect("a value is received once");
        if let Some(value) = value {
            promise.keep(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell as Cells;
    use std::string::{String, ToString};
    use std::vec::Vec;

    fn nobody() -> Asker {
        Asker::nobody()
    }

    fn poll<T>(later: &mut Later<T>) -> Poll<Option<T>> {
        Pin::new(later).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[derive(Default)]
    struct Heard(Cells<Vec<Option<String>>>);

    impl Receiver<String> for Heard {
        fn receive(self: Rc<Self>, value: Option<String>) {
            self.0.borrow_mut().push(value);
        }
    }

    #[test]
    fn a_value_comes_when_its_promise_is_kept_and_is_made_into_what_was_wanted() {
        let (promise, mut later) = promise(nobody(), |n: u32| n.to_string());
        assert!(poll(&mut later).is_pending() && promise.is_wanted());
        promise.keep(7);
        assert_eq!(poll(&mut later), Poll::Ready(Some("7".into())));
        assert_eq!(poll(&mut Later::now(3)), Poll::Ready(Some(3)));
        assert_eq!(Later::now(3).at_once().ok(), Some(3));
    }

    #[test]
    fn who_waits_for_a_promise_that_is_dropped_hears_that_nothing_comes() {
        let (kept, mut later) = promise(nobody(), |n: u32| n);
        drop(kept);
        assert_eq!(poll(&mut later), Poll::Ready(None));
        let heard = Rc::new(Heard::default());
        let (kept, later) = promise(nobody(), |n: u32| n.to_string());
        later.deliver(Rc::clone(&heard) as _);
        assert!(heard.0.borrow().is_empty() && kept.is_wanted());
        drop(kept);
        assert_eq!(*heard.0.borrow(), [None]);
    }

    #[test]
    fn nothing_is_made_for_who_does_not_wait_any_more() {
        let made = Rc::new(Cell::new(false));
        let note = Rc::clone(&made);
        let (kept, later) = promise(nobody(), move |(): ()| note.set(true));
        drop(later);
        assert!(!kept.is_wanted());
        kept.keep(());
        assert!(!made.get());
    }

    struct Late;

    impl crate::Asking for Late {
        fn has_left(&self) -> bool {
            true
        }
        fn is_late(&self) -> bool {
            true
        }
        fn has_room(&self) -> bool {
            false
        }
        fn may_write(&self) -> bool {
            false
        }
        fn poll_room(&self, _: &mut Context<'_>) -> bool {
            false
        }
        fn poll_long_room(&self, _: &mut Context<'_>) -> bool {
            false
        }
        fn whose(&self) -> usize {
            7
        }
        fn time_left(&self) -> Option<core::time::Duration> {
            Some(core::time::Duration::ZERO)
        }
    }

    #[test]
    fn who_has_left_wants_nothing_and_is_told_all_the_same() {
        let late = Asker::new(Rc::new(Late));
        let (kept, mut later) = promise(late, |n: u32| n);
        assert!(!kept.is_wanted() && !kept.asker().has_room() && !kept.asker().may_write());
        assert_eq!(kept.asker().whose(), 7);
        assert!(kept.asker().time_left().is_some_and(|left| left.is_zero()));
        kept.keep(1);
        assert_eq!(poll(&mut later), Poll::Ready(Some(1)));
    }

    #[test]
    fn steps_follow_each_other_and_the_first_that_fails_ends_them() {
        let heard = Rc::new(Heard::default());
        let (first, one) = promise(nobody(), |n: u32| n);
        let (second, two) = promise(nobody(), |n: u32| n.to_string());
        let result = one.then(nobody(), move |n| {
            assert_eq!(n, 1);
            two
        });
        result.deliver(Rc::clone(&heard) as _);
        first.keep(1);
        assert!(heard.0.borrow().is_empty());
        second.keep(2);
        assert_eq!(*heard.0.borrow(), [Some("2".into())]);
        let (first, one) = promise(nobody(), |n: u32| n);
        one.then(nobody(), |_| Later::now(String::new())).deliver(Rc::clone(&heard) as _);
        drop(first);
        assert_eq!(heard.0.borrow().last(), Some(&None));
        assert_eq!(Later::now(1).then(nobody(), |n| Later::now(n + 1)).at_once().ok(), Some(2));
    }

    #[test]
    fn a_step_before_a_promise_is_wanted_as_the_promise_is() {
        let (promise, later) = promise(Asker::nobody(), |text: String| text);
        let step = promise.before(|n: Option<u32>, promise| {
            if let Some(n) = n {
                promise.keep(n.to_string());
            }
        });
        assert!(step.is_wanted());
        let heard = Rc::new(Heard::default());
        later.deliver(Rc::clone(&heard) as _);
        step.keep(3);
        assert_eq!(*heard.0.borrow(), [Some("3".into())]);
        let (promise, later) = crate::promise(Asker::nobody(), |n: u32| n);
        let step = promise.before(|_: Option<u32>, promise| drop(promise));
        drop(later);
        assert!(!step.is_wanted());
        let (promise, later) = crate::promise(Asker::nobody(), |n: u32| n.to_string());
        later.deliver(Rc::clone(&heard) as _);
        drop(promise.before(|_: Option<u32>, promise| drop(promise)));
        assert_eq!(heard.0.borrow().last(), Some(&None), "who waits hears of a step not taken");
    }

    #[test]
    fn a_promise_may_go_straight_to_whoever_takes_it() {
        let heard = Rc::new(Heard::default());
        for value in [Some("a"), None] {
            let to = Rc::clone(&heard);
            let straight = Promise::to(move |value: Option<String>| to.receive(value));
            assert!(straight.is_wanted() && straight.asker().has_room());
            match value {
                Some(value) => straight.keep(value.into()),
                None => drop(straight),
            }
        }
        assert_eq!(*heard.0.borrow(), [Some("a".into()), None]);
    }
}
