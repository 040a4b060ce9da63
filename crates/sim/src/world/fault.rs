//! Planned faults take effect, and end.

use super::World;
use crate::agenda::What;
use crate::disk::Loss;
use crate::fault::{Fault, Kind};
use crate::judge::Ruling;
use crate::ledger::Ledger;
use crate::node::{Node, Older, Process, Stage};
use base::{Life, Nanos, Prng};
use quorum::NodeSet;

/// What ends when a fault does.
pub(super) enum Relief {
    Mend(Vec<usize>),
    Unclog(Vec<usize>),
    Fast(usize),
    Room(usize),
}

impl World {
    pub(super) fn fault(&mut self, number: usize) {
        if self.healed {
            return;
        }
        let fault = self.plan.faults[number];
        self.strike(&fault);
    }

    /// Carries out one fault now.
    pub fn strike(&mut self, fault: &Fault) {
        let mut random = Prng::new(fault.pick);
        let doors = self.doors();
        let node = usize::from(doors[random.below(doors.len() as u64) as usize]);
        let name = fault.kind.name();
        self.tracer
            .node(self.now, node, || trace::What::Fault { fault: name.into(), span: fault.span.0 });
        let took = match fault.kind {
            Kind::Kill => self.fell(NodeSet::from_iter([node as u8]), Some(Loss::None), fault.span),
            Kind::Crash => self.fell(NodeSet::from_iter([node as u8]), None, fault.span),
            Kind::CrashPoint => self.crash_point(node, &mut random),
            Kind::CrashAll => self.fell(self.everyone(), None, fault.span),
            Kind::Leader => match self.leader() {
                Some(leader) => self.fell(NodeSet::from_iter([leader as u8]), None, fault.span),
                None => false,
            },
            Kind::Pause => self.pause(node, fault.span),
            Kind::SlowDisk => self.slow(node, fault.span, &mut random),
            Kind::FullDisk => self.fill(node, fault.span),
            Kind::SyncFail => {
                self.nodes[node].disk.machine().fail_sync_once();
                true
            }
            Kind::RotRest | Kind::Misdirect | Kind::Rollback => self.damage(node, fault),
            Kind::Emptied => self.empty(node, fault.span),
            Kind::RotRead => self.misread(node, fault.span),
            Kind::ClockStep => self.change_rate(node, &mut random),
            Kind::OneQuorum => {
                let others = self.all_but_one_quorum(&mut random);
                self.fell(others, None, fault.span)
            }
            Kind::Intersection => {
                let shared = self.intersection(&mut random);
                self.fell(shared, None, fault.span)
            }
            Kind::RollbackIntersection => {
                let shared = self.intersection(&mut random);
                shared.iter().next().is_some_and(|slot| {
                    let rollback = Fault { kind: Kind::Rollback, ..*fault };
                    self.damage(usize::from(slot), &rollback)
                })
            }
            Kind::Transfer => self.transfer(node),
            Kind::Usurp => self.usurp(fault.span),
            Kind::Stop => self.stop_as_planned(node, fault.span),
            kind if kind.is_change() => self.change(kind, &mut random),
            _ => self.cut(fault, node, &mut random),
        };
        if took {
            self.stats.fault(name);
        }
    }

    /// These members stop, and start again when the fault ends.
    fn fell(&mut self, members: NodeSet, loss: Option<Loss>, span: Nanos) -> bool {
        let mut any = false;
        for slot in members.iter().map(usize::from) {
            if self.nodes[slot].runs() {
                let loss = loss.unwrap_or_else(|| self.planned_loss(slot));
                self.stop(slot, loss, "fault");
                self.restart_in(slot, span);
                any = true;
            }
        }
        any
    }

    fn crash_point(&mut self, node: usize, random: &mut Prng) -> bool {
        if !self.nodes[node].runs() {
            return false;
        }
        if random.below(2) == 0 {
            self.nodes[node].disk.machine().crash_in(1 + random.below(40));
        } else {
            self.nodes[node].effects_left = Some(random.below(60));
        }
        true
    }

