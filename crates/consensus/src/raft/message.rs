//! Entries and messages, and their bytes. A decoder here reads hostile input: it is bounded and
//! never panics.

use alloc::vec::Vec;
use base::codec::{DecodeError, Get, Put};
use base::{Ballot, Birth, Blob, Incarnation, Life, LogIndex, NodeId};

/// First byte of every encoded message.
const VERSION: u8 = 2;
/// Bytes of an entry besides its payload: index, ballot, kind, payload length.
pub(crate) const ENTRY_OVERHEAD: usize = 8 + 16 + 1 + 4;

/// What an entry carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// The replica's own bytes.
    Data,
    /// Appended by a new leader so that it has an own-ballot entry to commit.
    Empty,
    /// An encoded `Configuration`; takes effect when appended.
    Config,
    /// A data entry as a witness keeps it: its place in the log, without the payload.
    Stripped,
}

impl EntryKind {
    /// Its byte on the wire and in the journal.
    pub fn code(self) -> u8 {
        match self {
            Self::Data => 1,
            Self::Empty => 2,
            Self::Config => 3,
            Self::Stripped => 4,
        }
    }

    /// # Errors
    /// A byte that no build so far has written.
    pub fn from_code(code: u8) -> Result<Self, DecodeError> {
        match code {
            1 => Ok(Self::Data),
            2 => Ok(Self::Empty),
            3 => Ok(Self::Config),
            4 => Ok(Self::Stripped),
            _ => Err(DecodeError::Unknown { what: "entry kind", value: u64::from(code) }),
        }
    }
}

/// One slot of the replicated log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// One more than the entry before it.
    pub index: LogIndex,
    /// Of the leader that appended it; never falls along the log.
    pub ballot: Ballot,
    /// Says how `payload` reads.
    pub kind: EntryKind,
    /// Opaque here, but for a configuration; empty unless `kind` has one.
    pub payload: Blob,
}

impl Entry {
    /// Bytes this entry takes on the wire.
    pub fn size(&self) -> usize {
        ENTRY_OVERHEAD + self.payload.len()
    }

    /// The entry as a witness keeps it.
    pub fn stripped(&self) -> Entry {
        match self.kind {
            EntryKind::Data => {
                let (index, ballot) = (self.index, self.ballot);
                Self { index, ballot, kind: EntryKind::Stripped, payload: Blob::from(&[][..]) }
            }
            _ => self.clone(),
        }
    }

    /// Appends index, ballot, kind and payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.index.0);
        out.put_ballot(self.ballot);
        out.put_u8(self.kind.code());
        out.put_bytes(&self.payload);
    }

    /// # Errors
    /// Bytes that end too early, or an unknown kind.
    pub fn decode(get: &mut Get<'_>) -> Result<Self, DecodeError> {
        let index = get.index()?;
        let ballot = get.ballot()?;
        let kind = EntryKind::from_code(get.u8()?)?;
        let payload = get.blob()?;
        Ok(Self { index, ballot, kind, payload })
    }
}

/// How an append ended at the follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendOutcome {
    /// The log equals the leader's up to here, durably.
    Matched(LogIndex),
    /// `prev` did not match; the logs may meet at or below `hint`, where the ballot is
    /// `hint_ballot`.
    Rejected {
        /// What the append asked for, so that a late answer is known as such.
        prev: LogIndex,
        /// At most `prev`.
        hint: LogIndex,
        /// Of the follower's entry at `hint`.
        hint_ballot: Ballot,
    },
    /// The sender's ballot is too low; the message's ballot is the one promised.
    Stale,
    /// As `Matched`, of a member whose disk was damaged, or that has no seat yet: progress, and no
    /// acknowledgement.
    Held(LogIndex),
    /// As `Rejected`, of such a member. What it acknowledged before may be missing too.
    Lacking {
        /// As there.
        prev: LogIndex,
        /// As there; it may be below what was once acknowledged.
        hint: LogIndex,
        /// As there.
        hint_ballot: Ballot,
    },
}

impl AppendOutcome {
    /// The same as a member says it whom nobody may count: progress, and no acknowledgement.
    pub(crate) fn without_seat(self) -> Self {
        match self {
            Self::Matched(index) => Self::Held(index),
            Self::Rejected { prev, hint, hint_ballot } => Self::Lacking { prev, hint, hint_ballot },
            other => other,
        }
    }
}

