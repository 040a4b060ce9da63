//! Sets, names, votes and costs: small things everything else is made of.

use std::format;
use std::prelude::rust_2024::*;

use super::{family, letters};
use crate::{Family, Names, NodeSet, Tally, Verdict, commit_index, interchangeable};

fn set(slots: &[u8]) -> NodeSet {
    slots.iter().copied().collect()
}

#[test]
fn a_set_knows_its_slots_up_to_the_last_one() {
    let mut all = NodeSet::new();
    for slot in 0..64u8 {
        assert_eq!(NodeSet::first(slot as usize), all);
        assert!(!all.contains(slot));
        assert!(all.insert(slot) && !all.insert(slot), "a slot is new once");
        assert!(all.contains(slot));
        assert_eq!(all.len(), slot as usize + 1);
        assert!(all.iter().eq(0..=slot), "slots come in order");
    }
    assert_eq!((NodeSet::first(64), all.bits()), (all, u64::MAX));
    assert!(!all.contains(64) && !all.contains(255), "a slot out of range is in no set");
    for slot in 0..64u8 {
        assert!(all.remove(slot) && !all.remove(slot), "a slot goes once");
        assert!(!all.contains(slot) && all.len() == 63 - slot as usize);
    }
    assert!(all.is_empty());
    assert_eq!(format!("{:?}", set(&[63, 0, 5])), "{0, 5, 63}");
}

#[test]
fn sets_are_combined_slot_by_slot() {
    let (a, b) = (set(&[0, 1, 63]), set(&[1, 2]));
    assert_eq!(a.union(b), set(&[0, 1, 2, 63]));
    assert_eq!(a.intersect(b), set(&[1]));
    assert_eq!((a.minus(b), b.minus(a)), (set(&[0, 63]), set(&[2])));
    assert!(set(&[1]).is_subset(a) && a.is_subset(a) && NodeSet::EMPTY.is_subset(b));
    assert!(!a.is_subset(b) && !b.is_subset(a) && !a.is_subset(NodeSet::EMPTY));
    assert_eq!(NodeSet::from_bits(a.bits()), a);
}

#[test]
fn names_keep_slots_and_names_unique() {
    let mut names = Names::new();
    assert!(names.insert(5, "a") && names.insert(2, "b") && names.insert(63, "c d"));
    assert!(!names.insert(5, "c") && !names.insert(6, "a") && !names.insert(64, "d"));
    assert_eq!((names.slot("a"), names.slot("b"), names.slot("d")), (Some(5), Some(2), None));
    assert_eq!((names.name(5), names.name(2), names.name(6)), (Some("a"), Some("b"), None));
    assert_eq!(names.all(), set(&[2, 5, 63]));
    assert!(names.iter().eq([(2, "b"), (5, "a"), (63, "c d")]), "in slot order");
    assert_eq!(names.show(names.all()), "{b, a, \"c d\"}");
    assert_eq!(names.show(set(&[5, 7])), "{a, #7}", "a slot without a name is a number");
    assert_eq!(names.show(NodeSet::EMPTY), "{}");
}

#[test]
fn names_in_order_are_those_of_the_first_64_who_are_new() {
    let repeated = Names::in_order(["a", "b", "a", "c"]);
    assert!(repeated.iter().eq([(0, "a"), (1, "b"), (2, "c")]));
    let names = Names::in_order((0..66).map(|i| format!("n{i}")));
    assert_eq!(names.all(), NodeSet::first(64));
    assert_eq!((names.slot("n63"), names.slot("n64")), (Some(63), None));
}

#[test]
fn a_tally_keeps_who_said_what_and_who_is_missing() {
    let family = Family::majority(NodeSet::first(5));
    let mut tally = Tally::new();
    assert_eq!(tally.missing(&family), NodeSet::first(5));
    assert!(tally.vote(0, true) && tally.vote(3, false) && tally.vote(63, true));
    assert!(!tally.vote(64, true) && !tally.vote(0, false) && !tally.vote(3, true));
    assert_eq!((tally.yes(), tally.no()), (set(&[0, 63]), set(&[3])));
    assert_eq!(tally.voted(), set(&[0, 3, 63]));
    assert_eq!(tally.missing(&family), set(&[1, 2, 4]));
    assert_eq!(tally.verdict(&family), Verdict::Pending, "63 is a stranger");
    assert!(tally.vote(1, true) && tally.vote(2, true));
    assert_eq!(tally.verdict(&family), Verdict::Won);
}

