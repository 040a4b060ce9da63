//! Compaction in two steps: what is compacted is out of sight at once, and leaves the sums over
//! what is retained in slices, by the applies that follow. Out of memory it goes when a layer
//! settles.
//!
//! Those sums are under the content hash and the quota, so every member must take the same
//! versions out at the same applied index, also one that was restored from a checkpoint in between,
//! and whatever has settled where. So a pass goes through the versions in the order of keys and has
//! one target: a compaction that comes meanwhile waits for the next pass. What a slice costs counts
//! only those that were retained until then.

use crate::budget::Budget;
use crate::command::Error;
use crate::index::Facts;
use crate::removal::{Sweep, is_dead};
use crate::version::Record;
use crate::view::View;
use alloc::vec::Vec;
use base::{Blob, planted};

/// Retained versions that one apply looks at, at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice(usize);

impl Slice {
    /// By an apply that has a command of its own to carry out.
    pub const BUSY: Self = Self(if cfg!(test) { 3 } else { 256 });
    /// By a compaction itself, and by an entry without a command.
    pub const IDLE: Self = Self(if cfg!(test) { 5 } else { 2048 });
    #[cfg(test)]
    const WHOLE: Self = Self(usize::MAX);
}

/// One slice.
pub(crate) struct SweepWork {
    slice: Slice,
    looked: usize,
    /// Where its pass ends; none before it has begun.
    target: Option<i64>,
}

/// What is taken out of the sums.
#[derive(Default)]
struct Sums {
    versions: u64,
    hash: u64,
    bytes: u64,
}

/// Why a look at the versions of a key ends.
enum Stop {
    OutOfBudget,
    Sliced,
}

impl SweepWork {
    pub fn new(slice: Slice) -> Self {
        Self { slice, looked: 0, target: None }
    }

    /// True once the slice is done.
    pub fn run(&mut self, view: &mut View, budget: &mut Budget) -> bool {
        if self.target.is_none() && !view.is_sweeping() {
            return true;
        }
        let target = *self.target.get_or_insert_with(|| {
            assert!(view.sweep.target <= view.compact_revision, "only what is compacted is passed");
            if view.sweep.done == view.sweep.target {
                view.sweep.target = view.compact_revision;
            }
            view.sweep.target
        });
        assert_eq!(target, view.sweep.target, "a pass keeps its target");
        let (mut sums, mut upto) = (Sums::default(), view.sweep.upto.clone());
        let stop = self.look(view, budget, &mut sums, &mut upto);
        assert!(view.versions >= sums.versions && view.size_bytes >= sums.bytes, "it was counted");
        view.versions -= sums.versions;
        view.size_bytes -= sums.bytes;
        view.versions_hash = view.versions_hash.wrapping_sub(sums.hash);
        match stop {
            // A slice ends with its pass.
            None => view.sweep = Sweep::done(target),
            Some(_) => view.sweep.upto = upto,
        }
        !matches!(stop, Some(Stop::OutOfBudget))
    }

    /// Looks at versions behind `upto`, and moves that; none when there are no more.
    fn look(
        &mut self,
        view: &View,
        budget: &mut Budget,
        sums: &mut Sums,
        upto: &mut Option<(Blob, (i64, u32))>,
    ) -> Option<Stop> {
        let first = upto.as_ref().map_or_else(Blob::default, |(key, _)| key.clone());
        for key in view.layers.iter_from(&first, false) {
            let key = key.key();
            let passed = upto.as_ref().filter(|(last, _)| *last == key).map(|(_, age)| *age);
            let from = passed.map_or(i64::MIN, |(revision, _)| revision);
            let (mut version, mut stop) = (None::<Facts>, None);
            view.layers.each_from(&key, from, |newer| {
                if passed.is_some_and(|passed| newer.age() <= passed) {
                    return true;
                }
                if let Some(version) = version.replace(*newer) {
                    stop = self.judge(view, &key, (&version, Some(newer)), budget, sums);
                    *upto = Some((key.clone(), version.age()));
                }
                stop.is_none()
            });
            if stop.is_some() {
                return stop;
            }
            // The newest of its key.
            let Some(version) = version else { continue };
            let stop = self.judge(view, &key, (&version, None), budget, sums);
            *upto = Some((key, version.age()));
            if stop.is_some() {
                return stop;
            }
        }
        None
    }

    fn judge(
        &mut self,
        view: &View,
        key: &Blob,
        (version, newer): (&Facts, Option<&Facts>),
        budget: &mut Budget,
        sums: &mut Sums,
    ) -> Option<Stop> {
        let Sweep { done, target, .. } = view.sweep;
        let target = target + i64::from(planted!(CompactOffByOne));
        budget.spend(1);
        if !is_dead(version, newer, done) {
            self.looked += 1;
            if is_dead(version, newer, target) {
                sums.versions += 1;
                sums.hash = sums.hash.wrapping_add(version.hash);
                sums.bytes += version.bytes(key);
            }
            if self.looked == self.slice.0 {
                return Some(Stop::Sliced);
            }
        }
        if budget.is_left() { None } else { Some(Stop::OutOfBudget) }
    }

    /// Spends what a slice of the entry will do, and one more for a compaction.
    pub fn weigh(view: &View, slice: Slice, compacts: bool, left: &mut Budget) {
        if compacts {
            left.spend(view.versions.min(Slice::IDLE.0 as u64));
        }
        if compacts || view.is_sweeping() {
            // It goes by what is dead and has not settled, all of it perhaps.
            let dead = view.layers.len() as u64 - view.versions;
            left.spend(dead + view.versions.min(slice.0 as u64));
        }
    }
}

