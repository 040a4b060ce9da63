//! Random pairs of families of up to nine members against truth tables.
//!
//! 2,000 pairs by default; the documented million is
//! `QUORUM_PAIRS=1000000 cargo test --release -p quorum --test pairs -- --nocapture`.

use base::Prng;
use quorum::{Expr, Family, Names, NodeSet, Protocol, SystemSpec, check_pair};

/// A random gate over the first `count` letters, as text and as a truth table.
fn gate(rng: &mut Prng, count: u64, depth: u32) -> (String, Vec<bool>) {
    let sets = 1usize << count;
    if depth == 0 || rng.below(4) == 0 {
        let slot = rng.below(count) as usize;
        let name = char::from(b'a' + slot as u8).to_string();
        return (name, (0..sets).map(|set| set >> slot & 1 == 1).collect());
    }
    if rng.below(4) == 0 {
        let letters: Vec<usize> = (0..count as usize).filter(|_| rng.below(3) > 0).collect();
        if letters.len() > 1 {
            let here = |set: usize| letters.iter().filter(|at| set >> **at & 1 == 1).count();
            let table = (0..sets).map(|set| 2 * here(set) > letters.len()).collect();
            let letter = |at: &usize| char::from(b'a' + *at as u8).to_string();
            let names: Vec<String> = letters.iter().map(letter).collect();
            return (format!("majority({})", names.join(", ")), table);
        }
    }
    let mut items: Vec<(String, Vec<bool>, u64)> = Vec::new();
    for _ in 0..2 + rng.below(4) {
        let (text, table) = gate(rng, count, depth - 1);
        if items.iter().all(|(_, other, _)| *other != table) {
            let weight = if rng.below(3) == 0 { 1 + rng.below(4) } else { 1 };
            items.push((text, table, weight));
        }
    }
    let total: u64 = items.iter().map(|(.., weight)| weight).sum();
    let need = 1 + rng.below(total);
    let reached = |set: usize| -> u64 {
        items.iter().filter(|(_, table, _)| table[set]).map(|(.., weight)| weight).sum()
    };
    let table = (0..sets).map(|set| reached(set) >= need).collect();
    let inner: Vec<String> =
        items.iter().map(|(text, _, weight)| format!("{text}:{weight}")).collect();
    (format!("weighted{{{}}} >= {need}", inner.join(", ")), table)
}

/// The fewest members a set of `a` and a set of `b` share, up to 3.
fn least_shared(a: &[bool], b: &[bool]) -> usize {
    // Growing a set by one member that the other may hold adds at most one shared member, so
    // the least over pairs is a search over what the complement lacks.
    let all = a.len() - 1;
    let mut least = 3;
    for set in (0..=all).filter(|set| a[*set]) {
        let shared = (0..=set).filter(|extra| extra & !set == 0 && b[all & !set | extra]);
        least = least.min(shared.map(usize::count_ones).min().unwrap_or(3) as usize);
        if least == 0 {
            break;
        }
    }
    least
}

/// Only minimal sets need to be asked; a table of them.
fn minimal(table: &[bool]) -> Vec<bool> {
    let smaller =
        |set: usize| (0..9).filter(move |i| set >> i & 1 == 1).map(move |i| set & !(1 << i));
    (0..table.len()).map(|set| table[set] && smaller(set).all(|less| !table[less])).collect()
}

/// What the checks of some pairs came to.
#[derive(Default)]
pub struct Checked {
    pub safe: u64,
    pub refused: u64,
}

/// One random pair of families, as texts and as truth tables.
pub fn play(seed: u64, checked: &mut Checked) {
    let mut rng = Prng::new(seed);
    let count = 2 + rng.below(8);
    let names = Names::in_order("abcdefghi"[..count as usize].chars().map(String::from));
    let family = |text: &str| Family::compile(&Expr::parse(text).unwrap(), &names).unwrap();
    let (elect_text, elect_table) = gate(&mut rng, count, 3);
    let (commit_text, commit_table) = gate(&mut rng, count, 3);
    let (elect, commit) = (family(&elect_text), family(&commit_text));
    for (set, expected) in elect_table.iter().enumerate() {
        assert_eq!(elect.is_quorum(NodeSet::from_bits(set as u64)), *expected, "{elect_text}");
    }
    let ec = least_shared(&minimal(&elect_table), &commit_table);
    let ee = least_shared(&minimal(&elect_table), &elect_table);
    let cc = least_shared(&minimal(&commit_table), &commit_table);
    let spec = SystemSpec::parse(&format!("elect = {elect_text}; commit = {commit_text}")).unwrap();
    for (protocol, expected) in [
        (Protocol::Paxos, ec > 0),
        (Protocol::RaftSharedTerms, ec > 0 && ee > 0),
        (Protocol::VersionedVotes, ec > 0 && cc > 0),
        (Protocol::Byzantine { f: 1 }, ec.min(ee).min(cc) > 1),
        (Protocol::Masking { f: 1 }, ec.min(ee).min(cc) > 2),
    ] {
        let verdict = check_pair(&elect, &commit, protocol);
        assert_eq!(verdict.is_ok(), expected, "{protocol:?}: {elect_text} / {commit_text}");
        let compiles = spec.compile_for(&names, protocol).is_ok();
        assert_eq!(compiles, expected, "{protocol:?}: {elect_text} / {commit_text}");
        if let Err(offence) = verdict {
            let (a, b) = (offence.a, offence.b);
            assert!(a.intersect(b).len() < offence.share_min as usize);
            let (first, second) = offence.why.roles();
            let role = |name| if name == "elect" { &elect } else { &commit };
            assert!(role(first).is_quorum(a) && role(second).is_quorum(b));
            checked.refused += 1;
        } else {
            checked.safe += 1;
        }
    }
}

#[test]
fn a_random_pair_is_refused_exactly_when_two_of_its_sets_fail_to_meet() {
    let pairs: u64 =
        std::env::var("QUORUM_PAIRS").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000);
    let mut checked = Checked::default();
    (0..pairs).for_each(|seed| play(seed, &mut checked));
    let Checked { safe, refused } = checked;
    println!("{pairs} pairs: {safe} checks safe, {refused} refused with two sets, all as they are");
    assert!(safe > 0 && refused > 0);
}
