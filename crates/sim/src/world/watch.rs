//! Watches: members whose watchers stand in the feed that ships, and clients that resume at other
//! members. What clients are told is judged in `judge/watch.rs`.

use super::World;
use crate::agenda::What;
use crate::judge::{Heard, Shown, Wanted, Watching};
use base::{Blob, Nanos};
use door::{Feed, Part, Sight, StreamId, Told};
use mvcc::{Changes, KeyRange, Values as _, View};
use std::sync::Arc;

/// Each watcher has a stream of its own, and this number there.
const WATCHER: i64 = 0;
/// Bytes of one fragment: some two small events.
const FRAGMENT_BYTES_MAX: usize = 250;

pub(super) struct Watcher {
    client: Watching,
    node: u8,
    life: u32,
    /// Messages of an earlier stream are void.
    stream: u32,
    /// Where the member keeps its place.
    place: Option<StreamId>,
    /// The client does not read until then.
    stalled_until: Nanos,
    /// The stream that was told that what it should see next is compacted.
    compacted: Option<u32>,
    /// Something was sent since the last look for quiet watchers.
    active: bool,
}

pub(super) struct Delivery {
    watcher: u16,
    stream: u32,
    heard: Heard,
}

impl World {
    pub(super) fn open_watchers(&mut self) {
        for watcher in 0..self.plan.knobs.watchers {
            let r = &mut self.random.client;
            let key = crate::client::key(r.below(self.plan.knobs.keys));
            let range = match watcher {
                // Of a crowd more than one: whoever watches all is concerned by every batch.
                n if n % 3 == 0 => KeyRange::new(&b"\0"[..], &b"\0"[..]),
                1 => KeyRange::new(key, Blob::default()),
                _ => KeyRange::new(key, &b"k99"[..]),
            };
            let mut one_in = |n: u64| r.below(n) == 0;
            let (prev_kv, no_put, no_delete) = (!one_in(3), one_in(6), one_in(6));
            let (progress, fragment) = (one_in(2), one_in(3));
            let wanted = Wanted { range, prev_kv, no_put, no_delete, progress, fragment };
            self.watchers.push(Watcher {
                client: Watching::new(wanted),
                node: 0,
                life: u32::MAX,
                stream: 0,
                place: None,
                stalled_until: Nanos::ZERO,
                compacted: None,
                active: false,
            });
            // The first from the beginning; others later, from now, from before or from after.
            let first = if watcher == 0 { 5 } else { 5 + r.below(20_000) };
            self.agenda.push(Nanos::from_millis(first), What::Rewatch(watcher as u16));
            self.agenda.push(Nanos::from_millis(first + 700), What::WatchAct(watcher as u16));
        }
    }

    /// Opens a watch at some running member, after what was seen.
    pub(super) fn rewatch(&mut self, number: usize) {
        let r = &mut self.random.client;
        let start = r.below(self.nodes.len() as u64) as usize;
        let draw = (r.below(4), r.below(30) as i64);
        let count = self.nodes.len();
        let mut running = (0..count).map(|n| (start + n) % count);
        let members = if self.healed { self.members() } else { self.present() };
        let open = |n: &usize| {
            let serves = |m: &crate::node::Member| Sight::of(&m.replica).is_open() && !m.drains();
            let place = &self.nodes[*n];
            members.contains(*n as u8) && !place.paused && place.up().is_some_and(serves)
        };
        let member = running.find(open);
        self.unwatch(number);
        let watcher = &mut self.watchers[number];
        watcher.stream += 1;
        let Some(node) = member else {
            watcher.life = u32::MAX;
            let at = self.now.plus(Nanos::from_millis(300));
            return self.agenda.push(at, What::Rewatch(number as u16));
        };
        (watcher.node, watcher.life) = (node as u8, self.nodes[node].life);
        let Some(member) = self.nodes[node].up() else { return };
        let current = member.replica.store().revision();
        if current < self.nodes[node].shown {
            let what = format!("n{} opens a watch at {current}", node + 1);
            self.judge.blame(self.now, "what was shown is not taken back", what);
        }
        let id = self.nodes[node].id;
        self.judge.shows_data(self.now, id, || "opens a watch".to_owned());
        let from = match (watcher.client.resume(), number, draw) {
            (Some(from), ..) => from,
            (None, 0, _) => 1,
            (None, _, (0, _)) => 0,
            (None, _, (1, after)) => current + after + 1,
            (None, _, (_, back)) => (current - back).max(1),
        };
        let wanted = watcher.client.wanted.cursor();
        if let Some(member) = self.nodes[node].up_mut() {
            let place = member.feed.open();
            member.feed.watch((place, WATCHER), wanted, from, current);
            watcher.place = Some(place);
        }
        watcher.active = false;
        watcher.stalled_until = Nanos::ZERO;
        self.tell(number, Heard::Created { from, revision: current });
        self.feed(number);
    }

