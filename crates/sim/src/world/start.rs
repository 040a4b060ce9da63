//! Processes start and stop.

use super::World;
use crate::agenda::What;
use crate::disk::Loss;
use crate::node::{Member, Older, Process, Stage};
use base::{Ballot, Birth, Life, LogIndex, Nanos, Prng};
use cluster::{BallotRule, Configuration};
use consensus::raft::Settings;
use member::meet::Said;
use member::{
    Archive, Born, CheckpointState, Draws, How, Job, Known, Opened, Peers, Policy, Refused, Wanted,
};
use quorum::NodeSet;
use replica::{Replica, ReplicaSettings};
use std::sync::Arc;
use store::{Identity, OnDamage};
use wal::Options;

/// The only cluster there is.
const CLUSTER: u64 = 0x51;
/// Disk images kept of one member.
const IMAGES_MAX: usize = 4;
/// Bytes of journal that a checkpoint is written for, at least.
const CHECKPOINT_BYTES_MIN: u64 = 128;
/// Of a version: fewer make less worth a merge at times.
const SETTLE_BYTES: usize = 400;
/// Kept for small files on a disk that is full.
const RESERVE_BYTES: usize = 4096;

impl World {
    pub(super) fn start(&mut self, node: usize) {
        assert!(!self.nodes[node].runs(), "a running member is not started");
        self.nodes[node].life += 1;
        self.stats.starts += 1;
        self.draw_client_urls(node);
        let mut draws = Prng::new(self.random.node.next_u64());
        let opened = match self.opened(node, &mut draws) {
            Ok(opened) => opened,
            Err(refused) => return self.not_started(node, refused.to_string()),
        };
        self.check_found(node, &opened);
        let incarnation = opened.identity.incarnation;
        let life = Life { birth: Birth(opened.identity.birth), incarnation };
        let settings = self.settings(node, life);
        let place = &mut self.nodes[node];
        let found = &opened.recovered.raft;
        let (ballot, base) = (found.ballot, found.base);
        let last = base.0 + found.entries.len() as u64;
        place.ledger.recovered(ballot, base, found.entries.iter().map(|entry| entry.ballot));
        place.unsettled.clear();
        self.stats.cuts += u64::from(opened.cut.is_some());
        let revived = member::open::revive(settings, opened.recovered, opened.repair.as_ref());
        let replica = match revived {
            Ok(replica) => replica,
            Err(error) => return self.not_started(node, error),
        };
        self.keep_image(node, &replica);
        let entries = self.plan.knobs.checkpoint_entries;
        let policy = Policy { entries, bytes_min: CHECKPOINT_BYTES_MIN };
        let (bytes, journal_bytes) = (opened.checkpoint_bytes, opened.journal.bytes());
        let checkpoint = CheckpointState::new(policy, base, bytes, journal_bytes);
        let (clock, rule) = ((self.now, self.nodes[node].rate_ppm), self.plan.knobs.compaction);
        let peers = self.peers(node, opened.identity, opened.bootstrap);
        let shelf = match opened.archive.reader(&self.nodes[node].disk) {
            Ok(shelf) => shelf,
            Err(error) => return self.not_started(node, error.to_string()),
        };
        let is_hurt = !opened.archive.wounds().is_empty();
        let files = (opened.archive, shelf);
        let mine = (life, peers);
        let member = Member::new(replica, opened.journal, files, checkpoint, mine, clock, rule);
        self.nodes[node].process = Process::Up(Box::new(member));
        let life = self.nodes[node].life;
        self.tracer.node(self.now, node, || trace::What::Restart {
            life,
            incarnation: incarnation.0,
            promise: ballot,
            base: base.0,
            last,
        });
        self.plan_scrub(node);
        if is_hurt {
            self.stats.fault("started-hurt");
            if !self.nodes[node].damaged {
                let name = self.nodes[node].name.clone();
                return self.blame("a sound disk starts whole", name);
            }
            self.begin_mending(node);
        }
        self.check_state(node);
        self.begin_shown(node, opened.fresh);
        self.meet(node);
        // The first step looks at the clock and plans the next one.
        if self.nodes[node].runs() {
            self.step(node, [replica::Event::Tick]);
        }
    }

