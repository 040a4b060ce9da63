//! Answers made comparable: identities reduced to whether they are there, orders that etcd does
//! not promise settled, time left kept apart.

use std::fmt::Debug;
use std::time::Duration;

use api::etcdserverpb as pb;
use api::mvccpb::KeyValue;
use bytes::Bytes;
use client::Failure;
use pb::range_request::SortTarget;
use pb::request_op::Request;
use pb::response_op::Response;

/// Go's `sort.Sort` is an insertion sort up to here, and so keeps the order of equal elements.
const STABLE_SORT_MAX: i64 = 12;
/// Seconds that the times left of two leases may differ by, where no request of this pair took
/// longer than `slowest`: both servers count down on their own clock, began at some instant within
/// one request and are read at some instant within another, and whole seconds are told.
pub fn ttl_tolerance(slowest: Duration) -> i64 {
    1 + i64::try_from((2 * slowest).as_secs()).expect("a request ends within years")
}

/// One server's answer to one step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Everything that must be equal.
    pub text: String,
    /// gRPC code and text of a refusal; `text` has them too.
    pub refused: Option<(u16, String)>,
    /// Seconds left of a lease.
    pub ttl: Option<i64>,
    /// The header's revision.
    pub revision: i64,
    /// Fragmented watch answers; how many depends on batching, so they are only counted.
    pub fragments: u64,
    /// How a process of the server ended by this step, and the last line it logged.
    pub ended: Option<String>,
}

impl Answer {
    pub fn ok(message: &impl Debug, header: Option<pb::ResponseHeader>) -> Self {
        let revision = header.map_or(0, |header| header.revision);
        Self { text: format!("{message:?}"), revision, ..Self::default() }
    }

    pub fn failed(failure: &Failure) -> Self {
        match failure {
            Failure::Status(status) => Self {
                text: format!("status {}: {}", status.code, status.text),
                refused: Some((status.code, status.text.clone())),
                ..Self::default()
            },
            other => Self { text: other.to_string(), ..Self::default() },
        }
    }

    /// Equal, within the tolerance for time left; see [`ttl_tolerance`].
    pub fn agrees(&self, other: &Self, slowest: Duration) -> bool {
        let near = match (self.ttl, other.ttl) {
            (Some(a), Some(b)) => (a - b).abs() <= ttl_tolerance(slowest),
            (a, b) => a == b,
        };
        near && self.text == other.text
    }
}

/// Ids and the term become 1 where they are set.
pub fn blank(header: &mut Option<pb::ResponseHeader>) {
    if let Some(header) = header {
        header.cluster_id = u64::from(header.cluster_id != 0);
        header.member_id = u64::from(header.member_id != 0);
        header.raft_term = u64::from(header.raft_term != 0);
    }
}

/// A range's answer; equal elements of an unstable sort get the order of their keys.
pub fn range(request: &pb::RangeRequest, answer: &mut pb::RangeResponse) {
    blank(&mut answer.header);
    let Ok(target) = SortTarget::try_from(request.sort_target) else { return };
    if target == SortTarget::Key || answer.count <= STABLE_SORT_MAX {
        return;
    }
    let cut = answer.more;
    if target == SortTarget::Value && request.keys_only {
        // The values that decided the order are not shown: only the set can be compared.
        answer.kvs.sort_by(|a, b| a.key.cmp(&b.key));
        if cut {
            answer.kvs.iter_mut().for_each(|kv| *kv = KeyValue::default());
        }
        return;
    }
    let rank = |kv: &KeyValue| match target {
        SortTarget::Version => kv.version,
        SortTarget::Create => kv.create_revision,
        SortTarget::Mod => kv.mod_revision,
        SortTarget::Key | SortTarget::Value => 0,
    };
    let tied = |a: &KeyValue, b: &KeyValue| {
        rank(a) == rank(b) && (target != SortTarget::Value || a.value == b.value)
    };
    let last = answer.kvs.last().cloned();
    for group in answer.kvs.chunk_by_mut(tied) {
        group.sort_by(|a, b| a.key.cmp(&b.key));
    }
    // The limit may have cut a group of equals: which of them came is then no contract either.
    let of_last = |kv: &&mut KeyValue| cut && last.as_ref().is_some_and(|last| tied(kv, last));
    for kv in answer.kvs.iter_mut().filter(of_last) {
        let value = std::mem::take(&mut kv.value);
        let value = if target == SortTarget::Value { value } else { Bytes::new() };
        *kv = KeyValue { value, mod_revision: rank(kv), ..KeyValue::default() };
    }
}

/// A transaction's answer with all that is nested in it.
pub fn txn(request: &pb::TxnRequest, answer: &mut pb::TxnResponse) {
    blank(&mut answer.header);
    let ops = if answer.succeeded { &request.success } else { &request.failure };
    for (op, response) in ops.iter().zip(&mut answer.responses) {
        match (&op.request, &mut response.response) {
            (Some(Request::RequestRange(r)), Some(Response::ResponseRange(a))) => range(r, a),
            (Some(Request::RequestTxn(r)), Some(Response::ResponseTxn(a))) => txn(r, a),
            (_, Some(Response::ResponsePut(a))) => blank(&mut a.header),
            (_, Some(Response::ResponseDeleteRange(a))) => blank(&mut a.header),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kv(key: &'static str, version: i64) -> KeyValue {
        KeyValue { key: key.into(), version, ..KeyValue::default() }
    }

    #[test]
    fn ties_of_an_unstable_sort_compare_equal_and_different_ranks_do_not() {
        let request = pb::RangeRequest {
            sort_target: SortTarget::Version as i32,
            limit: 2,
            ..pb::RangeRequest::default()
        };
        let answer = |kvs: Vec<KeyValue>, more| {
            let mut answer = pb::RangeResponse { count: 20, kvs, more, ..Default::default() };
            range(&request, &mut answer);
            answer
        };
        let ab = answer(vec![kv("a", 1), kv("b", 1)], false);
        assert_eq!(ab, answer(vec![kv("b", 1), kv("a", 1)], false));
        assert_ne!(ab, answer(vec![kv("a", 1), kv("c", 1)], false));
        let cut = answer(vec![kv("a", 1), kv("b", 2)], true);
        assert_eq!(cut, answer(vec![kv("a", 1), kv("z", 2)], true));
        assert_ne!(cut, answer(vec![kv("a", 1), kv("b", 3)], true));
        let other = KeyValue { value: "w".into(), ..kv("z", 2) };
        assert_eq!(cut, answer(vec![kv("a", 1), other], true), "the value ranks nothing here");
    }

    #[test]
    fn time_left_may_differ_by_a_second_and_by_more_only_after_a_slow_request() {
        let left = |ttl| Answer { ttl, ..Answer::default() };
        let quick = Duration::from_millis(499);
        assert!(left(Some(5)).agrees(&left(Some(4)), quick));
        assert!(!left(Some(5)).agrees(&left(Some(3)), quick));
        assert!(!left(Some(5)).agrees(&left(None), quick));
        assert!(left(Some(5)).agrees(&left(Some(3)), Duration::from_millis(500)));
        assert!(!left(Some(5)).agrees(&left(Some(2)), Duration::from_millis(999)));
    }

    #[test]
    fn identities_are_reduced_to_whether_they_are_there() {
        let mut header = Some(pb::ResponseHeader { cluster_id: 77, ..Default::default() });
        blank(&mut header);
        assert_eq!(header.unwrap().cluster_id, 1);
        assert_eq!(header.unwrap().member_id, 0);
    }
}
