//! Histories as JSON lines, so that one that failed can be kept and looked at again.

use serde_json::{Map, Value, json};

use crate::etcd::{
    Compare, CompareOp, EtcdOperation, KeyValue, Range, Reply, Request, Response, Seen, SortOrder,
    SortTarget, Target,
};

/// What [`super::etcd_lines`] reads. `revision` and `keys`: the store before the first operation.
pub fn etcd_to_lines(revision: i64, keys: &[KeyValue], ops: &[EtcdOperation]) -> String {
    let kvs: Vec<Value> = keys.iter().map(|kv| seen(&Seen::from(kv))).collect();
    let mut out = format!("{}\n", json!({ "initial": { "revision": revision, "kvs": kvs } }));
    for op in ops {
        let mut map = request(&op.input);
        map.insert("process".to_owned(), json!(op.process));
        map.insert("invoked".to_owned(), json!(op.invoked));
        match (&op.output, op.returned) {
            (None, _) => map.insert("outcome".to_owned(), json!("unknown")),
            (Some(_), None) => map.insert("outcome".to_owned(), json!("seen")),
            (Some(_), Some(at)) => map.insert("returned".to_owned(), json!(at)),
        };
        if let Some(output) = &op.output {
            map.insert("output".to_owned(), response(output));
        }
        out.push_str(&format!("{}\n", Value::Object(map)));
    }
    out
}

fn bytes(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!(bytes),
    }
}

/// Fields in order; those that are null are left out, which reads as the default.
fn object<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    let told = fields.into_iter().filter(|(_, value)| !value.is_null());
    told.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Null for the default.
fn unless<T: PartialEq + Into<Value>>(value: T, default: T) -> Value {
    if value == default { Value::Null } else { value.into() }
}

fn end(range_end: &[u8]) -> Value {
    if range_end.is_empty() { Value::Null } else { bytes(range_end) }
}

fn request(asked: &Request) -> Map<String, Value> {
    match asked {
        Request::Range(range) => range_fields(range),
        Request::Put(put) => object([
            ("f", json!("put")),
            ("key", bytes(&put.key)),
            ("value", bytes(&put.value)),
            ("lease", unless(put.lease, 0)),
            ("ignore_value", unless(put.ignore_value, false)),
            ("ignore_lease", unless(put.ignore_lease, false)),
        ]),
        Request::Delete(delete) => object([
            ("f", json!("delete")),
            ("key", bytes(&delete.key)),
            ("range_end", end(&delete.range_end)),
        ]),
        Request::Txn(txn) => {
            let all = |list: &[Request]| -> Value {
                list.iter().map(|asked| Value::Object(request(asked))).collect()
            };
            object([
                ("f", json!("txn")),
                ("compare", txn.compare.iter().map(compare).collect()),
                ("success", all(&txn.success)),
                ("failure", all(&txn.failure)),
            ])
        }
        Request::Revoke { lease } => object([("f", json!("revoke")), ("lease", json!(lease))]),
    }
}

fn range_fields(range: &Range) -> Map<String, Value> {
    let order = match range.sort_order {
        SortOrder::None => Value::Null,
        SortOrder::Ascend => json!("ascend"),
        SortOrder::Descend => json!("descend"),
    };
    let target = match range.sort_target {
        SortTarget::Key => Value::Null,
        SortTarget::Version => json!("version"),
        SortTarget::Create => json!("create"),
        SortTarget::Mod => json!("mod"),
        SortTarget::Value => json!("value"),
    };
    object([
        ("f", json!("range")),
        ("key", bytes(&range.key)),
        ("range_end", end(&range.range_end)),
        ("limit", unless(range.limit, 0)),
        ("revision", unless(range.revision, 0)),
        ("sort_order", order),
        ("sort_target", target),
        ("keys_only", unless(range.keys_only, false)),
        ("count_only", unless(range.count_only, false)),
        ("min_mod_revision", unless(range.min_mod_revision, 0)),
        ("max_mod_revision", unless(range.max_mod_revision, 0)),
        ("min_create_revision", unless(range.min_create_revision, 0)),
        ("max_create_revision", unless(range.max_create_revision, 0)),
    ])
}

fn compare(compare: &Compare) -> Value {
    let op = match compare.op {
        CompareOp::Equal => "=",
        CompareOp::NotEqual => "!=",
        CompareOp::Greater => ">",
        CompareOp::Less => "<",
    };
    let (target, with) = match &compare.target {
        Target::Version(with) => ("version", json!(with)),
        Target::Create(with) => ("create", json!(with)),
        Target::Mod(with) => ("mod", json!(with)),
        Target::Lease(with) => ("lease", json!(with)),
        Target::Value(with) => ("value", bytes(with)),
    };
    let fields = [
        ("key", bytes(&compare.key)),
        ("range_end", end(&compare.range_end)),
        ("op", json!(op)),
        ("target", json!(target)),
        ("with", with),
    ];
    Value::Object(object(fields))
}

fn response(response: &Response) -> Value {
    let mut map = response.reply.as_ref().map(reply).unwrap_or_default();
    if let Some(revision) = response.revision {
        map.insert("revision".to_owned(), json!(revision));
    }
    Value::Object(map)
}

fn reply(reply: &Reply) -> Map<String, Value> {
    match reply {
        Reply::Range { kvs, count, more } => object([
            ("kvs", kvs.iter().map(seen).collect()),
            ("count", json!(count)),
            ("more", json!(more)),
        ]),
        Reply::Put { prev } => {
            let mut map = Map::new();
            if let Some(prev) = prev {
                map.insert("prev_kv".to_owned(), prev.as_ref().map_or(Value::Null, seen));
            }
            map
        }
        Reply::Delete { deleted, prev } => object([
            ("deleted", json!(deleted)),
            ("prev_kvs", prev.as_ref().map_or(Value::Null, |all| all.iter().map(seen).collect())),
        ]),
        Reply::Txn { succeeded, replies } => object([
            ("succeeded", json!(succeeded)),
            ("responses", replies.iter().map(|one| Value::Object(self::reply(one))).collect()),
        ]),
        Reply::Revoke => Map::new(),
    }
}

fn seen(kv: &Seen) -> Value {
    Value::Object(object([
        ("key", bytes(&kv.key)),
        ("value", kv.value.as_ref().map_or(Value::Null, |value| bytes(value))),
        ("create_revision", json!(kv.create_revision)),
        ("mod_revision", json!(kv.mod_revision)),
        ("version", json!(kv.version)),
        ("lease", json!(kv.lease)),
    ]))
}
