//! The network: encoded frames between members, late, lost, doubled, old or damaged.

use super::World;
use crate::agenda::What;
use crate::judge::place;
use crate::node::Lived;
use base::Nanos;
use base::crc::crc32c;
use replica::{Event, PeerMessage};
use std::collections::VecDeque;

/// Frames remembered to be sent again much later.
const OLD_MAX: usize = 64;

/// A frame on its way. The checksum in front is the connection's.
#[derive(Clone)]
pub(super) struct Parcel {
    pub from: u8,
    pub to: u8,
    /// Of the sender, when it sent this.
    said: Lived,
    bytes: Vec<u8>,
}

/// The state of every ordered pair of members.
pub(super) struct Links {
    count: usize,
    /// How many cuts are in force.
    cut: Vec<u16>,
    clogged: Vec<u16>,
    held: Vec<Vec<Parcel>>,
    /// The last arrival planned, where frames keep their order.
    last: Vec<Nanos>,
    old: VecDeque<Parcel>,
}

impl Links {
    pub fn new(count: usize) -> Self {
        let pairs = count * count;
        Self {
            count,
            cut: vec![0; pairs],
            clogged: vec![0; pairs],
            held: (0..pairs).map(|_| Vec::new()).collect(),
            last: vec![Nanos::ZERO; pairs],
            old: VecDeque::new(),
        }
    }

    /// Machines there is room for.
    pub fn places(&self) -> usize {
        self.count
    }

    pub fn pair(&self, from: usize, to: usize) -> usize {
        from * self.count + to
    }

    pub fn cut(&mut self, pair: usize) {
        self.cut[pair] += 1;
    }

    pub fn mend(&mut self, pair: usize) {
        self.cut[pair] = self.cut[pair].saturating_sub(1);
    }

    pub fn clog(&mut self, pair: usize) {
        self.clogged[pair] += 1;
    }

    pub fn unclog(&mut self, pair: usize) -> Vec<Parcel> {
        self.clogged[pair] = self.clogged[pair].saturating_sub(1);
        match self.clogged[pair] {
            0 => std::mem::take(&mut self.held[pair]),
            _ => Vec::new(),
        }
    }

    pub fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut[self.pair(from, to)] > 0
    }

    pub fn clear(&mut self) {
        self.cut.fill(0);
        self.old.clear();
    }
}

impl World {
    fn chance(&mut self, ppm: u64) -> bool {
        ppm > 0 && self.random.net.below(1_000_000) < ppm
    }

    pub(super) fn net_delay(&mut self) -> Nanos {
        let knobs = &self.plan.knobs;
        let (min, spread) = (knobs.delay_min, knobs.delay_spread);
        let (spike_ppm, spike_max) = (knobs.spike_ppm, knobs.spike_max);
        let mut delay = min.plus(Nanos(self.random.net.below(spread.0.max(1))));
        if !self.healed && self.chance(spike_ppm) {
            self.stats.fault("delay-spike");
            delay = delay.plus(Nanos(self.random.net.below(spike_max.0.max(1))));
        }
        delay
    }

    /// Sends one message.
    pub(super) fn post(&mut self, from: usize, message: &PeerMessage) {
        self.check_silence(from, message);
        let to = place(message.to);
        let Some(said) = self.nodes[from].lived() else { return };
        let mut bytes = Vec::with_capacity(160);
        bytes.extend_from_slice(&[0; 4]);
        message.encode(&mut bytes);
        let crc = crc32c(&bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        self.tracer.mix(u64::from(crc) ^ self.now.0.rotate_left(24));
        let mut parcel = Parcel { from: from as u8, to: to as u8, said, bytes };
        if self.links.is_cut(from, to) {
            return self.stats.fault("frame-cut");
        }
        if self.healed {
            return self.ship(parcel);
        }
        let knobs = &self.plan.knobs;
        let (loss, twice) = (knobs.loss_ppm, knobs.duplicate_ppm);
        let (again, damage) = (knobs.replay_ppm, knobs.corrupt_ppm);
        if self.chance(loss) {
            return self.stats.fault("frame-lost");
        }
        if again > 0 {
            if self.chance(again) && !self.links.old.is_empty() {
                let at = self.random.net.below(self.links.old.len() as u64) as usize;
                let old = self.links.old[at].clone();
                self.stats.fault("frame-replayed");
                self.ship(old);
            }
            if self.random.net.below(8) == 0 {
                self.links.old.push_back(parcel.clone());
                if self.links.old.len() > OLD_MAX {
                    self.links.old.pop_front();
                }
            }
        }
        if self.chance(twice) {
            self.stats.fault("frame-doubled");
            self.ship(parcel.clone());
        }
        if self.chance(damage) {
            let bit = self.random.net.below(parcel.bytes.len() as u64 * 8);
            parcel.bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
            self.stats.fault("frame-damaged");
        }
        self.ship(parcel);
    }

    fn ship(&mut self, parcel: Parcel) {
        let pair = self.links.pair(usize::from(parcel.from), usize::from(parcel.to));
        let mut at = self.now.plus(self.net_delay());
        if self.plan.knobs.fifo {
            at = at.max(self.links.last[pair]);
            self.links.last[pair] = at;
        }
        let parcel = self.parcels.put(parcel);
        self.agenda.push(at, What::Frame(parcel));
    }

    pub(super) fn arrive(&mut self, parcel: u32) {
        let Some(parcel) = self.parcels.take(parcel) else { return };
        let (from, to) = (usize::from(parcel.from), usize::from(parcel.to));
        let pair = self.links.pair(from, to);
        if self.links.clogged[pair] > 0 {
            self.stats.fault("frame-held");
            self.links.held[pair].push(parcel);
            return;
        }
        if self.links.is_cut(from, to) {
            return self.stats.fault("frame-cut");
        }
        if !self.nodes[to].runs() || !self.greets(from, to, parcel.said) {
            return;
        }
        let (crc, body) = parcel.bytes.split_at(4);
        if crc != crc32c(body).to_le_bytes() {
            return; // the connection's checksum drops it
        }
        match PeerMessage::decode(body) {
            Ok(message) => {
                let life = self.nodes[to].life;
                self.give(to, life, Event::Message(message));
            }
            Err(error) => {
                self.blame("frames decode", format!("n{} to n{}: {error}", from + 1, to + 1))
            }
        }
    }

    /// Frames held on a link come now, all at once.
    pub(super) fn unclog(&mut self, pair: usize) {
        for parcel in self.links.unclog(pair) {
            let parcel = self.parcels.put(parcel);
            let at = self.now.plus(Nanos(1 + self.random.net.below(1_000_000)));
            self.agenda.push(at, What::Frame(parcel));
        }
    }
}
