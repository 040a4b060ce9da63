//! Watches: cursors into a member's history, moved to another member when theirs is gone.

use super::World;
use crate::agenda::What;
use base::{Blob, Nanos, planted};
use mvcc::{Changes, KeyRange};
use std::sync::Arc;

/// Revisions in one batch.
const REVISIONS_MAX: usize = 16;

pub(super) struct Watcher {
    range: KeyRange,
    node: u8,
    life: u32,
    /// The first revision the member has not sent.
    next: i64,
    /// The last revision the client has seen everything up to.
    seen: i64,
    /// Batches of an earlier stream are void.
    stream: u32,
}

pub(super) struct Delivery {
    watcher: u16,
    stream: u32,
    changes: Vec<Arc<Changes>>,
    /// Everything up to this revision has been sent; the header's promise.
    upto: i64,
    compacted: Option<i64>,
}

impl World {
    pub(super) fn open_watchers(&mut self) {
        for watcher in 0..self.plan.knobs.watchers {
            let key = crate::client::key(self.random.client.below(self.plan.knobs.keys));
            let range = match watcher {
                0 => KeyRange::new(&b"\0"[..], &b"\0"[..]),
                1 => KeyRange::new(key, Blob::default()),
                _ => KeyRange::new(key, &b"k99"[..]),
            };
            let (node, life) = (0, u32::MAX);
            self.watchers.push(Watcher { range, node, life, next: 2, seen: 1, stream: 0 });
            self.agenda.push(Nanos::from_millis(5), What::Rewatch(watcher as u16));
        }
    }

    /// Opens a watch at some running member, after what was seen.
    pub(super) fn rewatch(&mut self, number: usize) {
        let start = self.random.client.below(self.nodes.len() as u64) as usize;
        let count = self.nodes.len();
        let running = (0..count).map(|n| (start + n) % count);
        let members = if self.healed { self.members() } else { self.present() };
        let member = running.into_iter().find(|n| members.contains(*n as u8));
        let watcher = &mut self.watchers[number];
        watcher.stream += 1;
        watcher.next = watcher.seen + 1 + i64::from(planted!(CatchUpSkips));
        match member {
            Some(node) => {
                (watcher.node, watcher.life) = (node as u8, self.nodes[node].life);
                self.feed(number);
            }
            None => {
                watcher.life = u32::MAX;
                let at = self.now.plus(Nanos::from_millis(300));
                self.agenda.push(at, What::Rewatch(number as u16));
            }
        }
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

    pub(super) fn feed_watchers(&mut self, node: usize) {
        for number in 0..self.watchers.len() {
            if usize::from(self.watchers[number].node) == node {
                self.feed(number);
            }
        }
    }

    /// Sends what the watcher has not been sent yet.
    fn feed(&mut self, number: usize) {
        loop {
            let watcher = &mut self.watchers[number];
            let place = &self.nodes[usize::from(watcher.node)];
            let Some(member) = place.up().filter(|_| place.life == watcher.life) else { return };
            let view = member.replica.store().view();
            if watcher.next > view.revision() {
                return;
            }
            let (changes, upto, compacted) =
                match view.history(watcher.next, &watcher.range, REVISIONS_MAX) {
                    Ok(changes) => {
                        let whole = changes.len() < REVISIONS_MAX || planted!(ProgressBeforeEvents);
                        let last = changes.last().map_or(watcher.next, |c| c.revision);
                        (changes, if whole { view.revision() } else { last }, None)
                    }
                    Err(_) => (vec![], view.compact_revision() - 1, Some(view.compact_revision())),
                };
            watcher.next = upto + 1;
            let stream = watcher.stream;
            let delivery = Delivery { watcher: number as u16, stream, changes, upto, compacted };
            let at = self.now.plus(Nanos::from_millis(1));
            let delivery = self.deliveries.put(delivery);
            self.agenda.push(at, What::Watch(delivery));
        }
    }

    /// A batch reaches its client: in order, complete, each revision whole, nothing twice.
    pub(super) fn watched(&mut self, delivery: u32) {
        let Some(delivery) = self.deliveries.take(delivery) else { return };
        let watcher = &mut self.watchers[usize::from(delivery.watcher)];
        if delivery.stream != watcher.stream {
            return;
        }
        if let Some(compacted) = delivery.compacted {
            if compacted > self.judge.model.compacted {
                let what = format!("told of a compaction at {compacted}");
                return self.judge.blame(self.now, "watch is reliable", what);
            }
            watcher.seen = watcher.seen.max(delivery.upto);
            return;
        }
        let range = &watcher.range;
        let after = self.judge.model.changes_after(watcher.seen);
        let expected = after.iter().take_while(|c| c.revision <= delivery.upto);
        let mut expected = expected.filter(|changes| changes.touches(range));
        let compacted = self.judge.model.compacted;
        for got in &delivery.changes {
            self.stats.watch_events += got.matching(range).count() as u64;
            let Some(want) = expected.next() else {
                let what = format!("revision {} nobody expects", got.revision);
                return self.judge.blame(self.now, "watch is ordered", what);
            };
            let same = got.revision == want.revision
                && got.matching(range).count() == want.matching(range).count()
                && got.matching(range).zip(want.matching(range)).all(|(a, b)| {
                    let old = a.prev_kv == b.prev_kv
                        || (a.prev_kv.is_none() && got.revision <= compacted);
                    a.kind == b.kind && a.kv == b.kv && old
                });
            if !same {
                let what = format!("got {got:?}, expected {want:?}");
                return self.judge.blame(self.now, "watch is reliable", what);
            }
        }
        if let Some(missed) = expected.next() {
            let what = format!("revision {} is missing up to {}", missed.revision, delivery.upto);
            return self.judge.blame(self.now, "watch is reliable", what);
        }
        watcher.seen = watcher.seen.max(delivery.upto);
    }

    /// At the end every watcher has seen everything.
    pub(super) fn check_watchers(&mut self) {
        for number in 0..self.watchers.len() {
            let watcher = &self.watchers[number];
            let after = self.judge.model.changes_after(watcher.seen);
            if let Some(missed) = after.iter().find(|changes| changes.touches(&watcher.range)) {
                let what = format!("watcher {number} never saw revision {}", missed.revision);
                return self.blame("watch is reliable", what);
            }
        }
    }
}
