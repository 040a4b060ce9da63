//! Batches as bytes.

use crate::{Batch, Record};
use base::codec::{DecodeError, Get, Put};
use base::limits::{JOURNAL_BATCH_BYTES_MAX, RECORD_BYTES_MAX};
use base::{Ballot, Blob, LogIndex, planted};
use crc32c::{crc32c, crc32c_append};

pub(crate) const HEADER_BYTES: usize = 88;
pub(crate) const ALIGN: usize = 8;
const MAGIC: u32 = u32::from_le_bytes(*b"QJBT");
const VERSION: u16 = 1;
const KIND_RECORDS: u16 = 1;
const KIND_MARK: u16 = 2;
const RECORD_HEADER_BYTES: usize = 32;
const CHECKSUM_AT: usize = 80;
const NO_TRUNCATION: u64 = u64::MAX;

/// Seeds header checksums, so that bytes of another journal or another use of the file never
/// verify.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seal(u32);

impl Seal {
    pub fn new(key: u64, generation: u64) -> Self {
        Self(crc32c_append(crc32c(&key.to_le_bytes()), &generation.to_le_bytes()))
    }
}

/// The position of a batch in the journal, known to writer and reader alike.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub generation: u64,
    pub sequence: u64,
    pub durable_through: u64,
    pub chain: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub version: u16,
    pub kind: u16,
    pub generation: u64,
    pub sequence: u64,
    pub durable_through: u64,
    pub ballot: Ballot,
    pub commit: LogIndex,
    pub truncate_from: Option<LogIndex>,
    pub body_bytes: usize,
    pub records: u32,
    pub chain: u32,
    pub body_crc: u32,
    /// The link the next batch carries.
    pub crc: u32,
}

pub(crate) const fn padded(n: usize) -> usize {
    n.div_ceil(ALIGN) * ALIGN
}

/// Bytes of the body without padding.
pub(crate) fn body_bytes(batch: &Batch<'_>) -> usize {
    batch.entries.iter().map(|r| RECORD_HEADER_BYTES + r.payload.len()).sum()
}

/// Whether a batch of this body, with payloads of at most so many bytes, may be written; if not,
/// the words for it.
pub(crate) fn within_bounds(payload: usize, body: usize) -> Result<(), String> {
    if payload > RECORD_BYTES_MAX {
        return Err(format!("payload of {payload} bytes; at most {RECORD_BYTES_MAX}"));
    }
    if body > JOURNAL_BATCH_BYTES_MAX {
        return Err(format!("batch of {body} bytes; at most {JOURNAL_BATCH_BYTES_MAX}"));
    }
    Ok(())
}

/// Appends the batch to `out` and returns its link. A batch without records and truncation is a
/// mark: it carries at most a ballot and a commit index.
pub(crate) fn encode(out: &mut Vec<u8>, seal: Seal, place: Place, batch: &Batch<'_>) -> u32 {
    assert!(place.durable_through < place.sequence, "a batch cannot vouch for itself");
    assert_eq!(out.len() % ALIGN, 0, "batches are aligned");
    let start = out.len();
    let body_len = body_bytes(batch);
    out.resize(start + HEADER_BYTES, 0);
    for record in batch.entries {
        out.put_u8(record.kind);
        out.extend_from_slice(&[0; 3]);
        out.put_u32(u32::try_from(record.payload.len()).expect("payload bound was checked"));
        out.put_u64(record.index.0);
        out.put_ballot(record.ballot);
        out.extend_from_slice(&record.payload);
    }
    assert_eq!(out.len() - start, HEADER_BYTES + body_len, "the body is as long as stated");
    out.resize(start + HEADER_BYTES + padded(body_len), 0);
    let body_crc = crc32c(&out[start + HEADER_BYTES..]);

    let mark = batch.entries.is_empty() && batch.truncate_from.is_none();
    let mut head = Vec::with_capacity(HEADER_BYTES);
    head.put_u32(MAGIC);
    head.put_u16(VERSION);
    head.put_u16(if mark { KIND_MARK } else { KIND_RECORDS });
    head.put_u64(place.generation);
    head.put_u64(place.sequence);
    head.put_u64(place.durable_through);
    head.put_ballot(batch.ballot);
    head.put_u64(batch.commit.0);
    head.put_u64(batch.truncate_from.map_or(NO_TRUNCATION, |i| i.0));
    head.put_u32(u32::try_from(body_len).expect("body bound was checked"));
    head.put_u32(u32::try_from(batch.entries.len()).expect("body bound was checked"));
    head.put_u32(place.chain);
    head.put_u32(body_crc);
    assert_eq!(head.len(), CHECKSUM_AT, "the layout of the format page");
    let crc = crc32c_append(seal.0, &head);
    head.put_u32(crc);
    head.put_u32(0);
    out[start..start + HEADER_BYTES].copy_from_slice(&head);
    crc
}

