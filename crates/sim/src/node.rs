//! One member: the replica, lane and checkpoints that ship, and its shell's own state.

use crate::disk::{Image, SimDisk};
use crate::ledger::Ledger;
use base::{Ballot, Birth, Incarnation, Life, LogIndex, Nanos, NodeId};
use consensus::raft::Persist;
use door::{Bounds, Feed, FeedLimits, Rounds};
use member::compaction::Rule;
use member::room::Keeper;
use member::shelf::Shelf;
use member::{
    Archive, Born, CheckpointState, Compactor, Job, Lane, Peers, Publisher, Stop, Transfers,
};
use mvcc::Fetch;
use replica::{CheckpointJob, Event, Replica};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use wal::Journal;

/// A machine of the cluster, whether or not its process runs.
pub struct Node {
    pub id: NodeId,
    pub slot: u8,
    pub name: String,
    pub disk: SimDisk,
    pub stage: Stage,
    /// Where it serves clients, as it says since its last start.
    pub client_urls: Vec<String>,
    /// Starts so far; what was planned for an earlier one is void.
    pub life: u32,
    pub process: Process,
    pub paused: bool,
    /// What is durable, as far as the promises of this member go.
    pub ledger: Ledger,
    /// Persist requests that were not durable when the process last stopped.
    pub unsettled: Vec<Persist>,
    /// The lives of peers that it let in last, as the judge saw it: its own file must say so.
    pub met: BTreeMap<u8, Lived>,
    /// It could not write down whom it met last: its file may say so or not.
    pub met_unsure: bool,
    /// What the members told it that it is, and the birth it asked with.
    pub born: Option<(Born, u64)>,
    pub rate_ppm: i64,
    /// Disk times are multiplied by this.
    pub slow: u64,
    /// Its disk was damaged or put back: it repairs or refuses to start, and must never lie.
    pub damaged: bool,
    /// Only values were hit: it finds out as it reads them, and asks others.
    pub values_hit: bool,
    /// The highest revision a client may have read here, from this disk.
    pub shown: i64,
    /// The promise and index it repairs with; `None` when it takes part.
    pub repairing: Option<(Ballot, LogIndex)>,
    /// Its repair was whole up to here when it set out to forget it: a crash leaves both open.
    pub ending: Option<LogIndex>,
    /// A read of its disk may be wrong once.
    pub misreads: bool,
    /// Older images of its disk, one for each start.
    pub images: Vec<Older>,
    /// The process stops after this many more effects.
    pub effects_left: Option<u64>,
    /// No commit set ran when it asked last whether it may campaign.
    pub asked_in_vain: bool,
    /// Peers refuse it: they remember a later life of this disk.
    pub shunned: bool,
    /// Births of directories that it lost before a configuration named them.
    pub lost_births: Vec<Birth>,
    /// An older image of its disk was put back, before this start: every start before that was
    /// forgotten by it, and by nobody else.
    pub put_back: Option<u32>,
}

/// A disk as a start found it.
#[derive(Clone)]
pub struct Older {
    /// The start that found it.
    pub incarnation: Incarnation,
    /// Its member elects and commits by itself: whoever starts from it asks nobody who could say
    /// that it was put back.
    pub alone: bool,
    pub image: Image,
}

/// A life of a member, and which of its starts it was: what the judge tells lives by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lived {
    pub life: Life,
    pub start: u32,
}

/// Whether a machine is a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Waits to hear from a member that it is to come in, by the operation that asks for that.
    Newcomer {
        asked: u32,
    },
    Member,
    /// Was removed and has been told.
    Left,
}

pub enum Process {
    Down,
    /// It will not start: why, with file and offset.
    Refused(String),
    Up(Box<Member>),
}

/// A running process.
pub struct Member {
    pub replica: Replica,
    pub lane: Lane,
    /// Its watchers, each a stream of its own.
    pub feed: Feed,
    /// Reads, by their operations, that share rounds.
    pub rounds: Rounds<u32>,
    pub peers: Peers,
    pub life: Life,
    /// The local clock: (virtual time, local time) of its last change of rate.
    pub clock: (Nanos, Nanos),
    pub rate_ppm: i64,
    /// Gathered and not yet taken.
    pub inbox: Vec<Event>,
    pub batch_due: bool,
    pub tick_at: Nanos,
    /// What waits for the lane.
    pub jobs: VecDeque<Job>,
    /// The lane's disk is at work.
    pub busy: bool,
    /// When the lane uses the silence, if it lasts, and whether that is planned.
    pub idle_at: Nanos,
    pub idle_due: bool,
    pub checkpoint: CheckpointState,
    /// The checkpoint being written.
    pub saving: Option<CheckpointJob>,
    /// What is being merged; more than one where another state came meanwhile.
    pub merging: VecDeque<mvcc::Settling>,
    /// What is being fetched for an entry.
    pub fetching: VecDeque<(Vec<Fetch>, u32)>,
    pub archive: Archive,
    /// As the threads read it that do what is long.
    pub shelf: Shelf,
    pub transfers: Transfers,
    pub chores: Chores,
}

