//! What members do beside consensus, each as it ships: a leader publishes what members say of
//! themselves, history is compacted, and a member stops as planned.

use super::World;
use crate::agenda::What;
use crate::client::Ask;
use crate::disk::Loss;
use crate::judge::{client_url, place};
use crate::node::Stopping;
use base::{Nanos, NodeId, Prng};
use member::compaction::{Rule, Seen};
use member::publish::Shown;
use member::room::{self, Act, Words};
use member::stop::Next;
use member::{Job, Stop};
use mvcc::Command;
use replica::{Event, Reply};
use wal::WalError;

/// Grace of a planned stop, in election timeouts; the server's is five.
const GRACE_TIMEOUTS: u64 = 5;

impl World {
    /// Where a member serves clients from this start on: elsewhere after one start in three.
    pub(super) fn draw_client_urls(&mut self, node: usize) {
        let place = &mut self.nodes[node];
        // Of no stream: where clients are served shifts nothing else.
        let seed = self.plan.seed ^ u64::from(place.life) << 32 ^ u64::from(place.slot) << 16;
        let moves = place.client_urls.is_empty() || Prng::new(seed).below(3) == 0;
        if self.plan.knobs.publishes && moves {
            place.client_urls = vec![client_url(place.id, place.life)];
        }
    }

    /// What a leader is to ask of itself with this step.
    pub(super) fn publish(&mut self, node: usize) -> Option<Event> {
        let (now, publishes) = (self.now, self.plan.knobs.publishes);
        let member = self.nodes[node].up_mut().filter(|_| publishes)?;
        let (local, peers) = (member.local(now), &member.peers);
        member.chores.publisher.look(local, member.replica.raft(), |id| peers.said(id))
    }

    /// What came of it; nobody waits for that.
    pub(super) fn published(&mut self, node: usize, reply: &Reply) {
        if let Some(member) = self.nodes[node].up_mut() {
            member.chores.publisher.answered();
        }
        self.stats.change(match reply {
            Reply::Changed { .. } => "published",
            Reply::ChangeRefused(_) => "publish-refused",
            _ => "publish-unknown",
        });
    }

    /// A client is owed an answer.
    pub(super) fn take_call(&mut self, node: usize, number: u32) {
        if let Some(member) = self.nodes[node].up_mut() {
            member.chores.calls.insert(number);
        }
    }

    /// Nothing is owed to a client any more.
    pub(super) fn answered(&mut self, number: u32) {
        let node = usize::from(self.ops[number as usize].node);
        if let Some(member) = self.nodes[node].up_mut() {
            member.chores.calls.remove(&number);
        }
    }

    /// After a step: how far a stop is, and whether there is history to let go of.
    pub(super) fn do_chores(&mut self, node: usize) {
        self.go_on_with_stop(node);
        self.auto_compact(node);
        self.look_after_room(node);
    }

    /// Has what grows refused while the disk is full, as the server does.
    fn look_after_room(&mut self, node: usize) {
        let (now, id) = (self.now, self.nodes[node].id);
        let full = self.nodes[node].disk.machine().is_full();
        let Some(member) = self.nodes[node].up_mut() else { return };
        let (local, raft) = (member.local(now), member.replica.raft());
        let seen = room::Seen {
            is_low: full || member.chores.stuck,
            leads: raft.is_leader(),
            own: id,
            words: Words::of(member.replica.store().raised(), raft.config()),
        };
        let Some(act) = member.chores.room.look(local, &seen) else { return };
        self.stats.fault(match act {
            Act::Mark(_) => "low-marked",
            Act::Unmark(_) => "low-unmarked",
            Act::HandOver(_) => "low-hands-over",
            Act::Raise(_) => "low-raised",
            Act::Lift(_) => "low-lifted",
        });
        match (act, act.command()) {
            (_, Some(command)) => drop(self.begin_here(node, Ask::Write(command))),
            (Act::HandOver(to), None) => {
                let life = self.nodes[node].life;
                self.give(node, life, Event::TransferLeader { to: Some(to) });
            }
            (_, None) => {}
        }
    }

