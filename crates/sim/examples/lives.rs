//! `lives A..B PROFILE`: many lives, one line each that is not clean.

use sim::{Plan, Profile, Stats, Wishes, run};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (a, b) = args[1].split_once("..").expect("A..B");
    let profile = Profile::parse(&args[2]).expect("profile");
    std::panic::set_hook(Box::new(|_| {}));
    let mut all = Stats::default();
    let mut bad = 0;
    let mut short = 0;
    for seed in a.parse::<u64>().expect("A")..b.parse().expect("B") {
        let plan = Plan::new(seed, profile, &Wishes::default()).expect("plan");
        let v = run(&plan, args.len() > 3).expect("runs");
        if v.stats.ops() < 300 {
            short += 1;
        }
        all.add(&v.stats);
        if let Some(path) = args.get(3) {
            std::fs::write(path, &v.trace).expect("writable");
        }
        if let Some(x) = v.violation {
            bad += 1;
            let mut w = x.what.clone();
            w.truncate(600);
            println!(
                "seed {seed} n{} {} {:?}: {} at {}: {}",
                plan.nodes,
                plan.quorum,
                plan.rule,
                x.rule,
                x.at.0 / 1_000_000,
                w
            );
        }
    }
    println!("bad {bad} short {short} {all:?}");
}
