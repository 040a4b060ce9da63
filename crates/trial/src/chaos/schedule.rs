//! Which faults a round has, in which order: a function of its seed.

use std::fmt;
use std::time::Duration;

use base::Prng;

/// Whom a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Leader,
    Follower,
}

/// Which paths between members close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The leader alone, both ways.
    Leader,
    /// Nobody hears the leader; it hears everybody.
    LeaderMute,
    /// The leader hears nobody; everybody hears it.
    LeaderDeaf,
    /// A random split, both ways; perhaps nobody has a quorum.
    Split,
    /// One member hears one other no more.
    OnePair,
    /// Each member reaches only its neighbours in a row.
    Chain,
}

/// How paths close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Bytes arrive late, after the heal.
    Held,
    /// Bytes vanish.
    Lossy,
    /// Connections are reset.
    Cut,
}

/// One fault; it is healed by its opposite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9`, then a restart.
    Kill(Target),
    /// So many at once that no quorum is left, then restarts.
    KillMany,
    /// SIGSTOP, then SIGCONT.
    Stop(Target),
    /// SIGTERM, then a restart.
    Restart(Target),
    /// `kill -9`, the data directory removed, then a restart that must be refused.
    Empty(Target),
    Partition(Shape, Loss),
}

impl Fault {
    /// The row of the summary it counts in.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Kill(Target::Leader) => "leader kill",
            Self::Kill(Target::Follower) => "follower kill",
            Self::KillMany => "quorum kill",
            Self::Stop(Target::Leader) => "leader stop",
            Self::Stop(Target::Follower) => "follower stop",
            Self::Restart(_) => "restart",
            Self::Empty(_) => "emptied directory",
            Self::Partition(Shape::LeaderMute | Shape::LeaderDeaf | Shape::OnePair, _) => {
                "one-way partition"
            }
            Self::Partition(..) => "two-way partition",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self:?}")
    }
}

/// A fault and its timing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub fault: Fault,
    /// From the fault to its heal.
    pub hold: Duration,
    /// From the heal to the next fault.
    pub rest: Duration,
    /// Healed only after the next fault has struck as well.
    pub overlaps: bool,
}

/// The steps of a round: a leader kill, a partition, and two to four of anything, shuffled.
pub fn schedule(random: &mut Prng) -> Vec<Step> {
    let mut faults = vec![Fault::Kill(Target::Leader), partition(random)];
    for _ in 0..2 + random.below(3) {
        let fault = any(random);
        let is_empty = |fault: &Fault| matches!(fault, Fault::Empty(_));
        // An emptied member never returns; a second one could end the quorum for good.
        if !(is_empty(&fault) && faults.iter().any(is_empty)) {
            faults.push(fault);
        }
    }
    for n in (1..faults.len()).rev() {
        faults.swap(n, random.below(n as u64 + 1) as usize);
    }
    faults.into_iter().map(|fault| step(fault, random)).collect()
}

/// A step with random timing.
pub fn step(fault: Fault, random: &mut Prng) -> Step {
    Step {
        fault,
        hold: Duration::from_millis(50 + random.below(450)),
        rest: Duration::from_millis(random.below(200)),
        overlaps: random.below(4) == 0,
    }
}

fn any(random: &mut Prng) -> Fault {
    let target = if random.below(2) == 0 { Target::Leader } else { Target::Follower };
    match random.below(12) {
        0 | 1 => Fault::Kill(target),
        2 => Fault::KillMany,
        3 | 4 => Fault::Stop(target),
        5 => Fault::Restart(target),
        6 | 7 => Fault::Empty(target),
        _ => partition(random),
    }
}

fn partition(random: &mut Prng) -> Fault {
    use Shape::{Chain, Leader, LeaderDeaf, LeaderMute, OnePair, Split};
    const SHAPES: [Shape; 6] = [Leader, LeaderMute, LeaderDeaf, Split, OnePair, Chain];
    const LOSSES: [Loss; 3] = [Loss::Held, Loss::Lossy, Loss::Cut];
    let shape = SHAPES[random.below(SHAPES.len() as u64) as usize];
    Fault::Partition(shape, LOSSES[random.below(LOSSES.len() as u64) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schedule_kills_the_leader_partitions_and_empties_at_most_one_member() {
        for seed in 0..500 {
            let steps = schedule(&mut Prng::new(seed));
            let count = |wanted: fn(&Fault) -> bool| {
                steps.iter().filter(|step| wanted(&step.fault)).count()
            };
            assert!(count(|f| *f == Fault::Kill(Target::Leader)) >= 1);
            assert!(count(|f| matches!(f, Fault::Partition(..))) >= 1);
            assert!(count(|f| matches!(f, Fault::Empty(_))) <= 1);
            assert!((4..=6).contains(&steps.len()) || count(|f| matches!(f, Fault::Empty(_))) == 1);
        }
    }

    #[test]
    fn a_seed_always_gives_the_same_schedule() {
        assert_eq!(schedule(&mut Prng::new(7)), schedule(&mut Prng::new(7)));
        assert_ne!(schedule(&mut Prng::new(7)), schedule(&mut Prng::new(8)));
    }
}
