//! The general sweeps: each plays one seed and says what noticed something, if anything did.

use cluster::BallotRule;
use sim::families::Group;
use sim::fault::Kind;
use sim::{Plan, Profile, Wishes};
use std::panic::{AssertUnwindSafe, catch_unwind};

#[allow(dead_code)]
#[path = "../../../consensus/tests/it/harness.rs"]
mod harness;
#[allow(dead_code, unused_imports)]
#[path = "../../../wal/tests/it.rs"]
mod journal;
#[allow(dead_code)]
#[path = "../../../quorum/tests/pairs.rs"]
mod pairs;
#[allow(dead_code, unused_imports)]
#[path = "../../../consensus/tests/it/storm.rs"]
mod storm;
#[allow(dead_code)]
#[path = "../../../mvcc/tests/twin_txn.rs"]
mod twin;
#[allow(dead_code, unused_imports)]
#[path = "../../../cluster/tests/it.rs"]
mod walks;
#[allow(dead_code)]
#[path = "whole.rs"]
mod whole;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// Simulated lives under `swarm`, the quorum-targeted adversary among the faults.
    Lives,
    /// The same with as many faults, none of them targeted.
    Uniform,
    /// Lives of clients that use leases most, with clocks as wrong as the promise allows.
    Leases,
    /// Lives with a crowd of watchers.
    Watches,
    /// Lives whose disks are damaged and put back, with many checkpoints.
    Disks,
    /// Lives in which directories are lost again and again.
    Emptied,
    /// Random pairs of families beside truth tables.
    Pairs,
    /// Random configurations, one proposed after the other, beside truth tables.
    Walks,
    /// Random schedules over the bare consensus machine.
    Storms,
    /// The same where some members are witnesses.
    Witnesses,
    /// Simulated lives where some members are witnesses.
    WitnessLives,
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
            "leases" => Self::Leases,
            "watches" => Self::Watches,
            "disks" => Self::Disks,
            "emptied" => Self::Emptied,
            "pairs" => Self::Pairs,
            "walks" => Self::Walks,
            "storms" => Self::Storms,
            "witnesses" => Self::Witnesses,
            "witness-lives" => Self::WitnessLives,
            "replicas" => Self::Replicas,
            "twin" => Self::Twin,
            "journal" => Self::Journal,
            _ => return None,
        })
    }

    /// What noticed a bug in this seed.
    pub fn play(self, seed: u64) -> Option<String> {
        match self {
            Self::Lives => life(seed, None, |_| ()),
            Self::Uniform => life(seed, None, uniform),
            Self::Leases => life(seed, None, leases),
            Self::Watches => life(seed, None, watches),
            Self::Emptied => {
                // Newcomers have met nobody, and go by what is written down.
                live(seed, Wishes { changes: true, ..Wishes::default() }, emptied)
            }
            Self::Pairs => survives(|| pairs::play(seed, &mut pairs::Checked::default())),
            Self::Walks => survives(|| walks::follow::play(seed, &mut [0; 2])),
            Self::Disks => life(seed, None, disks),
            Self::WitnessLives => life(seed, Some(Group::Witness), |_| ()),
            Self::Storms => survives(|| storm::play(seed, plan(seed))),
            Self::Witnesses if seed.is_multiple_of(4) => survives(|| lose_each(seed / 4)),
            Self::Witnesses => survives(|| storm::play(seed, witnesses(seed))),
            Self::Replicas => survives(|| whole::storm::life(seed)),
            Self::Twin => survives(|| twin::life(seed, &mut twin::Met::default())),
            Self::Journal => survives(|| journal::crash_anywhere(seed)),
        }
    }
}

/// Weights of operations, in the order of `sim`: grants, leased puts and keep-alives lead.
const LEASES: [u64; 16] = [6, 6, 2, 2, 0, 2, 1, 2, 1, 0, 0, 0, 12, 12, 20, 2];

