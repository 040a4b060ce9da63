use super::*;

fn event(revision: i64, key: usize, value: &str, create_revision: i64, version: i64) -> Event {
    Event { key, value: value.into(), revision, create_revision, version }
}

fn op(input: Input, answer: Answer, invoked: u64, returned: u64) -> Op {
    Op { client: 0, member: 0, life: Some(0), input, answer, invoked, returned }
}

fn put(key: usize, value: &str, answer: Answer, invoked: u64, returned: u64) -> Op {
    op(Input::Put { key, value: value.into() }, answer, invoked, returned)
}

fn wrote(revision: i64) -> Answer {
    Answer::Wrote { revision }
}

fn unknown() -> Answer {
    Answer::Unknown { why: "timeout".into() }
}

fn found(revision: i64, seen: Option<(&str, i64, i64)>) -> Answer {
    let seen = seen.map(|(value, mod_revision, version)| Seen {
        value: value.into(),
        mod_revision,
        version,
    });
    Answer::Found { revision, seen }
}

fn read(key: usize, serializable: bool, answer: Answer, invoked: u64, returned: u64) -> Op {
    op(Input::Read { key, serializable }, answer, invoked, returned)
}

/// Two keys, three writes, a read of each sort, a CAS that lost.
fn good() -> (Vec<Op>, Vec<Event>) {
    let log = vec![event(2, 0, "a", 2, 1), event(3, 1, "b", 3, 1), event(4, 0, "c", 2, 2)];
    let cas = |expected, value: &str| Input::Cas { key: 0, expected, value: value.into() };
    let ops = vec![
        put(0, "a", wrote(2), 10, 20),
        put(1, "b", unknown(), 12, 22),
        op(cas(2, "c"), wrote(4), 30, 40),
        op(cas(2, "d"), found(4, Some(("c", 4, 2))), 32, 50),
        read(1, false, found(4, Some(("b", 3, 1))), 60, 70),
        read(1, true, found(4, Some(("b", 3, 1))), 61, 71),
        put(1, "e", unknown(), 70, 80),
        put(1, "f", Answer::Refused { why: "no leader".into() }, 70, 80),
    ];
    (ops, log)
}

fn wrong_with(change: impl FnOnce(&mut Vec<Op>, &mut Vec<Event>)) -> String {
    let (mut ops, mut log) = good();
    change(&mut ops, &mut log);
    judge(&ops, &log).join("\n")
}

#[test]
fn a_history_that_the_events_explain_is_not_complained_about() {
    assert_eq!(wrong_with(|_, _| {}), "");
}

#[test]
fn a_lost_acknowledged_write_is_seen() {
    let lost = |ops: &mut Vec<Op>, _: &mut Vec<Event>| ops.push(put(1, "z", wrote(5), 90, 95));
    assert!(wrong_with(lost).contains("acknowledged and lost"));
}

#[test]
fn a_refused_write_that_was_applied_is_seen() {
    let wrong = wrong_with(|_, log| log.push(event(5, 1, "f", 3, 2)));
    assert!(wrong.contains("refused as not applied"), "{wrong}");
}

#[test]
fn a_write_applied_twice_and_one_by_nobody_are_seen() {
    let wrong = wrong_with(|_, log| log.push(event(5, 0, "c", 2, 3)));
    assert!(wrong.contains("applied twice"), "{wrong}");
    let wrong = wrong_with(|_, log| log.push(event(5, 0, "stranger", 2, 3)));
    assert!(wrong.contains("nobody wrote"), "{wrong}");
}

#[test]
fn a_stale_linearizable_read_is_seen_and_a_stale_serializable_one_is_allowed() {
    let stale = found(2, None);
    let wrong = wrong_with(|ops, _| ops.push(read(1, false, stale.clone(), 60, 70)));
    assert!(wrong.contains("stale"), "{wrong}");
    let elsewhere = Op { member: 1, ..read(1, true, stale.clone(), 60, 70) };
    assert_eq!(wrong_with(|ops, _| ops.push(elsewhere)), "");
    let wrong = wrong_with(|ops, _| ops.push(read(1, true, stale, 60, 70)));
    assert!(wrong.contains("went back"), "{wrong}");
}

#[test]
fn a_member_that_was_slow_with_its_first_answer_did_not_go_back() {
    let slow = read(1, true, found(1, None), 5, 18);
    assert_eq!(wrong_with(|ops, _| ops.push(slow)), "");
}

#[test]
fn an_answer_that_does_not_fit_its_revision_is_seen() {
    let wrong = wrong_with(|ops, _| ops.push(read(0, false, found(4, None), 60, 70)));
    assert!(wrong.contains("there was Some"), "{wrong}");
    let wrong = wrong_with(|ops, _| ops.push(read(0, true, found(9, None), 60, 70)));
    assert!(wrong.contains("never was"), "{wrong}");
}

#[test]
fn a_cas_over_another_revision_and_one_that_should_have_matched_are_seen() {
    let cas = |expected, value: &str| Input::Cas { key: 0, expected, value: value.into() };
    let wrong = wrong_with(|ops, _| ops[2] = op(cas(3, "c"), wrote(4), 30, 40));
    assert!(wrong.contains("CAS over revision 2"), "{wrong}");
    let answer = found(4, Some(("c", 4, 2)));
    let wrong = wrong_with(|ops, _| ops.push(op(cas(4, "g"), answer, 60, 70)));
    assert!(wrong.contains("not done"), "{wrong}");
}

#[test]
fn an_unknown_write_must_not_take_effect_before_it_was_asked_for() {
    let late = put(1, "b", unknown(), 45, 55);
    let wrong = wrong_with(|ops, _| ops[1] = late);
    assert!(wrong.contains("stale"), "{wrong}");
}

#[test]
fn gaps_between_revisions_and_wrong_counters_are_seen() {
    let wrong = wrong_with(|_, log| log[2].revision = 5);
    assert!(wrong.contains("event 4 has revision 5"), "{wrong}");
    let wrong = wrong_with(|_, log| log[2].version = 3);
    assert!(wrong.contains("create revision and version"), "{wrong}");
}
