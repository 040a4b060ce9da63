//! The end that gives.

use crate::asker::Asker;
use alloc::rc::Rc;
use core::cell::{Cell, RefCell};

/// What a slot looks like from the end that gives.
pub(crate) trait Give<T> {
    /// `None`: there will be no value.
    fn give(&self, value: Option<T>);
    fn is_awaited(&self) -> bool;
    fn asker(&self) -> &Asker;
}

/// A value that was promised. It is kept once; dropped before, whoever waits hears that there
/// will be none, so nothing ever waits for what is forgotten.
#[must_use]
pub struct Promise<T>(Option<Rc<dyn Give<T>>>);

impl<T: 'static> Promise<T> {
    pub(crate) fn new(slot: Rc<dyn Give<T>>) -> Self {
        Self(Some(slot))
    }

    /// A promise whose value goes straight to `take`; `None`: there will be none.
    pub fn to(take: impl FnOnce(Option<T>) + 'static) -> Self {
        Self(Some(Rc::new(Straight(Cell::new(Some(take))))))
    }

    /// A promise of something that comes before this one, and is wanted as this one is. `step` is
    /// handed it with this promise; with none, where there will be none.
    pub fn before<S: 'static>(self, step: impl FnOnce(Option<S>, Self) + 'static) -> Promise<S> {
        assert!(self.0.is_some(), "what comes before it comes before it is kept");
        let asker = self.asker().clone();
        Promise(Some(Rc::new(Before { next: RefCell::new(Some((step, self))), asker })))
    }

    /// Gives the value. Nothing is made of it where nobody waits any more.
    pub fn keep(mut self, value: T) {
        let slot = self.0.take().expect("a promise is kept once");
        slot.give(Some(value));
    }

    /// Somebody waits, for whom the value can still be of use.
    pub fn is_wanted(&self) -> bool {
        self.slot().is_awaited() && !self.asker().has_left()
    }

    /// Whom it was promised to.
    pub fn asker(&self) -> &Asker {
        self.slot().asker()
    }

    fn slot(&self) -> &Rc<dyn Give<T>> {
        self.0.as_ref().expect("it is there until it is kept")
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        if let Some(slot) = self.0.take() {
            slot.give(None);
        }
    }
}

struct Straight<F>(Cell<Option<F>>);

impl<T, F: FnOnce(Option<T>)> Give<T> for Straight<F> {
    fn give(&self, value: Option<T>) {
        let take = self.0.take().expect("a promise is kept once");
        take(value);
    }

    fn is_awaited(&self) -> bool {
        true
    }

    fn asker(&self) -> &Asker {
        const NOBODY: &Asker = &Asker::nobody();
        NOBODY
    }
}

/// What is done with a value before a promise is kept.
struct Before<F, T> {
    next: RefCell<Option<(F, Promise<T>)>>,
    asker: Asker,
}

impl<S, T: 'static, F: FnOnce(Option<S>, Promise<T>)> Give<S> for Before<F, T> {
    fn give(&self, value: Option<S>) {
        let (step, promise) = self.next.take().expect("a promise is kept once");
        step(value, promise);
    }

    fn is_awaited(&self) -> bool {
        self.next.borrow().as_ref().is_some_and(|(_, promise)| promise.is_wanted())
    }

    fn asker(&self) -> &Asker {
        &self.asker
    }
}
