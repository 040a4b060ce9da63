//! The sample histories, and their verdicts as their authors give them.

use std::path::Path;

use check::models::{CasInput, CasOutput, CasRegister, Kv, KvInput, KvOutput};
use check::{Limits, Operation, Outcome, Verdict, check, parse};

fn data(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    std::fs::read(path).unwrap()
}

fn is_linearizable(outcome: &Outcome) -> bool {
    match outcome.verdict {
        Verdict::Linearizable { .. } => true,
        Verdict::NotLinearizable { .. } => false,
        Verdict::Unknown { why } => panic!("no limit was set: {why}"),
    }
}

#[test]
fn jepsens_etcd_histories_get_their_verdicts_in_few_states() {
    for (number, expected) in [(0, false), (1, false), (2, true), (5, true), (7, true), (10, false)]
    {
        let ops = parse::cas_register_events(&data(&format!("etcd_{number:03}.log"))).unwrap();
        let outcome = check(&CasRegister, &ops, Limits::default(), &|| false);
        println!("{number}: {:?}", outcome.stats);
        assert_eq!(is_linearizable(&outcome), expected, "etcd_{number:03}");
        assert!(outcome.stats.states < 20_000, "{number}: {:?}", outcome.stats);
    }
}

#[test]
fn key_value_histories_get_their_verdicts_in_few_states() {
    for (name, expected) in
        [("c01-ok", true), ("c01-bad", false), ("c10-ok", true), ("c10-bad", false)]
    {
        let ops = parse::kv_events(&data(&format!("{name}.txt"))).unwrap();
        let outcome = check(&Kv::of(&ops), &ops, Limits::default(), &|| false);
        println!("{name}: {:?}", outcome.stats);
        assert_eq!(is_linearizable(&outcome), expected, "{name}");
        assert!(outcome.stats.states < 20_000, "{name}: {:?}", outcome.stats);
    }
}

#[test]
fn many_appends_at_once_do_not_multiply() {
    let name = |at: u64| format!("<{at}>");
    let key = || "k".to_owned();
    for lost in [false, true] {
        let mut ops: Vec<Operation<KvInput, KvOutput>> = (0..24)
            .map(|at| Operation {
                process: at as u32,
                input: KvInput::Append { key: key(), value: name(at) },
                output: Some(KvOutput::Done),
                invoked: at,
                returned: Some(100 + at),
            })
            .collect();
        // The answers are those of a strange order; one of them may have been lost.
        let read: String =
            (0..24).map(|at| at * 7 % 24).filter(|&at| !lost || at != 11).map(name).collect();
        ops.push(Operation {
            process: 99,
            input: KvInput::Get { key: key() },
            output: Some(KvOutput::Value(read)),
            invoked: 200,
            returned: Some(201),
        });
        let outcome = check(&Kv::of(&ops), &ops, Limits::default(), &|| false);
        assert_eq!(is_linearizable(&outcome), !lost);
        assert!(outcome.stats.states < 2_000, "{:?}", outcome.stats);
    }
}

#[test]
fn many_lost_writes_of_few_values_do_not_multiply() {
    let mut ops = Vec::new();
    for at in 0..300u64 {
        let input = match at % 3 {
            0 => CasInput::Write((at / 3 % 5) as i64),
            1 => CasInput::Cas((at % 5) as i64, (at * 3 % 5) as i64),
            _ => CasInput::Read,
        };
        // Every read sees another value than the one before: the lost writes must explain it.
        let output =
            (input == CasInput::Read).then_some(CasOutput::Value(Some((at / 3 % 5) as i64)));
        let returned = Some(10 * at + 5);
        ops.push(Operation { process: at as u32, input, output, invoked: 10 * at, returned });
    }
    let outcome = check(&CasRegister, &ops, Limits::default(), &|| false);
    println!("{:?}", outcome.stats);
    assert!(is_linearizable(&outcome));
    assert!(outcome.stats.states < 100_000, "{:?}", outcome.stats);
}
