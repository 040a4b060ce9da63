//! The beginning and the end of a file: magic, version and checksum; the footer.

use crate::disk::read_up_to;
use crate::{StoreError, StoreErrorKind};
use base::codec::{DecodeError, Get, Put};
use crc32c::crc32c;
use wal::DiskFile;

/// Which files these are, and the version that this build writes and reads.
#[derive(Clone, Copy)]
pub(crate) struct Form {
    pub magic: &'static [u8; 8],
    pub version: u32,
}

impl Form {
    /// What stands before the fields.
    pub fn begin(&self) -> Vec<u8> {
        let mut out = self.magic.to_vec();
        out.put_u32(self.version);
        out
    }

    /// The fields between version and checksum, and the checksum. `bytes` begin with the magic and
    /// end with the checksum. Errors: `Corrupt`, `Unknown`.
    pub fn open<'a>(&self, name: &str, bytes: &'a [u8]) -> Result<(Get<'a>, u32), StoreError> {
        let Some((content, crc)) = bytes.split_last_chunk::<4>() else {
            return Err(StoreError::corrupt(name, 0, "cut short"));
        };
        let crc = u32::from_le_bytes(*crc);
        if crc32c(content) != crc || !content.starts_with(self.magic) {
            return Err(StoreError::corrupt(name, 0, "header checksum"));
        }
        let mut get = Get::new(&content[self.magic.len()..]);
        let version = get.u32().map_err(|e| StoreError::corrupt(name, 8, e.to_string()))?;
        if version != self.version {
            let what = format!("version {version}; this build reads {}", self.version);
            return Err(StoreError::new(StoreErrorKind::Unknown, name, 8, what));
        }
        Ok((get, crc))
    }
}

/// Puts the checksum of all that was written behind it, and returns it.
pub(crate) fn seal(out: &mut Vec<u8>) -> u32 {
    let crc = crc32c(out);
    out.put_u32(crc);
    crc
}

/// The last bytes of a file, with `N` numbers of its own kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Footer<const N: usize> {
    pub counts: [u64; N],
    /// Of the whole file.
    pub len: u64,
    /// Of every byte before the footer.
    pub digest: u64,
    /// Of the header; zero where blocks do not go on from it.
    pub seal: u32,
}

impl<const N: usize> Footer<N> {
    pub const BYTES: usize = 4 + 8 * N + 8 + 8 + 4 + 4;

    pub fn encode(&self, tag: [u8; 4]) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::BYTES);
        out.extend_from_slice(&tag);
        for count in self.counts {
            out.put_u64(count);
        }
        out.put_u64(self.len);
        out.put_u64(self.digest);
        out.put_u32(self.seal);
        seal(&mut out);
        assert_eq!(out.len(), Self::BYTES, "the layout of the format page");
        out
    }

    /// The footer of a file, as long as it says. Errors: `Io`, `Corrupt`.
    pub fn read(file: &mut dyn DiskFile, name: &str, tag: [u8; 4]) -> Result<Self, StoreError> {
        let len = file.len().map_err(|e| StoreError::io(name, "length", &e))?;
        let at = len.saturating_sub(Self::BYTES as u64);
        let bytes = read_up_to(file, name, at, Self::BYTES)?;
        let footer = Self::decode(&bytes, tag)
            .map_err(|e| StoreError::corrupt(name, at, format!("footer: {e}")))?;
        if footer.len != len {
            let what = format!("{len} bytes long; its footer says {}", footer.len);
            return Err(StoreError::corrupt(name, at, what));
        }
        Ok(footer)
    }

    fn decode(bytes: &[u8], tag: [u8; 4]) -> Result<Self, DecodeError> {
        let mut get = Get::new(bytes);
        let crc = crc32c(get.clone().take(Self::BYTES - 4)?);
        let stated = get.take(4)?;
        let mut counts = [0; N];
        for count in &mut counts {
            *count = get.u64()?;
        }
        let footer = Self { counts, len: get.u64()?, digest: get.u64()?, seal: get.u32()? };
        if get.u32()? != crc || stated != tag {
            return Err(DecodeError::Invalid { what: "checksum" });
        }
        get.finish()?;
        Ok(footer)
    }
}
