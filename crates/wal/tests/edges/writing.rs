//! What the journal does to the disk, and when it does nothing.

use super::watched::{
    KEY, ONE, OWNER, PLAIN, SEGMENT_HEADER, Watched, batch, put, record, segment, spare,
};
use base::{Blob, LogIndex};
use wal::{Disk, Journal, MemDisk, Options, WalErrorKind};

fn watched(options: Options) -> (Watched, Journal) {
    let disk = Watched::default();
    let journal = Journal::create(disk.clone(), options, OWNER, KEY).unwrap();
    disk.done();
    (disk, journal)
}

fn len(disk: &Watched, name: &str) -> u64 {
    disk.disk.bytes(name).map_or(0, |bytes| bytes.len() as u64)
}

#[test]
fn a_segment_gets_its_name_after_its_header_is_durable() {
    let disk = Watched::default();
    let options = Options { segment_bytes: 4096, prefill_bytes: 1024, spares_max: 1 };
    let journal = Journal::create(disk.clone(), options, OWNER, KEY).unwrap();
    let steps = [
        "create spare-1",
        "write spare-1 0..512",
        "write spare-1 512..1024",
        "sync spare-1",
        "rename spare-1 segment-1",
        "sync directory",
    ];
    assert_eq!(disk.done(), steps);
    assert_eq!((journal.key(), journal.owner(), journal.sequence()), (KEY, OWNER, 0));
    assert_eq!((journal.segments(), journal.bytes()), (1, SEGMENT_HEADER));
}

#[test]
fn an_append_is_one_write_and_syncs_and_marks_without_news_are_nothing() {
    let (disk, mut journal) = watched(PLAIN);
    let (one, two) = ([record(1, 1, 8)], [record(2, 1, 8)]);
    journal.append(&[batch(1, None, &one, 0), batch(1, None, &two, 1)]).unwrap();
    assert_eq!(disk.done(), ["write spare-1 512..768"]);
    assert_eq!((journal.sequence(), journal.bytes()), (2, 768));
    journal.append(&[]).unwrap();
    assert!(disk.done().is_empty());
    journal.sync().unwrap();
    assert_eq!(disk.done(), ["sync spare-1"]);
    journal.sync().unwrap();
    assert!(disk.done().is_empty(), "it was durable");
    journal.mark().unwrap();
    assert_eq!(disk.done(), ["write spare-1 768..856", "sync spare-1"]);
    assert_eq!(journal.sequence(), 3);
    journal.mark().unwrap();
    assert!(disk.done().is_empty(), "a mark needs no mark");
}

#[test]
fn a_commit_index_heard_of_is_marked_without_a_sync_when_it_is_new() {
    let (disk, mut journal) = watched(PLAIN);
    journal.append(&[batch(1, None, &[record(1, 1, 8)], 1)]).unwrap();
    journal.mark().unwrap();
    disk.done();
    for old in [0, 1] {
        journal.know(LogIndex(old));
        journal.mark().unwrap();
        assert!(disk.done().is_empty(), "{old} is stated");
    }
    journal.know(LogIndex(5));
    journal.know(LogIndex(4));
    journal.mark().unwrap();
    assert_eq!(disk.done(), ["write spare-1 728..816"]);
    drop(journal);
    let (_, found) = Journal::open(disk.disk.fork(), PLAIN).unwrap();
    assert_eq!(found.commit, LogIndex(5));
}

#[test]
fn what_was_known_is_in_the_next_segment_header() {
    let options = Options { segment_bytes: SEGMENT_HEADER + ONE, ..PLAIN };
    let (disk, mut journal) = watched(options);
    put(&mut journal, 1);
    journal.know(LogIndex(1));
    put(&mut journal, 2);
    assert_eq!(journal.segments(), 2);
    journal.mark().unwrap();
    journal.release(LogIndex(1)).unwrap();
    drop(journal);
    let (_, found) = Journal::open(disk.disk.fork(), options).unwrap();
    assert_eq!((found.commit, found.records), (LogIndex(1), vec![record(2, 1, 8)]));
}

