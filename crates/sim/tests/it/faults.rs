//! Each fault by script: it takes effect, it is counted, and the promises hold after it.

use sim::fault::Kind;
use sim::{Knobs, Plan, Profile, Told, Wishes, World, majority};

fn world(nodes: usize, change: impl FnOnce(&mut Knobs)) -> World {
    let mut knobs = Knobs::calm();
    change(&mut knobs);
    let mut world = World::scripted(nodes, &majority(nodes), knobs).expect("a majority is safe");
    let all: Vec<usize> = (0..nodes).collect();
    world.until_leader(&all).expect("a calm cluster elects a leader");
    world
}

/// Writes through every member that runs; how many were answered.
fn writes(world: &mut World, nodes: usize, each: usize) -> usize {
    let mut done = 0;
    for at in 0..each * nodes {
        done += usize::from(world.put(at % nodes, "k") == Told::Done);
    }
    done
}

fn count(world: &World, name: &str) -> u64 {
    world.fault_counts().faults.get(name).copied().unwrap_or(0)
}

fn holds(world: &mut World) {
    assert_eq!(world.conclude(), None);
}

#[test]
fn lost_frames_are_counted_and_cost_nothing_but_time() {
    let mut w = world(3, |k| k.loss_ppm = 150_000);
    assert!(writes(&mut w, 3, 10) > 15);
    assert!(count(&w, "frame-lost") > 10);
    holds(&mut w);
}

#[test]
fn late_and_reordered_frames_are_taken_in_any_order() {
    let mut w = world(3, |k| {
        (k.fifo, k.spike_ppm) = (false, 200_000);
        k.spike_max = base::Nanos::from_millis(300);
    });
    assert!(writes(&mut w, 3, 10) > 20);
    assert!(count(&w, "delay-spike") > 10);
    holds(&mut w);
}

#[test]
fn doubled_and_replayed_frames_apply_once() {
    let mut w = world(3, |k| {
        (k.duplicate_ppm, k.replay_ppm, k.fifo) = (500_000, 200_000, false);
    });
    assert!(writes(&mut w, 3, 10) > 20);
    assert!(count(&w, "frame-doubled") > 10 && count(&w, "frame-replayed") > 5);
    holds(&mut w);
}

#[test]
fn damaged_frames_are_dropped() {
    let mut w = world(3, |k| k.corrupt_ppm = 100_000);
    writes(&mut w, 3, 10);
    assert!(count(&w, "frame-damaged") > 5);
    holds(&mut w);
}

#[test]
fn every_shape_of_cut_takes_effect_and_heals() {
    let shapes = [
        Kind::Cut,
        Kind::OneWay,
        Kind::Clog,
        Kind::QuorumLoss,
        Kind::Constrained,
        Kind::Chained,
        Kind::Ring,
        Kind::Blocking,
    ];
    for shape in shapes {
        let mut w = world(5, |k| k.client_timeout = base::Nanos::from_millis(500));
        // Several at once: one alone may cut only links that carry nothing.
        let took = (0..6).filter(|pick| w.hit(shape, 3000, *pick)).count();
        assert!(took > 0, "{}", shape.name());
        writes(&mut w, 5, 2);
        w.wait(1000);
        let stopped = count(&w, "frame-cut") + count(&w, "frame-held");
        assert!(stopped > 0, "{} stops frames", shape.name());
        holds(&mut w);
    }
}

#[test]
fn a_constrained_leader_stalls_the_cluster_at_most_until_the_heal() {
    // Omni-Paxos, section 2: the only member with a quorum may have a log that is behind. The
    // stall, where there is one, ends with the cut.
    let mut w = world(5, |k| k.client_timeout = base::Nanos::from_millis(300));
    assert!((0..20).any(|pick| w.hit(Kind::Constrained, 20_000, pick)));
    for _ in 0..10 {
        w.wait(1500);
        w.put(1, "k");
    }
    w.wait(6000);
    assert_eq!(w.put(1, "k"), Told::Done, "the heal ends it");
    holds(&mut w);
}

