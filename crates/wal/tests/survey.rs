//! What a damaged journal proves, against the journal that was written.

use base::{Ballot, Blob, LogIndex, NodeId, Prng};
use std::collections::BTreeMap;
use wal::{
    Batch, Disk, Journal, MemDisk, Options, Owner, Record, Sealed, Survey, WalErrorKind, survey,
};

const OWNER: Owner = Owner { cluster: 7, member: NodeId(3) };
const SMALL: Options = Options { segment_bytes: 1500, prefill_bytes: 256, spares_max: 1 };

fn record(index: u64, term: u64, size: usize) -> Record {
    let payload = Blob::from(vec![index as u8; size]);
    Record { kind: 1, index: LogIndex(index), ballot: Ballot::new(term, 1), payload }
}

/// A journal and what is true of it.
struct Written {
    disk: MemDisk,
    /// The live records after each batch.
    states: Vec<BTreeMap<LogIndex, Record>>,
    ballot: Ballot,
    /// Records at or below are covered by a checkpoint.
    floor: LogIndex,
    /// Of the journal, as a member remembers it elsewhere.
    key: u64,
}

impl Written {
    /// Random batches as a member writes them: entries at the end of the log, truncations by
    /// leaders of later terms, votes, releases; marked at the end.
    fn random(seed: u64, batches: u64) -> Self {
        let mut p = Prng::new(seed);
        let disk = MemDisk::new();
        let mut journal = Journal::create(disk.clone(), SMALL, OWNER, seed).unwrap();
        let (mut term, mut floor) = (1, 0);
        let mut live: BTreeMap<LogIndex, Record> = BTreeMap::new();
        let mut states = vec![live.clone()];
        for _ in 0..batches {
            let last = live.keys().next_back().map_or(floor, |i| i.0);
            let mut truncate = None;
            term += u64::from(p.below(4) == 0);
            if p.below(6) == 0 && last > floor {
                term += 1;
                truncate = Some(floor + 1 + p.below(last - floor));
            }
            let from = truncate.unwrap_or(last + 1);
            let many = p.below(4);
            let size = p.below(90) as usize;
            let entries: Vec<Record> = (from..from + many).map(|i| record(i, term, size)).collect();
            let truncate_from = truncate.map(LogIndex);
            let (ballot, commit) = (Ballot::new(term, 1), LogIndex(floor));
            journal.append(&[Batch { ballot, truncate_from, entries: &entries, commit }]).unwrap();
            journal.sync().unwrap();
            truncate_from.map(|from| live.split_off(&from));
            live.extend(entries.into_iter().map(|r| (r.index, r)));
            states.push(live.clone());
            if p.below(12) == 0 {
                floor += p.below(1 + live.keys().next_back().map_or(floor, |i| i.0) - floor);
                journal.release(LogIndex(floor)).unwrap();
            }
        }
        journal.mark().unwrap();
        Self { disk, states, ballot: Ballot::new(term, 1), floor: LogIndex(floor), key: seed }
    }

    /// The highest index of the last term.
    fn reach(&self) -> LogIndex {
        let live = self.states.last().unwrap().values();
        let of = |r: &&Record| r.ballot.term == self.ballot.term;
        live.filter(of).map(|r| r.index).max().unwrap_or_default()
    }

    /// Looks at a damaged copy, with the key known and without it; what it says must be true.
    /// Whether it was proven, if refused.
    fn check(&self, copy: MemDisk, place: &str) -> Option<bool> {
        let without = self.check_with(copy.fork(), None, place);
        let with = self.check_with(copy, Some((self.key, OWNER)), place);
        assert!(with >= without, "{place}: the key takes nothing away");
        with
    }

    fn check_with(&self, mut copy: MemDisk, known: Option<Sealed>, place: &str) -> Option<bool> {
        let error = match Journal::open(copy.fork(), SMALL) {
            Ok(_) => return None,
            Err(error) => error,
        };
        assert_eq!(error.kind, WalErrorKind::Corrupt, "{place}: {error}");
        let Survey { records, proven, .. } = survey(&mut copy, self.floor, known).unwrap();
        let live = |r: &&Record| r.index > self.floor;
        let found: Vec<&Record> = records.iter().filter(live).collect();
        // A segment whose records were void later is gone: the beginning may be missing.
        let from = found.first().map_or(LogIndex(u64::MAX), |r| r.index);
        let known = |s: &BTreeMap<LogIndex, Record>| {
            s.range(from..).map(|(_, r)| r).eq(found.iter().copied())
        };
        assert!(self.states.iter().any(known), "{place}: no state of the log: {found:?}");
        let Ok(proven) = proven else { return Some(false) };
        assert_eq!((proven.owner, proven.ballot), (OWNER, self.ballot), "{place}");
        assert!(proven.index >= self.reach(), "{place}: {} < {}", proven.index, self.reach());
        Some(true)
    }
}

#[test]
fn whatever_byte_is_damaged_the_survey_never_promises_less_than_the_journal_did() {
    let (mut proven, mut lost) = (0u64, 0u64);
    for seed in 0..12 {
        let written = Written::random(seed, 14);
        for name in written.disk.clone().list().unwrap() {
            for at in 0..written.disk.bytes(&name).unwrap().len() as u64 {
                let copy = written.disk.fork();
                assert!(copy.flip(&name, at, 0x10));
                match written.check(copy, &format!("seed {seed} {name} byte {at}")) {
                    Some(true) => proven += 1,
                    Some(false) => lost += 1,
                    None => {}
                }
            }
        }
    }
    assert!(proven > 5 * lost && lost > 0, "{proven} proven, {lost} lost");
}

