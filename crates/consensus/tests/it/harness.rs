//! A deterministic cluster in memory: virtual time, encoded messages, disks that lose what was
//! not synced. It checks one leader per ballot, log matching and durability of commits at once.

use base::codec::Get;
use base::{Ballot, Birth, Blob, Incarnation, Life, LogIndex, Nanos, NodeId, Prng, Ticket};
use cluster::{BallotRule, Configuration, Member};
use consensus::raft::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

#[path = "harness/config.rs"]
pub mod config;
#[path = "harness/judge.rs"]
mod judge;
#[path = "harness/show.rs"]
mod show;
pub use config::{configuration, founded, member, propose_config};
use show::show;

pub struct Node {
    pub raft: Option<Raft>,
    pub disk: Recovered,
    pub unsynced: VecDeque<Persist>,
    pub stalled: bool,
    /// What its checkpoint states of the leaders that committed it.
    settled: Ballot,
    /// Its disk was damaged and the end of the repair is not durable.
    pub repair: Option<Repair>,
    pub birth: Birth,
    incarnation: u64,
    /// Milliseconds this node's clock is ahead of the cluster's.
    ahead: u64,
}

impl Node {
    /// Whether it knows after a restart that it takes part: by a configuration it knows committed,
    /// or by the one that founded the cluster. Another founding, which came to nothing, is
    /// overwritten, and its seats with it.
    fn seated_on_disk(&self, id: NodeId, committed: &BTreeMap<LogIndex, (Ballot, Blob)>) -> bool {
        let names = |c: &Configuration| c.member(id).is_some_and(|m| m.life.birth == self.birth);
        let founded = |e: &Entry| committed.get(&e.index).is_some_and(|(b, _)| *b == e.ballot);
        let mut configs = self.disk.entries.iter().filter(|e| e.kind == EntryKind::Config);
        names(&self.disk.base_config)
            || configs.any(|e| {
                let config = Configuration::decode(&e.payload).unwrap();
                let known = e.index <= self.disk.commit || config.change.founding && founded(e);
                known && names(&config)
            })
    }
}

enum Event {
    Deliver(NodeId, NodeId, Vec<u8>),
    Sync(NodeId, u64, Ticket),
    Snapshot(NodeId, NodeId),
    Repaired(NodeId, u64),
    /// Something was decided or begun there a moment ago: strike it.
    Ambush(NodeId),
    Start(NodeId),
    Mend(u64, u64),
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
    /// Percent of messages that come late, by at most so many milliseconds.
    pub late: u64,
    pub late_ms: u64,
    /// Milliseconds a write takes at most to be durable; 0: one each.
    pub slow: u64,
    /// Percent of elections, appends and commits of a leader after which it is struck at once.
    pub ambush: u64,
    pub append_bytes_max: usize,
    leaders: BTreeMap<Ballot, NodeId>,
    committed: BTreeMap<LogIndex, (Ballot, Blob)>,
    /// The highest entry committed under each ballot.
    decided: BTreeMap<Ballot, LogIndex>,
    seen: BTreeMap<NodeId, LogIndex>,
    pub reads: Vec<ReadOutcome>,
    /// Every start has a number of its own; else a restart is nobody's news.
    counts_starts: bool,
    /// Print who acknowledged what.
    pub show_acks: bool,
    /// A checkpoint may be installed while journal writes are under way, as on a real disk.
    pub lanes: bool,
    /// Configuration entries seen committed.
    pub configs_committed: usize,
    /// Disks that were damaged.
    pub damaged: usize,
    pub genesis: Configuration,
    steps: u64,
    /// What was committed when a node began its read.
    read_floor: BTreeMap<(NodeId, u64), LogIndex>,
    /// Reads of each node's life: numbers begin anew with it, as in the replica.
    reads_begun: BTreeMap<NodeId, u64>,
}

impl Cluster {
    pub fn new(config: Configuration, seed: u64) -> Self {
        Self::begin(config, seed, true)
    }

    /// A cluster whose members have met: what is shown is not how they do.
    pub fn met(config: Configuration, seed: u64) -> Self {
        Self::begin(founded(config), seed, false)
    }

