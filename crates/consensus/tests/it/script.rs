//! Commands in, printed trace out. `UPDATE_GOLDEN=1` rewrites the golden half of each file.
//!
//! A file holds commands, a line `----`, and the trace. Commands: `cluster VOTERS LEARNERS RULE
//! [QUORUM]` (whose members have met), `newborn VOTERS..` (likewise, and they have not), `run MS`,
//! `propose TEXT` (at the leader), `propose nK TEXT`, `crash nK`,
//! `empty nK` (its directory is lost, and it starts),
//! `restart nK`, `cut nA nB` (one way), `part nA..` (from the rest), `heal`, `stall nK`,
//! `handover nK nL` (nK tells nL to campaign at once, and goes on),
//! `unstall nK`, `read nK SEQ`, `withdraw nK SEQ`, `transfer nK`, `compact nK`, `timeout nK`,
//! `lost nK nL`, `found nK nL`, `noise LOSS TWICE JITTER`,
//! `config joint QUORUM` / `config final QUORUM`,
//! `config retire QUORUM` (final, and whom it does not name is a learner from now on),
//! `config learner nK`, `config voter nK`, `config drop nK`, `config mark [QUORUM]` (whom it
//! calls a witness is one), `spare nK` (a node outside the configuration), `log nK PROMISE
//! BALLOT[*SIZE]..` (of a node that is down), `promise nK BALLOT` (likewise), `sync nK COUNT` (a
//! stalled disk's oldest writes), `disk nK`, `acks on`, `status`. `TEXT*COUNT` repeats a text.

use super::harness::{Cluster, configuration, propose_config};
use base::{Ballot, Blob, LogIndex, NodeId};
use cluster::{BallotRule, Configuration};
use consensus::raft::{EntryKind, NotLeader};
use std::fmt::Write as _;

pub fn run_all() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let (commands, golden) = text.split_once("----\n").unwrap_or((&text, ""));
        let trace = run(commands);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, format!("{}\n----\n{trace}", commands.trim_end())).unwrap();
        } else {
            assert_eq!(golden, trace, "{}", path.display());
        }
    }
}

fn node(word: &str) -> NodeId {
    NodeId(word.trim_start_matches('n').parse().expect("a node is nK"))
}

fn ballot(word: &str) -> Ballot {
    let (term, node) = word.split_once('.').expect("a ballot is TERM.NODE");
    Ballot::new(term.parse().unwrap(), node.parse().unwrap())
}

/// A payload: `TEXT`, or `TEXT*COUNT`.
fn text(word: &str) -> Blob {
    match word.split_once('*') {
        Some((text, times)) => Blob::from(text.repeat(times.parse().unwrap()).as_bytes()),
        None => Blob::from(word.as_bytes()),
    }
}

/// An entry that is already in a log: `BALLOT`, or `BALLOT*COUNT` for a large one.
fn entry(word: &str) -> (Ballot, Blob) {
    (ballot(word.split('*').next().unwrap()), text(word))
}

/// The configuration with one change.
fn changed(config: &Configuration, words: &[&str]) -> Configuration {
    let mut config = config.clone();
    let text = words[1..].join(" ");
    match words[0] {
        "joint" => config.joint = Some(text),
        "final" => (config.quorum, config.joint) = (text, None),
        "retire" => {
            (config.quorum, config.joint) = (text, None);
            let named = super::storm::named(&config.quorum);
            config.members.iter_mut().for_each(|m| m.learner |= !named.contains(&m.name));
        }
        "mark" => config.change.quorum = Some(text).filter(|t| !t.is_empty()),
        "drop" => config.members.retain(|m| m.name != text),
        role => {
            let learner = role == "learner";
            match config.members.iter_mut().find(|m| m.name == text) {
                Some(member) => member.learner = learner,
                None => {
                    let life = super::harness::config::life(node(&text).0);
                    let member = super::harness::member(node(&text), learner);
                    config.members.push(cluster::Member { life, ..member });
                }
            }
        }
    }
    config
}

fn run(commands: &str) -> String {
    let mut cluster = Cluster::new(configuration(1, 0, "", BallotRule::SharedTerms), 1);
    let mut out = String::new();
    for line in commands.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        writeln!(out, "> {line}").unwrap();
        command(&mut cluster, &words, &mut out);
        for line in cluster.lines.drain(..) {
            writeln!(out, "{line}").unwrap();
        }
    }
    out
}

/// A cluster as its command describes it.
fn begun(words: &[&str]) -> Cluster {
    let num = |i: usize| words[i].parse::<u64>().expect("a number");
    let rule = match words[3] {
        "node" => BallotRule::TermAndNode,
        _ => BallotRule::SharedTerms,
    };
    let config = configuration(num(1), num(2), &words[4..].join(" "), rule);
    if words[0] == "newborn" { Cluster::new(config, 7) } else { Cluster::met(config, 7) }
}

