//! One life: a cluster, its network, disks, clocks and clients under one agenda.

mod change;
mod checkpoint;
mod chores;
mod clients;
mod fault;
mod finish;
mod log;
mod meet;
mod mend;
mod net;
mod reads;
mod repair;
mod script;
mod standing;
mod start;
mod step;
mod target;
mod watch;

use crate::agenda::{Agenda, What};
use crate::client::{Answer, Memory, Op};
use crate::disk::SimDisk;
use crate::judge::{Judge, Violation};
use crate::ledger::Ledger;
use crate::node::{Node, Process, Stage};
use crate::plan::{self, Plan};
use crate::stats::Stats;
use crate::tracer::Tracer;
use base::{Nanos, NodeId, Prng};
use cluster::{Change, Configuration};
use fault::Relief;
use net::{Links, Parcel};
use reads::Look;
use replica::Effects;
use std::collections::BTreeMap;
use watch::{Delivery, Watcher};

pub use script::{Picture, Told};

/// A store of things on their way, by number.
pub(crate) struct Slab<T> {
    items: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { items: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub fn put(&mut self, item: T) -> u32 {
        if let Some(at) = self.free.pop() {
            self.items[at as usize] = Some(item);
            return at;
        }
        self.items.push(Some(item));
        u32::try_from(self.items.len() - 1).expect("far fewer things are on their way")
    }

    pub fn take(&mut self, at: u32) -> Option<T> {
        let item = self.items.get_mut(at as usize)?.take();
        if item.is_some() {
            self.free.push(at);
        }
        item
    }
}

/// One client's place.
#[derive(Default)]
struct Client {
    memory: Memory,
    node: u8,
}

/// Independent streams, so that one more draw of one kind shifts no other.
struct Streams {
    net: Prng,
    disk: Prng,
    client: Prng,
    node: Prng,
}

pub struct World {
    pub plan: Plan,
    pub now: Nanos,
    pub judge: Judge,
    pub stats: Stats,
    pub tracer: Tracer,
    config: Configuration,
    agenda: Agenda,
    random: Streams,
    pub(crate) nodes: Vec<Node>,
    links: Links,
    parcels: Slab<Parcel>,
    ops: Vec<Op>,
    clients: Vec<Client>,
    looks: Slab<Look>,
    /// Rounds asked for so far.
    rounds: u64,
    answers: Slab<(u32, Answer)>,
    watchers: Vec<Watcher>,
    deliveries: Slab<Delivery>,
    transfers: Slab<checkpoint::Transfer>,
    asks: Slab<Change>,
    /// An operator waits until then.
    change_after: Nanos,
    reliefs: BTreeMap<u32, Relief>,
    relief_next: u32,
    /// Clients ask for nothing new.
    closing: bool,
    /// Faults have stopped for good.
    healed: bool,
    effects: Effects,
    /// Leaders elected in a row while no commit set ran.
    in_vain: u32,
    /// Every revision that was the newest at some time, from when on.
    heads: Vec<(Nanos, i64)>,
}

impl World {
    /// # Errors
    /// A quorum system that is unsafe.
    pub fn new(plan: Plan, tracer: Tracer) -> Result<Self, String> {
        let config = plan.configuration();
        let mut seeds = Prng::new(plan.seed);
        let mut stream = || Prng::new(seeds.next_u64());
        let mut random =
            Streams { net: stream(), disk: stream(), client: stream(), node: stream() };
        let nodes = (0..plan.nodes).map(|slot| node(slot, &plan, &mut random)).collect();
        let clients = (0..plan.clients)
            .map(|n| Client { node: (usize::from(n) % plan.nodes) as u8, ..Client::default() });
        let mut world = Self {
            now: Nanos(1),
            judge: Judge::new(config.clone())?,
            stats: Stats::default(),
            tracer,
            config,
            agenda: Agenda::default(),
            nodes,
            links: Links::new(plan.places()),
            parcels: Slab::default(),
            ops: Vec::new(),
            clients: clients.collect(),
            looks: Slab::default(),
            rounds: 0,
            answers: Slab::default(),
            watchers: Vec::new(),
            deliveries: Slab::default(),
            transfers: Slab::default(),
            asks: Slab::default(),
            change_after: Nanos::ZERO,
            reliefs: BTreeMap::new(),
            relief_next: 0,
            closing: false,
            healed: false,
            effects: Effects::default(),
            in_vain: 0,
            heads: Vec::new(),
            random,
            plan,
        };
        world.open();
        Ok(world)
    }

