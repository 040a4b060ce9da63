//! Numbers from the literature and from running systems.

use std::format;
use std::prelude::rust_2024::*;
use std::vec::Vec;

use super::{family, subsets, system};
use crate::{Family, NodeSet, Protocol, System, Why};

/// How many live sets of each size hold a quorum.
fn live_sets(family: &Family) -> Vec<usize> {
    let count = family.support().len();
    let mut out = std::vec![0; count + 1];
    for set in subsets(count).filter(|set| family.is_quorum(*set)) {
        out[set.len()] += 1;
    }
    out
}

#[test]
fn tigerbeetle_quorums_are_safe_and_its_nacks_block() {
    // src/vsr.zig, test "quorums", 1 to 8 replicas.
    let replication = [1, 2, 2, 2, 3, 3, 3, 3];
    let view_change = [1, 2, 2, 3, 3, 4, 5, 6];
    let nack = [1, 1, 2, 3, 3, 4, 5, 6];
    let majority = [1, 2, 2, 3, 3, 4, 4, 5];
    for i in 0..8usize {
        let members = NodeSet::first(i + 1);
        let commit = Family::at_least(replication[i], members);
        let elect = Family::at_least(view_change[i], members);
        assert!(matches!(crate::meet::disjoint(&elect, &commit, 0), crate::meet::Disjoint::Never));
        assert_eq!(commit.smallest_blocking().len(), nack[i]);
        assert_eq!(Family::majority(members), Family::at_least(majority[i], members));
        let text = format!(
            "elect = {} of ({names}); commit = {} of ({names})",
            view_change[i],
            replication[i],
            names = "a,b,c,d,e,f,g,h"[..2 * i + 1].trim_end(),
        );
        assert_eq!(system(&text).check(Protocol::RaftSharedTerms), Ok(()));
    }
}

#[test]
fn classical_systems_have_their_published_shape() {
    let cases: [(&str, usize, usize, &[usize]); 11] = [
        ("majority(a,b,c)", 3, 1, &[0, 0, 3, 1]),
        ("majority(a,b,c,d)", 4, 1, &[0, 0, 0, 4, 1]),
        ("majority(a,b,c,d,e)", 10, 2, &[0, 0, 0, 10, 5, 1]),
        ("grid(a b c / d e f / g h i)", 27, 2, &[0, 0, 0, 0, 0, 27, 54, 36, 9, 1]),
        ("zones(x{a,b,c}, y{d,e,f}, z{g,h,i})", 27, 3, &[0, 0, 0, 0, 27, 99, 84, 36, 9, 1]),
        ("wall(a / b c d e)", 5, 1, &[0, 0, 4, 6, 5, 1]),
        ("wall(a / b c / d e f)", 10, 2, &[0, 0, 0, 10, 15, 6, 1]),
        ("wall(a / b c / d e f / g h i)", 31, 2, &[0, 0, 0, 1, 36, 90, 83, 36, 9, 1]),
        ("weighted{a:3,b:1,c:1,d:1,e:1}", 5, 1, &[0, 0, 4, 6, 5, 1]),
        ("weighted{a:2,b:2,c:1,d:1,e:1} >= 4", 7, 1, &[0, 0, 1, 9, 5, 1]),
        ("joint(majority(a,b,c), majority(c,d,e))", 5, 1, &[0, 0, 0, 4, 5, 1]),
    ];
    for (text, quorums, resilience, live) in cases {
        let family = family(text);
        assert_eq!(family.minimal_quorums().len(), quorums, "{text}");
        assert_eq!(family.resilience(), resilience, "{text}");
        assert_eq!(live_sets(&family), live, "{text}");
        assert_eq!(system(text).check(Protocol::RaftSharedTerms), Ok(()), "{text}");
    }
}

#[test]
fn byzantine_quorums_are_as_small_as_they_may_be() {
    for (count, f, need) in
        [(4usize, 1u8, 3u32), (5, 1, 4), (6, 1, 4), (7, 2, 5), (8, 2, 6), (11, 3, 8)]
    {
        let names: Vec<String> = (0..count).map(|i| format!("n{i}")).collect();
        let names = names.join(",");
        let sugar = system(&format!("byzantine({f}; {names})"));
        assert_eq!(sugar.commit(), &Family::at_least(need, NodeSet::first(count)));
        assert_eq!(sugar.check(Protocol::Byzantine { f }), Ok(()));
        let smaller = system(&format!("{} of ({names})", need - 1));
        let offence = smaller.check(Protocol::Byzantine { f }).unwrap_err();
        assert!(offence.a.intersect(offence.b).len() <= f as usize);
        assert_eq!(offence.share_min, f + 1);
    }
}

#[test]
fn flexible_counts_are_safe_exactly_when_they_sum_past_the_members() {
    for elect in 1..=5u32 {
        for commit in 1..=5u32 {
            let names = "a,b,c,d,e";
            let text = format!("elect = {elect} of ({names}); commit = {commit} of ({names})");
            let system = system(&text);
            assert_eq!(system.check(Protocol::Paxos).is_ok(), elect + commit > 5);
            let shared = elect + commit > 5 && 2 * elect > 5;
            assert_eq!(system.check(Protocol::RaftSharedTerms).is_ok(), shared);
        }
    }
}

#[test]
fn rows_that_elect_give_two_leaders_in_a_shared_term() {
    let system = system("elect = row(a b / c d); commit = cover(a b / c d)");
    assert_eq!(system.check(Protocol::RaftTermAndNode), Ok(()));
    let offence = system.check(Protocol::RaftSharedTerms).unwrap_err();
    assert_eq!(offence.why, Why::ElectMissesElect);
    assert!(offence.a.intersect(offence.b).is_empty());
    assert!(system.elect().is_quorum(offence.a) && system.elect().is_quorum(offence.b));
}

#[test]
fn large_regular_systems_are_proved_at_once() {
    let names: Vec<String> = (0..64).map(|i| format!("n{i}")).collect();
    let majority = system(&format!("majority({})", names.join(",")));
    assert_eq!(majority.check(Protocol::RaftSharedTerms), Ok(()));
    assert_eq!(majority.check(Protocol::Byzantine { f: 1 }), Ok(()));
    assert!(majority.check(Protocol::Byzantine { f: 2 }).is_err());
    let zones: Vec<String> = names
        .chunks(8)
        .enumerate()
        .map(|(i, zone)| format!("z{i}{{{}}}", zone.join(",")))
        .collect();
    let zones = system(&format!("zones({})", zones.join(",")));
    assert_eq!(zones.check(Protocol::RaftSharedTerms), Ok(()));
    assert_eq!(zones.commit().resilience(), 4 * 4 - 1);
    let rows: Vec<String> = names.chunks(8).map(|row| row.join(" ")).collect();
    let grid = system(&format!("grid({})", rows.join(" / ")));
    assert_eq!(grid.check(Protocol::RaftSharedTerms), Ok(()));
}

#[test]
fn a_joint_system_needs_both_sides_in_both_roles() {
    let old = System::majority(NodeSet::first(3));
    let new = System::majority([2, 3, 4].into_iter().collect());
    let joint = System::joint(&old, &new);
    assert_eq!(joint.commit().minimal_quorums().len(), 5);
    assert_eq!(joint.check(Protocol::RaftSharedTerms), Ok(()));
    assert!(!joint.elect().is_quorum([0, 1, 3].into_iter().collect()));
    assert!(joint.elect().is_quorum([0, 2, 3].into_iter().collect()));
    assert_eq!(System::joint(&old, &old), old);
}
