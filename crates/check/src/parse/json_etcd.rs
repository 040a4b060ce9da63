//! etcd's requests and answers as JSON lines. Bytes are a text (its UTF-8) or an array of
//! numbers from 0 to 255.

use base::Blob;
use serde_json::{Map, Value};

use super::ParseError;
use super::json::{Collector, Line, objects};
use crate::etcd::{
    Compare, CompareOp, Delete, EtcdOperation, KeyValue, Put, Range, Reply, Request, Response,
    Seen, SortOrder, SortTarget, Target, Txn,
};

/// Operations, and what the store held before the first of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdHistory {
    pub revision: i64,
    pub keys: Vec<KeyValue>,
    pub ops: Vec<EtcdOperation>,
}

/// Counts that a history begins with are below it: they go on from there.
const COUNT_MAX: i64 = i64::MAX / 2;

/// An etcd history from JSON lines. A line `{"initial":{"revision":R,"kvs":[...]}}` says what the
/// store held before; without it the store was fresh (revision 1).
///
/// # Errors
/// With its place: a line that is no such object, an answer without a request, an empty file.
pub fn etcd_lines(bytes: &[u8]) -> Result<EtcdHistory, ParseError> {
    let mut collector = Collector::new();
    let (mut revision, mut keys) = (1, Vec::new());
    for line in objects(bytes) {
        let line = line?;
        if let Some(initial) = line.map.get("initial") {
            let reader = Reader { line: &line };
            let initial = reader.object("initial", initial)?;
            revision = line.int(initial, "revision")?.unwrap_or(1);
            if revision >= COUNT_MAX {
                return Err(line.wrong("revision", "too large"));
            }
            keys = reader.whole_keys(initial)?;
            continue;
        }
        collector.line(
            &line,
            |line| Reader { line }.request(&line.map),
            |line, request| {
                let reader = Reader { line };
                match line.map.get("output") {
                    None | Some(Value::Null) => Ok(Response::default()),
                    Some(output) => reader.response(request, reader.object("output", output)?),
                }
            },
        )?;
    }
    Ok(EtcdHistory { revision, keys, ops: collector.finish()? })
}

type Object = Map<String, Value>;

struct Reader<'a> {
    line: &'a Line<'a>,
}

