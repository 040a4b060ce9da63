//! The journal over a disk in memory: round trips, crashes at every change, damage, reuse.

use base::{Ballot, Blob, LogIndex, NodeId, Prng};
use std::collections::BTreeMap;
use wal::{
    Batch, DirLock, Disk, Journal, MemDisk, Options, Owner, Record, Recovery, WalError,
    WalErrorKind,
};

const OWNER: Owner = Owner { cluster: 7, member: NodeId(3) };
const KEY: u64 = 0xfeed;
const SMALL: Options = Options { segment_bytes: 2048, prefill_bytes: 512, spares_max: 1 };

fn record(index: u64, term: u64, size: usize) -> Record {
    let byte = (index * 31 + term * 7) as u8;
    let payload = Blob::from(vec![byte; size]);
    Record { kind: 1, index: LogIndex(index), ballot: Ballot::new(term, 1), payload }
}

fn batch(term: u64, truncate: Option<u64>, entries: &[Record], commit: u64) -> Batch<'_> {
    Batch {
        ballot: Ballot::new(term, 1),
        truncate_from: truncate.map(LogIndex),
        entries,
        commit: LogIndex(commit),
    }
}

fn create(disk: &MemDisk, options: Options) -> Journal {
    Journal::create(disk.clone(), options, OWNER, KEY).unwrap()
}

/// What the journal should hold; the term of the ballot numbers the batches.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    records: BTreeMap<u64, Record>,
    term: u64,
    commit: u64,
}

impl Model {
    fn apply(&mut self, batch: &Batch<'_>) {
        if let Some(from) = batch.truncate_from {
            self.records.split_off(&from.0);
        }
        for r in batch.entries {
            self.records.insert(r.index.0, r.clone());
        }
        self.term = batch.ballot.term.0;
        self.commit = self.commit.max(batch.commit.0);
    }

    fn assert_is(&self, found: &Recovery, released: u64) {
        assert_eq!(found.owner, OWNER);
        assert_eq!(found.commit.0, self.commit);
        let live = |r: &&Record| r.index.0 > released;
        let found: Vec<&Record> = found.records.iter().filter(live).collect();
        let wanted: Vec<&Record> = self.records.values().filter(live).collect();
        assert_eq!(found, wanted, "state after batch {}", self.term);
    }
}

/// Runs random steps until the disk fails, and remembers what must and what may survive.
struct Run {
    random: Prng,
    /// The state after each batch handed to the journal, by term.
    states: Vec<Model>,
    synced: usize,
    /// Up to where records may be gone.
    released: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let states = vec![Model::default()];
        Self { random: Prng::new(seed), states, synced: 0, released: 0 }
    }

    fn append(&mut self, journal: &mut Journal) -> Result<(), WalError> {
        let mut made = Vec::new();
        let mut model = self.states.last().unwrap().clone();
        for _ in 0..=self.random.below(2) {
            let term = model.term + 1;
            let last = model.records.keys().next_back().copied().unwrap_or(0);
            let cut = (last > self.released && self.random.below(4) == 0)
                .then(|| self.released + 1 + self.random.below(last - self.released));
            let first = cut.unwrap_or(last + 1).max(self.released + 1);
            let entries: Vec<Record> = (0..self.random.below(4))
                .map(|i| record(first + i, term, self.random.below(700) as usize))
                .collect();
            let commit = model.commit + self.random.below(2);
            model.apply(&batch(term, cut, &entries, commit));
            self.states.push(model.clone());
            made.push((term, cut, entries, commit));
        }
        let batches: Vec<Batch<'_>> = made.iter().map(|m| batch(m.0, m.1, &m.2, m.3)).collect();
        journal.append(&batches)
    }

    fn step(&mut self, journal: &mut Journal) -> Result<(), WalError> {
        match self.random.below(10) {
            0..=4 => self.append(journal),
            5..=6 => {
                journal.sync()?;
                self.synced = self.states.len() - 1;
                Ok(())
            }
            7 => {
                journal.mark()?;
                self.synced = self.states.len() - 1;
                Ok(())
            }
            8 => journal.prefill(600).map(|_| ()),
            _ => {
                // A checkpoint covers only what is durable in the journal.
                let model = &self.states[self.synced];
                let last = model.records.keys().next_back().copied().unwrap_or(0);
                let low = self.states[self.synced..].iter();
                let low = low.map(|m| m.records.keys().next_back().copied().unwrap_or(0)).min();
                let upto = low.unwrap_or(0).min(last);
                self.released = self.released.max(upto / 2);
                journal.release(LogIndex(self.released))
            }
        }
    }

    fn go(&mut self, disk: &MemDisk, steps: usize) -> Result<(), WalError> {
        let mut journal = Journal::create(disk.clone(), SMALL, OWNER, KEY)?;
        (0..steps).try_for_each(|_| self.step(&mut journal))
    }

    /// Checks what is found, and forgets what did not survive.
    fn recovered(&mut self, found: &Recovery) {
        let term = found.ballot.term.0 as usize;
        assert!(term >= self.synced, "batch {} was synced, {term} found", self.synced);
        self.states[term].assert_is(found, self.released);
        self.states.truncate(term + 1);
        self.synced = term;
    }
}

