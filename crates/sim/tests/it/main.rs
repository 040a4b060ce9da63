//! Lives as tests: byte-identical runs, every fault by script, and seeds that found something.

mod changes;
mod chores;
mod faults;
mod regressions;

use sim::{Plan, Profile, Verdict, Wishes, run};

/// Lives of the slower tests: fewer in debug builds, so that they stay quick.
const SCALE: u64 = if cfg!(debug_assertions) { 1 } else { 5 };

fn live(seed: u64, profile: Profile, trace: bool) -> Verdict {
    let plan = Plan::new(seed, profile, &Wishes::default()).expect("a safe plan");
    run(&plan, trace).expect("it runs")
}

fn clean(seed: u64, profile: Profile) -> Verdict {
    let verdict = live(seed, profile, false);
    let name = profile.name();
    assert!(verdict.violation.is_none(), "seed {seed} {name}: {:?}", verdict.violation);
    verdict
}

#[test]
fn a_calm_life_answers_everything() {
    let verdict = clean(1, Profile::Calm);
    assert!(verdict.stats.ops_done >= 300, "{:?}", verdict.stats);
    assert_eq!(verdict.stats.ops_unknown, 0);
    // What waits for a file is no fault.
    let waits = ["entry-fetched", "read-fetched"];
    let faults = verdict.stats.faults.keys().filter(|name| !waits.contains(&&name[..]));
    assert_eq!(faults.count(), 0, "{:?}", verdict.stats.faults);
}

#[test]
fn the_same_seed_gives_the_same_trace_byte_for_byte() {
    for seed in 0..200 {
        let (a, b) = (live(seed, Profile::Swarm, true), live(seed, Profile::Swarm, true));
        assert!(a.trace == b.trace, "seed {seed} is not a function of its seed");
        assert_eq!((a.digest, a.chain), (b.digest, b.chain));
        assert!(a.trace.lines().count() > 1000);
    }
}

#[test]
fn a_trace_changes_nothing_but_what_is_written_down() {
    for seed in 0..5 {
        let (a, b) = (live(seed, Profile::Swarm, true), live(seed, Profile::Swarm, false));
        assert_eq!((a.digest, a.stats), (b.digest, b.stats), "seed {seed}");
        assert!(b.trace.is_empty());
    }
}

#[test]
fn many_lives_under_every_profile_are_clean_and_standard() {
    for profile in [Profile::Rough, Profile::Hostile, Profile::Swarm] {
        for seed in 5000..5000 + 30 * SCALE {
            let verdict = clean(seed, profile);
            let stats = &verdict.stats;
            assert!(stats.ops() >= 300, "seed {seed}: {} operations", stats.ops());
            assert!(stats.faults_all() >= 10, "seed {seed}: {:?}", stats.faults);
            assert!(verdict.time >= sim::LIFE);
        }
    }
}

/// Clocks twenty times outside the bound: no promise about leases can hold.
fn wild_clocks() -> (Plan, Wishes) {
    let wishes = Wishes { drift_ppm: Some(200_000), ..Wishes::default() };
    let broken = |seed: &u64| {
        let plan = Plan::new(*seed, Profile::Rough, &wishes).expect("a safe plan");
        let violation = run(&plan, false).expect("it runs").violation;
        violation.is_some_and(|violation| violation.rule == "lease not early")
    };
    let seed = (0..40).find(broken).expect("a lease ends early in one of forty lives");
    (Plan::new(seed, Profile::Rough, &wishes).expect("a safe plan"), wishes)
}

#[test]
fn clocks_outside_the_bound_are_caught_ending_a_lease_early_and_the_story_is_shortened() {
    let (plan, wishes) = wild_clocks();
    let short = sim::minimise(&plan, &wishes, 150).expect("it breaks a rule");
    let violation = short.verdict.violation.expect("it still does");
    assert_eq!(violation.rule, "lease not early");
    assert!(short.plan.faults.len() < plan.faults.len(), "{:?}", short.plan.faults);
    assert!(short.verdict.trace.contains("\"ev\":\"violation\""));
    let again = Plan::new(plan.seed, Profile::Rough, &short.wishes).expect("a safe plan");
    let verdict = run(&again, true).expect("it runs");
    assert!(verdict.trace == short.verdict.trace, "the wishes replay it byte for byte");
    let command = again.command(&short.wishes);
    assert!(command.contains("--drift-ppm 200000") && command.contains("--faults"), "{command}");
}

#[test]
fn clocks_just_inside_the_bound_end_no_lease_early() {
    for seed in 0..4 * SCALE {
        let wishes = Wishes { drift_ppm: Some(9_500), ..Wishes::default() };
        let plan = Plan::new(seed, Profile::Rough, &wishes).expect("a safe plan");
        let verdict = run(&plan, false).expect("it runs");
        assert!(verdict.violation.is_none(), "seed {seed}: {:?}", verdict.violation);
    }
}

#[test]
fn a_clean_life_is_not_shortened() {
    let wishes = Wishes { faults: Some(vec![]), ops: Some(300), ..Wishes::default() };
    let plan = Plan::new(3, Profile::Rough, &wishes).expect("a safe plan");
    let error = sim::minimise(&plan, &wishes, 5).expect_err("nothing is broken");
    assert!(error.contains("clean"), "{error}");
    let command = plan.command(&wishes);
    assert!(command.ends_with("--profile rough --ops 300 --faults none"), "{command}");
}

#[test]
fn a_search_that_knows_no_revisions_agrees_that_histories_are_linearizable() {
    let mut all = 0;
    for seed in 0..6 * SCALE {
        let mut plan = Plan::new(seed, Profile::Swarm, &Wishes::default()).expect("a safe plan");
        plan.knobs.op_weights = [0; sim::CHOICES];
        (plan.knobs.op_weights[0], plan.knobs.op_weights[1], plan.knobs.op_weights[5]) = (6, 8, 1);
        let verdict = run(&plan, true).expect("it runs");
        assert!(verdict.violation.is_none(), "seed {seed}: {:?}", verdict.violation);
        let history = &verdict.registers;
        assert!(history.len() > 100, "seed {seed}: {} operations", history.len());
        all += history.len();
        let model = check::models::Kv::of(history);
        let limits = check::Limits { steps_max: 20_000_000, ..check::Limits::default() };
        let outcome = check::check(&model, history, limits, &|| false);
        let linearizable = matches!(outcome.verdict, check::Verdict::Linearizable { .. });
        assert!(linearizable, "seed {seed}: {:?}", outcome.verdict);
    }
    assert!(all > 200 * 6 * SCALE as usize, "{all} operations in all");
}
