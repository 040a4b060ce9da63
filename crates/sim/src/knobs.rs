//! Every number of a life, drawn from its seed.

use crate::fault::Kind;
use base::{Nanos, Prng};
use member::compaction::Rule;

/// How rough a life is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// A healthy network and healthy disks.
    Calm,
    /// Losses, cuts and crashes.
    Rough,
    /// Everything at once.
    Hostile,
    /// Every knob drawn from the seed, sizes and quorum system too.
    Swarm,
}

impl Profile {
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "calm" => Self::Calm,
            "rough" => Self::Rough,
            "hostile" => Self::Hostile,
            "swarm" => Self::Swarm,
            _ => return None,
        })
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Rough => "rough",
            Self::Hostile => "hostile",
            Self::Swarm => "swarm",
        }
    }
}

/// The environment of one life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Knobs {
    /// Per frame, in millionths.
    pub loss_ppm: u64,
    pub duplicate_ppm: u64,
    pub replay_ppm: u64,
    pub corrupt_ppm: u64,
    /// Uniform in `delay_min .. delay_min + delay_spread`, and at times a spike on top.
    pub delay_min: Nanos,
    pub delay_spread: Nanos,
    pub spike_ppm: u64,
    pub spike_max: Nanos,
    /// Frames of one link never overtake each other, as on a connection.
    pub fifo: bool,
    pub disk_min: Nanos,
    pub disk_spread: Nanos,
    /// A member's clock runs at most this much too fast or too slow.
    pub drift_ppm_max: u64,
    pub election: Nanos,
    pub heartbeat: Nanos,
    pub segment_bytes: u64,
    /// Entries between checkpoints.
    pub checkpoint_entries: u64,
    pub catchup_entries: u64,
    /// Units of work on committed entries in one step of a member; the first member's. The others
    /// have other ones, so that equal states are of different slices.
    pub apply_budget: u64,
    /// Versions that wait for a merge; the first member's, as for the slices.
    pub settle_versions: usize,
    /// Values in memory that have settled, in bytes.
    pub cache_bytes: usize,
    /// Time that one step on a long entry takes.
    pub apply_pause: Nanos,
    /// Units of work on a read in one slice; between two of them other things happen.
    pub read_budget: u64,
    /// Longest time from a barrier to its read, and from one slice to the next.
    pub read_pause: Nanos,
    pub append_bytes_max: usize,
    pub inflight_bytes_max: usize,
    /// Bytes of one chunk of a checkpoint on its way to a peer.
    pub chunk_bytes: usize,
    /// A member takes what arrives within this time as one batch.
    pub coalesce: Nanos,
    /// A client's request or its answer is lost.
    pub client_loss_ppm: u64,
    pub client_timeout: Nanos,
    /// Longest pause between two operations of a client.
    pub think_max: Nanos,
    pub keys: u64,
    pub value_bytes_max: u64,
    /// How often a client does what; see `client::Choice`.
    pub op_weights: [u64; crate::client::CHOICES],
    pub watchers: u64,
    /// Faults planned over the life, and how often each kind.
    pub faults: u64,
    pub fault_weights: [u64; Kind::COUNT],
    /// Changes of members and quorum that an operator asks for.
    pub changes: u64,
    /// Directories that are lost, if the others can afford it.
    /// Drawn late, so that the rest of a seed stays.
    pub emptied: u64,
    /// Members that are stopped as planned.
    pub stops: u64,
    /// Members say where they serve clients, and leaders publish it.
    pub publishes: bool,
    /// What history is let go of by itself.
    pub compaction: Rule,
}

/// A part of the environment that can be made well-behaved, to see whether it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Still {
    Loss,
    Duplicates,
    Replays,
    Damage,
    Delays,
    ClientLoss,
    Drift,
    Batches,
    Watches,
    Stops,
    Publishing,
    Compaction,
}

impl Still {
    pub const ALL: &[Self] = &[
        Self::Loss,
        Self::Duplicates,
        Self::Replays,
        Self::Damage,
        Self::Delays,
        Self::ClientLoss,
        Self::Drift,
        Self::Batches,
        Self::Watches,
        Self::Stops,
        Self::Publishing,
        Self::Compaction,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Duplicates => "duplicates",
            Self::Replays => "replays",
            Self::Damage => "damage",
            Self::Delays => "delays",
            Self::ClientLoss => "client-loss",
            Self::Drift => "drift",
            Self::Batches => "batches",
            Self::Watches => "watches",
            Self::Stops => "stops",
            Self::Publishing => "publishing",
            Self::Compaction => "compaction",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|still| still.name() == text)
    }
}

