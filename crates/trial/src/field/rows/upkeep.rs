//! What operators read off a member: leases, alarms, sizes.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::etcdserverpb as pb;
use client::method;
use pb::AlarmType::Nospace;
use pb::alarm_request::AlarmAction;

use crate::field::asked::{Client, put};
use crate::field::member::Member;
use crate::field::stage::{Seen, Stage, until};

/// Long enough that an alarm that clears itself has done so.
const STAYS: Duration = Duration::from_millis(1500);
const TTL_SECONDS: i64 = 10;
const LEASES: usize = 12;
/// Not a part of a second, so that grants fall anywhere in it.
const LEASE_PAUSE: Duration = Duration::from_millis(130);
const HISTORY_VALUE_BYTES: usize = 64 << 10;
const HISTORY_PUTS: usize = 300;

/// B10: the remaining time of a fresh lease, at every member and in every part of a second.
pub fn fresh_lease(stage: &Stage, seen: &mut Seen) -> Result<()> {
    let members = stage.running(3, &[])?;
    let clients: Vec<_> = members.iter().map(|member| stage.client(member)).collect();
    let mut least = f64::INFINITY;
    for round in 0..LEASES {
        let client = &clients[round % clients.len()];
        let request = pb::LeaseGrantRequest { ttl: TTL_SECONDS, id: 0 };
        let granted: pb::LeaseGrantResponse = client.call(method::lease::GRANT, &request)?;
        let answered = Instant::now();
        // The last one is asked again a second and a bit later.
        let later = if round + 1 == LEASES { Duration::from_millis(1200) } else { LEASE_PAUSE };
        for pause in [Duration::ZERO, later] {
            std::thread::sleep(pause);
            let left = TTL_SECONDS as f64 - answered.elapsed().as_secs_f64();
            let request = pb::LeaseTimeToLiveRequest { id: granted.id, keys: false };
            let told: pb::LeaseTimeToLiveResponse =
                client.call(method::lease::TIME_TO_LIVE, &request)?;
            let told = told.ttl as f64;
            seen.must(told <= left, format!("{told} s told, {left:.2} s are left at most"));
            // Whole seconds, as etcd's, and half of one for an answer that is late.
            let now = TTL_SECONDS as f64 - answered.elapsed().as_secs_f64();
            seen.must(told >= now - 1.5, format!("{told} s told where {left:.2} s are left"));
            if pause < later {
                least = least.min(told);
            }
        }
    }
    seen.did(format!("of {LEASES} fresh leases of {TTL_SECONDS} s at least {least} s are told"));
    Ok(())
}

/// B12: who raised an alarm decides how it ends.
pub fn alarms(stage: &Stage, seen: &mut Seen) -> Result<()> {
    let members = stage.running(1, &[("quota-backend-bytes", "4194304")])?;
    let client = stage.client(&members[0]);
    alarm(&client, AlarmAction::Activate)?;
    let stayed = stays(&client)?;
    seen.did(format!("a client's alarm {}", ["clears itself", "stays"][usize::from(stayed)]));
    seen.must(stayed, "a client's alarm cleared itself");
    let listed = python(&members[0], "list(client.disarm_alarm())")?;
    seen.must(listed.contains("Alarm"), format!("Python's disarm printed {listed:?}"));
    seen.must(alarm(&client, AlarmAction::Get)?.is_empty(), "it is listed after its disarm");

    let revision = fill(&client)?;
    seen.must(!alarm(&client, AlarmAction::Get)?.is_empty(), "a full store lists no alarm");
    client.compact(revision)?;
    if stage.is_etcd() {
        let request = pb::DefragmentRequest {};
        client.call::<pb::DefragmentResponse>(method::maintenance::DEFRAGMENT, &request)?;
    } else {
        let taken = until("a put is taken after the compaction", STAYS, || {
            Ok(client.put("after", "v").ok())
        });
        seen.must(taken.is_ok(), "no put is taken though there is space again");
    }
    let stayed = stays(&client)?;
    seen.must(stayed, "the quota's alarm was gone before anybody disarmed it");
    let ended = alarm(&client, AlarmAction::Deactivate)?;
    seen.did(format!("disarm of the quota's alarm names {}", ended.len()));
    seen.must(!ended.is_empty(), "the disarm names nothing");
    seen.must(alarm(&client, AlarmAction::Get)?.is_empty(), "the quota's is listed after it");
    client.put("after", "v")?;
    Ok(())
}

