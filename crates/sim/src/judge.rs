//! The checks of a life, made as it goes: what every replica applies, elects, acknowledges and
//! answers, against one reference history.
//!
//! Nothing here costs more than the event it looks at; only an election looks along the logs.

mod alarms;
mod answer;
mod configs;
mod lease;
mod watch;
mod witness;
mod words;

use crate::client::{self, Floor};
use crate::ledger::Ledger;
use crate::model::Model;
use alarms::Alarms;
use base::codec::Get;
use base::{Ballot, LogIndex, Nanos, NodeId, RequestId};
use cluster::{BallotRule, Configuration};
use configs::Configs;
use consensus::raft::{EntryKind, Trace};
use lease::Leases;
use mvcc::{Caller, Changes, Command, EventKind, Values};
use quorum::{Family, NodeSet, System};
use replica::envelope::{Envelope, EnvelopeBody};
use replica::{Replica, TraceEvent, TraceKind};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use witness::Passed;

pub use configs::{Ruling, place};
pub use watch::{Heard, Shown, Wanted, Watching};
pub use words::client_url;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which promise, in a few words that never change.
    pub rule: &'static str,
    pub what: String,
    pub at: Nanos,
}

/// One committed entry, as the first replica applied it.
#[derive(Clone, Debug)]
struct Entry {
    ballot: Option<Ballot>,
    chain: u64,
    revision: i64,
    /// The content hash of whoever first ended a step exactly here.
    content: Option<u64>,
}

/// What the operations of clients look like from here.
pub struct Effects<'a> {
    pub ops: &'a mut [client::Op],
}

pub struct Judge {
    pub model: Model,
    entries: Vec<Entry>,
    /// What witnesses alone have passed: committed, and not among the entries yet.
    passed: BTreeMap<LogIndex, Passed>,
    requests: BTreeSet<RequestId>,
    leaders: BTreeMap<(u64, u64), NodeId>,
    /// The highest entry committed under each ballot.
    commits: BTreeMap<Ballot, LogIndex>,
    /// When a leader confirmed a read last.
    confirmed_at: Nanos,
    pub leases: Leases,
    alarms: Alarms,
    pub floor: Floor,
    rule: BallotRule,
    pub configs: Configs,
    pub violation: Option<Violation>,
    /// Checks made, to show that they were.
    pub checks: u64,
}

impl Judge {
    /// # Errors
    /// A configuration that is unsafe.
    pub fn new(config: Configuration) -> Result<Self, String> {
        Ok(Self {
            model: Model::default(),
            entries: Vec::new(),
            passed: BTreeMap::new(),
            requests: BTreeSet::new(),
            leaders: BTreeMap::new(),
            commits: BTreeMap::new(),
            confirmed_at: Nanos::ZERO,
            leases: Leases::default(),
            alarms: Alarms::default(),
            floor: Floor { revision: 1, ..Floor::default() },
            rule: config.rule,
            configs: Configs::new(config)?,
            violation: None,
            checks: 0,
        })
    }

    pub fn blame(&mut self, at: Nanos, rule: &'static str, what: impl Into<String>) {
        if self.violation.is_none() {
            self.violation = Some(Violation { rule, what: what.into(), at });
        }
    }

    /// Committed entries known.
    pub fn applied(&self) -> LogIndex {
        LogIndex(self.entries.len() as u64)
    }

    pub fn chain_at(&self, index: LogIndex) -> Option<u64> {
        self.entry(index).map(|entry| entry.chain)
    }

    /// Under which ballot the entry was written.
    pub fn ballot_at(&self, index: LogIndex) -> Option<Ballot> {
        self.entry(index).and_then(|entry| entry.ballot)
    }

    fn entry(&self, index: LogIndex) -> Option<&Entry> {
        usize::try_from(index.0.checked_sub(1)?).ok().and_then(|at| self.entries.get(at))
    }

    /// State's revision after `index`.
    fn revision_at(&self, index: LogIndex) -> i64 {
        self.entry(index).map_or(1, |entry| entry.revision)
    }

