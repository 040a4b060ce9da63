//! A five-member cluster inside a program: execute an operation, get back the votes, the quorum
//! and the revision; lose members; see the refusal.
//!
//! `cargo run --example embed`

use front_etcd::Front;
use mvcc::{Command, PutRequest, Response};
use quorum::{Names, NodeSet, SystemSpec};
use server::config::local_cluster;
use server::node::{Handle, Node};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use trace::{Event, What};

const PATIENCE: Duration = Duration::from_secs(10);
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
const QUORUM: &str = "majority(a, b, c, d, e)";

fn main() -> anyhow::Result<()> {
    let root = std::env::temp_dir().join(format!("quorate-embed-{}", std::process::id()));
    let (sender, trace) = channel();
    let mut members = Vec::new();
    for mut config in local_cluster(&NAMES, &root)? {
        config.quorum = Some(QUORUM.to_owned());
        let member = Node::start(config, Front::service)?;
        let sender = sender.clone();
        member.subscribe_trace(Box::new(move |event| {
            // The example may be over already.
            let _ = sender.send(event.clone());
        }));
        members.push(member);
    }
    anyhow::ensure!(members.iter().all(|m| m.wait_ready(PATIENCE)), "no leader was elected");
    let (spec, names) = (SystemSpec::parse(QUORUM)?, Names::in_order(NAMES));
    let commit = spec.compile(&names)?.commit().clone();

    let answer = members[0].remote().propose(put("hello", "world"));
    let Ok(Response::Put(done)) = answer else { anyhow::bail!("not applied: {answer:?}") };
    let (index, votes) = decision(&trace, done.revision)?;
    let quorum = commit.minimal_within(votes).expect("the leader counted a quorum");
    println!("revision {} is log entry {index}; durable at {}", done.revision, names.show(votes));
    println!("{} decided ({})", names.show(quorum), spec.commit.explain(&names, quorum));

    let rest: Vec<Handle> = members.drain(..2).collect();
    members.into_iter().for_each(Handle::kill);
    wait_leaderless(&rest)?;
    match rest[0].remote().propose(put("hello", "again")) {
        Ok(answer) => anyhow::bail!("two of five decided: {answer:?}"),
        Err(why) => println!("with two of five members: {why}"),
    }
    drop(rest);
    std::fs::remove_dir_all(&root)?;
    Ok(())
}

fn put(key: &str, value: &str) -> Command {
    let (key, value) = (key.as_bytes().into(), value.as_bytes().into());
    Command::Put(PutRequest { key, value, ..PutRequest::default() })
}

/// The log index of a revision, and who had it durable when the leader called it committed.
fn decision(trace: &Receiver<Event>, revision: i64) -> anyhow::Result<(u64, NodeSet)> {
    // Members report each by itself, so the leader's count may come after another's apply.
    let (mut applied, mut counted) = (None, Vec::new());
    loop {
        match trace.recv_timeout(PATIENCE)?.what {
            What::Quorum { index, acked, .. } => counted.push((index, acked)),
            What::Apply { index, revision: at, .. } if at == revision => {
                applied = Some(index);
            }
            _ => continue,
        }
        let Some(index) = applied else { continue };
        if let Some((_, acked)) = counted.iter().find(|(upto, _)| *upto >= index) {
            return Ok((index, *acked));
        }
    }
}

fn wait_leaderless(members: &[Handle]) -> anyhow::Result<()> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if members.iter().all(|m| m.status().is_some_and(|s| s.leader.is_none())) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    anyhow::bail!("a leader without a quorum is still followed")
}
