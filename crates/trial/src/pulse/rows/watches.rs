//! Rows 3 and 5: many watchers that hear nothing, and a few that are far behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use api::etcdserverpb as pb;
use client::{Channel, Duplex, method};
use tokio::task::JoinSet;

use super::Work;
use super::reads::seconds;
use crate::field::asked::{after, put};
use crate::pulse::drain::{Drain, Pace};
use crate::pulse::figures::figures;
use crate::pulse::fill::{self, Keys, key};
use crate::pulse::probe::series;
use crate::pulse::stage::{Stage, WORK_MAX};

const PUT_EVERY: Duration = Duration::from_millis(2);
/// Watchers asked for and not confirmed. All at once they are so many small frames that an HTTP/2
/// library may end the connection, and the row would not be about watchers.
const CREATES_OPEN: u64 = 1_000;
const PAST: &str = "past/";
const PAST_KEYS: u64 = 10_000;
const READERS: usize = 8;
/// What a slow reader takes: less than a hundredth of what there is, in the time of a row.
const SLOW: Pace = Pace::Slow { bytes_per_s: 64 << 10 };

/// A message that creates a watch.
fn creates(watch: pb::WatchCreateRequest) -> pb::WatchRequest {
    let request_union = Some(pb::watch_request::RequestUnion::CreateRequest(watch));
    pb::WatchRequest { request_union }
}

/// 50,000 watchers of as many keys on one stream, then 500 puts a second to a key of nobody's.
pub fn many(stage: &Stage) -> Result<Work> {
    let (endpoint, least) = (stage.endpoint(), stage.plan.row);
    let watchers = stage.plan.scaled(50_000);
    let work = async move {
        let (began, channel) = (Instant::now(), Channel::new(&endpoint));
        let mut stream: Duplex<pb::WatchResponse> =
            channel.stream(&channel.prepare(method::watch::WATCH)).await?;
        let (mut sent, mut confirmed) = (0, 0);
        while confirmed < watchers {
            while sent < watchers.min(confirmed + CREATES_OPEN) {
                let key = key("watched/", sent).into();
                stream.send(&creates(pb::WatchCreateRequest { key, ..Default::default() }))?;
                sent += 1;
            }
            let answer = stream.next().await?.context("the watch stream ended")?;
            ensure!(answer.created && !answer.canceled, "a watcher was not created");
            confirmed += 1;
        }
        let created = began.elapsed();
        let puts = tokio::spawn(put_for(Channel::new(&endpoint), least));
        let heard = tokio::select! {
            puts = puts => return Ok((created, puts?)),
            heard = stream.next() => heard?,
        };
        bail!("watchers of other keys heard {heard:?}")
    };
    let Some((created, puts)) = stage.work(work)? else {
        let wrong = Some(format!("not done after {} s", WORK_MAX.as_secs()));
        return Ok(Work { note: "given up".to_owned(), wrong, ..Work::default() });
    };
    let note = format!(
        "{watchers} watchers created in {}; {} puts to another key, longest {} ms",
        seconds(created),
        puts.count,
        puts.longest.as_millis()
    );
    let wrong = (puts.failed > 0).then(|| format!("{} of its own puts failed", puts.failed));
    Ok(Work { note, wrong, ..Work::default() })
}

/// Puts at a fixed rate, whether they are answered or not, for so long.
async fn put_for(channel: Channel, span: Duration) -> crate::pulse::figures::Figures {
    let (channel, stop) = (Arc::new(channel), Arc::new(AtomicBool::new(false)));
    let ask = move || {
        let channel = Arc::clone(&channel);
        async move {
            let request = put("other", vec![b'o'; 64]);
            channel.call::<pb::PutResponse>(method::kv::PUT, &request).await.is_ok()
        }
    };
    let from = Instant::now();
    let puts = tokio::spawn(series(PUT_EVERY, Arc::clone(&stop), ask));
    tokio::time::sleep(span).await;
    stop.store(true, Ordering::Relaxed);
    let samples = puts.await.expect("a put does not panic");
    figures(&samples, from, Instant::now())
}

/// 400,000 puts, one revision each; the revision before the first.
pub fn load_past(stage: &Stage) -> Result<i64> {
    let (_, before) = stage.count(PAST)?;
    let keys = Keys { prefix: PAST, count: PAST_KEYS, value_bytes: 100, lease: 0 };
    fill::puts(stage, keys, stage.plan.scaled(400_000))?;
    Ok(before)
}

/// Sixteen watchers that want all of it with previous values; done when the eight fast ones are.
pub fn late(stage: &Stage, before: i64) -> Result<Work> {
    let (endpoint, events) = (stage.endpoint(), stage.plan.scaled(400_000));
    let watch = pb::WatchCreateRequest {
        key: PAST.into(),
        range_end: after(PAST).into(),
        start_revision: before + 1,
        prev_kv: true,
        ..Default::default()
    };
    let request = creates(watch);
    let caught_up = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&caught_up);
    let work = async move {
        let began = Instant::now();
        let slow = Arc::new(Drain::new(&endpoint, SLOW));
        let mut slow_ones = JoinSet::new();
        for _ in 0..READERS {
            let (slow, request) = (Arc::clone(&slow), request.clone());
            slow_ones.spawn(async move { slow.follow(method::watch::WATCH, &request).await });
        }
        let fast = Arc::new(Channel::new(&endpoint));
        let mut fast_ones = JoinSet::new();
        for _ in 0..READERS {
            let (fast, request) = (Arc::clone(&fast), request.clone());
            let counted = Arc::clone(&counted);
            fast_ones.spawn(async move {
                catch_up(&fast, &request, events).await?;
                counted.fetch_add(1, Ordering::Relaxed);
                Ok::<_, anyhow::Error>(())
            });
        }
        while let Some(ended) = fast_ones.join_next().await {
            ended??;
        }
        // One that has ended was cut off by the server: being slow is no reason.
        let cut = slow_ones.try_join_next().transpose()?;
        if let Some(ended) = cut {
            bail!("a slow watcher ended: {ended:?}");
        }
        Ok(began.elapsed())
    };
    let took = stage.work(work)?;
    let caught_up = caught_up.load(Ordering::Relaxed);
    let Some(took) = took else {
        let bound = WORK_MAX.as_secs();
        let wrong = Some(format!("{caught_up} of {READERS} fast watchers done after {bound} s"));
        return Ok(Work { note: format!("given up after {bound} s"), wrong, ..Work::default() });
    };
    let note = format!("{READERS} fast watchers heard {events} events each in {}", seconds(took));
    Ok(Work { note, ..Work::default() })
}

/// Reads every event; each but the first of its key has a previous value.
async fn catch_up(channel: &Channel, request: &pb::WatchRequest, events: u64) -> Result<()> {
    let mut stream: Duplex<pb::WatchResponse> =
        channel.stream(&channel.prepare(method::watch::WATCH)).await?;
    stream.send(request)?;
    let (mut heard, mut with_previous) = (0, 0);
    while heard < events {
        let answer = stream.next().await?.context("a fast watcher's stream ended")?;
        ensure!(!answer.canceled, "a fast watcher was cancelled: {}", answer.cancel_reason);
        heard += answer.events.len() as u64;
        with_previous += answer.events.iter().filter(|event| event.prev_kv.is_some()).count();
    }
    let wanted = events.saturating_sub(PAST_KEYS);
    ensure!(heard == events, "{heard} events of {events}");
    ensure!(with_previous as u64 == wanted, "{with_previous} previous values of {wanted}");
    Ok(())
}
