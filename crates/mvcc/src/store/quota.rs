//! What a command may add, and whether there is room for it.

use super::{LEASE_OVERHEAD_BYTES, Limits};
use crate::command::{Command, Error};
use crate::key_value::version_bytes;
use crate::space::Space;
use crate::types::{RequestOp, TxnRequest};
use crate::view::View;

impl Command {
    /// Whether it may add bytes, and so is refused where there is no room.
    pub fn grows(&self) -> bool {
        cost_of(self).is_some()
    }
}

/// Bytes the command may add; none when it may always run.
pub(super) fn cost_of(command: &Command) -> Option<u64> {
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
pub(super) fn admit(view: &mut View, limits: &Limits, cost: u64) -> Result<(), Error> {
    assert!(cost > 0, "what adds nothing is not asked about");
    let raised = view.alarms.iter().any(|(_, kind)| kind.is_full());
    if raised || view.space == Space::Full {
        return Err(Error::NoSpace);
    }
    if limits.quota_bytes > 0 && view.size_bytes.saturating_add(cost) > limits.quota_bytes {
        view.space = Space::Full;
        return Err(Error::NoSpace);
    }
    assert!(view.space != Space::Full, "what is admitted finds writes taken");
    Ok(())
}
