//! The Lease service.

use super::cut::Cut;
use super::front::{Front, caller, mismatch};
use super::reply::Short;
use super::{convert, refusal};
use api::error::EtcdError;
use api::etcdserverpb as pb;
use base::limits::RENEW_BATCH_MAX;
use bytes::Bytes;
use door::{Door, Found, Freshness, Query, Refusal};
use later::{Asker, Later, promise};
use mvcc::{Command, Response};
use net::{Answer, Call, Requests, Source, Status, Turn};
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

pub(super) fn grant(front: &Front, call: &Call, request: pb::LeaseGrantRequest) -> Answer {
    let id = if request.id == 0 { front.door.fresh_id() } else { request.id };
    // The minimum follows the timeouts of the member that is asked: what it proposes has it, so
    // that all members grant the same.
    let ttl = request.ttl.max(front.door.lease_ttl_min());
    front.write(call, Ok(Command::LeaseGrant { id, ttl }), |mut header, response| {
        let Response::LeaseGrant { id, ttl, revision } = response else { return None };
        header.revision = revision;
        let header = Some(header);
        Some(Short(pb::LeaseGrantResponse { header, id, ttl, error: String::new() }))
    })
}

pub(super) fn revoke(front: &Front, call: &Call, request: pb::LeaseRevokeRequest) -> Answer {
    let command = Ok(Command::LeaseRevoke { id: request.id, renewal: None });
    front.write(call, command, |mut header, response| {
        let Response::LeaseRevoke { revision } = response else { return None };
        header.revision = revision;
        Some(Short(pb::LeaseRevokeResponse { header: Some(header) }))
    })
}

pub(super) fn time_to_live(
    front: &Front,
    call: &Call,
    request: pb::LeaseTimeToLiveRequest,
) -> Answer {
    let (id, keys) = (request.id, request.keys);
    let query = (Query::Lease { id, keys }, Freshness::Linearizable);
    front.read(call, query, move |header, found| {
        let Found::Lease(found) = found else { return None };
        let header = Some(header);
        let mut answer = pb::LeaseTimeToLiveResponse { header, id, ttl: -1, ..Default::default() };
        let mut keys = Vec::new();
        if let Some(lease) = found {
            (answer.ttl, answer.granted_ttl) = (lease.ttl, lease.granted_ttl);
            keys = lease.keys;
        }
        Some((answer, keys))
    })
}

pub(super) fn leases(front: &Front, call: &Call, _: pb::LeaseLeasesRequest) -> Answer {
    front.read(call, (Query::Leases, Freshness::Local), |header, found| match found {
        Found::Leases(ids) => Some((header, ids)),
        _ => None,
    })
}

/// Renews until the client closes; each batch is whatever had arrived by then.
pub(super) struct KeepAlives {
    door: Rc<dyn Door>,
    call: Call,
    requests: Box<dyn Requests>,
    cut: Cut,
    /// More may be asked for.
    open: bool,
    /// Asked for, and not begun.
    ids: Vec<i64>,
    renewal: Option<Later<Result<Response, Refusal>>>,
    answers: VecDeque<pb::LeaseKeepAliveResponse>,
}

impl KeepAlives {
    pub(super) fn new(
        door: Rc<dyn Door>,
        call: Call,
        requests: Box<dyn Requests>,
        cut: Cut,
    ) -> Self {
        let (ids, answers) = (Vec::new(), VecDeque::new());
        Self { door, call, requests, cut, open: true, ids, renewal: None, answers }
    }

    /// Takes what has arrived, up to a batch.
    fn take_requests(&mut self, cx: &mut Context<'_>) -> Result<(), Status> {
        while self.open && self.ids.len() < RENEW_BATCH_MAX {
            match self.requests.poll_next(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => self.open = false,
                Poll::Ready(Some(message)) => {
                    let request = self.call.form.decode::<pb::LeaseKeepAliveRequest>(message?);
                    let id = request.map_err(|_| refusal::of(EtcdError::LeaseNotFound))?.id;
                    self.ids.push(id);
                }
            }
        }
        Ok(())
    }

    fn renewed(&mut self, result: Option<Result<Response, Refusal>>) -> Result<(), Status> {
        let result = result.unwrap_or_else(|| Err(Refusal::stopped()));
        let response = result.map_err(|refusal| refusal::status(&refusal))?;
        let Response::LeaseRenew { ttls } = response else { return Err(mismatch()) };
        let header = Some(convert::header(self.door.header()));
        let answer = |(id, ttl)| pb::LeaseKeepAliveResponse { header, id, ttl };
        self.answers.extend(ttls.into_iter().map(answer));
        Ok(())
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<Turn, Status>> {
        if let Poll::Ready(status) = self.cut.poll(cx) {
            return Poll::Ready(Err(status));
        }
        if let Some(renewal) = &mut self.renewal {
            let Poll::Ready(result) = Pin::new(renewal).poll(cx) else { return Poll::Pending };
            self.renewal = None;
            if let Err(status) = self.renewed(result) {
                return Poll::Ready(Err(status));
            }
        }
        if self.answers.is_empty()
            && let Err(status) = self.take_requests(cx)
        {
            return Poll::Ready(Err(status));
        }
        if !self.answers.is_empty() || !self.ids.is_empty() {
            Poll::Ready(Ok(Turn::Message))
        } else if self.open {
            Poll::Pending
        } else {
            Poll::Ready(Ok(Turn::End(Ok(()))))
        }
    }
}

impl Source for KeepAlives {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        self.turn(cx).map(|turn| turn.unwrap_or_else(|status| Turn::End(Err(status))))
    }

    /// Where there is no answer yet there is room for some: the next batch begins.
    fn make(&mut self) -> Option<Result<Bytes, Status>> {
        if let Some(answer) = self.answers.pop_front() {
            return Some(self.call.form.encode(&answer));
        }
        let ids = std::mem::take(&mut self.ids);
        let (answer, renewal) = promise(Asker::nobody(), |result| result);
        self.door.write(caller(&self.call), Command::LeaseRenew { ids }, answer);
        self.renewal = Some(renewal);
        None
    }
}
