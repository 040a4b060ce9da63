//! The machine: applies commands in log order.

mod write;

use crate::check;
use crate::command::{AlarmAction, AlarmKind, Command, Error, Response};
use crate::hash::Hasher;
use crate::lease::{Lease, TTL_MAX};
use crate::space::{ALARM_OWN, Space};
use crate::sweep::Slice;
use crate::types::{Changes, RangeRequest, RangeResponse, RequestOp, TxnRequest, TxnResponse};
use crate::view::View;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::{ClusterTime, LogIndex, planted};
use core::ops::Deref;
use write::Writer;

/// What every retained version costs beyond its key and value, as the quota counts it
/// (etcd's `kvOverhead`).
pub const VERSION_OVERHEAD_BYTES: u64 = 256;
const LEASE_OVERHEAD_BYTES: u64 = 64;

/// Replicated limits: every member of a cluster has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of retained versions; 0 = no quota.
    pub quota_bytes: u64,
    pub max_txn_ops: usize,
    /// Seconds; shorter grants are raised to it. Members raise what they propose to a minimum of
    /// their own, by their election timeout.
    pub lease_ttl_min: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { quota_bytes: 2 << 30, max_txn_ops: 128, lease_ttl_min: 1 }
    }
}

/// What applying one command did.
#[derive(Clone, Debug)]
pub struct Applied {
    pub result: Result<Response, Error>,
    /// Some when the command made a revision.
    pub changes: Option<Arc<Changes>>,
}

/// The state and its limits. Reads go through [`View`], to which it derefs.
pub struct Store {
    limits: Limits,
    pub(crate) view: View,
}

impl Deref for Store {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}

impl Store {
    pub fn new(limits: Limits) -> Self {
        Self::with_view(limits, View::empty())
    }

