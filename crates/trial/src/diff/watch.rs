//! Watch streams of one server: what each watcher was told, without how it was batched.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use api::etcdserverpb as pb;
use client::{Channel, Duplex, Failure, method};
use pb::watch_request::RequestUnion;

use super::answer::{Answer, blank};

/// etcd looks after late watchers every 100 ms, and drops a progress request until they are done.
const PROGRESS_AGAIN: Duration = Duration::from_millis(110);
const WAIT_MAX: Duration = Duration::from_secs(20);

/// All streams of one server. Watchers of the future are never on stream 0: a stream with such a
/// watcher answers no progress request, and that is how all is known to have come.
#[derive(Default)]
pub struct Streams {
    open: BTreeMap<usize, Stream>,
    /// The last compaction: a watcher from before it is canceled.
    pub compacted: i64,
    /// The server keeps such a watcher until the client cancels it too, as etcd does: its id stays
    /// in use and the stream promises no progress.
    keeps_compacted: bool,
}

struct Stream {
    wire: Duplex<pb::WatchResponse>,
    /// Progress requests sent.
    asked: u64,
    /// The server drops a progress request that comes while a watcher is late, as etcd does.
    drops: bool,
    log: Log,
}

/// What came on a stream.
#[derive(Default)]
struct Log {
    /// By watcher; -1 holds what was refused.
    told: BTreeMap<i64, Vec<String>>,
    /// Active watchers and the revision they start at.
    active: BTreeMap<i64, i64>,
    /// The newest answer to a create request, and how many came.
    created: (u64, pb::WatchResponse),
    /// The newest answer to a cancel request.
    canceled: pb::WatchResponse,
    /// Answers to progress requests: how many, and the newest one's revision.
    progress: (u64, i64),
    /// Watchers in the middle of a fragmented answer.
    fragmented: BTreeSet<i64>,
    /// Newest revision told to each watcher, to see that no revision is split.
    newest: BTreeMap<i64, i64>,
    /// A watcher whose end was told already; the next time is not noted.
    told_twice: Option<i64>,
    /// Fragmented answers seen; not compared, because they depend on batching.
    fragments: u64,
}

impl Log {
    fn take(&mut self, mut response: pb::WatchResponse) {
        blank(&mut response.header);
        let id = response.watch_id;
        if response.created {
            if !response.canceled {
                self.active.insert(id, 0);
                // An id may be given again.
                self.newest.remove(&id);
            }
            self.tell(id, format!("{response:?}"));
            self.created = (self.created.0 + 1, response);
        } else if response.canceled && self.told_twice == Some(id) {
            self.told_twice = None;
        } else if response.canceled {
            self.active.remove(&id);
            self.tell(id, format!("{response:?}"));
            self.canceled = response;
        } else if response.events.is_empty() {
            let revision = response.header.map_or(0, |header| header.revision);
            self.progress = (self.progress.0 + 1, revision);
            if id != -1 {
                self.tell(id, "progress nobody waited for".into());
            }
        } else {
            self.events(response);
        }
    }

    /// Events one by one: a batch is no contract, but a revision is in one answer, header and
    /// events never go backwards, and fragments are continued.
    fn events(&mut self, response: pb::WatchResponse) {
        let id = response.watch_id;
        let continued = self.fragmented.remove(&id);
        if response.fragment {
            self.fragmented.insert(id);
            self.fragments += 1;
        }
        let header = response.header.map_or(0, |header| header.revision);
        for (place, event) in response.events.iter().enumerate() {
            let revision = event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
            let newest = self.newest.insert(id, revision).unwrap_or(0);
            let split = place == 0 && !continued && newest == revision;
            if split || revision < newest || revision > header {
                self.tell(id, format!("out of order: {revision} after {newest}, {header} ahead"));
            }
            self.tell(id, format!("{event:?}"));
        }
    }

    fn tell(&mut self, id: i64, what: String) {
        self.told.entry(id).or_default().push(what);
    }
}

impl Stream {
    /// Reads until `done`, or until the time is up.
    async fn read_until(
        &mut self,
        time: Duration,
        done: impl Fn(&Log) -> bool,
    ) -> Result<bool, Failure> {
        let deadline = Instant::now() + time;
        while !done(&self.log) {
            let left = deadline.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, self.wire.next()).await {
                Err(_) => return Ok(false),
                Ok(Ok(Some(response))) => self.log.take(response),
                Ok(Ok(None)) => return Err(Failure::Broken("the watch stream ended".into())),
                Ok(Err(failure)) => return Err(failure),
            }
        }
        Ok(true)
    }

    /// Asks for progress until it is promised: then all events up to now have come.
    async fn settle(&mut self) -> Result<Option<i64>, Failure> {
        if self.log.active.is_empty() {
            return Ok(None);
        }
        // Of the requests sent before, some were dropped and some may yet be answered: only one
        // answer more than those says something about now.
        let enough = self.asked + 1;
        let deadline = Instant::now() + WAIT_MAX;
        while Instant::now() < deadline {
            let missing = if self.drops { enough.saturating_sub(self.log.progress.0) } else { 1 };
            for _ in 0..missing {
                self.wire.send(&progress_request())?;
                self.asked += 1;
            }
            let time = if self.drops { PROGRESS_AGAIN } else { WAIT_MAX };
            if self.read_until(time, |log| log.progress.0 >= enough).await? {
                return Ok(Some(self.log.progress.1));
            }
        }
        Err(Failure::Timeout)
    }
}

