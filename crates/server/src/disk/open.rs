//! Opens a data directory: bootstraps an empty one, recovers any other.
//!
//! Layout: `lock`, `identity`, `journal/`, `checkpoints/`. The identity is
//! written last, so a directory without one never held a vote and may be begun again.

use super::{Files, Place, log};
use crate::bootstrap;
use crate::config::{ClusterState, Config};
use crate::node::start::{StartError, entropy, store_limits};
use crate::peer::join;
use base::{Ballot, Incarnation, LogIndex};
use consensus::raft::{Configuration, Entry, Recovered};
use std::fs;
use store::Identity;
use wal::{DirLock, Journal, Options, Owner, Recovery};

/// A directory ready to run from.
pub struct Opened {
    /// Held for as long as the member lives.
    pub lock: Option<DirLock>,
    pub identity: Identity,
    /// The configuration the identity states.
    pub bootstrap: Configuration,
    pub journal: Journal,
    pub recovered: Recovered,
    pub store: mvcc::Store,
    /// The machine's part of the checkpoint.
    pub extra: Vec<u8>,
    pub files: Files,
    pub checkpoint_bytes: u64,
}

fn disk(error: impl std::fmt::Display) -> StartError {
    StartError::Disk(error.to_string())
}

/// # Errors
/// A directory that belongs to somebody else, is in use, is damaged, or cannot be made.
pub fn open(config: &Config, place: &Place) -> Result<Opened, StartError> {
    bootstrap::refuse_foreign_directory(config)?;
    let dir = place.dir();
    let named = |e: &dyn std::fmt::Display| StartError::Disk(format!("{}: {e}", dir.display()));
    let mut root = place.disk("").map_err(|e| named(&e))?;
    let lock = DirLock::acquire(dir).map_err(disk)?;
    let (mut identity, bootstrap, fresh) =
        match store::read_identity(&mut root).map_err(|e| named(&e))? {
            Some(identity) => {
                let stored = Configuration::decode(&identity.config)
                    .map_err(|e| named(&format_args!("identity: {e}")))?;
                let (cluster, member) = (identity.cluster, identity.member);
                for warning in bootstrap::compare(config, cluster, member, &stored)? {
                    tracing::warn!("{warning}");
                }
                (identity, stored, false)
            }
            None => {
                let (identity, born) = begin(config)?;
                (identity, born, true)
            }
        };
    let files = Files::open(place.clone()).map_err(|e| named(&e))?;
    let (mut journal, recovery) = open_journal(place, &identity, fresh)?;
    identity.incarnation = identity.incarnation.next();
    store::write_identity(&mut root, &identity).map_err(|e| named(&e))?;
    let (base, store, extra, checkpoint_bytes) = match files.load_latest().map_err(disk)? {
        Some(loaded) => {
            let base = (loaded.installed.index, loaded.installed.ballot, loaded.installed.config);
            (base, loaded.installed.store, loaded.installed.extra, loaded.bytes)
        }
        None => {
            let base = (LogIndex::ZERO, Ballot::ZERO, bootstrap.clone());
            (base, mvcc::Store::new(store_limits(&bootstrap)), Vec::new(), 0)
        }
    };
    let recovery = void_conflict(&mut journal, recovery, base.0, base.1)?;
    let recovered = recover(recovery, base)?;
    Ok(Opened {
        lock: Some(lock),
        identity,
        bootstrap,
        journal,
        recovered,
        store,
        extra,
        files,
        checkpoint_bytes,
    })
}

/// The identity of a directory that has none; written only after its journal exists.
fn begin(config: &Config) -> Result<(Identity, Configuration), StartError> {
    let birth = entropy();
    let born = match config.cluster_state {
        ClusterState::New => bootstrap::from_flags(config)?,
        ClusterState::Existing => {
            join::ask(config, birth).map_err(|e| StartError::Join(e.to_string()))?
        }
    };
    // A start that broke off before the identity was written never spoke to anybody.
    for part in ["journal", "checkpoints"] {
        let path = config.data_dir.join(part);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StartError::Disk(format!("{}: {error}", path.display())));
            }
            Ok(()) | Err(_) => {}
        }
    }
    tracing::info!(
        "bootstrap: member {:x} of cluster {:x}, quorum {}",
        born.member.0,
        born.cluster,
        born.config.quorum
    );
    let identity = Identity {
        cluster: born.cluster,
        member: born.member,
        birth,
        incarnation: Incarnation::ZERO,
        config: born.config.encode(),
        peers: Vec::new(),
    };
    Ok((identity, born.config))
}

