//! Requests, answers and events, in etcd's vocabulary but free of protobuf.

pub use crate::key_value::KeyValue;
use crate::version::After;
use alloc::vec::Vec;
use base::Blob;

/// Deepest nesting of transactions, whatever `max_txn_ops` says: recursion stays bounded.
pub(crate) const TXN_DEPTH_MAX: usize = 128;

/// What happened to a key (`mvccpb.Event.EventType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The key has a new value, the same bytes as before perhaps.
    Put,
    /// The key is gone; a delete that found nothing makes no event.
    Delete,
}

/// One change of one key. A delete's `kv` holds only `key` and `mod_revision`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Put or delete.
    pub kind: EventKind,
    /// The key as of this revision. What it was before is to be looked up: see
    /// [`crate::View::before`].
    pub kv: After,
}

impl Event {
    /// True for a put that created its key.
    pub fn is_create(&self) -> bool {
        self.kind == EventKind::Put && self.kv.create_revision == self.kv.mod_revision
    }
}

/// Everything one revision changed, in the order of its operations; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// From 2 on: 1 is the empty store.
    pub revision: i64,
    /// Not empty; a transaction that wrote a key twice has two events of it.
    pub events: Vec<Event>,
}

/// Direction of a range's answer (`RangeRequest.SortOrder`), in the order of its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortOrder {
    /// By key, or ascending by a target other than the key.
    #[default]
    None,
    /// Smallest first; equal ones by key.
    Ascend,
    /// Largest first; equal ones by key, ascending all the same.
    Descend,
}

impl SortOrder {
    /// From the protobuf number; none means "invalid sort option".
    pub fn from_number(number: i32) -> Option<Self> {
        [Self::None, Self::Ascend, Self::Descend].get(usize::try_from(number).ok()?).copied()
    }
}

/// What a range's answer is sorted by (`RangeRequest.SortTarget`), in the order of its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortTarget {
    /// The key's bytes.
    #[default]
    Key,
    /// Puts since the last creation.
    Version,
    /// Revision of the last creation.
    Create,
    /// Revision of the last change.
    Mod,
    /// The value's bytes.
    Value,
}

impl SortTarget {
    /// From the protobuf number; none means "invalid sort option".
    pub fn from_number(number: i32) -> Option<Self> {
        let all = [Self::Key, Self::Version, Self::Create, Self::Mod, Self::Value];
        all.get(usize::try_from(number).ok()?).copied()
    }
}

/// A read of keys (`RangeRequest`).
///
/// `range_end`: empty = one key, `"\0"` = all keys from `key`, else half-open `[key, range_end)`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeRequest {
    /// First key; empty is refused with [`crate::Error::EmptyKey`].
    pub key: Blob,
    /// Empty, `"\0"` or the first key past the range.
    pub range_end: Blob,
    /// 0 or less: no limit.
    pub limit: i64,
    /// 0 or less: latest (in a transaction a negative one counts as compacted).
    pub revision: i64,
    /// With `None` and a limit etcd cuts before it sorts, and so does this.
    pub sort_order: SortOrder,
    /// Any but `Key` needs all keys of the range, whatever the limit.
    pub sort_target: SortTarget,
    /// Answers without values.
    pub keys_only: bool,
    /// Answers with `count` alone: no keys, and `more` is false.
    pub count_only: bool,
    /// Lowest `mod_revision` that is answered; 0: no bound. The filters leave `count` alone.
    pub min_mod_revision: i64,
    /// Highest one; 0: no bound.
    pub max_mod_revision: i64,
    /// Lowest `create_revision` that is answered; 0: no bound.
    pub min_create_revision: i64,
    /// Highest one; 0: no bound.
    pub max_create_revision: i64,
    /// Asks for a local read; means nothing to this room.
    pub serializable: bool,
}

/// What a read found (`RangeResponse`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeResponse {
    /// Store revision when read, not the revision asked for.
    pub revision: i64,
    /// In the order asked for, at most `limit` of them.
    pub kvs: Vec<KeyValue>,
    /// Keys that pass the filters were left out because of the limit.
    pub more: bool,
    /// Keys in the range at the revision asked for, whatever the limit and the filters.
    pub count: i64,
}

/// A write of one key (`PutRequest`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutRequest {
    /// Empty is refused with [`crate::Error::EmptyKey`].
    pub key: Blob,
    /// Must be empty with `ignore_value`.
    pub value: Blob,
    /// 0 detaches (unless `ignore_lease`).
    pub lease: i64,
    /// Answer with the key as it was before.
    pub prev_kv: bool,
    /// Keep the value there is; without the key it is `KeyNotFound`.
    pub ignore_value: bool,
    /// Keep the lease there is; without the key it is `KeyNotFound`.
    pub ignore_lease: bool,
}