#[test]
fn the_next_segment_begins_when_an_append_would_pass_the_size_and_no_sooner() {
    let full = Options { segment_bytes: SEGMENT_HEADER + 2 * ONE, ..PLAIN };
    for (options, segments) in
        [(full, 1), (Options { segment_bytes: full.segment_bytes - 1, ..full }, 2)]
    {
        let (_, mut journal) = watched(options);
        put(&mut journal, 1);
        put(&mut journal, 2);
        assert_eq!(journal.segments(), segments);
        assert_eq!(journal.bytes(), segments as u64 * SEGMENT_HEADER + 2 * ONE);
    }
    // All batches of one append are in one segment.
    let (_, mut journal) = watched(full);
    put(&mut journal, 1);
    let (two, three) = ([record(2, 1, 8)], [record(3, 1, 8)]);
    journal.append(&[batch(1, None, &two, 0), batch(1, None, &three, 0)]).unwrap();
    assert_eq!((journal.segments(), journal.bytes()), (2, 2 * SEGMENT_HEADER + 3 * ONE));
}

#[test]
fn a_batch_larger_than_a_segment_is_in_the_first_one_that_is_empty() {
    let (_, mut journal) = watched(Options { segment_bytes: 1024, ..PLAIN });
    let large = |index| [record(index, 1, 1000)];
    journal.append(&[batch(1, None, &large(1), 0)]).unwrap();
    assert_eq!(journal.segments(), 1);
    journal.append(&[batch(1, None, &large(2), 0)]).unwrap();
    assert_eq!(journal.segments(), 2);
}

#[test]
fn all_before_a_segment_is_durable_before_it_begins() {
    let (disk, mut journal) = watched(Options { segment_bytes: SEGMENT_HEADER + ONE, ..PLAIN });
    put(&mut journal, 1);
    disk.done();
    put(&mut journal, 2);
    let steps = [
        "sync spare-1",
        "create spare-2",
        "write spare-2 0..512",
        "sync spare-2",
        "rename spare-2 segment-2",
        "sync directory",
        "write spare-2 512..640",
    ];
    assert_eq!(disk.done(), steps);
}

#[test]
fn appends_write_zeros_ahead_in_steps_and_never_past_the_segment() {
    let options = Options { segment_bytes: 512 + 11 * ONE, prefill_bytes: 4 * ONE, spares_max: 1 };
    let (disk, mut journal) = watched(options);
    let lens: Vec<u64> = (1..=12)
        .map(|index| {
            put(&mut journal, index);
            let name = segment(journal.segments() as u64);
            len(&disk, &name)
        })
        .collect();
    // In batches of this size: one and four ahead; the sixth finds none left, and the eleventh
    // finds that four more would not fit.
    let ends = [5, 5, 5, 5, 5, 10, 10, 10, 10, 10, 11, 5];
    assert_eq!(lens, ends.map(|n| 512 + n * ONE));
    assert_eq!(journal.segments(), 2);
    // Zeros are where no batch is yet, and only there.
    let bytes = disk.disk.bytes(&segment(2)).unwrap();
    assert!(bytes[(512 + ONE) as usize..].iter().all(|byte| *byte == 0));
    let (_, found) = Journal::open(disk.disk.fork(), options).unwrap();
    assert_eq!((found.records.len(), found.cut), (12, None));
}

#[test]
fn without_zeros_ahead_a_file_ends_with_its_last_batch() {
    let (disk, mut journal) = watched(PLAIN);
    for index in 1..=3 {
        put(&mut journal, index);
        assert_eq!(len(&disk, &segment(1)), journal.bytes());
    }
    disk.done();
    assert!(!journal.prefill(4096).unwrap(), "never asked for");
    assert!(disk.done().is_empty());
    journal.sync().unwrap();
    journal.sync().unwrap();
    assert_eq!(disk.done(), ["sync spare-1"]);
}

