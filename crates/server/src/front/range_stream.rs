//! `KV.RangeStream`: one range in bounded chunks, from one pinned view.

use super::engine::{Engine, Failure};
use super::service::Front;
use super::{convert, refusal};
use crate::grpc::{Caller, Status, StreamSender};
use api::error::Code;
use api::etcdserverpb as pb;
use base::Blob;
use mvcc::{RangeRequest, RangeResponse, SortOrder, SortTarget, View};
use std::rc::Rc;
use tokio::sync::oneshot;

/// Keys of the first chunk, as in etcd.
const FIRST_CHUNK_KEYS: i64 = 10;
const CHUNK_KEYS_MAX: i64 = 10_000;

pub(super) fn run(
    front: &Front,
    request: &pb::RangeRequest,
    cut: impl Future<Output = Status> + 'static,
    out: StreamSender,
) {
    let request = match convert::range_request(request) {
        Ok(request) => request,
        Err(error) => return out.fail(&error.into()),
    };
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
    if sorted {
        let text = "RangeStream does not support custom sort orders";
        return out.fail(&Status::new(Code::Unimplemented, text));
    }
    if filtered.iter().any(|bound| *bound != 0) {
        let text = "RangeStream does not support revision filters";
        return out.fail(&Status::new(Code::Unimplemented, text));
    }
    let (engine, bytes_max) = (front.engine.clone(), front.limits.request_bytes_max);
    tokio::task::spawn_local(async move {
        let mut out = out;
        let end = tokio::select! {
            end = stream(engine, request, bytes_max, &mut out) => end,
            status = cut => Err(Some(status)),
        };
        match end {
            Ok(()) => out.finish(),
            Err(Some(status)) => out.fail(&status),
            Err(None) => {}
        }
    });
}

/// `Err(None)`: the client went away.
async fn stream(
    engine: Rc<dyn Engine>,
    request: RangeRequest,
    bytes_max: usize,
    out: &mut StreamSender,
) -> Result<(), Option<Status>> {
    let failed = |failure| Some(refusal::status(failure));
    if !request.serializable {
        let (send, receive) = oneshot::channel();
        let done = Box::new(move |result| {
            // The client may have gone meanwhile.
            let _ = send.send(result);
        });
        engine.barrier(Caller::nobody(), done);
        receive.await.unwrap_or(Err(Failure::Stopped)).map_err(failed)?;
    }
    let view = engine.view();
    if request.sort_target != SortTarget::Key && !request.count_only {
        let sent = sorted(&*engine, &view, &request, bytes_max, out).await;
        return sent.map_err(|failure| failure.and_then(failed));
    }
    let sent = chunks(&*engine, &view, request, bytes_max, out).await;
    sent.map_err(|failure| failure.and_then(failed))
}

/// An answer by another target than the key, which the order NONE sorts too, cannot be continued
/// after its last key: it is made at once, from shared records, and sent in chunks.
/// `Err(None)`: the client went away.
async fn sorted(
    engine: &dyn Engine,
    view: &View,
    request: &RangeRequest,
    bytes_max: usize,
    out: &mut StreamSender,
) -> Result<(), Option<Failure>> {
    let mut rest = view.range(request).map_err(|e| Some(Failure::Store(e)))?;
    let (count, more) = (rest.count, rest.more);
    let mut keys = FIRST_CHUNK_KEYS;
    loop {
        out.ready().await.map_err(|_| None)?;
        let here = usize::try_from(keys).unwrap_or(usize::MAX).min(rest.kvs.len());
        let later = rest.kvs.split_off(here);
        let last = later.is_empty();
        (rest.count, rest.more) = if last { (count, more) } else { (0, false) };
        keys = next_keys(keys, &rest, bytes_max);
        let header = last.then(|| convert::header(engine.header()));
        let range_response = Some(convert::range_response(&rest, header));
        out.send(&pb::RangeStreamResponse { range_response }).map_err(|_| None)?;
        if last {
            return Ok(());
        }
        rest.kvs = later;
    }
}

/// Keys of the chunk after this one: twice as many while chunks are small, else half.
fn next_keys(keys: i64, chunk: &RangeResponse, bytes_max: usize) -> i64 {
    let size: usize = chunk.kvs.iter().map(|kv| kv.key.len() + kv.value.len()).sum();
    if size * 2 < bytes_max { keys * 2 } else { keys / 2 }.clamp(1, CHUNK_KEYS_MAX)
}

/// `Err(None)`: the client went away.
async fn chunks(
    engine: &dyn Engine,
    view: &View,
    mut request: RangeRequest,
    bytes_max: usize,
    out: &mut StreamSender,
) -> Result<(), Option<Failure>> {
    let (mut left, mut keys) = (request.limit.max(0), FIRST_CHUNK_KEYS);
    let limited = left > 0;
    let mut total = None;
    loop {
        out.ready().await.map_err(|_| None)?;
        request.limit = if limited { keys.min(left) } else { keys };
        let mut chunk = view.range(&request).map_err(|e| Some(Failure::Store(e)))?;
        let count = *total.get_or_insert(chunk.count);
        let got = i64::try_from(chunk.kvs.len()).unwrap_or(i64::MAX);
        left -= if limited { got } else { 0 };
        let last = !chunk.more || request.count_only || (limited && left <= 0) || got == 0;
        chunk.count = if last { count } else { 0 };
        let more = chunk.more;
        chunk.more = last && more;
        let header = last.then(|| convert::header(engine.header()));
        keys = next_keys(keys, &chunk, bytes_max);
        let next = chunk.kvs.last().map(|kv| [&kv.key[..], b"\0"].concat());
        let range_response = Some(convert::range_response(&chunk, header));
        out.send(&pb::RangeStreamResponse { range_response }).map_err(|_| None)?;
        let Some(next) = next.filter(|_| !last) else { return Ok(()) };
        request.key = Blob::from(next);
    }
}
