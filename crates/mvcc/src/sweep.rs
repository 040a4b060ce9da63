//! Compaction in two steps: what is compacted is out of sight at once, and is removed in slices by
//! the applies that follow.
//!
//! The retained versions are under the content hash and the quota, so every member must remove the
//! same ones at the same applied index, also one that was restored from a checkpoint in between.
//! So one pass has one target: a compaction that comes meanwhile waits for the next pass. Passing
//! a revision removes the versions that it superseded and no others: however often a key was
//! written a slice costs the same, and every version ahead is still held, so that a restored
//! member has the same revisions and keys ahead as everybody.

use crate::view::{OldKey, Record, View};
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::{Blob, planted};

/// What one apply passes at most; always a revision whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice {
    pub revisions: u32,
    /// Once so many keys were visited no further revision is begun.
    pub keys: usize,
}

impl Slice {
    /// By an apply that has a command of its own to carry out.
    pub const BUSY: Self =
        if cfg!(test) { Self { revisions: 1, keys: 9 } } else { Self { revisions: 16, keys: 512 } };
    /// By a compaction itself, and by an entry without a command.
    pub const IDLE: Self = if cfg!(test) {
        Self { revisions: 3, keys: 2 }
    } else {
        Self { revisions: 256, keys: 2048 }
    };
    #[cfg(test)]
    const WHOLE: Self = Self { revisions: u32::MAX, keys: usize::MAX };
}

/// How far the removal has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sweep {
    /// Revisions up to here are passed.
    pub passed: i64,
    /// Where this pass ends: a compact revision, perhaps not the last one.
    pub target: i64,
}

impl Sweep {
    pub const fn done(compact_revision: i64) -> Self {
        Self { passed: compact_revision, target: compact_revision }
    }

    /// The oldest revision whose changes are still kept.
    pub fn kept_from(self) -> i64 {
        self.target.min(self.passed.saturating_add(1))
    }
}

impl View {
    /// True while compacted versions wait to be removed; entries without a command, such as a
    /// leader's marks, remove most at once.
    pub fn is_sweeping(&self) -> bool {
        self.sweep.passed < self.sweep.target || self.sweep.target < self.compact_revision
    }

    /// Keeps in sight, of every key, the newest version at or before `revision` and all later
    /// ones. A tombstone goes, unless it is of `revision` itself: a watch may still start there.
    pub(crate) fn compact(&mut self, revision: i64) {
        assert!(revision > self.compact_revision && revision <= self.revision);
        self.compact_revision = revision;
        if let Some(changes) = self.history.get(&revision) {
            // What was before the compact revision is no longer there to be shown.
            let mut last = (**changes).clone();
            last.events.iter_mut().for_each(|event| event.prev_kv = None);
            self.history.insert(revision, Arc::new(last));
        }
    }

    /// Removes what the next revisions of the pass superseded.
    pub(crate) fn sweep(&mut self, slice: Slice) {
        if !self.is_sweeping() {
            return;
        }
        if self.sweep.passed == self.sweep.target {
            // The changes of the last target were kept, and are passed once more.
            let passed = self.sweep.target.saturating_sub(1);
            self.sweep = Sweep { passed, target: self.compact_revision };
        }
        let target = self.sweep.target;
        let (mut revisions, mut visited) = (0, 0);
        while revisions < slice.revisions && visited < slice.keys {
            let next = self.history.iter_from(&(self.sweep.passed + 1), false).next();
            let Some((&at, changes)) = next.filter(|(at, _)| **at <= target) else {
                self.sweep.passed = target;
                return;
            };
            let changes = changes.clone();
            let keys: BTreeSet<&Blob> = changes.events.iter().map(|event| &event.kv.key).collect();
            visited += keys.len();
            revisions += 1;
            for key in keys {
                self.pass_key(key, at, target);
            }
            if at < target || planted!(CompactDropsEvents) {
                self.history.remove(&at);
            }
            self.sweep.passed = at;
        }
    }

