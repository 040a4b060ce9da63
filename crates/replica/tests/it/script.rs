//! Whole replicas, told by examples that are run: every page of `scripts/` is prose (`#`), commands
//! (`>`) and what happens. `UPDATE_GOLDEN=1` rewrites what happens.
//!
//! Members are `n1`, `n2`, ..; `leader` is who leads now or led last, `other` and `third` the
//! first and second of the rest. Commands:
//! - `cluster COUNT [QUORUM]` (`ALL` in the text is all names), `run MS`, `leader` (runs until
//!   there is one), `wait` (runs until everything asked is answered), `status`;
//! - `put WHO KEY VALUE`, `del WHO KEY`, `grant WHO ID TTL`, `renew WHO ID`, `compact WHO
//!   REVISION`, `get WHO KEY` (linearizable), `look WHO KEY` (what is shown here),
//!   `both WHO KEY KEY` (in one view), `barrier WHO`;
//! - `add`, `learner`, `remove`, `promote`, `replace` `WHO MEMBER [MEMBER]`, `quorum WHO TEXT`;
//! - `newcomer` (starts one with an empty disk), `crash`, `restart`, `stall`, `unstall`,
//!   `checkpoint` `WHO`; `cut FROM TO` (one way), `part WHO ..` (from the rest), `heal`, `loss
//!   PERCENT`, `twice PERCENT`, `lost WHO PEER`, `hand WHO [PEER]`;
//! - `show WORD ..` (what else of the trace is told: `votes`, `reads`, `disk`).

use super::cluster::{Cluster, Told, command_put, range_of};
use base::{Blob, Nanos, NodeId, Token};
use cluster::{Change, Newcomer};
use consensus::raft::Trace;
use mvcc::{Caller, Command, DeleteRequest, RangeResponse, Response, View};
use replica::{Event, Reply, TraceKind};
use std::collections::BTreeMap;
use std::path::Path;

#[path = "../../../mvcc/tests/manual/golden.rs"]
mod golden;

#[test]
fn every_script_happens_as_it_is_told() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    golden::every_page_is_true(&dir, 40, || Shell::new(3, "majority(ALL)"), Shell::tell);
}

struct Shell {
    cluster: Cluster,
    /// Asked and not answered.
    open: BTreeMap<Token, usize>,
    asked: BTreeMap<Token, usize>,
    lines: Vec<String>,
    shown: Vec<String>,
    /// Who led last.
    led: Option<usize>,
}

impl Shell {
    fn new(count: usize, quorum: &str) -> Self {
        let cluster = Cluster::with_quorum(count, 7, quorum);
        let (open, asked) = (BTreeMap::new(), BTreeMap::new());
        Self { cluster, open, asked, lines: Vec::new(), shown: Vec::new(), led: None }
    }

    /// Runs one command; what happened.
    fn tell(&mut self, command: &str) -> Vec<String> {
        self.run(command);
        std::mem::take(&mut self.lines)
    }

    fn who(&mut self, word: &str) -> usize {
        let leads = |n: &usize| self.cluster.runs(*n) && self.cluster.status(*n).is_leader;
        let leaders = (0..self.cluster.nodes()).filter(leads);
        let leader = leaders.max_by_key(|n| self.cluster.status(*n).ballot).or(self.led);
        self.led = leader;
        let rest = |at: usize| (0..self.cluster.nodes()).filter(|n| Some(*n) != leader).nth(at);
        let named = || word.strip_prefix('n')?.parse::<usize>().ok().map(|n| n - 1);
        let found = match word {
            "leader" => leader,
            "other" => rest(0),
            "third" => rest(1),
            _ => named(),
        };
        found.unwrap_or_else(|| panic!("who is {word:?}?"))
    }

    fn ask(&mut self, node: usize, make: impl FnOnce(Token) -> Event) {
        let at = self.cluster.event(node, make);
        self.ask_as(node, at);
    }

    fn ask_as(&mut self, node: usize, at: Token) {
        self.asked.insert(at, self.asked.len() + 1);
        self.open.insert(at, node);
        self.lines.push(format!("n{} is asked #{}", node + 1, self.asked[&at]));
        self.listen();
    }

