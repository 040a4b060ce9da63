//! Who is hit, worked out from the quorum system itself.

use super::World;
use crate::node::Node;
use base::{LogIndex, NodeId, Prng};
use quorum::{Family, NodeSet};

/// Minimal quorums looked at.
const SETS_MAX: usize = 64;

impl World {
    pub(super) fn everyone(&self) -> NodeSet {
        self.doors().into_iter().collect()
    }

    /// Members whose disk may be trusted, and which take part: one that nobody wrote down yet
    /// makes up for nobody (`docs/design/births.md`).
    fn sound(&self) -> NodeSet {
        let sound = self.nodes.iter().filter(|node| !node.damaged && self.takes_part(node));
        sound.map(|node| node.slot).collect()
    }

    /// Whether this member knows after any restart that it is written down.
    fn takes_part(&self, node: &Node) -> bool {
        let configs = &self.judge.configs;
        configs.named_since(node.id).is_some_and(|since| {
            let told = node.ledger.known.max(node.ledger.covered) >= since;
            self.remembers(node, node.id) && (told || configs.founds_at(since))
        })
    }

    /// Whether `node` holds, durably, a committed configuration that names `id`.
    pub(super) fn remembers(&self, node: &Node, id: NodeId) -> bool {
        self.judge.configs.named_since(id).is_some_and(|since| {
            let ballot = self.judge.ballot_at(since).unwrap_or_default();
            !node.ledger.excused && node.ledger.holds(since, ballot)
        })
    }

    /// Whether the promises can still be kept when these members never come back.
    pub(super) fn affordable(&self, gone: NodeSet) -> bool {
        // While a change is on its way it may still ask for whoever is lost now.
        let counts = gone.iter().any(|place| {
            let id = self.nodes[usize::from(place)].id;
            self.judge.configs.possible().any(|ruling| ruling.config.member(id).is_some())
        });
        let changing = !self.judge.configs.settled() || self.change_is_asked();
        let left = self.sound().minus(gone);
        !counts || (!changing && self.judge.configs.always_decides(left) && self.has_all_data(left))
    }

    /// Whether one of these has all that is decided, and keeps data. Where all members do, whoever
    /// may elect has one; where some are witnesses, those may have voted for what one alone has.
    fn has_all_data(&self, places: NodeSet) -> bool {
        let last = self.judge.applied();
        let ballot = self.judge.ballot_at(last).unwrap_or_default();
        places.iter().any(|place| {
            let node = &self.nodes[usize::from(place)];
            let holds = last == LogIndex::ZERO || node.ledger.holds(last, ballot);
            holds && !node.ledger.excused && !self.judge.configs.is_witness(node.id)
        })
    }

    fn one_of(family: &Family, random: &mut Prng) -> NodeSet {
        let (sets, _) = family.minimal_quorums_max(SETS_MAX);
        sets[random.below(sets.len() as u64) as usize]
    }

    /// Everybody outside one minimal commit quorum, which also holds an elect quorum if one can.
    pub(super) fn all_but_one_quorum(&self, random: &mut Prng) -> NodeSet {
        let ruling = self.judge.configs.newest();
        let commit = Self::one_of(ruling.system.commit(), random);
        let elect = Self::one_of(ruling.system.elect(), random);
        let alive = if random.below(2) == 0 { commit } else { elect };
        self.everyone().minus(ruling.places(alive))
    }

    /// What an elect set and a commit set share: nobody else can tell a new leader.
    pub(super) fn intersection(&self, random: &mut Prng) -> NodeSet {
        let ruling = self.judge.configs.newest();
        let elect = Self::one_of(ruling.system.elect(), random);
        ruling.places(Self::one_of(ruling.system.commit(), random).intersect(elect))
    }

    /// A minimal set without which nothing is decided.
    pub(super) fn blocking(&self, random: &mut Prng) -> NodeSet {
        let ruling = self.judge.configs.newest();
        let system = &ruling.system;
        let family = if random.below(2) == 0 { system.commit() } else { system.elect() };
        ruling.places(Self::one_of(&family.dual(), random))
    }

    /// The member that leads the highest ballot, if one does.
    pub fn leader(&self) -> Option<usize> {
        let leads = |n: &usize| self.nodes[*n].up().is_some_and(|m| m.replica.raft().is_leader());
        (0..self.nodes.len())
            .filter(leads)
            .max_by_key(|n| self.nodes[*n].up().map(|m| m.replica.raft().ballot()))
    }
}