#[test]
fn idle_moments_fill_the_segment_to_its_end_and_then_do_nothing() {
    let options = Options { segment_bytes: 2048, prefill_bytes: 512, spares_max: 1 };
    let (disk, mut journal) = watched(options);
    assert!(journal.prefill(1000).unwrap());
    assert_eq!(disk.done(), ["write spare-1 512..1512"]);
    journal.sync().unwrap();
    assert_eq!(disk.done(), ["sync spare-1"], "a new length is worth a sync");
    assert!(!journal.prefill(536).unwrap(), "that was the rest");
    assert_eq!(disk.done(), ["write spare-1 1512..2048"]);
    journal.sync().unwrap();
    disk.done();
    assert!(!journal.prefill(1000).unwrap());
    journal.sync().unwrap();
    assert!(disk.done().is_empty());
    put(&mut journal, 1);
    assert_eq!(disk.done(), ["write spare-1 512..640"], "the zeros are there");
}

#[test]
fn long_runs_of_zeros_are_written_in_pieces() {
    let options = Options { segment_bytes: 200_000, prefill_bytes: 512, spares_max: 1 };
    let (disk, mut journal) = watched(options);
    assert!(!journal.prefill(u64::MAX).unwrap());
    let pieces = ["512..66048", "66048..131584", "131584..197120", "197120..200000"];
    assert_eq!(disk.done(), pieces.map(|piece| format!("write spare-1 {piece}")));
    assert_eq!(len(&disk, &segment(1)), 200_000);
}

/// A segment for each record, all synced.
fn one_each(spares_max: usize, records: u64) -> (Watched, Journal) {
    let options = Options { segment_bytes: SEGMENT_HEADER + ONE, prefill_bytes: 0, spares_max };
    let (disk, mut journal) = watched(options);
    for index in 1..=records {
        put(&mut journal, index);
    }
    journal.sync().unwrap();
    assert_eq!(journal.segments() as u64, records);
    disk.done();
    (disk, journal)
}

#[test]
fn segments_up_to_an_index_are_released_oldest_first_and_so_many_are_kept() {
    let (disk, mut journal) = one_each(1, 4);
    journal.release(LogIndex(0)).unwrap();
    assert!(disk.done().is_empty());
    journal.release(LogIndex(2)).unwrap();
    let steps =
        ["rename segment-1 spare-1", "sync directory", "remove segment-2", "sync directory"];
    assert_eq!(disk.done(), steps);
    assert_eq!((journal.segments(), journal.spares()), (2, 1));
    journal.release(LogIndex(9)).unwrap();
    assert_eq!(journal.segments(), 1, "the last one is being written");

    let (disk, mut journal) = one_each(0, 2);
    journal.release(LogIndex(1)).unwrap();
    assert_eq!(disk.done(), ["remove segment-1", "sync directory"]);
    assert_eq!(journal.spares(), 0);
}

#[test]
fn records_that_are_void_keep_no_segment_once_their_truncation_is_durable() {
    for (from, upto) in [(1, 0), (2, 1), (3, 2)] {
        let (disk, mut journal) = one_each(1, 1);
        let options = Options { segment_bytes: 2100, ..PLAIN };
        drop(journal);
        (journal, _) = Journal::open(disk.clone(), options).unwrap();
        journal.append(&[batch(1, None, &[record(2, 1, 8), record(3, 1, 1200)], 0)]).unwrap();
        journal.append(&[batch(2, Some(from), &[], 0)]).unwrap();
        assert_eq!(journal.segments(), 2);
        disk.done();
        if upto > 0 {
            journal.release(LogIndex(upto - 1)).unwrap();
            assert_eq!(disk.done(), [""; 0], "{upto} is live");
        }
        journal.release(LogIndex(upto)).unwrap();
        let steps = ["sync spare-2", "rename segment-1 spare-1", "sync directory"];
        assert_eq!(disk.done(), steps, "cut from {from}");
    }
}

