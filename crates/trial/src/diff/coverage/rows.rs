//! The rows of the coverage table, and which of them a request touches.

use api::etcdserverpb as pb;
use pb::request_op::Request;
use pb::watch_request::RequestUnion;

use crate::diff::answer::Answer;
use crate::diff::step::{Body, Step};

/// A row and its least count in a full run.
pub struct Row {
    pub name: &'static str,
    pub full: u64,
}

const fn row(name: &'static str) -> Row {
    Row { name, full: 500 }
}

/// Rows that cost seconds or megabytes each.
const fn rare(name: &'static str, full: u64) -> Row {
    Row { name, full }
}

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    row("range"), row("range: one key"), row("range: [key, end)"), row("range: from key"),
    row("range: everything"), row("range: end at or below key"), row("range: limit"),
    row("range: negative limit"), row("range: more"), row("range: past revision"),
    row("range: negative revision"), row("range: serializable"), row("range: keys only"),
    row("range: count only"), row("range: order none"), row("range: order ascend"),
    row("range: order descend"), row("range: by key"), row("range: by version"),
    row("range: by create revision"), row("range: by mod revision"), row("range: by value"),
    row("range: min mod revision"), row("range: max mod revision"),
    row("range: min create revision"), row("range: max create revision"), row("range stream"),
    row("put"), row("put: prev kv"), row("put: ignore value"), row("put: ignore lease"),
    row("put: lease"),
    row("delete"), row("delete: range"), row("delete: prev kv"), row("delete: nothing there"),
    row("txn"), row("txn: succeeded"), row("txn: failed"), row("txn: no compare"),
    row("txn: no operation"), row("txn: read only"), row("txn: nested"),
    row("compare: version"), row("compare: create revision"), row("compare: mod revision"),
    row("compare: value"), row("compare: lease"), row("compare: equal"),
    row("compare: not equal"), row("compare: greater"), row("compare: less"),
    row("compare: range"), row("compare: unknown target or result"),
    row("compare: operand of another kind"),
    row("compact"), row("compact: physical"),
    row("lease grant"), row("lease grant: id drawn by the server"),
    row("lease grant: ttl under the minimum"), row("lease revoke"), row("lease keep-alive"),
    row("lease keep-alive: unknown"), row("lease time-to-live"),
    row("lease time-to-live: keys"), row("lease time-to-live: unknown"), row("lease list"),
    rare("lease expiry", 5),
    row("watch create"), row("watch create: from now"), row("watch create: past"),
    row("watch create: future"), row("watch create: one key"), row("watch create: range"),
    row("watch create: from key"), row("watch create: no puts"), row("watch create: no deletes"),
    row("watch create: prev kv"), row("watch create: fragment"),
    row("watch create: progress notify"), row("watch create: given id"),
    row("watch: canceled"), row("watch: cancel of an unknown id"), row("watch: progress request"),
    row("watch: fragmented answer"), row("watch: streams ended and compared"),
    row("watch: compacted"), row("watch refused: mvcc: watcher range is empty"),
    row("watch refused: mvcc: duplicate watch ID provided on the WatchStream"),
    row("watch refused: etcdserver: mvcc: required revision has been compacted"),
    row("hash kv"), row("hash kv: of a revision"), row("hash"), row("status"),
    row("status: with alarms"), row("alarm get"), row("alarm on: NOSPACE"),
    row("alarm on: CORRUPT"), row("alarm off"), row("defragment"), row("member list"),
    row("member list: linearizable"), row("move leader"),
    row("probe"), rare("probe: unwell or unknown", 100),
    row("9: etcdserver: bad leader transferee"),
    row("3: etcdserver: key is not provided"), row("3: etcdserver: key not found"),
    row("3: etcdserver: value is provided"), row("3: etcdserver: lease is provided"),
    row("3: etcdserver: too many operations in txn request"),
    row("3: etcdserver: duplicate key given in txn request"),
    row("3: etcdserver: invalid sort option"), row("3: etcdserver: request is too large"),
    row("5: etcdserver: requested lease not found"),
    row("8: etcdserver: mvcc: database space exceeded"),
    row("8: grpc: received message larger than max"),
    row("9: etcdserver: lease already exists"),
    row("11: etcdserver: mvcc: required revision has been compacted"),
    row("11: etcdserver: mvcc: required revision is a future revision"),
    row("11: etcdserver: too large lease TTL"),
    row("12: RangeStream does not support custom sort orders"),
    row("12: RangeStream does not support revision filters"),
    row("12: unknown method"), row("12: unknown service"),
    row("13: undecodable message"), row("malformed frame"),
    row("15: etcdserver: corrupt cluster"),
];

