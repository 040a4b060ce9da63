//! Checkpoints: written beside the node, sent on a stream of their own, installed off to the side.

use super::World;
use crate::agenda::What;
use crate::judge::place;
use crate::node::Lived;
use base::{Nanos, NodeId};
use member::checkpoints::{self, Incoming, decode_offer, encode_offer};
use member::mend::{FETCH_PAUSE, FETCH_TRIES};
use member::{Archive, Sending, Unfit};
use mvcc::Fetch;
use replica::{CheckpointJob, Event};
use store::{CheckpointFile, StoreErrorKind};

/// A checkpoint on its way to a peer.
pub(super) struct Transfer {
    from: usize,
    from_life: u32,
    said: Lived,
    to: usize,
    to_life: u32,
    offer: CheckpointFile,
    sending: Sending,
    bytes: Vec<u8>,
    incoming: Option<Incoming>,
}

impl World {
    pub(super) fn want_checkpoint(&mut self, node: usize) {
        let Some(member) = self.nodes[node].up_mut() else { return };
        let applied = member.replica.store().applied_index();
        if member.checkpoint.wants(applied) {
            self.step(node, [Event::TakeCheckpoint]);
        }
    }

    pub(super) fn begin_checkpoint(&mut self, node: usize, job: CheckpointJob) {
        let took = Nanos(self.disk_time(node).0 * 3);
        let life = self.nodes[node].life;
        let Some(member) = self.nodes[node].up_mut() else { return };
        member.saving = Some(job);
        self.agenda.push(self.now.plus(took), What::CheckpointDone { node: node as u8, life });
    }

    pub(super) fn begin_merge(&mut self, node: usize, settling: mvcc::Settling) {
        let Some(member) = self.nodes[node].up_mut() else { return };
        member.merging.push_back(settling);
        self.merge_in(node, 2);
    }

    fn merge_in(&mut self, node: usize, times: u64) {
        let took = Nanos(self.disk_time(node).0 * times);
        let life = self.nodes[node].life;
        self.agenda.push(self.now.plus(took), What::MergeDone { node: node as u8, life });
    }

    pub(super) fn merge_done(&mut self, node: usize, life: u32) {
        let place = &mut self.nodes[node];
        if place.life != life {
            return;
        }
        let disk = place.disk.clone();
        let Some(member) = place.up_mut() else { return };
        let Some(settling) = member.merging.pop_front() else { return };
        let settled = member.archive.settle(&disk, &settling);
        // As the server's log thread does: a merge that finds no room needs it more.
        let wants = settled.as_ref().is_err_and(|error| error.kind == StoreErrorKind::NoRoom);
        if let Err(error) = member.lane.keep_spares(!wants) {
            return self.disk_failed(node, &error.to_string());
        }
        match settled {
            Ok(settled) => {
                self.stats.merges += 1;
                self.give(node, life, Event::Settled(Box::new(settled)));
            }
            Err(_) if disk.machine().is_dead() => self.disk_failed(node, "merge"),
            Err(_) => {
                self.stats.fault("merge-again");
                // Where another state has come, its own merge is next.
                if member.merging.is_empty() {
                    member.merging.push_front(settling);
                }
                self.merge_in(node, 20);
            }
        }
    }

    /// An entry waits for versions that have left memory.
    pub(super) fn begin_fetch(&mut self, node: usize, all: Vec<Fetch>) {
        let took = self.disk_time(node);
        let life = self.nodes[node].life;
        let Some(member) = self.nodes[node].up_mut() else { return };
        member.fetching.push_back((all, 1));
        self.agenda.push(self.now.plus(took), What::FetchDone { node: node as u8, life });
    }

    pub(super) fn fetch_done(&mut self, node: usize, life: u32) {
        let place = &mut self.nodes[node];
        let member = if place.life == life { place.up_mut() } else { None };
        let Some(member) = member else { return };
        let Some((all, tries)) = member.fetching.pop_front() else { return };
        let read = Fetch::read_all(all.clone(), &mut member.shelf);
        if read.is_err() && tries < FETCH_TRIES {
            member.fetching.push_front((all, tries + 1));
            self.stats.fault("entry-fetched-again");
            self.begin_mending(node);
            let at = self.now.plus(FETCH_PAUSE);
            return self.agenda.push(at, What::FetchDone { node: node as u8, life });
        }
        self.stats.fault("entry-fetched");
        let failed = |(fetch, why)| Event::Unreadable(fetch, why);
        self.give(node, life, read.map_or_else(failed, Event::Fetched));
    }

    pub(super) fn checkpoint_done(&mut self, node: usize, life: u32) {
        let now = self.now;
        let place = &mut self.nodes[node];
        if place.life != life {
            return;
        }
        let disk = place.disk.clone();
        let Some(member) = place.up_mut() else { return };
        let Some(job) = member.saving.take() else { return };
        let written = checkpoints::write(&disk, &job, &member.archive);
        drop(job);
        // What is left of a removal that fails goes with the next one.
        let tidied = written.and_then(|file| member.archive.tidy(&disk).map(|()| file));
        match tidied {
            Ok(file) => {
                let index = file.index;
                let release = member.checkpoint.written(index, file.len);
                self.stats.checkpoints += 1;
                let ledger = &mut self.nodes[node].ledger;
                ledger.covered = ledger.covered.max(index);
                let keep = ledger.covered.0.saturating_sub(self.plan.knobs.catchup_entries + 1);
                ledger.compact(base::LogIndex(keep));
                self.tracer.node(self.now, node, || trace::What::Checkpoint { index: index.0 });
                self.release(node, release);
                self.give(node, life, Event::CheckpointWritten { index });
            }
            Err(_) if disk.machine().is_dead() => self.disk_failed(node, "checkpoint"),
            Err(_) => {
                let leads = member.replica.raft().is_leader();
                if member.checkpoint.failed(member.local(now), leads) {
                    self.stats.fault("handed-over");
                    self.give(node, life, Event::TransferLeader { to: None });
                }
            }
        }
    }

