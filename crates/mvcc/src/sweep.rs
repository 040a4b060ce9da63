//! Compaction in two steps: what is compacted is out of sight at once, and is removed in slices by
//! the applies that follow.
//!
//! The retained versions are under the content hash and the quota, so every member must remove the
//! same ones at the same applied index, also one that was restored from a checkpoint in between.
//! So one pass has one target: a compaction that comes meanwhile waits for the next pass. Passing
//! a revision removes the versions that it superseded and no others: however often a key was
//! written a slice costs the same, and every version ahead is still held, so that a restored
//! member has the same revisions and keys ahead as everybody.

use crate::budget::Budget;
use crate::command::Error;
use crate::removal::Sweep;
use crate::types::{Changes, Event};
use crate::version::{Before, Old, Record};
use crate::view::View;
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

/// The removal of one slice.
pub(crate) struct SweepWork {
    slice: Slice,
    revisions: u32,
    visited: usize,
    /// Where its pass ends; none before it has begun.
    target: Option<i64>,
    /// The revision being passed, and how many of its events are.
    at: Option<(Arc<Changes>, usize)>,
}

impl SweepWork {
    pub fn new(slice: Slice) -> Self {
        Self { slice, revisions: 0, visited: 0, target: None, at: None }
    }

    /// True once the slice is done.
    pub fn run(&mut self, view: &mut View, budget: &mut Budget) -> bool {
        loop {
            if let Some((changes, upto)) = &mut self.at {
                let (at, target) = (changes.revision, view.sweep.target);
                assert_eq!(self.target, Some(target), "a pass keeps its target");
                assert!(view.sweep.passed < at && at <= target, "revisions are passed in order");
                assert!(*upto <= changes.events.len(), "an event is passed once");
                // A key that it changed twice is nothing new the second time.
                while let Some(event) = changes.events.get(*upto) {
                    if !budget.is_left() {
                        return false;
                    }
                    *upto += 1;
                    budget.spend(view.pass_key(&event.kv.key, at, target));
                }
                if at < target || planted!(CompactDropsEvents) {
                    let gone = view.history.remove(&at);
                    assert!(gone.is_some(), "what is passed was kept until then");
                }
                view.sweep.passed = at;
                self.at = None;
            }
            if !self.next_revision(view) {
                return true;
            }
        }
    }

    /// Begins another revision; false when there is none, or enough is done.
    fn next_revision(&mut self, view: &mut View) -> bool {
        if !self.goes_on() || (self.target.is_none() && !view.is_sweeping()) {
            return false;
        }
        // A slice ends with its pass.
        let target = *self.target.get_or_insert_with(|| {
            assert!(view.sweep.target <= view.compact_revision, "only what is compacted is passed");
            view.sweep = view.sweep.next_pass(view.compact_revision);
            view.sweep.target
        });
        assert!(view.sweep.passed <= target && target <= view.compact_revision);
        let next = view.history.iter_from(&(view.sweep.passed + 1), false).next();
        let Some((_, changes)) = next.filter(|(at, _)| **at <= target) else {
            view.sweep.passed = target;
            return false;
        };
        self.revisions += 1;
        self.visited += changes.events.len();
        self.at = Some((changes.clone(), 0));
        true
    }

    fn goes_on(&self) -> bool {
        self.revisions < self.slice.revisions && self.visited < self.slice.keys
    }

    /// Spends what a slice of the entry will do, and one more for a compaction at `compacts`.
    pub fn weigh(view: &View, slice: Slice, compacts: Option<i64>, left: &mut Budget) {
        if !view.is_sweeping() && compacts.is_none() {
            return;
        }
        let compact_revision = compacts.unwrap_or(view.compact_revision);
        let Sweep { passed, target } = view.sweep.next_pass(compact_revision);
        let mut work = Self::new(slice);
        if compacts.is_some() {
            work.slice.revisions = work.slice.revisions.saturating_add(Slice::IDLE.revisions);
            work.slice.keys = work.slice.keys.saturating_add(Slice::IDLE.keys);
        }
        // Whatever was begun by then: a pass may end and another one follow.
        for (at, changes) in view.history.iter_from(&(passed + 1), false) {
            if *at > target.max(compact_revision) || !work.goes_on() || !left.is_left() {
                return;
            }
            work.revisions += 1;
            work.visited += changes.events.len();
            left.spend(2 * changes.events.len() as u64);
        }
    }
}