/// Tells `hit` every row that a step as sent, and the real etcd's answer to it, belong to.
pub fn note(sent: &Step, etcd: &Answer, hit: &mut impl FnMut(String)) {
    if let Some((code, text)) = &etcd.refused {
        hit(format!("{code}: {}", short(*code, text)));
    }
    let mut to = |name: &str| hit(name.to_owned());
    match sent {
        Step::Range(request) => {
            to("range");
            range(request, &mut to);
            if etcd.text.contains("more: true") {
                to("range: more");
            }
        }
        Step::RangeStream(_) => to("range stream"),
        Step::Put(request) => put(request, &mut to),
        Step::Delete(request) => {
            delete(request, &mut to);
            if etcd.text.contains("deleted: 0") {
                to("delete: nothing there");
            }
        }
        Step::Txn(request) => {
            to("txn");
            txn(request, &mut to);
            if etcd.refused.is_none() {
                to(if etcd.text.contains("succeeded: true") {
                    "txn: succeeded"
                } else {
                    "txn: failed"
                });
            }
        }
        Step::Compact(request) if request.physical => to("compact: physical"),
        Step::Compact(_) => to("compact"),
        Step::Watch { request, .. } => watch(request, etcd, &mut to),
        Step::WatchEnd => {
            to("watch: streams ended and compared");
            (0..etcd.fragments).for_each(|_| to("watch: fragmented answer"));
            let compacted = etcd.text.lines().filter(|line| {
                line.contains("canceled: true") && !line.contains("compact_revision: 0")
            });
            compacted.for_each(|_| to("watch: compacted"));
        }
        Step::Raw { body: Body::Wire(_), .. } => to("malformed frame"),
        Step::Raw { .. } => {}
        Step::Probe { .. } => {
            to("probe");
            if !etcd.text.starts_with("http 200") {
                to("probe: unwell or unknown");
            }
        }
        _ => service(sent, etcd, &mut to),
    }
}

/// Texts with numbers or names in them, or that only a library's version decides, in one row.
fn short(code: u16, text: &str) -> &str {
    match code {
        8 if text.starts_with("grpc: received message") => "grpc: received message larger than max",
        12 if text.starts_with("unknown method") => "unknown method",
        12 if text.starts_with("unknown service") => "unknown service",
        13 => "undecodable message",
        _ => text,
    }
}

fn range(r: &pb::RangeRequest, to: &mut impl FnMut(&str)) {
    let past = r.revision > 0;
    for (is, name) in [
        (r.range_end.is_empty(), "range: one key"),
        (&*r.key != b"\0" && &*r.range_end == b"\0", "range: from key"),
        (&*r.key == b"\0" && &*r.range_end == b"\0", "range: everything"),
        (r.range_end.len() > 1 && r.range_end <= r.key, "range: end at or below key"),
        (r.range_end > r.key, "range: [key, end)"),
        (r.limit > 0, "range: limit"),
        (r.limit < 0, "range: negative limit"),
        (past, "range: past revision"),
        (r.revision < 0, "range: negative revision"),
        (r.serializable, "range: serializable"),
        (r.keys_only, "range: keys only"),
        (r.count_only, "range: count only"),
        (r.min_mod_revision != 0, "range: min mod revision"),
        (r.max_mod_revision != 0, "range: max mod revision"),
        (r.min_create_revision != 0, "range: min create revision"),
        (r.max_create_revision != 0, "range: max create revision"),
    ] {
        if is {
            to(name);
        }
    }
    let orders = ["range: order none", "range: order ascend", "range: order descend"];
    let targets = [
        "range: by key",
        "range: by version",
        "range: by create revision",
        "range: by mod revision",
        "range: by value",
    ];
    for (names, number) in [(&orders[..], r.sort_order), (&targets[..], r.sort_target)] {
        if let Some(name) = usize::try_from(number).ok().and_then(|at| names.get(at)) {
            to(name);
        }
    }
}

fn put(r: &pb::PutRequest, to: &mut impl FnMut(&str)) {
    for (is, name) in [
        (true, "put"),
        (r.prev_kv, "put: prev kv"),
        (r.ignore_value, "put: ignore value"),
        (r.ignore_lease, "put: ignore lease"),
        (r.lease != 0, "put: lease"),
    ] {
        if is {
            to(name);
        }
    }
}

fn delete(r: &pb::DeleteRangeRequest, to: &mut impl FnMut(&str)) {
    to("delete");
    if !r.range_end.is_empty() {
        to("delete: range");
    }
    if r.prev_kv {
        to("delete: prev kv");
    }
}

fn txn(r: &pb::TxnRequest, to: &mut impl FnMut(&str)) {
    if r.compare.is_empty() {
        to("txn: no compare");
    }
    if r.success.is_empty() && r.failure.is_empty() {
        to("txn: no operation");
    }
    let mut writes = false;
    for op in r.success.iter().chain(&r.failure) {
        match &op.request {
            Some(Request::RequestRange(request)) => range(request, to),
            Some(Request::RequestPut(_) | Request::RequestDeleteRange(_)) => writes = true,
            Some(Request::RequestTxn(nested)) => {
                writes = true;
                to("txn: nested");
                txn(nested, to);
            }
            None => {}
        }
    }
    if !writes {
        to("txn: read only");
    }
    r.compare.iter().for_each(|c| compare(c, to));
}