    /// What one step of one replica showed.
    /// True when what it goes by changed.
    pub fn step(
        &mut self,
        at: Nanos,
        (id, replica): (NodeId, &Replica),
        trace: &[TraceEvent],
        changes: &[Arc<Changes>],
        effects: &mut Effects<'_>,
        (ledgers, at_hand): (&[&Ledger], &mut dyn Values),
    ) -> bool {
        let reconfigured = self.look_at_config(at, id, replica);
        let mut moved = false;
        for event in trace {
            match &event.kind {
                TraceKind::Applied { index, id, revision, chain } => {
                    moved = true;
                    if self.configs.is_witness(replica.status().id) {
                        self.witness_applied(at, replica, *index)
                    } else {
                        self.applied_entry(at, replica, *index, *id, *revision, *chain)
                    }
                }
                TraceKind::Deduplicated { index, id } => {
                    moved = true;
                    self.deduplicated(at, replica, *index, *id);
                }
                TraceKind::Installed { .. } => moved = true,
                TraceKind::ChangeRefused { id } => self.change_refused(at, *id),
                TraceKind::Changing { index, .. } => self.config_appended(id, *index),
                TraceKind::Diverged { index } => {
                    let what = format!("{} says its state differs at {index}", event.node);
                    self.blame(at, "equal state", what);
                }
                TraceKind::Raft(event) => self.raft(at, replica, event, ledgers),
                _ => {}
            }
        }
        for change in changes {
            self.changed(at, replica, change, (effects, at_hand));
        }
        let witness = self.configs.is_witness(id);
        if witness && (moved || !changes.is_empty()) {
            self.has_no_data(at, replica, changes);
        } else if !witness && moved {
            self.hashes(at, replica);
        }
        reconfigured
    }

    fn applied_entry(
        &mut self,
        at: Nanos,
        replica: &Replica,
        index: LogIndex,
        id: Option<RequestId>,
        revision: i64,
        chain: u64,
    ) {
        self.checks += 1;
        if let Some(known) = self.entry(index) {
            let ballot = replica.raft().ballot_at(index);
            let other = ballot.is_some() && known.ballot.is_some() && known.ballot != ballot;
            if known.chain != chain || known.revision != revision || other {
                let what = format!(
                    "entry {index} applied as {ballot:?} {chain:x} at revision {revision}, \
                     elsewhere as {known:?}"
                );
                self.blame(at, "one log", what);
            }
            return;
        }
        if index != self.applied().next() {
            let what = format!("entry {index} applied before {}", self.applied().next());
            return self.blame(at, "one log", what);
        }
        let entry = replica.raft().entries(index, index).next();
        let ballot = entry.map(|entry| entry.ballot);
        if entry.is_some_and(|entry| entry.kind == EntryKind::Stripped) {
            let what = format!("{} applied {index} without its data", replica.status().id);
            self.blame(at, "a data member has the data", what);
        }
        self.config_applied(at, index, entry);
        self.enter(at, Entry { ballot, chain, revision, content: None });
        if let Some(id) = id.filter(|id| id.seq > 0) {
            if self.asked_later(id) {
                self.blame(at, "applied once", format!("request {id} of an earlier life applied"));
            }
            if !self.requests.insert(id) {
                self.blame(at, "applied once", format!("request {id} applied again at {index}"));
            }
        }
        if let Some(entry) = entry
            && let Ok(envelope) = Envelope::decode(&entry.payload)
            && let EnvelopeBody::Command(bytes) = envelope.body
            && let Ok(command) = Command::decode(&mut Get::new(bytes))
        {
            self.command(at, index, revision, &command);
            self.caller(at, index, &envelope.caller, &command);
        }
    }

    /// The next entry, applied for the first time: what witnesses passed is no other.
    fn enter(&mut self, at: Nanos, entry: Entry) {
        let index = self.applied().next();
        if let Some(passed) = self.passed.remove(&index) {
            self.one_ballot(at, index, passed.ballot, entry.ballot);
        }
        self.entries.push(entry);
    }

    fn command(&mut self, at: Nanos, index: LogIndex, after: i64, command: &Command) {
        if self.alarms.forbid(index, command) {
            return;
        }
        self.alarms.command(index, command);
        match command {
            Command::Compact { revision } if *revision <= after => {
                self.model.compacted = self.model.compacted.max(*revision);
            }
            Command::LeaseGrant { id, ttl } => self.leases.granted(*id, *ttl, index, at),
            Command::LeaseRenew { ids } => self.leases.renewed(ids, index, at),
            Command::LeaseRevoke { id, renewal } => {
                if let Err(what) = self.leases.revoked(*id, *renewal, index, at) {
                    self.blame(at, "lease not early", what);
                }
            }
            _ => {}
        }
    }

    /// Whoever asked for a command is whom the log names.
    fn caller(&mut self, at: Nanos, index: LogIndex, caller: &Caller, command: &Command) {
        let Command::Put(put) = command else { return };
        let Some(op) = client::writer_of(&put.value) else { return };
        if *caller != client::caller(op) {
            let what = format!("entry {index} of operation {op} has the caller {caller:?}");
            self.blame(at, "a command keeps its caller", what);
        }
    }

