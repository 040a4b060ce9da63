//! `KV.RangeStream`: one range in bounded chunks, all of one revision. What may be long is read and
//! written apart, one chunk at a time and only when there is room for it. A picture is held while
//! a chunk is read and no longer: whoever does not take its chunks keeps nothing from being freed,
//! and may find that its revision was compacted meanwhile, as in etcd.

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
    Budget, Counted, Error, KeyValue, RangeRequest, RangeResponse, RangeWork, SortOrder,
    SortTarget, Values, View,
};
use net::{Call, DRAIN_MAX, Source, Status, Turn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

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
    /// Places of those that hold all that was found, and its own.
    sorted: Rc<Permits>,
    place: Option<Permit>,
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
    /// Only while a chunk is read.
    view: Option<View>,
    /// The newest revision when the stream began, which the answer is of.
    current: i64,
    request: RangeRequest,
    /// Keys of the next chunk.
    keys: i64,
    bytes_max: usize,
    how: How,
    /// The read under way.
    work: Option<RangeWork>,
    /// Keys behind the last chunk.
    rest: Option<Counted>,
    /// What the next chunk needs is not all at hand.
    is_cold: bool,
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
        let sorted = Rc::clone(&front.sorted);
        Ok(Self { door, call, cut, permits, sorted, place: None, bytes_max, rest })
    }

    /// Pins the revision, once the state is fresh enough.
    fn begin(&mut self) {
        let rest = std::mem::replace(&mut self.rest, Rest::Nothing);
        let Rest::Waiting(request, _) = rest else { unreachable!("it was waiting") };
        let how = if request.sort_target != SortTarget::Key && !request.count_only {
            How::Sorted
        } else {
            How::Keys { left: Some(request.limit).filter(|limit| *limit > 0), count: None }
        };
        self.rest = Rest::Ready(Box::new(Reader {
            view: None,
            current: self.door.view().revision(),
            request,
            keys: FIRST_CHUNK_KEYS,
            bytes_max: self.bytes_max,
            how,
            work: None,
            rest: None,
            is_cold: false,
        }));
    }

    /// Makes the next chunk, or has it made apart where that may take long.
    fn advance(&mut self, mut reader: Box<Reader>) -> Option<Result<Bytes, Status>> {
        let header = convert::header(self.door.header());
        let mut read = None;
        if reader.is_sorted() && self.place.is_none() {
            self.place = self.sorted.take(self.cut.bell());
            if self.place.is_none() {
                self.rest = Rest::Ready(reader);
                return None;
            }
        }
        if reader.needs_view() {
            reader.view = Some(self.door.view());
        }
        if reader.is_short(self.door.header().revision) {
            // None where it is not at hand: what was begun is gone on with apart.
            match reader.run(&mut *self.door.at_hand(), &mut Budget::endless()) {
                None => reader.is_cold = true,
                Some(Err(error)) => return Some(Err(refusal::status(&error.into()))),
                Some(Ok(chunk)) => {
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
            }
        }
        let Some(permit) = self.permits.take(self.cut.bell()) else {
            // No picture is held for who waits.
            (reader.view, reader.work) = (None, None);
            self.rest = Rest::Ready(reader);
            return None;
        };
        let (shape, mut reader) = (self.call.form.shape(), Some(reader));
        let step = move |values: &mut dyn Values| {
            let chunk = match read.take() {
                Some(chunk) => chunk,
                None => match reader.as_mut()?.run(values, &mut Budget::new(SLICE_UNITS)) {
                    Some(Ok(chunk)) => chunk,
                    Some(Err(error)) => {
                        return Some((Err(refusal::status(&error.into())), None));
                    }
                    None => {
                        let why = values.take_trouble()?;
                        return Some((Err(refusal::unreadable(why)), None));
                    }
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
    /// The next chunk is found without looking at more than its keys, where `newest` is the
    /// revision of the store by now.
    fn is_short(&self, newest: i64) -> bool {
        if self.is_cold {
            return false;
        }
        let is_newest = [0, newest].contains(&self.request.revision) && newest == self.current;
        match self.how {
            How::Keys { .. } if self.request.range_end.is_empty() => true,
            How::Keys { .. } => is_newest && self.keys <= AT_ONCE_KEYS_MAX,
            How::Sorted => false,
            How::Read(_) => true,
        }
    }

    /// It is to be read whole.
    fn is_sorted(&self) -> bool {
        matches!(self.how, How::Sorted)
    }

    fn needs_view(&self) -> bool {
        self.view.is_none() && !matches!(self.how, How::Read(_))
    }

    /// Goes on with the next chunk for as long as the budget lasts.
    fn run(
        &mut self,
        values: &mut dyn Values,
        budget: &mut Budget,
    ) -> Option<Result<Chunk, Error>> {
        let read = match &self.how {
            How::Read(_) => RangeResponse::default(),
            How::Keys { .. } | How::Sorted => match self.read(values, budget)? {
                Ok(read) => RangeResponse { revision: self.current, ..read },
                Err(error) => {
                    self.view = None;
                    return Some(Err(error));
                }
            },
        };
        (self.view, self.is_cold) = (None, false);
        let (range, is_last) = match std::mem::replace(&mut self.how, How::Sorted) {
            How::Keys { left, count } => self.part_by_key(read, left, count),
            How::Sorted => self.part(read),
            How::Read(rest) => self.part(rest),
        };
        self.keys = next_keys(self.keys, &range, self.bytes_max);
        Some(Ok(Chunk { range, is_last }))
    }

    fn read(
        &mut self,
        values: &mut dyn Values,
        budget: &mut Budget,
    ) -> Option<Result<RangeResponse, Error>> {
        let view = self.view.as_ref().expect("it is held while a chunk is read");
        let mut work = match self.work.take() {
            Some(work) => work,
            None => {
                if let How::Keys { left, .. } = self.how {
                    self.request.limit = left.map_or(self.keys, |left| self.keys.min(left));
                }
                if self.request.revision == 0 && view.revision() != self.current {
                    self.request.revision = self.current;
                }
                match RangeWork::start(view, &self.request) {
                    Ok(work) => match self.rest.clone() {
                        Some(rest) => work.knowing(view, rest),
                        None => work,
                    },
                    Err(error) => return Some(Err(error)),
                }
            }
        };
        let read = work.run(view, values, budget);
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
        let fits = fitting(&chunk.kvs, self.keys, self.bytes_max);
        if fits < chunk.kvs.len() {
            chunk.kvs.truncate(fits);
            chunk.more = true;
        }
        let got = i64::try_from(fits).unwrap_or(i64::MAX);
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
        let here = fitting(&read.kvs, self.keys, self.bytes_max);
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
    chunk.kvs.iter().map(bytes_of).sum()
}

fn bytes_of(kv: &KeyValue) -> usize {
    kv.key.len() + kv.value.len()
}

/// How many of the first of them one chunk holds: no more bytes than a request may have, but for
/// one key, which may have any size.
fn fitting(kvs: &[KeyValue], keys: i64, bytes_max: usize) -> usize {
    let keys = usize::try_from(keys).unwrap_or(usize::MAX).min(kvs.len());
    let mut bytes = 0;
    let fits = |kv: &&KeyValue| {
        bytes += bytes_of(kv);
        bytes <= bytes_max
    };
    kvs[..keys].iter().take_while(fits).count().max(keys.min(1))
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
            Rest::Ready(reader)
                if reader.is_sorted()
                    && self.place.is_none()
                    && !self.sorted.is_free(self.cut.bell()) =>
            {
                Poll::Pending
            }
            Rest::Ready(reader)
                if !reader.is_short(self.door.header().revision)
                    && !self.permits.is_free(self.cut.bell()) =>
            {
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

    /// What was found whole is held until it is taken: not for a client that gives no window.
    fn unread_max(&self) -> Option<Duration> {
        let holds = |reader: &Reader| matches!(reader.how, How::Read(_));
        match &self.rest {
            Rest::Ready(reader) | Rest::Written((_, Some(reader))) if holds(reader) => {
                Some(DRAIN_MAX)
            }
            _ => None,
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

#[cfg(test)]
mod tests {
    use super::*;
    use base::ClusterTime;
    use mvcc::{Command, Limits, PutRequest, Store};

    fn put(store: &mut Store, key: &str, bytes: usize) {
        let (key, value) = (Blob::from(key.as_bytes()), Blob::from(vec![b'v'; bytes]));
        apply(store, &Command::Put(PutRequest { key, value, ..PutRequest::default() }));
    }

    fn apply(store: &mut Store, command: &Command) {
        let index = store.applied_index().next();
        assert!(store.apply(index, ClusterTime(index.0), command).result.is_ok());
    }

    fn reader(store: &Store, bytes_max: usize) -> Reader {
        let (key, range_end) = (Blob::from(&b"\0"[..]), Blob::from(&b"\0"[..]));
        Reader {
            view: None,
            current: store.revision(),
            request: RangeRequest { key, range_end, ..RangeRequest::default() },
            keys: FIRST_CHUNK_KEYS,
            bytes_max,
            how: How::Keys { left: None, count: None },
            work: None,
            rest: None,
            is_cold: false,
        }
    }

    fn next(reader: &mut Reader, store: &Store) -> Result<Chunk, Error> {
        reader.view = Some(store.view());
        let chunk =
            reader.run(&mut mvcc::InMemory, &mut Budget::endless()).expect("the budget is endless");
        assert!(reader.view.is_none(), "nothing is held between chunks");
        chunk
    }

    #[test]
    fn a_chunk_has_no_more_bytes_than_a_request_however_small_the_keys_before_were() {
        let mut store = Store::new(Limits::default());
        (0..300).for_each(|n| put(&mut store, &format!("a{n:03}"), 1));
        (0..50).for_each(|n| put(&mut store, &format!("b{n:03}"), 900));
        put(&mut store, "c", 9_000);
        let (mut reader, mut found) = (reader(&store, 4_000), 0);
        loop {
            let chunk = next(&mut reader, &store).expect("nothing is compacted");
            let alone = chunk.range.kvs.len() == 1;
            assert!(size(&chunk.range) <= 4_000 || alone, "{}", size(&chunk.range));
            assert!(!chunk.range.kvs.is_empty());
            found += chunk.range.kvs.len();
            if chunk.is_last {
                assert_eq!((found, chunk.range.count, chunk.range.more), (351, 351, false));
                return;
            }
        }
    }

    #[test]
    fn chunks_are_of_one_revision_whatever_was_written_meanwhile_until_it_is_compacted() {
        let mut store = Store::new(Limits::default());
        (0..40).for_each(|n| put(&mut store, &format!("a{n:03}"), 1));
        let (mut reader, began) = (reader(&store, 4_000), store.revision());
        let first = next(&mut reader, &store).expect("the first");
        put(&mut store, "a015", 77);
        put(&mut store, "a0155", 1);
        let second = next(&mut reader, &store).expect("the second");
        assert!(second.range.kvs.iter().all(|kv| kv.value.len() == 1 && kv.key.len() == 4));
        assert_eq!([first.range.revision, second.range.revision], [began; 2]);
        assert!(!first.is_last && !second.is_last);
        let revision = store.revision();
        apply(&mut store, &Command::Compact { revision });
        assert_eq!(next(&mut reader, &store).err(), Some(Error::Compacted));
    }
}
