//! The journal lane of one member: what is written together, synced once, reported durable and
//! released, and when the journal vouches for its last batch.
//!
//! A shell takes jobs into the lane until it is full or no more have queued up, then lets it
//! [`Lane::write`], [`Lane::sync`] and [`Lane::settle`], in this order; after [`Lane::patience`]
//! without a job, [`Lane::idle`]. Each may take as long as a disk takes.
//!
//! Where a write finds no room nothing was taken by the disk: [`Lane::make_room`], a pause of
//! [`ROOM_PAUSE`], and the same is written again. Nothing of it is reported before.
//!
//! Any other error poisons: the member stops. A failed `fdatasync` is never tried again, because
//! the kernel may have dropped the very pages it failed to write.

use base::codec::DecodeError;
use base::limits::WRITE_BYTES_MAX;
use base::{LogIndex, Nanos, Ticket, planted};
use consensus::raft::{Entry, EntryKind, Persist};
use std::collections::VecDeque;
use wal::{Batch, Journal, Record, SpareJob, WalError};

/// Silence after which the journal vouches for its last batch and writes zeros ahead.
const IDLE: Nanos = Nanos::from_millis(50);
/// Before a write that found no room is tried again.
pub const ROOM_PAUSE: Nanos = Nanos::from_millis(100);
/// Zeros written ahead at once when idle.
const PREFILL_BYTES: u64 = 256 << 10;
/// A journal of this many bytes is busy enough to have its next segment made ahead.
const SPARE_FROM_BYTES: u64 = 32 << 20;

/// What the lane is asked for, in order.
#[derive(Clone, Debug)]
pub enum Job {
    Persist(Persist),
    /// A durable checkpoint covers everything up to here.
    Release(LogIndex),
    /// All up to here is committed, and is all there is: the next mark says so.
    Know(LogIndex),
}

/// What one sync made durable.
#[derive(Debug)]
pub struct Durable {
    /// In order; not empty.
    pub persists: Vec<Persist>,
    /// Size of the live journal.
    pub journal_bytes: u64,
}

impl Durable {
    /// The last ticket; it covers all before it.
    pub fn ticket(&self) -> Ticket {
        self.persists.last().expect("something was written").ticket
    }
}

/// The journal of one member and the write under way.
#[derive(Debug)]
pub struct Lane {
    journal: Journal,
    /// Taken for this write, in order, and their bytes.
    persists: Vec<Persist>,
    bytes: usize,
    /// For later writes: taken while one waits for room.
    behind: VecDeque<Persist>,
    release: Option<LogIndex>,
    known: Option<LogIndex>,
    stage: Stage,
    /// Nothing is left to do in silence.
    at_rest: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Gathering,
    Written,
    /// And whether anything was written at all.
    Synced(bool),
}

impl Lane {
    pub fn new(journal: Journal) -> Self {
        Self {
            journal,
            persists: Vec::new(),
            bytes: 0,
            behind: VecDeque::new(),
            release: None,
            known: None,
            stage: Stage::Gathering,
            at_rest: false,
        }
    }

    /// Takes a job into the coming write, or a later one where that is full; whether it takes
    /// another one.
    pub fn take(&mut self, job: Job) -> bool {
        assert_eq!(self.stage, Stage::Gathering, "a write under way takes nothing more");
        self.at_rest = false;
        match job {
            Job::Persist(persist) => {
                let last = self.behind.back().or(self.persists.last()).map(|last| last.ticket);
                assert!(last < Some(persist.ticket), "tickets are one FIFO lane");
                self.behind.push_back(persist);
                self.fill();
            }
            Job::Release(index) => self.release = self.release.max(Some(index)),
            Job::Know(index) => self.known = self.known.max(Some(index)),
        }
        self.bytes < WRITE_BYTES_MAX
    }

    /// As much into the coming write as fits, one at least.
    fn fill(&mut self) {
        while self.bytes < WRITE_BYTES_MAX
            && let Some(persist) = self.behind.pop_front()
        {
            self.bytes += persist.entries.iter().map(|e| e.payload.len()).sum::<usize>();
            self.persists.push(persist);
        }
    }

