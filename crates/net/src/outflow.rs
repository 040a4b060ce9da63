//! What was answered and not yet taken by a client's socket: counted, so that it can be bounded.
//! So is what is owed: long answers that are written as their client takes them.
//!
//! Every body handed to `h2` is a [`Chunk`], which gives its bytes back as they are written, or all
//! at once when `h2` throws it away because the call was reset. It counts for what is kept of an
//! answer beside its bytes, too, or many small ones would count for nothing.

use super::queue::Queue;
pub(super) use base::limits::CONNECTION_UNSENT_BYTES_MAX;
use base::limits::{
    ALL_UNSENT_BYTES_MAX, ANSWER_OVERHEAD_BYTES, CONNECTION_HELD_BYTES_MAX,
    UNSENT_TOLERATED_BYTES_MAX,
};
use bytes::{Buf, Bytes};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

/// The sum over all connections of a server.
#[derive(Default)]
pub(super) struct Everybody {
    unsent: Cell<usize>,
    owed: Cell<usize>,
    /// Tasks that wait for themselves.
    queue: Queue,
    /// And the few that look after many who wait.
    keepers: RefCell<Vec<Waker>>,
    next: Cell<u64>,
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

    /// Nor for whoever has much to take already: the other half is for the others.
    fn owes_half(&self) -> bool {
        self.unsent.get() + self.owed.get() >= ALL_UNSENT_BYTES_MAX / 2
    }

    /// A place in the queues behind all there are.
    pub(super) fn number(&self) -> u64 {
        let number = self.next.get();
        self.next.set(number + 1);
        number
    }

    fn state(&self) -> (bool, bool, bool) {
        (self.is_full(), self.owes_much(), self.owes_half())
    }
}

/// The counts of one connection.
pub(super) struct Outflow {
    unsent: Cell<usize>,
    owed: Cell<usize>,
    sent: Cell<u64>,
    /// Answers and messages begun.
    answers: Cell<u64>,
    queue: Queue,
    keepers: RefCell<Vec<Waker>>,
    all: Rc<Everybody>,
}

fn wake(keepers: &RefCell<Vec<Waker>>) {
    if !keepers.borrow().is_empty() {
        keepers.take().into_iter().for_each(Waker::wake);
    }
}

/// There is one for all reads of a member, so the search is short.
fn listen(keepers: &RefCell<Vec<Waker>>, waker: &Waker) {
    let mut keepers = keepers.borrow_mut();
    if !keepers.iter().any(|known| known.will_wake(waker)) {
        keepers.push(waker.clone());
    }
}

impl Outflow {
    pub(super) fn new(all: Rc<Everybody>) -> Rc<Self> {
        Rc::new(Self {
            unsent: Cell::new(0),
            owed: Cell::new(0),
            sent: Cell::new(0),
            answers: Cell::new(0),
            queue: Queue::default(),
            keepers: RefCell::default(),
            all,
        })
    }

