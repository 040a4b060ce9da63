//! A start, in the order of the shell that ships (`server/src/disk/open.rs`): identity, journal
//! and checkpoint (joined by `store::open`, which decides about damage), next incarnation.

use crate::disk::SimDisk;
use base::{Ballot, Incarnation, LogIndex, NodeId, planted};
use cluster::Configuration;
use consensus::raft::{Entry, EntryKind, Recovered};
use member::{checkpoints, lane};
use replica::Installed;
use store::{Ask, Home, Identity, OnDamage, Repair};
use wal::{Disk, Journal, Options, Owner, Record};

/// The only cluster there is.
const CLUSTER: u64 = 0x51;

pub struct Opened {
    pub journal: Journal,
    pub recovered: Recovered,
    /// The disk is damaged: no vote before the end of the repair is durable.
    pub repair: Option<Repair>,
    pub store: mvcc::Store,
    pub extra: Vec<u8>,
    pub checkpoint_bytes: u64,
    pub known: LogIndex,
    pub incarnation: Incarnation,
    pub birth: u64,
    /// A torn tail was cut.
    pub cut: bool,
    pub fresh: bool,
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
    checkpoints::clean(disk).map_err(text)?;
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
        let mut entries =
            records.iter().rev().filter_map(|record| lane::entry(record.clone()).ok());
        let newest = entries.find(|entry| entry.kind == EntryKind::Config);
        let newest = newest.and_then(|entry| Configuration::decode(&entry.payload).ok());
        newest.as_ref().unwrap_or(base).decides_without(member)
    };
    let state =
        store::open(disk, &ask, &mut |file| checkpoints::load(disk, file), &may).map_err(text)?;
    if fresh || !planted!(StaleIncarnation) {
        identity.incarnation = identity.incarnation.next();
    }
    identity.journal_key = state.journal.key();
    store::write_identity(&mut root, &identity).map_err(text)?;
    let (base, store, extra, checkpoint_bytes) = match state.base {
        Some((file, loaded)) => {
            ((loaded.index, loaded.ballot, loaded.config), loaded.store, loaded.extra, file.len)
        }
        None => {
            let base = (LogIndex::ZERO, Ballot::ZERO, config.clone());
            (base, mvcc::Store::new(mvcc::Limits::default()), Vec::new(), 0)
        }
    };
    let entries = state.records.into_iter().map(|record| lane::entry(record).map_err(text));
    let entries = entries.collect::<Result<Vec<Entry>, String>>()?;
    let recovered = join((state.ballot, state.commit, entries), base);
    Ok(Opened {
        journal: state.journal,
        recovered,
        repair: state.repair,
        store,
        extra,
        checkpoint_bytes,
        known: state.known,
        incarnation: identity.incarnation,
        birth: identity.birth,
        cut: state.cut.is_some(),
        fresh,
    })
}

fn join(
    (ballot, commit, entries): (Ballot, LogIndex, Vec<Entry>),
    (base, base_ballot, base_config): (LogIndex, Ballot, Configuration),
) -> Recovered {
    let last = entries.last().map_or(base, |entry| entry.index);
    let ballot = ballot.max(Ballot { term: base_ballot.term, node: NodeId::ZERO });
    let commit = commit.clamp(base, last);
    Recovered { ballot, base, base_ballot, base_config, commit, entries }
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
