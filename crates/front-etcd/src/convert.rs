//! Protobuf messages to the data model's types and back.

use api::error::EtcdError;
use api::etcdserverpb as pb;
use api::mvccpb;
use base::Blob;
use bytes::Bytes;
use door::Header;
use mvcc::{
    Compare, CompareOp, CompareTarget, DeleteRequest, Event, EventKind, KeyValue, PutRequest,
    RangeRequest, RangeResponse, RequestOp, ResponseOp, SortOrder, SortTarget, TxnRequest,
};

/// Values above this are shared with the answer instead of copied into it; bytes.
const SHARE_BYTES_MIN: usize = 512;

pub fn bytes(blob: &Blob) -> Bytes {
    if blob.len() < SHARE_BYTES_MIN {
        Bytes::copy_from_slice(blob)
    } else {
        Bytes::from_owner(blob.clone())
    }
}

fn blob(bytes: &Bytes) -> Blob {
    Blob::from(&bytes[..])
}

pub fn header(h: Header) -> pb::ResponseHeader {
    pb::ResponseHeader {
        cluster_id: h.cluster,
        member_id: h.member.0,
        revision: h.revision,
        raft_term: h.term.0,
    }
}

/// Header of an answer inside a transaction: only the revision.
pub fn inner_header(revision: i64) -> pb::ResponseHeader {
    pb::ResponseHeader { revision, ..Default::default() }
}

pub fn range_request(r: &pb::RangeRequest) -> Result<RangeRequest, EtcdError> {
    if r.key.is_empty() {
        return Err(EtcdError::EmptyKey);
    }
    let sort_order = SortOrder::from_number(r.sort_order).ok_or(EtcdError::InvalidSortOption)?;
    let sort_target = SortTarget::from_number(r.sort_target).ok_or(EtcdError::InvalidSortOption)?;
    Ok(RangeRequest {
        key: blob(&r.key),
        range_end: blob(&r.range_end),
        limit: r.limit,
        revision: r.revision,
        sort_order,
        sort_target,
        keys_only: r.keys_only,
        count_only: r.count_only,
        min_mod_revision: r.min_mod_revision,
        max_mod_revision: r.max_mod_revision,
        min_create_revision: r.min_create_revision,
        max_create_revision: r.max_create_revision,
        serializable: r.serializable,
    })
}

pub fn put_request(r: &pb::PutRequest) -> Result<PutRequest, EtcdError> {
    if r.key.is_empty() {
        return Err(EtcdError::EmptyKey);
    }
    if r.ignore_value && !r.value.is_empty() {
        return Err(EtcdError::ValueProvided);
    }
    if r.ignore_lease && r.lease != 0 {
        return Err(EtcdError::LeaseProvided);
    }
    Ok(PutRequest {
        key: blob(&r.key),
        value: blob(&r.value),
        lease: r.lease,
        prev_kv: r.prev_kv,
        ignore_value: r.ignore_value,
        ignore_lease: r.ignore_lease,
    })
}

pub fn delete_request(r: &pb::DeleteRangeRequest) -> Result<DeleteRequest, EtcdError> {
    if r.key.is_empty() {
        return Err(EtcdError::EmptyKey);
    }
    let (key, range_end) = (blob(&r.key), blob(&r.range_end));
    Ok(DeleteRequest { key, range_end, prev_kv: r.prev_kv })
}

/// Refuses in the order of etcd's checks (`api/v3rpc/key.go`): of several faults a client is told
/// the same one. Every level may use what the levels above left of `ops_max`. The decoder bounds
/// the depth.
pub fn txn_request(r: &pb::TxnRequest, ops_max: usize) -> Result<TxnRequest, EtcdError> {
    let request = txn_at(r, ops_max)?;
    // etcd bounds each path only.
    if request.operations() > mvcc::operations_max(ops_max) {
        return Err(EtcdError::TooManyOps);
    }
    Ok(request)
}

fn txn_at(r: &pb::TxnRequest, ops_left: usize) -> Result<TxnRequest, EtcdError> {
    let longest = r.compare.len().max(r.success.len()).max(r.failure.len());
    let Some(ops_left) = ops_left.checked_sub(longest) else {
        return Err(EtcdError::TooManyOps);
    };
    let ops = |ops: &[pb::RequestOp]| -> Result<Vec<_>, EtcdError> {
        ops.iter().map(|op| request_op(op, ops_left)).collect()
    };
    Ok(TxnRequest {
        compare: r.compare.iter().map(compare).collect::<Result<_, _>>()?,
        success: ops(&r.success)?,
        failure: ops(&r.failure)?,
    })
}

fn request_op(op: &pb::RequestOp, ops_left: usize) -> Result<RequestOp, EtcdError> {
    use pb::request_op::Request;
    Ok(match op.request.as_ref().ok_or(EtcdError::KeyNotFound)? {
        Request::RequestRange(r) => RequestOp::Range(range_request(r)?),
        Request::RequestPut(r) => RequestOp::Put(put_request(r)?),
        Request::RequestDeleteRange(r) => RequestOp::Delete(delete_request(r)?),
        Request::RequestTxn(r) => RequestOp::Txn(txn_at(r, ops_left)?),
    })
}