#[test]
fn what_is_synced_is_there_after_reopening() {
    let disk = MemDisk::new();
    let mut journal = create(&disk, Options::default());
    let mut model = Model::default();
    let first: Vec<Record> = (1..=6).map(|i| record(i, 1, i as usize * 11)).collect();
    let second = [record(4, 2, 5), record(5, 2, 0)];
    let batches = [
        batch(1, None, &first, 2),
        batch(2, Some(4), &second, 3),
        batch(3, None, &[], 4),
        batch(4, Some(5), &[], 4),
    ];
    for b in &batches {
        journal.append(&[*b]).unwrap();
        journal.sync().unwrap();
        model.apply(b);
        let (_, found) = Journal::open(disk.crash(1), Options::default()).unwrap();
        model.assert_is(&found, 0);
        assert_eq!(found.ballot, b.ballot);
        assert_eq!(found.cut, None);
    }
    drop(journal);
    // Reopening many times changes nothing.
    for _ in 0..5 {
        let (_, found) = Journal::open(disk.clone(), Options::default()).unwrap();
        model.assert_is(&found, 0);
    }
}

#[test]
fn a_crash_at_any_change_loses_nothing_synced_and_leaves_a_prefix() {
    (0..20).for_each(crash_anywhere);
}

/// One journal, stopped at each of its changes.
pub fn crash_anywhere(seed: u64) {
    let whole = MemDisk::new();
    Run::new(seed).go(&whole, 40).unwrap();
    for n in 0..whole.changes() {
        crash_at(seed, n);
    }
}

fn crash_at(seed: u64, n: u64) {
    let disk = MemDisk::new();
    disk.fail_from(n);
    let mut run = Run::new(seed);
    assert_eq!(run.go(&disk, 40).unwrap_err().kind, WalErrorKind::Io);
    let disk = disk.crash(seed * 1000 + n);
    let (mut journal, found) = match Journal::open(disk.clone(), SMALL) {
        Ok(opened) => opened,
        Err(e) => {
            let never_created = e.kind == WalErrorKind::Missing && run.states.len() == 1;
            assert!(never_created, "seed {seed} change {n}: {e}");
            return;
        }
    };
    run.recovered(&found);
    // What recovery returned is durable, and a second life, crash and all, builds on it.
    let (_, again) = Journal::open(disk.crash(n), SMALL).unwrap();
    assert_eq!((&again.records, again.ballot), (&found.records, found.ballot));
    disk.fail_from(disk.changes() + n % 37);
    while run.step(&mut journal).is_ok() {}
    let (mut journal, found) = Journal::open(disk.crash(!n), SMALL).unwrap();
    run.recovered(&found);
    for _ in 0..10 {
        run.step(&mut journal).unwrap();
    }
}

#[test]
fn a_crash_during_recovery_is_recovered_from() {
    for seed in 0..20 {
        let disk = MemDisk::new();
        let mut run = Run::new(seed);
        run.go(&disk, 25).unwrap();
        let torn = disk.crash(seed);
        for n in 0..8 {
            let torn = torn.fork();
            torn.fail_from(n);
            let failed = Journal::open(torn.clone(), SMALL).is_err();
            let (_, found) = Journal::open(torn.crash(n), SMALL).unwrap();
            let term = found.ballot.term.0 as usize;
            assert!(term >= run.synced, "failed during recovery: {failed}");
            run.states[term].assert_is(&found, run.released);
        }
    }
}

fn names(disk: &MemDisk) -> Vec<String> {
    disk.clone().list().unwrap()
}

