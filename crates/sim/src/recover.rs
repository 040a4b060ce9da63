//! A start, in the order of the shell that ships (`server/src/disk/open.rs`): identity, journal
//! and checkpoint (joined by `store::open`, which decides about damage), next incarnation.

use crate::disk::SimDisk;
use base::{Ballot, Incarnation, LogIndex, NodeId, planted};
use cluster::Configuration;
use consensus::raft::{Entry, EntryKind, Recovered};
use replica::{CheckpointJob, Installed};
use store::{
    Ask, CheckpointFile, CheckpointMeta, Home, Identity, OnDamage, Repair, StoreError,
    StoreErrorKind,
};
use wal::{Disk, Journal, Options, Owner, Record};

/// Checkpoints kept: the newest, and the one before it while it may be on its way to a peer.
const KEEP: usize = 2;
/// The only cluster there is.
const CLUSTER: u64 = 0x51;

pub struct Opened {
    pub journal: Journal,
    pub recovered: Recovered,
    /// The disk is damaged: no vote before the end of the repair is durable.
    pub repair: Option<Repair>,
    pub store: mvcc::Store,
    pub extra: Vec<u8>,
    pub known: LogIndex,
    pub incarnation: Incarnation,
    pub birth: u64,
    /// A torn tail was cut.
    pub cut: bool,
    pub fresh: bool,
}

pub fn entry(record: Record) -> Result<Entry, String> {
    let kind = EntryKind::from_code(record.kind).map_err(|error| error.to_string())?;
    Ok(Entry { index: record.index, ballot: record.ballot, kind, payload: record.payload })
}

pub fn record(entry: &Entry) -> Record {
    Record {
        kind: entry.kind.code(),
        index: entry.index,
        ballot: entry.ballot,
        payload: entry.payload.clone(),
    }
}

impl Home for SimDisk {
    fn disk(&self, part: &str) -> std::io::Result<Box<dyn Disk>> {
        Ok(Box::new(self.dir(match part {
            "journal" => "journal/",
            "checkpoints" => "checkpoints/",
            _ => "",
        })))
    }
}

