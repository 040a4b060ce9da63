//! Clients that vanish, never read, or take back what they asked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::etcdserverpb as pb;
use client::{Channel, Duplex, Failure, method};

use crate::cluster::free_ports;
use crate::field::asked::{Client, all, put};
use crate::field::member::Member;
use crate::field::probe::Probe;
use crate::field::relay::Relay;
use crate::field::stage::{READY_MAX, Seen, Stage, seconds, took, until};
use crate::wire::{CALM, Wire};

/// Longest that others' puts may wait, whatever a client does.
const GAP_MAX: Duration = Duration::from_secs(1);
const FROZEN: usize = 100;
/// With pings every 2 s, and 1 s for their answer.
const GONE_MAX: Duration = Duration::from_secs(8);
const MIB: u64 = 1 << 20;

/// B5: clients that vanished are let go.
pub fn frozen_clients(stage: &Stage, seen: &mut Seen) -> Result<()> {
    let flags = [("grpc-keepalive-interval", "2s"), ("grpc-keepalive-timeout", "1s")];
    let members = stage.running(1, &flags)?;
    let member = &members[0];
    let client = stage.client(member);
    client.put("watched", "v")?;
    let idle = member.sockets()?;
    let relay = Relay::start(stage.handle(), free_ports(1)?[0], member.client)?;
    let mut watches = Vec::new();
    for _ in 0..FROZEN {
        let channel = Channel::new(&format!("127.0.0.1:{}", relay.port));
        let watch = stage.wait(async { watch(&channel, "watched").await })?;
        watches.push((channel, watch));
    }
    let open = member.sockets()?.saturating_sub(idle);
    ensure!(open >= FROZEN, "only {open} of {FROZEN} connections stand");
    relay.freeze();
    let frozen = Instant::now();
    for _ in 0..40 {
        client.put("watched", vec![b'x'; 64 << 10])?;
    }
    let gone = took(GONE_MAX, || member.sockets().is_ok_and(|now| now <= idle));
    let left = member.sockets()?.saturating_sub(idle);
    seen.did(format!("{left} of {open} open after {:.1} s", frozen.elapsed().as_secs_f64()));
    seen.must(gone.is_some(), format!("{left} of {open} frozen connections stay"));
    client.put("watched", "v")?;
    Ok(())
}

/// A watch that is created.
async fn watch(channel: &Channel, key: &str) -> Result<Duplex<pb::WatchResponse>, Failure> {
    let mut stream = channel.stream(&channel.prepare(method::watch::WATCH)).await?;
    stream.send(&create(key))?;
    stream.next().await?;
    Ok(stream)
}

fn create(key: &str) -> pb::WatchRequest {
    use pb::watch_request::RequestUnion::CreateRequest;
    let create = pb::WatchCreateRequest { key: key.to_owned().into(), ..Default::default() };
    pb::WatchRequest { request_union: Some(CreateRequest(create)) }
}

/// B7: a channel with more watches than anybody reads still carries calls.
pub fn many_watches(stage: &Stage, seen: &mut Seen) -> Result<()> {
    /// One more than any HTTP/2 library would count up to by itself.
    const STREAMS: usize = 65_537;
    /// etcd has no limit, and takes 25 kB for each.
    const ETCD_STREAMS: usize = 8_192;
    const OPEN_MAX: Duration = Duration::from_secs(60);
    const PUT_MAX: Duration = Duration::from_secs(15);
    let members = stage.running(1, &[])?;
    half_closed_hears(stage, &members[0], seen)?;
    let channel = Arc::new(Channel::new(&members[0].endpoint()));
    let count = if stage.is_etcd() { ETCD_STREAMS } else { STREAMS };
    let open = stage.handle().spawn(open_half_closed(Arc::clone(&channel), count));
    let opened = stage.wait(async { tokio::time::timeout(OPEN_MAX, open).await });
    let kept = match opened {
        Ok(kept) => kept??,
        Err(_) => {
            seen.must(false, format!("{count} watches hang the channel"));
            return Ok(());
        }
    };
    let request = put("watched", "v");
    let answer: Result<pb::PutResponse, _> =
        stage.wait(async { channel.call_within(PUT_MAX, method::kv::PUT, &request).await });
    seen.did(format!("{} watches on a channel", kept.len()));
    seen.must(answer.is_ok(), format!("a put beside them: {:?}", answer.err()));
    drop(kept);
    drop(channel);
    cancelled_at_once(stage, &members[0], seen)
}

