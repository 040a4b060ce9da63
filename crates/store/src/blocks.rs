//! A file of blocks being written.

use crate::block::encode;
use crate::draft::Draft;
use crate::{StoreError, frame};
use base::codec::Put;
use base::limits::STORED_BYTES_MAX;
use wal::Disk;

/// A kind of blocks: its tag, and the length a body has at most unless one record is longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub tag: [u8; 4],
    pub body_bytes: usize,
}

impl Kind {
    pub fn tag(&self) -> u32 {
        u32::from_le_bytes(self.tag)
    }
}

pub(crate) struct Blocks {
    draft: Draft,
    /// Checksum of the header, which every block's goes on from.
    seal: u32,
    kind: Kind,
    /// Blocks before the one that is being filled.
    number: u64,
    body: Vec<u8>,
    count: u32,
}

impl Blocks {
    /// Writes this header, and its checksum, and fills blocks of `kind`. Where that fails, nothing
    /// is left, as far as that goes. Errors: `Io`.
    pub fn begin(
        disk: &mut dyn Disk,
        mut draft: Draft,
        mut header: Vec<u8>,
        kind: Kind,
    ) -> Result<Self, StoreError> {
        let seal = frame::seal(&mut header);
        if let Err(error) = draft.write(&header) {
            let _ = draft.discard(disk);
            return Err(error);
        }
        Ok(Self { draft, seal, kind, number: 0, body: Vec::new(), count: 0 })
    }

    /// Bytes written so far; where the block stands that is being filled.
    pub fn offset(&self) -> u64 {
        self.draft.offset()
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    /// Ends the block that is being filled; the next ones are of `kind`. Errors: `Io`.
    pub fn turn_to(&mut self, kind: Kind) -> Result<(), StoreError> {
        self.close()?;
        self.kind = kind;
        Ok(())
    }

    /// Ends the block that is being filled. Errors: `Io`.
    pub fn close(&mut self) -> Result<(), StoreError> {
        if self.count > 0 {
            let place = (self.kind.tag(), self.number);
            let block = encode(self.seal, place, self.count, &self.body);
            (self.count, self.number) = (0, self.number + 1);
            self.body.clear();
            self.draft.write(&block)?;
        }
        Ok(())
    }

    /// Makes room for a record of so many bytes. Whether it is the first of its block. Errors:
    /// `Io`.
    pub fn room(&mut self, bytes: usize) -> Result<bool, StoreError> {
        if self.body.len() + bytes > self.kind.body_bytes {
            self.close()?;
        }
        self.count += 1;
        Ok(self.count == 1)
    }

    /// The body that is being filled, for the record that was made room for.
    pub fn body(&mut self) -> &mut Vec<u8> {
        &mut self.body
    }

    /// Errors: `Invalid` for what is longer than a reader takes.
    pub fn bounded(&self, bytes: &[u8], what: &str) -> Result<(), StoreError> {
        if bytes.len() <= STORED_BYTES_MAX {
            return Ok(());
        }
        Err(self.draft.invalid(format!("{what} above {STORED_BYTES_MAX} bytes")))
    }

    /// A record that is bytes and nothing else. Errors: `Io`, `Invalid`.
    pub fn piece(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        self.bounded(piece, "a piece")?;
        self.room(4 + piece.len())?;
        self.body.put_bytes(piece);
        Ok(())
    }

    /// As [`Draft::finish`], behind the blocks that `last` adds; it says what the footer counts.
    pub fn finish<const N: usize>(
        mut self,
        disk: &mut dyn Disk,
        (name, tag): (&str, [u8; 4]),
        last: impl FnOnce(&mut Self) -> Result<[u64; N], StoreError>,
    ) -> Result<(u64, u64), StoreError> {
        let counts = last(&mut self).and_then(|counts| self.close().map(|()| counts));
        match counts {
            Ok(counts) => self.draft.finish(disk, name, (tag, counts, self.seal)),
            Err(error) => {
                let _ = self.discard(disk);
                Err(error)
            }
        }
    }

    /// Removes what was written. Errors: `Io`.
    pub fn discard(self, disk: &mut dyn Disk) -> Result<(), StoreError> {
        self.draft.discard(disk)
    }
}
