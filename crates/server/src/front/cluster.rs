//! The Cluster service: etcd's member calls, and Quorate's own for what etcd has no word for.

use super::engine::{Engine, Failure, MemberInfo};
use super::service::Front;
use super::{convert, refusal};
use crate::config::Url;
use crate::grpc::{Responder, Status};
use api::Message;
use api::error::{Code, EtcdError};
use api::etcdserverpb as pb;
use api::quoratepb;
use base::NodeId;
use base::limits::{MEMBER_TEXT_BYTES_MAX, URLS_MAX};
use cluster::{Change, ChangeError, Newcomer};

fn header(engine: &dyn Engine) -> Option<pb::ResponseHeader> {
    let mut header = convert::header(engine.header());
    header.revision = 0; // as etcd: cluster headers carry none
    Some(header)
}

fn member(m: MemberInfo) -> pb::Member {
    pb::Member {
        id: m.id,
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

pub(super) fn list(engine: &dyn Engine) -> pb::MemberListResponse {
    pb::MemberListResponse { header: header(engine), members: all(engine.members()) }
}

/// Sorted and checked; etcd refuses a list that is empty or unreadable in one text. Members
/// refuse to read a longer list from each other.
fn urls(texts: &[String]) -> Result<Vec<String>, EtcdError> {
    if texts.len() > URLS_MAX || texts.iter().any(|text| text.len() > MEMBER_TEXT_BYTES_MAX) {
        return Err(EtcdError::MemberBadUrls);
    }
    let parsed = texts.iter().map(|text| Url::parse(text)).collect::<Result<Vec<_>, _>>();
    let mut parsed = parsed.map_err(|_| EtcdError::MemberBadUrls)?;
    parsed.sort();
    if parsed.is_empty() || parsed.iter().any(Url::is_wildcard) {
        Err(EtcdError::MemberBadUrls)
    } else {
        Ok(parsed.iter().map(ToString::to_string).collect())
    }
}

fn newcomer(front: &Front, name: &str, texts: &[String]) -> Result<Newcomer, EtcdError> {
    let id = NodeId(front.engine.fresh_lease_id().cast_unsigned());
    Ok(Newcomer { id, name: name.to_string(), peer_urls: urls(texts)? })
}

fn change<M: Message + 'static>(
    front: &Front,
    change: Result<Change, EtcdError>,
    responder: Responder,
    reply: impl FnOnce(Option<pb::ResponseHeader>, Vec<pb::Member>) -> M + 'static,
) {
    let change = match change {
        Ok(change) => change,
        Err(error) => return responder.fail(&Status::from(error).outcome("not-applied")),
    };
    let engine = front.engine.clone();
    let done = move |result: Result<Vec<MemberInfo>, Failure>| match result {
        Ok(members) => responder.ok(&reply(header(&*engine), all(members))),
        Err(failure) => responder.fail(&refusal::status(failure)),
    };
    front.engine.change(change, Box::new(done));
}

pub(super) fn add(front: &Front, request: &pb::MemberAddRequest, responder: Responder) {
    let new = newcomer(front, "", &request.peer_ur_ls);
    let id = new.as_ref().map_or(0, |new| new.id.0);
    let learner = request.is_learner;
    let asked = new.map(|member| Change::Add { member, learner, quorum: None });
    change(front, asked, responder, move |header, members| pb::MemberAddResponse {
        header,
        // What was asked for; the list says what it is so far.
        member: members
            .iter()
            .find(|m| m.id == id)
            .map(|member| pb::Member { is_learner: learner, ..member.clone() }),
        members,
    });
}

pub(super) fn remove(front: &Front, request: &pb::MemberRemoveRequest, responder: Responder) {
    let asked = Ok(Change::Remove { id: NodeId(request.id), quorum: None });
    change(front, asked, responder, |header, members| pb::MemberRemoveResponse { header, members });
}

pub(super) fn update(front: &Front, request: &pb::MemberUpdateRequest, responder: Responder) {
    let id = NodeId(request.id);
    let asked = urls(&request.peer_ur_ls).map(|peer_urls| Change::Update { id, peer_urls });
    change(front, asked, responder, |header, members| pb::MemberUpdateResponse { header, members });
}

pub(super) fn promote(front: &Front, request: &pb::MemberPromoteRequest, responder: Responder) {
    let asked = Ok(Change::Promote { id: NodeId(request.id), quorum: None });
    change(front, asked, responder, |header, members| pb::MemberPromoteResponse {
        header,
        members,
    });
}

fn state(engine: &dyn Engine, id: u64) -> quoratepb::ChangeResponse {
    let (quorum, joint) = engine.quorum();
    let members = all(engine.members());
    quoratepb::ChangeResponse { id, quorum, joint: joint.unwrap_or_default(), members }
}

/// Quorate's own: names, quorum texts and replacements, refused with the whole reason.
pub(super) fn own_change(front: &Front, request: &quoratepb::ChangeRequest, responder: Responder) {
    let quorum = Some(request.quorum.clone()).filter(|text| !text.is_empty());
    if request.name.len() > MEMBER_TEXT_BYTES_MAX {
        let text = format!("a member's name has at most {MEMBER_TEXT_BYTES_MAX} bytes");
        let status = Status::new(Code::InvalidArgument, text);
        return responder.fail(&status.outcome("not-applied"));
    }
    let id = NodeId(request.id);
    let new = || newcomer(front, &request.name, &request.peer_urls);
    let asked = match request.kind {
        1 => new().map(|member| Change::Add { member, learner: request.learner, quorum }),
        2 => Ok(Change::Remove { id, quorum }),
        3 => Ok(Change::Promote { id, quorum }),
        4 => new().map(|member| Change::Replace { old: id, member, quorum }),
        5 => Ok(Change::Quorum { text: request.quorum.clone() }),
        _ => return responder.fail(&Status::new(Code::InvalidArgument, "unknown kind of change")),
    };
    let asked = match asked {
        Ok(asked) => asked,
        Err(error) => return responder.fail(&Status::from(error).outcome("not-applied")),
    };
    let id = match &asked {
        Change::Add { member, .. } | Change::Replace { member, .. } => member.id.0,
        _ => request.id,
    };
    let engine = front.engine.clone();
    let done = move |result: Result<Vec<MemberInfo>, Failure>| match result {
        Ok(_) => responder.ok(&state(&*engine, id)),
        Err(Failure::Change(
            error @ (ChangeError::NotEnoughStarted(_)
            | ChangeError::Pending(_)
            | ChangeError::Invalid(_)),
        )) => {
            let status = Status::new(Code::FailedPrecondition, error.to_string());
            responder.fail(&status.outcome("not-applied"));
        }
        Err(failure) => responder.fail(&refusal::status(failure)),
    };
    front.engine.change(asked, Box::new(done));
}

/// Members and quorum as this member knows them now: to follow a change.
pub(super) fn describe(front: &Front, _: &quoratepb::DescribeRequest, responder: Responder) {
    responder.ok(&state(&*front.engine, 0));
}