fn targeted(kind: Kind) -> bool {
    let kinds = [Kind::OneQuorum, Kind::Intersection, Kind::Blocking, Kind::RollbackIntersection];
    kinds.contains(&kind)
}

/// As many faults, none of them aimed at the quorum system.
fn uniform(plan: &mut Plan) {
    for fault in plan.faults.iter_mut().filter(|fault| targeted(fault.kind)) {
        fault.kind = Kind::Crash;
    }
}

/// Clocks run just within the bound that leases allow for, and clients hold leases.
fn leases(plan: &mut Plan) {
    plan.knobs.drift_ppm_max = 9_900;
    for (weight, often) in plan.knobs.op_weights.iter_mut().zip(LEASES) {
        *weight = often;
    }
}

/// Among the weights of operations.
const COMPACT: usize = 11;

/// A crowd that watches, and clients that compact what they have just written.
fn watches(plan: &mut Plan) {
    plan.knobs.watchers = 12;
    let compacts = &mut plan.knobs.op_weights[COMPACT];
    *compacts = (*compacts * 4).max(8);
}

/// Every second fault takes a member's directory.
fn emptied(plan: &mut Plan) {
    for fault in plan.faults.iter_mut().step_by(2) {
        fault.kind = Kind::Emptied;
    }
}

/// Every second fault damages a disk or puts an older one back, or stops a member to see it.
fn disks(plan: &mut Plan) {
    if plan.seed.is_multiple_of(2) {
        // A checkpoint after every entry: nothing else holds what it holds.
        (plan.knobs.checkpoint_entries, plan.knobs.catchup_entries) = (1, 0);
        plan.knobs.segment_bytes = 4096;
    }
    let kinds = [Kind::RotRest, Kind::Crash, Kind::RotRest, Kind::RotRead, Kind::Misdirect];
    for (at, fault) in plan.faults.iter_mut().enumerate().filter(|(at, _)| at % 2 == 0) {
        fault.kind = kinds[at / 2 % kinds.len()];
    }
}

fn life(seed: u64, family: Option<Group>, shape: impl FnOnce(&mut Plan)) -> Option<String> {
    live(seed, Wishes { family, ..Wishes::default() }, shape)
}

fn live(seed: u64, wishes: Wishes, shape: impl FnOnce(&mut Plan)) -> Option<String> {
    let lived = catch_unwind(AssertUnwindSafe(|| {
        let mut plan = Plan::new(seed, Profile::Swarm, &wishes)?;
        shape(&mut plan);
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

/// Systems with witnesses by seed, fixed or coming and going.
fn witnesses(seed: u64) -> storm::Plan<'static> {
    let (shared, node) = (BallotRule::SharedTerms, BallotRule::TermAndNode);
    if seed.is_multiple_of(3) {
        let (voters, marks) = (3 + seed / 3 % 3, "any of (witness(n6), witness(n7))");
        let rule = [shared, node][(seed / 9 % 2) as usize];
        return storm::Plan { voters, spares: 7 - voters, quorum: "", rule, marks };
    }
    let plans = [
        (3, "majority(n1, n2, witness(n3))", shared),
        (5, "majority(n1, n2, n3, witness(n4), witness(n5))", shared),
        (5, "3 of (n1, n2, n3, n4, witness(n5))", shared),
        (4, "elect = 2 of (n1,n2,n3,witness(n4)); commit = 3 of (n1,n2,n3,witness(n4))", node),
    ];
    let (voters, quorum, rule) = plans[(seed / 3 % 4) as usize];
    storm::Plan { voters, spares: 0, quorum, rule, marks: "" }
}

/// Any schedule under which any one member may be lost in the end.
fn lose_each(seed: u64) {
    let rule = [BallotRule::SharedTerms, BallotRule::TermAndNode][(seed % 2) as usize];
    let quorum = "majority(n1, n2, witness(n3))";
    storm::play_and_lose_each(seed, storm::Plan { voters: 3, spares: 0, quorum, rule, marks: "" });
}