async fn open_half_closed(
    channel: Arc<Channel>,
    count: usize,
) -> Result<Vec<Duplex<pb::WatchResponse>>, Failure> {
    let call = channel.prepare(method::watch::WATCH);
    let mut kept = Vec::with_capacity(count);
    for n in 0..count {
        let mut stream = channel.stream(&call).await?;
        stream.send(&create("watched"))?;
        stream.finish()?;
        kept.push(stream);
        if n % 256 == 0 {
            tokio::task::yield_now().await;
        }
    }
    Ok(kept)
}

/// A client that says all it has to say at once still hears.
fn half_closed_hears(stage: &Stage, member: &Member, seen: &mut Seen) -> Result<()> {
    let channel = Arc::new(Channel::new(&member.endpoint()));
    let heard = stage.wait(async {
        let mut kept = open_half_closed(Arc::clone(&channel), 1).await?;
        let stream = kept.first_mut().context("one watch")?;
        stream.next().await?;
        channel.call::<pb::PutResponse>(method::kv::PUT, &put("watched", "v")).await?;
        let event = tokio::time::timeout(READY_MAX, stream.next()).await;
        anyhow::Ok(event.is_ok_and(|event| {
            event.is_ok_and(|answer| answer.is_some_and(|answer| !answer.events.is_empty()))
        }))
    })?;
    seen.must(heard, "a half-closed watch hears no event");
    Ok(())
}

/// Watches taken back before they were created leave nothing behind, also while nobody writes.
fn cancelled_at_once(stage: &Stage, member: &Member, seen: &mut Seen) -> Result<()> {
    const FIRST: usize = 20_000;
    const CANCELLED: usize = 60_000;
    const GROWTH_BYTES_MAX: u64 = 2 * MIB;
    let request = create("watched");
    // The first ones fill what is kept for the next ones.
    reset_calls(member, method::watch::WATCH, &request, (FIRST, Duration::ZERO))?;
    stage.client(member).put("watched", "v")?;
    let before = member.resident_bytes()?;
    let resets = reset_calls(member, method::watch::WATCH, &request, (CANCELLED, Duration::ZERO))?;
    stage.client(member).count("watched")?;
    let grown = || Ok::<_, anyhow::Error>(member.resident_bytes()?.saturating_sub(before));
    took(Duration::from_secs(3), || grown().is_ok_and(|grown| grown <= GROWTH_BYTES_MAX));
    let grown = grown()?;
    seen.did(format!(
        "{} cancelled at once on {} connections: +{:.1} MiB",
        resets.sent,
        resets.connections,
        grown as f64 / MIB as f64
    ));
    seen.must(grown <= GROWTH_BYTES_MAX, format!("{grown} bytes stay"));
    Ok(())
}

/// What a storm of resets met.
struct Resets {
    sent: usize,
    connections: usize,
    /// GOAWAYs that asked for calm.
    calmed: usize,
}

/// Asks, and takes back after a pause, in which the server begins; connects again when it is
/// turned away, as an attacker does.
fn reset_calls(
    member: &Member,
    path: &str,
    request: &impl api::Message,
    (count, pause): (usize, Duration),
) -> Result<Resets> {
    const BURST: usize = 50;
    const TURNED_AWAY_MAX: Duration = Duration::from_secs(3);
    const CONNECTIONS_MAX: usize = 100;
    const SEND_MAX: Duration = Duration::from_secs(12);
    let mut resets = Resets { sent: 0, connections: 0, calmed: 0 };
    let deadline = Instant::now() + SEND_MAX;
    while resets.sent < count && resets.connections < CONNECTIONS_MAX && Instant::now() < deadline {
        let mut wire = Wire::connect(&member.endpoint(), true)?;
        resets.connections += 1;
        while resets.sent < count && Instant::now() < deadline {
            let (calls, taken_back): (Vec<_>, Vec<_>) =
                (0..BURST).map(|_| wire.call(path, request)).unzip();
            let mut sent = wire.send(&calls.concat());
            std::thread::sleep(pause);
            sent &= wire.send(&taken_back.concat());
            if !sent || wire.ended() || wire.goaway().is_some() {
                break;
            }
            resets.sent += BURST;
        }
        // What was sent last may be what turns it away.
        took(TURNED_AWAY_MAX, || wire.goaway().is_some() || wire.ended());
        resets.calmed += usize::from(wire.goaway() == Some(CALM));
    }
    Ok(resets)
}

