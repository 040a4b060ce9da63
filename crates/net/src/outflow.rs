//! What was answered and not yet taken by a client's socket: counted, so that it can be bounded.
//!
//! Every body handed to `h2` is a [`Chunk`], which gives its bytes back as they are written, or all
//! at once when `h2` throws it away because the call was reset.

use bytes::{Buf, Bytes};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

/// Unsent bytes of one connection at which nothing more is read for it; one answer overshoots.
pub(super) const CONNECTION_UNSENT_BYTES_MAX: usize = 8 << 20;
/// Unsent bytes of one connection at which its writes are refused: their answers may be long too,
/// and cannot wait once the write is applied.
const CONNECTION_HELD_BYTES_MAX: usize = 64 << 20;
/// Unsent bytes of all connections at which nothing more is read for anybody.
const ALL_UNSENT_BYTES_MAX: usize = 256 << 20;

/// The sum over all connections of a server.
#[derive(Default)]
pub(super) struct Everybody {
    unsent: Cell<usize>,
    waiting: RefCell<Vec<Waker>>,
}

impl Everybody {
    pub(super) fn is_full(&self) -> bool {
        self.unsent.get() >= ALL_UNSENT_BYTES_MAX
    }
}

/// The counts of one connection.
pub(super) struct Outflow {
    unsent: Cell<usize>,
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

    /// Counts an answer, with or without a body.
    pub(super) fn begins(&self) {
        self.answers.set(self.answers.get() + 1);
    }

    pub(super) fn unsent(&self) -> usize {
        self.unsent.get()
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
        self.unsent.get() < CONNECTION_HELD_BYTES_MAX
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

    fn give_back(&self, n: usize) {
        let had = self.unsent.get();
        self.unsent.set(had - n);
        let was_full = self.all.is_full();
        self.all.unsent.set(self.all.unsent.get() - n);
        if had >= CONNECTION_UNSENT_BYTES_MAX && had - n < CONNECTION_UNSENT_BYTES_MAX {
            wake(&self.waiting);
        }
        if was_full && !self.all.is_full() {
            wake(&self.all.waiting);
        }
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
        self.outflow.give_back(n);
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.outflow.give_back(self.bytes.len());
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
}
