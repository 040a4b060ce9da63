//! The log lane of one member: takes all that has queued up, writes it once, syncs once, reports
//! once. The order is that of `server/src/disk/log.rs`.

use super::World;
use crate::agenda::What;
use crate::disk::Loss;
use crate::member::Job;
use crate::recover;
use base::{LogIndex, Nanos};
use consensus::raft::Persist;
use replica::Event;
use wal::{Batch, Journal, Record, WalError};

/// Silence after which the journal vouches for its last batch.
const IDLE: Nanos = Nanos::from_millis(50);
/// Jobs of one write.
const JOBS_MAX: usize = 64;

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
        if member.busy || member.jobs.is_empty() {
            return;
        }
        member.busy = true;
        for _ in 0..JOBS_MAX {
            match member.jobs.pop_front() {
                Some(Job::Persist(persist)) => member.writing.push(persist),
                Some(Job::Release(index)) => member.release = Some(index),
                None => break,
            }
        }
        let written = append(&mut member.journal, &member.writing);
        let took = self.disk_time(node);
        match written {
            Ok(()) => {
                self.agenda.push(self.now.plus(took), What::LogDone { node: node as u8, life })
            }
            Err(error) => self.disk_failed(node, &error.to_string()),
        }
    }

    pub(super) fn log_done(&mut self, node: usize, life: u32) {
        if self.nodes[node].life != life {
            return;
        }
        let place = &mut self.nodes[node];
        let crate::member::Process::Up(member) = &mut place.process else { return };
        let mut done = if member.writing.is_empty() { Ok(()) } else { member.journal.sync() };
        let mut ticket = None;
        if done.is_ok() {
            for persist in std::mem::take(&mut member.writing) {
                place.ledger.persisted(&persist);
                ticket = Some(persist.ticket);
            }
            if let Some(index) = member.release.take() {
                done = member.journal.release(index);
            }
        }
        member.busy = false;
        if let Err(error) = done {
            return self.disk_failed(node, &error.to_string());
        }
        if !member.idle_due {
            member.idle_due = true;
            self.agenda.push(self.now.plus(IDLE), What::LogIdle { node: node as u8, life });
        }
        if let Some(ticket) = ticket {
            self.give(node, life, Event::Persisted(ticket));
        }
        self.work(node);
    }

    pub(super) fn log_idle(&mut self, node: usize, life: u32) {
        if self.nodes[node].life != life {
            return;
        }
        let Some(member) = self.nodes[node].up_mut() else { return };
        if member.busy {
            // Not idle: look again later.
            self.agenda.push(self.now.plus(IDLE), What::LogIdle { node: node as u8, life });
            return;
        }
        member.idle_due = false;
        if let Err(error) = member.journal.mark() {
            self.disk_failed(node, &error.to_string());
        }
    }

    /// All that the journal holds is committed: the mark of this silence says so.
    pub(super) fn know(&mut self, node: usize, index: LogIndex) {
        let Some(member) = self.nodes[node].up_mut() else { return };
        member.journal.know(index);
        if !member.busy
            && let Err(error) = member.journal.mark()
        {
            self.disk_failed(node, &error.to_string());
        }
    }

    /// A failed disk stops the member; fsync is never tried twice.
    pub(super) fn disk_failed(&mut self, node: usize, why: &str) {
        let power = self.nodes[node].disk.machine().is_dead();
        self.tracer.node(self.now, node, "disk-failed", format_args!(",\"why\":{why:?}"));
        let loss = if power { self.planned_loss(node) } else { Loss::None };
        self.stop(node, loss, "disk");
        let wait = Nanos::from_millis(100 + self.random.node.below(2000));
        self.restart_in(node, wait);
    }

    /// Tells the log lane that a durable checkpoint covers everything up to `index`.
    pub(super) fn release(&mut self, node: usize, index: LogIndex) {
        if let Some(member) = self.nodes[node].up_mut() {
            member.jobs.push_back(Job::Release(index));
        }
        self.work(node);
    }
}

fn append(journal: &mut Journal, persists: &[Persist]) -> Result<(), WalError> {
    if persists.is_empty() {
        return Ok(());
    }
    assert!(persists.is_sorted_by_key(|persist| persist.ticket), "tickets are one FIFO lane");
    let records: Vec<Vec<Record>> =
        persists.iter().map(|p| p.entries.iter().map(recover::record).collect()).collect();
    let batches: Vec<Batch<'_>> = persists
        .iter()
        .zip(&records)
        .map(|(persist, entries)| Batch {
            ballot: persist.ballot,
            truncate_from: persist.truncate_from,
            entries,
            commit: persist.commit,
        })
        .collect();
    journal.append(&batches)
}
