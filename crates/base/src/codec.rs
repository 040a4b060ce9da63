//! Little-endian byte codec with bounds checks: bytes from a disk or a network never panic.

use crate::{Ballot, Birth, Blob, Incarnation, Life, LogIndex, NodeId, RequestId, Term};
use alloc::vec::Vec;
use core::fmt;

/// Why bytes could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The input ended inside a value.
    Truncated,
    /// Bytes are left after the last value.
    Trailing,
    /// A tag, kind or version this build does not know.
    Unknown {
        /// The field, by name.
        what: &'static str,
        /// What it holds, widened.
        value: u64,
    },
    /// A value that breaks a stated bound or rule.
    Invalid {
        /// The field, by name.
        what: &'static str,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("input ends inside a value"),
            Self::Trailing => f.write_str("bytes left after the last value"),
            Self::Unknown { what, value } => write!(f, "unknown {what} {value}"),
            Self::Invalid { what } => write!(f, "invalid {what}"),
        }
    }
}

impl core::error::Error for DecodeError {}

/// Takes values in order: a buffer appends them, a digest grows by them.
pub trait Put {
    /// One byte.
    fn put_u8(&mut self, v: u8);
    /// Two bytes, little endian.
    fn put_u16(&mut self, v: u16);
    /// Four bytes, little endian.
    fn put_u32(&mut self, v: u32);
    /// Eight bytes, little endian.
    fn put_u64(&mut self, v: u64);
    /// Eight bytes, little endian, two's complement.
    fn put_i64(&mut self, v: i64);
    /// Length as u32, then the bytes.
    fn put_bytes(&mut self, v: &[u8]);

    /// Term, then node: sixteen bytes.
    fn put_ballot(&mut self, v: Ballot) {
        self.put_u64(v.term.0);
        self.put_u64(v.node.0);
    }

    /// Origin, incarnation, sequence: 24 bytes.
    fn put_request_id(&mut self, v: RequestId) {
        self.put_u64(v.origin.0);
        self.put_u64(v.incarnation.0);
        self.put_u64(v.seq);
    }

    /// Birth, then incarnation: sixteen bytes.
    fn put_life(&mut self, v: Life) {
        self.put_u64(v.birth.0);
        self.put_u64(v.incarnation.0);
    }
}

/// Takes bytes as they are: its values are little endian, and nothing stands between them.
pub trait PutAll {
    /// Those bytes.
    fn put_all(&mut self, v: &[u8]);
}

impl<T: PutAll> Put for T {
    fn put_u8(&mut self, v: u8) {
        self.put_all(&[v]);
    }
    fn put_u16(&mut self, v: u16) {
        self.put_all(&v.to_le_bytes());
    }
    fn put_u32(&mut self, v: u32) {
        self.put_all(&v.to_le_bytes());
    }
    fn put_u64(&mut self, v: u64) {
        self.put_all(&v.to_le_bytes());
    }
    fn put_i64(&mut self, v: i64) {
        self.put_all(&v.to_le_bytes());
    }
    fn put_bytes(&mut self, v: &[u8]) {
        self.put_u32(u32::try_from(v.len()).expect("byte strings are bounded far below 4 GiB"));
        self.put_all(v);
    }
}

/// Counts bytes in place of writing them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Length(pub usize);

impl PutAll for Length {
    fn put_all(&mut self, v: &[u8]) {
        self.0 += v.len();
    }
}

impl PutAll for Vec<u8> {
    fn put_all(&mut self, v: &[u8]) {
        self.extend_from_slice(v);
    }
}

/// A blob that is filled in the memory where it stays; see [`blob`].
#[derive(Debug)]
pub struct Fill<'a> {
    left: &'a mut [u8],
}

impl PutAll for Fill<'_> {
    /// Panics beyond the length that was stated.
    fn put_all(&mut self, v: &[u8]) {
        let left = core::mem::take(&mut self.left);
        let (here, left) = left.split_at_mut(v.len());
        here.copy_from_slice(v);
        self.left = left;
    }
}