/// # Errors
/// A damaged file, by name and offset; or the disk's own error.
pub fn open(
    disk: &SimDisk,
    member: NodeId,
    config: &Configuration,
    segment_bytes: u64,
    nonce: u64,
) -> Result<Opened, String> {
    let mut root = disk.dir("");
    let (mut identity, fresh) = match store::read_identity(&mut root).map_err(text)? {
        Some(identity) => (identity, false),
        None => (begin(disk, member, config, nonce)?, true),
    };
    store::clean(&mut disk.dir("checkpoints/")).map_err(text)?;
    let ask = Ask {
        owner: Owner { cluster: CLUSTER, member },
        options: Options { segment_bytes, prefill_bytes: 0, spares_max: 1 },
        key: nonce,
        known_key: identity.journal_key,
        incarnation: identity.incarnation.next().0,
        fresh,
        on_damage: OnDamage::Repair,
    };
    let may = |base: Option<&Installed>, records: &[Record]| {
        let base = base.map_or(config, |installed| &installed.config);
        let mut entries = records.iter().rev().filter_map(|record| entry(record.clone()).ok());
        let newest = entries.find(|entry| entry.kind == EntryKind::Config);
        let newest = newest.and_then(|entry| Configuration::decode(&entry.payload).ok());
        newest.as_ref().unwrap_or(base).decides_without(member)
    };
    let state = store::open(disk, &ask, &mut |file| load(disk, file), &may).map_err(text)?;
    if fresh || !planted!(StaleIncarnation) {
        identity.incarnation = identity.incarnation.next();
    }
    identity.journal_key = state.journal.key();
    store::write_identity(&mut root, &identity).map_err(text)?;
    let (base, store, extra) = match state.base {
        Some((_, loaded)) => {
            ((loaded.index, loaded.ballot, loaded.config), loaded.store, loaded.extra)
        }
        None => {
            let base = (LogIndex::ZERO, Ballot::ZERO, config.clone());
            (base, mvcc::Store::new(mvcc::Limits::default()), Vec::new())
        }
    };
    let entries = state.records.into_iter().map(entry).collect::<Result<Vec<Entry>, String>>()?;
    let last = entries.last().map_or(base.0, |entry| entry.index);
    let recovered = Recovered {
        ballot: state.ballot.max(Ballot { term: base.1.term, node: NodeId::ZERO }),
        base: base.0,
        base_ballot: base.1,
        base_config: base.2,
        commit: state.commit.clamp(base.0, last),
        entries,
    };
    Ok(Opened {
        journal: state.journal,
        recovered,
        repair: state.repair,
        store,
        extra,
        known: state.known,
        incarnation: identity.incarnation,
        birth: identity.birth,
        cut: state.cut.is_some(),
        fresh,
    })
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// An identity is written last, so a directory without one never held a vote.
fn begin(
    disk: &SimDisk,
    member: NodeId,
    config: &Configuration,
    birth: u64,
) -> Result<Identity, String> {
    let (mut root, mut journal) = (disk.dir(""), disk.dir("journal/"));
    let mut checkpoints = disk.dir("checkpoints/");
    let lived = store::clear(&mut root, Some(&mut journal), Some(&mut checkpoints));
    if let Some(first) = lived.map_err(text)?.first() {
        return Err(format!("no identity, but {first}"));
    }
    Ok(Identity {
        cluster: CLUSTER,
        member,
        birth,
        incarnation: Incarnation::ZERO,
        config: config.encode(),
        peers: Vec::new(),
        void: String::new(),
        journal_key: 0,
    })
}

/// Writes a checkpoint and drops older ones. Durable on return.
pub fn write_checkpoint(disk: &SimDisk, job: &CheckpointJob) -> Result<CheckpointFile, String> {
    let meta = CheckpointMeta {
        index: job.index,
        ballot: job.ballot,
        revision: job.view.revision(),
        chain_hash: job.view.chain_hash(),
        content_hash: job.view.content_hash(),
        config: job.config.encode(),
        extra: job.extra.clone(),
    };
    let mut dir = disk.dir("checkpoints/");
    let records = job.view.checkpoint_records();
    let file = store::write_checkpoint(&mut dir, &meta, records).map_err(text)?;
    store::remove_older(&mut dir, KEEP).map_err(text)?;
    Ok(file)
}

/// The newest checkpoint, for a peer; for a witness the same place in the log and no data, as
/// `server/src/disk/files.rs` makes it. None when there is none that can be read.
pub fn offer(dir: &mut dyn Disk, witness: bool) -> Option<(CheckpointFile, Vec<u8>)> {
    let latest = store::latest(dir).ok().flatten()?;
    if !witness {
        return bytes_of(dir, latest);
    }
    let meta = store::open_checkpoint(dir, &latest.name).ok()?.meta().clone();
    let mut empty = mvcc::Store::new(mvcc::Limits::default());
    empty.advance(meta.index, base::ClusterTime::ZERO);
    let view = empty.view();
    let meta = CheckpointMeta {
        revision: view.revision(),
        chain_hash: view.chain_hash(),
        content_hash: view.content_hash(),
        ..meta
    };
    let mut memory = wal::MemDisk::new();
    let file = store::write_checkpoint(&mut memory, &meta, view.checkpoint_records()).ok()?;
    bytes_of(&mut memory, file)
}

fn bytes_of(dir: &mut dyn Disk, file: CheckpointFile) -> Option<(CheckpointFile, Vec<u8>)> {
    let len = usize::try_from(file.len).ok()?;
    let bytes = store::read_chunk(dir, &file.name, 0, len).ok()?;
    Some((file, bytes))
}

/// Loads a checkpoint, verified whole.
pub fn load(disk: &SimDisk, file: &CheckpointFile) -> Result<Installed, StoreError> {
    let mut dir = disk.dir("checkpoints/");
    let mut reader = store::open_checkpoint(&mut dir, &file.name)?;
    let meta = reader.meta().clone();
    let named =
        |kind, what: &dyn std::fmt::Display| StoreError::new(kind, &file.name, 0, what.to_string());
    let config = Configuration::decode(&meta.config)
        .map_err(|error| named(StoreErrorKind::Invalid, &error))?;
    let mut failed = None;
    let records = std::iter::from_fn(|| match reader.next()? {
        Ok(record) => Some(record),
        Err(error) => {
            failed = Some(error);
            None
        }
    });
    let restored = mvcc::Store::restore(mvcc::Limits::default(), records);
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
