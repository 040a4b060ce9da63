//! Which alarms were raised at which place of the log, and what they forbid.

use base::LogIndex;
use mvcc::{AlarmAction, AlarmKind, Command, Error, RequestOp, Response, TxnRequest};
use std::collections::BTreeSet;

#[derive(Debug, Default)]
pub struct Alarms {
    /// After each change, in order.
    changes: Vec<(LogIndex, BTreeSet<u64>)>,
}

/// What a command adds is refused where there is no room. By other words than the product's.
fn grows(command: &Command) -> bool {
    fn puts(txn: &TxnRequest) -> bool {
        txn.success.iter().chain(&txn.failure).any(|op| match op {
            RequestOp::Put(_) => true,
            RequestOp::Txn(nested) => puts(nested),
            RequestOp::Range(_) | RequestOp::Delete(_) => false,
        })
    }
    match command {
        Command::Put(_) | Command::LeaseGrant { .. } => true,
        Command::Txn(txn) => puts(txn),
        _ => false,
    }
}

impl Alarms {
    pub fn command(&mut self, index: LogIndex, command: &Command) {
        let Command::Alarm { action, member, kind: AlarmKind::LowDisk } = command else { return };
        let mut now = self.changes.last().map(|(_, raised)| raised.clone()).unwrap_or_default();
        match action {
            AlarmAction::Activate => now.insert(*member),
            AlarmAction::Deactivate => now.remove(member),
            AlarmAction::Get => return,
        };
        self.changes.push((index, now));
    }

    /// Whether the entry at `index` finds an alarm raised.
    fn raised_before(&self, index: LogIndex) -> bool {
        let before = self.changes.partition_point(|(at, _)| *at < index);
        before.checked_sub(1).is_some_and(|at| !self.changes[at].1.is_empty())
    }

    /// Whether this entry is refused.
    pub fn forbid(&self, index: LogIndex, command: &Command) -> bool {
        grows(command) && self.raised_before(index)
    }

    /// What a client heard of a command is what the alarms allow.
    pub fn check(
        &self,
        index: LogIndex,
        command: &Command,
        result: &Result<Response, Error>,
    ) -> Result<(), String> {
        let refused = *result == Err(Error::NoSpace);
        if refused == self.forbid(index, command) {
            return Ok(());
        }
        Err(format!("{result:?} at {index} under the alarms {:?}", self.changes))
    }
}