    fn pause(&mut self, node: usize, span: Nanos) -> bool {
        let place = &mut self.nodes[node];
        if !place.runs() || place.paused {
            return false;
        }
        place.paused = true;
        let (life, at) = (place.life, self.now.plus(span));
        self.agenda.push(at, What::Resume { node: node as u8, life });
        true
    }

    fn slow(&mut self, node: usize, span: Nanos, random: &mut Prng) -> bool {
        self.nodes[node].slow = 10 + random.below(90);
        self.relieve_in(span, Relief::Fast(node));
        true
    }

    fn fill(&mut self, node: usize, span: Nanos) -> bool {
        self.nodes[node].disk.machine().set_full(true);
        self.relieve_in(span, Relief::Room(node));
        true
    }

    fn change_rate(&mut self, node: usize, random: &mut Prng) -> bool {
        // Just inside the bound that leases allow for.
        let rate = random.below(19_001) as i64 - 9_500;
        let now = self.now;
        let place = &mut self.nodes[node];
        place.rate_ppm = rate;
        let Some(member) = place.up_mut() else { return false };
        member.set_rate(now, rate);
        member.tick_at = Nanos(u64::MAX);
        let life = self.nodes[node].life;
        self.give(node, life, replica::Event::Tick);
        true
    }

    fn usurp(&mut self, span: Nanos) -> bool {
        let Some(leader) = self.leader() else { return false };
        let others = (0..self.nodes.len()).filter(|node| *node != leader);
        let mut pairs = Vec::new();
        for other in others {
            for (from, to) in [(leader, other), (other, leader)] {
                self.links.cut(self.links.pair(from, to));
                pairs.push(self.links.pair(from, to));
            }
            let (node, peer, life) = (other as u8, leader as u8, self.nodes[other].life);
            self.agenda.push(self.now, What::PeerLost { node, life, peer });
        }
        self.relieve_in(span, Relief::Mend(pairs));
        self.nodes.len() > 1
    }

    fn transfer(&mut self, node: usize) -> bool {
        let (Some(leader), to) = (self.leader(), self.nodes[node].id) else { return false };
        let life = self.nodes[leader].life;
        self.give(leader, life, replica::Event::TransferLeader { to: Some(to) });
        leader != node
    }

    /// A disk is damaged for good, or put back: only where the promises survive without it.
    fn damage(&mut self, node: usize, fault: &Fault) -> bool {
        let hit = NodeSet::from_iter([node as u8]);
        // What repairs is outside the budget already: it may be damaged once more.
        let again = self.nodes[node].repairing.is_some() && fault.kind != Kind::Rollback;
        if self.nodes[node].damaged && !again || !self.affordable(hit) {
            return false;
        }
        self.operator_waits();
        let place = &self.nodes[node];
        let done = match fault.kind {
            Kind::Rollback => {
                // Peers must remember a later life than the one the image starts.
                let Some(now) = place.up().map(|m| m.life.incarnation) else { return false };
                // One of the start just before comes up with the number of this one, and another
                // mark; one that needs nobody acts before anybody can tell it (`docs/faults.md`).
                let older = |old: &&Older| old.incarnation.number() < now.number() && !old.alone;
                let Some(Older { image, .. }) = place.images.iter().find(older).cloned() else {
                    return false;
                };
                let met = |n: &crate::node::Node| {
                    n.slot == place.slot || n.met.get(&place.slot) == place.lived().as_ref()
                };
                let joined = |n: &&crate::node::Node| n.stage == Stage::Member && n.life > 0;
                if !self.nodes.iter().filter(joined).all(met) {
                    return false;
                }
                self.stop(node, Loss::None, "fault");
                self.nodes[node].disk.machine().restore(&image);
                let place = &mut self.nodes[node];
                (place.shunned, place.put_back) = (true, Some(place.life));
                place.ledger.excused = true;
                Some(())
            }
            _ => {
                let mut machine = place.disk.machine();
                let done = match fault.kind {
                    Kind::RotRest => machine.rot(fault.pick),
                    _ => machine.misdirect(fault.pick),
                };
                drop(machine);
                done.map(|place| {
                    let target = place.rsplit("over ").next().unwrap_or_default();
                    self.nodes[node].values_hit |= target.contains(".qv");
                    self.tracer.node(self.now, node, || trace::What::Damage { place });
                    self.stop(node, Loss::None, "fault");
                })
            }
        };
        if done.is_some() {
            self.nodes[node].damaged = true;
            self.restart_in(node, fault.span);
        }
        done.is_some()
    }

