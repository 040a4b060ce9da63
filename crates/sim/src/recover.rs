//! A start, in the order of the shell that ships (`server/src/disk/open.rs`): identity, journal,
//! next incarnation, checkpoint, and the join of the two.

use crate::disk::SimDisk;
use base::{Ballot, Incarnation, LogIndex, NodeId, planted};
use consensus::raft::{Configuration, Entry, EntryKind, Recovered};
use replica::{CheckpointJob, Installed};
use store::{CheckpointFile, CheckpointMeta, Identity};
use wal::{Batch, Disk as _, Journal, Options, Owner, Record, Recovery};

/// Checkpoints kept: the newest, and the one before it while it may be on its way to a peer.
const KEEP: usize = 2;
/// The only cluster there is.
const CLUSTER: u64 = 0x51;

pub struct Opened {
    pub journal: Journal,
    pub recovered: Recovered,
    pub store: mvcc::Store,
    pub extra: Vec<u8>,
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
    let mut checkpoints = disk.dir("checkpoints/");
    let options = Options { segment_bytes, prefill_bytes: 0, spares_max: 1 };
    let (mut identity, fresh) = match store::read_identity(&mut root).map_err(text)? {
        Some(identity) => (identity, false),
        None => (begin(disk, member, config, nonce)?, true),
    };
    store::clean(&mut checkpoints).map_err(text)?;
    let owner = Owner { cluster: CLUSTER, member };
    let place = disk.dir("journal/");
    let (mut journal, recovery) = if fresh {
        (Journal::create(place, options, owner, nonce).map_err(text)?, None)
    } else {
        let (journal, recovery) = Journal::open(place, options).map_err(text)?;
        if recovery.owner != owner {
            return Err(format!("the journal belongs to {:?}", recovery.owner));
        }
        (journal, Some(recovery))
    };
    if fresh || !planted!(StaleIncarnation) {
        identity.incarnation = identity.incarnation.next();
    }
    store::write_identity(&mut root, &identity).map_err(text)?;
    let (base, store, extra) = match store::latest(&mut checkpoints).map_err(text)? {
        Some(file) => {
            let installed = load(disk, &file)?;
            let base = (installed.index, installed.ballot, installed.config);
            (base, installed.store, installed.extra)
        }
        None => {
            let base = (LogIndex::ZERO, Ballot::ZERO, config.clone());
            (base, mvcc::Store::new(mvcc::Limits::default()), Vec::new())
        }
    };
    let cut = recovery.as_ref().is_some_and(|recovery| recovery.cut.is_some());
    let recovery = void_conflict(&mut journal, recovery, base.0, base.1)?;
    let recovered = join(recovery, base)?;
    let (incarnation, birth) = (identity.incarnation, identity.birth);
    Ok(Opened { journal, recovered, store, extra, incarnation, birth, cut, fresh })
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
    for dir in ["journal/", "checkpoints/"] {
        let mut dir = disk.dir(dir);
        for name in dir.list().map_err(text)? {
            dir.remove(&name).map_err(text)?;
        }
    }
    Ok(Identity {
        cluster: CLUSTER,
        member,
        birth,
        incarnation: Incarnation::ZERO,
        config: config.encode(),
        peers: Vec::new(),
    })
}

/// A crash between an installed checkpoint and the log's truncation is made up for here.
fn void_conflict(
    journal: &mut Journal,
    recovery: Option<Recovery>,
    base: LogIndex,
    base_ballot: Ballot,
) -> Result<Option<Recovery>, String> {
    let Some(mut recovery) = recovery else { return Ok(None) };
    let at_base = recovery.records.iter().find(|record| record.index == base);
    let conflicts = at_base.is_some_and(|record| record.ballot != base_ballot);
    if conflicts && !planted!(InstallKeepsSuffix) {
        recovery.records.retain(|record| record.index < base);
        let truncation = Batch {
            ballot: recovery.ballot,
            truncate_from: Some(base),
            entries: &[],
            commit: recovery.commit.min(base),
        };
        journal.append(&[truncation]).map_err(text)?;
        journal.sync().map_err(text)?;
    }
    Ok(Some(recovery))
}

fn join(
    recovery: Option<Recovery>,
    (base, base_ballot, base_config): (LogIndex, Ballot, Configuration),
) -> Result<Recovered, String> {
    let Some(recovery) = recovery else {
        let (ballot, commit) = (Ballot::ZERO, LogIndex::ZERO);
        return Ok(Recovered { ballot, base, base_ballot, base_config, entries: vec![], commit });
    };
    let above = recovery.records.into_iter().filter(|record| record.index > base);
    let entries = above.map(entry).collect::<Result<Vec<Entry>, String>>()?;
    let mut expected = base;
    for entry in &entries {
        expected = expected.next();
        if entry.index != expected {
            return Err(format!(
                "entries {expected} to {} are missing between the checkpoint at {base} and the \
                 journal",
                entry.index.prev()
            ));
        }
    }
    let seen = Ballot { term: base_ballot.term, node: NodeId::ZERO };
    Ok(Recovered {
        ballot: recovery.ballot.max(seen),
        base,
        base_ballot,
        base_config,
        commit: recovery.commit.clamp(base, expected),
        entries,
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

/// Loads a checkpoint, verified whole.
pub fn load(disk: &SimDisk, file: &CheckpointFile) -> Result<Installed, String> {
    let mut dir = disk.dir("checkpoints/");
    let mut reader = store::open_checkpoint(&mut dir, &file.name).map_err(text)?;
    let meta = reader.meta().clone();
    let named = |what: &dyn std::fmt::Display| format!("{}: {what}", file.name);
    let config = Configuration::decode(&meta.config).map_err(|error| named(&error))?;
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
        return Err(text(error));
    }
    let store = restored.map_err(|error| named(&error))?;
    if (store.chain_hash(), store.content_hash()) != (meta.chain_hash, meta.content_hash) {
        return Err(named(&"the state is not the one its header vouches for"));
    }
    Ok(Installed { index: meta.index, ballot: meta.ballot, config, store, extra: meta.extra })
}
