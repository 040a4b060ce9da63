//! `KV.RangeStream`: one range in bounded chunks, from one pinned view. What may be long is read
//! and written apart, one chunk at a time and only when there is room for it.

use super::cut::Cut;
use super::front::Front;
use super::permits::{Permit, Permits};
use super::{convert, refusal};
use api::error::Code;
use api::etcdserverpb as pb;
use base::Blob;
use base::limits::STREAM_AT_ONCE_BYTES_MAX;
use bytes::Bytes;
use door::{Door, Refusal, apart};
use later::{Asker, Later, promise};
use mvcc::{
    Budget, Counted, Error, RangeRequest, RangeResponse, RangeWork, SortOrder, SortTarget, View,
};
use net::{Call, Source, Status, Turn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Keys of the first chunk, as in etcd.
const FIRST_CHUNK_KEYS: i64 = 10;
const CHUNK_KEYS_MAX: i64 = 10_000;
/// A chunk of so few keys of the newest revision is read at once: that takes some ten
/// microseconds, as long as asking another thread does. So does writing so many bytes.
const AT_ONCE_KEYS_MAX: i64 = 64;
/// Work of one slice: about a millisecond.
const SLICE_UNITS: u64 = 4_096;

/// The chunks of one range.
pub(super) struct Chunks {
    door: Rc<dyn Door>,
    call: Call,
    cut: Cut,
    permits: Rc<Permits>,
    bytes_max: usize,
    rest: Rest,
}

/// What is still to be sent.
enum Rest {
    /// All of it, once the state is fresh enough.
    Waiting(RangeRequest, Later<Result<(), Refusal>>),
    Ready(Box<Reader>),
    /// A chunk is made apart.
    Making((Later<Made>, Permit)),
    Written(Made),
    Nothing,
}

/// A chunk in the form of the call, and who reads the rest, if there is one.
type Made = (Result<Bytes, Status>, Option<Box<Reader>>);

/// Reads chunk after chunk.
struct Reader {
    view: View,
    request: RangeRequest,
    /// Keys of the next chunk.
    keys: i64,
    bytes_max: usize,
    how: How,
    /// The read under way.
    work: Option<RangeWork>,
    /// Keys behind the last chunk.
    rest: Option<Counted>,
}

enum How {
    /// By key: from where the last chunk ended.
    Keys {
        /// What is left of a limit.
        left: Option<i64>,
        count: Option<i64>,
    },
    /// By another target than the key, which the order NONE sorts too: such an answer cannot be
    /// continued after its last key, so it is read whole, from shared records.
    Sorted,
    Read(RangeResponse),
}

struct Chunk {
    range: RangeResponse,
    is_last: bool,
}

impl Chunks {
    pub(super) fn new(
        front: &Front,
        call: Call,
        request: &pb::RangeRequest,
        cut: Cut,
    ) -> Result<Self, Status> {
        let request = convert::range_request(request).map_err(refusal::of)?;
        let filtered = [
            request.min_mod_revision,
            request.max_mod_revision,
            request.min_create_revision,
            request.max_create_revision,
        ];
        // etcd takes the order NONE, whatever the target.
        let sorted = match request.sort_order {
            SortOrder::None => false,
            SortOrder::Ascend => request.sort_target != SortTarget::Key,
            SortOrder::Descend => true,
        };
        let unsupported = |what: &str| {
            let text = format!("RangeStream does not support {what}");
            Err(Status::new(Code::Unimplemented, text))
        };
        if sorted {
            return unsupported("custom sort orders");
        }
        if filtered.iter().any(|bound| *bound != 0) {
            return unsupported("revision filters");
        }
        let fresh = if request.serializable {
            Later::now(Ok(()))
        } else {
            let (answer, fresh) = promise(Asker::nobody(), |result| result);
            front.door.barrier(answer);
            fresh
        };
        let (door, bytes_max) = (front.door.clone(), front.limits.request_bytes_max);
        let rest = Rest::Waiting(request, fresh);
        let permits = Rc::clone(&front.permits);
        Ok(Self { door, call, cut, permits, bytes_max, rest })
    }

    /// Pins the view, once it is fresh enough.
    fn begin(&mut self) {
        let rest = std::mem::replace(&mut self.rest, Rest::Nothing);
        let Rest::Waiting(request, _) = rest else { unreachable!("it was waiting") };
        let how = if request.sort_target != SortTarget::Key && !request.count_only {
            How::Sorted
        } else {
            How::Keys { left: Some(request.limit).filter(|limit| *limit > 0), count: None }
        };
        self.rest = Rest::Ready(Box::new(Reader {
            view: self.door.view(),
            request,
            keys: FIRST_CHUNK_KEYS,
            bytes_max: self.bytes_max,
            how,
            work: None,
            rest: None,
        }));
    }

    /// Makes the next chunk, or has it made apart where that may take long.
    fn advance(&mut self, mut reader: Box<Reader>) -> Option<Result<Bytes, Status>> {
        let header = convert::header(self.door.header());
        let mut read = None;
        if reader.is_short() {
            let chunk = match reader.run(&mut Budget::endless()).expect("the budget is endless") {
                Ok(chunk) => chunk,
                Err(error) => return Some(Err(refusal::status(&error.into()))),
            };
            let is_small = size(&chunk.range) <= STREAM_AT_ONCE_BYTES_MAX;
            if is_small || !self.permits.is_free(self.cut.bell()) {
                let message = chunk.message(header);
                if !chunk.is_last {
                    self.rest = Rest::Ready(reader);
                }
                return Some(self.call.form.encode(&message));
            }
            read = Some(chunk);
        }
        let Some(permit) = self.permits.take(self.cut.bell()) else {
            self.rest = Rest::Ready(reader);
            return None;
        };
        let (shape, mut reader) = (self.call.form.shape(), Some(reader));
        let step = move || {
            let chunk = match read.take() {
                Some(chunk) => chunk,
                None => match reader.as_mut()?.run(&mut Budget::new(SLICE_UNITS))? {
                    Ok(chunk) => chunk,
                    Err(error) => return Some((Err(refusal::status(&error.into())), None)),
                },
            };
            let frame = shape.encode(&chunk.message(header));
            Some((frame, reader.take().filter(|_| !chunk.is_last)))
        };
        self.rest = Rest::Making((apart(&*self.door, self.call.asker(), step), permit));
        None
    }
}

impl Chunk {
    fn message(&self, header: pb::ResponseHeader) -> pb::RangeStreamResponse {
        // Whoever goes on from here with a watch goes on from what was read.
        let revision = self.range.revision;
        let header = self.is_last.then_some(pb::ResponseHeader { revision, ..header });
        let range_response = Some(convert::range_response(&self.range, header));
        pb::RangeStreamResponse { range_response }
    }
}

impl Reader {
    /// The next chunk is found without looking at more than its keys.
    fn is_short(&self) -> bool {
        match self.how {
            How::Keys { .. } if self.request.range_end.is_empty() => true,
            How::Keys { .. } => self.request.revision == 0 && self.keys <= AT_ONCE_KEYS_MAX,
            How::Sorted => false,
            How::Read(_) => true,
        }
    }

    /// Goes on with the next chunk for as long as the budget lasts.
    fn run(&mut self, budget: &mut Budget) -> Option<Result<Chunk, Error>> {
        let read = match &self.how {
            How::Read(_) => RangeResponse::default(),
            How::Keys { .. } | How::Sorted => match self.read(budget)? {
                Ok(read) => read,
                Err(error) => return Some(Err(error)),
            },
        };
        let (range, is_last) = match std::mem::replace(&mut self.how, How::Sorted) {
            How::Keys { left, count } => self.part_by_key(read, left, count),
            How::Sorted => self.part(read),
            How::Read(rest) => self.part(rest),
        };
        self.keys = next_keys(self.keys, &range, self.bytes_max);
        Some(Ok(Chunk { range, is_last }))
    }

    fn read(&mut self, budget: &mut Budget) -> Option<Result<RangeResponse, Error>> {
        let mut work = match self.work.take() {
            Some(work) => work,
            None => {
                if let How::Keys { left, .. } = self.how {
                    self.request.limit = left.map_or(self.keys, |left| self.keys.min(left));
                }
                match RangeWork::start(&self.view, &self.request) {
                    Ok(work) => match self.rest.take() {
                        Some(rest) => work.knowing(&self.view, rest),
                        None => work,
                    },
                    Err(error) => return Some(Err(error)),
                }
            }
        };
        let read = work.run(&self.view, budget);
        if read.is_none() {
            self.work = Some(work);
        }
        read.map(Ok)
    }

    fn part_by_key(
        &mut self,
        mut chunk: RangeResponse,
        left: Option<i64>,
        count: Option<i64>,
    ) -> (RangeResponse, bool) {
        let got = i64::try_from(chunk.kvs.len()).unwrap_or(i64::MAX);
        let count = count.unwrap_or(chunk.count);
        self.rest = Counted::behind(&self.request, &chunk);
        let left = left.map(|left| left - got);
        let sated = left.is_some_and(|left| left <= 0);
        let last = !chunk.more || self.request.count_only || sated || got == 0;
        chunk.count = if last { count } else { 0 };
        chunk.more &= last;
        if let Some(kv) = chunk.kvs.last().filter(|_| !last) {
            self.request.key = Blob::from([&kv.key[..], b"\0"].concat());
        }
        self.how = How::Keys { left, count: Some(count) };
        (chunk, last)
    }

    /// The first keys of what is read; count and more stand in the last chunk.
    fn part(&mut self, mut read: RangeResponse) -> (RangeResponse, bool) {
        let here = usize::try_from(self.keys).unwrap_or(usize::MAX).min(read.kvs.len());
        let later = read.kvs.split_off(here);
        if later.is_empty() {
            return (read, true);
        }
        let rest = RangeResponse { kvs: later, ..read };
        let part = RangeResponse { kvs: read.kvs, count: 0, more: false, ..rest };
        self.how = How::Read(rest);
        (part, false)
    }
}

fn size(chunk: &RangeResponse) -> usize {
    chunk.kvs.iter().map(|kv| kv.key.len() + kv.value.len()).sum()
}

/// Keys of the chunk after this one: twice as many while chunks are small, else half.
fn next_keys(keys: i64, chunk: &RangeResponse, bytes_max: usize) -> i64 {
    if size(chunk) * 2 < bytes_max { keys * 2 } else { keys / 2 }.clamp(1, CHUNK_KEYS_MAX)
}

impl Source for Chunks {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        if let Poll::Ready(status) = self.cut.poll(cx) {
            return Poll::Ready(Turn::End(Err(status)));
        }
        if let Rest::Making((making, _)) = &mut self.rest
            && let Poll::Ready(made) = Pin::new(making).poll(cx)
        {
            let stopped = || (Err(refusal::status(&Refusal::stopped())), None);
            self.rest = Rest::Written(made.unwrap_or_else(stopped));
        }
        match &mut self.rest {
            Rest::Making(_) => Poll::Pending,
            Rest::Ready(reader) if !reader.is_short() && !self.permits.is_free(self.cut.bell()) => {
                Poll::Pending
            }
            Rest::Nothing => Poll::Ready(Turn::End(Ok(()))),
            Rest::Ready(_) | Rest::Written(_) => Poll::Ready(Turn::Message),
            Rest::Waiting(_, fresh) => {
                let Poll::Ready(fresh) = Pin::new(fresh).poll(cx) else { return Poll::Pending };
                match fresh.unwrap_or_else(|| Err(Refusal::stopped())) {
                    Ok(()) => {
                        self.begin();
                        Poll::Ready(Turn::Message)
                    }
                    Err(refusal) => Poll::Ready(Turn::End(Err(refusal::status(&refusal)))),
                }
            }
        }
    }

    fn make(&mut self) -> Option<Result<Bytes, Status>> {
        match std::mem::replace(&mut self.rest, Rest::Nothing) {
            Rest::Ready(reader) => self.advance(reader),
            Rest::Written((frame, reader)) => {
                self.rest = reader.map_or(Rest::Nothing, Rest::Ready);
                Some(frame)
            }
            Rest::Waiting(..) | Rest::Making(_) | Rest::Nothing => {
                unreachable!("a chunk was announced")
            }
        }
    }
}