/// A blob of `len` bytes, which `write` fills: a vector would be copied once more.
///
/// Panics when `write` puts more or less.
pub fn blob(len: usize, write: impl FnOnce(&mut Fill<'_>)) -> Blob {
    let mut blob: Blob = core::iter::repeat_n(0, len).collect();
    let mut fill = Fill { left: Blob::get_mut(&mut blob).expect("nobody else has it yet") };
    write(&mut fill);
    assert!(fill.left.is_empty(), "its length was stated");
    blob
}

/// Reads values from the front of a slice.
#[derive(Clone, Debug)]
pub struct Get<'a> {
    rest: &'a [u8],
}

impl<'a> Get<'a> {
    /// Starts at the first byte.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
    /// Bytes not read yet.
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }
    /// The next `n` bytes as they are.
    ///
    /// # Errors
    /// Fewer than `n` are left; nothing was read then. The same holds of every reader below.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let (head, tail) = self.rest.split_at_checked(n).ok_or(DecodeError::Truncated)?;
        self.rest = tail;
        Ok(head)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, tail) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.rest = tail;
        Ok(*head)
    }
    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }
    /// One byte, 0 or 1.
    ///
    /// # Errors
    /// Any other byte: one value has one encoding.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Invalid { what: "boolean" }),
        }
    }
    /// Two bytes, little endian.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array()?))
    }
    /// Four bytes, little endian.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }
    /// Eight bytes, little endian.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }
    /// Eight bytes, little endian, two's complement.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_le_bytes(self.array()?))
    }
    /// A u32 length, then so many bytes, borrowed: a forged length reserves nothing.
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let n = self.u32()?;
        self.take(usize::try_from(n).map_err(|_| DecodeError::Truncated)?)
    }
    /// As [`Get::bytes`], copied.
    pub fn blob(&mut self) -> Result<Blob, DecodeError> {
        Ok(Blob::from(self.bytes()?))
    }
    /// As [`Get::bytes`], which must be UTF-8.
    pub fn str(&mut self) -> Result<&'a str, DecodeError> {
        core::str::from_utf8(self.bytes()?).map_err(|_| DecodeError::Invalid { what: "utf-8" })
    }
    /// A log index: eight bytes.
    pub fn index(&mut self) -> Result<LogIndex, DecodeError> {
        Ok(LogIndex(self.u64()?))
    }
    /// What [`Put::put_ballot`] wrote.
    pub fn ballot(&mut self) -> Result<Ballot, DecodeError> {
        Ok(Ballot { term: Term(self.u64()?), node: NodeId(self.u64()?) })
    }
    /// What [`Put::put_life`] wrote.
    pub fn life(&mut self) -> Result<Life, DecodeError> {
        Ok(Life { birth: Birth(self.u64()?), incarnation: Incarnation(self.u64()?) })
    }
    /// What [`Put::put_request_id`] wrote.
    pub fn request_id(&mut self) -> Result<RequestId, DecodeError> {
        Ok(RequestId {
            origin: NodeId(self.u64()?),
            incarnation: Incarnation(self.u64()?),
            seq: self.u64()?,
        })
    }
    /// Every value must be read: trailing bytes mean a reader and writer that disagree.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(out: &mut impl Put) {
        out.put_u8(1);
        out.put_u16(2);
        out.put_u32(3);
        out.put_u64(4);
        out.put_i64(-5);
        out.put_bytes(b"six");
    }

    #[test]
    fn a_blob_is_filled_with_what_a_vector_would_hold() {
        let (mut vector, mut length) = (Vec::new(), Length::default());
        write(&mut vector);
        write(&mut length);
        assert_eq!(vector.len(), length.0);
        assert_eq!(*blob(length.0, |out| write(out)), vector);
        assert_eq!(*blob(3, |out| out.put_all(b"abc")), *b"abc");
        assert_eq!(*blob(0, |_| ()), []);
    }

    #[test]
    #[should_panic(expected = "its length was stated")]
    fn a_blob_that_is_not_full_is_noticed() {
        drop(blob(31, |out| write(out)));
    }
}
