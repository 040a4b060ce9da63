//! Checkpoint files: written and loaded on helper threads, never on the node's.

use crate::disk::place::{AnyDisk, Place};
use crate::node::input::{Checkpointed, Input};
use crate::node::start::store_limits;
use base::codec::{DecodeError, Get, Put};
use cluster::Configuration;
use replica::{CheckpointJob, Installed};
use std::io;
use store::{CheckpointFile, CheckpointMeta, StoreError, StoreErrorKind};
use tokio::sync::mpsc::UnboundedSender;
use wal::{Disk as _, DiskFile, MemDisk};

/// Checkpoints kept: the newest, and the one before it while it may be on its way to a peer.
const KEEP: usize = 2;

/// The directory of checkpoints. Clones name the same directory.
#[derive(Clone)]
pub struct Files {
    place: Place,
}

fn other(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

impl Files {
    /// # Errors
    /// When the directory cannot be made or cleaned.
    pub fn open(place: Place) -> io::Result<Self> {
        let files = Self { place };
        store::clean(&mut files.disk()?).map_err(other)?;
        Ok(files)
    }

    fn disk(&self) -> io::Result<AnyDisk> {
        self.place.disk("checkpoints")
    }

    /// Writes a checkpoint on its own thread; the outcome comes as `Input::Checkpointed`.
    pub fn write_checkpoint(&self, job: CheckpointJob, inbox: UnboundedSender<Input>) {
        let files = self.clone();
        let failed = inbox.clone();
        let work = move || {
            let result = files.write(&job).map_err(|error| error.to_string());
            let _ = inbox.send(Input::Checkpointed(result));
        };
        if let Err(error) = std::thread::Builder::new().name("quorate-save".into()).spawn(work) {
            let _ = failed.send(Input::Checkpointed(Err(error.to_string())));
        }
    }

    fn write(&self, job: &CheckpointJob) -> io::Result<Checkpointed> {
        let meta = CheckpointMeta {
            index: job.index,
            ballot: job.ballot,
            revision: job.view.revision(),
            chain_hash: job.view.chain_hash(),
            content_hash: job.view.content_hash(),
            config: job.config.encode(),
            extra: job.extra.clone(),
        };
        let mut disk = self.disk()?;
        let records = job.view.checkpoint_records();
        let file = store::write_checkpoint(&mut disk, &meta, records).map_err(other)?;
        store::remove_older(&mut disk, KEEP).map_err(other)?;
        Ok(Checkpointed { index: file.index, bytes: file.len })
    }

    /// Loads a checkpoint and verifies it in full.
    ///
    /// # Errors
    /// `Corrupt` for damage; `Invalid` for what this build cannot read.
    pub fn load(&self, file: &CheckpointFile) -> Result<Installed, StoreError> {
        let named = |kind, what: &dyn std::fmt::Display| {
            StoreError::new(kind, &file.name, 0, what.to_string())
        };
        let mut disk = self.disk().map_err(|error| named(StoreErrorKind::Io, &error))?;
        let mut reader = store::open_checkpoint(&mut disk, &file.name)?;
        let meta = reader.meta().clone();
        let config = Configuration::decode(&meta.config)
            .map_err(|error| named(StoreErrorKind::Invalid, &error))?;
        let mut failed: Option<StoreError> = None;
        let records = std::iter::from_fn(|| match reader.next()? {
            Ok(record) => Some(record),
            Err(error) => {
                failed = Some(error);
                None
            }
        });
        let restored = mvcc::Store::restore(store_limits(&config), records);
        if let Some(error) = failed {
            return Err(error);
        }
        let store = restored.map_err(|error| named(StoreErrorKind::Invalid, &error))?;
        if (store.chain_hash(), store.content_hash()) != (meta.chain_hash, meta.content_hash) {
            let what = "the state is not the one its header vouches for";
            return Err(named(StoreErrorKind::Corrupt, &what));
        }
        Ok(Installed { index: meta.index, ballot: meta.ballot, config, store, extra: meta.extra })
    }

    /// The newest checkpoint's description and its open file, which stays readable when the
    /// checkpoint is removed meanwhile.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub fn open_latest(&self) -> io::Result<(CheckpointFile, Box<dyn DiskFile>)> {
        let mut disk = self.disk()?;
        let latest = store::latest(&mut disk).map_err(other)?;
        let latest = latest.ok_or_else(|| {
            let what = format!("no checkpoint in {}/checkpoints", self.place.dir().display());
            io::Error::new(io::ErrorKind::NotFound, what)
        })?;
        let file = disk.open(&latest.name)?;
        Ok((latest, file))
    }

    /// As [`Files::open_latest`], with the same place in the log and no data: for a witness.
    ///
    /// # Errors
    /// `NotFound` when there is none, damage by name.
    pub fn hollow(&self) -> io::Result<(CheckpointFile, Box<dyn DiskFile>)> {
        let (latest, _) = self.open_latest()?;
        let reader = store::open_checkpoint(&mut self.disk()?, &latest.name).map_err(other)?;
        let meta = reader.meta();
        let config = Configuration::decode(&meta.config).map_err(other)?;
        let mut empty = mvcc::Store::new(store_limits(&config));
        empty.advance(meta.index, base::ClusterTime::ZERO);
        let view = empty.view();
        let meta = CheckpointMeta {
            revision: view.revision(),
            chain_hash: view.chain_hash(),
            content_hash: view.content_hash(),
            ..meta.clone()
        };
        let mut disk = MemDisk::new();
        let records = view.checkpoint_records();
        let file = store::write_checkpoint(&mut disk, &meta, records).map_err(other)?;
        let open = disk.open(&file.name)?;
        Ok((file, open))
    }

    /// The member is whole again: durable on return.
    ///
    /// # Errors
    /// Those of the file system; the member must not vote then.
    pub fn end_repair(&self) -> Result<(), StoreError> {
        store::end_repair(&self.place)
    }

    /// Begins or resumes taking what a peer offers.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn incoming(&self, offer: &CheckpointFile) -> io::Result<Incoming> {
        let inner = store::Incoming::begin(&mut self.disk()?, offer).map_err(other)?;
        Ok(Incoming { files: self.clone(), inner })
    }
}

