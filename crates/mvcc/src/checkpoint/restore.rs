//! Back from records to a store.

use crate::codec::{alarm_kind, list, unknown};
use crate::index::{Facts, Index};
use crate::layers::Layers;
use crate::lease::{Lease, TTL_MAX};
use crate::made::Made;
use crate::map::Map;
use crate::removal::Sweep;
use crate::response_codec::get_key_value;
use crate::shelf::Shelf;
use crate::space::Space;
use crate::store::{Limits, Store};
use crate::values::{File, IndexFile, record};
use crate::version::Record;
use crate::view::View;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::codec::{DecodeError, Get};
use base::{Blob, ClusterTime};

pub(super) const FORMAT: u8 = 5;

fn get_files(input: &mut Get<'_>) -> Result<(IndexFile, Shelf), DecodeError> {
    let index = IndexFile { index: input.index()?, len: input.u64()?, digest: input.u64()? };
    let mut files = Vec::new();
    while input.remaining() > 0 {
        let file = File {
            first: input.i64()?,
            end: input.i64()?,
            generation: input.u64()?,
            versions: input.u64()?,
            len: input.u64()?,
            digest: input.u64()?,
        };
        let dead = usize::try_from(input.u64()?);
        files.push((file, dead.or_else(|_| invalid("checkpoint: files"))?));
    }
    Ok((index, Shelf::of_files(files).map_or_else(|| invalid("checkpoint: files"), Ok)?))
}

fn invalid<T>(what: &'static str) -> Result<T, DecodeError> {
    Err(DecodeError::Invalid { what })
}

struct Header {
    content_hash: u64,
    versions: u64,
    leases: u64,
}

fn get_header(view: &mut View, record: &[u8]) -> Result<Header, DecodeError> {
    let mut input = Get::new(record);
    match (input.u8()?, input.u8()?) {
        (b'H', FORMAT) => {}
        (b'H', other) => return unknown("checkpoint format", other),
        (other, _) => return unknown("checkpoint header", other),
    }
    view.revision = input.i64()?;
    view.compact_revision = input.i64()?;
    if view.revision < 1 || !(-1..=view.revision).contains(&view.compact_revision) {
        return invalid("checkpoint revisions");
    }
    let (done, target) = (input.i64()?, input.i64()?);
    let upto = (Blob::from(input.bytes()?), (input.i64()?, input.u32()?));
    let upto = Some(upto).filter(|(key, _)| !key.is_empty());
    let passes = done < target || (done == target && upto.is_none());
    if done < -1 || !passes || target > view.compact_revision {
        return invalid("checkpoint: state of the removal");
    }
    view.sweep = Sweep { done, target, upto };
    view.applied = input.index()?;
    view.now = ClusterTime(input.u64()?);
    view.chain = input.u64()?;
    let header =
        Header { content_hash: input.u64()?, versions: input.u64()?, leases: input.u64()? };
    view.alarms = list(&mut input, |x| Ok((x.u64()?, alarm_kind(x)?)))?;
    if !view.alarms.is_sorted_by(|a, b| a < b) {
        return invalid("checkpoint: order of the alarms");
    }
    view.space = Space::decode(&mut input)?;
    input.finish()?;
    Ok(header)
}