#[test]
fn the_cheapest_quorum_takes_the_cheapest_items_of_each_gate() {
    let costs = [5, 1, 4, 1, 5, 9, 2, 6, 3];
    let cheapest = |text: &str| family(text).cheapest(0, |slot| costs[slot as usize]);
    assert_eq!(cheapest("majority(a, b, c)"), Some((set(&[1, 2]), 5)));
    // Zones of least cost 1 + 4, 1 + 5 and 2 + 3.
    let zones = "zones(x{a, b, c}, y{d, e, f}, z{g, h, i})";
    assert_eq!(cheapest(zones), Some((set(&[1, 2, 6, 8]), 10)));
    assert_eq!(cheapest("a and b or c"), Some((set(&[2]), 4)));
    // With only one member each, a gate inside a gate inside a gate.
    assert_eq!(cheapest("a and (b or c and (d or e))"), Some((set(&[0, 1]), 6)));
    // Weights, and members of two gates, are not answered gate by gate.
    for text in ["weighted{a:2, b:1, c:1}", "weighted{(a and b):2, c:1} >= 2", "grid(a b / c d)"] {
        assert_eq!(cheapest(text), None, "{text}");
    }
}

#[test]
fn a_commit_index_counts_members_only_and_who_is_not_listed_as_zero() {
    let middle = Family::majority(set(&[1, 2, 3]));
    assert_eq!(commit_index(&middle, &[9, 4, 7, 5, 9]), 5);
    assert_eq!(commit_index(&middle, &[9, 4, 7]), 4);
    assert_eq!(commit_index(&middle, &[9, 4]), 0);
    let last = Family::at_least(64, NodeSet::first(64));
    let matched: Vec<u64> = (0..64).map(|slot| 100 - slot).collect();
    assert_eq!(commit_index(&last, &matched), 37);
    assert_eq!(commit_index(&Family::majority(NodeSet::first(64)), &matched), 68);
}

#[test]
fn minimal_quorums_come_smallest_first_and_then_by_their_lowest_slots() {
    let three = [set(&[0, 1]), set(&[0, 2]), set(&[1, 2])];
    let family = Family::majority(NodeSet::first(3));
    assert_eq!(family.minimal_quorums(), three);
    assert_eq!(family.minimal_quorums_max(3), (three.to_vec(), true));
    assert_eq!(family.minimal_quorums_max(2), (three[..2].to_vec(), false));
    assert_eq!(family.blocking_sets_max(3), (three.to_vec(), true));
    let mixed = super::family("all of (a, b, c) or d");
    assert_eq!(mixed.minimal_quorums(), [set(&[3]), set(&[0, 1, 2])]);
    assert_eq!(mixed.blocking_sets_max(1), (Vec::from([set(&[0, 3])]), false));
}

#[test]
fn members_of_equal_weight_are_of_one_class() {
    let weighted = family("weighted{a:2, b:1, c:2, d:1, e:3, f:2}");
    let classes = interchangeable(&[&weighted]);
    assert_eq!(classes.len(), 3);
    for class in [set(&[0, 2, 5]), set(&[1, 3]), set(&[4])] {
        assert!(classes.contains(&class), "{class:?}: {classes:?}");
    }
}

#[test]
fn members_of_one_gate_stand_next_to_each_other_in_classes() {
    let names = letters(9);
    let compile = |text: &str| Family::compile(&crate::Expr::parse(text).unwrap(), &names).unwrap();
    let mixed = compile("zones(x{a, d, g}, y{b, e, h}, z{c, f, i})");
    let rows = [set(&[0, 3, 6]), set(&[1, 4, 7]), set(&[2, 5, 8])];
    assert_eq!(interchangeable(&[&mixed]), rows);
}