/// A checkpoint on its way in.
pub struct Incoming {
    files: Files,
    inner: store::Incoming,
}

impl Incoming {
    /// The first byte wanted; an interrupted transfer goes on where it ended.
    pub fn offset(&self) -> u64 {
        self.inner.offset()
    }

    /// # Errors
    /// Those of the file system, and more bytes than were offered.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.inner.write(self.inner.offset(), bytes).map_err(other)
    }

    /// Durable, verified and loaded on return.
    ///
    /// # Errors
    /// A file that does not verify.
    pub fn finish(self) -> io::Result<Installed> {
        let mut disk = self.files.disk()?;
        let file = self.inner.finish(&mut disk).map_err(other)?;
        self.files.load(&file).map_err(other)
    }
}

/// The payload of a `BulkBegin` frame.
pub fn encode_offer(offer: &CheckpointFile, out: &mut Vec<u8>) {
    out.put_u64(offer.index.0);
    out.put_ballot(offer.ballot);
    out.put_u64(offer.len);
    out.put_u64(offer.digest);
}

/// The inverse of [`encode_offer`]; the name is the receiver's business.
pub fn decode_offer(bytes: &[u8]) -> Result<CheckpointFile, DecodeError> {
    let mut get = Get::new(bytes);
    let offer = CheckpointFile {
        name: String::new(),
        index: get.index()?,
        ballot: get.ballot()?,
        len: get.u64()?,
        digest: get.u64()?,
    };
    get.finish()?;
    Ok(offer)
}
