//! A deterministic cluster in memory: virtual time, encoded messages, disks that lose what was
//! not synced. It checks one leader per ballot, log matching and durability of commits at once.

use base::codec::Get;
use base::{Ballot, Blob, Incarnation, LogIndex, Nanos, NodeId, Prng, Ticket};
use consensus::raft::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub struct Node {
    pub raft: Option<Raft>,
    disk: Recovered,
    unsynced: VecDeque<Persist>,
    pub stalled: bool,
    incarnation: u64,
}

enum Event {
    Deliver(NodeId, NodeId, Vec<u8>),
    Sync(NodeId, u64, Ticket),
    Snapshot(NodeId, NodeId),
}

pub struct Cluster {
    pub nodes: BTreeMap<NodeId, Node>,
    queue: BTreeMap<(u64, u64), Event>,
    seq: u64,
    pub now: u64,
    pub cut: BTreeSet<(u64, u64)>,
    pub lines: Vec<String>,
    pub prng: Prng,
    /// Percent of messages lost, sent twice; milliseconds of jitter.
    pub noise: (u64, u64, u64),
    leaders: BTreeMap<Ballot, NodeId>,
    committed: BTreeMap<LogIndex, (Ballot, Blob)>,
    seen: BTreeMap<NodeId, LogIndex>,
    pub reads: Vec<ReadOutcome>,
    read_floor: BTreeMap<u64, LogIndex>,
}

pub fn configuration(voters: u64, learners: u64, quorum: &str, rule: BallotRule) -> Configuration {
    let member = |id: u64| Member {
        id: NodeId(id),
        slot: id as u8 - 1,
        name: format!("n{id}"),
        learner: id > voters,
        peer_urls: vec![],
        client_urls: vec![],
    };
    let members = (1..=voters + learners).map(member).collect();
    let names: Vec<_> = (1..=voters).map(|i| format!("n{i}")).collect();
    let majority = format!("majority({})", names.join(","));
    let quorum = if quorum.is_empty() { majority } else { quorum.to_string() };
    Configuration { members, quorum, joint: None, rule, limits: vec![] }
}

impl Cluster {
    pub fn new(config: Configuration, seed: u64) -> Self {
        let nodes = config.members.iter().map(|m| {
            let disk = Recovered {
                ballot: Ballot::ZERO,
                base: LogIndex(0),
                base_ballot: Ballot::ZERO,
                base_config: config.clone(),
                entries: vec![],
                commit: LogIndex(0),
            };
            let unsynced = VecDeque::new();
            (m.id, Node { raft: None, disk, unsynced, stalled: false, incarnation: 0 })
        });
        let nodes: BTreeMap<_, _> = nodes.collect();
        let mut cluster = Self {
            nodes,
            queue: BTreeMap::new(),
            seq: 0,
            now: 0,
            cut: BTreeSet::new(),
            lines: vec![],
            prng: Prng::new(seed),
            noise: (0, 0, 0),
            leaders: BTreeMap::new(),
            committed: BTreeMap::new(),
            seen: BTreeMap::new(),
            reads: vec![],
            read_floor: BTreeMap::new(),
        };
        let ids: Vec<_> = cluster.nodes.keys().copied().collect();
        ids.into_iter().for_each(|id| cluster.start(id));
        cluster
    }

    pub fn start(&mut self, id: NodeId) {
        let seed = self.prng.next_u64();
        let now = self.nanos();
        let node = self.nodes.get_mut(&id).unwrap();
        if node.raft.is_some() {
            return;
        }
        node.incarnation += 1;
        let settings = Settings {
            id,
            incarnation: Incarnation(node.incarnation),
            election_timeout_min: Nanos::from_millis(100),
            heartbeat_interval: Nanos::from_millis(20),
            seed,
            append_bytes_max: 200,
            inflight_bytes_max: 400,
        };
        node.raft = Some(Raft::new(settings, node.disk.clone(), now).unwrap());
        self.seen.insert(id, LogIndex(0));
    }

    pub fn crash(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.raft = None;
        node.unsynced.clear();
    }

    fn nanos(&self) -> Nanos {
        Nanos::from_millis(self.now)
    }

    fn push(&mut self, delay: u64, event: Event) {
        self.seq += 1;
        self.queue.insert((self.now + delay, self.seq), event);
    }

