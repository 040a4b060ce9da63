//! etcd's requests and answers, free of protobuf and of the store that is checked.

use base::Blob;

/// One key as the model has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyValue {
    pub key: Blob,
    pub value: Blob,
    pub create_revision: i64,
    pub mod_revision: i64,
    pub version: i64,
    /// 0 for none.
    pub lease: i64,
}

/// One key as a client saw it. What is none was not recorded and is not checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seen {
    pub key: Blob,
    pub value: Option<Blob>,
    pub create_revision: Option<i64>,
    pub mod_revision: Option<i64>,
    pub version: Option<i64>,
    pub lease: Option<i64>,
}

impl From<&KeyValue> for Seen {
    fn from(kv: &KeyValue) -> Self {
        Self {
            key: kv.key.clone(),
            value: Some(kv.value.clone()),
            create_revision: Some(kv.create_revision),
            mod_revision: Some(kv.mod_revision),
            version: Some(kv.version),
            lease: Some(kv.lease),
        }
    }
}

impl Seen {
    /// Whether everything recorded is as in `kv`.
    pub fn fits(&self, kv: &KeyValue) -> bool {
        let same = |seen: Option<i64>, own: i64| seen.is_none_or(|seen| seen == own);
        self.key == kv.key
            && self.value.as_ref().is_none_or(|value| *value == kv.value)
            && same(self.create_revision, kv.create_revision)
            && same(self.mod_revision, kv.mod_revision)
            && same(self.version, kv.version)
            && same(self.lease, kv.lease)
    }
}

/// One request. Nested in [`Txn`], everything but `Revoke` may stand.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    Range(Range),
    Put(Put),
    Delete(Delete),
    Txn(Txn),
    /// A lease ends, revoked or expired: its keys go, in one revision.
    Revoke {
        lease: i64,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SortOrder {
    #[default]
    None,
    Ascend,
    Descend,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SortTarget {
    #[default]
    Key,
    Version,
    Create,
    Mod,
    Value,
}

/// A linearizable read. A serializable one does not belong into a history that is checked for
/// linearizability: see [`crate::etcd::Timeline::check_read`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Range {
    pub key: Blob,
    /// Empty: one key. `"\0"`: all from `key`. Else half-open.
    pub range_end: Blob,
    /// 0 or less: none.
    pub limit: i64,
    /// 0 or less: latest.
    pub revision: i64,
    pub sort_order: SortOrder,
    pub sort_target: SortTarget,
    pub keys_only: bool,
    pub count_only: bool,
    /// 0: off, here and below.
    pub min_mod_revision: i64,
    pub max_mod_revision: i64,
    pub min_create_revision: i64,
    pub max_create_revision: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Put {
    pub key: Blob,
    pub value: Blob,
    pub lease: i64,
    pub ignore_value: bool,
    pub ignore_lease: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Delete {
    pub key: Blob,
    pub range_end: Blob,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Txn {
    pub compare: Vec<Compare>,
    pub success: Vec<Request>,
    pub failure: Vec<Request>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CompareOp {
    Equal,
    NotEqual,
    Greater,
    Less,
}

/// What is compared, and with what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    Version(i64),
    Create(i64),
    Mod(i64),
    Value(Blob),
    Lease(i64),
}

/// True if every key in the range satisfies `target op`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Compare {
    pub key: Blob,
    pub range_end: Blob,
    pub op: CompareOp,
    pub target: Target,
}

/// An answer, or what is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Response {
    /// The header's revision: the store's after the request. None: not recorded.
    pub revision: Option<i64>,
    /// None: it took effect, but what it answered is not known.
    pub reply: Option<Reply>,
}

/// The body of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    Range {
        kvs: Vec<Seen>,
        /// All keys in the range, whatever the limit and the filters.
        count: Option<i64>,
        more: Option<bool>,
    },
    Put {
        /// Outer none: not asked for. Inner none: there was no such key.
        prev: Option<Option<Seen>>,
    },
    Delete {
        deleted: Option<i64>,
        /// None: not asked for.
        prev: Option<Vec<Seen>>,
    },
    Txn {
        succeeded: bool,
        /// One for each operation of the taken branch.
        replies: Vec<Reply>,
    },
    Revoke,
}