    /// A client asks for progress, cancels or goes elsewhere; else the member looks for watchers
    /// that are quiet.
    pub(super) fn watch_act(&mut self, number: usize) {
        if self.closing {
            return;
        }
        if self.watchers[number].stalled_until <= self.now {
            self.wake(number);
        }
        let (act, wait) = (self.random.client.below(8), self.random.client.below(4000));
        let at = self.now.plus(Nanos::from_millis(300 + wait));
        self.agenda.push(at, What::WatchAct(number as u16));
        let watcher = &mut self.watchers[number];
        let place = &self.nodes[usize::from(watcher.node)];
        if place.life != watcher.life || place.paused {
            return;
        }
        match act {
            0 => {
                let current = place.up().map_or(0, |member| member.replica.store().revision());
                if let Some((feed, place)) = self.place(number) {
                    feed.want_progress(place, current);
                }
                self.feed(number);
            }
            1 => {
                self.unwatch(number);
                self.tell(number, Heard::Canceled);
                let at = self.now.plus(Nanos::from_millis(wait / 4 + 2));
                self.agenda.push(at, What::Rewatch(number as u16));
            }
            2 => self.rewatch(number),
            // It reads nothing until it is looked at again, and is a cursor further back then.
            3 if watcher.stalled_until == Nanos::ZERO => {
                watcher.stalled_until = self.now.plus(Nanos::from_millis(200 + wait));
            }
            _ => {
                let quiet = !std::mem::take(&mut watcher.active);
                let asked = watcher.client.wanted.progress && quiet;
                let Some((feed, place)) = self.place(number).filter(|_| asked) else { return };
                if let Some(revision) = feed.quiet(place, WATCHER) {
                    self.tell(number, Heard::Progress { revision });
                }
            }
        }
    }

    /// The member's feed, and the watcher's stream there.
    fn place(&mut self, number: usize) -> Option<(&mut Feed, StreamId)> {
        let watcher = &self.watchers[number];
        let node = &mut self.nodes[usize::from(watcher.node)];
        let member = if node.life == watcher.life { node.up_mut() } else { None };
        member.map(|member| &mut member.feed).zip(watcher.place)
    }

    /// The watcher is gone from its member.
    fn unwatch(&mut self, number: usize) {
        if let Some((feed, place)) = self.place(number) {
            feed.close(place);
            while feed.is_behind() {
                assert!(feed.go_on().is_empty(), "all that was told is heard");
            }
        }
        let watcher = &mut self.watchers[number];
        (watcher.life, watcher.place) = (u32::MAX, None);
    }

    pub(super) fn lose_watchers(&mut self, node: usize) {
        for number in 0..self.watchers.len() {
            let watcher = &mut self.watchers[number];
            if usize::from(watcher.node) == node && watcher.life != u32::MAX {
                watcher.life = u32::MAX;
                let wait = Nanos::from_millis(20 + self.random.client.below(500));
                self.agenda.push(self.now.plus(wait), What::Rewatch(number as u16));
            }
        }
    }

    pub(super) fn feed_watchers(&mut self, node: usize, batch: &[Arc<Changes>], installed: bool) {
        let before = batch.first().map(|changes| changes.revision);
        let seen = before.map(|before| before - 1);
        let at_head: Vec<bool> = (0..self.watchers.len())
            .map(|number| {
                let quiet = self.place(number).and_then(|(feed, at)| feed.quiet(at, WATCHER));
                seen.is_some() && quiet == seen
            })
            .collect();
        let Some(member) = self.nodes[node].up_mut() else { return };
        let mut rung = member.feed.hear(batch);
        if installed {
            rung.append(&mut member.feed.replaced(member.replica.store().revision()));
        }
        // Nobody else has a turn meanwhile: that is tried in the door's own tests.
        while member.feed.is_behind() {
            rung.append(&mut member.feed.go_on());
        }
        drop(member.feed.take_gone());
        for (number, at_head) in at_head.into_iter().enumerate() {
            let watcher = &self.watchers[number];
            if usize::from(watcher.node) != node || watcher.life == u32::MAX {
                continue;
            }
            // What is not read is fed later: its place stays where it is.
            let is_rung = watcher.place.is_some_and(|place| rung.contains(&place));
            if watcher.stalled_until > Nanos::ZERO || !is_rung {
                continue;
            }
            let stream = watcher.stream;
            self.feed(number);
            if at_head && self.watchers[number].compacted == Some(stream) {
                let what = format!("watcher {number} had seen all before {before:?}");
                self.blame("compacted is who lagged behind", what);
            }
        }
    }

    /// A client that did not read goes on.
    fn wake(&mut self, number: usize) {
        let stalled = std::mem::take(&mut self.watchers[number].stalled_until);
        if stalled > Nanos::ZERO {
            self.feed(number);
        }
    }

    /// All clients read what there is.
    pub(super) fn wake_watchers(&mut self) {
        (0..self.watchers.len()).for_each(|number| self.wake(number));
    }

