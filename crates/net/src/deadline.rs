//! Deadlines that clients set with `grpc-timeout`: one timer for all calls of a connection.
//!
//! Calls without a deadline, the common case under load, never come here.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future as _;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// Longest deadline kept; a longer one is none.
const DEADLINE_MAX: Duration = Duration::from_secs(24 * 3600);

/// Names one waiting call: its deadline and a number.
type Key = (Instant, u64);

/// A call that may come to its deadline unanswered.
pub(super) trait Overdue {
    /// Answers it so; called once.
    fn expire(&self);
}

/// Calls of one connection that must be answered in time.
#[derive(Default)]
pub(super) struct Deadlines {
    waiting: RefCell<BTreeMap<Key, Rc<dyn Overdue>>>,
    next: Cell<u64>,
    /// When the timer goes off; it may be earlier than needed, never later.
    armed: Cell<Option<Instant>>,
    waker: RefCell<Option<Waker>>,
}

/// A waiting call's place; it is given up when the ticket is dropped.
pub(super) struct Ticket {
    key: Key,
    deadlines: Rc<Deadlines>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.deadlines.waiting.borrow_mut().remove(&self.key);
    }
}

impl Deadlines {
    /// Answers `call` at that time, unless the ticket is dropped before.
    pub(super) fn add(self: &Rc<Self>, at: Instant, call: Rc<dyn Overdue>) -> Ticket {
        let key = (at, self.next.get());
        self.next.set(key.1 + 1);
        let before = self.waiting.borrow_mut().insert(key, call);
        assert!(before.is_none(), "numbers are used once");
        if self.armed.get().is_none_or(|armed| armed > at)
            && let Some(waker) = self.waker.borrow().as_ref()
        {
            waker.wake_by_ref();
        }
        Ticket { key, deadlines: Rc::clone(self) }
    }

    /// Answers what is overdue and sets the timer; part of the connection's every turn.
    pub(super) fn poll(&self, mut timer: Pin<&mut Sleep>, cx: &mut Context<'_>) {
        match &mut *self.waker.borrow_mut() {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        loop {
            let first = self.waiting.borrow().first_key_value().map(|((at, _), _)| *at);
            let Some(at) = first else { return };
            if self.armed.get().is_none_or(|armed| armed > at) {
                timer.as_mut().reset(at.into());
                self.armed.set(Some(at));
            }
            if timer.as_mut().poll(cx).is_pending() {
                return;
            }
            self.armed.set(None);
            self.expire(Instant::now());
        }
    }

    fn expire(&self, now: Instant) {
        let overdue = || {
            let mut waiting = self.waiting.borrow_mut();
            let first = waiting.first_entry().filter(|first| first.key().0 <= now);
            first.map(std::collections::btree_map::OccupiedEntry::remove)
        };
        while let Some(call) = overdue() {
            call.expire();
        }
    }
}

/// The time a `grpc-timeout` value gives: up to eight digits and a unit. A value that cannot
/// be read is none, as is one too long to matter.
pub(super) fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let n: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let timeout = match unit {
        b'H' => Duration::from_secs(n * 3600),
        b'M' => Duration::from_secs(n * 60),
        b'S' => Duration::from_secs(n),
        b'm' => Duration::from_millis(n),
        b'u' => Duration::from_micros(n),
        b'n' => Duration::from_nanos(n),
        _ => return None,
    };
    (timeout <= DEADLINE_MAX).then_some(timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_digits_and_a_unit_and_nonsense_is_none() {
        let read = |text: &str| parse(text.as_bytes()).expect("a time").as_millis();
        assert_eq!([read("2H"), read("3M"), read("90S")], [7_200_000, 180_000, 90_000]);
        assert_eq!([read("5000m"), read("7000000u"), read("99999999n")], [5000, 7000, 99]);
        for text in ["", "S", "5", "123456789S", "-5S", "5x", "5.5S", "99999999H"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