/// What a candidate knows of the one it asks, which may have no seat as far as that one knows
/// (`docs/design/births.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invite {
    /// Nothing: only one that has its seat answers.
    Unknown,
    /// The candidate's log names nobody.
    Founding,
    /// This birth stands in a configuration that is committed, or that founds the cluster.
    Named(Birth),
}

impl Invite {
    fn encode(self, out: &mut Vec<u8>) {
        let (kind, birth) = match self {
            Self::Unknown => (0, Birth::ZERO),
            Self::Founding => (1, Birth::ZERO),
            Self::Named(birth) => (2, birth),
        };
        out.put_u8(kind);
        out.put_u64(birth.0);
    }

    fn decode(get: &mut Get<'_>) -> Result<Self, DecodeError> {
        match (get.u8()?, Birth(get.u64()?)) {
            (0, Birth::ZERO) => Ok(Self::Unknown),
            (1, Birth::ZERO) => Ok(Self::Founding),
            (2, birth) => Ok(Self::Named(birth)),
            _ => Err(DecodeError::Invalid { what: "invitation" }),
        }
    }
}

/// What a message says. `of` in an answer is the ballot of the request it answers, so an answer
/// of another attempt can never be counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Would you vote for the message's ballot? Changes nothing at either side.
    PreVote {
        /// Where the candidate's log ends (Raft section 5.4.1).
        last: LogIndex,
        /// Of that entry.
        last_ballot: Ballot,
        /// What it knows of the seat of the one it asks.
        invite: Invite,
    },
    /// Whether a vote would be given; it binds nobody.
    PreVoteReply {
        /// The ballot that was asked about.
        of: Ballot,
        /// In a refusal the ballot of the message may be above `of`: somebody is ahead.
        granted: bool,
    },
    /// Asks for the promise of the message's ballot.
    Vote {
        /// Where the candidate's log ends (Raft section 5.4.1).
        last: LogIndex,
        /// Of that entry.
        last_ballot: Ballot,
        /// What it knows of the seat of the one it asks.
        invite: Invite,
    },
    /// Durable before it leaves, when granted.
    VoteReply {
        /// The ballot that was asked for.
        of: Ballot,
        /// For good, in this term.
        granted: bool,
    },
    /// Heartbeat, commit index and entries in one; `round` numbers read confirmations.
    Append {
        /// The entry before `entries`, where the logs must agree.
        prev: LogIndex,
        /// Of that entry.
        prev_ballot: Ballot,
        /// The leader's; it may be above what the follower holds.
        commit: LogIndex,
        /// The newest read round, echoed in the answer.
        round: u64,
        /// Consecutive from `prev`; none in a heartbeat.
        entries: Vec<Entry>,
    },
    /// How far the follower is.
    AppendReply {
        /// The leader's, of the append that is answered.
        of: Ballot,
        /// The round of that append; 0 from one that confirms nothing.
        round: u64,
        /// What became of the entries.
        outcome: AppendOutcome,
    },
    /// Confirms leadership for a read round ahead of the disk.
    RoundAck {
        /// The leader's.
        of: Ballot,
        /// The round that is confirmed.
        round: u64,
    },
    /// Asks the leader of the message's ballot where a read may be served.
    ReadIndex {
        /// The asker's, whose numbers begin anew with it.
        incarnation: Incarnation,
        /// The asker's number of the read.
        seq: u64,
        /// It obeyed that leader when it asked, so that it confirms its own question; not of one
        /// that repairs or has no seat.
        vouches: bool,
    },
    /// A commit set confirmed the leader after the question came.
    ReadIndexReply {
        /// The leader's.
        of: Ballot,
        /// As asked.
        incarnation: Incarnation,
        /// As asked.
        seq: u64,
        /// Its commit index of that moment: serve once this is applied.
        index: LogIndex,
    },
    /// Campaign at once: the leader hands over.
    TimeoutNow,
}

