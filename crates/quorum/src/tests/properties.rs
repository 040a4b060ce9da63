//! Every monotone system of up to four members, and random ones of up to nine.

use std::vec::Vec;

use proptest::prelude::*;

use super::naive::{self, Tree};
use super::{letters, subsets};
use crate::{Expr, Family, NodeSet, Protocol, SystemSpec, Tally, Verdict, commit_index};

/// The family of a truth table over `count` members, written as `or` of `and`s.
fn from_table(count: usize, table: u32) -> Option<(Family, Vec<NodeSet>)> {
    let holds = |set: NodeSet| table >> set.bits() & 1 == 1;
    let grows = |set: NodeSet| (0..count as u8).all(|s| holds(set) <= holds(with(set, s)));
    let constant = holds(NodeSet::EMPTY) || !holds(NodeSet::first(count));
    if constant || !subsets(count).all(grows) {
        return None;
    }
    let names = letters(count);
    let minimal = naive::minimal(count, &holds);
    let all =
        |q: &NodeSet| q.iter().map(|s| names.name(s).unwrap()).collect::<Vec<_>>().join(" and ");
    let text = minimal.iter().map(all).collect::<Vec<_>>().join(" or ");
    let family = Family::compile(&Expr::parse(&text).unwrap(), &names).unwrap();
    Some((family, minimal))
}

fn with(set: NodeSet, slot: u8) -> NodeSet {
    set.union([slot].into_iter().collect())
}

fn every_monotone(count: usize) -> Vec<(u32, Family, Vec<NodeSet>)> {
    let tables = 0..1u32 << (1 << count);
    tables.filter_map(|t| from_table(count, t).map(|(f, q)| (t, f, q))).collect()
}

fn agrees_with_naive(count: usize, family: &Family, holds: &dyn Fn(NodeSet) -> bool) {
    let all = NodeSet::first(count);
    let minimal = naive::minimal(count, holds);
    let mut found = family.minimal_quorums();
    assert!(found.is_sorted_by_key(|q| q.len()));
    // Exchanging members of a class makes every minimal quorum from those of the classes.
    let classes = crate::interchangeable(&[family]);
    let by_class = family.minimal_by_class(&classes).expect("nine members are few");
    let counts = |q: &NodeSet| classes.iter().map(|c| c.intersect(*q).len()).collect::<Vec<_>>();
    for quorum in &found {
        let same = by_class.iter().filter(|other| counts(other) == counts(quorum)).count();
        assert_eq!(same, 1);
    }
    assert!(by_class.iter().all(|quorum| found.contains(quorum)));
    found.sort();
    assert_eq!(found, minimal);
    let dual = family.dual();
    let mut least_blocking = count;
    for set in subsets(count) {
        assert_eq!(family.is_quorum(set), holds(set));
        assert_eq!(family.blocks(set), !holds(all.minus(set)));
        assert_eq!(dual.is_quorum(set), family.blocks(set));
        if family.blocks(set) {
            least_blocking = least_blocking.min(set.len());
        }
        match family.minimal_within(set) {
            Some(quorum) => assert!(quorum.is_subset(set) && minimal.contains(&quorum)),
            None => assert!(!holds(set)),
        }
        let missing = family.what_is_missing(set);
        assert!(holds(set.union(missing)) && missing.intersect(set).is_empty());
        let least = minimal.iter().map(|q| q.minus(set).len()).min().unwrap();
        assert_eq!(missing.len(), least);
    }
    assert_eq!(family.resilience() + 1, least_blocking);
}

fn tally(yes: NodeSet, no: NodeSet) -> Tally {
    let mut tally = Tally::new();
    for slot in 0..64 {
        if yes.contains(slot) || no.contains(slot) {
            assert!(tally.vote(slot, yes.contains(slot)));
            assert!(!tally.vote(slot, !yes.contains(slot)), "the first vote stands");
        }
    }
    tally
}

#[test]
fn every_monotone_system_of_up_to_four_members_equals_its_truth_table() {
    // Dedekind numbers less the two constants.
    for (count, systems) in [(1, 1), (2, 4), (3, 18), (4, 166)] {
        let families = every_monotone(count);
        assert_eq!(families.len(), systems);
        for (table, family, _) in families {
            let holds = |set: NodeSet| table >> set.bits() & 1 == 1;
            agrees_with_naive(count, &family, &holds);
            for yes in subsets(count) {
                for no in subsets(count).filter(|no| no.intersect(yes).is_empty()) {
                    let expected = naive::verdict(count, yes, no, &holds);
                    assert_eq!(tally(yes, no).verdict(&family), expected);
                }
            }
            for code in 0..3u64.pow(count as u32) {
                let digit = |i: usize| code / 3u64.pow(i as u32) % 3;
                let matched: Vec<u64> = (0..count).map(digit).collect();
                let expected = naive::commit_index(&matched, &holds);
                assert_eq!(commit_index(&family, &matched), expected);
            }
        }
    }
}

#[test]
fn every_pair_of_systems_of_up_to_four_members_is_judged_right() {
    for count in [2, 3, 4] {
        let families = every_monotone(count);
        for (_, a, quorums_a) in &families {
            for (_, b, quorums_b) in &families {
                let least = naive::least_shared(quorums_a, quorums_b);
                for shared_max in 0..3u8 {
                    match crate::meet::disjoint(a, b, shared_max) {
                        crate::meet::Disjoint::Never => assert!(least > shared_max as usize),
                        crate::meet::Disjoint::Pair(x, y) => {
                            assert!(quorums_a.contains(&x) && quorums_b.contains(&y));
                            assert!(x.intersect(y).len() <= shared_max as usize);
                        }
                        crate::meet::Disjoint::TooComplex => unreachable!("four members are few"),
                    }
                }
            }
        }
    }
}

