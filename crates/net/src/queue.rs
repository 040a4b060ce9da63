//! Tasks that wait for the same thing, in the order in which they came.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::task::Waker;

/// Each under the number it came with, which is its place however often it is woken in vain.
#[derive(Default)]
pub(super) struct Queue(RefCell<BTreeMap<u64, Waker>>);

impl Queue {
    pub(super) fn enter(&self, number: u64, waker: &Waker) {
        self.0
            .borrow_mut()
            .entry(number)
            .and_modify(|known| known.clone_from(waker))
            .or_insert_with(|| waker.clone());
    }

    pub(super) fn leave(&self, number: u64) {
        self.0.borrow_mut().remove(&number);
    }

    /// Wakes whoever waits longest, who enters again where that was in vain.
    pub(super) fn wake_first(&self) {
        let first = self.0.borrow_mut().pop_first();
        if let Some((_, waker)) = first {
            waker.wake();
        }
    }
}
