//! Segment headers and names.

use crate::disk::{is_blank, read_up_to};
use crate::ours::{SEGMENT, SPARE};
use crate::{Disk, Owner, WalError, WalErrorKind};
use base::codec::{Get, Put};
use base::{Ballot, LogIndex, NodeId};
use crc32c::crc32c;

pub(crate) const SEGMENT_HEADER_BYTES: usize = 512;
const MAGIC: &[u8; 8] = b"QJSEG\0\0\0";
const VERSION: u32 = 1;
/// Neither sequence numbers nor generations ever come near; counting up cannot overflow.
const SEQUENCE_MAX: u64 = u64::MAX / 2;
const CHECKSUM_AT: usize = SEGMENT_HEADER_BYTES - 4;

/// The first 512 bytes of a segment: enough to start from when all earlier ones are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub key: u64,
    pub generation: u64,
    pub generation_before: u64,
    pub sequence_first: u64,
    pub ballot: Ballot,
    pub commit: LogIndex,
    pub owner: Owner,
    /// Checksum of the last batch header before this segment; 0 = none.
    pub chain: u32,
    /// The file held another segment before; else all behind the last batch is zero.
    pub recycled: bool,
}

impl SegmentHeader {
    pub fn encode(&self) -> Vec<u8> {
        assert!(self.generation > self.generation_before, "generations rise");
        assert!(self.sequence_first > 0, "sequences start at one");
        let mut out = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        out.extend_from_slice(MAGIC);
        out.put_u32(VERSION);
        out.put_u32(SEGMENT_HEADER_BYTES as u32);
        out.put_u64(self.key);
        out.put_u64(self.generation);
        out.put_u64(self.generation_before);
        out.put_u64(self.sequence_first);
        out.put_u64(self.sequence_first - 1);
        out.put_ballot(self.ballot);
        out.put_u64(self.commit.0);
        out.put_u64(self.owner.cluster);
        out.put_u64(self.owner.member.0);
        out.put_u32(self.chain);
        out.put_u32(u32::from(self.recycled));
        assert_eq!(out.len(), 104, "the layout of the format page");
        out.resize(CHECKSUM_AT, 0);
        let crc = crc32c(&out);
        out.put_u32(crc);
        out
    }

    /// Reads the header of `file`. A segment is named only after its header is durable, so any
    /// damage here is corruption.
    pub fn decode(file: &str, bytes: &[u8]) -> Result<(Self, u32), WalError> {
        if bytes.len() < SEGMENT_HEADER_BYTES {
            return Err(WalError::corrupt(file, bytes.len() as u64, "segment header cut short"));
        }
        let bytes = &bytes[..SEGMENT_HEADER_BYTES];
        let stored = Get::new(&bytes[CHECKSUM_AT..]).u32().unwrap_or_default();
        if stored != crc32c(&bytes[..CHECKSUM_AT]) {
            return Err(WalError::corrupt(file, 0, "segment header checksum"));
        }
        let header = Self::fields(&bytes[8..])
            .map_err(|e| WalError::corrupt(file, 0, format!("segment header: {e}")))?;
        if &bytes[..8] != MAGIC {
            let what = "it is not a segment: its first bytes are another file's";
            return Err(WalError::new(WalErrorKind::Unknown, file, 0, what.to_string()));
        }
        let version = Get::new(&bytes[8..]).u32().unwrap_or_default();
        if version != VERSION {
            let what = format!("segment version {version}; this build reads {VERSION}");
            return Err(WalError::new(WalErrorKind::Unknown, file, 8, what));
        }
        let sane = (1..=SEQUENCE_MAX).contains(&header.sequence_first)
            && (1..=SEQUENCE_MAX).contains(&header.generation);
        if !sane || header.generation <= header.generation_before {
            return Err(WalError::corrupt(file, 24, "segment header breaks its own order"));
        }
        if segment_name(header.generation) != file {
            let what =
                format!("holds generation {:x}, not the one it is named by", header.generation);
            return Err(WalError::corrupt(file, 24, what));
        }
        Ok((header, stored))
    }

    fn fields(bytes: &[u8]) -> Result<Self, base::codec::DecodeError> {
        let mut get = Get::new(bytes);
        let (_version, _len) = (get.u32()?, get.u32()?);
        let (key, generation, generation_before) = (get.u64()?, get.u64()?, get.u64()?);
        let (sequence_first, _durable) = (get.u64()?, get.u64()?);
        let (ballot, commit) = (get.ballot()?, get.index()?);
        let owner = Owner { cluster: get.u64()?, member: NodeId(get.u64()?) };
        let chain = get.u32()?;
        let recycled = get.u32()? & 1 != 0;
        Ok(Self {
            key,
            generation,
            generation_before,
            sequence_first,
            ballot,
            commit,
            owner,
            chain,
            recycled,
        })
    }
}

