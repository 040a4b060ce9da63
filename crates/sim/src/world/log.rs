//! The journal lane of one member, stepped in virtual time.

use super::World;
use crate::agenda::What;
use crate::disk::Loss;
use crate::node::Process;
use base::{LogIndex, Nanos};
use member::Job;
use member::lane::ROOM_PAUSE;
use replica::Event;

impl World {
    pub(super) fn disk_time(&mut self, node: usize) -> Nanos {
        let knobs = &self.plan.knobs;
        let spread = self.random.disk.below(knobs.disk_spread.0.max(1));
        Nanos((knobs.disk_min.0 + spread) * self.nodes[node].slow)
    }

    /// Begins the next write if there is one and none is under way.
    pub(super) fn work(&mut self, node: usize) {
        let life = self.nodes[node].life;
        let Some(member) = self.nodes[node].up_mut() else { return };
        if member.busy || (member.jobs.is_empty() && !member.lane.is_work()) {
            return;
        }
        member.busy = true;
        while let Some(job) = member.jobs.pop_front() {
            if !member.lane.take(job) {
                break;
            }
        }
        let at_work = member.lane.is_work();
        match member.lane.write() {
            Ok(true) => member.chores.stuck = false,
            Ok(false) => return self.no_room(node),
            Err(error) => return self.disk_failed(node, &error.to_string()),
        }
        if !at_work {
            return self.log_done(node, life);
        }
        let took = self.disk_time(node);
        self.agenda.push(self.now.plus(took), What::LogDone { node: node as u8, life });
    }

    /// What is to be written waits, and what is asked for meanwhile is taken in.
    fn no_room(&mut self, node: usize) {
        let life = self.nodes[node].life;
        let Some(member) = self.nodes[node].up_mut() else { return };
        member.chores.stuck = true;
        self.stats.fault("write-waits-for-room");
        if let Err(error) = member.lane.make_room() {
            return self.disk_failed(node, &error.to_string());
        }
        self.agenda.push(self.now.plus(ROOM_PAUSE), What::LogRoom { node: node as u8, life });
    }

    /// It is tried again.
    pub(super) fn log_room(&mut self, node: usize, life: u32) {
        if self.nodes[node].life != life {
            return;
        }
        let Some(member) = self.nodes[node].up_mut() else { return };
        member.busy = false;
        while let Some(job) = member.jobs.pop_front() {
            member.lane.take(job);
        }
        self.work(node);
    }

    pub(super) fn log_done(&mut self, node: usize, life: u32) {
        if self.nodes[node].life != life {
            return;
        }
        let place = &mut self.nodes[node];
        let Process::Up(member) = &mut place.process else { return };
        match member.lane.sync() {
            Ok(None) => {}
            Ok(Some(durable)) => {
                durable.persists.iter().for_each(|persist| place.ledger.persisted(persist));
                member.checkpoint.journal_bytes = durable.journal_bytes;
                self.give(node, life, Event::Persisted(durable.ticket()));
            }
            Err(error) => return self.disk_failed(node, &error.to_string()),
        }
        // What the report led to may have stopped it.
        if self.nodes[node].life != life {
            return;
        }
        let Some(member) = self.nodes[node].up_mut() else { return };
        member.busy = false;
        if let Err(error) = member.lane.settle() {
            return self.disk_failed(node, &error.to_string());
        }
        self.await_silence(node);
        self.work(node);
    }

    fn await_silence(&mut self, node: usize) {
        let (now, life) = (self.now, self.nodes[node].life);
        let Some(member) = self.nodes[node].up_mut() else { return };
        let Some(patience) = member.lane.patience() else { return };
        member.idle_at = now.plus(patience);
        if !member.idle_due {
            member.idle_due = true;
            self.agenda.push(member.idle_at, What::LogIdle { node: node as u8, life });
        }
    }

    pub(super) fn log_idle(&mut self, node: usize, life: u32) {
        if self.nodes[node].life != life {
            return;
        }
        let now = self.now;
        let Some(member) = self.nodes[node].up_mut() else { return };
        if !member.busy && now < member.idle_at {
            let at = member.idle_at;
            return self.agenda.push(at, What::LogIdle { node: node as u8, life });
        }
        member.idle_due = false;
        if member.busy {
            return; // the next silence begins when this write is done
        }
        if let Err(error) = member.lane.idle(true) {
            return self.disk_failed(node, &error.to_string());
        }
        self.await_silence(node);
    }

    /// A failed disk stops the member; fsync is never tried twice.
    pub(super) fn disk_failed(&mut self, node: usize, why: &str) {
        let power = self.nodes[node].disk.machine().is_dead();
        self.tracer.node(self.now, node, || trace::What::DiskFailed { why: why.to_owned() });
        let loss = if power { self.planned_loss(node) } else { Loss::None };
        self.stop(node, loss, "disk");
        let wait = Nanos::from_millis(100 + self.random.node.below(2000));
        self.restart_in(node, wait);
    }

    /// A durable checkpoint covers everything up to `index`.
    pub(super) fn release(&mut self, node: usize, index: LogIndex) {
        self.ask_lane(node, Job::Release(index));
    }

    /// All that the journal holds is committed: the mark of this silence says so.
    pub(super) fn know(&mut self, node: usize, index: LogIndex) {
        self.ask_lane(node, Job::Know(index));
    }

    fn ask_lane(&mut self, node: usize, job: Job) {
        if let Some(member) = self.nodes[node].up_mut() {
            member.jobs.push_back(job);
        }
        self.work(node);
    }
}
