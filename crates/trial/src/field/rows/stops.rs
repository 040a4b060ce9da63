//! Planned stops, starts together, and what a stopped process finds when it wakes.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::etcdserverpb as pb;
use client::{Channel, Failure, frame, method};
use rustix::process::Signal;

use super::hostile::leader;
use crate::field::asked::put;
use crate::field::member::Member;
use crate::field::stage::{Seen, Stage, took};

const CLIENTS: usize = 24;
const ROLLS: usize = 2;
const REQUEST_MAX: Duration = Duration::from_secs(5);
const FLOW_MIN: u64 = 500;
const FLOW_MAX: Duration = Duration::from_secs(15);

/// Clients with three endpoints each, and what failed of their requests.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    answered: AtomicU64,
    /// Sent elsewhere because the first member had not begun it.
    moved: AtomicU64,
    failed: Mutex<Vec<String>>,
}

/// B15: a rolling restart fails no request.
pub fn rolling_restart(stage: &Stage, seen: &mut Seen) -> Result<()> {
    let mut members = stage.running(3, &[])?;
    let endpoints: Vec<_> = members.iter().map(Member::endpoint).collect();
    let load = Arc::new(Load::default());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|n| stage.handle().spawn(work(n, endpoints.clone(), Arc::clone(&load))))
        .collect();
    for _ in 0..ROLLS {
        roll(stage, &mut members, &load, seen)?;
    }
    load.stop.store(true, Ordering::SeqCst);
    for client in clients {
        stage.wait(client)?;
    }
    seen.did(format!(
        "{} of {} requests failed, {} went elsewhere",
        failures(&load),
        load.answered.load(Ordering::SeqCst),
        load.moved.load(Ordering::SeqCst)
    ));
    Ok(())
}

/// A follower, the leader, and the other follower, whoever leads by then.
fn roll(stage: &Stage, members: &mut [Member], load: &Load, seen: &mut Seen) -> Result<()> {
    let first = leader(stage, members)?;
    let order = [("follower", (first + 1) % 3), ("leader", first), ("last", (first + 2) % 3)];
    for (what, at) in order {
        flow(load)?;
        let before = failures(load);
        members[at].terminate()?;
        flow(load)?;
        members[at].start_ready()?;
        flow(load)?;
        let failed = failures(load) - before;
        let why = load.failed.lock().expect("no holder panics").last().cloned();
        let why = why.unwrap_or_default();
        seen.must(failed == 0, format!("{failed} failed at the {what}: {why}"));
    }
    Ok(())
}

fn failures(load: &Load) -> usize {
    load.failed.lock().expect("no holder panics").len()
}

/// Waits until so many more were answered.
fn flow(load: &Load) -> Result<()> {
    let from = load.answered.load(Ordering::SeqCst);
    let flows = took(FLOW_MAX, || load.answered.load(Ordering::SeqCst) >= from + FLOW_MIN);
    flows.map(drop).context("requests do not flow")
}

/// Puts and reads, one at a time, at its own member first.
async fn work(n: usize, endpoints: Vec<String>, load: Arc<Load>) {
    let channels: Vec<_> = endpoints.iter().map(|endpoint| Channel::new(endpoint)).collect();
    let mut at = n % channels.len();
    let mut round = 0_usize;
    while !load.stop.load(Ordering::SeqCst) {
        round += 1;
        let mut tried = 0;
        loop {
            let failure = match ask(&channels[at], n, round).await {
                Ok(()) => {
                    load.answered.fetch_add(1, Ordering::SeqCst);
                    break;
                }
                Err(failure) => failure,
            };
            tried += 1;
            if !not_begun(&failure) || tried > 2 * channels.len() {
                load.failed.lock().expect("no holder panics").push(failure.to_string());
                break;
            }
            load.moved.fetch_add(1, Ordering::SeqCst);
            at = (at + 1) % channels.len();
        }
    }
}