    pub(super) fn chunk(self: &Rc<Self>, bytes: Bytes) -> Chunk {
        let counted = bytes.len() + ANSWER_OVERHEAD_BYTES;
        self.unsent.set(self.unsent.get() + counted);
        self.all.unsent.set(self.all.unsent.get() + counted);
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

    /// What the connection has taken, ever, counted as it was when it was unsent.
    pub(super) fn sent(&self) -> u64 {
        self.sent.get()
    }

    pub(super) fn answers(&self) -> u64 {
        self.answers.get()
    }

    pub(super) fn everybody(&self) -> &Everybody {
        &self.all
    }

    /// Whether more may be read for this connection now. Who has taken all it was sent is not
    /// kept waiting by those who do not.
    pub(super) fn has_room(&self) -> bool {
        let unsent = self.unsent.get();
        unsent < CONNECTION_UNSENT_BYTES_MAX && (unsent == 0 || !self.all.is_full())
    }

    /// Whether a write, whose answer cannot wait, may begin.
    pub(super) fn may_write(&self) -> bool {
        self.unsent.get() + self.owed.get() < CONNECTION_HELD_BYTES_MAX
    }

    /// Its own room, for a short answer and for a long one.
    fn is_below(&self) -> (bool, bool, bool) {
        let (unsent, most) = (self.unsent.get(), self.unsent.get() + self.owed.get());
        let has_little = most <= UNSENT_TOLERATED_BYTES_MAX;
        (unsent < CONNECTION_UNSENT_BYTES_MAX, most < CONNECTION_UNSENT_BYTES_MAX, has_little)
    }

    fn has_long_room(&self) -> bool {
        let (_, below, has_little) = self.is_below();
        below && !self.all.owes_much() && (has_little || !self.all.owes_half())
    }

    /// As [`Self::has_room`]; without room, wakes a task that looks after others when there may
    /// be some. One that waits for itself is [`super::waiting::Waiting`].
    pub(super) fn poll_room(&self, cx: &mut Context<'_>) -> bool {
        self.has_room() || self.listen(cx)
    }

    /// As [`Self::poll_room`], for an answer that is long.
    pub(super) fn poll_long_room(&self, cx: &mut Context<'_>) -> bool {
        self.has_long_room() || self.listen(cx)
    }

    fn listen(&self, cx: &mut Context<'_>) -> bool {
        listen(&self.keepers, cx.waker());
        if self.all.owes_half() {
            listen(&self.all.keepers, cx.waker());
        }
        false
    }

    /// Waits for room at this place.
    pub(super) fn enter(&self, number: u64, waker: &Waker) {
        self.queue.enter(number, waker);
        if self.all.is_full() {
            self.all.queue.enter(number, waker);
        }
    }

    /// Gives up the place, and the room it was woken for to the next.
    pub(super) fn leave(&self, number: u64) {
        self.queue.leave(number);
        self.all.queue.leave(number);
        self.wake_next();
    }

    /// One at a time: how much room it takes is known once it has, and then it wakes another.
    fn wake_next(&self) {
        // Also where only all are full: the first then waits for that.
        if self.unsent.get() < CONNECTION_UNSENT_BYTES_MAX {
            self.queue.wake_first();
        }
        if !self.all.is_full() {
            self.all.queue.wake_first();
        }
    }

    /// Takes `n` off a count of this connection and of all.
    fn give_back(&self, n: usize, (own, all): (&Cell<usize>, &Cell<usize>)) {
        let before = (self.has_room(), self.is_below());
        let before_all = self.all.state();
        own.set(own.get() - n);
        all.set(all.get() - n);
        if (self.has_room(), self.is_below()) != before {
            wake(&self.keepers);
        }
        if self.all.state() != before_all {
            wake(&self.all.keepers);
        }
        self.wake_next();
    }

    fn has_sent(&self, n: usize) {
        self.sent.set(self.sent.get() + n as u64);
    }

    fn unsend(&self, n: usize) {
        self.give_back(n, (&self.unsent, &self.all.unsent));
    }
}

/// A long answer on its way, counted as far as it was not handed over, until nobody wants it.
pub(super) struct Owed {
    bytes: usize,
    outflow: Rc<Outflow>,
}

impl Owed {
    /// No more than so many bytes are still to be handed over.
    pub(super) fn left(&mut self, bytes: usize) {
        if bytes < self.bytes {
            let less = self.bytes - bytes;
            self.bytes = bytes;
            self.outflow.give_back(less, (&self.outflow.owed, &self.outflow.all.owed));
        }
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        self.left(0);
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
        self.outflow.has_sent(n);
        self.outflow.unsend(n);
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if self.bytes.is_empty() {
            self.outflow.has_sent(ANSWER_OVERHEAD_BYTES);
        }
        self.outflow.unsend(self.bytes.len() + ANSWER_OVERHEAD_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_until_they_are_sent_or_thrown_away_and_so_does_what_is_kept_beside_them() {
        const EACH: usize = ANSWER_OVERHEAD_BYTES;
        let all = Rc::new(Everybody::default());
        let (one, two) = (Outflow::new(all.clone()), Outflow::new(all.clone()));
        let mut chunk = one.chunk(Bytes::from(vec![0; 1000]));
        let other = two.chunk(Bytes::from(vec![0; 50]));
        assert_eq!((one.unsent(), two.unsent()), (1000 + EACH, 50 + EACH));
        chunk.advance(400);
        assert_eq!((one.unsent(), one.sent(), all.unsent()), (600 + EACH, 400, 650 + 2 * EACH));
        drop(chunk);
        drop(other);
        assert_eq!((one.unsent(), one.sent(), all.unsent()), (0, 400, 0));
        one.chunk(Bytes::from(vec![0; 100])).advance(100);
        assert_eq!((one.unsent(), one.sent()), (0, 500 + EACH as u64));
        let small: Vec<_> = (0..CONNECTION_UNSENT_BYTES_MAX / EACH)
            .map(|_| one.chunk(Bytes::from_static(b"x")))
            .collect();
        assert!(!one.has_room());
        drop(small);
    }

    #[test]
    fn one_connection_without_room_leaves_room_to_others_until_all_is_full() {
        let all = Rc::new(Everybody::default());
        let (one, two) = (Outflow::new(all.clone()), Outflow::new(all));
        let whole = one.chunk(Bytes::from(vec![0; CONNECTION_UNSENT_BYTES_MAX]));
        assert!(!one.has_room() && one.may_write() && two.has_room());
        let rest = one.chunk(Bytes::from(vec![0; ALL_UNSENT_BYTES_MAX]));
        assert!(!one.may_write() && two.has_room(), "it has taken all it was sent");
        let little = two.chunk(Bytes::from_static(b"x"));
        assert!(!two.has_room() && two.may_write());
        drop((whole, rest, little));
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
        let most = CONNECTION_UNSENT_BYTES_MAX - ANSWER_OVERHEAD_BYTES;
        let chunk = one.chunk(Bytes::from(vec![0; most - 1]));
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
    fn what_is_owed_is_given_back_as_it_is_handed_over_and_half_the_room_is_for_who_has_little() {
        let all = Rc::new(Everybody::default());
        let one = Outflow::new(all.clone());
        let mut owed = one.owe(usize::MAX);
        for (left, counts) in [(1 << 30, 8 << 20), (5 << 20, 5 << 20), (6 << 20, 5 << 20)] {
            owed.left(left);
            assert_eq!((one.owed(), all.owed()), (counts, counts));
        }
        assert!(asks_for_long(&one), "there is room for another");
        let slow: Vec<_> = (0..16).map(|_| Outflow::new(all.clone())).collect();
        let owes: Vec<_> = slow.iter().map(|slow| slow.owe(usize::MAX)).collect();
        assert!(!asks_for_long(&one) && asks_for_long(&Outflow::new(all.clone())));
        owed.left(1000);
        assert!(asks_for_long(&one), "it has taken most");
        drop((owed, owes));
        assert_eq!(all.owed(), 0);
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
