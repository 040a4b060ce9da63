//! What clients ask for. Every value says which operation wrote it.

use base::{Blob, LogIndex, Nanos, Prng};
use check::models::{KvInput, KvOutput};
use cluster::Change;
use door::{Found, Freshness, Query, Refusal};
use mvcc::{
    Command, Compare, CompareOp, CompareTarget, DeleteRequest, PutRequest, RangeRequest, RequestOp,
    SortOrder, SortTarget, TxnRequest,
};
use replica::Reply;

/// The kinds of operation a client chooses from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    Put,
    Get,
    Range,
    Serializable,
    Past,
    Delete,
    DeleteRange,
    Cas,
    MultiTxn,
    NestedTxn,
    ReadTxn,
    Compact,
    Grant,
    PutLeased,
    KeepAlive,
    Revoke,
}

pub const CHOICES: usize = 16;

const ALL: [Choice; CHOICES] = [
    Choice::Put,
    Choice::Get,
    Choice::Range,
    Choice::Serializable,
    Choice::Past,
    Choice::Delete,
    Choice::DeleteRange,
    Choice::Cas,
    Choice::MultiTxn,
    Choice::NestedTxn,
    Choice::ReadTxn,
    Choice::Compact,
    Choice::Grant,
    Choice::PutLeased,
    Choice::KeepAlive,
    Choice::Revoke,
];

pub const WEIGHTS: [u64; CHOICES] = [24, 18, 8, 6, 4, 6, 2, 10, 4, 2, 3, 1, 3, 4, 4, 1];

/// What is asked of a member.
#[derive(Clone, Debug)]
pub enum Ask {
    Write(Command),
    Range(RangeRequest),
    ReadTxn(TxnRequest),
    /// Whether a quorum confirms a leader, as a probe of the member's health asks.
    Confirm,
    /// Of members or quorum, by an operator.
    Change(Change),
}

impl Ask {
    /// What is to be read for it, and how fresh.
    pub fn query(&self) -> Option<(Query, Freshness)> {
        let fresh = |local| if local { Freshness::Local } else { Freshness::Linearizable };
        match self {
            Self::Range(range) => Some((Query::Range(range.clone()), fresh(range.serializable))),
            Self::ReadTxn(txn) => Some((Query::Txn(txn.clone()), fresh(false))),
            Self::Write(_) | Self::Confirm | Self::Change(_) => None,
        }
    }

    /// Not to be answered leaves everything as it was.
    pub fn changes_nothing(&self) -> bool {
        matches!(self, Self::Range(_) | Self::ReadTxn(_) | Self::Confirm)
    }
}

/// What a client is told.
#[derive(Clone, Debug)]
pub enum Answer {
    /// By the replica.
    Reply(Reply),
    /// What was found in its data, or why nothing was looked for.
    Found(Result<Found, Refusal>),
}

/// How an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Waiting,
    Done,
    /// Definitely not applied.
    Refused,
    /// May have been applied, or may be later.
    Unknown,
}