#[test]
fn a_flipped_byte_is_refused_by_name_or_touches_nothing_vouched_for() {
    let options = Options { segment_bytes: 700, prefill_bytes: 256, spares_max: 1 };
    let disk = MemDisk::new();
    let mut journal = create(&disk, options);
    let mut states = vec![Model::default()];
    for term in 1..=5 {
        let entries = [record(term, term, 20)];
        let b = batch(term, None, &entries, term - 1);
        journal.append(&[b]).unwrap();
        journal.sync().unwrap();
        let mut model = states.last().unwrap().clone();
        model.apply(&b);
        states.push(model);
    }
    assert!(journal.segments() > 1);
    // Before the mark the last batch is in the ambiguous window; after it nothing is.
    flip_each_byte(&disk, options, &states, 4);
    journal.mark().unwrap();
    flip_each_byte(&disk, options, &states, 5);
}

fn flip_each_byte(disk: &MemDisk, options: Options, states: &[Model], vouched: usize) {
    let (mut refused, mut fine) = (0, 0);
    for name in names(disk) {
        for at in 0..disk.bytes(&name).unwrap().len() as u64 {
            for mask in [1, 0x80, 0xff] {
                let copy = disk.fork();
                assert!(copy.flip(&name, at, mask));
                match Journal::open(copy, options) {
                    Ok((_, found)) => {
                        let term = found.ballot.term.0 as usize;
                        assert!(term >= vouched, "{name} byte {at}: only {term} found");
                        states[term].assert_is(&found, 0);
                        fine += 1;
                    }
                    Err(e) => {
                        assert_eq!(e.kind, WalErrorKind::Corrupt, "{e}");
                        assert!(e.file.starts_with("segment-"), "{e}");
                        refused += 1;
                    }
                }
            }
        }
    }
    assert!(refused > 0 && fine > 0);
}

#[test]
fn a_file_cut_short_is_refused_or_loses_only_the_open_window() {
    let disk = MemDisk::new();
    let mut journal = create(&disk, Options { prefill_bytes: 0, ..Options::default() });
    let entries: Vec<Record> = (1..=3).map(|i| record(i, 1, 30)).collect();
    journal.append(&[batch(1, None, &entries, 1)]).unwrap();
    journal.mark().unwrap();
    let name = names(&disk).remove(0);
    let len = disk.bytes(&name).unwrap().len() as u64;
    for cut in 0..len {
        let copy = disk.fork();
        copy.clone().open(&name).unwrap().set_len(cut).unwrap();
        match Journal::open(copy, Options::default()) {
            Ok((_, found)) => assert!(found.records.is_empty() || found.records == entries),
            Err(e) => assert_eq!(e.kind, WalErrorKind::Corrupt),
        }
    }
}

#[test]
fn segments_roll_over_are_released_and_come_back_recycled() {
    let disk = MemDisk::new();
    let mut journal = create(&disk, SMALL);
    let mut model = Model::default();
    let mut recycled = false;
    for i in 1..=60 {
        let entries = [record(i, i, 300)];
        let b = batch(i, None, &entries, i);
        journal.append(&[b]).unwrap();
        journal.sync().unwrap();
        model.apply(&b);
        if i % 15 == 0 {
            assert!(journal.segments() > 2);
            journal.release(LogIndex(i - 2)).unwrap();
            assert!(journal.segments() <= 2);
            recycled |= names(&disk).iter().any(|n| n.starts_with("spare-"));
            // Old bytes of a recycled file are never read as new ones.
            let (again, found) = Journal::open(disk.crash(i), SMALL).unwrap();
            model.assert_is(&found, i - 2);
            assert!(again.bytes() <= 2 * SMALL.segment_bytes);
            drop(journal);
            (journal, _) = Journal::open(disk.clone(), SMALL).unwrap();
        }
    }
    assert!(recycled, "a spare was kept and used");
    let kept = names(&disk).iter().filter(|n| n.starts_with("spare-")).count();
    assert!(kept <= SMALL.spares_max);
}

#[test]
fn a_missing_middle_segment_is_refused_and_an_empty_directory_is_missing() {
    let disk = MemDisk::new();
    let mut journal = create(&disk, SMALL);
    for i in 1..=20 {
        journal.append(&[batch(i, None, &[record(i, i, 300)], i)]).unwrap();
    }
    journal.sync().unwrap();
    let mut gone = disk.fork();
    gone.lose(&names(&disk)[1]).unwrap();
    assert_eq!(Journal::open(gone, SMALL).unwrap_err().kind, WalErrorKind::Corrupt);
    let empty = Journal::open(MemDisk::new(), SMALL).unwrap_err();
    assert_eq!(empty.kind, WalErrorKind::Missing);
    let twice = Journal::create(disk.clone(), SMALL, OWNER, KEY).unwrap_err();
    assert_eq!(twice.kind, WalErrorKind::Exists);
}

