//! What stands between members: connections that deliver nothing, checkpoints that are gone.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::etcdserverpb as pb;
use client::method;

use super::hostile::leader;
use crate::cluster::free_ports;
use crate::field::asked::all;
use crate::field::member::Member;
use crate::field::probe::Probe;
use crate::field::relay::Relay;
use crate::field::stage::{READY_MAX, Seen, Stage, took};

/// B6: a peer connection that stands and delivers nothing is replaced.
pub fn frozen_peer(stage: &Stage, seen: &mut Seen) -> Result<()> {
    const LEADERLESS_MAX: Duration = Duration::from_secs(4);
    const WATCHED: Duration = Duration::from_secs(10);
    const QUIET: Duration = Duration::from_millis(1500);
    let mut members = stage.group(3)?;
    let relay = Relay::start(stage.handle(), free_ports(1)?[0], members[1].peer)?;
    let seen_at = format!("http://127.0.0.1:{}", relay.port);
    let cluster: Vec<_> = members
        .iter()
        .map(|m| {
            if m.name == "b" {
                format!("b={seen_at}")
            } else {
                format!("{}={}", m.name, m.peer_url())
            }
        })
        .collect();
    members[1].set("initial-advertise-peer-urls", &seen_at);
    for member in &mut members {
        member.set("initial-cluster", &cluster.join(","));
        member.start()?;
    }
    members.iter_mut().try_for_each(Member::await_ready)?;
    lead_from_a(stage, &members)?;
    let probe = Probe::start(&[members[1].endpoint()])?;
    let made = relay.made();
    ensure!(made > 0, "nobody reaches b through the relay");
    relay.freeze();
    let from = Instant::now();
    let settled = took(WATCHED, || {
        let recent = Instant::now().checked_sub(QUIET).expect("after the machine's start");
        from.elapsed() > LEADERLESS_MAX && probe.gap(recent) < QUIET / 3
    });
    let gap = probe.gap(from);
    let (gap_s, new) = (gap.as_secs_f64(), relay.made() - made);
    seen.did(format!("no put at b for {gap_s:.2} s, {new} new connections to it"));
    seen.must(gap <= LEADERLESS_MAX, format!("b takes no put for {gap_s:.2} s"));
    seen.must(settled.is_some(), "puts at b do not flow again");
    Ok(())
}

fn lead_from_a(stage: &Stage, members: &[Member]) -> Result<()> {
    let target_id = stage.client(&members[0]).id_of("a")?;
    let deadline = Instant::now() + READY_MAX;
    while Instant::now() < deadline {
        let at = leader(stage, members)?;
        if at == 0 {
            return Ok(());
        }
        let request = pb::MoveLeaderRequest { target_id };
        // It may have lost the lead meanwhile; then it is asked again.
        let _ = stage
            .client(&members[at])
            .call::<pb::MoveLeaderResponse>(method::maintenance::MOVE_LEADER, &request);
    }
    anyhow::bail!("a does not lead")
}

/// B14: a leader without a good checkpoint helps a follower that needs one.
pub fn checkpoint_gone(stage: &Stage, seen: &mut Seen) -> Result<()> {
    for (what, hurt) in [("removed", remove as fn(&Member) -> Result<usize>), ("flipped", flip)] {
        helped(stage, what, hurt, seen)?;
    }
    Ok(())
}

fn helped(
    stage: &Stage,
    what: &str,
    hurt: fn(&Member) -> Result<usize>,
    seen: &mut Seen,
) -> Result<()> {
    const PUTS: usize = 1_500;
    const HELPED_MAX: Duration = Duration::from_secs(8);
    let flags = [
        ("snapshot-count", "100"),
        ("snapshot-catchup-entries", "50"),
        ("checkpoint-bytes-min", "65536"),
    ];
    let mut members = stage.running(3, &flags)?;
    let at = leader(stage, &members)?;
    let late = (at + 1) % 3;
    members[late].terminate()?;
    let client = stage.client(&members[at]);
    for n in 0..PUTS {
        client.put(&format!("k/{n}"), vec![b'x'; 256])?;
    }
    took(READY_MAX, || files(&members[at]).is_ok_and(|files| !files.is_empty()))
        .context("the leader writes no checkpoint")?;
    let hurt = hurt(&members[at])?;
    members[late].start()?;
    let wanted = i64::try_from(PUTS)?;
    let follower = stage.client(&members[late]);
    let request = pb::RangeRequest { serializable: true, count_only: true, ..all("k/") };
    let caught_up = took(HELPED_MAX, || {
        let answer = follower.call_within::<pb::RangeResponse>(
            Duration::from_secs(1),
            method::kv::RANGE,
            &request,
        );
        answer.is_ok_and(|answer| answer.count == wanted)
    });
    seen.did(match caught_up {
        Some(span) => format!("{hurt} {what}: follower whole after {:.1} s", span.as_secs_f64()),
        None => format!("{hurt} {what}: follower not whole"),
    });
    seen.must(caught_up.is_some(), format!("checkpoints {what}: {}", members[late].tail()));
    Ok(())
}

fn files(member: &Member) -> Result<Vec<std::path::PathBuf>> {
    let dir = member.dir().join("checkpoints");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        found.extend(path.is_file().then_some(path));
    }
    Ok(found)
}

fn remove(member: &Member) -> Result<usize> {
    let files = files(member)?;
    files.iter().try_for_each(std::fs::remove_file)?;
    Ok(files.len())
}

/// One byte in the middle of each.
fn flip(member: &Member) -> Result<usize> {
    let files = files(member)?;
    for path in &files {
        let mut bytes = std::fs::read(path)?;
        let at = bytes.len() / 2;
        *bytes.get_mut(at).context("an empty checkpoint")? ^= 1;
        std::fs::write(path, bytes)?;
    }
    Ok(files.len())
}
