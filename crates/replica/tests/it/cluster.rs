//! The harness: one heap of future events, one seed.

use base::{Ballot, Blob, ClusterTime, Incarnation, LogIndex, Nanos, NodeId, Prng, Ticket, Token};
use cluster::{BallotRule, Configuration, Member};
use consensus::raft::{Entry, Recovered, Settings};
use mvcc::{Command, PutRequest, RangeRequest, RangeResponse, View};
use replica::{
    CheckpointJob, Effects, Event, Installed, PeerBody, PeerMessage, Replica, ReplicaRecovered,
    ReplicaSettings, Reply, Status, TraceKind,
};
use std::collections::{BTreeMap, BTreeSet};

/// What survives a crash.
#[derive(Default, Clone)]
struct Disk {
    ballot: Ballot,
    /// What the journal says is committed.
    commit: LogIndex,
    entries: Vec<Entry>,
    checkpoint: Option<Checkpoint>,
}

#[derive(Clone)]
struct Checkpoint {
    index: LogIndex,
    ballot: Ballot,
    config: Configuration,
    records: Vec<Vec<u8>>,
    extra: Vec<u8>,
}

enum What {
    /// From, to, bytes.
    Frame(usize, usize, Vec<u8>),
    Persisted(usize, u64, Ticket),
    Checkpoint(usize, u64, Box<Checkpoint>),
    Merged(usize, u64, Box<mvcc::Settled>),
    /// The newest checkpoint of one goes to another.
    Snapshot(usize, usize),
}

pub struct Cluster {
    pub loss_percent: u64,
    pub duplicate_percent: u64,
    /// Of the copies, those that come after as much as five seconds.
    pub late_percent: u64,
    /// A node whose state is corrupt, as the others see it: it tells them another hash.
    pub corrupt: Option<usize>,
    /// Hashes it told.
    pub lies: u64,
    /// (from, to) links that carry nothing.
    pub cut: BTreeSet<(usize, usize)>,
    /// Nodes that were told, or saw, that they have left.
    pub removed: BTreeSet<usize>,
    /// What every empty node goes by.
    genesis: Configuration,
    /// Units of work on committed entries in one step, of whoever starts from now on.
    pub apply_budget: u64,
    /// Time that a step of these nodes takes while there is more to apply.
    pub apply_pause: BTreeMap<usize, Nanos>,
    /// When each node took its last step.
    stepped: Vec<Nanos>,
    /// Nodes whose disk finishes nothing.
    pub stalled: BTreeSet<usize>,
    /// Checkpoints that took the place of a log.
    pub installs: usize,
    /// Chain and content hash at each applied index, as the first replica there had them.
    hashes: BTreeMap<LogIndex, (u64, u64)>,
    pub replies: BTreeMap<(usize, Token), Vec<Reply>>,
    /// What waits for its barrier, and what was found behind one.
    looks: BTreeMap<Token, Look>,
    pub found: BTreeMap<(usize, Token), Vec<RangeResponse>>,
    now: Nanos,
    order: u64,
    heap: BTreeMap<(Nanos, u64), What>,
    nodes: Vec<Option<Replica>>,
    lives: Vec<u64>,
    disks: Vec<Disk>,
    /// Written but not yet durable, per node.
    pending: Vec<Vec<consensus::raft::Persist>>,
    pub prng: Prng,
    token: u64,
    /// What happened since somebody looked, for those who tell it.
    pub told: Vec<(Nanos, usize, Told)>,
}

/// What a replica said, to its shell or of itself.
pub enum Told {
    Trace(TraceKind),
    Reply(Token, Reply),
    /// What was looked for behind a barrier.
    Found(Token, Vec<RangeResponse>),
}

/// What is looked for in the data once that may be.
type Look = Box<dyn FnOnce(&View) -> Vec<RangeResponse>>;

pub fn command_put(key: &str, value: &str) -> Command {
    Command::Put(PutRequest {
        key: Blob::from(key.as_bytes()),
        value: Blob::from(value.as_bytes()),
        lease: 0,
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    })
}

pub fn range_of(key: &str) -> RangeRequest {
    RangeRequest { key: Blob::from(key.as_bytes()), ..RangeRequest::default() }
}

