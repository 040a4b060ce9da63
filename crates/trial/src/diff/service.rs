//! The Lease, Cluster and Maintenance services of one server.

use std::time::{Duration, Instant};

use api::error::Code;
use api::etcdserverpb as pb;
use client::{Failure, method};

use super::answer::{Answer, blank};
use super::side::{CALL_MAX, Side};
use super::step::Step;

/// A lease of two seconds is gone by then, whatever else the machine does.
const EXPIRY_MAX: Duration = Duration::from_secs(30);
const EXPIRY_POLL: Duration = Duration::from_millis(100);

impl Side {
    pub(super) async fn lease(&self, step: &Step) -> Answer {
        match step {
            Step::Grant(request) => {
                self.unary(method::lease::GRANT, request, |a: &mut pb::LeaseGrantResponse| {
                    blank(&mut a.header);
                    a.header
                })
                .await
            }
            Step::GrantAny { ttl } => self.grant_any(*ttl).await,
            Step::Revoke(request) => {
                self.unary(method::lease::REVOKE, request, |a: &mut pb::LeaseRevokeResponse| {
                    blank(&mut a.header);
                    a.header
                })
                .await
            }
            Step::KeepAlive(ids) => {
                let work = tokio::time::timeout(CALL_MAX, self.keep_alive(ids));
                let result = work.await.unwrap_or(Err(Failure::Timeout));
                result.unwrap_or_else(|failure| Answer::failed(&failure))
            }
            Step::TimeToLive(request) => {
                let mut left = None;
                let path = method::lease::TIME_TO_LIVE;
                let mut answer = self
                    .unary(path, request, |a: &mut pb::LeaseTimeToLiveResponse| {
                        blank(&mut a.header);
                        left = Some(std::mem::take(&mut a.ttl));
                        // etcd's order is that of a Go map: none.
                        a.keys.sort();
                        a.header
                    })
                    .await;
                answer.ttl = left;
                answer
            }
            Step::Expire { id, key } => {
                let result = self.expire(*id, key.clone()).await;
                result.unwrap_or_else(|failure| Answer::failed(&failure))
            }
            _ => {
                let request = pb::LeaseLeasesRequest {};
                self.unary(method::lease::LEASES, &request, |a: &mut pb::LeaseLeasesResponse| {
                    blank(&mut a.header);
                    // etcd lists by time of expiry; which of two leases that is depends on clocks.
                    a.leases.sort_by_key(|lease| lease.id);
                    a.header
                })
                .await
            }
        }
    }

    async fn grant_any(&self, ttl: i64) -> Answer {
        let (mut id, request) = (0, pb::LeaseGrantRequest { ttl, id: 0 });
        let path = method::lease::GRANT;
        let mut answer = self
            .unary(path, &request, |a: &mut pb::LeaseGrantResponse| {
                blank(&mut a.header);
                id = a.id;
                a.id = i64::from(a.id > 0);
                a.header
            })
            .await;
        if answer.refused.is_none() {
            let revoke = Step::Revoke(pb::LeaseRevokeRequest { id });
            let revoked = Box::pin(self.lease(&revoke)).await;
            answer.text.push_str(&revoked.text);
        }
        answer
    }

    /// One at a time on one stream, so that the order of answers is that of requests.
    async fn keep_alive(&self, ids: &[i64]) -> Result<Answer, Failure> {
        let call = self.channel.prepare(method::lease::KEEP_ALIVE);
        let mut stream = self.channel.stream::<pb::LeaseKeepAliveResponse>(&call).await?;
        let mut whole = Answer::default();
        for &id in ids {
            stream.send(&pb::LeaseKeepAliveRequest { id })?;
            let Some(mut answer) = stream.next().await? else {
                return Err(Failure::Broken("the stream ended early".into()));
            };
            blank(&mut answer.header);
            whole.text.push_str(&format!("{answer:?} "));
        }
        stream.finish()?;
        if stream.next().await?.is_some() {
            whole.text.push_str("and one nobody asked for");
        }
        Ok(whole)
    }