impl Store {
    /// Rebuilds the store of what [`View::checkpoint_records`] gave, and verifies counts and the
    /// content hash in full.
    ///
    /// # Errors
    /// Records that are short, unknown, out of order, or not what the header vouches for.
    pub fn restore(
        limits: Limits,
        records: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<Self, DecodeError> {
        Self::reopen(limits, records, |_| Ok([]))
    }

    /// The same of a manifest; `pieces` gives those of the index in this file. Values are not read.
    ///
    /// # Errors
    /// As `restore`, and those of `pieces`.
    pub fn reopen<P: IntoIterator<Item = Blob>>(
        limits: Limits,
        records: impl IntoIterator<Item = Vec<u8>>,
        pieces: impl FnOnce(&IndexFile) -> Result<P, DecodeError>,
    ) -> Result<Self, DecodeError> {
        let (mut view, mut records) = (View::empty(), records.into_iter());
        let (mut rows, mut files) = (Vec::new(), None);
        let header = get_header(&mut view, &records.next().ok_or(DecodeError::Truncated)?)?;
        for record in records {
            let mut input = Get::new(&record);
            let kind = input.u8()?;
            while input.remaining() > 0 {
                match kind {
                    b'F' if files.is_none() && rows.is_empty() => {
                        files = Some(get_files(&mut input)?);
                    }
                    b'V' => restore_version(&view, &mut rows, &mut input)?,
                    b'L' => restore_lease(&mut view, &mut input)?,
                    other => return unknown("checkpoint record", other),
                }
            }
        }
        match files {
            Some((index, shelf)) => {
                let pieces = pieces(&index)?;
                view.reopen((index, shelf), pieces.into_iter(), rows)?;
            }
            None => {
                rows.iter().for_each(|row| view.count(&row.kv.key, &row.facts()));
                view.layers = Layers::of_records(rows, view.revision);
            }
        }
        if view.leases.len() > 0 {
            view.lease_keys = attached(&view.layers);
        }
        if (view.versions, view.leases.len() as u64) != (header.versions, header.leases) {
            return invalid("checkpoint: number of records");
        }
        if view.content_hash() != header.content_hash {
            return invalid("checkpoint: content hash");
        }
        Ok(Self::with_view(limits, view))
    }
}

impl View {
    /// Takes up what settled, and on top of it what had not.
    fn reopen(
        &mut self,
        (file, shelf): (IndexFile, Shelf),
        pieces: impl Iterator<Item = Blob>,
        rows: Vec<Arc<Record>>,
    ) -> Result<(), DecodeError> {
        let (revisions, known) = shelf.sums();
        let mut strange = false;
        let (mut sums, mut before, mut after) = <(Sums, Sums, Sums)>::default();
        // What had not settled, key by key, meets what had in the order of keys: nothing is looked
        // up. It may have ended what had settled.
        let mut by_key = rows.clone();
        by_key.sort_by(|a, b| a.kv.key.cmp(&b.kv.key).then_with(|| a.age().cmp(&b.age())));
        let mut unmet = by_key.chunk_by(|a, b| a.kv.key == b.kv.key).peekable();
        let (mut unsettled, mut both) = (Vec::new(), Vec::new());
        let base = Index::of_pieces(pieces, |key, settled| {
            sums.add(self, key, settled);
            strange |= settled.iter().any(|facts| !revisions.contains(&facts.mod_revision));
            while let Some(new) = unmet.next_if(|new| *new[0].kv.key < *key) {
                after.add(self, &new[0].kv.key, facts_of(new, &[], &mut both));
                unsettled.push((new, false));
            }
            if let Some(new) = unmet.next_if(|new| *new[0].kv.key == *key) {
                before.add(self, key, settled);
                after.add(self, key, facts_of(new, settled, &mut both));
                unsettled.push((new, !settled[0].tombstone));
            }
        })?;
        for new in unmet {
            after.add(self, &new[0].kv.key, facts_of(new, &[], &mut both));
            unsettled.push((new, false));
        }
        let based = revisions.end - 1;
        if base.len() != known || strange || based > self.revision {
            return invalid("checkpoint: an index of other files");
        }
        self.layers = Layers::of_files((base, file), shelf, based);
        if rows.first().is_some_and(|first| first.kv.mod_revision <= based) {
            return invalid("checkpoint: a version that had settled");
        }
        self.layers.load(&unsettled);
        for made in rows.chunk_by(|a, b| a.kv.mod_revision == b.kv.mod_revision) {
            let revision = made[0].kv.mod_revision;
            self.layers.add_made(revision, Made::new(made.to_vec()).expect("a chunk has one"));
        }
        self.versions = sums.versions + after.versions - before.versions;
        self.size_bytes = sums.bytes + after.bytes - before.bytes;
        self.versions_hash = sums.hash.wrapping_add(after.hash).wrapping_sub(before.hash);
        Ok(())
    }
}

/// Of a key's new versions, oldest first, and of those that had settled, newest first: all of them,
/// newest first.
fn facts_of<'a>(new: &[Arc<Record>], settled: &[Facts], out: &'a mut Vec<Facts>) -> &'a [Facts] {
    out.clear();
    out.extend(new.iter().rev().map(|record| record.facts()));
    out.extend_from_slice(settled);
    out
}

/// Over versions that are retained.
#[derive(Default)]
struct Sums {
    versions: u64,
    bytes: u64,
    hash: u64,
}

impl Sums {
    /// Of all of a key, newest first, those that are retained.
    fn add(&mut self, view: &View, key: &[u8], versions: &[Facts]) {
        // Most keys have nothing that a compaction could have ended: a start looks at each.
        let oldest = versions.last().map(|facts| facts.mod_revision);
        let alone = versions.len() == 1 && !versions[0].tombstone;
        if alone || oldest > Some(view.compact_revision) {
            return self.count(key, versions);
        }
        let mut retained = versions.to_vec();
        view.retain(key, &mut retained, |_| {});
        self.count(key, &retained);
    }

    fn count(&mut self, key: &[u8], versions: &[Facts]) {
        self.versions += versions.len() as u64;
        self.bytes += versions.iter().map(|facts| facts.bytes(key)).sum::<u64>();
        self.hash = versions.iter().fold(self.hash, |sum, facts| sum.wrapping_add(facts.hash));
    }
}