    /// The disk as this start found it: one that may be put back later.
    fn keep_image(&mut self, node: usize, replica: &Replica) {
        let (incarnation, config) = (replica.incarnation(), replica.raft().config());
        let place = &mut self.nodes[node];
        if place.images.last().is_some_and(|older| older.incarnation == incarnation) {
            return;
        }
        let own: NodeSet = config.config().slot_of(place.id).into_iter().collect();
        let system = config.system();
        let alone = system.elect().is_quorum(own) && system.commit().is_quorum(own);
        let image = place.disk.machine().image();
        place.images.push(Older { incarnation, alone, image });
        if place.images.len() > IMAGES_MAX {
            place.images.remove(0);
        }
    }

    /// Opens the directory as the server does, without a flag that would differ from it.
    fn opened(&self, node: usize, draws: &mut Prng) -> Result<Opened, Refused> {
        let place = &self.nodes[node];
        let known = match (member::open::identify(&place.disk)?, place.born.clone()) {
            (Some(known), _) => known,
            (None, Some((born, birth))) => Known::begin(born, birth),
            (None, None) => {
                let (member, config) = (place.id, self.believed(node));
                Known::begin(Born { cluster: CLUSTER, member, config }, draws.next_u64().max(1))
            }
        };
        let how = How {
            wanted: &Wanted::default(),
            options: Options {
                segment_bytes: self.plan.knobs.segment_bytes,
                prefill_bytes: 0,
                spares_max: 1,
            },
            on_damage: OnDamage::Repair,
            draws: Draws { mark: draws.next_u64() as u32, key: draws.next_u64() },
            archive: Archive::new(self.plan.knobs.cache_bytes),
            reserve_bytes: RESERVE_BYTES,
        };
        member::open::open(&place.disk, known, &how)
    }

    /// What a member that was never here before takes the configuration to be.
    fn believed(&self, node: usize) -> Configuration {
        let mut config = self.config.clone();
        if let Some(text) = self.plan.misled.get(node) {
            config.quorum.clone_from(text);
        }
        config
    }

    /// What was found must be true; a damaged member begins a repair with it.
    fn check_found(&mut self, node: usize, opened: &Opened) {
        self.nodes[node].misreads = false;
        self.nodes[node].disk.machine().rot_reads(0);
        self.check_met(node, opened);
        self.check_repair(node, opened);
        if opened.repair.is_none() {
            self.check_recovery(node, opened);
        }
    }

    fn peers(&self, node: usize, identity: Identity, first: Configuration) -> Peers {
        let place = &self.nodes[node];
        let said = Said {
            name: place.name.clone(),
            client_urls: place.client_urls.clone(),
            peer_urls: vec![format!("http://n{}", place.id)],
        };
        Peers::new(identity, Arc::new(first), said)
    }

    fn settings(&mut self, node: usize, life: Life) -> ReplicaSettings {
        let knobs = &self.plan.knobs;
        ReplicaSettings {
            raft: Settings {
                id: self.nodes[node].id,
                birth: life.birth,
                incarnation: life.incarnation,
                election_timeout_min: knobs.election,
                heartbeat_interval: knobs.heartbeat,
                seed: self.random.node.next_u64(),
                append_bytes_max: knobs.append_bytes_max,
                inflight_bytes_max: knobs.inflight_bytes_max,
            },
            pending_max: 1000,
            pending_bytes_max: 1 << 20,
            request_timeout: Nanos(knobs.election.0 * 7),
            leaderless_wait: Nanos(knobs.election.0 * 3),
            catchup_entries: knobs.catchup_entries,
            apply_budget: knobs.apply_budget * (1 + node as u64 % 3),
            settle_versions: knobs.settle_versions * (1 + node % 3),
            settle_bytes: knobs.settle_versions * SETTLE_BYTES,
            trace: true,
        }
    }

