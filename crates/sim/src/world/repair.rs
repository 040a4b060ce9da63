//! A damaged member repairs: what its disk proves is true, it says nothing meanwhile, and at the
//! end it votes again.

use super::World;
use base::{Ballot, LogIndex};
use cluster::{BallotRule, Configuration};
use consensus::raft::{AppendOutcome, Body, Entry, EntryKind};
use member::Opened;
use replica::{Event, PeerBody, PeerMessage};

impl World {
    /// Holds the facts a repair begins with against what the member made durable.
    pub(super) fn check_repair(&mut self, node: usize, opened: &Opened) {
        let place = &mut self.nodes[node];
        let ending = place.ending.take();
        let Some(repair) = &opened.repair else {
            return match (place.repairing, ending) {
                (None, _) => (),
                (Some(_), Some(index)) => {
                    self.stats.fault("repair-ended-unseen");
                    self.conclude_repair(node, index);
                }
                (Some(_), None) => {
                    let what = format!("{} forgot that it repairs", place.name);
                    self.blame("a repair is not forgotten", what);
                }
            };
        };
        let (name, damage) = (place.name.clone(), repair.damage.clone());
        if place.shunned {
            return; // put back to an image that was damaged: its peers remember for it
        }
        if !place.damaged {
            return self.blame("a sound disk starts", format!("{name}: {damage}"));
        }
        let facts = (repair.ballot, repair.index);
        let ledger = &place.ledger;
        self.tracer.node(self.now, node, || {
            let (promise, index) = (facts.0, facts.1.0);
            trace::What::Repair { promise, index, why: damage.clone() }
        });
        if let Some(before) = place.repairing.filter(|before| ending.is_none() || *before == facts)
        {
            if before != facts {
                self.blame("a repair is not forgotten", format!("{name}: {before:?}, {facts:?}"));
            }
            return;
        }
        let (ballot, promise) = (facts.0, ledger.promise);
        let same_term = ballot.term == promise.term;
        let other_vote = self.plan.rule == BallotRule::SharedTerms
            && same_term
            && promise.node.0 != 0
            && ballot.node != promise.node;
        let reach = if same_term { ledger.reach(promise.term) } else { LogIndex::ZERO };
        if ballot < promise || other_vote || facts.1 < reach {
            let what =
                format!("{name} promised {promise} and reached {reach}, its disk says {facts:?}");
            return self.blame("what a damaged disk proves is true", what);
        }
        self.stats.fault("repair-started");
        let place = &mut self.nodes[node];
        place.repairing = Some(facts);
        // Others may still count what it acknowledged: it keeps its vote back.
        place.ledger.excused = true;
    }

    /// A directory that neither a committed configuration nor a founding one names.
    fn is_unseated(&self, node: usize) -> bool {
        let Some(member) = self.nodes[node].up() else { return false };
        let (raft, id) = (member.replica.raft(), self.nodes[node].id);
        let names = |c: &Configuration| c.life_of(id).birth == member.life.birth;
        let founds = |e: &&Entry| {
            let config = Configuration::decode(&e.payload);
            config.is_ok_and(|c| c.change.founding && names(&c))
        };
        let mut configs = raft.entries(LogIndex(1), raft.last().0);
        !names(raft.config_at(raft.commit()))
            && !configs.any(|e| e.kind == EntryKind::Config && founds(&e))
    }

    /// Nobody may rest anything on a member that repairs, nor on one that nobody wrote down.
    pub(super) fn check_silence(&mut self, node: usize, message: &PeerMessage) {
        if let PeerBody::Raft(message) = &message.body
            && let Body::AppendReply { outcome: AppendOutcome::Matched(_), .. } = message.body
            && self.is_unseated(node)
        {
            let what = format!("{} has no seat and says {message:?}", self.nodes[node].name);
            self.blame("a directory nobody wrote down acknowledges nothing", what);
        }
        if self.nodes[node].repairing.is_none() {
            return;
        }
        let PeerBody::Raft(message) = &message.body else { return };
        let says = match &message.body {
            Body::VoteReply { granted, .. } | Body::PreVoteReply { granted, .. } => *granted,
            Body::AppendReply { outcome, .. } => matches!(outcome, AppendOutcome::Matched(_)),
            Body::PreVote { .. } | Body::Vote { .. } | Body::RoundAck { .. } => true,
            _ => false,
        };
        if says {
            let what = format!("{} repairs and says {message:?}", self.nodes[node].name);
            self.blame("a member that repairs keeps silent", what);
        }
    }

    /// Its log is whole: once that is durable it takes part again.
    pub(super) fn end_repair(&mut self, node: usize, index: LogIndex) {
        let place = &mut self.nodes[node];
        let life = place.life;
        place.ending = Some(index);
        match store::end_repair(&place.disk) {
            Ok(()) => {
                place.ending = None;
                self.conclude_repair(node, index);
                self.give(node, life, Event::Repaired);
            }
            Err(error) => self.disk_failed(node, &error.to_string()),
        }
    }

    /// The record of the repair is gone: what the member proved to have held must be there.
    fn conclude_repair(&mut self, node: usize, index: LogIndex) {
        let place = &mut self.nodes[node];
        let proven = place.repairing.take();
        let same = |(ballot, _): &(Ballot, _)| place.ledger.promise.term == ballot.term;
        let floor = proven.filter(same).map_or(LogIndex::ZERO, |(_, floor)| floor);
        // Values that were hit too are found by whoever reads them.
        place.damaged = place.values_hit;
        place.ledger.excused = false;
        let held = place.ledger.last().max(place.ledger.covered);
        if held < index || index < floor {
            let name = &place.name;
            let what = format!("{name} ends at {index}, has {held}, had proven {floor}");
            return self.blame("a repair ends with everything", what);
        }
        self.stats.fault("repair-done");
        self.tracer.node(self.now, node, || trace::What::Repaired { index: index.0 });
    }

    /// Every member that repairs has ended by now.
    pub(super) fn check_repairs_ended(&mut self) {
        let members = self.members();
        let open = self.nodes.iter().find(|n| members.contains(n.slot) && n.repairing.is_some());
        if let Some(node) = open {
            let what = format!("{} still repairs {:?}", node.name, node.repairing);
            self.blame("a repair ends", what);
        }
    }
}
