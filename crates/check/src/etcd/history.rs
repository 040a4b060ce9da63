//! The model for the search, narrowed down by what a history tells of each revision.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use base::Blob;

use super::between::Between;
use super::narrow::Narrow;
use super::range::{Keys, contains};
use super::run::{Change, Run};
use super::types::{CompareOp, KeyValue, Range, Reply, Request, Response, Seen, Target};
use super::{EtcdOperation, Timeline};
use crate::map::Map;
use crate::{FoldState, Limits, Model, Outcome, Verdict};

/// Keys at a revision.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EtcdState {
    pub(super) revision: i64,
    pub(super) keys: Keys,
    /// Earlier revisions, if some request reads at one.
    past: Map<i64, Keys>,
}

impl EtcdState {
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// All living keys, ascending.
    pub fn keys(&self) -> impl Iterator<Item = &KeyValue> {
        self.keys.iter_from(&Blob::default()).map(|(_, kv)| &**kv)
    }
}

/// What somebody saw of a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Evidence {
    Put(Seen),
    Deleted(Blob),
}

/// The sequential object, and what is known of its revisions.
#[derive(Clone, Debug)]
pub struct Etcd {
    initial: EtcdState,
    /// Revisions that an answered write made: no other operation can.
    claimed: HashSet<i64, FoldState>,
    evidence: HashMap<i64, Vec<Evidence>, FoldState>,
    /// Of each key: what was seen of it, by revision.
    lives: HashMap<Blob, BTreeMap<i64, Life>, FoldState>,
    between: Between,
    /// Revision, range and keys of every read that shows all of its range.
    full: Vec<Full>,
    keep_past: bool,
}

type Full = (i64, Blob, Blob, HashSet<Blob, FoldState>);

/// Keys of a history up to which it is asked whether they can all become what is seen next.
const TOGETHER_MAX: usize = 32;

/// What was seen cannot come to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refused;

/// Where a key stood in its life at some revision.
#[derive(Clone, Copy, Debug)]
struct Life {
    create_revision: i64,
    version: i64,
}

impl Default for Etcd {
    fn default() -> Self {
        Self::new()
    }
}

impl Etcd {
    /// A fresh store: no keys, revision 1.
    pub fn new() -> Self {
        Self::starting_at(1, [])
    }

    /// A store that held `keys` at `revision` when the history began. What was read of older
    /// revisions is not checked.
    pub fn starting_at(revision: i64, keys: impl IntoIterator<Item = KeyValue>) -> Self {
        let mut map = Keys::default();
        for kv in keys {
            map.insert(kv.key.clone(), Arc::new(kv));
        }
        Self {
            initial: EtcdState { revision, keys: map, past: Map::default() },
            claimed: HashSet::default(),
            evidence: HashMap::default(),
            lives: HashMap::default(),
            between: Between::default(),
            full: Vec::new(),
            keep_past: true,
        }
    }

    /// Takes from the answers which revisions are whose, and what was read of them. It changes
    /// no verdict on `ops`, only the time to it.
    pub fn study(&mut self, ops: &[EtcdOperation]) {
        self.keep_past = false;
        for op in ops {
            self.keep_past |= reads_past(&op.input);
            let Some(response) = &op.output else { continue };
            if let Some(revision) = response.revision
                && certainly_writes(&op.input, response.reply.as_ref())
            {
                self.claimed.insert(revision);
            }
            if let Some(reply) = &response.reply {
                self.collect(&op.input, reply);
            }
            if let (Some(revision), Some(reply)) = (response.revision, &response.reply) {
                // A request that writes saw what was before its own revision.
                let own = i64::from(!never_writes(&op.input, Some(reply)));
                self.collect_quiet(&op.input, reply, revision.saturating_sub(own));
                if own == 0 {
                    self.collect_full(&op.input, reply, revision);
                }
            }
        }
    }

