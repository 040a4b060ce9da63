//! The reading side: what the journal holds after a stop of any kind.

use crate::batch::{self, ALIGN, HEADER_BYTES, Header, Seal};
use crate::disk::read_up_to;
use crate::disk::remove_named;
use crate::journal::{Journal, Options};
use crate::ours::SPARE;
use crate::segment::{
    SEGMENT_HEADER_BYTES, Segment, SegmentHeader, generation_of, segment_name, spare_name,
};
use crate::spare::next_prepared;
use crate::{Disk, DiskFile, Owner, Record, WalError, WalErrorKind};
use base::{Ballot, LogIndex, planted};
use std::collections::{BTreeMap, VecDeque};

/// What a journal held when it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    pub owner: Owner,
    /// Promised term and vote in one.
    pub ballot: Ballot,
    /// Live records in order of index. Those a checkpoint covers may still be among them.
    pub records: Vec<Record>,
    /// The last commit index heard of; may lie beyond the last record.
    pub commit: LogIndex,
    /// Where a torn tail was cut, if one was.
    pub cut: Option<Cut>,
}

/// A torn tail: batches that were never acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    pub file: String,
    pub offset: u64,
}

struct Reader {
    records: BTreeMap<LogIndex, Record>,
    segments: Vec<Segment>,
    ballot: Ballot,
    commit: LogIndex,
    sequence: u64,
    chain: u32,
    generation: u64,
    /// The segment being read is a file used before.
    recycled: bool,
    key: u64,
    owner: Owner,
}

/// Where reading a segment stopped.
struct Stop {
    offset: usize,
    /// Start of the batches that no later header vouches for; the stop when there are none.
    unvouched: usize,
    /// Where something unfinished lies behind the stop, to be wiped in pieces of one header: a
    /// later batch could chain to it, or a later start could take it for a new torn tail.
    torn: Vec<usize>,
}

impl Journal {
    /// Recovers a journal; what it returns is durable. Errors: `Missing`, `Corrupt`, `Unknown`,
    /// `Io`.
    pub fn open(disk: impl Disk + 'static, options: Options) -> Result<(Self, Recovery), WalError> {
        Self::open_above(disk, options, LogIndex::ZERO)
    }

    /// The same, with the payload of those records only that are above `base`.
    pub fn open_above(
        disk: impl Disk + 'static,
        options: Options,
        base: LogIndex,
    ) -> Result<(Self, Recovery), WalError> {
        open(Box::new(disk), options, base)
    }
}

fn open(
    mut disk: Box<dyn Disk>,
    options: Options,
    base: LogIndex,
) -> Result<(Journal, Recovery), WalError> {
    let names = disk.list().map_err(|e| WalError::io("", 0, "list", &e))?;
    let live: Vec<u64> = names.iter().filter_map(|n| generation_of(n, "segment-")).collect();
    let mut spares: Vec<u64> = names.iter().filter_map(|n| generation_of(n, "spare-")).collect();
    let Some((&last, earlier)) = live.split_last() else {
        let what = "no segment; was the directory emptied?";
        return Err(WalError::new(WalErrorKind::Missing, &segment_name(1), 0, what));
    };
    let mut reader: Option<Reader> = None;
    for &generation in earlier {
        let (_, bytes) = load(disk.as_mut(), generation)?;
        let name = segment_name(generation);
        reader = Some(Reader::begin(reader, &name, &bytes)?);
        let now = reader.as_mut().expect("just set");
        let stop = now.segment(&name, &bytes, base)?;
        now.segments.last_mut().expect("just begun").bytes = stop.offset as u64;
    }
    let (mut file, bytes) = load(disk.as_mut(), last)?;
    let name = segment_name(last);
    let mut reader = Reader::begin(reader, &name, &bytes)?;
    let stop = reader.segment(&name, &bytes, base)?;
    reader.segments.last_mut().expect("just begun").bytes = stop.offset as u64;

    for &at in &stop.torn {
        // Nothing behind the end: there may be no room.
        let len = HEADER_BYTES.min(bytes.len() - at);
        let wiped = file.write_at(at as u64, &[0; HEADER_BYTES][..len]);
        wiped.map_err(|e| WalError::io(&name, at as u64, "clear a torn tail", &e))?;
    }
    for spare in spares.split_off(options.spares_max.min(spares.len())) {
        let gone = remove_named(disk.as_mut(), SPARE, &spare_name(spare));
        gone.map_err(|e| WalError::io(&spare_name(spare), 0, "remove a spare", &e))?;
    }
    // What was read may sit only in the page cache of a killed process: make it durable before
    // anything vouches for it. A sync alone is not enough: after one that failed the kernel keeps
    // such pages and calls them clean, so they are written again (Rebello et al., ATC 2020).
    let rewritten = if planted!(RecoveryTrustsCache) { stop.offset } else { stop.unvouched };
    file.write_at(rewritten as u64, &bytes[rewritten..stop.offset])
        .and_then(|()| file.sync())
        .and_then(|()| disk.sync_dir())
        .map_err(|e| WalError::io(&name, 0, "sync after recovery", &e))?;
    let cut =
        (!stop.torn.is_empty()).then(|| Cut { file: name.clone(), offset: stop.offset as u64 });
    finish(disk, options, file, spares, reader, &stop, bytes.len() as u64, cut)
}