const MS: u64 = 1_000_000;

impl Knobs {
    /// Nothing goes wrong.
    pub fn calm() -> Self {
        Self {
            loss_ppm: 0,
            duplicate_ppm: 0,
            replay_ppm: 0,
            corrupt_ppm: 0,
            delay_min: Nanos(100_000),
            delay_spread: Nanos(400_000),
            spike_ppm: 0,
            spike_max: Nanos(MS),
            fifo: true,
            disk_min: Nanos(200_000),
            disk_spread: Nanos(MS),
            drift_ppm_max: 0,
            election: Nanos::from_millis(1000),
            heartbeat: Nanos::from_millis(100),
            segment_bytes: 32 << 10,
            checkpoint_entries: 200,
            catchup_entries: 50,
            apply_budget: 1000,
            settle_versions: 50,
            cache_bytes: 1 << 20,
            apply_pause: Nanos(100_000),
            read_budget: 1000,
            read_pause: Nanos(100_000),
            append_bytes_max: 1 << 20,
            inflight_bytes_max: 8 << 20,
            chunk_bytes: 16 << 10,
            coalesce: Nanos::ZERO,
            client_loss_ppm: 0,
            client_timeout: Nanos::from_millis(8000),
            think_max: Nanos::from_millis(800),
            keys: 8,
            value_bytes_max: 64,
            op_weights: crate::client::WEIGHTS,
            watchers: 2,
            faults: 0,
            fault_weights: [0; Kind::COUNT],
            changes: 0,
            emptied: 0,
            stops: 0,
            publishes: false,
            compaction: Rule::Off,
        }
    }

    pub fn draw(profile: Profile, random: &mut Prng) -> Self {
        let mut knobs = Self::calm();
        match profile {
            Profile::Calm => {}
            Profile::Rough => {
                (knobs.loss_ppm, knobs.duplicate_ppm, knobs.replay_ppm) = (20_000, 10_000, 2_000);
                (knobs.spike_ppm, knobs.fifo) = (5_000, false);
                knobs.client_loss_ppm = 5_000;
                knobs.drift_ppm_max = 2_000;
                knobs.faults = 24;
                knobs.fault_weights = Kind::rough_weights();
            }
            Profile::Hostile => {
                (knobs.loss_ppm, knobs.duplicate_ppm, knobs.replay_ppm) = (80_000, 40_000, 10_000);
                (knobs.spike_ppm, knobs.fifo) = (20_000, false);
                (knobs.corrupt_ppm, knobs.client_loss_ppm) = (5_000, 20_000);
                knobs.spike_max = Nanos::from_millis(400);
                knobs.drift_ppm_max = 4_000;
                (knobs.faults, knobs.emptied) = (48, 1);
                knobs.fault_weights = Kind::hostile_weights();
            }
            Profile::Swarm => knobs.swarm(random),
        }
        knobs
    }

    /// Changes of a life that has some.
    pub(crate) fn draw_changes(random: &mut Prng) -> u64 {
        4 + random.below(14)
    }

    pub(crate) fn still(&mut self, part: Still) {
        match part {
            Still::Loss => self.loss_ppm = 0,
            Still::Duplicates => self.duplicate_ppm = 0,
            Still::Replays => self.replay_ppm = 0,
            Still::Damage => self.corrupt_ppm = 0,
            Still::Delays => {
                (self.spike_ppm, self.fifo) = (0, true);
                self.delay_spread = Nanos(1);
            }
            Still::ClientLoss => self.client_loss_ppm = 0,
            Still::Drift => self.drift_ppm_max = 0,
            Still::Batches => self.coalesce = Nanos::ZERO,
            Still::Watches => self.watchers = 0,
            // Those planned are left out of the plan.
            Still::Stops => self.stops = 0,
            Still::Publishing => self.publishes = false,
            Still::Compaction => self.compaction = Rule::Off,
        }
    }

