//! Several members' traces as one, causes before effects.
//!
//! Members' clocks do not agree, so a time says only which of two unrelated events to show first.
//! What happened before what follows from the protocol: a write is proposed before it is logged, a
//! vote answers a campaign, a leader is followed once elected, a follower appends what its leader
//! has, an acknowledgement speaks of entries its sender has, and what is committed or applied
//! anywhere was first counted by a leader. (The relation is *happened before*: Lamport, "Time,
//! Clocks, and the Ordering of Events in a Distributed System", 1978.)

use crate::event::{Event, What};
use crate::text::Head;
use base::limits::TRACE_LEADERS_MAX;
use base::{Ballot, RequestId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Something that later events rest on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fact {
    Proposed(RequestId),
    /// Its owner is in the ballot.
    Asked(Ballot),
}

/// What is known so far, or still to come.
#[derive(Debug, Default)]
struct Facts {
    set: BTreeSet<Fact>,
    /// Those of the round before; what is older is forgotten.
    older: BTreeSet<Fact>,
    leaders: BTreeMap<Ballot, String>,
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
            What::Elect { ballot, .. } => {
                self.leaders.insert(*ballot, event.node.clone().unwrap_or_default());
                if self.leaders.len() > TRACE_LEADERS_MAX {
                    self.leaders.pop_first();
                }
                return;
            }
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

    fn has(&self, fact: &Fact) -> bool {
        self.set.contains(fact) || self.older.contains(fact)
    }

    fn has_appended(&self, node: &str, index: u64) -> bool {
        self.appended.get(node).is_some_and(|last| *last >= index)
    }

    /// Whether what the event rests on is among these.
    fn allow(&self, event: &Event) -> bool {
        match &event.what {
            What::Log { id, .. } => self.has(&Fact::Proposed(*id)),
            What::Vote { ballot, .. } => self.has(&Fact::Asked(*ballot)),
            What::Follow { ballot, leader: Some(_) } => self.leaders.contains_key(ballot),
            What::Append { to, ballot, .. } => {
                let leader = self.leaders.get(ballot);
                // Who follows an unknown leader waits for it before it appends, if it is to come.
                leader.is_none_or(|leader| {
                    event.node.as_ref() == Some(leader) || self.has_appended(leader, *to)
                })
            }
            What::Ack { by, index } => self.has_appended(by, *index),
            What::Commit { index } | What::Apply { index, .. } => self.counted >= *index,
            _ => true,
        }
    }
}

/// One order that keeps every trace's own and puts causes first. What an event rests on and no
/// trace holds (a recording begins in the middle) is not waited for. Numbers are given anew.
pub fn merge(traces: Vec<Vec<Event>>) -> Vec<Event> {
    let mut merger = Merger::default();
    for (trace, events) in traces.into_iter().enumerate() {
        merger.push(trace, events);
    }
    merger.finish()
}

/// Puts the times of a member on a clock that began at `first` of Unix microseconds, as well as
/// the members' clocks of the day agree.
pub fn align(first: u64, head: &Head, events: &mut [Event]) {
    let began = head.began.unwrap_or(first);
    let later = u128::from(began.saturating_sub(first)) * 1000;
    let later = u64::try_from(later).unwrap_or(u64::MAX);
    events.iter_mut().for_each(|event| event.at = event.at.saturating_add(later));
}

/// [`merge`] of traces that still grow, round by round. What was told rounds ago is forgotten: an
/// effect that comes so late is told after its cause anyway.
#[derive(Debug, Default)]
pub struct Merger {
    /// Each event with the round it came in.
    traces: Vec<VecDeque<(u64, Event)>>,
    known: Facts,
    round: u64,
    told: u64,
}

impl Merger {
    /// What a trace goes on with.
    pub fn push(&mut self, trace: usize, events: Vec<Event>) {
        if self.traces.len() <= trace {
            self.traces.resize_with(trace + 1, VecDeque::new);
        }
        let round = self.round;
        self.traces[trace].extend(events.into_iter().map(|event| (round, event)));
    }

    /// Ends a round. What came in it and rests on what no trace holds is kept for the next one:
    /// the trace with its cause may have been looked at a moment too early.
    pub fn round(&mut self) -> Vec<Event> {
        let merged = self.take(Some(self.round));
        self.round += 1;
        self.known.older = std::mem::take(&mut self.known.set);
        merged
    }

    /// All that is left.
    pub fn finish(&mut self) -> Vec<Event> {
        self.take(None)
    }

    /// What there is, but for what is of the round `waiting` and lacks a cause, and what is behind
    /// or rests on that.
    fn take(&mut self, waiting: Option<u64>) -> Vec<Event> {
        let mut coming = Facts::default();
        self.traces.iter().flatten().for_each(|(_, event)| coming.learn(event));
        let mut merged = Vec::new();
        loop {
            let (mut next, mut waits) = (None, false);
            for (at, trace) in self.traces.iter().enumerate() {
                let Some((round, event)) = trace.front() else { continue };
                let known = self.known.allow(event);
                let lost = !known && !coming.allow(event);
                if lost && Some(*round) == waiting {
                    waits = true;
                    continue;
                }
                let place = (!known && !lost, event.at, at);
                next = Some(next.map_or(place, |next: (bool, u64, usize)| next.min(place)));
            }
            // Causes that wait for each other are a damaged trace: the clocks decide then.
            let Some((_, _, at)) = next.filter(|(blocked, ..)| !(*blocked && waits)) else {
                return merged;
            };
            let (_, mut event) = self.traces[at].pop_front().expect("it was looked at");
            self.known.learn(&event);
            self.told += 1;
            event.n = self.told;
            merged.push(event);
        }
    }
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
                    ("a:append", "b:append"),
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

    #[test]
    fn an_effect_whose_cause_was_not_fetched_yet_waits_one_round_for_it() {
        let mut traces = written(0);
        let late = traces[0].split_off(5); // the leader's count and what follows
        let (leader, follower) = (traces[0].clone(), traces[1].clone());
        let mut merger = Merger::default();
        merger.push(0, leader);
        merger.push(1, follower);
        let mut told = story(&merger.round());
        let last = told.last().expect("most of it");
        assert!(!told.iter().any(|line| line.ends_with(":commit")), "{last}");
        merger.push(0, late);
        told.extend(story(&merger.round()));
        assert_eq!((told.len(), merger.finish()), (14, vec![]));
        let place = |line: &str| told.iter().position(|l| l == line).expect("it happened");
        assert!(place("a:quorum") < place("b:commit"), "{told:?}");
        // A cause that never comes holds nobody up for longer.
        let mut merger = Merger::default();
        merger.push(0, written(0)[1].clone());
        let first = merger.round();
        assert!(first.is_empty(), "{first:?}");
        assert_eq!((merger.round().len(), merger.finish().len()), (7, 0));
    }

    #[test]
    fn times_of_members_that_began_later_are_put_on_the_first_ones_clock() {
        let mut events = trace("b", 5, vec![What::Resume]);
        align(1_000, &Head { began: Some(3_000), ..Head::default() }, &mut events);
        assert_eq!(events[0].at, 2_000_006);
        align(1_000, &Head::default(), &mut events);
        assert_eq!(events[0].at, 2_000_006, "who does not say began with the first");
    }
}
