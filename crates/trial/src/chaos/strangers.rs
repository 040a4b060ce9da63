//! Histories in which some members never met another whose directory is lost: a function of the
//! seed (`docs/design/births.md`).
//!
//! A *victim* is met by some members only; the others are *strangers* to it. Writes are
//! acknowledged that need the victim, then its directory is emptied or an older copy is put back,
//! and it returns to the strangers alone. They must not make up a quorum with it.

use std::ops::Range;
use std::time::Duration;

use base::Prng;

/// Keeps these draws apart from those of the schedule and of the clients.
const SALT: u64 = 0x7374_7261_6e67_6572;
/// One round in so many has such a history.
const RARITY: u64 = 3;

/// Who comes when the others have founded the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// The victim, a member of the first configuration.
    Victim,
    /// The victim, by `member add`.
    Added,
    /// The strangers; the victim was there before them.
    Strangers,
}

/// Why strangers and victim never meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// The strangers are dead while the victim lives.
    Down,
    /// The paths between them are cut.
    Cut,
    /// So is the path to the leader, which is one of the strangers: nobody writes the victim down.
    CutFromLeader,
}

/// What befalls the victim's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    Emptied,
    /// A copy from before that many later starts.
    PutBack {
        starts: u64,
    },
}

/// What becomes of the victim once everybody is back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cure {
    /// Nothing.
    None,
    /// `member remove`, then `member add` with an empty directory.
    Readd,
}

/// One history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    pub late: Late,
    pub absence: Absence,
    pub strangers: usize,
    pub damage: Damage,
    pub cure: Cure,
    /// How long the victim is alone with the strangers.
    pub alone: Duration,
}

impl History {
    /// The history of a round with so many members, if it is one of the family or has to be.
    pub fn of(seed: u64, members: usize, forced: bool) -> Option<Self> {
        let mut random = Prng::new(seed ^ SALT);
        let drawn = random.below(RARITY) == 0;
        (forced || drawn).then(|| Self::draw(members, &mut random))
    }

    fn draw(members: usize, random: &mut Prng) -> Self {
        let strangers = 1 + random.below(spare(members) as u64) as usize;
        let late = [Late::Victim, Late::Added, Late::Strangers][random.below(3) as usize];
        let others = members - 1 - strangers;
        let absence = match (late, random.below(5)) {
            // Without the strangers nobody could add the victim.
            (Late::Added, _) if 2 * others < members => Absence::Cut,
            (Late::Victim | Late::Added, 0 | 1) => Absence::Down,
            (Late::Victim, 2) => Absence::CutFromLeader,
            // Strangers that never ran hold nothing that names the victim: undetectable.
            _ => Absence::Cut,
        };
        let damage = match absence {
            // Only who holds the later starts can tell that the directory is older.
            Absence::Cut if random.below(2) == 0 => Damage::PutBack { starts: 1 + random.below(3) },
            _ => Damage::Emptied,
        };
        let cure = [Cure::None, Cure::Readd][random.below(2) as usize];
        let alone = Duration::from_millis(300 + random.below(1200));
        Self { late, absence, strangers, damage, cure, alone }
    }

    /// Members of the first configuration.
    pub fn initial(&self, members: usize) -> usize {
        members - usize::from(self.late == Late::Added)
    }

    /// Members that are started first.
    pub fn founders(&self, members: usize) -> Range<usize> {
        match self.late {
            Late::Victim | Late::Added => 0..members - 1,
            Late::Strangers => 0..members - self.strangers,
        }
    }

    /// Whether the victim can be written down without its own help, and so be counted.
    pub fn seats_victim(&self, members: usize) -> bool {
        match self.absence {
            Absence::Cut => true,
            Absence::Down => 2 * (members - 1 - self.strangers) > members,
            Absence::CutFromLeader => false,
        }
    }

    /// The row of the summary it counts in; `counted` if writes needed the victim.
    pub fn kind(&self, counted: bool) -> &'static str {
        match (self.damage, counted) {
            (Damage::PutBack { .. }, _) => "put-back stranger",
            (Damage::Emptied, true) => "emptied stranger",
            (Damage::Emptied, false) => "emptied stranger, not counted before",
        }
    }
}

/// How many of so many members a majority can do without.
pub fn spare(members: usize) -> usize {
    (members - 1) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(members: usize) -> Vec<History> {
        let forced = |seed| History::of(seed, members, true).expect("forced");
        (0..2_000).map(forced).collect()
    }

    #[test]
    fn some_rounds_are_of_the_family_and_forcing_changes_no_draw() {
        let drawn = (0..3_000).filter(|&seed| History::of(seed, 5, false).is_some()).count();
        assert!((800..1_200).contains(&drawn), "{drawn} of 3000");
        for seed in 0..300 {
            let forced = History::of(seed, 3, true).expect("forced");
            assert_eq!(History::of(seed, 3, false).unwrap_or(forced), forced, "seed {seed}");
        }
    }

    #[test]
    fn every_lateness_absence_damage_and_cure_is_drawn() {
        for members in [3, 5] {
            let all = all(members);
            let has = |what: &dyn Fn(&History) -> bool| all.iter().any(what);
            for late in [Late::Victim, Late::Added, Late::Strangers] {
                assert!(has(&|h| h.late == late && h.damage == Damage::Emptied));
                assert!(has(&|h| h.late == late && h.damage != Damage::Emptied));
            }
            for absence in [Absence::Down, Absence::Cut, Absence::CutFromLeader] {
                assert!(has(&|h| h.absence == absence), "{members}: {absence:?}");
            }
            for cure in [Cure::None, Cure::Readd] {
                assert!(has(&|h| h.cure == cure));
            }
            for strangers in 1..=spare(members) {
                assert!(has(&|h| h.strangers == strangers));
            }
            assert!(has(&|h| !h.seats_victim(members)) && has(&|h| h.seats_victim(members)));
        }
    }

    /// `docs/design/births.md` and `docs/faults.md`: what nobody's memory contradicts.
    #[test]
    fn nothing_undetectable_is_drawn() {
        for (members, history) in
            (3..=9).flat_map(|n| all(n).into_iter().map(move |history| (n, history)))
        {
            let founders = history.founders(members).len();
            let initial = history.initial(members);
            assert!(2 * founders > initial, "{history:?}: nobody founds the cluster");
            assert!(founders < members && initial >= founders, "{history:?}: nobody is late");
            if history.late == Late::Strangers {
                assert_eq!(history.absence, Absence::Cut, "{history:?}: they hold nothing");
            }
            if let Damage::PutBack { starts } = history.damage {
                assert!(starts >= 1 && history.seats_victim(members), "{history:?}");
                assert_eq!(history.absence, Absence::Cut, "{history:?}: they know no start");
            }
            if history.late == Late::Added && history.absence == Absence::Down {
                let left = members - 1 - history.strangers;
                assert!(2 * left > members - 1, "{history:?}: nobody adds the victim");
            }
            // A majority of members that met it must do without the strangers.
            assert!((1..=spare(members)).contains(&history.strangers), "{history:?}");
        }
    }
}
