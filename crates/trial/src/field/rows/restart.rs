//! Members that start again: where they stand, and what they show.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use api::etcdserverpb as pb;
use client::{Channel, Failure, method};
use rustix::process::Signal;

use crate::field::asked::{Client, all};
use crate::field::member::Member;
use crate::field::probe::Probe;
use crate::field::stage::{READY_MAX, Seen, Stage, took};

const ROUNDS: usize = 2;
const PUTS_MIN: usize = 300;
const LOAD_MAX: Duration = Duration::from_secs(10);
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// B19: a restarted member shows nothing older than it had shown.
pub fn shows_no_past(stage: &Stage, seen: &mut Seen) -> Result<()> {
    let mut members = stage.running(3, &[])?;
    for round in 0..2 * ROUNDS {
        // In turn all members and the asked one alone.
        let killed = if round % 2 == 0 { 0..3 } else { 0..1 };
        let endpoints: Vec<_> = members.iter().map(Member::endpoint).collect();
        let (probe, from) = (Probe::start(&endpoints)?, Instant::now());
        took(LOAD_MAX, || probe.count(from) >= PUTS_MIN).context("puts are slow")?;
        let said = shown(&stage.client(&members[0]))?;
        members[killed.clone()].iter_mut().for_each(|m| m.signal(Signal::KILL));
        members[killed.clone()].iter_mut().for_each(Member::kill);
        drop(probe);
        members[killed.clone()].iter_mut().try_for_each(Member::start)?;
        let watch = stage.handle().spawn(first_events(members[0].endpoint()));
        let began = Instant::now();
        let (first, healthy) = first_shown(stage, &mut members[0])?;
        let what = if killed.len() == 1 { "one" } else { "all" };
        seen.did(format!(
            "{what} killed at {said}: first {first} after {:.2} s",
            began.elapsed().as_secs_f64()
        ));
        seen.must(first >= said, format!("{what} killed: {said} shown before, {first} after"));
        seen.must(first >= said || !healthy, "/health?serializable=true said 200 meanwhile");
        members.iter_mut().try_for_each(Member::await_ready)?;
        stage.client(&members[0]).put("probe/last", "v")?;
        let (created, event) = stage.wait(watch)??;
        seen.must(created >= said, format!("a watch was created at {created} after {said}"));
        seen.must(event > created, format!("a watch created at {created} was fed {event}"));
    }
    Ok(())
}

/// The revision that a member's serializable reads are at.
fn shown(client: &Client) -> Result<i64, Failure> {
    let request = pb::RangeRequest { serializable: true, count_only: true, ..all("probe/") };
    let answer: pb::RangeResponse = client.call_within(ANSWER_MAX, method::kv::RANGE, &request)?;
    Ok(answer.header.map_or(0, |header| header.revision))
}

/// The revision of the first answer, and whether the member called itself healthy before it.
fn first_shown(stage: &Stage, member: &mut Member) -> Result<(i64, bool)> {
    let client = stage.client(member);
    let deadline = Instant::now() + READY_MAX;
    let mut healthy = false;
    while Instant::now() < deadline {
        if let Ok(first) = shown(&client) {
            return Ok((first, healthy));
        }
        let health = member.http("/health?serializable=true").unwrap_or_default();
        healthy |= health.starts_with("HTTP/1.1 200");
        if let Some(status) = member.ended()? {
            bail!("{} ended ({status}): {}", member.name, member.tail());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    bail!("{} answers no serializable read", member.name)
}

/// Opens a watch as soon as it can: the revision it was created at, and of its first event.
async fn first_events(endpoint: String) -> Result<(i64, i64)> {
    let deadline = Instant::now() + READY_MAX;
    while Instant::now() < deadline {
        let channel = Channel::new(&endpoint);
        let seen = tokio::time::timeout(READY_MAX, watched(&channel)).await;
        match seen.context("the watch heard nothing")? {
            Ok(seen) => return Ok(seen),
            // Not yet up, or it refuses while it is behind.
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
    bail!("no watch could be opened")
}

async fn watched(channel: &Channel) -> Result<(i64, i64), Failure> {
    use pb::watch_request::RequestUnion::CreateRequest;
    let (key, range_end) = ("probe/".into(), "probe0".into());
    let create = pb::WatchCreateRequest { key, range_end, ..Default::default() };
    let mut stream =
        channel.stream::<pb::WatchResponse>(&channel.prepare(method::watch::WATCH)).await?;
    stream.send(&pb::WatchRequest { request_union: Some(CreateRequest(create)) })?;
    let mut created = None;
    while let Some(answer) = stream.next().await? {
        let revision = answer.header.map_or(0, |header| header.revision);
        let at = *created.get_or_insert(revision);
        if let Some(kv) = answer.events.first().and_then(|event| event.kv.as_ref()) {
            return Ok((at, kv.mod_revision));
        }
        if answer.canceled {
            return Err(Failure::Broken(answer.cancel_reason));
        }
    }
    Err(Failure::Broken("the watch ended".to_owned()))
}
