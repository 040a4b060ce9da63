//! What clients asked, when, and what they were told.

use std::sync::Mutex;
use std::time::Instant;

/// A stored pair as an answer shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub value: String,
    pub mod_revision: i64,
    pub version: i64,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    Put {
        key: usize,
        value: String,
    },
    /// Puts if the key's `mod_revision` is the expected one (0: absent), else reads it.
    Cas {
        key: usize,
        expected: i64,
        value: String,
    },
    Read {
        key: usize,
        serializable: bool,
    },
}

impl Input {
    pub fn key(&self) -> usize {
        match self {
            Self::Put { key, .. } | Self::Cas { key, .. } | Self::Read { key, .. } => *key,
        }
    }

    /// The value it may write; no two requests have the same.
    pub fn value(&self) -> Option<&str> {
        match self {
            Self::Put { value, .. } | Self::Cas { value, .. } => Some(value),
            Self::Read { .. } => None,
        }
    }

    pub fn is_serializable(&self) -> bool {
        matches!(self, Self::Read { serializable: true, .. })
    }
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It wrote, as this revision.
    Wrote { revision: i64 },
    /// What the key was at the header's revision: of a read, or of a CAS that did not match.
    Found { revision: i64, seen: Option<Seen> },
    /// A write that nobody knows the end of; a read without an answer.
    Unknown { why: String },
    /// Certainly without effect, now and later.
    Refused { why: String },
}

impl Answer {
    /// The revision the answer speaks of.
    pub fn revision(&self) -> Option<i64> {
        match self {
            Self::Wrote { revision } | Self::Found { revision, .. } => Some(*revision),
            Self::Unknown { .. } | Self::Refused { .. } => None,
        }
    }
}

/// One request and its answer; times in nanoseconds since the round began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    pub client: u32,
    /// Who was asked.
    pub member: usize,
    /// Which life of that member's process; none if it died meanwhile.
    pub life: Option<u32>,
    pub input: Input,
    pub answer: Answer,
    pub invoked: u64,
    pub returned: u64,
}

/// One put as a watch from the first revision showed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub key: usize,
    pub value: String,
    pub revision: i64,
    pub create_revision: i64,
    pub version: i64,
}

/// Collects what the clients of one round see.
pub struct Recorder {
    start: Instant,
    ops: Mutex<Vec<Op>>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { start: Instant::now(), ops: Mutex::default() }
    }
}

impl Recorder {
    /// Nanoseconds since the round began; never goes back.
    pub fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).expect("a round ends within 584 years")
    }

    pub fn push(&self, op: Op) {
        assert!(op.invoked <= op.returned, "an answer follows its request");
        self.ops.lock().expect("no holder panics").push(op);
    }

    /// Acknowledged, unknown, refused so far; reads without an answer count as neither.
    pub fn tally(&self) -> Tally {
        Tally::of(&self.ops.lock().expect("no holder panics"))
    }

    /// Writes that were asked for at `moment` or later and acknowledged so far.
    pub fn wrote_since(&self, moment: u64) -> usize {
        let wrote = |op: &&Op| op.invoked >= moment && matches!(op.answer, Answer::Wrote { .. });
        self.ops.lock().expect("no holder panics").iter().filter(wrote).count()
    }

    /// Everything recorded.
    pub fn take(&self) -> Vec<Op> {
        std::mem::take(&mut self.ops.lock().expect("no holder panics"))
    }
}

/// Requests by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub acknowledged: u64,
    /// Writes only.
    pub unknown: u64,
    /// Writes only.
    pub refused: u64,
    pub unanswered_reads: u64,
}

impl Tally {
    pub fn of(ops: &[Op]) -> Self {
        let mut tally = Self::default();
        for op in ops {
            let writes = op.input.value().is_some();
            match op.answer {
                Answer::Wrote { .. } | Answer::Found { .. } => tally.acknowledged += 1,
                _ if !writes => tally.unanswered_reads += 1,
                Answer::Unknown { .. } => tally.unknown += 1,
                Answer::Refused { .. } => tally.refused += 1,
            }
        }
        tally
    }

    pub fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.unknown += other.unknown;
        self.refused += other.refused;
        self.unanswered_reads += other.unanswered_reads;
    }

    pub fn operations(&self) -> u64 {
        self.acknowledged + self.unknown + self.refused + self.unanswered_reads
    }
}