    /// Runs one call of a live node and takes its effects.
    pub fn with<T>(
        &mut self,
        id: NodeId,
        call: impl FnOnce(&mut Raft, Nanos, &mut Ready) -> T,
    ) -> Option<T> {
        let now = self.nanos();
        let node = self.nodes.get_mut(&id)?;
        let mut out = Ready::default();
        let result = call(node.raft.as_mut()?, now, &mut out);
        let (stalled, incarnation) = (node.stalled, node.incarnation);
        let tickets: Vec<_> = out.persist.iter().map(|p| p.ticket).collect();
        node.unsynced.extend(out.persist);
        for ticket in tickets {
            if !stalled {
                self.push(1, Event::Sync(id, incarnation, ticket));
            }
        }
        for message in out.messages {
            let mut bytes = vec![];
            message.encode(&mut bytes);
            let (loss, twice, jitter) = self.noise;
            let copies = 1 + u64::from(self.prng.below(100) < twice);
            for _ in 0..copies {
                let delay = 2 + self.prng.below(jitter + 1);
                if self.prng.below(100) >= loss {
                    self.push(delay, Event::Deliver(message.from, message.to, bytes.clone()));
                }
            }
        }
        out.snapshots.into_iter().for_each(|to| self.push(10, Event::Snapshot(id, to)));
        for trace in &out.trace {
            if let Trace::Elected { ballot, .. } = trace {
                let other = self.leaders.insert(*ballot, id);
                assert!(other.is_none(), "{ballot} elected {id} and {other:?}");
            }
            if !matches!(trace, Trace::Acked { .. }) {
                self.lines.push(format!("{:>5} n{id} {}", self.now, show(trace)));
            }
        }
        for read in out.reads {
            self.lines.push(format!("{:>5} n{id} read {} {:?}", self.now, read.seq, read.result));
            if let Ok(index) = read.result {
                assert!(index >= self.read_floor[&read.seq], "stale read {read:?}");
            }
            self.reads.push(read);
        }
        self.check(id);
        Some(result)
    }

    /// Every commit agrees with every other, and none is ever lost.
    fn check(&mut self, id: NodeId) {
        let Some(raft) = &self.nodes[&id].raft else { return };
        let from = self.seen[&id].next();
        for entry in raft.entries(from, raft.commit()) {
            let value = (entry.ballot, entry.payload.clone());
            let known = self.committed.entry(entry.index).or_insert_with(|| value.clone());
            assert_eq!(*known, value, "n{id} committed another entry at {}", entry.index);
        }
        self.seen.insert(id, raft.commit());
    }

    pub fn read(&mut self, id: NodeId, seq: u64) {
        let floor = self.committed.keys().last().copied().unwrap_or(LogIndex(0));
        self.read_floor.insert(seq, floor);
        self.with(id, |r, now, out| r.read(now, seq, out));
    }

    /// Syncs what waited on a stalled disk.
    pub fn unstall(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.stalled = false;
        let incarnation = node.incarnation;
        if let Some(last) = node.unsynced.back().map(|p| p.ticket) {
            self.push(1, Event::Sync(id, incarnation, last));
        }
    }

    fn sync(&mut self, id: NodeId, through: Ticket) {
        let node = self.nodes.get_mut(&id).unwrap();
        while node.unsynced.front().is_some_and(|p| p.ticket <= through) {
            let p = node.unsynced.pop_front().unwrap();
            let disk = &mut node.disk;
            assert!(p.ballot >= disk.ballot);
            disk.ballot = p.ballot;
            if let Some(from) = p.truncate_from {
                disk.entries.retain(|e| e.index < from);
            }
            disk.entries.extend(p.entries.into_iter().filter(|e| e.index >= disk.base));
        }
        self.with(id, |r, now, out| r.persisted(now, through, out));
    }

    pub fn compact(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        let Some(raft) = &mut node.raft else { return };
        let base = raft.commit();
        if base > node.disk.base {
            node.disk.base_ballot = raft.ballot_at(base).unwrap();
            node.disk.base = base;
            node.disk.base_config = raft.config().clone();
            node.disk.entries.retain(|e| e.index >= base);
            raft.compact(base);
        }
    }

