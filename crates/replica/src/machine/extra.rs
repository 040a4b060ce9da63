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

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Incarnation, NodeId, RequestId};

    fn extra() -> Extra {
        let mut dedupe = Dedupe::default();
        dedupe.insert(RequestId { origin: NodeId(2), incarnation: Incarnation(1), seq: 3 });
        Extra { stamp: ClusterTime(77), dedupe, settled: Ballot::new(4, 2) }
    }

    #[test]
    fn what_a_checkpoint_holds_besides_the_data_reads_back() {
        let bytes = extra().encode();
        let back = Extra::decode(&bytes).expect("own bytes");
        assert_eq!((back.stamp, back.settled), (ClusterTime(77), Ballot::new(4, 2)));
        assert_eq!(back.encode(), bytes);
        let empty = Extra::decode(&[]).expect("before the first entry");
        assert_eq!((empty.stamp, empty.settled), (ClusterTime::ZERO, Ballot::ZERO));
    }

    #[test]
    fn another_version_an_impossible_ballot_and_what_is_short_or_long_are_refused() {
        let refused = |bytes: &[u8]| Extra::decode(bytes).err().expect("refused");
        let bytes = extra().encode();
        let mut other = bytes.clone();
        other[0] = VERSION + 1;
        let value = u64::from(VERSION) + 1;
        assert_eq!(refused(&other), DecodeError::Unknown { what: "replica state", value });
        let settled = Ballot::new(0, 2);
        let never = Extra { settled, ..extra() }.encode();
        assert_eq!(refused(&never), DecodeError::Invalid { what: "settled ballot" });
        assert_eq!(refused(&bytes[..bytes.len() - 1]), DecodeError::Truncated);
        assert_eq!(refused(&[&bytes[..], b"x"].concat()), DecodeError::Trailing);
    }
}
