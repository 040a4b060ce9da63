//! One watch stream: its watchers, its requests, its answers.

use super::super::convert;
use super::super::engine::Engine;
use super::Bell;
use super::watcher::{Watcher, range_of};
use crate::grpc::{RequestStream, Status, StreamSender};
use api::Message;
use api::error::{Code, EtcdError};
use api::etcdserverpb as pb;
use api::etcdserverpb::watch_request::RequestUnion;
use door::Bounds;
use mvcc::{Recent, View};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Interval, Sleep};

/// Answers waiting before requests are left unread; a client that does not read is not served.
const ANSWERS_MAX: usize = 128;
/// How long a stream that takes no more requests may leave unread what it is sent.
const UNREAD_MAX: Duration = Duration::from_secs(60);
/// Messages sent before other tasks get their turn.
const SENDS_PER_TURN_MAX: usize = 64;

/// A batch of a watcher: as many revisions as etcd syncs in one response, from as many as may be
/// looked at before other work gets its turn.
const BOUNDS: Bounds = Bounds { revisions_max: 1_000, scan_max: 10_000, bytes_target: 1024 * 1024 };

const DUPLICATE_ID: &str = "mvcc: duplicate watch ID provided on the WatchStream";
const EMPTY_RANGE: &str = "mvcc: watcher range is empty";

/// State of one stream, free of I/O.
pub(super) struct Session {
    engine: Rc<dyn Engine>,
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
        engine: Rc<dyn Engine>,
        recent: Rc<RefCell<Recent>>,
        message_bytes_max: usize,
    ) -> Self {
        Self {
            engine,
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
        convert::header(self.engine.header())
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
        header.revision = self.engine.view().revision();
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
        let view = self.engine.view();
        if let Some(id) = self.behind(view.revision()) {
            self.pump(id, &view);
        } else if std::mem::take(&mut self.progress_wanted) {
            self.progress(view.revision());
        }
        self.answers.pop_front()
    }

    /// True when [`Self::next_answer`] may have more.
    fn has_work(&self) -> bool {
        let revision = self.engine.header().revision;
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
        let revision = self.engine.view().revision();
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

/// Serves the stream until the client goes away or breaks the protocol, or `cut` comes.
pub(super) async fn run(
    mut session: Session,
    bell: Rc<Bell>,
    interval: Duration,
    input: RequestStream,
    cut: impl Future<Output = Status>,
    mut out: StreamSender,
) {
    if out.start().is_err() {
        return;
    }
    let mut clock = tokio::time::interval(interval);
    clock.reset();
    let mut client = Client { input, open: true, unread: None };
    let serve = poll_fn(|cx| {
        bell.listen(cx.waker());
        turn(&mut session, &mut clock, &mut client, &mut out, cx)
    });
    let end = tokio::select! {
        end = serve => end,
        status = cut => Some(status),
    };
    if let Some(status) = end {
        out.fail(&status);
    }
}

/// The client's side of a stream.
struct Client {
    input: RequestStream,
    /// It may send more requests.
    open: bool,
    /// Goes off when it has left too long unread what it cannot cancel any more.
    unread: Option<Pin<Box<Sleep>>>,
}

impl Client {
    /// True when a client that has half-closed does not read either: nobody is there.
    fn is_absent(&mut self, cx: &mut Context<'_>) -> bool {
        let timer = || Box::pin(tokio::time::sleep(UNREAD_MAX));
        !self.open && self.unread.get_or_insert_with(timer).as_mut().poll(cx).is_ready()
    }
}

/// Ready with a status to end the call, or with none when the client has gone.
fn turn(
    session: &mut Session,
    clock: &mut Interval,
    client: &mut Client,
    out: &mut StreamSender,
    cx: &mut Context<'_>,
) -> Poll<Option<Status>> {
    // A half-closed stream stays a watch, as in etcd, until its last watcher ends.
    while client.open && session.answers.len() < ANSWERS_MAX {
        let message = match client.input.poll_next(cx) {
            Poll::Pending => break,
            Poll::Ready(None) => {
                client.open = false;
                break;
            }
            Poll::Ready(Some(message)) => message,
        };
        match message.map(pb::WatchRequest::decode) {
            Ok(Ok(request)) => session.request(request),
            Ok(Err(_)) => {
                let text = "grpc: error unmarshalling request";
                return Poll::Ready(Some(Status::new(Code::Internal, text)));
            }
            Err(status) => return Poll::Ready(Some(status)),
        }
    }
    let mut again = client.open && session.answers.len() >= ANSWERS_MAX;
    if clock.poll_tick(cx).is_ready() {
        session.tick();
        again = true;
    }
    for _ in 0..SENDS_PER_TURN_MAX {
        if !session.has_work() {
            if !client.open && session.watchers.is_empty() {
                return Poll::Ready(Some(Status::new(Code::Ok, "")));
            }
            if again {
                // Requests were left unread, or the clock was not asked again.
                cx.waker().wake_by_ref();
            }
            return if out.is_gone(cx) { Poll::Ready(None) } else { Poll::Pending };
        }
        match out.poll_ready(cx) {
            Poll::Pending if client.is_absent(cx) => return Poll::Ready(None),
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(_)) => return Poll::Ready(None),
            Poll::Ready(Ok(())) => client.unread = None,
        }
        if let Some(answer) = session.next_answer()
            && out.send(&answer).is_err()
        {
            return Poll::Ready(None);
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}