    /// What is drawn by streams of its own, so that the rest of a seed stays.
    pub(crate) fn draw_late(&mut self, seed: u64) {
        self.draw_slices(&mut Prng::new(seed ^ 0x736c_6963_6573_2121));
        self.draw_chores(&mut Prng::new(seed ^ 0x6368_6f72_6573_2121));
        let r = &mut Prng::new(seed ^ 0x7365_7474_6c65_2121);
        self.settle_versions = [1, 3, 10, 60][r.below(4) as usize];
        self.cache_bytes = [0, 1_000, 10_000, 1 << 20][r.below(4) as usize];
    }

    fn draw_slices(&mut self, r: &mut Prng) {
        self.apply_budget = [1, 2, 4, 10, 100, 1000][r.below(6) as usize];
        let most = [1, 10_000, 300_000, 5 * MS][r.below(4) as usize];
        self.apply_pause = Nanos(1 + r.below(most));
        self.read_budget = [1, 2, 4, 10, 100, 1000][r.below(6) as usize];
        let most = [1, 10_000, 300_000, 20 * MS][r.below(4) as usize];
        self.read_pause = Nanos(1 + r.below(most));
    }

    fn draw_chores(&mut self, r: &mut Prng) {
        self.stops = [0, 2, 5][r.below(3) as usize];
        self.publishes = r.below(3) > 0;
        let keep = 1 + r.below(60) as i64;
        self.compaction = match r.below(4) {
            0 => Rule::Revision { keep, every: Nanos::from_millis(500 + r.below(6000)) },
            1 => Rule::Periodic { span: Nanos::from_millis(1 + r.below(15_000)) },
            _ => Rule::Off,
        };
    }

    fn swarm(&mut self, r: &mut Prng) {
        let rate = |r: &mut Prng, max: u64| {
            let level = r.below(3);
            if level == 0 { 0 } else { r.below(1 + max / if level == 1 { 10 } else { 1 }) }
        };
        self.loss_ppm = rate(r, 120_000);
        self.duplicate_ppm = rate(r, 100_000);
        self.replay_ppm = rate(r, 20_000);
        self.corrupt_ppm = rate(r, 10_000);
        self.delay_min = Nanos(50_000 + r.below(MS));
        let spread = [MS, 5 * MS, 40 * MS][r.below(3) as usize];
        self.delay_spread = Nanos(1 + r.below(spread));
        self.spike_ppm = rate(r, 30_000);
        self.spike_max = Nanos::from_millis(1 + r.below(1500));
        self.fifo = r.below(2) == 0;
        self.disk_min = Nanos(50_000 + r.below(MS));
        let spread = [MS, 10 * MS, 80 * MS][r.below(3) as usize];
        self.disk_spread = Nanos(1 + r.below(spread));
        self.drift_ppm_max = rate(r, 4_500);
        self.election = Nanos::from_millis(400 + r.below(800));
        self.heartbeat = Nanos(self.election.0 / (5 + r.below(6)));
        self.segment_bytes = 4096 << r.below(5);
        let often = [20, 100, 400][r.below(3) as usize];
        self.checkpoint_entries = 5 + r.below(often);
        let kept = [1, 10, 100][r.below(3) as usize];
        self.catchup_entries = r.below(kept);
        self.append_bytes_max = 256 << r.below(13);
        self.inflight_bytes_max = self.append_bytes_max * (1 + r.below(8) as usize);
        self.chunk_bytes = 512 << r.below(8);
        self.coalesce = if r.below(2) == 0 { Nanos::ZERO } else { Nanos(r.below(300_000)) };
        self.client_loss_ppm = rate(r, 40_000);
        self.client_timeout = Nanos::from_millis(1000 + r.below(9000));
        self.think_max = Nanos::from_millis(100 + r.below(900));
        self.keys = 1 + r.below(20);
        self.value_bytes_max = 16 << r.below(7);
        for weight in &mut self.op_weights {
            *weight = (*weight * (1 + r.below(8))).div_ceil(4) * u64::from(r.below(8) > 0);
        }
        self.op_weights[0] = self.op_weights[0].max(1);
        self.op_weights[1] = self.op_weights[1].max(1);
        self.watchers = r.below(6);
        self.faults = 16 + r.below(40);
        for weight in self.fault_weights.iter_mut().take(Kind::Emptied as usize) {
            *weight = [0, 1, 2, 6][r.below(4) as usize];
        }
        Kind::CHANGES.iter().for_each(|(kind, _)| self.fault_weights[*kind as usize] = 0);
        self.changes = if r.below(3) == 0 { Self::draw_changes(r) } else { 0 };
        self.fault_weights[Kind::Crash as usize] += 1;
    }
}
