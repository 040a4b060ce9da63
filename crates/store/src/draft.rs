//! A file on its way: written from its first byte to its last, then given its name.

use crate::digest::Digest;
use crate::disk::publish;
use crate::frame::Footer;
use crate::{StoreError, StoreErrorKind};
use base::planted;
use wal::{Disk, DiskFile, Shape, remove_named};

pub(crate) struct Draft {
    file: Box<dyn DiskFile>,
    shape: Shape,
    name: String,
    offset: u64,
    digest: Digest,
    /// A write failed: what is there is not what the digest is of.
    failed: bool,
}

impl Draft {
    /// Begins a half-written file, of this shape by its name; one that was left is emptied.
    /// Errors: `Io`.
    pub fn begin(disk: &mut dyn Disk, shape: Shape, name: String) -> Result<Self, StoreError> {
        assert!(shape.own(&name).is_some(), "what is not ours could not be removed");
        let file = disk.create(&name).map_err(|e| StoreError::io(&name, "create", &e))?;
        Ok(Self { file, shape, name, offset: 0, digest: Digest::default(), failed: false })
    }

    /// Bytes written so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    pub fn invalid(&self, what: impl Into<String>) -> StoreError {
        StoreError::new(StoreErrorKind::Invalid, &self.name, self.offset, what)
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        if self.failed {
            return Err(self.invalid("written on after an error"));
        }
        if let Err(e) = self.file.write_at(self.offset, bytes) {
            self.failed = true;
            return Err(StoreError::io(&self.name, "write", &e));
        }
        self.digest.add(bytes);
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Adds the footer and gives the file its name; durable on return. Length and digest. Where
    /// that fails, what was written is removed, as far as that goes. Errors: `Io`.
    pub fn finish<const N: usize>(
        mut self,
        disk: &mut dyn Disk,
        name: &str,
        (tag, counts, seal): ([u8; 4], [u64; N], u32),
    ) -> Result<(u64, u64), StoreError> {
        let digest = std::mem::take(&mut self.digest).finish();
        let len = self.offset + Footer::<N>::BYTES as u64;
        let footer = Footer { counts, len, digest, seal }.encode(tag);
        let done = self.close(&footer).and_then(|()| publish(disk, &self.name, name));
        if let Err(error) = done {
            // It takes room, on a disk that may be full. The next start tries again.
            let _ = self.discard(disk);
            return Err(error);
        }
        Ok((len, digest))
    }

    fn close(&mut self, footer: &[u8]) -> Result<(), StoreError> {
        self.write(footer)?;
        if !planted!(RenameBeforeSync) {
            self.file.sync().map_err(|e| StoreError::io(&self.name, "sync", &e))?;
        }
        Ok(())
    }

    /// Removes what was written. Errors: `Io`.
    pub fn discard(self, disk: &mut dyn Disk) -> Result<(), StoreError> {
        let removed = remove_named(disk, self.shape, &self.name);
        removed.map_err(|e| StoreError::io(&self.name, "remove", &e))
    }
}