#[expect(clippy::too_many_arguments, reason = "the last step of one long recipe")]
fn finish(
    disk: Box<dyn Disk>,
    options: Options,
    file: Box<dyn DiskFile>,
    spares: Vec<u64>,
    reader: Reader,
    stop: &Stop,
    filled: u64,
    cut: Option<Cut>,
) -> Result<(Journal, Recovery), WalError> {
    assert!(filled >= stop.offset as u64, "reading stops inside the file");
    let recovery = Recovery {
        owner: reader.owner,
        ballot: reader.ballot,
        records: reader.records.into_values().collect(),
        commit: reader.commit,
        cut,
    };
    let mut journal = Journal {
        disk,
        options,
        key: reader.key,
        owner: reader.owner,
        segments: reader.segments,
        file,
        offset: stop.offset as u64,
        filled,
        spare_next: next_prepared(&spares),
        preparing: false,
        keeps_spares: true,
        spares,
        sequence: reader.sequence,
        synced: reader.sequence,
        vouched: 0,
        dirty: false,
        chain: reader.chain,
        ballot: reader.ballot,
        commit: reader.commit,
        stated: reader.commit,
        poison: None,
        buffer: Vec::new(),
    };
    match journal.mark() {
        // A start needs no room: the next write vouches for what was found.
        Err(error) if error.is_no_room() => {}
        marked => marked?,
    }
    Ok((journal, recovery))
}

pub(crate) fn load(
    disk: &mut dyn Disk,
    generation: u64,
) -> Result<(Box<dyn DiskFile>, Vec<u8>), WalError> {
    let name = segment_name(generation);
    let fail = |e: std::io::Error| WalError::io(&name, 0, "read", &e);
    let mut file = disk.open(&name).map_err(fail)?;
    let len = usize::try_from(file.len().map_err(fail)?)
        .map_err(|_| WalError::corrupt(&name, 0, "longer than memory"))?;
    let bytes = read_up_to(file.as_mut(), 0, len).map_err(fail)?;
    Ok((file, bytes))
}

impl Reader {
    /// Continues with the segment whose bytes these are.
    fn begin(before: Option<Self>, name: &str, bytes: &[u8]) -> Result<Self, WalError> {
        let (header, crc) = SegmentHeader::decode(name, bytes)?;
        let mut reader = match before {
            None => Self::first(&header),
            Some(reader) => {
                reader.follows(name, &header)?;
                reader
            }
        };
        reader.generation = header.generation;
        reader.recycled = header.recycled;
        reader.chain = crc;
        let bytes = SEGMENT_HEADER_BYTES as u64;
        reader.segments.push(Segment { generation: header.generation, index_max: None, bytes });
        Ok(reader)
    }

    fn first(header: &SegmentHeader) -> Self {
        Self {
            records: BTreeMap::new(),
            segments: Vec::new(),
            ballot: header.ballot,
            commit: header.commit,
            sequence: header.sequence_first - 1,
            chain: header.chain,
            generation: header.generation,
            recycled: header.recycled,
            key: header.key,
            owner: header.owner,
        }
    }

