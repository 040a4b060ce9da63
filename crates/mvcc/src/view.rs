//! The state at one moment: everything a read needs, and nothing that a read can change.

use crate::command::{AlarmKind, Error};
use crate::hash::Hasher;
use crate::key_range::KeyRange;
use crate::key_value::VERSION_OVERHEAD_BYTES;
use crate::lease::{Lease, LeaseTtl};
use crate::map::{Map, Weight};
use crate::removal::Sweep;
use crate::space::{ALARM_OWN, Space};
use crate::types::Changes;
use crate::version::{Old, Record};
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::{Blob, ClusterTime, LogIndex, planted};

impl Weight for Arc<Changes> {}

/// A stretch of history; see [`View::history_page`] and [`View::history_stretch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryPage {
    /// In order.
    pub changes: Vec<Arc<Changes>>,
    /// First revision not looked at; past the view's revision when there is none.
    pub next: i64,
}

impl HistoryPage {
    /// Those ahead of `from` that have no more than `events_max` events together, but for one.
    pub(crate) fn stretch<'a>(
        ahead: impl Iterator<Item = &'a Arc<Changes>>,
        from: i64,
        events_max: usize,
    ) -> Self {
        let (mut page, mut events) = (Self { changes: Vec::new(), next: from }, 0);
        for changes in ahead {
            events += changes.events.len();
            if events > events_max && !page.changes.is_empty() {
                break;
            }
            page.changes.push(changes.clone());
            page.next = changes.revision + 1;
        }
        assert!(page.next >= from, "a page goes on");
        page
    }
}

/// An immutable picture of the store. Cloning copies a few pointers; holding one blocks nobody.
#[derive(Clone)]
pub struct View {
    /// Newest version of every key that has one retained, tombstones included.
    pub(crate) current: Map<Blob, Arc<Record>>,
    /// Retained versions that a later one superseded.
    pub(crate) old: Map<Old, ()>,
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

    /// What holds between the fields after every entry, whatever the log says.
    pub(crate) fn check(&self) {
        let (compacted, sweep) = (self.compact_revision, self.sweep);
        assert!(self.revision >= 1, "revision 1 is the empty store");
        assert!((-1..=self.revision).contains(&compacted), "what is compacted was made");
        assert!(sweep.passed <= sweep.target, "a pass ends at its target");
        assert!(sweep.target <= compacted, "only what is compacted is removed");
        assert_eq!(self.leases.len(), self.deadlines.len(), "every lease has its deadline");
        let versions = (self.current.len() + self.old.len()) as u64;
        let least = versions * VERSION_OVERHEAD_BYTES;
        assert!(self.size_bytes >= least, "the quota counts every retained version");
        assert!(versions > 0 || self.size_bytes == 0, "and nothing else");
        let live = self.current.weight();
        assert!(live <= self.current.len() as u64, "a key lives once");
        let attached = self.lease_keys.len() as u64;
        assert!(attached <= live || planted!(AttachmentKept), "only live keys are attached");
        assert!(self.history.len() as u64 <= self.revision.unsigned_abs(), "one entry a revision");
        let kept = sweep.kept_from()..=self.revision;
        let ends = || self.history.iter().next().into_iter().chain(self.history.floor(&i64::MAX));
        debug_assert!(ends().all(|(at, _)| kept.contains(at)), "what is passed is gone");
    }

    /// 1 when fresh.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// -1 before the first compaction, as in etcd.
    pub fn compact_revision(&self) -> i64 {
        self.compact_revision
    }

    /// The last log entry applied, with a command or without; 0 when fresh.
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

    /// Live keys of the range now; O(log n).
    pub(crate) fn count_newest(&self, range: &KeyRange) -> usize {
        if let Some(key) = range.single() {
            return usize::from(self.live_at(key, i64::MAX).is_some());
        }
        if range.is_empty() {
            return 0;
        }
        assert!(!range.is_empty(), "its start is before its end");
        let before = self.current.weight_before(range.start());
        let upto = range
            .end()
            .map_or_else(|| self.current.weight(), |end| self.current.weight_before(end));
        assert!(before <= upto && upto <= self.current.weight(), "weights add up along the keys");
        usize::try_from(upto - before).expect("fits memory")
    }

