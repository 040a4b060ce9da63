//! Flags as people type them, at the first start and after it.

use std::time::Duration;

use anyhow::{Context, Result};
use api::etcdserverpb as pb;
use client::method;

use crate::cluster::free_ports;
use crate::field::member::Member;
use crate::field::stage::{Seen, Stage};

/// Longest that a start may take to serve or to end.
const START_MAX: Duration = Duration::from_secs(10);

/// B2: what only the first start reads may differ later.
pub fn bootstrap_flags_change(stage: &Stage, seen: &mut Seen) -> Result<()> {
    moved_member(stage, seen)?;
    let mut single = stage.single()?;
    single.start_ready()?;
    stage.client(&single).put("kept", "v")?;
    single.terminate()?;
    let port = free_ports(1)?[0];
    let moved = format!("http://127.0.0.1:{port}");
    single.set("name", "other");
    single.set("initial-cluster-token", "another");
    single.set("listen-peer-urls", &moved);
    single.set("initial-advertise-peer-urls", &moved);
    single.set("initial-cluster", &format!("other={moved}"));
    restarted(stage, &mut single, "another name, token and peer port", seen)?;
    for flag in ["name", "initial-cluster", "initial-advertise-peer-urls", "initial-cluster-token"]
    {
        single.unset(flag);
    }
    restarted(stage, &mut single, "no bootstrap flags", seen)?;
    Ok(())
}

/// Three members, one of which moves to another peer URL.
fn moved_member(stage: &Stage, seen: &mut Seen) -> Result<()> {
    let mut members = stage.running(3, &[])?;
    let client = stage.client(&members[0]);
    client.put("kept", "v")?;
    let moved = format!("http://127.0.0.1:{}", free_ports(1)?[0]);
    let request =
        pb::MemberUpdateRequest { id: client.id_of("c")?, peer_ur_ls: vec![moved.clone()] };
    client.call::<pb::MemberUpdateResponse>(method::cluster::MEMBER_UPDATE, &request)?;
    let cluster = members.iter().take(2).map(|m| format!("{}={}", m.name, m.peer_url()));
    let cluster: Vec<_> = cluster.chain([format!("c={moved}")]).collect();
    let c = &mut members[2];
    c.set("listen-peer-urls", &moved);
    c.set("initial-advertise-peer-urls", &moved);
    c.set("initial-cluster", &cluster.join(","));
    c.terminate()?;
    restarted(stage, c, "the moved member", seen)?;
    let a = &mut members[0];
    a.set("initial-cluster", &cluster.join(","));
    a.terminate()?;
    restarted(stage, a, "another with its new URL", seen)?;
    if !stage.is_etcd() {
        let b = &mut members[1];
        b.terminate()?;
        b.set("quorum", "3 of (a, b, c)");
        b.start()?;
        let refused = !b.serves_within(START_MAX)? && b.pid().is_none();
        seen.did(format!("another quorum {}", ["is taken", "is refused"][usize::from(refused)]));
        seen.must(refused, "another quorum is not refused");
        // Serving, it would have had to change nothing; running without serving is no refusal.
        seen.must(!refused || b.tail().contains("quorum"), "the refusal does not name the quorum");
    }
    Ok(())
}

/// Starts a member that was stopped: it serves, and has what it had.
fn restarted(stage: &Stage, member: &mut Member, how: &str, seen: &mut Seen) -> Result<()> {
    if member.pid().is_some() {
        member.terminate()?;
    }
    member.start()?;
    let served = member.serves_within(START_MAX)?;
    seen.did(format!("{how}: {}", if served { "starts" } else { "does not" }));
    if served {
        let value = stage.client(member).get("kept")?;
        seen.must(value.as_deref() == Some("v"), format!("{how}: the key reads {value:?}"));
    } else {
        seen.must(false, format!("{how}: {}", member.tail()));
        member.kill();
    }
    Ok(())
}

