//! The Lease service.

use super::engine::{Engine, Failure};
use super::service::Front;
use super::{convert, refusal};
use crate::grpc::{Caller, RequestStream, Responder, Status, StreamSender};
use api::Message;
use api::error::{Code, EtcdError};
use api::etcdserverpb as pb;
use bytes::Bytes;
use mvcc::{Command, Response};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use tokio::sync::oneshot;

/// Keep-alives of one stream renewed by one log entry.
const RENEW_BATCH_MAX: usize = 256;

pub(super) fn grant(front: &Front, request: &pb::LeaseGrantRequest, responder: Responder) {
    let id = if request.id == 0 { front.engine.fresh_lease_id() } else { request.id };
    // The minimum follows the timeouts of the member that is asked: what it proposes has it, so
    // that all members grant the same.
    let ttl = request.ttl.max(front.engine.lease_ttl_min());
    let command = Ok(Command::LeaseGrant { id, ttl });
    front.submit(command, responder, |mut header, response| {
        let Response::LeaseGrant { id, ttl, revision } = response else { return None };
        header.revision = revision;
        Some(pb::LeaseGrantResponse { header: Some(header), id, ttl, error: String::new() })
    });
}

pub(super) fn revoke(front: &Front, request: &pb::LeaseRevokeRequest, responder: Responder) {
    let command = Ok(Command::LeaseRevoke { id: request.id, renewal: None });
    front.submit(command, responder, |mut header, response| {
        let Response::LeaseRevoke { revision } = response else { return None };
        header.revision = revision;
        Some(pb::LeaseRevokeResponse { header: Some(header) })
    });
}

pub(super) fn time_to_live(
    front: &Front,
    request: &pb::LeaseTimeToLiveRequest,
    responder: Responder,
) {
    let (id, keys) = (request.id, request.keys);
    let (engine, caller) = (front.engine.clone(), responder.caller());
    let done = move |result: Result<(), Failure>| {
        if let Err(failure) = result {
            return responder.fail(&refusal::status(failure));
        }
        let header = Some(convert::header(engine.header()));
        let mut answer = pb::LeaseTimeToLiveResponse { header, id, ttl: -1, ..Default::default() };
        if let Some(lease) = engine.lease_ttl(id, keys) {
            answer.ttl = lease.ttl;
            answer.granted_ttl = lease.granted_ttl;
            answer.keys = lease.keys.iter().map(convert::bytes).collect();
        }
        responder.ok(&answer);
    };
    front.engine.barrier(caller, Box::new(done));
}

pub(super) fn leases(front: &Front, _: &pb::LeaseLeasesRequest, responder: Responder) {
    let leases = front.engine.leases().into_iter().map(|id| pb::LeaseStatus { id }).collect();
    let header = Some(convert::header(front.engine.header()));
    responder.ok(&pb::LeaseLeasesResponse { header, leases });
}

/// Renews until the client closes or `cut` comes; each batch is whatever had arrived by then.
pub(super) fn keep_alive(
    engine: Rc<dyn Engine>,
    mut input: RequestStream,
    cut: impl Future<Output = Status> + 'static,
    mut out: StreamSender,
) {
    tokio::task::spawn_local(async move {
        let end = tokio::select! {
            end = renewals(&*engine, &mut input, &mut out) => end,
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
async fn renewals(
    engine: &dyn Engine,
    input: &mut RequestStream,
    out: &mut StreamSender,
) -> Result<(), Option<Status>> {
    loop {
        let (ids, end) = next_batch(input).await?;
        if !ids.is_empty() {
            out.ready().await.map_err(|_| None)?;
            for answer in renew(engine, ids).await? {
                out.send(&answer).map_err(|_| None)?;
            }
        }
        if end {
            return Ok(());
        }
    }
}

async fn renew(
    engine: &dyn Engine,
    ids: Vec<i64>,
) -> Result<Vec<pb::LeaseKeepAliveResponse>, Status> {
    let (send, receive) = oneshot::channel();
    let done = Box::new(move |result| {
        // The stream may have gone meanwhile.
        let _ = send.send(result);
    });
    engine.submit(Caller::nobody(), Command::LeaseRenew { ids }, done);
    let result = receive.await.unwrap_or(Err(Failure::Stopped)).map_err(refusal::status)?;
    let Response::LeaseRenew { ttls } = result else {
        return Err(Status::new(Code::Internal, "answer of another kind than the request"));
    };
    let header = Some(convert::header(engine.header()));
    let answer = |(id, ttl)| pb::LeaseKeepAliveResponse { header, id, ttl };
    Ok(ttls.into_iter().map(answer).collect())
}

/// Waits for one request, then takes all that have arrived. True when the client closed.
async fn next_batch(input: &mut RequestStream) -> Result<(Vec<i64>, bool), Status> {
    let decode = |message: Result<Bytes, Status>| {
        let bad = |_| Status::from(EtcdError::LeaseNotFound);
        pb::LeaseKeepAliveRequest::decode(message?).map(|r| r.id).map_err(bad)
    };
    let Some(first) = input.next().await else { return Ok((Vec::new(), true)) };
    let mut ids = vec![decode(first)?];
    poll_fn(|cx| {
        while ids.len() < RENEW_BATCH_MAX {
            match input.poll_next(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => return Poll::Ready(Ok((std::mem::take(&mut ids), true))),
                Poll::Ready(Some(message)) => ids.push(match decode(message) {
                    Ok(id) => id,
                    Err(status) => return Poll::Ready(Err(status)),
                }),
            }
        }
        Poll::Ready(Ok((std::mem::take(&mut ids), false)))
    })
    .await
}