/// A message between members. `ballot` is the leader's or candidate's own in a request, and
/// what the sender has promised in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Never the receiver.
    pub from: NodeId,
    /// Any other receiver drops it.
    pub to: NodeId,
    /// The sender's directory and start: what another directory said is never taken for its word.
    pub life: Life,
    /// See above.
    pub ballot: Ballot,
    /// What is said.
    pub body: Body,
}

impl Message {
    /// Appends version, kind, addresses, ballot and body to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(VERSION);
        out.put_u8(self.body.code());
        out.put_u64(self.from.0);
        out.put_u64(self.to.0);
        out.put_life(self.life);
        out.put_ballot(self.ballot);
        self.body.encode(out);
    }

    /// Reads one message from the front of `get`.
    ///
    /// # Errors
    /// Another version, an unknown kind, or bytes that end too early.
    pub fn decode(get: &mut Get<'_>) -> Result<Self, DecodeError> {
        let version = get.u8()?;
        if version != VERSION {
            let value = u64::from(version);
            return Err(DecodeError::Unknown { what: "message version", value });
        }
        let code = get.u8()?;
        let from = NodeId(get.u64()?);
        let to = NodeId(get.u64()?);
        let life = get.life()?;
        let ballot = get.ballot()?;
        let body = Body::decode(code, get)?;
        Ok(Self { from, to, life, ballot, body })
    }
}

impl Body {
    fn code(&self) -> u8 {
        match self {
            Self::PreVote { .. } => 1,
            Self::PreVoteReply { .. } => 2,
            Self::Vote { .. } => 3,
            Self::VoteReply { .. } => 4,
            Self::Append { .. } => 5,
            Self::AppendReply { .. } => 6,
            Self::RoundAck { .. } => 7,
            Self::ReadIndex { .. } => 8,
            Self::ReadIndexReply { .. } => 9,
            Self::TimeoutNow => 10,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::PreVote { last, last_ballot, invite }
            | Self::Vote { last, last_ballot, invite } => {
                out.put_u64(last.0);
                out.put_ballot(*last_ballot);
                invite.encode(out);
            }
            Self::PreVoteReply { of, granted } | Self::VoteReply { of, granted } => {
                out.put_ballot(*of);
                out.put_u8(u8::from(*granted));
            }
            Self::Append { prev, prev_ballot, commit, round, entries } => {
                out.put_u64(prev.0);
                out.put_ballot(*prev_ballot);
                out.put_u64(commit.0);
                out.put_u64(*round);
                let count = u32::try_from(entries.len()).expect("an append is bounded in bytes");
                out.put_u32(count);
                entries.iter().for_each(|entry| entry.encode(out));
            }
            Self::AppendReply { of, round, outcome } => {
                out.put_ballot(*of);
                out.put_u64(*round);
                outcome.encode(out);
            }
            Self::RoundAck { of, round } => {
                out.put_ballot(*of);
                out.put_u64(*round);
            }
            Self::ReadIndex { incarnation, seq, vouches } => {
                out.put_u64(incarnation.0);
                out.put_u64(*seq);
                out.put_u8(u8::from(*vouches));
            }
            Self::ReadIndexReply { of, incarnation, seq, index } => {
                out.put_ballot(*of);
                out.put_u64(incarnation.0);
                out.put_u64(*seq);
                out.put_u64(index.0);
            }
            Self::TimeoutNow => {}
        }
    }

    fn decode(code: u8, get: &mut Get<'_>) -> Result<Self, DecodeError> {
        Ok(match code {
            1 => Self::PreVote {
                last: get.index()?,
                last_ballot: get.ballot()?,
                invite: Invite::decode(get)?,
            },
            2 => Self::PreVoteReply { of: get.ballot()?, granted: get.bool()? },
            3 => Self::Vote {
                last: get.index()?,
                last_ballot: get.ballot()?,
                invite: Invite::decode(get)?,
            },
            4 => Self::VoteReply { of: get.ballot()?, granted: get.bool()? },
            5 => Self::decode_append(get)?,
            6 => Self::AppendReply {
                of: get.ballot()?,
                round: get.u64()?,
                outcome: AppendOutcome::decode(get)?,
            },
            7 => Self::RoundAck { of: get.ballot()?, round: get.u64()? },
            8 => Self::ReadIndex {
                incarnation: Incarnation(get.u64()?),
                seq: get.u64()?,
                vouches: get.bool()?,
            },
            9 => Self::ReadIndexReply {
                of: get.ballot()?,
                incarnation: Incarnation(get.u64()?),
                seq: get.u64()?,
                index: get.index()?,
            },
            10 => Self::TimeoutNow,
            _ => {
                let value = u64::from(code);
                return Err(DecodeError::Unknown { what: "message kind", value });
            }
        })
    }

