//! The KV service.

use super::front::{Front, fail};
use super::methods::Method;
use super::reply::Short;
use super::{convert, refusal};
use api::Message;
use api::etcdserverpb as pb;
use bytes::Bytes;
use door::{Found, Freshness, Query};
use mvcc::{Command, RequestOp, Response, TxnRequest};
use net::{Answer, Call};

/// A serializable read is served from what the member has.
pub(super) const fn freshness(serializable: bool) -> Freshness {
    if serializable { Freshness::Local } else { Freshness::Linearizable }
}

pub(super) fn range(front: &Front, call: &Call, request: pb::RangeRequest) -> Answer {
    let request = match convert::range_request(&request) {
        Ok(request) => request,
        Err(error) => return fail(refusal::of(error)),
    };
    let fresh = freshness(request.serializable);
    front.read(call, (Query::Range(request), fresh), |mut header, found| {
        let Found::Range(range) = found else { return None };
        header.revision = range.revision;
        Some((header, range))
    })
}

pub(super) fn put(front: &Front, call: &Call, request: pb::PutRequest) -> Answer {
    let command = convert::put_request(&request).map(Command::Put);
    front.write(call, command, |mut header, response| {
        let Response::Put(put) = response else { return None };
        header.revision = put.revision;
        Some(Short(convert::put_response(&put, Some(header))))
    })
}

pub(super) fn delete(front: &Front, call: &Call, request: pb::DeleteRangeRequest) -> Answer {
    let command = convert::delete_request(&request).map(Command::Delete);
    front.write(call, command, |mut header, response| {
        let Response::Delete(delete) = response else { return None };
        header.revision = delete.revision;
        Some((header, delete))
    })
}

pub(super) fn compact(front: &Front, call: &Call, request: pb::CompactionRequest) -> Answer {
    let command = Ok(Command::Compact { revision: request.revision });
    front.write(call, command, |mut header, response| {
        let Response::Compact { revision } = response else { return None };
        header.revision = header.revision.max(revision);
        Some(Short(pb::CompactionResponse { header: Some(header) }))
    })
}

/// A transaction that cannot write is a read: linearizable unless every range in it asks for
/// a serializable one. One without any range is linearizable, unlike etcd's.
pub(super) fn txn(front: &Front, call: &Call, request: pb::TxnRequest) -> Answer {
    let request = match convert::txn_request(&request, front.door.txn_ops_max()) {
        Ok(request) => request,
        Err(error) => return fail(refusal::unproposed(error)),
    };
    if !request.is_read_only() {
        return front.write(call, Ok(Command::Txn(request)), |mut header, response| {
            let Response::Txn(txn) = response else { return None };
            header.revision = txn.revision;
            Some((header, txn))
        });
    }
    let fresh = freshness(is_serializable(&request));
    front.read(call, (Query::Txn(request), fresh), |mut header, found| {
        let Found::Txn(txn) = found else { return None };
        header.revision = txn.revision;
        Some((header, txn))
    })
}

fn is_serializable(txn: &TxnRequest) -> bool {
    fn ranges(txn: &TxnRequest, every: &mut bool, any: &mut bool) {
        for op in txn.success.iter().chain(&txn.failure) {
            match op {
                RequestOp::Range(range) => {
                    *any = true;
                    *every &= range.serializable;
                }
                RequestOp::Txn(txn) => ranges(txn, every, any),
                RequestOp::Put(_) | RequestOp::Delete(_) => *every = false,
            }
        }
    }
    let (mut every, mut any) = (true, false);
    ranges(txn, &mut every, &mut any);
    every && any
}

/// True when the request would go through the log; only such a one can be too large for it.
pub(super) fn is_proposed(method: Method, message: &Bytes) -> bool {
    match method {
        Method::Put | Method::DeleteRange | Method::LeaseGrant => true,
        Method::Txn => pb::TxnRequest::decode(message.clone()).is_ok_and(|txn| {
            let range = |op: &pb::RequestOp| {
                matches!(op.request, Some(pb::request_op::Request::RequestRange(_)))
            };
            !txn.success.iter().chain(&txn.failure).all(range)
        }),
        _ => false,
    }
}
