//! A disk that runs full. What grows the data is refused while there is still room for what makes
//! some. A member whose disk is low says so in the log; a leader that is low hands over to one that
//! is not; and where those that are not could not commit alone, the leader raises the alarm that
//! etcd's quota raises. All of it is lifted once there is room.

use base::{Nanos, NodeId, planted};
use cluster::Compiled;
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
/// A leader does not hand over for want of room again so soon.
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

/// What the members have said of their disks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// Who says that it is low.
    marks: Vec<NodeId>,
    /// Of those, one that is no member any more.
    stranger: Option<NodeId>,
    /// The others can commit alone.
    enough: bool,
    /// As whom the alarm is raised.
    raised: Option<NodeId>,
    /// Members with data that vote and are not low.
    roomy: Vec<NodeId>,
}

impl Words {
    /// Of the alarms of a view, under the configuration in force.
    pub fn of(alarms: &[(u64, AlarmKind)], config: &Compiled) -> Self {
        let of = |kind| alarms.iter().filter(move |(_, of)| *of == kind).map(|(id, _)| NodeId(*id));
        let marks: Vec<NodeId> = of(AlarmKind::LowMark).collect();
        if alarms.is_empty() {
            return Self { enough: true, ..Self::default() };
        }
        let members = config.config().members.iter();
        let roomy = members
            .filter(|member| !member.learner && !config.is_witness(member.id))
            .map(|member| member.id)
            .filter(|id| !marks.contains(id));
        Self {
            stranger: marks.iter().copied().find(|id| config.config().member(*id).is_none()),
            enough: config.commits_without(&marks),
            raised: of(AlarmKind::LowDisk).next(),
            roomy: roomy.collect(),
            marks,
        }
    }
}

/// What a member sees of itself when it looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its disk is low, or a write waits for room.
    pub is_low: bool,
    pub leads: bool,
    pub own: NodeId,
    pub words: Words,
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Say that this disk is low.
    Mark(NodeId),
    /// It is not any more, or is nobody's.
    Unmark(NodeId),
    /// This one is to lead.
    HandOver(NodeId),
    /// Raise the alarm, as this member.
    Raise(NodeId),
    /// It is over.
    Lift(NodeId),
}

impl Act {
    /// What is to be written for that.
    pub fn command(self) -> Option<Command> {
        let (action, member, kind) = match self {
            Self::HandOver(_) => return None,
            Self::Mark(id) => (AlarmAction::Activate, id, AlarmKind::LowMark),
            Self::Unmark(id) => (AlarmAction::Deactivate, id, AlarmKind::LowMark),
            Self::Raise(id) => (AlarmAction::Activate, id, AlarmKind::LowDisk),
            Self::Lift(id) => (AlarmAction::Deactivate, id, AlarmKind::LowDisk),
        };
        Some(Command::Alarm { action, member: member.0, kind })
    }
}

/// Whether a leader refuses a command itself: until there is room its journal takes nothing, not
/// even what raises the alarm.
pub fn refuses(is_stuck: bool, leads: bool, command: &Command) -> bool {
    is_stuck && leads && command.grows()
}

/// Looks after the room of one member for as long as it runs.
#[derive(Clone, Debug, Default)]
pub struct Keeper {
    handed_over: Option<Nanos>,
    look_at: Nanos,
}