/// What is compacted goes out of sight.
///
/// # Errors
/// `Compacted`, `FutureRevision`.
pub(crate) fn compact(view: &mut View, revision: i64) -> Result<(), Error> {
    if revision <= view.compact_revision {
        return Err(Error::Compacted);
    }
    if revision > view.revision {
        return Err(Error::FutureRevision);
    }
    view.compact_revision = revision;
    Ok(())
}

impl View {
    /// True while compacted versions wait to be taken out of the sums; entries without a command,
    /// such as a leader's marks, do most of that at once.
    pub fn is_sweeping(&self) -> bool {
        self.sweep.done < self.sweep.target || self.sweep.target < self.compact_revision
    }

    /// The one that superseded this version, if one did.
    fn newer(&self, record: &Record) -> Option<Facts> {
        let mut newer = None;
        self.layers.each_from(&record.kv.key, record.kv.mod_revision, |facts| {
            newer = Some(*facts).filter(|facts| facts.age() > record.age());
            newer.is_none()
        });
        newer
    }

    fn is_dead(&self, record: &Record, compacted: i64) -> bool {
        // No later one is dead.
        record.kv.mod_revision <= compacted
            && is_dead(&record.facts(), self.newer(record).as_ref(), compacted)
    }

    /// Whether the sums count it.
    pub(crate) fn is_retained(&self, record: &Record) -> bool {
        self.layers.knows(record)
            && !self.is_dead(record, self.sweep.compacted(&record.kv.key, record.age()))
    }

    /// True for a version that compaction has put out of sight.
    pub(crate) fn is_void(&self, record: &Record) -> bool {
        self.is_dead(record, self.compact_revision)
    }

    /// Leaves of a key's versions, newest first, those that are retained, and tells of the others.
    pub(crate) fn retain(
        &self,
        key: &[u8],
        versions: &mut Vec<Facts>,
        mut gone: impl FnMut(&Facts),
    ) {
        let mut newer: Option<Facts> = None;
        versions.retain(|version| {
            let ahead = planted!(MergeAheadOfSweep);
            let swept = self.sweep.compacted(key, version.age());
            let compacted = if ahead { self.compact_revision } else { swept };
            let dead = is_dead(version, newer.as_ref(), compacted);
            newer = Some(*version);
            if dead {
                gone(version);
            }
            !dead
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{Slice, SweepWork};
    use crate::budget::Budget;
    use crate::{
        Command, DeleteRequest, KeyRange, Limits, PutRequest, RangeRequest, RequestOp, Settling,
        Store, TxnRequest,
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
        let (mut waits, mut restores, mut settles) = (0, 0, 0);
        for seed in 0..40 {
            let mut p = Prng::new(seed);
            let mut store = Store::new(Limits::default());
            // A twin that removes everything at once, a member that keeps coming back from
            // checkpoints, and one in which what was made settles now and then.
            let mut whole = Store::new(Limits::default());
            let mut member = Store::new(Limits::default());
            let (mut settler, mut settling) = (Store::new(Limits::default()), None);
            for index in 1..=90 {
                let command = command(&mut p, store.revision());
                for store in [&mut store, &mut whole, &mut member, &mut settler] {
                    step(store, index, command.as_ref());
                }
                if p.below(4) == 0 {
                    settling = match settling.take() {
                        None => settler.settle(1),
                        Some(begun) => {
                            drop(settler.settled(Settling::run(&begun)));
                            settles += 1;
                            None
                        }
                    };
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
                assert_eq!(store.content_hash(), settler.content_hash(), "seed {seed} at {index}");
                assert_eq!(store.size_bytes(), settler.size_bytes(), "seed {seed} at {index}");
                assert_eq!(store.chain_hash(), settler.chain_hash(), "seed {seed} at {index}");
                assert_eq!(store.view.sweep, settler.view.sweep);
                assert_looks_like(&settler, &whole, seed);
                assert!(store.view.retained(0).eq(settler.view.retained(0)), "seed {seed}");
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
            assert_eq!(store.view.versions, whole.view.versions, "seed {seed}");
            assert!(store.view.retained(0).eq(whole.view.retained(0)), "seed {seed}");
        }
        assert!(waits > 400 && restores > 40 && settles > 300, "{waits} {restores} {settles}");
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
        let mut kept = store.view.versions;
        assert_eq!(kept, 60);
        step(&mut store, 61, Some(&Command::Compact { revision: 60 }));
        for index in 62..200 {
            let now = store.view.versions;
            assert!(kept - now <= 2 * Slice::IDLE.0 as u64, "{kept} to {now}");
            kept = now;
            step(&mut store, index, None);
        }
        assert!(!store.is_sweeping());
        assert_eq!(store.view.versions, 2, "with the version in sight at the compact revision");
    }

    /// A version's revision, and whether the key died there.
    type Mark = (i64, bool);

    /// What a removal leaves of one key: its superseded versions, and its newest.
    fn left(store: &Store, key: &str) -> (Vec<Mark>, Option<Mark>) {
        let mut all = store.view.layers.versions(&Blob::from(key.as_bytes()));
        store.view.retain(key.as_bytes(), &mut all, |_| {});
        let mut all = all.iter().map(|facts| (facts.mod_revision, facts.tombstone));
        let newest = all.next();
        (all.rev().collect(), newest)
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
        assert!(whole.view.versions < store.view.versions);
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
