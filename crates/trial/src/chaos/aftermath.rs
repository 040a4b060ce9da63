//! After the heal: everybody catches up, and what everybody holds is compared.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use api::etcdserverpb as pb;
use client::{Channel, method};

use super::history::{Answer, Event, Input, Op};
use super::load::{self, KEYS};
use crate::cluster::Cluster;

/// How long the survivors may take to agree once nothing hurts them any more.
const SETTLE_MAX: Duration = Duration::from_secs(60);
const CALL_MAX: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(10);
/// What is said of a directory that was emptied or put back, by peers and by its own member.
pub const FORGOT: &str = "its data directory was";
/// How a log line begins that says why a member stands still for good.
pub const HALTED: &str = "halted: ";

/// Waits until all survivors serve writes and hold the same, and returns the history of all
/// events. The writes that find this out join `ops`.
///
/// # Errors
/// They do not catch up in time, or differ.
pub async fn settle(
    cluster: &mut Cluster,
    survivors: &[usize],
    ops: &mut Vec<Op>,
    now: impl Fn() -> u64,
) -> Result<Vec<Event>> {
    let deadline = Instant::now() + SETTLE_MAX;
    let mut last = 0;
    for &at in survivors {
        let channel = Channel::new(&cluster.endpoint(at));
        last = fence(&channel, at, ops, &now, deadline).await?;
    }
    let mut hashes = Vec::new();
    for &at in survivors {
        let channel = Channel::new(&cluster.endpoint(at));
        hashes.push(hash(&channel, last, deadline).await.with_context(|| format!("n{}", at + 1))?);
    }
    let same = hashes.windows(2).all(|pair| pair[0] == pair[1]);
    ensure!(same, "hash, compact revision, revision differ: {hashes:?} of {survivors:?} (from 0)");
    let mut log = Vec::new();
    for &at in survivors {
        let channel = Channel::new(&cluster.endpoint(at));
        let events = tokio::time::timeout(SETTLE_MAX, events(&channel, last)).await;
        let events = events.context("a watch that never ends").flatten();
        let events = events.with_context(|| format!("watch on n{}", at + 1))?;
        log = longer(log, events).with_context(|| format!("n{} has other events", at + 1))?;
    }
    Ok(log)
}

/// The longer of two histories, the shorter being its beginning. They need not end together: a
/// write of unknown outcome may be decided while the members are asked one after the other.
fn longer(one: Vec<Event>, other: Vec<Event>) -> Result<Vec<Event>> {
    if let Some((one, other)) = one.iter().zip(&other).find(|(one, other)| one != other) {
        bail!("{other:?} instead of {one:?}");
    }
    Ok(if one.len() < other.len() { other } else { one })
}