    fn snapshot(&mut self, from: NodeId, to: NodeId) {
        let blocked = self.cut.contains(&(from.0, to.0));
        if blocked || self.nodes[&to].raft.is_none() || self.nodes[&to].stalled {
            self.with(from, |r, now, out| r.snapshot_done(now, to, false, out));
            return;
        }
        let d = self.nodes[&from].disk.clone();
        if let Some(last) = self.nodes[&to].unsynced.back().map(|p| p.ticket) {
            self.sync(to, last);
        }
        let node = self.nodes.get_mut(&to).unwrap();
        let raft = node.raft.as_ref().unwrap();
        if d.base > raft.commit() {
            node.disk.entries.retain(|e| e.index >= d.base);
            node.disk.base = d.base;
            node.disk.base_ballot = d.base_ballot;
            node.disk.base_config = d.base_config.clone();
            self.seen.insert(to, d.base);
        }
        let (base, ballot) = (d.base, d.base_ballot);
        self.with(to, |r, now, out| r.installed(now, base, ballot, d.base_config, out));
        self.with(from, |r, now, out| r.snapshot_done(now, to, true, out));
    }

    pub fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        loop {
            let due = |n: &Node| n.raft.as_ref().map_or(u64::MAX, |r| r.deadline().0);
            let timer = self.nodes.iter().map(|(id, n)| (due(n).div_ceil(1_000_000), *id)).min();
            let (at, id) = timer.unwrap();
            let event = self.queue.keys().next().copied();
            if event.is_some_and(|(t, _)| t <= at.max(self.now) && t <= end) {
                let ((t, _), event) = self.queue.pop_first().unwrap();
                self.now = self.now.max(t);
                self.handle(event);
            } else if at <= end {
                self.now = self.now.max(at);
                self.with(id, |r, now, out| r.tick(now, out));
            } else {
                break;
            }
        }
        self.now = end;
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Deliver(from, to, bytes) => {
                if !self.cut.contains(&(from.0, to.0)) {
                    let message = Message::decode(&mut Get::new(&bytes)).unwrap();
                    self.with(to, |r, now, out| r.receive(now, message, out));
                }
            }
            Event::Sync(id, incarnation, ticket) => {
                let node = &self.nodes[&id];
                if node.incarnation == incarnation && !node.stalled && node.raft.is_some() {
                    self.sync(id, ticket);
                }
            }
            Event::Snapshot(from, to) => self.snapshot(from, to),
        }
    }

    pub fn leader(&self) -> Option<NodeId> {
        let leads = |n: &Node| n.raft.as_ref().filter(|r| r.is_leader()).map(|r| r.ballot());
        let leaders = self.nodes.iter().filter_map(|(id, n)| Some((leads(n)?, *id)));
        leaders.max().map(|(_, id)| id)
    }
}

fn show(trace: &Trace) -> String {
    let set =
        |s: &quorum::NodeSet| s.iter().map(|s| format!("n{}", s + 1)).collect::<Vec<_>>().join("+");
    match trace {
        Trace::BecameFollower { ballot, leader } => {
            format!("follows {} at {ballot}", leader.map_or("nobody".into(), |l| format!("n{l}")))
        }
        Trace::PreCampaign { ballot } => format!("pre-campaigns {ballot}"),
        Trace::Campaign { ballot } => format!("campaigns {ballot}"),
        Trace::Vote { ballot, to, granted } => {
            format!("{} n{to} at {ballot}", if *granted { "votes for" } else { "refuses" })
        }
        Trace::Elected { ballot, votes } => format!("elected {ballot} by {}", set(votes)),
        Trace::SteppedDown { ballot, why } => format!("steps down from {ballot}: {why:?}"),
        Trace::Appended { from, to, ballot } => format!("appends {from}..={to} at {ballot}"),
        Trace::Acked { by, index } => format!("hears n{by} has {index}"),
        Trace::Quorum { index, acked, ballot } => {
            format!("quorum for {index} at {ballot}: {}", set(acked))
        }
        Trace::Committed { index } => format!("commits {index}"),
        Trace::Transfer { to } => format!("hands over to n{to}"),
        Trace::ReadConfirmed { seq, acked } => format!("confirms read {seq}: {}", set(acked)),
    }
}
