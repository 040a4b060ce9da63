//! A member takes events, and its effects are carried out.

use super::World;
use crate::agenda::What;
use crate::client::{Answer, Outcome};
use crate::disk::Loss;
use crate::judge;
use crate::node::Process;
use base::{Nanos, Token};
use consensus::raft::Trace;
use door::Sight;
use member::Job;
use member::publish::OWN;
use replica::{Effects, Event, Reply, TraceEvent, TraceKind};

/// Elections in a row of leaders that cannot serve.
const IN_VAIN_MAX: u32 = 3;

impl World {
    /// Hands an event to a running member of this life; it gathers while the member pauses.
    pub(super) fn give(&mut self, node: usize, life: u32, event: Event) {
        let (now, coalesce) = (self.now, self.plan.knobs.coalesce);
        let place = &mut self.nodes[node];
        let paused = place.paused;
        if place.life != life {
            return;
        }
        let Some(member) = place.up_mut() else { return };
        if paused {
            member.inbox.push(event);
        } else if coalesce == Nanos::ZERO {
            self.step(node, [event]);
        } else {
            member.inbox.push(event);
            if !member.batch_due {
                member.batch_due = true;
                let delay = Nanos(1 + self.random.node.below(coalesce.0.max(1)));
                self.agenda.push(now.plus(delay), What::Batch { node: node as u8, life });
            }
        }
    }

    pub(super) fn take_batch(&mut self, node: usize, life: u32) {
        let place = &mut self.nodes[node];
        let paused = place.paused;
        if place.life != life {
            return;
        }
        let Some(member) = place.up_mut() else { return };
        member.batch_due = false;
        if paused {
            return;
        }
        let events = std::mem::take(&mut member.inbox);
        if !events.is_empty() {
            self.step(node, events);
        }
    }

    pub(super) fn tick(&mut self, node: usize, life: u32) {
        let (now, publishes) = (self.now, self.plan.knobs.publishes);
        let place = &mut self.nodes[node];
        let paused = place.paused;
        if place.life != life {
            return;
        }
        let Some(member) = place.up_mut() else { return };
        if member.tick_at > now {
            return; // an earlier deadline was planned since
        }
        member.tick_at = Nanos(u64::MAX);
        if paused {
            return; // the next event after the pause sees the time
        }
        let due = member.at_local(member.due(publishes));
        if due > now {
            self.plan_tick(node);
        } else {
            self.step(node, [Event::Tick]);
            self.check_due(node, life);
        }
    }

    /// What was due has been done, but for a long entry: else a server would tick without end.
    fn check_due(&mut self, node: usize, life: u32) {
        let place = &self.nodes[node];
        let Some(member) = place.up().filter(|_| place.life == life) else { return };
        if member.replica.is_applying() {
            return;
        }
        let (now, due) = (member.local(self.now), member.replica.deadline());
        if due <= now {
            let what = format!("{} at {now}: still due at {due}", place.name);
            self.blame("what is due is done", what);
        }
    }

    fn plan_tick(&mut self, node: usize) {
        let (now, pause) = (self.now, self.plan.knobs.apply_pause);
        let publishes = self.plan.knobs.publishes;
        let life = self.nodes[node].life;
        let Some(member) = self.nodes[node].up_mut() else { return };
        let pause = if member.replica.is_applying() { pause } else { Nanos(1) };
        let due = member.at_local(member.due(publishes)).max(now.plus(pause));
        if due < member.tick_at {
            member.tick_at = due;
            self.agenda.push(due, What::Tick { node: node as u8, life });
        }
    }

    pub(super) fn step(&mut self, node: usize, events: impl IntoIterator<Item = Event>) {
        let (now, published) = (self.now, self.publish(node));
        let mut effects = std::mem::take(&mut self.effects);
        let Some(member) = self.nodes[node].up_mut() else { return };
        let local = member.local(now);
        member.replica.step_batch(local, events.into_iter().chain(published), &mut effects);
        if member.replica.is_applying() {
            self.stats.fault("apply-slice");
        }
        member.peers.follow(member.replica.raft());
        self.judge_step(node, &effects);
        self.note_head();
        self.carry_out(node, &mut effects);
        effects.clear();
        self.effects = effects;
        if self.nodes[node].runs() {
            self.want_checkpoint(node);
            self.do_chores(node);
            self.plan_tick(node);
        }
    }

