//! The work of one entry, cut anywhere: what it does next stands here, never on the stack.

use super::end::{DeleteWork, RevokeWork};
use super::quota;
use super::write::{Writer, check_put};
use crate::budget::Budget;
use crate::caller::Caller;
use crate::check;
use crate::command::{AlarmAction, AlarmKind, Command, Error, Response};
use crate::digest::Digest;
use crate::discard::Discard;
use crate::lease::{Lease, TTL_MAX};
use crate::space::{ALARM_OWN, Space};
use crate::store::{Applied, Limits};
use crate::sweep::{Slice, SweepWork, compact};
use crate::txn::TxnWork;
use crate::types::{Changes, Event};
use crate::values::{Asked, InMemory, Values};
use crate::view::View;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::{LogIndex, planted};

/// Begun by [`Task::new`], ended when [`Task::run`] says so.
pub(super) struct Task {
    stage: Stage,
    events: Vec<Event>,
    digest: Digest,
    /// Revision before the command.
    before: i64,
    result: Option<Result<Response, Error>>,
    changes: Option<Arc<Changes>>,
    pub discard: Discard,
}

enum Stage {
    Begin,
    Put,
    Delete(DeleteWork),
    Txn(Box<TxnWork>),
    Revoke(RevokeWork),
    Renew(Vec<(i64, i64)>),
    /// Of what a compaction left; then the command has its answer.
    CompactSweep(SweepWork),
    Sweep(SweepWork),
    End,
}

impl Task {
    /// Of the entry that `view` has just come to, with a caller's command or without.
    pub fn new(view: &View, caller: Option<&Caller>) -> Self {
        assert!(view.applied > LogIndex::ZERO, "the log begins at 1");
        let mut digest = Digest::new(view.chain, view.applied);
        if let Some(caller) = caller {
            caller.encode(digest.sink());
        }
        Self {
            stage: match caller {
                Some(_) => Stage::Begin,
                None => Stage::Sweep(SweepWork::new(Slice::IDLE)),
            },
            events: Vec::new(),
            digest,
            before: view.revision,
            result: None,
            changes: None,
            discard: Discard::default(),
        }
    }

    /// What the command came to; none without one. After the end.
    pub fn outcome(&mut self) -> Option<Applied> {
        assert!(matches!(self.stage, Stage::End), "it has an outcome once it is through");
        self.result.take().map(|result| Applied { result, changes: self.changes.take() })
    }

    /// The rest is done in another slice.
    pub fn pause(&mut self) {
        if planted!(DigestBySlice) {
            self.digest.number(1);
        }
    }

    /// True once all is done; false when the budget ended first, or something is not at hand.
    pub fn run(
        &mut self,
        view: &mut View,
        limits: &Limits,
        command: Option<&Command>,
        (values, budget): (&mut dyn Values, &mut Budget),
    ) -> bool {
        let mut values = Asked { values, missed: false };
        loop {
            if !budget.is_left() || values.missed {
                return false;
            }
            let next = match (core::mem::replace(&mut self.stage, Stage::End), command) {
                (Stage::Sweep(mut work), _) => {
                    if work.run(view, budget) {
                        return self.end(view);
                    }
                    Stage::Sweep(work)
                }
                (Stage::End, _) | (_, None) => unreachable!("a task ends once"),
                (stage, Some(command)) => {
                    self.work(stage, view, limits, command, (&mut values, budget))
                }
            };
            self.stage = next;
        }
    }

    fn end(&mut self, view: &mut View) -> bool {
        assert!(self.events.is_empty(), "the revision of its writes is closed");
        assert!(self.result.is_some() || self.changes.is_none(), "who changes has an answer");
        if let Some(result) = &self.result {
            self.digest.result(result);
            view.chain = self.digest.finish();
        }
        view.check();
        true
    }

    /// The stage that follows; the same one when the budget ended first, or something is not at
    /// hand.
    fn work(
        &mut self,
        mut stage: Stage,
        view: &mut View,
        limits: &Limits,
        command: &Command,
        (values, budget): (&mut dyn Values, &mut Budget),
    ) -> Stage {
        let (events, digest) = (&mut self.events, &mut self.digest);
        let mut w = Writer { view, values, events, digest };
        let result = match (&mut stage, command) {
            (Stage::Begin, _) => {
                budget.spend(1);
                match begin(&mut w, limits, command) {
                    Err(error) => return self.close(view, Err(error)),
                    Ok(Begun::Stage(stage)) => return stage,
                    Ok(Begun::Done(result)) => Some(result),
                }
            }
            (Stage::Put, Command::Put(request)) => w.put(request).map(|r| Ok(Response::Put(r))),
            (Stage::Delete(work), _) => work.run(&mut w, budget).map(|r| Ok(Response::Delete(r))),
            (Stage::Txn(work), Command::Txn(txn)) => {
                let done = work.run(txn, &mut w, budget, &mut self.discard);
                done.map(|result| result.map(Response::Txn))
            }
            (Stage::Revoke(work), _) => {
                work.run(&mut w, budget).map(|revision| Ok(Response::LeaseRevoke { revision }))
            }
            (Stage::Renew(ttls), Command::LeaseRenew { ids }) => renew(&mut w, ids, ttls, budget),
            (Stage::CompactSweep(work), _) => {
                let done = work.run(w.view, budget);
                done.then_some(Ok(Response::Compact { revision: w.view.revision }))
            }
            _ => unreachable!("a stage is of its command"),
        };
        let Some(result) = result else { return stage };
        // Writes are taken again a sixteenth below the quota, so that it does not flap at the edge.
        let low = limits.quota_bytes - limits.quota_bytes / 16;
        if view.size_bytes <= low || limits.quota_bytes == 0 {
            view.space.freed(view.now);
        }
        self.close(view, result)
    }