/// A compaction: what is compacted goes out of sight.
pub(crate) struct CompactWork {
    /// Changes of the compact revision, if there are any, and how they are shown from then on.
    last: Option<Arc<Changes>>,
    events: Vec<Event>,
    revision: i64,
}

impl CompactWork {
    /// # Errors
    /// `Compacted`, `FutureRevision`.
    pub fn new(view: &View, revision: i64) -> Result<Self, Error> {
        if revision <= view.compact_revision {
            return Err(Error::Compacted);
        }
        if revision > view.revision {
            return Err(Error::FutureRevision);
        }
        let last = view.history.get(&revision).cloned();
        assert!(last.as_ref().is_none_or(|last| last.revision == revision), "under its number");
        Ok(Self { last, events: Vec::new(), revision })
    }

    /// Keeps in sight, of every key, the newest version at or before the revision and all later
    /// ones. A tombstone goes, unless it is of the revision itself: a watch may still start there.
    pub fn run(&mut self, view: &mut View, budget: &mut Budget) -> bool {
        let (revision, events) = (self.revision, &mut self.events);
        assert!(view.compact_revision < revision, "the compact revision only rises");
        assert!(revision <= view.revision, "what is to come cannot be compacted");
        if let Some(last) = &self.last {
            assert!(events.len() <= last.events.len(), "an event is taken once");
            while let Some(event) = last.events.get(events.len()) {
                if !budget.is_left() {
                    return false;
                }
                budget.spend(1);
                // What was before the compact revision is no longer there to be shown.
                let (kind, kv) = (event.kind, event.kv.clone());
                events.push(Event { kind, kv, prev_kv: Before::default() });
            }
            let events = core::mem::take(events);
            let shown = view.history.insert(revision, Arc::new(Changes { revision, events }));
            assert!(shown.is_some(), "it takes the place of what was shown before");
        }
        view.compact_revision = revision;
        true
    }

    /// What it will take.
    pub fn weigh(view: &View, revision: i64) -> u64 {
        1 + view.history.get(&revision).map_or(0, |changes| changes.events.len() as u64)
    }
}

impl View {
    /// True while compacted versions wait to be removed; entries without a command, such as a
    /// leader's marks, remove most at once.
    pub fn is_sweeping(&self) -> bool {
        self.sweep.passed < self.sweep.target || self.sweep.target < self.compact_revision
    }

