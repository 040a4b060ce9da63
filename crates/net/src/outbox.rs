//! What a connection sends in one turn, put together: handing each answer to the kernel by itself
//! costs more than all the rest of a small read.

use base::limits::{COPIED_BYTES_MAX, OUTBOX_BYTES_MAX};
use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;
use tokio::net::tcp::OwnedWriteHalf;

/// The sending side of a connection. While it holds, what is flushed stays until
/// [`Self::poll_send`]; what is written stays in order either way.
pub(super) struct Outbox<W = OwnedWriteHalf> {
    socket: RefCell<W>,
    held: RefCell<Held>,
    holds: Cell<bool>,
}

/// Bytes from `sent` on are to be sent. Without any there is no memory either: most connections
/// are idle.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    sent: usize,
}

impl Held {
    fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }
}

impl<W: AsyncWrite + Unpin> Outbox<W> {
    pub(super) fn new(socket: W) -> Self {
        Self { socket: RefCell::new(socket), held: RefCell::default(), holds: Cell::new(false) }
    }

    /// From now on whoever owns the connection ends its turns with [`Self::poll_send`], or no
    /// longer does.
    pub(super) fn hold(&self, holds: bool) {
        self.holds.set(holds);
    }

    pub(super) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let len = slices.iter().map(|slice| slice.len()).sum();
        if self.holds.get() && len <= COPIED_BYTES_MAX {
            let mut held = self.held.borrow_mut();
            if held.bytes.len() + len <= OUTBOX_BYTES_MAX {
                let room = OUTBOX_BYTES_MAX - held.bytes.len();
                held.bytes.reserve_exact(room);
                slices.iter().for_each(|slice| held.bytes.extend_from_slice(slice));
                return Poll::Ready(Ok(len));
            }
        }
        // What came before goes before.
        ready!(self.poll_send(cx))?;
        Pin::new(&mut *self.socket.borrow_mut()).poll_write_vectored(cx, slices)
    }

    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.holds.get() { Poll::Ready(Ok(())) } else { self.poll_send(cx) }
    }

    /// Hands everything held to the kernel.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let mut held = self.held.borrow_mut();
        while held.len() > 0 {
            let mut socket = self.socket.borrow_mut();
            let n = ready!(Pin::new(&mut *socket).poll_write(cx, &held.bytes[held.sent..]))?;
            if n == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            held.sent += n;
        }
        *held = Held::default();
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut *self.socket.borrow_mut()).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    /// Takes so many bytes in all, and remembers each write.
    struct Narrow {
        room: usize,
        writes: Vec<Vec<u8>>,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<Result<usize>> {
            let n = bytes.len().min(self.room);
            if n == 0 {
                return Poll::Pending;
            }
            self.room -= n;
            self.writes.push(bytes[..n].to_vec());
            Poll::Ready(Ok(n))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn outbox(room: usize) -> Outbox<Narrow> {
        let outbox = Outbox::new(Narrow { room, writes: Vec::new() });
        outbox.hold(true);
        outbox
    }

    /// Bytes taken; zero when it has to wait.
    fn write(outbox: &Outbox<Narrow>, bytes: &[u8]) -> usize {
        let mut cx = Context::from_waker(Waker::noop());
        match outbox.poll_write(&mut cx, &[IoSlice::new(bytes)]) {
            Poll::Ready(n) => n.expect("it never fails"),
            Poll::Pending => 0,
        }
    }

    fn send(outbox: &Outbox<Narrow>) -> bool {
        outbox.poll_send(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn writes(outbox: &Outbox<Narrow>) -> Vec<Vec<u8>> {
        outbox.socket.borrow().writes.clone()
    }

    #[test]
    fn what_one_turn_flushes_bit_by_bit_is_sent_at_its_end_in_one_piece() {
        let outbox = outbox(usize::MAX);
        for piece in [&b"one"[..], b"two", b"three"] {
            assert_eq!(write(&outbox, piece), piece.len());
            assert!(outbox.poll_flush(&mut Context::from_waker(Waker::noop())).is_ready());
        }
        assert!(writes(&outbox).is_empty());
        assert!(send(&outbox) && send(&outbox));
        assert_eq!(writes(&outbox), [b"onetwothree"]);
        assert_eq!(outbox.held.borrow().bytes.capacity(), 0, "an idle one holds no memory");
        outbox.hold(false);
        assert_eq!(write(&outbox, b"four"), 4);
        assert_eq!(writes(&outbox), [&b"onetwothree"[..], b"four"]);
    }

    #[test]
    fn a_long_piece_follows_what_was_held_and_is_not_copied() {
        let outbox = outbox(usize::MAX);
        write(&outbox, b"short");
        let long = vec![b'x'; COPIED_BYTES_MAX + 1];
        assert_eq!(write(&outbox, &long), long.len());
        assert_eq!(writes(&outbox), [b"short".to_vec(), long]);
    }

    #[test]
    fn who_takes_nothing_is_held_a_bounded_number_of_bytes_and_misses_none_later() {
        let outbox = outbox(10);
        let piece = vec![b'x'; COPIED_BYTES_MAX];
        let mut taken = 0;
        for _ in 0..100 {
            taken += write(&outbox, &piece);
            assert!(!send(&outbox));
        }
        assert_eq!(taken, OUTBOX_BYTES_MAX);
        outbox.socket.borrow_mut().room = usize::MAX;
        assert!(send(&outbox));
        assert_eq!(writes(&outbox).concat().len(), taken);
        assert_eq!(write(&outbox, &piece), piece.len());
    }
}
