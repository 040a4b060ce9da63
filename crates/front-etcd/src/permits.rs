//! How many streams have something read and written apart at once: each such work holds a picture
//! of the store, and what it has written until that is handed over.

use super::bell::Bell;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

/// Those there are, and who waits for one.
pub(super) struct Permits {
    max: usize,
    taken: Cell<usize>,
    waiting: RefCell<BTreeMap<usize, Weak<Bell>>>,
}

/// Held while something of a stream is made apart.
pub(super) struct Permit(Rc<Permits>);

impl Permits {
    pub(super) fn new(max: usize) -> Rc<Self> {
        Rc::new(Self { max, taken: Cell::default(), waiting: RefCell::default() })
    }

    /// Whether one can be taken; if not, the bell rings once there may be one.
    pub(super) fn is_free(&self, bell: &Rc<Bell>) -> bool {
        let free = self.taken.get() < self.max;
        if !free {
            let known = Rc::as_ptr(bell).addr();
            self.waiting.borrow_mut().insert(known, Rc::downgrade(bell));
        }
        free
    }

    /// As [`Self::is_free`], and takes it.
    pub(super) fn take(self: &Rc<Self>, bell: &Rc<Bell>) -> Option<Permit> {
        if !self.is_free(bell) {
            return None;
        }
        self.taken.set(self.taken.get() + 1);
        Some(Permit(Rc::clone(self)))
    }
}

impl Drop for Permit {
    /// All are told: the first in line may have no room for what it would make.
    fn drop(&mut self) {
        self.0.taken.set(self.0.taken.get() - 1);
        let waiting = self.0.waiting.take();
        waiting.values().filter_map(Weak::upgrade).for_each(|bell| bell.ring());
    }
}