    fn tell(&mut self, number: usize, heard: Heard) {
        let stream = self.watchers[number].stream;
        let delivery = self.deliveries.put(Delivery { watcher: number as u16, stream, heard });
        self.agenda.push(self.now.plus(Nanos::from_millis(1)), What::Watch(delivery));
    }

    /// Sends what the watcher has not been sent yet.
    fn feed(&mut self, number: usize) {
        loop {
            let watcher = &self.watchers[number];
            let node = &mut self.nodes[usize::from(watcher.node)];
            let life = watcher.life;
            let member = if node.life == life { node.up_mut() } else { None };
            let Some((member, place)) = member.zip(watcher.place) else { return };
            let (feed, store) = (&mut member.feed, member.replica.store());
            if !feed.has_work(place) {
                return;
            }
            let told = feed.next(place, || store.view(), &mut member.archive.cache());
            let mut all: Vec<Told> = told.into_iter().collect();
            if all.is_empty()
                && let Some(mut errand) = feed.begin(place, || store.view())
            {
                while !errand.step(&mut member.shelf) {}
                feed.end(&errand);
                all = errand.take_told();
            }
            let view = store.view();
            for told in all {
                if !self.tell_what_was_found(number, told, &view) {
                    return;
                }
            }
        }
    }

    /// Sends what the feed told, with what the view has from before; false when the watcher has
    /// ended.
    fn tell_what_was_found(&mut self, number: usize, told: Told, view: &View) -> bool {
        let watcher = &mut self.watchers[number];
        let batch = match told {
            Told::Events { batch, .. } => batch,
            Told::Unreadable { why, .. } => {
                self.unreadable_here(number, &why);
                return false;
            }
            Told::Progress(revision) => {
                self.tell(number, Heard::Progress { revision });
                return true;
            }
            Told::Compacted { revision, .. } => {
                watcher.compacted = Some(watcher.stream);
                self.unwatch(number);
                self.tell(number, Heard::Compacted { revision });
                let at = self.now.plus(Nanos::from_millis(2));
                self.agenda.push(at, What::Rewatch(number as u16));
                return false;
            }
        };
        watcher.active = true;
        let message = |part: &Part<'_>| {
            let compacted = view.compact_revision();
            let shown = part.events().map(|(event, before)| Shown {
                event: event.clone(),
                before,
                compacted,
            });
            Heard::Events { events: shown.collect(), revision: batch.revision(), more: part.more }
        };
        let bytes_max =
            if watcher.client.wanted.fragment { FRAGMENT_BYTES_MAX } else { usize::MAX };
        let node = usize::from(watcher.node);
        let Some(member) = self.nodes[node].up_mut() else { return false };
        let parts = batch.parts((bytes_max, usize::MAX), Some(view), &mut member.shelf);
        let Ok(parts) = parts else {
            let why = member.shelf.take_trouble().expect("what can be read is read");
            self.unreadable_here(number, &why);
            return false;
        };
        let messages: Vec<Heard> = parts.iter().flatten().map(message).collect();
        messages.into_iter().for_each(|heard| self.tell(number, heard));
        true
    }

    /// What a watcher is to see cannot be read here: its client goes elsewhere.
    fn unreadable_here(&mut self, number: usize, why: &str) {
        self.unreadable(usize::from(self.watchers[number].node), why);
        self.unwatch(number);
        self.tell(number, Heard::Canceled);
        let at = self.now.plus(Nanos::from_millis(2));
        self.agenda.push(at, What::Rewatch(number as u16));
    }

    /// A message reaches its client.
    pub(super) fn watched(&mut self, delivery: u32) {
        let Some(delivery) = self.deliveries.take(delivery) else { return };
        let watcher = &mut self.watchers[usize::from(delivery.watcher)];
        if delivery.stream != watcher.stream {
            return;
        }
        self.stats.watch(match &delivery.heard {
            Heard::Created { .. } => "created",
            Heard::Events { more: true, .. } => "fragments",
            Heard::Events { .. } => "batches",
            Heard::Progress { .. } => "progress",
            Heard::Compacted { .. } => "compacted",
            Heard::Canceled => "canceled",
        });
        if let Heard::Events { events, .. } = &delivery.heard {
            self.stats.watch_events += events.len() as u64;
        }
        let told = watcher.client.hear(&delivery.heard, &self.judge.model);
        self.judge.checks += 1;
        if let Err((rule, what)) = told {
            let number = delivery.watcher;
            self.judge.blame(self.now, rule, format!("watcher {number}: {what}"));
        }
    }

    /// At the end every watcher has seen everything.
    pub(super) fn check_watchers(&mut self) {
        for number in 0..self.watchers.len() {
            if let Some(revision) = self.watchers[number].client.missed(&self.judge.model) {
                let what = format!("watcher {number} never saw revision {revision}");
                return self.blame("watch is reliable", what);
            }
        }
    }
}
