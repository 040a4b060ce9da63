//! The Watch service: every watcher is a cursor into the store's history.
//!
//! Nothing is queued for a slow client. A change only rings the bell of every stream; the
//! stream's task then reads what its watchers have not seen from the current view, as long as the
//! client's window has room. A watcher that falls behind is simply a cursor further back. What a
//! batch changes and compacts at once is kept for those that stood at the head: [`mvcc::Recent`].

mod session;
mod watcher;

use super::bell::{Bell, Bells};
use super::cut::Cut;
use door::Door;
use mvcc::{Changes, Recent};
use net::{Form, Requests};
use session::{Session, Stream};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// etcd's `--watch-progress-notify-interval`.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(600);
/// Changes kept for streams whose turn has not come since; the newest batch is kept in any case.
const RECENT_BYTES_MAX: usize = 4 << 20;

/// All open watch streams.
pub(super) struct Hub {
    door: Rc<dyn Door>,
    bells: Bells,
    recent: Rc<RefCell<Recent>>,
    message_bytes_max: usize,
    progress_interval: Cell<Duration>,
}

impl Hub {
    pub(super) fn new(door: Rc<dyn Door>, message_bytes_max: usize) -> Rc<Self> {
        let hub = Rc::new(Self {
            door,
            bells: Bells::default(),
            recent: Rc::new(RefCell::new(Recent::new(RECENT_BYTES_MAX))),
            message_bytes_max,
            progress_interval: Cell::new(PROGRESS_INTERVAL),
        });
        let weak = Rc::downgrade(&hub);
        // Watchers read the view: one path for live and late ones. An empty slice is fine and
        // means that the store was replaced.
        hub.door.on_changes(Rc::new(move |changes| {
            if let Some(hub) = weak.upgrade() {
                hub.ring(changes);
            }
        }));
        hub
    }

    /// Sets `--watch-progress-notify-interval` for streams opened from now on.
    pub(super) fn set_progress_interval(&self, interval: Duration) {
        self.progress_interval.set(interval.max(Duration::from_millis(100)));
    }

    /// Streams that are open.
    pub(super) fn streams(&self) -> usize {
        self.bells.open()
    }

    fn ring(&self, changes: &[Arc<Changes>]) {
        if self.bells.is_empty() {
            self.recent.borrow_mut().clear();
        } else {
            self.recent.borrow_mut().push(changes);
        }
        self.bells.ring();
    }

    /// Streams it keeps a note of, ended ones too.
    #[cfg(test)]
    pub(super) fn noted(&self) -> usize {
        self.bells.noted()
    }

    /// One watch stream: it ends with `cut`'s status when that comes first.
    pub(super) fn open(
        &self,
        form: Form,
        requests: Box<dyn Requests>,
        cut: Cut,
        bell: &Rc<Bell>,
    ) -> Stream {
        self.bells.enrol(bell);
        let recent = Rc::clone(&self.recent);
        let session = Session::new(self.door.clone(), recent, self.message_bytes_max);
        Stream::new(session, form, requests, cut, self.progress_interval.get())
    }
}