/// Asks for the alarms, raises or ends NOSPACE of whichever member.
fn alarm(client: &Client, action: AlarmAction) -> Result<Vec<pb::AlarmMember>> {
    let all = action == AlarmAction::Deactivate;
    // A disarm names what is listed, as `etcdctl alarm disarm` does.
    let listed = if all { alarm(client, AlarmAction::Get)? } else { Vec::new() };
    let member_id = listed.first().map_or(0, |first| first.member_id);
    let kind = if action == AlarmAction::Get { 0 } else { Nospace as i32 };
    let request = pb::AlarmRequest { action: action as i32, member_id, alarm: kind };
    let answer: pb::AlarmResponse = client.call(method::maintenance::ALARM, &request)?;
    Ok(answer.alarms)
}

/// Whether an alarm is listed as long as one looks.
fn stays(client: &Client) -> Result<bool> {
    let until = Instant::now() + STAYS;
    while Instant::now() < until {
        if alarm(client, AlarmAction::Get)?.is_empty() {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(true)
}

/// Overwrites one key until the quota refuses; the last revision.
fn fill(client: &Client) -> Result<i64> {
    const PUTS_MAX: usize = 1_000;
    let mut revision = 0;
    for _ in 0..PUTS_MAX {
        match client.put("full", vec![b'x'; HISTORY_VALUE_BYTES]) {
            Ok(at) => revision = at,
            Err(why) => {
                ensure!(why.to_string().contains("database space exceeded"), "fill: {why}");
                return Ok(revision);
            }
        }
    }
    anyhow::bail!("the quota does not refuse")
}

/// What Python's etcd3 prints of an expression.
fn python(member: &Member, expression: &str) -> Result<String> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/ci-venv/bin/python");
    ensure!(python.exists(), "{} is missing: run .ci/tools", python.display());
    let script = format!(
        "import etcd3\nclient = etcd3.client(host='127.0.0.1', port={}, timeout=10)\n\
         print({expression})",
        member.client
    );
    let output = Command::new(&python).args(["-c", &script]).output().context("start Python")?;
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let last = err.lines().last().unwrap_or_default();
    Ok(if output.status.success() { out.trim().to_owned() } else { format!("failed: {last}") })
}

/// B16: history that is not compacted is in use.
pub fn size_in_use(stage: &Stage, seen: &mut Seen) -> Result<()> {
    let members = stage.running(1, &[])?;
    let client = stage.client(&members[0]);
    let written = i64::try_from(HISTORY_VALUE_BYTES * HISTORY_PUTS)?;
    let request = put("history", vec![b'x'; HISTORY_VALUE_BYTES]);
    let mut revision = 0;
    for _ in 0..HISTORY_PUTS {
        let answer: pb::PutResponse = client.call(method::kv::PUT, &request)?;
        revision = answer.header.context("a header")?.revision;
    }
    let mib = |bytes: i64| bytes >> 20;
    // etcd says its sizes of the last committed batch.
    let settled = until("the history is in use", Duration::from_secs(3), || {
        let status = client.status()?;
        Ok((status.db_size_in_use >= written).then_some(status.db_size_in_use))
    });
    let full = settled.as_ref().copied().unwrap_or(client.status()?.db_size_in_use);
    seen.did(format!("{} MiB written, {} in use", mib(written), mib(full)));
    seen.must(settled.is_ok(), format!("{full} bytes in use where {written} are kept"));
    let request = pb::CompactionRequest { revision, physical: true };
    client.call::<pb::CompactionResponse>(method::kv::COMPACT, &request)?;
    let compacted = until("compacted history is no longer in use", Duration::from_secs(5), || {
        let status = client.status()?;
        Ok((status.db_size_in_use < written / 4).then_some(status.db_size_in_use))
    })?;
    seen.did(format!("{} after a compaction", mib(compacted)));
    Ok(())
}
