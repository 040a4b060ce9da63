//! Checkpoints: written beside the node, sent on a stream of their own, installed off to the side.

use super::World;
use crate::agenda::What;
use crate::judge::place;
use crate::recover;
use base::{Incarnation, Nanos, NodeId};
use replica::{CheckpointJob, Event};
use store::{CheckpointFile, Incoming};

/// A checkpoint on its way to a peer.
pub(super) struct Transfer {
    from: usize,
    from_life: u32,
    birth: u64,
    incarnation: Incarnation,
    to: usize,
    to_life: u32,
    offer: CheckpointFile,
    bytes: Vec<u8>,
    incoming: Option<Incoming>,
}

impl World {
    pub(super) fn want_checkpoint(&mut self, node: usize) {
        let every = self.plan.knobs.checkpoint_entries;
        let Some(member) = self.nodes[node].up() else { return };
        if member.checkpoint.running.is_some() {
            return;
        }
        let applied = member.replica.store().applied_index();
        if applied.0.saturating_sub(member.checkpoint.index.0) >= every {
            self.step(node, [Event::TakeCheckpoint]);
        }
    }

    pub(super) fn begin_checkpoint(&mut self, node: usize, job: CheckpointJob) {
        let took = Nanos(self.disk_time(node).0 * 3);
        let life = self.nodes[node].life;
        let Some(member) = self.nodes[node].up_mut() else { return };
        member.checkpoint.running = Some(job);
        self.agenda.push(self.now.plus(took), What::CheckpointDone { node: node as u8, life });
    }

    pub(super) fn checkpoint_done(&mut self, node: usize, life: u32) {
        let place = &mut self.nodes[node];
        if place.life != life {
            return;
        }
        let disk = place.disk.clone();
        let Some(member) = place.up_mut() else { return };
        let Some(job) = member.checkpoint.running.take() else { return };
        match recover::write_checkpoint(&disk, &job) {
            Ok(file) => {
                let index = file.index;
                member.checkpoint.index = member.checkpoint.index.max(index);
                self.stats.checkpoints += 1;
                let ledger = &mut self.nodes[node].ledger;
                ledger.covered = ledger.covered.max(index);
                let keep = ledger.covered.0.saturating_sub(self.plan.knobs.catchup_entries + 1);
                ledger.compact(base::LogIndex(keep));
                self.tracer.node(self.now, node, "checkpoint", format_args!(",\"index\":{index}"));
                self.release(node, index);
                self.give(node, life, Event::CheckpointWritten { index });
            }
            Err(_) if disk.machine().is_dead() => self.disk_failed(node, "checkpoint"),
            // The journal still holds everything: a later attempt comes with more of it.
            Err(_) => member.checkpoint.index = job.index,
        }
    }

    pub(super) fn send_checkpoint(&mut self, node: usize, to: NodeId) {
        let target = place(to);
        let life = self.nodes[node].life;
        let mut dir = self.nodes[node].disk.dir("checkpoints/");
        let Some(member) = self.nodes[node].up_mut() else { return };
        if !member.sending.insert(to) {
            return; // one transfer at a time to each peer
        }
        let (birth, incarnation) = (member.birth, member.incarnation);
        let witness = member.replica.raft().config().is_witness(to);
        let file = recover::offer(&mut dir, witness);
        let Some((offer, bytes)) = file else { return self.sent(node, life, target, false) };
        let transfer = Transfer {
            from: node,
            from_life: life,
            birth,
            incarnation,
            to: target,
            to_life: self.nodes[target].life,
            offer,
            bytes,
            incoming: None,
        };
        let transfer = self.transfers.put(transfer);
        let at = self.now.plus(self.net_delay());
        self.agenda.push(at, What::Chunk(transfer));
    }