pub fn progress_request() -> pb::WatchRequest {
    let union = RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
    pb::WatchRequest { request_union: Some(union) }
}

fn cancel_request(watch_id: i64) -> pb::WatchRequest {
    let union = RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id });
    pb::WatchRequest { request_union: Some(union) }
}

impl Streams {
    pub fn new(keeps_compacted: bool) -> Self {
        Self { keeps_compacted, ..Self::default() }
    }

    /// Fragmented answers that came so far.
    pub fn fragments(&self) -> u64 {
        self.open.values().map(|stream| stream.log.fragments).sum()
    }

    /// Sends one request and waits for what must follow it.
    pub async fn perform(
        &mut self,
        channel: &Channel,
        at: usize,
        request: &pb::WatchRequest,
    ) -> Answer {
        self.try_perform(channel, at, request).await.unwrap_or_else(|why| Answer::failed(&why))
    }

    async fn try_perform(
        &mut self,
        channel: &Channel,
        at: usize,
        request: &pb::WatchRequest,
    ) -> Result<Answer, Failure> {
        let stream = match self.open.entry(at) {
            std::collections::btree_map::Entry::Occupied(open) => open.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                let wire = channel.stream(&channel.prepare(method::watch::WATCH)).await?;
                let drops = self.keeps_compacted;
                place.insert(Stream { wire, asked: 0, drops, log: Log::default() })
            }
        };
        match &request.request_union {
            Some(RequestUnion::CreateRequest(create)) => {
                let before = stream.log.created.0;
                stream.wire.send(request)?;
                if !stream.read_until(WAIT_MAX, |log| log.created.0 > before).await? {
                    return Err(Failure::Timeout);
                }
                let created = stream.log.created.1.clone();
                if let Some(start) = stream.log.active.get_mut(&created.watch_id) {
                    *start = create.start_revision;
                }
                let passed = create.start_revision > 0 && create.start_revision < self.compacted;
                if passed && !created.canceled {
                    stream.bury(created.watch_id, self.keeps_compacted).await?;
                }
                Ok(Answer::ok(&created, created.header))
            }
            Some(RequestUnion::CancelRequest(cancel)) => stream.cancel(cancel.watch_id, at).await,
            Some(RequestUnion::ProgressRequest(_)) => {
                let promised = stream.settle().await?;
                Ok(Answer { text: format!("progress {promised:?}"), ..Answer::default() })
            }
            None => {
                stream.wire.send(request)?;
                Ok(Answer::default())
            }
        }
    }

    /// Waits until the streams that promise progress have told everything: a compaction may take
    /// away what a late watcher has not read.
    ///
    /// # Errors
    /// A stream broke.
    pub async fn settle(&mut self) -> Result<(), Failure> {
        if let Some(stream) = self.open.get_mut(&0) {
            stream.settle().await?;
        }
        Ok(())
    }

    /// Everything that all streams were told, and closes them.
    pub async fn end(&mut self, current: i64) -> Answer {
        let mut text = String::new();
        for (at, mut stream) in std::mem::take(&mut self.open) {
            if let Err(failure) = stream.finish(current).await {
                return Answer::failed(&failure);
            }
            for (id, told) in &stream.log.told {
                for what in told {
                    text.push_str(&format!("stream {at} watcher {id}: {what}\n"));
                }
            }
            if !stream.log.fragmented.is_empty() {
                text.push_str("a fragment was not continued\n");
            }
        }
        Answer { text, ..Answer::default() }
    }
}

impl Stream {
    /// Waits until a watcher from before the last compaction is canceled, and has it forgotten.
    async fn bury(&mut self, id: i64, kept: bool) -> Result<(), Failure> {
        let ended = |log: &Log| !log.active.contains_key(&id);
        if !self.read_until(WAIT_MAX, ended).await? {
            return Err(Failure::Timeout);
        }
        if kept {
            // Nobody compares the second answer.
            self.log.told_twice = Some(id);
            self.wire.send(&cancel_request(id))?;
            if !self.read_until(WAIT_MAX, |log| log.told_twice.is_none()).await? {
                return Err(Failure::Timeout);
            }
        }
        Ok(())
    }

    async fn cancel(&mut self, id: i64, at: usize) -> Result<Answer, Failure> {
        if at == 0 {
            self.settle().await?;
        }
        self.wire.send(&cancel_request(id))?;
        if !self.log.active.contains_key(&id) {
            return Ok(Answer { text: "no such watcher".into(), ..Answer::default() });
        }
        if !self.read_until(WAIT_MAX, |log| !log.active.contains_key(&id)).await? {
            return Err(Failure::Timeout);
        }
        let canceled = self.log.canceled.clone();
        Ok(Answer::ok(&canceled, canceled.header))
    }

    /// Ends the watchers of the future, then waits for all that the others are owed.
    async fn finish(&mut self, current: i64) -> Result<(), Failure> {
        let future: Vec<i64> =
            self.log.active.iter().filter(|(_, start)| **start > current).map(|x| *x.0).collect();
        for id in future {
            self.wire.send(&cancel_request(id))?;
            if !self.read_until(WAIT_MAX, |log| !log.active.contains_key(&id)).await? {
                return Err(Failure::Timeout);
            }
        }
        self.settle().await?;
        Ok(())
    }
}