    async fn expire(&self, id: i64, key: bytes::Bytes) -> Result<Answer, Failure> {
        let grant = Step::Grant(pb::LeaseGrantRequest { ttl: 1, id });
        let put = pb::PutRequest { key: key.clone(), lease: id, ..pb::PutRequest::default() };
        // The lease is no older than the request for it; answers may come late.
        let (granted, grant) = loop {
            let asked = Instant::now();
            let grant = Box::pin(self.lease(&grant)).await;
            let put: Result<pb::PutResponse, _> =
                self.channel.call_within(CALL_MAX, method::kv::PUT, &put).await;
            match put {
                Ok(_) => break (asked, grant),
                // A busy machine: it ended before a key was attached, and left no revision.
                Err(Failure::Status(status))
                    if grant.refused.is_none()
                        && status.code == Code::NotFound as u16
                        && asked.elapsed() >= Duration::from_secs(1) => {}
                Err(failure) => return Err(failure),
            }
        };
        let get = pb::RangeRequest { key, ..pb::RangeRequest::default() };
        let gone: pb::RangeResponse = loop {
            let answer: pb::RangeResponse =
                self.channel.call_within(CALL_MAX, method::kv::RANGE, &get).await?;
            if answer.count == 0 {
                break answer;
            }
            if granted.elapsed() > EXPIRY_MAX {
                return Err(Failure::Timeout);
            }
            tokio::time::sleep(EXPIRY_POLL).await;
        };
        let early = granted.elapsed() < Duration::from_secs(1);
        let left = pb::LeaseTimeToLiveRequest { id, keys: true };
        let left = Box::pin(self.lease(&Step::TimeToLive(left))).await;
        let revision = gone.header.map_or(0, |header| header.revision);
        let text = format!("{} early: {early} {} {:?}", grant.text, left.text, left.ttl);
        Ok(Answer { text: format!("{text} at {revision}"), revision, ..Answer::default() })
    }

    pub(super) async fn maintenance(&self, step: &Step) -> Answer {
        use method::maintenance as paths;
        match step {
            Step::HashKv(request) => {
                self.unary(paths::HASH_KV, request, |a: &mut pb::HashKvResponse| {
                    blank(&mut a.header);
                    a.header
                })
                .await
            }
            Step::Hash => {
                let request = pb::HashRequest {};
                self.unary(paths::HASH, &request, |a: &mut pb::HashResponse| {
                    blank(&mut a.header);
                    // A hash of the backend's file: nobody else has that file.
                    a.hash = 0;
                    a.header
                })
                .await
            }
            Step::Status => {
                self.unary(paths::STATUS, &pb::StatusRequest {}, |a: &mut pb::StatusResponse| {
                    settle_status(a);
                    a.header
                })
                .await
            }
            Step::Alarm(request) => {
                self.unary(paths::ALARM, request, |a: &mut pb::AlarmResponse| {
                    blank(&mut a.header);
                    a.alarms.sort_by_key(|alarm| (alarm.member_id, alarm.alarm));
                    a.header
                })
                .await
            }
            Step::Defragment => {
                let request = pb::DefragmentRequest {};
                self.unary(paths::DEFRAGMENT, &request, |a: &mut pb::DefragmentResponse| a.header)
                    .await
            }
            Step::MoveLeader { target } => {
                let request = pb::MoveLeaderRequest { target_id: *target };
                self.unary(paths::MOVE_LEADER, &request, |a: &mut pb::MoveLeaderResponse| a.header)
                    .await
            }
            Step::Members { linearizable } => {
                let request = pb::MemberListRequest { linearizable: *linearizable };
                let path = method::cluster::MEMBER_LIST;
                self.unary(path, &request, |a: &mut pb::MemberListResponse| {
                    settle_members(a);
                    a.header
                })
                .await
            }
            _ => unreachable!("the dispatcher knows the service"),
        }
    }
}

fn settle_status(a: &mut pb::StatusResponse) {
    blank(&mut a.header);
    for number in [&mut a.leader, &mut a.raft_index, &mut a.raft_term, &mut a.raft_applied_index] {
        *number = u64::from(*number != 0);
    }
    // Sizes are those of different storage engines; the quota is compared.
    (a.db_size, a.db_size_in_use) = (0, 0);
    a.version.clear();
    // Go's text form of a message has one or two spaces, so that nobody relies on it.
    for error in &mut a.errors {
        *error = error.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    a.errors.sort();
}

fn settle_members(a: &mut pb::MemberListResponse) {
    blank(&mut a.header);
    for member in &mut a.members {
        member.id = u64::from(member.id != 0);
        for url in member.peer_ur_ls.iter_mut().chain(&mut member.client_ur_ls) {
            *url = url.rsplit_once(':').map_or_else(String::new, |(host, _)| host.to_owned());
        }
    }
    // etcd orders by id.
    a.members.sort_by(|a, b| a.name.cmp(&b.name));
}