/// (lease, key) of what lives and is attached.
fn attached(layers: &Layers) -> Map<(i64, Blob), ()> {
    let live = layers.iter_from(&Blob::default(), true);
    let attached = live.filter(|key| key.newest().lease != 0);
    let mut all: Vec<_> = attached.map(|key| ((key.newest().lease, key.key()), ())).collect();
    all.sort_unstable();
    let mut map = Map::default();
    map.insert_run(all);
    map
}

fn get_record(view: &View, input: &mut Get<'_>) -> Result<Arc<Record>, DecodeError> {
    let kv = get_key_value(input)?;
    let (sub, tombstone) = (input.i64()?, input.bool()?);
    let sub = u32::try_from(sub).or_else(|_| invalid("checkpoint version"))?;
    if kv.mod_revision > view.revision {
        return invalid("checkpoint version");
    }
    record(kv, sub, tombstone)
}

/// Versions come in the order in which they were made.
fn restore_version(
    view: &View,
    rows: &mut Vec<Arc<Record>>,
    input: &mut Get<'_>,
) -> Result<(), DecodeError> {
    let record = get_record(view, input)?;
    if rows.last().is_some_and(|last| last.age() >= record.age()) {
        return invalid("checkpoint: order of the versions");
    }
    rows.push(record);
    Ok(())
}

