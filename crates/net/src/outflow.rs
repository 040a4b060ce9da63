//! What was answered and not yet taken by a client's socket: counted, so that it can be bounded.
//! So is what is owed: long answers that are written as their client takes them.
//!
//! Every body handed to `h2` is a [`Chunk`], which gives its bytes back as they are written, or all
//! at once when `h2` throws it away because the call was reset.

pub(super) use base::limits::CONNECTION_UNSENT_BYTES_MAX;
use base::limits::{ALL_UNSENT_BYTES_MAX, CONNECTION_HELD_BYTES_MAX};
use bytes::{Buf, Bytes};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

/// The sum over all connections of a server.
#[derive(Default)]
pub(super) struct Everybody {
    unsent: Cell<usize>,
    owed: Cell<usize>,
    waiting: RefCell<Vec<Waker>>,
}

impl Everybody {
    pub(super) fn unsent(&self) -> usize {
        self.unsent.get()
    }

    pub(super) fn owed(&self) -> usize {
        self.owed.get()
    }

    pub(super) fn is_full(&self) -> bool {
        self.unsent.get() >= ALL_UNSENT_BYTES_MAX
    }

    /// No more long answers are begun for anybody.
    pub(super) fn owes_much(&self) -> bool {
        self.unsent.get() + self.owed.get() >= ALL_UNSENT_BYTES_MAX
    }
}

/// The counts of one connection.
pub(super) struct Outflow {
    unsent: Cell<usize>,
    owed: Cell<usize>,
    sent: Cell<u64>,
    /// Answers and messages begun.
    answers: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
    all: Rc<Everybody>,
}

fn wake(waiting: &RefCell<Vec<Waker>>) {
    if !waiting.borrow().is_empty() {
        waiting.take().into_iter().for_each(Waker::wake);
    }
}

fn listen(waiting: &RefCell<Vec<Waker>>, waker: &Waker) {
    let mut waiting = waiting.borrow_mut();
    if !waiting.iter().any(|known| known.will_wake(waker)) {
        waiting.push(waker.clone());
    }
}

impl Outflow {
    pub(super) fn new(all: Rc<Everybody>) -> Rc<Self> {
        Rc::new(Self {
            unsent: Cell::new(0),
            owed: Cell::new(0),
            sent: Cell::new(0),
            answers: Cell::new(0),
            waiting: RefCell::default(),
            all,
        })
    }

    pub(super) fn chunk(self: &Rc<Self>, bytes: Bytes) -> Chunk {
        self.unsent.set(self.unsent.get() + bytes.len());
        self.all.unsent.set(self.all.unsent.get() + bytes.len());
        self.begins();
        Chunk { bytes, outflow: Rc::clone(self) }
    }

    /// Counts a long answer of which nothing is here yet, about; one counts no more than what
    /// stops the next one.
    pub(super) fn owe(self: &Rc<Self>, bytes: usize) -> Owed {
        let bytes = bytes.min(CONNECTION_UNSENT_BYTES_MAX);
        self.owed.set(self.owed.get() + bytes);
        self.all.owed.set(self.all.owed.get() + bytes);
        Owed { bytes, outflow: Rc::clone(self) }
    }

    /// Counts an answer, with or without a body.
    pub(super) fn begins(&self) {
        self.answers.set(self.answers.get() + 1);
    }

    pub(super) fn unsent(&self) -> usize {
        self.unsent.get()
    }

    pub(super) fn owed(&self) -> usize {
        self.owed.get()
    }

    /// Body bytes that the connection has taken, ever.
    pub(super) fn sent(&self) -> u64 {
        self.sent.get()
    }

    pub(super) fn answers(&self) -> u64 {
        self.answers.get()
    }

    pub(super) fn everybody(&self) -> &Everybody {
        &self.all
    }

    /// Whether more may be read for this connection now.
    pub(super) fn has_room(&self) -> bool {
        self.unsent.get() < CONNECTION_UNSENT_BYTES_MAX && !self.all.is_full()
    }

    /// Whether a write, whose answer cannot wait, may begin.
    pub(super) fn may_write(&self) -> bool {
        self.unsent.get() + self.owed.get() < CONNECTION_HELD_BYTES_MAX
    }

    /// Its own room, for a short answer and for a long one.
    fn is_below(&self) -> (bool, bool) {
        let (unsent, owed) = (self.unsent.get(), self.owed.get());
        (unsent < CONNECTION_UNSENT_BYTES_MAX, unsent + owed < CONNECTION_UNSENT_BYTES_MAX)
    }

    /// As [`Self::has_room`]; without room, wakes the task when there may be some.
    pub(super) fn poll_room(&self, cx: &mut Context<'_>) -> bool {
        if self.has_room() {
            return true;
        }
        listen(&self.waiting, cx.waker());
        if self.all.is_full() {
            listen(&self.all.waiting, cx.waker());
        }
        false
    }

    /// As [`Self::poll_room`], for an answer that is long.
    pub(super) fn poll_long_room(&self, cx: &mut Context<'_>) -> bool {
        if self.is_below().1 && !self.all.owes_much() {
            return true;
        }
        listen(&self.waiting, cx.waker());
        if self.all.owes_much() {
            listen(&self.all.waiting, cx.waker());
        }
        false
    }

    /// Takes `n` off a count of this connection and of all.
    fn give_back(&self, n: usize, (own, all): (&Cell<usize>, &Cell<usize>)) {
        let before = self.is_below();
        let before_all = (self.all.is_full(), self.all.owes_much());
        own.set(own.get() - n);
        all.set(all.get() - n);
        if self.is_below() != before {
            wake(&self.waiting);
        }
        if (self.all.is_full(), self.all.owes_much()) != before_all {
            wake(&self.all.waiting);
        }
    }