    /// Whether a later life of the origin had a request applied already: what an earlier one
    /// asked for never applies after it.
    fn asked_later(&self, id: RequestId) -> bool {
        let later = RequestId { incarnation: id.incarnation.next(), seq: 0, ..id };
        let end = RequestId { origin: NodeId(id.origin.0 + 1), ..RequestId::default() };
        self.requests.range(later..end).next().is_some()
    }

    fn deduplicated(&mut self, at: Nanos, replica: &Replica, index: LogIndex, id: RequestId) {
        if self.entry(index).is_some() {
            return;
        }
        let void = self.asked_later(id) || self.configs.has_left(id.origin);
        // A full window forgets gaps as seen; lives are far shorter than it.
        if !void && !self.requests.contains(&id) {
            let what = format!("request {id} dropped at {index} as a repeat of nothing");
            self.blame(at, "applied once", what);
        }
        let ballot = replica.raft().ballot_at(index);
        let (chain, revision) = (replica.store().chain_hash(), self.revision_at(index.prev()));
        let before = self.chain_at(index.prev()).unwrap_or(chain);
        self.enter(at, Entry { ballot, chain: before, revision, content: None });
    }

    fn changed(
        &mut self,
        at: Nanos,
        replica: &Replica,
        changes: &Arc<Changes>,
        (effects, at_hand): (&mut Effects<'_>, &mut dyn Values),
    ) {
        self.checks += 1;
        self.took(at, changes, effects);
        self.looks_back(at, replica, changes, at_hand);
    }

    /// What a watcher would be told now of what was before, as far as that is at hand.
    fn looks_back(
        &mut self,
        at: Nanos,
        replica: &Replica,
        changes: &Changes,
        at_hand: &mut dyn Values,
    ) {
        let (store, revision) = (replica.store(), changes.revision);
        // One that has become a witness since has no data.
        let in_sight = (store.compact_revision() + 1..=store.revision()).contains(&revision);
        for event in &changes.events {
            let Some(before) = store.before_of(event, at_hand) else { continue };
            let expected = self.model.before(event);
            if before.as_ref() != expected.filter(|_| in_sight) {
                let what = format!("{event:?} was {before:?}, expected {expected:?}");
                return self.blame(at, "etcd's history", what);
            }
        }
    }

    fn took(&mut self, at: Nanos, changes: &Arc<Changes>, effects: &mut Effects<'_>) {
        if let Some(known) = self.model.changes(changes.revision) {
            if known != changes {
                let what = format!("revision {} is {changes:?} and {known:?}", changes.revision);
                self.blame(at, "one history", what);
            }
            return;
        }
        if let Err(what) = self.model.push(changes) {
            return self.blame(at, "etcd's history", what);
        }
        for event in changes.events.iter().filter(|event| event.kind == EventKind::Put) {
            self.written(at, &event.kv.value, changes.revision, effects);
        }
    }

    /// A value appears: somebody asked for it, nobody was told no, and it appears once.
    fn written(&mut self, at: Nanos, value: &[u8], revision: i64, effects: &mut Effects<'_>) {
        let op = client::writer_of(value);
        let found = op.and_then(|op| effects.ops.get_mut(op as usize));
        let Some(op) = found else {
            let value = String::from_utf8_lossy(value).into_owned();
            return self.blame(at, "nothing from thin air", format!("value {value}"));
        };
        if op.outcome == client::Outcome::Refused {
            let what = format!("{:?} was refused and is revision {revision}", op.ask);
            self.blame(at, "refused is not applied", what);
        } else if op.effect.is_some_and(|before| before != revision) {
            let what = format!("{:?} is revision {:?} and {revision}", op.ask, op.effect);
            self.blame(at, "applied once", what);
        }
        op.effect = Some(revision);
    }

    /// Where a replica stands after its step must be where every other stood there.
    fn hashes(&mut self, at: Nanos, replica: &Replica) {
        let status = replica.status();
        let Some(place) = status.applied.0.checked_sub(1) else { return };
        let Some(entry) = self.entries.get_mut(place as usize) else {
            let what = format!("{} applied {} that nobody did", status.id, status.applied);
            return self.blame(at, "one log", what);
        };
        let content = *entry.content.get_or_insert(status.content_hash);
        let (chain, revision) = (entry.chain, entry.revision);
        let same = content == status.content_hash
            && chain == status.chain_hash
            && revision == status.revision;
        if !same {
            let what = format!("{status:?}, elsewhere {chain:x} {content:x} {revision}");
            self.blame(at, "equal state", what);
        }
    }

    fn raft(&mut self, at: Nanos, replica: &Replica, event: &Trace, ledgers: &[&Ledger]) {
        let me = replica.status().id;
        match event {
            Trace::Elected { ballot, votes } => self.elected(at, replica, *ballot, *votes, ledgers),
            Trace::Quorum { index, acked, ballot } => {
                self.keeps_data(at, me, *index, *acked);
                let acked = self.decided(at, me, *acked, System::commit, "a quorum commits");
                let highest = self.commits.entry(*ballot).or_default();
                *highest = (*highest).max(*index);
                let entry = replica.raft().ballot_at(*index).unwrap_or(*ballot);
                for slot in acked.iter() {
                    let ledger = ledgers[usize::from(slot)];
                    if !ledger.holds(*index, entry) {
                        let what = format!(
                            "n{} counts for {index} of {entry}; its disk ends at {} {:?}",
                            slot + 1,
                            ledger.last(),
                            ledger.ballot_at(*index)
                        );
                        self.blame(at, "an acknowledgement is durable", what);
                    }
                }
            }
            Trace::ReadConfirmed { acked, .. } => {
                self.confirmed_at = at;
                self.decided(at, me, *acked, System::commit, "a quorum confirms a read");
            }
            _ => {}
        }
    }

    /// The places of a set that decided something, which must be a quorum of what the member
    /// goes by.
    fn decided(
        &mut self,
        at: Nanos,
        me: NodeId,
        set: NodeSet,
        family: fn(&System) -> &Family,
        rule: &'static str,
    ) -> NodeSet {
        self.checks += 1;
        let decides = |ruling: &&Rc<Ruling>| family(&ruling.system).is_quorum(set);
        let by = self.configs.by(me).find(decides).or(self.configs.of(me));
        let Some(by) = by.cloned() else { return set };
        if !decides(&&by) {
            let (quorum, joint) = (&by.config.quorum, &by.config.joint);
            self.blame(at, rule, format!("{me} counts {set:?} under {quorum}, joint {joint:?}"));
        }
        by.places(set)
    }

    fn elected(
        &mut self,
        at: Nanos,
        replica: &Replica,
        ballot: Ballot,
        votes: NodeSet,
        ledgers: &[&Ledger],
    ) {
        let me = replica.status().id;
        if self.configs.is_witness(me) {
            self.blame(at, "a witness never leads", format!("{me} leads {ballot}"));
        }
        let votes = self.decided(at, me, votes, System::elect, "a quorum elects");
        self.config_of_log(at, me, replica);
        let node = if self.rule == BallotRule::SharedTerms { 0 } else { ballot.node.0 };
        let leader = *self.leaders.entry((ballot.term.0, node)).or_insert(me);
        if leader != me {
            let what = format!("{leader} and {me} lead {ballot}");
            self.blame(at, "one leader a ballot", what);
        }
        for slot in votes.iter() {
            let promise = ledgers[usize::from(slot)].promise;
            if promise < ballot && !ledgers[usize::from(slot)].excused {
                let what = format!("n{} votes {ballot}; its disk promises {promise}", slot + 1);
                self.blame(at, "a vote is durable", what);
            }
        }
        // Leader completeness (Raft section 5.4.3): everything committed under an earlier ballot
        // is in its log. One that slept through its election may know nothing of later ones.
        let raft = replica.raft();
        let last = raft.last().0;
        let until = self.commits.range(..ballot).map(|(_, index)| *index).max();
        let until = until.unwrap_or_default();
        if last < until {
            let what = format!("{me} leads {ballot} with {last} of {until} committed entries");
            self.blame(at, "a leader has what is committed", what);
        }
        for index in (1..=until.0.min(last.0)).rev().map(LogIndex) {
            let Some(here) = raft.ballot_at(index) else { break };
            let known = self.entry(index).and_then(|entry| entry.ballot);
            if known.is_some_and(|known| known != here) {
                let what = format!("{me} leads {ballot} with {here} at {index}, not {known:?}");
                self.blame(at, "a leader has what is committed", what);
                break;
            }
        }
    }

    /// Two logs that agree on an entry agree on all before it.
    pub fn log_matching(&mut self, at: Nanos, a: &Replica, b: &Replica) {
        self.checks += 1;
        let (a, b) = (a.raft(), b.raft());
        let mut index = a.last().0.min(b.last().0);
        let mut met = false;
        while index > LogIndex::ZERO {
            let (Some(x), Some(y)) = (a.ballot_at(index), b.ballot_at(index)) else { return };
            if met && x != y {
                let what = format!("logs agree above {index} and differ there: {x} and {y}");
                return self.blame(at, "log matching", what);
            }
            met |= x == y;
            index = index.prev();
        }
    }
}