/// B8: one that never reads costs a bounded memory, and nobody else's time.
pub fn never_reads(stage: &Stage, seen: &mut Seen) -> Result<()> {
    const VALUES: usize = 105;
    const RANGES: usize = 60;
    const GROWTH_BYTES_MAX: u64 = 256 * MIB;
    const CLOSED_MAX: Duration = Duration::from_secs(20);
    let mut member = stage.single()?;
    member.bound_memory(2 << 30);
    member.start_ready()?;
    let client = stage.client(&member);
    for n in 0..VALUES {
        client.put(&format!("big/{n}"), vec![b'x'; 100 << 10])?;
    }
    let probe = Probe::start(&[member.endpoint()])?;
    let (from, before) = (Instant::now(), member.peak_bytes()?);
    let idle = member.sockets()?;
    let mut wire = Wire::connect(&member.endpoint(), false)?;
    let ranges: Vec<u8> =
        (0..RANGES).flat_map(|_| wire.call(method::kv::RANGE, &all("big/")).0).collect();
    ensure!(wire.send(&ranges), "the ranges were not taken");
    // Puts go on meanwhile, and the connection ends, or its bytes stay few.
    let bound = if stage.is_etcd() { CLOSED_MAX / 4 } else { CLOSED_MAX };
    let closed = took(bound, || {
        from.elapsed() > Duration::from_secs(2) && member.sockets().is_ok_and(|now| now <= idle)
    });
    let gap = probe.gap(from);
    drop(probe);
    let grown = member.peak_bytes()?.saturating_sub(before);
    seen.did(format!(
        "{RANGES} ranges of 10.5 MB unread: +{} MiB, longest wait of a put {:.2} s, \
         closed after {}",
        grown / MIB,
        gap.as_secs_f64(),
        seconds(closed)
    ));
    seen.must(grown <= GROWTH_BYTES_MAX, format!("memory grew by {} MiB", grown / MIB));
    seen.must(gap <= GAP_MAX, format!("no put for {:.2} s", gap.as_secs_f64()));
    seen.must(closed.is_some(), "a connection that does not drain stays");
    Ok(())
}

/// B9: what nobody waits for is not done.
pub fn taken_back(stage: &Stage, seen: &mut Seen) -> Result<()> {
    const RANGES: usize = 200;
    const BEGUN: usize = 2_000;
    const RESETS: usize = 20_000;
    const PEAK_BYTES_MAX: u64 = 700 * MIB;
    let mut members = stage.group(3)?;
    for member in &mut members {
        member.bound_memory(2 << 30);
        member.start()?;
    }
    members.iter_mut().try_for_each(Member::await_ready)?;
    let at = leader(stage, &members)?;
    let client = stage.client(&members[at]);
    fill(&client, "all/", 20_000)?;
    fill(&client, "few/", 2_000)?;
    let endpoints: Vec<_> = members.iter().map(Member::endpoint).collect();
    let probe = Probe::start(&endpoints)?;

    let from = Instant::now();
    cut_short(&members[at], RANGES)?;
    settled(&probe)?;
    let cut = probe.gap(from);
    let from = Instant::now();
    // First so that each is begun, then as fast as they can be sent.
    let few = all("few/");
    let at = leader(stage, &members)?;
    let begun = (BEGUN, Duration::from_millis(4));
    reset_calls(&members[at], method::kv::RANGE, &few, begun)?;
    settled(&probe)?;
    let at = leader(stage, &members)?;
    let resets = storm(&members[at], &few, RESETS)?;
    settled(&probe)?;
    let reset = probe.gap(from);
    drop(probe);
    let peaks: Result<Vec<_>> = members.iter().map(Member::peak_bytes).collect();
    let peak = peaks?.into_iter().max().context("three members")?;
    seen.did(format!(
        "{RANGES} ranges cut at 50 ms: longest wait of a put {:.2} s; {BEGUN} and {} resets on {} \
         connections, {} asked for calm: {:.2} s; {} MiB at most",
        cut.as_secs_f64(),
        resets.sent,
        resets.connections,
        resets.calmed,
        reset.as_secs_f64(),
        peak / MIB
    ));
    seen.must(cut <= GAP_MAX, format!("ranges: no put for {:.2} s", cut.as_secs_f64()));
    seen.must(reset <= GAP_MAX, format!("resets: no put for {:.2} s", reset.as_secs_f64()));
    seen.must(peak <= PEAK_BYTES_MAX, format!("{} MiB of memory", peak / MIB));
    // etcd's library has no such limit; its part is to stay alive.
    let calm = stage.is_etcd() || resets.calmed > 0;
    seen.must(calm, "nobody asked for calm");
    Ok(())
}

