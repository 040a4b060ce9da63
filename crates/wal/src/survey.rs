//! What a damaged journal still proves. Reads all of it and changes nothing;
//! `docs/design/repair.md` says why each fact holds.

use crate::batch::{self, ALIGN, HEADER_BYTES, Header, Seal};
use crate::disk::read_up_to;
use crate::ours::SPARE;
use crate::recover::load;
use crate::segment::{SEGMENT_HEADER_BYTES, SegmentHeader, generation_of, segment_name};
use crate::{Disk, Owner, Record, WalError, WalErrorKind};
use base::{Ballot, LogIndex, Term};
use std::collections::BTreeMap;

/// What is left of a damaged journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// Live records before the first damage, in order of index. Later ones may have been void.
    pub records: Vec<Record>,
    /// The commit index heard of by then.
    pub commit: LogIndex,
    /// What was promised and acknowledged at most, or why that is lost.
    pub proven: Result<Proven, String>,
}

/// Facts that no later batch can have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proven {
    pub owner: Owner,
    /// The last promise: term and vote in one.
    pub ballot: Ballot,
    /// No record of that ballot's term above this index ever became durable.
    pub index: LogIndex,
}

/// Whose journal it is and its key, which seals its batches.
pub type Sealed = (u64, Owner);

/// Surveys the journal in `disk`. No checkpoint was ever at an index above `floor`: records may
/// skip to the one after a checkpoint. `known` helps where every segment header is lost. Errors:
/// `Missing`, `Unknown`, `Io`.
pub fn survey(
    disk: &mut dyn Disk,
    floor: LogIndex,
    known: Option<Sealed>,
) -> Result<Survey, WalError> {
    let names = disk.list().map_err(|e| WalError::io("", 0, "list", &e))?;
    let live: Vec<u64> = names.iter().filter_map(|n| generation_of(n, "segment-")).collect();
    let mut headers = Vec::new();
    for &generation in &live {
        let (_, bytes) = load(disk, generation)?;
        let name = segment_name(generation);
        let header = match SegmentHeader::decode(&name, &bytes) {
            Ok((header, _)) => Some(header),
            Err(error) if error.kind == WalErrorKind::Corrupt => None,
            Err(error) => return Err(error),
        };
        headers.push(header);
    }
    let lost = |why: &str| Survey {
        records: Vec::new(),
        commit: LogIndex::ZERO,
        proven: Err(why.to_owned()),
    };
    let mut told = headers.iter().flatten().map(|header| (header.key, header.owner));
    let (Some(sealed), Some(generation)) = (told.next().or(known), live.first()) else {
        return Ok(lost("every segment header is damaged or gone"));
    };
    if told.any(|other| other != sealed) {
        return Ok(lost("the segments belong to different journals"));
    }
    let mut walk = Walk::new(sealed, floor, *generation);
    for (at, header) in headers.iter().enumerate() {
        let (_, bytes) = load(disk, live[at])?;
        walk.segment(live[at], header.as_ref(), &bytes, at + 1 == live.len())?;
    }
    Ok(walk.finish())
}

struct Walk {
    key: u64,
    owner: Owner,
    floor: LogIndex,
    /// The last batch accounted for, and the generation after the segment it is in.
    sequence: Option<u64>,
    next_generation: u64,
    /// Nothing was damaged so far.
    whole: bool,
    records: BTreeMap<LogIndex, Record>,
    commit: LogIndex,
    ballot: Ballot,
    /// Where the log ends at most.
    end: LogIndex,
    /// The highest term that records are of, and the highest index in it.
    reach: (Term, LogIndex),
    /// The same of batches whose bodies are damaged, until the next ones say where those ended.
    guess: Option<(Term, LogIndex)>,
    /// Batches of this term are gone, and nothing after them says how far they went.
    unknown: Option<Term>,
    failed: Option<String>,
}

impl Walk {
    fn new((key, owner): Sealed, floor: LogIndex, generation: u64) -> Self {
        Self {
            key,
            owner,
            floor,
            sequence: None,
            next_generation: generation,
            whole: true,
            records: BTreeMap::new(),
            commit: LogIndex::ZERO,
            ballot: Ballot::ZERO,
            end: floor,
            reach: (Term(0), LogIndex::ZERO),
            guess: None,
            unknown: None,
            failed: None,
        }
    }

