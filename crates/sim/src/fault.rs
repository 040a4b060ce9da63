//! The faults that are planned ahead, one by one: kind, time, and what it is drawn with.

use base::{Nanos, Prng};

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $text:literal $rough:literal,)*) => {
        /// What goes wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind { $($(#[$doc])* $kind,)* }

        impl Kind {
            pub const ALL: &[Kind] = &[$(Kind::$kind,)*];
            pub const COUNT: usize = Kind::ALL.len();

            pub const fn name(self) -> &'static str {
                match self { $(Kind::$kind => $text,)* }
            }

            pub(crate) fn rough_weights() -> [u64; Kind::COUNT] {
                [$($rough,)*]
            }
        }
    };
}

kinds! {
    /// A process dies; its page cache survives.
    Kill "kill" 4,
    /// A machine loses power; what was not synced is lost in one of several ways.
    Crash "crash" 4,
    /// Power goes at one of the next disk operations, in the middle of whatever it is part of.
    CrashPoint "crash-point" 4,
    /// Every member loses power at once.
    CrashAll "crash-all" 1,
    Pause "pause" 2,
    /// Two groups that cannot hear each other.
    Cut "cut" 4,
    /// One direction of some links is cut.
    OneWay "one-way" 3,
    /// Frames of some links are held back and come later, all at once.
    Clog "clog" 2,
    /// One member is connected to all, the others only to it.
    QuorumLoss "quorum-loss" 2,
    /// The leader is cut from a quorum, and one member is connected to all.
    Constrained "constrained" 2,
    /// Members in a chain: each hears only its neighbours.
    Chained "chained" 2,
    /// Members in a ring.
    Ring "ring" 2,
    SlowDisk "slow-disk" 2,
    FullDisk "full-disk" 0,
    /// One sync fails, the next succeeds, and the pages between are lost.
    SyncFail "sync-fail" 1,
    RotRest "rot-rest" 0,
    RotRead "rot-read" 0,
    Misdirect "misdirect" 0,
    /// An older valid image of a disk is put back.
    Rollback "rollback" 0,
    /// A local clock jumps forward.
    ClockStep "clock-step" 0,
    /// All members but one minimal quorum stop.
    OneQuorum "one-quorum" 2,
    /// The intersection of an elect set and a commit set stops.
    Intersection "intersection" 2,
    /// A minimal blocking set is cut off.
    Blocking "blocking" 2,
    /// The intersection of an elect and a commit set gets an older disk image back.
    RollbackIntersection "rollback-intersection" 0,
    /// The member that leads stops.
    Leader "leader" 3,
    /// Leadership is handed over.
    Transfer "transfer" 2,
    /// The leader is cut off and its peers are told that it is gone: another is elected while it
    /// still believes to lead.
    Usurp "usurp" 0,
    /// An operator asks for a newcomer to come in as a voter.
    ChangeAdd "change-add" 0,
    ChangeLearner "change-learner" 0,
    ChangePromote "change-promote" 0,
    ChangeRemove "change-remove" 0,
    /// One in and one out, often one whose machine is gone.
    ChangeReplace "change-replace" 0,
    ChangeQuorum "change-quorum" 0,
    /// A newcomer that is awaited is called off.
    ChangeCancel "change-cancel" 0,
    /// A directory is lost, and its member comes back without it, under its old id.
    Emptied "emptied" 0,
    /// A person stops a member as planned: it hands over, answers what it took, and ends.
    Stop "stop" 0,
}

impl Kind {
    /// Changes that an operator asks for, and how often each.
    pub const CHANGES: [(Kind, u64); 7] = [
        (Kind::ChangeAdd, 4),
        (Kind::ChangeLearner, 1),
        (Kind::ChangePromote, 2),
        (Kind::ChangeRemove, 3),
        (Kind::ChangeReplace, 4),
        (Kind::ChangeQuorum, 6),
        (Kind::ChangeCancel, 1),
    ];

    pub fn is_change(self) -> bool {
        Self::CHANGES.iter().any(|(kind, _)| *kind == self)
    }

    pub(crate) fn hostile_weights() -> [u64; Kind::COUNT] {
        let mut weights = [1; Kind::COUNT];
        (weights[Kind::Emptied as usize], weights[Kind::Stop as usize]) = (0, 0);
        Self::CHANGES.iter().for_each(|(kind, _)| weights[*kind as usize] = 0);
        weights
    }

    /// Directories are lost by a plan of their own, so that the other faults of a seed stay.
    pub(crate) fn emptied_weights() -> [u64; Kind::COUNT] {
        let mut weights = [0; Kind::COUNT];
        weights[Kind::Emptied as usize] = 1;
        weights
    }

    /// So are members stopped as planned.
    pub(crate) fn stop_weights() -> [u64; Kind::COUNT] {
        let mut weights = [0; Kind::COUNT];
        weights[Kind::Stop as usize] = 1;
        weights
    }

    pub(crate) fn change_weights() -> [u64; Kind::COUNT] {
        let mut weights = [0; Kind::COUNT];
        Self::CHANGES.iter().for_each(|(kind, weight)| weights[*kind as usize] = *weight);
        weights
    }
}

/// One planned fault. Everything it needs is in it, so leaving one out changes no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub at: Nanos,
    pub kind: Kind,
    /// How long it lasts.
    pub span: Nanos,
    /// Seeds every choice it makes.
    pub pick: u64,
}

/// Plans `count` faults over `0..until`.
pub fn plan(
    weights: &[u64; Kind::COUNT],
    count: u64,
    until: Nanos,
    random: &mut Prng,
) -> Vec<Fault> {
    let total: u64 = weights.iter().sum();
    if total == 0 {
        return Vec::new();
    }
    let mut faults: Vec<Fault> = (0..count)
        .map(|_| {
            let at = Nanos(random.below(until.0));
            let mut mark = random.below(total);
            let chosen = Kind::ALL.iter().zip(weights).find(|(_, weight)| {
                let here = mark < **weight;
                mark = mark.wrapping_sub(**weight);
                here
            });
            let kind = *chosen.expect("the mark is below the total").0;
            let longest = [500, 2500, 8000][random.below(3) as usize];
            let span = Nanos::from_millis(50 + random.below(longest));
            Fault { at, kind, span, pick: random.next_u64() }
        })
        .collect();
    faults.sort_by_key(|fault| fault.at);
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_holds_only_kinds_with_weight_in_order_of_time() {
        let mut weights = [0; Kind::COUNT];
        weights[Kind::Pause as usize] = 1;
        weights[Kind::Ring as usize] = 3;
        let plan = plan(&weights, 200, Nanos::from_millis(1000), &mut Prng::new(5));
        assert_eq!(plan.len(), 200);
        assert!(plan.is_sorted_by_key(|fault| fault.at));
        assert!(plan.iter().all(|f| matches!(f.kind, Kind::Pause | Kind::Ring)));
        let rings = plan.iter().filter(|f| f.kind == Kind::Ring).count();
        assert!((110..190).contains(&rings), "{rings}");
    }
}
