//! What members do beside consensus: they publish, stop as planned, and compact.

use base::Nanos;
use member::compaction::Rule;
use sim::fault::{Fault, Kind};
use sim::{Knobs, Plan, Profile, Stats, Told, Wishes, World, majority, run};

fn world(change: impl FnOnce(&mut Knobs)) -> World {
    let mut knobs = Knobs::calm();
    change(&mut knobs);
    let mut world = World::scripted(3, &majority(3), knobs).expect("a majority is safe");
    world.until_leader(&[0, 1, 2]).expect("a calm cluster elects a leader");
    world
}

fn count(stats: &Stats, name: &str) -> u64 {
    stats.faults.get(name).or(stats.changes.get(name)).copied().unwrap_or(0)
}

#[test]
fn a_rolling_restart_leaves_no_client_without_a_definite_answer() {
    for seed in 0..4 {
        let mut plan = Plan::new(seed, Profile::Calm, &Wishes::default()).expect("a safe plan");
        let stop = |n: u64| {
            let at = Nanos::from_millis(3000 + 4000 * n);
            Fault { at, kind: Kind::Stop, span: Nanos::from_millis(500), pick: n * 31 + seed }
        };
        plan.faults = (0..14).map(stop).collect();
        (plan.knobs.publishes, plan.knobs.think_max) = (true, Nanos::from_millis(300));
        let verdict = run(&plan, false).expect("it runs");
        let stats = &verdict.stats;
        assert!(verdict.violation.is_none(), "seed {seed}: {:?}", verdict.violation);
        assert_eq!(stats.ops_unknown, 0, "seed {seed}: {stats:?}");
        let names = ["stop", "stop-drains", "stop-drained", "stop-leads", "stop-out-of-time"];
        assert_eq!(names.map(|name| count(stats, name)), [14, 14, 14, 0, 0], "seed {seed}");
    }
}

#[test]
fn a_leader_that_is_stopped_as_planned_is_followed_by_another_at_once() {
    let mut w = world(|_| {});
    let mut led = 0;
    for pick in 0..12 {
        let before = w.leader().expect("it leads");
        assert!(w.hit(Kind::Stop, 300, pick));
        w.wait(400); // less than an election timeout
        let after = w.leader().expect("nobody waits for a time-out");
        led += usize::from(before != after);
        w.wait(1600);
    }
    assert!(led > 1, "{led} of 12 led");
    assert_eq!(w.put(0, "k"), Told::Done);
    assert_eq!(count(&w.fault_counts(), "stop-drained"), 12);
    assert_eq!(w.conclude(), None);
}

#[test]
fn what_members_say_after_a_restart_is_published_while_they_are_down_again() {
    let mut w = world(|k| k.publishes = true);
    w.wait(1000);
    assert_eq!(count(&w.fault_counts(), "published"), 3, "once each");
    for at in (0..3).cycle().take(12) {
        w.halt(at, at == 1);
        w.wait(1500);
        w.boot(at).expect("a sound disk starts");
        w.wait(1500);
    }
    assert!(count(&w.fault_counts(), "published") > 4, "{:?}", w.fault_counts().changes);
    assert_eq!(w.conclude(), None);
}

#[test]
fn members_compact_by_themselves_and_keep_what_is_asked_for() {
    for rule in [
        Rule::Periodic { span: Nanos::from_millis(4000) },
        Rule::Revision { keep: 5, every: Nanos::from_millis(2000) },
    ] {
        let mut w = world(|k| k.compaction = rule);
        for n in 0..40 {
            assert_eq!(w.put(n % 3, "k"), Told::Done);
            w.wait(250);
        }
        assert!(count(&w.fault_counts(), "auto-compaction") > 2, "{rule:?}");
        assert_eq!(w.conclude(), None);
    }
}
