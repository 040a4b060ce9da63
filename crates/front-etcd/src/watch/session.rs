//! One watch stream: its watchers, its requests, its answers.

use super::super::convert;
use super::super::cut::Cut;
use super::watcher::{Watcher, range_of};
use api::error::EtcdError;
use api::etcdserverpb as pb;
use api::etcdserverpb::watch_request::RequestUnion;
use bytes::Bytes;
use door::{Bounds, Door};
use mvcc::{Recent, View};
use net::{Form, Requests, Source, Status, Turn};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Answers waiting before requests are left unread; a client that does not read is not served.
const ANSWERS_MAX: usize = 128;
/// How long a stream that takes no more requests may leave unread what it is sent.
const UNREAD_MAX: Duration = Duration::from_secs(60);

/// A batch of a watcher: as many revisions as etcd syncs in one response, from as many as may be
/// looked at before other work gets its turn.
const BOUNDS: Bounds = Bounds { revisions_max: 1_000, scan_max: 10_000, bytes_target: 1024 * 1024 };

const DUPLICATE_ID: &str = "mvcc: duplicate watch ID provided on the WatchStream";
const EMPTY_RANGE: &str = "mvcc: watcher range is empty";

/// State of one stream, free of I/O.
pub(super) struct Session {
    door: Rc<dyn Door>,
    recent: Rc<RefCell<Recent>>,
    watchers: BTreeMap<i64, Watcher>,
    next_id: i64,
    /// The watcher served last; the next turn starts behind it.
    served: i64,
    /// Small control answers and the fragments of one batch; sent before any new batch.
    answers: VecDeque<pb::WatchResponse>,
    progress_wanted: bool,
    message_bytes_max: usize,
}

impl Session {
    pub(super) fn new(
        door: Rc<dyn Door>,
        recent: Rc<RefCell<Recent>>,
        message_bytes_max: usize,
    ) -> Self {
        Self {
            door,
            recent,
            watchers: BTreeMap::new(),
            next_id: 0,
            served: -1,
            answers: VecDeque::new(),
            progress_wanted: false,
            message_bytes_max,
        }
    }

    fn header(&self) -> pb::ResponseHeader {
        convert::header(self.door.header())
    }

