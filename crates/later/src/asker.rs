//! Who waits for an answer.

use alloc::rc::Rc;
use core::task::Context;
use core::time::Duration;

/// What can be known of whoever waits for an answer, before work is done for it.
pub trait Asking {
    /// No answer can be of use any more: it was given, taken back, its connection has ended, or
    /// its time has passed.
    fn has_left(&self) -> bool;
    /// Its time has passed. Nearly free, and enough where nothing else can have become known.
    fn is_late(&self) -> bool;
    /// An answer may be made for it now.
    fn has_room(&self) -> bool;
    /// A write, whose answer cannot wait for room, may begin.
    fn may_write(&self) -> bool;
    /// As [`Asking::has_room`]; without room, wakes the task when there may be some.
    fn poll_room(&self, cx: &mut Context<'_>) -> bool;
    /// As [`Asking::poll_room`], for a long answer, which it takes bit by bit and is owed until
    /// then.
    fn poll_long_room(&self, cx: &mut Context<'_>) -> bool;
    /// A number that it shares with whoever takes answers through the same hands; 0: with nobody.
    fn whose(&self) -> usize;
    /// Until it is late; none when it has all the time.
    fn time_left(&self) -> Option<Duration>;
}

/// Who asked for something, to learn whether it is still worth doing.
#[derive(Clone, Default)]
pub struct Asker(Option<Rc<dyn Asking>>);

impl Asker {
    /// The member itself, or who cannot go away.
    pub const fn nobody() -> Self {
        Self(None)
    }

    /// Whoever is known by this.
    pub fn new(asking: Rc<dyn Asking>) -> Self {
        Self(Some(asking))
    }

    /// See [`Asking::has_left`].
    pub fn has_left(&self) -> bool {
        self.0.as_ref().is_some_and(|asking| asking.has_left())
    }

    /// See [`Asking::is_late`].
    pub fn is_late(&self) -> bool {
        self.0.as_ref().is_some_and(|asking| asking.is_late())
    }

    /// See [`Asking::has_room`].
    pub fn has_room(&self) -> bool {
        self.0.as_ref().is_none_or(|asking| asking.has_room())
    }

    /// See [`Asking::may_write`].
    pub fn may_write(&self) -> bool {
        self.0.as_ref().is_none_or(|asking| asking.may_write())
    }

    /// See [`Asking::poll_room`].
    pub fn poll_room(&self, cx: &mut Context<'_>) -> bool {
        self.0.as_ref().is_none_or(|asking| asking.poll_room(cx))
    }

    /// See [`Asking::poll_long_room`].
    pub fn poll_long_room(&self, cx: &mut Context<'_>) -> bool {
        self.0.as_ref().is_none_or(|asking| asking.poll_long_room(cx))
    }

    /// See [`Asking::whose`].
    pub fn whose(&self) -> usize {
        self.0.as_ref().map_or(0, |asking| asking.whose())
    }

    /// See [`Asking::time_left`].
    pub fn time_left(&self) -> Option<Duration> {
        self.0.as_ref().and_then(|asking| asking.time_left())
    }
}
