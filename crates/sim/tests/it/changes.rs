//! Lives in which members and quorum change, and lives of every family.

use super::SCALE;
use sim::families::Group;
use sim::{Plan, Profile, Stats, Wishes, run};

fn lives(seeds: std::ops::Range<u64>, wishes: &Wishes) -> Stats {
    let mut all = Stats::default();
    for seed in seeds {
        let plan = Plan::new(seed, Profile::Swarm, wishes).expect("a safe plan");
        let verdict = run(&plan, false).expect("it runs");
        assert!(verdict.violation.is_none(), "seed {seed}: {:?}", verdict.violation);
        all.add(&verdict.stats);
    }
    all
}

#[test]
fn members_and_quorum_change_in_every_way_while_faults_go_on() {
    let all = lives(9000..9000 + 40 * SCALE, &Wishes { changes: true, ..Wishes::default() });
    let count = |name: &str| all.changes.get(name).copied().unwrap_or(0);
    assert!(count("change-done") > 100, "{:?}", all.changes);
    assert!(count("member-left") > 20, "{:?}", all.changes);
    for name in ["invalid", "not-alive", "pending"] {
        assert!(count(&format!("change-refused-{name}")) > 0, "{:?}", all.changes);
    }
    for kind in ["add", "learner", "promote", "remove", "replace", "quorum"] {
        assert!(all.faults.contains_key(&*format!("change-{kind}")), "{kind}: {:?}", all.faults);
    }
    assert!(all.faults.contains_key("machine-lost"), "{:?}", all.faults);
}

#[test]
fn lives_of_every_family_are_clean() {
    for group in Group::ALL {
        let wishes = Wishes { family: Some(*group), ..Wishes::default() };
        let all = lives(7000..7000 + 4 * SCALE, &wishes);
        assert!(all.ops_done > 300 * 4 * SCALE / 2, "{}: {all:?}", group.name());
    }
}

#[test]
fn lives_with_witnesses_are_clean_and_lose_data_members() {
    let wishes = Wishes { family: Some(Group::Witness), ..Wishes::default() };
    let all = lives(80_000..80_000 + 30 * SCALE, &wishes);
    let count = |name: &str| all.changes.get(name).copied().unwrap_or(0);
    assert!(count("marked-out") > 30, "{:?}", all.changes);
    for name in ["repair-done", "machine-lost", "rot-rest", "leader", "cut", "crash"] {
        assert!(all.faults.contains_key(name), "{name}: {:?}", all.faults);
    }
    assert!(all.installs > 20, "checkpoints without data too: {}", all.installs);
}