    fn begin(config: Configuration, seed: u64, counts_starts: bool) -> Self {
        let mut cluster = Self {
            nodes: BTreeMap::new(),
            queue: BTreeMap::new(),
            seq: 0,
            now: 0,
            cut: BTreeSet::new(),
            lines: vec![],
            prng: Prng::new(seed),
            noise: (0, 0, 0),
            late: 0,
            late_ms: 400,
            slow: 0,
            ambush: 0,
            append_bytes_max: 200,
            leaders: BTreeMap::new(),
            committed: BTreeMap::new(),
            decided: BTreeMap::new(),
            seen: BTreeMap::new(),
            reads: vec![],
            counts_starts,
            show_acks: false,
            lanes: false,
            configs_committed: 0,
            damaged: 0,
            genesis: config.clone(),
            steps: 0,
            read_floor: BTreeMap::new(),
            reads_begun: BTreeMap::new(),
        };
        config.members.iter().for_each(|m| cluster.spare(m.id));
        cluster
    }

    /// A directory that was emptied: the node starts anew, under its old id.
    pub fn empty(&mut self, id: NodeId) {
        let old = self.nodes.remove(&id).expect("a node of the cluster");
        self.spare(id);
        self.nodes.get_mut(&id).unwrap().birth = Birth(old.birth.0 + 100);
        self.crash(id);
        self.start(id);
    }

    /// A node that knows the first configuration only, and may not be in it.
    pub fn spare(&mut self, id: NodeId) {
        let disk = Recovered {
            ballot: Ballot::ZERO,
            base: LogIndex(0),
            base_ballot: Ballot::ZERO,
            base_config: self.genesis.clone(),
            entries: vec![],
            commit: LogIndex(0),
        };
        let unsynced = VecDeque::new();
        let (stalled, repair) = (false, None);
        let settled = Ballot::ZERO;
        let (incarnation, ahead) = (0, 0);
        let (raft, birth) = (None, Birth(id.0));
        let node =
            Node { raft, disk, unsynced, stalled, settled, repair, birth, incarnation, ahead };
        assert!(self.nodes.insert(id, node).is_none(), "n{id} is there already");
        self.start(id);
    }

    /// A log as history left it, on the disk of a node that is down.
    pub fn plant(&mut self, id: NodeId, promise: Ballot, log: &[(Ballot, Blob)]) {
        let node = self.nodes.get_mut(&id).unwrap();
        assert!(node.raft.is_none(), "n{id} is running");
        node.disk.ballot = promise;
        let entry = |(i, (ballot, payload)): (u64, &(Ballot, Blob))| Entry {
            index: LogIndex(i),
            ballot: *ballot,
            kind: EntryKind::Data,
            payload: payload.clone(),
        };
        node.disk.entries = (1..).zip(log).map(entry).collect();
    }

    pub fn start(&mut self, id: NodeId) {
        let seed = self.prng.next_u64();
        let now = self.clock(id);
        let node = self.nodes.get_mut(&id).unwrap();
        if node.raft.is_some() {
            return;
        }
        node.incarnation += 1;
        let counts = self.counts_starts;
        let settings = Settings {
            id,
            birth: node.birth,
            incarnation: Incarnation(if counts { node.incarnation } else { 1 }),
            election_timeout_min: Nanos::from_millis(100),
            heartbeat_interval: Nanos::from_millis(20),
            seed,
            append_bytes_max: self.append_bytes_max,
            inflight_bytes_max: 400,
        };
        let mut raft = Raft::new(settings, node.disk.clone(), now).unwrap();
        raft.settled_by(node.settled);
        if let Some(repair) = node.repair {
            raft.repair(repair);
        }
        node.raft = Some(raft);
        self.reads_begun.remove(&id);
        self.seen.insert(id, LogIndex(0));
    }

    pub fn crash(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.raft = None;
        node.unsynced.clear();
    }