pub(crate) fn segment_name(generation: u64) -> String {
    format!("segment-{generation:016x}.qj")
}

pub(crate) fn spare_name(generation: u64) -> String {
    format!("spare-{generation:016x}.qj")
}

pub(crate) fn generation_of(name: &str, prefix: &str) -> Option<u64> {
    let own = [SEGMENT, SPARE].iter().any(|shape| shape.own(name).is_some());
    let hex = name.strip_prefix(prefix)?.strip_suffix(".qj").filter(|_| own)?;
    u64::from_str_radix(hex, 16).ok()
}

/// Whether `name` is the first segment of a journal that nothing was ever written to: not a vote,
/// not an entry. Errors: `Io`.
pub fn is_unused(disk: &mut dyn Disk, name: &str) -> Result<bool, WalError> {
    let fail = |e: std::io::Error| WalError::io(name, 0, "read", &e);
    let mut file = disk.open(name).map_err(fail)?;
    let bytes = read_up_to(file.as_mut(), 0, SEGMENT_HEADER_BYTES).map_err(fail)?;
    let Ok((header, _)) = SegmentHeader::decode(name, &bytes) else { return Ok(false) };
    let first = header.generation == 1 && header.sequence_first == 1;
    Ok(first && is_blank(file.as_mut(), SEGMENT_HEADER_BYTES).map_err(fail)?)
}

/// What the journal knows of one segment in memory.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub generation: u64,
    /// Highest index with a live record here; `None` = no live record.
    pub index_max: Option<LogIndex>,
    /// Bytes in use.
    pub bytes: u64,
}

impl Segment {
    pub fn add(&mut self, index: LogIndex) {
        self.index_max = self.index_max.max(Some(index));
    }

