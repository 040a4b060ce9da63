//! The Watch service: what a door's feed tells of its watchers, in etcd's words.
//!
//! Nothing is queued for a slow client. A change rings the streams that have a watcher whom it
//! concerns; a stream's task then asks the feed what is next, as long as the client's window has
//! room. A watcher that falls behind is simply a cursor further back: it is read for and written
//! apart, one batch of one stream at a time, while the others of its stream are served.

mod session;
mod watcher;
mod writing;

use super::bell::Bell;
use super::cut::Cut;
use super::permits::{Permit, Permits};
use base::limits::{
    ALL_WATCHERS_MAX, BATCH_BYTES_TARGET, CHUNK_BYTES, RECENT_BYTES_MAX, STREAM_AT_ONCE_BYTES_MAX,
    WATCHERS_MAX,
};
use door::{Bounds, Door, Feed, FeedLimits, StreamId, frees, steps};
use later::Promise;
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
/// A batch of a watcher holds as many revisions as etcd syncs in one response, from as many events
/// as may be looked at in a millisecond, before other work gets its turn. As many watchers are
/// looked at while others wait. Who lags by a hundred revisions is read for in some ten
/// microseconds, the price of asking another thread; a client that comes back after a short break
/// lags by less, and so many events are gone through for a stream before the next one's turn. The
/// newest batch of changes is kept in any case, earlier ones for streams whose turn has not come
/// since.
const LIMITS: FeedLimits = FeedLimits {
    bounds: Bounds { revisions_max: 1_000, events_max: 10_000, bytes_target: BATCH_BYTES_TARGET },
    at_hand_max: 512,
    at_hand_bytes_max: STREAM_AT_ONCE_BYTES_MAX,
    near_max: 100,
    errand_bytes_max: CHUNK_BYTES,
    hear_max: 4_096,
    recent_bytes_max: RECENT_BYTES_MAX,
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
    all_watchers_max: Cell<usize>,
    /// What is left to be heard has its turn soon.
    goes_on: Cell<bool>,
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
            all_watchers_max: Cell::new(ALL_WATCHERS_MAX),
            goes_on: Cell::new(false),
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

    /// No stream gets any more watchers.
    fn is_full(&self) -> bool {
        self.feed.borrow().watchers() >= self.all_watchers_max.get()
    }

    fn hear(self: &Rc<Self>, changes: &[Arc<Changes>]) {
        let rung = if changes.is_empty() {
            self.feed.borrow_mut().replaced(self.door.header().revision)
        } else {
            self.feed.borrow_mut().hear(changes)
        };
        self.ring(&rung);
        self.tidy();
    }

    /// Goes on with what is to be heard once others had their turn: it comes back by way of the
    /// threads that do what is long. They also free what nobody needs any more.
    fn tidy(self: &Rc<Self>) {
        let gone = self.feed.borrow_mut().take_gone();
        if !gone.is_empty() {
            self.door.run(frees(gone), Promise::to(|_| ()));
        }
        if !self.feed.borrow().is_behind() || self.goes_on.replace(true) {
            return;
        }
        let weak = Rc::downgrade(self);
        let go_on = Promise::to(move |made: Option<_>| {
            // None: the member ends.
            if let Some(hub) = weak.upgrade().filter(|_| made.is_some()) {
                hub.goes_on.set(false);
                let rung = hub.feed.borrow_mut().go_on();
                hub.ring(&rung);
                hub.tidy();
            }
        });
        self.door.run(steps(|_| Some(())), go_on);
    }

    fn ring(&self, rung: &BTreeSet<StreamId>) {
        let bells = self.bells.borrow();
        rung.iter().filter_map(|stream| bells.get(stream)).for_each(|bell| bell.ring());
    }

    #[cfg(test)]
    pub(super) fn set_watchers_max(&self, watchers_max: usize) {
        self.watchers_max.set(watchers_max);
    }

    #[cfg(test)]
    pub(super) fn set_all_watchers_max(&self, watchers_max: usize) {
        self.all_watchers_max.set(watchers_max);
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
    fn close(self: &Rc<Self>, stream: StreamId) {
        self.bells.borrow_mut().remove(&stream);
        self.feed.borrow_mut().close(stream);
        self.tidy();
        if self.streams() == 0 {
            self.door.listen(false);
        }
    }
}
