//! The state at one moment: everything a read needs, and nothing that a read can change.

use crate::check;
use crate::command::{AlarmKind, Error};
use crate::hash::{HashKv, Hasher, marshal, revision_key};
use crate::key_range::KeyRange;
use crate::lease::{Lease, LeaseTtl};
use crate::map::{Map, Weight};
use crate::space::{ALARM_OWN, Space};
use crate::sweep::Sweep;
use crate::types::{Changes, KeyValue, RangeRequest, RangeResponse, SortOrder, SortTarget};
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::{Blob, ClusterTime, LogIndex, crc};
use core::cmp::Ordering;

/// One version of one key; a tombstone's `kv` holds only key and `mod_revision`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub kv: KeyValue,
    /// Position within its revision.
    pub sub: i64,
    pub tombstone: bool,
}

impl Weight for Arc<Record> {
    fn weight(&self) -> u64 {
        u64::from(!self.tombstone)
    }
}

impl Weight for Arc<Changes> {}

impl Record {
    pub fn hash(&self) -> u64 {
        let mut hasher = Hasher::new(1);
        hasher.bytes(&self.kv.key);
        hasher.bytes(&self.kv.value);
        for number in [self.kv.create_revision, self.kv.mod_revision, self.kv.version] {
            hasher.int(number);
        }
        hasher.int(self.kv.lease);
        hasher.int(self.sub);
        hasher.word(u64::from(self.tombstone));
        hasher.finish()
    }

    pub fn old_key(&self) -> OldKey {
        OldKey { key: self.kv.key.clone(), main: self.kv.mod_revision, sub: self.sub }
    }
}

/// Order of superseded versions: by key, then by age.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OldKey {
    pub key: Blob,
    pub main: i64,
    pub sub: i64,
}

/// A stretch of history; see [`View::history_page`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryPage {
    /// Those that touch the range, in order.
    pub changes: Vec<Arc<Changes>>,
    /// First revision not looked at; past the view's revision when there is none.
    pub next: i64,
}

/// An immutable picture of the store. Cloning copies a few pointers; holding one blocks nobody.
#[derive(Clone)]
pub struct View {
    /// Newest version of every key that has one retained, tombstones included.
    pub(crate) current: Map<Blob, Arc<Record>>,
    /// Retained versions that a later one superseded.
    pub(crate) old: Map<OldKey, Arc<Record>>,
    /// Changes of every revision from the compact revision on, and those that still have to be
    /// passed by the removal.
    pub(crate) history: Map<i64, Arc<Changes>>,
    pub(crate) leases: Map<i64, Lease>,
    /// (lease, key) of every attached live key.
    pub(crate) lease_keys: Map<(i64, Blob), ()>,
    /// (deadline, lease).
    pub(crate) deadlines: Map<(u64, i64), ()>,
    /// Those that clients raised; each stays until it is disarmed.
    pub(crate) alarms: Vec<(u64, AlarmKind)>,
    pub(crate) space: Space,
    pub(crate) revision: i64,
    pub(crate) compact_revision: i64,
    pub(crate) sweep: Sweep,
    pub(crate) applied: LogIndex,
    pub(crate) now: ClusterTime,
    pub(crate) chain: u64,
    pub(crate) versions_hash: u64,
    pub(crate) leases_hash: u64,
    pub(crate) size_bytes: u64,
}

impl View {
    pub(crate) fn empty() -> Self {
        Self {
            current: Map::default(),
            old: Map::default(),
            history: Map::default(),
            leases: Map::default(),
            lease_keys: Map::default(),
            deadlines: Map::default(),
            alarms: Vec::new(),
            space: Space::Enough,
            revision: 1,
            compact_revision: -1,
            sweep: Sweep::done(-1),
            applied: LogIndex::ZERO,
            now: ClusterTime::ZERO,
            chain: 0,
            versions_hash: 0,
            leases_hash: 0,
            size_bytes: 0,
        }
    }

    /// 1 when fresh.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// -1 before the first compaction, as in etcd.
    pub fn compact_revision(&self) -> i64 {
        self.compact_revision
    }

    pub fn applied_index(&self) -> LogIndex {
        self.applied
    }

    /// Last cluster time applied.
    pub fn cluster_time(&self) -> ClusterTime {
        self.now
    }

    /// Over every applied command and its result; equal at equal applied index.
    pub fn chain_hash(&self) -> u64 {
        self.chain
    }