/// The header at the front of `bytes`, if one verifies under `seal`.
pub(crate) fn header(bytes: &[u8], seal: Seal, generation: u64) -> Option<Header> {
    let bytes = bytes.get(..HEADER_BYTES)?;
    if bytes[..4] != MAGIC.to_le_bytes() || bytes[CHECKSUM_AT + 4..] != [0; 4] {
        return None;
    }
    let header = fields(bytes).ok()?;
    let crc = crc32c_append(seal.0, &bytes[..CHECKSUM_AT]);
    (crc == header.crc && header.generation == generation).then_some(header)
}

/// Whether a header of this generation was begun here, finished or not.
pub(crate) fn begins(bytes: &[u8], generation: u64) -> bool {
    let is = |at: usize, wanted: &[u8]| bytes.get(at..at + wanted.len()) == Some(wanted);
    is(0, &MAGIC.to_le_bytes()) && is(8, &generation.to_le_bytes())
}

fn fields(bytes: &[u8]) -> Result<Header, DecodeError> {
    let mut get = Get::new(bytes);
    get.u32()?;
    let (version, kind) = (get.u16()?, get.u16()?);
    let (generation, sequence, durable_through) = (get.u64()?, get.u64()?, get.u64()?);
    let (ballot, commit, truncate) = (get.ballot()?, get.index()?, get.u64()?);
    let (body_bytes, records) = (get.u32()? as usize, get.u32()?);
    let (chain, body_crc, crc) = (get.u32()?, get.u32()?, get.u32()?);
    Ok(Header {
        version,
        kind,
        generation,
        sequence,
        durable_through,
        ballot,
        commit,
        truncate_from: (truncate != NO_TRUNCATION).then_some(LogIndex(truncate)),
        body_bytes,
        records,
        chain,
        body_crc,
        crc,
    })
}

impl Header {
    /// Whole length on disk.
    pub fn bytes(&self) -> usize {
        HEADER_BYTES + padded(self.body_bytes)
    }

    pub fn known(&self) -> bool {
        self.version == VERSION && matches!(self.kind, KIND_RECORDS | KIND_MARK)
    }