    /// Whether what was taken asks the disk for anything: what is only to be known does not.
    pub fn is_work(&self) -> bool {
        !self.persists.is_empty() || self.release.is_some()
    }

    /// Hands what was taken to the disk, with one write; false when there is no room for it.
    ///
    /// # Errors
    /// Those of the journal; the member stops.
    pub fn write(&mut self) -> Result<bool, WalError> {
        assert_eq!(self.stage, Stage::Gathering, "one write at a time");
        let records: Vec<Vec<Record>> =
            self.persists.iter().map(|p| p.entries.iter().map(record).collect()).collect();
        let batches: Vec<Batch<'_>> = self
            .persists
            .iter()
            .zip(&records)
            .map(|(persist, entries)| Batch {
                ballot: persist.ballot,
                truncate_from: persist.truncate_from,
                entries,
                commit: persist.commit,
            })
            .collect();
        match self.journal.append(&batches) {
            Err(error) if error.is_no_room() => {
                if !planted!(WaitingReported) {
                    return Ok(false);
                }
            }
            appended => appended?,
        }
        self.stage = Stage::Written;
        Ok(true)
    }

    /// Lets go of what a checkpoint covers while a write waits for room.
    ///
    /// # Errors
    /// Those of the journal; the member stops.
    pub fn make_room(&mut self) -> Result<(), WalError> {
        assert_eq!(self.stage, Stage::Gathering, "nothing was written");
        self.release.take().map_or(Ok(()), |index| self.journal.release(index))
    }

    /// Whether spares are made ahead. Where somebody else needs their room more they go.
    ///
    /// # Errors
    /// Those of the journal; the member stops.
    pub fn keep_spares(&mut self, keeps: bool) -> Result<(), WalError> {
        self.journal.keep_spares(keeps)
    }

    /// Makes the write durable. Only what is returned may be reported.
    ///
    /// # Errors
    /// Those of the journal; the member stops.
    pub fn sync(&mut self) -> Result<Option<Durable>, WalError> {
        assert_eq!(self.stage, Stage::Written, "what is synced was written");
        let wrote = !self.persists.is_empty();
        let worth = |persist: &Persist| !persist.entries.is_empty() || !planted!(VoteAloneUnsynced);
        if self.persists.iter().any(worth) {
            self.journal.sync()?;
        }
        self.stage = Stage::Synced(wrote);
        let (persists, journal_bytes) = (std::mem::take(&mut self.persists), self.journal.bytes());
        self.bytes = 0;
        self.fill();
        Ok(wrote.then_some(Durable { persists, journal_bytes }))
    }

    /// What may come after the report.
    ///
    /// # Errors
    /// Those of the journal; the member stops.
    pub fn settle(&mut self) -> Result<(), WalError> {
        let Stage::Synced(wrote) = self.stage else { panic!("what is settled was synced") };
        self.stage = Stage::Gathering;
        if let Some(index) = self.release.take() {
            self.journal.release(index)?;
        }
        // What waits for a later write was asked for before: the word is not to overtake it.
        let is_written = self.persists.is_empty() && self.behind.is_empty();
        if let Some(index) = self.known.take_if(|_| is_written) {
            self.journal.know(index);
            if !wrote {
                // It comes in a pause only: the mark of this silence is due.
                self.idle(true)?;
            }
        }
        Ok(())
    }

    /// How long the lane waits for a job before [`Lane::idle`] has something to do.
    pub fn patience(&self) -> Option<Nanos> {
        (!self.at_rest).then_some(IDLE)
    }

    /// Uses a moment of silence; with `prefills` zeros are written ahead too, which takes room.
    ///
    /// # Errors
    /// Those of the journal; the member stops.
    pub fn idle(&mut self, prefills: bool) -> Result<(), WalError> {
        assert_eq!(self.stage, Stage::Gathering, "a disk at work is not idle");
        match self.journal.mark() {
            // The next write vouches for the last one.
            Err(error) if error.is_no_room() => self.at_rest = true,
            marked => {
                marked?;
                self.at_rest = !prefills || !self.journal.prefill(PREFILL_BYTES)?;
            }
        }
        Ok(())
    }

