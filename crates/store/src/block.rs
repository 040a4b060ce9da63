//! Blocks of value and index files (`docs/design/value-format.md`): each knows its file, its kind
//! and its place.

use crate::StoreError;
use crate::disk::{again, read_up_to};
use base::codec::{DecodeError, Get, Put};
use base::limits::STORED_BYTES_MAX;
use base::planted;
use crc32c::crc32c_append;
use std::ops::Range;
use wal::DiskFile;

pub(crate) const HEAD_BYTES: usize = 24;
/// Longest body: one record that is larger than any block, and what stands around it.
pub(crate) const BODY_BYTES_MAX: usize = STORED_BYTES_MAX + 64;

const _: () = assert!(HEAD_BYTES + BODY_BYTES_MAX < u32::MAX as usize, "its length is a u32");

/// What stands before a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub tag: u32,
    crc: u32,
    len: u32,
    /// Records in it.
    pub count: u32,
    /// Its place among the blocks of the file.
    pub number: u64,
}

impl Head {
    /// As it stands there, believed by nobody. `None` where there are too few bytes.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let mut get = Get::new(bytes);
        let mut decode = || {
            let (tag, crc, len, count) = (get.u32()?, get.u32()?, get.u32()?, get.u32()?);
            Ok::<_, DecodeError>(Self { tag, crc, len, count, number: get.u64()? })
        };
        decode().ok()
    }

    /// Bytes of the block.
    pub fn block_bytes(&self) -> u64 {
        HEAD_BYTES as u64 + u64::from(self.len)
    }

    /// Whether a writer makes blocks of this length.
    pub fn is_bounded(&self) -> bool {
        self.len as usize <= BODY_BYTES_MAX
    }
}

/// Head and body of a block, with its checksum.
pub(crate) fn encode(seal: u32, (tag, number): (u32, u64), count: u32, body: &[u8]) -> Vec<u8> {
    assert!(count > 0 && body.len() <= BODY_BYTES_MAX, "who adds records keeps the bound");
    let mut out = Vec::with_capacity(HEAD_BYTES + body.len());
    out.put_u32(tag);
    out.put_u32(0);
    out.put_u32(u32::try_from(body.len()).expect("the bound is below 4 GiB"));
    out.put_u32(count);
    out.put_u64(number);
    assert_eq!(out.len(), HEAD_BYTES, "the layout of the format page");
    out.extend_from_slice(body);
    let crc = checksum(seal, &out);
    out[4..8].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Of a block that begins with its head, whatever stands in the place of the checksum.
fn checksum(seal: u32, block: &[u8]) -> u32 {
    crc32c_append(crc32c_append(seal, &block[..4]), &block[8..])
}

/// A block that verifies.
#[derive(Debug)]
pub(crate) struct Verified {
    pub head: Head,
    /// Head and body.
    pub bytes: Vec<u8>,
}

impl Verified {
    /// `None` unless `bytes` are exactly one block of the file with this seal.
    pub fn of(seal: u32, bytes: Vec<u8>) -> Option<Self> {
        let head = Head::of(&bytes)?;
        let whole = head.block_bytes() == bytes.len() as u64;
        let mut is_it = head.crc == checksum(seal, &bytes);
        is_it |= planted!(BlockUnchecked);
        is_it |= planted!(HashUnchecked);
        let sound = whole && head.count > 0 && is_it;
        sound.then_some(Self { head, bytes })
    }

    pub fn body(&self) -> &[u8] {
        &self.bytes[HEAD_BYTES..]
    }
}

/// An open file, as far as its blocks are concerned.
pub(crate) struct Source<'a> {
    pub file: &'a mut dyn DiskFile,
    pub name: &'a str,
    pub seal: u32,
}

impl Source<'_> {
    fn once(&mut self, (tag, number): (u32, u64), at: Range<u64>) -> Result<Verified, StoreError> {
        let len = usize::try_from(at.end.saturating_sub(at.start)).unwrap_or(usize::MAX);
        let bytes = read_up_to(self.file, self.name, at.start, len)?;
        let corrupt = |what| Err(StoreError::corrupt(self.name, at.start, what));
        let Some(block) = Verified::of(self.seal, bytes) else {
            return corrupt(format!("block {number} does not verify"));
        };
        if block.head.number != number {
            return corrupt(format!("block {} stands where {number} should", block.head.number));
        }
        if block.head.tag != tag {
            return corrupt(format!("block {number} is of another kind"));
        }
        Ok(block)
    }

    /// The block of this kind and number, which fills these bytes. Errors: `Io`, `Corrupt`.
    pub fn block(&mut self, place: (u32, u64), at: Range<u64>) -> Result<Verified, StoreError> {
        again(|| self.once(place, at.clone()))
    }

    /// The one that begins at the first of these bytes and ends by the last. Errors: as `block`.
    pub fn next(&mut self, place: (u32, u64), within: Range<u64>) -> Result<Verified, StoreError> {
        again(|| {
            let head = read_up_to(self.file, self.name, within.start, HEAD_BYTES)?;
            let len = Head::of(&head).filter(Head::is_bounded).map_or(0, |head| head.block_bytes());
            self.once(place, within.start..within.end.min(within.start.saturating_add(len)))
        })
    }
}