    pub(super) fn request(&mut self, request: pb::WatchRequest) {
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => self.create(&create),
            Some(RequestUnion::CancelRequest(cancel)) => self.cancel(cancel.watch_id),
            Some(RequestUnion::ProgressRequest(_)) => self.progress_wanted = true,
            // A request of a later version is ignored, as in etcd.
            None => {}
        }
    }

    fn create(&mut self, create: &pb::WatchCreateRequest) {
        // In the order of etcd's checks.
        let refusal = if create.start_revision < 0 {
            Some(EtcdError::Compacted.text())
        } else if range_of(create).is_empty() {
            Some(EMPTY_RANGE)
        } else if create.watch_id != 0 && self.watchers.contains_key(&create.watch_id) {
            Some(DUPLICATE_ID)
        } else {
            None
        };
        let mut header = self.header();
        if let Some(reason) = refusal {
            self.answers.push_back(pb::WatchResponse {
                header: Some(header),
                watch_id: -1,
                created: true,
                canceled: true,
                cancel_reason: reason.into(),
                ..Default::default()
            });
            return;
        }
        let id = if create.watch_id == 0 { self.auto_id() } else { create.watch_id };
        header.revision = self.door.view().revision();
        let replaced = self.watchers.insert(id, Watcher::new(id, create, header.revision));
        assert!(replaced.is_none(), "ids in use were refused above");
        self.answers.push_back(pb::WatchResponse {
            header: Some(header),
            watch_id: id,
            created: true,
            ..Default::default()
        });
    }

    /// The first automatic id is 0, as in etcd.
    fn auto_id(&mut self) -> i64 {
        while self.watchers.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        self.next_id - 1
    }

    fn cancel(&mut self, id: i64) {
        if self.watchers.remove(&id).is_some() {
            self.answers.push_back(pb::WatchResponse {
                header: Some(self.header()),
                watch_id: id,
                canceled: true,
                ..Default::default()
            });
        }
    }

    /// The next message to send, or none when every watcher has seen the whole view.
    pub(super) fn next_answer(&mut self) -> Option<pb::WatchResponse> {
        if let Some(answer) = self.answers.pop_front() {
            return Some(answer);
        }
        let view = self.door.view();
        if let Some(id) = self.behind(view.revision()) {
            self.pump(id, &view);
        } else if std::mem::take(&mut self.progress_wanted) {
            self.progress(view.revision());
        }
        self.answers.pop_front()
    }

    /// True when [`Self::next_answer`] may have more.
    fn has_work(&self) -> bool {
        let revision = self.door.header().revision;
        !self.answers.is_empty() || self.progress_wanted || self.behind(revision).is_some()
    }

    /// A watcher that has not seen `revision`, in turn.
    fn behind(&self, revision: i64) -> Option<i64> {
        let after = self.watchers.range(self.served.saturating_add(1)..);
        let before = self.watchers.range(..=self.served);
        after.chain(before).find(|(_, w)| !w.cursor.in_sync(revision)).map(|(id, _)| *id)
    }

    /// Advances watchers from `id` on until one has something to say, or has looked far enough.
    fn pump(&mut self, mut id: i64, view: &View) {
        loop {
            self.served = id;
            let header = self.header();
            let watcher = self.watchers.get_mut(&id).expect("ids come from the map");
            let moved = watcher.cursor.advance(view, &self.recent.borrow(), &BOUNDS);
            match moved {
                Ok(Some(batch)) => {
                    watcher.active = true;
                    let answers = watcher.responses(&batch, header, self.message_bytes_max);
                    return self.answers.extend(answers);
                }
                // A long way back without a match: the rest is for the next turn.
                Ok(None) if !watcher.cursor.in_sync(view.revision()) => return,
                Ok(None) => {}
                Err(_) => return self.compacted(id, view),
            }
            match self.behind(view.revision()) {
                Some(next) => id = next,
                None => return,
            }
        }
    }

    /// History that the watcher still needed is gone. etcd's header has revision 0 here.
    fn compacted(&mut self, id: i64, view: &View) {
        self.watchers.remove(&id);
        let mut header = self.header();
        header.revision = 0;
        self.answers.push_back(pb::WatchResponse {
            header: Some(header),
            watch_id: id,
            canceled: true,
            compact_revision: view.compact_revision(),
            ..Default::default()
        });
    }

    /// Promises that nothing at or below `revision` will follow: all watchers are in sync, and
    /// what they were owed was sent before. A watcher of the future gets no promise.
    fn progress(&mut self, revision: i64) {
        let mut watchers = self.watchers.values();
        if self.watchers.is_empty() || watchers.any(|w| !w.cursor.may_promise(revision)) {
            return;
        }
        self.push_progress(-1, revision);
    }

    fn push_progress(&mut self, watch_id: i64, revision: i64) {
        let mut header = self.header();
        header.revision = revision;
        let header = Some(header);
        self.answers.push_back(pb::WatchResponse { header, watch_id, ..Default::default() });
    }

    /// The periodic notification of quiet watchers that asked for it.
    pub(super) fn tick(&mut self) {
        let revision = self.door.view().revision();
        let mut quiet = Vec::new();
        for watcher in self.watchers.values_mut() {
            let active = std::mem::take(&mut watcher.active);
            if watcher.progress_notify && !active && watcher.cursor.may_promise(revision) {
                quiet.push(watcher.id);
            }
        }
        for id in quiet {
            self.push_progress(id, revision);
        }
    }
}

/// One watch stream as its client meets it.
pub(in super::super) struct Stream {
    session: Session,
    form: Form,
    requests: Box<dyn Requests>,
    cut: Cut,
    /// The client may send more requests.
    open: bool,
    interval: Duration,
    /// When quiet watchers are looked for next.
    tick_at: Instant,
}

impl Stream {
    pub(super) fn new(
        session: Session,
        form: Form,
        requests: Box<dyn Requests>,
        cut: Cut,
        interval: Duration,
    ) -> Self {
        let tick_at = Instant::now() + interval;
        Self { session, form, requests, cut, open: true, interval, tick_at }
    }

    fn take_requests(&mut self, cx: &mut Context<'_>) -> Result<(), Status> {
        while self.open && self.session.answers.len() < ANSWERS_MAX {
            match self.requests.poll_next(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => self.open = false,
                Poll::Ready(Some(message)) => self.session.request(self.form.decode(message?)?),
            }
        }
        Ok(())
    }
}

impl Source for Stream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        if let Poll::Ready(status) = self.cut.poll(cx) {
            return Poll::Ready(Turn::End(Err(status)));
        }
        if let Err(status) = self.take_requests(cx) {
            return Poll::Ready(Turn::End(Err(status)));
        }
        let now = Instant::now();
        if now >= self.tick_at {
            self.tick_at = now + self.interval;
            self.session.tick();
        }
        if self.session.has_work() {
            Poll::Ready(Turn::Message)
        } else if self.open || !self.session.watchers.is_empty() {
            // A half-closed stream stays a watch, as in etcd, until its last watcher ends.
            Poll::Pending
        } else {
            Poll::Ready(Turn::End(Ok(())))
        }
    }

    fn make(&mut self) -> Option<Result<Bytes, Status>> {
        self.session.next_answer().map(|answer| self.form.encode(&answer))
    }

    fn starts_at_once(&self) -> bool {
        true
    }

    fn due(&self) -> Option<Instant> {
        Some(self.tick_at)
    }

    fn unread_max(&self) -> Option<Duration> {
        (!self.open).then_some(UNREAD_MAX)
    }
}
