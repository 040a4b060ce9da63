//! Reads that wait, a line for each connection: whoever takes nothing holds up its own line only,
//! and where all together are too many the longest line gives way.

use super::Read;
use alloc::collections::{BTreeMap, VecDeque};
use base::limits::READS_WAITING_MAX;

/// What a read waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// Its turn, and room for the answer.
    Turn,
    /// A place among the long ones.
    Place,
}

/// Of one connection.
#[derive(Default)]
struct Line {
    turn: VecDeque<Read>,
    place: VecDeque<Read>,
}

impl Line {
    fn of(&mut self, waits: For) -> &mut VecDeque<Read> {
        match waits {
            For::Turn => &mut self.turn,
            For::Place => &mut self.place,
        }
    }

    fn len(&self) -> usize {
        self.turn.len() + self.place.len()
    }
}

#[derive(Default)]
pub(super) struct Lines {
    lines: BTreeMap<usize, Line>,
    len: usize,
    /// Whose read was served last, for each of the two.
    served: [usize; 2],
}

impl Lines {
    /// Of all connections.
    #[cfg(test)]
    pub fn len(&self, waits: For) -> usize {
        let of = |line: &Line| match waits {
            For::Turn => line.turn.len(),
            For::Place => line.place.len(),
        };
        self.lines.values().map(of).sum()
    }

    /// Nobody of this connection waits for a turn.
    pub fn is_clear(&self, whose: usize) -> bool {
        self.lines.get(&whose).is_none_or(|line| line.turn.is_empty())
    }

    /// Takes a read in; the one that is too many now, itself or another.
    pub fn push(&mut self, read: Read, waits: For) -> Option<Read> {
        let whose = read.asker().whose();
        let own = self.lines.get(&whose).map_or(0, Line::len);
        let mut gone = None;
        if self.len >= READS_WAITING_MAX {
            let longest = self.lines.iter().max_by_key(|(_, line)| line.len());
            let (most, line) = longest.expect("somebody waits");
            if line.len() <= own {
                return Some(read);
            }
            gone = self.pop_last(*most);
        }
        self.lines.entry(whose).or_default().of(waits).push_back(read);
        self.len += 1;
        assert!(self.len <= READS_WAITING_MAX, "what waits is bounded");
        gone
    }

    /// The one that came last to this line.
    fn pop_last(&mut self, whose: usize) -> Option<Read> {
        let line = self.lines.get_mut(&whose)?;
        let read = line.turn.pop_back().or_else(|| line.place.pop_back());
        self.note_gone(whose, read)
    }

    /// The next one of this line.
    pub fn pop(&mut self, whose: usize, waits: For) -> Option<Read> {
        let read = self.lines.get_mut(&whose)?.of(waits).pop_front();
        self.note_gone(whose, read)
    }

    fn note_gone(&mut self, whose: usize, read: Option<Read>) -> Option<Read> {
        self.len -= usize::from(read.is_some());
        if self.lines.get(&whose).is_some_and(|line| line.len() == 0) {
            self.lines.remove(&whose);
        }
        read
    }

    /// Puts back what [`Lines::pop`] gave.
    pub fn put_back(&mut self, read: Read, waits: For) {
        self.lines.entry(read.asker().whose()).or_default().of(waits).push_front(read);
        self.len += 1;
    }

    /// The others are to be first now.
    pub fn note_served(&mut self, whose: usize, waits: For) {
        self.served[waits as usize] = whose;
    }

    /// Whose reads wait for this, beginning behind the one that was served last.
    pub fn order(&mut self, waits: For) -> VecDeque<usize> {
        let waiting =
            |(whose, line): (&usize, &mut Line)| (!line.of(waits).is_empty()).then_some(*whose);
        let mut order: VecDeque<usize> = self.lines.iter_mut().filter_map(waiting).collect();
        let upto = order.partition_point(|whose| *whose <= self.served[waits as usize]);
        order.rotate_left(upto);
        order
    }
}