    /// Loses durable entries of a node that is down, if the others can go on without it and no
    /// other one is damaged. Its promise survives, and how far its log went.
    pub fn damage(&mut self, id: NodeId) -> bool {
        let others = self.nodes.iter().any(|(other, n)| *other != id && n.repair.is_some());
        let config = self.genesis.clone();
        let last = self.committed.values().rev().find_map(|(_, p)| Configuration::decode(p).ok());
        let written = last.unwrap_or_else(|| self.genesis.clone());
        let seated = |m: &&Member| {
            let node = &self.nodes[&m.id];
            let named = written.life_of(m.id).birth == node.birth;
            m.id != id && named && node.seated_on_disk(m.id, &self.committed)
        };
        let left = config.members.iter().filter(|m| !m.learner).filter(seated);
        let left: quorum::NodeSet = left.map(|m| m.slot).collect();
        let compiled = config.clone().compile().unwrap();
        let system = compiled.system();
        let enough = system.elect().is_quorum(left) && system.commit().is_quorum(left);
        let random = self.prng.next_u64();
        let node = self.nodes.get_mut(&id).unwrap();
        if node.raft.is_some() || others || !enough || node.disk.entries.is_empty() {
            return false;
        }
        let (ballot, disk) = (node.disk.ballot, &mut node.disk);
        let term = |e: &&Entry| e.ballot.term == ballot.term;
        let index = disk.entries.iter().rev().find(term).map_or(LogIndex(0), |e| e.index);
        disk.entries.truncate(random as usize % disk.entries.len());
        disk.commit = disk.commit.min(disk.entries.last().map_or(disk.base, |e| e.index));
        // Nothing is acknowledged while it repairs: the first facts stand.
        node.repair = Some(node.repair.unwrap_or(Repair { ballot, index }));
        self.lines.push(format!("{:>5} n{id} is damaged: {ballot} {index}", self.now));
        true
    }

    fn clock(&self, id: NodeId) -> Nanos {
        Nanos::from_millis(self.now + self.nodes.get(&id).map_or(0, |n| n.ahead))
    }

    /// Moves one node's clock to its next deadline.
    pub fn time_out(&mut self, id: NodeId) {
        let now = self.clock(id);
        let node = self.nodes.get_mut(&id).unwrap();
        let deadline = node.raft.as_ref().unwrap().deadline();
        node.ahead += deadline.since(now).0.div_ceil(1_000_000);
        self.with(id, |r, now, out| r.tick(now, out));
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
        let now = self.clock(id);
        let node = self.nodes.get_mut(&id)?;
        let mut out = Ready::default();
        let result = call(node.raft.as_mut()?, now, &mut out);
        let (stalled, incarnation) = (node.stalled, node.incarnation);
        let tickets: Vec<_> = out.persist.iter().map(|p| p.ticket).collect();
        node.unsynced.extend(out.persist);
        for ticket in tickets.into_iter().filter(|_| !stalled) {
            let delay = if self.slow == 0 { 1 } else { 1 + self.prng.below(self.slow) };
            self.push(delay, Event::Sync(id, incarnation, ticket));
        }
        out.messages.into_iter().for_each(|message| self.post(id, &message));
        if let Some(index) = out.repaired {
            assert!(
                self.nodes[&id].disk.entries.last().map_or(LogIndex(0), |e| e.index) >= index
                    || self.nodes[&id].disk.base >= index,
                "n{id} holds {index} durably"
            );
            let (node, raft) = (&self.nodes[&id], self.nodes[&id].raft.as_ref().unwrap());
            let facts = node.repair.expect("what ends was begun");
            let later = raft.ballot().term > facts.ballot.term;
            assert!(later || index >= facts.index, "n{id} ends its repair at {index}: {facts:?}");
            let delay = self.prng.below(30);
            self.push(delay, Event::Repaired(id, incarnation));
        }
        for to in out.snapshots {
            let delay = 10 + if self.late > 0 { self.prng.below(400) } else { 0 };
            self.push(delay, Event::Snapshot(id, to));
        }
        for trace in &out.trace {
            match trace {
                Trace::Elected { ballot, votes } => {
                    self.check_votes(id, *ballot, *votes);
                    self.check_leader(id, *ballot);
                }
                Trace::Quorum { index, acked, ballot } => {
                    let highest = self.decided.entry(*ballot).or_insert(*index);
                    *highest = (*highest).max(*index);
                    self.check_quorum(id, *index, *acked);
                }
                _ => {}
            }
            self.lie_in_wait(id, trace);
            if self.show_acks || !matches!(trace, Trace::Acked { .. }) {
                self.lines.push(format!("{:>5} n{id} {}", self.now, show(trace)));
            }
        }
        for read in out.reads {
            self.lines.push(format!("{:>5} n{id} read {} at {}", self.now, read.seq, read.index));
            assert!(read.index >= self.read_floor[&(id, read.seq)], "stale read {read:?}");
            self.reads.push(read);
        }
        self.check(id);
        Some(result)
    }