/// Byte 100 of a segment: its file held another one.
fn recycled(disk: &Watched, generation: u64) -> bool {
    disk.disk.bytes(&segment(generation)).unwrap()[100] == 1
}

#[test]
fn only_a_released_file_is_used_as_one_that_holds_old_bytes() {
    let (disk, mut journal) = one_each(1, 2);
    journal.release(LogIndex(1)).unwrap();
    disk.done();
    put(&mut journal, 3);
    assert_eq!(journal.spares(), 0, "the spare is used up");
    let begun = ["sync spare-2", "write spare-1 0..512", "sync spare-1"];
    assert_eq!(disk.done()[..3], begun, "not emptied");
    assert!(!recycled(&disk, 2) && recycled(&disk, 3));

    let options = Options { prefill_bytes: 256, segment_bytes: 1024, spares_max: 1 };
    let (disk, mut journal) = watched(options);
    let mut job = journal.spare_wanted().unwrap();
    assert!(!job.step(&mut disk.clone(), u64::MAX).unwrap());
    journal.spare_done(job, true);
    assert_eq!(disk.disk.bytes(&spare(1 << 63)), Some(vec![0; 1024]));
    while journal.segments() == 1 {
        put(&mut journal, 1);
    }
    assert_eq!(len(&disk, &segment(2)), 1024);
    assert!(!recycled(&disk, 2), "one made ahead was all zeros");
}

#[test]
fn a_spare_is_wanted_only_where_it_can_be_kept_and_none_is_there() {
    let kept = Options { segment_bytes: 1024, prefill_bytes: 256, spares_max: 1 };
    let wants = |options| watched(options).1.spare_wanted().is_some();
    assert!(wants(kept));
    assert!(wants(Options { prefill_bytes: 1, ..kept }));
    assert!(!wants(Options { prefill_bytes: 0, ..kept }));
    assert!(!wants(Options { spares_max: 0, ..kept }));
    let (disk, mut journal) = watched(kept);
    put(&mut journal, 1);
    disk.disk.fail_from(0);
    journal.sync().unwrap_err();
    disk.disk.fail_from(u64::MAX);
    assert!(journal.spare_wanted().is_none(), "poisoned");
    let (disk, mut journal) = watched(kept);
    let mut job = journal.spare_wanted().unwrap();
    while job.step(&mut disk.clone(), 100).unwrap() {}
    journal.spare_done(job, true);
    assert!(journal.spare_wanted().is_none(), "one is ready");
}

#[test]
fn a_spare_that_is_not_whole_or_one_too_many_is_removed() {
    let options = Options { segment_bytes: 1024, prefill_bytes: 256, spares_max: 1 };
    let (disk, mut journal) = watched(options);
    let mut job = journal.spare_wanted().unwrap();
    assert!(job.step(&mut disk.clone(), 1023).unwrap(), "a byte is left");
    journal.spare_done(job, true);
    assert_eq!((journal.spares(), disk.disk.bytes(&spare(1 << 63))), (0, None));
    // The number is not used again.
    let mut job = journal.spare_wanted().unwrap();
    while job.step(&mut disk.clone(), 512).unwrap() {}
    let second = spare((1 << 63) + 1);
    assert_eq!(disk.disk.bytes(&second).unwrap().len(), 1024);
    // A segment was released while it was made.
    while journal.segments() == 1 {
        put(&mut journal, 1);
    }
    journal.release(LogIndex(1)).unwrap();
    assert_eq!(journal.spares(), 1);
    journal.spare_done(job, true);
    assert_eq!((journal.spares(), disk.disk.bytes(&second)), (1, None));
}

