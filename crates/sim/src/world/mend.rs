//! Damaged values: found by who reads them and by scrubbing, and fetched from other members.

use super::World;
use crate::agenda::What;
use base::Nanos;
use member::mend::{self, Asking, decode_ask, encode_ask};
use member::{Scrub, Scrubbed};
use replica::Event;

/// Of a whole pass; the server's takes days.
const SCRUB_INTERVAL: Nanos = Nanos::from_millis(1_500);
/// Of an answer, about: at times less than a revision.
const ANSWER_BYTES: usize = 300;
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
        let (superseded, of) = member.archive.superseded();
        member.checkpoint.superseded(superseded, of);
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

    /// Asks others for what is damaged. Where only what stands around values is, it is made anew.
    pub(super) fn begin_mending(&mut self, node: usize) {
        let place = &self.nodes[node];
        let (life, Some(member)) = (place.life, place.up()) else { return };
        let wounds = member.archive.wounds();
        if wounds.asks() {
            let ask = What::Mend { node: node as u8, life, tries: 0 };
            self.agenda.push(self.now.plus(ASKS), ask);
        }
        if wounds.has_bare() {
            self.stats.fault("made-anew-alone");
            self.give(node, life, Event::SettleAnew);
        }
    }

    pub(super) fn mend(&mut self, node: usize, life: u32, tries: u8) {
        let place = &self.nodes[node];
        let Some(member) = place.up().filter(|_| place.life == life) else { return };
        let wounds = member.archive.wounds();
        let peer = (node + 1 + usize::from(tries)) % self.nodes.len();
        if peer == node {
            // Nobody has it now; whoever reads it asks again.
            return wounds.in_vain();
        }
        let cut = self.links.is_cut(node, peer) || self.links.is_cut(peer, node);
        let reaches = !cut && !self.nodes[peer].paused;
        if reaches && self.mend_from(node, peer, Asking::new(wounds)) {
            self.stats.fault("block-given");
            self.give(node, life, Event::SettleAnew);
        }
        let ask = What::Mend { node: node as u8, life, tries: tries + 1 };
        self.agenda.push(self.now.plus(ASKS), ask);
    }

    /// Whether one peer gave anything of all that it is asked for.
    fn mend_from(&mut self, node: usize, peer: usize, mut asking: Asking) -> bool {
        let mut gave = false;
        while let Some(ask) = asking.next_ask() {
            let mut said = Vec::new();
            encode_ask(&ask, &mut said);
            let asked = decode_ask(&said).expect("as it was written");
            let Some(other) = self.nodes[peer].up_mut() else { break };
            let view = other.replica.store().view();
            let answer = mend::answer(&view, &asked, ANSWER_BYTES, &mut other.shelf);
            let Some(member) = self.nodes[node].up() else { break };
            let view = member.replica.store().view();
            gave |= asking.take(&ask, &view, &answer).expect("as it was written");
        }
        gave
    }
}
