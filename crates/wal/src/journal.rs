//! The writing side.

use crate::batch::{self, HEADER_BYTES, Place, Seal, padded};
use crate::disk::remove_named;
use crate::error::is_no_room;
use crate::ours::{SEGMENT, SPARE};
use crate::segment::{
    SEGMENT_HEADER_BYTES, Segment, SegmentHeader, generation_of, segment_name, spare_name,
};
use crate::spare::{PREPARED, zeros};
use crate::{Batch, Disk, DiskFile, Owner, WalError, WalErrorKind};
use base::{Ballot, LogIndex, planted};
use std::io;

/// Sizes of the journal; free to change between starts.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// A new segment is begun when the next append would pass this many bytes.
    pub segment_bytes: u64,
    /// Zeros are written ahead in steps of this many bytes. 0 = never.
    pub prefill_bytes: u64,
    /// Released segments and files made ahead that are kept for use.
    pub spares_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, prefill_bytes: 4 << 20, spares_max: 2 }
    }
}

/// An open journal; the one writer of its directory.
pub struct Journal {
    pub(crate) disk: Box<dyn Disk>,
    pub(crate) options: Options,
    pub(crate) key: u64,
    pub(crate) owner: Owner,
    /// Oldest first; the last one is being written.
    pub(crate) segments: Vec<Segment>,
    pub(crate) file: Box<dyn DiskFile>,
    /// Next byte to write in `file`.
    pub(crate) offset: u64,
    /// `file` holds written bytes up to here: zeros or void data of an earlier use.
    pub(crate) filled: u64,
    /// Generations of spare files.
    pub(crate) spares: Vec<u64>,
    /// Number of the next spare made ahead, and whether one is being made.
    pub(crate) spare_next: u64,
    pub(crate) preparing: bool,
    /// Nobody needs their room more.
    pub(crate) keeps_spares: bool,
    pub(crate) sequence: u64,
    pub(crate) synced: u64,
    /// The highest `durable_through` written.
    pub(crate) vouched: u64,
    /// Whether anything was written since the last sync (the marks included).
    pub(crate) dirty: bool,
    pub(crate) chain: u32,
    pub(crate) ballot: Ballot,
    pub(crate) commit: LogIndex,
    /// The highest of them that is written here.
    pub(crate) stated: LogIndex,
    pub(crate) poison: Option<WalError>,
    pub(crate) buffer: Vec<u8>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal")
            .field("segments", &self.segments)
            .field("offset", &self.offset)
            .field("sequence", &self.sequence)
            .field("synced", &self.synced)
            .finish_non_exhaustive()
    }
}

impl Journal {
    /// Starts an empty journal, durable on return. `key` is random and belongs to this journal
    /// alone. Errors: `Exists`, `Io`.
    pub fn create(
        mut disk: impl Disk + 'static,
        options: Options,
        owner: Owner,
        key: u64,
    ) -> Result<Self, WalError> {
        let names = disk.list().map_err(|e| WalError::io("", 0, "list", &e))?;
        if let Some(name) = names.iter().find(|n| generation_of(n, "segment-").is_some()) {
            let what = "a journal is here already; open it instead";
            return Err(WalError::new(WalErrorKind::Exists, name, 0, what));
        }
        let mut disk: Box<dyn Disk> = Box::new(disk);
        let header = SegmentHeader {
            key,
            generation: 1,
            generation_before: 0,
            sequence_first: 1,
            ballot: Ballot::ZERO,
            commit: LogIndex::ZERO,
            owner,
            chain: 0,
            recycled: false,
        };
        let started = start_segment(disk.as_mut(), &options, &header, None)?;
        let segment =
            Segment { generation: 1, index_max: None, bytes: SEGMENT_HEADER_BYTES as u64 };
        Ok(Self {
            disk,
            options,
            key,
            owner,
            segments: vec![segment],
            file: started.file,
            offset: SEGMENT_HEADER_BYTES as u64,
            filled: started.filled,
            spares: Vec::new(),
            spare_next: PREPARED,
            preparing: false,
            keeps_spares: true,
            sequence: 0,
            synced: 0,
            vouched: 0,
            dirty: false,
            chain: started.chain,
            ballot: Ballot::ZERO,
            commit: LogIndex::ZERO,
            stated: LogIndex::ZERO,
            poison: None,
            buffer: Vec::new(),
        })
    }

