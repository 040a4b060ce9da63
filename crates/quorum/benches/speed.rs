//! Nanoseconds of the calls on a member's hot path: `cargo bench -p quorum`.
//!
//! Bars: is-quorum of majority of 64 within 10 ns, of three levels of zones over 64 members
//! within 100 ns; a commit index at nine members within 1 us.

use std::hint::black_box;
use std::time::Instant;

use quorum::{Family, NodeSet, SystemSpec, commit_index};

fn main() {
    let names = |count: usize| -> Vec<String> { (0..count).map(|i| format!("n{i}")).collect() };
    let n9 = names(9).join(", ");
    let n64 = names(64);
    let zones = zones(&n64);
    let weights: Vec<String> =
        n64.iter().enumerate().map(|(i, n)| format!("{n}:{}", i % 4 + 1)).collect();
    let rows: Vec<String> = n64.chunks(8).map(|row| row.join(" ")).collect();
    let cases = [
        ("majority of 9", format!("majority({n9})")),
        ("majority of 64", format!("majority({})", n64.join(", "))),
        ("zones, 3 levels, 4 x 4 x 4", zones),
        ("grid 8 x 8", format!("grid({})", rows.join(" / "))),
        ("weighted, 64 members, 4 weights", format!("weighted{{{}}}", weights.join(", "))),
        ("zones 3 x 3", "zones(x{a,b,c}, y{d,e,f}, z{g,h,i})".to_owned()),
        ("joint of two majorities of 9", format!("joint(majority({n9}), majority(x, {n9}))")),
    ];
    println!("{:<34} {:>12} {:>14}", "family", "is-quorum ns", "commit index ns");
    for (title, text) in cases {
        let spec = SystemSpec::parse(&text).expect("the texts above parse");
        let system = spec.compile(&spec.infer_names()).expect("the systems above are safe");
        let (quorum, commit) = (is_quorum_ns(system.commit()), commit_ns(system.commit()));
        println!("{title:<34} {quorum:>12.1} {commit:>14.1}");
    }
}

/// Four regions of four zones of four members.
fn zones(names: &[String]) -> String {
    let region = |(r, members): (usize, &[String])| {
        let zones: Vec<String> = members
            .chunks(4)
            .enumerate()
            .map(|(z, zone)| format!("r{r}z{z}{{{}}}", zone.join(", ")))
            .collect();
        format!("r{r}{{{}}}", zones.join(", "))
    };
    let regions: Vec<String> = names.chunks(16).enumerate().map(region).collect();
    format!("zones({})", regions.join(", "))
}

/// Random sets, dense enough that about half of them are quorums.
fn inputs() -> Vec<u64> {
    let mut state = 7u64;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        state ^ (state >> 29)
    };
    (0..4096).map(|i| if i % 2 == 0 { next() } else { next() | next() }).collect()
}

fn is_quorum_ns(family: &Family) -> f64 {
    let sets = inputs();
    best(sets.len(), || {
        let won = sets.iter().filter(|set| family.is_quorum(NodeSet::from_bits(**set))).count();
        black_box(won);
    })
}

fn commit_ns(family: &Family) -> f64 {
    let words = inputs();
    let matched: Vec<Vec<u64>> =
        (0..64).map(|i| words[i..i + 64].iter().map(|word| word % 1000).collect()).collect();
    best(matched.len(), || {
        let sum: u64 = matched.iter().map(|matched| commit_index(family, matched)).sum();
        black_box(sum);
    })
}

/// The best of many rounds, a call.
fn best(calls: usize, mut round: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..200 {
        let start = Instant::now();
        round();
        best = best.min(start.elapsed().as_nanos() as f64 / calls as f64);
    }
    best
}