    fn fail(&mut self, why: String) {
        self.failed.get_or_insert(why);
    }

    fn segment(
        &mut self,
        generation: u64,
        header: Option<&SegmentHeader>,
        bytes: &[u8],
        last: bool,
    ) -> Result<(), WalError> {
        self.whole &= header.is_some() && generation == self.next_generation;
        self.next_generation = generation + 1;
        if let Some(header) = header {
            let through = header.sequence_first - 1;
            self.reaches(through, header.ballot, None);
            self.ballot = self.ballot.max(header.ballot);
            if self.whole {
                self.commit = self.commit.max(header.commit);
            }
        }
        let found = self.headers(generation, bytes)?;
        let mut end = SEGMENT_HEADER_BYTES;
        for (header, at) in &found {
            let room = at.checked_sub(end);
            self.whole &= room.is_some();
            self.reaches(header.sequence - 1, header.ballot, room);
            self.batch(header, header.body(&bytes[*at..]));
            end = at.saturating_add(header.bytes()).min(bytes.len());
        }
        if last {
            self.tail(&bytes[end.min(bytes.len())..], generation, header, found.is_empty());
        }
        Ok(())
    }

    /// Every header that verifies, by sequence, with its place. A misdirected write may have put
    /// some where others were: what they say is true, and only their order counts.
    fn headers(&self, generation: u64, bytes: &[u8]) -> Result<Vec<(Header, usize)>, WalError> {
        let seal = Seal::new(self.key, generation);
        let mut found: BTreeMap<u64, (Header, usize)> = BTreeMap::new();
        let mut at = SEGMENT_HEADER_BYTES;
        while at + HEADER_BYTES <= bytes.len() {
            let Some(header) = batch::header(&bytes[at..], seal, generation) else {
                at += ALIGN;
                continue;
            };
            if !header.known() {
                let what = format!("batch version {} kind {}", header.version, header.kind);
                let name = segment_name(generation);
                return Err(WalError::new(WalErrorKind::Unknown, &name, at as u64, what));
            }
            let intact = header.body(&bytes[at..]).is_some();
            let next = at + if intact { header.bytes() } else { HEADER_BYTES };
            let twin = found.get(&header.sequence);
            if intact || twin.is_none_or(|(twin, at)| twin.body(&bytes[*at..]).is_none()) {
                found.insert(header.sequence, (header, at));
            }
            at = next;
        }
        Ok(found.into_values().collect())
    }

    /// Every batch up to `through` was written, under `ballot` or one below. Those not seen are
    /// gone; `room` is the number of bytes they lie in, if that is known.
    fn reaches(&mut self, through: u64, ballot: Ballot, room: Option<usize>) {
        let Some(sequence) = self.sequence else {
            // Segments before the first were released: a checkpoint covers their records. One
            // without its header may have lost its first batches.
            self.sequence = Some(through);
            if room.is_some_and(|room| room > 0) {
                self.gone(ballot.term);
            }
            return;
        };
        let Some(gone) = through.checked_sub(sequence) else {
            return self.fail(format!("batch {} comes after batch {sequence}", through + 1));
        };
        self.sequence = Some(through);
        if gone == 0 {
            return self.whole &= room.unwrap_or(0) == 0;
        }
        // Room for a header and nothing else: a vote, a mark or a truncation.
        if (gone, room) != (1, Some(HEADER_BYTES)) {
            self.gone(ballot.term);
        }
        self.whole = false;
    }

    fn gone(&mut self, term: Term) {
        self.whole = false;
        self.settle(None);
        self.unknown = self.unknown.max(Some(term));
    }

    /// Damaged batches ended right before the records that follow them, at `before`, unless what
    /// follows cut the log or is gone: a log has no holes.
    fn settle(&mut self, before: Option<LogIndex>) {
        if let Some((term, index)) = self.guess.take() {
            let index = before.map_or(index, |before| index.min(before));
            self.reach = self.reach.max((term, index));
        }
    }

