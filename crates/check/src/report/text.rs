//! Operations in a few words.

use base::Blob;

use crate::etcd::{Reply, Request, Response};
use crate::models::{CasInput, CasOutput, KvInput, KvOutput, RegisterInput, RegisterOutput};

/// Longer texts are cut in the middle: both ends tell.
const CHARS_MAX: usize = 40;

/// What stands after an operation whose outcome nobody knows.
const UNKNOWN: &str = "?";

pub fn value(value: &Option<i64>) -> String {
    value.map_or("nil".to_owned(), |value| value.to_string())
}

/// In quotes, escaped, and cut if long.
pub fn quoted(text: &str) -> String {
    let half = CHARS_MAX / 2;
    // Only the ends are looked at: a value may have a megabyte.
    let head = text.char_indices().nth(half).map_or(text.len(), |(at, _)| at);
    let tail = text.char_indices().rev().nth(half - 1).map_or(0, |(at, _)| at);
    if tail <= head {
        return format!("{text:?}");
    }
    format!("{:?}..{:?}", &text[..head], &text[tail..])
}

pub fn register(input: &RegisterInput, output: Option<&RegisterOutput>) -> String {
    match (input, output) {
        (RegisterInput::Read, Some(RegisterOutput::Value(read))) => {
            format!("read -> {}", value(read))
        }
        (RegisterInput::Read, _) => format!("read {UNKNOWN}"),
        (RegisterInput::Write(to), None) => format!("write {to} {UNKNOWN}"),
        (RegisterInput::Write(to), Some(_)) => format!("write {to}"),
    }
}

pub fn cas_register(input: &CasInput, output: Option<&CasOutput>) -> String {
    match (input, output) {
        (CasInput::Read, Some(CasOutput::Value(read))) => format!("read -> {}", value(read)),
        (CasInput::Read, _) => format!("read {UNKNOWN}"),
        (CasInput::Write(to), None) => format!("write {to} {UNKNOWN}"),
        (CasInput::Write(to), Some(_)) => format!("write {to}"),
        (CasInput::Cas(from, to), Some(CasOutput::Swapped(true))) => format!("cas {from} to {to}"),
        (CasInput::Cas(from, to), Some(_)) => format!("cas {from} to {to} failed"),
        (CasInput::Cas(from, to), None) => format!("cas {from} to {to} {UNKNOWN}"),
    }
}

pub fn kv(input: &KvInput, output: Option<&KvOutput>) -> String {
    let mark = if output.is_none() { " ?" } else { "" };
    match (input, output) {
        (KvInput::Get { key }, Some(KvOutput::Value(read))) => {
            format!("get {key} -> {}", quoted(read))
        }
        (KvInput::Get { key }, _) => format!("get {key}{mark}"),
        (KvInput::Put { key, value }, _) => format!("put {key} {}{mark}", quoted(value)),
        (KvInput::Append { key, value }, _) => format!("append {key} {}{mark}", quoted(value)),
    }
}

pub fn etcd(input: &Request, output: Option<&Response>) -> String {
    let reply = output.and_then(|response| response.reply.as_ref());
    let mut text = request(input, reply, 0);
    match output {
        None => text.push_str(" ?"),
        Some(Response { revision: Some(revision), .. }) => {
            text.push_str(&format!(" @ {revision}"));
        }
        Some(_) => {}
    }
    text
}

fn bytes(bytes: &Blob) -> String {
    quoted(&bytes.escape_ascii().to_string())
}

fn span(key: &Blob, end: &Blob) -> String {
    if end.is_empty() {
        bytes(key)
    } else if **end == *b"\0" {
        format!("[{}..", bytes(key))
    } else {
        format!("[{}..{})", bytes(key), bytes(end))
    }
}

/// Transactions are shown to this depth.
const DEPTH_MAX: usize = 3;

fn request(input: &Request, reply: Option<&Reply>, depth: usize) -> String {
    match (input, reply) {
        (Request::Range(range), reply) => {
            let mut text = format!("range {}", span(&range.key, &range.range_end));
            if range.revision > 0 {
                text.push_str(&format!(" at {}", range.revision));
            }
            if let Some(Reply::Range { kvs, count, .. }) = reply {
                match (kvs.as_slice(), count) {
                    ([], Some(count)) => text.push_str(&format!(" -> count {count}")),
                    ([], None) => text.push_str(" -> nothing"),
                    ([one], _) => {
                        let value = one.value.as_ref().map_or("..".to_owned(), bytes);
                        text.push_str(&format!(" -> {}={value}", bytes(&one.key)));
                        if let Some(revision) = one.mod_revision {
                            text.push_str(&format!(" (of {revision})"));
                        }
                    }
                    (many, _) => text.push_str(&format!(" -> {} keys", many.len())),
                }
            }
            text
        }
        (Request::Put(put), _) => format!("put {}={}", bytes(&put.key), bytes(&put.value)),
        (Request::Delete(delete), reply) => {
            let mut text = format!("delete {}", span(&delete.key, &delete.range_end));
            if let Some(Reply::Delete { deleted: Some(deleted), .. }) = reply {
                text.push_str(&format!(" -> {deleted}"));
            }
            text
        }
        (Request::Revoke { lease }, _) => format!("lease {lease} ends"),
        (Request::Txn(txn), _) if depth == DEPTH_MAX => {
            format!("txn of {}", txn.success.len() + txn.failure.len())
        }
        (Request::Txn(txn), Some(Reply::Txn { succeeded, replies })) => {
            let branch = if *succeeded { &txn.success } else { &txn.failure };
            let all = branch.iter().zip(replies);
            let all: Vec<String> =
                all.map(|(one, reply)| request(one, Some(reply), depth + 1)).collect();
            let word = if *succeeded { "then" } else { "else" };
            format!("txn if {}: {word} {}", txn.compare.len(), all.join("; "))
        }
        (Request::Txn(txn), _) => {
            let all: Vec<String> =
                txn.success.iter().map(|one| request(one, None, depth + 1)).collect();
            format!("txn if {}: {}", txn.compare.len(), all.join("; "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_keep_both_ends() {
        assert_eq!(quoted(""), "\"\"");
        assert_eq!(quoted("a\"b"), "\"a\\\"b\"");
        let fits = "ü".repeat(CHARS_MAX);
        assert_eq!(quoted(&fits), format!("{fits:?}"));
        let long = format!("{}x{}", "ü".repeat(20), "b".repeat(20));
        assert_eq!(quoted(&long), format!("{:?}..{:?}", "ü".repeat(20), "b".repeat(20)));
    }
}
