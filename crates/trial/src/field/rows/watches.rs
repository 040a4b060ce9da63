//! Watches that live beside compactions.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use api::etcdserverpb as pb;
use client::{Channel, Failure, method};

use crate::field::asked::put;
use crate::field::stage::{READY_MAX, Seen, Stage, took};

const COMPACTIONS: usize = 400;
const WRITERS: usize = 4;
/// Between two compactions: a few puts.
const PAUSE: Duration = Duration::from_millis(4);

#[derive(Default)]
struct Heard {
    /// Watches that were created.
    created: AtomicU64,
    /// Ended as compacted.
    compacted: AtomicU64,
    /// Revisions that a live watch never delivered.
    missed: AtomicI64,
    /// The last one it delivered.
    last: AtomicI64,
    /// The newest acknowledged.
    newest: AtomicI64,
}

/// B20: a watcher that keeps up is never told that what it wants is compacted.
pub fn compaction_beside_watch(stage: &Stage, seen: &mut Seen) -> Result<()> {
    let members = stage.running(1, &[])?;
    let heard = Arc::new(Heard::default());
    let endpoint = members[0].endpoint();
    let watcher = stage.handle().spawn(listen(endpoint.clone(), Arc::clone(&heard)));
    took(READY_MAX, || heard.created.load(Ordering::SeqCst) > 0).context("no watch")?;
    let writers: Vec<_> = (0..WRITERS)
        .map(|n| stage.handle().spawn(write(n, endpoint.clone(), Arc::clone(&heard))))
        .collect();
    let client = stage.client(&members[0]);
    let mut done = 0;
    for n in 0..COMPACTIONS {
        let (next, deadline) = (Instant::now() + PAUSE, Instant::now() + READY_MAX);
        // The newest acknowledged, and up to three that may just be on their way.
        let at = heard.newest.load(Ordering::SeqCst) + i64::try_from(n % 4)?;
        match client.compact(at) {
            Ok(()) => done += 1,
            Err(Failure::Status(status)) if status.code == 11 => {}
            Err(why) => return Err(why).context("compact"),
        }
        while Instant::now() < next && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    writers.iter().for_each(tokio::task::JoinHandle::abort);
    let newest = client.put("watched/last", "v")?;
    let arrived = took(READY_MAX, || heard.last.load(Ordering::SeqCst) >= newest);
    watcher.abort();
    let compacted = heard.compacted.load(Ordering::SeqCst);
    let missed = heard.missed.load(Ordering::SeqCst);
    seen.did(format!("{done} compactions up to {newest}, {compacted} watches ended"));
    seen.must(done > COMPACTIONS / 4, format!("only {done} compactions were taken"));
    seen.must(compacted == 0, format!("{compacted} watches were ended as compacted"));
    seen.must(missed == 0, format!("{missed} revisions were never delivered"));
    seen.must(arrived.is_some(), "the last event was not delivered");
    Ok(())
}

async fn write(n: usize, endpoint: String, heard: Arc<Heard>) {
    let channel = Channel::new(&endpoint);
    let request = put(&format!("watched/{n}"), "v");
    loop {
        let answer = channel.call::<pb::PutResponse>(method::kv::PUT, &request).await;
        let revision = answer.ok().and_then(|answer| answer.header).map_or(0, |h| h.revision);
        heard.newest.fetch_max(revision, Ordering::SeqCst);
    }
}

/// Reads a watch at once, and opens another where it ends.
async fn listen(endpoint: String, heard: Arc<Heard>) {
    let channel = Channel::new(&endpoint);
    loop {
        if one_watch(&channel, &heard).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn one_watch(channel: &Channel, heard: &Heard) -> Result<(), Failure> {
    use pb::watch_request::RequestUnion::CreateRequest;
    let (key, range_end) = ("watched/".into(), "watched0".into());
    let create = pb::WatchCreateRequest { key, range_end, ..Default::default() };
    let mut stream =
        channel.stream::<pb::WatchResponse>(&channel.prepare(method::watch::WATCH)).await?;
    stream.send(&pb::WatchRequest { request_union: Some(CreateRequest(create)) })?;
    let mut last = 0;
    while let Some(answer) = stream.next().await? {
        if answer.created {
            last = answer.header.as_ref().map_or(0, |header| header.revision);
            heard.created.fetch_add(1, Ordering::SeqCst);
        }
        for kv in answer.events.iter().filter_map(|event| event.kv.as_ref()) {
            // Every revision is a put below the prefix.
            heard.missed.fetch_add(kv.mod_revision - last - 1, Ordering::SeqCst);
            last = kv.mod_revision;
            heard.last.fetch_max(last, Ordering::SeqCst);
        }
        if answer.canceled {
            heard.compacted.fetch_add(u64::from(answer.compact_revision > 0), Ordering::SeqCst);
            return Ok(());
        }
    }
    Ok(())
}
