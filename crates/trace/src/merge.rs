//! Several members' traces as one, causes before effects.
//!
//! Members' clocks do not agree, so a time says only which of two unrelated events to show first.
//! What happened before what follows from the protocol: a write is proposed before it is logged, a
//! vote answers a campaign, a leader is followed once elected, an acknowledgement speaks of entries
//! its sender has, and what is committed or applied anywhere was first counted by a leader. (The
//! relation is *happened before*: Lamport, "Time, Clocks, and the Ordering of Events in a
//! Distributed System", 1978.)

use crate::event::{Event, What};
use base::{Ballot, RequestId};
use std::collections::{BTreeMap, BTreeSet};

/// Something that later events rest on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fact {
    Proposed(RequestId),
    /// Its owner is in the ballot.
    Asked(Ballot),
    Elected(Ballot),
}

/// What is known so far, or anywhere in the traces.
#[derive(Clone, Debug, Default)]
struct Facts {
    set: BTreeSet<Fact>,
    /// The highest index each member has appended.
    appended: BTreeMap<String, u64>,
    /// The highest index that a leader has counted a quorum for.
    counted: u64,
}

impl Facts {
    fn learn(&mut self, event: &Event) {
        let fact = match &event.what {
            What::Propose { id } => Fact::Proposed(*id),
            What::Ask { ballot } | What::Campaign { ballot } => Fact::Asked(*ballot),
            What::Elect { ballot, .. } => Fact::Elected(*ballot),
            What::Append { to, .. } => {
                let node = event.node.clone().unwrap_or_default();
                let last = self.appended.entry(node).or_insert(0);
                *last = (*last).max(*to);
                return;
            }
            What::Quorum { index, .. } => {
                self.counted = self.counted.max(*index);
                return;
            }
            _ => return,
        };
        self.set.insert(fact);
    }

    /// Whether what the event rests on is among these.
    fn allow(&self, event: &Event) -> bool {
        match &event.what {
            What::Log { id, .. } => self.set.contains(&Fact::Proposed(*id)),
            What::Vote { ballot, .. } => self.set.contains(&Fact::Asked(*ballot)),
            What::Follow { ballot, leader: Some(_) } => self.set.contains(&Fact::Elected(*ballot)),
            What::Ack { by, index } => self.appended.get(by).is_some_and(|last| last >= index),
            What::Commit { index } | What::Apply { index, .. } => self.counted >= *index,
            _ => true,
        }
    }
}

/// One order that keeps every trace's own and puts causes first. What an event rests on and no
/// trace holds (a recording begins in the middle) is not waited for. Numbers are given anew.
pub fn merge(traces: Vec<Vec<Event>>) -> Vec<Event> {
    let mut everywhere = Facts::default();
    traces.iter().flatten().for_each(|event| everywhere.learn(event));
    let count = traces.iter().map(Vec::len).sum();
    let mut heads: Vec<_> = traces.into_iter().map(|t| t.into_iter().peekable()).collect();
    let (mut known, mut merged) = (Facts::default(), Vec::with_capacity(count));
    while merged.len() < count {
        let free = |event: &Event| known.allow(event) || !everywhere.allow(event);
        // Causes that wait for each other are a damaged trace: the clocks decide then.
        let next = heads.iter_mut().enumerate().filter_map(|(at, head)| {
            let event = head.peek()?;
            Some((!free(event), event.at, at))
        });
        let (.., at) = next.min().expect("events are left");
        let mut event = heads[at].next().expect("it was looked at");
        known.learn(&event);
        event.n = merged.len() as u64 + 1;
        merged.push(event);
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Incarnation, NodeId};
    use quorum::NodeSet;

    const ID: RequestId = RequestId { origin: NodeId(2), incarnation: Incarnation(1), seq: 1 };

    fn trace(node: &str, clock: u64, events: Vec<What>) -> Vec<Event> {
        let event = |(at, what)| Event { n: at, at: clock + at, node: Some(node.into()), what };
        (1..).zip(events).map(event).collect()
    }

    fn story(merged: &[Event]) -> Vec<String> {
        let word = |what: &What| {
            let text = format!("{what:?}");
            text.split([' ', '{']).next().unwrap_or_default().to_lowercase()
        };
        let line = |e: &Event| format!("{}:{}", e.node.as_deref().unwrap_or("-"), word(&e.what));
        merged.iter().map(line).collect()
    }

    /// A leader whose clock is far behind, and a follower whose client writes.
    fn written(behind: u64) -> Vec<Vec<Event>> {
        let ballot = Ballot::new(1, 1);
        let acked = NodeSet::from_iter([0, 1]);
        let leader = vec![
            What::Campaign { ballot },
            What::Elect { ballot, votes: acked },
            What::Log { id: ID, index: 2, ballot },
            What::Append { from: 2, to: 2, ballot },
            What::Ack { by: "b".into(), index: 2 },
            What::Quorum { index: 2, acked, ballot },
            What::Apply { index: 2, id: Some(ID), revision: 2, chain: 7 },
        ];
        let follower = vec![
            What::Vote { ballot, to: "a".into(), granted: true },
            What::Follow { ballot, leader: Some("a".into()) },
            What::Propose { id: ID },
            What::Append { from: 2, to: 2, ballot },
            What::Commit { index: 2 },
            What::Apply { index: 2, id: Some(ID), revision: 2, chain: 7 },
            What::Reply { id: ID },
        ];
        vec![trace("a", 0, leader), trace("b", behind, follower)]
    }

    #[test]
    fn causes_come_before_effects_whatever_the_clocks_say() {
        let mut orders = BTreeSet::new();
        for behind in [0, 1_000_000] {
            for flip in [false, true] {
                let mut traces = written(behind);
                if flip {
                    traces.reverse();
                }
                let merged = merge(traces);
                assert!(merged.iter().zip(1..).all(|(event, n)| event.n == n));
                let told = story(&merged);
                let place = |line: &str| told.iter().position(|l| l == line).expect("it happened");
                for (cause, effect) in [
                    ("a:campaign", "b:vote"),
                    ("a:elect", "b:follow"),
                    ("b:propose", "a:log"),
                    ("b:append", "a:ack"),
                    ("a:quorum", "b:commit"),
                    ("a:quorum", "b:apply"),
                ] {
                    assert!(place(cause) < place(effect), "{cause}, {effect}: {told:?}");
                }
                orders.insert(told);
            }
        }
        assert!(!orders.is_empty());
    }

    #[test]
    fn what_no_trace_holds_is_not_waited_for() {
        let mut traces = written(0);
        traces[1].drain(..3); // the recording of b begins after the proposal
        let merged = merge(traces);
        assert_eq!(merged.len(), 11);
        let told = story(&merged);
        let place = |line: &str| told.iter().position(|l| l == line).expect("it happened");
        assert!(place("a:log") < place("a:ack") && place("b:append") < place("a:ack"));
        assert_eq!(merge(vec![]), vec![]);
    }
}
