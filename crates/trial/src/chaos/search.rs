//! The same answers, given to the linearizability checker: a second opinion, by search.

use std::time::{Duration, Instant};

use base::Blob;
use check::etcd::{
    Compare, CompareOp, Etcd, EtcdOperation, Put, Range, Reply, Request, Response, Seen, Target,
    Txn,
};
use check::{Limits, Verdict};

use super::history::{Answer, Event, Input, Op};
use super::load::key;

const SEARCH_MAX: Duration = Duration::from_secs(60);

/// What is wrong, in words; none if some order explains every answer.
pub fn judge(ops: &[Op], log: &[Event]) -> Option<String> {
    let ops = operations(ops);
    let mut model = Etcd::new();
    for event in log {
        model.observe_put(Seen {
            key: blob(&key(event.key)),
            value: Some(blob(&event.value)),
            create_revision: Some(event.create_revision),
            mod_revision: Some(event.revision),
            version: Some(event.version),
            lease: Some(0),
        });
    }
    let began = Instant::now();
    let cancel = || began.elapsed() > SEARCH_MAX;
    let found = check::etcd::check(model, &ops, Limits::default(), &cancel);
    match found.outcome.verdict {
        Verdict::Linearizable { .. } => None,
        Verdict::NotLinearizable { stuck, .. } => {
            let first = stuck.first().map(|&index| &ops[index]);
            Some(format!("not linearizable: nothing explains {first:?}"))
        }
        Verdict::Unknown { why } => Some(format!("the search gave up: {why}")),
    }
}

/// The history as the checker reads it. Serializable reads, reads without an answer and writes
/// that had no effect are not part of it.
pub fn operations(ops: &[Op]) -> Vec<EtcdOperation> {
    ops.iter().filter_map(operation).collect()
}

fn operation(op: &Op) -> Option<EtcdOperation> {
    let (unknown, refused) = match op.answer {
        Answer::Unknown { .. } => (true, false),
        Answer::Refused { .. } => (false, true),
        Answer::Wrote { .. } | Answer::Found { .. } => (false, false),
    };
    if op.input.is_serializable() || refused || (unknown && op.input.value().is_none()) {
        return None;
    }
    let process = op.client;
    let (invoked, returned) = (op.invoked, (!unknown).then_some(op.returned));
    let output = op
        .answer
        .revision()
        .map(|revision| Response { revision: Some(revision), reply: Some(reply(op)) });
    Some(EtcdOperation { process, input: request(&op.input), output, invoked, returned })
}

fn request(input: &Input) -> Request {
    let put = |value: &str| {
        let (key, value) = (blob(&key(input.key())), blob(value));
        Request::Put(Put { key, value, ..Put::default() })
    };
    let read = || Request::Range(Range { key: blob(&key(input.key())), ..Range::default() });
    match input {
        Input::Put { value, .. } => put(value),
        Input::Read { .. } => read(),
        Input::Cas { key: number, expected, value } => Request::Txn(Txn {
            compare: vec![Compare {
                key: blob(&key(*number)),
                range_end: Blob::default(),
                op: CompareOp::Equal,
                target: Target::Mod(*expected),
            }],
            success: vec![put(value)],
            failure: vec![read()],
        }),
    }
}

fn reply(op: &Op) -> Reply {
    let plain = match &op.answer {
        Answer::Found { seen, .. } => {
            let kvs = seen.iter().map(|seen| Seen {
                key: blob(&key(op.input.key())),
                value: Some(blob(&seen.value)),
                mod_revision: Some(seen.mod_revision),
                version: Some(seen.version),
                ..Seen::default()
            });
            Reply::Range { kvs: kvs.collect(), count: None, more: None }
        }
        _ => Reply::Put { prev: None },
    };
    if !matches!(op.input, Input::Cas { .. }) {
        return plain;
    }
    let succeeded = matches!(op.answer, Answer::Wrote { .. });
    Reply::Txn { succeeded, replies: vec![plain] }
}

fn blob(text: &str) -> Blob {
    Blob::from(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(input: Input, answer: Answer, invoked: u64, returned: u64) -> Op {
        Op { client: 1, member: 0, life: None, input, answer, invoked, returned }
    }

    fn history(read_of: i64) -> (Vec<Op>, Vec<Event>) {
        let put = |value: &str| Input::Put { key: 0, value: value.to_owned() };
        let event = |value: &str, revision: i64, version: i64| Event {
            key: 0,
            value: value.to_owned(),
            revision,
            create_revision: 2,
            version,
        };
        let seen =
            super::super::history::Seen { value: "b".to_owned(), mod_revision: 3, version: 2 };
        let lost = Answer::Found { revision: 4, seen: Some(seen.clone()) };
        let ops = vec![
            op(put("a"), Answer::Wrote { revision: 2 }, 10, 20),
            op(put("b"), Answer::Unknown { why: "timeout".to_owned() }, 30, 40),
            op(
                Input::Read { key: 0, serializable: false },
                Answer::Found { revision: read_of, seen: Some(seen) },
                50,
                60,
            ),
            op(Input::Cas { key: 1, expected: 0, value: "c".to_owned() }, wrote(4), 61, 70),
            op(Input::Cas { key: 0, expected: 2, value: "d".to_owned() }, lost, 71, 80),
        ];
        let mut other = event("c", 4, 1);
        (other.key, other.create_revision) = (1, 4);
        (ops, vec![event("a", 2, 1), event("b", 3, 2), other])
    }

    fn wrote(revision: i64) -> Answer {
        Answer::Wrote { revision }
    }

    #[test]
    fn the_checker_accepts_an_unknown_write_that_a_read_saw() {
        let (ops, log) = history(3);
        assert_eq!(judge(&ops, &log), None);
    }

    #[test]
    fn the_checker_refuses_an_answer_that_nothing_explains() {
        let (mut ops, log) = history(3);
        ops[3].answer = wrote(3);
        assert!(judge(&ops, &log).is_some_and(|what| what.contains("not linearizable")));
        let (ops, log) = history(5);
        assert!(judge(&ops, &log).is_some_and(|what| what.contains("not linearizable")));
    }

    #[test]
    fn a_kept_history_is_read_back_by_the_checker() {
        let (ops, _) = history(3);
        let ops = operations(&ops);
        let lines = check::parse::etcd_to_lines(1, &[], &ops);
        let back = check::parse::etcd_lines(lines.as_bytes()).expect("our own lines");
        assert_eq!(back.ops, ops);
    }
}