    /// Over what is retained: versions, leases, alarms, revisions.
    pub fn content_hash(&self) -> u64 {
        let mut hasher = Hasher::new(3);
        hasher.word(self.versions_hash);
        hasher.word(self.leases_hash);
        hasher.int(self.revision);
        hasher.int(self.compact_revision);
        for (member, kind) in self.alarms() {
            hasher.word(member);
            hasher.word(kind as u64);
        }
        // Whose alarm it is, in words that a state without one has never had.
        if self.alarms.contains(&ALARM_OWN) {
            hasher.word(1 + u64::from(self.space.is_listed()));
        }
        if let Space::Back(since) = self.space {
            hasher.word(3);
            hasher.word(since.0);
        }
        hasher.finish()
    }

    /// Active alarms in order: those of clients, and the quota's own as member 0's.
    pub fn alarms(&self) -> Vec<(u64, AlarmKind)> {
        let mut alarms = self.alarms.clone();
        if self.space.is_listed() && !alarms.contains(&ALARM_OWN) {
            alarms.push(ALARM_OWN);
            alarms.sort_unstable();
        }
        alarms
    }

    /// When the quota's own alarm, of which space is left again, is no longer listed.
    pub fn alarm_ends(&self) -> Option<ClusterTime> {
        self.space.ends()
    }

    /// Bytes of all retained versions and their overhead; what the quota is held against.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// A plain range, the way `KV.Range` answers it.
    ///
    /// # Errors
    /// `EmptyKey`, `Compacted`, `FutureRevision`.
    pub fn read(&self, request: &RangeRequest) -> Result<RangeResponse, Error> {
        check::range(request)?;
        self.range_at(request, self.revision)
    }

