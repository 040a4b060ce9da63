//! A five-member cluster inside a program: execute an operation, get back the votes, the quorum
//! and the revision; lose members; see the refusal.
//!
//! `cargo run --example embed`

use consensus::raft::Trace;
use mvcc::{Command, PutRequest, Response};
use replica::{TraceEvent, TraceKind};
use server::config::local_cluster;
use server::node::{Handle, Node};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> anyhow::Result<()> {
    let root = std::env::temp_dir().join(format!("quorate-embed-{}", std::process::id()));
    let (sender, trace) = channel();
    let mut members = Vec::new();
    for mut config in local_cluster(&["a", "b", "c", "d", "e"], &root)? {
        config.trace = true;
        let member = Node::start(config)?;
        let sender = sender.clone();
        member.subscribe_trace(Box::new(move |event| {
            // The example may be over already.
            let _ = sender.send(event.clone());
        }));
        members.push(member);
    }
    anyhow::ensure!(members.iter().all(|m| m.wait_ready(PATIENCE)), "no leader was elected");
    let name = |id| members.iter().find(|m| m.id == id).map_or("?", |m| m.name.as_str());

    let answer = members[0].remote().propose(put("hello", "world"));
    let Ok(Response::Put(done)) = answer else { anyhow::bail!("not applied: {answer:?}") };
    let (index, votes) = decision(&trace, done.revision)?;
    let votes: Vec<_> = votes.into_iter().map(name).collect();
    println!("revision {} is log entry {index}; durable at {}", done.revision, votes.join(", "));

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
fn decision(
    trace: &Receiver<TraceEvent>,
    revision: i64,
) -> anyhow::Result<(base::LogIndex, Vec<base::NodeId>)> {
    let mut acks = Vec::new();
    loop {
        let event = trace.recv_timeout(PATIENCE)?;
        match event.kind {
            TraceKind::Raft(Trace::Acked { by, index }) => acks.push((by, index)),
            TraceKind::Applied { index, revision: at, .. } if at == revision => {
                acks.retain(|(_, upto)| *upto >= index);
                let mut voters: Vec<_> = acks.into_iter().map(|(by, _)| by).collect();
                voters.dedup();
                return Ok((index, voters));
            }
            _ => {}
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
