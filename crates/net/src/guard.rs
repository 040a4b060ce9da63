//! The watch over one connection: [`Vitals`] with a timer, pings, and the member's own stop.

use super::limits::LATE_OPENING_MAX;
use super::outflow::Outflow;
use super::premises::Premises;
use super::streams::Streams;
use super::traffic::Traffic;
use super::vitals::{Verdict, Vitals};
use h2::{Ping, PingPong};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The member stops: say goodbye, and go on until the open calls are answered.
    Goodbye,
    /// End at once; why.
    Cut(&'static str),
    /// Tell the client to be calm, and end; why.
    Calm(&'static str),
    /// Nothing is open any more after a goodbye.
    Done,
}

pub(super) struct Guard<'a> {
    server: &'a Premises,
    vitals: Vitals,
    traffic: Rc<Traffic>,
    outflow: Rc<Outflow>,
    streams: Rc<Streams>,
    pings: PingPong,
    timer: Pin<Box<Sleep>>,
    stopping: Pin<Box<dyn Future<Output = ()>>>,
    /// Since when it has been told to go.
    going: Option<Instant>,
}

impl<'a> Guard<'a> {
    pub(super) fn new(
        server: &'a Premises,
        traffic: Rc<Traffic>,
        outflow: Rc<Outflow>,
        streams: Rc<Streams>,
        pings: PingPong,
    ) -> Self {
        let now = Instant::now();
        Self {
            server,
            vitals: Vitals::new(server.keep_alive, now),
            traffic,
            outflow,
            streams,
            pings,
            timer: Box::pin(tokio::time::sleep_until(now)),
            stopping: Box::pin(stop_of(server.stopping())),
            going: None,
        }
    }

    /// Part of the connection's every turn, after all that could be read was.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Fate> {
        if self.going.is_none() && self.stopping.as_mut().poll(cx).is_ready() {
            self.going = Some(Instant::now());
            return Poll::Ready(Fate::Goodbye);
        }
        // An answer counts as a sign of life like all that is read; this takes it off the books.
        let _ = self.pings.poll_pong(cx);
        loop {
            let now = Instant::now();
            let stood = self.server.pulse.stood();
            let calls = self.streams.open();
            let mut next = match self.vitals.look(now, &self.traffic, &self.outflow, calls, stood) {
                Verdict::Wait(next) => next,
                Verdict::Ping => {
                    // One that is still under way serves as well.
                    let _ = self.pings.send_ping(Ping::opaque());
                    continue;
                }
                Verdict::Gone(why) => return Poll::Ready(Fate::Cut(why)),
                Verdict::Calm(why) => return Poll::Ready(Fate::Calm(why)),
            };
            if let Some(going) = self.going.filter(|_| calls == 0) {
                let end = going + LATE_OPENING_MAX;
                if now >= end {
                    return Poll::Ready(Fate::Done);
                }
                next = next.min(end);
            }
            // A timer that goes off early costs one look; moving it for every answer costs more.
            if self.timer.deadline() > next || self.timer.is_elapsed() {
                self.timer.as_mut().reset(next);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

async fn stop_of(mut stopping: watch::Receiver<bool>) {
    // A server that is gone ends its connections itself.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}