    pub fn truncate(&mut self, from: LogIndex) {
        let last = if from == LogIndex::ZERO { None } else { Some(from.prev()) };
        self.index_max = self.index_max.min(last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Prng;

    #[test]
    fn any_checksummed_header_is_read_back_or_refused() {
        let mut p = Prng::new(3);
        let mut read = 0;
        for _ in 0..100_000 {
            let mut number = |_| match p.below(4) {
                0 => p.next_u64(),
                1 => u64::MAX,
                _ => p.below(4),
            };
            let mut bytes = MAGIC.to_vec();
            bytes.put_u32(VERSION);
            bytes.put_u32(SEGMENT_HEADER_BYTES as u32);
            (0..12).map(&mut number).for_each(|x| bytes.put_u64(x));
            bytes.resize(CHECKSUM_AT, 0);
            let crc = crc32c(&bytes);
            bytes.put_u32(crc);
            let generation = Get::new(&bytes[24..]).u64().unwrap();
            let Ok((header, _)) = SegmentHeader::decode(&segment_name(generation), &bytes) else {
                continue;
            };
            read += 1;
            let again = SegmentHeader::decode(&segment_name(generation), &header.encode());
            assert_eq!(again.unwrap().0, header);
        }
        assert!(read > 100, "{read} were taken");
    }

    const HEADER: SegmentHeader = SegmentHeader {
        key: 21,
        generation: 9,
        generation_before: 8,
        sequence_first: 40,
        ballot: Ballot::new(5, 2),
        commit: LogIndex(33),
        owner: Owner { cluster: 7, member: NodeId(3) },
        chain: 0xc4a1,
        recycled: true,
    };

    /// Changes bytes of a header and makes its checksum true again.
    fn forged(at: usize, with: &[u8]) -> Vec<u8> {
        let mut bytes = HEADER.encode();
        bytes[at..at + with.len()].copy_from_slice(with);
        bytes.truncate(CHECKSUM_AT);
        let crc = crc32c(&bytes);
        bytes.put_u32(crc);
        bytes
    }

    #[test]
    fn a_segment_header_is_laid_out_as_the_format_page_says() {
        let bytes = HEADER.encode();
        let mut get = Get::new(&bytes[8..]);
        assert_eq!(bytes[..8], *b"QJSEG\0\0\0");
        assert_eq!((get.u32(), get.u32()), (Ok(1), Ok(512)));
        let numbers: Vec<u64> = (0..10).map(|_| get.u64().unwrap()).collect();
        // Key, generation and the one before, first sequence, durable through, ballot, commit,
        // cluster, member.
        assert_eq!(numbers, [21, 9, 8, 40, 39, 5, 2, 33, 7, 3]);
        assert_eq!((get.u32(), get.u32()), (Ok(0xc4a1), Ok(1)));
        assert!(bytes[104..508].iter().all(|byte| *byte == 0));
        assert_eq!((bytes.len(), &bytes[508..]), (512, &crc32c(&bytes[..508]).to_le_bytes()[..]));
        let fresh = SegmentHeader { recycled: false, ..HEADER }.encode();
        assert_eq!(fresh[100..104], [0; 4]);
    }

    #[test]
    fn a_header_that_cannot_be_is_refused_with_its_reason() {
        let name = segment_name(9);
        let said = |bytes: &[u8]| {
            let error = SegmentHeader::decode(&name, bytes).unwrap_err();
            (error.kind, error.offset, error.what)
        };
        let corrupt = |at, what: &str| (WalErrorKind::Corrupt, at, what.to_owned());
        assert_eq!(SegmentHeader::decode(&name, &HEADER.encode()).unwrap().0, HEADER);
        assert_eq!(said(&HEADER.encode()[..511]), corrupt(511, "segment header cut short"));
        let mut flipped = HEADER.encode();
        flipped[300] = 1;
        assert_eq!(said(&flipped), corrupt(0, "segment header checksum"));
        let unknown = |at, what: &str| (WalErrorKind::Unknown, at, what.to_owned());
        let other = "it is not a segment: its first bytes are another file's";
        assert_eq!(said(&forged(0, b"q")), unknown(0, other));
        let later = "segment version 2; this build reads 1";
        assert_eq!(said(&forged(8, &[2])), unknown(8, later));
        let order = corrupt(24, "segment header breaks its own order");
        let most = SEQUENCE_MAX.to_le_bytes();
        let above = (SEQUENCE_MAX + 1).to_le_bytes();
        let (none, before) = (0_u64.to_le_bytes(), 9_u64.to_le_bytes());
        for (at, with) in [(32, &before), (40, &none), (40, &above), (24, &none), (24, &above)] {
            assert_eq!(said(&forged(at, with)), order, "{with:?} at {at}");
        }
        let taken = SegmentHeader::decode(&name, &forged(40, &most)).unwrap().0;
        assert_eq!(taken.sequence_first, SEQUENCE_MAX);
        let what = "holds generation ff, not the one it is named by";
        assert_eq!(said(&forged(24, &[255])), corrupt(24, what));
    }

    #[test]
    fn only_a_blank_first_segment_is_unused() {
        let disk = crate::MemDisk::new();
        let name = segment_name(1);
        let unused = |header: &SegmentHeader, behind: &[u8]| {
            let name = segment_name(header.generation);
            let mut file = disk.clone().create(&name).unwrap();
            file.write_at(0, &header.encode()).unwrap();
            file.write_at(512, behind).unwrap();
            is_unused(&mut disk.clone(), &name).unwrap()
        };
        assert_eq!(is_unused(&mut disk.clone(), &name).unwrap_err().kind, WalErrorKind::Io);
        let first =
            SegmentHeader { generation: 1, generation_before: 0, sequence_first: 1, ..HEADER };
        assert!(unused(&first, &[]) && unused(&first, &[0; 200_000]));
        for at in [0, (64 << 10) - 1, 64 << 10, 199_999] {
            let mut behind = vec![0; 200_000];
            behind[at] = 1;
            assert!(!unused(&first, &behind), "a byte at {at}");
        }
        assert!(!unused(&SegmentHeader { sequence_first: 2, ..first }, &[]));
        assert!(!unused(&SegmentHeader { generation: 2, ..first }, &[]));
        assert!(unused(&first, &[0]));
        assert!(disk.flip(&name, 9, 1));
        assert!(!is_unused(&mut disk.clone(), &name).unwrap(), "damaged");
    }

    #[test]
    fn names_are_read_back_as_generations_of_their_own_kind() {
        assert_eq!(generation_of(&segment_name(0xab), "segment-"), Some(0xab));
        assert_eq!(generation_of(&spare_name(1 << 63), "spare-"), Some(1 << 63));
        assert_eq!(generation_of(&spare_name(1), "segment-"), None);
        assert_eq!(generation_of("segment-ab.qj", "segment-"), None);
    }

    #[test]
    fn a_truncation_lowers_the_last_live_index_and_never_lifts_it() {
        let mut segment = Segment { generation: 1, index_max: None, bytes: 0 };
        segment.truncate(LogIndex(9));
        assert_eq!(segment.index_max, None);
        segment.add(LogIndex(5));
        segment.add(LogIndex(4));
        let mut after = |from: u64| {
            segment.truncate(LogIndex(from));
            segment.index_max.map(|index| index.0)
        };
        assert_eq!([after(7), after(6), after(5), after(3)], [Some(5), Some(5), Some(4), Some(2)]);
        assert_eq!(after(0), None);
    }
}