/// B4: equal addresses meet, wildcards are no address.
pub fn spellings_of_addresses(stage: &Stage, seen: &mut Seen) -> Result<()> {
    // etcd resolves every name but localhost.
    let (address, host) = a_named_host()?;
    let pairs = [
        ("long and short IPv6", "[0:0:0:0:0:0:0:1]", "[::1]"),
        ("a name and its address", &host, &address),
    ];
    for (what, in_cluster, advertised) in pairs {
        let mut member = stage.single()?;
        let url = |host| format!("http://{host}:{}", member.peer);
        let (in_cluster, advertised) = (url(in_cluster), url(advertised));
        member.set("initial-cluster", &format!("a={in_cluster}"));
        member.set("initial-advertise-peer-urls", &advertised);
        member.start()?;
        let served = member.serves_within(START_MAX)?;
        seen.did(format!("{what}: {}", if served { "starts" } else { "does not" }));
        seen.must(served, format!("{what}: {}", member.tail()));
    }
    for wildcard in ["0.0.0.0", "[::]", "[0::0]", "[0:0:0:0:0:0:0:0]"] {
        let mut member = stage.single()?;
        member.set("listen-client-urls", &format!("http://{wildcard}:{}", member.client));
        member.unset("advertise-client-urls");
        member.start()?;
        let served = member.serves_within(START_MAX)?;
        let advertised = if served {
            let listed = stage.client(&member).members()?;
            listed.first().context("nobody is listed")?.client_ur_ls.join(",")
        } else {
            String::new()
        };
        seen.did(format!("{wildcard}: {}", if served { "starts" } else { "refused" }));
        seen.must(!served, format!("{wildcard} is advertised as {advertised:?}"));
    }
    Ok(())
}

/// An IPv4 address and another name of it than localhost, as this machine's files have them.
fn a_named_host() -> Result<(String, String)> {
    let hosts = std::fs::read_to_string("/etc/hosts").context("/etc/hosts")?;
    let found = hosts.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address = words.next().filter(|address| address.contains('.'))?;
        let host = words.find(|name| !name.starts_with("localhost"))?;
        Some((address.to_owned(), host.to_owned()))
    });
    found.context("/etc/hosts names no host but localhost")
}

/// B11: what Go's flag package takes.
pub fn go_texts(stage: &Stage, seen: &mut Seen) -> Result<()> {
    let with = |flag: &str, text: &dyn Fn(u16) -> String| -> Result<(String, Member)> {
        let mut member = stage.single()?;
        let text = text(member.peer);
        member.set(flag, &text);
        Ok((format!("{flag} {text:?}"), member))
    };
    let retention = |text: &&str| with("auto-compaction-retention", &|_| (*text).to_owned());
    // etcd takes 100us too, and then divides by a tenth of it in milliseconds.
    let spellings = ["1.5h", ".5h", "+10m", "1h0.5s", "100us"];
    let count = spellings.len() - usize::from(stage.is_etcd());
    let mut good = spellings[..count].iter().map(retention).collect::<Result<Vec<_>>>()?;
    good.push(with("initial-cluster", &|port| format!("a= http://127.0.0.1:{port}"))?);
    let mut bad = ["1h-3m", "1d", "."].iter().map(retention).collect::<Result<Vec<_>>>()?;
    bad.push(with("initial-cluster", &|port| format!("a=http://127.0.0.1:{port}/x"))?);
    // All at once: each start waits for its disk and its election.
    good.iter_mut().chain(&mut bad).try_for_each(|(_, member)| member.start())?;
    let mut taken = 0;
    for (what, member) in &mut good {
        let served = member.serves_within(START_MAX)?;
        seen.must(served, format!("{what} is refused: {}", member.tail()));
        taken += usize::from(served);
    }
    seen.did(format!("takes {taken} of {} spellings", good.len()));
    for (what, member) in &mut bad {
        seen.must(!member.serves_within(START_MAX)?, format!("{what} is taken"));
    }
    let (_, broken) = bad.last().context("there is one")?;
    let (said, value) = (broken.tail(), format!("127.0.0.1:{}/x", broken.peer));
    let whole = stage.is_etcd() || said.contains(&value);
    seen.must(whole, format!("a bad URL is not shown whole: {said}"));
    Ok(())
}