#[test]
fn kills_and_power_losses_lose_nothing_acknowledged() {
    let kinds = [
        Kind::Kill,
        Kind::Crash,
        Kind::CrashAll,
        Kind::Leader,
        Kind::OneQuorum,
        Kind::Intersection,
    ];
    for kind in kinds {
        let mut w = world(3, |_| {});
        for pick in 0..6 {
            writes(&mut w, 3, 1);
            w.hit(kind, 700, pick);
            w.wait(3000);
        }
        assert!(count(&w, kind.name()) > 0, "{}", kind.name());
        assert!(w.fault_counts().starts > 3);
        holds(&mut w);
    }
}

#[test]
fn power_goes_between_any_two_disk_operations_and_effects() {
    let mut w = world(3, |k| {
        (k.segment_bytes, k.checkpoint_entries, k.catchup_entries) = (2048, 10, 2);
        k.client_timeout = base::Nanos::from_millis(400);
    });
    for pick in 0..150 {
        w.hit(Kind::CrashPoint, 10, pick);
        writes(&mut w, 3, 2);
    }
    let (disk, shell) = (count(&w, "power-mid-operation"), count(&w, "between-effects"));
    assert!(disk > 5 && shell > 5, "{disk} inside the disk, {shell} between effects");
    let lost = ["unsynced-lost", "unsynced-prefix", "unsynced-sectors"].map(|name| count(&w, name));
    assert!(lost.iter().all(|n| *n > 0), "whole, prefix, sectors: {lost:?}");
    holds(&mut w);
}

#[test]
fn a_lost_request_or_answer_leaves_an_outcome_unknown_and_nothing_applied_twice() {
    let wishes = Wishes { nodes: Some(3), ops: Some(400), ..Wishes::default() };
    let mut plan = Plan::new(3, Profile::Calm, &wishes).expect("a safe plan");
    plan.knobs.client_loss_ppm = 150_000;
    // A member that is down now and then: its clients try the others.
    plan.faults.extend(Plan::new(3, Profile::Rough, &wishes).expect("a safe plan").faults);
    let verdict = sim::run(&plan, true).expect("it runs");
    assert!(verdict.violation.is_none(), "{:?}", verdict.violation);
    let count = |name: &str| verdict.stats.faults.get(name).copied().unwrap_or(0);
    assert!(count("request-lost") > 10 && count("answer-lost") > 10, "{:?}", verdict.stats);
    assert!(verdict.stats.ops_unknown > 20, "{:?}", verdict.stats);
    assert!(verdict.stats.ops_done > 200, "{:?}", verdict.stats);
}

#[test]
fn a_request_that_its_member_offers_twice_is_dropped_the_second_time() {
    let repeats = |seed| {
        let plan = Plan::new(seed, Profile::Hostile, &Wishes::default()).expect("a safe plan");
        let verdict = sim::run(&plan, true).expect("it runs");
        assert!(verdict.violation.is_none(), "seed {seed}: {:?}", verdict.violation);
        verdict.trace.matches("\"ev\":\"repeat\"").count()
    };
    let all: usize = (0..8).map(repeats).sum();
    assert!(all > 5, "{all} requests were there already");
}

#[test]
fn a_paused_leader_is_replaced_and_steps_down_when_it_wakes() {
    let mut w = world(3, |_| {});
    let old = w.until_leader(&[0, 1, 2]).expect("a leader");
    while !w.picture(old).state.contains("paused") {
        let pick = w.now.0;
        w.hit(Kind::Pause, 6000, pick);
        w.wait(1);
    }
    w.wait(5000);
    let others: Vec<usize> = (0..3).filter(|n| *n != old).collect();
    assert!(others.iter().any(|n| w.picture(*n).leads) || count(&w, "pause") > 1);
    w.wait(3000);
    holds(&mut w);
}

#[test]
fn a_sync_that_fails_once_stops_the_member_and_loses_nothing() {
    let mut w = world(3, |_| {});
    for pick in 0..12 {
        w.hit(Kind::SyncFail, 10, pick);
        writes(&mut w, 3, 2);
        w.hit(Kind::Crash, 300, pick + 1);
        w.wait(2500);
    }
    assert!(count(&w, "sync-failed") > 3);
    holds(&mut w);
}