    /// A segment that does not join the one before it means lost or damaged acknowledged data.
    fn follows(&self, name: &str, header: &SegmentHeader) -> Result<(), WalError> {
        let before = segment_name(self.generation);
        if header.generation_before != self.generation {
            let missing = segment_name(header.generation_before);
            let what = format!("follows {missing}, but {before} is the one found before it");
            return Err(WalError::corrupt(name, 32, what));
        }
        if header.key != self.key || header.owner != self.owner {
            return Err(WalError::corrupt(name, 16, "belongs to another journal"));
        }
        let what = if header.sequence_first != self.sequence + 1 {
            format!(
                "batch {} is damaged or gone; {name} vouches for all up to {}",
                self.sequence + 1,
                header.sequence_first - 1
            )
        } else if header.chain != self.chain {
            format!("its last batch, {}, is not the one that {name} follows", self.sequence)
        } else {
            return Ok(());
        };
        let end = self.segments.last().map_or(0, |s| s.bytes);
        Err(WalError::corrupt(&before, end, what))
    }

    /// Takes batches until one does not verify, then asks whether a later header vouches for it.
    fn segment(&mut self, name: &str, bytes: &[u8], base: LogIndex) -> Result<Stop, WalError> {
        let seal = Seal::new(self.key, self.generation);
        let mut offset = SEGMENT_HEADER_BYTES;
        let mut unvouched = VecDeque::new();
        while let Some((header, body)) = self.next(seal, &bytes[offset..]) {
            if !header.known() {
                let what = format!("batch version {} kind {}", header.version, header.kind);
                return Err(WalError::new(WalErrorKind::Unknown, name, offset as u64, what));
            }
            let records = header.records(body, base).map_err(|e| {
                WalError::corrupt(name, offset as u64, format!("batch that verifies: {e}"))
            })?;
            self.take(&header, records);
            while unvouched.front().is_some_and(|(seq, _)| *seq <= header.durable_through) {
                unvouched.pop_front();
            }
            unvouched.push_back((header.sequence, offset));
            offset += header.bytes();
        }
        let mut torn = Vec::new();
        let mut at = offset;
        while at + HEADER_BYTES <= bytes.len() {
            if let Some(later) = batch::header(&bytes[at..], seal, self.generation) {
                if later.durable_through > self.sequence && !planted!(DamageCut) {
                    let what = format!(
                        "batch {} is damaged; batch {} at byte {at} vouches for all up to {}",
                        self.sequence + 1,
                        later.sequence,
                        later.durable_through
                    );
                    return Err(WalError::corrupt(name, offset as u64, what));
                }
                torn.push(at);
            }
            at += ALIGN;
        }
        if self.recycled {
            // Bytes of an earlier use are in the way: only a header that began tells.
            if batch::begins(&bytes[offset..], self.generation) && !torn.contains(&offset) {
                torn.push(offset);
            }
        } else {
            let pieces = bytes[offset..].chunks(HEADER_BYTES).zip((offset..).step_by(HEADER_BYTES));
            let written = pieces.filter(|(piece, _)| piece.iter().any(|byte| *byte != 0));
            torn.extend(written.map(|(_, at)| at));
        }
        let unvouched = unvouched.front().map_or(offset, |(_, at)| *at);
        Ok(Stop { offset, unvouched, torn })
    }

    fn next<'a>(&self, seal: Seal, bytes: &'a [u8]) -> Option<(Header, &'a [u8])> {
        let header = batch::header(bytes, seal, self.generation)?;
        let expected = header.sequence == self.sequence + 1 && header.chain == self.chain;
        if !expected || header.durable_through > self.sequence {
            return None;
        }
        header.body(bytes).map(|body| (header, body))
    }

    fn take(&mut self, header: &Header, records: Vec<Record>) {
        if let Some(from) = header.truncate_from {
            self.records.split_off(&from);
            self.segments.iter_mut().for_each(|s| s.truncate(from));
        }
        let segment = self.segments.last_mut().expect("reading is inside a segment");
        for record in records {
            segment.add(record.index);
            self.records.insert(record.index, record);
        }
        self.ballot = header.ballot;
        self.commit = self.commit.max(header.commit);
        self.sequence = header.sequence;
        self.chain = header.crc;
    }
}