fn compare(c: &pb::Compare) -> Result<Compare, EtcdError> {
    use pb::compare::{CompareResult, CompareTarget as Target, TargetUnion};
    if c.key.is_empty() {
        return Err(EtcdError::EmptyKey);
    }
    let (key, range_end) = (blob(&c.key), blob(&c.range_end));
    let op = match CompareResult::try_from(c.result) {
        Ok(CompareResult::Equal) => CompareOp::Equal,
        Ok(CompareResult::Greater) => CompareOp::Greater,
        Ok(CompareResult::Less) => CompareOp::Less,
        Ok(CompareResult::NotEqual) => CompareOp::NotEqual,
        // As in etcd, an unknown comparison holds, but no value compares with a missing key.
        Err(_) => {
            let missing_fails = c.target == Target::Value as i32;
            let target = CompareTarget::Version(if missing_fails { 0 } else { -1 });
            return Ok(Compare { key, range_end, op: CompareOp::Greater, target });
        }
    };
    // As in etcd, an operand of another kind than the target counts as absent: zero.
    let target = match (Target::try_from(c.target), &c.target_union) {
        (Ok(Target::Version), Some(TargetUnion::Version(v))) => CompareTarget::Version(*v),
        (Ok(Target::Version), _) => CompareTarget::Version(0),
        (Ok(Target::Create), Some(TargetUnion::CreateRevision(v))) => CompareTarget::Create(*v),
        (Ok(Target::Create), _) => CompareTarget::Create(0),
        (Ok(Target::Mod), Some(TargetUnion::ModRevision(v))) => CompareTarget::Mod(*v),
        (Ok(Target::Mod), _) => CompareTarget::Mod(0),
        (Ok(Target::Value), Some(TargetUnion::Value(v))) => CompareTarget::Value(blob(v)),
        (Ok(Target::Value), _) => CompareTarget::Value(Blob::from(&b""[..])),
        (Ok(Target::Lease), Some(TargetUnion::Lease(v))) => CompareTarget::Lease(*v),
        (Ok(Target::Lease), _) => CompareTarget::Lease(0),
        // As in etcd, what an unknown target names is equal to whatever is given.
        (Err(_), _) => {
            let target = CompareTarget::Version(-1);
            let op = if op == CompareOp::Equal { CompareOp::Greater } else { CompareOp::Less };
            return Ok(Compare { key, range_end, op, target });
        }
    };
    Ok(Compare { key, range_end, op, target })
}

pub fn key_value(kv: &KeyValue) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: bytes(&kv.key),
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        value: bytes(&kv.value),
        lease: kv.lease,
    }
}

pub fn event(event: &Event, before: Option<&KeyValue>) -> mvccpb::Event {
    let kind = match event.kind {
        EventKind::Put => mvccpb::event::EventType::Put,
        EventKind::Delete => mvccpb::event::EventType::Delete,
    };
    mvccpb::Event {
        r#type: kind as i32,
        kv: Some(key_value(&event.kv)),
        prev_kv: before.map(key_value),
    }
}

pub fn range_response(r: &RangeResponse, header: Option<pb::ResponseHeader>) -> pb::RangeResponse {
    let kvs = r.kvs.iter().map(key_value).collect();
    pb::RangeResponse { header, kvs, more: r.more, count: r.count }
}

pub fn put_response(r: &mvcc::PutResponse, header: Option<pb::ResponseHeader>) -> pb::PutResponse {
    pb::PutResponse { header, prev_kv: r.prev_kv.as_ref().map(key_value) }
}

pub fn delete_response(
    r: &mvcc::DeleteResponse,
    header: Option<pb::ResponseHeader>,
) -> pb::DeleteRangeResponse {
    let prev_kvs = r.prev_kvs.iter().map(key_value).collect();
    pb::DeleteRangeResponse { header, deleted: r.deleted, prev_kvs }
}

pub fn txn_response(r: &mvcc::TxnResponse, header: Option<pb::ResponseHeader>) -> pb::TxnResponse {
    let responses = r.responses.iter().map(response_op).collect();
    pb::TxnResponse { header, succeeded: r.succeeded, responses }
}

fn response_op(op: &ResponseOp) -> pb::ResponseOp {
    use pb::response_op::Response;
    let response = match op {
        ResponseOp::Range(r) => {
            Response::ResponseRange(range_response(r, Some(inner_header(r.revision))))
        }
        ResponseOp::Put(r) => {
            Response::ResponsePut(put_response(r, Some(inner_header(r.revision))))
        }
        ResponseOp::Delete(r) => {
            Response::ResponseDeleteRange(delete_response(r, Some(inner_header(r.revision))))
        }
        ResponseOp::Txn(r) => {
            Response::ResponseTxn(txn_response(r, Some(inner_header(r.revision))))
        }
    };
    pb::ResponseOp { response: Some(response) }
}
