//! Whether a client is still there, takes what it is sent, and behaves; free of I/O.
//!
//! Three rules of time: a silent client is pinged and must answer (etcd's `--grpc-keepalive-*`),
//! one that was sent much must take some of it, and none may waste our time: pings that come too
//! fast and calls taken back without end are answered with `ENHANCE_YOUR_CALM`.

use super::drain::{DRAIN_INTERVAL, Drain};
use super::outflow::Outflow;
use super::traffic::Traffic;
use base::limits::{RESETS_MAX, UNSENT_TOLERATED_BYTES_MAX};
use std::time::Duration;
use tokio::time::Instant;

/// Calls a client may take back a second, for ever.
const RESETS_PER_SECOND_MAX: u64 = 4 * 1024;
/// Pings that may come too early, as in grpc-go (`maxPingStrikes`).
const PING_STRIKES_MAX: u32 = 2;
/// How early is too early while no call is open, as in grpc-go (`defaultPingTimeout`).
const IDLE_PING_INTERVAL_MIN: Duration = Duration::from_secs(2 * 3600);

/// How clients that went silent are found; etcd's flags and defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// `--grpc-keepalive-interval`: a client that was silent for so long is pinged; zero: never.
    pub interval: Duration,
    /// `--grpc-keepalive-timeout`: and is taken for gone after so long without a word.
    pub timeout: Duration,
    /// `--grpc-keepalive-min-time`: a client's own pings may not come closer than this.
    pub min_time: Duration,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(2 * 3600),
            timeout: Duration::from_secs(20),
            min_time: Duration::from_secs(5),
        }
    }
}