#[test]
fn sectors_of_garbage_zeros_or_other_places_prove_nothing_false() {
    let (mut proven, mut lost) = (0u64, 0u64);
    for seed in 0..400 {
        let written = Written::random(seed, 20);
        let mut p = Prng::new(!seed);
        let mut copy = written.disk.fork();
        for _ in 0..1 + p.below(2) {
            let names = copy.list().unwrap();
            let name = &names[p.below(names.len() as u64) as usize];
            let bytes = copy.bytes(name).unwrap();
            let at = p.below(bytes.len() as u64) / 512 * 512;
            let from = p.below(bytes.len() as u64) as usize / 512 * 512;
            let sector = match p.below(4) {
                0 => vec![0; 512],
                1 => (0..512).map(|_| p.next_u64() as u8).collect(),
                2 => bytes[from..bytes.len().min(from + 512)].to_vec(),
                _ => {
                    copy.lose(name).unwrap();
                    continue;
                }
            };
            copy.open(name).unwrap().write_at(at, &sector).unwrap();
        }
        if copy.list().unwrap().iter().all(|name| !name.starts_with("segment-")) {
            continue;
        }
        // A last segment that is gone whole, or the first, is nothing anybody can notice.
        let names = |disk: &MemDisk| -> Vec<String> {
            disk.clone().list().unwrap().into_iter().filter(|n| n.starts_with("segment-")).collect()
        };
        let (before, after) = (names(&written.disk), names(&copy));
        if before.first() != after.first() || before.last() != after.last() {
            continue;
        }
        // Zeros over the last batch and its mark look like a journal that ended before.
        let last = before.last().unwrap();
        if copy.bytes(last) != written.disk.bytes(last) {
            continue;
        }
        match written.check(copy, &format!("seed {seed}")) {
            Some(true) => proven += 1,
            Some(false) => lost += 1,
            None => {}
        }
    }
    assert!(proven > 20, "{proven} proven, {lost} lost");
}

fn three() -> (MemDisk, String, Vec<u64>) {
    let disk = MemDisk::new();
    let options = Options { prefill_bytes: 0, ..Options::default() };
    let mut journal = Journal::create(disk.clone(), options, OWNER, 1).unwrap();
    let mut ends = Vec::new();
    for index in 1..=3 {
        let entries = [record(index, 1, 40)];
        let (ballot, truncate_from) = (Ballot::new(1, 1), None);
        let commit = LogIndex(index - 1);
        journal.append(&[Batch { ballot, truncate_from, entries: &entries, commit }]).unwrap();
        journal.sync().unwrap();
        ends.push(journal.bytes());
    }
    journal.mark().unwrap();
    let name = disk.clone().list().unwrap().remove(0);
    (disk, name, ends)
}

#[test]
fn a_damaged_batch_in_the_middle_leaves_promise_and_reach_proven() {
    let (disk, name, ends) = three();
    // A checkpoint at 3 says nothing about where batch 2 ended: batch 3 begins at 3.
    for floor in [0, 3] {
        for at in [ends[0] + 20, ends[0] + 100] {
            let mut copy = disk.fork();
            assert!(copy.flip(&name, at, 1));
            let found = survey(&mut copy, LogIndex(floor), None).unwrap();
            assert_eq!(found.records, [record(1, 1, 40)]);
            let proven = found.proven.expect("batch 3 and the mark are intact");
            assert_eq!((proven.ballot, proven.index), (Ballot::new(1, 1), LogIndex(3)));
        }
    }
}

#[test]
fn the_last_batch_is_bounded_by_its_header_and_lost_without_it() {
    let (disk, name, ends) = three();
    let mut copy = disk.fork();
    assert!(copy.flip(&name, ends[1] + 100, 1));
    let proven =
        survey(&mut copy, LogIndex::ZERO, None).unwrap().proven.expect("its header counts");
    assert_eq!(proven.index, LogIndex(3));
    let mut copy = disk.fork();
    assert!(copy.flip(&name, ends[1] + 20, 1));
    let lost =
        survey(&mut copy, LogIndex::ZERO, None).unwrap().proven.expect_err("nothing counts it");
    assert!(lost.contains("lost with their headers"), "{lost}");
}

#[test]
fn damage_and_an_unreadable_tail_prove_nothing() {
    let (disk, name, ends) = three();
    let mut copy = disk.fork();
    assert!(copy.flip(&name, ends[0] + 20, 1));
    let end = copy.bytes(&name).unwrap().len() as u64;
    copy.open(&name).unwrap().write_at(end + 100, b"x").unwrap();
    let lost =
        survey(&mut copy, LogIndex::ZERO, None).unwrap().proven.expect_err("a vote may be lost");
    assert!(lost.contains("cannot be read"), "{lost}");
}

#[test]
fn batches_are_read_without_a_segment_header_where_the_key_is_known() {
    let (disk, name, _) = three();
    let mut copy = disk.fork();
    assert!(copy.flip(&name, 9, 1));
    let mut look = |known: Option<Sealed>| survey(&mut copy, LogIndex::ZERO, known).unwrap().proven;
    let lost = look(None).expect_err("no key");
    assert!(lost.contains("every segment header"), "{lost}");
    let proven = look(Some((1, OWNER))).expect("three batches are intact");
    assert_eq!((proven.ballot, proven.index), (Ballot::new(1, 1), LogIndex(3)));
    let lost = look(Some((2, OWNER))).expect_err("the key of another journal");
    assert!(lost.contains("is intact"), "{lost}");
}
