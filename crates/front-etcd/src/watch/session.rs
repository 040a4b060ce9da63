//! One watch stream: its watchers, its requests, its answers.

use super::super::bell::Bell;
use super::super::cut::Cut;
use super::super::{convert, refusal};
use super::Hub;
use super::Permit;
use super::watcher::{Watcher, range_of, wanted};
use super::writing::{Owed, Writing};
use api::error::EtcdError;
use api::etcdserverpb as pb;
use api::etcdserverpb::watch_request::RequestUnion;
use base::limits::{ANSWERS_MAX, STREAM_AT_ONCE_BYTES_MAX};
use bytes::Bytes;
use door::{Batch, Errand, StreamId, Told, apart};
use later::{Asker, Later};
use mvcc::Values;
use net::{Form, Requests, Source, Status, Turn};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// How long a stream that takes no more requests may leave unread what it is sent.
const UNREAD_MAX: Duration = Duration::from_secs(60);

const DUPLICATE_ID: &str = "mvcc: duplicate watch ID provided on the WatchStream";
const EMPTY_RANGE: &str = "mvcc: watcher range is empty";

/// What waits for room.
enum Answer {
    Message(pb::WatchResponse),
    /// Messages, or a piece of one.
    Written(Result<Bytes, Status>),
    /// What follows is not written yet: it is once the client has room for it.
    Rest(Box<Writing>),
}

/// What was written, and what was not yet.
type Piece = (Result<Bytes, Status>, Box<Writing>);

/// What was read for watchers that lagged, and the first of it written, unless the picture that it
/// was read from has grown too old to look back in.
struct Fed {
    errand: Errand,
    /// Who is told something.
    active: Vec<i64>,
    written: Option<Result<Bytes, Status>>,
    rest: Option<Box<Writing>>,
}

/// What is made on another thread; dropped, it ends.
enum Apart {
    Reading(Later<Box<Fed>>),
    /// Nothing else is sent before it.
    Writing(Later<Piece>),
}

/// State of one stream, free of I/O.
pub(super) struct Session {
    hub: Rc<Hub>,
    stream: StreamId,
    form: Form,
    watchers: BTreeMap<i64, Watcher>,
    next_id: i64,
    /// Small control answers and what an errand found; sent before any new batch.
    answers: VecDeque<Answer>,
    apart: Option<(Apart, Permit)>,
    bell: Rc<Bell>,
}

impl Session {
    pub(super) fn new(hub: Rc<Hub>, stream: StreamId, form: Form, bell: Rc<Bell>) -> Self {
        Self {
            hub,
            stream,
            form,
            watchers: BTreeMap::new(),
            next_id: 0,
            answers: VecDeque::new(),
            apart: None,
            bell,
        }
    }

    fn header(&self) -> pb::ResponseHeader {
        convert::header(self.hub.door.header())
    }