    /// Somebody saw the put that made `seen.mod_revision`, on a watch for example.
    pub fn observe_put(&mut self, seen: Seen) {
        if let Some(revision) = seen.mod_revision {
            self.evidence.entry(revision).or_default().push(Evidence::Put(seen));
        }
    }

    /// Somebody saw that `revision` deleted `key`.
    pub fn observe_delete(&mut self, revision: i64, key: Blob) {
        self.evidence.entry(revision).or_default().push(Evidence::Deleted(key));
    }

    /// The same operations, one by one, with what the answers tell of those of unknown outcome;
    /// after [`Self::study`]. The verdict on them is the verdict on `ops`.
    pub fn narrow(&mut self, ops: &[EtcdOperation]) -> Vec<EtcdOperation> {
        let held = self.initial.keys().map(|kv| (kv.key.clone(), kv.value.clone()));
        let mut narrow = Narrow::new(ops, held);
        for (&revision, evidence) in &self.evidence {
            for evidence in evidence {
                let Evidence::Put(seen) = evidence else { continue };
                narrow.read_seen(seen);
                if let (Some(create_revision), Some(version)) = (seen.create_revision, seen.version)
                {
                    let life = Life { create_revision, version };
                    self.lives.entry(seen.key.clone()).or_default().insert(revision, life);
                }
            }
        }
        let known = narrow.apply(ops, &mut self.claimed);
        for op in &known {
            let Some(response) = &op.output else { continue };
            if let Some(revision) = response.revision
                && certainly_writes(&op.input, response.reply.as_ref())
            {
                self.between.made(revision, &op.input, response.reply.as_ref());
            }
        }
        self.note_gone();
        self.between.sort();
        known
    }

    /// Reads that show every key of their range, at the revision that they show.
    fn collect_full(&mut self, request: &Request, reply: &Reply, revision: i64) {
        match (request, reply) {
            (Request::Range(range), Reply::Range { kvs, count, .. }) => {
                let whole = Range {
                    key: range.key.clone(),
                    range_end: range.range_end.clone(),
                    revision: range.revision,
                    ..Range::default()
                };
                if *range == whole && *count == Some(kvs.len() as i64) {
                    let at = if range.revision > 0 { range.revision } else { revision };
                    let keys = kvs.iter().map(|seen| seen.key.clone()).collect();
                    self.full.push((at, range.key.clone(), range.range_end.clone(), keys));
                }
            }
            (Request::Txn(txn), Reply::Txn { succeeded, replies }) => {
                let branch = if *succeeded { &txn.success } else { &txn.failure };
                for (request, reply) in branch.iter().zip(replies) {
                    self.collect_full(request, reply, revision);
                }
            }
            _ => {}
        }
    }

    /// Keys that are seen some time and were not there in a read of their range.
    fn note_gone(&mut self) {
        let few = self.lives.len() <= TOGETHER_MAX;
        for (at, from, end, found) in std::mem::take(&mut self.full) {
            let keys = self.lives.keys().filter(|_| few || end.is_empty());
            let gone: Vec<Blob> = keys
                .filter(|key| contains(&from, &end, key) && !found.contains(*key))
                .cloned()
                .collect();
            for key in gone {
                self.between.missed(&key, at);
                self.add_evidence(at, Evidence::Deleted(key));
            }
        }
    }

    /// What was read at revision `until`.
    fn collect_quiet(&mut self, request: &Request, reply: &Reply, until: i64) {
        let mut saw = |seen: &Seen, until: i64| {
            if let Some(written) = seen.mod_revision {
                self.between.saw(&seen.key, written, until);
            }
        };
        match (request, reply) {
            (Request::Range(range), Reply::Range { kvs, .. }) => {
                let at = if range.revision > 0 { range.revision.min(until) } else { until };
                kvs.iter().for_each(|seen| saw(seen, at));
            }
            (_, Reply::Put { prev: Some(Some(seen)) }) => saw(seen, until),
            (_, Reply::Delete { prev: Some(seen), .. }) => {
                seen.iter().for_each(|seen| saw(seen, until));
            }
            (Request::Txn(txn), Reply::Txn { succeeded, replies }) => {
                for compare in txn.compare.iter().filter(|_| *succeeded) {
                    if let (Target::Mod(written @ 1..), CompareOp::Equal) =
                        (&compare.target, compare.op)
                        && compare.range_end.is_empty()
                    {
                        self.between.saw(&compare.key, *written, until);
                    }
                }
                let branch = if *succeeded { &txn.success } else { &txn.failure };
                for (request, reply) in branch.iter().zip(replies) {
                    self.collect_quiet(request, reply, until);
                }
            }
            _ => {}
        }
    }