    /// Seals its batches; a copy elsewhere lets [`crate::survey`] read them when every segment
    /// header is lost.
    pub fn key(&self) -> u64 {
        self.key
    }

    /// Writes the batches with one write, in order. Not durable before [`Journal::sync`].
    /// Errors: `TooLarge` and `NoRoom` (nothing is taken: the same may be tried again), `Io`,
    /// `Poisoned`.
    pub fn append(&mut self, batches: &[Batch<'_>]) -> Result<(), WalError> {
        self.healthy()?;
        let mut bytes = 0;
        for batch in batches {
            bytes += (HEADER_BYTES + padded(self.bounded(batch)?)) as u64;
        }
        if batches.is_empty() {
            return Ok(());
        }
        let holds_records = self.offset > SEGMENT_HEADER_BYTES as u64;
        if holds_records && self.offset + bytes > self.options.segment_bytes {
            self.roll().map_err(|e| self.poisoned(e))?;
        }
        let mut written = self.write(batches);
        if written.as_ref().is_err_and(WalError::is_no_room) {
            self.wipe().map_err(|e| self.poisoned(e))?;
            if self.offset > SEGMENT_HEADER_BYTES as u64 && !self.spares.is_empty() {
                // The reserve: its bytes are on the disk already.
                self.roll().map_err(|e| self.poisoned(e))?;
                written = self.write(batches);
            }
        }
        written.map_err(|e| self.poisoned(e))?;
        for batch in batches {
            self.note(batch);
        }
        Ok(())
    }

    /// One `fdatasync`: all appended batches are durable on return. Errors: `Io`, `Poisoned`.
    pub fn sync(&mut self) -> Result<(), WalError> {
        self.healthy()?;
        if self.dirty && !planted!(SyncSkipped) {
            let mut synced = self.file.sync();
            if planted!(SyncRetried) {
                synced = synced.or_else(|_| self.file.sync());
            }
            synced.map_err(|e| self.io("sync", &e)).map_err(|e| self.poisoned(e))?;
            self.dirty = false;
        }
        self.synced = self.sequence;
        Ok(())
    }

    /// For idle moments: syncs, and writes a mark that vouches for all so far. Without it damage
    /// to the last batch is indistinguishable from a torn tail. Cheap when nothing is open.
    /// It also says what [`Journal::know`] heard; alone that is not worth a sync.
    pub fn mark(&mut self) -> Result<(), WalError> {
        self.sync()?;
        let vouches = self.vouched < self.synced;
        if !vouches && self.stated >= self.commit {
            return Ok(());
        }
        let mark =
            Batch { ballot: self.ballot, truncate_from: None, entries: &[], commit: self.commit };
        self.append(&[mark])?;
        if !vouches {
            return Ok(());
        }
        self.sync()?;
        // The mark itself carries nothing, so it needs no further mark.
        self.vouched = self.synced;
        Ok(())
    }

    /// All up to `commit` is committed: the next batch, segment or mark says so.
    pub fn know(&mut self, commit: LogIndex) {
        self.commit = self.commit.max(commit);
    }

    /// Drops segments whose live records are all at or below `upto` (a durable checkpoint covers
    /// them). Oldest first, each removal durable before the next. Errors: `Io`, `Poisoned`.
    pub fn release(&mut self, upto: LogIndex) -> Result<(), WalError> {
        self.healthy()?;
        let upto = LogIndex(upto.0.saturating_add(u64::from(planted!(ReleaseTooMuch))));
        while self.segments.len() > 1 && self.segments[0].index_max <= Some(upto) {
            // A truncation that emptied this segment must not be lost once the segment is gone.
            self.sync()?;
            let generation = self.segments[0].generation;
            self.drop_segment(generation).map_err(|e| self.poisoned(e))?;
            self.segments.remove(0);
        }
        assert!(!self.segments.is_empty(), "the active segment is never released");
        Ok(())
    }

    /// Writes up to `bytes_max` zeros ahead of the active segment, so that appends later change
    /// no file length. For the log thread when idle. True if there is more to do.
    pub fn prefill(&mut self, bytes_max: u64) -> Result<bool, WalError> {
        self.healthy()?;
        let goal = self.options.segment_bytes;
        if self.options.prefill_bytes == 0 || self.filled >= goal {
            return Ok(false);
        }
        let until = goal.min(self.filled.saturating_add(bytes_max));
        match self.fill(until) {
            // It is of use once there is room, and nothing fails without.
            Err(error) if error.is_no_room() => Ok(false),
            Err(error) => Err(self.poisoned(error)),
            Ok(()) => Ok(self.filled < goal),
        }
    }

    /// Bytes in use over all segments.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.bytes).sum()
    }

