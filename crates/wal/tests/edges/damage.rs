//! What a survey says of one kind of damage at a time.

use super::watched::{
    BATCH_HEADER, KEY, ONE, OWNER, PLAIN, SEGMENT_HEADER, batch, overwrite, put, record, segment,
};
use base::{Ballot, LogIndex};
use wal::{Journal, MemDisk, Options, Record, Sealed, Survey, survey};

const KNOWN: Option<Sealed> = Some((KEY, OWNER));
/// Where the second batch of a segment of batches with one record is, and the third.
const SECOND: u64 = SEGMENT_HEADER + ONE;
const THIRD: u64 = SECOND + ONE;

fn look(disk: &MemDisk, known: Option<Sealed>) -> Survey {
    survey(&mut disk.fork(), LogIndex::ZERO, known).unwrap()
}

fn indices(found: &Survey) -> Vec<u64> {
    found.records.iter().map(|record| record.index.0).collect()
}

fn proven(found: &Survey) -> Result<(Ballot, u64), &str> {
    let proven = found.proven.as_ref().map_err(String::as_str)?;
    assert_eq!(proven.owner, OWNER);
    Ok((proven.ballot, proven.index.0))
}

const OPEN: &str = "how far the last batches went is lost with their headers";
const FIRST: Ballot = Ballot::new(1, 1);

/// Two records to a segment, one to a batch, six in all, and a mark in the last segment.
fn three_segments() -> MemDisk {
    let disk = MemDisk::new();
    let options = Options { segment_bytes: SEGMENT_HEADER + 2 * ONE, ..PLAIN };
    let mut journal = Journal::create(disk.clone(), options, OWNER, KEY).unwrap();
    (1..=6).for_each(|index| put(&mut journal, index));
    assert_eq!(journal.segments(), 3);
    drop(journal);
    Journal::open(disk.clone(), PLAIN).unwrap();
    disk
}

#[test]
fn a_whole_journal_is_surveyed_as_it_was_written() {
    let found = look(&three_segments(), None);
    assert_eq!(indices(&found), [1, 2, 3, 4, 5, 6]);
    assert_eq!(proven(&found), Ok((FIRST, 6)));
}

#[test]
fn records_count_up_to_the_first_damage_in_whichever_segment() {
    for (generation, at, before) in [
        (1, SECOND, vec![1]),
        (2, SEGMENT_HEADER, vec![1, 2]),
        (2, SECOND + BATCH_HEADER, vec![1, 2, 3]),
        (3, SEGMENT_HEADER, vec![1, 2, 3, 4]),
        (3, SECOND, vec![1, 2, 3, 4, 5]),
    ] {
        let disk = three_segments();
        assert!(disk.flip(&segment(generation), at, 1));
        assert_eq!(indices(&look(&disk, None)), before, "segment {generation} byte {at}");
    }
}

#[test]
fn records_behind_a_lost_segment_or_a_lost_header_of_one_do_not_count() {
    let disk = three_segments();
    disk.clone().lose(&segment(2)).unwrap();
    let found = look(&disk, None);
    assert_eq!((indices(&found), proven(&found)), (vec![1, 2], Ok((FIRST, 6))));
    for (generation, before) in [(1, vec![]), (2, vec![1, 2]), (3, vec![1, 2, 3, 4])] {
        let disk = three_segments();
        assert!(disk.flip(&segment(generation), 9, 1));
        let found = look(&disk, KNOWN);
        assert_eq!((indices(&found), proven(&found)), (before, Ok((FIRST, 6))), "{generation}");
    }
}

#[test]
fn segments_of_two_journals_prove_nothing() {
    let disk = three_segments();
    let other = MemDisk::new();
    let options = Options { segment_bytes: SEGMENT_HEADER + 2 * ONE, ..PLAIN };
    let mut journal = Journal::create(other.clone(), options, OWNER, KEY + 1).unwrap();
    (1..=4).for_each(|index| put(&mut journal, index));
    overwrite(&disk, &segment(2), 0, &other.bytes(&segment(2)).unwrap());
    let found = look(&disk, KNOWN);
    assert_eq!(proven(&found), Err("the segments belong to different journals"));
}

/// One batch for each of these, the terms counting up from one; and a mark.
fn batches(of: &[&[Record]]) -> (MemDisk, Vec<u64>) {
    let disk = MemDisk::new();
    let mut journal = Journal::create(disk.clone(), PLAIN, OWNER, KEY).unwrap();
    let mut places = Vec::new();
    for (at, entries) in of.iter().enumerate() {
        places.push(journal.bytes());
        journal.append(&[batch(at as u64 + 1, None, entries, 0)]).unwrap();
    }
    journal.mark().unwrap();
    (disk, places)
}