    /// Removes what revision `at` superseded of a key that it changed; a tombstone of `at` too,
    /// before the target. The units of work that it took.
    fn pass_key(&mut self, key: &Blob, at: i64, target: i64) -> u64 {
        assert!(at <= target && target <= self.compact_revision, "no later version is removed");
        let at = at + i64::from(planted!(CompactOffByOne));
        // A key deleted by the last target is gone altogether after its second visit.
        let Some(newest) = self.current.get(&**key).cloned() else {
            return 1;
        };
        let from = Old::at(key.clone(), i64::MIN, 0);
        let mut gone: Vec<Old> = self
            .old
            .iter_from(&from, false)
            .map(|(old, ())| old)
            .take_while(|old| old.kv.key == *key && old.kv.mod_revision <= at)
            .cloned()
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
        let units = 1 + gone.len() as u64;
        for old in gone {
            self.old.remove(&old).expect("it was just found");
            self.forget(&old);
        }
        units
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
    use super::{Slice, SweepWork};
    use crate::budget::Budget;
    use crate::version::Record;
    use crate::{
        Command, DeleteRequest, KeyRange, Limits, PutRequest, RangeRequest, RequestOp, Store,
        TxnRequest,
    };
    use alloc::vec;
    use alloc::vec::Vec;
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
                for _ in 0..2 {
                    let mut work = SweepWork::new(Slice::WHOLE);
                    assert!(work.run(&mut whole.view, &mut Budget::endless()));
                }
                assert!(!whole.is_sweeping());
                if p.below(6) == 0 {
                    let records = member.checkpoint_records();
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

    /// A version's revision, and whether the key died there.
    type Mark = (i64, bool);

    /// What a removal leaves of one key: its superseded versions, and its newest.
    fn left(store: &Store, key: &str) -> (Vec<Mark>, Option<Mark>) {
        let of = |record: &Record| (record.kv.mod_revision, record.tombstone);
        let is_its = |record: &Record| *record.kv.key == *key.as_bytes();
        let old = store.view.old.iter().map(|(old, ())| &**old);
        let old = old.filter(|record| is_its(record)).map(|record| of(record)).collect();
        (old, store.view.current.get(key.as_bytes()).map(|record| of(record)))
    }

    fn whole(store: &Store) -> Store {
        let mut whole = Store::with_view(Limits::default(), store.view());
        for _ in 0..2 {
            assert!(SweepWork::new(Slice::WHOLE).run(&mut whole.view, &mut Budget::endless()));
        }
        assert!(!whole.is_sweeping());
        whole
    }

    #[test]
    fn what_is_compacted_counts_no_more_before_it_is_removed() {
        let blob = |key: &str| Blob::from(key.as_bytes());
        let put = |key: &str| PutRequest { key: blob(key), ..PutRequest::default() };
        let delete = |key: &str, end: &str| {
            let (key, range_end) = (blob(key), blob(end));
            Command::Delete(DeleteRequest { key, range_end, prev_kv: false })
        };
        let mut store = Store::new(Limits::default());
        let mut run = |command: &Command| {
            let index = store.applied_index().0 + 1;
            step(&mut store, index, Some(command));
            store.revision()
        };
        for _ in 0..6 {
            run(&Command::Put(put("hot")));
        }
        for key in ["again", "before", "dead", "last", "twice"] {
            run(&Command::Put(put(key)));
        }
        assert_eq!(run(&delete("dead", "")), 13);
        assert_eq!(run(&delete("before", "")), 14);
        assert_eq!(run(&delete("again", "")), 15);
        // At the revision that is compacted two keys die, one of them lives again, and a third
        // one does not outlive it.
        let Command::Delete(both) = delete("last", "\0") else { unreachable!() };
        let Command::Delete(brief) = delete("z", "\0") else { unreachable!() };
        let success = vec![
            RequestOp::Delete(both),
            RequestOp::Put(put("twice")),
            RequestOp::Put(put("z")),
            RequestOp::Delete(brief),
        ];
        assert_eq!(run(&Command::Txn(TxnRequest { success, ..TxnRequest::default() })), 16);
        for key in ["again", "before", "hot", "last"] {
            run(&Command::Put(put(key)));
        }
        assert_eq!(run(&Command::Compact { revision: 16 }), 20);
        assert!(store.is_sweeping());
        let whole = whole(&store);
        assert!(whole.view.old.len() < store.view.old.len());
        assert_looks_like(&store, &whole, 0);
        let (alive, died) = (|at| Some((at, false)), true);
        assert_eq!(left(&whole, "dead"), (vec![], None), "it died before");
        assert_eq!(left(&whole, "before"), (vec![], alive(18)));
        assert_eq!(left(&whole, "again"), (vec![], alive(17)));
        assert_eq!(left(&whole, "hot"), (vec![(7, false)], alive(19)), "the one in sight then");
        // A watch may start at 16: what died there is told.
        assert_eq!(left(&whole, "last"), (vec![(16, died)], alive(20)));
        assert_eq!(left(&whole, "twice").1, alive(16));
        assert_eq!(left(&whole, "z"), (vec![], Some((16, died))));
    }

    /// etcd skips nothing when nothing is to be kept: then what waits to be removed would show.
    #[test]
    fn where_nothing_lives_nothing_that_is_compacted_is_hashed() {
        let mut store = Store::new(Limits::default());
        for (index, key) in (1..).zip([b"a", b"b", b"c", b"d"]) {
            let put = PutRequest { key: Blob::from(&key[..]), ..PutRequest::default() };
            step(&mut store, index, Some(&Command::Put(put)));
        }
        let (key, range_end) = (Blob::from(&b"a"[..]), Blob::from(&b"\0"[..]));
        let all = DeleteRequest { key, range_end, prev_kv: false };
        let put = PutRequest { key: Blob::from(&b"z"[..]), ..PutRequest::default() };
        let success = vec![RequestOp::Put(put), RequestOp::Delete(all)];
        let txn = Command::Txn(TxnRequest { success, ..TxnRequest::default() });
        step(&mut store, 5, Some(&txn));
        step(&mut store, 6, Some(&Command::Compact { revision: 6 }));
        assert!(store.is_sweeping());
        let hash = store.hash_kv(6).unwrap().hash;
        assert_eq!(hash, base::crc::crc32c(b"key"), "of no row");
        assert_looks_like(&store, &whole(&store), 0);
    }
}