impl Outcome {
    /// As the trace has it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

/// One operation of one client.
#[derive(Clone, Debug)]
pub struct Op {
    pub client: u16,
    pub ask: Ask,
    pub invoked: Nanos,
    pub node: u8,
    pub attempt: u8,
    pub outcome: Outcome,
    /// The highest revision, index and compaction any client knew of when this was invoked.
    pub floor: Floor,
    /// The revision that holds its effect, once one does.
    pub effect: Option<i64>,
    /// When its client had an answer, and what a read of one key found.
    pub returned: Nanos,
    pub found: Option<Blob>,
}

/// Reads, puts and deletes of single keys as a history for the search of `check`, which knows
/// nothing of revisions. Complete only where clients do nothing else.
pub fn registers(ops: &[Op]) -> Vec<check::Operation<KvInput, KvOutput>> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let single = |op: &Op| match &op.ask {
        Ask::Write(Command::Put(put)) => {
            Some((KvInput::Put { key: text(&put.key), value: text(&put.value) }, KvOutput::Done))
        }
        Ask::Write(Command::Delete(delete)) if delete.range_end.is_empty() => {
            let key = text(&delete.key);
            Some((KvInput::Put { key, value: String::new() }, KvOutput::Done))
        }
        Ask::Range(range) if range.range_end.is_empty() && !range.serializable => {
            let found = op.found.as_ref().map(|value| text(value)).unwrap_or_default();
            Some((KvInput::Get { key: text(&range.key) }, KvOutput::Value(found)))
        }
        _ => None,
    };
    let known = ops.iter().filter(|op| op.outcome != Outcome::Refused);
    let history = known.filter_map(|op| {
        let (input, output) = single(op)?;
        let done = op.outcome == Outcome::Done;
        Some(check::Operation {
            process: u32::from(op.client),
            input,
            output: done.then_some(output),
            invoked: op.invoked.0,
            returned: done.then_some(op.returned.0),
        })
    });
    history.collect()
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floor {
    pub revision: i64,
    pub index: LogIndex,
    pub compacted: i64,
}

/// What a client remembers between operations.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Leases it was granted.
    pub leases: Vec<i64>,
    pub revision: i64,
    /// The last revision it compacted: reads at it are the edge.
    pub compacted: i64,
    /// (key, mod revision) it read last.
    pub seen: Option<(Blob, i64)>,
}

impl Memory {
    /// Others speak of what they know: some of it gets about.
    pub fn hears_of(&mut self, revision: i64) {
        self.revision = self.revision.max(revision.min(self.revision + 50));
    }
}

pub fn key(n: u64) -> Blob {
    Blob::from(format!("k{n:02}").as_bytes())
}

/// Whom an operation names as its caller: no two the same.
pub fn caller(op: u32) -> mvcc::Caller {
    mvcc::Caller::new(Blob::from(&b"client"[..]), op.into()).expect("the name is short")
}

/// The operation that wrote a value.
pub fn writer_of(value: &[u8]) -> Option<u32> {
    let hex = std::str::from_utf8(value.get(..8)?).ok()?;
    u32::from_str_radix(hex, 16).ok()
}

/// Draws operations.
pub struct Asker<'a> {
    pub random: &'a mut Prng,
    pub weights: &'a [u64; CHOICES],
    pub keys: u64,
    pub value_bytes_max: u64,
}

