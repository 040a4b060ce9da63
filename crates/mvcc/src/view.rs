//! The state at one moment: everything a read needs, and nothing that a read can change.

use crate::command::AlarmKind;
use crate::hash::Hasher;
use crate::index::Facts;
use crate::key_range::KeyRange;
use crate::key_value::VERSION_OVERHEAD_BYTES;
use crate::layers::{KeyRef, Layers};
use crate::lease::{Lease, LeaseTtl};
use crate::made;
use crate::map::Map;
use crate::removal::Sweep;
use crate::shelf::Place;
use crate::space::{ALARM_OWN, Space};
#[cfg(test)]
use crate::values::InMemory;
use crate::values::{Age, Values, Version, Wanted};
use crate::version::Record;
use crate::walk::{Step, Walk};
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::{Blob, ClusterTime, LogIndex, planted};

/// An immutable picture of the store. Cloning copies a few pointers; holding one blocks nobody.
#[derive(Clone)]
pub struct View {
    /// Every retained version, tombstones included, without its value.
    pub(crate) layers: Layers,
    /// Of those that are retained.
    pub(crate) versions: u64,
    /// Those of the revision that is being made.
    pub(crate) making: Vec<Arc<Record>>,
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

/// The version with these facts at its place, if it is at hand.
pub(crate) fn of(place: &Place<'_>, facts: &Facts, values: &mut dyn Values) -> Option<Arc<Record>> {
    let record = match place {
        Place::Here(records) => made::find(records, facts.sub).cloned(),
        Place::File(file) => {
            let Version(found) = values.version(file, Wanted::of(facts))?;
            Some(found)
        }
    };
    let record = record.expect("what the index knows is retained");
    let is_it = record.hash() == facts.hash || planted!(HashUnchecked);
    assert!(is_it, "and is what it knows");
    Some(record)
}

impl View {
    pub(crate) fn empty() -> Self {
        Self {
            layers: Layers::default(),
            versions: 0,
            making: Vec::new(),
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
        let (compacted, sweep) = (self.compact_revision, &self.sweep);
        assert!(self.revision >= 1, "revision 1 is the empty store");
        assert!((-1..=self.revision).contains(&compacted), "what is compacted was made");
        assert!(sweep.done <= sweep.target, "a pass leads on");
        assert!(sweep.upto.is_none() || sweep.done < sweep.target, "who passes has a target");
        assert!(sweep.target <= compacted, "only what is compacted is removed");
        assert_eq!(self.leases.len(), self.deadlines.len(), "every lease has its deadline");
        let versions = self.versions;
        let least = versions * VERSION_OVERHEAD_BYTES;
        assert!(self.size_bytes >= least, "the quota counts every retained version");
        assert!(versions > 0 || self.size_bytes == 0, "and nothing else");
        assert!(versions <= self.layers.len() as u64, "what is retained is there");
        let live = self.layers.live();
        assert!(live <= versions, "a key lives once");
        let attached = self.lease_keys.len() as u64;
        assert!(attached <= live || planted!(AttachmentKept), "only live keys are attached");
        assert!(self.making.is_empty(), "a revision is made by one entry");
        assert!(self.layers.last_made() <= self.revision, "none is to come");
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
        for (member, kind) in self.all_alarms() {
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

    /// Active alarms in order: those of clients, the quota's own as member 0's, and those of disks
    /// that run full.
    pub fn alarms(&self) -> Vec<(u64, AlarmKind)> {
        let mut alarms = self.all_alarms();
        alarms.retain(|(_, kind)| *kind != AlarmKind::LowMark);
        alarms
    }

    /// What was raised and not lifted, the words of members to each other included.
    pub fn raised(&self) -> &[(u64, AlarmKind)] {
        &self.alarms
    }

    pub(crate) fn all_alarms(&self) -> Vec<(u64, AlarmKind)> {
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
        if range.single().is_some() {
            return usize::from(self.live_at(range.first(), i64::MAX).is_some());
        }
        if range.is_empty() {
            return 0;
        }
        assert!(!range.is_empty(), "its start is before its end");
        let before = self.layers.live_before(range.first());
        let upto =
            range.end().map_or_else(|| self.layers.live(), |end| self.layers.live_before(end));
        assert!(before <= upto && upto <= self.layers.live(), "weights add up along the keys");
        usize::try_from(upto - before).expect("fits memory")
    }

    /// The keys of the range behind `after` in order, each with its live version at `revision`, if
    /// it has one. Of what is dead now, dead at the newest revision and only there, a scan of that
    /// revision sees nothing.
    pub(crate) fn live<'a>(
        &'a self,
        range: &'a KeyRange,
        after: Option<Blob>,
        revision: i64,
        current: i64,
    ) -> impl Iterator<Item = (KeyRef<'a>, Option<Facts>)> + 'a {
        let only_live = revision >= current;
        let empty = range.is_empty();
        self.layers
            .iter_from(after.as_ref().unwrap_or_else(|| range.first()), only_live)
            .skip_while(move |key| after.as_ref().is_some_and(|after| key.is(after)))
            .take_while(move |key| !empty && !key.is_past(range))
            .map(move |key| {
                let newest = key.newest();
                let is_it = newest.mod_revision <= revision;
                let facts = if is_it { Some(newest) } else { key.at(revision) };
                (key, facts.filter(|facts| !facts.tombstone))
            })
    }

    /// The newest version at or before `revision` of a key.
    pub(crate) fn version_at(&self, key: &Blob, revision: i64) -> Option<Facts> {
        let found = self.layers.at(key, revision)?;
        assert!(found.mod_revision <= revision, "later versions are behind it");
        Some(found)
    }

    /// The live version of `key` at or before `revision`.
    pub(crate) fn live_at(&self, key: &Blob, revision: i64) -> Option<Facts> {
        self.version_at(key, revision).filter(|facts| !facts.tombstone)
    }

    /// Where the versions of a revision are, of the one that is being made too.
    pub(crate) fn made(&self, revision: i64) -> Place<'_> {
        if revision > self.revision { Place::Here(&self.making) } else { self.layers.of(revision) }
    }

    /// A retained version, its value with it; none when it is not at hand.
    ///
    /// Panics when nobody retains it.
    pub(crate) fn version(&self, facts: &Facts, values: &mut dyn Values) -> Option<Arc<Record>> {
        of(&self.made(facts.mod_revision), facts, values)
    }

    /// What has settled of these revisions and is retained, without its values. Takes time in
    /// proportion to all that has.
    pub fn settled_between(&self, first: i64, end: i64) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        for key in self.layers.settled_keys(first, end) {
            let mut versions = self.layers.versions(&key);
            self.retain(&key, &mut versions, |_| {});
            let within = |facts: &&Facts| (first..end).contains(&facts.mod_revision);
            wanted.extend(versions.iter().filter(within).map(Wanted::of));
        }
        wanted
    }

    /// The versions from an age on and before a revision, in the order in which they were made,
    /// those that are dead and not gone yet among them: about so many bytes of them as they are
    /// kept, and which one is next. They end, too, where one is not at hand.
    pub fn versions_between(
        &self,
        from: Age,
        end: i64,
        bytes_max: usize,
        values: &mut dyn Values,
    ) -> (Vec<Version>, Age) {
        let (mut walk, mut found) = (Walk::between(from, end), Vec::new());
        let mut bytes = 0;
        while bytes < bytes_max {
            match walk.next(&self.layers, values) {
                Step::End => return (found, (end, 0)),
                Step::Missing => break,
                Step::Version(record) => {
                    let version = Version(record);
                    bytes += version.kept_bytes();
                    found.push(version);
                }
            }
        }
        (found, walk.reached().clamp(from, (end, 0).max(from)))
    }

    /// Whether a retained version is in memory.
    pub(crate) fn is_here(&self, facts: &Facts) -> bool {
        matches!(self.made(facts.mod_revision), Place::Here(_))
    }

    /// The same of a store that has all in memory.
    #[cfg(test)]
    pub(crate) fn record(&self, facts: &Facts) -> Arc<Record> {
        self.version(facts, &mut InMemory).expect("it is in memory")
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