    fn sent(&mut self, node: usize, life: u32, to: usize, ok: bool) {
        let to = self.nodes[to].id;
        if self.nodes[node].life != life {
            return;
        }
        let Some(member) = self.nodes[node].up_mut() else { return };
        member.sending.remove(&to);
        // As in the server: the outcome comes through the inbox, never inside the same step.
        member.inbox.push(Event::SnapshotSent { to, ok });
        if !member.batch_due {
            member.batch_due = true;
            let at = self.now.plus(Nanos(1000));
            self.agenda.push(at, What::Batch { node: node as u8, life });
        }
    }

    pub(super) fn chunk(&mut self, number: u32) {
        let Some(mut transfer) = self.transfers.take(number) else { return };
        let (from, to) = (transfer.from, transfer.to);
        let alive = self.nodes[from].life == transfer.from_life
            && self.nodes[to].life == transfer.to_life
            && self.nodes[from].runs()
            && self.nodes[to].runs()
            // What the receiver says meanwhile may be lost: bytes on their way still arrive.
            && !self.links.is_cut(from, to)
            && self.greet(to, from, (transfer.birth, transfer.incarnation));
        if !alive {
            return self.sent(from, transfer.from_life, to, false);
        }
        match self.take_chunk(&mut transfer) {
            Ok(true) => self.finish_transfer(transfer),
            Ok(false) => {
                let at = self.now.plus(self.net_delay());
                let number = self.transfers.put(transfer);
                self.agenda.push(at, What::Chunk(number));
            }
            Err(text) => self.transfer_failed(&transfer, &text),
        }
    }

    /// Both ends of the stream look at each other.
    fn greet(&mut self, to: usize, from: usize, sender: (u64, Incarnation)) -> bool {
        let here = self.nodes[to].up().map(|member| (member.birth, member.incarnation));
        !self.turns_away(to, from)
            && !self.turns_away(from, to)
            && here.is_some_and(|(birth, incarnation)| self.welcome(from, to, birth, incarnation))
            && self.welcome(to, from, sender.0, sender.1)
    }

    fn take_chunk(&mut self, transfer: &mut Transfer) -> Result<bool, String> {
        let mut dir = self.nodes[transfer.to].disk.dir("checkpoints/");
        if transfer.incoming.is_none() {
            let begun = Incoming::begin(&mut dir, &transfer.offer);
            transfer.incoming = Some(begun.map_err(|error| error.to_string())?);
        }
        let incoming = transfer.incoming.as_mut().expect("just begun");
        let offset = usize::try_from(incoming.offset()).expect("checkpoints fit memory");
        let end = transfer.bytes.len().min(offset + self.plan.knobs.chunk_bytes);
        let written = incoming.write(offset as u64, &transfer.bytes[offset..end]);
        written.map_err(|error| error.to_string())?;
        Ok(incoming.complete())
    }

    fn finish_transfer(&mut self, mut transfer: Transfer) {
        let to = transfer.to;
        let disk = self.nodes[to].disk.clone();
        let incoming = transfer.incoming.take().expect("it is complete");
        let done = incoming.finish(&mut disk.dir("checkpoints/"));
        let loaded =
            done.and_then(|file| recover::load(&disk, &file)).map_err(|error| error.to_string());
        let installed = match loaded {
            Ok(installed) => installed,
            Err(text) => return self.transfer_failed(&transfer, &text),
        };
        let (index, ballot) = (installed.index, installed.ballot);
        let place = &mut self.nodes[to];
        place.ledger.installed(index, ballot);
        if let Some(member) = place.up_mut() {
            member.checkpoint.index = member.checkpoint.index.max(index);
        }
        // The shell that ships asks for the release before it hands the checkpoint in.
        self.release(to, index);
        self.give(to, transfer.to_life, Event::Install(Box::new(installed)));
        self.sent(transfer.from, transfer.from_life, to, true);
    }

    fn transfer_failed(&mut self, transfer: &Transfer, text: &str) {
        self.tracer.node(
            self.now,
            transfer.to,
            "transfer-failed",
            format_args!(",\"why\":{text:?}"),
        );
        if self.nodes[transfer.to].disk.machine().is_dead() {
            self.disk_failed(transfer.to, "transfer");
        }
        self.sent(transfer.from, transfer.from_life, transfer.to, false);
    }
}