#[test]
fn after_a_failure_every_call_is_refused() {
    for extra in 0..3 {
        let disk = MemDisk::new();
        let mut journal = create(&disk, Options { prefill_bytes: 0, ..SMALL });
        let entries = [record(1, 1, 10)];
        let b = batch(1, None, &entries, 0);
        disk.fail_from(disk.changes() + extra);
        let mut outcome = Ok(());
        while outcome.is_ok() {
            outcome = journal.append(&[b]).and_then(|()| journal.sync());
        }
        assert_eq!(outcome.unwrap_err().kind, WalErrorKind::Io);
        disk.fail_from(u64::MAX);
        let poisoned = |e: WalError| assert_eq!(e.kind, WalErrorKind::Poisoned);
        poisoned(journal.append(&[b]).unwrap_err());
        poisoned(journal.sync().unwrap_err());
        poisoned(journal.mark().unwrap_err());
        poisoned(journal.release(LogIndex(9)).unwrap_err());
        poisoned(journal.prefill(9).unwrap_err());
    }
}

#[test]
fn a_second_holder_of_the_directory_is_refused() {
    let dir = std::env::temp_dir().join(format!("quorate-wal-lock-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let first = DirLock::acquire(&dir).unwrap();
    assert_eq!(DirLock::acquire(&dir).unwrap_err().kind, WalErrorKind::Locked);
    drop(first);
    DirLock::acquire(&dir).unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_real_directory_holds_a_journal() {
    let dir = std::env::temp_dir().join(format!("quorate-wal-real-{}", std::process::id()));
    let disk = wal::RealDisk::new(&dir).unwrap();
    let mut model = Model::default();
    let mut journal = Journal::create(disk.clone(), SMALL, OWNER, KEY).unwrap();
    for i in 1..=30 {
        let entries = [record(i, i, 300)];
        let b = batch(i, None, &entries, i);
        journal.append(&[b]).unwrap();
        model.apply(&b);
    }
    journal.sync().unwrap();
    journal.release(LogIndex(20)).unwrap();
    drop(journal);
    let (_, found) = Journal::open(disk, SMALL).unwrap();
    model.assert_is(&found, 20);
    std::fs::remove_dir_all(&dir).unwrap();
}

/// Overwrites `from..` of a file with zeros.
fn wipe(disk: &mut MemDisk, name: &str, from: u64, to: u64) {
    let mut file = disk.open(name).unwrap();
    file.write_at(from, &vec![0; (to - from) as usize]).unwrap();
    file.sync().unwrap();
}

/// A journal with one synced batch and one that was not, and where the second one lies.
fn with_an_open_batch(disk: &MemDisk) -> (u64, u64) {
    let mut journal = create(disk, SMALL);
    journal.append(&[batch(1, None, &[record(1, 1, 100)], 1)]).unwrap();
    journal.sync().unwrap();
    let from = journal.bytes();
    journal.append(&[batch(2, None, &[record(2, 2, 100)], 1)]).unwrap();
    (from, journal.bytes())
}

#[test]
fn a_tail_torn_inside_its_header_is_cut_and_reported_once() {
    for kept in [4, 16, 60, 87] {
        let mut disk = MemDisk::new();
        let (from, to) = with_an_open_batch(&disk);
        wipe(&mut disk, "segment-0000000000000001.qj", from + kept, to);
        let (journal, found) = Journal::open(disk.clone(), SMALL).unwrap();
        assert_eq!(found.cut.map(|cut| cut.offset), Some(from), "{kept} bytes are there");
        assert_eq!(found.records.len(), 1);
        drop(journal);
        let (_, again) = Journal::open(disk, SMALL).unwrap();
        assert_eq!(again.cut, None, "what was cut is gone");
    }
}

#[test]
fn a_tail_without_its_header_is_cut_and_reported() {
    let mut disk = MemDisk::new();
    let (from, _) = with_an_open_batch(&disk);
    wipe(&mut disk, "segment-0000000000000001.qj", from, from + 100);
    let (_, found) = Journal::open(disk, SMALL).unwrap();
    assert_eq!(found.cut.map(|cut| cut.offset), Some(from));
}

#[test]
fn a_clean_end_is_no_cut_in_fresh_recycled_and_prepared_segments() {
    let disk = MemDisk::new();
    let mut journal = create(&disk, SMALL);
    for i in 1..=80 {
        if i % 3 == 0
            && let Some(mut job) = journal.spare_wanted()
        {
            while job.step(&mut disk.clone(), 700).unwrap() {}
            journal.spare_done(job, true);
        }
        journal.append(&[batch(i, None, &[record(i, i, 300)], i)]).unwrap();
        journal.sync().unwrap();
        journal.release(LogIndex(i - 1)).unwrap();
        let (_, found) = Journal::open(disk.fork(), SMALL).unwrap();
        assert_eq!(found.cut, None, "batch {i}");
    }
}

#[test]
fn a_spare_made_ahead_is_used_and_surplus_ones_go() {
    let disk = MemDisk::new();
    let mut journal = create(&disk, SMALL);
    let mut job = journal.spare_wanted().expect("none is ready");
    assert!(journal.spare_wanted().is_none(), "one at a time");
    let mut steps = 1;
    while job.step(&mut disk.clone(), 512).unwrap() {
        steps += 1;
    }
    assert_eq!(steps, SMALL.segment_bytes / 512);
    journal.spare_done(job, true);
    assert_eq!(journal.spares(), 1);
    let mut i = 0;
    while journal.segments() == 1 {
        i += 1;
        journal.append(&[batch(i, None, &[record(i, i, 300)], i)]).unwrap();
        journal.sync().unwrap();
    }
    assert_eq!(journal.spares(), 0, "the new segment took it");
    assert!(!names(&disk).iter().any(|name| name.starts_with("spare-")));
    // A job whose helper failed leaves nothing behind, and another may be asked for.
    let mut job = journal.spare_wanted().unwrap();
    assert!(job.step(&mut disk.clone(), 512).unwrap());
    journal.spare_done(job, false);
    assert!(!names(&disk).iter().any(|name| name.starts_with("spare-")));
    assert!(journal.spare_wanted().is_some());
    // More spares than are kept, as after a change of options: trimmed at the next start.
    let mut crowded = disk.fork();
    for number in 0..5u64 {
        crowded.create(&format!("spare-{:016x}.qj", (1u64 << 63) + number)).unwrap();
    }
    let (journal, found) = Journal::open(crowded.clone(), SMALL).unwrap();
    assert_eq!(found.records.len() as u64, i);
    assert_eq!(journal.spares(), SMALL.spares_max);
    let left = names(&crowded).iter().filter(|name| name.starts_with("spare-")).count();
    assert_eq!(left, SMALL.spares_max);
}

#[test]
fn files_of_random_damage_are_opened_or_refused() {
    let disk = MemDisk::new();
    let mut journal = create(&disk, SMALL);
    for i in 1..=20 {
        journal.append(&[batch(i, None, &[record(i, i, 200)], i)]).unwrap();
        journal.sync().unwrap();
    }
    let mut random = Prng::new(11);
    let mut refused = 0;
    for _ in 0..3000 {
        let mut damaged = disk.fork();
        for _ in 0..=random.below(3) {
            let all = names(&damaged);
            let name = &all[random.below(all.len() as u64) as usize];
            let mut file = damaged.open(name).unwrap();
            let len = file.len().unwrap();
            let at = random.below(len + 1);
            match random.below(4) {
                0 => file.set_len(at).unwrap(),
                1 => file.set_len(len + random.below(300)).unwrap(),
                2 => {
                    // Bytes of one place over another: a misdirected write.
                    let mut bytes = vec![0; 200];
                    let from = random.below(len.max(1)) / 8 * 8;
                    let n = file.read_at(from, &mut bytes).unwrap();
                    file.write_at(at / 8 * 8, &bytes[..n]).unwrap();
                }
                _ => {
                    let bytes: Vec<u8> = (0..16).map(|_| random.next_u64() as u8).collect();
                    file.write_at(at, &bytes).unwrap();
                }
            }
            file.sync().unwrap();
        }
        match Journal::open(damaged, SMALL) {
            Ok((_, found)) => {
                let wanted = (1..).map(|i| record(i, i, 200));
                assert!(found.records.iter().cloned().zip(wanted).all(|(a, b)| a == b));
            }
            Err(e) => {
                refused += 1;
                assert_eq!(e.kind, WalErrorKind::Corrupt, "{e}");
            }
        }
    }
    assert!(refused > 1000, "{refused} refused");
}
