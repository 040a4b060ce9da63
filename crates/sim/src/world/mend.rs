//! Damaged values: found by who reads them and by scrubbing, and fetched from other members.

use super::World;
use crate::agenda::What;
use base::Nanos;
use member::mend::{self, decode_ask, encode_ask};
use member::{Scrub, Scrubbed};
use replica::Event;

/// Of a whole pass; the server's takes days.
const SCRUB_INTERVAL: Nanos = Nanos::from_millis(1_500);
/// From the question to the answer.
const ASKS: Nanos = Nanos::from_millis(3);

impl World {
    pub(super) fn plan_scrub(&mut self, node: usize) {
        let life = self.nodes[node].life;
        let scrub = What::Scrub { node: node as u8, life };
        self.agenda.push(self.now.plus(SCRUB_INTERVAL), scrub);
    }

    pub(super) fn scrub(&mut self, node: usize, life: u32) {
        let place = &mut self.nodes[node];
        if place.life != life || self.closing {
            return;
        }
        let (disk, paused) = (place.disk.clone(), place.paused);
        let Some(member) = place.up_mut() else { return };
        let mut scrub = Scrub::default();
        let scrubbed = loop {
            match scrub.step(&disk, &member.archive, 1_000) {
                Ok(Scrubbed::Some(_)) => {}
                other => break other,
            }
        };
        let (is_whole, written) = (member.archive.wounds().is_empty(), member.checkpoint.written);
        self.plan_scrub(node);
        let Ok(Scrubbed::All { index, checkpoint }) = scrubbed else { return };
        if !index || !checkpoint || !is_whole {
            self.stats.fault("scrub-found");
            if !self.nodes[node].damaged {
                let what = format!("n{}: index {index}, checkpoint {checkpoint}", node + 1);
                return self.blame("a sound disk is read", what);
            }
        }
        if !index {
            self.give(node, life, Event::SettleAnew);
        }
        if !checkpoint {
            self.unfit(node, life, written);
        }
        if !is_whole {
            self.begin_mending(node);
        } else if index && checkpoint && !paused {
            self.is_whole_again(node);
        }
    }

    /// All of it was read: whatever hit its values has gone with them or was mended.
    fn is_whole_again(&mut self, node: usize) {
        let place = &mut self.nodes[node];
        let hit = place.damaged && place.values_hit && !place.shunned;
        if hit && place.repairing.is_none() {
            (place.damaged, place.values_hit) = (false, false);
            self.stats.fault("values-whole-again");
        }
    }

    /// Asks others for what is damaged.
    pub(super) fn begin_mending(&mut self, node: usize) {
        let life = self.nodes[node].life;
        let ask = What::Mend { node: node as u8, life, tries: 0 };
        self.agenda.push(self.now.plus(ASKS), ask);
    }

    pub(super) fn mend(&mut self, node: usize, life: u32, tries: u8) {
        let place = &self.nodes[node];
        let Some(member) = place.up().filter(|_| place.life == life) else { return };
        let archive = member.archive.clone();
        let Some(revisions) = archive.wounds().asks().into_iter().next() else { return };
        let count = self.nodes.len();
        if usize::from(tries) + 1 >= count {
            return; // nobody has it now; whoever reads it asks again
        }
        let peer = (node + 1 + usize::from(tries)) % count;
        let cut = self.links.is_cut(node, peer) || self.links.is_cut(peer, node);
        let whole = !cut && !self.nodes[peer].paused && self.mend_from(node, peer, &revisions);
        let tries = if whole { 0 } else { tries + 1 };
        if whole {
            self.stats.fault("block-given");
            self.give(node, life, Event::SettleAnew);
        }
        let ask = What::Mend { node: node as u8, life, tries };
        self.agenda.push(self.now.plus(ASKS), ask);
    }

    /// Whether a peer had all that was asked for.
    fn mend_from(&mut self, node: usize, peer: usize, revisions: &std::ops::Range<i64>) -> bool {
        let mut said = Vec::new();
        encode_ask(revisions, &mut said);
        let asked = decode_ask(&said).expect("as it was written");
        let Some(other) = self.nodes[peer].up_mut() else { return false };
        let view = other.replica.store().view();
        let answer = mend::answer(&view, &asked, &mut other.shelf);
        let Some(member) = self.nodes[node].up() else { return false };
        let view = member.replica.store().view();
        mend::take(&member.archive, &view, revisions, &answer).expect("as it was written")
    }
}
