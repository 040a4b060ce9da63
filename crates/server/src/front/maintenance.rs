//! The Maintenance and Cluster services, auth status, and the gRPC health check.

use super::engine::Failure;
use super::service::{Front, store_failure};
use super::{convert, refusal};
use crate::grpc::{Responder, Status};
use api::error::Code;
use api::etcdserverpb as pb;
use api::health::{HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus};
use mvcc::{AlarmAction, AlarmKind, Command, Response};

/// The etcd release whose API this server speaks; clients parse it as plain `X.Y.Z`.
pub const ETCD_VERSION: &str = "3.7.0";
const STORAGE_VERSION: &str = "3.7.0";

pub(super) const CORRUPT: &str = "CORRUPT";

pub(super) fn alarm_name(kind: i32) -> &'static str {
    if kind == 1 { "NOSPACE" } else { CORRUPT }
}

pub(super) fn status(front: &Front, _: &pb::StatusRequest, responder: Responder) {
    let engine = &front.engine;
    let (status, header) = (engine.status(), engine.header());
    let mut errors = Vec::new();
    if status.leader == 0 {
        errors.push("etcdserver: no leader".to_string());
    }
    for (member, kind) in engine.alarms() {
        errors.push(format!("memberID:{member} alarm:{} ", alarm_name(kind)));
    }
    responder.ok(&pb::StatusResponse {
        header: Some(convert::header(header)),
        version: ETCD_VERSION.into(),
        db_size: status.db_size,
        leader: status.leader,
        raft_index: status.raft_index,
        raft_term: header.raft_term,
        raft_applied_index: status.raft_applied_index,
        errors,
        db_size_in_use: status.db_size_in_use,
        is_learner: status.learner,
        storage_version: STORAGE_VERSION.into(),
        db_size_quota: status.db_size_quota,
        downgrade_info: Some(pb::DowngradeInfo::default()),
    });
}

pub(super) fn alarm(front: &Front, request: &pb::AlarmRequest, responder: Responder) {
    let kind = match request.alarm {
        0 => AlarmKind::None,
        1 => AlarmKind::NoSpace,
        2 => AlarmKind::Corrupt,
        _ => return responder.fail(&Status::new(Code::InvalidArgument, "unknown alarm type")),
    };
    let action = match request.action {
        0 => AlarmAction::Get,
        1 => AlarmAction::Activate,
        2 => AlarmAction::Deactivate,
        _ => return responder.fail(&Status::new(Code::InvalidArgument, "unknown alarm action")),
    };
    let command = Ok(Command::Alarm { action, member: request.member_id, kind });
    front.submit(command, responder, |header, response| {
        let Response::Alarm { alarms } = response else { return None };
        let member = |(member_id, kind)| pb::AlarmMember { member_id, alarm: alarm_number(kind) };
        let alarms = alarms.into_iter().map(member).collect();
        Some(pb::AlarmResponse { header: Some(header), alarms })
    });
}

const fn alarm_number(kind: AlarmKind) -> i32 {
    match kind {
        AlarmKind::None => 0,
        AlarmKind::NoSpace => 1,
        AlarmKind::Corrupt => 2,
    }
}

/// Space is reclaimed as it is freed: there is nothing to do, and nothing stops.
pub(super) fn defragment(_: &pb::DefragmentRequest, responder: Responder) {
    responder.ok(&pb::DefragmentResponse { header: None });
}

pub(super) fn hash(front: &Front, _: &pb::HashRequest, responder: Responder) {
    let header = Some(convert::header(front.engine.header()));
    match front.engine.view().hash_kv(0) {
        Ok(hash) => responder.ok(&pb::HashResponse { header, hash: hash.hash }),
        Err(error) => responder.fail(&store_failure(error)),
    }
}

pub(super) fn hash_kv(front: &Front, request: &pb::HashKvRequest, responder: Responder) {
    let header = Some(convert::header(front.engine.header()));
    match front.engine.view().hash_kv(request.revision) {
        Ok(hash) => responder.ok(&pb::HashKvResponse {
            header,
            hash: hash.hash,
            compact_revision: hash.compact_revision,
            hash_revision: hash.hash_revision,
        }),
        Err(error) => responder.fail(&store_failure(error)),
    }
}

pub(super) fn move_leader(front: &Front, request: &pb::MoveLeaderRequest, responder: Responder) {
    let done = move |result: Result<(), Failure>| match result {
        Ok(()) => responder.ok(&pb::MoveLeaderResponse { header: None }),
        Err(failure) => responder.fail(&refusal::status(failure)),
    };
    front.engine.move_leader(request.target_id, Box::new(done));
}

pub(super) fn auth_status(front: &Front, _: &pb::AuthStatusRequest, responder: Responder) {
    let header = Some(convert::header(front.engine.header()));
    responder.ok(&pb::AuthStatusResponse { header, enabled: false, auth_revision: 1 });
}

/// As etcd's, it says that calls are served, not that there is a quorum: clients leave a member
/// that does not serve, and without a quorum no other one would do better.
pub(super) fn health(front: &Front, request: &HealthCheckRequest, responder: Responder) {
    if request.service.is_empty() {
        let state = front.engine.status();
        let serves = !state.is_out_of_service() && front.engine.is_current();
        let status = if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
        responder.ok(&HealthCheckResponse { status: status as i32 });
    } else {
        responder.fail(&Status::new(Code::NotFound, "unknown service"));
    }
}