    fn post(&mut self, id: NodeId, message: &Message) {
        let speaks = match &message.body {
            Body::VoteReply { granted, .. } | Body::PreVoteReply { granted, .. } => *granted,
            Body::AppendReply { outcome: AppendOutcome::Matched(_), .. } => true,
            Body::RoundAck { .. } | Body::Vote { .. } | Body::PreVote { .. } => true,
            _ => false,
        };
        let damaged = self.nodes[&id].repair.is_some();
        assert!(!(speaks && damaged), "n{id} repairs and says {message:?}");
        self.check_stated(id, message);
        let mut bytes = vec![];
        message.encode(&mut bytes);
        let (loss, twice, jitter) = self.noise;
        let copies = 1 + u64::from(self.prng.below(100) < twice);
        for _ in 0..copies {
            let mut delay = 2 + self.prng.below(jitter + 1);
            if self.late > 0 && self.prng.below(100) < self.late {
                delay += self.prng.below(self.late_ms);
            }
            if self.prng.below(100) >= loss {
                self.push(delay, Event::Deliver(message.from, message.to, bytes.clone()));
            }
        }
    }

    /// Leaders are struck where it hurts: elected, with a new entry, or with a new commit that
    /// nobody knows of yet.
    fn lie_in_wait(&mut self, id: NodeId, trace: &Trace) {
        let leads = self.nodes[&id].raft.as_ref().is_some_and(Raft::is_leader);
        let worth = match trace {
            Trace::Elected { .. } | Trace::Quorum { .. } | Trace::Transfer { .. } => true,
            Trace::Appended { .. } => leads,
            _ => false,
        };
        if self.ambush > 0 && worth && self.prng.below(100) < self.ambush {
            let delay = self.prng.below(4);
            self.push(delay, Event::Ambush(id));
        }
    }

    /// Stops a leader, or cuts it from all, from all but one, or from some, for a while; or its
    /// peers are told that it is gone while it goes on alone.
    fn strike(&mut self, id: NodeId) {
        let span = 50 + self.prng.below(500);
        let how = self.prng.below(5);
        if how == 0 {
            self.crash(id);
            return self.push(span, Event::Start(id));
        }
        let peers: Vec<u64> = self.nodes.keys().map(|n| n.0).filter(|n| *n != id.0).collect();
        let spared = peers[self.prng.below(peers.len() as u64) as usize];
        for peer in peers {
            let cut = match how {
                1 | 4 => true,
                2 => peer != spared,
                _ => self.prng.below(2) == 0,
            };
            if cut {
                self.cut.insert((id.0, peer));
                self.cut.insert((peer, id.0));
                self.push(span, Event::Mend(id.0, peer));
            }
            if how == 4 {
                self.with(NodeId(peer), |r, now, out| r.peer_lost(now, id, out));
            }
        }
    }

    pub fn read(&mut self, id: NodeId, seq: u64) {
        let floor = self.committed.keys().last().copied().unwrap_or(LogIndex(0));
        self.read_floor.insert((id, seq), floor);
        self.with(id, |r, now, out| r.read(now, seq, out));
    }