fn compiled(tree: &Tree) -> Family {
    Family::compile(&Expr::parse(&tree.text()).unwrap(), &letters(9)).unwrap()
}

fn set(count: usize) -> impl Strategy<Value = NodeSet> {
    (0..1u64 << count).prop_map(NodeSet::from_bits)
}

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_random_system_of_nine_equals_its_definition(tree in naive::tree(9)) {
        agrees_with_naive(9, &compiled(&tree), &|set| tree.holds(set));
    }

    #[test]
    fn a_family_prints_as_text_that_means_the_same(tree in naive::tree(9)) {
        let expr = Expr::parse(&tree.text()).unwrap();
        prop_assert_eq!(Expr::parse(&std::format!("{expr}")).unwrap(), expr);
    }

    #[test]
    fn a_tally_says_what_every_completion_says(
        tree in naive::tree(9), yes in set(9), no in set(9),
    ) {
        let no = no.minus(yes);
        let expected = naive::verdict(9, yes, no, &|set| tree.holds(set));
        prop_assert_eq!(tally(yes, no).verdict(&compiled(&tree)), expected);
    }

    #[test]
    fn a_stranger_changes_no_verdict(tree in naive::tree(6), yes in set(6), no in set(6)) {
        let family = compiled(&tree);
        let mut tally = tally(yes, no.minus(yes));
        let before = tally.verdict(&family);
        for slot in (6..64).chain([64, 255]) {
            tally.vote(slot, slot % 2 == 0);
        }
        prop_assert_eq!(tally.verdict(&family), before);
    }

    #[test]
    fn a_decided_tally_stays_decided(
        tree in naive::tree(9), votes in prop::collection::vec((0..9u8, any::<bool>()), 0..20),
    ) {
        let family = compiled(&tree);
        let mut tally = Tally::new();
        let mut last = Verdict::Pending;
        for (slot, yes) in votes {
            tally.vote(slot, yes);
            let now = tally.verdict(&family);
            prop_assert!(last == Verdict::Pending || now == last);
            last = now;
        }
    }

    #[test]
    fn the_commit_index_is_the_largest_index_a_quorum_holds(
        tree in naive::tree(9), matched in prop::collection::vec(0..12u64, 9),
    ) {
        let expected = naive::commit_index(&matched, &|set| tree.holds(set));
        prop_assert_eq!(commit_index(&compiled(&tree), &matched), expected);
    }

    #[test]
    fn a_check_finds_a_pair_exactly_when_there_is_one(
        elect in naive::tree(8), commit in naive::tree(8), f in 0..3u8,
    ) {
        let text = std::format!("elect = {}; commit = {}", elect.text(), commit.text());
        let spec = SystemSpec::parse(&text).unwrap();
        let names = letters(8);
        let system = spec.compile_unchecked(&names).unwrap();
        let e = naive::minimal(8, &|set| elect.holds(set));
        let c = naive::minimal(8, &|set| commit.holds(set));
        let (ec, ee, cc) =
            (naive::least_shared(&e, &c), naive::least_shared(&e, &e), naive::least_shared(&c, &c));
        prop_assert_eq!(system.check(Protocol::Paxos).is_ok(), ec > 0);
        prop_assert_eq!(spec.compile(&names).is_ok(), ec > 0);
        prop_assert_eq!(system.check(Protocol::RaftSharedTerms).is_ok(), ec > 0 && ee > 0);
        let byzantine = ec.min(ee).min(cc) > f as usize;
        prop_assert_eq!(system.check(Protocol::Byzantine { f }).is_ok(), byzantine);
    }

    #[test]
    fn the_cheapest_quorum_is_as_cheap_as_any(
        tree in naive::tree(9), costs in prop::collection::vec(0..9u64, 9),
    ) {
        let family = compiled(&tree);
        let price = |set: NodeSet| set.iter().map(|slot| costs[slot as usize]).sum::<u64>();
        if let Some((set, cost)) = family.cheapest(0, |slot| costs[slot as usize]) {
            let least = family.minimal_quorums().into_iter().map(price).min().unwrap();
            prop_assert_eq!((cost, price(set)), (least, least));
        }
    }

    #[test]
    fn a_join_is_both_and_a_choice_is_either(
        x in naive::tree(8), y in naive::tree(8), s in set(8),
    ) {
        let (a, b) = (compiled(&x), compiled(&y));
        prop_assert_eq!(a.and(&b).is_quorum(s), x.holds(s) && y.holds(s));
        prop_assert_eq!(a.or(&b).is_quorum(s), x.holds(s) || y.holds(s));
    }

    #[test]
    fn no_text_panics(text in prop_oneof![CHARS, WORDS, "\\PC*"]) {
        if let Ok(spec) = SystemSpec::parse(&text) {
            let _ = spec.compile(&spec.infer_names());
        }
    }
}

const CHARS: &str = "[a-c 0-9(){},;:=/>\"\\\\]{0,40}";
const WORDS: &str = "( |a|b|c|1|2|and |or |of|zones|grid|majority|weighted|tree|hqs|plane|cross\
    |wall|wheel|triangle|dual|witness|flexible|gifford|two_threshold|masking|byzantine\
    |group\\.1=|weight\\.2=|server\\.1=|elect=|commit=|[(){},;:=/]){0,24}";