    pub(crate) fn with_view(limits: Limits, view: View) -> Self {
        Self { limits, view }
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Limits changed by a configuration entry, at the same index on every member.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// An immutable picture of now.
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// Static checks, to refuse before proposing. `apply` makes them again.
    ///
    /// # Errors
    /// What etcd's door answers: `EmptyKey`, `TooManyOps`, `DuplicateKey`, ...
    pub fn validate(&self, command: &Command) -> Result<(), Error> {
        check::command(command, self.limits.max_txn_ops)
    }

    /// A plain range now.
    ///
    /// # Errors
    /// `EmptyKey`, `Compacted`, `FutureRevision`.
    pub fn read(&self, request: &RangeRequest) -> Result<RangeResponse, Error> {
        self.view.read(request)
    }

    /// A transaction that writes in no branch.
    ///
    /// # Errors
    /// As [`View::read_txn`].
    pub fn read_txn(&self, request: &TxnRequest) -> Result<TxnResponse, Error> {
        self.view.read_txn(request, self.limits.max_txn_ops)
    }

    /// An entry without a command (empty, configuration) was applied.
    pub fn advance(&mut self, index: LogIndex, now: ClusterTime) {
        self.moved_to(index, now);
        self.view.sweep(Slice::IDLE);
    }

    fn moved_to(&mut self, index: LogIndex, now: ClusterTime) {
        assert!(index > self.view.applied, "entries apply once, in order");
        self.view.applied = index;
        self.view.now = self.view.now.max(now);
        self.view.space.pass(self.view.now);
    }

    /// Applies the command at `index`, stamped `now`. A function of the log only.
    pub fn apply(&mut self, index: LogIndex, now: ClusterTime, command: &Command) -> Applied {
        self.moved_to(index, now);
        let before = self.view.revision;
        let mut writer = Writer::new(&mut self.view);
        let result = run(&mut writer, &self.limits, command);
        let changes = writer.finish();
        assert!(result.is_ok() || changes.is_none(), "a refused command changes nothing");
        assert_eq!(self.view.revision, before + i64::from(changes.is_some()));
        self.view.sweep(Slice::BUSY);
        self.chain(command, &result);
        Applied { result, changes }
    }

    fn chain(&mut self, command: &Command, result: &Result<Response, Error>) {
        let mut bytes = Vec::new();
        command.encode(&mut bytes);
        match result {
            Ok(response) => response.encode(&mut bytes),
            Err(error) => error.encode(&mut bytes),
        }
        let mut hasher = Hasher::new(self.view.chain);
        hasher.word(self.view.applied.0);
        hasher.word(u64::from(result.is_ok()));
        hasher.bytes(&bytes);
        self.view.chain = hasher.finish();
    }
}

fn run(w: &mut Writer<'_>, limits: &Limits, command: &Command) -> Result<Response, Error> {
    check::command(command, limits.max_txn_ops)?;
    let is_corrupt = w.view.alarms.iter().any(|(_, kind)| *kind == AlarmKind::Corrupt);
    if is_corrupt && !matches!(command, Command::Alarm { .. } | Command::LeaseRenew { .. }) {
        return Err(Error::Corrupt);
    }
    if let Some(cost) = cost_of(command) {
        admit(w.view, limits, cost)?;
    }
    let result = match command {
        Command::Put(request) => w.put_alone(request).map(Response::Put),
        Command::Delete(request) => Ok(Response::Delete(w.delete(request))),
        Command::Txn(request) => w.txn(request).map(Response::Txn),
        Command::Compact { revision } => w.compact(*revision),
        Command::LeaseGrant { id, ttl } => grant(w.view, limits, *id, *ttl),
        Command::LeaseRevoke { id, renewal } => w.revoke(*id, *renewal),
        Command::LeaseRenew { ids } => Ok(renew(w.view, ids)),
        Command::Alarm { action, member, kind } => Ok(alarm(w.view, *action, *member, *kind)),
    };
    // Writes are taken again a sixteenth below the quota, so that it does not flap at the edge.
    let low = limits.quota_bytes - limits.quota_bytes / 16;
    if w.view.size_bytes <= low || limits.quota_bytes == 0 {
        w.view.space.freed(w.view.now);
    }
    result
}

/// Bytes the command may add; none when it may always run.
fn cost_of(command: &Command) -> Option<u64> {
    let put = |key: &[u8], value: &[u8]| version_bytes(key.len(), value.len());
    match command {
        Command::Put(request) => Some(put(&request.key, &request.value)),
        Command::Txn(request) => Some(txn_cost(request)).filter(|cost| *cost > 0),
        Command::LeaseGrant { .. } => Some(LEASE_OVERHEAD_BYTES),
        Command::Delete(_)
        | Command::Compact { .. }
        | Command::LeaseRevoke { .. }
        | Command::LeaseRenew { .. }
        | Command::Alarm { .. } => None,
    }
}

pub(crate) fn version_bytes(key: usize, value: usize) -> u64 {
    VERSION_OVERHEAD_BYTES + key as u64 + value as u64
}

/// The dearer branch counts, taken or not, as in etcd; nested puts count here too.
fn txn_cost(txn: &TxnRequest) -> u64 {
    let cost = |ops: &[RequestOp]| -> u64 {
        ops.iter()
            .map(|op| match op {
                RequestOp::Put(put) => version_bytes(put.key.len(), put.value.len()),
                RequestOp::Txn(nested) => txn_cost(nested),
                RequestOp::Range(_) | RequestOp::Delete(_) => 0,
            })
            .sum()
    };
    cost(&txn.success).max(cost(&txn.failure))
}

/// Refuses what does not fit, before anything is written, and raises the alarm.
fn admit(view: &mut View, limits: &Limits, cost: u64) -> Result<(), Error> {
    let raised = view.alarms.iter().any(|(_, kind)| *kind == AlarmKind::NoSpace);
    if raised || view.space == Space::Full {
        return Err(Error::NoSpace);
    }
    if limits.quota_bytes > 0 && view.size_bytes.saturating_add(cost) > limits.quota_bytes {
        view.space = Space::Full;
        return Err(Error::NoSpace);
    }
    Ok(())
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
    view.add_lease(lease);
    Ok(Response::LeaseGrant { id, ttl: lease.ttl, revision: view.revision })
}

/// A lease whose expiry has not been applied yet can still be renewed.
fn renew(view: &mut View, ids: &[i64]) -> Response {
    let mut ttls = Vec::with_capacity(ids.len());
    for &id in ids {
        let ttl = match view.remove_lease(id) {
            None => i64::from(planted!(RenewsTheDead)),
            Some(lease) => {
                view.add_lease(Lease::new(id, lease.ttl, view.now, view.applied.0));
                lease.ttl
            }
        };
        ttls.push((id, ttl));
    }
    Response::LeaseRenew { ttls }
}

fn alarm(view: &mut View, action: AlarmAction, member: u64, kind: AlarmKind) -> Response {
    let this = (member, kind);
    let alarms = match action {
        AlarmAction::Get => {
            let wanted = |x: &&(u64, AlarmKind)| kind == AlarmKind::None || x.1 == kind;
            view.alarms().iter().filter(wanted).copied().collect()
        }
        _ if kind == AlarmKind::None => Vec::new(),
        AlarmAction::Activate => {
            if !view.alarms.contains(&this) {
                view.alarms.push(this);
                view.alarms.sort_unstable();
            }
            Vec::from([this])
        }
        AlarmAction::Deactivate => {
            let on = view.alarms().contains(&this);
            view.alarms.retain(|alarm| *alarm != this);
            if this == ALARM_OWN {
                view.space = Space::Enough;
            }
            on.then_some(this).into_iter().collect()
        }
    };
    Response::Alarm { alarms }
}