    /// A member loses its directory and starts again under its old id. Who was written down must be
    /// believed by nobody, met or not, and is lost; who was not is as new as before.
    fn empty(&mut self, node: usize, span: Nanos) -> bool {
        let place = &self.nodes[node];
        let id = place.id;
        if !matches!(place.process, Process::Up(_)) || place.damaged || place.shunned {
            return false;
        }
        let named = |ruling: &Ruling| ruling.config.life_of(id) != Life::UNKNOWN;
        let committed = named(self.judge.configs.committed());
        let uncertain = self.judge.configs.possible().any(|ruling| named(ruling) != committed);
        let founded = self.judge.configs.committed().config.is_founded();
        let hit = NodeSet::from_iter([node as u8]);
        if uncertain || !founded || !self.is_remembered(node) || !self.affordable(hit) {
            return false;
        }
        let birth = self.nodes[node].lived().map(|lived| lived.life.birth);
        self.stop(node, Loss::Whole, "fault");
        self.nodes[node].met.clear();
        self.nodes[node].images.clear();
        if node >= self.plan.nodes {
            // It was not among the first: it has to ask again who it is.
            self.nodes[node].stage = Stage::Newcomer { asked: u32::MAX };
        }
        if committed {
            self.operator_waits();
            self.erase(node);
        } else {
            self.nodes[node].disk.machine().erase();
            self.nodes[node].ledger = Ledger::default();
            self.nodes[node].lost_births.extend(birth);
        }
        self.restart_in(node, span);
        true
    }

    /// What a directory said may arrive after it was lost, and a leader write it down all the same:
    /// the one in its place is believed by nobody from then on.
    pub(super) fn look_for_the_late_written(&mut self) {
        let config = &self.judge.configs.committed().config;
        let late = |n: &&Node| {
            let named = || config.life_of(n.id).birth;
            !n.shunned && !n.lost_births.is_empty() && n.lost_births.contains(&named())
        };
        let late: Vec<_> = self.nodes.iter().filter(late).map(|n| usize::from(n.slot)).collect();
        for node in late {
            self.stats.fault("written-down-late");
            self.operator_waits();
            self.nodes[node].shun();
        }
    }

    /// Whether a member that is to be emptied is named by somebody of every set that could elect
    /// without the others: where all the rest is empty too, nobody can tell (`docs/faults.md`).
    fn is_remembered(&self, node: usize) -> bool {
        let id = self.nodes[node].id;
        let configs = &self.judge.configs;
        if configs.named_since(id).is_none() {
            return true;
        }
        let blank = |n: &&Node| usize::from(n.slot) == node || n.damaged || !self.remembers(n, id);
        let blank = self.nodes.iter().filter(blank).map(|n| n.slot).collect();
        // Empty, it goes by the first configuration.
        let elects = |by: &Ruling| by.system.elect().is_quorum(by.slots(blank));
        !elects(configs.committed()) && !elects(configs.first())
    }

    fn misread(&mut self, node: usize, span: Nanos) -> bool {
        if !self.nodes[node].runs() || self.nodes[node].damaged {
            return false;
        }
        self.stop(node, Loss::None, "fault");
        self.nodes[node].misreads = true;
        self.nodes[node].disk.machine().rot_reads(1);
        self.restart_in(node, span);
        true
    }