fn restored(records: Vec<Vec<u8>>) -> mvcc::Store {
    mvcc::Store::restore(mvcc::Limits::default(), records).expect("own checkpoints are whole")
}

fn configuration(count: usize, quorum: &str) -> Configuration {
    let members: Vec<Member> = (0..count)
        .map(|slot| Member {
            id: NodeId(slot as u64 + 1),
            slot: slot as u8,
            name: format!("n{}", slot + 1),
            learner: false,
            peer_urls: vec![],
            client_urls: vec![],
            life: base::Life::UNKNOWN,
        })
        .collect();
    let names: Vec<_> = members.iter().map(|m| m.name.clone()).collect();
    Configuration {
        protocol: cluster::Protocol::Raft,
        members,
        quorum: quorum.replace("ALL", &names.join(", ")),
        joint: None,
        rule: BallotRule::SharedTerms,
        limits: vec![],
        change: Default::default(),
    }
}

impl Cluster {
    pub fn new(count: usize, seed: u64) -> Self {
        Self::with_quorum(count, seed, "majority(ALL)")
    }

    /// One whose quorum text has `ALL` for the names of all members.
    pub fn with_quorum(count: usize, seed: u64, quorum: &str) -> Self {
        let mut cluster = Self {
            loss_percent: 0,
            duplicate_percent: 0,
            late_percent: 0,
            corrupt: None,
            lies: 0,
            cut: BTreeSet::new(),
            removed: BTreeSet::new(),
            genesis: configuration(count, quorum),
            apply_budget: 1000,
            apply_pause: BTreeMap::new(),
            stepped: vec![Nanos::ZERO; count],
            stalled: BTreeSet::new(),
            installs: 0,
            hashes: BTreeMap::new(),
            replies: BTreeMap::new(),
            looks: BTreeMap::new(),
            found: BTreeMap::new(),
            now: Nanos(1),
            order: 0,
            heap: BTreeMap::new(),
            nodes: (0..count).map(|_| None).collect(),
            lives: vec![0; count],
            disks: vec![Disk::default(); count],
            pending: vec![Vec::new(); count],
            prng: Prng::new(seed),
            token: 0,
            told: Vec::new(),
        };
        for node in 0..count {
            cluster.restart(node);
        }
        cluster
    }

