//! `KV.RangeStream`: one range in bounded chunks, from one pinned view.

use super::cut::Cut;
use super::front::Front;
use super::{convert, refusal};
use api::error::Code;
use api::etcdserverpb as pb;
use base::Blob;
use bytes::Bytes;
use door::{Door, Refusal};
use later::{Asker, Later, promise};
use mvcc::{Error, RangeRequest, RangeResponse, SortOrder, SortTarget, View};
use net::{Call, Source, Status, Turn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Keys of the first chunk, as in etcd.
const FIRST_CHUNK_KEYS: i64 = 10;
const CHUNK_KEYS_MAX: i64 = 10_000;

/// The chunks of one range.
pub(super) struct Chunks {
    door: Rc<dyn Door>,
    call: Call,
    cut: Cut,
    bytes_max: usize,
    /// Keys of the next chunk.
    keys: i64,
    rest: Rest,
}

/// What is still to be sent.
enum Rest {
    /// All of it, once the state is fresh enough.
    Waiting(RangeRequest, Later<Result<(), Refusal>>),
    /// By key: from where the last chunk ended.
    Keys(Keys),
    /// By another target than the key, which the order NONE sorts too: such an answer cannot be
    /// continued after its last key, so it is made at once, from shared records.
    Sorted {
        view: View,
        request: RangeRequest,
    },
    Made(RangeResponse),
    Nothing,
}

struct Keys {
    view: View,
    request: RangeRequest,
    /// What is left of a limit.
    left: Option<i64>,
    count: Option<i64>,
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
        Ok(Self { door, call, cut, bytes_max, keys: FIRST_CHUNK_KEYS, rest })
    }

    /// Pins the view, once it is fresh enough.
    fn begin(&mut self) {
        let rest = std::mem::replace(&mut self.rest, Rest::Nothing);
        let Rest::Waiting(request, _) = rest else { unreachable!("it was waiting") };
        let view = self.door.view();
        self.rest = if request.sort_target != SortTarget::Key && !request.count_only {
            Rest::Sorted { view, request }
        } else {
            let left = Some(request.limit).filter(|limit| *limit > 0);
            Rest::Keys(Keys { view, request, left, count: None })
        };
    }

    /// The next chunk, and whether it is the last.
    fn chunk(&mut self) -> Result<(RangeResponse, bool), Error> {
        match std::mem::replace(&mut self.rest, Rest::Nothing) {
            Rest::Keys(mut keys) => {
                let (chunk, last) = keys.next(self.keys)?;
                if !last {
                    self.rest = Rest::Keys(keys);
                }
                Ok((chunk, last))
            }
            Rest::Sorted { view, request } => Ok(self.part(view.range(&request)?)),
            Rest::Made(rest) => Ok(self.part(rest)),
            Rest::Waiting(..) | Rest::Nothing => unreachable!("a chunk was announced"),
        }
    }

    /// The first keys of what is made; count and more stand in the last chunk.
    fn part(&mut self, mut made: RangeResponse) -> (RangeResponse, bool) {
        let here = usize::try_from(self.keys).unwrap_or(usize::MAX).min(made.kvs.len());
        let later = made.kvs.split_off(here);
        if later.is_empty() {
            return (made, true);
        }
        let rest = RangeResponse { kvs: later, ..made };
        let part = RangeResponse { kvs: made.kvs, count: 0, more: false, ..rest };
        self.rest = Rest::Made(rest);
        (part, false)
    }
}

impl Keys {
    fn next(&mut self, keys: i64) -> Result<(RangeResponse, bool), Error> {
        self.request.limit = self.left.map_or(keys, |left| keys.min(left));
        let mut chunk = self.view.range(&self.request)?;
        let count = *self.count.get_or_insert(chunk.count);
        let got = i64::try_from(chunk.kvs.len()).unwrap_or(i64::MAX);
        self.left = self.left.map(|left| left - got);
        let sated = self.left.is_some_and(|left| left <= 0);
        let last = !chunk.more || self.request.count_only || sated || got == 0;
        chunk.count = if last { count } else { 0 };
        chunk.more &= last;
        if let Some(kv) = chunk.kvs.last().filter(|_| !last) {
            self.request.key = Blob::from([&kv.key[..], b"\0"].concat());
        }
        Ok((chunk, last))
    }
}

/// Keys of the chunk after this one: twice as many while chunks are small, else half.
fn next_keys(keys: i64, chunk: &RangeResponse, bytes_max: usize) -> i64 {
    let size: usize = chunk.kvs.iter().map(|kv| kv.key.len() + kv.value.len()).sum();
    if size * 2 < bytes_max { keys * 2 } else { keys / 2 }.clamp(1, CHUNK_KEYS_MAX)
}

impl Source for Chunks {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        if let Poll::Ready(status) = self.cut.poll(cx) {
            return Poll::Ready(Turn::End(Err(status)));
        }
        match &mut self.rest {
            Rest::Nothing => Poll::Ready(Turn::End(Ok(()))),
            Rest::Keys(_) | Rest::Sorted { .. } | Rest::Made(_) => Poll::Ready(Turn::Message),
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
        let (chunk, last) = match self.chunk() {
            Ok(chunk) => chunk,
            Err(error) => return Some(Err(refusal::status(&error.into()))),
        };
        self.keys = next_keys(self.keys, &chunk, self.bytes_max);
        let header = last.then(|| convert::header(self.door.header()));
        let range_response = Some(convert::range_response(&chunk, header));
        Some(self.call.form.encode(&pb::RangeStreamResponse { range_response }))
    }
}
