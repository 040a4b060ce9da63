//! The general sweeps: each plays one seed and says what noticed something, if anything did.

use consensus::raft::BallotRule;
use sim::fault::Kind;
use sim::{Plan, Profile, Wishes};
use std::panic::{AssertUnwindSafe, catch_unwind};

#[allow(dead_code)]
#[path = "../../../consensus/tests/it/cluster.rs"]
mod cluster;
#[allow(dead_code, unused_imports)]
#[path = "../../../wal/tests/it.rs"]
mod journal;
#[allow(dead_code)]
#[path = "../../../consensus/tests/it/storm.rs"]
mod storm;
#[allow(dead_code)]
#[path = "../../../mvcc/tests/twin_txn.rs"]
mod twin;
#[allow(dead_code)]
#[path = "whole.rs"]
mod whole;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// Simulated lives under `swarm`, the quorum-targeted adversary among the faults.
    Lives,
    /// The same with as many faults, none of them targeted.
    Uniform,
    /// Random schedules over the bare consensus machine.
    Storms,
    /// Random schedules over whole replicas.
    Replicas,
    /// The store beside its naive twin.
    Twin,
    /// A journal stopped at each of its changes.
    Journal,
}

impl Means {
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "lives" => Self::Lives,
            "uniform" => Self::Uniform,
            "storms" => Self::Storms,
            "replicas" => Self::Replicas,
            "twin" => Self::Twin,
            "journal" => Self::Journal,
            _ => return None,
        })
    }

    /// What noticed a bug in this seed.
    pub fn play(self, seed: u64) -> Option<String> {
        match self {
            Self::Lives => life(seed, true),
            Self::Uniform => life(seed, false),
            Self::Storms => survives(|| storm::play(seed, plan(seed))),
            Self::Replicas => survives(|| whole::storm::life(seed)),
            Self::Twin => survives(|| twin::life(seed, &mut twin::Met::default())),
            Self::Journal => survives(|| journal::crash_anywhere(seed)),
        }
    }
}

fn targeted(kind: Kind) -> bool {
    let kinds = [Kind::OneQuorum, Kind::Intersection, Kind::Blocking, Kind::RollbackIntersection];
    kinds.contains(&kind)
}

fn life(seed: u64, adversary: bool) -> Option<String> {
    let lived = catch_unwind(AssertUnwindSafe(|| {
        let mut plan = Plan::new(seed, Profile::Swarm, &Wishes::default())?;
        if !adversary {
            for fault in plan.faults.iter_mut().filter(|fault| targeted(fault.kind)) {
                fault.kind = Kind::Crash;
            }
        }
        sim::run(&plan, false)
    }));
    match lived {
        Ok(Ok(verdict)) => {
            let violation = verdict.violation?;
            Some(match violation.rule {
                "assertions hold" => format!("assertion: {}", first_line(&violation.what)),
                rule => rule.to_owned(),
            })
        }
        Ok(Err(error)) => Some(format!("refused: {}", first_line(&error))),
        Err(panic) => Some(text_of(&*panic)),
    }
}

fn survives<T>(play: impl FnOnce() -> T) -> Option<String> {
    catch_unwind(AssertUnwindSafe(play)).err().map(|panic| text_of(&*panic))
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let owned = panic.downcast_ref::<String>().cloned();
    let text = owned.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    format!("assertion: {}", first_line(&text.unwrap_or_default()))
}

fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or("").replace(['\t', '|'], " ");
    line.chars().take(90).collect()
}

/// The systems of the storms by seed: majorities, flexible ones, grids, zones, and changes of
/// members and systems in every other one.
fn plan(seed: u64) -> storm::Plan<'static> {
    let (shared, node) = (BallotRule::SharedTerms, BallotRule::TermAndNode);
    let systems = [
        (5, "", shared),
        (5, "elect = 4 of (n1,n2,n3,n4,n5); commit = 2 of (n1,n2,n3,n4,n5)", shared),
        (5, "elect = 2 of (n1,n2,n3,n4,n5); commit = 4 of (n1,n2,n3,n4,n5)", node),
        (6, "grid(n1 n2 n3 / n4 n5 n6)", shared),
        (6, "zones(a{n1,n2}, b{n3,n4}, c{n5,n6})", shared),
        (3, "", shared),
    ];
    if seed.is_multiple_of(2) {
        let voters = 3 + seed / 2 % 3;
        let rule = [shared, node][(seed / 6 % 2) as usize];
        return storm::Plan { voters, spares: 7 - voters, quorum: "", rule, marks: "" };
    }
    let (voters, quorum, rule) = systems[(seed / 2 % 6) as usize];
    storm::Plan { voters, spares: 0, quorum, rule, marks: "" }
}