/// Puts through one member until it acknowledges; returns the revision.
async fn fence(
    channel: &Channel,
    member: usize,
    ops: &mut Vec<Op>,
    now: &impl Fn() -> u64,
    deadline: Instant,
) -> Result<i64> {
    for attempt in 0.. {
        let value = format!("fence-{member}-{attempt}");
        let input = Input::Put { key: member % KEYS, value: value.clone() };
        let invoked = now();
        let request = load::put(member % KEYS, &value);
        let result: Result<pb::PutResponse, _> =
            channel.call_within(CALL_MAX, method::kv::PUT, &request).await;
        let result = result.and_then(|answer| load::revision(answer.header));
        let answer = match &result {
            Ok(revision) => Answer::Wrote { revision: *revision },
            Err(failure) => load::conclude(failure),
        };
        let (client, life) = (u32::MAX, None);
        ops.push(Op { client, member, life, input, answer, invoked, returned: now() });
        match result {
            Ok(revision) => return Ok(revision),
            Err(why) if Instant::now() > deadline => {
                bail!("n{} takes no writes after the heal: {why}", member + 1);
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    unreachable!("attempts have no bound but the deadline")
}

/// The hash of a member at a revision, once it has got there.
async fn hash(channel: &Channel, revision: i64, deadline: Instant) -> Result<(u32, i64, i64)> {
    loop {
        let request = pb::HashKvRequest { revision };
        let answer: Result<pb::HashKvResponse, _> =
            channel.call_within(CALL_MAX, method::maintenance::HASH_KV, &request).await;
        match answer {
            Ok(answer) => return Ok((answer.hash, answer.compact_revision, answer.hash_revision)),
            Err(why) if Instant::now() > deadline => bail!("does not catch up: {why}"),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// All puts from the first revision to `last` at least, in the order a watch shows them.
async fn events(channel: &Channel, last: i64) -> Result<Vec<Event>> {
    let call = channel.prepare(method::watch::WATCH);
    let mut stream = channel.stream::<pb::WatchResponse>(&call).await?;
    let create = pb::WatchCreateRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        start_revision: 1,
        ..Default::default()
    };
    let request_union = Some(pb::watch_request::RequestUnion::CreateRequest(create));
    stream.send(&pb::WatchRequest { request_union })?;
    let mut events: Vec<Event> = Vec::new();
    while events.last().is_none_or(|event| event.revision < last) {
        let answer = stream.next().await?.context("the watch ended")?;
        ensure!(!answer.canceled, "the watch was cancelled: {}", answer.cancel_reason);
        for event in answer.events {
            let kv = event.kv.context("an event without a pair")?;
            events.push(Event {
                key: load::key_number(&kv.key).context("a key nobody wrote")?,
                value: String::from_utf8(kv.value.to_vec())?,
                revision: kv.mod_revision,
                create_revision: kv.create_revision,
                version: kv.version,
            });
        }
    }
    Ok(events)
}

/// A member whose directory was emptied, or put back to an older copy, forgot its votes: it must
/// not serve, and it or its peers must say why.
///
/// # Errors
/// It came back.
pub async fn stays_out(cluster: &Cluster, at: usize, peers: &[usize]) -> Result<()> {
    let name = at + 1;
    ensure!(!cluster.is_healthy(at), "n{name} lost its directory, came back and serves");
    let channel = Channel::new(&cluster.endpoint(at));
    let answer: Result<pb::RangeResponse, _> =
        channel.call_within(CALL_MAX, method::kv::RANGE, &load::range(0, false)).await;
    ensure!(answer.is_err(), "n{name} lost its directory and answers reads");
    let deadline = Instant::now() + SETTLE_MAX;
    while !is_refused(cluster, at, peers)? {
        ensure!(Instant::now() < deadline, "nobody refused n{name}, whose directory was lost");
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

fn is_refused(cluster: &Cluster, at: usize, peers: &[usize]) -> Result<bool> {
    for &who in peers.iter().chain([&at]) {
        if cluster.says(who, FORGOT)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a member came back with an emptied directory, which it may if it was never counted
/// with the one it lost. It serves in the end, or is refused by name.
///
/// # Errors
/// Neither in time.
pub async fn came_back(cluster: &Cluster, at: usize, peers: &[usize]) -> Result<bool> {
    let deadline = Instant::now() + SETTLE_MAX;
    loop {
        if cluster.is_healthy(at) {
            return Ok(true);
        }
        if is_refused(cluster, at, peers)? {
            return Ok(false);
        }
        ensure!(Instant::now() < deadline, "n{} neither serves nor is refused", at + 1);
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(revisions: std::ops::RangeInclusive<i64>) -> Vec<Event> {
        let event = |revision| Event {
            key: 0,
            value: format!("v{revision}"),
            revision,
            create_revision: 2,
            version: revision - 1,
        };
        revisions.map(event).collect()
    }

    /// Round 281 of three hundred: three writes whose clients had given up were decided between
    /// the watch of the first member and that of the second.
    #[test]
    fn histories_may_end_at_different_events_but_not_differ() -> Result<()> {
        assert_eq!(longer(events(2..=858), events(2..=861))?, events(2..=861));
        assert_eq!(longer(events(2..=861), events(2..=858))?, events(2..=861));
        assert!(longer(events(2..=858), events(3..=861)).is_err());
        Ok(())
    }
}
