//! A start after a crash at every boundary: between a checkpoint, its rename, the release of the
//! journal and a truncation, and all along a repair.

use base::{Ballot, Blob, LogIndex, NodeId};
use std::io;
use store::{
    Ask, CheckpointFile, CheckpointMeta, Home, Incoming, OnDamage, OpenError, Opened, StoreError,
    end_repair, open, read_checkpoint, remove_older, write_checkpoint,
};
use wal::{Batch, Disk, Journal, MemDisk, Options, Owner, Record};

const OWNER: Owner = Owner { cluster: 7, member: NodeId(3) };
const SMALL: Options = Options { segment_bytes: 1024, prefill_bytes: 0, spares_max: 1 };
const SEEDS: u64 = 4;

/// The three directories of a member on one disk, so that one count steps through all.
#[derive(Clone)]
struct Place(MemDisk);

impl Home for Place {
    fn disk(&self, part: &str) -> io::Result<Box<dyn Disk>> {
        Ok(Box::new(self.0.part(part)))
    }
    fn has(&self, _part: &str) -> bool {
        true
    }
}

fn record(index: u64, term: u64) -> Record {
    let payload = Blob::from(format!("{index}@{term}").repeat(9).as_bytes());
    Record { kind: 1, index: LogIndex(index), ballot: Ballot::new(term, 1), payload }
}

fn append(journal: &mut Journal, term: u64, from: Option<u64>, records: &[Record]) {
    try_append(journal, term, from, records).unwrap();
}

fn try_append(
    journal: &mut Journal,
    term: u64,
    from: Option<u64>,
    entries: &[Record],
) -> Result<(), wal::WalError> {
    let (truncate_from, commit) = (from.map(LogIndex), LogIndex::ZERO);
    let batch = Batch { ballot: Ballot::new(term, 1), truncate_from, entries, commit };
    journal.append(&[batch])?;
    journal.sync()
}

/// A journal with entries 1 to 30 of term 2.
fn written() -> (Place, Journal) {
    let place = Place(MemDisk::new());
    let mut journal = Journal::create(place.0.part("journal"), SMALL, OWNER, 1).unwrap();
    for index in 1..=30 {
        append(&mut journal, 2, None, &[record(index, 2)]);
    }
    (place, journal)
}

fn checkpoint(disk: &mut dyn Disk, index: u64, term: u64) -> Result<CheckpointFile, StoreError> {
    let (index, ballot) = (LogIndex(index), Ballot::new(term, 1));
    let meta = CheckpointMeta { index, ballot, ..CheckpointMeta::default() };
    write_checkpoint(disk, &meta, [format!("state at {index}").into_bytes()])
}

fn start(place: &Place, key: u64) -> Result<Opened<()>, OpenError> {
    start_knowing(place, key, 0)
}

fn start_knowing(place: &Place, key: u64, known_key: u64) -> Result<Opened<()>, OpenError> {
    let ask = Ask {
        owner: OWNER,
        options: SMALL,
        key,
        known_key,
        incarnation: key,
        fresh: false,
        on_damage: OnDamage::Repair,
    };
    store::clean(&mut place.0.part("checkpoints"))?;
    let mut dir = place.0.part("checkpoints");
    open(place, &ask, &mut |f| read_checkpoint(&mut dir, &f.name).map(|_| ()), &|_, _| Ok(()))
}

/// Where the base ends, and the entries above it.
fn shape(opened: &Opened<()>) -> (LogIndex, Vec<(u64, u64)>) {
    let base = opened.base.as_ref().map_or(LogIndex::ZERO, |(file, ())| file.index);
    (base, opened.records.iter().map(|r| (r.index.0, r.ballot.term.0)).collect())
}