impl Keeper {
    /// What to do now, if anything.
    pub fn look(&mut self, now: Nanos, seen: &Seen) -> Option<Act> {
        if now < self.look_at {
            return None;
        }
        self.look_at = now.plus(LOOK_INTERVAL);
        let Seen { is_low, leads, own, words } = seen;
        match (is_low, words.marks.contains(own)) {
            (true, false) => return Some(Act::Mark(*own)),
            (false, true) => return Some(Act::Unmark(*own)),
            _ if !leads => return None,
            _ => {}
        }
        if let Some(stranger) = words.stranger {
            return Some(Act::Unmark(stranger));
        }
        match words.raised {
            Some(id) if words.enough && !planted!(LowNeverLifted) => return Some(Act::Lift(id)),
            Some(_) => return None,
            None if !words.enough => return Some(Act::Raise(*own)),
            None => {}
        }
        let pause = |at: Nanos| now.since(at) < HAND_OVER_PAUSE;
        let to = words.roomy.iter().find(|id| *id != own).filter(|_| *is_low)?;
        if self.handed_over.is_some_and(pause) {
            return None;
        }
        self.handed_over = Some(now);
        Some(Act::HandOver(*to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::configuration;

    const OWN: NodeId = NodeId(1);

    fn at(seconds: u64) -> Nanos {
        Nanos::from_millis(seconds * 1_000)
    }

    fn seen(is_low: bool, leads: bool, alarms: &[(u64, AlarmKind)]) -> Seen {
        let config = configuration(&["a", "b", "c"], "majority(a, b, c)");
        let config = config.compile().expect("sound");
        Seen { is_low, leads, own: OWN, words: Words::of(alarms, &config) }
    }

    fn look(second: u64, seen: &Seen) -> Option<Act> {
        Keeper::default().look(at(second), seen)
    }

    const MARK: AlarmKind = AlarmKind::LowMark;
    const LOW: AlarmKind = AlarmKind::LowDisk;

    #[test]
    fn whoever_is_low_says_so_and_takes_it_back() {
        for leads in [false, true] {
            assert_eq!(look(1, &seen(true, leads, &[])), Some(Act::Mark(OWN)));
            assert_eq!(look(1, &seen(false, leads, &[(1, MARK)])), Some(Act::Unmark(OWN)));
            assert_eq!(look(1, &seen(false, leads, &[])), None);
        }
        assert_eq!(look(1, &seen(true, false, &[(1, MARK)])), None, "it has");
        let mut keeper = Keeper::default();
        assert!(keeper.look(at(1), &seen(true, true, &[])).is_some());
        assert_eq!(keeper.look(at(1), &seen(true, true, &[])), None, "not at every step");
    }

    #[test]
    fn a_low_leader_hands_over_to_one_that_is_not_while_the_others_are_enough() {
        let mut keeper = Keeper::default();
        let low = seen(true, true, &[(1, MARK)]);
        assert_eq!(keeper.look(at(1), &low), Some(Act::HandOver(NodeId(2))));
        assert_eq!(keeper.look(at(9), &low), None, "it was tried");
        assert_eq!(keeper.look(at(90), &low), Some(Act::HandOver(NodeId(2))));
    }

    #[test]
    fn where_those_with_room_are_no_quorum_the_leader_raises_and_lifts_the_alarm() {
        let two = [(2, MARK), (3, MARK)];
        assert_eq!(
            look(1, &seen(false, true, &two)),
            Some(Act::Raise(OWN)),
            "it is not low itself"
        );
        assert_eq!(look(1, &seen(false, false, &two)), None, "another one leads");
        let raised = [(2, MARK), (3, LOW), (3, MARK)];
        assert_eq!(look(1, &seen(false, true, &raised)), None);
        assert_eq!(look(1, &seen(false, true, &[(3, LOW), (3, MARK)])), Some(Act::Lift(NodeId(3))));
        assert_eq!(look(1, &seen(false, true, &[(9, MARK)])), Some(Act::Unmark(NodeId(9))));
        let of_clients = [(2, AlarmKind::NoSpace), (3, AlarmKind::Corrupt)];
        assert_eq!(look(1, &seen(false, true, &of_clients)), None);
    }

    #[test]
    fn acts_are_written_but_for_the_one_that_is_done() {
        assert_eq!(Act::HandOver(OWN).command(), None);
        let command = Command::Alarm { action: AlarmAction::Activate, member: 1, kind: LOW };
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