    /// The newest checkpoint here, `written` having been written when it was to be sent, is of no
    /// use to a peer.
    pub(super) fn unfit(&mut self, node: usize, life: u32, written: u64) {
        let (now, place) = (self.now, &mut self.nodes[node]);
        if place.life != life {
            return;
        }
        let Some(member) = place.up_mut() else { return };
        let (local, leads) = (member.local(now), member.replica.raft().is_leader());
        match member.checkpoint.unfit(written, local, leads) {
            Unfit::Newer | Unfit::Helpless => {}
            Unfit::Replace => {
                self.stats.fault("checkpoint-replaced");
                self.give(node, life, Event::TakeCheckpoint);
            }
            Unfit::HandOver => {
                self.stats.fault("handed-over");
                self.give(node, life, Event::TransferLeader { to: None });
            }
        }
    }

    pub(super) fn send_checkpoint(&mut self, node: usize, to: NodeId) {
        let target = place(to);
        let (life, disk) = (self.nodes[node].life, self.nodes[node].disk.clone());
        let Some(said) = self.nodes[node].lived() else { return };
        let Some(member) = self.nodes[node].up_mut() else { return };
        let begun = member.transfers.begin(to, member.replica.raft().config(), &member.checkpoint);
        let Some(sending) = begun else { return };
        let offered = offered(&disk, sending, &member.archive);
        let Some((offer, bytes)) = offered else {
            self.sent(node, life, target, false);
            return self.unfit(node, life, sending.written);
        };
        let transfer = Transfer {
            from: node,
            from_life: life,
            said,
            to: target,
            to_life: self.nodes[target].life,
            offer,
            sending,
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
        member.transfers.end(to);
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
            // The connection was looked at when it was made.
            && (transfer.incoming.is_some() || self.greets(from, to, transfer.said));
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

    fn take_chunk(&mut self, transfer: &mut Transfer) -> Result<bool, String> {
        let disk = self.nodes[transfer.to].disk.clone();
        if transfer.incoming.is_none() {
            let mut said = Vec::new();
            encode_offer(&transfer.offer, &mut said);
            let offer = decode_offer(&said).map_err(|error| error.to_string())?;
            let begun = Incoming::begin(&disk, &offer);
            transfer.incoming = Some(begun.map_err(|error| error.to_string())?);
        }
        let incoming = transfer.incoming.as_mut().expect("just begun");
        let offset = usize::try_from(incoming.offset()).expect("checkpoints fit memory");
        let end = transfer.bytes.len().min(offset + self.plan.knobs.chunk_bytes);
        let written = incoming.write(&transfer.bytes[offset..end]);
        written.map_err(|error| error.to_string())?;
        Ok(incoming.is_complete())
    }

    fn finish_transfer(&mut self, mut transfer: Transfer) {
        let to = transfer.to;
        let disk = self.nodes[to].disk.clone();
        let incoming = transfer.incoming.take().expect("it is complete");
        let Some(archive) = self.nodes[to].up().map(|member| member.archive.clone()) else {
            return;
        };
        let installed = match incoming.finish(&disk, &archive) {
            Ok(installed) => installed,
            Err(error) => {
                self.transfer_failed(&transfer, &error.to_string());
                return self.look_again(&transfer);
            }
        };
        let (index, ballot) = (installed.index, installed.ballot);
        let place = &mut self.nodes[to];
        place.ledger.installed(index, ballot);
        // The shell that ships asks for the release before it hands the checkpoint in.
        if let Some(release) = place.up_mut().map(|member| member.checkpoint.installed(index)) {
            self.release(to, release);
        }
        self.give(to, transfer.to_life, Event::Install(Box::new(installed)));
        self.sent(transfer.from, transfer.from_life, to, true);
    }

    fn look_again(&mut self, transfer: &Transfer) {
        let sender = &self.nodes[transfer.from];
        let runs = sender.life == transfer.from_life && sender.runs();
        let unfit = |member: &crate::node::Member| {
            let archive = &member.archive;
            transfer.sending.look_again(&sender.disk, &transfer.offer, archive).is_some()
        };
        if runs && sender.up().is_some_and(unfit) {
            self.unfit(transfer.from, transfer.from_life, transfer.sending.written);
        }
    }

    fn transfer_failed(&mut self, transfer: &Transfer, text: &str) {
        let failed = || trace::What::TransferFailed { why: text.to_owned() };
        self.tracer.node(self.now, transfer.to, failed);
        if self.nodes[transfer.to].disk.machine().is_dead() {
            self.disk_failed(transfer.to, "transfer");
        }
        self.sent(transfer.from, transfer.from_life, transfer.to, false);
    }
}

/// The newest checkpoint with all its bytes; none where it cannot be read.
fn offered(
    home: &dyn store::Home,
    sending: Sending,
    archive: &Archive,
) -> Option<(CheckpointFile, Vec<u8>)> {
    let (offer, mut file) = sending.offer(home, archive).ok()?;
    let mut bytes = vec![0; usize::try_from(offer.len).ok()?];
    let got = file.read_at(0, &mut bytes).ok()?;
    (got == bytes.len()).then_some((offer, bytes))
}