    fn run(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let rest = |skip: usize| words[skip..].join(" ");
        match words[0] {
            "cluster" => {
                let quorum = if words.len() > 2 { rest(2) } else { "majority(ALL)".to_string() };
                *self = Self::new(words[1].parse().unwrap(), &quorum);
            }
            "show" => self.shown = words[1..].iter().map(ToString::to_string).collect(),
            "run" => self.cluster.run_for(Nanos::from_millis(words[1].parse().unwrap())),
            "leader" => drop(self.cluster.run_until_leader()),
            "wait" => self.wait(),
            "heal" => self.cluster.cut.clear(),
            "loss" => self.cluster.loss_percent = words[1].parse().unwrap(),
            "twice" => self.cluster.duplicate_percent = words[1].parse().unwrap(),
            "newcomer" => {
                let node = self.cluster.newcomer();
                self.lines.push(format!("n{} starts", node + 1));
            }
            "status" => self.status(),
            "part" => self.part(&words[1..]),
            _ => {
                let node = self.who(words[1]);
                if !self.fault(node, &words) && !self.request(node, &words) {
                    self.change(node, &words);
                }
            }
        }
        self.listen();
    }

    fn part(&mut self, words: &[&str]) {
        let side: Vec<usize> = words.iter().map(|word| self.who(word)).collect();
        for a in 0..self.cluster.nodes() {
            for b in 0..self.cluster.nodes() {
                if side.contains(&a) != side.contains(&b) {
                    self.cluster.cut.insert((a, b));
                }
            }
        }
    }

    fn wait(&mut self) {
        for _ in 0..300 {
            self.listen();
            if self.open.is_empty() {
                return;
            }
            self.cluster.run_for(Nanos::from_millis(100));
        }
        self.lines.push(format!("no answer within 30 s: {} open", self.open.len()));
    }

    /// True when the word is something done to a member.
    fn fault(&mut self, node: usize, words: &[&str]) -> bool {
        let of_two = ["cut", "lost", "hand"].contains(&words[0]);
        let peer = words.get(2).filter(|_| of_two).map(|word| self.who(word));
        let id = |node: usize| NodeId(node as u64 + 1);
        match words[0] {
            "crash" => {
                self.cluster.crash(node);
                self.open.retain(|_, asked| *asked != node); // nobody will answer
            }
            "restart" => self.cluster.restart(node),
            "stall" => drop(self.cluster.stalled.insert(node)),
            "unstall" => self.cluster.unstall(node),
            "cut" => drop(self.cluster.cut.insert((node, peer.expect("FROM TO")))),
            "checkpoint" => drop(self.cluster.event(node, |_| Event::TakeCheckpoint)),
            "lost" => {
                let peer = id(peer.expect("WHO PEER"));
                self.cluster.event(node, |_| Event::PeerLost(peer));
            }
            "hand" => {
                let to = peer.map(id);
                self.cluster.event(node, |_| Event::TransferLeader { to });
            }
            _ => return false,
        }
        true
    }

    /// True when the word is a client's.
    fn request(&mut self, node: usize, words: &[&str]) -> bool {
        let number = |at: usize| words[at].parse::<i64>().expect("a number");
        let key = |at: usize| Blob::from(words[at].as_bytes());
        let command = match words[0] {
            "put" => command_put(words[2], words[3]),
            "del" => Command::Delete(DeleteRequest { key: key(2), ..DeleteRequest::default() }),
            "grant" => Command::LeaseGrant { id: number(2), ttl: number(3) },
            "renew" => Command::LeaseRenew { ids: vec![number(2)] },
            "compact" => Command::Compact { revision: number(2) },
            _ => return self.read(node, words),
        };
        self.ask(node, |token| Event::Propose { token, caller: Caller::nobody(), command });
        true
    }