    /// The member stops in order, and nothing more comes.
    ///
    /// # Errors
    /// Those of the journal.
    pub fn close(&mut self) -> Result<(), WalError> {
        match self.journal.mark() {
            Err(error) if error.is_no_room() => Ok(()),
            marked => marked,
        }
    }

    /// The file of a coming segment, to be made beside the lane; the outcome comes back to
    /// [`Lane::spare_done`].
    pub fn spare_wanted(&mut self) -> Option<SpareJob> {
        if self.journal.bytes() < SPARE_FROM_BYTES {
            return None;
        }
        self.journal.spare_wanted()
    }

    pub fn spare_done(&mut self, job: SpareJob, ok: bool) {
        self.journal.spare_done(job, ok);
    }

    /// What was taken and is not known to be durable.
    pub fn unsettled(self) -> Vec<Persist> {
        self.persists.into_iter().chain(self.behind).collect()
    }
}

/// An entry as the journal keeps it.
pub fn record(entry: &Entry) -> Record {
    Record {
        kind: entry.kind.code(),
        index: entry.index,
        ballot: entry.ballot,
        payload: entry.payload.clone(),
    }
}

/// The inverse of [`record`].
///
/// # Errors
/// An unknown kind: a later build wrote it.
pub fn entry(record: Record) -> Result<Entry, DecodeError> {
    let kind = EntryKind::from_code(record.kind)?;
    Ok(Entry { index: record.index, ballot: record.ballot, kind, payload: record.payload })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Ballot, Blob, NodeId};
    use wal::{Disk as _, MemDisk, Options, Owner};

    const SMALL: Options = Options { segment_bytes: 1024, prefill_bytes: 0, spares_max: 0 };

    fn lane(disk: &MemDisk) -> Lane {
        lane_with(disk, SMALL)
    }

    fn lane_with(disk: &MemDisk, options: Options) -> Lane {
        let owner = Owner { cluster: 1, member: NodeId(2) };
        Lane::new(Journal::create(disk.clone(), options, owner, 7).expect("room"))
    }

    fn persist(number: u64, bytes: usize) -> Persist {
        let (index, ballot) = (LogIndex(number), Ballot::new(1, 2));
        let payload = Blob::from(vec![number as u8; bytes]);
        Persist {
            ticket: Ticket(number),
            ballot,
            truncate_from: None,
            entries: vec![Entry { index, ballot, kind: EntryKind::Data, payload }],
            commit: LogIndex::ZERO,
        }
    }

    fn found(disk: &MemDisk) -> (u64, LogIndex) {
        let (_, found) = Journal::open(disk.crash(1), SMALL).expect("sound");
        (found.records.len() as u64, found.commit)
    }

    #[test]
    fn every_kind_of_entry_survives_the_journal_and_a_strange_one_is_named() {
        for kind in [EntryKind::Data, EntryKind::Empty, EntryKind::Config, EntryKind::Stripped] {
            let entry = Entry { kind, ..persist(3, 4).entries.remove(0) };
            assert_eq!(super::entry(record(&entry)), Ok(entry));
        }
        let strange = Record { kind: 9, ..record(&persist(3, 4).entries[0]) };
        let error = super::entry(strange).expect_err("unknown").to_string();
        assert_eq!(error, "unknown entry kind 9");
    }

    #[test]
    fn what_has_queued_up_is_written_together_and_reported_once_it_is_durable() {
        let disk = MemDisk::new();
        let mut lane = lane(&disk);
        for number in 1..=3 {
            assert!(lane.take(Job::Persist(persist(number, 8))));
        }
        lane.write().expect("room");
        let before = disk.changes();
        let durable = lane.sync().expect("it syncs").expect("something was written");
        assert_eq!(disk.changes(), before + 1, "one sync");
        assert_eq!((durable.ticket(), durable.persists.len()), (Ticket(3), 3));
        assert_eq!(found(&disk).0, 3);
        lane.settle().expect("nothing to do");
        lane.write().expect("nothing to write");
        assert!(lane.sync().expect("nothing to sync").is_none(), "and nothing is reported");
        assert_eq!(disk.changes(), before + 1);
    }

    #[test]
    fn a_write_is_full_at_its_bound_and_takes_at_least_one() {
        let mut lane = lane(&MemDisk::new());
        assert!(lane.take(Job::Persist(persist(1, WRITE_BYTES_MAX - 1))));
        assert!(!lane.take(Job::Persist(persist(2, 1))), "full");
    }

    #[test]
    fn a_sync_that_fails_reports_nothing_and_is_never_tried_again() {
        let disk = MemDisk::new();
        let mut lane = lane(&disk);
        lane.take(Job::Persist(persist(1, 8)));
        lane.write().expect("room");
        disk.fail_from(disk.changes());
        assert!(lane.sync().is_err());
        disk.fail_from(u64::MAX);
        assert!(lane.close().is_err(), "it is poisoned");
        assert_eq!(lane.unsettled().len(), 1, "nobody was told");
    }

    #[test]
    fn silence_vouches_once_and_what_is_known_in_a_pause_is_written_at_once() {
        let disk = MemDisk::new();
        let mut lane = lane(&disk);
        lane.take(Job::Persist(persist(1, 8)));
        lane.write().expect("room");
        lane.sync().expect("it syncs");
        lane.settle().expect("nothing to do");
        assert_eq!(lane.patience(), Some(IDLE));
        lane.idle(true).expect("a mark");
        assert_eq!(lane.patience(), None, "at rest");
        let marked = disk.changes();
        lane.take(Job::Know(LogIndex(1)));
        assert!(!lane.is_work() && lane.patience().is_some());
        lane.write().expect("nothing to write");
        lane.sync().expect("nothing to sync");
        lane.settle().expect("a mark");
        assert_eq!(disk.changes(), marked + 1, "alone it is not worth a sync");
        let (_, after) = Journal::open(disk.fork(), SMALL).expect("sound");
        assert_eq!(after.commit, LogIndex(1));
        assert_eq!(lane.patience(), None, "at rest again");
    }

    #[test]
    fn what_a_checkpoint_covers_is_released_after_the_write_it_came_with() {
        let disk = MemDisk::new();
        let mut lane = lane(&disk);
        for number in 1..=9 {
            lane.take(Job::Persist(persist(number, 400)));
            if number == 9 {
                lane.take(Job::Release(LogIndex(6)));
                lane.take(Job::Release(LogIndex(4)));
            }
            lane.write().expect("room");
            let durable = lane.sync().expect("it syncs").expect("written");
            assert_eq!(durable.ticket(), Ticket(number));
            lane.settle().expect("released");
        }
        let (_, after) = Journal::open(disk.crash(1), SMALL).expect("sound");
        let first = after.records[0].index;
        assert!(first > LogIndex(4) && first <= LogIndex(7), "{first}");
        assert_eq!(after.records.last().map(|r| r.index), Some(LogIndex(9)));
    }
    #[test]
    fn a_promise_without_entries_is_durable_before_it_is_reported() {
        let disk = MemDisk::new();
        let mut lane = lane(&disk);
        let promise = Persist { entries: Vec::new(), ballot: Ballot::new(7, 3), ..persist(1, 0) };
        assert!(!lane.is_work());
        lane.take(Job::Persist(promise));
        assert!(lane.is_work());
        lane.write().expect("room");
        let durable = lane.sync().expect("it syncs").expect("something was written");
        assert_eq!(durable.persists.len(), 1);
        let (_, found) = Journal::open(disk.crash(1), SMALL).expect("sound");
        assert_eq!((found.ballot, found.records.len()), (Ballot::new(7, 3), 0));
    }

    #[test]
    fn what_finds_no_room_waits_and_what_comes_meanwhile_is_behind_it() {
        let disk = MemDisk::new();
        let mut lane = lane(&disk);
        for number in 1..=4 {
            lane.take(Job::Persist(persist(number, 400)));
            assert_eq!(lane.write(), Ok(true));
            assert_eq!(lane.sync().expect("it syncs").map(|d| d.ticket()), Some(Ticket(number)));
            lane.settle().expect("nothing to do");
        }
        disk.set_room(Some(0));
        lane.take(Job::Persist(persist(5, WRITE_BYTES_MAX)));
        assert_eq!(lane.write(), Ok(false));
        assert!(!lane.take(Job::Persist(persist(6, 400))), "the write is full");
        lane.take(Job::Release(LogIndex(2)));
        assert_eq!(lane.write(), Ok(false));
        lane.make_room().expect("it needs none");
        assert_eq!(lane.write(), Ok(false), "and makes too little");
        disk.set_room(None);
        lane.take(Job::Know(LogIndex(6)));
        for number in [5, 6] {
            assert!(lane.is_work(), "it is still to be written");
            let known = Journal::open(disk.fork(), SMALL).expect("sound").1.commit;
            assert_eq!(known, LogIndex::ZERO, "no word overtakes what it is of");
            assert_eq!(lane.write(), Ok(true));
            assert_eq!(lane.sync().expect("it syncs").map(|d| d.ticket()), Some(Ticket(number)));
            lane.settle().expect("nothing to do");
        }
        assert!(!lane.is_work());
        lane.idle(true).expect("a mark");
        let (_, after) = Journal::open(disk.fork(), SMALL).expect("sound");
        assert_eq!(after.commit, LogIndex(6));
        assert_eq!(found(&disk).0, 4, "what is released is gone");
    }

    #[test]
    fn spares_are_given_up_where_somebody_else_needs_their_room() {
        let mut disk = MemDisk::new();
        let options = Options { segment_bytes: 64 << 20, prefill_bytes: 1 << 20, spares_max: 1 };
        let mut lane = lane_with(&disk, options);
        for number in 1..=9 {
            lane.take(Job::Persist(persist(number, 4_000_000)));
            assert_eq!(lane.write(), Ok(true));
            lane.sync().expect("it syncs");
            lane.settle().expect("nothing to do");
        }
        let mut job = lane.spare_wanted().expect("it is busy");
        while job.step(&mut disk, 1 << 24).expect("room") {}
        lane.spare_done(job, true);
        lane.keep_spares(false).expect("they go");
        let is_spare = |name: &String| name.starts_with("spare-");
        assert!(!disk.list().expect("names").iter().any(is_spare) && lane.spare_wanted().is_none());
        lane.keep_spares(true).expect("nothing to do");
        assert!(lane.spare_wanted().is_some(), "there is room again");
    }

    #[test]
    fn a_release_alone_is_work() {
        let mut lane = lane(&MemDisk::new());
        lane.take(Job::Release(LogIndex(4)));
        assert!(lane.is_work());
    }

    #[test]
    fn zeros_are_written_ahead_in_silence_some_at_a_time() {
        let disk = MemDisk::new();
        let options = Options { segment_bytes: 1 << 20, prefill_bytes: 1 << 19, spares_max: 0 };
        let mut lane = lane_with(&disk, options);
        lane.take(Job::Persist(persist(1, 400_000)));
        lane.write().expect("room");
        lane.sync().expect("it syncs");
        lane.settle().expect("nothing to do");
        let mut silences = 0;
        while lane.patience().is_some() {
            lane.idle(true).expect("a mark, and zeros");
            silences += 1;
            assert!(silences < 100, "there is an end");
        }
        assert!((2..=4).contains(&silences), "a quarter of a MiB at a time, not {silences} times");
    }

    #[test]
    fn the_next_segment_is_made_ahead_once_there_is_much_journal() {
        let mut disk = MemDisk::new();
        let options = Options { segment_bytes: 64 << 20, prefill_bytes: 1 << 20, spares_max: 1 };
        let mut lane = lane_with(&disk, options);
        let mut number = 0;
        let mut job = loop {
            let wanted = lane.spare_wanted();
            let bytes = lane.journal.bytes();
            assert_eq!(wanted.is_some(), bytes >= 32 * 1024 * 1024, "at {bytes}");
            if let Some(job) = wanted {
                break job;
            }
            number += 1;
            lane.take(Job::Persist(persist(number, 4_000_000)));
            lane.write().expect("room");
            lane.sync().expect("it syncs");
            lane.settle().expect("nothing to do");
        };
        assert!(lane.spare_wanted().is_none(), "one at a time");
        while job.step(&mut disk, 1 << 24).expect("room") {}
        lane.spare_done(job, true);
        assert_eq!(lane.journal.spares(), 1);
        assert!(lane.spare_wanted().is_none(), "it is there");
    }
}
