//! Whether answers and the store's own history of events explain each other.
//!
//! Every write has a revision of its own, so the events of all revisions are the one order in
//! which writes took effect, and checking an order is easy where finding one is hard. It says
//! more than a search by key can: it spans keys, and a refused write that shows up is caught.

use std::collections::BTreeMap;
use std::time::Duration;

use super::history::{Answer, Event, Input, Op, Seen};

/// Everything wrong, in words; empty if all is well. `log` is what a watch from revision 1 saw.
pub fn judge(ops: &[Op], log: &[Event]) -> Vec<String> {
    let mut wrong = chain(log);
    let store = Store::new(log);
    wrong.extend(effects(ops, log));
    wrong.extend(ops.iter().filter_map(|op| store.explain(op)));
    wrong.extend(real_time(ops, log));
    wrong.extend(own_view(ops));
    wrong
}

/// Revisions follow each other without a gap, and each key's counters count.
fn chain(log: &[Event]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut last: BTreeMap<usize, &Event> = BTreeMap::new();
    for (event, expected) in log.iter().zip(2..) {
        if event.revision != expected {
            wrong.push(format!("event {expected} has revision {}", event.revision));
            break;
        }
        let before = last.insert(event.key, event);
        let counters = before
            .map_or((event.revision, 1), |before| (before.create_revision, before.version + 1));
        if (event.create_revision, event.version) != counters {
            wrong.push(format!("create revision and version must be {counters:?}: {event:?}"));
        }
    }
    wrong
}

/// Every acknowledged write has its event, every event its write, and at most one each.
fn effects(ops: &[Op], log: &[Event]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut events: BTreeMap<&str, &Event> = BTreeMap::new();
    for event in log {
        if let Some(first) = events.insert(&event.value, event) {
            wrong.push(format!("applied twice, as {} too: {event:?}", first.revision));
        }
    }
    for op in ops {
        let Some(value) = op.input.value() else { continue };
        let event = events.remove(value);
        let bad = match (&op.answer, event) {
            (Answer::Wrote { revision }, Some(event)) => {
                (event.revision != *revision || event.key != op.input.key()).then_some("elsewhere")
            }
            (Answer::Wrote { .. }, None) => Some("acknowledged and lost"),
            (Answer::Found { .. }, Some(_)) => Some("did not match and yet wrote"),
            (Answer::Refused { .. }, Some(_)) => Some("refused as not applied, and yet applied"),
            (Answer::Unknown { .. }, Some(event)) => {
                (event.key != op.input.key()).then_some("elsewhere")
            }
            (_, None) => None,
        };
        wrong.extend(bad.map(|what| format!("{what}: {op:?}, event {event:?}")));
    }
    wrong.extend(events.values().map(|event| format!("nobody wrote {event:?}")));
    wrong
}

/// Versions of each key by revision.
struct Store<'a> {
    keys: BTreeMap<usize, Vec<&'a Event>>,
    revision: i64,
}

impl<'a> Store<'a> {
    fn new(log: &'a [Event]) -> Self {
        let mut keys: BTreeMap<usize, Vec<&Event>> = BTreeMap::new();
        log.iter().for_each(|event| keys.entry(event.key).or_default().push(event));
        Self { keys, revision: log.last().map_or(1, |event| event.revision) }
    }

    /// The key as of `revision`.
    fn at(&self, key: usize, revision: i64) -> Option<&Event> {
        let events = self.keys.get(&key)?;
        let after = events.partition_point(|event| event.revision <= revision);
        Some(events[after.checked_sub(1)?])
    }

    /// What is wrong with an answer, seen from the state at the revision it names.
    fn explain(&self, op: &Op) -> Option<String> {
        let revision = op.answer.revision()?;
        if revision < 1 || revision > self.revision {
            return Some(format!("revision {revision} never was: {op:?}"));
        }
        let key = op.input.key();
        match (&op.input, &op.answer) {
            (Input::Cas { expected, .. }, Answer::Wrote { .. }) => {
                let before = self.at(key, revision - 1).map_or(0, |event| event.revision);
                (before != *expected).then(|| format!("CAS over revision {before}: {op:?}"))
            }
            (input, Answer::Found { seen, .. }) => {
                let there = self.at(key, revision).map(|event| Seen {
                    value: event.value.clone(),
                    mod_revision: event.revision,
                    version: event.version,
                });
                if *seen != there {
                    return Some(format!("at that revision there was {there:?}: {op:?}"));
                }
                let current = there.map_or(0, |seen| seen.mod_revision);
                matches!(input, Input::Cas { expected, .. } if *expected == current)
                    .then(|| format!("a CAS that matched was not done: {op:?}"))
            }
            _ => None,
        }
    }
}

/// What has returned is seen by everything invoked later: writes come after it, linearizable
/// answers are not older. Also for writes of unknown outcome that took effect.
fn real_time(ops: &[Op], log: &[Event]) -> Vec<String> {
    let by_value: BTreeMap<&str, i64> =
        log.iter().map(|event| (event.value.as_str(), event.revision)).collect();
    let mut moments = Vec::new();
    for (n, op) in ops.iter().enumerate().filter(|(_, op)| !op.input.is_serializable()) {
        let unknown = matches!(op.answer, Answer::Unknown { .. });
        let seen = op.input.value().filter(|_| unknown).and_then(|value| by_value.get(value));
        let Some(revision) = op.answer.revision().or(seen.copied()) else { continue };
        // Invocations sort before returns of the same nanosecond: those two are concurrent.
        moments.push((op.invoked, false, revision, n));
        if !unknown {
            moments.push((op.returned, true, revision, n));
        }
    }
    moments.sort_unstable();
    let mut wrong = Vec::new();
    let mut floor = (1, None);
    for (_, returns, revision, n) in moments {
        let wrote = !matches!(ops[n].answer, Answer::Found { .. });
        if returns {
            floor = floor.max((revision, Some(n)));
        } else if revision < floor.0 + i64::from(wrote) {
            let before = floor.1.map(|n: usize| &ops[n]);
            wrong.push(format!("stale: {:?} began after the end of {before:?}", ops[n]));
        }
    }
    wrong
}

/// A serializable read may be old, but one life of one member never goes back.
fn own_view(ops: &[Op]) -> Vec<String> {
    let mut moments = Vec::new();
    for (n, op) in ops.iter().enumerate() {
        let (Some(revision), Some(life)) = (op.answer.revision(), op.life) else { continue };
        moments.push((op.invoked, false, revision, (op.member, life), n));
        moments.push((op.returned, true, revision, (op.member, life), n));
    }
    moments.sort_unstable();
    let mut floors: BTreeMap<(usize, u32), (i64, usize)> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (_, returns, revision, view, n) in moments {
        let floor = floors.entry(view).or_insert((0, n));
        if returns {
            *floor = (*floor).max((revision, n));
        } else if revision < floor.0 {
            wrong.push(format!("a member went back: {:?} after {:?}", ops[n], ops[floor.1]));
        }
    }
    wrong
}

/// The longest time between two acknowledged writes.
pub fn longest_gap(ops: &[Op]) -> Duration {
    let wrote = |op: &&Op| matches!(op.answer, Answer::Wrote { .. });
    let mut moments: Vec<u64> = ops.iter().filter(wrote).map(|op| op.returned).collect();
    moments.sort_unstable();
    let gap = moments.windows(2).map(|pair| pair[1] - pair[0]).max();
    Duration::from_nanos(gap.unwrap_or(0))
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
