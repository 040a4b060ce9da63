//! Waking the tasks of streams.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::task::Waker;

/// Wakes one stream's task.
#[derive(Default)]
pub(super) struct Bell {
    waker: RefCell<Option<Waker>>,
}

impl Bell {
    pub(super) fn ring(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    pub(super) fn listen(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }
}

/// The bells of open streams.
#[derive(Default)]
pub(super) struct Bells(RefCell<Vec<Weak<Bell>>>);

impl Bells {
    pub(super) fn ring(&self) {
        self.0.borrow_mut().retain(|bell| match bell.upgrade() {
            Some(bell) => {
                bell.ring();
                true
            }
            None => false,
        });
    }

    /// Streams that have ended make room before the list grows: none may be left for a ring to
    /// find, there may not be one for long.
    pub(super) fn enrol(&self, bell: &Rc<Bell>) {
        let mut bells = self.0.borrow_mut();
        if bells.len() == bells.capacity() {
            bells.retain(|bell| bell.strong_count() > 0);
        }
        bells.push(Rc::downgrade(bell));
    }
}