    fn unsend(&self, n: usize) {
        self.give_back(n, (&self.unsent, &self.all.unsent));
    }
}

/// A long answer on its way, counted until all of it was handed over or nobody wants it.
pub(super) struct Owed {
    bytes: usize,
    outflow: Rc<Outflow>,
}

impl Drop for Owed {
    fn drop(&mut self) {
        let Self { bytes, outflow } = self;
        outflow.give_back(*bytes, (&outflow.owed, &outflow.all.owed));
    }
}

/// Body bytes on their way to one client.
pub(super) struct Chunk {
    bytes: Bytes,
    outflow: Rc<Outflow>,
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, n: usize) {
        self.bytes.advance(n);
        self.outflow.sent.set(self.outflow.sent.get() + n as u64);
        self.outflow.unsend(n);
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.outflow.unsend(self.bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_until_they_are_sent_or_thrown_away() {
        let all = Rc::new(Everybody::default());
        let (one, two) = (Outflow::new(all.clone()), Outflow::new(all.clone()));
        let mut chunk = one.chunk(Bytes::from(vec![0; 1000]));
        let other = two.chunk(Bytes::from(vec![0; 50]));
        assert_eq!((one.unsent(), two.unsent(), all.unsent.get()), (1000, 50, 1050));
        chunk.advance(400);
        assert_eq!((one.unsent(), one.sent(), all.unsent.get()), (600, 400, 650));
        drop(chunk);
        drop(other);
        assert_eq!((one.unsent(), one.sent(), all.unsent.get()), (0, 400, 0));
    }

    #[test]
    fn one_connection_without_room_leaves_room_to_others_until_all_is_full() {
        let all = Rc::new(Everybody::default());
        let (one, two) = (Outflow::new(all.clone()), Outflow::new(all));
        let whole = one.chunk(Bytes::from(vec![0; CONNECTION_UNSENT_BYTES_MAX]));
        assert!(!one.has_room() && one.may_write() && two.has_room());
        let rest = one.chunk(Bytes::from(vec![0; ALL_UNSENT_BYTES_MAX]));
        assert!(!one.may_write() && !two.has_room() && two.may_write());
        drop((whole, rest));
        assert!(one.has_room() && two.has_room());
    }

    fn asks_for_long(outflow: &Outflow) -> bool {
        outflow.poll_long_room(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn who_is_owed_much_gets_no_more_long_answers_but_short_ones_and_writes_for_long() {
        let one = Outflow::new(Rc::default());
        let most = one.owe(usize::MAX);
        assert_eq!(one.owed(), CONNECTION_UNSENT_BYTES_MAX, "it is not counted any further");
        assert!(!asks_for_long(&one) && one.has_room() && one.may_write());
        let writes: Vec<_> = (1..8).map(|_| one.owe(usize::MAX)).collect();
        assert!(!one.may_write());
        drop((most, writes));
        let chunk = one.chunk(Bytes::from(vec![0; CONNECTION_UNSENT_BYTES_MAX - 1]));
        assert!(asks_for_long(&one));
        let little = one.owe(1);
        assert!(!asks_for_long(&one));
        drop((chunk, little));
        assert_eq!((one.owed(), one.unsent(), asks_for_long(&one)), (0, 0, true));
    }

    #[test]
    fn long_answers_of_all_connections_have_a_bound_together() {
        let all = Rc::new(Everybody::default());
        let many = ALL_UNSENT_BYTES_MAX / CONNECTION_UNSENT_BYTES_MAX;
        let slow: Vec<_> = (0..many).map(|_| Outflow::new(all.clone())).collect();
        let mut owed: Vec<_> = slow.iter().map(|slow| slow.owe(usize::MAX)).collect();
        let other = Outflow::new(all.clone());
        assert!(!asks_for_long(&other) && other.has_room() && other.may_write());
        assert!(all.owes_much() && !all.is_full());
        owed.pop();
        assert!(asks_for_long(&other));
    }

    #[test]
    fn who_waits_for_long_room_is_woken_when_there_is_some() {
        struct Rung(std::sync::atomic::AtomicUsize);
        impl std::task::Wake for Rung {
            fn wake(self: std::sync::Arc<Self>) {
                self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let rung = std::sync::Arc::new(Rung(0.into()));
        let times = || rung.0.load(std::sync::atomic::Ordering::Relaxed);
        let waker = Waker::from(rung.clone());
        let all = Rc::new(Everybody::default());
        let (one, two) = (Outflow::new(all.clone()), Outflow::new(all));
        let own = one.owe(usize::MAX);
        assert!(!one.poll_long_room(&mut Context::from_waker(&waker)));
        // All are owed much while it waits for what it is owed itself.
        let others: Vec<_> = (1..32).map(|_| two.owe(usize::MAX)).collect();
        drop(own);
        assert!(times() > 0);
        assert!(one.poll_long_room(&mut Context::from_waker(&waker)));
        let own = one.owe(usize::MAX);
        let before = times();
        assert!(!one.poll_long_room(&mut Context::from_waker(&waker)));
        drop(others);
        assert!(times() > before, "it looks again");
        assert!(!one.poll_long_room(&mut Context::from_waker(&waker)));
        drop(own);
        assert!(one.poll_long_room(&mut Context::from_waker(&waker)));
    }
}