    /// Removes what revision `at` superseded of a key that it changed; a tombstone of `at` too,
    /// before the target.
    fn pass_key(&mut self, key: &Blob, at: i64, target: i64) {
        let at = at + i64::from(planted!(CompactOffByOne));
        // A key deleted by the last target is gone altogether after its second visit.
        let Some(newest) = self.current.get(&**key).cloned() else {
            return;
        };
        let from = OldKey { key: key.clone(), main: i64::MIN, sub: 0 };
        let mut gone: Vec<Arc<Record>> = self
            .old
            .iter_from(&from, false)
            .take_while(|(old, _)| old.key == *key && old.main <= at)
            .map(|(_, record)| record.clone())
            .collect();
        if newest.kv.mod_revision > at {
            // The newest passed version is among the superseded ones.
            if gone.last().is_some_and(|x| !x.tombstone || x.kv.mod_revision == target) {
                gone.pop();
            }
        } else if newest.tombstone && newest.kv.mod_revision < target {
            self.current.remove(&**key).expect("it was just found");
            self.forget(&newest);
        }
        for record in gone {
            self.old.remove(&record.old_key()).expect("it was just found");
            self.forget(&record);
        }
    }

    /// True for a version that compaction has put out of sight.
    pub(crate) fn is_void(&self, record: &Record) -> bool {
        let (compacted, at) = (self.compact_revision, record.kv.mod_revision);
        if at > compacted || (record.tombstone && at == compacted) {
            return false;
        }
        let kept = self.live_at(&record.kv.key, compacted);
        kept.is_none_or(|kept| (kept.kv.mod_revision, kept.sub) != (at, record.sub))
    }
}

#[cfg(test)]
mod tests {
    use super::Slice;
    use crate::{
        Command, DeleteRequest, KeyRange, Limits, PutRequest, RangeRequest, RequestOp, Store,
        TxnRequest,
    };
    use alloc::vec;
    use base::{Blob, ClusterTime, LogIndex, Prng};

    fn key(p: &mut Prng) -> Blob {
        Blob::from([b'a' + p.below(6) as u8].as_slice())
    }

    fn put(p: &mut Prng) -> PutRequest {
        let (key, value) = (key(p), Blob::from([p.below(256) as u8].as_slice()));
        PutRequest { key, value, ..PutRequest::default() }
    }

    fn command(p: &mut Prng, revision: i64) -> Option<Command> {
        Some(match p.below(12) {
            0..=5 => Command::Put(put(p)),
            6 | 7 => {
                let range_end = if p.below(2) == 0 { Blob::default() } else { key(p) };
                Command::Delete(DeleteRequest { key: key(p), range_end, prev_kv: false })
            }
            8 => {
                // Several keys in one revision.
                let success = vec![RequestOp::Put(put(p)), RequestOp::Put(put(p))];
                Command::Txn(TxnRequest { success, ..TxnRequest::default() })
            }
            9 => Command::Compact { revision: revision - p.below(12) as i64 },
            _ => return None,
        })
    }

    fn step(store: &mut Store, index: u64, command: Option<&Command>) {
        let (index, now) = (LogIndex(index), ClusterTime(index));
        match command {
            Some(command) => drop(store.apply(index, now, command)),
            None => store.advance(index, now),
        }
    }

    /// All that a client can see.
    fn assert_looks_like(store: &Store, twin: &Store, seed: u64) {
        let all = KeyRange::new(&b"a"[..], &b"\0"[..]);
        assert_eq!(store.revision(), twin.revision());
        assert_eq!(store.compact_revision(), twin.compact_revision());
        for revision in store.compact_revision() - 1..=store.revision() {
            let range_end = Blob::from(&b"\0"[..]);
            let request = RangeRequest {
                key: Blob::from(&b"a"[..]),
                range_end,
                revision,
                ..RangeRequest::default()
            };
            assert_eq!(store.read(&request), twin.read(&request), "seed {seed}");
            let count = RangeRequest { count_only: true, ..request };
            assert_eq!(store.read(&count), twin.read(&count), "seed {seed}");
            let history = |store: &Store| store.history(revision, &all, 999);
            assert_eq!(history(store), history(twin), "seed {seed}");
            assert_eq!(store.hash_kv(revision), twin.hash_kv(revision), "seed {seed}");
        }
    }

