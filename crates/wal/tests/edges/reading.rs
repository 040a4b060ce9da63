//! What recovery takes, refuses and does to the disk, and what it says when it refuses.

use super::watched::{
    BATCH_HEADER, KEY, ONE, OWNER, PLAIN, SEGMENT_HEADER, Watched, batch, forge, overwrite, put,
    record, segment, spare,
};
use base::crc::crc32c;
use base::{LogIndex, NodeId};
use wal::{Cut, Disk, Journal, MemDisk, Options, Owner, Recovery, WalErrorKind, set_aside, survey};

/// Two batches of one record to a segment.
const TWO: Options = Options { segment_bytes: SEGMENT_HEADER + 2 * ONE, ..PLAIN };
const ROOMY: Options = Options { segment_bytes: 2048, ..PLAIN };
/// Where the second batch of a segment is, and the third.
const SECOND: u64 = SEGMENT_HEADER + ONE;
const THIRD: u64 = SECOND + ONE;
/// Of the commit index in the header of a batch.
const COMMIT_AT: usize = 48;

/// So many records, one to a batch, each synced.
fn written(options: Options, records: u64) -> (MemDisk, Journal) {
    let disk = MemDisk::new();
    let mut journal = Journal::create(disk.clone(), options, OWNER, KEY).unwrap();
    for index in 1..=records {
        put(&mut journal, index);
        journal.sync().unwrap();
    }
    (disk, journal)
}

fn indices(found: &Recovery) -> Vec<u64> {
    found.records.iter().map(|record| record.index.0).collect()
}

/// The words of a refusal, without the long zeros of names.
fn refused(disk: &MemDisk) -> String {
    let error = Journal::open(disk.fork(), TWO).unwrap_err();
    error.to_string().replace("000000000000000", "")
}

#[test]
fn recovery_writes_again_what_no_later_batch_vouches_for_and_marks_it() {
    let (disk, journal) = written(PLAIN, 3);
    drop(journal);
    let watched = Watched::over(&disk);
    let (journal, found) = Journal::open(watched.clone(), PLAIN).unwrap();
    let steps = [
        "write segment-1 768..896",
        "sync segment-1",
        "sync directory",
        "write segment-1 896..984",
        "sync segment-1",
    ];
    assert_eq!(watched.done(), steps);
    assert_eq!((indices(&found), found.cut), (vec![1, 2, 3], None));
    assert_eq!((journal.sequence(), journal.bytes()), (4, 984));
}

#[test]
fn a_journal_that_is_opened_again_knows_its_size_over_all_segments() {
    let (disk, journal) = written(TWO, 5);
    let before = (journal.segments(), journal.bytes());
    assert_eq!(before, (3, 3 * SEGMENT_HEADER + 5 * ONE));
    drop(journal);
    let (mut journal, _) = Journal::open(disk, TWO).unwrap();
    assert_eq!((journal.segments(), journal.bytes()), (3, before.1 + BATCH_HEADER));
    assert_eq!((journal.key(), journal.owner()), (KEY, OWNER));
    // And what each holds.
    journal.release(LogIndex(1)).unwrap();
    assert_eq!(journal.segments(), 3);
    journal.release(LogIndex(2)).unwrap();
    assert_eq!(journal.segments(), 2);
}

#[test]
fn damage_to_what_a_later_batch_vouches_for_is_refused_by_place() {
    let (disk, _) = written(PLAIN, 3);
    assert!(disk.flip(&segment(1), SECOND + 100, 1));
    assert_eq!(
        refused(&disk),
        "corruption: segment-1.qj at byte 640: batch 2 is damaged; batch 3 at byte 768 vouches \
         for all up to 2"
    );
    // Batch 3 alone is nobody's.
    let (disk, _) = written(PLAIN, 3);
    assert!(disk.flip(&segment(1), THIRD + 100, 1));
    let (_, found) = Journal::open(disk, PLAIN).unwrap();
    assert_eq!(indices(&found), [1, 2]);
    assert_eq!(found.cut, Some(Cut { file: segment(1), offset: THIRD }));
}

#[test]
fn damage_at_the_end_of_a_segment_is_refused_by_the_next_one() {
    let (disk, _) = written(TWO, 3);
    assert!(disk.flip(&segment(1), SECOND + 100, 1));
    assert_eq!(
        refused(&disk),
        "corruption: segment-1.qj at byte 640: batch 2 is damaged or gone; segment-2.qj vouches \
         for all up to 2"
    );
}