fn compare(c: &pb::Compare, to: &mut impl FnMut(&str)) {
    use pb::compare::TargetUnion as Union;
    let targets = [
        "compare: version",
        "compare: create revision",
        "compare: mod revision",
        "compare: value",
        "compare: lease",
    ];
    let results = ["compare: equal", "compare: greater", "compare: less", "compare: not equal"];
    for (names, number) in [(&targets[..], c.target), (&results[..], c.result)] {
        let name = usize::try_from(number).ok().and_then(|at| names.get(at));
        to(name.copied().unwrap_or("compare: unknown target or result"));
    }
    let given = match &c.target_union {
        Some(Union::Version(_)) => 0,
        Some(Union::CreateRevision(_)) => 1,
        Some(Union::ModRevision(_)) => 2,
        Some(Union::Value(_)) => 3,
        Some(Union::Lease(_)) => 4,
        None => -1,
    };
    if given != c.target {
        to("compare: operand of another kind");
    }
    if !c.range_end.is_empty() {
        to("compare: range");
    }
}

fn watch(request: &pb::WatchRequest, etcd: &Answer, to: &mut impl FnMut(&str)) {
    match &request.request_union {
        Some(RequestUnion::CreateRequest(r)) => {
            let current = etcd.revision;
            for (is, name) in [
                (true, "watch create"),
                (r.start_revision == 0, "watch create: from now"),
                (r.start_revision > 0 && r.start_revision <= current, "watch create: past"),
                (r.start_revision > current, "watch create: future"),
                (r.range_end.is_empty(), "watch create: one key"),
                (&*r.range_end == b"\0", "watch create: from key"),
                (!r.range_end.is_empty() && &*r.range_end != b"\0", "watch create: range"),
                (r.filters.contains(&0), "watch create: no puts"),
                (r.filters.contains(&1), "watch create: no deletes"),
                (r.prev_kv, "watch create: prev kv"),
                (r.fragment, "watch create: fragment"),
                (r.progress_notify, "watch create: progress notify"),
                (r.watch_id != 0, "watch create: given id"),
            ] {
                if is {
                    to(name);
                }
            }
            if let Some((_, after)) = etcd.text.split_once("cancel_reason: \"")
                && let Some((reason, _)) = after.split_once('"')
                && !reason.is_empty()
            {
                to(&format!("watch refused: {reason}"));
            }
        }
        Some(RequestUnion::CancelRequest(_)) if etcd.text.starts_with("no such") => {
            to("watch: cancel of an unknown id");
        }
        Some(RequestUnion::CancelRequest(_)) => to("watch: canceled"),
        Some(RequestUnion::ProgressRequest(_)) => to("watch: progress request"),
        None => {}
    }
}

fn service(sent: &Step, etcd: &Answer, to: &mut impl FnMut(&str)) {
    match sent {
        Step::Grant(request) => {
            to("lease grant");
            if request.ttl < 2 {
                to("lease grant: ttl under the minimum");
            }
        }
        Step::GrantAny { .. } => to("lease grant: id drawn by the server"),
        Step::Revoke(_) => to("lease revoke"),
        Step::KeepAlive(_) => {
            for part in etcd.text.split("ttl: ").skip(1) {
                to("lease keep-alive");
                if part.starts_with("0 ") {
                    to("lease keep-alive: unknown");
                }
            }
        }
        Step::TimeToLive(request) => {
            to("lease time-to-live");
            if request.keys {
                to("lease time-to-live: keys");
            }
            if etcd.ttl == Some(-1) {
                to("lease time-to-live: unknown");
            }
        }
        Step::Leases => to("lease list"),
        Step::Expire { .. } => to("lease expiry"),
        Step::HashKv(request) if request.revision > 0 => to("hash kv: of a revision"),
        Step::HashKv(_) => to("hash kv"),
        Step::Hash => to("hash"),
        Step::Status => {
            to("status");
            if etcd.text.contains("alarm:") {
                to("status: with alarms");
            }
        }
        Step::Alarm(request) => match (request.action, request.alarm) {
            (0, _) => to("alarm get"),
            (1, 1) => to("alarm on: NOSPACE"),
            (1, 2) => to("alarm on: CORRUPT"),
            (2, _) => to("alarm off"),
            _ => {}
        },
        Step::Defragment => to("defragment"),
        Step::Members { linearizable: true } => to("member list: linearizable"),
        Step::Members { .. } => to("member list"),
        Step::MoveLeader { .. } => to("move leader"),
        _ => unreachable!("noted before"),
    }
}
