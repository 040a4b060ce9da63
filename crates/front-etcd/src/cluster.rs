//! The Cluster service: etcd's member calls, and Quorate's own for what etcd has no word for.

use super::front::{Front, caller, fail, now};
use super::{convert, refusal};
use api::Message;
use api::error::Code;
use api::etcdserverpb as pb;
use api::quoratepb;
use base::NodeId;
use base::limits::MEMBER_TEXT_BYTES_MAX;
use cluster::{Change, ChangeError, Newcomer};
use door::{Door, MemberInfo, Reason, Refusal};
use later::promise;
use net::{Answer, Body, Call, Outcome, Status};

fn header(door: &dyn Door) -> Option<pb::ResponseHeader> {
    let mut header = convert::header(door.header());
    header.revision = 0; // as etcd: cluster headers carry none
    Some(header)
}

fn member(m: MemberInfo) -> pb::Member {
    pb::Member {
        id: m.id.0,
        name: m.name,
        peer_ur_ls: m.peer_urls,
        client_ur_ls: m.client_urls,
        is_learner: m.learner,
    }
}

/// In etcd's order: by id.
fn all(mut members: Vec<MemberInfo>) -> Vec<pb::Member> {
    members.sort_by_key(|m| m.id);
    members.into_iter().map(member).collect()
}

pub(super) fn list(front: &Front, call: &Call, request: pb::MemberListRequest) -> Answer {
    let list = |door: &dyn Door| pb::MemberListResponse {
        header: header(door),
        members: all(door.members()),
    };
    if !request.linearizable {
        return now(call, &list(&*front.door));
    }
    let (door, form) = (front.door.clone(), call.form.clone());
    let (answer, later) = promise(call.asker(), move |result: Result<(), Refusal>| {
        result.map_err(|refusal| refusal::status(&refusal))?;
        form.encode(&list(&*door)).map(Body::Whole)
    });
    front.door.barrier(answer);
    later
}

fn newcomer(front: &Front, name: &str, peer_urls: Vec<String>) -> Newcomer {
    let id = NodeId(front.door.fresh_id().cast_unsigned());
    Newcomer { id, name: name.to_string(), peer_urls }
}

/// Asks for a change; `told` has the last word on a refusal.
fn change<M: Message + 'static>(
    (front, call): (&Front, &Call),
    change: Change,
    told: fn(&Refusal) -> Status,
    reply: impl FnOnce(&dyn Door, Vec<MemberInfo>) -> M + 'static,
) -> Answer {
    let (door, form) = (front.door.clone(), call.form.clone());
    let answered = move |result: Result<Vec<MemberInfo>, Refusal>| {
        let members = result.map_err(|refusal| told(&refusal))?;
        form.encode(&reply(&*door, members)).map(Body::Whole)
    };
    let (answer, later) = promise(call.asker(), answered);
    front.door.change(caller(call), change, answer);
    later
}

pub(super) fn add(front: &Front, call: &Call, request: pb::MemberAddRequest) -> Answer {
    let member = newcomer(front, "", request.peer_ur_ls);
    let (id, learner) = (member.id.0, request.is_learner);
    let asked = Change::Add { member, learner, quorum: None };
    change((front, call), asked, refusal::status, move |door, members| {
        let members = all(members);
        // What was asked for; the list says what it is so far.
        let added = members.iter().find(|m| m.id == id);
        let member = added.map(|member| pb::Member { is_learner: learner, ..member.clone() });
        pb::MemberAddResponse { header: header(door), member, members }
    })
}

pub(super) fn remove(front: &Front, call: &Call, request: pb::MemberRemoveRequest) -> Answer {
    let asked = Change::Remove { id: NodeId(request.id), quorum: None };
    change((front, call), asked, refusal::status, |door, members| pb::MemberRemoveResponse {
        header: header(door),
        members: all(members),
    })
}

pub(super) fn update(front: &Front, call: &Call, request: pb::MemberUpdateRequest) -> Answer {
    let asked = Change::Update { id: NodeId(request.id), peer_urls: request.peer_ur_ls };
    change((front, call), asked, refusal::status, |door, members| pb::MemberUpdateResponse {
        header: header(door),
        members: all(members),
    })
}

pub(super) fn promote(front: &Front, call: &Call, request: pb::MemberPromoteRequest) -> Answer {
    let asked = Change::Promote { id: NodeId(request.id), quorum: None };
    change((front, call), asked, refusal::status, |door, members| pb::MemberPromoteResponse {
        header: header(door),
        members: all(members),
    })
}

fn state(door: &dyn Door, id: u64) -> quoratepb::ChangeResponse {
    let (quorum, joint) = door.quorum();
    let members = all(door.members());
    quoratepb::ChangeResponse { id, quorum, joint: joint.unwrap_or_default(), members }
}

/// Quorate's own: names, quorum texts and replacements, refused with the whole reason.
pub(super) fn own_change(front: &Front, call: &Call, request: quoratepb::ChangeRequest) -> Answer {
    let quorum = Some(request.quorum.clone()).filter(|text| !text.is_empty());
    if request.name.len() > MEMBER_TEXT_BYTES_MAX {
        let text = format!("a member's name has at most {MEMBER_TEXT_BYTES_MAX} bytes");
        let status = Status::new(Code::InvalidArgument, text);
        return fail(status.outcome(Outcome::NotApplied));
    }
    let id = NodeId(request.id);
    let new = || newcomer(front, &request.name, request.peer_urls.clone());
    let asked = match request.kind {
        1 => Change::Add { member: new(), learner: request.learner, quorum },
        2 => Change::Remove { id, quorum },
        3 => Change::Promote { id, quorum },
        4 => Change::Replace { old: id, member: new(), quorum },
        5 => Change::Quorum { text: request.quorum.clone() },
        _ => return fail(Status::new(Code::InvalidArgument, "unknown kind of change")),
    };
    let id = match &asked {
        Change::Add { member, .. } | Change::Replace { member, .. } => member.id.0,
        _ => request.id,
    };
    change((front, call), asked, whole, move |door, _| state(door, id))
}

/// A refusal with the reason in words, where etcd's text says less.
fn whole(refusal: &Refusal) -> Status {
    match &refusal.reason {
        Reason::Change(
            error @ (ChangeError::NotEnoughStarted(_)
            | ChangeError::Pending(_)
            | ChangeError::Invalid(_)),
        ) => {
            let status = Status::new(Code::FailedPrecondition, error.to_string());
            status.outcome(Outcome::NotApplied)
        }
        _ => refusal::status(refusal),
    }
}

/// Members and quorum as this member knows them now: to follow a change.
pub(super) fn describe(front: &Front, call: &Call, _: quoratepb::DescribeRequest) -> Answer {
    now(call, &state(&*front.door, 0))
}
