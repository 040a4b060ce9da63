//! One task's wait for room.

use super::outflow::Outflow;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Whoever waits has one place in the queue and is woken when it is at its front and there is
/// room. It takes the room or passes it on, when it is dropped at the latest: nobody is lost.
pub(super) struct Waiting {
    outflow: Rc<Outflow>,
    /// None while it does not wait.
    number: Option<u64>,
}

impl Waiting {
    pub(super) fn new(outflow: Rc<Outflow>) -> Self {
        Self { outflow, number: None }
    }

    /// Whether there is room; without any, wakes the task in its turn.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        if self.outflow.has_room() {
            // The next one looks after this one has sent.
            self.pass_on();
            return true;
        }
        let number = *self.number.get_or_insert_with(|| self.outflow.everybody().number());
        self.outflow.enter(number, cx.waker());
        false
    }

    pub(super) async fn room(mut self) {
        poll_fn(|cx| if self.poll(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// It wants no room now, or has got some.
    pub(super) fn pass_on(&mut self) {
        if let Some(number) = self.number.take() {
            self.outflow.leave(number);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.pass_on();
    }
}

#[cfg(test)]
mod tests {
    use super::super::outflow::{CONNECTION_UNSENT_BYTES_MAX, Chunk};
    use super::*;
    use base::limits::ANSWER_OVERHEAD_BYTES;
    use bytes::{Buf, Bytes};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex};
    use std::task::{Wake, Waker};

    /// Streams of one connection, and those of them that are woken.
    struct Streams {
        outflow: Rc<Outflow>,
        woken: Arc<Mutex<Vec<usize>>>,
        all: Vec<Option<Waiting>>,
    }

    struct Bell(usize, Arc<Mutex<Vec<usize>>>, AtomicBool);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            assert!(!self.2.swap(true, Ordering::Relaxed), "{} is woken once", self.0);
            self.1.lock().unwrap().push(self.0);
        }
    }

    impl Streams {
        fn new(count: usize) -> Self {
            let outflow = Outflow::new(Rc::default());
            let all = (0..count).map(|_| Some(Waiting::new(Rc::clone(&outflow)))).collect();
            Self { outflow, woken: Arc::default(), all }
        }

        fn poll(&mut self, n: usize) -> bool {
            let bell = Bell(n, Arc::clone(&self.woken), AtomicBool::new(false));
            let waker = Waker::from(Arc::new(bell));
            self.all[n].as_mut().unwrap().poll(&mut Context::from_waker(&waker))
        }

        /// So many bytes as they are counted.
        fn send(&self, bytes: usize) -> Chunk {
            self.outflow.chunk(Bytes::from(vec![0; bytes - ANSWER_OVERHEAD_BYTES]))
        }

        fn woken(&self) -> Vec<usize> {
            std::mem::take(&mut self.woken.lock().unwrap())
        }
    }

    #[test]
    fn who_waits_is_woken_in_turn_one_for_each_room_and_nobody_is_lost() {
        let mut streams = Streams::new(1000);
        let mut lies = streams.send(CONNECTION_UNSENT_BYTES_MAX);
        assert!((0..1000).all(|n| !streams.poll(n)));
        assert_eq!(streams.woken(), []);
        lies.advance(ANSWER_OVERHEAD_BYTES);
        assert_eq!(streams.woken(), [0]);
        // It takes all the room: whom it wakes meanwhile waits on in the same place.
        assert!(streams.poll(0));
        let one = streams.send(ANSWER_OVERHEAD_BYTES);
        assert_eq!(streams.woken(), [1]);
        assert!(!streams.poll(1));
        drop(one);
        assert_eq!(streams.woken(), [1]);
        // It has gone, and the next one has nothing to send after all.
        streams.all[1] = None;
        assert_eq!(streams.woken(), [2]);
        streams.all[2].as_mut().unwrap().pass_on();
        assert_eq!(streams.woken(), [3]);
        // With room for all each wakes the next.
        for n in 3..999 {
            assert!(streams.poll(n));
            assert_eq!(streams.woken(), [n + 1]);
        }
        assert!(streams.poll(999));
        drop(lies);
        assert_eq!(streams.woken(), []);
    }

    #[test]
    fn who_waits_for_its_own_room_is_woken_though_all_became_full_meanwhile() {
        use super::super::outflow::Everybody;
        use base::limits::ALL_UNSENT_BYTES_MAX;
        let all = Rc::new(Everybody::default());
        let (one, two) = (Outflow::new(Rc::clone(&all)), Outflow::new(all));
        let mut lies = one.chunk(Bytes::from(vec![0; CONNECTION_UNSENT_BYTES_MAX]));
        let woken: Arc<Mutex<Vec<usize>>> = Arc::default();
        let mut waits = Waiting::new(Rc::clone(&one));
        let mut poll = || {
            let bell = Bell(7, Arc::clone(&woken), AtomicBool::new(false));
            waits.poll(&mut Context::from_waker(&Waker::from(Arc::new(bell))))
        };
        assert!(!poll());
        let fill = two.chunk(Bytes::from(vec![0; ALL_UNSENT_BYTES_MAX]));
        lies.advance(CONNECTION_UNSENT_BYTES_MAX - 1000);
        assert_eq!(std::mem::take(&mut *woken.lock().unwrap()), [7], "it has room of its own");
        assert!(!poll(), "all have not");
        drop(fill);
        assert_eq!(*woken.lock().unwrap(), [7]);
        assert!(poll());
    }
}
