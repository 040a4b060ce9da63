//! Streams on their way: asks a source for messages when there is room for them, until either
//! side ends.

use super::status::exceeded;
use super::stream::StreamSender;
use super::{Opening, Source, Status, Turn};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::time::Sleep;

/// Messages sent before other tasks get their turn.
const SENDS_PER_TURN_MAX: usize = 64;

/// Serves one stream until it ends, its deadline passes, its connection wants it gone, or its
/// client has left.
pub(super) async fn run(opening: Opening, deadline: Option<Instant>, mut out: StreamSender) {
    let opening = match opening.at_once() {
        // A refusal costs no timer, and is the answer's head.
        Ok(Err(status)) => return out.end(&Err(status)),
        Ok(Ok(source)) => Stage::Open(source),
        Err(later) => Stage::Opening(later),
    };
    let stopped = out.place().stopped();
    let mut ended = pin!(out.place().ended());
    let mut timer = pin!(tokio::time::sleep_until(Instant::now().into()));
    let mut stream = Stream { stage: opening, deadline, stopped, unread: None };
    let end = poll_fn(|cx| {
        if let Poll::Ready(status) = ended.as_mut().poll(cx) {
            return Poll::Ready(Some(Err(status)));
        }
        stream.turn(&mut out, timer.as_mut(), cx)
    });
    if let Some(end) = end.await {
        out.end(&end);
    }
}

enum Stage {
    Opening(Opening),
    Open(Box<dyn Source>),
}

struct Stream {
    stage: Stage,
    deadline: Option<Instant>,
    /// How it ends when nothing comes of its opening.
    stopped: Status,
    /// When it will have left too long unread what it cannot take back any more.
    unread: Option<Instant>,
}

/// How a call ends; `None` when nobody is left to be told.
type End = Option<Result<(), Status>>;

impl Stream {
    fn turn(
        &mut self,
        out: &mut StreamSender,
        mut timer: Pin<&mut Sleep>,
        cx: &mut Context<'_>,
    ) -> Poll<End> {
        loop {
            let now = Instant::now();
            if self.deadline.is_some_and(|at| at <= now) {
                return Poll::Ready(Some(Err(exceeded())));
            }
            if self.unread.is_some_and(|at| at <= now) {
                return Poll::Ready(None);
            }
            if let Poll::Ready(end) = self.work(out, cx) {
                return Poll::Ready(end);
            }
            let Some(due) = self.due() else { return Poll::Pending };
            // One that goes off early costs one look; moving it costs more.
            if timer.deadline() > due.into() || timer.is_elapsed() {
                timer.as_mut().reset(due.into());
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// When it has to be looked at again, whatever happens.
    fn due(&self) -> Option<Instant> {
        let source = match &self.stage {
            Stage::Opening(_) => None,
            Stage::Open(source) => source.due(),
        };
        [self.deadline, self.unread, source].into_iter().flatten().min()
    }

    fn work(&mut self, out: &mut StreamSender, cx: &mut Context<'_>) -> Poll<End> {
        for _ in 0..SENDS_PER_TURN_MAX {
            if let Stage::Opening(opening) = &mut self.stage {
                match Pin::new(opening).poll(cx) {
                    Poll::Ready(Some(Ok(source))) => self.stage = Stage::Open(source),
                    Poll::Ready(Some(Err(status))) => return Poll::Ready(Some(Err(status))),
                    Poll::Ready(None) => return Poll::Ready(Some(Err(self.stopped.clone()))),
                    Poll::Pending if out.is_gone(cx) => return Poll::Ready(None),
                    Poll::Pending => return Poll::Pending,
                }
            }
            let Stage::Open(source) = &mut self.stage else { unreachable!("it was just opened") };
            if source.starts_at_once() && out.start().is_err() {
                return Poll::Ready(None);
            }
            match source.poll(cx) {
                Poll::Ready(Turn::Message) => {}
                Poll::Ready(Turn::End(end)) => return Poll::Ready(Some(end)),
                Poll::Pending if out.is_gone(cx) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
            match out.poll_ready(cx) {
                Poll::Pending => {
                    let max = source.unread_max().map(|max| Instant::now() + max);
                    self.unread = self.unread.or(max);
                    return Poll::Pending;
                }
                Poll::Ready(Err(_)) => return Poll::Ready(None),
                Poll::Ready(Ok(())) => self.unread = None,
            }
            let Some(made) = source.make() else { continue };
            match made.map(|frame| out.send_frame(frame)) {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Poll::Ready(None),
                Err(status) => return Poll::Ready(Some(Err(status))),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
