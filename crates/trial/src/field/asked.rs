//! Requests of a scenario, one at a time, each with a bound.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use api::Message;
use api::etcdserverpb as pb;
use client::{Channel, Failure, method};
use tokio::runtime::Handle;

/// Longer than any request may take.
pub const CALL_MAX: Duration = Duration::from_secs(10);

/// A connection to one member, used from the scenario's own thread.
#[derive(Clone)]
pub struct Client {
    pub channel: Arc<Channel>,
    handle: Handle,
}

impl Client {
    pub fn new(endpoint: &str, handle: Handle) -> Self {
        Self { channel: Arc::new(Channel::new(endpoint)), handle }
    }

    /// One call within [`CALL_MAX`].
    pub fn call<A: Message + Default>(
        &self,
        path: &str,
        request: &impl Message,
    ) -> Result<A, Failure> {
        self.call_within(CALL_MAX, path, request)
    }

    pub fn call_within<A: Message + Default>(
        &self,
        bound: Duration,
        path: &str,
        request: &impl Message,
    ) -> Result<A, Failure> {
        // The timer of `call_within` needs a runtime when it is made, not only when it is polled.
        self.handle.block_on(async { self.channel.call_within(bound, path, request).await })
    }

    /// The revision a put got.
    pub fn put(&self, key: &str, value: impl Into<Vec<u8>>) -> Result<i64, Failure> {
        let answer: pb::PutResponse = self.call(method::kv::PUT, &put(key, value))?;
        Ok(answer.header.map_or(0, |header| header.revision))
    }

    /// A key's value, read linearizably.
    pub fn get(&self, key: &str) -> Result<Option<String>, Failure> {
        let request = pb::RangeRequest { key: key.to_owned().into(), ..Default::default() };
        let answer: pb::RangeResponse = self.call(method::kv::RANGE, &request)?;
        let value = answer.kvs.first().map(|kv| String::from_utf8_lossy(&kv.value).into_owned());
        Ok(value)
    }

    /// How many keys begin with a prefix.
    pub fn count(&self, prefix: &str) -> Result<i64, Failure> {
        let request = pb::RangeRequest { count_only: true, ..all(prefix) };
        let answer: pb::RangeResponse = self.call(method::kv::RANGE, &request)?;
        Ok(answer.count)
    }

    pub fn compact(&self, revision: i64) -> Result<(), Failure> {
        let request = pb::CompactionRequest { revision, physical: false };
        self.call::<pb::CompactionResponse>(method::kv::COMPACT, &request).map(drop)
    }

    pub fn status(&self) -> Result<pb::StatusResponse, Failure> {
        self.call(method::maintenance::STATUS, &pb::StatusRequest::default())
    }

    /// The member list, as this member knows it.
    pub fn members(&self) -> Result<Vec<pb::Member>, Failure> {
        let request = pb::MemberListRequest { linearizable: false };
        let answer: pb::MemberListResponse = self.call(method::cluster::MEMBER_LIST, &request)?;
        Ok(answer.members)
    }

    /// A member's id by its name.
    pub fn id_of(&self, name: &str) -> Result<u64> {
        let members = self.members()?;
        let found = members.iter().find(|member| member.name == name);
        found.map(|member| member.id).with_context(|| format!("{name} is not listed"))
    }

    /// Whether this member says that it leads.
    pub fn leads(&self) -> Result<bool, Failure> {
        let status = self.status()?;
        Ok(status.header.is_some_and(|header| header.member_id == status.leader))
    }
}

/// A put of one key.
pub fn put(key: &str, value: impl Into<Vec<u8>>) -> pb::PutRequest {
    let (key, value) = (key.to_owned().into(), value.into().into());
    pb::PutRequest { key, value, ..Default::default() }
}

/// Everything that begins with a prefix.
pub fn all(prefix: &str) -> pb::RangeRequest {
    let (key, range_end) = (prefix.to_owned().into(), after(prefix).into());
    pb::RangeRequest { key, range_end, ..Default::default() }
}

/// The end of a prefix's range.
pub fn after(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    *end.last_mut().expect("a prefix has bytes") += 1;
    end
}
