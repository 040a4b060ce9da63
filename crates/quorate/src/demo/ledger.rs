//! What the replicas said they did: the only source of every fact the demo prints.

use base::{Ballot, LogIndex, Nanos, NodeId, RequestId};
use consensus::raft::Trace;
use quorum::NodeSet;
use replica::{TraceEvent, TraceKind};
use std::collections::BTreeMap;

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
    pub id: RequestId,
    pub index: LogIndex,
    pub ballot: Ballot,
    pub leader: NodeId,
    /// Members in the order in which the leader learned that they hold the entry durably.
    pub acks: Vec<NodeId>,
    /// The set the leader committed with.
    pub acked: NodeSet,
    /// From arrival at the origin to its answer.
    pub took: Nanos,
}

#[derive(Default)]
pub struct Ledger {
    events: Vec<TraceEvent>,
    lie: Option<Lie>,
}

impl Ledger {
    pub fn new(lie: Option<Lie>) -> Self {
        Self { events: Vec::new(), lie }
    }

    pub fn push(&mut self, mut event: TraceEvent) {
        match (self.lie, &mut event.kind) {
            (Some(Lie::DroppedAck), TraceKind::Raft(Trace::Acked { .. }))
                if !self.events.len().is_multiple_of(3) =>
            {
                return;
            }
            (Some(Lie::WrongHash), TraceKind::Applied { chain, index, .. })
                if index.0.is_multiple_of(3) && self.liar(event.node) =>
            {
                *chain ^= 1;
            }
            (Some(Lie::FalseCommit), TraceKind::Raft(Trace::Committed { index })) => index.0 += 3,
            _ => {}
        }
        self.events.push(event);
    }

    /// The member that lies about its hash: the lowest one heard of, so that there is one.
    fn liar(&self, node: NodeId) -> bool {
        self.events.iter().map(|e| e.node).min() == Some(node)
    }

    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// The decision that made `revision`, once its origin has applied it.
    pub fn decision(&self, revision: i64) -> Option<Decision> {
        let (id, index) = self.events.iter().find_map(|e| match e.kind {
            TraceKind::Applied { index, id: Some(id), revision: r, .. }
                if r == revision && e.node == id.origin =>
            {
                Some((id, index))
            }
            _ => None,
        })?;
        let logged = |e: &TraceEvent| match e.kind {
            TraceKind::Logged { id: i, index: at, ballot } if i == id && at == index => {
                Some((e.node, ballot))
            }
            _ => None,
        };
        let at = self.events.iter().position(|e| logged(e).is_some())?;
        let (leader, ballot) = logged(&self.events[at])?;
        let mut acks = Vec::new();
        let mut acked = None;
        for event in self.events[at..].iter().filter(|e| e.node == leader) {
            match event.kind {
                TraceKind::Raft(Trace::Acked { by, index: i })
                    if i >= index && !acks.contains(&by) =>
                {
                    acks.push(by);
                }
                TraceKind::Raft(Trace::Quorum { index: i, acked: set, .. })
                    if i >= index && acked.is_none() =>
                {
                    acked = Some((set, acks.len()));
                }
                _ => {}
            }
        }
        let (acked, count) = acked?;
        acks.truncate(count.max(1));
        let took = self.took(id)?;
        Some(Decision { id, index, ballot, leader, acks, acked, took })
    }

    fn took(&self, id: RequestId) -> Option<Nanos> {
        let at = |want: fn(&TraceKind) -> Option<RequestId>| {
            self.events
                .iter()
                .find(|e| e.node == id.origin && want(&e.kind) == Some(id))
                .map(|e| e.at)
        };
        let start = at(|k| if let TraceKind::Proposed { id } = k { Some(*id) } else { None })?;
        let end = at(|k| if let TraceKind::Replied { id } = k { Some(*id) } else { None })?;
        Some(end.since(start))
    }

    /// Chain hashes reported at `index`, by member; the latest report of a member stands.
    pub fn hashes_at(&self, index: LogIndex) -> BTreeMap<NodeId, u64> {
        let mut out = BTreeMap::new();
        for event in &self.events {
            if let TraceKind::Applied { index: i, chain, .. } = event.kind
                && i == index
            {
                out.insert(event.node, chain);
            }
        }
        out
    }

    /// The first index at which two members reported different hashes.
    pub fn first_divergence(&self) -> Option<LogIndex> {
        let mut seen: BTreeMap<LogIndex, u64> = BTreeMap::new();
        for event in &self.events {
            if let TraceKind::Applied { index, chain, .. } = event.kind
                && *seen.entry(index).or_insert(chain) != chain
            {
                return Some(index);
            }
        }
        None
    }

    /// A commit some member reported although no leader's quorum covers it.
    pub fn commit_without_quorum(&self) -> Option<LogIndex> {
        let decided = self.events.iter().filter_map(|e| match e.kind {
            TraceKind::Raft(Trace::Quorum { index, .. }) => Some(index),
            _ => None,
        });
        let decided = decided.max().unwrap_or(LogIndex::ZERO);
        self.events.iter().find_map(|e| match e.kind {
            TraceKind::Raft(Trace::Committed { index }) if index > decided => Some(index),
            _ => None,
        })
    }

    /// Two members elected under one ballot, or in one term where members share terms: split
    /// brain.
    pub fn split_brain(&self, shared_terms: bool) -> Option<Ballot> {
        let mut elected: BTreeMap<(u64, NodeId), NodeId> = BTreeMap::new();
        for event in &self.events {
            if let TraceKind::Raft(Trace::Elected { ballot, .. }) = event.kind
                && let owner = if shared_terms { NodeId::ZERO } else { ballot.node }
                && *elected.entry((ballot.term.0, owner)).or_insert(event.node) != event.node
            {
                return Some(ballot);
            }
        }
        None
    }

    /// The last leader elected, as the trace has it.
    pub fn last_elected(&self) -> Option<(NodeId, Ballot, NodeSet)> {
        self.events.iter().rev().find_map(|e| match e.kind {
            TraceKind::Raft(Trace::Elected { ballot, votes }) => Some((e.node, ballot, votes)),
            _ => None,
        })
    }

    /// The last index a member applied, with the state's hash and revision.
    pub fn applied(&self, node: NodeId) -> Option<(LogIndex, u64, i64)> {
        self.events.iter().rev().find_map(|e| match e.kind {
            TraceKind::Applied { index, chain, revision, .. } if e.node == node => {
                Some((index, chain, revision))
            }
            _ => None,
        })
    }
}
