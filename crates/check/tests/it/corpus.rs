//! The sample histories, and their verdicts as their authors give them.

use std::path::Path;

use check::models::{CasRegister, Kv};
use check::{Limits, Outcome, Verdict, check, parse};

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
