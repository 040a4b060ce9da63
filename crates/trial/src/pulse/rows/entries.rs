//! Rows 8 and 9: one entry that touches very many keys.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use api::etcdserverpb as pb;
use client::{Channel, Duplex, method};

use super::Work;
use super::reads::{MANY, seconds};
use crate::field::asked::{after, all};
use crate::pulse::fill::{self, Keys};
use crate::pulse::stage::{Stage, WORK_MAX};

const LEASED: &str = "leased/";
const LEASE: i64 = 77;
/// It is revoked long before.
const TTL_S: i64 = 36_000;

fn leased(stage: &Stage) -> Keys {
    let count = stage.plan.scaled(100_000);
    Keys { prefix: LEASED, count, value_bytes: 64, lease: LEASE }
}

/// 100,000 keys of one lease.
pub fn load_leased(stage: &Stage) -> Result<i64> {
    let request = pb::LeaseGrantRequest { ttl: TTL_S, id: LEASE };
    let _: pb::LeaseGrantResponse = stage.call(method::lease::GRANT, request)?;
    fill::keys(stage, leased(stage), 0)?;
    Ok(LEASE)
}

/// Revokes the lease and waits for the watch of its keys.
pub fn revoke(stage: &Stage, lease: i64) -> Result<Work> {
    let (endpoint, keys) = (stage.endpoint(), leased(stage).count);
    let work = async move {
        let channel = Channel::new(&endpoint);
        let mut stream: Duplex<pb::WatchResponse> =
            channel.stream(&channel.prepare(method::watch::WATCH)).await?;
        let (key, range_end) = (LEASED.into(), after(LEASED).into());
        let watch = pb::WatchCreateRequest { key, range_end, ..Default::default() };
        let create = pb::watch_request::RequestUnion::CreateRequest(watch);
        stream.send(&pb::WatchRequest { request_union: Some(create) })?;
        let created = stream.next().await?.context("the watch stream ended")?;
        ensure!(created.created, "the watch was not created");
        let sent = Instant::now();
        let answered = async {
            let request = pb::LeaseRevokeRequest { id: lease };
            let _: pb::LeaseRevokeResponse = channel.call(method::lease::REVOKE, &request).await?;
            Ok::<_, anyhow::Error>(sent.elapsed())
        };
        let heard = async {
            let mut heard = 0;
            while heard < keys {
                let answer = stream.next().await?.context("the watch stream ended")?;
                heard += answer.events.len() as u64;
            }
            ensure!(heard == keys, "{heard} events of {keys}");
            Ok::<_, anyhow::Error>(sent.elapsed())
        };
        tokio::try_join!(answered, heard)
    };
    let began = Instant::now();
    let (took, heard) = match done(stage.work(work)) {
        Ok(done) => done,
        Err(why) => return Ok(failed(keys, began, why)),
    };
    let note = format!(
        "{keys} keys revoked in {}, the watch had heard all after {}",
        seconds(took),
        seconds(heard)
    );
    Ok(Work { note, entry: Some((keys, took)), ..Work::default() })
}

/// Deletes everything.
pub fn delete(stage: &Stage) -> Result<Work> {
    let (endpoint, keys) = (stage.endpoint(), stage.plan.scaled(1_000_000));
    let work = async move {
        let channel = Channel::new(&endpoint);
        let range = all(MANY);
        let request = pb::DeleteRangeRequest {
            key: range.key,
            range_end: range.range_end,
            ..Default::default()
        };
        let sent = Instant::now();
        let answer: pb::DeleteRangeResponse =
            channel.call(method::kv::DELETE_RANGE, &request).await?;
        ensure!(u64::try_from(answer.deleted)? == keys, "{} of {keys} deleted", answer.deleted);
        Ok(sent.elapsed())
    };
    let began = Instant::now();
    let took = match done(stage.work(work)) {
        Ok(took) => took,
        Err(why) => return Ok(failed(keys, began, why)),
    };
    let note = format!("{keys} keys deleted in {}", seconds(took));
    Ok(Work { note, entry: Some((keys, took)), ..Work::default() })
}

fn done<T>(work: Result<Option<T>>) -> Result<T> {
    work?.with_context(|| format!("not done after {} s", WORK_MAX.as_secs()))
}

/// An entry whose request was not answered was still carried out, or is: what the others saw of
/// it counts.
fn failed(keys: u64, began: Instant, why: anyhow::Error) -> Work {
    let note = format!("failed: {why:#}");
    Work {
        wrong: Some(note.clone()),
        note,
        entry: Some((keys, began.elapsed())),
        ..Work::default()
    }
}
