use super::*;
use crate::What;
use base::{Ballot, Incarnation, NodeId, RequestId};
use quorum::NodeSet;
use std::collections::BTreeMap;

fn head() -> Head {
    Head {
        trace: VERSION,
        names: vec!["a".into(), "b \"x\"".into()],
        quorum: "majority(a, 'b')".into(),
        rule: "shared-terms".into(),
        seed: Some(u64::MAX),
        ..Head::default()
    }
}

/// One of every kind.
fn every() -> Vec<What> {
    let id = RequestId { origin: NodeId(1), incarnation: Incarnation(u64::MAX), seq: 3 };
    let ballot = Ballot::new(u64::MAX, 2);
    let acked = NodeSet::from_iter([0, 63]);
    let text = || "two\nlines, \u{1F980} and \"quotes\"".to_string();
    vec![
        What::Propose { id },
        What::Log { id, index: 1, ballot },
        What::Append { from: 1, to: u64::MAX, ballot },
        What::Persist { ticket: 1 },
        What::Ack { by: text(), index: 1 },
        What::Quorum { index: 1, acked, ballot },
        What::Commit { index: 1 },
        What::Apply { index: 1, id: Some(id), revision: i64::MIN, chain: u64::MAX },
        What::Apply { index: 1, id: None, revision: 1, chain: 0 },
        What::Repeat { index: 1, id },
        What::Reply { id },
        What::Refuse { id, reason: "no-leader".into(), missing: vec![text()] },
        What::Unknown { id, reason: "timeout".into() },
        What::Change { id, index: 1, by: None, quorum: text(), joint: Some(text()) },
        What::Change { id, index: 1, by: Some(text()), quorum: text(), joint: None },
        What::Config {
            quorum: text(),
            joint: None,
            slots: BTreeMap::from([(text(), 63), ("a".into(), 0)]),
            learners: vec![text()],
        },
        What::Ask { ballot },
        What::Campaign { ballot },
        What::Vote { ballot, to: text(), granted: false },
        What::Elect { ballot, votes: NodeSet::EMPTY },
        What::Follow { ballot, leader: None },
        What::StepDown { ballot, why: "quorum-lost".into() },
        What::Transfer { to: text() },
        What::Read { seq: 1, acked },
        What::Diverged { index: 1 },
        What::Checkpoint { index: 1 },
        What::Install { index: 1 },
        What::TransferFailed { why: text() },
        What::Restart { life: 1, incarnation: 2, promise: ballot, base: 3, last: 4 },
        What::Refused { why: text() },
        What::Repair { promise: ballot, index: 1, why: text() },
        What::Repaired { index: 1 },
        What::DiskFailed { why: text() },
        What::Crash { why: "fault".into(), loss: "whole".into() },
        What::Resume,
        What::Damage { place: text() },
        What::Fault { fault: "kill".into(), span: 1 },
        What::Heal { all: false },
        What::Heal { all: true },
        What::Invoke { client: 1, op: 2, ask: text() },
        What::Return { client: 1, op: 2, outcome: "done".into(), read: true },
        What::Operator { op: 1, told: text() },
        What::Violation { rule: "one log".into(), what: text() },
    ]
}

fn events() -> Vec<Event> {
    let event = |(n, what)| {
        let node = (n % 2 == 0).then(|| format!("n{n}"));
        Event { n, at: n << 40, node, what }
    };
    (1..).zip(every()).map(event).collect()
}

fn written() -> String {
    let mut out = String::new();
    write_head(&head(), &mut out);
    events().iter().for_each(|event| write(event, &mut out));
    out
}

#[test]
fn every_event_is_read_as_it_was_written_one_line_each() {
    let text = written();
    assert_eq!(text.lines().count(), events().len() + 1);
    assert_eq!(read(&text), Ok((head(), events())));
}

#[test]
fn the_form_is_the_documented_one() {
    let text = written();
    for line in [
        "{\"trace\":2,\"names\":[\"a\",\"b \\\"x\\\"\"],\"quorum\":\"majority(a, 'b')\",\
         \"rule\":\"shared-terms\",\"seed\":18446744073709551615}",
        "{\"n\":1,\"at\":1099511627776,\"ev\":\"propose\",\"id\":\"1/18446744073709551615/3\"}",
        "{\"n\":6,\"at\":6597069766656,\"node\":\"n6\",\"ev\":\"quorum\",\"index\":1,\
         \"acked\":\"8000000000000001\",\"ballot\":\"18446744073709551615.2\"}",
        "{\"n\":9,\"at\":9895604649984,\"ev\":\"apply\",\"index\":1,\"revision\":1,\
         \"chain\":\"0000000000000000\"}",
        "{\"n\":20,\"at\":21990232555520,\"node\":\"n20\",\"ev\":\"elect\",\
         \"ballot\":\"18446744073709551615.2\",\"votes\":\"0\"}",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\nin\n{text}");
    }
}

#[test]
fn what_a_later_build_adds_is_skipped() {
    let mut text = String::new();
    write_head(&head(), &mut text);
    text.push_str("{\"n\":1,\"at\":2,\"node\":\"a\",\"ev\":\"dance\",\"steps\":[1,2]}\n");
    text.push_str("{\"n\":2,\"at\":2,\"ev\":\"commit\",\"index\":7,\"and\":{\"more\":null}}\n");
    let (_, events) = read(&text).expect("both are events");
    assert_eq!(events[0].what, What::Other);
    assert_eq!(events[1].what, What::Commit { index: 7 });
}

#[test]
fn a_text_that_is_no_trace_is_refused_by_line() {
    let head = "{\"trace\":2,\"names\":[],\"quorum\":\"\",\"rule\":\"\"}\n";
    let cut = format!("{head}{{\"n\":1,\"at\":2,\"ev\":\"res");
    assert_eq!(read(&cut).expect("a file still being written").1, vec![]);
    for (text, line, why) in [
        (String::new(), 1, "no first line"),
        ("hello\n".to_string(), 1, "expected value"),
        (head.replace(":2", ":1"), 1, "version 1; this build reads 2"),
        (head.replace(":2", ":3"), 1, "version 3; this build reads 2"),
        ("{\"trace\":2}\n".to_string(), 1, "missing field"),
        (format!("{cut}\n"), 2, "EOF while parsing"),
        (format!("{cut}\n{{\"n\":2,\"at\":2,\"ev\":\"resume\"}}\n"), 2, "EOF while parsing"),
        (format!("{head}{{\"at\":2,\"ev\":\"resume\"}}\n"), 2, "missing field `n`"),
        (format!("{head}{{\"n\":1,\"at\":2}}\n"), 2, "missing field `ev`"),
        (format!("{head}{{\"n\":1,\"at\":2,\"ev\":\"campaign\",\"ballot\":\"7\"}}\n"), 2, "ballot"),
        (
            format!("{head}{{\"n\":1,\"at\":2,\"ev\":\"read\",\"seq\":1,\"acked\":\"+1\"}}\n"),
            2,
            "set",
        ),
        (
            format!("{head}{{\"n\":1,\"at\":2,\"ev\":\"propose\",\"id\":\"1/2/3/4\"}}\n"),
            2,
            "request",
        ),
    ] {
        let error = read(&text).expect_err(&text);
        assert_eq!(error.line, line, "{text}: {error}");
        assert!(error.to_string().contains(why), "{text}: {error}");
    }
}