    fn read(&mut self, node: usize, words: &[&str]) -> bool {
        match words[0] {
            "get" => {
                let token = self.cluster.read(node, range_of(words[2]));
                self.ask_as(node, token);
            }
            "look" => {
                let shown = match self.cluster.replica(node).serves_no_data() {
                    Some(reason) => format!("nothing: {reason:?}"),
                    None if !self.cluster.replica(node).is_current() => "nothing yet".to_string(),
                    None => range_told(&read(&self.cluster.store(node).view(), words[2])),
                };
                self.lines.push(format!("n{} shows {shown}", node + 1));
            }
            "both" => {
                let keys = [words[2].to_string(), words[3].to_string()];
                let both = move |view: &View| keys.iter().map(|key| read(view, key)).collect();
                let token = self.cluster.look(node, both);
                self.ask_as(node, token);
            }
            "barrier" => self.ask(node, |token| Event::ReadBarrier { token }),
            "confirm" => self.ask(node, |token| Event::Confirm { token }),
            _ => return false,
        }
        true
    }

    fn change(&mut self, node: usize, words: &[&str]) {
        let id = |at: usize| NodeId(words[at].trim_start_matches('n').parse().expect("nK"));
        let member = |at: usize| Newcomer {
            id: id(at),
            name: words[at].to_string(),
            peer_urls: vec![format!("http://{}", words[at])],
        };
        let change = match words[0] {
            "add" => Change::Add { member: member(2), learner: false, quorum: None },
            "learner" => Change::Add { member: member(2), learner: true, quorum: None },
            "remove" => Change::Remove { id: id(2), quorum: None },
            "promote" => Change::Promote { id: id(2), quorum: None },
            "replace" => Change::Replace { old: id(2), member: member(3), quorum: None },
            "quorum" => Change::Quorum { text: words[2..].join(" ") },
            other => panic!("what is {other:?}?"),
        };
        self.ask(node, |token| Event::Change { token, caller: Caller::nobody(), change });
    }

    fn status(&mut self) {
        for node in 0..self.cluster.nodes() {
            let name = format!("n{}", node + 1);
            if !self.cluster.runs(node) {
                self.lines.push(format!("{name} is down"));
                continue;
            }
            let s = self.cluster.status(node);
            let leader = s.leader.map_or("nobody".to_string(), |id| format!("n{id}"));
            let leads = if s.is_leader { "leads" } else { "follows" };
            let whom = if s.is_leader { String::new() } else { format!(" {leader}") };
            self.lines.push(format!(
                "{name} {leads}{whom} at {}: log {}, commit {}, applied {}, revision {}",
                s.ballot, s.last, s.commit, s.applied, s.revision
            ));
        }
    }

    fn answered(&mut self, token: Token, what: &str) -> String {
        self.open.remove(&token);
        let number = self.asked.get(&token).copied().unwrap_or_default();
        format!("#{number}: {what}")
    }

    /// Tells what happened since the last look.
    fn listen(&mut self) {
        for (at, node, told) in std::mem::take(&mut self.cluster.told) {
            let line = match told {
                Told::Reply(token, reply) => Some(self.answered(token, &answer(&reply))),
                Told::Found(token, ranges) => {
                    let told: Vec<String> = ranges.iter().map(range_told).collect();
                    Some(self.answered(token, &told.join("; ")))
                }
                Told::Trace(kind) => trace(&kind, &self.shown),
            };
            if let Some(line) = line {
                self.lines.push(format!("{:>6} n{} {line}", at.0 / 1_000_000, node + 1));
            }
        }
    }
}

fn answer(reply: &Reply) -> String {
    match reply {
        Reply::Applied { index, result: Ok(response) } => {
            format!("entry {index}, {}", response_of(response))
        }
        Reply::Applied { index, result: Err(error) } => format!("entry {index}, refused: {error}"),
        Reply::Barrier => "current".to_string(),
        Reply::Changed { index, config } => {
            let name = |m: &cluster::Member| {
                if m.learner { format!("{} (learner)", m.name) } else { m.name.clone() }
            };
            let names = config.members.iter().map(name);
            format!("entry {index}, members {}", names.collect::<Vec<_>>().join(" "))
        }
        Reply::ChangeRefused(error) => format!("not changed: {error}"),
        Reply::Refused(refusal) => {
            let missing = refusal.missing.join(" ");
            let missing = if missing.is_empty() { missing } else { format!(", missing {missing}") };
            let leader = refusal.leader.map_or(String::new(), |id| format!(", leader n{id}"));
            format!("not applied, {:?}{leader}{missing}", refusal.reason)
        }
        Reply::Unknown(reason) => format!("unknown, {reason:?}"),
    }
}

