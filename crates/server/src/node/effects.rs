//! Carries out what a step asked for.

use super::input::{Input, Told, Word};
use super::show::members_of;
use super::voter::Voter;
use crate::peer::Link;
use crate::peer::link::Host as _;
use base::NodeId;
use door::{Reason, Refusal};
use member::publish::OWN;
use replica::{Effects, RefusalReason, Reply, UnknownReason};

/// Events that are freed on the voter's own thread, at most.
const FREED_HERE_MAX: usize = 1024;

impl Voter {
    pub(super) fn dispatch(&mut self, effects: &mut Effects) {
        for persist in effects.persist.drain(..) {
            self.disk.persist(persist);
        }
        if let Some(index) = effects.known.take() {
            self.disk.know(index);
        }
        if !effects.send.is_empty() {
            let cut = &self.cut;
            for message in effects.send.drain(..).filter(|message| !cut.contains(&message.to)) {
                if let Some(link) = self.peers.members.link(message.to) {
                    link.push(&message);
                }
            }
            self.peers.members.for_each(Link::flush);
        }
        self.tell(effects);
        for peer in effects.snapshots.drain(..) {
            self.send_checkpoint(peer);
        }
        if !effects.fetch.is_empty() {
            self.helpers.fetcher.fetch(std::mem::take(&mut effects.fetch));
        }
        if let Some(settling) = effects.settle.take() {
            self.helpers.merger.merge(settling);
        }
        if let Some(job) = effects.checkpoint.take() {
            self.peers.files.write_checkpoint(job, self.inbox.clone());
        }
        if let Some(index) = effects.diverged.take() {
            tracing::error!("state differs from a quorum's at index {index}: no longer serving");
        }
        if let Some(index) = effects.repaired.take() {
            self.peers.notes.end_repair(index);
        }
        if !effects.trace.is_empty() {
            let raft = self.replica.raft();
            self.tap.hand((raft.config_version(), raft.config()), &mut effects.trace);
            self.replica.set_tracing(self.tap.is_open());
        }
        self.notice_leader();
        if !effects.discard.is_empty() {
            // To free what a long entry left takes as long as the entry did.
            self.threads.discard(std::mem::take(&mut effects.discard));
        }
    }

    /// Tells the clients' thread what concerns it, if anything does.
    fn tell(&mut self, effects: &mut Effects) {
        let mut replaced = std::mem::take(&mut self.replaced);
        if !self.board.is_listened() {
            self.forget(effects);
            replaced = false;
        } else if replaced || !effects.changes.is_empty() {
            // A desk that is far behind is told later that all is to be looked at.
            let may = self.board.may_tell(&effects.changes);
            if !may {
                self.forget(effects);
                (self.replaced, replaced) = (true, false);
            }
        }
        let stands = !self.stands && self.replica.is_current();
        self.stands |= stands;
        let quiet = effects.replies.is_empty() && effects.changes.is_empty();
        if quiet && !replaced && !stands && self.late.is_empty() {
            return;
        }
        if effects.replies.iter().any(|(token, _)| *token == OWN) {
            self.publisher.answered();
        }
        let told = |(token, reply)| (token, self.told(reply));
        let replies = effects.replies.drain(..).filter(|(token, _)| *token != OWN).map(told);
        let mut replies: Vec<_> = replies.collect();
        replies.extend(self.late());
        let changes = std::mem::take(&mut effects.changes);
        // A desk that is gone is noticed where it matters: at the end.
        let _ = self.desk.send(Word::Batch { replies, changes, replaced });
    }

    /// Drops changes that nobody is told. Many are freed elsewhere, since that takes long.
    fn forget(&self, effects: &mut Effects) {
        let events: usize = effects.changes.iter().map(|changes| changes.events.len()).sum();
        if events > FREED_HERE_MAX {
            self.threads.discard(std::mem::take(&mut effects.changes));
        }
        effects.changes.clear();
    }

    fn told(&self, reply: Reply) -> Told {
        let refused = |reason| Told::Refused(Refusal::not_applied(reason));
        match reply {
            Reply::Applied { result, .. } => Told::Applied(result),
            Reply::Barrier => Told::Barrier,
            Reply::Changed { config, .. } => {
                Told::Members(members_of(&config, &self.replica, &self.peers))
            }
            Reply::ChangeRefused(error) => {
                tracing::warn!("change refused: {error}");
                refused(Reason::Change(error))
            }
            Reply::Refused(refusal) => {
                let leader = refusal.leader.map(|leader| self.shown.facts.name_of(leader));
                let knowing = |reason| {
                    let refusal = Refusal::not_applied(reason).knowing(leader, refusal.missing);
                    Told::Refused(refusal)
                };
                match refusal.reason {
                    RefusalReason::NoLeader | RefusalReason::NoMember => knowing(Reason::NoLeader),
                    RefusalReason::Timeout => knowing(Reason::Timeout),
                    RefusalReason::Overloaded => knowing(Reason::Overloaded),
                    RefusalReason::Diverged => refused(Reason::Diverged),
                    RefusalReason::Witness => refused(Reason::Witness),
                }
            }
            Reply::Unknown(UnknownReason::Timeout) => {
                let leader =
                    self.replica.raft().leader().map(|leader| self.shown.facts.name_of(leader));
                let refusal = Refusal::unknown(Reason::Timeout);
                Told::Refused(refusal.knowing(leader, self.replica.missing()))
            }
            Reply::Unknown(UnknownReason::InCheckpoint) => {
                Told::Refused(Refusal::unknown(Reason::InCheckpoint))
            }
        }
    }

    /// Logs and counts changes of leadership.
    fn notice_leader(&mut self) {
        let leader = self.replica.raft().leader();
        if leader == self.leader {
            return;
        }
        self.leader = leader;
        match leader {
            Some(id) => {
                self.metrics.leader_changes.add(1);
                self.phase.send_if_modified(|phase| {
                    let first = *phase == super::Phase::Starting;
                    if first {
                        *phase = super::Phase::Ready;
                    }
                    first
                });
                let name = self.shown.facts.name_of(id);
                tracing::info!("leader is {name} ({:x})", id.0);
            }
            None => tracing::warn!("no leader"),
        }
    }

    fn send_checkpoint(&mut self, to: NodeId) {
        let begun = self.transfers.begin(to, self.replica.raft().config(), &self.checkpoint);
        let Some(sending) = begun else { return };
        if self.cut.contains(&to) {
            self.peers.send(Input::SnapshotSent { to, ok: false });
            return;
        }
        crate::peer::bulk::send(sending, &self.peers);
    }
}