#[test]
fn a_segment_follows_the_very_batch_that_it_was_begun_after() {
    let (disk, _) = written(TWO, 3);
    forge(&disk, 1, SECOND, COMMIT_AT, 1);
    assert_eq!(
        refused(&disk),
        "corruption: segment-1.qj at byte 768: its last batch, 2, is not the one that \
         segment-2.qj follows"
    );
}

#[test]
fn a_segment_must_name_the_one_before_it() {
    let (disk, _) = written(TWO, 5);
    disk.clone().lose(&segment(2)).unwrap();
    assert_eq!(
        refused(&disk),
        "corruption: segment-3.qj at byte 32: follows segment-2.qj, but segment-1.qj is the one \
         found before it"
    );
}

#[test]
fn a_segment_of_another_journal_member_or_history_is_refused() {
    let other = |owner: Owner, key: u64, size: usize| {
        let disk = MemDisk::new();
        let mut journal = Journal::create(disk.clone(), TWO, owner, key).unwrap();
        for index in 1..=3 {
            let entries = [record(index, 2, size)];
            journal.append(&[batch(2, None, &entries, 0)]).unwrap();
        }
        disk.bytes(&segment(2)).unwrap()
    };
    let said = |bytes: Vec<u8>| {
        let (disk, _) = written(TWO, 3);
        overwrite(&disk, &segment(2), 0, &bytes);
        refused(&disk)
    };
    let another = "corruption: segment-2.qj at byte 16: belongs to another journal";
    assert_eq!(said(other(OWNER, KEY + 1, 8)), another);
    assert_eq!(said(other(Owner { cluster: 8, ..OWNER }, KEY, 8)), another);
    assert_eq!(said(other(Owner { member: NodeId(4), ..OWNER }, KEY, 8)), another);
    // The same journal after other batches, as many as here.
    assert!(said(other(OWNER, KEY, 8)).starts_with("corruption: segment-1.qj at byte 768: "));
}

#[test]
fn only_the_next_batch_of_the_same_history_is_taken() {
    let (disk, _) = written(PLAIN, 2);
    let bytes = disk.bytes(&segment(1)).unwrap();
    let first = &bytes[SEGMENT_HEADER as usize..SECOND as usize];
    let cut = |disk: MemDisk| {
        let (_, found) = Journal::open(disk, PLAIN).unwrap();
        assert_eq!(indices(&found), [1]);
        assert_eq!(found.cut.map(|cut| cut.offset), Some(SECOND));
    };
    // The first batch once more where the second was.
    let twice = disk.fork();
    overwrite(&twice, &segment(1), SECOND, first);
    cut(twice);
    // The second batch of another beginning.
    let other = MemDisk::new();
    let mut journal = Journal::create(other.clone(), PLAIN, OWNER, KEY).unwrap();
    (8..10).for_each(|index| put(&mut journal, index));
    let foreign = disk.fork();
    let second = &other.bytes(&segment(1)).unwrap()[SECOND as usize..];
    overwrite(&foreign, &segment(1), SECOND, second);
    cut(foreign);
    // The right link under a sequence that skips one.
    let skips = disk.fork();
    forge(&skips, 1, SECOND, 16, 3);
    cut(skips);
}

#[test]
fn a_batch_that_vouches_for_itself_is_refused() {
    let (disk, _) = written(PLAIN, 2);
    forge(&disk, 1, SECOND, 24, 2);
    assert_eq!(
        refused(&disk),
        "corruption: segment-1.qj at byte 640: batch 2 is damaged; batch 2 at byte 640 vouches \
         for all up to 2"
    );
}

#[test]
fn a_whole_batch_of_an_unknown_version_or_kind_is_refused_and_never_cut() {
    for (field, what) in [(4, "batch version 3 kind 1"), (6, "batch version 1 kind 3")] {
        let (disk, _) = written(PLAIN, 2);
        forge(&disk, 1, SECOND, field, 3);
        let said = format!("unknown format: segment-1.qj at byte 640: {what}");
        assert_eq!(refused(&disk), said);
        let error = survey(&mut disk.fork(), LogIndex::ZERO, None).unwrap_err();
        assert_eq!(error.to_string().replace("000000000000000", ""), said);
    }
}