    fn judge_step(&mut self, node: usize, effects: &Effects) {
        let Some(member) = self.nodes[node].up() else { return };
        let ledgers: Vec<_> = if effects.trace.is_empty() {
            Vec::new()
        } else {
            self.nodes.iter().map(|node| &node.ledger).collect()
        };
        let mut known = judge::Effects { ops: &mut self.ops };
        let id = self.nodes[node].id;
        let reconfigured = self.judge.step(
            self.now,
            (id, &member.replica),
            &effects.trace,
            &effects.changes,
            &mut known,
            (&ledgers, &mut member.archive.cache()),
        );
        self.look_for_the_late_written();
        if reconfigured && let Some(ruling) = self.judge.configs.of(id) {
            self.tracer.config(self.now, node, &ruling.config);
        }
        let mut elected = false;
        for event in &effects.trace {
            self.tracer.event(self.now, event);
            match event.kind {
                TraceKind::Raft(Trace::PreCampaign { .. }) => {
                    self.nodes[node].asked_in_vain = self.is_in_vain();
                }
                TraceKind::Raft(Trace::Elected { .. }) => elected = true,
                TraceKind::Installed { .. } => self.stats.installs += 1,
                _ => {}
            }
        }
        if elected {
            self.stats.elections += 1;
            self.elected(node);
            for other in 0..self.nodes.len() {
                self.compare_logs(node, other);
            }
        }
        self.check_shown(node, None);
        let shows = |member: &crate::node::Member| {
            let data = Sight::of(&member.replica).no_data.is_none();
            data.then(|| member.replica.store().revision())
        };
        let shown = self.nodes[node].up().and_then(shows);
        for (token, reply) in effects.replies.iter().filter(|(token, _)| *token != OWN) {
            let own = [(token.0 - 1) as u32];
            let shared = self.nodes[node].up().map_or(&[][..], |member| member.rounds.of(*token));
            let round = token.0 > super::reads::ROUND_TOKENS;
            for number in if round { shared } else { &own } {
                let op = &self.ops[*number as usize];
                if op.outcome == Outcome::Waiting && usize::from(op.node) == node {
                    self.judge.answer(self.now, op, reply, shown);
                    self.judge.answered_by(self.now, id, reply);
                }
            }
        }
    }

    /// Nobody can commit: no commit set runs.
    fn is_in_vain(&self) -> bool {
        let running = self.nodes.iter().filter(|n| n.runs()).map(|n| n.slot).collect();
        let commits = |ruling: &std::rc::Rc<crate::judge::Ruling>| {
            ruling.system.commit().is_quorum(ruling.slots(running))
        };
        !self.judge.configs.possible().any(commits)
    }

    /// While nothing can commit, terms and logs do not grow. Who asked before that may be elected
    /// all the same, and where one member elects so may all others who asked.
    fn elected(&mut self, node: usize) {
        let in_vain = self.nodes[node].asked_in_vain && self.is_in_vain();
        self.in_vain = if in_vain { self.in_vain + 1 } else { 0 };
        if self.in_vain >= IN_VAIN_MAX {
            let what =
                format!("n{} is the {}th leader while no commit set runs", node + 1, self.in_vain);
            self.blame("nobody is elected in vain", what);
        }
    }

    pub(super) fn compare_logs(&mut self, a: usize, b: usize) {
        if a == b {
            return;
        }
        if let (Some(x), Some(y)) = (self.nodes[a].up(), self.nodes[b].up()) {
            self.judge.log_matching(self.now, &x.replica, &y.replica);
        }
    }