    /// The keys of the range behind `after` in order, each with its live version at `revision`, if
    /// it has one. Of what is dead now, dead at the newest revision and only there, a scan of that
    /// revision sees nothing.
    pub(crate) fn live<'a>(
        &'a self,
        range: &'a KeyRange,
        after: Option<&'a Blob>,
        revision: i64,
        current: i64,
    ) -> impl Iterator<Item = (&'a Blob, Option<&'a Arc<Record>>)> + 'a {
        let only_live = revision >= current;
        let empty = range.is_empty();
        self.current
            .iter_from(after.map_or(range.start(), |after| &**after), only_live)
            .skip_while(move |(key, _)| Some(*key) == after)
            .take_while(move |(key, _)| !empty && !range.is_past(key))
            .map(move |(key, newest)| {
                let record = self.version_at(key, newest, revision);
                (key, record.filter(|record| !record.tombstone))
            })
    }

    /// The newest version at or before `revision` of a key whose newest of all is `newest`.
    fn version_at<'a>(
        &'a self,
        key: &Blob,
        newest: &'a Arc<Record>,
        revision: i64,
    ) -> Option<&'a Arc<Record>> {
        debug_assert!(newest.kv.key == *key, "a key's newest version is its own");
        if newest.kv.mod_revision <= revision {
            return Some(newest);
        }
        let (found, ()) = self.old.floor(&Old::at(key.clone(), revision, u32::MAX))?;
        let is_its = found.kv.key == *key;
        assert!(!is_its || found.kv.mod_revision <= revision, "later versions are behind it");
        is_its.then_some(&found.0)
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
        assert!(from <= page.next && page.next <= end, "a page goes on, to the head at most");
        Ok(page)
    }

    /// What follows from `from` on: all revisions, or, of a single key, those that changed it. No
    /// more than `events_max` events, but for one revision.
    ///
    /// # Errors
    /// `Compacted` when `from` is below the compact revision.
    pub fn history_stretch(
        &self,
        from: i64,
        range: &KeyRange,
        events_max: usize,
    ) -> Result<HistoryPage, Error> {
        if from < self.compact_revision {
            return Err(Error::Compacted);
        }
        let end = self.revision.saturating_add(1).max(from);
        let mut page;
        let is_all = if let Some(key) = range.single() {
            let mut found = HistoryPage { changes: Vec::new(), next: end };
            self.history_of_key(key, events_max.max(1), from, &mut found);
            page = HistoryPage::stretch(found.changes.iter(), from, events_max);
            page.changes.len() == found.changes.len() && found.next == end
        } else {
            let ahead = self.history.iter_from(&from, false).map(|(_, changes)| changes);
            page = HistoryPage::stretch(ahead, from, events_max);
            let last = self.history.floor(&i64::MAX).map(|(at, _)| *at);
            last.is_none_or(|last| last < page.next)
        };
        if is_all {
            page.next = end;
        }
        assert!(from <= page.next && page.next <= end, "a page goes on, to the head at most");
        Ok(page)
    }

    /// The versions of one key name its revisions: nothing else is looked at.
    fn history_of_key(&self, key: &[u8], max: usize, from: i64, page: &mut HistoryPage) {
        let Some(newest) = self.current.get(key) else { return };
        let low = Old::at(newest.kv.key.clone(), from, 0);
        let old = self.old.iter_from(&low, false).map(|(old, ())| old);
        let old = old.take_while(|old| *old.kv.key == *key);
        let newest = Some(newest.kv.mod_revision).filter(|at| *at >= from);
        let mut revisions: Vec<i64> = Vec::new();
        for revision in old.map(|old| old.kv.mod_revision).chain(newest) {
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
        assert!(revisions.len() <= max, "a page is bounded");
        assert!(revisions.is_sorted_by(|a, b| a < b), "each revision once, in order");
        assert!(revisions.last().is_none_or(|last| *last < page.next), "what is next is later");
        let kept = "every retained version from the compact revision on has its changes";
        page.changes.extend(revisions.iter().map(|r| self.history.get(r).expect(kept).clone()));
    }

    /// What is left of a lease at cluster time `now`; none for an unknown one. One past its
    /// deadline lives, with 0 seconds, until its expiry is applied.
    pub fn lease_ttl(&self, id: i64, now: ClusterTime) -> Option<LeaseTtl> {
        let lease = self.leases.get(&id)?;
        assert!(lease.id == id, "a lease stands under its id");
        Some(LeaseTtl { granted: lease.ttl, remaining: lease.remaining(now) })
    }

    /// Those behind `after`.
    pub(crate) fn lease_keys_after<'a>(
        &'a self,
        id: i64,
        after: Option<&'a Blob>,
    ) -> impl Iterator<Item = &'a Blob> + 'a {
        let from = (id, after.cloned().unwrap_or_default());
        let keys = self.lease_keys.iter_from(&from, false).map(|(entry, ())| entry);
        let keys = keys.take_while(move |(lease, _)| *lease == id).map(|(_, key)| key);
        keys.skip_while(move |key| Some(*key) == after)
    }

    /// At most `max` keys of a lease, in order, behind `after` or from the first; fewer at its end,
    /// none of an unknown lease.
    pub fn lease_keys_page(&self, id: i64, after: Option<&Blob>, max: usize) -> Vec<Blob> {
        self.lease_keys_after(id, after).take(max).cloned().collect()
    }

    /// At most `max` ids of leases, ascending, behind `after` or from the first; fewer at the end.
    pub fn leases_page(&self, after: Option<i64>, max: usize) -> Vec<i64> {
        let Some(from) = after.map_or(Some(i64::MIN), |after| after.checked_add(1)) else {
            return Vec::new();
        };
        self.leases.iter_from(&from, false).take(max).map(|(id, _)| *id).collect()
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