    /// What was durable is still there: the promise, no second vote of its term, every entry.
    fn check_recovery(&mut self, node: usize, opened: &Opened) {
        let place = &self.nodes[node];
        if place.damaged && (opened.fresh || place.shunned) {
            return;
        }
        let (ledger, found) = (&place.ledger, &opened.recovered.raft);
        if opened.fresh {
            let empty = ledger.promise == Ballot::ZERO && ledger.last() == LogIndex::ZERO;
            if !empty {
                let what = format!("{} forgot its promise {}", place.name, ledger.promise);
                self.blame("what is durable is found again", what);
            }
            return;
        }
        let changed_vote = self.plan.rule == BallotRule::SharedTerms
            && found.ballot.term == ledger.promise.term
            && ledger.promise.node.0 != 0
            && found.ballot.node != ledger.promise.node;
        if found.ballot < ledger.promise || changed_vote {
            let what =
                format!("{} promised {}, finds {}", place.name, ledger.promise, found.ballot);
            return self.blame("what is durable is found again", what);
        }
        // The journal may make up for a damaged checkpoint.
        let last = LogIndex(found.base.0 + found.entries.len() as u64);
        if found.base < ledger.covered && !(place.damaged && last >= ledger.covered) {
            let what = format!(
                "{} had a checkpoint at {}, finds {}",
                place.name, ledger.covered, found.base
            );
            return self.blame("what is durable is found again", what);
        }
        // A write that was not reported durable may have survived with its truncation.
        let cut = place.unsettled.iter().filter_map(|persist| persist.truncate_from).min();
        let cut = cut.unwrap_or(LogIndex(u64::MAX));
        let first = found.base.max(ledger.base()).next();
        for index in first.0..=ledger.last().0 {
            let index = LogIndex(index);
            let known = ledger.ballot_at(index);
            let at = usize::try_from(index.0 - found.base.0 - 1).unwrap_or(usize::MAX);
            let here = found.entries.get(at).map(|entry| entry.ballot);
            if index >= cut || known == here {
                continue;
            }
            let what = format!(
                "{} made entry {index} of {known:?} durable, finds {here:?}; base {}, last {}",
                place.name,
                found.base,
                found.base.0 + found.entries.len() as u64
            );
            return self.blame("what is durable is found again", what);
        }
    }

    /// A checkpoint holds the state of its index.
    fn check_state(&mut self, node: usize) {
        let Some(member) = self.nodes[node].up() else { return };
        let (applied, chain) = {
            let status = member.replica.status();
            (status.applied, status.chain_hash)
        };
        let witness = self.judge.configs.is_witness(self.nodes[node].id);
        if applied > LogIndex::ZERO && !witness && self.judge.chain_at(applied) != Some(chain) {
            let what = format!("n{} starts at {applied} with {chain:x}", node + 1);
            self.blame("equal state", what);
        }
    }

    fn not_started(&mut self, node: usize, text: String) {
        self.tracer.node(self.now, node, || trace::What::Refused { why: text.clone() });
        let power = self.nodes[node].disk.machine().is_dead();
        if power {
            let loss = self.planned_loss(node);
            self.nodes[node].disk.machine().power_off(loss);
            let wait = Nanos::from_millis(50 + self.random.node.below(1000));
            self.restart_in(node, wait);
            return;
        }
        let place = &mut self.nodes[node];
        if place.misreads {
            // The bytes on the disk are good: the next attempt reads them right.
            place.misreads = false;
            place.disk.machine().rot_reads(0);
            self.stats.fault("refused-misread");
            self.restart_in(node, Nanos::from_millis(500));
        } else if text.contains("input/output error") || text.contains("no room") {
            self.stats.fault(if text.contains("no room") {
                "start-without-room"
            } else {
                "start-failed"
            });
            let wait = Nanos::from_millis(500 + self.random.node.below(1000));
            self.restart_in(node, wait);
        } else if place.damaged && !text.contains("set aside") {
            let lost = text.contains("cannot be repaired");
            place.process = Process::Refused(text);
            self.stats.fault(if lost { "repair-refused" } else { "refused-damaged" });
        } else {
            let name = place.name.clone();
            self.blame("a sound disk starts", format!("{name}: {text}"));
        }
    }