    /// A read under the next number of the node's life.
    pub fn read_next(&mut self, id: NodeId) {
        let begun = self.reads_begun.entry(id).or_default();
        *begun += 1;
        let seq = *begun;
        self.read(id, seq);
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

    /// Syncs the oldest writes of a stalled disk.
    pub fn sync_some(&mut self, id: NodeId, count: usize) {
        let ticket = self.nodes[&id].unsynced.get(count - 1).map(|p| p.ticket);
        self.sync(id, ticket.expect("so many writes wait"));
    }

    fn sync(&mut self, id: NodeId, through: Ticket) {
        let node = self.nodes.get_mut(&id).unwrap();
        while node.unsynced.front().is_some_and(|p| p.ticket <= through) {
            let p = node.unsynced.pop_front().unwrap();
            let disk = &mut node.disk;
            assert!(p.ballot >= disk.ballot);
            disk.ballot = p.ballot;
            disk.commit = disk.commit.max(p.commit);
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
            node.settled = raft.settled();
            node.disk.base_config = raft.config_at(base).clone();
            node.disk.entries.retain(|e| e.index >= base);
            raft.compact(base);
        }
    }

    /// A stream to `to` that was opened before, perhaps for an earlier leader, brings what `from`
    /// has now.
    pub fn send_checkpoint(&mut self, from: NodeId, to: NodeId) {
        let delay = self.prng.below(30);
        self.push(delay, Event::Snapshot(from, to));
    }

    pub fn life_of(&self, id: NodeId) -> Life {
        let node = &self.nodes[&id];
        let start = if self.counts_starts { node.incarnation } else { 1 };
        Life { birth: node.birth, incarnation: Incarnation(start) }
    }

    /// `from`, which leads, hands over to `to`, and thinks better of it.
    pub fn hand_over(&mut self, from: NodeId, to: NodeId) {
        let ballot = self.nodes[&from].raft.as_ref().unwrap().ballot();
        let life = self.life_of(from);
        let message = Message { from, to, life, ballot, body: Body::TimeoutNow };
        self.with(to, |r, now, out| r.receive(now, message, out));
    }

    fn snapshot(&mut self, from: NodeId, to: NodeId) {
        let blocked = self.cut.contains(&(from.0, to.0));
        if blocked || self.nodes[&to].raft.is_none() || self.nodes[&to].stalled {
            self.with(from, |r, now, out| r.snapshot_done(now, to, false, out));
            return;
        }
        let d = self.nodes[&from].disk.clone();
        let settled = self.nodes[&from].settled;
        let last = self.nodes[&to].unsynced.back().map(|p| p.ticket);
        if let Some(last) = last.filter(|_| !self.lanes) {
            self.sync(to, last);
        }
        let node = self.nodes.get_mut(&to).unwrap();
        let raft = node.raft.as_ref().unwrap();
        if d.base > raft.commit() {
            node.disk.entries.retain(|e| e.index >= d.base);
            node.disk.base = d.base;
            node.disk.base_ballot = d.base_ballot;
            node.disk.base_config = d.base_config.clone();
            node.settled = settled;
            self.seen.insert(to, d.base);
        }
        let place = (d.base, d.base_ballot, settled);
        self.with(to, |r, now, out| r.installed(now, place, d.base_config, out));
        self.with(from, |r, now, out| r.snapshot_done(now, to, true, out));
    }

    pub fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        loop {
            let due = |n: &Node| {
                let deadline = n.raft.as_ref().map_or(u64::MAX, |r| r.deadline().0);
                deadline.div_ceil(1_000_000).saturating_sub(n.ahead)
            };
            let timer = self.nodes.iter().map(|(id, n)| (due(n), *id)).min();
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
            Event::Ambush(id) if self.ambush > 0 => self.strike(id),
            Event::Ambush(_) => {}
            Event::Start(id) => self.start(id),
            Event::Mend(a, b) => {
                self.cut.remove(&(a, b));
                self.cut.remove(&(b, a));
            }
            Event::Repaired(id, incarnation) => {
                let node = self.nodes.get_mut(&id).unwrap();
                if node.incarnation == incarnation && node.raft.is_some() {
                    node.repair = None;
                    self.with(id, |r, now, out| r.repaired(now, out));
                }
            }
        }
    }

    pub fn leader(&self) -> Option<NodeId> {
        let leads = |n: &Node| n.raft.as_ref().filter(|r| r.is_leader()).map(|r| r.ballot());
        let leaders = self.nodes.iter().filter_map(|(id, n)| Some((leads(n)?, *id)));
        leaders.max().map(|(_, id)| id)
    }
}
