//! Lives as tests: byte-identical runs, and seeds that found something.

use sim::{Plan, Profile, Verdict, Wishes, run};

fn live(seed: u64, profile: Profile, trace: bool) -> Verdict {
    let plan = Plan::new(seed, profile, &Wishes::default()).expect("a safe plan");
    run(&plan, trace).expect("it runs")
}

fn clean(seed: u64, profile: Profile) -> Verdict {
    let verdict = live(seed, profile, false);
    assert!(verdict.violation.is_none(), "seed {seed}: {:?}", verdict.violation);
    verdict
}

#[test]
fn a_calm_life_answers_everything() {
    let verdict = clean(1, Profile::Calm);
    assert!(verdict.stats.ops_done >= 300, "{:?}", verdict.stats);
    assert_eq!(verdict.stats.ops_unknown, 0);
}
