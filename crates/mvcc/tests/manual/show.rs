//! Answers to lines.

use base::Blob;
use mvcc::{
    AlarmKind, Changes, Error, Event, EventKind, KeyValue, RangeResponse, Response, ResponseOp,
    TxnResponse, View,
};

/// Text as it is, a long one by its length.
pub fn blob(blob: &Blob) -> String {
    match std::str::from_utf8(blob) {
        Ok("") => "-".to_string(),
        Ok(text) if text.len() > 24 => format!("{}..({} bytes)", &text[..4], text.len()),
        Ok(text) => text.to_string(),
        Err(_) => format!("{:?}", &blob[..]),
    }
}

fn kv(kv: &KeyValue) -> String {
    let lease = if kv.lease == 0 { String::new() } else { format!(", lease {}", kv.lease) };
    format!(
        "{}={} (create {}, mod {}, version {}{lease})",
        blob(&kv.key),
        blob(&kv.value),
        kv.create_revision,
        kv.mod_revision,
        kv.version
    )
}

pub fn refusal(error: Error) -> Vec<String> {
    vec![format!("refused: {error}")]
}

pub fn range(answer: &RangeResponse) -> Vec<String> {
    let mut lines: Vec<String> = answer.kvs.iter().map(kv).collect();
    let more = if answer.more { ", more" } else { "" };
    lines.push(format!("{} of {}{more}; revision {}", lines.len(), answer.count, answer.revision));
    lines
}

fn previous(kv_before: Option<&KeyValue>) -> Vec<String> {
    kv_before.map(|before| format!("was {}", kv(before))).into_iter().collect()
}

pub fn txn(answer: &TxnResponse) -> Vec<String> {
    let branch = if answer.succeeded { "then" } else { "else" };
    let mut lines = vec![match answer.revision {
        0 => branch.to_string(),
        revision => format!("{branch}; revision {revision}"),
    }];
    for op in &answer.responses {
        let (name, told) = match op {
            ResponseOp::Range(answer) => ("get", range(answer)),
            ResponseOp::Put(answer) => {
                let mut lines = vec![format!("revision {}", answer.revision)];
                lines.extend(previous(answer.prev_kv.as_ref()));
                ("put", lines)
            }
            ResponseOp::Delete(answer) => {
                let mut lines =
                    vec![format!("{} gone; revision {}", answer.deleted, answer.revision)];
                lines.extend(answer.prev_kvs.iter().map(|before| format!("was {}", kv(before))));
                ("del", lines)
            }
            ResponseOp::Txn(answer) => ("txn", txn(answer)),
        };
        lines.extend(told.into_iter().map(|line| format!("{name}: {line}")));
    }
    lines
}

pub fn response(answer: &Response) -> Vec<String> {
    match answer {
        Response::Put(answer) => {
            let mut lines = vec![format!("revision {}", answer.revision)];
            lines.extend(previous(answer.prev_kv.as_ref()));
            lines
        }
        Response::Delete(answer) => {
            let mut lines = vec![format!("{} gone; revision {}", answer.deleted, answer.revision)];
            lines.extend(answer.prev_kvs.iter().map(|before| format!("was {}", kv(before))));
            lines
        }
        Response::Txn(answer) => txn(answer),
        Response::Compact { revision } => vec![format!("compacted; revision {revision}")],
        Response::LeaseGrant { id, ttl, revision } => {
            vec![format!("lease {id} for {ttl} s; revision {revision}")]
        }
        Response::LeaseRevoke { revision } => vec![format!("revoked; revision {revision}")],
        Response::LeaseRenew { ttls } => {
            let lease = |(id, ttl): &(i64, i64)| match ttl {
                0 => format!("lease {id} is not known"),
                ttl => format!("lease {id} for {ttl} s more"),
            };
            ttls.iter().map(lease).collect()
        }
        Response::Alarm { alarms } if alarms.is_empty() => vec!["no alarm".to_string()],
        Response::Alarm { alarms } => alarms.iter().map(alarm).collect(),
    }
}

pub fn alarm((member, kind): &(u64, AlarmKind)) -> String {
    let kind = match kind {
        AlarmKind::None => "none",
        AlarmKind::NoSpace => "no-space",
        AlarmKind::Corrupt => "corrupt",
        AlarmKind::LowDisk => "low-disk",
        AlarmKind::LowMark => "low-mark",
    };
    format!("alarm {kind} of member {member}")
}

/// What a watcher of everything is told of one revision.
pub fn changes(changes: &Changes, view: &View) -> Vec<String> {
    let line = |e| format!("revision {}: {}", changes.revision, event(e, view));
    changes.events.iter().map(line).collect()
}

fn event(event: &Event, view: &View) -> String {
    let before = view.before(event);
    let before = match before.as_ref() {
        Some(before) => format!(", was {}", kv(before)),
        None => String::new(),
    };
    match event.kind {
        EventKind::Put if event.is_create() => format!("create {}{before}", kv(&event.kv)),
        EventKind::Put => format!("put {}{before}", kv(&event.kv)),
        EventKind::Delete => format!("delete {}{before}", blob(&event.kv.key)),
    }
}
