//! A bug planted in changes of members and quorum: a life notices it, and the life becomes short.
//! A process plants one bug at most, by its environment, so each test runs itself once more.

use base::planted::VARIABLE;
use sim::{Plan, Profile, Wishes};
use std::process::Command;

/// Lives of one search for a violation, and of its shortening.
const LIVES_MAX: u64 = 60;
const SHORTEN_MAX: u32 = 300;

/// Whether this is the process with the bug; else that process has been run.
fn with(bug: &str, test: &str) -> bool {
    if std::env::var_os(VARIABLE).is_some_and(|planted| planted == bug) {
        return true;
    }
    let mut again = Command::new(std::env::current_exe().expect("a test is a program"));
    again.env(VARIABLE, bug).args(["--exact", test, "--nocapture"]);
    let output = again.output().expect("it starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{bug}: {told}");
    false
}

fn is_shortened(bug: &str) {
    let wishes = Wishes { changes: true, ..Wishes::default() };
    let plan = |seed| Plan::new(seed, Profile::Swarm, &wishes).expect("a safe plan");
    let broken = |plan: &Plan| sim::run(plan, false).expect("it runs").violation.is_some();
    let whole = (0..LIVES_MAX).map(plan).find(broken);
    let whole = whole.unwrap_or_else(|| panic!("{bug}: no life of {LIVES_MAX} noticed it"));
    let short = sim::minimise(&whole, &wishes, SHORTEN_MAX).expect("it breaks a rule");
    assert!(short.verdict.violation.is_some(), "{bug}: it still does");
    let (faults, before) = (&short.plan.faults, whole.faults.len());
    assert!(faults.len() <= 6 && faults.len() < before, "{bug}: {} of {before}", faults.len());
    assert!(faults.iter().any(|fault| fault.kind.is_change()), "{bug}: {faults:?}");
    assert!(short.plan.ops < whole.ops, "{bug}: {} operations", short.plan.ops);
    assert!(short.plan.nodes <= whole.nodes, "{bug}: {} nodes", short.plan.nodes);
    // What replays it says so in words.
    let command = short.plan.command(&short.wishes);
    assert!(command.contains("--changes") && command.contains("--faults"), "{command}");
    let again = Plan::new(whole.seed, Profile::Swarm, &short.wishes).expect("a safe plan");
    let again = sim::run(&again, true).expect("it runs");
    assert!(again.trace == short.verdict.trace, "{bug}: the wishes replay it byte for byte");
}

#[test]
fn a_joint_that_asks_the_new_quorum_alone_becomes_a_short_story() {
    let bug = "joint-counts-new-only";
    if with(bug, "a_joint_that_asks_the_new_quorum_alone_becomes_a_short_story") {
        is_shortened(bug);
    }
}

#[test]
fn a_learner_that_is_counted_becomes_a_short_story() {
    let bug = "learner-counted";
    if with(bug, "a_learner_that_is_counted_becomes_a_short_story") {
        is_shortened(bug);
    }
}