impl Asker<'_> {
    /// The operation numbered `op`.
    pub fn ask(&mut self, op: u32, memory: &Memory) -> Ask {
        let total: u64 = self.weights.iter().sum();
        let mut mark = self.random.below(total);
        let chosen = ALL.iter().zip(self.weights).find(|(_, weight)| {
            let here = mark < **weight;
            mark = mark.wrapping_sub(**weight);
            here
        });
        let choice = *chosen.expect("the mark is below the total").0;
        match choice {
            Choice::Put => Ask::Write(Command::Put(self.put(op, 0, 0))),
            Choice::Get => Ask::Range(RangeRequest { key: self.key(), ..RangeRequest::default() }),
            Choice::Range => Ask::Range(self.range(false)),
            Choice::Serializable => Ask::Range(self.range(true)),
            Choice::Past => {
                let back = self.random.below(30) as i64;
                let edge = memory.compacted > 0 && back < 12;
                let revision = if edge { memory.compacted } else { memory.revision - back };
                let revision = revision.max(1);
                Ask::Range(RangeRequest { revision, ..self.range(false) })
            }
            Choice::Delete => Ask::Write(Command::Delete(self.delete(false))),
            Choice::DeleteRange => Ask::Write(Command::Delete(self.delete(true))),
            Choice::Cas => Ask::Write(Command::Txn(self.cas(op, memory))),
            Choice::MultiTxn => Ask::Write(Command::Txn(self.multi(op, memory))),
            Choice::NestedTxn => Ask::Write(Command::Txn(self.nested(op, memory))),
            Choice::ReadTxn => {
                let first = RequestOp::Range(self.range(false));
                let second = RequestOp::Range(self.range(false));
                let compare = vec![self.compare(memory)];
                Ask::ReadTxn(TxnRequest { compare, success: vec![first, second], failure: vec![] })
            }
            Choice::Compact => {
                let revision = (memory.revision - self.random.below(20) as i64).max(1);
                Ask::Write(Command::Compact { revision })
            }
            Choice::Grant => {
                let ttl = 2 + self.random.below(6) as i64;
                Ask::Write(Command::LeaseGrant { id: i64::from(op) + 1, ttl })
            }
            _ => self.ask_with_lease(choice, op, memory),
        }
    }

    fn ask_with_lease(&mut self, choice: Choice, op: u32, memory: &Memory) -> Ask {
        let Some(last) = memory.leases.len().checked_sub(1) else {
            let ttl = 2 + self.random.below(6) as i64;
            return Ask::Write(Command::LeaseGrant { id: i64::from(op) + 1, ttl });
        };
        let id = memory.leases[last - self.random.below(3).min(last as u64) as usize];
        Ask::Write(match choice {
            Choice::PutLeased => Command::Put(self.put(op, 0, id)),
            Choice::KeepAlive => Command::LeaseRenew { ids: vec![id] },
            _ => Command::LeaseRevoke { id, renewal: None },
        })
    }

    fn key(&mut self) -> Blob {
        key(self.random.below(self.keys))
    }

    fn value(&mut self, op: u32, part: u32) -> Blob {
        let mut value = format!("{op:08x}-{part}").into_bytes();
        let extra = self.random.below(self.value_bytes_max) as usize;
        value.resize(value.len() + extra, b'.');
        Blob::from(value)
    }

    fn put(&mut self, op: u32, part: u32, lease: i64) -> PutRequest {
        PutRequest {
            key: self.key(),
            value: self.value(op, part),
            lease,
            prev_kv: self.random.below(2) == 0,
            ignore_value: false,
            ignore_lease: false,
        }
    }

    fn span(&mut self) -> (Blob, Blob) {
        let low = self.random.below(self.keys);
        match self.random.below(4) {
            0 => (key(low), Blob::from(&b"\0"[..])),
            1 => (Blob::from(&b"k"[..]), Blob::from(&b"l"[..])),
            _ => (key(low), key(low + 1 + self.random.below(self.keys))),
        }
    }

    fn range(&mut self, serializable: bool) -> RangeRequest {
        let (key, range_end) = self.span();
        let r = &mut *self.random;
        let some = |r: &mut Prng, n: u64| r.below(n) == 0;
        let order = if some(r, 3) { r.below(3) } else { 0 };
        // etcd limits before a sort whose order is none: no order means no target here.
        let target = if order == 0 { 0 } else { r.below(5) };
        RangeRequest {
            key,
            range_end,
            limit: if some(r, 3) { 1 + r.below(6) as i64 } else { 0 },
            sort_order: SortOrder::from_number(order as i32).expect("three orders"),
            sort_target: SortTarget::from_number(target as i32).expect("five targets"),
            keys_only: some(r, 6),
            count_only: some(r, 8),
            serializable,
            ..self.filters()
        }
    }

    /// Ranges with a lower, an upper bound of revisions, or both, of either kind.
    fn filters(&mut self) -> RangeRequest {
        let mut range = RangeRequest::default();
        let r = &mut *self.random;
        let low = if r.below(8) == 0 { r.below(200) as i64 } else { 0 };
        let high = if r.below(8) == 0 { 2 + r.below(400) as i64 } else { 0 };
        // Which of the two it bounds is in its last bit, so that it costs no further draw.
        match low % 2 {
            0 => range.min_mod_revision = low,
            _ => range.min_create_revision = low,
        }
        match high % 2 {
            0 => range.max_create_revision = high,
            _ => range.max_mod_revision = high,
        }
        range
    }

    fn delete(&mut self, many: bool) -> DeleteRequest {
        let (key, range_end) = if many { self.span() } else { (self.key(), Blob::default()) };
        DeleteRequest { key, range_end, prev_kv: self.random.below(2) == 0 }
    }

    fn compare(&mut self, memory: &Memory) -> Compare {
        let r = &mut *self.random;
        let op = [CompareOp::Equal, CompareOp::Greater, CompareOp::Less, CompareOp::NotEqual];
        let op = op[r.below(4) as usize];
        let target = match r.below(5) {
            0 => CompareTarget::Version(r.below(3) as i64),
            1 => CompareTarget::Create(r.below(memory.revision.max(1) as u64 + 1) as i64),
            2 => CompareTarget::Value(Blob::from(&b"00000010-0"[..])),
            3 => CompareTarget::Lease(0),
            _ => CompareTarget::Mod(r.below(memory.revision.max(1) as u64 + 1) as i64),
        };
        let range_end = if r.below(5) == 0 { Blob::from(&b"\0"[..]) } else { Blob::default() };
        Compare { key: self.key(), range_end, op, target }
    }

    /// Put if the key is what the client read last.
    fn cas(&mut self, op: u32, memory: &Memory) -> TxnRequest {
        let (key, revision) = match &memory.seen {
            Some((key, revision)) if self.random.below(4) > 0 => (key.clone(), *revision),
            _ => (self.key(), 0),
        };
        let put = PutRequest { key: key.clone(), ..self.put(op, 0, 0) };
        let get = RangeRequest { key: key.clone(), ..RangeRequest::default() };
        let target = CompareTarget::Mod(revision);
        let compare =
            vec![Compare { key, range_end: Blob::default(), op: CompareOp::Equal, target }];
        let (success, failure) = (vec![RequestOp::Put(put)], vec![RequestOp::Range(get)]);
        TxnRequest { compare, success, failure }
    }

    fn multi(&mut self, op: u32, memory: &Memory) -> TxnRequest {
        let compare = vec![self.compare(memory)];
        let mut success = vec![RequestOp::Range(self.range(false))];
        let first = self.random.below(self.keys);
        for part in 0..1 + self.random.below(3) {
            let at = (first + part) % self.keys;
            if part > 0 && at == first {
                break;
            }
            let put = PutRequest { key: key(at), ..self.put(op, part as u32, 0) };
            success.push(RequestOp::Put(put));
        }
        let failure = vec![RequestOp::Delete(self.delete(true))];
        TxnRequest { compare, success, failure }
    }

    fn nested(&mut self, op: u32, memory: &Memory) -> TxnRequest {
        let inner = TxnRequest {
            compare: vec![self.compare(memory)],
            success: vec![RequestOp::Put(self.put(op, 1, 0))],
            failure: vec![RequestOp::Range(self.range(false))],
        };
        let other = TxnRequest {
            compare: vec![],
            success: vec![RequestOp::Put(self.put(op, 2, 0))],
            failure: vec![],
        };
        TxnRequest {
            compare: vec![self.compare(memory)],
            success: vec![RequestOp::Txn(inner)],
            failure: vec![RequestOp::Txn(other)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_filtered_by_every_bound_sorted_by_every_target_and_limited() {
        let mut random = Prng::new(5);
        let memory = Memory { revision: 100, ..Memory::default() };
        let mut asker =
            Asker { random: &mut random, weights: &WEIGHTS, keys: 9, value_bytes_max: 9 };
        let asks: Vec<Ask> = (0..4000).map(|op| asker.ask(op, &memory)).collect();
        let ranges = asks.iter().filter_map(|ask| match ask {
            Ask::Range(range) => Some(range),
            _ => None,
        });
        let ranges: Vec<&RangeRequest> = ranges.collect();
        let bounds: [fn(&RangeRequest) -> i64; 4] = [
            |range| range.min_mod_revision,
            |range| range.max_mod_revision,
            |range| range.min_create_revision,
            |range| range.max_create_revision,
        ];
        for bound in bounds {
            assert!(ranges.iter().filter(|range| bound(range) > 0).count() > 20);
        }
        for target in (0..5).map(|n| SortTarget::from_number(n).expect("five targets")) {
            assert!(ranges.iter().filter(|range| range.sort_target == target).count() > 10);
        }
        assert!(ranges.iter().any(|range| range.limit > 0 && range.keys_only));
        assert!(ranges.iter().any(|range| range.count_only && range.serializable));
    }
}