fn read(view: &View, key: &str) -> RangeResponse {
    view.read(&range_of(key)).expect("a plain range")
}

fn range_told(range: &mvcc::RangeResponse) -> String {
    let text = |blob: &Blob| String::from_utf8_lossy(blob).into_owned();
    let kvs = range.kvs.iter().map(|kv| format!("{}={}", text(&kv.key), text(&kv.value)));
    let kvs = kvs.collect::<Vec<_>>().join(" ");
    let kvs = if kvs.is_empty() { "nothing".to_string() } else { kvs };
    format!("{kvs} at revision {}", range.revision)
}

fn response_of(response: &Response) -> String {
    match response {
        Response::Put(put) => format!("revision {}", put.revision),
        Response::Delete(delete) => {
            format!("{} gone, revision {}", delete.deleted, delete.revision)
        }
        Response::Compact { revision } => format!("compacted, revision {revision}"),
        Response::LeaseGrant { id, ttl, .. } => format!("lease {id} for {ttl} s"),
        Response::LeaseRenew { ttls } => format!("{} s left", ttls[0].1),
        other => format!("{other:?}"),
    }
}

/// One line of what a replica says of itself; none for what is not asked for.
fn trace(kind: &TraceKind, shown: &[String]) -> Option<String> {
    let also = |word: &str| shown.iter().any(|shown| shown == word);
    Some(match kind {
        TraceKind::Proposed { id } => format!("proposes {id}"),
        TraceKind::Logged { id, index, ballot } => {
            format!("logs {id} as entry {index} of {ballot}")
        }
        TraceKind::Applied { index, id: Some(id), revision, .. } => {
            format!("applies entry {index}, {id}: revision {revision}")
        }
        TraceKind::Deduplicated { index, id } => format!("skips entry {index}: {id} again"),
        TraceKind::Changing { index, quorum, joint, .. } => {
            let joint = joint.as_ref().map_or(String::new(), |joint| format!(" and {joint}"));
            format!("logs entry {index}: {quorum}{joint} decides")
        }
        TraceKind::Installed { index } => format!("takes a checkpoint up to {index}"),
        TraceKind::Diverged { index } => format!("differs at {index}"),
        TraceKind::Persisted { ticket } if also("disk") => format!("has write {ticket} on disk"),
        TraceKind::Raft(event) => return raft(event, &also),
        _ => return None,
    })
}

fn raft(event: &Trace, also: &dyn Fn(&str) -> bool) -> Option<String> {
    let set = |set: quorum::NodeSet| {
        let names: Vec<_> = set.iter().map(|slot| format!("n{}", slot + 1)).collect();
        names.join("+")
    };
    Some(match event {
        Trace::Elected { ballot, votes } => format!("is elected {ballot} by {}", set(*votes)),
        Trace::SteppedDown { ballot, why } => format!("steps down from {ballot}: {why:?}"),
        Trace::Quorum { index, acked, .. } => format!("counts {} for entry {index}", set(*acked)),
        Trace::Transfer { to } => format!("hands over to n{to}"),
        Trace::Vote { ballot, to, granted: true } if also("votes") => {
            format!("votes for n{to} at {ballot}")
        }
        Trace::Vote { ballot, to, .. } if also("votes") => {
            format!("denies n{to} its vote at {ballot}")
        }
        Trace::Campaign { ballot } if also("votes") => format!("campaigns {ballot}"),
        Trace::ReadConfirmed { acked, .. } if also("reads") => {
            format!("is confirmed for reads by {}", set(*acked))
        }
        Trace::Appended { from, to, .. } if also("disk") => format!("appends {from} to {to}"),
        _ => return None,
    })
}