/// Several clients that ask and take back as fast as they can.
fn storm(member: &Member, request: &pb::RangeRequest, each: usize) -> Result<Resets> {
    const ATTACKERS: usize = 4;
    let attack = || reset_calls(member, method::kv::RANGE, request, (each, Duration::ZERO));
    let met = std::thread::scope(|scope| {
        let attackers: Vec<_> = (0..ATTACKERS).map(|_| scope.spawn(attack)).collect();
        let join = |met: std::thread::ScopedJoinHandle<'_, Result<Resets>>| {
            met.join().expect("an attacker does not panic")
        };
        attackers.into_iter().map(join).collect::<Result<Vec<_>>>()
    })?;
    Ok(Resets {
        sent: met.iter().map(|met| met.sent).sum(),
        connections: met.iter().map(|met| met.connections).sum(),
        calmed: met.iter().map(|met| met.calmed).sum(),
    })
}

/// Puts flow again: the last half second knew no long wait.
fn settled(probe: &Probe) -> Result<()> {
    const QUIET: Duration = Duration::from_millis(500);
    let last = took(READY_MAX, || {
        probe.gap(Instant::now().checked_sub(QUIET).expect("after the machine's start")) < QUIET / 2
    });
    last.map(drop).context("puts do not flow again")
}

/// The member that leads.
pub fn leader(stage: &Stage, members: &[Member]) -> Result<usize> {
    until("somebody leads", READY_MAX, || {
        Ok((0..members.len()).find(|at| stage.client(&members[*at]).leads().unwrap_or(false)))
    })
}

/// Ranges of everything, each taken back after 50 ms.
fn cut_short(member: &Member, count: usize) -> Result<()> {
    const PATIENCE: Duration = Duration::from_millis(50);
    let mut wire = Wire::connect(&member.endpoint(), true)?;
    let (calls, taken_back): (Vec<_>, Vec<_>) =
        (0..count).map(|_| wire.call(method::kv::RANGE, &all("all/"))).unzip();
    ensure!(wire.send(&calls.concat()), "the ranges were not taken");
    std::thread::sleep(PATIENCE);
    // A server that hears no more is told what it wants to hear by the end of the connection.
    wire.send(&taken_back.concat());
    took(Duration::from_millis(500), || wire.ended());
    Ok(())
}

/// Keys of 1 KiB, a hundred in a transaction.
fn fill(client: &Client, prefix: &str, count: usize) -> Result<()> {
    const EACH: usize = 100;
    for first in (0..count).step_by(EACH) {
        let op = |n: usize| {
            let request = put(&format!("{prefix}{n:06}"), vec![b'x'; 1 << 10]);
            pb::RequestOp { request: Some(pb::request_op::Request::RequestPut(request)) }
        };
        let success = (first..first + EACH).map(op).collect();
        let request = pb::TxnRequest { success, ..Default::default() };
        client.call::<pb::TxnResponse>(method::kv::TXN, &request)?;
    }
    Ok(())
}