    fn close(&mut self, view: &mut View, result: Result<Response, Error>) -> Stage {
        let (events, digest) = (&mut self.events, &mut self.digest);
        self.changes = Writer { view, values: &mut InMemory, events, digest }.finish();
        let changed = self.changes.is_some();
        assert!(self.result.is_none(), "a command is answered once");
        assert!(result.is_ok() || !changed, "a refused command changes nothing");
        assert_eq!(view.revision, self.before + i64::from(changed), "one revision at most");
        let revision = self.changes.as_ref().map(|changes| changes.revision);
        assert!(revision.is_none_or(|made| made == view.revision), "the newest is its own");
        self.result = Some(result);
        Stage::Sweep(SweepWork::new(Slice::BUSY))
    }
}

/// What the first look at a command came to.
enum Begun {
    Stage(Stage),
    Done(Result<Response, Error>),
}

/// # Errors
/// Of a command that is not even begun.
fn begin(w: &mut Writer<'_>, limits: &Limits, command: &Command) -> Result<Begun, Error> {
    command.encode(w.digest.sink());
    check::command(command, limits.max_txn_ops)?;
    let is_corrupt = w.view.alarms.iter().any(|(_, kind)| *kind == AlarmKind::Corrupt);
    if is_corrupt && !matches!(command, Command::Alarm { .. } | Command::LeaseRenew { .. }) {
        return Err(Error::Corrupt);
    }
    if let Some(cost) = quota::cost_of(command) {
        quota::admit(w.view, limits, cost)?;
    }
    let done = match command {
        Command::Put(request) => match check_put(w.view, request).map(|()| w.put(request)) {
            Ok(None) => return Ok(Begun::Stage(Stage::Put)),
            Ok(Some(answer)) => Ok(Response::Put(answer)),
            Err(error) => Err(error),
        },
        Command::Delete(request) => {
            return Ok(Begun::Stage(Stage::Delete(DeleteWork::new(request))));
        }
        Command::Txn(_) => return Ok(Begun::Stage(Stage::Txn(Box::new(TxnWork::new())))),
        Command::Compact { revision } => {
            compact(w.view, *revision)?;
            return Ok(Begun::Stage(Stage::CompactSweep(SweepWork::new(Slice::IDLE))));
        }
        Command::LeaseGrant { id, ttl } => grant(w.view, limits, *id, *ttl),
        Command::LeaseRevoke { id, renewal } => match RevokeWork::new(w.view, *id, *renewal) {
            Ok(work) => return Ok(Begun::Stage(Stage::Revoke(work))),
            Err(error) => Err(error),
        },
        Command::LeaseRenew { .. } => return Ok(Begun::Stage(Stage::Renew(Vec::new()))),
        Command::Alarm { action, member, kind } => Ok(alarm(w.view, *action, *member, *kind)),
    };
    Ok(Begun::Done(done))
}

fn grant(view: &mut View, limits: &Limits, id: i64, ttl: i64) -> Result<Response, Error> {
    if id == 0 {
        return Err(Error::LeaseNotFound);
    }
    if ttl > TTL_MAX {
        return Err(Error::LeaseTtlTooLarge);
    }
    if view.leases.get(&id).is_some() {
        return Err(Error::LeaseExists);
    }
    let lease =
        Lease::new(id, ttl.max(limits.lease_ttl_min).clamp(1, TTL_MAX), view.now, view.applied.0);
    assert!(lease.ttl >= ttl && lease.deadline >= view.now.0, "no shorter than asked for");
    view.add_lease(lease);
    Ok(Response::LeaseGrant { id, ttl: lease.ttl, revision: view.revision })
}

/// A lease whose expiry has not been applied yet can still be renewed.
fn renew(
    w: &mut Writer<'_>,
    ids: &[i64],
    ttls: &mut Vec<(i64, i64)>,
    budget: &mut Budget,
) -> Option<Result<Response, Error>> {
    while let Some(&id) = ids.get(ttls.len()) {
        if !budget.is_left() {
            return None;
        }
        budget.spend(1);
        let ttl = match w.view.remove_lease(id) {
            None => i64::from(planted!(RenewsTheDead)),
            Some(lease) => {
                w.view.add_lease(Lease::new(id, lease.ttl, w.view.now, w.view.applied.0));
                lease.ttl
            }
        };
        w.digest.number(ttl);
        ttls.push((id, ttl));
    }
    assert_eq!(ttls.len(), ids.len(), "each lease that was asked for has an answer");
    Some(Ok(Response::LeaseRenew { ttls: core::mem::take(ttls) }))
}

fn alarm(view: &mut View, action: AlarmAction, member: u64, kind: AlarmKind) -> Response {
    let this = (member, kind);
    let alarms = match action {
        AlarmAction::Get => {
            let wanted = |x: &&(u64, AlarmKind)| kind == AlarmKind::None || x.1.is(kind);
            view.alarms().iter().filter(wanted).copied().collect()
        }
        _ if kind == AlarmKind::None => Vec::new(),
        AlarmAction::Activate => {
            if !view.alarms.contains(&this) {
                view.alarms.push(this);
                view.alarms.sort_unstable();
            }
            debug_assert!(view.alarms.is_sorted_by(|a, b| a < b), "each alarm once, in order");
            Vec::from([this])
        }
        AlarmAction::Deactivate => {
            let is_it = |alarm: &(u64, AlarmKind)| alarm.0 == member && alarm.1.is(kind);
            let on = view.all_alarms().iter().any(is_it);
            view.alarms.retain(|alarm| !is_it(alarm));
            if this == ALARM_OWN {
                view.space = Space::Enough;
            }
            on.then_some(this).into_iter().collect()
        }
    };
    Response::Alarm { alarms }
}
