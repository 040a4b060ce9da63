//! A socket of HTTP/1.1 whose client takes what it is sent, or is let go.

use super::drain::{DRAIN_INTERVAL, Drain};
use super::limits::OPENING_MAX;
use super::outflow::Outflow;
use super::pulse::Pulse;
use std::io::{ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// A socket without anything to write for so long had nothing for its client to take.
const EMPTY_MIN: Duration = Duration::from_secs(1);

/// Holds its client to the rule that all connections drain by: there is one answer at a time, so
/// nothing of it is left unread for a reason. What is no part of a body is waited for longer.
pub(super) struct Patient {
    socket: TcpStream,
    outflow: Rc<Outflow>,
    pulse: Rc<Pulse>,
    drain: Drain,
    /// Since when all is taken that there was.
    empty: Option<Instant>,
    /// Since when not a byte was taken; its timer.
    stuck: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Patient {
    pub(super) fn new(socket: TcpStream, outflow: Rc<Outflow>, pulse: Rc<Pulse>) -> Self {
        let drain = Drain::new(Instant::now());
        Self { socket, outflow, pulse, drain, empty: None, stuck: None }
    }

    /// There is something to write. Its client's time begins anew where there was nothing for a
    /// while, and not where it took a small buffer of what is endless.
    fn begin(&mut self) {
        if self.empty.take().is_some_and(|since| since.elapsed() >= EMPTY_MIN) {
            self.drain.rest();
        }
    }

    fn watch<T>(&mut self, polled: Poll<Result<T>>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        if polled.is_ready() {
            self.stuck = None;
            return polled;
        }
        let first = || {
            let now = Instant::now();
            (now, Box::pin(sleep_until(now)))
        };
        let (since, timer) = self.stuck.get_or_insert_with(first);
        loop {
            let now = Instant::now();
            let end = *since + OPENING_MAX;
            let next = match self.drain.look(now, &self.outflow, 0) {
                Ok(next) => next.min(end),
                // What this process did not do, its client could not take.
                Err(()) if self.pulse.stood() => now + DRAIN_INTERVAL,
                Err(()) => return Poll::Ready(Err(ErrorKind::TimedOut.into())),
            };
            if now >= end {
                return Poll::Ready(Err(ErrorKind::TimedOut.into()));
            }
            timer.as_mut().reset(next);
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        self.begin();
        let polled = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.watch(polled, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        self.begin();
        let polled = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.watch(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Comes after all was written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.outflow.unsent() == 0 {
            self.empty.get_or_insert_with(Instant::now);
        }
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
