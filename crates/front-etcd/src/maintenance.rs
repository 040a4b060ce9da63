//! The Maintenance service, auth status, and the gRPC health check.

use super::front::{Front, caller, fail, now};
use super::reply::Short;
use super::{convert, refusal};
use api::error::Code;
use api::etcdserverpb as pb;
use api::health::{HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus};
use base::NodeId;
use door::{Found, Freshness, Query, Refusal};
use later::promise;
use mvcc::{AlarmAction, AlarmKind, Command, Response};
use net::{Answer, Body, Call, Status};

/// The etcd release whose API this server speaks; clients parse it as plain `X.Y.Z`.
pub const ETCD_VERSION: &str = "3.7.0";
const STORAGE_VERSION: &str = "3.7.0";

pub(super) const CORRUPT: &str = "CORRUPT";

pub(super) fn alarm_name(kind: AlarmKind) -> &'static str {
    if kind.is_full() { "NOSPACE" } else { CORRUPT }
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

pub(super) fn status(front: &Front, call: &Call, _: pb::StatusRequest) -> Answer {
    let door = &front.door;
    let (status, header) = (door.status(), door.header());
    let mut errors = Vec::new();
    if status.leader.is_none() {
        errors.push("etcdserver: no leader".to_string());
    }
    for (member, kind) in door.alarms() {
        errors.push(format!("memberID:{} alarm:{} ", member.0, alarm_name(kind)));
    }
    let answer = pb::StatusResponse {
        header: Some(convert::header(header)),
        version: ETCD_VERSION.into(),
        db_size: signed(status.size_bytes),
        leader: status.leader.map_or(0, |leader| leader.0),
        raft_index: status.commit,
        raft_term: header.term.0,
        raft_applied_index: status.applied,
        errors,
        db_size_in_use: signed(status.size_bytes),
        is_learner: status.learner,
        storage_version: STORAGE_VERSION.into(),
        db_size_quota: signed(status.quota_bytes),
        downgrade_info: Some(pb::DowngradeInfo::default()),
    };
    now(call, &answer)
}

pub(super) fn alarm(front: &Front, call: &Call, request: pb::AlarmRequest) -> Answer {
    let kind = match request.alarm {
        0 => AlarmKind::None,
        1 => AlarmKind::NoSpace,
        2 => AlarmKind::Corrupt,
        _ => return fail(Status::new(Code::InvalidArgument, "unknown alarm type")),
    };
    let action = match request.action {
        0 => AlarmAction::Get,
        1 => AlarmAction::Activate,
        2 => AlarmAction::Deactivate,
        _ => return fail(Status::new(Code::InvalidArgument, "unknown alarm action")),
    };
    let command = Ok(Command::Alarm { action, member: request.member_id, kind });
    front.write(call, command, |header, response| {
        let Response::Alarm { alarms } = response else { return None };
        let member = |(member_id, kind)| pb::AlarmMember { member_id, alarm: alarm_number(kind) };
        let alarms = alarms.into_iter().map(member).collect();
        Some(Short(pb::AlarmResponse { header: Some(header), alarms }))
    })
}

const fn alarm_number(kind: AlarmKind) -> i32 {
    match kind {
        AlarmKind::None | AlarmKind::LowMark => 0,
        AlarmKind::NoSpace | AlarmKind::LowDisk => 1,
        AlarmKind::Corrupt => 2,
    }
}

/// Space is reclaimed as it is freed: there is nothing to do, and nothing stops.
pub(super) fn defragment(_: &Front, call: &Call, _: pb::DefragmentRequest) -> Answer {
    now(call, &pb::DefragmentResponse { header: None })
}

pub(super) fn hash(front: &Front, call: &Call, _: pb::HashRequest) -> Answer {
    let query = (Query::Hash { revision: 0 }, Freshness::Local);
    front.read(call, query, |header, found| {
        let Found::Hash(hash) = found else { return None };
        Some(Short(pb::HashResponse { header: Some(header), hash: hash.hash }))
    })
}

pub(super) fn hash_kv(front: &Front, call: &Call, request: pb::HashKvRequest) -> Answer {
    let query = (Query::Hash { revision: request.revision }, Freshness::Local);
    front.read(call, query, |header, found| {
        let Found::Hash(hash) = found else { return None };
        Some(Short(pb::HashKvResponse {
            header: Some(header),
            hash: hash.hash,
            compact_revision: hash.compact_revision,
            hash_revision: hash.hash_revision,
        }))
    })
}

pub(super) fn move_leader(front: &Front, call: &Call, request: pb::MoveLeaderRequest) -> Answer {
    let form = call.form.clone();
    let (answer, later) = promise(call.asker(), move |result: Result<(), Refusal>| {
        result.map_err(|refusal| refusal::status(&refusal))?;
        form.encode(&pb::MoveLeaderResponse { header: None }).map(Body::Whole)
    });
    front.door.move_leader(caller(call), NodeId(request.target_id), answer);
    later
}

pub(super) fn auth_status(front: &Front, call: &Call, _: pb::AuthStatusRequest) -> Answer {
    let header = Some(convert::header(front.door.header()));
    now(call, &pb::AuthStatusResponse { header, enabled: false, auth_revision: 1 })
}

/// As etcd's, it says that calls are served, not that there is a quorum: clients leave a member
/// that does not serve, and without a quorum no other one would do better.
pub(super) fn health(front: &Front, call: &Call, request: HealthCheckRequest) -> Answer {
    if !request.service.is_empty() {
        return fail(Status::new(Code::NotFound, "unknown service"));
    }
    let serves = !front.door.status().is_out_of_service() && front.door.is_current();
    let status = if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
    now(call, &HealthCheckResponse { status: status as i32 })
}