fn restore_lease(view: &mut View, input: &mut Get<'_>) -> Result<(), DecodeError> {
    let (id, ttl) = (input.i64()?, input.i64()?);
    let (deadline, renewal) = (input.u64()?, input.u64()?);
    if id == 0 || !(1..=TTL_MAX).contains(&ttl) || view.leases.get(&id).is_some() {
        return invalid("checkpoint lease");
    }
    view.add_lease(Lease { id, ttl, deadline, renewal });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AlarmKind, KeyValue};
    use base::codec::Put;

    #[test]
    fn versions_that_no_command_makes_are_refused() {
        let view = View { revision: 9, ..View::empty() };
        let read = |kv: &KeyValue, sub: i64, tombstone: bool| {
            let mut bytes = Vec::new();
            crate::checkpoint::put_version(kv, sub, tombstone, &mut bytes);
            get_record(&view, &mut Get::new(&bytes)).is_ok()
        };
        let dead = KeyValue { key: b"k"[..].into(), mod_revision: 5, ..KeyValue::default() };
        let live = KeyValue { create_revision: 4, version: 2, lease: 7, ..dead.clone() };
        assert!(read(&live, 0, false) && read(&dead, 3, true));
        assert!(!read(&live, 0, true) && !read(&dead, 0, false), "the one as the other");
        assert!(!read(&KeyValue { lease: 7, ..dead.clone() }, 0, true), "a lease on a dead key");
        assert!(!read(&KeyValue { create_revision: 6, ..live.clone() }, 0, false), "made later");
        assert!(
            !read(&KeyValue { version: 6, ..live.clone() }, 0, false),
            "more puts than revisions"
        );
        assert!(!read(&KeyValue { version: 0, ..live.clone() }, 0, false), "never put");
        assert!(!read(&KeyValue { mod_revision: 10, ..live.clone() }, 0, false), "to come");
        assert!(
            !read(&live, -1, false)
                && !read(&live, 1 << 32, false)
                && read(&live, (1 << 32) - 1, false)
                && !read(&KeyValue { key: Blob::default(), ..live }, 0, false)
        );
    }

    /// Nobody outside this tree has written one, so no older form is read.
    #[test]
    fn a_checkpoint_of_any_other_form_is_refused_by_its_number() {
        for form in [0, FORMAT - 1, FORMAT + 1] {
            let mut records = View::empty().checkpoint_records().collect::<Vec<_>>();
            records[0][1] = form;
            let refused = Store::restore(Limits::default(), records).err();
            let (what, value) = ("checkpoint format", u64::from(form));
            assert_eq!(refused, Some(DecodeError::Unknown { what, value }));
        }
    }

    /// The header of a store at revision 9 that was compacted at 5, with other numbers in it.
    fn header_with(numbers: &[(usize, i64)]) -> Result<Header, DecodeError> {
        let five = Sweep { done: 3, target: 5, upto: None };
        let view = View { revision: 9, compact_revision: 5, sweep: five, ..View::empty() };
        let mut record = view.header();
        for (at, number) in numbers {
            let mut bytes = Vec::new();
            bytes.put_i64(*number);
            record[2 + 8 * at..][..8].copy_from_slice(&bytes);
        }
        get_header(&mut View::empty(), &record)
    }

    #[test]
    fn a_header_is_refused_when_its_revisions_or_its_removal_are_none_that_a_store_has() {
        let (revision, compacted, done, target) = (0, 1, 2, 3);
        let is_read = |numbers: &[(usize, i64)]| header_with(numbers).is_ok();
        assert!(is_read(&[]));
        // All that was made may be compacted, and nothing that was not.
        assert!(is_read(&[(revision, 5)]) && !is_read(&[(revision, 4)]));
        // A removal goes from what is done to its target, and no further than the compaction.
        assert!(is_read(&[(done, 5)]) && !is_read(&[(done, 6)]));
        assert!(is_read(&[(target, 3)]) && !is_read(&[(target, 2)]));
        assert!(is_read(&[(target, 4)]) && !is_read(&[(target, 6)]));
        // Before the first one nothing is compacted.
        assert!(is_read(&[(done, -1)]) && !is_read(&[(done, -2)]));
        let fresh = [(revision, 1), (compacted, -1), (done, -1), (target, -1)];
        assert!(is_read(&fresh));
        assert!(!is_read(&[(revision, 0), fresh[1], fresh[2], fresh[3]]));
        assert!(!is_read(&[(compacted, -2), (done, -2), (target, -2)]));
    }

    #[test]
    fn a_removal_that_is_done_has_come_to_no_place() {
        let place = Some((Blob::from(&b"k"[..]), (4, 1)));
        let sweep = Sweep { done: 3, target: 5, upto: place };
        let view = View { revision: 9, compact_revision: 5, sweep: sweep.clone(), ..View::empty() };
        let mut record = view.header();
        let mut read = View::empty();
        assert!(get_header(&mut read, &record).is_ok());
        assert_eq!(read.sweep, sweep);
        let done = 2 + 8 * 2;
        record[done..][..8].copy_from_slice(&5_i64.to_le_bytes());
        let refused = get_header(&mut View::empty(), &record).err();
        let what = "checkpoint: state of the removal";
        assert_eq!(refused, Some(DecodeError::Invalid { what }));
    }

    #[test]
    fn a_header_that_goes_on_behind_its_end_or_has_alarms_out_of_order_is_refused() {
        let header = |alarms: &[(u64, AlarmKind)]| {
            let alarms = Vec::from(alarms);
            View { alarms, ..View::empty() }.header()
        };
        let read = |record: &[u8]| get_header(&mut View::empty(), record).map(|_| ());
        let order = Err(DecodeError::Invalid { what: "checkpoint: order of the alarms" });
        let (first, second) = ((1, AlarmKind::NoSpace), (1, AlarmKind::Corrupt));
        assert_eq!(read(&header(&[first, second])), Ok(()));
        assert_eq!(read(&header(&[second, first])), order);
        assert_eq!(read(&header(&[first, first])), order, "one alarm is listed once");
        let mut longer = header(&[first]);
        longer.push(0);
        assert!(read(&longer).is_err());
        assert_eq!(read(&longer[..longer.len() - 2]), Err(DecodeError::Truncated));
    }

    #[test]
    fn a_lease_that_nobody_can_be_granted_is_refused() {
        let mut view = View::empty();
        let mut restore = |id: i64, ttl: i64| {
            let mut bytes = Vec::new();
            crate::checkpoint::put_lease(&Lease { id, ttl, deadline: 9, renewal: 1 }, &mut bytes);
            restore_lease(&mut view, &mut Get::new(&bytes)).is_ok()
        };
        assert!(!restore(0, 5), "lease 0 is none");
        assert!(!restore(1, 0) && !restore(1, -5) && !restore(1, TTL_MAX + 1));
        assert!(restore(1, 1) && restore(-2, TTL_MAX));
        assert!(!restore(1, 1), "granted once");
    }

    #[test]
    fn versions_that_come_twice_or_out_of_order_are_refused() {
        let put = |key: &[u8], mod_revision: i64, sub: i64| {
            let (key, create_revision, version) = (key.into(), 2, 1);
            let kv =
                KeyValue { key, create_revision, mod_revision, version, ..KeyValue::default() };
            let mut bytes = Vec::new();
            crate::checkpoint::put_version(&kv, sub, false, &mut bytes);
            bytes
        };
        let view = View { revision: 9, ..View::empty() };
        let mut rows = Vec::new();
        let mut restore = |key: &[u8], at, sub| {
            restore_version(&view, &mut rows, &mut Get::new(&put(key, at, sub)))
        };
        let order = Err(DecodeError::Invalid { what: "checkpoint: order of the versions" });
        assert_eq!((restore(b"k", 5, 1), restore(b"k", 5, 1)), (Ok(()), order));
        assert_eq!((restore(b"l", 5, 0), restore(b"a", 4, 9)), (order, order));
        assert_eq!((restore(b"a", 5, 2), restore(b"k", 6, 0)), (Ok(()), Ok(())));
        assert_eq!(rows.len(), 3);
    }
}
