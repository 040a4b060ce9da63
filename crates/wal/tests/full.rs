//! A journal on a disk that runs full: nothing is lost, nothing is poisoned, and it goes on.

use base::{Ballot, Blob, LogIndex, NodeId, Prng};
use wal::{Batch, Journal, MemDisk, Options, Owner, Record, WalErrorKind};

const OWNER: Owner = Owner { cluster: 7, member: NodeId(3) };
const OPTIONS: [Options; 3] = [
    Options { segment_bytes: 2048, prefill_bytes: 512, spares_max: 1 },
    Options { segment_bytes: 2048, prefill_bytes: 0, spares_max: 2 },
    Options { segment_bytes: 4096, prefill_bytes: 4096, spares_max: 1 },
];

fn record(index: u64, size: u64) -> Record {
    let payload = Blob::from(vec![index as u8; size as usize]);
    Record { kind: 1, index: LogIndex(index), ballot: Ballot::new(1, 1), payload }
}

fn batch(entries: &[Record]) -> Batch<'_> {
    let commit = LogIndex::ZERO;
    Batch { ballot: Ballot::new(1, 1), truncate_from: None, entries, commit }
}

/// Has a spare made, as far as there is room.
fn spare(journal: &mut Journal, disk: &MemDisk) {
    let Some(mut job) = journal.spare_wanted() else { return };
    let mut disk = disk.clone();
    let done = loop {
        match job.step(&mut disk, 700) {
            Ok(true) => {}
            end => break end.is_ok(),
        }
    };
    journal.spare_done(job, done);
}

/// Power is lost, and the disk may be full when it comes back: the journal, the last record of it,
/// and whether the disk is full. What was synced and is not released is there, and no more than
/// what was attempted.
fn crash(
    p: &mut Prng,
    disk: &mut MemDisk,
    options: Options,
    (released, synced, attempted): (u64, u64, u64),
) -> (Journal, u64, bool) {
    *disk = disk.crash(p.next_u64());
    let room = [None, Some(0), Some(p.below(200))][p.below(3) as usize];
    disk.set_room(room);
    let (journal, found) = Journal::open(disk.clone(), options).expect("a start needs no room");
    let there: Vec<u64> = found.records.iter().map(|r| r.index.0).collect();
    let Some((first, end)) = there.first().copied().zip(there.last().copied()) else {
        assert!(synced <= released, "{synced} of nothing");
        return (journal, synced.max(released), room == Some(0));
    };
    assert!(first <= released + 1 && there.iter().copied().eq(first..=end), "{there:?}");
    assert!(synced <= end && end <= attempted, "{synced} to {attempted} of {there:?}");
    (journal, end, room == Some(0))
}

#[test]
fn what_finds_no_room_is_written_once_there_is_some_and_nothing_is_lost_meanwhile() {
    let (mut waited, mut on_full, mut crashes) = (0, 0, 0);
    for seed in 0..400 {
        let mut p = Prng::new(seed);
        let options = OPTIONS[p.below(3) as usize];
        let mut disk = MemDisk::new();
        let mut journal = Journal::create(disk.clone(), options, OWNER, 7).expect("room");
        // Appended, synced, and covered by a checkpoint.
        let (mut last, mut synced, mut released) = (0, 0, 0);
        let mut waiting: Vec<Record> = Vec::new();
        for _ in 0..120 {
            match p.below(16) {
                0 => disk.set_room(Some(p.below(900))),
                1 | 2 => disk.set_room(None),
                3 => spare(&mut journal, &disk),
                4 => journal.keep_spares(p.below(2) == 0).expect("they go"),
                5 if synced > released => {
                    released += p.below(synced - released) + 1;
                    journal.release(LogIndex(released)).expect("it needs no room");
                }
                6 => match journal.mark() {
                    Ok(()) => synced = last,
                    Err(error) => assert_eq!(error.kind, WalErrorKind::NoRoom, "{error}"),
                },
                7 => drop(journal.prefill(300).expect("it is no error")),
                8 if p.below(3) == 0 => {
                    let attempted = last + waiting.len() as u64;
                    drop(journal);
                    let told = (released, synced, attempted);
                    let (again, end, full) = crash(&mut p, &mut disk, options, told);
                    (crashes, on_full) = (crashes + 1, on_full + u64::from(full));
                    (journal, last, synced) = (again, end, end);
                    waiting.clear();
                }
                _ => {
                    if waiting.is_empty() {
                        let (n, size) = (1 + p.below(3), p.below(700));
                        waiting = (1..=n).map(|n| record(last + n, size)).collect();
                    }
                    let batches: Vec<_> =
                        waiting.iter().map(|r| batch(std::slice::from_ref(r))).collect();
                    match journal.append(&batches) {
                        Ok(()) => {
                            last += waiting.len() as u64;
                            waiting.clear();
                            if p.below(3) > 0 {
                                journal.sync().expect("it syncs");
                                synced = last;
                            }
                        }
                        Err(error) => {
                            assert_eq!(error.kind, WalErrorKind::NoRoom, "{error}");
                            waited += 1;
                        }
                    }
                }
            }
        }
    }
    assert!(waited > 1_000 && on_full > 100 && crashes > 500, "{waited} {on_full} {crashes}");
}