    /// Effects of different kinds commute: the order is drawn, and the process may stop between
    /// any two of them.
    fn carry_out(&mut self, node: usize, effects: &mut Effects) {
        let installs = |event: &TraceEvent| matches!(event.kind, TraceKind::Installed { .. });
        let installed = effects.trace.iter().any(installs);
        let disk_first = self.random.node.below(2) == 0;
        if disk_first {
            self.persist(node, effects);
        }
        for message in effects.send.drain(..) {
            if self.stops_here(node) {
                return;
            }
            self.post(node, &message);
        }
        if !disk_first {
            self.persist(node, effects);
        }
        if !effects.changes.is_empty() || installed {
            self.feed_watchers(node, &effects.changes, installed);
        }
        if let Some(index) = effects.known.take()
            && !self.stops_here(node)
        {
            self.know(node, index);
        }
        for (token, reply) in effects.replies.drain(..) {
            if self.stops_here(node) {
                return;
            }
            if token == OWN {
                self.published(node, &reply);
                continue;
            }
            self.reply(node, token, reply);
        }
        for peer in effects.snapshots.drain(..) {
            self.send_checkpoint(node, peer);
        }
        if !effects.fetch.is_empty() {
            self.begin_fetch(node, std::mem::take(&mut effects.fetch));
        }
        if let Some(settling) = effects.settle.take() {
            self.begin_merge(node, settling);
        }
        if let Some(job) = effects.checkpoint.take() {
            self.begin_checkpoint(node, job);
        }
        if let Some(index) = effects.repaired.take()
            && !self.stops_here(node)
        {
            self.end_repair(node, index);
        }
        if let Some(halt) = effects.halted.take() {
            self.halted(node, &halt);
        }
        if !self.stops_here(node) && std::mem::take(&mut effects.removed) {
            self.leave(node);
        }
    }

    /// A member whose disk is damaged may need a version that cannot be read.
    fn halted(&mut self, node: usize, halt: &replica::Halt) {
        if self.nodes[node].damaged && halt.why.contains(".qv") {
            self.stats.fault("halted-unreadable");
            self.stop(node, Loss::None, "unreadable");
            self.nodes[node].process = Process::Refused(halt.why.clone());
            return;
        }
        let what = format!("n{} stops at {}: {}", node + 1, halt.index, halt.why);
        self.blame("no member contradicts the others", what);
    }

    fn persist(&mut self, node: usize, effects: &mut Effects) {
        for persist in effects.persist.drain(..) {
            if self.stops_here(node) {
                return;
            }
            if let Some(member) = self.nodes[node].up_mut() {
                member.jobs.push_back(Job::Persist(persist));
            }
        }
        self.work(node);
    }

    /// Counts an effect; true when the process is gone.
    fn stops_here(&mut self, node: usize) -> bool {
        let place = &mut self.nodes[node];
        match &mut place.effects_left {
            Some(0) => {
                place.effects_left = None;
                self.stats.fault("between-effects");
                self.stop_planned(node);
            }
            Some(left) => *left -= 1,
            None => {}
        }
        !self.nodes[node].runs()
    }

    pub(super) fn reply(&mut self, node: usize, token: Token, reply: Reply) {
        if token.0 > super::reads::ROUND_TOKENS {
            return self.round_came(node, token, &reply);
        }
        let number = (token.0 - 1) as u32;
        let op = &self.ops[number as usize];
        if op.outcome != Outcome::Waiting || usize::from(op.node) != node {
            return; // its client has given up
        }
        match (op.ask.query(), reply) {
            (Some((query, _)), Reply::Barrier) => self.passed_barrier(number, query),
            (_, reply) => self.tell_client(number, Answer::Reply(reply)),
        }
    }

    /// An answer leaves for its client.
    pub(super) fn tell_client(&mut self, number: u32, answer: Answer) {
        self.answered(number);
        if self.random.client.below(1_000_000) < self.plan.knobs.client_loss_ppm && !self.closing {
            self.stats.fault("answer-lost");
            return;
        }
        let at = self.now.plus(self.client_delay());
        let answer = self.answers.put((number, answer));
        self.agenda.push(at, What::Answer(answer));
    }
}
