//! What the members said they did: the only source of every fact the demo prints.

use base::{Ballot, RequestId};
use quorum::NodeSet;
use std::collections::BTreeMap;
use trace::{Event, What};

/// A planted falsehood, to show that the tour notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Lie {
    /// Most acknowledgements are left out.
    DroppedAck,
    /// One member reports another hash.
    WrongHash,
    /// A leader reports a commit that no quorum acknowledged.
    FalseCommit,
}

/// How one write was decided.
#[derive(Clone, Debug)]
pub struct Decision {
    pub origin: String,
    pub index: u64,
    pub ballot: Ballot,
    pub leader: String,
    /// Members in the order in which the leader learned that they hold the entry durably.
    pub acks: Vec<String>,
    /// The set the leader committed with.
    pub acked: NodeSet,
    /// Nanoseconds from arrival at the origin to its answer.
    pub took: u64,
}

/// Events of all members: each one's own in order.
#[derive(Default)]
pub struct Ledger {
    events: Vec<Event>,
    lie: Option<Lie>,
}

/// The member it happened at.
fn node(event: &Event) -> &str {
    event.node.as_deref().unwrap_or_default()
}

impl Ledger {
    pub fn new(lie: Option<Lie>) -> Self {
        Self { events: Vec::new(), lie }
    }

    pub fn push(&mut self, mut event: Event) {
        let lies = self.liar(&event);
        match (self.lie, &mut event.what) {
            (Some(Lie::DroppedAck), What::Ack { .. }) if !self.events.len().is_multiple_of(3) => {
                return;
            }
            (Some(Lie::WrongHash), What::Apply { chain, index, .. })
                if index.is_multiple_of(3) && lies =>
            {
                *chain ^= 1;
            }
            (Some(Lie::FalseCommit), What::Commit { index }) => *index += 3,
            _ => {}
        }
        self.events.push(event);
    }

    /// The member that lies about its hash: the first one by name, so that there is one.
    fn liar(&self, event: &Event) -> bool {
        self.lie.is_some() && self.events.iter().map(node).min() == Some(node(event))
    }

    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// All of it in one order, causes before effects.
    pub fn merged(&self) -> Vec<Event> {
        let mut traces: BTreeMap<&str, Vec<Event>> = BTreeMap::new();
        for event in &self.events {
            traces.entry(node(event)).or_default().push(event.clone());
        }
        trace::merge(traces.into_values().collect())
    }

    /// The decision that made `revision`, once its origin has applied it.
    pub fn decision(&self, revision: i64) -> Option<Decision> {
        let applied = |event: &Event| match event.what {
            What::Apply { index, id: Some(id), revision: made, .. } if made == revision => {
                Some((id, index))
            }
            _ => None,
        };
        let (id, index) = self.events.iter().find_map(applied)?;
        let (origin, took) = self.answered(id)?;
        self.events.iter().find(|event| node(event) == origin && applied(event).is_some())?;
        let logged = |event: &Event| match event.what {
            What::Log { id: logged, index: at, ballot } if logged == id && at == index => {
                Some((node(event).to_owned(), ballot))
            }
            _ => None,
        };
        let at = self.events.iter().position(|event| logged(event).is_some())?;
        let (leader, ballot) = logged(&self.events[at])?;
        let mut acks: Vec<String> = Vec::new();
        let mut acked = None;
        for event in self.events[at..].iter().filter(|event| node(event) == leader) {
            match &event.what {
                What::Ack { by, index: upto } if *upto >= index && !acks.contains(by) => {
                    acks.push(by.clone());
                }
                What::Quorum { index: upto, acked: set, .. }
                    if *upto >= index && acked.is_none() =>
                {
                    acked = Some((*set, acks.len()));
                }
                _ => {}
            }
        }
        let (acked, count) = acked?;
        acks.truncate(count.max(1));
        Some(Decision { origin, index, ballot, leader, acks, acked, took })
    }

    /// Where a request came from, and how long until it was answered there.
    fn answered(&self, id: RequestId) -> Option<(String, u64)> {
        let begins = |event: &&Event| matches!(event.what, What::Propose { id: of } if of == id);
        let ends = |event: &&Event| matches!(event.what, What::Reply { id: of } if of == id);
        let begin = self.events.iter().find(begins)?;
        let end = self.events.iter().filter(|event| event.node == begin.node).find(ends)?;
        Some((node(begin).to_owned(), end.at.saturating_sub(begin.at)))
    }

    /// Chain hashes reported at `index`, by member; the latest report of a member stands.
    pub fn hashes_at(&self, index: u64) -> BTreeMap<&str, u64> {
        let hash = |event: &Event| match event.what {
            What::Apply { index: at, chain, .. } if at == index => Some(chain),
            _ => None,
        };
        self.events.iter().filter_map(|event| Some((node(event), hash(event)?))).collect()
    }

    /// The first index at which two members reported different hashes.
    pub fn first_divergence(&self) -> Option<u64> {
        let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
        for event in &self.events {
            if let What::Apply { index, chain, .. } = event.what
                && *seen.entry(index).or_insert(chain) != chain
            {
                return Some(index);
            }
        }
        None
    }

    /// A commit some member reported although no leader's quorum covers it.
    pub fn commit_without_quorum(&self) -> Option<u64> {
        let decided = self.events.iter().filter_map(|event| match event.what {
            What::Quorum { index, .. } => Some(index),
            _ => None,
        });
        let decided = decided.max().unwrap_or(0);
        self.events.iter().find_map(|event| match event.what {
            What::Commit { index } if index > decided => Some(index),
            _ => None,
        })
    }

    /// Two members elected under one ballot, or in one term where members share terms: split
    /// brain.
    pub fn split_brain(&self, shared_terms: bool) -> Option<Ballot> {
        let mut elected: BTreeMap<Ballot, &str> = BTreeMap::new();
        self.events.iter().find_map(|event| {
            let What::Elect { ballot, .. } = event.what else { return None };
            let owner = if shared_terms { base::NodeId::ZERO } else { ballot.node };
            let seen = elected.entry(Ballot { node: owner, ..ballot }).or_insert(node(event));
            (*seen != node(event)).then_some(ballot)
        })
    }

    /// The last leader elected, as the trace has it.
    pub fn last_elected(&self) -> Option<(String, Ballot, NodeSet)> {
        self.events.iter().rev().find_map(|event| match event.what {
            What::Elect { ballot, votes } => Some((node(event).to_owned(), ballot, votes)),
            _ => None,
        })
    }

    /// The last index a member applied.
    pub fn applied(&self, name: &str) -> Option<u64> {
        self.events.iter().rev().find_map(|event| match event.what {
            What::Apply { index, .. } if node(event) == name => Some(index),
            _ => None,
        })
    }
}
