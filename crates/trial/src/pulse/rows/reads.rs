//! Rows 1, 2 and 4: large ranges, hashes, pages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use api::etcdserverpb as pb;
use client::{Channel, method};

use super::Work;
use crate::field::asked::{after, all};
use crate::pulse::drain::{Drain, Pace};
use crate::pulse::fill::{self, Keys};
use crate::pulse::stage::{Stage, WORK_MAX};
use crate::pulse::tally::{Tally, rounds};

pub const BIG: &str = "big/";
const BIG_VALUE_BYTES: usize = 1_024;
pub const MANY: &str = "many/";
const PAGED: &str = "page/";
const PAGE_KEYS: i64 = 500;

fn big(stage: &Stage) -> Keys {
    let count = stage.plan.scaled(200_000);
    Keys { prefix: BIG, count, value_bytes: BIG_VALUE_BYTES, lease: 0 }
}

/// 200,000 keys of 1 KiB.
pub fn load_big(stage: &Stage) -> Result<i64> {
    fill::keys(stage, big(stage), 0)?;
    Ok(0)
}

/// A million small keys.
pub fn load_many(stage: &Stage) -> Result<i64> {
    let count = stage.plan.scaled(1_000_000);
    fill::keys(stage, Keys { prefix: MANY, count, value_bytes: 64, lease: 0 }, 0)?;
    Ok(0)
}

/// 300,000 keys, all of them written again after the revision that will be read.
pub fn load_pages(stage: &Stage) -> Result<i64> {
    let count = stage.plan.scaled(300_000);
    let keys = Keys { prefix: PAGED, count, value_bytes: 128, lease: 0 };
    fill::keys(stage, keys, 0)?;
    let (_, old) = stage.count(PAGED)?;
    fill::keys(stage, keys, 1)?;
    Ok(old)
}

/// What stands for work that was given up.
fn summed(what: &str, tally: Option<Tally>) -> Work {
    let Some(tally) = tally else {
        let wrong = Some(format!("{what}: not done after {} s", WORK_MAX.as_secs()));
        return Work { note: format!("{what} were given up"), wrong, ..Work::default() };
    };
    Work { note: tally.text(what), wrong: tally.wrong(what), ..Work::default() }
}

/// Eight full ranges at once on one connection, read as fast as they come.
pub fn full(stage: &Stage, serializable: bool) -> Result<Work> {
    let least = stage.plan.row;
    let drain = Arc::new(Drain::new(&stage.endpoint(), Pace::Fast));
    let wanted = big(stage).count * BIG_VALUE_BYTES as u64;
    let work = async move {
        let ask = || {
            let drain = Arc::clone(&drain);
            async move {
                let request = pb::RangeRequest { serializable, ..all(BIG) };
                let bytes = drain.call(method::kv::RANGE, &request).await?;
                ensure!(bytes > wanted, "{bytes} bytes cannot be all of them");
                Ok(bytes)
            }
        };
        rounds(least, ask).await
    };
    Ok(summed("ranges", stage.work(work)?))
}

/// Eight ranges at once that look at all values to find the least.
pub fn sorted(stage: &Stage) -> Result<Work> {
    let least = stage.plan.row;
    let channel = Arc::new(Channel::new(&stage.endpoint()));
    let wanted = i64::try_from(big(stage).count)?;
    let work = async move {
        let ask = || {
            let channel = Arc::clone(&channel);
            let request = pb::RangeRequest {
                limit: 1,
                sort_order: pb::range_request::SortOrder::Ascend as i32,
                sort_target: pb::range_request::SortTarget::Value as i32,
                ..all(BIG)
            };
            async move {
                let answer: pb::RangeResponse = channel.call(method::kv::RANGE, &request).await?;
                let (keys, count) = (answer.kvs.len(), answer.count);
                ensure!(keys == 1 && count == wanted, "{keys} keys of {count}");
                Ok(0)
            }
        };
        rounds(least, ask).await
    };
    Ok(summed("sorted ranges", stage.work(work)?))
}

/// Eight hashes of all keys at once.
pub fn hashes(stage: &Stage) -> Result<Work> {
    let least = stage.plan.row;
    let channel = Arc::new(Channel::new(&stage.endpoint()));
    let work = async move {
        let ask = || {
            let channel = Arc::clone(&channel);
            async move {
                let request = pb::HashKvRequest { revision: 0 };
                let answer: pb::HashKvResponse =
                    channel.call(method::maintenance::HASH_KV, &request).await?;
                ensure!(answer.hash_revision > 0 && answer.hash != 0, "no hash");
                Ok(0)
            }
        };
        rounds(least, ask).await
    };
    Ok(summed("hashes", stage.work(work)?))
}

/// One reader that walks through all keys as they were, page by page, and again.
pub fn pages(stage: &Stage, old: i64) -> Result<Work> {
    let least = stage.plan.row;
    let channel = Channel::new(&stage.endpoint());
    let wanted = stage.plan.scaled(300_000);
    let work = async move {
        let (began, mut tally, mut passes) = (Instant::now(), Tally::default(), 0);
        while passes == 0 || began.elapsed() < least {
            let seen = pass(&channel, old, &mut tally).await?;
            ensure!(seen == wanted, "a pass saw {seen} keys of {wanted}");
            passes += 1;
        }
        Ok((tally, passes, began.elapsed()))
    };
    let done = stage.work(work)?;
    let Some((tally, passes, took)) = done else { return Ok(summed("pages", None)) };
    let each = took / u32::try_from(tally.asked.max(1))?;
    let note = format!("{}, {passes} passes, {each:.1?} a page", tally.text("pages"));
    Ok(Work { note, wrong: tally.wrong("pages"), ..Work::default() })
}

async fn pass(channel: &Channel, revision: i64, tally: &mut Tally) -> Result<u64> {
    let (mut from, mut seen) = (PAGED.as_bytes().to_vec(), 0);
    loop {
        let request = pb::RangeRequest {
            key: from.clone().into(),
            range_end: after(PAGED).into(),
            limit: PAGE_KEYS,
            revision,
            ..Default::default()
        };
        let sent = Instant::now();
        let answer: pb::RangeResponse = channel.call(method::kv::RANGE, &request).await?;
        tally.note(sent.elapsed(), Ok(0));
        seen += answer.kvs.len() as u64;
        let Some(last) = answer.kvs.last().filter(|_| answer.more) else { return Ok(seen) };
        from = last.key.to_vec();
        from.push(0);
    }
}

/// A whole second, for rows that say how long something went on.
pub fn seconds(span: Duration) -> String {
    format!("{:.2} s", span.as_secs_f64())
}
