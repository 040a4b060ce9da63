//! What will happen, in order of virtual time and then of planning.

use base::Nanos;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// One future event. Small and without an allocation of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A frame of the slab reaches its member.
    Frame(u32),
    Tick {
        node: u8,
        life: u32,
    },
    /// A member takes what has gathered.
    Batch {
        node: u8,
        life: u32,
    },
    /// The write under way reaches the disk.
    LogDone {
        node: u8,
        life: u32,
    },
    LogIdle {
        node: u8,
        life: u32,
    },
    CheckpointDone {
        node: u8,
        life: u32,
    },
    MergeDone {
        node: u8,
        life: u32,
    },
    Scrub {
        node: u8,
        life: u32,
    },
    /// A peer is asked for what is damaged.
    Mend {
        node: u8,
        life: u32,
        tries: u8,
    },
    /// A write that found no room is tried again.
    LogRoom {
        node: u8,
        life: u32,
    },
    FetchDone {
        node: u8,
        life: u32,
    },
    /// The next chunk of a checkpoint on its way.
    Chunk(u32),
    PeerLost {
        node: u8,
        life: u32,
        peer: u8,
    },
    PeerFound {
        node: u8,
        life: u32,
        peer: u8,
    },
    Restart {
        node: u8,
        life: u32,
    },
    Resume {
        node: u8,
        life: u32,
    },
    /// A client acts.
    Client(u16),
    /// A client's request reaches its member.
    Request {
        op: u32,
        attempt: u8,
    },
    /// The next slice of a read of the slab.
    Look(u32),
    /// Reads that gathered ask for a round together.
    Round {
        node: u8,
        life: u32,
    },
    /// An answer of the slab reaches its client.
    Answer(u32),
    GiveUp {
        op: u32,
    },
    /// A batch of watch events reaches its client.
    Watch(u32),
    Rewatch(u16),
    /// A watcher's client or its member does something.
    WatchAct(u16),
    Fault(u16),
    /// The operator asks for a change of the slab.
    Ask(u32),
    /// A fault ends.
    Relief(u32),
    /// A planned stop is done.
    StopEnds {
        node: u8,
        life: u32,
    },
}

#[derive(Default)]
pub struct Agenda {
    heap: BinaryHeap<Reverse<(Nanos, u64, What)>>,
    order: u64,
}

impl Agenda {
    pub fn push(&mut self, at: Nanos, what: What) {
        self.order += 1;
        self.heap.push(Reverse((at, self.order, what)));
    }

    /// The next event not after `until`.
    pub fn pop(&mut self, until: Nanos) -> Option<(Nanos, What)> {
        if self.heap.peek().is_none_or(|Reverse((at, _, _))| *at > until) {
            return None;
        }
        self.heap.pop().map(|Reverse((at, _, what))| (at, what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_equal_times_in_order_of_planning() {
        let mut agenda = Agenda::default();
        agenda.push(Nanos(5), What::Client(1));
        agenda.push(Nanos(3), What::Client(9));
        agenda.push(Nanos(3), What::Client(2));
        let order: Vec<_> = std::iter::from_fn(|| agenda.pop(Nanos(5))).collect();
        let clients = [(3, 9), (3, 2), (5, 1)].map(|(at, c)| (Nanos(at), What::Client(c)));
        assert_eq!(order, clients);
        agenda.push(Nanos(7), What::Client(1));
        assert_eq!(agenda.pop(Nanos(6)), None);
    }
}
