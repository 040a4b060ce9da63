//! The machine's own part of a checkpoint.

use crate::dedupe::Dedupe;
use alloc::vec::Vec;
use base::codec::{DecodeError, Get, Put};
use base::{Ballot, ClusterTime};
use consensus::raft::is_possible;

const VERSION: u8 = 2;

/// What a checkpoint holds besides data and configuration.
#[derive(Default)]
pub(super) struct Extra {
    pub stamp: ClusterTime,
    pub dedupe: Dedupe,
    /// [`consensus::raft::Raft::settled`] of whoever wrote it.
    pub settled: Ballot,
}

impl Extra {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u8(VERSION);
        out.put_u64(self.stamp.0);
        out.put_ballot(self.settled);
        self.dedupe.encode(&mut out);
        out
    }

    /// Nothing at all is the state before the first entry.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let mut get = Get::new(bytes);
        let version = get.u8()?;
        if version != VERSION {
            let value = u64::from(version);
            return Err(DecodeError::Unknown { what: "replica state", value });
        }
        let stamp = ClusterTime(get.u64()?);
        let settled = get.ballot()?;
        if !is_possible(settled) {
            return Err(DecodeError::Invalid { what: "settled ballot" });
        }
        let dedupe = Dedupe::decode(&mut get)?;
        get.finish()?;
        Ok(Self { stamp, dedupe, settled })
    }
}
