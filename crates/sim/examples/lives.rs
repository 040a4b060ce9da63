//! `lives A..B PROFILE [changes] [family=NAME] [trace=FILE] [hashes=FILE]`: many lives, one line
//! each that is not clean. CI compares the hashes of a debug build with those of a release build.

use sim::families::Group;
use sim::{Plan, Profile, Stats, Wishes, run};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (a, b) = args[1].split_once("..").expect("A..B");
    let profile = Profile::parse(&args[2]).expect("profile");
    let rest = &args[3..];
    let value = |name: &str| rest.iter().find_map(|arg| arg.strip_prefix(name));
    let family = value("family=").map(|name| Group::parse(name).expect("family"));
    let changes = rest.iter().any(|arg| arg == "changes");
    let wishes = Wishes { changes, family, ..Wishes::default() };
    let (trace, hashes) = (value("trace="), value("hashes="));
    let mut lines = String::new();
    std::panic::set_hook(Box::new(|_| {}));
    let mut all = Stats::default();
    let mut bad = 0;
    let mut short = 0;
    for seed in a.parse::<u64>().expect("A")..b.parse().expect("B") {
        let plan = Plan::new(seed, profile, &wishes).expect("plan");
        let v = run(&plan, trace.is_some() || hashes.is_some()).expect("runs");
        if v.stats.ops() < 300 {
            short += 1;
        }
        all.add(&v.stats);
        lines += &format!("{seed} {}\n", v.fingerprint());
        if let Some(path) = trace {
            std::fs::write(path, &v.trace).expect("writable");
        }
        if let Some(x) = v.violation {
            bad += 1;
            let what: String = x.what.chars().take(600).collect();
            let (nodes, quorum, rule) = (plan.nodes, &plan.quorum, plan.rule);
            let at = x.at.0 / 1_000_000;
            println!("seed {seed} n{nodes} {quorum} {rule:?}: {} at {at}: {what}", x.rule);
        }
    }
    if let Some(path) = hashes {
        std::fs::write(path, lines).expect("writable");
    }
    println!("bad {bad} short {short} {all:?}");
}