    /// Pages of any size put together are the whole history of the range.
    fn assert_pages(store: &Store, range: &KeyRange, p: &mut Prng) {
        let from = store.compact_revision();
        let whole = store.history(from, range, 9999).unwrap();
        let (max, scan_max) = (1 + p.below(4) as usize, 1 + p.below(9) as usize);
        let (mut next, mut found, mut rounds) = (from, vec![], 0);
        while next <= store.revision() {
            let page = store.history_page(next, range, max, scan_max).unwrap();
            assert!(page.next > next && page.changes.len() <= max);
            (next, rounds) = (page.next, rounds + 1);
            found.extend(page.changes);
        }
        assert_eq!(found, whole);
        assert!(
            range.single().is_none() || rounds <= 1 + whole.len(),
            "one key is not scanned for"
        );
    }

    #[test]
    fn compaction_is_seen_at_once_and_removal_is_equal_on_every_member_at_every_index() {
        let (mut waits, mut restores) = (0, 0);
        for seed in 0..40 {
            let mut p = Prng::new(seed);
            let mut store = Store::new(Limits::default());
            // A twin that removes everything at once, and a member that keeps coming back from
            // checkpoints.
            let mut whole = Store::new(Limits::default());
            let mut member = Store::new(Limits::default());
            for index in 1..=90 {
                let command = command(&mut p, store.revision());
                for store in [&mut store, &mut whole, &mut member] {
                    step(store, index, command.as_ref());
                }
                whole.view.sweep(Slice::WHOLE);
                whole.view.sweep(Slice::WHOLE);
                assert!(!whole.is_sweeping());
                if p.below(6) == 0 {
                    let records = member.encode_checkpoint();
                    member = Store::restore(Limits::default(), records).unwrap();
                    restores += u64::from(member.is_sweeping());
                }
                waits += u64::from(store.is_sweeping());
                assert_eq!(store.content_hash(), member.content_hash(), "seed {seed} at {index}");
                assert_eq!(store.size_bytes(), member.size_bytes(), "seed {seed} at {index}");
                assert_eq!(store.chain_hash(), member.chain_hash(), "seed {seed} at {index}");
                assert_eq!(store.view.sweep, member.view.sweep);
                assert!(store.size_bytes() >= whole.size_bytes());
                assert_looks_like(&store, &whole, seed);
                assert_looks_like(&member, &whole, seed);
                assert_pages(&store, &KeyRange::new(&b"b"[..], &b""[..]), &mut p);
                assert_pages(&store, &KeyRange::new(&b"b"[..], &b"d"[..]), &mut p);
            }
            for index in 91..200 {
                step(&mut store, index, None);
            }
            assert!(!store.is_sweeping(), "seed {seed}: entries without a command finish it");
            assert_eq!(store.content_hash(), whole.content_hash(), "seed {seed}");
            assert_eq!(store.view.old.len(), whole.view.old.len(), "seed {seed}");
            assert_eq!(store.view.history.len(), whole.view.history.len(), "seed {seed}");
        }
        assert!(waits > 400 && restores > 40, "{waits} {restores}");
    }

    #[test]
    fn a_key_written_often_is_removed_in_slices_too() {
        let mut store = Store::new(Limits::default());
        let put = |n: u8| PutRequest {
            key: Blob::from(&b"hot"[..]),
            value: Blob::from(&[n][..]),
            ..PutRequest::default()
        };
        for n in 1..=60 {
            step(&mut store, n.into(), Some(&Command::Put(put(n))));
        }
        let mut kept = store.view.old.len();
        assert_eq!(kept, 59);
        step(&mut store, 61, Some(&Command::Compact { revision: 60 }));
        for index in 62..200 {
            let now = store.view.old.len();
            assert!(kept - now <= 2 * Slice::IDLE.revisions as usize, "{kept} to {now}");
            kept = now;
            step(&mut store, index, None);
        }
        assert!(!store.is_sweeping());
        assert_eq!(store.view.old.len(), 1, "the version in sight at the compact revision");
    }
}
