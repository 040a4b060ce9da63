//! Opens a data directory: bootstraps an empty one, recovers any other.
//!
//! Layout: `lock`, `identity`, `journal/`, `checkpoints/`. The identity is written last, so a
//! start that broke off before it leaves at most a journal that nothing was written to, and that
//! one may be begun again. Any other directory without an identity has lost it, and is refused.

use super::{Files, Place};
use crate::bootstrap;
use crate::config::{ClusterState, Config};
use crate::node::start::{StartError, entropy};
use crate::peer::join;
use base::{Ballot, Incarnation, LogIndex, NodeId};
use cluster::Configuration;
use consensus::raft::{EntryKind, Recovered, Repair};
use member::limits::store_limits;
use member::{checkpoints, lane};
use replica::Installed;
use store::{Ask, Identity};
use wal::{DirLock, Disk, Journal, Options, Owner};

/// A directory ready to run from.
pub struct Opened {
    /// Held for as long as the member lives.
    pub lock: Option<DirLock>,
    pub identity: Identity,
    /// The configuration the identity states.
    pub bootstrap: Configuration,
    pub journal: Journal,
    pub recovered: Recovered,
    /// The disk is damaged: no vote before the end of the repair is durable.
    pub repair: Option<Repair>,
    pub store: mvcc::Store,
    /// The machine's part of the checkpoint.
    pub extra: Vec<u8>,
    /// What the journal itself says is committed.
    pub known: LogIndex,
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
    let (mut identity, bootstrap, fresh) = identify(config, place, root.as_mut())?;
    checkpoints::clean(place).map_err(|e| named(&e))?;
    let incarnation = identity.incarnation.after(entropy() as u32);
    let ask = Ask {
        owner: Owner { cluster: identity.cluster, member: identity.member },
        options: Options::default(),
        key: entropy(),
        known_key: identity.journal_key,
        incarnation: incarnation.0,
        fresh,
        on_damage: config.on_damage,
    };
    let may = |base: Option<&Installed>, records: &[wal::Record]| {
        others_decide(identity.member, &bootstrap, base, records)
    };
    let state = store::open(place, &ask, &mut |file| checkpoints::load(place, file), &may);
    let state = state.map_err(|e| named(&e))?;
    state.notes.iter().for_each(|note| tracing::warn!("{note}"));
    if let Some(cut) = &state.cut {
        tracing::warn!("a torn tail was cut: {} at byte {}", cut.file, cut.offset);
    }
    if !fresh {
        let base = state.base.as_ref().map_or(&bootstrap, |(_, loaded)| &loaded.config);
        let now = newest(base, &state.records);
        if let Some(line) = bootstrap::compare(config, identity.member, &bootstrap, &now)? {
            tracing::warn!("{line}");
        }
    }
    identity.incarnation = incarnation;
    identity.journal_key = state.journal.key();
    store::write_identity(root.as_mut(), &identity).map_err(|e| named(&e))?;
    let log = (state.ballot, state.commit, state.records);
    let (base, store, extra, checkpoint_bytes) = match state.base {
        Some((file, loaded)) => {
            ((loaded.index, loaded.ballot, loaded.config), loaded.store, loaded.extra, file.len)
        }
        None => {
            let base = (LogIndex::ZERO, Ballot::ZERO, bootstrap.clone());
            (base, mvcc::Store::new(store_limits(&bootstrap)), Vec::new(), 0)
        }
    };
    Ok(Opened {
        lock: Some(lock),
        known: state.known,
        recovered: recovered(log, base)?,
        identity,
        bootstrap,
        journal: state.journal,
        repair: state.repair.map(|r| Repair { ballot: r.ballot, index: r.index }),
        store,
        extra,
        files: Files { place: place.clone() },
        checkpoint_bytes,
    })
}

