//! What members say to each other: consensus messages, forwarded writes and state hashes.

use alloc::vec::Vec;
use base::codec::{DecodeError, Get, Put};
use base::{Ballot, Blob, LogIndex, NodeId, RequestId};
use cluster::{Change, ChangeError};
use consensus::raft::Message;
use mvcc::Caller;

/// Since 2 a forwarded write names its caller.
const VERSION: u8 = 3;

/// One frame between two members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerMessage {
    /// Who sent it, as its link found out in the handshake.
    pub from: NodeId,
    /// For whom; a frame for anybody else is dropped.
    pub to: NodeId,
    /// What it says.
    pub body: PeerBody,
}

/// One write on its way into the leader's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// Given by its origin; sequences from 1 on.
    pub id: RequestId,
    /// On whose behalf, as the origin's door let them in.
    pub caller: Caller,
    /// An encoded `mvcc::Command`.
    pub command: Blob,
}

/// What a frame says; `docs/design/peer-frames.md` has the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerBody {
    /// Of consensus.
    Raft(Message),
    /// Writes that reached a follower.
    Forward(Vec<Forwarded>),
    /// The sender's chain hash after applying `index`.
    StateHash {
        /// A multiple of 256 (`HASH_EVERY`); any other is compared with nothing.
        index: LogIndex,
        /// [`mvcc::View::chain_hash`].
        chain: u64,
    },
    /// A change of members or quorum that reached a follower, for the leader of `ballot` alone:
    /// who leads later, the same member too, is offered it again.
    Change {
        /// Of the change, given by its origin.
        id: RequestId,
        /// Of the leader it was offered to.
        ballot: Ballot,
        /// Who asked for it.
        caller: Caller,
        /// What is asked for.
        change: Change,
    },
    /// The leader of `ballot` refused it: nothing of it was done, or will be, by it or by any
    /// leader before it.
    ChangeRefused {
        /// Of the change.
        id: RequestId,
        /// In whose reign it was refused.
        ballot: Ballot,
        /// Why.
        error: ChangeError,
    },
    /// The receiver has left the cluster: that is committed.
    Removed,
}

impl PeerMessage {
    /// A version, both ids, a kind, then fixed fields.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(VERSION);
        out.put_u64(self.from.0);
        out.put_u64(self.to.0);
        match &self.body {
            PeerBody::Raft(message) => {
                out.put_u8(1);
                message.encode(out);
            }
            PeerBody::Forward(items) => {
                out.put_u8(2);
                out.put_u32(u32::try_from(items.len()).expect("pending requests are bounded"));
                for Forwarded { id, caller, command } in items {
                    out.put_request_id(*id);
                    caller.encode(out);
                    out.put_bytes(command);
                }
            }
            PeerBody::StateHash { index, chain } => {
                out.put_u8(4);
                out.put_u64(index.0);
                out.put_u64(*chain);
            }
            PeerBody::Change { id, ballot, caller, change } => {
                out.put_u8(8);
                out.put_request_id(*id);
                out.put_ballot(*ballot);
                caller.encode(out);
                change.encode(out);
            }
            PeerBody::ChangeRefused { id, ballot, error } => {
                out.put_u8(9);
                out.put_request_id(*id);
                out.put_ballot(*ballot);
                error.encode(out);
            }
            PeerBody::Removed => out.put_u8(7),
        }
    }

    /// Reads one message that fills `bytes`. Never panics, whatever the bytes are.
    ///
    /// # Errors
    /// Short, unknown or trailing bytes, or values outside their bounds.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut get = Get::new(bytes);
        let version = get.u8()?;
        if version != VERSION {
            let value = u64::from(version);
            return Err(DecodeError::Unknown { what: "peer message version", value });
        }
        let from = NodeId(get.u64()?);
        let to = NodeId(get.u64()?);
        let body = match get.u8()? {
            1 => PeerBody::Raft(Message::decode(&mut get)?),
            2 => {
                let count = get.u32()?;
                let mut items = Vec::new();
                for _ in 0..count {
                    let (id, caller) = (get.request_id()?, Caller::decode(&mut get)?);
                    items.push(Forwarded { id, caller, command: get.blob()? });
                }
                PeerBody::Forward(items)
            }
            4 => PeerBody::StateHash { index: get.index()?, chain: get.u64()? },
            7 => PeerBody::Removed,
            // 3 was the refusal of a forward; 5 and 6 were changes that named no ballot.
            8 => {
                let (id, ballot) = (get.request_id()?, get.ballot()?);
                let caller = Caller::decode(&mut get)?;
                PeerBody::Change { id, ballot, caller, change: Change::decode(&mut get)? }
            }
            9 => {
                let (id, ballot) = (get.request_id()?, get.ballot()?);
                PeerBody::ChangeRefused { id, ballot, error: ChangeError::decode(&mut get)? }
            }
            kind => {
                let value = u64::from(kind);
                return Err(DecodeError::Unknown { what: "peer message kind", value });
            }
        };
        get.finish()?;
        Ok(Self { from, to, body })
    }
}