    fn batch(&mut self, header: &Header, body: Option<&[u8]>) {
        let records = body.map(|body| header.records(body, LogIndex::ZERO));
        self.whole &= matches!(records, Some(Ok(_)));
        self.sequence = Some(header.sequence);
        self.ballot = self.ballot.max(header.ballot);
        if let Some(from) = header.truncate_from {
            self.settle(None);
            let keep = LogIndex(from.0.saturating_sub(1));
            self.end = self.end.min(keep);
            if let Some(term) = self.unknown.take() {
                self.end = keep;
                self.reach = self.reach.max((term, keep));
            }
            if self.whole {
                self.records.split_off(&from);
            }
        }
        match records {
            Some(Ok(records)) => {
                if let (Some(first), Some(last)) = (records.first(), records.last()) {
                    self.settle(Some(first.index.prev()));
                    // A log has no holes: what is gone lies below.
                    self.unknown = None;
                    self.end = last.index;
                    self.reach = self.reach.max((last.ballot.term, last.index));
                }
                if self.whole {
                    self.records.extend(records.into_iter().map(|record| (record.index, record)));
                    self.commit = self.commit.max(header.commit);
                }
            }
            Some(Err(error)) => {
                self.fail(format!("batch {} verifies and holds: {error}", header.sequence));
            }
            None if self.unknown.is_some() => self.gone(header.ballot.term),
            None => {
                let from = self.end.max(self.floor).0;
                self.end = LogIndex(from.saturating_add(u64::from(header.records)));
                self.guess = self.guess.max(Some((header.ballot.term, self.end)));
            }
        }
    }

    /// Behind the last batch there must be nothing, or the last promise may have been there.
    fn tail(&mut self, rest: &[u8], generation: u64, header: Option<&SegmentHeader>, empty: bool) {
        let name = segment_name(generation);
        if header.is_none() && empty {
            return self.fail(format!("nothing in {name}, the last segment, is intact"));
        }
        let clean = match header {
            Some(header) if header.recycled => !batch::begins(rest, generation),
            _ => rest.iter().all(|byte| *byte == 0),
        };
        if !clean {
            self.fail(format!("{name} ends in something that cannot be read"));
        }
    }

    fn finish(mut self) -> Survey {
        self.settle(None);
        let (term, index) = self.reach;
        let open = self.unknown.is_some_and(|unknown| unknown >= self.ballot.term);
        let proven = match self.failed {
            Some(why) => Err(why),
            None if open => Err("how far the last batches went is lost with their headers".into()),
            None => Ok(Proven {
                owner: self.owner,
                ballot: self.ballot,
                index: if term == self.ballot.term { index } else { LogIndex::ZERO },
            }),
        };
        Survey { records: self.records.into_values().collect(), commit: self.commit, proven }
    }
}

/// Renames every segment that is not of the journal with this `key` to `<name><suffix>`, where no
/// journal looks for it, and removes spare files. Durable on return; may be done again after a
/// crash. How many segments of that journal are there. Errors: `Io`.
pub fn set_aside(disk: &mut dyn Disk, key: u64, suffix: &str) -> Result<usize, WalError> {
    let names = disk.list().map_err(|e| WalError::io("", 0, "list", &e))?;
    let mut kept = 0;
    for name in &names {
        let fail = |e: std::io::Error| WalError::io(name, 0, "set aside", &e);
        if generation_of(name, "segment-").is_some() {
            let mut file = disk.open(name).map_err(fail)?;
            let bytes = read_up_to(file.as_mut(), 0, SEGMENT_HEADER_BYTES).map_err(fail)?;
            match SegmentHeader::decode(name, &bytes) {
                Ok((header, _)) if header.key == key => kept += 1,
                _ => disk.rename(name, &format!("{name}{suffix}")).map_err(fail)?,
            }
        } else if let Some(spare) = SPARE.own(name) {
            disk.remove(&spare).map_err(fail)?;
        }
    }
    disk.sync_dir().map_err(|e| WalError::io("", 0, "sync the directory", &e))?;
    Ok(kept)
}