    /// How a planned power loss treats what is not synced.
    pub(super) fn planned_loss(&mut self, _node: usize) -> Loss {
        let kinds = [Loss::Whole, Loss::Prefix, Loss::Sectors, Loss::Mixed, Loss::Mixed];
        kinds[self.random.disk.below(kinds.len() as u64) as usize]
    }

    /// The process stops; with a loss other than none, so does the machine.
    pub(super) fn stop(&mut self, node: usize, loss: Loss, why: &'static str) {
        let place = &mut self.nodes[node];
        let before = std::mem::replace(&mut place.process, Process::Down);
        let Process::Up(member) = before else {
            place.process = before;
            return;
        };
        place.life += 1;
        place.paused = false;
        place.effects_left = None;
        // What was on its way to the disk may or may not be found again.
        place.unsettled = member.lane.unsettled();
        place.unsettled.extend(member.jobs.into_iter().filter_map(|job| match job {
            Job::Persist(persist) => Some(persist),
            Job::Release(_) | Job::Know(_) => None,
        }));
        place.disk.machine().power_off(loss);
        self.tracer.node(self.now, node, || {
            let loss = loss.word().into();
            trace::What::Crash { why: why.into(), loss }
        });
        self.tracer.mix(self.now.0 ^ (node as u64) << 48);
        self.lose_watchers(node);
        if loss == Loss::None {
            // The system answers for a dead process: its peers are told at once.
            for other in 0..self.nodes.len() {
                let cut = self.links.is_cut(node, other) || self.links.is_cut(other, node);
                if other != node && !cut && self.nodes[other].runs() {
                    let (life, at) = (self.nodes[other].life, self.now.plus(Nanos(500_000)));
                    let (to, peer) = (other as u8, node as u8);
                    self.agenda.push(at, What::PeerLost { node: to, life, peer });
                }
            }
        }
    }

    pub(super) fn stop_planned(&mut self, node: usize) {
        let loss =
            if self.random.node.below(3) == 0 { Loss::None } else { self.planned_loss(node) };
        self.stop(node, loss, "planned");
        let wait = Nanos::from_millis(50 + self.random.node.below(3000));
        self.restart_in(node, wait);
    }

    pub(super) fn restart_in(&mut self, node: usize, wait: Nanos) {
        let life = self.nodes[node].life;
        self.agenda.push(self.now.plus(wait), What::Restart { node: node as u8, life });
    }

    pub(super) fn restart(&mut self, node: usize, life: u32) {
        let place = &self.nodes[node];
        if place.life != life || !matches!(place.process, Process::Down) {
            return;
        }
        if place.stage == Stage::Left || !self.introduced(node) {
            return;
        }
        let place = &self.nodes[node];
        let seen = |other: &usize| {
            let cut = self.links.is_cut(node, *other) || self.links.is_cut(*other, node);
            let met = self.nodes[*other].met.contains_key(&place.slot);
            *other != node && self.nodes[*other].runs() && !cut && met
        };
        if place.put_back.is_some() && !(0..self.nodes.len()).any(|other| seen(&other)) {
            // Starting unseen again and again would make it look new: nobody could tell.
            return self.restart_in(node, Nanos::from_millis(200));
        }
        self.start(node);
    }

    pub(super) fn resume(&mut self, node: usize, life: u32) {
        let place = &mut self.nodes[node];
        if place.life != life || !place.paused {
            return;
        }
        place.paused = false;
        self.tracer.node(self.now, node, || trace::What::Resume);
        let Some(member) = self.nodes[node].up_mut() else { return };
        let mut events = std::mem::take(&mut member.inbox);
        events.push(replica::Event::Tick);
        self.step(node, events);
    }
}
