//! Checkpoint files: what one holds, which are kept, what a witness is sent, and what one that a
//! peer sends must prove.
//!
//! Everything here may take as long as the data is large; a shell calls it beside the thread that
//! votes.

use crate::archive::Archive;
use crate::limits::store_limits;
use crate::shelf::{self, Shelf};
use base::codec::{DecodeError, Get, Put};
use base::{Ballot, LogIndex, planted};
use cluster::Configuration;
use mvcc::View;
use replica::{CheckpointJob, Installed};
use store::{CheckpointFile, CheckpointMeta, Home, StoreError, StoreErrorKind};
use wal::{Disk, DiskFile, MemDisk};

/// Checkpoints kept: whoever sends the one before holds it open, and what that names is gone.
const KEEP: usize = 1;
const PART: &str = "checkpoints";
/// Of those that are made for a peer alone.
const OUT: &str = "outgoing";

fn part(home: &dyn Home) -> Result<Box<dyn Disk>, StoreError> {
    home.disk(PART).map_err(|error| io(PART, &error))
}

fn io(file: &str, error: &std::io::Error) -> StoreError {
    StoreError::new(StoreErrorKind::Io, file, 0, error.to_string())
}

/// Makes the directory, and removes what a write that broke off left in it.
///
/// # Errors
/// Those of the disk.
pub fn clean(home: &dyn Home) -> Result<(), StoreError> {
    store::clean(part(home)?.as_mut())?;
    if home.has(OUT) {
        let mut out = home.disk(OUT).map_err(|error| io(OUT, &error))?;
        store::clean(out.as_mut())?;
        store::remove_all_checkpoints(out.as_mut())?;
    }
    Ok(())
}

/// Writes a checkpoint and drops those it makes superfluous. Durable on return.
///
/// # Errors
/// Those of the disk.
pub fn write(
    home: &dyn Home,
    job: &CheckpointJob,
    archive: &Archive,
) -> Result<CheckpointFile, StoreError> {
    let meta = meta_of(&job.view, (job.index, job.ballot), &job.config, job.extra.clone());
    let mut disk = part(home)?;
    // Where what has settled is in files they are named; their values are not written again.
    let records = job.view.manifest_records();
    let records = records.unwrap_or_else(|| job.view.checkpoint_records());
    let file = store::write_checkpoint(disk.as_mut(), &meta, records)?;
    // Until here the view of the job held them.
    archive.names(&job.view);
    store::remove_older(disk.as_mut(), KEEP)?;
    Ok(file)
}

/// Loads a checkpoint and verifies it in full, but for the values of files that it names, which are
/// held against the index when they are read.
///
/// # Errors
/// `Corrupt` for damage; `Invalid` for what this build cannot read; those of the disk.
pub fn load(
    home: &dyn Home,
    file: &CheckpointFile,
    archive: &Archive,
) -> Result<Installed, StoreError> {
    let named =
        |kind, what: &dyn std::fmt::Display| StoreError::new(kind, &file.name, 0, what.to_string());
    let mut disk = part(home)?;
    let mut reader = store::open_checkpoint(disk.as_mut(), &file.name)?;
    let meta = reader.meta().clone();
    let config = Configuration::decode(&meta.config)
        .map_err(|error| named(StoreErrorKind::Invalid, &error))?;
    let (mut failed, mut index_failed, mut no_index) = (None, None, None);
    let records = std::iter::from_fn(|| match reader.next()? {
        Ok(record) => Some(record),
        Err(error) => {
            failed = Some(error);
            None
        }
    });
    let restored = mvcc::Store::reopen(store_limits(&config), records, |index| {
        let pieces = shelf::pieces(home, index, &mut index_failed);
        pieces.map(|pieces| archive.counting(index.len, pieces)).map_err(|error| {
            no_index = Some(error);
            DecodeError::Invalid { what: "index" }
        })
    });
    if let Some(error) = failed.or(no_index).or(index_failed) {
        return Err(error);
    }
    let store = restored.map_err(|error| named(StoreErrorKind::Invalid, &error))?;
    if (store.chain_hash(), store.content_hash()) != (meta.chain_hash, meta.content_hash) {
        let what = "the state is not the one its header vouches for";
        return Err(named(StoreErrorKind::Corrupt, &what));
    }
    if let Some((_, files)) = store.files() {
        archive.hold(&store);
        shelf::prove(home, &files, archive.shared())?;
    }
    if store.applied_index() != meta.index && !planted!(CheckpointIndexAhead) {
        let what = "the state is not that of its place in the log";
        return Err(named(StoreErrorKind::Invalid, &what));
    }
    Ok(Installed { index: meta.index, ballot: meta.ballot, config, store, extra: meta.extra })
}

/// Whether the newest one is sound, if there is any.
pub(crate) fn prove_newest(home: &dyn Home) -> Result<(), StoreError> {
    let mut disk = part(home)?;
    let Some(newest) = store::latest(disk.as_mut())? else { return Ok(()) };
    let mut records = store::open_checkpoint(disk.as_mut(), &newest.name)?;
    records.try_for_each(|record| record.map(|_| ()))
}

/// A checkpoint that may be sent: its description and its open file.
pub type Offered = (CheckpointFile, Box<dyn DiskFile>);