    fn open(&mut self) {
        self.tracer.header(&self.plan);
        for node in 0..self.nodes.len() {
            self.start(node);
        }
        for client in 0..self.plan.clients {
            let at = Nanos(self.random.client.below(self.plan.knobs.think_max.0.max(1)));
            self.agenda.push(at, What::Client(client));
        }
        for (at, fault) in (0u16..).zip(self.plan.faults.clone()) {
            self.agenda.push(fault.at, What::Fault(at));
        }
        self.open_watchers();
    }

    /// Runs until `until`, or until something is wrong.
    pub fn run_until(&mut self, until: Nanos) {
        while self.judge.violation.is_none() {
            let Some((at, what)) = self.agenda.pop(until) else {
                self.now = until.max(self.now);
                return;
            };
            self.now = self.now.max(at);
            self.stats.events += 1;
            self.happen(what);
        }
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Frame(parcel) => self.arrive(parcel),
            What::Tick { node, life } => self.tick(usize::from(node), life),
            What::Batch { node, life } => self.take_batch(usize::from(node), life),
            What::LogDone { node, life } => self.log_done(usize::from(node), life),
            What::LogIdle { node, life } => self.log_idle(usize::from(node), life),
            What::CheckpointDone { node, life } => self.checkpoint_done(usize::from(node), life),
            What::MergeDone { node, life } => self.merge_done(usize::from(node), life),
            What::Scrub { node, life } => self.scrub(usize::from(node), life),
            What::LogRoom { node, life } => self.log_room(usize::from(node), life),
            What::Mend { node, life, tries } => self.mend(usize::from(node), life, tries),
            What::FetchDone { node, life } => self.fetch_done(usize::from(node), life),
            What::Chunk(transfer) => self.chunk(transfer),
            What::PeerLost { node, life, peer } => {
                let event = replica::Event::PeerLost(self.nodes[usize::from(peer)].id);
                self.give(usize::from(node), life, event);
            }
            What::PeerFound { node, life, peer } => {
                let event = replica::Event::PeerFound(self.nodes[usize::from(peer)].id);
                self.give(usize::from(node), life, event);
            }
            What::Restart { node, life } => self.restart(usize::from(node), life),
            What::Resume { node, life } => self.resume(usize::from(node), life),
            What::Client(client) => self.client(client),
            What::Request { op, attempt } => self.request(op, attempt),
            What::Look(look) => self.look(look),
            What::Round { node, life } => self.ask_round(usize::from(node), life),
            What::Answer(answer) => self.answer(answer),
            What::GiveUp { op } => self.give_up(op),
            What::Watch(delivery) => self.watched(delivery),
            What::Rewatch(watcher) => self.rewatch(usize::from(watcher)),
            What::Ask(ask) => self.ask(ask),
            What::WatchAct(watcher) => self.watch_act(usize::from(watcher)),
            What::Fault(at) => self.fault(usize::from(at)),
            What::Relief(relief) => self.relieve(relief),
            What::StopEnds { node, life } => self.end_stop(usize::from(node), life),
        }
    }

    pub(crate) fn blame(&mut self, rule: &'static str, what: impl Into<String>) {
        self.judge.blame(self.now, rule, what);
    }

    pub fn violation(&self) -> Option<&Violation> {
        self.judge.violation.as_ref()
    }

    /// Operations on single keys, when a trace is kept.
    pub(crate) fn registers(
        &self,
    ) -> Vec<check::Operation<check::models::KvInput, check::models::KvOutput>> {
        if self.tracer.is_full() { crate::client::registers(&self.ops) } else { Vec::new() }
    }
}

fn node(slot: usize, plan: &Plan, random: &mut Streams) -> Node {
    let span = match plan.knobs.drift_ppm_max {
        0 => 0,
        max => i64::try_from(random.node.below(2 * max + 1)).expect("small") - max as i64,
    };
    Node {
        id: NodeId(slot as u64 + 1),
        slot: slot as u8,
        name: plan::name(slot),
        stage: Stage::Member,
        disk: SimDisk::new(random.node.next_u64()),
        client_urls: Vec::new(),
        life: 0,
        process: Process::Down,
        paused: false,
        ledger: Ledger::default(),
        unsettled: Vec::new(),
        met: BTreeMap::new(),
        met_unsure: false,
        born: None,
        rate_ppm: span,
        slow: 1,
        damaged: false,
        values_hit: false,
        shown: 0,
        repairing: None,
        ending: None,
        misreads: false,
        images: Vec::new(),
        effects_left: None,
        asked_in_vain: false,
        shunned: false,
        lost_births: Vec::new(),
        put_back: None,
    }
}