fn command(c: &mut Cluster, words: &[&str], out: &mut String) {
    let arg = |i: usize| words.get(i).copied().unwrap_or("");
    let num = |i: usize| arg(i).parse::<u64>().expect("a number");
    match arg(0) {
        "cluster" | "newborn" => *c = begun(words),
        "run" => c.run(num(1)),
        "propose" => {
            let named = words.len() > 2;
            let id = if named { Some(node(arg(1))) } else { c.leader() };
            let Some(id) = id else { return out.push_str("  no leader\n") };
            let item = (EntryKind::Data, text(words[words.len() - 1]));
            let done = c.with(id, |r, now, ready| r.propose(now, [item].into_iter(), ready));
            show_refusal(done, out);
        }
        "config" => {
            let id = c.leader().expect("a leader");
            let raft = c.nodes[&id].raft.as_ref().unwrap();
            let config = changed(raft.config(), &words[1..]);
            let done = c.with(id, |r, now, ready| propose_config(r, now, &config, ready));
            show_refusal(done, out);
        }
        "spare" => c.spare(node(arg(1))),
        "log" => {
            let entries: Vec<_> = words[3..].iter().map(|w| entry(w)).collect();
            c.plant(node(arg(1)), ballot(arg(2)), &entries);
        }
        "promise" => c.nodes.get_mut(&node(arg(1))).unwrap().disk.ballot = ballot(arg(2)),
        "sync" => c.sync_some(node(arg(1)), num(2) as usize),
        "disk" => {
            show_disk(c, node(arg(1)), out);
        }
        "acks" => c.show_acks = arg(1) == "on",
        "crash" => c.crash(node(arg(1))),
        "empty" => c.empty(node(arg(1))),
        "restart" => c.start(node(arg(1))),
        "cut" => drop(c.cut.insert((node(arg(1)).0, node(arg(2)).0))),
        "part" => {
            let side: Vec<u64> = words[1..].iter().map(|w| node(w).0).collect();
            let all: Vec<u64> = c.nodes.keys().map(|id| id.0).collect();
            for a in &side {
                for b in all.iter().filter(|b| !side.contains(b)) {
                    c.cut.insert((*a, *b));
                    c.cut.insert((*b, *a));
                }
            }
        }
        "heal" => c.cut.clear(),
        "stall" => c.nodes.get_mut(&node(arg(1))).unwrap().stalled = true,
        "unstall" => c.unstall(node(arg(1))),
        "read" => c.read(node(arg(1)), num(2)),
        "withdraw" => drop(c.with(node(arg(1)), |r, _, _| r.withdraw(num(2)))),
        "transfer" => drop(
            c.leader()
                .and_then(|l| c.with(l, |r, now, out| r.transfer(now, Some(node(arg(1))), out))),
        ),
        "compact" => c.compact(node(arg(1))),
        "lost" => drop(c.with(node(arg(1)), |r, now, out| r.peer_lost(now, node(arg(2)), out))),
        "found" => {
            let peer = node(arg(2));
            c.with(node(arg(1)), |r, now, out| r.peer_found(now, peer, out));
        }
        "handover" => c.hand_over(node(arg(1)), node(arg(2))),
        "timeout" => c.time_out(node(arg(1))),
        "noise" => c.noise = (num(1), num(2), num(3)),
        "status" => status(c, out),
        other => panic!("unknown command {other}"),
    }
}

fn show_disk(c: &Cluster, id: NodeId, out: &mut String) {
    let node = &c.nodes[&id];
    let durable = node.raft.as_ref().unwrap().durable();
    let hollow = |e: &consensus::raft::Entry| match e.kind {
        EntryKind::Stripped => format!("({})", e.ballot),
        _ => e.ballot.to_string(),
    };
    let log: Vec<_> = node.disk.entries.iter().map(hollow).collect();
    let (log, waits) = (log.join(" "), node.unsynced.len());
    writeln!(out, "  vouches for {durable}, disk [{log}], {waits} writes wait").unwrap();
}

fn status(c: &Cluster, out: &mut String) {
    for (id, n) in &c.nodes {
        let Some(r) = &n.raft else {
            writeln!(out, "  n{id} down").unwrap();
            continue;
        };
        let log: Vec<_> = r
            .entries(base::LogIndex(1), r.last().0)
            .map(|e| format!("{}@{}", e.index, e.ballot))
            .collect();
        let role = if r.is_leader() { "leads" } else { "" };
        let (commit, log) = (r.commit(), log.join(" "));
        let marked = &r.config().change.out;
        let marked: Vec<_> = marked.iter().map(|id| format!("n{id}")).collect();
        let out_of_it = if marked.is_empty() { String::new() } else { marked.join(" ") + " out " };
        writeln!(out, "  n{id} {} commit {commit} log [{log}] {out_of_it}{role}", r.ballot())
            .unwrap();
    }
}

fn show_refusal(result: Option<Result<LogIndex, NotLeader>>, out: &mut String) {
    if let Some(Err(refused)) = result {
        writeln!(out, "  refused: {:?}", refused.reason).unwrap();
    }
}