    /// What a live member says that the committed configuration does not say yet.
    pub(super) fn unpublished(&self) -> Option<String> {
        let config = &self.judge.configs.committed().config;
        let live = self.members();
        let mut live = config.members.iter().filter(|m| live.contains(place(m.id) as u8));
        let missing = live.find(|m| m.client_urls != self.nodes[place(m.id)].client_urls)?;
        let said = &self.nodes[place(missing.id)].client_urls;
        Some(format!("{} says {said:?}, the configuration {:?}", missing.id, missing.client_urls))
    }

    /// Every live member tells clients of every live member what that one says.
    pub(super) fn check_told(&mut self) {
        if !self.plan.knobs.publishes {
            return;
        }
        let live = self.members();
        for (asked, of) in live.iter().flat_map(|a| live.iter().map(move |b| (a, b))) {
            let Some(member) = self.nodes[usize::from(asked)].up() else { continue };
            let (raft, id) = (member.replica.raft(), NodeId(u64::from(of) + 1));
            let Some(here) = raft.config().member(id) else { continue };
            let committed = raft.config_at(raft.commit()).member(id);
            let told = Shown::of(here, committed, member.peers.said(id), asked == of);
            let there = &self.nodes[usize::from(of)];
            self.judge.checks += 1;
            if (&told.name, &told.client_urls) != (&there.name, &there.client_urls) {
                let what = format!("n{} says of {id}: {told:?}", asked + 1);
                return self.blame("clients are told what members say", what);
            }
        }
    }

    /// Asks at its own door, as a client of nobody.
    fn auto_compact(&mut self, node: usize) {
        let now = self.now;
        let Some(member) = self.nodes[node].up_mut() else { return };
        let (local, store) = (member.local(now), member.replica.store());
        let (revision, compacted) = (store.revision(), store.compact_revision());
        let seen = Seen { revision, compacted, leads: member.replica.raft().is_leader() };
        let Some(revision) = member.chores.compactor.look(local, seen) else { return };
        self.stats.fault("auto-compaction");
        self.check_history_kept(node, revision, seen);
        self.begin_here(node, Ask::Write(Command::Compact { revision }));
    }

    /// Nobody lets go of history by itself that was to be kept.
    fn check_history_kept(&mut self, node: usize, revision: i64, seen: Seen) {
        let kept = match self.plan.knobs.compaction {
            Rule::Off => seen.compacted,
            Rule::Revision { keep, .. } => seen.revision - keep,
            // The head of a span ago, by the slowest clock there may be, or a later one.
            Rule::Periodic { span } => {
                let since = Nanos(self.now.0.saturating_sub(span.0 / 100 * 95));
                let before = self.heads.iter().take_while(|(at, _)| *at <= since);
                before.last().map_or(1, |(_, head)| *head)
            }
        };
        self.judge.checks += 1;
        if revision > kept || revision <= seen.compacted {
            let what = format!("n{} compacts {revision} at {seen:?}, up to {kept}", node + 1);
            self.blame("automatic compaction keeps what it is to keep", what);
        }
    }

    /// The newest revision anywhere, and since when.
    pub(super) fn note_head(&mut self) {
        let head = self.judge.model.revision();
        let periodic = matches!(self.plan.knobs.compaction, Rule::Periodic { .. });
        if periodic && self.heads.last().is_none_or(|(_, known)| *known < head) {
            self.heads.push((self.now, head));
        }
    }