#[test]
fn a_segment_of_another_kind_or_version_is_refused_by_all_who_read_it() {
    let (kind, version) = ("it is not a segment: its", "segment version 2; this build reads 1");
    for (at, byte, what) in [(0, b'q', kind), (8, 2, version)] {
        let (disk, _) = written(PLAIN, 1);
        let mut header = disk.bytes(&segment(1)).unwrap()[..508].to_vec();
        header[at] = byte;
        header.extend(crc32c(&header).to_le_bytes());
        overwrite(&disk, &segment(1), 0, &header);
        let opened = Journal::open(disk.fork(), PLAIN).unwrap_err();
        assert_eq!(opened.kind, WalErrorKind::Unknown);
        assert!(opened.what.starts_with(what), "{opened}");
        assert_eq!(survey(&mut disk.fork(), LogIndex::ZERO, None), Err(opened));
    }
}

/// A file that held an earlier segment is the third one; its first batch is synced. What an
/// earlier use left is right behind it.
fn reused() -> MemDisk {
    let (disk, mut journal) = written(TWO, 4);
    journal.release(LogIndex(2)).unwrap();
    put(&mut journal, 5);
    journal.sync().unwrap();
    let bytes = disk.bytes(&segment(3)).unwrap();
    assert_eq!((bytes.len() as u64, &bytes[SECOND as usize..][..4]), (THIRD, &b"QJBT"[..]));
    disk
}

#[test]
fn old_bytes_behind_the_last_batch_of_a_file_used_before_are_no_torn_tail() {
    let (_, found) = Journal::open(reused(), TWO).unwrap();
    assert_eq!((indices(&found), found.cut), (vec![3, 4, 5], None));
    // Nor is a magic number that fell on them.
    let disk = reused();
    overwrite(&disk, &segment(3), SECOND, b"QJBT");
    let (_, found) = Journal::open(disk, TWO).unwrap();
    assert_eq!(found.cut, None);
}

#[test]
fn a_header_begun_in_a_file_used_before_is_wiped_once_and_reported() {
    let begun = |disk: &MemDisk| {
        let head = [&b"QJBT\x01\0\x01\0"[..], &3_u64.to_le_bytes()].concat();
        overwrite(disk, &segment(3), SECOND, &head);
    };
    // A whole header whose body never arrived.
    let bodiless = |disk: &MemDisk| {
        let (mut journal, _) = Journal::open(disk.clone(), ROOMY).unwrap();
        put(&mut journal, 6);
        let at = journal.bytes() - SEGMENT_HEADER - 2 * ONE - 1;
        overwrite(disk, &segment(3), at, b"x");
    };
    for (torn, at) in [(&begun as &dyn Fn(&MemDisk), SECOND), (&bodiless, SECOND + BATCH_HEADER)] {
        let disk = reused();
        torn(&disk);
        let watched = Watched::over(&disk);
        let (_, found) = Journal::open(watched.clone(), ROOMY).unwrap();
        assert_eq!(indices(&found), [3, 4, 5]);
        assert_eq!(found.cut, Some(Cut { file: segment(3), offset: at }));
        let wipe = format!("write segment-3 {at}..{}", at + BATCH_HEADER);
        // The mark of this start is in the same place.
        assert_eq!(watched.done().iter().filter(|step| **step == wipe).count(), 2);
        let (_, again) = Journal::open(disk, ROOMY).unwrap();
        assert_eq!(again.cut, None);
    }
}

#[test]
fn what_is_not_of_this_journal_is_set_aside_durably_and_counted() {
    let (mut disk, journal) = written(TWO, 3);
    drop(journal);
    let other = MemDisk::new();
    drop(Journal::create(other.clone(), TWO, OWNER, KEY + 1).unwrap());
    for generation in [3, 4] {
        disk.create(&segment(generation)).unwrap();
    }
    overwrite(&disk, &segment(3), 0, &other.bytes(&segment(1)).unwrap());
    overwrite(&disk, &segment(4), 0, b"QJSEG");
    for name in [spare(9), "spare-9.qj".into(), "notes".into()] {
        disk.create(&name).unwrap();
    }
    disk.sync_dir().unwrap();
    let aside = |generation| format!("{}.damaged-1", segment(generation));
    let left = ["notes".into(), segment(1), segment(2), aside(3), aside(4), "spare-9.qj".into()];
    for _ in 0..2 {
        assert_eq!(set_aside(&mut disk, KEY, ".damaged-1").unwrap(), 2);
        assert_eq!(disk.list().unwrap(), left);
        assert!((0..9).all(|seed| disk.crash(seed).list().unwrap() == left), "durable");
    }
    let (_, found) = Journal::open(disk.fork(), TWO).unwrap();
    assert_eq!(indices(&found), [1, 2, 3]);
    assert_eq!(set_aside(&mut disk, KEY + 2, ".damaged-2").unwrap(), 0);
}
