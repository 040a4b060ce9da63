//! Life signs of a stream: a connection that is up may deliver nothing, and nobody would tell.
//!
//! The acceptor answers what it reads with `Pong`, at a bounded rate; the dialer sends `Ping`
//! where it has nothing to say. Both look at bytes, not at whole frames: a large frame on a slow
//! network is a sign of life.

use super::frame::{self, Kind};
use super::limits;
use std::cell::Cell;
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until};

/// Answers come at most this often.
const PONG_INTERVAL: Duration = Duration::from_millis(50);
/// Silence is not believed sooner than this.
const SILENCE_MIN: Duration = Duration::from_millis(200);
/// A thread that was stalled itself first hears what came meanwhile.
const SECOND_LOOK: Duration = Duration::from_millis(5);

/// The dialer's end.
pub struct Pulse {
    /// When the first bytes left that nothing has answered.
    unanswered: Cell<Option<Instant>>,
    wrote: Cell<Instant>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { unanswered: Cell::new(None), wrote: Cell::new(Instant::now()) }
    }
}

impl Pulse {
    /// A new connection: nothing is owed on it.
    pub fn begin(&self) {
        self.unanswered.set(None);
        self.wrote.set(Instant::now());
    }

    pub fn wrote(&self) {
        let now = Instant::now();
        self.wrote.set(now);
        if self.unanswered.get().is_none() {
            self.unanswered.set(Some(now));
        }
    }

    pub fn answered(&self) {
        self.unanswered.set(None);
    }

    /// Resolves when nothing has answered for `silence_max`. Calls `ping` when nothing was
    /// written for half of that.
    pub async fn stops(&self, silence_max: Duration, ping: impl Fn()) {
        let silence_max = silence_max.max(SILENCE_MIN);
        let silent = || self.unanswered.get().is_some_and(|since| since.elapsed() >= silence_max);
        loop {
            if silent() {
                sleep(SECOND_LOOK).await;
                if silent() {
                    return;
                }
            }
            let ping_at = self.wrote.get() + silence_max / 2;
            if ping_at <= Instant::now() {
                // Also when the socket does not take it: then something else waits for an answer.
                self.wrote.set(Instant::now());
                ping();
                continue;
            }
            let end = self.unanswered.get().map(|since| since + silence_max);
            sleep_until(end.map_or(ping_at, |end| end.min(ping_at))).await;
        }
    }
}

/// The acceptor's end.
#[derive(Default)]
pub struct Answers {
    out: Vec<u8>,
    last: Option<Instant>,
}

impl Answers {
    /// Bytes have come.
    ///
    /// # Errors
    /// Those of the socket. One that takes nothing is none: the dialer will see to it.
    pub fn answer(&mut self, stream: &TcpStream) -> io::Result<()> {
        if self.last.is_some_and(|last| last.elapsed() < PONG_INTERVAL) {
            return Ok(());
        }
        self.last = Some(Instant::now());
        if self.out.is_empty() {
            frame::encode(Kind::Pong, &mut self.out, |_| {});
        }
        match stream.try_write(&self.out) {
            Ok(n) => drop(self.out.drain(..n)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Small frames leave at once, and a machine that has gone is noticed also where nothing is sent.
///
/// # Errors
/// Those of the socket.
pub fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = socket2::SockRef::from(stream);
    let probes = socket2::TcpKeepalive::new()
        .with_time(limits::KEEP_ALIVE)
        .with_interval(limits::KEEP_ALIVE / 5)
        .with_retries(3);
    socket.set_tcp_keepalive(&probes)?;
    // A refinement: a kernel without it serves all the same.
    let _ = socket.set_tcp_user_timeout(Some(limits::STALL_MAX));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    const SILENCE: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_nothing_answers_is_given_up_and_an_answered_one_is_not() {
        let pulse = Rc::new(Pulse::default());
        let begun = Instant::now();
        pulse.stops(SILENCE, || pulse.wrote()).await;
        // The first ping goes out after half of it.
        assert!(begun.elapsed() >= SILENCE && begun.elapsed() <= 2 * SILENCE);
        pulse.begin();
        let answered = pulse.stops(SILENCE, || {
            pulse.wrote();
            pulse.answered();
        });
        let still = tokio::time::timeout(100 * SILENCE, answered).await;
        assert!(still.is_err(), "every ping was answered");
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_written_after_the_last_answer_are_waited_for_from_their_own_time() {
        let pulse = Pulse::default();
        pulse.wrote();
        sleep(SILENCE * 9 / 10).await;
        pulse.answered();
        pulse.wrote();
        let begun = Instant::now();
        pulse.stops(SILENCE, || pulse.wrote()).await;
        assert!(begun.elapsed() >= SILENCE && begun.elapsed() < SILENCE * 11 / 10);
    }
}
