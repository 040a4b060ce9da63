//! Writing value files.

use super::layout::{
    ENTRY_BYTES, FOOTER_TAG, HALF_VALUES, KEYS, TABLE, VERSION_HEAD_BYTES, VERSIONS, header,
    put_age,
};
use super::{Age, Interval, ValueFile};
use crate::StoreError;
use crate::blocks::Blocks;
use crate::draft::Draft;
use base::codec::Put;
use wal::Disk;

/// A file being written: its versions, then the pieces of its key section.
pub struct ValueWriter {
    blocks: Blocks,
    interval: Interval,
    versions: u64,
    pieces: u64,
    last: Option<Age>,
    /// Of each block of versions: the first of them, and where it stands.
    table: Vec<(Age, u64)>,
    keys_at: Option<u64>,
}

impl ValueWriter {
    /// Errors: `Io`.
    ///
    /// Panics unless the interval holds a revision, and none below 0.
    pub fn begin(disk: &mut dyn Disk, interval: Interval) -> Result<Self, StoreError> {
        assert!(interval.is_sound(), "an interval holds a revision");
        let Interval { first, generation, .. } = interval;
        let half = format!("values-{first:016x}-{generation:016x}.tmp");
        let draft = Draft::begin(disk, HALF_VALUES, half)?;
        let blocks = Blocks::begin(disk, draft, header(interval), VERSIONS)?;
        let (table, last, keys_at) = (Vec::new(), None, None);
        Ok(Self { blocks, interval, versions: 0, pieces: 0, last, table, keys_at })
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.blocks.offset()
    }

    /// The next version. Errors: `Io` (then it is to be discarded), `Invalid` (above
    /// `STORED_BYTES_MAX`; nothing was added).
    ///
    /// Panics when it is not behind the one before it, outside the interval, or behind a piece.
    pub fn put(&mut self, age: Age, version: &[u8]) -> Result<(), StoreError> {
        let Interval { first, end, .. } = self.interval;
        assert!(self.last.is_none_or(|last| last < age), "versions rise");
        assert!((first..end).contains(&age.0), "a version of the interval");
        assert!(self.keys_at.is_none(), "versions come before keys");
        self.blocks.bounded(version, "a version")?;
        if self.blocks.room(VERSION_HEAD_BYTES + version.len())? {
            self.table.push((age, self.blocks.offset()));
        }
        put_age(self.blocks.body(), age);
        self.blocks.body().put_bytes(version);
        self.last = Some(age);
        self.versions += 1;
        Ok(())
    }

    /// The next piece of the key section. Errors: as `put`.
    pub fn piece(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        if self.keys_at.is_none() {
            self.blocks.turn_to(KEYS)?;
            self.keys_at = Some(self.blocks.offset());
        }
        self.blocks.piece(piece)?;
        self.pieces += 1;
        Ok(())
    }

    /// Gives it its name; durable on return. Where that fails, what was written is removed, as far
    /// as that goes. Errors: `Io`.
    pub fn finish(self, disk: &mut dyn Disk) -> Result<ValueFile, StoreError> {
        let Self { blocks, interval, versions, pieces, table, keys_at, .. } = self;
        let name = interval.name();
        let (len, digest) = blocks.finish(disk, (&name, FOOTER_TAG), |blocks| {
            blocks.turn_to(TABLE)?;
            let (number, table_at) = (blocks.number(), blocks.offset());
            for (age, offset) in table {
                blocks.room(ENTRY_BYTES)?;
                put_age(blocks.body(), age);
                blocks.body().put_u64(offset);
            }
            Ok([number, versions, pieces, keys_at.unwrap_or(table_at), table_at])
        })?;
        Ok(ValueFile { interval, versions, len, digest })
    }

    /// Removes what was written, after an error or when it is not wanted any more. Errors: `Io`.
    pub fn discard(self, disk: &mut dyn Disk) -> Result<(), StoreError> {
        self.blocks.discard(disk)
    }
}