/// What is to be done about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing, until then at the latest.
    Wait(Instant),
    /// It has been silent: ask for a sign of life.
    Ping,
    /// End it at once; the text says why.
    Gone(&'static str),
    /// Tell it to be calm, and end it.
    Calm(&'static str),
}

pub(super) struct Vitals {
    keep_alive: KeepAlive,
    read_bytes: u64,
    heard: Instant,
    pinged: Option<Instant>,
    drain: Drain,
    resets: u64,
    /// Resets the client may still send, and when that was.
    allowance: (Instant, u64),
    pings: u64,
    last_ping: Option<Instant>,
    strikes: u32,
    /// Answers and bytes sent by its last ping.
    sent: (u64, u64),
}

impl Vitals {
    pub(super) fn new(keep_alive: KeepAlive, now: Instant) -> Self {
        Self {
            keep_alive,
            read_bytes: 0,
            heard: now,
            pinged: None,
            drain: Drain::new(now),
            resets: 0,
            allowance: (now, RESETS_MAX),
            pings: 0,
            last_ping: None,
            strikes: 0,
            sent: (0, 0),
        }
    }

    /// Looks at everything. `calls` are open; `stood`: this process itself has just stood still.
    pub(super) fn look(
        &mut self,
        now: Instant,
        traffic: &Traffic,
        outflow: &Outflow,
        calls: usize,
        stood: bool,
    ) -> Verdict {
        if self.resets_without_end(now, traffic.resets.get()) {
            return Verdict::Calm("too many calls were taken back");
        }
        if self.pings_too_fast(now, traffic.pings.get(), outflow, calls) && !stood {
            return Verdict::Calm("too_many_pings");
        }
        let drain = match self.drain.look(now, outflow, UNSENT_TOLERATED_BYTES_MAX) {
            Ok(next) => next,
            Err(()) if stood => now + DRAIN_INTERVAL,
            Err(()) => return Verdict::Gone("does not take what it was sent"),
        };
        match self.silence(now, traffic.read_bytes.get()) {
            Verdict::Wait(next) => Verdict::Wait(next.min(drain)),
            verdict => verdict,
        }
    }

    fn resets_without_end(&mut self, now: Instant, resets: u64) -> bool {
        let new = resets - self.resets;
        if new == 0 {
            return false;
        }
        self.resets = resets;
        let (at, left) = self.allowance;
        let passed = now.saturating_duration_since(at).as_micros();
        let earned = passed.saturating_mul(u128::from(RESETS_PER_SECOND_MAX)) / 1_000_000;
        let earned = u64::try_from(earned).unwrap_or(u64::MAX);
        let left = left.saturating_add(earned).min(RESETS_MAX);
        // A time too short to earn anything is not lost.
        let at = if earned == 0 { at } else { now };
        self.allowance = (at, left.saturating_sub(new));
        new > left
    }

    /// grpc-go's rule (`http2_server.go`, `handlePing`), so that clients made for it are safe.
    fn pings_too_fast(
        &mut self,
        now: Instant,
        pings: u64,
        outflow: &Outflow,
        calls: usize,
    ) -> bool {
        let new = pings - self.pings;
        if new == 0 {
            return false;
        }
        self.pings = pings;
        let sent = (outflow.answers(), outflow.sent());
        let answered = std::mem::replace(&mut self.sent, sent) != sent;
        let apart = if calls == 0 { IDLE_PING_INTERVAL_MIN } else { self.keep_alive.min_time };
        let early = self.last_ping.is_some_and(|last| now < last + apart);
        self.last_ping = Some(now);
        if answered {
            // It asks how fast the way to it is: pings follow what it is sent.
            self.strikes = 0;
            return false;
        }
        let strikes = u32::try_from(new).unwrap_or(u32::MAX) - u32::from(!early);
        self.strikes = self.strikes.saturating_add(strikes);
        self.strikes > PING_STRIKES_MAX
    }

    fn silence(&mut self, now: Instant, read_bytes: u64) -> Verdict {
        if std::mem::replace(&mut self.read_bytes, read_bytes) != read_bytes {
            self.heard = now;
            self.pinged = None;
        }
        let KeepAlive { interval, timeout, .. } = self.keep_alive;
        if interval.is_zero() {
            return Verdict::Wait(now + IDLE_PING_INTERVAL_MIN);
        }
        match self.pinged {
            Some(at) if now >= at + timeout => Verdict::Gone("no answer to a keep-alive ping"),
            Some(at) => Verdict::Wait(at + timeout),
            None if now >= self.heard + interval => {
                self.pinged = Some(now);
                Verdict::Ping
            }
            None => Verdict::Wait(self.heard + interval),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::outflow::{Everybody, Owed};
    use super::*;
    use base::limits::ANSWER_OVERHEAD_BYTES;
    use bytes::{Buf, Bytes};
    use std::rc::Rc;

    struct Client {
        vitals: Vitals,
        traffic: Traffic,
        outflow: Rc<Outflow>,
        start: Instant,
    }

    impl Client {
        fn new() -> Self {
            let start = Instant::now();
            let outflow = Outflow::new(Rc::default());
            let vitals = Vitals::new(KeepAlive::default(), start);
            Self { vitals, traffic: Traffic::default(), outflow, start }
        }

        /// One of a server that owes many others as much as it may; and what it owes them.
        fn among_many_owed() -> (Self, Vec<Owed>) {
            let all = Rc::<Everybody>::default();
            let other = || Outflow::new(Rc::clone(&all)).owe(usize::MAX);
            let owed = (0..32).map(|_| other()).collect();
            (Self { outflow: Outflow::new(all), ..Self::new() }, owed)
        }

        /// What is to be done after `ms`, with one call open.
        fn at(&mut self, ms: u64) -> Verdict {
            let now = self.start + Duration::from_millis(ms);
            self.vitals.look(now, &self.traffic, &self.outflow, 1, false)
        }
    }

    #[test]
    fn a_silent_client_is_pinged_and_any_word_of_it_counts_as_an_answer() {
        let mut client = Client::new();
        let (interval, timeout) = (7_200_000, 20_000);
        assert!(matches!(client.at(interval - 1), Verdict::Wait(_)));
        assert_eq!(client.at(interval), Verdict::Ping);
        client.traffic.read(1);
        assert!(matches!(client.at(interval + timeout), Verdict::Wait(_)));
        assert_eq!(client.at(2 * interval + timeout), Verdict::Ping);
        assert!(matches!(client.at(2 * interval + 2 * timeout - 1), Verdict::Wait(_)));
        assert!(matches!(client.at(2 * interval + 2 * timeout), Verdict::Gone(_)));
    }

    #[test]
    fn a_client_that_takes_some_of_what_it_was_sent_stays_and_one_that_takes_none_goes() {
        let mut client = Client::new();
        let mut chunk = client.outflow.chunk(Bytes::from(vec![0; 2 * UNSENT_TOLERATED_BYTES_MAX]));
        for second in 0..30 {
            chunk.advance(64 * 1024);
            assert!(matches!(client.at(second * 9_000), Verdict::Wait(_)), "{second}");
        }
        assert!(matches!(client.at(29 * 9_000 + 9_999), Verdict::Wait(_)));
        assert!(matches!(client.at(29 * 9_000 + 10_000), Verdict::Gone(_)));
        chunk.advance(chunk.remaining() - UNSENT_TOLERATED_BYTES_MAX + ANSWER_OVERHEAD_BYTES);
        assert!(matches!(client.at(500_000), Verdict::Wait(_)), "little is nobody's concern");
    }

    #[test]
    fn while_all_is_full_who_takes_nothing_goes_within_a_second() {
        let mut client = Client::new();
        let _chunk = client.outflow.chunk(Bytes::from(vec![0; 256 << 20]));
        assert!(matches!(client.at(0), Verdict::Wait(_)));
        assert!(matches!(client.at(1_000), Verdict::Gone(_)));
    }

    #[test]
    fn while_all_are_owed_much_who_has_little_here_stays_and_who_has_much_gets_a_second() {
        let (mut client, _owed) = Client::among_many_owed();
        assert!(matches!(client.at(0), Verdict::Wait(_)));
        // Nobody looks at it for nine seconds: then it is sent an event of a watch.
        let _event = client.outflow.chunk(Bytes::from(vec![0; 100]));
        assert!(matches!(client.at(9_000), Verdict::Wait(_)));
        assert!(matches!(client.at(99_000), Verdict::Wait(_)));
        let _more = client.outflow.chunk(Bytes::from(vec![0; UNSENT_TOLERATED_BYTES_MAX]));
        assert!(matches!(client.at(108_000), Verdict::Wait(_)), "its time begins now");
        assert!(matches!(client.at(108_999), Verdict::Wait(_)));
        assert!(matches!(client.at(109_000), Verdict::Gone(_)));
    }

    #[test]
    fn while_all_are_owed_much_who_has_much_takes_it_at_a_rate_at_which_it_ends_or_goes() {
        let (mut client, _owed) = Client::among_many_owed();
        let mut chunk =
            client.outflow.chunk(Bytes::from(vec![0; (8 << 20) + UNSENT_TOLERATED_BYTES_MAX]));
        for n in 0..5 {
            chunk.advance(1 << 20);
            assert!(matches!(client.at(n * 900), Verdict::Wait(_)), "{n}");
        }
        chunk.advance(512 << 10);
        assert!(matches!(client.at(5 * 900 + 100), Verdict::Gone(_)));
    }

    #[test]
    fn who_is_owed_more_takes_what_lies_here_or_goes() {
        let mut client = Client::new();
        let _owed = client.outflow.owe(usize::MAX);
        assert!(matches!(client.at(0), Verdict::Wait(_)));
        assert!(matches!(client.at(50_000), Verdict::Wait(_)), "nothing lies here");
        let mut chunk = client.outflow.chunk(Bytes::from(vec![0; 256 << 10]));
        for second in 50..52 {
            chunk.advance(64 * 1024);
            assert!(matches!(client.at(second * 1_200), Verdict::Wait(_)), "{second}");
        }
        assert!(matches!(client.at(51 * 1_200 + 10_000), Verdict::Gone(_)));
    }

    #[test]
    fn a_burst_of_calls_taken_back_is_no_attack_and_an_endless_one_is() {
        let mut client = Client::new();
        client.traffic.resets.set(RESETS_MAX);
        assert!(matches!(client.at(1), Verdict::Wait(_)));
        for second in 1..100 {
            client.traffic.resets.set(RESETS_MAX + second * RESETS_PER_SECOND_MAX);
            assert!(matches!(client.at(second * 1_000 + 1), Verdict::Wait(_)), "{second}");
        }
        client.traffic.resets.set(client.traffic.resets.get() + 100);
        assert!(matches!(client.at(99_002), Verdict::Calm(_)));
    }

    #[test]
    fn pings_may_follow_what_is_sent_and_otherwise_not_come_too_fast() {
        let mut client = Client::new();
        for n in 1..20 {
            client.outflow.begins();
            client.traffic.pings.set(n);
            assert!(matches!(client.at(n), Verdict::Wait(_)), "{n}");
        }
        for n in 20..30 {
            client.traffic.pings.set(n);
            assert!(matches!(client.at(n * 5_000), Verdict::Wait(_)), "{n}");
        }
        for n in 30..32 {
            client.traffic.pings.set(n);
            assert!(matches!(client.at(145_000 + n), Verdict::Wait(_)), "{n}");
        }
        client.traffic.pings.set(32);
        assert_eq!(client.at(145_099), Verdict::Calm("too_many_pings"));
    }
}
