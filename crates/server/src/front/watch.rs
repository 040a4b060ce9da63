//! The Watch service: every watcher is a cursor into the store's history.
//!
//! Nothing is queued for a slow client. A change only rings the bell of every stream; the
//! stream's task then reads what its watchers have not seen from the current view, as long as the
//! client's window has room. A watcher that falls behind is simply a cursor further back. What a
//! batch changes and compacts at once is kept for those that stood at the head: [`mvcc::Recent`].

mod session;
mod watcher;

use super::engine::Engine;
use crate::grpc::{RequestStream, Status, StreamSender};
use mvcc::{Changes, Recent};
use session::Session;
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

/// etcd's `--watch-progress-notify-interval`.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(600);
/// Changes kept for streams whose turn has not come since; the newest batch is kept in any case.
const RECENT_BYTES_MAX: usize = 4 << 20;

/// All open watch streams.
pub struct Hub {
    engine: Rc<dyn Engine>,
    bells: RefCell<Vec<Weak<Bell>>>,
    recent: Rc<RefCell<Recent>>,
    message_bytes_max: usize,
    progress_interval: Cell<Duration>,
}

/// Wakes one stream's task.
#[derive(Default)]
struct Bell {
    waker: RefCell<Option<Waker>>,
}

impl Bell {
    fn ring(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn listen(&self, waker: &Waker) {
        *self.waker.borrow_mut() = Some(waker.clone());
    }
}

impl Hub {
    pub(super) fn new(engine: Rc<dyn Engine>, message_bytes_max: usize) -> Rc<Self> {
        let hub = Rc::new(Self {
            engine,
            bells: RefCell::default(),
            recent: Rc::new(RefCell::new(Recent::new(RECENT_BYTES_MAX))),
            message_bytes_max,
            progress_interval: Cell::new(PROGRESS_INTERVAL),
        });
        let weak = Rc::downgrade(&hub);
        // Watchers read the view: one path for live and late ones. An empty slice is fine and
        // means that the store was replaced.
        hub.engine.on_changes(Rc::new(move |changes| {
            if let Some(hub) = weak.upgrade() {
                hub.ring(changes);
            }
        }));
        hub
    }

    /// Sets `--watch-progress-notify-interval` for streams opened from now on.
    pub fn set_progress_interval(&self, interval: Duration) {
        self.progress_interval.set(interval.max(Duration::from_millis(100)));
    }

    /// Streams that are open.
    pub(super) fn streams(&self) -> usize {
        self.bells.borrow().iter().filter(|bell| bell.strong_count() > 0).count()
    }

    fn ring(&self, changes: &[Arc<Changes>]) {
        let mut bells = self.bells.borrow_mut();
        if bells.is_empty() {
            self.recent.borrow_mut().clear()
        } else {
            self.recent.borrow_mut().push(changes)
        }
        bells.retain(|bell| match bell.upgrade() {
            Some(bell) => {
                bell.ring();
                true
            }
            None => false,
        });
    }

    /// Streams it keeps a note of, ended ones too.
    #[cfg(test)]
    pub(super) fn noted(&self) -> usize {
        self.bells.borrow().len()
    }

    /// Streams that have ended make room before the list grows: none may be left for a change to
    /// find, there may not be one for long.
    fn enrol(&self, bell: &Rc<Bell>) {
        let mut bells = self.bells.borrow_mut();
        if bells.len() == bells.capacity() {
            bells.retain(|bell| bell.strong_count() > 0);
        }
        bells.push(Rc::downgrade(bell));
    }

    /// Serves one watch stream on its own local task.
    /// It ends with `cut`'s status when that comes first.
    pub(super) fn open(
        self: Rc<Self>,
        input: RequestStream,
        cut: impl Future<Output = Status> + 'static,
        out: StreamSender,
    ) {
        let bell = Rc::new(Bell::default());
        self.enrol(&bell);
        let interval = self.progress_interval.get();
        let recent = Rc::clone(&self.recent);
        let session = Session::new(self.engine.clone(), recent, self.message_bytes_max);
        tokio::task::spawn_local(session::run(session, bell, interval, input, cut, out));
    }
}
