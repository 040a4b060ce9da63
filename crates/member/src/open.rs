//! A start: whose directory it is; begun, joined, opened or refused; what journal and checkpoint
//! say together.
//!
//! Layout of a directory: `identity`, `journal/`, `checkpoints/`, `values/`. The identity is
//! written last, so a first start that broke off before it leaves at most a journal that nothing
//! was written to, and that one may be begun again. Any other directory without an identity has
//! lost it, and is refused.

use crate::limits::store_limits;
use crate::wanted::Wanted;
use crate::{Archive, checkpoints, lane};
use base::limits::BOOTSTRAP_BYTES_MAX;
use base::{Ballot, Incarnation, LogIndex, NodeId, planted};
use cluster::Configuration;
use consensus::raft::{EntryKind, Recovered};
use replica::{Installed, Replica, ReplicaRecovered, ReplicaSettings};
use std::fmt;
use store::{Ask, Home, Identity, OnDamage, OpenError, StoreError};
use wal::{Cut, Disk, Journal, Options, Owner, Record};

/// What a member is born with: by the flags of a new cluster, or by what the members of one that
/// runs tell a newcomer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Born {
    pub cluster: u64,
    pub member: NodeId,
    /// The bootstrap configuration.
    pub config: Configuration,
}

/// Random numbers of one start.
#[derive(Clone, Copy, Debug)]
pub struct Draws {
    /// Tells this start from one of an image of the same directory.
    pub mark: u32,
    /// The key of a journal that is begun now.
    pub key: u64,
}

/// How a directory is opened.
pub struct How<'a> {
    pub wanted: &'a Wanted,
    pub options: Options,
    pub on_damage: OnDamage,
    pub draws: Draws,
    /// Of this member, and of nobody before.
    pub archive: Archive,
    /// Kept on the disk for small files, where others fill it.
    pub reserve_bytes: usize,
}