    fn collect(&mut self, request: &Request, reply: &Reply) {
        match (request, reply) {
            (Request::Range(range), Reply::Range { kvs, .. }) => {
                for seen in kvs {
                    let mut seen = seen.clone();
                    if range.keys_only {
                        (seen.value, seen.lease) = (None, None);
                    }
                    self.collect_seen(seen);
                }
            }
            (_, Reply::Put { prev: Some(Some(seen)) }) => self.collect_seen(seen.clone()),
            (_, Reply::Delete { prev: Some(seen), .. }) => {
                for seen in seen {
                    self.collect_seen(seen.clone());
                }
            }
            (Request::Txn(txn), Reply::Txn { succeeded, replies }) => {
                let branch = if *succeeded { &txn.success } else { &txn.failure };
                for (request, reply) in branch.iter().zip(replies) {
                    self.collect(request, reply);
                }
            }
            _ => {}
        }
    }

    /// One copy of each: a key is read much more often than written.
    fn collect_seen(&mut self, seen: Seen) {
        let Some(revision) = seen.mod_revision else { return };
        if let Some(born) = seen.create_revision.filter(|&born| born < revision) {
            let at = (Some(born), Some(born), Some(1));
            let (create_revision, mod_revision, version) = at;
            let key = seen.key.clone();
            let birth = Seen { key, create_revision, mod_revision, version, ..Seen::default() };
            self.add_evidence(born, Evidence::Put(birth));
        }
        self.add_evidence(revision, Evidence::Put(seen));
    }

    fn add_evidence(&mut self, revision: i64, evidence: Evidence) {
        let known = self.evidence.entry(revision).or_default();
        if !known.contains(&evidence) {
            known.push(evidence);
        }
    }

    /// Whether what is seen of the changed keys next can still come.
    fn leads_on(&self, revision: i64, changes: &[Change]) -> bool {
        changes.iter().all(|change| {
            let kv = match change {
                Change::Put(kv) => Some(&**kv),
                Change::Delete(_) => None,
            };
            !self.between.is_quiet(change.key(), revision)
                && self.needs(change.key(), kv, revision).is_ok()
        })
    }

    /// How many writes that nobody answered for a key needs, and until when, to become what is
    /// seen of it next. None: that is not known.
    ///
    /// # Errors
    /// It cannot become that.
    fn needs(
        &self,
        key: &Blob,
        kv: Option<&KeyValue>,
        revision: i64,
    ) -> Result<Option<(i64, i64)>, Refused> {
        let next =
            self.lives.get(key).and_then(|lives| lives.range(revision.saturating_add(1)..).next());
        let reborn = next.map_or(i64::MAX, |(_, next)| next.create_revision);
        if reborn > revision {
            // This life, if it lives, ends before the next one that is seen.
            let gone = self.between.gone_by(key, revision, reborn);
            let end = gone.or((reborn < i64::MAX).then_some(reborn));
            let (Some(end), Some(_)) = (end, kv) else { return Ok(None) };
            let missing = self.between.death_missing(key, revision, end);
            return missing.map(|missing| Some((end, missing))).ok_or(Refused);
        }
        let Some((&at, next)) = next else { return Ok(None) };
        // The same life: a version more for every revision that puts it.
        let same = |kv: &&KeyValue| kv.create_revision == next.create_revision;
        let kv = kv.filter(same).ok_or(Refused)?;
        let missing = self.between.missing(key, revision, at, next.version - kv.version);
        Ok(Some((at, missing.ok_or(Refused)?)))
    }