    /// The same as [`View::read`].
    ///
    /// # Errors
    /// As `read`.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse, Error> {
        self.read(request)
    }

    /// Range with `current` as the newest revision (one ahead inside a transaction that wrote).
    pub(crate) fn range_at(&self, r: &RangeRequest, current: i64) -> Result<RangeResponse, Error> {
        if r.revision > current {
            return Err(Error::FutureRevision);
        }
        let revision = if r.revision <= 0 { current } else { r.revision };
        if revision < self.compact_revision {
            return Err(Error::Compacted);
        }
        let range = KeyRange::new(r.key.clone(), r.range_end.clone());
        let mut out = RangeResponse { revision: current, ..RangeResponse::default() };
        if r.count_only {
            out.count = self.count(&range, revision, current);
            return Ok(out);
        }
        let limit = usize::try_from(r.limit).unwrap_or(0);
        let in_key_order = r.sort_order == SortOrder::None
            || (r.sort_order == SortOrder::Ascend && r.sort_target == SortTarget::Key);
        // One more than asked tells `more`. etcd limits before a sort whose order is NONE.
        let fetch = if limit > 0 && in_key_order && !has_filters(r) { limit + 1 } else { 0 };
        let fetch = if fetch == 0 { usize::MAX } else { fetch };
        out.kvs = self.live(&range, revision, current).take(fetch).map(|x| x.kv.clone()).collect();
        out.count = if out.kvs.len() < fetch {
            i64::try_from(out.kvs.len()).expect("fits memory")
        } else {
            self.count(&range, revision, current)
        };
        finish_range(r, limit, &mut out);
        Ok(out)
    }

    /// Live keys of the range at `revision`; O(log n) at the newest.
    pub(crate) fn count(&self, range: &KeyRange, revision: i64, current: i64) -> i64 {
        assert!(revision <= current);
        if revision < current || range.single().is_some() {
            return i64::try_from(self.live(range, revision, current).count())
                .expect("fits memory");
        }
        if range.is_empty() {
            return 0;
        }
        let before = self.current.weight_before(range.start());
        let upto = range
            .end()
            .map_or_else(|| self.current.weight(), |end| self.current.weight_before(end));
        i64::try_from(upto - before).expect("fits memory")
    }

    /// Live versions of the range at `revision`, in key order.
    pub(crate) fn live<'a>(
        &'a self,
        range: &'a KeyRange,
        revision: i64,
        current: i64,
    ) -> impl Iterator<Item = &'a Arc<Record>> + 'a {
        // What is dead now is dead at the newest revision, and only there.
        let only_live = revision >= current;
        let empty = range.is_empty();
        self.current
            .iter_from(range.start(), only_live)
            .take_while(move |(key, _)| !empty && !range.is_past(key))
            .filter_map(move |(key, newest)| self.version_at(key, newest, revision))
            .filter(|record| !record.tombstone)
    }

    /// The newest version at or before `revision` of a key whose newest of all is `newest`.
    fn version_at<'a>(
        &'a self,
        key: &Blob,
        newest: &'a Arc<Record>,
        revision: i64,
    ) -> Option<&'a Arc<Record>> {
        if newest.kv.mod_revision <= revision {
            return Some(newest);
        }
        let upto = OldKey { key: key.clone(), main: revision, sub: i64::MAX };
        let (found, record) = self.old.floor(&upto)?;
        (found.key == *key).then_some(record)
    }

    /// The live version of `key` at or before `revision`.
    pub(crate) fn live_at(&self, key: &[u8], revision: i64) -> Option<&Arc<Record>> {
        let newest = self.current.get(key)?;
        self.version_at(&newest.kv.key, newest, revision).filter(|record| !record.tombstone)
    }

    /// Up to `max` revisions, from `from` on, that touch `range`. Fewer than `max` means that the
    /// caller has seen everything up to [`View::revision`]. Looks at every revision there is, if
    /// need be: [`View::history_page`] is bounded.
    ///
    /// # Errors
    /// `Compacted` when `from` is below the compact revision.
    pub fn history(
        &self,
        from: i64,
        range: &KeyRange,
        max: usize,
    ) -> Result<Vec<Arc<Changes>>, Error> {
        if from < self.compact_revision {
            return Err(Error::Compacted);
        }
        let changes = self.history.iter_from(&from, false).map(|(_, changes)| changes);
        Ok(changes.filter(|changes| changes.touches(range)).take(max).cloned().collect())
    }

    /// As `history`, but looks at no more than `scan_max` revisions; goes on at `next`.
    ///
    /// # Errors
    /// `Compacted` when `from` is below the compact revision.
    pub fn history_page(
        &self,
        from: i64,
        range: &KeyRange,
        max: usize,
        scan_max: usize,
    ) -> Result<HistoryPage, Error> {
        assert!(max > 0 && scan_max > 0, "a page makes progress");
        if from < self.compact_revision {
            return Err(Error::Compacted);
        }
        let end = self.revision.saturating_add(1).max(from);
        let mut page = HistoryPage { changes: Vec::new(), next: end };
        if let Some(key) = range.single() {
            self.history_of_key(key, max, from, &mut page);
            return Ok(page);
        }
        let mut ahead = self.history.iter_from(&from, false).map(|(_, changes)| changes);
        for changes in ahead.by_ref().take(scan_max) {
            if changes.touches(range) {
                page.changes.push(changes.clone());
            }
            if page.changes.len() == max {
                page.next = changes.revision + 1;
                return Ok(page);
            }
        }
        page.next = ahead.next().map_or(end, |changes| changes.revision);
        Ok(page)
    }

    /// The versions of one key name its revisions: nothing else is looked at.
    fn history_of_key(&self, key: &[u8], max: usize, from: i64, page: &mut HistoryPage) {
        let Some(newest) = self.current.get(key) else { return };
        let low = OldKey { key: newest.kv.key.clone(), main: from, sub: 0 };
        let old = self.old.iter_from(&low, false).take_while(|(at, _)| *at.key == *key);
        let newest = Some(newest.kv.mod_revision).filter(|at| *at >= from);
        let mut revisions: Vec<i64> = Vec::new();
        for revision in old.map(|(at, _)| at.main).chain(newest) {
            // A revision that changed the key twice is one.
            if revisions.last() == Some(&revision) {
                continue;
            }
            if revisions.len() == max {
                page.next = revision;
                break;
            }
            revisions.push(revision);
        }
        let kept = "every retained version from the compact revision on has its changes";
        page.changes.extend(revisions.iter().map(|r| self.history.get(r).expect(kept).clone()));
    }

    /// etcd's `HashKV` at `revision` (0: the newest; a negative one, as there, hashes nothing),
    /// `server/storage/mvcc/hash.go`.
    ///
    /// # Errors
    /// `Compacted`, `FutureRevision`.
    pub fn hash_kv(&self, revision: i64) -> Result<HashKv, Error> {
        if revision > 0 && revision < self.compact_revision {
            return Err(Error::Compacted);
        }
        if revision > self.revision {
            return Err(Error::FutureRevision);
        }
        let revision = if revision == 0 { self.revision } else { revision };
        let all = self.current.iter().map(|(_, r)| r).chain(self.old.iter().map(|(_, r)| r));
        let mut rows: Vec<_> = all.filter(|r| r.kv.mod_revision <= revision).collect();
        if self.is_sweeping() {
            rows.retain(|r| !self.is_void(r));
        }
        rows.sort_unstable_by_key(|r| (r.kv.mod_revision, r.sub));
        let keeps = |r: &Record| {
            self.live_at(&r.kv.key, revision)
                .is_some_and(|kept| (kept.kv.mod_revision, kept.sub) == (r.kv.mod_revision, r.sub))
        };
        // etcd skips nothing when nothing is to be kept.
        let keep_any = rows.iter().any(|r| keeps(r));
        let (mut hash, mut row) = (crc::crc32c(b"key"), Vec::new());
        for r in rows {
            let main = r.kv.mod_revision;
            if main <= self.compact_revision && keep_any && !keeps(r) {
                continue;
            }
            if main == self.compact_revision && r.tombstone {
                continue;
            }
            row.clear();
            revision_key(main, r.sub, r.tombstone, &mut row);
            marshal(&r.kv, r.tombstone, &mut row);
            hash = crc::crc32c_append(hash, &row);
        }
        let compact_revision = self.compact_revision;
        Ok(HashKv { hash, compact_revision, hash_revision: revision })
    }

    pub fn lease_ttl(&self, id: i64, now: ClusterTime) -> Option<LeaseTtl> {
        let lease = self.leases.get(&id)?;
        Some(LeaseTtl { granted: lease.ttl, remaining: lease.remaining(now) })
    }

    /// Attached keys in order; empty for an unknown lease.
    pub fn lease_keys(&self, id: i64) -> Vec<Blob> {
        let from = (id, Blob::default());
        let keys = self.lease_keys.iter_from(&from, false).map(|(entry, ())| entry);
        keys.take_while(|(lease, _)| *lease == id).map(|(_, key)| key.clone()).collect()
    }

    /// All lease ids, ascending.
    pub fn leases(&self) -> Vec<i64> {
        self.leases.iter().map(|(id, _)| *id).collect()
    }

    /// Up to `max` leases past their deadline, oldest first: (id, renewal seen).
    pub fn lease_expired(&self, now: ClusterTime, max: usize) -> Vec<(i64, u64)> {
        let ids = self.deadlines.iter().map(|(entry, ())| entry);
        let due = ids.take_while(|(deadline, _)| *deadline <= now.0).take(max);
        let renewal = |id| self.leases.get(id).expect("every deadline has its lease").renewal;
        due.map(|(_, id)| (*id, renewal(id))).collect()
    }

    /// The earliest deadline of any lease.
    pub fn lease_deadline(&self) -> Option<ClusterTime> {
        self.deadlines.iter().next().map(|((deadline, _), ())| ClusterTime(*deadline))
    }
}

