//! Requests, answers and events, in etcd's vocabulary but free of protobuf.

use alloc::vec::Vec;
use base::Blob;

/// One key at one revision (`mvccpb.KeyValue`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyValue {
    pub key: Blob,
    /// Revision of the last creation.
    pub create_revision: i64,
    /// Revision of the last change.
    pub mod_revision: i64,
    /// 1 at creation, +1 per put, reset by a delete.
    pub version: i64,
    pub value: Blob,
    /// Attached lease, 0 for none.
    pub lease: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    Put,
    Delete,
}

/// One change of one key. A delete's `kv` holds only `key` and `mod_revision`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub kind: EventKind,
    pub kv: KeyValue,
    /// The key before this revision; none at creation or when compaction removed it.
    pub prev_kv: Option<KeyValue>,
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
    pub revision: i64,
    pub events: Vec<Event>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortOrder {
    #[default]
    None,
    Ascend,
    Descend,
}

impl SortOrder {
    /// From the protobuf number; none means "invalid sort option".
    pub fn from_number(number: i32) -> Option<Self> {
        [Self::None, Self::Ascend, Self::Descend].get(usize::try_from(number).ok()?).copied()
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortTarget {
    #[default]
    Key,
    Version,
    Create,
    Mod,
    Value,
}

impl SortTarget {
    /// From the protobuf number; none means "invalid sort option".
    pub fn from_number(number: i32) -> Option<Self> {
        let all = [Self::Key, Self::Version, Self::Create, Self::Mod, Self::Value];
        all.get(usize::try_from(number).ok()?).copied()
    }
}

/// `range_end`: empty = one key, `"\0"` = all keys from `key`, else half-open `[key, range_end)`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeRequest {
    pub key: Blob,
    pub range_end: Blob,
    /// 0 or less: no limit.
    pub limit: i64,
    /// 0 or less: latest (in a transaction a negative one counts as compacted).
    pub revision: i64,
    pub sort_order: SortOrder,
    pub sort_target: SortTarget,
    pub keys_only: bool,
    pub count_only: bool,
    pub min_mod_revision: i64,
    pub max_mod_revision: i64,
    pub min_create_revision: i64,
    pub max_create_revision: i64,
    /// Asks for a local read; means nothing to this room.
    pub serializable: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeResponse {
    /// Store revision when read, not the revision asked for.
    pub revision: i64,
    pub kvs: Vec<KeyValue>,
    pub more: bool,
    /// Keys in the range at the revision asked for, whatever the limit and the filters.
    pub count: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutRequest {
    pub key: Blob,
    pub value: Blob,
    /// 0 detaches (unless `ignore_lease`).
    pub lease: i64,
    pub prev_kv: bool,
    pub ignore_value: bool,
    pub ignore_lease: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutResponse {
    pub revision: i64,
    pub prev_kv: Option<KeyValue>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteRequest {
    pub key: Blob,
    pub range_end: Blob,
    pub prev_kv: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteResponse {
    pub revision: i64,
    pub deleted: i64,
    pub prev_kvs: Vec<KeyValue>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareOp {
    Equal,
    Greater,
    Less,
    NotEqual,
}

/// What is compared, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompareTarget {
    Version(i64),
    Create(i64),
    Mod(i64),
    Value(Blob),
    Lease(i64),
}

/// True when every key in the range satisfies `key.target op value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    pub key: Blob,
    pub range_end: Blob,
    pub op: CompareOp,
    pub target: CompareTarget,
}

/// One operation of a transaction, or its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnOp<R, P, D, T> {
    Range(R),
    Put(P),
    Delete(D),
    /// In an answer its `revision` is 0: etcd leaves the header of a nested one empty.
    Txn(T),
}

pub type RequestOp = TxnOp<RangeRequest, PutRequest, DeleteRequest, TxnRequest>;
pub type ResponseOp = TxnOp<RangeResponse, PutResponse, DeleteResponse, TxnResponse>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnRequest {
    pub compare: Vec<Compare>,
    pub success: Vec<RequestOp>,
    pub failure: Vec<RequestOp>,
}

impl TxnRequest {
    /// True when both branches hold ranges only. As in etcd a nested transaction counts as a
    /// write, also where it only reads: it goes through the log, is bound to the size of a write
    /// and is refused under the CORRUPT alarm.
    pub fn is_read_only(&self) -> bool {
        let mut ops = self.success.iter().chain(&self.failure);
        ops.all(|op| matches!(op, RequestOp::Range(_)))
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnResponse {
    pub revision: i64,
    pub succeeded: bool,
    pub responses: Vec<ResponseOp>,
}