/// Runs `work` with every change failing from some point on, for every point and several ways
/// to lose what was not synced; `check` looks at what is left.
fn at_every_change(
    make: &dyn Fn() -> (Place, Journal),
    work: &dyn Fn(&Place, &mut Journal) -> Result<(), String>,
    check: &mut dyn FnMut(Place, bool),
) {
    for n in 0.. {
        let mut done = false;
        for seed in 0..SEEDS {
            let (place, mut journal) = make();
            place.0.fail_from(place.0.changes() + n);
            done = work(&place, &mut journal).is_ok();
            drop(journal);
            check(Place(place.0.crash(seed)), done);
        }
        if done {
            assert!(n >= 2, "{n} boundaries were crossed");
            return;
        }
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[test]
fn a_crash_anywhere_between_checkpoint_rename_and_release_loses_no_entry() {
    let make = || {
        let (place, journal) = written();
        checkpoint(&mut place.0.part("checkpoints"), 5, 2).unwrap();
        checkpoint(&mut place.0.part("checkpoints"), 10, 2).unwrap();
        (place, journal)
    };
    let work = |place: &Place, journal: &mut Journal| {
        let mut dir = place.0.part("checkpoints");
        checkpoint(&mut dir, 20, 2).map_err(text)?;
        remove_older(&mut dir, 2).map_err(text)?;
        journal.release(LogIndex(20)).map_err(text)
    };
    let mut bases = std::collections::BTreeSet::new();
    at_every_change(&make, &work, &mut |place, done| {
        let opened = start(&place, 9).unwrap();
        let (base, entries) = shape(&opened);
        assert!(opened.repair.is_none() && (base.0 == 20 || !done));
        assert_eq!(entries, (base.0 + 1..=30).map(|i| (i, 2)).collect::<Vec<_>>());
        bases.insert(base.0);
    });
    assert_eq!(bases, [10, 20].into());
}

#[test]
fn a_crash_anywhere_between_install_release_and_truncation_leaves_one_log() {
    // A leader of term 3 sends its state at 25; entries 11 to 30 here were never committed.
    let mut there = MemDisk::new();
    let offer = checkpoint(&mut there, 25, 3).unwrap();
    let bytes = there.bytes(&offer.name).unwrap();
    let make = || {
        let (place, journal) = written();
        checkpoint(&mut place.0.part("checkpoints"), 10, 2).unwrap();
        (place, journal)
    };
    let work = |place: &Place, journal: &mut Journal| {
        let mut dir = place.0.part("checkpoints");
        let mut incoming = Incoming::begin(&mut dir, &offer).map_err(text)?;
        let from = incoming.offset();
        incoming.write(from, &bytes[from as usize..]).map_err(text)?;
        incoming.finish(&mut dir).map_err(text)?;
        journal.release(LogIndex(25)).map_err(text)?;
        try_append(journal, 3, Some(11), &[]).map_err(text)?;
        try_append(journal, 3, None, &[record(26, 3), record(27, 3)]).map_err(text)
    };
    let mut shapes = std::collections::BTreeSet::new();
    at_every_change(&make, &work, &mut |place, done| {
        let (base, entries) = shape(&start(&place, 9).unwrap());
        let old = (11..=30).map(|i| (i, 2)).collect::<Vec<_>>();
        let one = match base.0 {
            10 => entries == old,
            // What follows another entry 25 is void; recovery is the same a second time.
            25 => entries.is_empty() || entries.iter().all(|(_, term)| *term == 3),
            _ => false,
        };
        assert!(one && (base.0 == 25 || !done), "{base}: {entries:?}");
        assert_eq!(shape(&start(&place, 10).unwrap()), (base, entries.clone()));
        shapes.insert((base.0, entries.len()));
    });
    assert!(shapes.len() >= 3, "{shapes:?}");
}

/// A journal with damage in its middle, down.
fn damaged() -> (Place, Journal) {
    let (place, mut journal) = written();
    journal.mark().unwrap();
    drop(journal);
    let name = "journal/segment-0000000000000002.qj";
    assert!(place.0.flip(name, 512 + 88 + 40, 1));
    // The one handed on is of no use to anybody.
    (place, Journal::create(MemDisk::new(), SMALL, OWNER, 2).unwrap())
}

#[test]
fn a_crash_anywhere_in_the_beginning_of_a_repair_keeps_promise_and_reach() {
    let work = |place: &Place, _: &mut Journal| start(place, 9).map(|_| ()).map_err(text);
    let mut kept = std::collections::BTreeSet::new();
    at_every_change(&damaged, &work, &mut |place, _| {
        // A second crash, at every boundary of the second start.
        for n in 0..6 {
            let again = place.0.fork();
            again.fail_from(n);
            let _ = start(&Place(again.clone()), 10);
            let opened = start(&Place(again.crash(n)), 11).unwrap();
            let repair = opened.repair.as_ref().expect("nothing ended it");
            assert_eq!((repair.ballot, repair.index), (Ballot::new(2, 1), LogIndex(30)));
            assert!(opened.ballot >= repair.ballot);
            let (_, entries) = shape(&opened);
            assert_eq!(entries, (1..=entries.len() as u64).map(|i| (i, 2)).collect::<Vec<_>>());
            assert!(entries.len() < 30, "the damaged entry is not there");
            kept.insert(entries.len());
        }
    });
    assert!(kept.iter().any(|n| *n > 0), "what is intact is kept: {kept:?}");
}

#[test]
fn a_crash_anywhere_at_the_end_of_a_repair_leaves_it_open_or_over_with_everything() {
    let make = || {
        let (place, _) = damaged();
        let mut opened = start(&place, 9).unwrap();
        let from = opened.records.len() as u64 + 1;
        let rest: Vec<Record> = (from..=31).map(|i| record(i, 2)).collect();
        append(&mut opened.journal, 2, None, &rest);
        (place, opened.journal)
    };
    let work = |place: &Place, _: &mut Journal| end_repair(place).map_err(text);
    let mut open_still = 0;
    at_every_change(&make, &work, &mut |place, done| {
        let opened = start(&place, 10).unwrap();
        assert_eq!(shape(&opened).1, (1..=31).map(|i| (i, 2)).collect::<Vec<_>>());
        assert!(opened.repair.is_none() || !done, "the end is durable");
        open_still += usize::from(opened.repair.is_some());
    });
    assert!(open_still > 0);
}

#[test]
fn a_repair_whose_own_journal_is_damaged_begins_again_from_its_file() {
    let (place, _) = damaged();
    drop(start(&place, 9).unwrap());
    for name in place.0.clone().list().unwrap() {
        if name.starts_with("journal/") && name.ends_with(".qj") {
            assert!(place.0.flip(&name, 8, 1), "its header");
        }
    }
    let opened = start(&place, 10).unwrap();
    let repair = opened.repair.as_ref().expect("it goes on");
    assert_eq!((repair.ballot, repair.index), (Ballot::new(2, 1), LogIndex(30)));
    assert!(opened.records.is_empty());
}

#[test]
fn the_only_segment_header_is_not_needed_when_the_key_is_known() {
    let place = Place(MemDisk::new());
    let options = Options { segment_bytes: 1 << 20, ..SMALL };
    let mut journal = Journal::create(place.0.part("journal"), options, OWNER, 5).unwrap();
    append(&mut journal, 2, None, &[record(1, 2), record(2, 2)]);
    append(&mut journal, 3, None, &[]);
    journal.mark().unwrap();
    assert_eq!(journal.key(), 5);
    assert!(place.0.flip("journal/segment-0000000000000001.qj", 9, 1));
    let lost = start(&place, 9).err().expect("no key").to_string();
    assert!(lost.contains("cannot be repaired"), "{lost}");
    let opened = start_knowing(&place, 9, 5).unwrap();
    let repair = opened.repair.as_ref().expect("its header is gone");
    assert_eq!((repair.ballot, repair.index), (Ballot::new(3, 1), LogIndex::ZERO));
    assert_eq!(opened.journal.key(), 9, "what the identity is to remember from now on");
}

#[test]
fn a_damaged_checkpoint_is_made_up_for_by_the_journal_or_repaired() {
    let (place, mut journal) = written();
    checkpoint(&mut place.0.part("checkpoints"), 10, 2).unwrap();
    let newest = checkpoint(&mut place.0.part("checkpoints"), 20, 2).unwrap();
    journal.mark().unwrap();
    let damage = |place: &Place| {
        assert!(place.0.flip(&format!("checkpoints/{}", newest.name), 70, 1));
        Place(place.0.clone())
    };
    let whole = damage(&Place(place.0.fork()));
    let opened = start(&whole, 9).unwrap();
    assert!(opened.repair.is_none(), "nothing is lost");
    assert_eq!((shape(&opened).0, opened.records.len()), (LogIndex(10), 20));
    assert!(opened.commit >= LogIndex(20), "what a checkpoint held was committed");
    journal.release(LogIndex(20)).unwrap();
    let opened = start(&damage(&Place(place.0.fork())), 9).unwrap();
    let repair = opened.repair.as_ref().expect("entries below 20 are gone");
    assert_eq!((repair.ballot, repair.index), (Ballot::new(2, 1), LogIndex(30)));
    assert_eq!((shape(&opened).0, opened.records.len()), (LogIndex(10), 0));
}