fn has_filters(r: &RangeRequest) -> bool {
    let filters =
        [r.min_mod_revision, r.max_mod_revision, r.min_create_revision, r.max_create_revision];
    filters.iter().any(|revision| *revision != 0)
}

/// etcd's order: filter, sort, limit, then strip values.
fn finish_range(r: &RangeRequest, limit: usize, out: &mut RangeResponse) {
    let within = |x: i64, min: i64, max: i64| (min == 0 || x >= min) && (max == 0 || x <= max);
    if has_filters(r) {
        out.kvs.retain(|kv| {
            within(kv.mod_revision, r.min_mod_revision, r.max_mod_revision)
                && within(kv.create_revision, r.min_create_revision, r.max_create_revision)
        });
    }
    // A target other than the key with order NONE sorts ascending.
    let by: fn(&KeyValue, &KeyValue) -> Ordering = match r.sort_target {
        SortTarget::Key => |a, b| a.key.cmp(&b.key),
        SortTarget::Version => |a, b| a.version.cmp(&b.version),
        SortTarget::Create => |a, b| a.create_revision.cmp(&b.create_revision),
        SortTarget::Mod => |a, b| a.mod_revision.cmp(&b.mod_revision),
        SortTarget::Value => |a, b| a.value.cmp(&b.value),
    };
    if r.sort_order == SortOrder::Descend {
        out.kvs.sort_by(|a, b| by(b, a));
    } else if r.sort_target != SortTarget::Key {
        out.kvs.sort_by(by);
    }
    if limit > 0 && out.kvs.len() > limit {
        out.kvs.truncate(limit);
        out.more = true;
    }
    if r.keys_only {
        for kv in &mut out.kvs {
            kv.value = Blob::default();
            // etcd 3.7 answers these from its index, which knows no lease.
            if r.sort_target != SortTarget::Value {
                kv.lease = 0;
            }
        }
    }
}