    /// A person stops a member; it starts again `span` after it has ended.
    pub(super) fn stop_as_planned(&mut self, node: usize, span: Nanos) -> bool {
        let now = self.now;
        let election = self.plan.knobs.election;
        let place = &mut self.nodes[node];
        let (life, paused) = (place.life, place.paused);
        let Some(member) = place.up_mut().filter(|m| m.chores.stop == Stop::No && !paused) else {
            return false;
        };
        let (local, leads) = (member.local(now), member.replica.raft().is_leader());
        let grace = Nanos(election.0 * GRACE_TIMEOUTS);
        let hands_over = member.chores.stop.begin(local, grace, election, leads);
        let (until, end) = (local.plus(election), local.plus(grace));
        member.chores.stopping = Some(Stopping { span, until, end, ends: false });
        let event = if hands_over { Event::TransferLeader { to: None } } else { Event::Tick };
        self.give(node, life, event);
        true
    }

    fn go_on_with_stop(&mut self, node: usize) {
        let now = self.now;
        let Some(member) = self.nodes[node].up_mut() else { return };
        let Some(stopping) = member.chores.stopping else { return };
        let (local, raft) = (member.local(now), member.replica.raft());
        let leads_others = raft.is_leader() && raft.config().members.len() > 1;
        let next = member.chores.stop.go_on(local, leads_others);
        let calls = member.chores.calls.len();
        match next {
            Next::Wait => {}
            Next::Drain => {
                self.stats.fault(if leads_others { "stop-leads" } else { "stop-drains" });
                if leads_others && local < stopping.until {
                    let what = format!("n{} sends clients away and leads", node + 1);
                    self.blame("leadership is handed over before clients are sent away", what);
                }
                // Their streams end; what they ask from now on, nobody hears.
                self.lose_watchers(node);
            }
            Next::End if local < stopping.end => {
                let what = format!("n{} ends with {calls} calls and time left", node + 1);
                self.blame("who stops as planned answers what it took", what);
            }
            Next::End => {}
        }
        let life = self.nodes[node].life;
        let Some(member) = self.nodes[node].up_mut() else { return };
        let drained = member.chores.stop.drained() && member.chores.calls.is_empty();
        let ends = next == Next::End || drained;
        if let Some(stopping) = member.chores.stopping.as_mut().filter(|s| ends && !s.ends) {
            stopping.ends = true;
            self.stats.fault(if drained { "stop-drained" } else { "stop-out-of-time" });
            // As in the server: never inside a step, or a write.
            let at = now.plus(Nanos(1000));
            self.agenda.push(at, What::StopEnds { node: node as u8, life });
        }
    }

    /// The disk has its last word, and the process ends.
    pub(super) fn end_stop(&mut self, node: usize, life: u32) {
        let place = &self.nodes[node];
        let Some(member) = place.up().filter(|_| place.life == life) else { return };
        let Some(stopping) = member.chores.stopping else { return };
        if place.paused {
            let at = self.now.plus(self.plan.knobs.heartbeat);
            return self.agenda.push(at, What::StopEnds { node: node as u8, life });
        }
        if let Err(error) = self.close_journal(node) {
            return self.disk_failed(node, &error.to_string());
        }
        self.stop(node, Loss::None, "as planned");
        self.restart_in(node, stopping.span);
    }

    /// What waits for the journal is written, and that all of it is committed, if it is.
    fn close_journal(&mut self, node: usize) -> Result<(), WalError> {
        let place = &mut self.nodes[node];
        let crate::node::Process::Up(member) = &mut place.process else { return Ok(()) };
        if member.chores.stuck {
            return Ok(()); // a stop does not wait for room
        }
        let last = member::stop::last_word(&member.replica);
        member.jobs.extend(last.map(Job::Know));
        loop {
            if !std::mem::take(&mut member.busy) {
                if member.jobs.is_empty() {
                    return member.lane.close();
                }
                while let Some(job) = member.jobs.pop_front() {
                    if !member.lane.take(job) {
                        break;
                    }
                }
                if !member.lane.write()? {
                    return Ok(());
                }
            }
            if let Some(durable) = member.lane.sync()? {
                durable.persists.iter().for_each(|persist| place.ledger.persisted(persist));
            }
            member.lane.settle()?;
        }
    }
}