    fn decode_append(get: &mut Get<'_>) -> Result<Self, DecodeError> {
        let prev = get.index()?;
        let prev_ballot = get.ballot()?;
        let commit = get.index()?;
        let round = get.u64()?;
        let count = get.u32()? as usize;
        // A count that the rest cannot hold is refused before anything is reserved for it.
        if count > get.remaining() / ENTRY_OVERHEAD {
            return Err(DecodeError::Truncated);
        }
        let mut entries = Vec::with_capacity(count);
        let mut index = prev;
        let mut ballot = prev_ballot;
        for _ in 0..count {
            let entry = Entry::decode(get)?;
            if index.0.checked_add(1) != Some(entry.index.0) {
                return Err(DecodeError::Invalid { what: "entry index" });
            }
            if entry.ballot < ballot {
                return Err(DecodeError::Invalid { what: "entry ballot" });
            }
            index = entry.index;
            ballot = entry.ballot;
            entries.push(entry);
        }
        Ok(Self::Append { prev, prev_ballot, commit, round, entries })
    }
}

impl AppendOutcome {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Matched(index) => {
                out.put_u8(1);
                out.put_u64(index.0);
            }
            Self::Rejected { prev, hint, hint_ballot } => {
                out.put_u8(2);
                out.put_u64(prev.0);
                out.put_u64(hint.0);
                out.put_ballot(*hint_ballot);
            }
            Self::Stale => out.put_u8(3),
            Self::Held(index) => {
                out.put_u8(4);
                out.put_u64(index.0);
            }
            Self::Lacking { prev, hint, hint_ballot } => {
                out.put_u8(5);
                out.put_u64(prev.0);
                out.put_u64(hint.0);
                out.put_ballot(*hint_ballot);
            }
        }
    }

    fn decode(get: &mut Get<'_>) -> Result<Self, DecodeError> {
        Ok(match get.u8()? {
            1 => Self::Matched(get.index()?),
            2 => Self::Rejected {
                prev: get.index()?,
                hint: get.index()?,
                hint_ballot: get.ballot()?,
            },
            3 => Self::Stale,
            4 => Self::Held(get.index()?),
            5 => {
                Self::Lacking { prev: get.index()?, hint: get.index()?, hint_ballot: get.ballot()? }
            }
            v => {
                let value = u64::from(v);
                return Err(DecodeError::Unknown { what: "append outcome", value });
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn an_entry_takes_as_many_bytes_as_it_says_and_a_count_that_the_rest_cannot_hold_is_refused() {
        let entry = |index: u64, len: usize| Entry {
            index: LogIndex(index),
            ballot: Ballot::new(3, 1),
            kind: EntryKind::Data,
            payload: vec![7; len].into(),
        };
        for len in [0, 1, 1000] {
            let mut bytes = vec![];
            entry(1, len).encode(&mut bytes);
            assert_eq!(bytes.len(), entry(1, len).size());
            assert_eq!(Entry::decode(&mut Get::new(&bytes)), Ok(entry(1, len)));
        }
        // As many empty ones as their bytes hold, and a forged count of one more.
        let mut bytes = vec![];
        bytes.put_u64(4);
        bytes.put_ballot(Ballot::new(3, 1));
        bytes.put_u64(4);
        bytes.put_u64(9);
        let at = bytes.len();
        bytes.put_u32(2);
        (5..7).for_each(|index| entry(index, 0).encode(&mut bytes));
        let read = |bytes: &[u8]| match Body::decode_append(&mut Get::new(bytes)) {
            Ok(Body::Append { entries, round: 9, .. }) => Ok(entries),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error),
        };
        assert_eq!(read(&bytes), Ok(vec![entry(5, 0), entry(6, 0)]));
        bytes[at] = 3;
        assert_eq!(read(&bytes), Err(DecodeError::Truncated));
    }
}
