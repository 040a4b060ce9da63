//! A checkpoint on its way from a peer.

use crate::checkpoint::{CheckpointFile, Reader, checkpoint_name, stem};
use crate::disk::{self, publish};
use crate::{CheckpointMeta, StoreError, StoreErrorKind};
use wal::{Disk, DiskFile, Shape, remove_named};

/// What is being received.
const PART: Shape = Shape { prefix: "incoming-", groups: 4, suffix: ".part" };

/// A part file: filled in order, resumable by offset, verified before it gets its name.
pub struct Incoming {
    file: Box<dyn DiskFile>,
    name: String,
    offer: CheckpointFile,
    offset: u64,
}

impl Incoming {
    /// Begins or resumes receiving what `offer` describes (its `name` is not used). Parts of
    /// other offers are removed. Errors: `Io`.
    pub fn begin(disk: &mut dyn Disk, offer: &CheckpointFile) -> Result<Self, StoreError> {
        let name =
            format!("incoming-{}-{:016x}.part", stem(offer.index, offer.ballot), offer.digest);
        let fail = |e: std::io::Error| StoreError::io(&name, "begin receiving", &e);
        let names = disk.list().map_err(fail)?;
        for other in names.iter().filter(|n| **n != name).filter_map(|n| PART.own(n)) {
            disk.remove(&other).map_err(fail)?;
        }
        let mut file = if names.contains(&name) { disk.open(&name) } else { disk.create(&name) }
            .map_err(fail)?;
        let mut offset = file.len().map_err(fail)?;
        if offset > offer.len {
            file.set_len(0).map_err(fail)?;
            offset = 0;
        }
        Ok(Self { file, name, offer: offer.clone(), offset })
    }

    /// The next byte wanted.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether all bytes are here.
    pub fn complete(&self) -> bool {
        self.offset == self.offer.len
    }

    pub fn offer(&self) -> &CheckpointFile {
        &self.offer
    }

    /// Takes the next chunk. Errors: `Invalid` (not at [`Incoming::offset`], or past the end;
    /// nothing is taken), `Io`.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        if offset != self.offset || bytes.len() as u64 > self.offer.len - self.offset {
            let what = format!("chunk of {} bytes at {offset}", bytes.len());
            return Err(StoreError::new(StoreErrorKind::Invalid, &self.name, self.offset, what));
        }
        let done = self.file.write_at(offset, bytes);
        done.map_err(|e| StoreError::io(&self.name, "write", &e))?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Verifies every byte, then makes the file a checkpoint, durable on return. A file that
    /// does not verify is removed, so that the next attempt starts afresh. Errors: `Invalid`
    /// (incomplete), `Corrupt`, `Unknown`, `Io`.
    pub fn finish(mut self, disk: &mut dyn Disk) -> Result<CheckpointFile, StoreError> {
        if !self.complete() {
            let what = format!("{} of {} bytes are here", self.offset, self.offer.len);
            return Err(StoreError::new(StoreErrorKind::Invalid, &self.name, self.offset, what));
        }
        // Sync first: what is verified is then what a restart will read. After a sync that failed
        // the next one would succeed without these pages: the part is received afresh.
        if let Err(e) = self.file.sync() {
            let failed = StoreError::io(&self.name, "sync", &e);
            let removed = remove_named(disk, PART, &self.name);
            removed.map_err(|e| StoreError::io(&self.name, "remove", &e))?;
            return Err(failed);
        }
        let meta = match verify(disk, &self.name, &self.offer) {
            Ok(meta) => meta,
            Err(e) => {
                if e.kind != StoreErrorKind::Io {
                    let removed = remove_named(disk, PART, &self.name);
                    removed.map_err(|e| StoreError::io(&self.name, "remove", &e))?;
                }
                return Err(e);
            }
        };
        let name = checkpoint_name(meta.index, meta.ballot);
        publish(disk, &self.name, &name)?;
        Ok(CheckpointFile { name, ..self.offer })
    }
}

fn verify(
    disk: &mut dyn Disk,
    name: &str,
    offer: &CheckpointFile,
) -> Result<CheckpointMeta, StoreError> {
    let mut reader = Reader::new(disk::open(disk, name)?, name)?;
    for record in reader.by_ref() {
        record?;
    }
    let meta = reader.meta().clone();
    if (meta.index, meta.ballot) != (offer.index, offer.ballot)
        || reader.digest_stated() != offer.digest
    {
        return Err(StoreError::corrupt(name, 0, "not the checkpoint that was offered"));
    }
    Ok(meta)
}