fn open_journal(
    place: &Place,
    identity: &Identity,
    fresh: bool,
) -> Result<(Journal, Option<Recovery>), StartError> {
    let owner = Owner { cluster: identity.cluster, member: identity.member };
    let dir = place.dir();
    let journal = place.disk("journal").map_err(disk)?;
    if fresh {
        let journal = Journal::create(journal, Options::default(), owner, entropy());
        return Ok((journal.map_err(disk)?, None));
    }
    let (journal, recovery) = Journal::open(journal, Options::default()).map_err(disk)?;
    if recovery.owner != owner {
        return Err(StartError::Disk(format!(
            "{}: the journal belongs to member {:x} of cluster {:x}, the identity names {:x} of \
             {:x}",
            dir.display(),
            recovery.owner.member.0,
            recovery.owner.cluster,
            owner.member.0,
            owner.cluster
        )));
    }
    if let Some(cut) = &recovery.cut {
        tracing::warn!("a torn tail was cut: {} at byte {}", cut.file, cut.offset);
    }
    Ok((journal, Some(recovery)))
}

/// A checkpoint taken from a leader replaces a log that disagrees with it. A crash may come after
/// the checkpoint and before the log's truncation; then the truncation is made up for here.
fn void_conflict(
    journal: &mut Journal,
    recovery: Option<Recovery>,
    base: LogIndex,
    base_ballot: Ballot,
) -> Result<Option<Recovery>, StartError> {
    let Some(mut recovery) = recovery else { return Ok(None) };
    let at_base = recovery.records.iter().find(|record| record.index == base);
    if at_base.is_some_and(|record| record.ballot != base_ballot) {
        tracing::warn!("entries from {base} on contradict the checkpoint and are void");
        recovery.records.retain(|record| record.index < base);
        let truncation = wal::Batch {
            ballot: recovery.ballot,
            truncate_from: Some(base),
            entries: &[],
            commit: recovery.commit.min(base),
        };
        journal.append(&[truncation]).map_err(disk)?;
        journal.sync().map_err(disk)?;
    }
    Ok(Some(recovery))
}

/// Joins the journal's records to the checkpoint's end.
fn recover(
    recovery: Option<Recovery>,
    (base, base_ballot, base_config): (LogIndex, Ballot, Configuration),
) -> Result<Recovered, StartError> {
    let Some(recovery) = recovery else {
        return Ok(Recovered {
            ballot: Ballot::ZERO,
            base,
            base_ballot,
            base_config,
            entries: Vec::new(),
            commit: LogIndex::ZERO,
        });
    };
    let mut entries: Vec<Entry> = Vec::new();
    for record in recovery.records.into_iter().filter(|record| record.index > base) {
        entries.push(log::entry(record).map_err(StartError::Disk)?);
    }
    let mut expected = base;
    for entry in &entries {
        expected = expected.next();
        if entry.index != expected {
            return Err(StartError::Disk(format!(
                "entries {expected} to {} are missing between the checkpoint at {base} and the \
                 journal",
                entry.index.prev()
            )));
        }
    }
    Ok(Recovered {
        ballot: recovery.ballot.max(base_ballot_promise(base_ballot)),
        base,
        base_ballot,
        base_config,
        commit: recovery.commit.clamp(base, expected),
        entries,
    })
}

/// A checkpoint's last entry was accepted in its term, so that term was seen; the vote was not.
fn base_ballot_promise(base: Ballot) -> Ballot {
    Ballot { term: base.term, node: base::NodeId::ZERO }
}