    /// The padded body behind this header, if it is all there and verifies.
    pub fn body<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let body = bytes.get(HEADER_BYTES..self.bytes())?;
        (crc32c(body) == self.body_crc || planted!(TornBatchKept)).then_some(body)
    }

    /// Those up to `base` without their payload: a checkpoint holds what they say.
    pub fn records(&self, body: &[u8], base: LogIndex) -> Result<Vec<Record>, DecodeError> {
        let mut get = Get::new(body.get(..self.body_bytes).ok_or(DecodeError::Truncated)?);
        let mut records = Vec::new();
        for _ in 0..self.records {
            let kind = get.u8()?;
            if get.take(3)? != [0; 3] {
                return Err(DecodeError::Invalid { what: "record padding" });
            }
            let len = get.u32()? as usize;
            let (index, ballot) = (get.index()?, get.ballot()?);
            let payload = get.take(len)?;
            let payload = if index > base { Blob::from(payload) } else { Blob::default() };
            records.push(Record { kind, index, ballot, payload });
        }
        get.finish()?;
        Ok(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Prng;

    /// A batch with a true checksum and anything in its fields.
    fn forged(p: &mut Prng, seal: Seal) -> Vec<u8> {
        let number = |p: &mut Prng| match p.below(4) {
            0 => p.next_u64(),
            1 => u64::MAX,
            _ => p.below(100),
        };
        let (mut body, mut records) = (Vec::new(), 0);
        for _ in 0..p.below(4) {
            records += 1;
            let len = p.below(20);
            body.put_u32(1);
            body.put_u32(if p.below(9) == 0 { number(p) as u32 } else { len as u32 });
            (0..3).for_each(|_| body.put_u64(number(p)));
            body.extend((0..len).map(|_| 7));
        }
        let mut bytes = Vec::new();
        bytes.put_u32(MAGIC);
        bytes.put_u16(1);
        bytes.put_u16(1 + p.below(3) as u16);
        bytes.put_u64(1);
        (0..6).for_each(|_| bytes.put_u64(number(p)));
        bytes.put_u32(if p.below(2) == 0 { body.len() as u32 } else { number(p) as u32 });
        bytes.put_u32(if p.below(2) == 0 { records } else { number(p) as u32 });
        bytes.put_u32(0);
        let mut whole = body.clone();
        whole.resize(padded(body.len()), 0);
        bytes.put_u32(crc32c(&whole));
        let crc = crc32c_append(seal.0, &bytes);
        bytes.put_u32(crc);
        bytes.put_u32(0);
        bytes.extend(whole);
        bytes
    }

    #[test]
    fn forged_headers_and_bodies_are_refused_or_bounded_by_what_is_there() {
        let (mut p, seal) = (Prng::new(5), Seal::new(7, 1));
        let (mut headers, mut bodies, mut read) = (0, 0, 0);
        for _ in 0..100_000 {
            let mut bytes = forged(&mut p, seal);
            if p.below(4) == 0 {
                bytes.truncate(p.below(bytes.len() as u64) as usize);
            }
            let Some(header) = header(&bytes, seal, 1) else { continue };
            headers += 1;
            let Some(body) = header.body(&bytes) else { continue };
            bodies += 1;
            assert!(header.bytes() <= bytes.len());
            let Ok(records) = header.records(body, LogIndex::ZERO) else { continue };
            read += 1;
            assert!(records.len() * RECORD_HEADER_BYTES <= body.len());
        }
        assert!(headers > 10_000 && bodies > 1000 && read > 1000, "{headers} {bodies} {read}");
    }

    fn place(sequence: u64) -> Place {
        Place { generation: 9, sequence, durable_through: 3, chain: 0xc4a1 }
    }

    fn encoded(entries: &[Record], truncate_from: Option<LogIndex>) -> Vec<u8> {
        let ballot = Ballot::new(6, 2);
        let batch = Batch { ballot, truncate_from, entries, commit: LogIndex(11) };
        let mut out = Vec::new();
        let crc = encode(&mut out, Seal::new(7, 9), place(5), &batch);
        assert_eq!(out[80..84], crc.to_le_bytes());
        out
    }

    fn record() -> Record {
        let payload = Blob::from(*b"abc");
        Record { kind: 4, index: LogIndex(12), ballot: Ballot::new(5, 1), payload }
    }

    #[test]
    fn a_batch_is_laid_out_as_the_format_page_says() {
        let bytes = encoded(&[record()], Some(LogIndex(10)));
        let numbers = |from: usize, n: usize| -> Vec<u64> {
            let mut get = Get::new(&bytes[from..]);
            (0..n).map(|_| get.u64().unwrap()).collect()
        };
        assert_eq!(bytes[..8], *b"QJBT\x01\0\x01\0");
        // Generation, sequence, durable through, ballot, commit, truncated from.
        assert_eq!(numbers(8, 7), [9, 5, 3, 6, 2, 11, 10]);
        assert_eq!(numbers(64, 1), [35 | 1 << 32], "bytes without padding, records");
        assert_eq!(bytes[72..76], 0xc4a1_u32.to_le_bytes());
        assert_eq!(bytes[76..80], crc32c(&bytes[88..]).to_le_bytes());
        assert_eq!(bytes[84..88], [0; 4]);
        assert_eq!(bytes[88..96], *b"\x04\0\0\0\x03\0\0\0");
        assert_eq!(numbers(96, 3), [12, 5, 1]);
        assert_eq!(bytes[120..], *b"abc\0\0\0\0\0");
    }

    #[test]
    fn a_batch_is_of_the_other_kind_when_it_neither_holds_nor_voids_a_record() {
        let kind = |bytes: Vec<u8>| (bytes[6], bytes.len());
        assert_eq!(kind(encoded(&[], None)), (2, 88));
        assert_eq!(kind(encoded(&[], Some(LogIndex(4)))), (1, 88));
        assert_eq!(kind(encoded(&[record()], None)), (1, 128));
    }

    #[test]
    fn a_header_needs_its_magic_its_zeros_its_seal_and_its_generation() {
        let (whole, seal) = (encoded(&[], None), Seal::new(7, 9));
        let resealed = |at: usize| {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            let crc = crc32c_append(seal.0, &bytes[..80]);
            bytes[80..84].copy_from_slice(&crc.to_le_bytes());
            bytes
        };
        let found = header(&whole, seal, 9).unwrap();
        assert_eq!((found.sequence, found.known(), found.bytes()), (5, true, 88));
        assert_eq!(header(&whole[..87], seal, 9), None);
        assert_eq!(header(&resealed(0), seal, 9), None, "magic");
        assert_eq!(header(&resealed(84), seal, 9), None, "the zeros behind the checksum");
        assert_eq!(header(&whole, seal, 8), None);
        for other in [Seal::new(7, 8), Seal::new(8, 9)] {
            assert_eq!(header(&whole, other, 9), None);
        }
        // Another version or kind is a whole header that this build cannot read.
        for at in [4, 6] {
            assert!(!header(&resealed(at), seal, 9).unwrap().known(), "byte {at}");
        }
    }

    #[test]
    fn a_header_is_begun_with_its_magic_and_generation() {
        let whole = encoded(&[], None);
        assert!(begins(&whole[..16], 9));
        assert!(!begins(&whole[..15], 9) && !begins(&whole, 8));
        let other = [b"xJBT", &whole[4..]].concat();
        assert!(!begins(&other, 9));
    }

    #[test]
    fn payloads_and_bodies_are_taken_up_to_their_bounds_and_refused_above() {
        within_bounds(RECORD_BYTES_MAX, JOURNAL_BATCH_BYTES_MAX).unwrap();
        let refused = |payload, body| within_bounds(payload, body).unwrap_err();
        let payload = "payload of 268435457 bytes; at most 268435456";
        assert_eq!(refused(RECORD_BYTES_MAX + 1, 0), payload);
        let body = "batch of 1073741825 bytes; at most 1073741824";
        assert_eq!(refused(0, JOURNAL_BATCH_BYTES_MAX + 1), body);
    }

    #[test]
    fn padding_in_a_record_that_is_not_zero_is_refused() {
        let bytes = encoded(&[record()], None);
        let header = header(&bytes, Seal::new(7, 9), 9).unwrap();
        let mut body = header.body(&bytes).unwrap().to_vec();
        assert_eq!(header.records(&body, LogIndex::ZERO), Ok(vec![record()]));
        body[3] = 1;
        let error = header.records(&body, LogIndex::ZERO).unwrap_err();
        assert_eq!(error, DecodeError::Invalid { what: "record padding" });
    }
}
