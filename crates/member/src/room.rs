//! A disk that runs full. What grows the data is refused while there is still room for what makes
//! some: a leader whose disk is low hands over once, and otherwise raises the alarm that etcd's
//! quota raises, as itself. A leader with room lifts its own, and any leader those of other
//! members: where they are low only their followers suffer.

use base::{Nanos, NodeId};
use mvcc::{AlarmAction, AlarmKind, Command};

/// Bytes that a disk has free, and all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Free {
    pub bytes: u64,
    pub of: u64,
}

/// Where nothing else is asked for, a disk is low below this, or below a twentieth of it.
pub const LOW_BYTES: u64 = 256 << 20;
const LOW_PART: u64 = 20;
/// A leader does not hand over for want of room again so soon: where all disks are low somebody
/// has to say so.
const HAND_OVER_PAUSE: Nanos = Nanos::from_millis(60_000);
/// From one look to the next.
pub const LOOK_INTERVAL: Nanos = Nanos::from_millis(1_000);

impl Free {
    /// Whether that is too little, where `least` bytes or, without, the default are to be free. It
    /// takes half of that more until what was low is not.
    pub fn is_low(self, least: Option<u64>, was_low: bool) -> bool {
        let least = least.unwrap_or_else(|| LOW_BYTES.min(self.of / LOW_PART));
        self.bytes < if was_low { least.saturating_add(least / 2) } else { least }
    }
}

/// What a member sees of itself when it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its disk is low, or a write waits for room.
    pub is_low: bool,
    pub leads: bool,
    /// Nobody else could lead.
    pub alone: bool,
    pub own: NodeId,
    /// As [`raised`] says.
    pub raised: Option<NodeId>,
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Another member is to lead.
    HandOver,
    /// Raise the alarm as this member.
    Raise(NodeId),
    /// It is over.
    Lift(NodeId),
}

impl Act {
    /// What is to be written for that.
    pub fn command(self) -> Option<Command> {
        let (action, member) = match self {
            Self::HandOver => return None,
            Self::Raise(member) => (AlarmAction::Activate, member.0),
            Self::Lift(member) => (AlarmAction::Deactivate, member.0),
        };
        Some(Command::Alarm { action, member, kind: AlarmKind::LowDisk })
    }
}

/// Whose alarm is to be looked at: another one's, also that of who is no member any more, or this
/// member's own.
pub fn raised(alarms: &[(u64, AlarmKind)], own: NodeId) -> Option<NodeId> {
    let low = alarms.iter().filter(|(_, kind)| *kind == AlarmKind::LowDisk);
    low.map(|(id, _)| NodeId(*id)).max_by_key(|id| *id != own)
}

/// Looks after the room of one member for as long as it runs.
#[derive(Clone, Debug, Default)]
pub struct Keeper {
    handed_over: Option<Nanos>,
    look_at: Nanos,
}

impl Keeper {
    /// What to do now, if anything.
    pub fn look(&mut self, now: Nanos, seen: Seen) -> Option<Act> {
        if now < self.look_at {
            return None;
        }
        self.look_at = now.plus(LOOK_INTERVAL);
        let Seen { is_low, leads, alone, own, raised } = seen;
        if !leads {
            return None;
        }
        match raised {
            Some(id) if id != own || !is_low => Some(Act::Lift(id)),
            None if is_low => {
                let pause = |at: &Nanos| now.since(*at) < HAND_OVER_PAUSE;
                if alone || self.handed_over.as_ref().is_some_and(pause) {
                    return Some(Act::Raise(own));
                }
                self.handed_over = Some(now);
                Some(Act::HandOver)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: NodeId = NodeId(7);
    const SOUND: Seen = Seen { is_low: false, leads: true, alone: false, own: OWN, raised: None };
    const LOW: Seen = Seen { is_low: true, ..SOUND };

    fn at(seconds: u64) -> Nanos {
        Nanos::from_millis(seconds * 1_000)
    }

    #[test]
    fn a_low_leader_hands_over_once_and_says_so_when_it_leads_again() {
        let mut keeper = Keeper::default();
        assert_eq!(keeper.look(at(0), SOUND), None);
        assert_eq!(keeper.look(at(1), LOW), Some(Act::HandOver));
        assert_eq!(keeper.look(at(1), LOW), None, "not at every step");
        assert_eq!(keeper.look(at(2), Seen { leads: false, ..LOW }), None);
        assert_eq!(keeper.look(at(9), LOW), Some(Act::Raise(OWN)));
        assert_eq!(keeper.look(at(10), Seen { raised: Some(OWN), ..LOW }), None);
        assert_eq!(keeper.look(at(90), LOW), Some(Act::HandOver), "much later it is tried again");
    }

    #[test]
    fn who_is_alone_says_so_at_once_and_leaders_lift_what_is_over() {
        let mut keeper = Keeper::default();
        let alone = Seen { alone: true, ..LOW };
        assert_eq!(keeper.look(at(1), alone), Some(Act::Raise(OWN)));
        assert_eq!(keeper.look(at(2), Seen { raised: Some(OWN), ..SOUND }), Some(Act::Lift(OWN)));
        let other = Some(NodeId(8));
        assert_eq!(keeper.look(at(3), Seen { raised: other, leads: false, ..SOUND }), None);
        for seen in [SOUND, LOW] {
            let mut keeper = Keeper::default();
            let seen = Seen { raised: other, ..seen };
            assert_eq!(keeper.look(at(1), seen), Some(Act::Lift(NodeId(8))));
        }
        assert_eq!(keeper.look(at(4), SOUND), None);
    }

    #[test]
    fn alarms_of_others_are_looked_at_first_and_those_of_clients_never() {
        let (full, low) = (AlarmKind::NoSpace, AlarmKind::LowDisk);
        let of = |alarms: &[(u64, AlarmKind)]| raised(alarms, OWN);
        assert_eq!(of(&[(0, AlarmKind::Corrupt), (7, full), (8, full)]), None);
        assert_eq!(of(&[(7, low), (8, low)]), Some(NodeId(8)));
        assert_eq!(of(&[(7, low), (77, full)]), Some(OWN));
        assert_eq!(Act::HandOver.command(), None);
        let command = Command::Alarm { action: AlarmAction::Activate, member: 7, kind: low };
        assert_eq!(Act::Raise(OWN).command(), Some(command));
    }

    #[test]
    fn a_disk_is_low_below_what_is_to_be_free_and_not_before_there_is_half_of_it_more() {
        let free = |bytes, of| Free { bytes, of };
        assert!(free(255 << 20, 1 << 40).is_low(None, false));
        assert!(!free(256 << 20, 1 << 40).is_low(None, false));
        assert!(free(300 << 20, 1 << 40).is_low(None, true));
        assert!(!free(384 << 20, 1 << 40).is_low(None, true));
        assert!(free(49, 1000).is_low(None, false) && !free(50, 1000).is_low(None, false));
        assert!(!free(0, 1000).is_low(Some(0), true), "nothing is asked for");
        assert!(free(9, 1000).is_low(Some(10), false) && free(14, 1000).is_low(Some(10), true));
        assert!(free(5, 1000).is_low(Some(u64::MAX), true));
    }
}