/// Whose directory it is, its bootstrap configuration, and whether it begins now.
fn identify(
    config: &Config,
    place: &Place,
    root: &mut dyn Disk,
) -> Result<(Identity, Configuration, bool), StartError> {
    let named =
        |e: &dyn std::fmt::Display| StartError::Disk(format!("{}: {e}", place.dir().display()));
    match store::read_identity(root).map_err(|e| named(&e))? {
        Some(identity) if !identity.void.is_empty() => Err(named(&identity.void)),
        Some(identity) => {
            let stored = Configuration::decode(&identity.config)
                .map_err(|e| named(&format_args!("identity: {e}")))?;
            Ok((identity, stored, false))
        }
        None => {
            clear(place, root)?;
            let (identity, born) = begin(config)?;
            Ok((identity, born, true))
        }
    }
}

/// Makes way for a first start. What a start that broke off left is begun again; what a member
/// left that lived is no more than named, and so is nothing of anybody else touched.
fn clear(place: &Place, root: &mut dyn Disk) -> Result<(), StartError> {
    let part = |name| place.has(name).then(|| place.disk(name)).transpose().map_err(disk);
    let (mut journal, mut checkpoints) = (part("journal")?, part("checkpoints")?);
    let checkpoints = checkpoints.as_mut().map(|disk| disk as &mut dyn Disk);
    let lived = store::clear(root, journal.as_mut().map(|disk| disk as &mut dyn Disk), checkpoints);
    let lived = lived.map_err(disk)?;
    if let Some(first) = lived.first() {
        let (dir, more) = (place.dir().display(), lived.len() - 1);
        let more = if more > 0 { format!(" and {more} more of its files") } else { String::new() };
        return Err(StartError::Disk(format!(
            "{dir} has no identity file but holds {first}{more}: it is the directory of a member, \
             and which one is lost with that file; nothing was changed. Put `identity` back from \
             a backup, or begin in an empty --data-dir and replace the member under a new id with \
             `quorate member replace`"
        )));
    }
    Ok(())
}

/// The identity of a directory that has none; written only after its journal exists.
fn begin(config: &Config) -> Result<(Identity, Configuration), StartError> {
    let birth = entropy().max(1); // Zero is no birth.
    let born = match config.cluster_state {
        ClusterState::New => bootstrap::from_flags(config)?,
        ClusterState::Existing => {
            let others = join::others(config)?;
            join::ask(config, &others, birth).map_err(|e| StartError::Join(e.to_string()))?
        }
    };
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
        void: String::new(),
        journal_key: 0,
    };
    Ok((identity, born.config))
}

/// The last configuration of the log, committed or not.
fn newest(base: &Configuration, records: &[wal::Record]) -> Configuration {
    let mut entries = records.iter().rev().filter_map(|record| lane::entry(record.clone()).ok());
    let newest = entries.find(|entry| entry.kind == EntryKind::Config);
    let newest = newest.and_then(|entry| Configuration::decode(&entry.payload).ok());
    newest.unwrap_or_else(|| base.clone())
}

/// Whether the others can decide without this member, as far as its own disk knows them.
fn others_decide(
    member: NodeId,
    born: &Configuration,
    base: Option<&Installed>,
    records: &[wal::Record],
) -> Result<(), String> {
    let base = base.map_or(born, |installed| &installed.config);
    newest(base, records).decides_without(member).map_err(|why| {
        format!("{why}: nobody could decide while it repairs; restore its files from a backup")
    })
}

/// Joins the journal's records to the checkpoint's end.
fn recovered(
    (ballot, commit, records): (Ballot, LogIndex, Vec<wal::Record>),
    (base, base_ballot, base_config): (LogIndex, Ballot, Configuration),
) -> Result<Recovered, StartError> {
    let entries = records.into_iter().map(|record| {
        let index = record.index;
        lane::entry(record).map_err(|error| StartError::Disk(format!("entry {index}: {error}")))
    });
    let entries = entries.collect::<Result<Vec<_>, _>>()?;
    let last = entries.last().map_or(base, |entry| entry.index);
    Ok(Recovered {
        ballot: ballot.max(base_ballot_promise(base_ballot)),
        base,
        base_ballot,
        base_config,
        commit: commit.clamp(base, last),
        entries,
    })
}

/// A checkpoint's last entry was accepted in its term, so that term was seen; the vote was not.
fn base_ballot_promise(base: Ballot) -> Ballot {
    Ballot { term: base.term, node: NodeId::ZERO }
}