    /// Whether the revisions that nobody claims are enough for all keys together: of those up to
    /// any revision, as many as writes are missing by then.
    fn all_lead_on(&self, state: &EtcdState) -> bool {
        if self.lives.len() > TOGETHER_MAX {
            return true;
        }
        let mut needs = Vec::new();
        for key in self.lives.keys() {
            let kv = state.keys.get(key).map(|kv| &**kv);
            match self.needs(key, kv, state.revision) {
                Ok(need) => needs.extend(need.filter(|(_, missing)| *missing > 0)),
                Err(Refused) => return false,
            }
        }
        needs.sort_unstable();
        let mut missing = 0;
        needs.into_iter().all(|(at, more)| {
            missing += more;
            missing <= self.between.open(state.revision, at)
        })
    }

    fn agrees(&self, state: &EtcdState) -> bool {
        let Some(evidence) = self.evidence.get(&state.revision) else { return true };
        evidence.iter().all(|evidence| match evidence {
            Evidence::Put(seen) => state.keys.get(&seen.key).is_some_and(|kv| seen.fits(kv)),
            Evidence::Deleted(key) => state.keys.get(key).is_none(),
        })
    }
}

fn reads_past(request: &Request) -> bool {
    match request {
        Request::Range(range) => range.revision > 0,
        Request::Txn(txn) => txn.success.iter().chain(&txn.failure).any(reads_past),
        Request::Put(_) | Request::Delete(_) | Request::Revoke { .. } => false,
    }
}

/// Whether a request with this answer, if known, made a revision.
fn certainly_writes(request: &Request, reply: Option<&Reply>) -> bool {
    match (request, reply) {
        (Request::Put(_), _) => true,
        (Request::Delete(_), Some(Reply::Delete { deleted, prev })) => {
            deleted.is_some_and(|deleted| deleted > 0)
                || prev.as_ref().is_some_and(|prev| !prev.is_empty())
        }
        (Request::Txn(txn), Some(Reply::Txn { succeeded, replies })) => {
            let branch = if *succeeded { &txn.success } else { &txn.failure };
            let mut pairs = branch.iter().zip(replies);
            pairs.any(|(request, reply)| certainly_writes(request, Some(reply)))
        }
        _ => false,
    }
}

/// Whether a request with this answer, if known, cannot make a revision.
fn never_writes(request: &Request, reply: Option<&Reply>) -> bool {
    match (request, reply) {
        (Request::Range(_), _) => true,
        (Request::Put(_) | Request::Revoke { .. }, _) => false,
        (Request::Delete(_), reply) => {
            matches!(reply, Some(Reply::Delete { deleted: Some(0), .. }))
        }
        (Request::Txn(txn), Some(Reply::Txn { succeeded, replies })) => {
            let branch = if *succeeded { &txn.success } else { &txn.failure };
            branch.iter().zip(replies).all(|(request, reply)| never_writes(request, Some(reply)))
                && branch.len() == replies.len()
        }
        (Request::Txn(txn), _) => {
            txn.success.iter().chain(&txn.failure).all(|request| never_writes(request, None))
        }
    }
}

impl Model for Etcd {
    type State = EtcdState;
    type Input = Request;
    type Output = Response;

    fn initial(&self) -> EtcdState {
        self.initial.clone()
    }