/// What a put did (`PutResponse`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutResponse {
    /// The revision that it made, or that its transaction will make.
    pub revision: i64,
    /// None when it was not asked for, or when the key is new.
    pub prev_kv: Option<KeyValue>,
}

/// A delete of a range (`DeleteRangeRequest`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteRequest {
    /// Empty is refused with [`crate::Error::EmptyKey`].
    pub key: Blob,
    /// As in [`RangeRequest`].
    pub range_end: Blob,
    /// Answer with what was deleted.
    pub prev_kv: bool,
}

/// What a delete did (`DeleteRangeResponse`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteResponse {
    /// The store's revision after it: no new one when nothing was deleted.
    pub revision: i64,
    /// Keys that are gone.
    pub deleted: i64,
    /// All of them in order of keys, or none when they were not asked for.
    pub prev_kvs: Vec<KeyValue>,
}

/// How the two sides of a compare relate (`Compare.CompareResult`), in the order of its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareOp {
    /// The key's is the given one.
    Equal,
    /// The key's is above the given one.
    Greater,
    /// The key's is below the given one.
    Less,
    /// The key's is another one.
    NotEqual,
}

/// What is compared, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompareTarget {
    /// Puts since the last creation; 0 for a key that is not there.
    Version(i64),
    /// Revision of the last creation; 0 for a key that is not there.
    Create(i64),
    /// Revision of the last change; 0 for a key that is not there.
    Mod(i64),
    /// Bytewise; with a key that is not there no compare holds.
    Value(Blob),
    /// The attached lease; 0 for none, and for a key that is not there.
    Lease(i64),
}

/// A condition of a transaction (`Compare`).
///
/// True when every key in the range satisfies `key.target op value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// Empty is refused with [`crate::Error::EmptyKey`].
    pub key: Blob,
    /// As in [`RangeRequest`].
    pub range_end: Blob,
    /// Of the key's own against the given one.
    pub op: CompareOp,
    /// What of the key, and the given one.
    pub target: CompareTarget,
}

/// One operation of a transaction, or its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnOp<R, P, D, T> {
    /// A read; it sees what the operations before it wrote.
    Range(R),
    /// A write of one key.
    Put(P),
    /// A delete of a range.
    Delete(D),
    /// A transaction of its own, whose compares see the state before the outermost one.
    ///
    /// In an answer its `revision` is 0: etcd leaves the header of a nested one empty.
    Txn(T),
}

/// One operation as it is asked for (`RequestOp`).
pub type RequestOp = TxnOp<RangeRequest, PutRequest, DeleteRequest, TxnRequest>;
/// What it came to (`ResponseOp`).
pub type ResponseOp = TxnOp<RangeResponse, PutResponse, DeleteResponse, TxnResponse>;

/// A transaction (`TxnRequest`): one branch runs, all of it or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnRequest {
    /// All must hold for the first branch to run; an empty list does.
    pub compare: Vec<Compare>,
    /// Runs when they do, in this order.
    pub success: Vec<RequestOp>,
    /// Runs when one does not.
    pub failure: Vec<RequestOp>,
}

impl TxnRequest {
    /// Operations and compares, those of nested ones and of both branches among them, and one more
    /// for itself. Goes no deeper than a transaction may be nested.
    pub fn operations(&self) -> usize {
        self.operations_at(0)
    }

    fn operations_at(&self, depth: usize) -> usize {
        let nested = |op: &RequestOp| match op {
            RequestOp::Txn(request) if depth < TXN_DEPTH_MAX => request.operations_at(depth + 1),
            _ => 1,
        };
        let branches = self.success.iter().chain(&self.failure);
        1 + self.compare.len() + branches.map(nested).sum::<usize>()
    }

    /// True when both branches hold ranges only. As in etcd a nested transaction counts as a
    /// write, also where it only reads: it goes through the log, is bound to the size of a write
    /// and is refused under the CORRUPT alarm.
    pub fn is_read_only(&self) -> bool {
        let mut ops = self.success.iter().chain(&self.failure);
        ops.all(|op| matches!(op, RequestOp::Range(_)))
    }
}

/// What a transaction did (`TxnResponse`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnResponse {
    /// The store's revision after it; 0 in a nested one.
    pub revision: i64,
    /// Which branch ran.
    pub succeeded: bool,
    /// One for each operation of that branch, of its kind.
    pub responses: Vec<ResponseOp>,
}