/// Why a directory is not opened.
#[derive(Debug)]
pub enum Refused {
    /// It was put back to an older image once, and may never be started again.
    Void(String),
    /// A member lived in it, and which one is lost: what it left, and how much more there is.
    Nameless { first: String, more: usize },
    /// Its identity cannot be read or written, or the disk fails.
    Identity(StoreError),
    /// Its bootstrap configuration or its log is of a form this build does not read.
    Unreadable(String),
    /// Journal or checkpoints.
    Files(OpenError),
    /// It is sound, and not what was asked for.
    Unwanted(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nameless { first, more } => {
                write!(f, "it has no identity file but holds {first}")?;
                if *more > 0 {
                    write!(f, " and {more} more of its files")?;
                }
                f.write_str(
                    ": it is the directory of a member, and which one is lost with that file; \
                     nothing was changed. Put `identity` back from a backup, or begin in an empty \
                     --data-dir and replace the member under a new id with `quorate member \
                     replace`",
                )
            }
            Self::Identity(error) => error.fmt(f),
            Self::Files(error) => error.fmt(f),
            Self::Void(text) | Self::Unreadable(text) | Self::Unwanted(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Refused {}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Identity(error)
    }
}

/// A member that may start: of the directory, or about to be born into it.
#[derive(Debug)]
pub struct Known {
    identity: Identity,
    bootstrap: Configuration,
    fresh: bool,
}

/// Whose directory this is; nobody's if it is new, and room is made for a first start then: what
/// one that broke off left is begun again. What a member left that lived is no more than named,
/// and so is nothing of anybody else touched.
///
/// # Errors
/// It may not be started, or cannot be read.
pub fn identify(home: &dyn Home) -> Result<Option<Known>, Refused> {
    let mut root = part(home, "")?;
    let Some(identity) = store::read_identity(root.as_mut())? else {
        clear(home, root.as_mut())?;
        return Ok(None);
    };
    if !identity.void.is_empty() && !planted!(VoidStarts) {
        return Err(Refused::Void(identity.void));
    }
    let bootstrap = Configuration::decode(&identity.config)
        .map_err(|error| Refused::Unreadable(format!("identity: {error}")))?;
    Ok(Some(Known { identity, bootstrap, fresh: false }))
}

fn part(home: &dyn Home, name: &str) -> Result<Box<dyn Disk>, Refused> {
    let io = |error: std::io::Error| {
        StoreError::new(store::StoreErrorKind::Io, name, 0, format!("open the directory: {error}"))
    };
    home.disk(name).map_err(|error| Refused::Identity(io(error)))
}

fn clear(home: &dyn Home, root: &mut dyn Disk) -> Result<(), Refused> {
    let there = |name| home.has(name).then(|| part(home, name)).transpose();
    fn of(disk: &mut Option<Box<dyn Disk>>) -> Option<&mut dyn Disk> {
        disk.as_mut().map(|disk| disk as &mut dyn Disk)
    }
    let mut journal = there("journal")?;
    let (mut checkpoints, mut values) = (there("checkpoints")?, there("values")?);
    let others = [of(&mut checkpoints), of(&mut values)];
    let lived = store::clear(root, of(&mut journal), others)?;
    let more = lived.len().saturating_sub(1);
    lived.into_iter().next().map_or(Ok(()), |first| Err(Refused::Nameless { first, more }))
}

impl Known {
    /// The member of a directory that is nobody's yet. `birth` is random, as it was when the
    /// running members were asked; zero is none.
    pub fn begin(born: Born, birth: u64) -> Self {
        assert!(birth > 0, "zero is no birth");
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
        Self { identity, bootstrap: born.config, fresh: true }
    }
}

/// A directory ready to run from; its next incarnation is durable.
pub struct Opened {
    pub identity: Identity,
    /// The configuration the identity states.
    pub bootstrap: Configuration,
    pub journal: Journal,
    pub recovered: ReplicaRecovered,
    pub archive: Archive,
    /// The disk is damaged: no vote before the end of the repair is durable.
    pub repair: Option<store::Repair>,
    /// Size of the checkpoint it starts from.
    pub checkpoint_bytes: u64,
    /// It begins now.
    pub fresh: bool,
    /// A torn tail was cut.
    pub cut: Option<Cut>,
    /// What the operator should know.
    pub notes: Vec<String>,
    /// What was asked for and has no effect.
    pub idle: Option<String>,
}

/// Opens what `home` holds, or begins it.
///
/// # Errors
/// A directory that is damaged beyond what may be repaired, is not what was wanted, or cannot be
/// read or written.
pub fn open(home: &dyn Home, known: Known, how: &How<'_>) -> Result<Opened, Refused> {
    let Known { mut identity, bootstrap, fresh } = known;
    let bytes = identity.config.len();
    if fresh && bytes > BOOTSTRAP_BYTES_MAX {
        let what = "the members and the quorum to begin with";
        let why = format!("{what} are {bytes} bytes; {BOOTSTRAP_BYTES_MAX} fit a handshake");
        return Err(Refused::Unwanted(why));
    }
    checkpoints::clean(home)?;
    let mark = if planted!(StartWithoutMark) { 0 } else { how.draws.mark };
    let incarnation = identity.incarnation.after(mark);
    let ask = Ask {
        owner: Owner { cluster: identity.cluster, member: identity.member },
        options: how.options,
        key: how.draws.key,
        known_key: identity.journal_key,
        incarnation: incarnation.0,
        fresh,
        on_damage: how.on_damage,
    };
    let may = |base: Option<&Installed>, records: &[Record]| {
        others_decide(identity.member, &bootstrap, base, records)
    };
    let archive = how.archive.clone();
    let load = &mut |file: &_| checkpoints::load(home, file, &archive);
    let state = store::open(home, &ask, load, &may);
    let state = state.map_err(Refused::Files)?;
    let mut idle = None;
    if !fresh {
        let base = state.base.as_ref().map_or(&bootstrap, |(_, loaded)| &loaded.config);
        let now = newest(base, &state.records);
        let compared = how.wanted.compare(identity.member, &bootstrap, &now);
        idle = compared.map_err(Refused::Unwanted)?;
    }
    if fresh || !planted!(StaleIncarnation) {
        identity.incarnation = incarnation;
    }
    identity.journal_key = state.journal.key();
    begin_life(home, &identity, how.reserve_bytes)?;
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
    let raft = joined(log, base)?;
    archive.begin(home, &store)?;
    Ok(Opened {
        identity,
        bootstrap,
        journal: state.journal,
        recovered: ReplicaRecovered { raft, store, extra, known: state.known },
        archive,
        repair: state.repair,
        checkpoint_bytes,
        fresh,
        cut: state.cut,
        notes: state.notes,
        idle,
    })
}

/// What a start writes before anything else, durable on return.
fn begin_life(home: &dyn Home, identity: &Identity, reserve_bytes: usize) -> Result<(), Refused> {
    let mut root = part(home, "")?;
    store::write_identity(root.as_mut(), identity)?;
    match store::keep_reserve(root.as_mut(), reserve_bytes) {
        Err(error) if error.kind != store::StoreErrorKind::NoRoom => Err(error.into()),
        _kept => Ok(()),
    }
}

/// The machine of what was found; without a vote where that has to be repaired first.
///
/// # Errors
/// What the machine refuses to start from.
pub fn revive(
    settings: ReplicaSettings,
    recovered: ReplicaRecovered,
    repair: Option<&store::Repair>,
) -> Result<Replica, String> {
    let mut replica =
        Replica::new(settings, recovered, base::Nanos::ZERO).map_err(|error| error.to_string())?;
    if let Some(repair) = repair {
        let (ballot, index) = (repair.ballot, repair.index);
        replica.repair(consensus::raft::Repair { ballot, index });
    }
    Ok(replica)
}

/// The last configuration of the log, committed or not.
fn newest(base: &Configuration, records: &[Record]) -> Configuration {
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
    records: &[Record],
) -> Result<(), String> {
    let base = base.map_or(born, |installed| &installed.config);
    newest(base, records).decides_without(member).map_err(|why| {
        format!("{why}: nobody could decide while it repairs; restore its files from a backup")
    })
}

/// Joins the journal's records to the checkpoint's end.
fn joined(
    (ballot, commit, records): (Ballot, LogIndex, Vec<Record>),
    (base, base_ballot, base_config): (LogIndex, Ballot, Configuration),
) -> Result<Recovered, Refused> {
    let entries = records.into_iter().map(|record| {
        let index = record.index;
        lane::entry(record).map_err(|error| Refused::Unreadable(format!("entry {index}: {error}")))
    });
    let entries = entries.collect::<Result<Vec<_>, _>>()?;
    let last = entries.last().map_or(base, |entry| entry.index);
    // A checkpoint's last entry was accepted in its term, so that term was seen; the vote was not.
    let seen = Ballot { term: base_ballot.term, node: NodeId::ZERO };
    let (ballot, commit) = (ballot.max(seen), commit.clamp(base, last));
    Ok(Recovered { ballot, base, base_ballot, base_config, commit, entries })
}
