//! The calls a connection has open, so that they can be bounded and ended.

use super::status::{Code, Outcome, Status};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// A stream that was sent nothing for so long is idle; so is one that had nothing but the answer
/// to its opening, however young it is: a channel fills up in less than a second.
const IDLE_MIN: Duration = Duration::from_secs(1);
/// Streams looked at to find an idle one; there is one among the oldest, or hardly any.
const LOOKED_AT_MAX: usize = 1024;

/// One stream: what it was last sent, and how it is to end.
#[derive(Default)]
struct Stream {
    sent: Cell<Sent>,
    end: RefCell<Option<Status>>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, Default)]
enum Sent {
    #[default]
    Nothing,
    Answer,
    Last(Instant),
}

impl Stream {
    fn is_idle(&self, now: Instant) -> bool {
        match self.sent.get() {
            Sent::Nothing | Sent::Answer => true,
            Sent::Last(at) => now.saturating_duration_since(at) >= IDLE_MIN,
        }
    }
}

/// The open calls of one connection.
pub(super) struct Streams {
    max: usize,
    /// Calls of every kind.
    open: Cell<usize>,
    /// Those that may stay, in the order they were opened.
    lasting: RefCell<BTreeMap<u64, Rc<Stream>>>,
    next: Cell<u64>,
    stopping: Cell<bool>,
    /// What is told to whom no answer comes any more.
    stopped: Status,
}

impl Streams {
    pub(super) fn new(max: u32, stopped: Status) -> Rc<Self> {
        Rc::new(Self {
            max: usize::try_from(max).unwrap_or(usize::MAX),
            open: Cell::new(0),
            lasting: RefCell::default(),
            next: Cell::new(0),
            stopping: Cell::new(false),
            stopped,
        })
    }

    pub(super) fn open(&self) -> usize {
        self.open.get()
    }

    /// A place for one more call. Where there is none the oldest idle stream loses its own, and
    /// where none is idle the new call is refused.
    pub(super) fn place(self: &Rc<Self>, lasting: bool) -> Result<Place, Status> {
        if self.open.get() >= self.max && !self.end_idle(Instant::now()) {
            return Err(self.too_many("this call has no place"));
        }
        self.open.set(self.open.get() + 1);
        let number = self.next.get();
        self.next.set(number + 1);
        let stream = lasting.then(|| {
            let stream = Rc::new(Stream::default());
            self.lasting.borrow_mut().insert(number, Rc::clone(&stream));
            if self.stopping.get() {
                end(&stream, self.stopped.clone());
            }
            stream
        });
        Ok(Place { streams: Rc::clone(self), number, stream })
    }

    fn too_many(&self, who: &str) -> Status {
        let text = format!("too many calls on one connection: {} are open, {who}", self.max);
        Status::new(Code::ResourceExhausted, text).outcome(Outcome::NotApplied)
    }

    /// Ends the oldest stream that is idle; false when there is none.
    fn end_idle(&self, now: Instant) -> bool {
        let mut lasting = self.lasting.borrow_mut();
        let oldest =
            lasting.iter().take(LOOKED_AT_MAX).find(|(_, s)| s.is_idle(now)).map(|(n, _)| *n);
        let Some(stream) = oldest.and_then(|number| lasting.remove(&number)) else { return false };
        end(&stream, self.too_many("this was the oldest idle stream"));
        true
    }

    /// Ends all streams, and from now on every new one: the member stops.
    pub(super) fn stop(&self) {
        self.stopping.set(true);
        for stream in self.lasting.borrow().values() {
            end(stream, self.stopped.clone());
        }
    }
}

fn end(stream: &Stream, status: Status) {
    *stream.end.borrow_mut() = Some(status);
    if let Some(waker) = stream.waker.take() {
        waker.wake();
    }
}

/// One open call's place; given up when dropped.
pub(super) struct Place {
    streams: Rc<Streams>,
    number: u64,
    stream: Option<Rc<Stream>>,
}

impl Place {
    /// What is told to whom no answer comes any more.
    pub(super) fn stopped(&self) -> Status {
        self.streams.stopped.clone()
    }

    /// Notes that the stream was sent something.
    pub(super) fn is_active(&self) {
        if let Some(stream) = &self.stream {
            stream.sent.set(match stream.sent.get() {
                Sent::Nothing => Sent::Answer,
                Sent::Answer | Sent::Last(_) => Sent::Last(Instant::now()),
            });
        }
    }

    /// Resolves when the connection wants the stream to end, with the reason.
    pub(super) fn ended(&self) -> impl Future<Output = Status> + use<> {
        let stream = self.stream.clone();
        poll_fn(move |cx| {
            let Some(stream) = &stream else { return Poll::Pending };
            match stream.end.take() {
                Some(status) => Poll::Ready(status),
                None => {
                    *stream.waker.borrow_mut() = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let open = self.streams.open.get();
        self.streams.open.set(open.checked_sub(1).expect("every place was counted"));
        if self.stream.is_some() {
            self.streams.lasting.borrow_mut().remove(&self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(place: &Place) -> &Stream {
        place.stream.as_ref().expect("lasting")
    }

    fn told(place: &Place) -> bool {
        stream(place).end.borrow().is_some()
    }

    #[test]
    fn without_a_place_the_oldest_idle_stream_ends_and_without_an_idle_one_the_new_call() {
        let streams = Streams::new(2, Status::new(14_u32, "stopped"));
        let first = streams.place(true).expect("room");
        let second = streams.place(true).expect("room");
        let busy = |place: &Place| {
            place.is_active();
            place.is_active();
        };
        busy(&first);
        busy(&second);
        let refused = streams.place(false).err().expect("none is idle");
        assert_eq!(refused.code, Code::ResourceExhausted as u32);
        let long_ago = Instant::now().checked_sub(IDLE_MIN).expect("the machine runs that long");
        stream(&second).sent.set(Sent::Last(long_ago));
        let third = streams.place(false).expect("the second was idle");
        assert!(!told(&first) && told(&second));
        drop((first, second, third));
        assert_eq!(streams.open(), 0);
    }

    #[test]
    fn a_stream_that_had_only_its_answer_is_idle_however_young() {
        let streams = Streams::new(2, Status::new(14_u32, "stopped"));
        let first = streams.place(true).expect("room");
        let second = streams.place(true).expect("room");
        first.is_active();
        let _third = streams.place(false).expect("the first was only answered");
        assert!(told(&first) && !told(&second));
    }
}