    fn cut(&mut self, fault: &Fault, node: usize, random: &mut Prng) -> bool {
        let count = self.nodes.len();
        if count < 2 {
            return false;
        }
        let leader = self.leader().unwrap_or(node);
        let inside: NodeSet = match fault.kind {
            Kind::Blocking => self.blocking(random),
            _ => (0..count as u8).filter(|_| random.below(2) == 0).collect(),
        };
        // A shuffled order gives chains and rings their shape.
        let mut order: Vec<usize> = (0..count).collect();
        for at in (1..count).rev() {
            order.swap(at, random.below(at as u64 + 1) as usize);
        }
        let place = |n: usize| order.iter().position(|m| *m == n).expect("all are placed");
        let one_way = random.below(2) == 0;
        let cut = |from: usize, to: usize| match fault.kind {
            Kind::Cut | Kind::Blocking | Kind::Clog => {
                inside.contains(from as u8) != inside.contains(to as u8)
            }
            Kind::OneWay if one_way => from == node,
            Kind::OneWay => inside.contains(from as u8) && !inside.contains(to as u8),
            // Omni-Paxos, Ng et al. EuroSys 2023, section 2: one member hears everybody.
            Kind::QuorumLoss => from != node && to != node,
            Kind::Constrained => {
                let hub = if node == leader { (node + 1) % count } else { node };
                let pair = (from, to);
                let touches = from == leader || to == leader;
                touches || !(pair.0 == hub || pair.1 == hub)
            }
            Kind::Chained => place(from).abs_diff(place(to)) != 1,
            Kind::Ring => {
                let gap = place(from).abs_diff(place(to));
                gap != 1 && gap != count - 1
            }
            _ => false,
        };
        let mut pairs = Vec::new();
        for from in 0..count {
            for to in 0..count {
                if from != to && cut(from, to) {
                    pairs.push(self.links.pair(from, to));
                }
            }
        }
        if pairs.is_empty() {
            return false;
        }
        if fault.kind == Kind::Clog {
            pairs.iter().for_each(|pair| self.links.clog(*pair));
            self.relieve_in(fault.span, Relief::Unclog(pairs));
        } else {
            pairs.iter().for_each(|pair| self.links.cut(*pair));
            self.relieve_in(fault.span, Relief::Mend(pairs));
        }
        true
    }

    fn relieve_in(&mut self, span: Nanos, relief: Relief) {
        let number = self.relief_next;
        self.relief_next += 1;
        self.reliefs.insert(number, relief);
        self.agenda.push(self.now.plus(span), What::Relief(number));
    }

    pub(super) fn relieve(&mut self, number: u32) {
        match self.reliefs.remove(&number) {
            Some(Relief::Mend(pairs)) => {
                self.tracer.line(self.now, || trace::What::Heal { all: false });
                pairs.into_iter().for_each(|pair| self.links.mend(pair));
                (0..self.nodes.len()).for_each(|node| self.meet(node));
            }
            Some(Relief::Unclog(pairs)) => pairs.into_iter().for_each(|pair| self.unclog(pair)),
            Some(Relief::Fast(node)) => self.nodes[node].slow = 1,
            Some(Relief::Room(node)) => self.nodes[node].disk.machine().set_full(false),
            None => {}
        }
    }

    /// Every fault ends, and every member that can starts.
    pub(super) fn heal(&mut self) {
        self.healed = true;
        let reliefs: Vec<u32> = self.reliefs.keys().copied().collect();
        reliefs.into_iter().for_each(|relief| self.relieve(relief));
        self.links.clear();
        self.tracer.line(self.now, || trace::What::Heal { all: true });
        for node in 0..self.nodes.len() {
            let place = &mut self.nodes[node];
            place.effects_left = None;
            place.slow = 1;
            let mut machine = place.disk.machine();
            machine.set_full(false);
            machine.settle();
            drop(machine);
            if place.paused {
                let life = place.life;
                self.resume(node, life);
            }
            if self.nodes[node].up().is_some_and(|member| member.chores.stopping.is_some()) {
                self.stop(node, Loss::None, "healed"); // what is planned is over, one way or other
            }
            if matches!(self.nodes[node].process, Process::Down)
                && self.nodes[node].stage != Stage::Left
                && self.introduced(node)
            {
                self.start(node);
            }
            self.meet(node);
        }
    }
}