#[test]
fn without_its_header_a_first_segment_may_have_lost_its_first_batches() {
    let vote = || batches(&[&[]]).0;
    let ahead = vote();
    assert!(ahead.flip(&segment(1), 9, 1));
    assert_eq!(proven(&look(&ahead, KNOWN)), Ok((FIRST, 0)), "the vote is right at the front");
    let (behind, places) = batches(&[&[record(1, 1, 8)]]);
    assert!(behind.flip(&segment(1), 9, 1));
    assert_eq!(proven(&look(&behind, KNOWN)), Ok((FIRST, 1)));
    assert!(behind.flip(&segment(1), places[0], 1));
    assert_eq!(proven(&look(&behind, KNOWN)), Err(OPEN), "only its mark is left");
}

#[test]
fn damaged_bodies_behind_lost_batches_are_not_counted_from_an_old_end() {
    let ten: Vec<Record> = (2..=11).map(|index| record(index, 2, 8)).collect();
    let (one, three, four) = ([record(1, 1, 8)], [record(12, 3, 8)], [record(13, 4, 8)]);
    let (disk, places) = batches(&[&one, &ten, &three, &four]);
    assert_eq!(proven(&look(&disk, None)), Ok((Ballot::new(4, 1), 13)));
    // The two last bodies alone: their headers count them.
    for batch in [2, 3] {
        assert!(disk.flip(&segment(1), places[batch] + BATCH_HEADER, 1));
    }
    let found = look(&disk, None);
    assert_eq!(proven(&found), Ok((Ballot::new(4, 1), 13)));
    assert_eq!(found.records.len(), 11);
    // With the ten gone nobody knows where they began.
    assert!(disk.flip(&segment(1), places[1], 1));
    let found = look(&disk, None);
    assert_eq!((indices(&found), proven(&found)), (vec![1], Err(OPEN)));
}

#[test]
fn a_batch_of_no_records_that_is_gone_leaves_the_reach_proven() {
    // A header and nothing else fits where the vote was.
    let (one, three) = ([record(1, 1, 8)], [record(2, 3, 8)]);
    let (disk, places) = batches(&[&one, &[], &three]);
    assert!(disk.flip(&segment(1), places[1], 1));
    let found = look(&disk, None);
    assert_eq!((indices(&found), proven(&found)), (vec![1], Ok((Ballot::new(3, 1), 2))));
}

#[test]
fn old_bytes_end_a_file_used_before_and_a_header_begun_there_does_not() {
    let disk = MemDisk::new();
    let options = Options { segment_bytes: SEGMENT_HEADER + 2 * ONE, ..PLAIN };
    let mut journal = Journal::create(disk.clone(), options, OWNER, KEY).unwrap();
    (1..=4).for_each(|index| put(&mut journal, index));
    journal.release(LogIndex(2)).unwrap();
    put(&mut journal, 5);
    let used = segment(3);
    assert_eq!(disk.bytes(&used).unwrap().len() as u64, THIRD);
    // Damage elsewhere, as whoever asks for a survey has it.
    assert!(disk.flip(&segment(2), SECOND + BATCH_HEADER, 1));
    assert_eq!(proven(&look(&disk, None)), Ok((FIRST, 5)));
    let head = [&b"QJBT\x01\0\x01\0"[..], &3_u64.to_le_bytes()].concat();
    overwrite(&disk, &used, SECOND, &head);
    let what = format!("{used} ends in something that cannot be read");
    assert_eq!(proven(&look(&disk, None)), Err(what.as_str()));
}

#[test]
fn zeros_ahead_end_a_new_file_and_anything_else_there_does_not() {
    let disk = three_segments();
    let end = disk.bytes(&segment(3)).unwrap().len() as u64;
    overwrite(&disk, &segment(3), end, &[0; 100]);
    assert_eq!(proven(&look(&disk, None)), Ok((FIRST, 6)));
    overwrite(&disk, &segment(3), end + 99, b"x");
    let what = format!("{} ends in something that cannot be read", segment(3));
    assert_eq!(proven(&look(&disk, None)), Err(what.as_str()));
    // Behind an earlier segment it is only damage.
    let disk = three_segments();
    overwrite(&disk, &segment(2), THIRD + 99, b"x");
    assert_eq!(proven(&look(&disk, None)), Ok((FIRST, 6)));
}