    /// Number of segments, the active one included.
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    /// Sequence of the last batch appended; 0 = none.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    pub fn owner(&self) -> Owner {
        self.owner
    }

    fn bounded(&self, batch: &Batch<'_>) -> Result<usize, WalError> {
        let body = batch::body_bytes(batch);
        let payload = batch.entries.iter().map(|r| r.payload.len()).max();
        batch::within_bounds(payload.unwrap_or(0), body).map_err(|what| {
            WalError::new(WalErrorKind::TooLarge, &self.name(), self.offset, what)
        })?;
        Ok(body)
    }

    fn write(&mut self, batches: &[Batch<'_>]) -> Result<(), WalError> {
        let generation = self.active().generation;
        let seal = Seal::new(self.key, generation);
        self.buffer.clear();
        let (mut sequence, mut chain) = (self.sequence, self.chain);
        for batch in batches {
            sequence += 1;
            let place = Place { generation, sequence, durable_through: self.synced, chain };
            chain = batch::encode(&mut self.buffer, seal, place, batch);
        }
        let end = self.offset + self.buffer.len() as u64;
        self.dirty = true;
        let written = self.file.write_at(self.offset, &self.buffer);
        written.map_err(|e| WalError::write(&self.name(), self.offset, "write", &e))?;
        if end > self.filled {
            // Zeros ahead in steps, so that few syncs have to carry a new file length.
            let step = end.saturating_add(self.options.prefill_bytes);
            self.filled = end;
            match self.fill(step.min(self.options.segment_bytes)) {
                Err(error) if !error.is_no_room() => return Err(error),
                _filled => {}
            }
        }
        self.offset = end;
        self.sequence = sequence;
        self.chain = chain;
        self.vouched = self.vouched.max(self.synced);
        let used = self.offset;
        self.segments.last_mut().expect("there is an active segment").bytes = used;
        Ok(())
    }

    fn note(&mut self, batch: &Batch<'_>) {
        if let Some(from) = batch.truncate_from {
            self.segments.iter_mut().for_each(|s| s.truncate(from));
        }
        let active = self.segments.last_mut().expect("there is an active segment");
        batch.entries.iter().for_each(|r| active.add(r.index));
        self.ballot = batch.ballot;
        self.commit = self.commit.max(batch.commit);
        self.stated = self.stated.max(batch.commit);
    }

    /// Begins the next segment. Everything before it is durable first: its header says so.
    pub(crate) fn roll(&mut self) -> Result<(), WalError> {
        if !planted!(RollWithoutSync) {
            self.file.sync().map_err(|e| self.io("sync", &e))?;
        }
        self.dirty = false;
        self.synced = self.sequence;
        let before = self.active().generation;
        let spare = self.spares.pop();
        let generation = before + 1;
        let header = SegmentHeader {
            key: self.key,
            generation,
            generation_before: before,
            sequence_first: self.sequence + 1,
            ballot: self.ballot,
            commit: self.commit,
            owner: self.owner,
            chain: self.chain,
            // A spare that was made ahead has never held anything but zeros.
            recycled: spare.is_some_and(|spare| spare < PREPARED),
        };
        let started = start_segment(self.disk.as_mut(), &self.options, &header, spare)?;
        self.file = started.file;
        self.filled = started.filled;
        self.chain = started.chain;
        self.offset = SEGMENT_HEADER_BYTES as u64;
        self.vouched = self.synced;
        self.stated = self.commit;
        self.segments.push(Segment { generation, index_max: None, bytes: self.offset });
        Ok(())
    }

    fn drop_segment(&mut self, generation: u64) -> Result<(), WalError> {
        let name = segment_name(generation);
        let moved = if self.spares.len() < self.spares_max() {
            self.spares.push(generation);
            self.disk.rename(&name, &spare_name(generation))
        } else {
            remove_named(self.disk.as_mut(), SEGMENT, &name)
        };
        moved.and_then(|()| self.disk.sync_dir()).map_err(|e| WalError::io(&name, 0, "release", &e))
    }

    fn fill(&mut self, until: u64) -> Result<(), WalError> {
        assert!(self.filled >= self.offset, "zeros never cover data");
        let done = zeros(self.file.as_mut(), self.filled, until);
        let doing = "write zeros ahead";
        done.map_err(|e| WalError::write(&self.name(), self.offset, doing, &e))?;
        self.filled = self.filled.max(until);
        self.dirty = true;
        Ok(())
    }

    fn active(&self) -> &Segment {
        self.segments.last().expect("there is an active segment")
    }

    pub(crate) fn name(&self) -> String {
        segment_name(self.active().generation)
    }

    pub(crate) fn io(&self, doing: &str, error: &io::Error) -> WalError {
        WalError::io(&self.name(), self.offset, doing, error)
    }

    fn healthy(&self) -> Result<(), WalError> {
        match &self.poison {
            None => Ok(()),
            Some(first) => Err(WalError { kind: WalErrorKind::Poisoned, ..first.clone() }),
        }
    }

    /// What a write left that found no room is no batch: it may be written elsewhere. In place,
    /// which needs none.
    fn wipe(&mut self) -> Result<(), WalError> {
        if planted!(HalfWriteStays) {
            return Ok(());
        }
        let len = self.file.len().map_err(|e| self.io("length", &e))?;
        let end = len.min(self.offset + self.buffer.len() as u64);
        let wiped = zeros(self.file.as_mut(), self.offset, end);
        wiped.map_err(|e| self.io("wipe half a write", &e))
    }

    /// How many are kept just now.
    pub(crate) fn spares_max(&self) -> usize {
        if self.keeps_spares { self.options.spares_max } else { 0 }
    }

    /// Whether spares are kept and made. Where somebody else needs their room more they go. Errors:
    /// `Io`, `Poisoned`.
    pub fn keep_spares(&mut self, keeps: bool) -> Result<(), WalError> {
        self.healthy()?;
        self.keeps_spares = keeps;
        if keeps { Ok(()) } else { self.remove_spares() }
    }

    fn remove_spares(&mut self) -> Result<(), WalError> {
        while let Some(spare) = self.spares.pop() {
            let name = spare_name(spare);
            let removed = remove_named(self.disk.as_mut(), SPARE, &name);
            let removed = removed.map_err(|e| WalError::io(&name, 0, "remove a spare", &e));
            removed.map_err(|e| self.poisoned(e))?;
        }
        Ok(())
    }

    /// All errors but that there is no room, which leaves everything as it was.
    fn poisoned(&mut self, error: WalError) -> WalError {
        if error.is_no_room() {
            return error;
        }
        self.poison.get_or_insert_with(|| error.clone());
        error
    }
}