/// What a member does beside consensus.
pub struct Chores {
    pub publisher: Publisher,
    pub compactor: Compactor,
    pub room: Keeper,
    /// A write waits for room.
    pub stuck: bool,
    pub stop: Stop,
    pub stopping: Option<Stopping>,
    /// Operations that it took and has not answered.
    pub calls: BTreeSet<u32>,
}

/// A planned stop as whoever asked for it sees it, by the member's clock.
#[derive(Clone, Copy, Debug)]
pub struct Stopping {
    /// How long the member is down.
    pub span: Nanos,
    /// Leadership may be kept until then, and the process runs on until `end`.
    pub until: Nanos,
    pub end: Nanos,
    /// It is about to end.
    pub ends: bool,
}

impl Chores {
    pub fn new(rule: Rule) -> Self {
        let (publisher, compactor) = (Publisher::default(), Compactor::new(rule, Nanos::ZERO));
        let (stop, stopping, calls) = (Stop::default(), None, BTreeSet::new());
        let (room, stuck) = (Keeper::default(), false);
        Self { publisher, compactor, room, stuck, stop, stopping, calls }
    }
}

const MILLION: i128 = 1_000_000;

/// Of watchers; the server's numbers are larger.
const FEED_LIMITS: FeedLimits = FeedLimits {
    bounds: Bounds { revisions_max: 16, events_max: 40, bytes_target: 2_000 },
    at_hand_max: 4,
    at_hand_bytes_max: 1_000,
    near_max: 8,
    errand_bytes_max: 500,
    hear_max: 3,
    recent_bytes_max: 2_000,
};

impl Member {
    /// Of a life that begins at a time and runs at a rate.
    pub fn new(
        replica: Replica,
        journal: Journal,
        (archive, shelf): (Archive, Shelf),
        checkpoint: CheckpointState,
        (life, mut peers): (Life, Peers),
        (now, rate_ppm): (Nanos, i64),
        rule: Rule,
    ) -> Self {
        peers.follow(replica.raft());
        let feed = Feed::new(FEED_LIMITS, replica.store().revision());
        Self {
            replica,
            lane: Lane::new(journal),
            feed,
            rounds: Rounds::default(),
            peers,
            life,
            clock: (now, Nanos::ZERO),
            rate_ppm,
            inbox: Vec::new(),
            batch_due: false,
            tick_at: Nanos(u64::MAX),
            jobs: VecDeque::new(),
            busy: false,
            idle_at: Nanos::ZERO,
            idle_due: false,
            checkpoint,
            saving: None,
            merging: VecDeque::new(),
            fetching: VecDeque::new(),
            archive,
            shelf,
            transfers: Transfers::default(),
            chores: Chores::new(rule),
        }
    }

    /// When something is due here, by the local clock; `publishes` where members say anything.
    pub fn due(&self, publishes: bool) -> Nanos {
        let Chores { publisher, compactor, stop, .. } = &self.chores;
        let news = publisher.due(self.replica.raft()).filter(|_| publishes);
        let others = [news, compactor.due(), stop.deadline()];
        others.into_iter().flatten().fold(self.replica.deadline(), Nanos::min)
    }

    /// Whether it takes nothing new.
    pub fn drains(&self) -> bool {
        matches!(self.chores.stop, Stop::Draining { .. })
    }

    /// Local monotonic time.
    pub fn local(&self, now: Nanos) -> Nanos {
        let elapsed = i128::from(now.since(self.clock.0).0);
        let local = elapsed * (MILLION + i128::from(self.rate_ppm)) / MILLION;
        self.clock.1.plus(Nanos(u64::try_from(local).unwrap_or(u64::MAX)))
    }

    /// When the local clock will have reached `local`.
    pub fn at_local(&self, local: Nanos) -> Nanos {
        let left = i128::from(local.since(self.clock.1).0);
        let real = left * MILLION / (MILLION + i128::from(self.rate_ppm)) + 1;
        self.clock.0.plus(Nanos(u64::try_from(real).unwrap_or(u64::MAX)))
    }

    pub fn set_rate(&mut self, now: Nanos, rate_ppm: i64) {
        self.clock = (now, self.local(now));
        self.rate_ppm = rate_ppm;
    }
}

impl Node {
    pub fn up(&self) -> Option<&Member> {
        match &self.process {
            Process::Up(member) => Some(member),
            _ => None,
        }
    }

    pub fn up_mut(&mut self) -> Option<&mut Member> {
        match &mut self.process {
            Process::Up(member) => Some(member),
            _ => None,
        }
    }

    /// What it says of itself while it runs.
    pub fn lived(&self) -> Option<Lived> {
        self.up().map(|member| Lived { life: member.life, start: self.life })
    }

    pub fn runs(&self) -> bool {
        matches!(self.process, Process::Up(_))
    }

    /// Its directory is believed by nobody from now on, and nothing is asked of it.
    pub fn shun(&mut self) {
        (self.damaged, self.shunned, self.ledger.excused) = (true, true, true);
    }
}