    fn step(
        &self,
        state: &EtcdState,
        input: &Request,
        output: Option<&Response>,
    ) -> Option<EtcdState> {
        let revision = output.and_then(|response| response.revision);
        if let Some(revision) = revision
            && revision != state.revision
            && Some(revision) != state.revision.checked_add(1)
        {
            return None;
        }
        let reply = output.and_then(|response| response.reply.as_ref());
        let mut run = Run::new(state.revision, &state.keys, &state.past);
        if !run.request(input, reply) {
            return None;
        }
        if run.changes.is_empty() {
            return revision
                .is_none_or(|revision| revision == state.revision)
                .then(|| state.clone());
        }
        let next = state.revision.checked_add(1)?;
        let claimed = revision.is_none() && self.claimed.contains(&next);
        if claimed || revision.is_some_and(|revision| revision != next) {
            return None;
        }
        let mut past = state.past.clone();
        if self.keep_past {
            past.insert(state.revision, state.keys.clone());
        }
        let after = EtcdState { revision: next, keys: run.keys, past };
        // Where an answer names its revision, it is the reader that is wrong, not the writer.
        let fits =
            || self.agrees(&after) && self.leads_on(next, &run.changes) && self.all_lead_on(&after);
        (revision.is_some() || fits()).then_some(after)
    }

    fn read_only(&self, input: &Request, output: Option<&Response>) -> bool {
        never_writes(input, output.and_then(|response| response.reply.as_ref()))
    }

    fn unknown_may_act(&self, state: &EtcdState) -> bool {
        !state.revision.checked_add(1).is_none_or(|next| self.claimed.contains(&next))
    }

    /// A guard that wants an earlier revision of a key than the present one: it never returns.
    fn is_spent(&self, state: &EtcdState, input: &Request) -> bool {
        let Request::Txn(txn) = input else { return false };
        let past = txn.compare.iter().any(|compare| {
            let Target::Mod(wanted @ 1..) = compare.target else { return false };
            let now = state.keys.get(&compare.key).map(|kv| kv.mod_revision);
            compare.op == CompareOp::Equal
                && compare.range_end.is_empty()
                && wanted <= state.revision
                && now != Some(wanted)
        });
        past && txn.failure.iter().all(|request| never_writes(request, None))
    }

    /// A put does what the same put behind a guard does where that lets it pass.
    fn covers(&self, all: &Request, some: &Request) -> bool {
        let (Request::Put(_), Request::Txn(txn)) = (all, some) else { return false };
        matches!(&txn.success[..], [only] if only == all)
            && txn.failure.iter().all(|request| never_writes(request, None))
    }

    /// A change copies a path of about this many nodes.
    fn state_bytes(&self, _: &EtcdState) -> usize {
        size_of::<EtcdState>() + 12 * 120
    }
}

/// A verdict, and if an order was found the revisions that it makes.
#[derive(Clone, Debug)]
pub struct EtcdOutcome {
    pub outcome: Outcome,
    /// Some if and only if the verdict is linearizable.
    pub timeline: Option<Timeline>,
}

/// Studies `ops`, checks them as `model`, and lays out the revisions that were found.
pub fn check(
    mut model: Etcd,
    ops: &[EtcdOperation],
    limits: Limits,
    cancel: &dyn Fn() -> bool,
) -> EtcdOutcome {
    model.study(ops);
    let known = model.narrow(ops);
    let outcome = crate::check(&model, &known, limits, cancel);
    let timeline = match &outcome.verdict {
        Verdict::Linearizable { order } => Some(replay(&model.initial, ops, order)),
        Verdict::NotLinearizable { .. } | Verdict::Unknown { .. } => None,
    };
    EtcdOutcome { outcome, timeline }
}

fn replay(initial: &EtcdState, ops: &[EtcdOperation], order: &[usize]) -> Timeline {
    let mut timeline = Timeline::starting_at(initial.revision, initial.keys.clone());
    let mut past = Map::default();
    past.insert(initial.revision, initial.keys.clone());
    for &index in order {
        let op = &ops[index];
        let reply = op.output.as_ref().and_then(|response| response.reply.as_ref());
        let keys = timeline.latest().clone();
        let mut run = Run::new(timeline.revision(), &keys, &past);
        assert!(run.request(&op.input, reply), "the search made this step");
        if !run.changes.is_empty() {
            timeline.append(run.changes);
            past.insert(timeline.revision(), timeline.latest().clone());
        }
    }
    timeline
}