impl Reader<'_> {
    fn object<'v>(&self, field: &str, value: &'v Value) -> Result<&'v Object, ParseError> {
        value.as_object().ok_or_else(|| self.line.wrong(field, "an object is expected"))
    }

    fn array<'v>(&self, map: &'v Object, field: &str) -> Result<&'v [Value], ParseError> {
        match map.get(field) {
            None | Some(Value::Null) => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(_) => Err(self.line.wrong(field, "an array is expected")),
        }
    }

    fn flag(&self, map: &Object, field: &str) -> Result<Option<bool>, ParseError> {
        match map.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.line.wrong(field, "true or false is expected")),
        }
    }

    fn int(&self, map: &Object, field: &str) -> Result<i64, ParseError> {
        Ok(self.line.int(map, field)?.unwrap_or_default())
    }

    fn word<'v>(&self, map: &'v Object, field: &str) -> Result<&'v str, ParseError> {
        match map.get(field) {
            None | Some(Value::Null) => Ok(""),
            Some(Value::String(word)) => Ok(word),
            Some(_) => Err(self.line.wrong(field, "a word is expected")),
        }
    }

    fn maybe_bytes(&self, map: &Object, field: &str) -> Result<Option<Blob>, ParseError> {
        match map.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(Blob::from(text.as_bytes()))),
            Some(Value::Array(items)) => {
                let bytes = items.iter().map(|item| item.as_u64().and_then(|n| n.try_into().ok()));
                let bytes: Option<Vec<u8>> = bytes.collect();
                let what = "numbers from 0 to 255 are expected";
                bytes.map(|b| Some(Blob::from(b))).ok_or_else(|| self.line.wrong(field, what))
            }
            Some(_) => Err(self.line.wrong(field, "a text or an array of bytes is expected")),
        }
    }

    fn bytes(&self, map: &Object, field: &str) -> Result<Blob, ParseError> {
        Ok(self.maybe_bytes(map, field)?.unwrap_or_default())
    }

    fn key(&self, map: &Object) -> Result<Blob, ParseError> {
        self.maybe_bytes(map, "key")?.ok_or_else(|| self.line.wrong("key", "it is missing"))
    }

    fn request(&self, map: &Object) -> Result<Request, ParseError> {
        match self.word(map, "f")? {
            "range" => self.range(map).map(Request::Range),
            "put" => Ok(Request::Put(Put {
                key: self.key(map)?,
                value: self.bytes(map, "value")?,
                lease: self.int(map, "lease")?,
                ignore_value: self.flag(map, "ignore_value")?.unwrap_or(false),
                ignore_lease: self.flag(map, "ignore_lease")?.unwrap_or(false),
            })),
            "delete" => Ok(Request::Delete(Delete {
                key: self.key(map)?,
                range_end: self.bytes(map, "range_end")?,
            })),
            "txn" => Ok(Request::Txn(Txn {
                compare: self.each(map, "compare", |item| self.compare(item))?,
                success: self.each(map, "success", |item| self.nested(item))?,
                failure: self.each(map, "failure", |item| self.nested(item))?,
            })),
            "revoke" => Ok(Request::Revoke { lease: self.int(map, "lease")? }),
            _ => Err(self.line.wrong("f", "range, put, delete, txn or revoke is expected")),
        }
    }

    fn nested(&self, map: &Object) -> Result<Request, ParseError> {
        match self.request(map)? {
            Request::Revoke { .. } => Err(self.line.wrong("f", "no revoke within a transaction")),
            request => Ok(request),
        }
    }

    fn each<T>(
        &self,
        map: &Object,
        field: &str,
        read: impl Fn(&Object) -> Result<T, ParseError>,
    ) -> Result<Vec<T>, ParseError> {
        let items = self.array(map, field)?.iter();
        items.map(|item| read(self.object(field, item)?)).collect()
    }

    fn range(&self, map: &Object) -> Result<Range, ParseError> {
        let sort_order = match self.word(map, "sort_order")? {
            "" | "none" => SortOrder::None,
            "ascend" => SortOrder::Ascend,
            "descend" => SortOrder::Descend,
            _ => return Err(self.line.wrong("sort_order", "none, ascend or descend")),
        };
        let sort_target = match self.word(map, "sort_target")? {
            "" | "key" => SortTarget::Key,
            "version" => SortTarget::Version,
            "create" => SortTarget::Create,
            "mod" => SortTarget::Mod,
            "value" => SortTarget::Value,
            _ => {
                return Err(self.line.wrong("sort_target", "key, version, create, mod or value"));
            }
        };
        Ok(Range {
            key: self.key(map)?,
            range_end: self.bytes(map, "range_end")?,
            limit: self.int(map, "limit")?,
            revision: self.int(map, "revision")?,
            sort_order,
            sort_target,
            keys_only: self.flag(map, "keys_only")?.unwrap_or(false),
            count_only: self.flag(map, "count_only")?.unwrap_or(false),
            min_mod_revision: self.int(map, "min_mod_revision")?,
            max_mod_revision: self.int(map, "max_mod_revision")?,
            min_create_revision: self.int(map, "min_create_revision")?,
            max_create_revision: self.int(map, "max_create_revision")?,
        })
    }

    fn compare(&self, map: &Object) -> Result<Compare, ParseError> {
        let op = match self.word(map, "op")? {
            "=" => CompareOp::Equal,
            "!=" => CompareOp::NotEqual,
            ">" => CompareOp::Greater,
            "<" => CompareOp::Less,
            _ => return Err(self.line.wrong("op", "=, !=, > or < is expected")),
        };
        let target = match self.word(map, "target")? {
            "version" => Target::Version(self.int(map, "with")?),
            "create" => Target::Create(self.int(map, "with")?),
            "mod" => Target::Mod(self.int(map, "with")?),
            "lease" => Target::Lease(self.int(map, "with")?),
            "value" => Target::Value(self.bytes(map, "with")?),
            _ => {
                let what = "version, create, mod, lease or value is expected";
                return Err(self.line.wrong("target", what));
            }
        };
        let (key, range_end) = (self.key(map)?, self.bytes(map, "range_end")?);
        Ok(Compare { key, range_end, op, target })
    }

    fn response(&self, request: &Request, map: &Object) -> Result<Response, ParseError> {
        let revision = self.line.int(map, "revision")?;
        let known = match request {
            Request::Range(range) => {
                map.contains_key("kvs") || (range.count_only && map.contains_key("count"))
            }
            Request::Txn(_) => map.contains_key("succeeded"),
            Request::Put(_) | Request::Delete(_) | Request::Revoke { .. } => true,
        };
        let reply = if known { Some(self.reply(request, map)?) } else { None };
        Ok(Response { revision, reply })
    }

    fn reply(&self, request: &Request, map: &Object) -> Result<Reply, ParseError> {
        match request {
            Request::Range(_) => Ok(Reply::Range {
                kvs: self.each(map, "kvs", |item| self.seen(item))?,
                count: self.line.int(map, "count")?,
                more: self.flag(map, "more")?,
            }),
            Request::Put(_) => Ok(Reply::Put {
                prev: match map.get("prev_kv") {
                    None => None,
                    Some(Value::Null) => Some(None),
                    Some(kv) => Some(Some(self.seen(self.object("prev_kv", kv)?)?)),
                },
            }),
            Request::Delete(_) => {
                let deleted = self.line.int(map, "deleted")?;
                let prev = self.each(map, "prev_kvs", |item| self.seen(item))?;
                let prev = map.contains_key("prev_kvs").then_some(prev);
                Ok(Reply::Delete { deleted, prev })
            }
            Request::Txn(txn) => {
                let succeeded = self.flag(map, "succeeded")?;
                let what = "true or false is expected";
                let succeeded = succeeded.ok_or_else(|| self.line.wrong("succeeded", what))?;
                let branch = if succeeded { &txn.success } else { &txn.failure };
                let answers = self.array(map, "responses")?;
                if answers.len() != branch.len() {
                    let what = format!("{} answers are expected", branch.len());
                    return Err(self.line.wrong("responses", what));
                }
                let mut replies = Vec::new();
                for (request, answer) in branch.iter().zip(answers) {
                    replies.push(self.reply(request, self.object("responses", answer)?)?);
                }
                Ok(Reply::Txn { succeeded, replies })
            }
            Request::Revoke { .. } => Ok(Reply::Revoke),
        }
    }

    fn seen(&self, map: &Object) -> Result<Seen, ParseError> {
        Ok(Seen {
            key: self.key(map)?,
            value: self.maybe_bytes(map, "value")?,
            create_revision: self.line.int(map, "create_revision")?,
            mod_revision: self.line.int(map, "mod_revision")?,
            version: self.line.int(map, "version")?,
            lease: self.line.int(map, "lease")?,
        })
    }

    fn whole_keys(&self, map: &Object) -> Result<Vec<KeyValue>, ParseError> {
        self.each(map, "kvs", |item| {
            let seen = self.seen(item)?;
            if seen.version.is_some_and(|version| version >= COUNT_MAX) {
                return Err(self.line.wrong("version", "too large"));
            }
            Ok(KeyValue {
                key: seen.key,
                value: seen.value.unwrap_or_default(),
                create_revision: seen.create_revision.unwrap_or(1),
                mod_revision: seen.mod_revision.unwrap_or(1),
                version: seen.version.unwrap_or(1),
                lease: seen.lease.unwrap_or(0),
            })
        })
    }
}