/// The newest checkpoint for a peer: its description and its open file, which stays readable when
/// the checkpoint is removed meanwhile. `hollow` has the same place in the log and no data, for a
/// witness. The bytes are read as they are: the peer verifies them.
///
/// # Errors
/// There is none, or it cannot be read: no peer can be helped with it.
pub fn offer(home: &dyn Home, hollow: bool, archive: &Archive) -> Result<Offered, StoreError> {
    let mut disk = part(home)?;
    let latest = store::latest(disk.as_mut())?;
    let latest =
        latest.ok_or_else(|| StoreError::new(StoreErrorKind::Io, PART, 0, "there is none"))?;
    if hollow && !planted!(WitnessSentData) {
        return emptied(disk.as_mut(), &latest);
    }
    if second(disk.as_mut(), &latest)?.is_some_and(|record| mvcc::names_files(&record)) {
        return whole(home, &latest, archive);
    }
    let file = disk.open(&latest.name).map_err(|error| io(&latest.name, &error))?;
    Ok((latest, file))
}

/// The record that says how the data is kept.
fn second(disk: &mut dyn Disk, file: &CheckpointFile) -> Result<Option<Vec<u8>>, StoreError> {
    store::open_checkpoint(disk, &file.name)?.nth(1).transpose()
}

/// One that names files, with all that is in them: to be sent. It goes once it is no longer open.
fn whole(
    home: &dyn Home,
    latest: &CheckpointFile,
    archive: &Archive,
) -> Result<Offered, StoreError> {
    let _made_alone = archive.making();
    let Installed { index, ballot, config, store, extra } = load(home, latest, archive)?;
    let meta = meta_of(&store, (index, ballot), &config, extra);
    let mut records = store.checkpoint_records_of(archive.reader(home)?);
    let mut disk = home.disk(OUT).map_err(|error| io(OUT, &error))?;
    let file = store::write_checkpoint(disk.as_mut(), &meta, records.by_ref())?;
    let trouble = records.missed().and_then(Shelf::take_error);
    let open = disk.open(&file.name).map_err(|error| io(&file.name, &error));
    store::remove_checkpoint(disk.as_mut(), &file)?;
    match trouble {
        Some(error) => Err(error),
        None => Ok((file, open?)),
    }
}

fn meta_of(
    view: &View,
    (index, ballot): (LogIndex, Ballot),
    config: &Configuration,
    extra: Vec<u8>,
) -> CheckpointMeta {
    CheckpointMeta {
        index,
        ballot,
        revision: view.revision(),
        chain_hash: view.chain_hash(),
        content_hash: view.content_hash(),
        config: config.encode(),
        extra,
    }
}

fn emptied(disk: &mut dyn Disk, latest: &CheckpointFile) -> Result<Offered, StoreError> {
    let reader = store::open_checkpoint(disk, &latest.name)?;
    let meta = reader.meta();
    let config = Configuration::decode(&meta.config).map_err(|error| {
        StoreError::new(StoreErrorKind::Invalid, &latest.name, 0, error.to_string())
    })?;
    let mut empty = mvcc::Store::new(store_limits(&config));
    empty.advance(meta.index, base::ClusterTime::ZERO);
    let view = empty.view();
    let meta = CheckpointMeta {
        revision: view.revision(),
        chain_hash: view.chain_hash(),
        content_hash: view.content_hash(),
        ..meta.clone()
    };
    let mut memory = MemDisk::new();
    let file = store::write_checkpoint(&mut memory, &meta, view.checkpoint_records())?;
    let open = memory.open(&file.name).map_err(|error| io(&file.name, &error))?;
    Ok((file, open))
}

/// A checkpoint on its way in.
pub struct Incoming {
    inner: store::Incoming,
}

impl Incoming {
    /// Begins or resumes taking what a peer offers.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn begin(home: &dyn Home, offer: &CheckpointFile) -> Result<Self, StoreError> {
        Ok(Self { inner: store::Incoming::begin(part(home)?.as_mut(), offer)? })
    }

    /// The first byte wanted; an interrupted transfer goes on where it ended.
    pub fn offset(&self) -> u64 {
        self.inner.offset()
    }

    /// Whether all bytes are here.
    pub fn is_complete(&self) -> bool {
        self.inner.complete()
    }

    /// # Errors
    /// Those of the disk, and more bytes than were offered.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.inner.write(self.inner.offset(), bytes)
    }

    /// Durable, verified and loaded on return.
    ///
    /// # Errors
    /// A file that does not verify, or is not what was offered.
    pub fn finish(self, home: &dyn Home, archive: &Archive) -> Result<Installed, StoreError> {
        let mut disk = part(home)?;
        let file = self.inner.finish(disk.as_mut())?;
        let loaded = second(disk.as_mut(), &file).and_then(|second| match second {
            Some(record) if mvcc::names_files(&record) => {
                let what = "it names files, which are another member's";
                Err(StoreError::new(StoreErrorKind::Invalid, &file.name, 0, what))
            }
            _ => load(home, &file, archive),
        });
        // It would be taken for the newest one, and drive out the own.
        loaded.or_else(|error| store::remove_checkpoint(disk.as_mut(), &file).and(Err(error)))
    }
}

/// What is offered, as it is said to the peer.
pub fn encode_offer(offer: &CheckpointFile, out: &mut Vec<u8>) {
    out.put_u64(offer.index.0);
    out.put_ballot(offer.ballot);
    out.put_u64(offer.len);
    out.put_u64(offer.digest);
}

/// The inverse of [`encode_offer`]; the name is the receiver's business.
///
/// # Errors
/// Bytes that are no offer.
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