#[test]
fn spares_found_at_the_start_are_kept_and_new_ones_numbered_behind_them() {
    let options = Options { segment_bytes: 1024, prefill_bytes: 256, spares_max: 1 };
    for (found, next) in [(3, 1 << 63), ((1 << 63) + 4, (1 << 63) + 5)] {
        let (mut disk, journal) = watched(options);
        drop(journal);
        disk.create(&spare(found)).unwrap();
        let (mut journal, _) = Journal::open(disk.clone(), options).unwrap();
        assert_eq!(journal.spares(), 1);
        while journal.segments() == 1 {
            put(&mut journal, 1);
        }
        assert_eq!(journal.spares(), 0);
        let mut job = journal.spare_wanted().unwrap();
        assert!(job.step(&mut disk.clone(), 1).unwrap());
        assert_eq!(len(&disk, &spare(next)), 1);
    }
}

#[test]
fn what_is_too_large_is_refused_by_name_and_harms_nothing() {
    let (disk, mut journal) = watched(PLAIN);
    put(&mut journal, 1);
    disk.done();
    let payload = Blob::from(vec![0; base::limits::RECORD_BYTES_MAX + 1]);
    let large = wal::Record { payload, ..record(2, 1, 0) };
    let error = journal.append(&[batch(1, None, &[large], 0)]).unwrap_err();
    assert_eq!((error.kind, error.offset), (WalErrorKind::TooLarge, SEGMENT_HEADER + ONE));
    assert_eq!(
        error.to_string(),
        "too large: segment-0000000000000001.qj at byte 640: payload of 268435457 bytes; at most \
         268435456"
    );
    assert!(disk.done().is_empty());
    put(&mut journal, 2);
}

#[test]
fn errors_say_what_was_being_done_to_which_file_and_later_ones_repeat_the_first() {
    let (disk, mut journal) = watched(PLAIN);
    put(&mut journal, 1);
    disk.disk.fail_from(0);
    let first = journal.sync().unwrap_err();
    let at = "segment-0000000000000001.qj at byte 640: sync: planned disk failure";
    assert_eq!(first.to_string(), format!("disk error: {at}"));
    let later = journal.append(&[]).unwrap_err();
    assert_eq!(later.to_string(), format!("poisoned: {at}"));
}

#[test]
fn a_directory_with_a_journal_or_without_one_is_refused_by_name() {
    let disk = MemDisk::new();
    let missing = Journal::open(disk.clone(), PLAIN).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "missing: segment-0000000000000001.qj at byte 0: no segment; was the directory emptied?"
    );
    // What others put there is none.
    disk.clone().create("segment-1.qj").unwrap();
    Journal::create(disk.clone(), PLAIN, OWNER, KEY).unwrap();
    let exists = Journal::create(disk, PLAIN, OWNER, KEY).unwrap_err();
    assert_eq!(
        exists.to_string(),
        "exists already: segment-0000000000000001.qj at byte 0: a journal is here already; open \
         it instead"
    );
}

#[test]
fn a_journal_shows_where_it_stands_and_nothing_of_what_it_holds() {
    let (_, mut journal) = watched(PLAIN);
    put(&mut journal, 1);
    let shown = format!("{journal:?}");
    assert!(shown.contains("offset: 640, sequence: 1, synced: 0"), "{shown}");
    assert!(!shown.contains("65261"), "no key: {shown}");
}

#[test]
fn a_disk_in_a_box_does_what_the_disk_does() {
    let disk = MemDisk::new();
    let mut boxed: Box<dyn Disk> = Box::new(disk.clone());
    boxed.create(&spare(1)).unwrap();
    boxed.rename(&spare(1), &spare(2)).unwrap();
    assert_eq!(boxed.list().unwrap(), [spare(2)]);
    boxed.sync_dir().unwrap();
    assert_eq!(disk.crash(0).list().unwrap(), [spare(2)]);
    boxed.open(&spare(1)).err().unwrap();
    let ours = wal::SPARE.own(&spare(2)).unwrap();
    boxed.remove(&ours).unwrap();
    assert!(boxed.list().unwrap().is_empty());
}