#[test]
fn a_full_disk_stops_the_member_before_it_acknowledges() {
    let mut w = world(3, |k| k.client_timeout = base::Nanos::from_millis(500));
    w.hit(Kind::FullDisk, 3000, 1);
    writes(&mut w, 3, 5);
    assert!(count(&w, "disk-full") > 0);
    w.wait(5000);
    holds(&mut w);
}

#[test]
fn damage_at_rest_is_repaired_or_refused_by_file_and_offset() {
    for kind in [Kind::RotRest, Kind::Misdirect] {
        let (mut refused, mut repaired) = (0, 0);
        for pick in 0..60 {
            let mut w = world(3, |k| (k.segment_bytes, k.checkpoint_entries) = (2048, 15));
            writes(&mut w, 3, 12);
            w.hit(kind, 500, pick);
            w.wait(2000);
            for node in 0..3 {
                let state = w.picture(node).state;
                refused += u64::from(state.contains("refuses:"));
                let named = state.contains("byte") || state.contains("checkpoint");
                assert!(!state.contains("refuses:") || named, "{state}");
            }
            holds(&mut w);
            assert_eq!(count(&w, "repair-started"), count(&w, "repair-done"));
            repaired += count(&w, "repair-done");
        }
        let name = kind.name();
        assert!(refused > 0 && repaired > 9, "{name}: {refused} refused, {repaired} repaired");
    }
}

#[test]
fn a_wrong_read_is_read_again_and_is_no_damage() {
    let mut w = world(3, |_| {});
    for pick in 0..6 {
        writes(&mut w, 3, 3);
        w.hit(Kind::RotRead, 200, pick);
        w.wait(4000);
    }
    assert!(count(&w, "read-rot") > 0 && count(&w, "repair-started") == 0);
    holds(&mut w);
}

#[test]
fn a_disk_that_was_put_back_is_refused_by_those_who_remember() {
    for kind in [Kind::Rollback, Kind::RollbackIntersection] {
        let mut took = false;
        for pick in 0..20 {
            let mut w = world(3, |_| {});
            for round in 0..3 {
                for node in 0..3 {
                    w.halt(node, round == 1);
                    w.boot(node).expect("its disk is sound");
                    w.wait(2500);
                }
            }
            writes(&mut w, 3, 2);
            if w.hit(kind, 500, pick) {
                took = true;
                w.wait(5000);
                assert!(count(&w, "put-back-refused") > 0, "{}", kind.name());
                holds(&mut w);
                break;
            }
        }
        assert!(took, "{}", kind.name());
    }
}

#[test]
fn a_slow_disk_delays_only_its_own_acknowledgements() {
    let mut w = world(3, |_| {});
    assert!((0..5).all(|pick| w.hit(Kind::SlowDisk, 2000, pick)));
    assert!(writes(&mut w, 3, 4) > 6);
    holds(&mut w);
}

#[test]
fn clocks_inside_the_bound_end_no_lease_early() {
    let mut w = world(3, |_| {});
    for pick in 0..10 {
        w.hit(Kind::ClockStep, 10, pick);
        writes(&mut w, 3, 1);
    }
    assert!(count(&w, "clock-step") >= 5);
    holds(&mut w);
}

#[test]
fn a_leader_that_others_believe_gone_serves_nothing_old() {
    let mut w = world(3, |k| k.client_timeout = base::Nanos::from_millis(900));
    for pick in 0..8 {
        let old = w.until_leader(&[0, 1, 2]).expect("a leader");
        assert_eq!(w.put(old, "k"), Told::Done);
        assert!(w.hit(Kind::Usurp, 2500, pick));
        w.wait(200);
        w.put((old + 1) % 3, "k");
        w.get(old, "k", false);
        w.wait(4000);
    }
    assert_eq!(count(&w, "usurp"), 8);
    assert!(w.fault_counts().elections > 4);
    holds(&mut w);
}

#[test]
fn leadership_is_handed_over_without_a_lost_write() {
    let mut w = world(3, |_| {});
    for pick in 0..9 {
        w.hit(Kind::Transfer, 10, pick);
        assert!(writes(&mut w, 3, 1) >= 2);
    }
    assert!(count(&w, "transfer") > 2);
    assert!(w.fault_counts().elections > 2);
    holds(&mut w);
}