/// What every gRPC library sends again by itself: the server says it did not begin.
fn not_begun(failure: &Failure) -> bool {
    match failure {
        Failure::Connect(_) => true,
        Failure::Broken(why) => {
            why.contains("received: not a result of an error")
                || why.contains("refused stream before processing")
        }
        _ => false,
    }
}

async fn ask(channel: &Channel, n: usize, round: usize) -> Result<(), Failure> {
    let key = format!("rolling/{n}");
    if n.is_multiple_of(2) == round.is_multiple_of(2) {
        let request = put(&key, format!("{round}"));
        let answer: Result<pb::PutResponse, _> =
            channel.call_within(REQUEST_MAX, method::kv::PUT, &request).await;
        answer.map(drop)
    } else {
        let request = pb::RangeRequest { key: key.into(), ..Default::default() };
        let answer: Result<pb::RangeResponse, _> =
            channel.call_within(REQUEST_MAX, method::kv::RANGE, &request).await;
        answer.map(drop)
    }
}

/// B17: members that start together serve soon.
pub fn start_together(stage: &Stage, seen: &mut Seen) -> Result<()> {
    const STARTS: usize = 3;
    /// Less than the election time-out, on a machine that does other things too.
    const MEDIAN_MAX: Duration = Duration::from_millis(2000);
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let mut members = stage.group(3)?;
        for member in &mut members {
            // Long, so that waiting for it cannot be mistaken for a slow machine.
            member.set("heartbeat-interval", "300");
            member.set("election-timeout", "3000");
        }
        let began = Instant::now();
        members.iter_mut().try_for_each(Member::start)?;
        members.iter_mut().try_for_each(Member::await_ready)?;
        stage.client(&members[0]).put("first", "v")?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let (median, most) = (times[STARTS / 2], times[STARTS - 1]);
    let (median_s, most_s) = (median.as_secs_f64(), most.as_secs_f64());
    seen.did(format!(
        "{STARTS} starts, election time-out 3 s: {median_s:.2} s, at most {most_s:.2} s"
    ));
    seen.must(median <= MEDIAN_MAX, format!("half of the starts take {median_s:.2} s or more"));
    Ok(())
}

/// B18: what was given up while the member was stopped is not done when it wakes.
pub fn wakes_up(stage: &Stage, seen: &mut Seen) -> Result<()> {
    const CALLS: usize = 88;
    const DONE_MAX: i64 = 8;
    const DEADLINE: Duration = Duration::from_millis(500);
    let members = stage.running(1, &[])?;
    let mut member = members.into_iter().next().context("one member")?;
    let client = stage.client(&member);
    client.put("awake", "v")?;
    let channels: Vec<_> = (0..8).map(|_| Arc::new(Channel::new(&member.endpoint()))).collect();
    for channel in &channels {
        stage.wait(channel.connect())?;
    }
    member.freeze()?;
    let calls: Vec<_> = (0..CALLS)
        .map(|n| {
            let channel = Arc::clone(&channels[n % channels.len()]);
            stage.handle().spawn(async move {
                let call = channel.prepare(method::kv::PUT).with("grpc-timeout", "500m");
                let message = frame::encode(&put(&format!("late/{n}"), "v"));
                // Dropped at its deadline, a call is reset, as every client does.
                tokio::time::timeout(DEADLINE, channel.raw(&call, message)).await.is_ok()
            })
        })
        .collect();
    for call in calls {
        ensure!(!stage.wait(call)?, "a stopped member answers");
    }
    // The resets must be on their way before it wakes.
    std::thread::sleep(Duration::from_millis(200));
    member.signal(Signal::CONT);
    member.await_ready()?;
    // Whatever it still carries out comes before this, or soon after.
    client.put("awake", "again")?;
    std::thread::sleep(Duration::from_millis(300));
    let done = client.count("late/")?;
    seen.did(format!("{done} of {CALLS} given up calls are carried out"));
    seen.must(done <= DONE_MAX, format!("{done} of {CALLS} are carried out"));
    Ok(())
}