    /// A node with an empty disk that knows the bootstrap configuration; not in it.
    pub fn newcomer(&mut self) -> usize {
        self.nodes.push(None);
        self.stepped.push(self.now);
        self.lives.push(0);
        self.disks.push(Disk::default());
        self.pending.push(Vec::new());
        self.restart(self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    pub fn config(&self, node: usize) -> Configuration {
        Configuration::clone(self.nodes[node].as_ref().expect("the node runs").raft().config())
    }

    /// Runs until the leader's configuration is committed and nothing is left to do in it.
    pub fn run_until_settled(&mut self) -> Configuration {
        for _ in 0..600 {
            let leader = self.run_until_leader();
            let raft = self.nodes[leader].as_ref().expect("it leads").raft();
            if raft.config_is_committed() && !raft.config().is_changing() {
                return Configuration::clone(raft.config());
            }
            self.run_for(Nanos::from_millis(50));
        }
        panic!("a change did not end within 30 virtual seconds");
    }

    pub fn restart(&mut self, node: usize) {
        assert!(self.nodes[node].is_none(), "a running node is not restarted");
        self.lives[node] += 1;
        let disk = self.disks[node].clone();
        let settings = ReplicaSettings {
            raft: Settings {
                id: NodeId(node as u64 + 1),
                birth: base::Birth(node as u64 + 1),
                incarnation: Incarnation(self.lives[node]),
                election_timeout_min: Nanos::from_millis(1000),
                heartbeat_interval: Nanos::from_millis(100),
                seed: self.prng.next_u64(),
                append_bytes_max: 1 << 20,
                inflight_bytes_max: 8 << 20,
            },
            pending_max: 1000,
            pending_bytes_max: 1 << 20,
            request_timeout: Nanos::from_millis(7000),
            leaderless_wait: Nanos::from_millis(3000),
            catchup_entries: 10,
            apply_budget: self.apply_budget,
            settle_versions: 3,
            settle_bytes: usize::MAX,
            trace: true,
        };
        let (base, base_ballot, base_config, store, extra) = match disk.checkpoint {
            None => {
                let store = mvcc::Store::new(mvcc::Limits::default());
                (LogIndex::ZERO, Ballot::ZERO, self.genesis.clone(), store, vec![])
            }
            Some(c) => (c.index, c.ballot, c.config, restored(c.records), c.extra),
        };
        let recovered = ReplicaRecovered {
            raft: Recovered {
                ballot: disk.ballot,
                base,
                base_ballot,
                base_config,
                entries: disk.entries,
                commit: disk.commit,
            },
            store,
            extra,
            known: disk.commit,
        };
        let replica = Replica::new(settings, recovered, self.now).expect("the quorum is safe");
        assert!(replica.cluster_time() >= ClusterTime::ZERO);
        self.nodes[node] = Some(replica);
    }

    /// Whether those who run tell what happens.
    pub fn set_tracing(&mut self, on: bool) {
        self.nodes.iter_mut().flatten().for_each(|node| node.set_tracing(on));
    }

    /// Power is lost: what was not durable is gone.
    pub fn crash(&mut self, node: usize) {
        assert!(self.nodes[node].take().is_some(), "only a running node crashes");
        self.pending[node].clear();
    }

    pub fn store(&self, node: usize) -> &mvcc::Store {
        self.nodes[node].as_ref().expect("the node runs").store()
    }

    pub fn status(&self, node: usize) -> Status {
        self.nodes[node].as_ref().expect("the node runs").status()
    }

    pub fn event(&mut self, node: usize, make: impl FnOnce(Token) -> Event) -> Token {
        self.token += 1;
        let token = Token(self.token);
        self.step(node, make(token));
        token
    }

    /// As a shell reads: behind a barrier, from a view.
    pub fn look(
        &mut self,
        node: usize,
        look: impl FnOnce(&View) -> Vec<RangeResponse> + 'static,
    ) -> Token {
        self.looks.insert(Token(self.token + 1), Box::new(look));
        self.event(node, |token| Event::ReadBarrier { token })
    }

    /// A linearizable read of one range.
    pub fn read(&mut self, node: usize, request: RangeRequest) -> Token {
        self.look(node, move |view| vec![view.read(&request).expect("a plain range")])
    }

    pub fn await_range(&mut self, node: usize, token: Token) -> RangeResponse {
        let reply = self.await_reply(node, token);
        let found = self.found.get(&(node, token)).unwrap_or_else(|| panic!("no range: {reply:?}"));
        found[0].clone()
    }

    /// A frame as the network could bring it, now.
    pub fn deliver(&mut self, message: PeerMessage) {
        self.step(message.to.0 as usize - 1, Event::Message(message));
    }

    pub fn await_reply(&mut self, node: usize, token: Token) -> Reply {
        for _ in 0..200 {
            if let Some(replies) = self.replies.get(&(node, token)) {
                return replies[0].clone();
            }
            self.run_for(Nanos::from_millis(100));
        }
        panic!("no answer within 20 virtual seconds");
    }

    pub fn run_until_leader(&mut self) -> usize {
        for _ in 0..300 {
            let mut leaders: Vec<_> = (0..self.nodes.len())
                .filter(|n| self.nodes[*n].as_ref().is_some_and(|r| r.raft().leader_ready()))
                .filter(|n| self.status(*n).is_leader)
                .collect();
            leaders.sort_by_key(|n| self.status(*n).ballot);
            if let Some(leader) = leaders.pop() {
                return leader;
            }
            self.run_for(Nanos::from_millis(100));
        }
        panic!("no leader within 30 virtual seconds");
    }

    pub fn run_for(&mut self, time: Nanos) {
        let end = self.now.plus(time);
        loop {
            let due = self.heap.first_key_value().map_or(end, |((at, _), _)| *at);
            let timer = (0..self.nodes.len())
                .filter_map(|n| self.nodes[n].as_ref().map(|r| (self.due(n, r), n)))
                .min();
            if let Some((at, node)) = timer
                && at <= due
                && at < end
            {
                self.now = Nanos(self.now.0.max(at.0) + 1);
                self.step(node, Event::Tick);
                continue;
            }
            if due >= end {
                self.now = end;
                return;
            }
            self.now = self.now.max(due);
            let (_, what) = self.heap.pop_first().expect("an event is due");
            self.handle(what);
        }
    }

    fn due(&self, node: usize, replica: &Replica) -> Nanos {
        let pause = self.apply_pause.get(&node).filter(|_| replica.is_applying());
        let pause = pause.copied().unwrap_or_default();
        replica.deadline().max(self.stepped[node].plus(pause)).max(self.now)
    }

    pub fn replica(&self, node: usize) -> &Replica {
        self.nodes[node].as_ref().expect("the node runs")
    }

    /// The checkpoint on its disk: index and revision.
    pub fn checkpointed(&self, node: usize) -> Option<(LogIndex, i64)> {
        let checkpoint = self.disks[node].checkpoint.clone()?;
        Some((checkpoint.index, restored(checkpoint.records).revision()))
    }

    pub fn runs(&self, node: usize) -> bool {
        self.nodes[node].is_some()
    }

    pub fn unstall(&mut self, node: usize) {
        self.stalled.remove(&node);
        if let Some(ticket) = self.pending[node].last().map(|p| p.ticket) {
            self.push(self.now, What::Persisted(node, self.lives[node], ticket));
        }
    }

    fn handle(&mut self, what: What) {
        match what {
            What::Frame(from, to, bytes) => {
                if !self.cut.contains(&(from, to)) {
                    let message = PeerMessage::decode(&bytes).expect("own frames decode");
                    self.step(to, Event::Message(message));
                }
            }
            What::Persisted(node, life, ticket) => {
                let alive = self.lives[node] == life && self.nodes[node].is_some();
                if alive && !self.stalled.contains(&node) {
                    self.persist(node, ticket);
                    self.step(node, Event::Persisted(ticket));
                }
            }
            What::Merged(node, life, settled) => {
                if self.lives[node] == life && self.runs(node) {
                    self.step(node, Event::Settled(settled));
                }
            }
            What::Checkpoint(node, life, checkpoint) => {
                let newest = self.disks[node].checkpoint.as_ref().map(|c| c.index);
                if self.lives[node] == life && self.runs(node) && newest < Some(checkpoint.index) {
                    let index = checkpoint.index;
                    self.disks[node].checkpoint = Some(*checkpoint);
                    self.release(node, index);
                    self.step(node, Event::CheckpointWritten { index });
                }
            }
            What::Snapshot(from, to) => self.transfer(from, to),
        }
    }

    /// The journal keeps the entry at the checkpoint and what is not yet durable anyway.
    fn release(&mut self, node: usize, index: LogIndex) {
        self.disks[node].entries.retain(|e| e.index >= index);
    }

    fn transfer(&mut self, from: usize, to: usize) {
        let checkpoint = self.disks[from].checkpoint.clone().expect("a log was cut for one");
        let to_id = NodeId(to as u64 + 1);
        let ok = self.runs(to) && !self.cut.contains(&(from, to)) && !self.stalled.contains(&to);
        if ok {
            let Checkpoint { index, ballot, config, records, extra } = checkpoint.clone();
            if self.status(to).applied < index {
                self.installs += 1;
                self.disks[to].checkpoint = Some(checkpoint);
            }
            let store = restored(records);
            let installed = Installed { index, ballot, config, store, extra };
            self.step(to, Event::Install(Box::new(installed)));
        }
        self.step(from, Event::SnapshotSent { to: to_id, ok });
    }

    fn persist(&mut self, node: usize, upto: Ticket) {
        let disk = &mut self.disks[node];
        for persist in self.pending[node].extract_if(.., |p| p.ticket <= upto) {
            disk.ballot = persist.ballot;
            disk.commit = disk.commit.max(persist.commit);
            if let Some(from) = persist.truncate_from {
                disk.entries.retain(|e| e.index < from);
            }
            disk.entries.extend(persist.entries);
        }
    }

    fn step(&mut self, node: usize, event: Event) {
        let Some(replica) = self.nodes.get_mut(node).and_then(Option::as_mut) else { return };
        let mut out = Effects::default();
        self.stepped[node] = self.now;
        replica.step(self.now, event, &mut out);
        assert!(out.diverged.is_none(), "equal logs give equal states");
        if out.removed {
            self.removed.insert(node);
        }
        let status = replica.status();
        let hashes = (status.chain_hash, status.content_hash);
        if !replica.raft().is_witness() {
            let known = *self.hashes.entry(status.applied).or_insert(hashes);
            assert_eq!(known, hashes, "node {node} differs at applied index {}", status.applied);
        }
        self.carry_out(node, out);
    }

    fn carry_out(&mut self, node: usize, mut out: Effects) {
        if let Some(job) = out.checkpoint.take() {
            let CheckpointJob { view, index, ballot, config, extra } = job;
            let records = view.checkpoint_records().collect::<Vec<_>>();
            let checkpoint = Checkpoint { index, ballot, config, records, extra };
            let at = self.now.plus(Nanos(1 + self.prng.below(50_000_000)));
            self.push(at, What::Checkpoint(node, self.lives[node], Box::new(checkpoint)));
        }
        if let Some(settling) = out.settle.take() {
            let at = self.now.plus(Nanos(5_000_000));
            let settled = Box::new(settling.run());
            self.push(at, What::Merged(node, self.lives[node], settled));
        }
        for to in out.snapshots {
            let at = self.now.plus(Nanos(1 + self.prng.below(50_000_000)));
            self.push(at, What::Snapshot(node, to.0 as usize - 1));
        }
        for persist in out.persist {
            let ticket = persist.ticket;
            self.pending[node].push(persist);
            let delay = Nanos(200_000 + self.prng.below(2_000_000));
            // The log lane is one FIFO: completion times never overtake.
            let last = self.last_persist(node);
            let at = self.now.plus(delay).max(last);
            self.push(at, What::Persisted(node, self.lives[node], ticket));
        }
        if let Some(index) = out.known {
            self.disks[node].commit = self.disks[node].commit.max(index);
        }
        for mut message in out.send {
            let to = message.to.0 as usize - 1;
            if let PeerBody::StateHash { chain, .. } = &mut message.body
                && self.corrupt == Some(node)
            {
                *chain ^= 1;
                self.lies += 1;
            }
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            if self.prng.below(100) < self.loss_percent {
                continue;
            }
            let copies = if self.prng.below(100) < self.duplicate_percent { 2 } else { 1 };
            for copy in 0..copies {
                let mut at = self.now.plus(Nanos(100_000 + self.prng.below(3_000_000)));
                if copy > 0 && self.late_percent > 0 && self.prng.below(100) < self.late_percent {
                    at = at.plus(Nanos(self.prng.below(5_000_000_000)));
                }
                self.push(at, What::Frame(node, to, bytes.clone()));
            }
        }
        let told = out.trace.into_iter().map(|event| Told::Trace(event.kind));
        self.told.extend(told.map(|told| (self.now, node, told)));
        self.answer(node, out.replies);
        if self.removed.contains(&node) && self.runs(node) {
            self.crash(node); // the shell stops
        }
    }

    /// Looks for what was asked for behind a barrier that is passed now.
    fn answer(&mut self, node: usize, replies: Vec<(Token, Reply)>) {
        for (token, reply) in replies {
            let look = self.looks.remove(&token).filter(|_| matches!(reply, Reply::Barrier));
            let told = match look {
                None => Told::Reply(token, reply.clone()),
                Some(look) => {
                    let found = look(&self.store(node).view());
                    self.found.insert((node, token), found.clone());
                    Told::Found(token, found)
                }
            };
            self.told.push((self.now, node, told));
            self.replies.entry((node, token)).or_default().push(reply);
        }
    }

    fn last_persist(&self, node: usize) -> Nanos {
        self.heap
            .iter()
            .rev()
            .find(|(_, what)| matches!(what, What::Persisted(n, _, _) if *n == node))
            .map_or(self.now, |((at, _), _)| *at)
    }

    fn push(&mut self, at: Nanos, what: What) {
        self.order += 1;
        self.heap.insert((at, self.order), what);
    }
}
