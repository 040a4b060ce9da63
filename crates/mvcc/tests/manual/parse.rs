//! Words to requests. A word that is none of a command's ends the test: a page is never guessed at.

use base::Blob;
use mvcc::{
    Compare, CompareOp, CompareTarget, DeleteRequest, PutRequest, RangeRequest, RequestOp,
    SortOrder, SortTarget, TxnRequest,
};

/// `-` is empty, `^` the end of all keys, `TEXT*COUNT` a long one.
pub fn text(word: &str) -> Blob {
    match word {
        "-" => Blob::default(),
        "^" => Blob::from(&b"\0"[..]),
        _ => match word.split_once('*') {
            Some((text, times)) => Blob::from(text.repeat(times.parse().unwrap()).as_bytes()),
            None => Blob::from(word.as_bytes()),
        },
    }
}

pub fn number(word: &str) -> i64 {
    word.parse().unwrap_or_else(|_| panic!("{word:?} is no number"))
}

pub fn put(words: &[&str]) -> PutRequest {
    let mut put =
        PutRequest { key: text(words[0]), value: text(words[1]), ..PutRequest::default() };
    for word in &words[2..] {
        match word.split_once('=') {
            Some(("lease", id)) => put.lease = number(id),
            None if *word == "prev" => put.prev_kv = true,
            None if *word == "ignore-value" => put.ignore_value = true,
            None if *word == "ignore-lease" => put.ignore_lease = true,
            _ => panic!("put: what is {word:?}?"),
        }
    }
    put
}

pub fn delete(words: &[&str]) -> DeleteRequest {
    let mut delete = DeleteRequest { key: text(words[0]), ..DeleteRequest::default() };
    for word in &words[1..] {
        match *word {
            "prev" => delete.prev_kv = true,
            end => delete.range_end = text(end),
        }
    }
    delete
}

pub fn range(words: &[&str]) -> RangeRequest {
    let mut range = RangeRequest { key: text(words[0]), ..RangeRequest::default() };
    for word in &words[1..] {
        match word.split_once('=') {
            Some(("rev", n)) => range.revision = number(n),
            Some(("limit", n)) => range.limit = number(n),
            Some(("min-mod", n)) => range.min_mod_revision = number(n),
            Some(("max-mod", n)) => range.max_mod_revision = number(n),
            Some(("min-create", n)) => range.min_create_revision = number(n),
            Some(("max-create", n)) => range.max_create_revision = number(n),
            Some(("sort", order)) => sort(&mut range, order),
            Some(_) => panic!("get: what is {word:?}?"),
            None if *word == "keys-only" => range.keys_only = true,
            None if *word == "count-only" => range.count_only = true,
            None => range.range_end = text(word),
        }
    }
    range
}

fn sort(range: &mut RangeRequest, order: &str) {
    let (target, order) = order.split_once(':').expect("sort=TARGET:ORDER");
    range.sort_target = match target {
        "key" => SortTarget::Key,
        "version" => SortTarget::Version,
        "create" => SortTarget::Create,
        "mod" => SortTarget::Mod,
        "value" => SortTarget::Value,
        _ => panic!("sort by {target:?}?"),
    };
    range.sort_order = match order {
        "none" => SortOrder::None,
        "up" => SortOrder::Ascend,
        "down" => SortOrder::Descend,
        _ => panic!("sort {order:?}?"),
    };
}

/// `[if COMPARE, ..] then OP; .. [else OP; ..]`.
pub fn txn(line: &str) -> TxnRequest {
    let mut txn = TxnRequest::default();
    for (clause, body) in clauses(line) {
        match clause {
            "if" => txn.compare = split(body, ',').into_iter().map(compare).collect(),
            "then" => txn.success = split(body, ';').into_iter().map(op).collect(),
            _ => txn.failure = split(body, ';').into_iter().map(op).collect(),
        }
    }
    txn
}

/// The clauses of the outermost transaction, in their order.
fn clauses(line: &str) -> Vec<(&str, &str)> {
    let mut starts = Vec::new();
    let (mut depth, mut at) = (0i32, 0);
    for word in line.split(' ') {
        if depth == 0 && ["if", "then", "else"].contains(&word) {
            starts.push((word, at));
        }
        depth += word.matches("((").count() as i32 - word.matches("))").count() as i32;
        at += word.len() + 1;
    }
    let mut found = Vec::new();
    for (number, (word, from)) in starts.iter().enumerate() {
        let to = starts.get(number + 1).map_or(line.len(), |(_, at)| at - 1);
        found.push((*word, line[from + word.len()..to].trim()));
    }
    found
}

/// At `by`, outside of double parentheses.
fn split(body: &str, by: char) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0i32, 0);
    for (at, c) in body.char_indices() {
        depth += i32::from(body[at..].starts_with("((")) - i32::from(body[at..].starts_with("))"));
        if c == by && depth == 0 {
            parts.push(body[from..at].trim());
            from = at + 1;
        }
    }
    parts.push(body[from..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}

fn op(line: &str) -> RequestOp {
    if let Some(nested) = line.strip_prefix("((") {
        return RequestOp::Txn(txn(nested.strip_suffix("))").expect("closed").trim()));
    }
    let words: Vec<&str> = line.split(' ').collect();
    match words[0] {
        "put" => RequestOp::Put(put(&words[1..])),
        "get" => RequestOp::Range(range(&words[1..])),
        "del" => RequestOp::Delete(delete(&words[1..])),
        other => panic!("what is {other:?} in a transaction?"),
    }
}

fn compare(line: &str) -> Compare {
    let (target, rest) = line.split_once('(').expect("TARGET(KEY) OP VALUE");
    let (key, rest) = rest.split_once(')').expect("TARGET(KEY) OP VALUE");
    let rest = rest.trim();
    let signs = [
        ("!=", CompareOp::NotEqual),
        ("=", CompareOp::Equal),
        ("<", CompareOp::Less),
        (">", CompareOp::Greater),
    ];
    let sign = signs.iter().find(|(sign, _)| rest.starts_with(sign)).expect("a sign");
    let value = rest[sign.0.len()..].trim();
    let target = match target {
        "value" => CompareTarget::Value(text(value)),
        "version" => CompareTarget::Version(number(value)),
        "create" => CompareTarget::Create(number(value)),
        "mod" => CompareTarget::Mod(number(value)),
        "lease" => CompareTarget::Lease(number(value)),
        other => panic!("compare {other:?}?"),
    };
    let (key, range_end) = match key.split_once("..") {
        Some((key, end)) => (text(key), text(end)),
        None => (text(key), Blob::default()),
    };
    Compare { key, range_end, op: sign.1, target }
}
