//! The Watch service: what a door's feed tells of its watchers, in etcd's words.
//!
//! Nothing is queued for a slow client. A change rings the streams that have a watcher whom it
//! concerns; a stream's task then asks the feed what is next, as long as the client's window has
//! room. A watcher that falls behind is simply a cursor further back: it is read for and written
//! apart, one batch of one stream at a time, while the others of its stream are served.

mod session;
mod watcher;

use super::bell::Bell;
use super::cut::Cut;
use super::permits::{Permit, Permits};
use base::limits::WATCHERS_MAX;
use door::{Bounds, Door, Feed, FeedLimits, StreamId};
use mvcc::Changes;
use net::{Form, Requests};
use session::{Session, Stream};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// etcd's `--watch-progress-notify-interval`.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(600);
/// A batch of a watcher holds as many revisions as etcd syncs in one response, from as many as may
/// be looked at in a millisecond or two, before other work gets its turn. Who lags by a hundred
/// revisions is read for in some ten microseconds, the price of asking another thread; a client
/// that comes back after a short break lags by less. The newest batch of changes is kept in any
/// case, earlier ones for streams whose turn has not come since.
const LIMITS: FeedLimits = FeedLimits {
    bounds: Bounds { revisions_max: 1_000, scan_max: 10_000, bytes_target: 1024 * 1024 },
    near_max: 100,
    recent_bytes_max: 4 << 20,
};

/// All open watch streams.
pub(super) struct Hub {
    door: Rc<dyn Door>,
    feed: RefCell<Feed>,
    bells: RefCell<BTreeMap<StreamId, Rc<Bell>>>,
    permits: Rc<Permits>,
    message_bytes_max: usize,
    progress_interval: Cell<Duration>,
    /// Of one stream.
    watchers_max: Cell<usize>,
}

impl Hub {
    pub(super) fn new(
        door: Rc<dyn Door>,
        message_bytes_max: usize,
        permits: Rc<Permits>,
    ) -> Rc<Self> {
        let feed = RefCell::new(Feed::new(LIMITS, door.header().revision));
        let hub = Rc::new(Self {
            door,
            feed,
            bells: RefCell::default(),
            permits,
            message_bytes_max,
            progress_interval: Cell::new(PROGRESS_INTERVAL),
            watchers_max: Cell::new(WATCHERS_MAX),
        });
        let weak = Rc::downgrade(&hub);
        hub.door.on_changes(Rc::new(move |changes| {
            if let Some(hub) = weak.upgrade() {
                hub.hear(changes);
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
        self.bells.borrow().len()
    }

    fn hear(&self, changes: &[Arc<Changes>]) {
        let rung = if changes.is_empty() {
            self.feed.borrow_mut().replaced(self.door.header().revision)
        } else {
            self.feed.borrow_mut().hear(changes)
        };
        self.ring(&rung);
    }

    fn ring(&self, rung: &BTreeSet<StreamId>) {
        let bells = self.bells.borrow();
        rung.iter().filter_map(|stream| bells.get(stream)).for_each(|bell| bell.ring());
    }

    #[cfg(test)]
    pub(super) fn set_watchers_max(&self, watchers_max: usize) {
        self.watchers_max.set(watchers_max);
    }

    /// Streams it keeps a note of, ended ones too.
    #[cfg(test)]
    pub(super) fn noted(&self) -> usize {
        self.bells.borrow().len().max(self.feed.borrow().streams())
    }

    /// One watch stream: it ends with `cut`'s status when that comes first.
    pub(super) fn open(
        self: &Rc<Self>,
        form: Form,
        requests: Box<dyn Requests>,
        cut: Cut,
        bell: &Rc<Bell>,
    ) -> Stream {
        if self.streams() == 0 {
            self.door.listen(true);
            // What is shown by now passes unheard.
            self.feed.borrow_mut().replaced(self.door.header().revision);
        }
        let stream = self.feed.borrow_mut().open();
        self.bells.borrow_mut().insert(stream, Rc::clone(bell));
        let session = Session::new(Rc::clone(self), stream, form, Rc::clone(bell));
        Stream::new(session, requests, cut, self.progress_interval.get())
    }

    /// A stream has ended.
    fn close(&self, stream: StreamId) {
        self.bells.borrow_mut().remove(&stream);
        self.feed.borrow_mut().close(stream);
        if self.streams() == 0 {
            self.door.listen(false);
        }
    }
}