    fn request(&mut self, request: pb::WatchRequest) {
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => self.create(&create),
            Some(RequestUnion::CancelRequest(cancel)) => self.cancel(cancel.watch_id),
            Some(RequestUnion::ProgressRequest(_)) => {
                let current = self.hub.door.header().revision;
                self.hub.feed.borrow_mut().want_progress(self.stream, current);
            }
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
        } else if self.watchers.len() >= self.hub.watchers_max.get() || self.hub.is_full() {
            Some(EtcdError::TooManyRequests.text())
        } else {
            None
        };
        let header = self.header();
        if let Some(reason) = refusal {
            self.answer(pb::WatchResponse {
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
        let (place, current) = ((self.stream, id), header.revision);
        let replaced = self.watchers.insert(id, Watcher::new(create));
        assert!(replaced.is_none(), "ids in use were refused above");
        let mut feed = self.hub.feed.borrow_mut();
        feed.watch(place, wanted(create), create.start_revision, current);
        drop(feed);
        self.answer(pb::WatchResponse {
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
            let mut feed = self.hub.feed.borrow_mut();
            feed.unwatch(self.stream, id);
            let is_reading = matches!(self.apart, Some((Apart::Reading(_), _)));
            if is_reading && !feed.is_out(self.stream) {
                self.apart = None;
            }
            drop(feed);
            let header = Some(self.header());
            let canceled = true;
            self.answer(pb::WatchResponse { header, watch_id: id, canceled, ..Default::default() });
        }
    }

    fn answer(&mut self, answer: pb::WatchResponse) {
        self.answers.push_back(Answer::Message(answer));
    }

    /// The next message to send, or none when there is nothing at hand. The client's window has
    /// room: whoever lags is fed now, and what is not written yet is.
    fn next_answer(&mut self) -> Option<Result<Bytes, Status>> {
        if self.is_writing() {
            return None;
        }
        if self.answers.is_empty() {
            self.send_out();
            let view = || self.hub.door.view();
            let mut at_hand = self.hub.door.at_hand();
            let told = self.hub.feed.borrow_mut().next(self.stream, view, &mut *at_hand);
            // Who was just found to lag need not wait for another turn.
            self.send_out();
            if let Some(told) = told {
                self.tell(told);
            }
        }
        match self.answers.pop_front()? {
            Answer::Message(message) => Some(self.form.encode(&message)),
            Answer::Written(piece) => Some(piece),
            Answer::Rest(writing) => {
                self.go_on_writing(writing);
                None
            }
        }
    }

    fn is_writing(&self) -> bool {
        matches!(self.apart, Some((Apart::Writing(_), _)))
    }

    /// True when [`Self::next_answer`] may have more.
    fn has_work(&self) -> bool {
        if self.is_writing() {
            return false;
        }
        let is_free = || self.hub.permits.is_free(&self.bell);
        match self.answers.front() {
            Some(Answer::Rest(_)) => self.apart.is_none() && is_free(),
            Some(_) => true,
            None => {
                let mut feed = self.hub.feed.borrow_mut();
                feed.has_at_hand(self.stream) || (feed.wants_errand(self.stream) && is_free())
            }
        }
    }

    /// Has those who lag fed apart, unless some are already.
    fn send_out(&mut self) {
        if !self.hub.feed.borrow().wants_errand(self.stream) {
            return;
        }
        assert!(self.apart.is_none(), "what is read is an errand, what is written is an answer");
        let Some(permit) = self.hub.permits.take(&self.bell) else { return };
        let view = || self.hub.door.view();
        let errand = self.hub.feed.borrow_mut().begin(self.stream, view);
        if let Some(errand) = errand {
            self.carry_out(errand, permit);
        }
    }

    fn carry_out(&mut self, errand: Errand, permit: Permit) {
        let in_parts = |id: &i64| self.watchers.get(id).is_some_and(|watcher| watcher.fragment);
        let in_parts: BTreeSet<i64> = errand.watchers().filter(in_parts).collect();
        let form = (self.form.shape(), self.header());
        let bytes_max = self.hub.message_bytes_max;
        let fed = Fed { errand, active: Vec::new(), written: None, rest: None };
        let mut fed = Some(Box::new(fed));
        let step = move |values: &mut dyn Values| {
            let Fed { errand, active, written, rest } = &mut **fed.as_mut()?;
            if rest.is_none() {
                if !errand.step(values) {
                    return None;
                }
                let mut owed = Vec::new();
                for (watcher, batch) in errand.take_batches() {
                    active.push(watcher);
                    owed.push(Owed { watcher, in_parts: in_parts.contains(&watcher), batch });
                }
                let view = errand.take_view();
                *rest = Some(Box::new(Writing::new(form, bytes_max, owed, view)));
            }
            let writing = rest.as_mut()?;
            if !writing.is_done() && !writing.lacks_view() {
                *written = Some(writing.step(values)?);
            }
            fed.take()
        };
        // Whether anybody waits shows in whether the stream is there.
        let later = apart(&*self.hub.door, Asker::nobody(), step);
        self.apart = Some((Apart::Reading(later), permit));
    }

    /// Has the next piece written, as soon as that has its turn and nothing is read any more.
    fn go_on_writing(&mut self, mut writing: Box<Writing>) {
        let is_free = self.apart.is_none();
        let Some(permit) = is_free.then(|| self.hub.permits.take(&self.bell)).flatten() else {
            return self.answers.push_front(Answer::Rest(writing));
        };
        if writing.lacks_view() {
            writing.see(self.hub.door.view());
        }
        let mut writing = Some(writing);
        let step = move |values: &mut dyn Values| {
            let written = writing.as_mut()?.step(values)?;
            Some((written, writing.take()?))
        };
        let later = apart(&*self.hub.door, Asker::nobody(), step);
        self.apart = Some((Apart::Writing(later), permit));
    }

    /// Takes in what was made apart, if it has come.
    fn take_in(&mut self, cx: &mut Context<'_>) -> Result<(), Status> {
        let stopped = || refusal::of(EtcdError::Stopped);
        match &mut self.apart {
            None => {}
            Some((Apart::Writing(later), _)) => {
                let Poll::Ready(piece) = Pin::new(later).poll(cx) else { return Ok(()) };
                self.apart = None;
                let (written, rest) = piece.ok_or_else(stopped)?;
                if !rest.is_done() {
                    self.answers.push_front(Answer::Rest(rest));
                }
                self.answers.push_front(Answer::Written(written));
            }
            Some((Apart::Reading(later), _)) => {
                let Poll::Ready(fed) = Pin::new(later).poll(cx) else { return Ok(()) };
                self.apart = None;
                self.take_back(*fed.ok_or_else(stopped)?);
            }
        }
        Ok(())
    }

    fn take_back(&mut self, fed: Fed) {
        let Fed { mut errand, active, written, rest } = fed;
        let awaited = self.hub.feed.borrow_mut().end(&errand);
        assert!(awaited, "what is not awaited is dropped");
        active.into_iter().for_each(|id| self.is_active(id));
        self.answers.extend(written.map(Answer::Written));
        self.answers.extend(rest.filter(|rest| !rest.is_done()).map(Answer::Rest));
        errand.take_told().into_iter().for_each(|told| self.tell(told));
    }

    fn is_active(&mut self, id: i64) {
        self.watchers.get_mut(&id).expect("the feed knows no other").active = true;
    }

    fn tell(&mut self, told: Told) {
        match told {
            Told::Progress(revision) => self.push_progress(-1, revision),
            Told::Compacted { watcher, revision } => self.compacted(watcher, revision),
            Told::Unreadable { watcher, why } => self.unreadable(watcher, why),
            Told::Events { watcher, batch } => self.events(watcher, batch),
        }
    }

    /// Events that are few enough to be written at once, unless what was before them is long.
    fn events(&mut self, id: i64, batch: Batch) {
        self.is_active(id);
        let fragment = self.watchers.get(&id).is_some_and(|watcher| watcher.fragment);
        let bytes_max = if fragment { self.hub.message_bytes_max } else { usize::MAX };
        let mut header = self.header();
        let view = batch.looks_back().then(|| self.hub.door.view());
        let whole_max = if view.is_some() { STREAM_AT_ONCE_BYTES_MAX } else { usize::MAX };
        let mut at_hand = self.hub.door.at_hand();
        let parts = batch.parts((bytes_max, whole_max), view.as_ref(), &mut *at_hand);
        let Ok(Some(parts)) = parts else {
            let form = (self.form.shape(), header);
            let owed = vec![Owed { watcher: id, in_parts: fragment, batch }];
            let writing = Writing::new(form, self.hub.message_bytes_max, owed, None);
            return self.answers.push_back(Answer::Rest(Box::new(writing)));
        };
        header.revision = batch.revision();
        for part in parts {
            let events = part.events();
            let events = events.map(|(event, before)| convert::event(event, before.as_ref()));
            self.answer(pb::WatchResponse {
                header: Some(header),
                watch_id: id,
                fragment: part.more,
                events: events.collect(),
                ..Default::default()
            });
        }
    }

    /// History that the watcher still needed is gone. etcd's header has revision 0 here.
    fn compacted(&mut self, id: i64, compact_revision: i64) {
        self.watchers.remove(&id);
        let mut header = self.header();
        header.revision = 0;
        self.answer(pb::WatchResponse {
            header: Some(header),
            watch_id: id,
            canceled: true,
            compact_revision,
            ..Default::default()
        });
    }

    /// What the watcher should see next cannot be read here. It may go on at another member.
    fn unreadable(&mut self, id: i64, why: String) {
        self.watchers.remove(&id);
        let cancel_reason = refusal::unreadable(why).text;
        let header = Some(self.header());
        self.answer(pb::WatchResponse {
            header,
            watch_id: id,
            canceled: true,
            cancel_reason: cancel_reason.into_owned(),
            ..Default::default()
        });
    }

    fn push_progress(&mut self, watch_id: i64, revision: i64) {
        let mut header = self.header();
        header.revision = revision;
        let header = Some(header);
        self.answer(pb::WatchResponse { header, watch_id, ..Default::default() });
    }

    /// The periodic notification of quiet watchers that asked for it.
    fn tick(&mut self) {
        let mut quiet = Vec::new();
        for (id, watcher) in &mut self.watchers {
            let active = std::mem::take(&mut watcher.active);
            if watcher.progress_notify && !active {
                let promise = self.hub.feed.borrow().quiet(self.stream, *id);
                quiet.extend(promise.map(|revision| (*id, revision)));
            }
        }
        for (id, revision) in quiet {
            self.push_progress(id, revision);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.hub.close(self.stream);
    }
}

/// One watch stream as its client meets it.
pub(in super::super) struct Stream {
    session: Session,
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
        requests: Box<dyn Requests>,
        cut: Cut,
        interval: Duration,
    ) -> Self {
        let tick_at = Instant::now() + interval;
        Self { session, requests, cut, open: true, interval, tick_at }
    }

    fn take_requests(&mut self, cx: &mut Context<'_>) -> Result<(), Status> {
        while self.open && self.session.answers.len() < ANSWERS_MAX {
            match self.requests.poll_next(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => self.open = false,
                Poll::Ready(Some(message)) => {
                    let request = self.session.form.decode(message?)?;
                    self.session.request(request);
                }
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
        let taken = self.session.take_in(cx).and_then(|()| self.take_requests(cx));
        if let Err(status) = taken {
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
        self.session.next_answer()
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