pub(crate) struct Started {
    pub file: Box<dyn DiskFile>,
    pub filled: u64,
    pub chain: u32,
}

/// Makes a segment file with a durable header and only then gives it its name.
fn start_segment(
    disk: &mut dyn Disk,
    options: &Options,
    header: &SegmentHeader,
    spare: Option<u64>,
) -> Result<Started, WalError> {
    let name = segment_name(header.generation);
    let from = spare_name(spare.unwrap_or(header.generation));
    let bytes = header.encode();
    let chain = u32::from_le_bytes(*bytes.last_chunk().expect("a header ends in its checksum"));
    let mut write = || -> io::Result<(Box<dyn DiskFile>, u64)> {
        let mut file = if spare.is_some() { disk.open(&from)? } else { disk.create(&from)? };
        let len = file.len()?;
        file.write_at(0, &bytes)?;
        Ok((file, len.max(bytes.len() as u64)))
    };
    let written = write().map_err(|e| WalError::write(&name, 0, "begin a segment", &e));
    let (mut file, mut filled) = written.inspect_err(|_| {
        // Half a file that nobody knows: another attempt makes another one.
        let _ = remove_named(disk, SPARE, &from);
    })?;
    let failed = |e: &io::Error| WalError::io(&name, 0, "begin a segment", e);
    let first = options.prefill_bytes.min(options.segment_bytes);
    match zeros(file.as_mut(), filled, first) {
        // It does without.
        Err(error) if is_no_room(&error) => {}
        zeroed => {
            zeroed.map_err(|e| failed(&e))?;
            filled = filled.max(first);
        }
    }
    // From here on nothing may be tried again.
    file.sync().map_err(|e| failed(&e))?;
    disk.rename(&from, &name).and_then(|()| disk.sync_dir()).map_err(|e| failed(&e))?;
    Ok(Started { file, filled, chain })
}
